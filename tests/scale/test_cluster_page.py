"""The page "From a laptop to a cluster" runs as it stands, on a tiny model: its script in shards as
SLURM would start them, and on Dask.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import interp

ROOT = Path(interp.__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.S)
SCRIPT = next(block for block in PYTHON if "__main__" in block)
JOB = re.search(r"```bash\n(.*?)```", PAGE, re.S)[1]
SMALL = {  # a tiny model has fewer edges, and two shards are enough
    '"smollm2-135m"': '"tiny"',
    "n=16": "n=2",
    ", 500)": ", 40)",
    "range(5)": "range(2)",
    '["ioi", "capitals"]': '["ioi"]',
}


def small(text):
    for whole, part in SMALL.items():
        text = text.replace(whole, part)
    return text


@pytest.mark.slow
def test_the_pages_script_gives_the_plain_loops_numbers_in_a_job_array_and_on_dask(
    tmp_path, monkeypatch, recwarn
):
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    assert all(whole in PAGE for whole in SMALL)
    Path("score.py").write_text(small(SCRIPT))
    Path("job.sh").write_text(JOB.replace("/8", "/2"))
    Path("bin").mkdir()
    Path("bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    Path("bin/python").chmod(0o755)
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    # the array, one job after the other; the line that is printed is the page's own
    first = subprocess.run(
        ["bash", "job.sh"],
        env={**env, "SLURM_ARRAY_TASK_ID": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(x for x in first.stderr.splitlines() if "sbatch" in x).partition("SLURM:  ")[2]
    assert line.replace("2", "8") in PAGE
    with pytest.raises(ValueError, match="shard 2 of 2 did not finish"):
        interp.scale.join("runs")
    second = {**env, "SLURM_ARRAY_TASK_ID": "2", "SLURM_JOB_ID": "7"}
    subprocess.run(["bash", "job.sh"], env=second, capture_output=True, check=True)
    # what the page does afterwards, and the plain loop
    space = {"__name__": "page"}
    exec(small(SCRIPT), space)
    plain = interp.over(space["score"], space["axes"], folder="plain")
    for block in PYTHON:
        if "join(" in block:
            exec(block, space)
    assert space["result"] == plain and plain.dims == ("task", "method", "seed")
    assert np.isfinite(plain.values).all() and plain.unit.startswith("fraction")


@pytest.mark.slow
def test_the_pages_lines_for_dask_run(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    block = next(block for block in PYTHON if "LocalCluster" in block)
    space = {"interp": interp, "score": lambda seed: seed / 3, "axes": {"seed": range(4)}}
    exec(block, space)
    assert space["result"].values.tolist() == [seed / 3 for seed in range(4)]
