"""The `interp` command: the parser, and what every command shares.

One file a command: `demo`, `models`, `tasks`, `run`, `new-study`, `discover`, `evaluate`,
`compare`, `export`, `lab`, `workshop`, `docs`, `doctor`, `kit`. Each has `add(command,
as_json)`, which describes the command line, and the function that it runs. Nothing heavy is
imported before a command needs it, so that `interp --help` answers at once.

Exit codes: 0 all well; 1 a study failed, a verdict differs from the recorded one, or the work could
not be done (no network, a full disk); 2 a wrong command line or input (one sentence on stderr;
--debug shows where it came from); 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Callable

from interp import __version__, _store
from interp.cli import (
    compare,
    demo,
    discover,
    docs,
    doctor,
    evaluate,
    export,
    kit,
    lab,
    models,
    new_study,
    run,
    tasks,
    workshop,
)

# as --help lists them
COMMANDS = (
    demo,
    models,
    tasks,
    run,
    new_study,
    discover,
    evaluate,
    compare,
    export,
    lab,
    workshop,
    docs,
    doctor,
    kit,
)


def main(argv: list[str] | None = None) -> int:
    """The exit code of one command.

    Example:
        >>> main(["tasks", "--json"])
        0

    Args:
        argv: What was typed after `interp`; the process's own arguments if None.
    """
    parser = command_line()
    args = parser.parse_args(argv)
    if not hasattr(args, "act"):
        parser.print_help()
        return 0
    if sys.stdout is None:  # `interp tasks >&-`: nobody reads the answer
        sys.stdout = open(os.devnull, "w")
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
        return report(error)


def report(error: Exception) -> int:
    """The exit code for an error, after one sentence about it on stderr."""
    from interp.studies import StudyFailed, VerdictChanged

    if isinstance(error, (StudyFailed, VerdictChanged)):
        print(f"interp: {error}", file=sys.stderr)
        return 1
    if isinstance(error, ConnectionError) or getattr(error, "errno", None) in _store.FULL:
        print(f"interp: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 1  # nothing wrong was typed: no network, or no room on the disk
    if isinstance(error, (ValueError, OSError, ImportError)):  # what bad input raises
        print(f"interp: {error}", file=sys.stderr)
        return 2
    print(
        f"interp: {type(error).__name__}: {error} (this is a bug; --debug shows where)",
        file=sys.stderr,
    )
    return 1


def command_line() -> argparse.ArgumentParser:
    """The parser; every command carries the function that it runs in `act`."""
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
        epilog="Start with `interp demo`, then `interp lab`.",
    )
    parser.add_argument("--version", action="version", version=f"interp {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(
        name: str,
        act: Callable[[argparse.Namespace], int],
        summary: str,
        *parents: argparse.ArgumentParser,
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=summary, description=summary, parents=[debug, *parents]
        )
        added.set_defaults(act=act)
        return added

    for module in COMMANDS:
        module.add(command, as_json)
    return parser


if __name__ == "__main__":
    sys.exit(main())
