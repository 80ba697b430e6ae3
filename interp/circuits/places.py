"""The places of a circuit by position: the task's named positions, or the numbers of positions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from interp._errors import listed

if TYPE_CHECKING:
    from torch import Tensor

OTHER = "other"  # all positions that have no name


def place_names(task: Any) -> list[str]:
    """The places of a task: its named positions and all others together, or each position's number.

    Numbers ("0", "1", ...) are for prompts of one length of which END alone is named.

    Example:
        >>> place_names(interp.tasks.ioi(model))
        ['IO', 'S1', 'S1+1', 'S2', 'END', 'other']

    Args:
        task: A task.
    """
    names = list(task.position_names)
    one_length = "positions" in getattr(task, "__dict__", {})  # a task of several lengths has none
    if names == ["END"] and one_length:
        return [str(i) for i in range(task.clean.shape[1])]
    return [*names, OTHER]


def place_of(task: Any, places: Sequence[str]) -> "Tensor":
    """Which of the places each position of each prompt is: an index [batch pos].

    A token with two names is at the one that comes first among the places.

    Example:
        >>> place_of(task, ["S2", "END", "other"])[0]
        tensor([2, 2, 2, 2, 0, 2, 1])

    Args:
        task: A task with prompts of one length.
        places: Names of positions, numbers of positions, or "other" for all that have no name here.

    Raises:
        ValueError: If the task lacks a place, or the places do not cover its positions.
    """
    import torch

    n, length = task.clean.shape
    out = torch.full((n, length), -1, device=task.clean.device)
    rows = torch.arange(n, device=out.device)
    for k, name in enumerate(places):
        if name == OTHER:
            continue
        if name in task.positions:
            at = task.positions[name].to(out.device)
        elif _is_number(name) and int(name) < length:
            at = torch.full((n,), int(name), device=out.device)
        else:
            raise ValueError(_lacks(task, name, places))
        free = out[rows, at] < 0
        out[rows[free], at[free]] = k
    if OTHER in places:
        return torch.where(out < 0, list(places).index(OTHER), out)
    if (out < 0).any():
        missing = int((out < 0).any(0).nonzero()[0])
        raise ValueError(
            f"the places {listed(places, 4)} say nothing of"
            f" position {missing} of these prompts, which have {length} tokens: take prompts of the"
            " length that the places were found on, or circuit.without_places()"
        )
    return out


def _lacks(task: Any, name: str, places: Sequence[str]) -> str:
    """Why the task has no such place, in one sentence."""
    if _is_number(name):
        return (
            f"there is no position {name} in these prompts of {task.clean.shape[1]} tokens, and the"
            f" places go up to {places[-1]}: take prompts of the length that they were found on, or"
            " circuit.without_places()"
        )
    return (
        f"{task.name!r} names no position {name!r} (it names {listed(task.positions)}): name it,"
        " interp.tasks.pairs(..., positions={...}), or take circuit.without_places()"
    )


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) < 8
