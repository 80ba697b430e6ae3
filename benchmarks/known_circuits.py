"""Every discovery method on models whose circuit is certain: how often it ranks a right edge above
a wrong one.

    python benchmarks/known_circuits.py --write        # puts the table into circuits/METHODS.md;
    about three minutes

AUC: the chance that an edge of the circuit has a larger score, in size, than an edge outside it;
ties count half. 1 is a perfect ranking, 0.5 a blind one.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")

from common import machine, table, write

import interp
from interp import tasks, toys
from interp.circuits import Circuit
from interp.circuits.known import KNOWN, known
from interp.methods.circuits.discovery import METHODS, random

SEEDS = (0, 1)  # of prompts and decoys
DRAWS = 40  # random rankings a model: with few right edges one says little
TRAINED = "induction, trained"
# an edge is in a trained model's circuit when corrupting it alone costs a tenth of the answer, on
# other prompts
SHARE = 0.1
# (name in the table, method, options)
ROWS = [
    ("exact", "exact", {}),
    ("acdc, tau 0.01 nats", "acdc", {"tau": 0.01}),
    ("acdc, tau 0.1 logits", "acdc", {"tau": 0.1, "metric": "logit_diff"}),
    ("eap_ig, inputs, 5 steps", "eap_ig", {}),
    ("eap_ig, activations, 5 steps", "eap_ig", {"at": "activations"}),
    ("gim", "gim", {}),
    ("relp", "relp", {}),
    ("eap", "eap", {}),
    ("edge_pruning, 5 % kept, 300 steps", "edge_pruning", {}),
    ("node_attribution", "node_attribution", {}),
    ("magnitude", "magnitude", {}),
    ("information_flow", "information_flow", {}),
    ("random", "random", {}),
]


def auc(scores: np.ndarray, inside: np.ndarray) -> float:
    """The chance that a right edge has the larger score in size, a tie counting half: the rank
    formula.
    """
    there = np.isfinite(scores)
    size, right = np.abs(scores[there]), inside[there] > 0
    order = np.argsort(size, kind="stable")
    values, starts, counts = np.unique(size[order], return_index=True, return_counts=True)
    ranks = np.empty(len(size))
    ranks[order] = np.repeat(starts + (counts + 1) / 2, counts)  # ties share the mean rank
    n = right.sum()
    return float((ranks[right].sum() - n * (n + 1) / 2) / (n * (len(size) - n)))


def trained(seed: int) -> tuple[Any, Any, Circuit]:
    """A model that learned induction, a task for it, and the edges that exact corruption finds on
    held-out words.
    """
    model = toys.load_or_train("induction", seed=seed).model()
    task = tasks.induction(model, n=16, length=6, corruption="block", seed=seed)
    metric = task.heldout()
    clean, corrupted = (
        float(metric.metric(interp.run(model, prompts).logits).mean())
        for prompts in (metric.clean, metric.corrupted)
    )
    found = METHODS["exact"](model, metric)
    return model, task, Circuit.threshold(found, SHARE * (clean - corrupted))


def measured() -> tuple[list[list[str]], list[str]]:
    """The rows of the table: a method's AUC on each model, mean and lowest over seeds, and its
    seconds.
    """
    models = {name: [known(name, seed=seed) for seed in SEEDS] for name in KNOWN} | {
        TRAINED: [trained(seed) for seed in SEEDS]
    }
    rows = []
    for title, method, options in ROWS:
        cells, began = [], time.perf_counter()
        for name, some in models.items():
            if method == "random":
                found = [
                    auc(random(m, t, seed=s).values, c.weights())
                    for m, t, c in some
                    for s in range(DRAWS)
                ]
            elif method in ("gim", "relp") and name == TRAINED:
                cells.append(
                    "refused"
                )  # their rules are the lean engine's, which does not know small transformers
                continue
            else:
                found = [
                    auc(METHODS[method](m, t, **options).values, c.weights()) for m, t, c in some
                ]
            cells.append(f"{np.mean(found):.3f} ({min(found):.3f})")
        took = (time.perf_counter() - began) / (len(models) * len(SEEDS))
        rows.append(
            [
                f"`{title.split(',')[0]}`{title[len(title.split(',')[0]) :]}",
                *cells,
                "" if method == "random" else f"{took:.1f}",
            ]
        )
        print(*rows[-1], flush=True)
    sizes = [
        f"{name}: {len(c)} of {int(np.isfinite(random(m, t).values).sum())} edges"
        for name, ((m, t, c), *_) in models.items()
    ]
    return rows, sizes


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument(
        "--write", action="store_true", help="put the table into circuits/METHODS.md"
    )
    asked = asked.parse_args()
    rows, sizes = measured()
    text = (
        table(["method", *KNOWN, TRAINED, "seconds"], rows)
        + f"\n\n{'; '.join(sizes)}. {machine()}."
    )
    print(text)
    if asked.write:
        write(
            Path(__file__).resolve().parent.parent / "circuits" / "METHODS.md",
            "known circuits",
            text,
        )


if __name__ == "__main__":
    main()
