"""Activation patching side by side with TransformerLens' own `patching.get_act_patch_*`.

    python benchmarks/patching.py            # the tables, printed
    python benchmarks/patching.py --write    # and put into benchmarks/README.md
    python benchmarks/patching.py --full     # TransformerLens' sweeps in whole (hours)

Both run on the same bridge of SmolLM2-135M, the same prompts and the same metric, under
`inference_mode` (without it TransformerLens takes 1.4 times as long). TransformerLens runs one full
forward pass a cell, whatever the cell; so its time is taken on a sample of cells, spread evenly
over the sweep, and multiplied. On every sampled cell the two numbers must agree to 1e-4, or the
benchmark stops. Ours is the whole verb, as a user calls it, both reference runs included; the clean
cache TransformerLens needs is not counted against it.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from common import (
    Ratio,
    interleaved,
    machine,
    peak,
    peak_of,
    peak_rate,
    seconds,
    table,
    work,
    write,
)

import interp

# what a user types here, TransformerLens' patch setter and activation, and the axes of its index
SWEEPS = {
    "residual stream by position": (
        "resid_pre.*@*",
        "layer_pos_patch_setter",
        "resid_pre",
        ("layer", "pos"),
    ),
    "attention output by position": (
        "attn.*@*",
        "layer_pos_patch_setter",
        "attn_out",
        ("layer", "pos"),
    ),
    "MLP output by position": ("mlp.*@*", "layer_pos_patch_setter", "mlp_out", ("layer", "pos")),
    "heads": ("L*H*", "layer_head_vector_patch_setter", "z", ("layer", "head")),
    "heads by position": (
        "L*H*@*",
        "layer_pos_head_vector_patch_setter",
        "z",
        ("layer", "pos", "head"),
    ),
    "KV heads, keys": ("L*KV*.k", "layer_head_vector_patch_setter", "k", ("layer", "kv_head")),
    "heads, patterns": (
        "L*H*.pattern",
        "layer_head_pattern_patch_setter",
        "pattern",
        ("layer", "head"),
    ),
}
CLOSE = 1e-4


def ours(
    model: Any, task: Any, where: str, backend: str | None = None
) -> tuple[float, interp.Result]:
    """Seconds of the whole sweep, and its numbers."""
    return seconds(lambda: interp.patch(model, task, where, backend=backend))


def theirs(
    model: Any, task: Any, sweep: str, cache: Any, sample: int | None
) -> tuple[float, list[tuple], torch.Tensor]:
    """Seconds of the whole sweep in TransformerLens' way (from `sample` cells), the cells, and
    their metric.
    """
    from transformer_lens import patching

    _, setter, activation, axes = SWEEPS[sweep]
    cells = _cells(model, task, axes)
    chosen = (
        cells
        if sample is None
        else [cells[int((i + 0.5) * len(cells) / sample)] for i in range(sample)]
    )
    with torch.inference_mode():
        took, values = seconds(
            lambda: patching.generic_activation_patch(
                model,
                task.corrupted,
                cache,
                lambda logits: task.metric(logits).mean(),
                getattr(patching, setter),
                activation,
                index_df=pd.DataFrame(chosen, columns=list(axes)),
            )
        )
    return took * len(cells) / len(chosen), chosen, values


def _cells(model: Any, task: Any, axes: tuple[str, ...]) -> list[tuple]:
    cfg = model.cfg
    sizes = {
        "layer": cfg.n_layers,
        "pos": task.clean.shape[1],
        "head": cfg.n_heads,
        "kv_head": cfg.n_key_value_heads,
    }
    return list(pd.MultiIndex.from_product([range(sizes[a]) for a in axes]))


def side_by_side(
    model: Any,
    task: Any,
    sweep: str,
    rounds: int,
    sample: int | None,
    backend: str | None = None,
    where: str | None = None,
) -> Ratio:
    """The ratio for one sweep; AssertionError where the numbers differ."""
    typed, _, _, axes = SWEEPS[sweep]
    where = where or typed
    with torch.inference_mode():
        _, cache = model.run_with_cache(task.clean, names_filter=_names(model))
    found: dict[str, Any] = {}

    def mine() -> float:
        took, found["ours"] = ours(model, task, where, backend)
        return took

    def other() -> float:
        took, found["cells"], found["theirs"] = theirs(model, task, sweep, cache, sample)
        return took

    ratio = interleaved(other, mine, rounds)
    result = found["ours"]
    base = result.metadata["corrupted"]
    order = [axes.index(dim) for dim in result.dims]
    mine_at = torch.tensor(
        [base + result.values[tuple(cell[i] for i in order)] for cell in found["cells"]]
    )
    gap = float((mine_at - found["theirs"]).abs().max())
    assert gap < CLOSE * max(1.0, float(found["theirs"].abs().max())), (
        f"{sweep}: the two differ by {gap}"
    )
    assert backend is None or result.metadata["backend"] == backend, result.metadata["backend"]
    return ratio


def sweeps(model: Any, task: Any, rounds: int, sample: int | None) -> tuple[str, dict[str, Ratio]]:
    """The main table: every sweep, on 16 IOI pairs; and the sweeps' times."""
    rows, timed = [], {}
    for sweep, (where, _, _, axes) in SWEEPS.items():
        ratio = side_by_side(
            model, task, sweep, min(rounds, 2) if sweep == "heads by position" else rounds, sample
        )
        timed[sweep] = ratio
        rows.append(
            (
                sweep,
                f"`{where}`",
                len(_cells(model, task, axes)),
                f"{ratio.theirs:.0f}",
                f"{ratio.ours:.1f}",
                ratio,
            )
        )
        print(*rows[-1], flush=True)
    for sweep in ("residual stream by position", "heads"):
        ratio = side_by_side(model, task, sweep, min(rounds, 2), sample, backend="hooks")
        cells = len(_cells(model, task, SWEEPS[sweep][3]))
        rows.append(
            (
                f"{sweep}, on the hook path",
                f"`{SWEEPS[sweep][0]}`",
                cells,
                f"{ratio.theirs:.0f}",
                f"{ratio.ours:.1f}",
                ratio,
            )
        )
        print(*rows[-1], flush=True)
    return (
        table(
            (
                "sweep",
                "where",
                "cells",
                "TransformerLens, s",
                "interp, s",
                "ratio (lowest-highest)",
            ),
            rows,
        ),
        timed,
    )


def synthetic(task: Any, n: int, length: int, differs: int) -> Any:
    """n pairs of random tokens of a length that differ at one position alone: only their shape
    matters for speed.
    """
    g = torch.Generator().manual_seed(0)
    clean = torch.randint(1000, 40_000, (n, length), generator=g)
    clean[:, 0] = task.clean[0, 0]
    corrupted = clean.clone()
    corrupted[:, differs] = torch.randint(1000, 40_000, (n,), generator=g)
    rows = [i % len(task) for i in range(n)]
    return replace(
        task[rows],
        clean=clean,
        corrupted=corrupted,
        positions={"END": torch.full((n,), length - 1)},
    )


def shapes(model: Any, task: Any, rounds: int, sample: int) -> str:
    """How the ratio depends on the number of prompts, their length and where they first differ."""
    rows = []
    cases = [
        (1, 15, 10),
        (4, 15, 1),
        (4, 15, 5),
        (4, 15, 10),
        (4, 15, 13),
        (4, 45, 30),
    ]  # prompts, tokens, first difference
    for n, length, at in cases:
        here = synthetic(task, n, length, at)
        found = [
            side_by_side(model, here, sweep, rounds, sample)
            for sweep in ("residual stream by position", "heads")
        ]
        rows.append((n, length, at, *found))
        print(*rows[-1], flush=True)
    return table(
        ("prompts", "tokens", "first difference at", "residual stream by position", "heads"), rows
    )


def others(model: Any, task: Any) -> str:
    """What has no counterpart to call: seconds, the median of three."""
    mover, one = "L23H3", task[:1]
    movers = ["L23H3", "L29H1", "L20H0", "L19H2", "L9H1", "L12H4"]
    jobs: dict[str, Callable[[], Any]] = {
        "ablate 4 heads from layer 0 on (zero), one prompt": lambda: interp.ablate(
            model, one, ["L0H0", "L3H1", "L9H1", "L29H1"], by="zero"
        ),
        "ablate 6 heads (mean over 16 prompts, run again each time), one prompt": lambda: (
            interp.ablate(model, one, movers, reference=task.clean)
        ),
        "path patching, all 270 heads -> logits": lambda: interp.path_patch(
            model, task, "L*H*", "logits.in"
        ),
        "path patching, all 270 heads -> the query of L23H3": lambda: interp.path_patch(
            model, task, "L*H*", f"{mover}.q_in@END"
        ),
        "the same through the MLPs": lambda: interp.path_patch(
            model, task, "L*H*", f"{mover}.q_in@END", through="mlps"
        ),
        "the same through everything": lambda: interp.path_patch(
            model, task, "L*H*", f"{mover}.q_in@END", through="all"
        ),
        "attribution patching, 270 heads": lambda: interp.attribution_patch(model, task, "L*H*"),
    }
    rows = []
    for what, job in jobs.items():
        took = sorted(seconds(job)[0] for _ in range(3))
        rows.append(
            (
                what,
                len(one) if "one prompt" in what else len(task),
                f"{took[1]:.2f} ({took[0]:.2f}-{took[2]:.2f})",
            )
        )
        print(*rows[-1], flush=True)
    return table(("job", "prompts", "seconds (lowest-highest)"), rows)


def limits(model: Any, task: Any, timed: dict[str, Ratio]) -> str:
    """Where the time goes: the multiplications that each way needs, and how near the whole sweep
    runs to the peak.
    """
    rows, sample, peak_ = [], 4, peak_rate()
    for sweep in ("residual stream by position", "heads"):
        where, _, _, axes = SWEEPS[sweep]
        _, cache = model.run_with_cache(task.clean, names_filter=_names(model))
        whole = (
            work(lambda: theirs(model, task, sweep, cache, sample))
            * len(_cells(model, task, axes))
            / sample
        )
        less = work(lambda: ours(model, task, where))

        def rate(done, took):
            return f"{done / took:.0f} ({done / took / peak_:.0%})"

        a, b = rate(whole, timed[sweep].theirs), rate(less, timed[sweep].ours)
        rows.append(
            (sweep, f"{whole / 1e3:.1f}", f"{less / 1e3:.2f}", f"{whole / less:.1f}x", a, b)
        )
        print(*rows[-1], flush=True)
    head = (
        "sweep",
        "TransformerLens, TFLOP",
        "interp, TFLOP",
        "less work",
        "TransformerLens, GFLOP/s (of the peak)",
        "interp, the same",
    )
    return f"A large float32 matrix product reaches {peak_:.0f} GFLOP/s here.\n\n" + table(
        head, rows
    )


def _names(model: Any) -> list[str]:
    """The activations a clean cache must hold for these sweeps."""
    forms = ["blocks.%d.hook_resid_pre", "blocks.%d.hook_attn_out", "blocks.%d.hook_mlp_out"]
    forms += [f"blocks.%d.attn.hook_{part}" for part in ("z", "k", "pattern")]
    return [form % layer for form in forms for layer in range(model.cfg.n_layers)]


def memory() -> str:
    """The most memory a process holds, model included, in fresh processes."""
    runs = {which: peak_of(__file__, "--memory", which) for which in ("model", "theirs", "ours")}
    rows = [
        ("model loaded, one forward pass", f"{runs['model']:.2f}"),
        ("TransformerLens, head sweep", f"{runs['theirs']:.2f}"),
        ("interp, head sweep", f"{runs['ours']:.2f}"),
    ]
    return table(("process", "peak, GB"), rows)


def alone(which: str) -> None:
    """One job in this process, then the most memory it held."""
    model = interp.load()
    task = interp.tasks.ioi(model, n=16)
    with torch.inference_mode():
        if which == "model":
            model(task.corrupted)
        elif which == "theirs":
            side = [f"blocks.{layer}.attn.hook_z" for layer in range(model.cfg.n_layers)]
            _, cache = model.run_with_cache(task.clean, names_filter=side)
            theirs(model, task, "heads", cache, 8)
        else:
            ours(model, task, "L*H*")
    print(peak())


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument(
        "--sample",
        type=int,
        default=6,
        help="cells of TransformerLens' sweep that are timed in a round",
    )
    options.add_argument(
        "--threads", type=int, help="threads of the matrix products (default: torch's choice)"
    )
    options.add_argument("--full", action="store_true", help="time all of TransformerLens' cells")
    options.add_argument(
        "--write", action="store_true", help="put the tables into benchmarks/README.md"
    )
    options.add_argument("--memory", choices=("model", "theirs", "ours"), help=argparse.SUPPRESS)
    said = options.parse_args()
    if said.memory:
        return alone(said.memory)
    os.environ["INTERP_PROGRESS"] = "0"
    if said.threads:
        torch.set_num_threads(said.threads)
    model = interp.load()
    task = interp.tasks.ioi(model, n=16)
    rows, timed = sweeps(model, task, said.rounds, None if said.full else said.sample)
    parts = [
        f"Measured on: {machine()}.",
        (
            f"**16 IOI pairs of {task.clean.shape[1]} tokens; {said.rounds} interleaved rounds, 2"
            " for heads by position and the hook path**"
        ),
        rows,
        "**Other shapes** (random tokens; ratio, lowest-highest of 2 rounds)",
        shapes(model, task, 2, 3),
        "**Where the time goes** (16 IOI pairs)",
        limits(model, task, timed),
        "**Jobs without a counterpart to call**",
        others(model, task),
        "**Memory**",
        memory(),
    ]
    text = "\n\n".join(parts)
    print(text)
    if said.write:
        write(Path(__file__).parent / "README.md", "patching", text)


if __name__ == "__main__":
    main()
