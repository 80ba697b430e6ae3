"""Checks that diagnose: a right answer passes however it was computed, a known mistake is named."""

import inspect
import re
import textwrap
from dataclasses import dataclass
from html import escape
from typing import Any

from interp._progress import named, progress
from interp.models import bridge
from interp.workshop import answers
from interp.workshop.exercise import (
    Exercise,
    Setting,
    exercises,
    known_lesson,
    lesson_of,
    module_of,
)
from interp.workshop.progress import MIME, Progress, Shown

_settings: dict[str, Setting] = {}


@dataclass(frozen=True)
class Reply(Shown):
    """What a check says; true when the answer is right.

    Attributes:
        key: The exercise.
        state: "right", "mistake" (one that is known), "wrong", or "unclear" (no answer).
        text: What the learner reads.
        mistake: The name of the known mistake, or "".
    """

    key: str
    state: str
    text: str
    mistake: str = ""

    def __bool__(self) -> bool:
        return self.state == "right"

    def __repr__(self) -> str:
        mark = "✔ right ·" if self else "✘"
        return textwrap.fill(f"{mark} {self.key}: {self.text}", 92, break_long_words=False)

    def _repr_html_(self) -> str:
        colour = "#2e7d32" if self else "#b26a00"
        mark = "✔ right" if self else "✘ not yet"
        return (
            f'<div style="border-left: 4px solid {colour}; padding: 2px 12px; margin: 4px 0;'
            f' max-width: 46em"><b style="color: {colour}">{mark}</b> · {escape(self.key)}<br>'
            f"{escape(self.text)}</div>"
        )

    def bundle(self) -> dict[str, Any]:
        """Its texts; and, for `interp workshop collect`, what is known about the exercise."""
        # a notebook that is handed in carries this: `interp workshop collect` reads it
        return {
            "text/plain": repr(self),
            "text/html": self._repr_html_(),
            MIME: {"exercise": self.key, "state": self.state, **Progress.here().row(self.key)},
        }


def begin(lesson: str, model: Any = None) -> Any:
    """What the lesson works with: for "circuits", the model and a task.

    Example:
        >>> model, task = begin("circuits")

    Args:
        lesson: "circuits", "attention", "features" or "graphs".
        model: A model that is loaded already; the default model, `interp.load()`, if None. "graphs"
            trains a small one of its own and takes none.

    Returns:
        "circuits": model, task; "attention": model, tokens (a block that comes twice), text, code,
        task; "features": model, data; "graphs": model, graph, data. All but the model are new
        copies: begin again, and what you changed in place is as it was.

    Raises:
        ValueError: If there is no such lesson, or the model is not on the CPU.

    Cost:
        15 seconds, most of them to load the model; none if the lesson has begun before.
    """
    return setting(lesson, model).given


def setting(lesson: str, model: Any = None) -> Setting:
    """The lesson's setting, made once; another model makes it anew."""
    lesson = known_lesson(lesson)
    now, made = _settings.get(lesson), module_of(lesson).Setting
    if made.own_model:
        if model is not None and (now is None or now.model is not model):
            raise ValueError(
                f"the lesson {lesson!r} makes a small model of its own: begin({lesson!r})"
            )
        if now is None:
            now = _settings[lesson] = made(None)
        return now
    if now is None or (model is not None and now.model is not model):
        if model is None:  # the lessons share the model that one of them loaded
            model = next((one.model for one in _settings.values() if not one.own_model), None)
        if model is None:
            import interp

            model = interp.load(device="cpu")
        elif (device := bridge.device(model)).type != "cpu":
            raise ValueError(
                f"the model is on {device}, and the lessons' tensors are on the CPU, where all is"
                f" fast enough: begin({lesson!r}) loads it there"
            )
        now = _settings[lesson] = made(model)
    return now


def check(exercise: str, answer: Any = None, **used: Any) -> Reply:
    """Whether the answer is right; if it is a mistake that people make, which one.

    Example:
        >>> check("circuits-1", 99)
        ✘ circuits-1: This is not what is asked for, ...

    Args:
        exercise: The exercise's key, "circuits-1".
        answer: A number, list, array, tensor or Result, or names such as ["L4H2", "L9H0"].
            A number that is rounded passes if it has two or three decimals, as the exercise says.
        used: Something of your own that the answer was computed from, where the exercise allows
            for it: check("features-4", answer, sae=sae).

    Returns:
        A reply that shows itself, and is true when the answer is right. It is kept in the
        notebook's output, so that a teacher can collect it.

    Raises:
        ValueError: If there is no such exercise, or it does not use what was given beside the
            answer.

    Cost:
        A wrong answer is compared with each known mistake, which is computed the first time: some
        exercises take ten seconds for that, and attention-7 half a minute.
    """
    reply = diagnose(exercise, answer, **used)
    Progress.here().note(reply.key, reply.state, reply.mistake)
    reply.show()
    return reply


def diagnose(key: str, answer: Any, **used: Any) -> Reply:
    """The reply to an answer; nothing is written down."""
    lesson = lesson_of(key)
    one = exercises(lesson)[key]
    home = where = setting(lesson)
    if odd := sorted(set(used) - set(one.uses)):
        uses = " and ".join(one.uses) or "nothing"
        raise ValueError(f"check({key!r}, ...) takes {uses} beside the answer, not {odd[0]!r}")
    if used:
        where = where.using(**used)
    try:
        given = answers.plain(one, answer)
    except answers.NotAnAnswer as error:
        return Reply(key, "unclear", str(error))
    if left := _changed(where):
        return Reply(key, "mistake", left, "a hook left behind")
    with named(f"checking {key}"):
        right = answers.plain(one, where.value(one, one.solution))
    done = Reply(key, "right", one.remember or "Well done.")
    if answers.same(one, given, right, answers.TIGHT):
        return done
    nearly = answers.is_it(one, given, right, answers.slack(answer))
    if nearly and answers.rounded(given, right, one.decimals) is not None:
        return done  # rounded as it should be
    if not nearly and (spoiled := _spoiled(home)):
        return Reply(key, "mistake", spoiled, "data changed in place")
    made = []
    with named("comparing with known mistakes"), progress(None, key, len(one.mistakes)) as bar:
        for mistake in one.mistakes:
            made.append(answers.plain(one, where.value(one, mistake.make)))
            bar.update()
    found = answers.nearest(one, given, made)
    if nearly and (found is None or not answers.same(one, given, made[found], answers.TIGHT)):
        return done
    if found is not None:
        mistake = one.mistakes[found]
        return Reply(key, "mistake", mistake.hint, mistake.name)
    said = answers.remark(one, given, right)
    more = f'interp.workshop.hint("{key}") gives a hint.'
    asked = answers.asked(one)
    text = said or f"This is not what is asked for, and not a mistake I know. {asked}"
    return Reply(key, "wrong", " ".join(part for part in (text, one.note, more) if part))


def _spoiled(where: Setting) -> str:
    """A sentence if what `begin` handed out, or the model, has been changed since."""
    if name := where.spoiled():
        return (
            f"{name} is no longer what begin gave you: something changed it in place (x -= ...,"
            " W /= ..., an assignment to a part). A tensor that you take out of another thing is"
            " the same tensor, not a copy: write x = x - ... instead. Run the lesson's first cell"
            " again (begin hands out new copies), and compute your answer anew."
        )
    if where.model is not None and where.altered():
        return (
            "The model's weights are no longer as they were: something changed them in place"
            " (W_O *= ...). Restart the kernel, and run the first cell again."
        )
    return ""


def _changed(where: Setting) -> str:
    """A sentence if the model is no longer as `begin` gave it: then no number can be trusted."""
    if where.model is None:
        return ""
    from interp.models.state import look

    if hooked := look(where.model).hooked:
        return (
            f"There is still a hook on the model, at {hooked}: every number from now on is computed"
            " with it, this check's too. model.reset_hooks() takes it off; run_with_hooks, or `with"
            " model.hooks(...)`, never leave one behind. Then compute your answer again."
        )
    return ""


def hint(exercise: str) -> str:
    """The next hint for an exercise: three, each saying more than the one before, then all again.

    Example:
        >>> hint("circuits-2")

    Args:
        exercise: The exercise's key.
    """
    one = exercises(lesson_of(exercise))[exercise]
    used, of = Progress.here().hinted(exercise, len(one.hints)), len(one.hints)
    if used > of:
        lines = [f"Hint {i + 1} of {of}: {text}" for i, text in enumerate(one.hints)]
        lines += [f'That is all. interp.workshop.solution("{exercise}") shows a solution.']
        return _Text("\n".join(lines)).show()
    return _Text(f"Hint {used} of {of}: {one.hints[used - 1]}").show()


def solution(exercise: str) -> str:
    """The code of a solution, in the lesson's own names.

    Example:
        >>> print(solution("circuits-2"))

    Args:
        exercise: The exercise's key.
    """
    one = exercises(lesson_of(exercise))[exercise]
    Progress.here().shown(exercise)
    return _Text(code_of(one)).show()


def code_of(one: Exercise) -> str:
    """The solution's code as text."""
    lines = textwrap.dedent(inspect.getsource(one.solution)).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("def "))
    body = textwrap.dedent("\n".join(lines[at + 1 :]))
    body = re.sub(r"^return ", "answer = ", body, flags=re.M)  # not those of functions inside
    return re.sub(
        r"\bs\.", "", body
    )  # the setting's names are the lesson's: s.model is model there


class _Text(str, Shown):
    """Text that a notebook shows as it is, without quotes."""

    def __repr__(self) -> str:
        return str(self)

    def bundle(self) -> dict[str, Any]:
        return {"text/plain": str(self)}
