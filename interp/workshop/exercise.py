"""An exercise: what is asked, its right answer in two ways, and the mistakes people make."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from interp._errors import unknown

LESSONS = ("circuits", "attention", "features")
Make = Callable[[Any], Any]


@dataclass(frozen=True)
class Mistake:
    """A mistake that people make: its value is computed, and an answer of that value gets the hint.

    Attributes:
        name: What was done, in a few words; a class's table counts by it.
        hint: What the learner is told. It does not say the answer.
        make: The value that this mistake gives, from the lesson's setting.
    """

    name: str
    hint: str
    make: Make


@dataclass
class Exercise:
    """One exercise; the functions that compute its answers are added by decorators.

    Example:
        >>> one = Exercise("circuits-1", 1, "the mean logit difference", hints=("...",))
        >>> @one.right
        ... def _(setting):
        ...     return setting.task.clean_metric(setting.model).mean()

    Attributes:
        key: What `check` calls it: the lesson and a number.
        level: 1 warm-up, 2 the heart of the lesson, 3 for those who want more.
        asks: What is asked, in words.
        axes: The axes of the answer; () is one number.
        kind: "numbers", or "labels": a set of names such as "L20H0", in any order.
        hints: Three hints, each saying more than the one before.
        remember: What is said when the answer is right.
        rtol: The relative tolerance; with it goes the same share of the largest number.
    """

    key: str
    level: int
    asks: str
    axes: tuple[str, ...] = ()
    kind: str = "numbers"
    hints: tuple[str, ...] = ()
    remember: str = ""
    rtol: float = 2e-3
    solution: Make | None = None
    again: Make | None = None
    mistakes: list[Mistake] = field(default_factory=list)

    def right(self, make: Make) -> Make:
        """Decorator: the solution, as `solution` shows it."""
        self.solution = make
        return make

    def another(self, make: Make) -> Make:
        """Decorator: a second right solution, by another way."""
        self.again = make
        return make

    def mistake(self, name: str, hint: str) -> Callable[[Make], Make]:
        """Decorator: a mistake, and the hint for it."""

        def add(make: Make) -> Make:
            self.mistakes.append(Mistake(name, hint, make))
            return make

        return add


def exercises(lesson: str | None = None) -> dict[str, Exercise]:
    """The exercises of a lesson, or of all lessons, by key.

    Example:
        >>> list(exercises("circuits"))[:2]
        ['circuits-1', 'circuits-2']

    Args:
        lesson: "circuits", "attention" or "features"; all of them if None.

    Raises:
        ValueError: If there is no such lesson.
    """
    found: dict[str, Exercise] = {}
    for name in (known_lesson(lesson),) if lesson else LESSONS:
        found |= {one.key: one for one in module_of(name).EXERCISES}
    return found


def known_lesson(name: str) -> str:
    """The lesson's name, or a sentence that names those there are."""
    if name not in LESSONS:
        raise unknown("lesson", name, LESSONS, 'interp.workshop.begin("circuits")')
    return name


def lesson_of(key: str) -> str:
    """The lesson that an exercise belongs to; a sentence if there is no such exercise."""
    lesson = str(key).rpartition("-")[0]
    known = exercises(lesson) if lesson in LESSONS else exercises()
    if key not in known:
        raise unknown("exercise", str(key), known, 'interp.workshop.check("circuits-1", answer)')
    return lesson


def module_of(lesson: str) -> Any:
    """The module with a lesson's `EXERCISES`, its `Setting` and what `begin` gives."""
    return import_module(f"interp.workshop.lessons.{lesson}")


class Setting:
    """What a lesson computes with: the model and its prompts, made once, and values kept by name.

    Attributes:
        model: The model.
        given: What `begin` hands to the learner; copies where they could be changed.
    """

    given: Any

    def __init__(self, model: Any) -> None:
        self.model = model
        self._kept: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The value of this name, computed the first time."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def value(self, exercise: Exercise, make: Make) -> Any:
        """What a solution or a mistake of an exercise gives, computed once."""
        return self.once(f"{exercise.key} {id(make)}", lambda: _without_gradients(make, self))


def _without_gradients(make: Make, setting: Setting) -> Any:
    import torch

    with torch.no_grad(), _quiet():
        return make(setting)


@contextmanager
def _quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield
