"""Every affordable discovery method on four tasks of the default model, and how good the estimates
of patching are there.

    python benchmarks/methods_on_smollm2.py --write   # both tables of circuits/METHODS.md; about
    30 minutes of one core

Edges are scored on some prompts and judged on others, by the two areas of MIB: CPR, of circuits
chosen by signed score (higher is better), and CMD, of circuits chosen by size (0 is best). Nothing
was chosen by these numbers: the methods run with their defaults.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from common import machine, table, write

import interp
from interp.methods.circuits.faithfulness_curve import cpr_cmd, faithfulness_curve
from interp.methods.patching.attribution_error import attribution_error

TASKS = ("ioi", "greater_than", "agreement", "capitals")
FOUND_ON, JUDGED_ON = 16, 20  # prompts
# (name in the table, method, options); `exact` and `acdc` would run each of 70,651 edges,
# and EAP-IG at activations takes 90 CPU seconds a task
ROWS = [
    ("eap_ig, inputs, 5 steps", "eap_ig", {}),
    ("gim", "gim", {}),
    ("relp", "relp", {}),
    ("eap", "eap", {}),
    ("node_attribution", "node_attribution", {}),
    ("magnitude", "magnitude", {}),
    ("information_flow", "information_flow", {}),
    ("random", "random", {}),
]
SITES = {"stream": "resid_pre.*@*", "MLPs": "mlp.*@*", "heads": "L*H*"}
ESTIMATES = ("atp", "atp*", "ig", "gim", "relp")


def cpu(job: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a job, and what it gives."""
    began = time.process_time()
    value = job()
    return time.process_time() - began, value


def area(curve: Any, measure: str) -> str:
    """CPR or CMD with its 95 % interval over prompts."""
    found = cpr_cmd(curve).sel(measure=measure, circuit="discovered")
    low, high = (float(end) for end in found.ci())
    return f"{float(found.values):.3f} [{low:.3f}, {high:.3f}]"


def discovery(model: Any) -> list[list[str]]:
    """The rows of the first table: CPR / CMD on each task, and the seconds that scoring took."""
    all_tasks = [interp.tasks.make(name, model, n=FOUND_ON) for name in TASKS]
    others = [
        task.remake(n=JUDGED_ON, split="heldout", seed=task.metadata["seed"] + 1)
        for task in all_tasks
    ]
    rows = []
    for title, method, options in ROWS:
        cells, took = [], 0.0
        for name, task, heldout in zip(TASKS, all_tasks, others):
            needed, scores = cpu(lambda: interp.discover(model, task, method, **options))
            took += needed
            parts = []
            for measure, absolute in (("CPR", False), ("CMD", True)):
                curve = faithfulness_curve(model, heldout, scores, absolute=absolute, sets=1)
                parts.append(area(curve, measure))
            cells.append(" / ".join(parts))
            print(title, name, cells[-1], f"{needed:.1f} s", flush=True)
        first, _, rest = title.partition(",")
        rows.append([f"`{first}`{title[len(first) :]}", *cells, f"{took / len(TASKS):.1f}"])
    return rows


def estimates(model: Any) -> list[list[str]]:
    """The rows of the second table: Pearson correlation with patching, lowest to highest task."""
    rows = []
    for kind, where in SITES.items():
        fits: dict[str, list[float]] = {method: [] for method in ESTIMATES}
        for name in TASKS:
            task = interp.tasks.make(name, model, n=FOUND_ON)
            exact = interp.patch(model, task, where)
            for method in ESTIMATES:
                estimate = interp.attribution_patch(model, task, where, method=method)
                fits[method].append(attribution_error(exact, estimate)["Pearson correlation"])
        rows.append(
            [f"{kind}, `{where}`", *(" ".join(f"{x:.2f}" for x in fits[m]) for m in ESTIMATES)]
        )
        print(*rows[-1], flush=True)
    return rows


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--write", action="store_true", help="put the tables into METHODS.md")
    asked.add_argument("--only", choices=["estimates", "discovery"], help="one of the two tables")
    asked = asked.parse_args()
    model = interp.load("smollm2-135m")
    path = Path(__file__).resolve().parent.parent / "circuits" / "METHODS.md"
    if asked.only != "discovery":
        found = table(["estimated at", *(f"`{m}`" for m in ESTIMATES)], estimates(model))
        print(found)
        if asked.write:
            write(path, "estimates", found)
    if asked.only != "estimates":
        found = table(["method", *TASKS, "CPU seconds"], discovery(model)) + f"\n\n{machine()}."
        print(found)
        if asked.write:
            write(path, "smollm2 tasks", found)


if __name__ == "__main__":
    main()
