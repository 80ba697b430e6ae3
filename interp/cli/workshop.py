"""`interp workshop`: start a lesson, list the lessons, collect what a class handed in."""

import argparse
from collections.abc import Callable
from pathlib import Path

from interp.cli._answers import answer, check_known, columns
from interp.cli.lab import open_notebook

ACTIONS = ("list", "start", "collect")


def add(command: Callable[..., argparse.ArgumentParser], as_json: argparse.ArgumentParser) -> None:
    """Adds the command to the command line."""
    parser = command("workshop", workshop, "lessons with exercises that check themselves", as_json)
    parser.add_argument(
        "action", nargs="?", default="list", metavar="list|start|collect", help="default: list"
    )
    parser.add_argument(
        "name", nargs="?", metavar="LESSON|FOLDER", help="the lesson to start, or what to collect"
    )
    parser.add_argument("--to", metavar="DIR", help="start: copy to here (./interp-workshop)")
    parser.add_argument(
        "--teacher", action="store_true", help="start: with solutions, notes and slides"
    )
    parser.add_argument("--no-browser", action="store_true", help="start: print the address")
    parser.add_argument("--copy-only", action="store_true", help="start: do not open JupyterLab")


def workshop(args: argparse.Namespace) -> int:
    """Lists the lessons, starts one, or reads what a class handed in."""
    from interp.workshop import collect
    from interp.workshop import start as copy
    from interp.workshop.start import table

    check_known("interp workshop action", args.action, ACTIONS, "interp workshop start circuits")
    if args.action == "list":
        rows = table()
        lines = [
            [r["lesson"], f"{r['minutes']} min", str(r["exercises"]), r["title"]] for r in rows
        ]
        return answer(args, rows, columns(["lesson", "time", "exercises", "title"], lines))
    if not args.name:
        raise ValueError(
            f"interp workshop {args.action} needs a name: interp workshop start circuits, interp"
            " workshop collect FOLDER"
        )
    if args.action == "collect":
        found = collect(args.name)
        data = {"notebooks": found.rows(), "mistakes": found.mistakes()}
        return answer(args, data, repr(found))
    path = copy(args.name, args.to, teacher=args.teacher)
    answer(args, {"notebook": str(path)}, f"the lesson is {Path(path).resolve()} (yours to edit)")
    return 0 if args.copy_only else open_notebook(path, browser=not args.no_browser)
