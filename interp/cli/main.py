"""The `interp` command: the first study from start to verdicts, models, tasks, any study, circuits,
and the lab.

Exit codes: 0 all well; 1 a study failed or a verdict differs from the recorded one; 2 a wrong
command line or input (one sentence on stderr; --debug shows where it came from); 130 interrupted.
Nothing heavy is imported before a command needs it, so that `interp --help` answers at once.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from interp import __version__
from interp.cli import circuits

FIRST = "00-start-here"


def main(argv: list[str] | None = None) -> int:
    """The exit code of one command.

    Example:
        >>> main(["tasks", "--json"])
        0
    """
    parser = command_line()
    args = parser.parse_args(argv)
    if not hasattr(args, "act"):
        parser.print_help()
        return 0
    # threads that wait without spinning: on a busy machine spinning ones made a run ten times
    # slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = args.act(args)
        sys.stdout.flush()  # here, so that a closed pipe is met below and not while Python ends
        return code
    except KeyboardInterrupt:
        print("\ninterp: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `interp tasks | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if getattr(args, "debug", False):
            raise
        return say(error)


def say(error: Exception) -> int:
    """The exit code for an error, after one sentence about it on stderr."""
    from interp.studies import StudyFailed, VerdictChanged

    if isinstance(error, (StudyFailed, VerdictChanged)):
        print(f"interp: {error}", file=sys.stderr)
        return 1
    if isinstance(
        error, (ValueError, OSError, ImportError)
    ):  # what the library raises for bad input
        print(f"interp: {error}", file=sys.stderr)
        return 2
    print(
        f"interp: {type(error).__name__}: {error} (this is a bug; --debug shows where)",
        file=sys.stderr,
    )
    return 1


# --- what can be typed ----------------------------------------------------------------------------


def command_line() -> argparse.ArgumentParser:
    """The parser; every command carries the function that does it in `act`."""
    debug = argparse.ArgumentParser(add_help=False)
    debug.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,
        help="on an error, show the whole traceback",
    )
    # a parser of its own, so that only commands whose answer a script can read take --json
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print JSON on stdout, for scripts")
    parser = argparse.ArgumentParser(
        prog="interp",
        parents=[debug],
        description="Take a language model apart and see which parts do the work.",
        epilog="start with: interp demo     then: interp lab",
    )
    parser.add_argument("--version", action="version", version=f"interp {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(
        name: str, act: Any, summary: str, *more: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=summary, description=summary, parents=[debug, *more])
        one.set_defaults(act=act)
        return one

    demo = command(
        "demo", _demo, "fetch the default model and run the first study, from start to verdicts"
    )
    demo.add_argument(
        "--full", action="store_true", help="as many prompts as the committed notebook (slower)"
    )
    demo.add_argument("--out", metavar="DIR", help="where to write (default: interp-runs/)")
    demo.add_argument(
        "--widgets", action="store_true", help="open the tour of the widgets in JupyterLab instead"
    )
    _add_models(command("models", _models, "list, fetch or remove local models", as_json))
    _add_tasks(command("tasks", _tasks, "list the tasks, or show one task's prompts", as_json))
    run = command("run", _run, "run a study and print its verdict table", as_json)
    run.add_argument(
        "name", metavar="NAME", help="a study: 00-start-here, or 00; or a tour: tour-patching"
    )
    run.add_argument(
        "--fast", action="store_true", help="fewer prompts; every claim is still judged"
    )
    run.add_argument(
        "--model", metavar="M", help="another model: a name, a folder, a .gguf file or a hub id"
    )
    run.add_argument("--out", metavar="DIR", help="where to write (default: interp-runs/NAME/)")
    circuits.add(command, as_json)
    export = command(
        "export",
        _export,
        "write a notebook as one page that opens without a kernel or a network",
        as_json,
    )
    export.add_argument(
        "notebook",
        metavar="NOTEBOOK",
        help="an executed .ipynb file, or a study: 00, tour-patching",
    )
    export.add_argument(
        "--html",
        action="store_true",
        required=True,
        help="as one HTML file: text, tables, figures, widgets as they were",
    )
    export.add_argument(
        "--out", metavar="FILE", help="where to write (default: NOTEBOOK with .html)"
    )
    lab = command("lab", _lab, "open JupyterLab on the notebooks")
    lab.add_argument("name", nargs="?", metavar="NAME", help="open this study")
    lab.add_argument(
        "--no-browser", action="store_true", help="print the address instead of opening a browser"
    )
    return parser


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", nargs="?", default="list", metavar="list|fetch|remove", help="default: list"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="which model to fetch or remove")


def _add_tasks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", nargs="?", default="list", metavar="list|show", help="default: list"
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


def _one_of(args: argparse.Namespace, command: str, *with_name: str) -> None:
    """Nothing, when `what` is `list` or an action that got the name it needs; else a ValueError
    saying what is wrong.
    """
    from interp._errors import unknown

    if args.what not in ("list", *with_name):
        raise unknown(
            f"interp {command} action", args.what, ("list", *with_name), f"interp {command} list"
        )
    if args.what in with_name and not args.name:
        raise ValueError(
            f"interp {command} {args.what} needs a name; `interp {command}` lists them"
        )
    if args.what == "list" and args.name:
        raise ValueError(f"interp {command} list takes no name, got {args.name!r}")


# --- models and tasks -----------------------------------------------------------------------------


def _models(args: argparse.Namespace) -> int:
    from interp import models

    _one_of(args, "models", "fetch", "remove")
    if args.what == "fetch":
        path = models.fetch(args.name, progress=not args.json)
        return _answer(
            args, {"name": args.name, "path": str(path)}, f"{args.name} is ready in {path}"
        )
    if args.what == "remove":
        gone = models.remove(args.name)
        return _answer(
            args,
            {"name": args.name, "removed": gone},
            f"{args.name} " + ("removed" if gone else "was not here"),
        )
    rows = models.table()
    lines = [
        [
            r["name"],
            "here" if r["cached"] else f"fetch: {r['download_mb']} MB",
            f"{r['disk_mb']} MB",
            r["what"],
        ]
        for r in rows
    ]
    return _answer(args, rows, _columns(["model", "state", "on disk", "what"], lines))


def _tasks(args: argparse.Namespace) -> int:
    from interp import tasks

    _one_of(args, "tasks", "show")
    if args.what == "show":
        return _show_task(args)
    rows = [{"name": name, "what": _first_line(getattr(tasks, name))} for name in tasks.names()]
    lines = [[row["name"], row["what"]] for row in rows]
    return _answer(
        args, rows, _columns(["task", "what"], lines) + "\n\ninterp tasks show NAME prints prompts"
    )


def _show_task(args: argparse.Namespace) -> int:
    from interp import load, tasks
    from interp._errors import unknown

    if args.name not in tasks.names():  # before the model is loaded
        raise unknown("task", args.name, tasks.names(), "interp tasks show ioi")
    if args.n < 1:
        raise ValueError(f"-n must be at least 1, not {args.n}")
    model = load(args.model, check=False, progress=not args.json)
    # some corruptions need partners: a task of one or two prompts may not exist
    task = tasks.make(args.name, model, n=max(args.n, 8))[: args.n]
    if args.json:
        return _answer(args, _plain(task, model.tokenizer), "")
    shown = task.show(args.n)
    print(shown) if shown is not None else None
    return 0


def _plain(task: Any, tokenizer: Any) -> dict:
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


def _first_line(function: Any) -> str:
    return (function.__doc__ or "").strip().split("\n")[0].rstrip(".")


# --- studies --------------------------------------------------------------------------------------


def _demo(args: argparse.Namespace) -> int:
    from interp import models, studies

    models.fetch()
    if args.widgets:
        return _lab(argparse.Namespace(name="tour-widgets", no_browser=False))
    stem = studies.find(FIRST).stem
    out = Path(args.out or "interp-runs") / stem
    table = studies.run(stem, fast=not args.full, out=out)
    code = _compare(table)
    print(f"\nRead it:  {out / stem}.html   (opens in any browser)")
    print(f"          {out / stem}.ipynb")
    print(
        f"Go on:    interp lab {stem}   opens the notebook live;   interp tasks   and   interp"
        " --help   list the rest"
    )
    if not args.full:
        print(
            "This was the short run; `interp demo --full` uses as many prompts as the committed"
            " notebook."
        )
    return code


def _run(args: argparse.Namespace) -> int:
    from interp import studies

    stem = studies.find(args.name).stem
    out = Path(args.out or Path("interp-runs") / stem)
    table = studies.run(stem, model=args.model, fast=args.fast, out=out, progress=not args.json)
    files = {"notebook": str(out / f"{stem}.ipynb"), "html": str(out / f"{stem}.html")}
    if table is None:  # a tour of the tools has no verdicts
        return _answer(args, {"tour": stem} | files, "")
    if args.json:
        verdicts = {"study": stem, "model": table.model, "fast": table.fast, "rows": list(table)}
        _answer(args, verdicts | {"differs": _differences(table)} | files, "")
    return _compare(table)


def _differences(table: Any) -> list[str] | None:
    """A sentence for each verdict that is not the recorded one; None when this model and mode have
    no record.
    """
    from interp.studies.verdict_table import differences

    return differences(table.name, table.rows, fast=table.fast, model=table.model)


def _compare(table: Any) -> int:
    """1 when a verdict differs from the recorded one (said on stderr), else 0."""
    found = _differences(table)
    for line in found or []:
        print(f"interp: a verdict differs: {line}", file=sys.stderr)
    return 1 if found else 0


def _export(args: argparse.Namespace) -> int:
    from interp.studies.notebooks.page import export

    path = export(args.notebook, args.out)
    size = round(path.stat().st_size / 1000)
    return _answer(
        args,
        {"html": str(path), "kb": size},
        f"{path}   ({size} kB, opens in any browser, offline)",
    )


def _lab(args: argparse.Namespace) -> int:
    from importlib.util import find_spec

    from interp.studies import find, home
    from interp.studies.notebooks.paths import PACKAGE

    stem = find(args.name).stem if args.name else None
    if find_spec("jupyterlab") is None:
        raise ImportError("JupyterLab is not installed here: pip install jupyterlab")
    folder = home()
    if folder.is_relative_to(PACKAGE):  # inside an installed package: nobody should edit there
        folder = _own_copy(folder, Path("interp-notebooks"))
    notebook = folder / f"{stem}.ipynb"
    if stem and not notebook.exists():
        raise FileNotFoundError(
            f"{notebook} is not built yet: python -m interp.studies build {stem}"
        )
    command = [sys.executable, "-m", "jupyterlab", str(notebook if stem else folder)]
    lab = subprocess.Popen(command + ["--no-browser"] * args.no_browser)
    while True:
        try:
            return 0 if lab.wait() in (0, -2, 130) else 1
        except KeyboardInterrupt:  # Jupyter has the same Ctrl-C, asks and ends by itself
            continue


def _own_copy(packaged: Path, folder: Path) -> Path:
    """A folder of one's own with the packaged notebooks; a file that is there already, edited or
    not, is kept.
    """
    for source in sorted(p for p in packaged.rglob("*") if p.is_file()):
        target = folder / source.relative_to(packaged)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return folder


# --- answers --------------------------------------------------------------------------------------


def _answer(args: argparse.Namespace, data: Any, text: str) -> int:
    print(json.dumps(data, indent=1, ensure_ascii=False) if args.json else text)
    return 0


def _columns(heads: list[str], lines: list[list[str]]) -> str:
    rows = [heads, *lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
