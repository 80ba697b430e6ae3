"""`interp evaluate`: a circuit's file, evaluated on held-out prompts of its task."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.cli._answers import answer, check_at_least_one, check_known, note

if TYPE_CHECKING:
    from interp import Circuit, Result


def add(command: Callable[..., argparse.ArgumentParser], as_json: argparse.ArgumentParser) -> None:
    """Adds the command to the command line."""
    parser = command(
        "evaluate", evaluate, "evaluate a circuit's file on held-out prompts of its task", as_json
    )
    parser.add_argument("file", metavar="FILE", help="a circuit saved by interp")
    parser.add_argument("--model", metavar="M", help="the model (default: the circuit's own)")
    parser.add_argument(
        "-n",
        "--n",
        type=int,
        metavar="N",
        help="how many held-out prompts (default: as for the file)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="S", help="which held-out prompts (default: as for the file)"
    )
    parser.add_argument(
        "--by",
        metavar="HOW",
        help="what cut edges carry: resample, mean or zero (default: as for the file)",
    )
    parser.add_argument(
        "--sets",
        type=int,
        default=10,
        metavar="N",
        help="how many random circuits beside it (default: 10)",
    )


def evaluate(args: argparse.Namespace) -> int:
    """Evaluates a circuit's file on held-out prompts."""
    import interp
    from interp import Circuit, load, tasks
    from interp.methods.circuits.edges import BY

    check_at_least_one("-n", args.n)
    check_at_least_one("--sets", args.sets)
    circuit = Circuit.load(args.file)
    recorded = circuit.evaluation
    by, metric = args.by or recorded.get("by", "resample"), recorded.get("metric")
    check_known("way to cut", by, BY, "--by resample")
    name = recorded.get("task") or circuit.task.get("name")
    if not name:
        raise ValueError(
            f"{args.file!r} names no task to evaluate it on: in Python, interp.evaluate(model,"
            " task, circuit)"
        )
    made = circuit.task if name == circuit.task.get("name") else {}
    maker, options = made.get("make", name), made.get("options", {})
    check_known("task", maker, tasks.names())
    model = load(args.model or circuit.model, check=False, progress=not args.json)
    n = args.n or recorded.get("n") or circuit.task.get("n") or 32
    seed = recorded.get("seed", circuit.task.get("seed", 0) + 1) if args.seed is None else args.seed
    task = tasks.make(maker, model, n=n, seed=seed, split="heldout", **options)
    task = task.with_metric(metric) if metric in tasks.METRICS else task
    note(args, f"evaluating {len(circuit)} edges on {len(task)} held-out prompts of {task.name}")
    evaluation = interp.evaluate(
        model, task, circuit, by=by, sets=args.sets, any_task=name != circuit.task.get("name")
    )
    before = (
        f"\n\nthe file says: faithfulness {recorded.get('faithfulness')} (n {recorded.get('n')},"
        f" seed {recorded.get('seed')}, {recorded.get('by')})"
    )
    text = f"{circuit!r}\n\n{evaluation!r}" + (before if "faithfulness" in recorded else "")
    return answer(args, evaluation_data(circuit, evaluation, Path(args.file)), text)


def evaluation_data(circuit: "Circuit", evaluation: "Result", path: Path) -> dict[str, Any]:
    """What --json prints of an evaluation."""
    from interp.methods.circuits.evaluate import faithfulness_interval

    keys = ("by", "metric", "split", "n", "seed", "sets", "seconds")
    notes = [evaluation.metadata[k] for k in ("note", "unsteady") if evaluation.metadata.get(k)]
    data = {
        "file": str(path),
        "model": circuit.model,
        "task": evaluation.metadata["task"],
        "edges": len(circuit),
        "share": circuit.share,
    }
    return (
        data
        | {k: evaluation.metadata[k] for k in keys if k in evaluation.metadata}
        | measures(evaluation)
        | {"interval": faithfulness_interval(evaluation)}
        | ({"note": "\n".join(notes)} if notes else {})
    )


def measures(result: "Result") -> dict[str, float]:
    """The numbers of a result with an axis "measure", by their names."""
    return dict(zip(result.coords["measure"], result.values.tolist()))
