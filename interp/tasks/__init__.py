"""Tasks: aligned clean and corrupted prompts with answers, positions and a metric. One file a task.

>>> task = interp.tasks.ioi(model, n=32)
>>> interp.tasks.make("greater_than", model, n=16)
>>> interp.tasks.names()
['agreement', 'capitals', 'greater_than', 'induction', 'ioi']
"""

from typing import Any

from interp._say import unknown
from interp.tasks.agreement import agreement
from interp.tasks.capitals import capitals
from interp.tasks.greater_than import greater_than
from interp.tasks.induction import induction
from interp.tasks.ioi import ioi
from interp.tasks.metrics import METRICS
from interp.tasks.task import Task

TASKS = {make.__name__: make for make in (agreement, capitals, greater_than, induction, ioi)}

__all__ = ["METRICS", "TASKS", "Task", "agreement", "capitals", "greater_than", "induction", "ioi", "make", "names"]


def names() -> list[str]:
    """The tasks there are."""
    return sorted(TASKS)


def make(name: str, model: Any, **options: Any) -> Task:
    """The task of this name; an unknown name is answered with the nearest ones.

    >>> interp.tasks.make("ioi", model, n=32, corruption="abc")
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name](model, **options)
