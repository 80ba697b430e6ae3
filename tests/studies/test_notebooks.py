"""Every notebook: clean and fresh; a study's FAST run gives every verdict row as it was recorded, a
tour's runs.

The FAST runs are marked `study` (`make studies`), and the shortest ones `notebook` as well, which
`make test` runs, too.
"""

import pytest
from run_source import run_source

from interp.studies import scoreboard
from interp.studies.notebooks import build, lint
from interp.studies.notebooks import source as notebook_source
from interp.studies.notebooks.paths import PACKAGE, names, tours
from interp.studies.verdict_table import recorded

FOLDER = PACKAGE.parent / "notebooks"
NAMES, TOURS = names(FOLDER), tours(FOLDER)
SHORTEST = ("00-start-here", "tour-patching")


@pytest.fixture(scope="module")
def models(smollm2):
    """The model that every study loads, loaded once; the children inherit it."""
    import torch

    torch.set_num_threads(1)  # a pool of threads does not survive the fork
    return {"smollm2-135m": smollm2}


def test_every_source_is_a_study_or_a_tour():
    assert sorted(p.stem for p in (FOLDER / "src").glob("*.py")) == sorted(NAMES + TOURS) and NAMES


@pytest.mark.parametrize("name", NAMES + TOURS)
def test_is_fresh_and_clean(name):
    assert build.check(name, FOLDER) == []


@pytest.mark.parametrize("name", NAMES)
def test_record_has_every_claim_in_both_modes(name):
    claims = lint.claim_keys(notebook_source.read_source(FOLDER / "src" / f"{name}.py"), FOLDER)
    both = recorded(name, FOLDER)
    assert set(both) == {"full", "fast"}
    for mode in both.values():
        assert [r["key"] for r in mode["rows"]] == claims or {
            r["key"] for r in mode["rows"]
        } == set(claims)


def mark(names: list[str]) -> list:
    """The runs of these notebooks: the shortest in `make test`, all in `make studies`."""
    return [
        pytest.param(n, marks=pytest.mark.notebook if n in SHORTEST else pytest.mark.study)
        for n in names
    ]


@pytest.mark.parametrize("name", mark(NAMES))
def test_fast_run_gives_the_recorded_verdicts(name, models):
    source = FOLDER / "src" / f"{name}.py"
    ran = run_source(
        source, models=models, parameters={"FAST": True}, record="check", folder=FOLDER
    )
    assert ran.ok, ran.printed
    assert ran.table.model == recorded(name, FOLDER)["fast"]["model"], (
        "another model: nothing was compared"
    )
    declared = lint.claim_keys(notebook_source.read_source(source), FOLDER)
    assert {r["key"] for r in ran.table.rows} == set(declared)


@pytest.mark.parametrize("name", mark(TOURS))
def test_a_tour_runs(name, models):
    ran = run_source(
        FOLDER / "src" / f"{name}.py", models=models, parameters={"FAST": True}, folder=FOLDER
    )
    assert ran.ok, ran.printed


@pytest.mark.parametrize("name", TOURS)
def test_a_tour_is_listed(name):
    assert f"]({name}.ipynb)" in (FOLDER / "README.md").read_text()


def test_scoreboard_is_up_to_date():
    assert [p.name for p in scoreboard(FOLDER, write=False)] == [], (
        "python -m interp.studies scoreboard"
    )
