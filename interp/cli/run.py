"""`interp run`: any study, with its verdict table."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from interp.cli._answers import answer

if TYPE_CHECKING:
    from interp.studies import Table


def add(command: Callable[..., argparse.ArgumentParser], as_json: argparse.ArgumentParser) -> None:
    """Adds the command to the command line."""
    parser = command("run", run, "run a study and print its verdict table", as_json)
    parser.add_argument(
        "name",
        metavar="NAME",
        help="a study: 00-start-here, or 00; a tour: tour-patching; or a study of your own:"
        " path/to/my-question.py",
    )
    parser.add_argument(
        "--fast", action="store_true", help="fewer prompts; every claim is still judged"
    )
    parser.add_argument(
        "--model", metavar="M", help="another model: a name, a folder, a .gguf file or a hub id"
    )
    parser.add_argument("--out", metavar="DIR", help="where to write (default: interp-runs/NAME/)")


def run(args: argparse.Namespace) -> int:
    """Runs a study and compares its verdicts with the recorded ones."""
    from interp import studies

    source = studies.find(args.name)
    stem = source.stem
    out = Path(args.out or Path("interp-runs") / stem)
    table = studies.run(
        str(source), model=args.model, fast=args.fast, out=out, progress=not args.json
    )
    files = {"notebook": str(out / f"{stem}.ipynb"), "html": str(out / f"{stem}.html")}
    if table is None:  # a tour of the tools has no verdicts
        return answer(args, {"tour": stem} | files, "")
    if args.json:
        verdicts = {"study": stem, "model": table.model, "fast": table.fast, "rows": list(table)}
        answer(args, verdicts | {"differs": differences(table, source)} | files, "")
    return compare_with_record(table, source)


def differences(table: "Table", source: Path) -> list[str] | None:
    """A sentence for each verdict that is not the recorded one; None when this model and mode have
    no record.
    """
    from interp.studies import verdict_table
    from interp.studies.notebooks.paths import folder_of

    return verdict_table.differences(
        table.name, table.rows, fast=table.fast, model=table.model, folder=folder_of(source)
    )


def compare_with_record(table: "Table", source: Path) -> int:
    """1 when a verdict differs from the recorded one (each is named on stderr), else 0."""
    changes = differences(table, source)
    for line in changes or []:
        print(f"interp: a verdict differs: {line}", file=sys.stderr)
    return 1 if changes else 0
