"""`interp export`: a notebook as one page that opens without a kernel or a network."""

import argparse
from collections.abc import Callable

from interp.cli._answers import answer


def add(command: Callable[..., argparse.ArgumentParser], as_json: argparse.ArgumentParser) -> None:
    """Adds the command to the command line."""
    parser = command(
        "export",
        export,
        "write a notebook as one page that opens without a kernel or a network",
        as_json,
    )
    parser.add_argument(
        "notebook",
        metavar="NOTEBOOK",
        help="an executed .ipynb file, or a study: 00, tour-patching",
    )
    parser.add_argument(
        "--html",
        action="store_true",
        required=True,
        help="as one HTML file: text, tables, figures, widgets as they were",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="where to write (default: NOTEBOOK with .html)"
    )


def export(args: argparse.Namespace) -> int:
    """Writes the page of a notebook and says where it is."""
    from interp.studies.notebooks.page import export as write_page

    path = write_page(args.notebook, args.out)
    size = round(path.stat().st_size / 1000)
    return answer(
        args,
        {"html": str(path), "kb": size},
        f"{path}   ({size} kB, opens in any browser, offline)",
    )
