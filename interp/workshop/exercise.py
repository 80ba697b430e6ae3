"""An exercise: what is asked, its right answer in two ways, and the mistakes people make."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np

from interp._errors import unknown

LESSONS = ("circuits", "attention", "features", "graphs")
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
        decimals: An answer that was rounded passes with this many decimals.
        note: What is said of an answer that is neither right nor a known mistake.
        uses: What `check` can be given beside the answer, because a right answer depends on it.
    """

    key: str
    level: int
    asks: str
    axes: tuple[str, ...] = ()
    kind: str = "numbers"
    hints: tuple[str, ...] = ()
    remember: str = ""
    rtol: float = 2e-3
    decimals: int = 2
    note: str = ""
    uses: tuple[str, ...] = ()
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
        lesson: "circuits", "attention", "features" or "graphs"; all of them if None.

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
        names: What the lesson calls the things that `begin` hands out.
        own_model: Whether the lesson makes a model of its own, whatever model is loaded.
    """

    names: tuple[str, ...] = ("model",)
    own_model: bool = False
    _out: Any = None

    def __init__(self, model: Any) -> None:
        self.model = model
        self._kept: dict[str, Any] = {}
        self._was = None if model is None else _state(model)

    def hand_out(self) -> tuple:
        """New copies of what `begin` gives, in the order of `names`."""
        return (self.model,)

    @property
    def given(self) -> tuple:
        """What `begin` hands to the learner: new copies each time, remembered to be looked at."""
        self._out = self.hand_out()
        return self._out

    def spoiled(self) -> str:
        """The name of a tensor that was handed out and has been changed since; "" for none."""
        if self._out is None:
            return ""
        now, was = (
            dict(pair for one in zip(self.names, out, strict=True) for pair in _tensors(*one))
            for out in (self._out, self.hand_out())
        )
        return next((name for name in was if not _equal(now.get(name), was[name])), "")

    def altered(self) -> bool:
        """Whether the model's weights are others than at the beginning."""
        if self._was is None:
            return False
        watched, logits = self._was
        now = _state(self.model, logits=False)[0]
        return now != watched and not _equal(_state(self.model)[1], logits)

    def using(self, **things: Any) -> "Setting":
        """A setting with something of the learner's in place of its own."""
        key = " ".join(f"{name} {id(thing)}" for name, thing in sorted(things.items()))
        own = all(self._kept.get(name) is thing for name, thing in things.items())
        return self if own else self.once(f"using {key}", lambda: self._copy(things))

    def _copy(self, things: dict[str, Any]) -> "Setting":
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _kept=dict(things))  # which keeps them alive
        return other

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The value of this name, computed the first time."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def value(self, exercise: Exercise, make: Make) -> Any:
        """What a solution or a mistake of an exercise gives, computed once."""
        return self.once(f"{exercise.key} {id(make)}", lambda: _without_gradients(make, self))


def _state(model: Any, logits: bool = True) -> tuple[int, Any]:
    """How often the weights were seen to change, and the logits of one token."""
    import torch

    from interp.models.state import look

    weights = look(model).weights
    with torch.no_grad():
        device = model.W_U.device
        return weights, model(torch.tensor([[1, 2, 3]], device=device)) if logits else None


def _tensors(name: str, thing: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor in what was handed out, under the name by which a learner knows it."""
    import torch

    from interp.tasks import Task

    if isinstance(thing, torch.Tensor):
        yield name, thing
    elif isinstance(thing, (list, tuple)):
        for i, part in enumerate(thing):
            yield from _tensors(f"{name}[{i}]", part)
    elif isinstance(thing, dict):
        for key, part in thing.items():
            yield from _tensors(f"{name}[{key!r}]", part)
    elif isinstance(thing, (SimpleNamespace, Task)):
        for key, part in vars(thing).items():
            yield from _tensors(f"{name}.{key}", part)


def _equal(a: Any, b: Any) -> bool:
    import torch

    if not isinstance(a, torch.Tensor) or a.shape != b.shape:
        return False
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())


def _without_gradients(make: Make, setting: Setting) -> Any:
    import torch

    with torch.no_grad(), _quiet():
        return make(setting)


@contextmanager
def _quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield
