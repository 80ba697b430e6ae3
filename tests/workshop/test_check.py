"""What a check says, on an exercise of its own that needs no model."""

import json
from importlib import import_module

import numpy as np
import pytest
import torch

from interp import workshop
from interp.results import Result
from interp.workshop.check import diagnose
from interp.workshop.exercise import Exercise, Setting
from interp.workshop.progress import MIME, Progress

# the files, whose names are the functions' too
check_module, exercise, progress = (
    import_module(f"interp.workshop.{name}") for name in ("check", "exercise", "progress")
)
RIGHT = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]])


class Lesson:
    """What a lesson's module holds."""

    table = Exercise("circuits-1", 1, "a table", ("layer", "head"), hints=("a", "b", "c"))
    names = Exercise("circuits-2", 1, "two heads", kind="labels", hints=("a", "b", "c"))
    share = Exercise("circuits-3", 1, "a share", hints=("a", "b", "c"))
    EXERCISES = [table, names, share]

    class Setting(Setting):
        given = None


@Lesson.table.right
def _(s):
    return RIGHT


@Lesson.table.mistake("doubled", "You counted everything twice.")
def _(s):
    return 2 * RIGHT


@Lesson.names.right
def _(s):
    return ["L1H2", "L0H3"]


@Lesson.share.right
def _(s):
    return 0.3


@pytest.fixture(autouse=True)
def own_lesson(monkeypatch, tmp_path):
    """A lesson without a model, and a progress file of its own."""
    monkeypatch.setattr(exercise, "module_of", lambda lesson: Lesson)
    monkeypatch.setattr(check_module, "_settings", {"circuits": Lesson.Setting(None)})
    monkeypatch.setenv("INTERP_WORKSHOP", str(tmp_path / "progress.json"))
    monkeypatch.setattr(progress, "_panels", {})
    return tmp_path / "progress.json"


@pytest.mark.parametrize(
    "answer",
    [
        RIGHT,
        RIGHT.tolist(),
        torch.tensor(RIGHT, requires_grad=True),
        torch.tensor(RIGHT, dtype=torch.float16),
        [torch.tensor(row) for row in RIGHT],
        RIGHT[None],
        Result(RIGHT, ("layer", "head"), {"layer": [0, 1], "head": [0, 1, 2]}, "effect", "logits"),
    ],
    ids=lambda a: type(a).__name__,
)
def test_the_right_numbers_pass_in_any_form(answer):
    assert diagnose("circuits-1", answer).state == "right"


@pytest.mark.parametrize(
    "answer, said",
    [
        (None, "no answer yet"),
        (..., "no answer yet"),
        (lambda: 3, "call it"),
        ("about four", "not a number"),
        (RIGHT.T, "axes are swapped"),
        (np.stack([RIGHT - 1, RIGHT + 1]), "one axis too many"),
        (-RIGHT, "the sign is not"),
        (100 * RIGHT, "hundred times"),
        (RIGHT[0], "asked for is shape"),
        (RIGHT * np.nan, "NaN"),
        (np.full((2, 3), 7.0), "All its numbers are the same"),
        (RIGHT + 1, "not a mistake I know"),
    ],
)
def test_what_can_be_said_without_knowing_the_mistake(answer, said):
    reply = diagnose("circuits-1", answer)
    assert not reply and said in reply.text and reply.mistake == ""


def test_a_known_mistake_is_named_and_its_answer_not_given_away():
    reply = diagnose("circuits-1", 2 * RIGHT)
    assert (reply.state, reply.mistake) == ("mistake", "doubled")
    assert "twice" in repr(reply) and "6.5" not in repr(reply)


@pytest.mark.parametrize(
    "answer",
    [
        ["L0H3", "L1H2"],
        "L1H2, L0H3",
        [(1, 2), (0, 3)],
        np.array([[1, 2], [0, 3]]),
        ["L1H2@END", "L0H3"],
    ],
)
def test_names_of_heads_in_any_order_and_form(answer):
    assert diagnose("circuits-2", answer)


def test_some_right_names_are_counted():
    assert "1 of 2 are right" in diagnose("circuits-2", ["L1H2", "L9H9"]).text
    assert "asked for are 2" in diagnose("circuits-2", ["L1H2"]).text


def test_one_minus_a_share_is_told():
    assert "one minus" in diagnose("circuits-3", 0.7).text
    assert "hundred times" in diagnose("circuits-3", 30).text


def test_an_unknown_exercise_names_those_there_are():
    with pytest.raises(ValueError, match="circuits-1"):
        workshop.check("circuits-9", 3)
    with pytest.raises(ValueError, match="circuits"):
        workshop.begin("circus")


def test_progress_is_kept_and_carried_by_the_output(own_lesson):
    workshop.check("circuits-1", 2 * RIGHT)
    reply = workshop.check("circuits-1", RIGHT)
    kept = json.loads(own_lesson.read_text())["exercises"]["circuits-1"]
    assert kept["passed"] and kept["attempts"] == 2 and kept["mistakes"] == ["doubled"]
    bundle = reply._repr_mimebundle_()
    assert bundle[MIME]["exercise"] == "circuits-1" and bundle[MIME]["mistakes"] == ["doubled"]
    assert Progress.read(own_lesson).row("circuits-1")["passed"]


def test_a_wrong_answer_after_a_right_one_does_not_take_it_back(own_lesson):
    workshop.check("circuits-1", RIGHT)
    assert not workshop.check("circuits-1", 2 * RIGHT)
    assert Progress.here().row("circuits-1")["passed"]


def test_hints_come_one_by_one_and_then_the_solution_is_named():
    said = [workshop.hint("circuits-1") for _ in range(4)]
    assert [s.endswith(h) for s, h in zip(said, "abc")] == [True] * 3
    assert 'solution("circuits-1")' in said[3]
    assert "answer = RIGHT" in workshop.solution("circuits-1")


def test_a_damaged_file_of_progress_is_left_as_it_is(own_lesson):
    own_lesson.write_text("{")
    assert workshop.check("circuits-1", RIGHT)
    assert own_lesson.read_text() == "{" and Progress.here().row("circuits-1")["passed"]


def test_the_panel_follows(own_lesson):
    panel = workshop.progress("circuits")
    assert "0 of 3 done" in panel._repr_html_() and "not begun" in repr(panel)
    workshop.check("circuits-1", RIGHT)
    assert "1 of 3 done" in panel._repr_html_() and "✔ circuits-1" in repr(panel)


def test_a_hook_that_was_left_on_the_model_is_told(monkeypatch):
    import interp

    model = interp.load("tiny")
    monkeypatch.setattr(check_module, "_settings", {"circuits": Lesson.Setting(model)})
    assert diagnose("circuits-1", RIGHT)
    model.add_hook("blocks.1.hook_resid_pre", lambda act, hook: 2 * act)
    reply = diagnose("circuits-1", RIGHT)
    assert not reply and reply.mistake == "a hook left behind" and "reset_hooks" in reply.text
    model.reset_hooks()
    assert diagnose("circuits-1", RIGHT)
