"""`interp discover`: find a task's circuit, evaluate it on held-out prompts and save it."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interp.cli._answers import answer, check_at_least_one, check_known, note
from interp.cli.evaluate import evaluation_data


def add(command: Callable[..., argparse.ArgumentParser], as_json: argparse.ArgumentParser) -> None:
    """Adds the command to the command line."""
    parser = command(
        "discover",
        discover,
        "find a task's circuit, evaluate it on held-out prompts and save it",
        as_json,
    )
    parser.add_argument(
        "--task",
        required=True,
        metavar="T",
        help="which task: ioi, greater_than, ... (interp tasks lists them)",
    )
    parser.add_argument(
        "--method", default="eap_ig", metavar="M", help="which discovery method (default: eap_ig)"
    )
    parser.add_argument(
        "--edges",
        type=int,
        default=500,
        metavar="N",
        help="how many edges to choose (default: 500)",
    )
    parser.add_argument(
        "--select",
        default="top",
        metavar="top|greedy",
        help="the best edges, or grown from the logits (default: top)",
    )
    parser.add_argument(
        "--signed", action="store_true", help="the most helpful edges, not the largest in size"
    )
    parser.add_argument(
        "--model",
        default="smollm2-135m",
        metavar="M",
        help="a name, a folder, a .gguf file or a hub id",
    )
    parser.add_argument(
        "-n",
        "--n",
        type=int,
        default=32,
        metavar="N",
        help="how many prompts, to find and to evaluate (default: 32)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="which prompts (default: 0)"
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="K=V",
        help="an option of the method, e.g. steps=10",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="where to save (default: interp-runs/circuits/MODEL/TASK/METHOD.json)",
    )


def discover(args: argparse.Namespace) -> int:
    """Finds a circuit, evaluates it on held-out prompts and saves it."""
    options = _method_options(args)  # everything that can be wrong, before the model is loaded
    import interp
    from interp import Circuit, load, tasks
    from interp.methods.circuits import with_evaluation
    from interp.models import bridge

    model = load(args.model, check=False, progress=not args.json)
    task = tasks.make(args.task, model, n=args.n, seed=args.seed)
    note(args, f"{args.method} on {len(task)} prompts of {task.name}")
    scores = interp.discover(model, task, args.method, **options)
    choose = Circuit.greedy if args.select == "greedy" else Circuit.top
    circuit = choose(scores, args.edges, absolute=not args.signed).prune()
    if not len(circuit):
        raise ValueError(
            f"none of the {args.edges} edges lies on a way from the embedding to the logits (try"
            " more --edges, or --select greedy)"
        )
    note(
        args,
        f"{args.edges} edges chosen, {len(circuit)} of them on a way to the logits; evaluating on"
        " held-out prompts",
    )
    evaluation = interp.evaluate(
        model, task.heldout(), circuit, **{k: options[k] for k in ("by", "metric") if k in options}
    )
    name = bridge.name(model).replace("/", "--")
    out = Path(
        args.out
        or Path("interp-runs", "circuits", name, task.name, f"{args.method.replace('_', '-')}.json")
    )
    circuit = with_evaluation(circuit, evaluation)
    circuit.save(out)
    return answer(
        args,
        evaluation_data(circuit, evaluation, out),
        f"{circuit!r}\n\n{evaluation!r}\n\nsaved in {out}   (interp evaluate {out})",
    )


def _method_options(args: argparse.Namespace) -> dict[str, Any]:
    """The method's options, after everything else that was typed has been found to exist."""
    import inspect

    from interp import tasks
    from interp.methods.circuits.discovery import METHODS

    check_known("task", args.task, tasks.names(), "--task ioi")
    check_known("discovery method", args.method, METHODS, "--method eap_ig")
    check_known("way to select", args.select, ("top", "greedy"), "--select greedy")
    check_at_least_one("--edges", args.edges)
    check_at_least_one("-n", args.n)
    if args.out and Path(args.out).suffix != ".json":
        raise ValueError(
            f"a circuit is saved as .json, got --out {args.out!r} (try"
            f" {Path(args.out).stem + '.json'!r})"
        )
    names = [
        k
        for k in inspect.signature(METHODS[args.method]).parameters
        if k not in ("model", "task", "examples")
    ]
    options = {}
    for typed in args.option:
        key, equals, value = typed.partition("=")
        if not equals:
            raise ValueError(
                f"--option {typed!r}: an option is name=value (try --option"
                f" {names[0] if names else 'steps'}=...)"
            )
        check_known(f"option of {args.method}", key, names)
        options[key] = _value(value)
    return options


def _value(text: str) -> Any:
    """A number, true, false, null or a list as JSON; anything else is a word."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {"True": True, "False": False, "None": None}.get(text, text)
