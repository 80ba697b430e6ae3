"""The circuits of the default model in circuits/smollm2-135m: found by EAP-IG, judged on held-out
prompts, saved.

    python benchmarks/discovered_circuits.py --write   # the files, and the table in
    circuits/README.md; some minutes

One size for all, set before any was judged: 2 % of the edges, one of the sizes of MIB's curves.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from common import table, write

import interp
from interp import Circuit

ROOT = Path(__file__).resolve().parent.parent / "circuits"
MODEL, METHOD = "smollm2-135m", "eap-ig"
TASKS = ("ioi", "greater_than", "agreement", "capitals", "induction", "laundry")
SHARE, STEPS = 0.02, 5
FOUND_ON, JUDGED_ON = 16, 32  # prompts


def circuits() -> Iterator[Circuit]:
    """Each task's circuit, judged."""
    model = interp.load(MODEL)
    for name in TASKS:
        task = interp.tasks.make(name, model, n=FOUND_ON)
        scores = interp.discover(model, task, "eap_ig", steps=STEPS)
        empty = Circuit.of((), like=scores)
        circuit = Circuit.top(scores, round(SHARE * len(~empty))).prune()
        others = task.remake(n=JUDGED_ON, split="heldout", seed=task.metadata["seed"] + 1)
        yield interp.methods.circuits.with_evaluation(
            circuit, interp.evaluate(model, others, circuit)
        )


def row(circuit: Circuit) -> list[str]:
    """A line of the table."""
    said, file = circuit.evaluation, f"{circuit.model}/{circuit.task['name']}/{METHOD}.json"
    heads = sum(name.startswith("L") for name in circuit.nodes)
    mlps = sum(name.startswith("mlp") for name in circuit.nodes)
    low, high = said["interval"]
    return [
        f"[{file}]({file})",
        f"{heads} heads, {mlps} MLPs",
        str(len(circuit)),
        f"{said['faithfulness']:.2f} [{low:.2f}, {high:.2f}]",
        f"{said['completeness']:.2f}",
        f"{round(said['random']['faithfulness'], 2) + 0.0:.2f}",
    ]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument(
        "--write",
        action="store_true",
        help="save the circuits, and put the table into circuits/README.md",
    )
    asked = asked.parse_args()
    rows = []
    for circuit in circuits():
        rows.append(row(circuit))
        print(*rows[-1], flush=True)
        if asked.write:
            path = ROOT / circuit.model / circuit.task["name"] / f"{METHOD}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            circuit.save(path)
    text = table(
        [
            "file",
            "components",
            "edges",
            "faithfulness",
            "completeness",
            "random circuits' faithfulness",
        ],
        rows,
    )
    if asked.write:
        write(ROOT / "README.md", "discovered circuits", text)


if __name__ == "__main__":
    main()
