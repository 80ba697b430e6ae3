"""`interp compare`: how far two circuits' files agree."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from interp.cli._answers import answer
from interp.cli.evaluate import measures

if TYPE_CHECKING:
    from interp import Circuit


def add(command: Callable[..., argparse.ArgumentParser], as_json: argparse.ArgumentParser) -> None:
    """Adds the command to the command line."""
    parser = command("compare", compare, "say how far two circuits' files agree", as_json)
    parser.add_argument("first", metavar="A", help="a circuit saved by interp")
    parser.add_argument("second", metavar="B", help="another, of the same model")


def compare(args: argparse.Namespace) -> int:
    """Says how far two circuits agree, and which edges only one of them has."""
    from interp import Circuit
    from interp.methods.circuits import agreement

    a, b = Circuit.load(args.first), Circuit.load(args.second)
    result = agreement(a, b)
    both, only = a & b, (a - b, b - a)
    data = {
        "first": args.first,
        "second": args.second,
        "both": len(both),
        "only_first": len(only[0]),
        "only_second": len(only[1]),
        **measures(result),
    }
    counts = f"edges in both {len(both)}, only in A {len(only[0])}, only in B {len(only[1])}"
    lines = [f"A  {a!r}", f"B  {b!r}", "", repr(result.table()), "", counts]
    lines += [f"strongest only in {x}: {_strongest(one)}" for x, one in zip("AB", only) if len(one)]
    return answer(args, data, "\n".join(lines))


def _strongest(circuit: "Circuit", n: int = 5) -> str:
    from interp.circuits.residual_graph import shown

    order = sorted(circuit.edges.items(), key=lambda item: -abs(item[1] or 0.0))
    return ", ".join(shown(edge) for edge, _ in order[:n])
