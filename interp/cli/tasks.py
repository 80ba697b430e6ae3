"""`interp tasks`: list the tasks, or show one task's prompts."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from interp.cli._answers import answer, check_action, check_at_least_one, check_known, columns

if TYPE_CHECKING:
    from interp import Task


def add(command: Callable[..., argparse.ArgumentParser], as_json: argparse.ArgumentParser) -> None:
    """Adds the command to the command line."""
    parser = command("tasks", tasks, "list the tasks, or show one task's prompts", as_json)
    parser.add_argument(
        "action", nargs="?", default="list", metavar="list|show", help="default: list"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="which task to show")
    parser.add_argument(
        "-n", type=int, default=3, metavar="N", help="how many prompts to show (default: 3)"
    )
    parser.add_argument(
        "--model",
        default="smollm2-135m",
        metavar="M",
        help="whose tokenizer (default: smollm2-135m)",
    )


def tasks(args: argparse.Namespace) -> int:
    """Lists the tasks, or shows the prompts of one."""
    from interp import tasks as known

    check_action(args, "tasks", "show")
    if args.action == "show":
        return _show_task(args)
    rows = [{"name": name, "what": _first_line(getattr(known, name))} for name in known.names()]
    lines = [[row["name"], row["what"]] for row in rows]
    return answer(
        args, rows, columns(["task", "what"], lines) + "\n\ninterp tasks show NAME prints prompts"
    )


def _show_task(args: argparse.Namespace) -> int:
    from interp import load, tasks

    # before the model is loaded
    check_known("task", args.name, tasks.names(), "interp tasks show ioi")
    check_at_least_one("-n", args.n)
    model = load(args.model, check=False, progress=not args.json)
    # some corruptions need partners: a task of one or two prompts may not exist
    task = tasks.make(args.name, model, n=max(args.n, 8))[: args.n]
    if args.json:
        return answer(args, _plain(task, model.tokenizer), "")
    shown = task.show(args.n)
    if shown is not None:  # in a notebook it has shown itself
        print(shown)
    return 0


def _plain(task: "Task", tokenizer: Any) -> dict:
    """A task as JSON: its prompts as text, its answers, and where its named positions are."""

    def text(rows):
        return [tokenizer.decode(row.tolist()) for row in rows]

    def words(rows):
        return [[tokenizer.decode([token]) for token in row.tolist()] for row in rows]

    return {
        "name": task.name,
        "clean": text(task.clean),
        "corrupted": text(task.corrupted),
        "answers": words(task.answers),
        "wrong": words(task.wrong),
        "positions": {k: v.tolist() for k, v in task.positions.items()},
        "labels": {k: list(map(str, v)) for k, v in task.labels.items()},
        "metric": task.metric_name,
    }


def _first_line(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").strip().split("\n")[0].rstrip(".")
