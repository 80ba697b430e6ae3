"""Tasks: prompts with their answers, positions and a metric: your own, or built-in ones, one file
each.

>>> task = interp.tasks.pairs(model, clean, corrupted, answers, wrong)      # your own strings
>>> task = interp.tasks.read("prompts.csv", model)                          # your own file
>>> task = interp.tasks.ioi(model, n=32)
>>> interp.tasks.make("greater_than", model, n=16)
>>> interp.tasks.names()
['agreement', 'capitals', 'colored_objects', 'conflict', 'docstring', 'fewshot', 'greater_than',
'induction', 'ioi', 'laundry', 'needle', 'successor']
"""

from typing import Any

from interp._errors import unknown
from interp._lazy import described, public
from interp.tasks import corrupt
from interp.tasks.agreement import agreement
from interp.tasks.capitals import capitals
from interp.tasks.chat import chat
from interp.tasks.colored_objects import colored_objects
from interp.tasks.conflict import conflict
from interp.tasks.docstring import docstring
from interp.tasks.fewshot import fewshot
from interp.tasks.greater_than import greater_than
from interp.tasks.induction import induction, repetition_loss
from interp.tasks.ioi import ioi
from interp.tasks.laundry import laundry
from interp.tasks.metrics import METRICS, Metric
from interp.tasks.needle import needle
from interp.tasks.pairs import pairs
from interp.tasks.read import read
from interp.tasks.successor import successor
from interp.tasks.task import Task
from interp.tasks.text_chunks import text

# A task is a function named like its file, so that its import line above is all it takes to add
# one.
OWN = ("chat", "pairs", "read")  # for prompts that people bring
TASKS = {
    name: made
    for name, made in sorted(globals().items())
    if name not in OWN
    and callable(made)
    and getattr(made, "__module__", "") == f"{__name__}.{name}"
}

__all__ = [
    "METRICS",
    "TASKS",
    "Metric",
    "Task",
    *OWN,
    *TASKS,
    "corrupt",
    "make",
    "names",
    "repetition_loss",
    "text",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def names() -> list[str]:
    """The tasks there are."""
    return sorted(TASKS)


def make(name: str, model: Any, **options: Any) -> Task:
    """The task of this name; an unknown name is answered with the nearest ones.

    Example:
        >>> interp.tasks.make("ioi", model, n=32, corruption="abc")
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name](model, **options)


def _says() -> str:
    lines = [f"  {name:<16} {_first_line(TASKS[name])}" for name in names()]
    own = [f"  {name:<16} {_first_line(globals()[name])}" for name in OWN]
    return "\n".join(
        ["interp.tasks: for example interp.tasks.ioi(model, n=32)", *lines, "from your own:", *own]
    )


def _first_line(function: Any) -> str:
    return (function.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")


described(__name__, _says)

# as in every other package, what people call holds its arguments against its signature
globals().update(
    {
        name: public(globals()[name], __name__, name)
        for name in (*OWN, *TASKS, "make", "repetition_loss", "text")
    }
)
