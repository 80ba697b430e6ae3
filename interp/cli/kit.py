"""`interp kit`: a folder from which a class installs and begins without a network."""

import argparse
from collections.abc import Callable

from interp.cli._answers import answer, note


def add(command: Callable[..., argparse.ArgumentParser], as_json: argparse.ArgumentParser) -> None:
    """Adds the command to the command line."""
    parser = command("kit", kit, "make a folder from which a class installs offline", as_json)
    parser.add_argument("dir", metavar="DIR", help="the folder, for example on a USB stick")
    parser.add_argument(
        "--offline",
        action="store_true",
        help="with all wheels and the model (0.7 GB): the only kind there is",
    )


def kit(args: argparse.Namespace) -> int:
    """Makes the folder."""
    from interp.workshop.kit import kit as make

    if not args.offline:
        raise ValueError(f"say what kind of kit: interp kit {args.dir} --offline (0.7 GB)")
    path = make(args.dir, say=lambda text: note(args, text))
    return answer(args, {"folder": str(path)}, f"{path / 'install.sh'} installs it")
