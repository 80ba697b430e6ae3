"""`interp models`: list, fetch, check or remove local models."""

import argparse
from collections.abc import Callable

from interp.cli._answers import answer, check_action, columns


def add(command: Callable[..., argparse.ArgumentParser], as_json: argparse.ArgumentParser) -> None:
    """Adds the command to the command line."""
    parser = command("models", models, "list, fetch, check or remove local models", as_json)
    parser.add_argument(
        "action", nargs="?", default="list", metavar="list|fetch|check|remove", help="default: list"
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="which model to fetch, check or remove"
    )


def models(args: argparse.Namespace) -> int:
    """Lists the local models, or fetches or removes one."""
    from interp.models import local

    check_action(args, "models", "fetch", "check", "remove")
    if args.action == "fetch":
        path = local.fetch(args.name, progress=not args.json)
        return answer(
            args, {"name": args.name, "path": str(path)}, f"{args.name} is ready in {path}"
        )
    if args.action == "check":
        return _check(args)
    if args.action == "remove":
        removed = local.remove(args.name)
        return answer(
            args,
            {"name": args.name, "removed": removed},
            f"{args.name} " + ("removed" if removed else "was not here"),
        )
    rows = local.table()
    lines = [
        [
            r["name"],
            "here" if r["cached"] else f"fetch: {r['download_mb']} MB",
            f"{r['disk_mb']} MB",
            r["what"],
        ]
        for r in rows
    ]
    return answer(args, rows, columns(["model", "state", "on disk", "what"], lines))


def _check(args: argparse.Namespace) -> int:
    """1 if a file of the model is not what was written, else 0."""
    from interp.models import local

    wrong = local.damaged(args.name, whole=True)
    known = local.checkable(args.name)
    if wrong:
        text = (
            f"{args.name}: {', '.join(wrong)} not what was written; interp models remove"
            f" {args.name}, then interp models fetch {args.name}"
        )
    elif known:
        text = f"{args.name}: every file is what was written"
    else:
        text = (
            f"{args.name} was converted before hashes were kept, so nothing can be said: interp"
            f" models remove {args.name}, then interp models fetch {args.name}"
        )
    answer(args, {"name": args.name, "damaged": wrong, "hashes": known}, text)
    return 1 if wrong else 0
