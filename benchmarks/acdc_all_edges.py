"""ACDC on every one of the default model's 70,651 edges, to its end: how long it takes, and what
its circuit is worth.

python benchmarks/acdc_all_edges.py --resume acdc.npz --write   # about an hour on one core; the
same line goes on
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from common import machine, table, write

import interp
from interp import Circuit

FILE = Path(__file__).resolve().parent.parent / "circuits" / "smollm2-135m" / "ioi" / "acdc.json"
FOUND_ON, JUDGED_ON, TAU = 8, 32, 0.01


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument(
        "--write",
        action="store_true",
        help="save the circuit, and put the line into circuits/METHODS.md",
    )
    asked.add_argument("--resume", default="acdc.npz", help="where the search keeps its place")
    asked = asked.parse_args()
    model = interp.load()
    task = interp.tasks.ioi(model, n=FOUND_ON)
    began, cpu = time.perf_counter(), time.process_time()
    scores = interp.discover(model, task, "acdc", tau=TAU, resume=asked.resume)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    circuit = Circuit.threshold(scores, 1e-9)
    pruned = circuit.prune()
    others = task.remake(n=JUDGED_ON, split="heldout", seed=task.metadata["seed"] + 1)
    best = Circuit.top(interp.discover(model, task, "eap_ig", steps=5), len(circuit))
    rows = []
    for name, one in (
        ("ACDC, the edges it kept", circuit),
        ("pruned", pruned),
        ("as many by EAP-IG", best),
        ("pruned", best.prune()),
    ):
        found = interp.methods.circuits.with_evaluation(
            one, interp.evaluate(model, others, one)
        ).evaluation
        low, high = found["interval"]
        rows.append(
            [
                name,
                str(len(one)),
                f"{found['faithfulness']:.2f} [{low:.2f}, {high:.2f}]",
                f"{found['random']['faithfulness'] + 0.0:.2f}",
            ]
        )
        print(*rows[-1], flush=True)
    runs, tried = scores.metadata["runs"], scores.metadata["tried"]
    said = (
        f"{tried} edges tried in {runs} runs: {wall / 60:.0f} minutes, {cpu / 60:.0f} of CPU, if it"
        f" was not resumed. {machine()}"
    )
    print(said)
    if asked.write:
        interp.methods.circuits.with_evaluation(
            pruned, interp.evaluate(model, others, pruned)
        ).save(FILE)
        text = (
            table(
                ["circuit", "edges", "held-out faithfulness", "random circuits' faithfulness"], rows
            )
            + "\n\n"
            + said
        )
        write(FILE.parents[2] / "METHODS.md", "acdc", text)


if __name__ == "__main__":
    main()
