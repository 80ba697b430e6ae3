"""Sentences for people who typed something that does not exist; none grows beyond a screen."""

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def short(value: Any, most: int = 60) -> str:
    """A value as it would be typed, cut to `most` characters.

    Example:
        >>> short("x" * 100, 10)
        "'xxxxxx..."
    """
    if isinstance(value, str | bytes):
        value = value[: most + 1]
    elif isinstance(value, Mapping | list | tuple | set) and len(value) > most:
        return f"{type(value).__name__} of {len(value):,}"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of too many digits; lists within lists
        text = f"<{type(value).__name__}>"
    return text if len(text) <= most else text[: most - 3] + "..."


def listed(names: Iterable[object], most: int = 12, length: int = 40) -> str:
    """The first `most` names, each cut to `length` characters, as one text.

    Example:
        >>> listed(["a", "b", "c"], 2)
        'a, b, ...'
    """
    shown = [str(name) for name in itertools.islice(names, most + 1)]
    cut = [name if len(name) <= length else name[: length - 3] + "..." for name in shown[:most]]
    return ", ".join(cut) + (", ..." if len(shown) > most else "")


def unknown(
    kind: str,
    typed: object,
    known: Iterable[object],
    example: str = "",
    *,
    elsewhere: Mapping[str, str | Sequence[str]] | None = None,
    most: int = 12,
) -> ValueError:
    """A ValueError that quotes what was typed and names the nearest things that exist.

    Example:
        >>> raise unknown("task", "oi", ["ioi", "capitals"])
        ValueError: unknown task 'oi': did you mean 'ioi'? (known: capitals, ioi)

    Args:
        kind: What it was meant to be, in words.
        typed: What was typed.
        known: What exists; the first `most` are listed.
        example: A call or a value that works.
        elsewhere: What other packages call things, with our names for them.
        most: How many of what exists are listed.
    """
    names = sorted(str(k) for k in known)
    folded = {name.lower(): name for name in names}  # "ABC" is near "abc"
    near = [
        folded[n]
        for n in difflib.get_close_matches(str(typed)[:200].lower(), folded, n=3, cutoff=0.5)
    ]
    meant = (elsewhere or {}).get(str(typed)[:200].lower(), ())
    meant = [name for name in ([meant] if isinstance(meant, str) else meant) if name in names]
    near = meant or near
    kind = kind if len(kind) <= 200 else kind[:197] + "..."
    message = f"unknown {kind} {short(typed, 100)}"
    if near:
        message += ": did you mean " + " or ".join(short(n) for n in near) + "?"
    if names:
        message += f" (known: {listed(names, most)})"
    if example:
        message += f" (example: {example})"
    return ValueError(message)
