"""The trainer against a bare PyTorch loop on the same small transformer, data and optimiser; and
the named recipes' time.

    python benchmarks/toys.py            # print the table
    python benchmarks/toys.py --write    # and put it into benchmarks/README.md

Both train the same weights on the same batches, in turn; their losses must be equal, step by step
and bit for bit, before a ratio is printed. The trainer also checks every loss, writes its
checkpoints and keeps a state to go on from. Seconds are of the processor as well as of the wall
clock: on a busy machine the first say more.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import machine, table, write

from interp import toys
from interp.toys import data
from interp.toys.training import train

JOBS = {
    "induction: 2 layers of 2 heads, T=32, batch 32": toys.RECIPES["induction"].but(steps=300),
    "bigram-backcopy: 1 layer and its MLP, d=64, T=64, batch 64": toys.Recipe(
        "backcopy",
        data="bigram_backcopy",
        data_options={"n_ctx": 64},
        model={"n_layers": 1, "d_model": 64, "mlp": 256},
        steps=150,
        batch=64,
    ),
    "out-of-context reasoning: linear attention, one-hot tokens, batch 252": toys.Recipe(
        "reasoning",
        data="out_of_context_reasoning",
        model={
            "n_layers": 1,
            "d_model": 128,
            "embed": "identity",
            "tied": True,
            "attention": "linear",
            "identity": ["K"],
            "norm": "none",
            "positions": "none",
            "attention_scale": 1.0,
        },
        steps=150,
        batch=252,
        lr=5e-3,
        weight_decay=0.03,
    ),
}


def bare(recipe: toys.Recipe) -> list[float]:
    """The losses of the loop that everybody writes."""
    run_data, generator = data.make(recipe.data, **recipe.data_options), recipe.generator("data")
    first = run_data.batch(8, recipe.generator("first"))
    net = toys.net(seed=recipe.number("weights"), **train._options(recipe, first))
    learned = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        learned, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
    )
    losses = []
    for step in range(recipe.steps):
        optimizer.param_groups[0]["lr"] = recipe.lr * recipe.factor(step)
        batch = run_data.batch(recipe.batch, generator)
        where = batch.targets != -100
        logits = (
            net(batch.inputs).flatten(0, 1) if where.all() else net.logits_at(batch.inputs, where)
        )
        loss = torch.nn.functional.cross_entropy(logits, batch.targets[where])
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def ours(recipe: toys.Recipe) -> list[float]:
    """The losses of the trainer, into a folder of its own, so that nothing is found in the
    cache.
    """
    source = data.make(recipe.data, **recipe.data_options)
    with tempfile.TemporaryDirectory() as folder:
        return toys.train(recipe, draw=source.batch, folder=folder).losses.tolist()


def timed(job: Callable[[], list[float]]) -> tuple[float, float, list[float]]:
    """Seconds of the processor, seconds on the wall, and what the job gives."""
    wall, processor = time.perf_counter(), time.process_time()
    losses = job()
    return time.process_time() - processor, time.perf_counter() - wall, losses


def measured(rounds: int) -> str:
    """The table: both ways in turn, equal losses asserted."""
    rows = []
    for name, recipe in JOBS.items():
        (
            bare(recipe.but(steps=2)),
            ours(recipe.but(steps=2)),
        )  # nothing is paid for the first time below
        pairs = []
        for i in range(rounds):  # who goes first alternates
            one, other = (bare, ours) if i % 2 == 0 else (ours, bare)
            found = {job: timed(lambda job=job: job(recipe)) for job in (one, other)}
            if found[bare][2] != found[ours][2]:
                raise AssertionError(f"{name}: the two ways gave different losses")
            pairs.append((found[bare], found[ours]))

        def of(who, what):
            return [pair[who][what] for pair in pairs]

        ratios = [o / b for b, o in zip(of(0, 0), of(1, 0))]
        walls = [o / b for b, o in zip(of(0, 1), of(1, 1))]

        def step(who):
            return f"{1000 * statistics.median(of(who, 0)) / recipe.steps:.1f}"

        def ratio(x):
            return f"{statistics.median(x):.2f} ({min(x):.2f}-{max(x):.2f})"

        rows.append([name, recipe.steps, step(0), step(1), ratio(ratios), ratio(walls)])
    head = [
        "job",
        "steps",
        "bare loop, ms a step",
        "trainer, ms a step",
        "ratio of processor time",
        "ratio of wall time",
    ]
    return table(head, rows)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument(
        "--write", action="store_true", help="put the table into benchmarks/README.md"
    )
    said = options.parse_args()
    os.environ["INTERP_PROGRESS"] = "0"
    torch.set_num_threads(1)
    text = (
        f"Measured on: {machine()}.\n\n**{said.rounds} interleaved rounds, losses equal bit for"
        f" bit**\n\n{measured(said.rounds)}"
    )
    print(text)
    if said.write:
        write(Path(__file__).parent / "README.md", "toys", text)


if __name__ == "__main__":
    main()
