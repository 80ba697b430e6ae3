"""Sentences for people who typed something that does not exist."""

import difflib
from collections.abc import Iterable


def unknown(kind: str, typed: object, known: Iterable[object], example: str = "") -> ValueError:
    """A ValueError that quotes what was typed and names the nearest things that exist.

    Example:
        >>> raise unknown("task", "oi", ["ioi", "capitals"])
        ValueError: unknown task 'oi': did you mean 'ioi'? (known: capitals, ioi)

    Args:
        kind: What it was meant to be, in words.
        typed: What was typed.
        known: What exists; the first twelve are listed.
        example: A call or a value that works.
    """
    names = sorted(str(k) for k in known)
    folded = {name.lower(): name for name in names}  # "ABC" is near "abc"
    near = [
        folded[n] for n in difflib.get_close_matches(str(typed).lower(), folded, n=3, cutoff=0.5)
    ]
    message = f"unknown {kind} {typed!r}"
    if near:
        message += ": did you mean " + " or ".join(repr(n) for n in near) + "?"
    if names:
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        message += f" (known: {shown})"
    if example:
        message += f" (example: {example})"
    return ValueError(message)
