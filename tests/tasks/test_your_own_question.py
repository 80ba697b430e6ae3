"""The page "Your own question" runs as it stands, and its way from a file to a figure is short."""

import re
import shutil
from pathlib import Path

import matplotlib.pyplot as plt

import interp
from interp.tasks.task import MixedTask

DOCS = Path(interp.__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "your-own-question.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def test_the_way_from_a_file_to_a_figure_takes_fewer_than_thirty_lines():
    code = [line for line in BLOCKS[0].splitlines() if line.strip() and not line.startswith("#")]
    assert len(code) < 30 and max(map(len, BLOCKS[0].splitlines())) <= 120


def test_the_page_runs(tiny, tmp_path, monkeypatch, capsys):
    model = tiny
    shutil.copy(DOCS / "data" / "agreement.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    said = {"given": model}
    for block in BLOCKS:
        block = block.replace("interp.load()", "given")
        exec(block.replace("500", "40"), said)  # a small model has fewer edges
    plt.close("all")
    assert (tmp_path / "faithfulness.pdf").read_bytes().startswith(b"%PDF")
    circuit = interp.Circuit.load(tmp_path / "agreement.json")
    assert circuit.task["name"] == "agreement" and len(circuit.task["prompts"]) == 10
    found = interp.evaluate(model, said["judge"], circuit, sets=1)
    assert not found.metadata["seen"] and isinstance(said["judge"], (MixedTask, interp.Task))
    assert "faithfulness" in capsys.readouterr().out
