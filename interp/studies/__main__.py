"""python -m interp.studies COMMAND [NAMES]; the commands: build, refresh, check, pull, exercises,
scoreboard, run, list.

`refresh` gives a built notebook the new cells of its source and keeps its outputs, for changes in
names, formatting or prose alone.
"""

import argparse
import sys
from pathlib import Path

from interp.studies.notebooks import build, exercises, run
from interp.studies.notebooks.paths import find, folder_of, home, names, tours
from interp.studies.notebooks.scoreboard import scoreboard
from interp.studies.verdict_table import VerdictChanged


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0 all well, 1 stale, broken or changed, 2 a wrong command line, 130
    interrupted; what was built before stays.
    """
    parser = argparse.ArgumentParser(prog="python -m interp.studies", description=__doc__)
    parser.add_argument("command", choices=list(COMMANDS))
    parser.add_argument(
        "names",
        nargs="*",
        help="studies and tours, for example 00-start-here (none means all), or the files of"
        " studies of your own: path/to/my-question.py",
    )
    parser.add_argument(
        "--only", choices=["full", "fast"], default="", help="build: only this mode"
    )
    parser.add_argument(
        "--check", action="store_true", help="scoreboard: fail when out of date instead of writing"
    )
    parser.add_argument("--fast", action="store_true", help="run: the short version")
    parser.add_argument("--model", help="run: on another model")
    args = parser.parse_args(argv)
    try:
        todo = [str(find(n)) for n in args.names or names() + tours()]
    except (ValueError, OSError) as err:
        print(err, file=sys.stderr)
        return 2
    try:
        return 1 if COMMANDS[args.command](todo, args) else 0
    except (ValueError, OSError, ImportError, run.StudyFailed, VerdictChanged) as err:
        print(err, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


def _build(todo: list[str], args: argparse.Namespace) -> list:
    for name in todo:
        print(f"built {build.build(name, only=args.only).name}")
    if any(_ours(name) for name in todo):
        _report_scoreboard(scoreboard())
    return []


def _ours(source: str) -> bool:
    """Whether a source is one of the studies that the scoreboard lists."""
    return folder_of(Path(source)) == home()


def _refresh(todo: list[str], args: argparse.Namespace) -> list[str]:
    refused = []
    for name in todo:
        try:
            changed = build.refresh(name)
        except ValueError as error:  # the other notebooks can still take their cells
            refused.append(str(error))
        else:
            print(f"{Path(name).stem}: " + ("new cells, outputs kept" if changed else "up to date"))
    print("\n".join(refused), file=sys.stderr)
    return refused


def _check(todo: list[str], args: argparse.Namespace) -> list[str]:
    problems = [p for name in todo for p in build.check(name)]
    problems += _stale_scoreboard() if any(_ours(name) for name in todo) else []
    print("\n".join(problems) or f"{len(todo)} notebooks are up to date")
    return problems


def _stale_scoreboard() -> list[str]:
    return [
        f"the scoreboard in {p.name} is stale: python -m interp.studies scoreboard"
        for p in scoreboard(write=False)
    ]


def _pull(todo: list[str], args: argparse.Namespace) -> list:
    for name in todo:
        print(f"{Path(name).stem}: " + ("source changed" if build.pull(name) else "no edits"))
    return []


def _exercises(todo: list[str], args: argparse.Namespace) -> list:
    for name in todo:
        exercises.write(Path(name), folder_of(Path(name)))
    return []


def _scoreboard(todo: list[str], args: argparse.Namespace) -> list[str]:
    if args.check:
        print("\n".join(stale := _stale_scoreboard()) or "the scoreboard is up to date")
        return stale
    _report_scoreboard(scoreboard())
    return []


def _report_scoreboard(changed: list) -> None:
    print("scoreboard: " + (f"{len(changed)} file(s) updated" if changed else "up to date"))


def _run(todo: list[str], args: argparse.Namespace) -> list:
    for name in todo:
        run.run(name, model=args.model, fast=args.fast)
    return []


def _list(todo: list[str], args: argparse.Namespace) -> list:
    print("\n".join(Path(name).stem for name in todo))
    return []


COMMANDS = {
    "build": _build,
    "refresh": _refresh,
    "check": _check,
    "pull": _pull,
    "exercises": _exercises,
    "scoreboard": _scoreboard,
    "run": _run,
    "list": _list,
}

if __name__ == "__main__":
    sys.exit(main())
