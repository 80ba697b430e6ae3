"""`interp demo`: the first study, from start to verdicts."""

import argparse
from collections.abc import Callable
from pathlib import Path

from interp.cli.lab import open_lab
from interp.cli.run import compare_with_record

FIRST = "00-start-here"


def add(command: Callable[..., argparse.ArgumentParser], as_json: argparse.ArgumentParser) -> None:
    """Adds the command to the command line."""
    parser = command(
        "demo", demo, "fetch the default model and run the first study, from start to verdicts"
    )
    parser.add_argument(
        "--full", action="store_true", help="as many prompts as the committed notebook (slower)"
    )
    parser.add_argument("--out", metavar="DIR", help="where to write (default: interp-runs/)")
    parser.add_argument(
        "--widgets", action="store_true", help="open the tour of the widgets in JupyterLab instead"
    )


def demo(args: argparse.Namespace) -> int:
    """Runs the first study and says where its notebook and page are."""
    from interp import studies
    from interp.models import local

    local.fetch()
    if args.widgets:
        return open_lab("tour-widgets")
    source = studies.find(FIRST)
    stem = source.stem
    out = Path(args.out or "interp-runs") / stem
    table = studies.run(stem, fast=not args.full, out=out)
    code = compare_with_record(table, source)
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
