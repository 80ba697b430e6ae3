"""The lessons' files: fresh, without solutions for learners; collecting what was handed in."""

import ast
import builtins
import json
from pathlib import Path

import nbformat
import pytest
from run_source import run_source

from interp import workshop
from interp.cli.main import main
from interp.studies.notebooks import exercises as markers
from interp.studies.notebooks import lint
from interp.workshop import build, exercises
from interp.workshop.progress import MIME

FOLDER = Path(__file__).resolve().parents[2] / "notebooks" / "workshop"
NAMES = build.names(FOLDER)
MINUTES = {"graphs": 90}  # the others take 180, with a break of a quarter of an hour


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_what_its_source_says(name):
    assert build.stale(name, FOLDER) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_learners_notebook_has_no_solution_and_no_output(name):
    nb = nbformat.read(FOLDER / f"{name}.ipynb", 4)
    text = "\n".join(cell.source for cell in nb.cells)
    source = (FOLDER / "src" / f"{name}.py").read_text(encoding="utf-8")
    assert "SOLUTION" in source and "SOLUTION" not in text and "YOUR CODE HERE" in text
    assert all(not cell.get("outputs") for cell in nb.cells)
    for secret in markers.BLOCK.findall(source):
        code = [line for line in secret[1].splitlines() if len(line) > 32 and "STUB" not in line]
        assert not [line for line in code if line in text]


@pytest.mark.parametrize("name", NAMES)
def test_every_exercise_is_checked_once_and_in_order(name):
    assert build.keys_in(build.learners(FOLDER / "src" / f"{name}.py")) == list(exercises(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_has_its_parts(name):
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    for part in (
        "You will be able to",
        "You should know",
        "| minutes |",
        f"pictures/{name}.svg",
        "redict:",
        "The aha",
        "What to remember",
        "nobody has answered",
    ):
        assert part in text, part
    assert (FOLDER / "pictures" / f"{name}.svg").exists()


@pytest.mark.parametrize("name", NAMES)
def test_the_code_uses_names_that_exist_and_fits_a_screen(name):
    nb = build.solved(FOLDER / "src" / f"{name}.py")
    assert lint.unknown_names(nb) == []
    for cell in nb.cells:
        if cell.cell_type == "code":
            assert lint.code_lines(cell.source) <= lint.MAX_CELL
            assert max(map(len, cell.source.splitlines()), default=0) <= lint.MAX_COLUMNS


@pytest.mark.parametrize("name", NAMES)
def test_no_cell_that_is_given_needs_a_name_that_only_a_solution_makes(name):
    nb = build.learners(FOLDER / "src" / f"{name}.py")
    tree = ast.parse("\n".join(c.source for c in nb.cells if c.cell_type == "code"))
    used, made = set(), set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else made).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            made.add(node.name)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, ast.alias):
            made.add((node.asname or node.name).partition(".")[0])
    assert used - made == set()


@pytest.mark.parametrize("name", NAMES)
def test_the_solved_notebook_is_clean_and_all_its_checks_are_right(name):
    path = FOLDER / f"{name}-solved.ipynb"
    nb = nbformat.read(path, 4)
    assert lint.output_problems(nb, path.stat().st_size) == []
    states = [
        o["data"][MIME]["state"]
        for c in nb.cells
        for o in c.get("outputs", [])
        if MIME in o.get("data", {})
    ]
    assert states == ["right"] * len(exercises(name))
    text = path.read_text(encoding="utf-8")
    said = [
        json.dumps(one.remember[:40], ensure_ascii=False)[1:-1] for one in exercises(name).values()
    ]
    assert not [s for s in said if s not in text], "python -m interp.workshop.build --refresh"


@pytest.mark.parametrize("name", NAMES)
def test_every_prediction_is_on_a_slide_and_every_part_has_its_minutes_in_the_notes(name):
    lesson, page, notes = (
        (FOLDER / f"{name}{end}").read_text(encoding="utf-8")
        for end in (".ipynb", "-slides.html", "-notes.md")
    )
    full = name not in MINUTES
    least = 7 if full else len(exercises(name))
    assert lesson.count("*Predict") == page.count("<em>Predict") >= least
    nb = nbformat.reads(lesson, 4)
    parts = build.PART.findall("\n".join(build.plan(nb)))
    assert len(parts) >= least and ("| *a break* | 15 |" in notes) == full
    assert all(f"## {part} ({minutes} minutes)" in notes for part, minutes in parts)
    assert sum(int(minutes) for _, minutes in parts) + 15 * full == MINUTES.get(name, 180)


@pytest.mark.parametrize("name", NAMES)
def test_the_slides_load_nothing(name):
    page = (FOLDER / f"{name}-slides.html").read_text(encoding="utf-8")
    assert (
        "<svg" in page and "src=" not in page and "<link" not in page and page.count("<section") > 5
    )


@pytest.mark.study
@pytest.mark.parametrize("name", NAMES)
def test_the_solved_lesson_runs(name, smollm2):
    import torch

    torch.set_num_threads(1)
    ran = run_source(FOLDER / "src" / f"{name}.py", models={"smollm2-135m": smollm2}, folder=FOLDER)
    assert ran.ok, ran.printed
    marks = [line for line in ran.printed.splitlines() if line.startswith(("✔ ", "✘ "))]
    assert len([m for m in marks if m.startswith("✔")]) >= len(exercises(name)), ran.printed


# --- a learner's copy, and what a class hands in --------------------------------------------------


def test_start_copies_and_keeps_what_is_there(tmp_path):
    path = workshop.start("circuits", tmp_path)
    assert path == tmp_path / "circuits.ipynb" and (tmp_path / "pictures" / "circuits.svg").exists()
    assert not list(tmp_path.glob("*solved*")) and not list(tmp_path.glob("*notes*"))
    path.write_text("mine")
    workshop.start("circuits", tmp_path, teacher=True)
    assert path.read_text() == "mine" and (tmp_path / "circuits-solved.ipynb").exists()
    with pytest.raises(ValueError, match="circuits"):
        workshop.start("circus", tmp_path)


def hand_in(path: Path, *bundles: dict) -> None:
    """A notebook with these outputs, as Jupyter saves it."""
    cells = [
        nbformat.v4.new_code_cell(
            "raise SystemExit('a learner\\'s code is never run')",
            outputs=[nbformat.v4.new_output("display_data", {"text/plain": "x", MIME: bundle})],
        )
        for bundle in bundles
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def bundle(key: str, passed: bool, *mistakes: str, attempts: int = 2) -> dict:
    return {
        "exercise": key,
        "state": "right" if passed else "mistake",
        "passed": passed,
        "attempts": attempts,
        "mistakes": list(mistakes),
        "hints": 0,
    }


def test_collect_reads_outputs_and_counts_people_not_attempts(tmp_path, capsys):
    slip = "position off by one"
    hand_in(tmp_path / "ada" / "circuits.ipynb", bundle("circuits-1", True, slip, slip))
    hand_in(
        tmp_path / "ben" / "circuits.ipynb",
        bundle("circuits-1", False, slip),
        bundle("circuits-2", True),
    )
    (tmp_path / "cy.ipynb").write_text("no notebook")
    found = workshop.collect(tmp_path)
    assert [(o.name, o.passed) for o in found.notebooks] == [
        ("ada/circuits", ["circuits-1"]),
        ("ben/circuits", ["circuits-2"]),
        ("cy", []),
    ]
    assert found.mistakes() == [("circuits-1", slip, 2)]
    assert "cannot be read" in repr(found)
    assert main(["workshop", "collect", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mistakes"] == [["circuits-1", slip, 2]]


def test_collect_takes_strange_outputs_as_they_are(tmp_path):
    hand_in(
        tmp_path / "x.ipynb",
        {"exercise": "no-such"},
        {"exercise": "circuits-1", "attempts": "many", "mistakes": 3, "passed": "yes"},
    )
    (one,) = workshop.collect(tmp_path).notebooks
    assert one.passed == [] and one.replies["circuits-1"]["mistakes"] == []
    with pytest.raises(FileNotFoundError, match="no notebook"):
        workshop.collect(FOLDER / "src")


def notebook(*outputs: object) -> str:
    return json.dumps({"cells": [{"cell_type": "code", "outputs": list(outputs)}]})


HOSTILE = {
    "half": '{"cells": [',
    "empty": "",
    "deep": "[" * 200_000,
    "list": "[1, 2]",
    "no-cells": "{}",
    "odd-cells": '{"cells": [null, 3, {"outputs": null}, {"outputs": {"a": 1}}]}',
    "odd-outputs": notebook(None, 3, {"data": None}, {"data": [MIME]}, {"data": {MIME: "{"}}),
    "odd-bundles": notebook({"data": {MIME: [1]}}, {"data": {MIME: {"exercise": ["circuits-1"]}}}),
    "binary": "\x00\x01\x02",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_broken_notebook_is_listed_and_hides_nobody(tmp_path, name):
    (tmp_path / f"{name}.ipynb").write_text(HOSTILE[name])
    hand_in(tmp_path / "ok.ipynb", bundle("circuits-1", True))
    found = {o.name: o for o in workshop.collect(tmp_path).notebooks}
    assert found["ok"].passed == ["circuits-1"] and not found["ok"].problem
    assert not found[name].replies and found[name].problem


def test_what_is_handed_in_cannot_speak_to_the_terminal_or_wait(tmp_path, capsys):
    import os

    evil = "\x1b[2Jgone"
    made = bundle("circuits-1", False, evil, "position off by one") | {"attempts": 10**30}
    hand_in(tmp_path / f"a{evil}.ipynb", made)
    os.mkfifo(tmp_path / "pipe.ipynb")
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "loop.ipynb").symlink_to(tmp_path / "loop.ipynb")
    assert main(["workshop", "collect", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said and "position off by one" in said and "9999" in said
    assert said.count("is not a file") == 3


def test_a_check_of_a_real_notebook_can_be_collected(tmp_path):
    (tmp_path / "me.ipynb").write_bytes((FOLDER / "circuits-solved.ipynb").read_bytes())
    (one,) = workshop.collect(tmp_path).notebooks
    assert one.passed == list(exercises("circuits"))


def test_the_command_lists_and_starts(tmp_path, capsys):
    assert main(["workshop", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [r["lesson"] for r in rows] == NAMES
    assert [r["minutes"] for r in rows] == [MINUTES.get(name, 180) for name in NAMES]
    assert main(["workshop", "start", "circuits", "--to", str(tmp_path), "--copy-only"]) == 0
    assert (tmp_path / "circuits.ipynb").exists()
    assert main(["workshop", "start"]) == 2
