"""The command: what it prints, what it exits with, and that bad input is one sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interp import models, studies
from interp.cli import main

STUDY = """# %% [markdown]
# # A study that needs no model
#
# Paper: Nobody 2020, no arXiv

# %% tags=["parameters"]
MODEL = "toy"
FAST = False

# %%
import numpy as np
from interp.studies import Claim, gate, measured, verdicts

# %%
claim = Claim("two", says="It is two", paper="2.0", source="Nobody 2020", metric="a number", holds=1.5, null=0.0, control="noise")
rng = np.random.default_rng(0)
able = gate("can count", measured(np.ones(10)), at_least=0.9)
if MODEL == "broken":
    raise RuntimeError("no such weights")

# %%
row = claim.judge(measured(rng.normal(2, 1, 50)), control=measured(rng.normal(0, 1, 50)), gate=able)
verdicts("00-start-here", [row], model=MODEL, fast=FAST)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, an empty cache, and one toy study in the place of the first."""
    (tmp_path / "nb" / "src").mkdir(parents=True)
    (tmp_path / "nb" / "src" / "00-start-here.py").write_text(STUDY)
    monkeypatch.setenv("INTERP_NOTEBOOKS", str(tmp_path / "nb"))
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # the command sets it: given back after the test
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(folder, verdict):
    """Records one verdict of the toy study, for both modes."""
    rows = [{"key": "two", "verdict": verdict}]
    both = {mode: {"model": "toy", "rows": rows} for mode in ("full", "fast")}
    (folder / "nb" / "verdicts").mkdir()
    (folder / "nb" / "verdicts" / "00-start-here.json").write_text(json.dumps(both))


# --- the command line -----------------------------------------------------------------------------


def test_version_and_help(capsys):
    for flag in ("--version", "--help"):
        with pytest.raises(SystemExit) as done:
            main.main([flag])
        assert done.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith("interp 0.2.0\n")
    assert all(
        f"    {name} " in said
        for name in ("demo", "models", "tasks", "run", "discover", "evaluate", "compare", "lab")
    )


def test_alone_it_prints_its_help(capsys):
    assert main.main([]) == 0
    assert "commands:" in capsys.readouterr().out


def test_python_dash_m(tmp_path):
    from pathlib import Path

    root = Path(main.__file__).parent.parent
    ran = subprocess.run(
        [sys.executable, "-m", "interp", "--version"], cwd=root, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (0, "interp 0.2.0\n")


@pytest.mark.parametrize(
    "typed, says",
    [
        (["run", "00-strat-here"], "did you mean '00-start-here'"),
        (["models", "fetch", "smollm2-135"], "did you mean 'smollm2-135m'"),
        (["models", "remove", "../.."], "unknown local model '../..'"),
        (["models", "fetch"], "`interp models` lists them"),
        (["models", "fecth", "x"], "did you mean 'fetch'"),
        (["models", "list", "x"], "takes no name, got 'x'"),
        (["tasks", "show", "oi"], "did you mean 'ioi'"),
        (["tasks", "show", "ioi", "-n", "0"], "-n must be at least 1"),
        (["tasks", "show", "ioi", "--model", "tiny-gtp2"], "did you mean 'tiny-gpt2'"),
        (["discover", "--task", "oi"], "did you mean 'ioi'"),
        (["discover", "--task", "ioi", "--method", "eap_gi"], "did you mean 'eap_ig'"),
        (["discover", "--task", "ioi", "--option", "step=3"], "did you mean 'steps'"),
        (["discover", "--task", "ioi", "--option", "steps"], "an option is name=value"),
        (["discover", "--task", "ioi", "--edges", "0"], "--edges must be at least 1"),
        (["discover", "--task", "ioi", "--select", "greed"], "did you mean 'greedy'"),
        (["discover", "--task", "ioi", "--out", "c.pt"], "try 'c.json'"),
        (["discover", "--task", "ioi", "--model", "tiny-gtp2"], "did you mean 'tiny-gpt2'"),
        (["evaluate", "nothing.json"], "no such file"),
        (["compare", "nb/src/00-start-here.py", "b.json"], "is not JSON"),
        (["lab", "start"], "(known: 00-start-here)"),
        (["lab", "00"], "not built yet: python -m interp.studies build 00-start-here"),
    ],
)
def test_bad_input_is_one_sentence(here, capsys, typed, says):
    assert main.main(typed) == 2
    said = capsys.readouterr()
    assert says in said.err and said.err.startswith("interp: ") and said.err.count("\n") == 1
    assert said.out == ""


def test_a_wrong_option_exits_with_2(capsys):
    with pytest.raises(SystemExit) as done:
        main.main(["run", "00", "--fats"])
    assert done.value.code == 2 and "--fats" in capsys.readouterr().err


@pytest.mark.parametrize("typed", [["--debug", "run", "nothing"], ["run", "nothing", "--debug"]])
def test_debug_lets_the_error_through(here, typed):
    with pytest.raises(ValueError, match="unknown study 'nothing'"):
        main.main(typed)


@pytest.mark.parametrize(
    "error, code, says",
    [
        (KeyboardInterrupt(), 130, "interp: interrupted"),
        (BrokenPipeError(), 0, ""),
        (ConnectionError("no network"), 1, "interp: no network"),
        (KeyError("oh"), 1, "KeyError: 'oh' (this is a bug; --debug shows where)"),
        (studies.StudyFailed("cell 3 raised"), 1, "interp: cell 3 raised"),
    ],
)
def test_exit_codes(monkeypatch, capfd, error, code, says):
    def fail():
        raise error

    monkeypatch.setattr("interp.models.local.table", fail)
    monkeypatch.setattr(main.os, "dup2", lambda *to: None)  # the test's own stdout stays open
    assert main.main(["models"]) == code
    assert says in capfd.readouterr().err


# --- models and tasks -----------------------------------------------------------------------------


def test_models(here, capsys):
    assert main.main(["models"]) == 0
    assert "fetch: 93 MB" in capsys.readouterr().out
    assert main.main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["cached"]) for row in rows] == [("smollm2-135m", False)]
    assert main.main(["models", "remove", "smollm2-135m", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "smollm2-135m", "removed": False}


def test_models_fetch_says_where(here, capsys, monkeypatch):
    monkeypatch.setattr("interp.models.local.fetch", lambda name, *, progress: here / name)
    assert main.main(["models", "fetch", "smollm2-135m"]) == 0
    assert capsys.readouterr().out == f"smollm2-135m is ready in {here / 'smollm2-135m'}\n"


def test_tasks(here, capsys):
    from interp import tasks

    assert main.main(["tasks"]) == 0
    said = capsys.readouterr().out
    assert main.main(["tasks", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(tasks.names())
    for row in rows:
        assert row["name"] in said and row["what"] in said and 10 < len(row["what"]) < 120


def test_tasks_show(here, capsys):
    assert main.main(["tasks", "show", "ioi", "--model", "tiny", "-n", "2"]) == 0
    assert "END" in capsys.readouterr().out
    assert main.main(["tasks", "show", "ioi", "--model", "tiny", "-n", "2", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown["clean"]) == len(shown["answers"]) == len(shown["positions"]["IO"]) == 2
    assert shown["answers"][0][0] in shown["clean"][0]


# --- circuits -------------------------------------------------------------------------------------


def test_a_circuit_is_found_judged_again_and_compared(here, capsys):
    from interp import Circuit

    asked = ["discover", "--task", "ioi", "--model", "tiny", "-n", "4", "--edges", "60"]
    assert main.main([*asked, "--option", "steps=2", "--out", "a.json"]) == 0
    said = capsys.readouterr()
    circuit = Circuit.load("a.json")
    assert (
        "saved in a.json" in said.out
        and "random faithfulness" in said.out
        and "60 edges chosen" in said.err
    )
    task = dict(circuit.task)
    assert len(task.pop("prompts")) == 4  # a digest of each prompt it was found on
    assert circuit.source["options"]["steps"] == 2 and task == {
        "name": "ioi",
        "n": 4,
        "seed": 0,
        "split": "find",
    }
    told = circuit.evaluation
    assert (told["split"], told["n"], told["seed"], told["by"], told["metric"]) == (
        "heldout",
        4,
        1,
        "resample",
        "logit_diff",
    )
    assert (
        0 < len(circuit) <= 60
        and circuit.prune() == circuit.prune().prune()
        and "faithfulness" in told["random"]
    )

    assert main.main(["evaluate", "a.json", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["faithfulness"] == pytest.approx(
        told["faithfulness"], rel=1e-3
    )  # the same held-out prompts
    assert (again["n"], again["seed"], again["split"], again["edges"]) == (
        4,
        1,
        "heldout",
        len(circuit),
    )
    assert (
        main.main(["evaluate", "a.json", "-n", "3", "--seed", "5", "--by", "mean", "--sets", "2"])
        == 0
    )
    said = capsys.readouterr()
    assert "the file says: faithfulness" in said.out and "3 held-out prompts of ioi" in said.err

    assert main.main([*asked, "--method", "eap", "--select", "greedy", "--json"]) == 0
    other = json.loads(capsys.readouterr().out)
    assert other["file"].endswith("interp-runs/circuits/tiny/ioi/eap.json")
    # four prompts of a model that knows nothing: clean and corrupted cannot be told apart
    assert other["interval"] is None and "contains 0" in other["note"]
    assert main.main(["compare", "a.json", other["file"], "--json"]) == 0
    both = json.loads(capsys.readouterr().out)
    a, b = circuit, Circuit.load(other["file"])
    assert both["Jaccard, edges"] == pytest.approx(a.jaccard(b)) and both["both"] + both[
        "only_first"
    ] == len(a)
    assert main.main(["compare", "a.json", other["file"]]) == 0
    assert "strongest only in A" in capsys.readouterr().out
    assert main.main(["evaluate", "a.json", "--model", "tiny-gpt2"]) == 2
    assert "interp.load('tiny')" in capsys.readouterr().err.splitlines()[-1]


# --- studies --------------------------------------------------------------------------------------


def test_run_as_json_and_a_verdict_as_recorded(here, capsys):
    record(here, "holds")
    assert main.main(["run", "00", "--fast", "--json", "--out", "out"]) == 0
    said = capsys.readouterr()
    got = json.loads(said.out)
    assert (got["study"], got["model"], got["fast"], got["differs"]) == (
        "00-start-here",
        "toy",
        True,
        [],
    )
    assert [row["verdict"] for row in got["rows"]] == ["holds"]
    assert (here / got["notebook"]).exists() and (here / got["html"]).exists()


def test_demo_says_where_to_go_on_and_a_changed_verdict_exits_with_1(here, capsys, monkeypatch):
    record(here, "partly")
    fetched = []
    monkeypatch.setattr("interp.models.local.fetch", lambda *name: fetched.append(name))
    assert main.main(["demo"]) == 1
    said = capsys.readouterr()
    assert fetched == [()]
    assert (
        "HOLDS  two" in said.out and "(FAST)" in said.out and "interp lab 00-start-here" in said.out
    )
    assert "a verdict differs: two: recorded 'partly', now 'holds'" in said.err
    assert (here / "interp-runs" / "00-start-here" / "00-start-here.html").exists()


def test_a_failing_cell_exits_with_1(here, capsys):
    assert main.main(["run", "00", "--model", "broken"]) == 1
    assert "raised RuntimeError: no such weights" in capsys.readouterr().err.splitlines()[-1]


# --- the lab --------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch):
    """The commands that would have been started."""

    class Commands(list):
        quiet: list[str] = []

    commands = Commands()

    class Quiet:
        def __init__(self, command, env):
            commands.append(command)
            config = env["JUPYTER_CONFIG_PATH"].split(os.pathsep)[0]
            said = json.loads(Path(config, "labconfig", "page_config.json").read_text())
            commands.quiet = list(said["disabledExtensions"])

        def wait(self):
            return 0

    monkeypatch.setattr("subprocess.Popen", Quiet)
    return commands


def test_lab_opens_the_notebooks_where_they_are(here, started):
    (here / "nb" / "00-start-here.ipynb").write_text("{}")
    assert main.main(["lab"]) == 0 and main.main(["lab", "00", "--no-browser"]) == 0
    assert started[0][1:] == ["-m", "jupyterlab", str(here / "nb" / "index.ipynb")]
    assert started.quiet == ["@jupyterlab/apputils-extension:announcements"]  # no news over it
    assert started[1][3:] == [str(here / "nb" / "00-start-here.ipynb"), "--no-browser"]


def test_lab_of_an_installed_package_opens_a_copy_and_keeps_edits(here, started, monkeypatch):
    monkeypatch.setattr("interp.studies.notebooks.paths.PACKAGE", here)
    assert main.main(["lab"]) == 0
    assert started[0][3] == str(Path("interp-notebooks", "index.ipynb"))
    mine = here / "interp-notebooks" / "src" / "00-start-here.py"
    assert mine.read_text() == STUDY
    mine.write_text("mine")
    assert main.main(["lab"]) == 0 and mine.read_text() == "mine"


def test_lab_of_a_clone_opens_a_copy_too_unless_told_otherwise(here, started, monkeypatch, capsys):
    monkeypatch.setattr("interp.studies.notebooks.paths.PACKAGE", here / "clone" / "interp")
    monkeypatch.setattr("interp.studies.home", lambda: here / "clone" / "notebooks")
    source = here / "clone" / "notebooks" / "00-start-here.ipynb"
    source.parent.mkdir(parents=True)
    source.write_text("{}")
    program = source.parent / "src" / "00-start-here.py"
    monkeypatch.setattr("interp.studies.find", lambda name: program)
    (source.parent / "__pycache__").mkdir()
    (source.parent / "__pycache__" / "x.pyc").write_text("")
    assert main.main(["lab", "00"]) == 0
    mine = here / "interp-notebooks" / "00-start-here.ipynb"
    assert mine.read_text() == "{}" and started[0][3] == "interp-notebooks/00-start-here.ipynb"
    assert "a copy of the notebooks" in capsys.readouterr().out
    assert not (mine.parent / "__pycache__").exists()
    assert main.main(["lab", "00", "--in-place"]) == 0 and started[1][3] == str(source)


def test_the_table_of_models_is_the_library_s():
    assert models.table()[0]["name"] == "smollm2-135m"
