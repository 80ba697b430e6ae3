"""`interp new-study`: the source of a study of one's own."""

import argparse
from collections.abc import Callable

from interp.cli._answers import answer


def add(command: Callable[..., argparse.ArgumentParser], as_json: argparse.ArgumentParser) -> None:
    """Adds the command to the command line."""
    parser = command(
        "new-study",
        new_study,
        "write the source of a study of your own, with a claim, a gate and a control",
        as_json,
    )
    parser.add_argument("name", metavar="NAME", help="what it is called, for example my-question")
    parser.add_argument(
        "--folder", default=".", metavar="DIR", help="where to write (default: here)"
    )


def new_study(args: argparse.Namespace) -> int:
    """Writes the source and says how to go on."""
    from interp.studies import new

    path = new(args.name, args.folder)
    claims = path.parent / "claims" / f"{path.stem}.toml"
    return answer(
        args,
        {"source": str(path), "claims": str(claims)},
        f"{claims}   what you claim, and what would count\n{path}   what you measure\n\n"
        "Edit both; they run as they stand.\n"
        f"try it:    interp run {path} --fast\n"
        f"record it: python -m interp.studies build {path}   (the notebook and its verdicts,"
        " beside it)",
    )
