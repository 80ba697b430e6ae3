"""Token sets: some positions of every prompt, written as words.

| written | the positions |
| --- | --- |
| `"END"`, `"S2"` | a position that the task names |
| `0`, `-1` | a position by its number |
| `"S2-1"`, `"SUBJECT+1"` | so many tokens before or after a named one |
| `"S1:S2"`, `"1:SUBJECT-1"` | from ... to, both ends included |
| `"S2:"`, `":S2"` | to the last token; from the first |
| `"all"` | every position |
| `"~S2"`, `"~S1:S2"` | every position but these |
| `["S1", "S2", "4:6"]` | these together |
| a boolean tensor [batch pos] | as it is |

In a dictionary of sets, "rest" is what none of the others has.
"""

import re
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from interp._errors import unknown
from interp._isolation import torch_defaults

Tokens = str | int | Sequence | Tensor
_EXAMPLES = "'S2', -1, 'S1:S2', '~END', ['S1', 'S2'], 'all'"


@torch_defaults()
def token_set(task: Any, spec: Tokens) -> Bool[Tensor, "batch pos"]:
    """Which positions of each prompt belong to the set [batch pos]; every prompt has at least one.

    Example:
        >>> token_set(task, "1:SUBJECT-1").sum(-1)     # how many tokens come before the subject

    Args:
        task: A task, for its positions and prompts.
        spec: The set: a position's name or number, a span "S1:S2", "~S2", "all", a list, or a mask
            (the table at the top of this file).

    Raises:
        ValueError: If a name is unknown, a position does not exist, or the set is empty in some
            prompt ("S2:S1" where S1 comes first).
    """
    members = _members(task, spec)
    empty = (~members.any(-1)).nonzero()
    if len(empty):
        raise ValueError(
            f"the token set {spec!r} is empty in prompt {int(empty[0])}: a set needs a token in"
            " every prompt"
        )
    return members


@torch_defaults()
def token_sets(task: Any, specs: Mapping[str, Tokens]) -> dict[str, Bool[Tensor, "batch pos"]]:
    """Several named token sets, each [batch pos]; "rest" is what none of the others has.

    Example:
        >>> token_sets(task, {"subject": "SUBJECT", "first token": 0, "others": "rest"})

    Args:
        task: A task, for its positions and prompts.
        specs: A token set by name, each as `token_set` takes it.

    Raises:
        ValueError: If a set is empty in some prompt, or "rest" is used twice or alone.
    """
    if not specs:
        raise ValueError("no token sets: name at least one, for example {'subject': 'SUBJECT'}")
    rest = [
        name
        for name, spec in specs.items()
        if isinstance(spec, str) and spec == "rest" not in task.positions
    ]
    masks = {name: token_set(task, spec) for name, spec in specs.items() if name not in rest}
    if len(rest) > 1 or not masks:
        raise ValueError(
            "'rest' is what the other sets leave: use it once, beside at least one other set"
        )
    taken = torch.stack(list(masks.values())).any(0)
    return {name: token_set(task, ~taken) if name in rest else masks[name] for name in specs}


def _members(task: Any, spec: Tokens) -> Tensor:
    """The mask [batch pos] of a set, which may be empty."""
    shape = tuple(task.clean.shape)
    if isinstance(spec, Tensor):
        if spec.dtype != torch.bool or tuple(spec.shape) != shape:
            raise ValueError(
                f"a tensor of tokens is boolean {list(shape)}, got {spec.dtype} {list(spec.shape)}"
            )
        return spec
    if isinstance(spec, tuple):
        raise ValueError(
            f"not a token set: {spec!r} (a span is 'S1:S2', two tokens are ['S1', 'S2'])"
        )
    if isinstance(spec, list | range):
        if not len(spec):
            raise ValueError(f"an empty list of tokens: name at least one (try {_EXAMPLES})")
        return torch.stack([_members(task, part) for part in spec]).any(0)
    if isinstance(spec, Integral) and not isinstance(spec, bool):
        spec = int(spec)  # also one of NumPy's
    if isinstance(spec, bool) or not isinstance(spec, str | int):
        raise ValueError(f"not a token set: {spec!r} (try {_EXAMPLES})")
    if isinstance(spec, str) and spec not in task.positions:
        if spec.startswith("~"):
            return ~_members(task, spec[1:])
        if spec == "all":
            return torch.ones(shape, dtype=torch.bool)
        if spec == "rest":
            raise ValueError(
                "'rest' is what other sets leave: use it in a dictionary, {'S2': 'S2', 'others':"
                " 'rest'}"
            )
        if ":" in spec:
            return _span(task, spec)
    return torch.arange(shape[1]) == _place(task, spec)[:, None]


def _span(task: Any, spec: str) -> Tensor:
    """The mask of a span "S1:S2", both ends included."""
    ends = spec.split(":")
    if len(ends) != 2:
        raise ValueError(f"not a span of tokens: {spec!r} (a span is 'S1:S2', both ends included)")
    low, high = _place(task, ends[0] or 0), _place(task, ends[1] or -1)
    at = torch.arange(task.clean.shape[1])
    return (at >= low[:, None]) & (at <= high[:, None])


def _place(task: Any, spec: str | int) -> Tensor:
    """One position [batch]: a name, a number, or a name and an offset."""
    n, length = task.clean.shape
    if isinstance(spec, int) or (spec not in task.positions and re.fullmatch(r"[-+]?\d+", spec)):
        at = int(spec)
        if not -length <= at < length:
            raise ValueError(
                f"no position {at}: the prompts have {length} tokens (0 to {length - 1})"
            )
        return torch.full((n,), at % length)
    if spec in task.positions:
        return task.positions[spec].long()
    parts = re.fullmatch(r"(.+?)([-+]\d+)", spec)
    if parts is None or parts[1] not in task.positions:
        raise unknown("position", spec, [*task.positions, "all"], _EXAMPLES)
    at = task.positions[parts[1]].long() + int(parts[2])
    outside = ((at < 0) | (at >= length)).nonzero()
    if len(outside):
        i = int(outside[0])
        raise ValueError(
            f"{spec!r} is position {int(at[i])} in prompt {i}: the prompts have tokens 0 to"
            f" {length - 1}"
        )
    return at
