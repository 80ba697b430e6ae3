"""What commands share: answers as text or JSON, and checks of what was typed."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def answer(args: argparse.Namespace, data: Any, text: str) -> int:
    """Exit code 0, after the text, or with --json the data, on stdout."""
    print(json.dumps(data, indent=1, ensure_ascii=False) if args.json else text)
    return 0


def note(args: argparse.Namespace, text: str) -> None:
    """Prints a line about what is going on, on stderr, so that stdout is the answer alone."""
    if not args.json:
        print(text, file=sys.stderr)


def columns(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """The lines as text in columns under their heads."""
    rows = [heads, *lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows
    )


def check_known(kind: str, typed: str, known: Iterable[str], example: str = "") -> None:
    """Raises a ValueError that names the nearest choices, unless what was typed is among them."""
    from interp._errors import unknown

    if typed not in known:
        raise unknown(kind, typed, known, example)


def check_at_least_one(flag: str, number: int | None) -> None:
    """Raises a ValueError when a number was typed that is below 1."""
    if number is not None and number < 1:
        raise ValueError(f"{flag} must be at least 1, not {number}")


def check_action(args: argparse.Namespace, command: str, *with_name: str) -> None:
    """Raises a ValueError unless `args.action` is known and has the name it needs, or none."""
    actions = ("list", *with_name)
    check_known(f"interp {command} action", args.action, actions, f"interp {command} list")
    if args.action in with_name and not args.name:
        raise ValueError(
            f"interp {command} {args.action} needs a name; `interp {command}` lists them"
        )
    if args.action == "list" and args.name:
        raise ValueError(f"interp {command} list takes no name, got {args.name!r}")
