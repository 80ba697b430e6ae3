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
FINE = np.array([0.24441, 0.31273, 0.57312])


class Lesson:
    """What a lesson's module holds."""

    table = Exercise("circuits-1", 1, "a table", ("layer", "head"), hints=("a", "b", "c"))
    names = Exercise("circuits-2", 1, "two heads", kind="labels", hints=("a", "b", "c"))
    share = Exercise("circuits-3", 1, "a share", hints=("a", "b", "c"))
    fine = Exercise("circuits-4", 1, "three shares", ("gate",), hints=("a", "b", "c"))
    own = Exercise(
        "circuits-5",
        1,
        "a factor",
        hints=("a",),
        uses=("factor",),
        note="If it is yours, give the factor.",
    )
    zero = Exercise("circuits-6", 1, "0.90 to two decimals", hints=("a",))
    EXERCISES = [table, names, share, fine, own, zero]

    class Setting(Setting):
        names = ("numbers",)

        def hand_out(self):
            return (torch.tensor(RIGHT),)


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


@Lesson.fine.right
def _(s):
    return FINE


@Lesson.fine.mistake("a little more", "Nearly the next one.")
def _(s):
    return FINE + 0.1004


@Lesson.fine.mistake("too much", "That is a tenth too much.")
def _(s):
    return FINE + 0.1


@Lesson.zero.right
def _(s):
    return 0.89565


@Lesson.own.right
def _(s):
    return s.once("factor", lambda: 3.0)


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
        ["l1h2", "0.3"],
    ],
)
def test_names_of_heads_in_any_order_and_form(answer):
    assert diagnose("circuits-2", answer)


def test_some_right_names_are_counted():
    assert "1 of 2 are right" in diagnose("circuits-2", ["L1H2", "L9H9"]).text
    assert "asked for are 2" in diagnose("circuits-2", ["L1H2"]).text


def test_another_form_of_a_name_is_told():
    assert "write it as" in diagnose("circuits-2", ["head 2 of 1", "L0H3"]).text


@pytest.mark.parametrize("decimals", [2, 3, 4])
def test_a_right_answer_may_be_rounded_to_two_decimals(decimals):
    assert diagnose("circuits-4", np.round(FINE, decimals))
    wrong = diagnose("circuits-4", np.round(FINE + 0.01, decimals))
    assert not wrong


def test_a_zero_at_the_end_of_a_rounded_number_counts():
    assert diagnose("circuits-6", 0.9) and not diagnose("circuits-6", 0.8)


def test_fewer_decimals_are_told_to_be_few():
    reply = diagnose("circuits-4", np.round(FINE, 1))
    assert reply.state == "wrong" and "too few digits" in reply.text


def test_a_mistake_beside_a_known_one_is_not_taken_for_it():
    assert diagnose("circuits-4", FINE + 0.1).mistake == "too much"
    assert diagnose("circuits-4", FINE + 0.1004).mistake == "a little more"
    assert diagnose("circuits-4", FINE + 0.1012).mistake == ""
    assert diagnose("circuits-4", np.round(FINE + 0.1, 3)).mistake == "too much"


def test_how_many_numbers_of_a_table_are_right_is_told():
    assert (
        "5 of its 6 numbers are right"
        in diagnose("circuits-1", RIGHT + [[0, 0, 1], [0, 0, 0]]).text
    )


def test_what_was_handed_out_is_fresh_each_time_and_a_change_in_place_is_told():
    (mine,) = workshop.begin("circuits")
    mine -= 1
    reply = diagnose("circuits-1", mine)
    assert not reply and reply.mistake == "data changed in place" and "numbers" in reply.text
    assert torch.equal(workshop.begin("circuits")[0], torch.tensor(RIGHT))
    assert diagnose("circuits-1", 2 * RIGHT).mistake == "doubled"


def test_a_changed_model_is_told(monkeypatch):
    import interp

    model = interp.load("tiny")
    monkeypatch.setattr(check_module, "_settings", {"circuits": Lesson.Setting(model)})
    assert diagnose("circuits-1", 2 * RIGHT).mistake == "doubled"
    with torch.no_grad():
        model.W_U.mul_(2)
    assert "weights" in diagnose("circuits-1", 2 * RIGHT).text


def test_what_an_answer_was_computed_from_can_be_given():
    assert not diagnose("circuits-5", 7.0) and diagnose("circuits-5", 7.0, factor=7.0)
    assert "give the factor" in diagnose("circuits-5", 7.0).text
    with pytest.raises(ValueError, match="takes nothing beside the answer"):
        diagnose("circuits-1", RIGHT, factor=7.0)


def test_hints_and_replies_are_shown_where_they_stand(monkeypatch):
    shown = []
    monkeypatch.setattr(progress, "_cell", lambda: 3)
    monkeypatch.setattr(progress, "_display", shown.append)
    reply = workshop.check("circuits-1", RIGHT)
    workshop.hint("circuits-1"), workshop.hint("circuits-1")
    assert [set(one) & {MIME, "text/plain"} for one in shown] == [{MIME, "text/plain"}] + [
        {"text/plain"}
    ] * 2
    reply._ipython_display_()  # the cell's last value: it is there already
    assert len(shown) == 3
    monkeypatch.setattr(progress, "_cell", lambda: 4)
    reply._ipython_display_()
    assert len(shown) == 4


def test_what_is_tried_after_the_exercise_is_done_is_not_counted(own_lesson):
    workshop.check("circuits-1", RIGHT)
    workshop.check("circuits-1", 2 * RIGHT)
    row = Progress.here().row("circuits-1")
    assert row["attempts"] == 1 and row["mistakes"] == []


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
    bundle = reply.bundle()
    assert bundle[MIME]["exercise"] == "circuits-1" and bundle[MIME]["mistakes"] == ["doubled"]
    assert Progress.read(own_lesson).row("circuits-1")["passed"]


def test_a_wrong_answer_after_a_right_one_does_not_take_it_back(own_lesson):
    workshop.check("circuits-1", RIGHT)
    assert not workshop.check("circuits-1", 2 * RIGHT)
    assert Progress.here().row("circuits-1")["passed"]


def test_hints_come_one_by_one_and_then_the_solution_is_named():
    said = [workshop.hint("circuits-1") for _ in range(4)]
    assert [s.endswith(h) for s, h in zip(said, "abc")] == [True] * 3
    assert 'solution("circuits-1")' in said[3] and said[3].count("Hint") == 3  # all of them again
    assert "answer = RIGHT" in workshop.solution("circuits-1")


def test_a_damaged_file_of_progress_is_left_as_it_is(own_lesson):
    own_lesson.write_text("{")
    assert workshop.check("circuits-1", RIGHT)
    assert own_lesson.read_text() == "{" and Progress.here().row("circuits-1")["passed"]


def test_the_panel_follows(own_lesson):
    panel = workshop.progress("circuits")
    assert "0 of 6 done" in panel._repr_html_() and "not begun" in repr(panel)
    workshop.check("circuits-1", RIGHT)
    assert "1 of 6 done" in panel._repr_html_() and "✔ circuits-1" in repr(panel)


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
