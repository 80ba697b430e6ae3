"""The circuit commands of `interp`: discover, evaluate, compare. Each prints what it found, or JSON
for scripts.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add(command: Callable[..., argparse.ArgumentParser], as_json: argparse.ArgumentParser) -> None:
    """Adds the circuit commands by `command(name, act, about, *parents) -> parser`."""
    find = command(
        "discover",
        _discover,
        "find a task's circuit, judge it on held-out prompts and save it",
        as_json,
    )
    find.add_argument(
        "--task",
        required=True,
        metavar="T",
        help="which task: ioi, greater_than, ... (interp tasks lists them)",
    )
    find.add_argument(
        "--method", default="eap_ig", metavar="M", help="which discovery method (default: eap_ig)"
    )
    find.add_argument(
        "--edges",
        type=int,
        default=500,
        metavar="N",
        help="how many edges to choose (default: 500)",
    )
    find.add_argument(
        "--select",
        default="top",
        metavar="top|greedy",
        help="the best edges, or grown from the logits (default: top)",
    )
    find.add_argument(
        "--signed", action="store_true", help="the most helpful edges, not the largest in size"
    )
    find.add_argument(
        "--model",
        default="smollm2-135m",
        metavar="M",
        help="a name, a folder, a .gguf file or a hub id",
    )
    find.add_argument(
        "-n",
        "--n",
        type=int,
        default=32,
        metavar="N",
        help="how many prompts, to find and to judge (default: 32)",
    )
    find.add_argument("--seed", type=int, default=0, metavar="S", help="which prompts (default: 0)")
    find.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="K=V",
        help="an option of the method, e.g. steps=10",
    )
    find.add_argument(
        "--out",
        metavar="FILE",
        help="where to save (default: interp-runs/circuits/MODEL/TASK/METHOD.json)",
    )
    metric = command(
        "evaluate", _evaluate, "judge a circuit's file on held-out prompts of its task", as_json
    )
    metric.add_argument("file", metavar="FILE", help="a circuit saved by interp")
    metric.add_argument("--model", metavar="M", help="the model (default: the circuit's own)")
    metric.add_argument(
        "-n",
        "--n",
        type=int,
        metavar="N",
        help="how many held-out prompts (default: as the file was judged)",
    )
    metric.add_argument(
        "--seed",
        type=int,
        metavar="S",
        help="which held-out prompts (default: as the file was judged)",
    )
    metric.add_argument(
        "--by",
        metavar="HOW",
        help="what cut edges carry: resample, mean or zero (default: as the file was judged)",
    )
    metric.add_argument(
        "--sets",
        type=int,
        default=10,
        metavar="N",
        help="how many random circuits beside it (default: 10)",
    )
    both = command("compare", _compare, "say how far two circuits' files agree", as_json)
    both.add_argument("first", metavar="A", help="a circuit saved by interp")
    both.add_argument("second", metavar="B", help="another, of the same model")


# --- what they do ---------------------------------------------------------------------------------


def _discover(args: argparse.Namespace) -> int:
    options = _asked(args)  # everything that can be wrong, before the model is loaded
    from interp import Circuit, discover, evaluate, load, tasks
    from interp.methods.circuits import with_evaluation
    from interp.models import bridge

    model = load(args.model, check=False, progress=not args.json)
    task = tasks.make(args.task, model, n=args.n, seed=args.seed)
    _note(args, f"{args.method} on {len(task)} prompts of {task.name}")
    scores = discover(model, task, args.method, **options)
    choose = Circuit.greedy if args.select == "greedy" else Circuit.top
    circuit = choose(scores, args.edges, absolute=not args.signed).prune()
    if not len(circuit):
        raise ValueError(
            f"none of the {args.edges} edges lies on a way from the embedding to the logits (try"
            " more --edges, or --select greedy)"
        )
    _note(
        args,
        f"{args.edges} edges chosen, {len(circuit)} of them on a way to the logits; judging on"
        " held-out prompts",
    )
    found = evaluate(
        model, task.heldout(), circuit, **{k: options[k] for k in ("by", "metric") if k in options}
    )
    name = bridge.name(model).replace("/", "--")
    out = Path(
        args.out
        or Path("interp-runs", "circuits", name, task.name, f"{args.method.replace('_', '-')}.json")
    )
    circuit = with_evaluation(circuit, found)
    circuit.save(out)
    return _answer(
        args,
        _data(circuit, found, out),
        f"{circuit!r}\n\n{found.table()!r}\n\nsaved in {out}   (interp evaluate {out})",
    )


def _evaluate(args: argparse.Namespace) -> int:
    from interp import Circuit, evaluate, load, tasks
    from interp.methods.circuits.edges import BY

    _at_least("-n", args.n)
    _at_least("--sets", args.sets)
    circuit = Circuit.load(args.file)
    said = circuit.evaluation
    by, metric = args.by or said.get("by", "resample"), said.get("metric")
    _known("way to cut", by, BY, "--by resample")
    name = said.get("task") or circuit.task.get("name")
    if not name:
        raise ValueError(
            f"{args.file!r} names no task to judge it on: in Python, interp.evaluate(model, task,"
            " circuit)"
        )
    made = circuit.task if name == circuit.task.get("name") else {}
    maker, options = made.get("make", name), made.get("options", {})
    _known("task", maker, tasks.names())
    model = load(args.model or circuit.model, check=False, progress=not args.json)
    n = args.n or said.get("n") or circuit.task.get("n") or 32
    seed = said.get("seed", circuit.task.get("seed", 0) + 1) if args.seed is None else args.seed
    task = tasks.make(maker, model, n=n, seed=seed, split="heldout", **options)
    task = task.with_metric(metric) if metric in tasks.METRICS else task
    _note(args, f"judging {len(circuit)} edges on {len(task)} held-out prompts of {task.name}")
    found = evaluate(
        model, task, circuit, by=by, sets=args.sets, any_task=name != circuit.task.get("name")
    )
    before = (
        f"\n\nthe file says: faithfulness {said.get('faithfulness')} (n {said.get('n')}, seed"
        f" {said.get('seed')}, {said.get('by')})"
    )
    text = f"{circuit!r}\n\n{found.table()!r}" + (before if "faithfulness" in said else "")
    return _answer(args, _data(circuit, found, Path(args.file)), text)


def _compare(args: argparse.Namespace) -> int:
    from interp import Circuit
    from interp.methods.circuits import agreement

    a, b = Circuit.load(args.first), Circuit.load(args.second)
    found = agreement(a, b)
    both, only = a & b, (a - b, b - a)
    data = {
        "first": args.first,
        "second": args.second,
        "both": len(both),
        "only_first": len(only[0]),
        "only_second": len(only[1]),
        **_rows(found),
    }
    counts = f"edges in both {len(both)}, only in A {len(only[0])}, only in B {len(only[1])}"
    lines = [f"A  {a!r}", f"B  {b!r}", "", repr(found.table()), "", counts]
    lines += [f"strongest only in {x}: {_strongest(one)}" for x, one in zip("AB", only) if len(one)]
    return _answer(args, data, "\n".join(lines))


# --- details --------------------------------------------------------------------------------------


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    """The method's options, after everything else that was typed has been found to exist."""
    import inspect

    from interp import tasks
    from interp.methods.circuits.discovery import METHODS

    _known("task", args.task, tasks.names(), "--task ioi")
    _known("discovery method", args.method, METHODS, "--method eap_ig")
    _known("way to select", args.select, ("top", "greedy"), "--select greedy")
    _at_least("--edges", args.edges)
    _at_least("-n", args.n)
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
        _known(f"option of {args.method}", key, names)
        options[key] = _value(value)
    return options


def _value(text: str) -> Any:
    """A number, true, false, null or a list as JSON; anything else is a word."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return {"True": True, "False": False, "None": None}.get(text, text)


def _known(kind: str, typed: str, known: Any, example: str = "") -> None:
    from interp._errors import unknown

    if typed not in known:
        raise unknown(kind, typed, known, example)


def _at_least(flag: str, number: int | None) -> None:
    if number is not None and number < 1:
        raise ValueError(f"{flag} must be at least 1, not {number}")


def _rows(found: Any) -> dict[str, float]:
    return dict(zip(found.coords["measure"], found.values.tolist()))


def _data(circuit: Any, found: Any, path: Path) -> dict[str, Any]:
    low, high = (
        found.sel(measure="faithfulness").ci() if found.examples.shape[-1] > 1 else (None, None)
    )
    keys = ("by", "metric", "split", "n", "seed", "sets", "seconds")
    said = {
        "file": str(path),
        "model": circuit.model,
        "task": found.metadata["task"],
        "edges": len(circuit),
        "share": circuit.share,
    }
    interval = None if low is None else [float(low), float(high)]
    return (
        said
        | {k: found.metadata[k] for k in keys if k in found.metadata}
        | _rows(found)
        | {"interval": interval}
    )


def _strongest(circuit: Any, n: int = 5) -> str:
    order = sorted(circuit.edges.items(), key=lambda item: -abs(item[1] or 0.0))
    return ", ".join(f"{s} -> {r}" for (s, r), _ in order[:n])


def _note(args: argparse.Namespace, text: str) -> None:
    """A line about what is going on: on stderr, so that stdout is the answer alone."""
    if not args.json:
        print(text, file=sys.stderr)


def _answer(args: argparse.Namespace, data: Any, text: str) -> int:
    print(json.dumps(data, indent=1, ensure_ascii=False) if args.json else text)
    return 0
