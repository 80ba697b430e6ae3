"""Every exercise: its solution and a second one pass, and each mistake is recognised as itself."""

import numpy as np
import pytest
import torch

from interp.workshop import answers, exercises
from interp.workshop.check import code_of, diagnose, setting
from interp.workshop.exercise import LESSONS

ALL = exercises()
pytestmark = pytest.mark.xdist_group("workshop")  # one worker: a lesson's runs are made once


LESSON_GIVES = {
    "circuits": ("model", "task"),
    "attention": ("model", "tokens", "text", "code", "task"),
    "features": ("model", "data"),
    "graphs": ("model", "graph", "data"),
}


def setting_of(key, smollm2):
    """The setting of an exercise's lesson; "graphs" makes its own model."""
    lesson = key.rpartition("-")[0]
    return setting(lesson, None if lesson == "graphs" else smollm2)


def shown(one, where):
    """The answer of the code that `solution` shows, run with what a lesson's cells have made."""
    import interp

    lesson = one.key.rpartition("-")[0]
    space = {"torch": torch, "np": np, "interp": interp}
    space |= dict(zip(LESSON_GIVES[lesson], where.given, strict=True))
    made = {"circuits-7": "judged", "features-4": "sae"}.get(one.key)
    space |= {made: getattr(where, made)} if made else {}
    with torch.no_grad():
        exec(code_of(one), space)
    return space["answer"]


@pytest.mark.slow
@pytest.mark.parametrize("key", ALL)
def test_solutions_pass_and_mistakes_are_named(key, smollm2):
    one, where = ALL[key], setting_of(key, smollm2)
    for value in (shown(one, where), where.value(one, one.again)):
        reply = diagnose(key, value)
        assert reply and reply.state == "right", reply
    right = answers.plain(one, where.value(one, one.solution))
    for mistake in one.mistakes:
        made = where.value(one, mistake.make)
        reply = diagnose(key, made)
        assert not reply and reply.mistake == mistake.name, (mistake.name, reply)
        if one.kind == "numbers":  # nor does rounding make it right
            rough = np.round(answers.plain(one, made), one.decimals)
            assert not answers.is_it(one, rough, right), mistake.name
    if one.kind == "numbers":
        assert diagnose(key, np.round(right, one.decimals))


@pytest.mark.slow
@pytest.mark.parametrize("key", [k for k in ALL if ALL[k].kind == "numbers"])
def test_a_right_answer_passes_in_any_form_and_a_near_one_does_not(key, smollm2):
    one, where = ALL[key], setting_of(key, smollm2)
    right = answers.plain(one, where.value(one, one.solution))
    for form in (
        right,
        right.tolist(),
        right.astype("float32"),
        torch.tensor(right, dtype=torch.float32, requires_grad=True),
        right[None],
    ):
        assert diagnose(key, form), type(form)
    assert not diagnose(key, right * 1.02)
    assert not diagnose(key, right + 0.02 * np.abs(right).max())


@pytest.mark.parametrize("key", ALL)
def test_an_exercise_is_whole(key):
    one = ALL[key]
    assert len(one.mistakes) >= 5 and len(one.hints) == 3 and one.level in (1, 2, 3)
    assert one.solution is not None and one.again is not None and one.remember
    assert len({m.name for m in one.mistakes}) == len(one.mistakes)
    assert "answer = " in code_of(one)


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_has_exercises_of_three_levels(lesson):
    levels = [one.level for one in exercises(lesson).values()]
    assert 4 <= len(levels) <= 8 and set(levels) == {1, 2, 3}
    assert list(exercises(lesson)) == [f"{lesson}-{i + 1}" for i in range(len(levels))]
