"""`interp doctor`: is this machine ready for a workshop, and if not, what to do."""

import argparse
from collections.abc import Callable
from dataclasses import asdict

from interp.cli._answers import answer

MARKS = {"ok": "✔", "note": "◐", "fail": "✘"}


def add(command: Callable[..., argparse.ArgumentParser], as_json: argparse.ArgumentParser) -> None:
    """Adds the command to the command line."""
    parser = command("doctor", doctor, "check that this machine is ready for a workshop", as_json)
    parser.add_argument(
        "--full",
        action="store_true",
        help="load the default model as well, and run it (20 seconds)",
    )
    parser.add_argument("--no-model", action="store_true", help="do not ask for the default model")
    parser.add_argument(
        "--cell", action="store_true", help="print a cell that tries a widget in your browser"
    )


def doctor(args: argparse.Namespace) -> int:
    """0 if nothing failed, else 1."""
    from interp.workshop.doctor import CELL, findings

    if args.cell:
        return answer(args, {"cell": CELL}, CELL)
    found = []
    for one in findings(model=not args.no_model, full=args.full):
        found.append(one)
        if not args.json:
            print(f"{MARKS[one.state]} {one.name}: {one.text}", flush=True)
            if one.todo:
                print(f"    {one.todo}", flush=True)
    failed = [f.name for f in found if f.state == "fail"]
    end = f"not ready: {', '.join(failed)}" if failed else "ready"
    answer(args, {"ready": not failed, "findings": [asdict(f) for f in found]}, end)
    return 1 if failed else 0
