"""A study of one's own, anywhere on disk: begun from the template, found, run, built and checked
where it lies.
"""

import gc
import json

import nbformat
import pytest
from run_source import run_source

from interp.cli.main import main
from interp.studies import build, check, find, load_claims, new, pull, recorded, refresh
from interp.studies.notebooks import lint
from interp.studies.notebooks.paths import folder_of, home
from interp.studies.notebooks.run import execute
from interp.studies.notebooks.source import digest, read_source

TOY = """# %% [markdown]
# # Is it two?
#
# Paper: none
#
# Found: it is.

# %% tags=["parameters"]
MODEL = "toy"
FAST = False

# %%
import numpy as np
from interp.studies import Claim, measured, verdicts

claim = Claim(
    "two", says="It is two", paper="2", source="ours", metric="a number", holds=1.5, null=0.0,
    control="none",
)
x = np.loadtxt("numbers.txt")

# %%
verdicts("two", [claim.judge(measured(x))], model=MODEL, fast=FAST)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with a study that needs no model, and the data that it reads beside it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "two.py").write_text(TOY)
    (folder / "numbers.txt").write_text("1.8\n2.0\n2.2\n")
    for name in ("INTERP_RECORD", "INTERP_ROWS", "INTERP_NOTEBOOKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return folder


def test_it_is_found_by_its_file_and_by_its_name_in_the_present_folder(mine, monkeypatch):
    source = mine / "two.py"
    assert find("mine/two.py") == find("mine/two") == find(source) == source
    assert folder_of(source) == mine and folder_of(find("00")) == home()
    monkeypatch.chdir(mine)
    assert find("two") == source
    assert find("00").parent == home() / "src"
    with pytest.raises(FileNotFoundError, match="`interp new-study three` writes one"):
        find("three.py")
    with pytest.raises(ValueError, match="unknown study 'three'"):
        find("three")


def test_it_is_built_checked_and_refreshed_where_it_lies(mine, capsys):
    built = build("mine/two.py", report=print)
    assert built == mine / "two.ipynb" and "problem" not in capsys.readouterr().out
    assert recorded("two", mine)["full"]["rows"][0]["verdict"] == "holds"
    assert check("mine/two.py") == [] and not refresh("mine/two.py") and not pull("mine/two.py")
    source = mine / "two.py"
    source.write_text(source.read_text().replace("x = ", "numbers = ").replace("(x)", "(numbers)"))
    assert "python -m interp.studies refresh two.py" in check("mine/two.py")[0]
    assert refresh("mine/two.py") and check("mine/two.py") == []
    # the present folder's own record is compared with
    assert sorted(p.name for p in mine.iterdir()) == [
        "numbers.txt",
        "two.ipynb",
        "two.py",
        "verdicts",
    ]


def test_the_command_runs_it_and_compares_it_with_its_own_record(mine, capsys):
    assert main(["run", "mine/two.py", "--fast", "--out", "out"]) == 0
    assert "HOLDS  two" in capsys.readouterr().out
    rows = json.loads((mine.parent / "out" / "two.verdicts.json").read_text())["rows"]
    (mine / "verdicts").mkdir()
    changed = [{**rows[0], "verdict": "does not hold", "within_tolerance": []}]
    record = {"fast": {"model": "toy", "rows": changed}}
    (mine / "verdicts" / "two.json").write_text(json.dumps(record))
    assert main(["run", "mine/two.py", "--fast", "--out", "out"]) == 1
    assert "recorded 'does not hold', now 'holds'" in capsys.readouterr().err


def test_claims_in_the_present_folder_are_those_of_the_study(mine, monkeypatch):
    new("three", mine)
    with pytest.raises(FileNotFoundError, match="no claims at"):
        load_claims("three")
    monkeypatch.chdir(mine)
    assert list(load_claims("three")) == ["few-heads"]
    before = digest(mine / "three.py")
    (mine / "claims" / "three.toml").write_text("")
    assert digest(mine / "three.py") != before


def test_a_record_in_the_present_folder_is_the_one_to_compare_with(mine, monkeypatch):
    (mine / "verdicts").mkdir()
    (mine / "verdicts" / "two.json").write_text('{"full": {"model": "toy", "rows": []}}')
    assert recorded("two") == {}
    monkeypatch.chdir(mine)
    assert list(recorded("two")) == ["full"]


# --- the template ------------------------------------------------------------------------------


def test_a_new_study_is_complete_and_nothing_is_overwritten(mine, capsys):
    assert main(["new-study", "01-who-counts", "--folder", "fresh"]) == 0
    assert "interp run fresh/01-who-counts.py" in capsys.readouterr().out
    source = mine.parent / "fresh" / "01-who-counts.py"
    nb = read_source(source)
    assert lint.source_problems(nb, folder=source.parent) == []
    assert lint.heading(nb)["title"] == "Who counts"
    assert list(load_claims("01-who-counts", source.parent)) == ["few-heads"]
    assert main(["new-study", "01-who-counts", "--folder", "fresh"]) == 2
    assert "is there already" in capsys.readouterr().err
    with pytest.raises(ValueError, match="'a b' is no name for a study"):
        new("a b")


def test_a_new_study_runs_as_it_stands(mine, tiny):
    source = new("mine", mine)
    ran = run_source(source, models={"smollm2-135m": tiny}, parameters={"FAST": True}, folder=mine)
    assert ran.ok, ran.printed
    assert [row["key"] for row in ran.table] == lint.claim_keys(read_source(source), mine)
    # a model with random weights cannot do it, and that is what its verdict says
    assert ran.table.rows[0]["verdict"] == "not testable here"


def test_ctrl_c_ends_a_run_without_a_word_of_its_machinery(tmp_path, capfd):
    code = "import os, signal, time\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(60)"
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    with pytest.raises(KeyboardInterrupt):
        execute(nb, cwd=tmp_path)
    gc.collect()  # what asyncio has to say of tasks that nobody asked
    assert capfd.readouterr().err == ""
