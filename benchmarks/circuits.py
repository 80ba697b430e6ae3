"""Edge scores and circuits' metrics side by side with the usual way: split inputs, per-head
results, a hook on each.

    python benchmarks/circuits.py                # the tables, printed
    python benchmarks/circuits.py --write        # and put into benchmarks/README.md

"Hooks" is written here from the definitions (Syed et al. 2023; Hanna et al. 2024), the way the
reference implementation of EAP-IG goes: the bridge repeats the stream for every reading head
(`use_split_qkv_input`), gives every head's own write (`use_attn_result`) and the MLP's own input
(`use_hook_mlp_in`); one run of the corrupted prompts, one of the clean ones, then a backward pass
whose gradient at every input is multiplied at once with all earlier writes. It is spared what the
reference pays besides: no graph of Python objects, no gradients of weights, one key and value input
per KV head, and one corrupted run for a whole curve. Both score the same 70,651 edges of SmolLM2
and must agree to 1e-5 of the largest score, and to 1e-4 in the metric of a circuit, or the
benchmark stops.
"""

import argparse
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Ratio, interleaved, machine, peak, peak_of, table, write
from torch import Tensor

import interp
from interp.circuits import Circuit
from interp.methods.circuits.discovery import eap, eap_ig
from interp.methods.circuits.edges import Edges
from interp.methods.runs.metrics import metric_of

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of all edges
SIZE = 0.01  # one point: a hundredth of the edges
STEPS = 5


# --- the usual way --------------------------------------------------------------------------------


@contextlib.contextmanager
def split(model: Any) -> Iterator[None]:
    """The bridge's hooks for edges, on for as long as it lasts."""
    switches = (model.set_use_split_qkv_input, model.set_use_attn_result, model.set_use_hook_mlp_in)
    try:
        for switch in switches:
            switch(True)
        yield
    finally:
        for switch in switches:
            switch(False)


def senders(model: Any) -> list[tuple[str, slice]]:
    """Every hook that carries writes, and the senders it carries: the embedding, then each layer's
    heads and MLP.
    """
    heads = model.cfg.n_heads
    hooks = [("blocks.0.hook_in", slice(0, 1))]
    for layer in range(model.cfg.n_layers):
        at = 1 + layer * (heads + 1)
        hooks.append((f"blocks.{layer}.attn.hook_result", slice(at, at + heads)))
        hooks.append((f"blocks.{layer}.mlp.hook_out", slice(at + heads, at + heads + 1)))
    return hooks


def receivers(model: Any) -> list[tuple[str, slice, int]]:
    """Every hook that carries reads, the receivers it carries, and how many senders came before
    them.
    """
    heads, hooks, at = model.cfg.n_heads, [], 0
    kv = getattr(model.cfg, "n_key_value_heads", None) or heads
    for layer in range(model.cfg.n_layers):
        before = 1 + layer * (heads + 1)
        for name, size in (
            ("attn.hook_q_input", heads),
            ("attn.hook_k_input", kv),
            ("attn.hook_v_input", kv),
        ):
            hooks.append((f"blocks.{layer}.{name}", slice(at, at + size), before))
            at += size
        hooks.append((f"blocks.{layer}.hook_mlp_in", slice(at, at + 1), before + heads))
        at += 1
    return [*hooks, ("ln_final.hook_in", slice(at, at + 1), 1 + model.cfg.n_layers * (heads + 1))]


def heads_last(tensor: Tensor) -> Tensor:
    """[batch pos node d_model] of what one or several nodes share a hook for."""
    return tensor if tensor.ndim == 4 else tensor[:, :, None]


def writes(model: Any, tokens: Tensor) -> Tensor:
    """What every sender writes: [batch pos sender d_model]."""
    hooks = senders(model)
    kept = torch.empty(*tokens.shape, hooks[-1][1].stop, model.cfg.d_model)

    def keep(at: slice) -> Callable:
        def hook(tensor: Tensor, hook: Any = None) -> None:
            kept[:, :, at] = heads_last(tensor)

        return hook

    with torch.no_grad(), model.hooks(fwd_hooks=[(name, keep(at)) for name, at in hooks]):
        model(tokens, return_type="logits", prepend_bos=False)
    return kept


def edge_scores(model: Any, task: Any, steps: int | None = None) -> Tensor:
    """EAP, or with steps EAP-IG on inputs, mean over prompts: [sender receiver]."""
    with split(model):
        now, other = writes(model, task.clean), writes(model, task.corrupted)
        start, moved = other[:, :, 0].clone(), now - other
        del now, other
        reads = receivers(model)
        scores = torch.zeros(moved.shape[2], reads[-1][1].stop)

        def take(at: slice, before: int) -> Callable:
            def hook(gradient: Tensor, hook: Any = None) -> None:
                scores[:before, at] += torch.einsum(
                    "bpsd,bphd->sh", moved[:, :, :before], heads_last(gradient)
                )

            return hook

        for share in [1.0] if steps is None else [k / steps for k in range(steps)]:

            def enter(tensor, hook=None, share=share):
                return (start + share * moved[:, :, 0]).requires_grad_()

            backward = [(name, take(at, before)) for name, at, before in reads]
            with (
                torch.enable_grad(),
                model.hooks(fwd_hooks=[("blocks.0.hook_in", enter)], bwd_hooks=backward),
            ):
                task.metric(
                    model(task.clean, return_type="logits", prepend_bos=False)
                ).sum().backward()
    return scores / (len(task) * (1 if steps is None else steps))


def circuit_metrics(model: Any, task: Any, weights: Tensor) -> Tensor:
    """The metric of each row of kept edges [row sender receiver], the others carrying the corrupted
    run's writes: [row batch].
    """
    with split(model), torch.inference_mode():
        other = writes(model, task.corrupted)
        return torch.stack([_cut(model, task, other, row) for row in weights])


def _cut(model: Any, task: Any, other: Tensor, weights: Tensor) -> Tensor:
    lost, moved = 1 - weights, torch.zeros_like(other)

    def leave(at: slice) -> Callable:
        def hook(tensor: Tensor, hook: Any = None) -> None:
            moved[:, :, at] = other[:, :, at] - heads_last(tensor)

        return hook

    def enter(at: slice, before: int) -> Callable:
        def hook(tensor: Tensor, hook: Any = None) -> Tensor:
            change = torch.einsum("bpsd,sh->bphd", moved[:, :, :before], lost[:before, at])
            return tensor + (change if tensor.ndim == 4 else change[:, :, 0])

        return hook

    hooks = [(name, leave(at)) for name, at in senders(model)]
    hooks += [(name, enter(at, before)) for name, at, before in receivers(model)]
    with model.hooks(fwd_hooks=hooks):
        return task.metric(model(task.clean, return_type="logits", prepend_bos=False))


# --- side by side ---------------------------------------------------------------------------------


def cpu(job: Callable[[], Any], found: dict[str, Any], name: str) -> float:
    """The CPU seconds of a job, all threads together; what it gives goes to found[name]."""
    began = time.process_time()
    found[name] = job()
    return time.process_time() - began


def side_by_side(
    theirs: Callable[[], Tensor], ours: Callable[[], Any], rounds: int, close: float
) -> tuple[Ratio, float]:
    """The ratio, and how far apart the numbers are at most, in units of the largest; AssertionError
    beyond `close`.
    """
    found: dict[str, Any] = {}
    ratio = interleaved(
        lambda: cpu(theirs, found, "theirs"), lambda: cpu(ours, found, "ours"), rounds
    )
    mine = torch.as_tensor(np.nan_to_num(np.asarray(found["ours"]))).double()
    gap = float((mine - found["theirs"].double()).abs().max() / found["theirs"].abs().max())
    assert mine.shape == found["theirs"].shape and gap < close, (
        f"the two differ by {gap} of the largest"
    )
    return ratio, gap


def kept(model: Any, task: Any, shares: tuple[float, ...]) -> Tensor:
    """The edges of the circuits that are judged: the strongest by EAP-IG, so many of each share:
    [row sender receiver].
    """
    scores = eap_ig(model, task, steps=STEPS)
    edges = int(np.isfinite(scores.values).sum())
    return torch.as_tensor(
        np.stack([Circuit.top(scores, max(1, round(s * edges))).weights() for s in shares])
    )


def jobs(model: Any, task: Any) -> dict[str, tuple[Callable, Callable, float]]:
    """Every job: the usual way, ours (a user's whole call, reference runs included), how close they
    must be.
    """
    rows = kept(model, task, SHARES)
    one = rows[[SHARES.index(SIZE)]]

    def cut(weights):
        return Edges(model, task, metric_of(task)).cut(weights)

    return {
        "EAP": (
            lambda: edge_scores(model, task),
            lambda: eap(model, task, backend="engine").values,
            1e-5,
        ),
        f"EAP-IG, {STEPS} steps": (
            lambda: edge_scores(model, task, STEPS),
            lambda: eap_ig(model, task, steps=STEPS, backend="engine").values,
            1e-5,
        ),
        f"metric of one circuit ({SIZE:.0%} of the edges)": (
            lambda: circuit_metrics(model, task, one),
            lambda: cut(one),
            1e-4,
        ),
        f"curve of {len(SHARES)} circuits": (
            lambda: circuit_metrics(model, task, rows),
            lambda: cut(rows),
            1e-4,
        ),
    }


def measured(model: Any, task: Any, rounds: int) -> str:
    """The main table: CPU seconds of either way, their ratio, and how far apart the numbers are."""
    rows = []
    for what, (theirs, ours, close) in jobs(model, task).items():
        ratio, gap = side_by_side(theirs, ours, rounds, close)
        rows.append((what, f"{ratio.theirs:.1f}", f"{ratio.ours:.2f}", ratio, f"{gap:.0e}"))
        print(*rows[-1], flush=True)
    return table(
        (
            "job",
            "hooks, CPU s",
            "interp, CPU s",
            "ratio (lowest-highest)",
            "largest difference, of the largest number",
        ),
        rows,
    )


def memory(name: str | None, prompts: int) -> str:
    """The most memory each way needs, every one in a process of its own."""

    def ask(which):
        return peak_of(
            __file__,
            "--memory",
            which,
            "--prompts",
            str(prompts),
            *(["--model", name] if name else []),
        )

    base = ask("model")
    rows = [
        (what, f"{(held := ask(which)):.2f}", f"{held - base:.2f}")
        for what, which in (
            ("EAP, hooks", "eap-hooks"),
            ("EAP, interp", "eap"),
            (f"EAP-IG({STEPS}), hooks", "ig-hooks"),
            (f"EAP-IG({STEPS}), interp", "ig"),
            ("curve, hooks", "curve-hooks"),
            ("curve, interp", "curve"),
        )
    ]
    return table(("job", "GB at most", f"above the model and one run ({base:.2f})"), rows)


def alone(which: str, model: Any, task: Any) -> None:
    """One job in this process, then the most memory it held."""
    if which == "model":
        with torch.inference_mode():
            model(task.corrupted)
    elif which.startswith("curve"):
        # edges by chance, not by scores: finding those would be measured too
        chance = torch.rand(
            senders(model)[-1][1].stop,
            receivers(model)[-1][1].stop,
            generator=torch.Generator().manual_seed(0),
        )
        rows = torch.stack([(chance < share).float() for share in SHARES])
        (
            circuit_metrics(model, task, rows)
            if which.endswith("hooks")
            else Edges(model, task, metric_of(task)).cut(rows)
        )
    else:
        steps = STEPS if which.startswith("ig") else None
        if which.endswith("hooks"):
            edge_scores(model, task, steps)
        else:
            eap_ig(model, task, steps=steps) if steps else eap(model, task)
    print(peak())


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--prompts", type=int, default=8, help="IOI pairs")
    options.add_argument("--model", help="another model than the default, as for interp.load")
    options.add_argument(
        "--threads",
        type=int,
        default=1,
        help="threads of the matrix products (default: 1; CPU seconds add up over threads)",
    )
    options.add_argument(
        "--write", action="store_true", help="put the tables into benchmarks/README.md"
    )
    options.add_argument("--memory", help=argparse.SUPPRESS)
    said = options.parse_args()
    os.environ["INTERP_PROGRESS"] = "0"
    torch.set_num_threads(said.threads)
    model = interp.load(said.model) if said.model else interp.load()
    task = interp.tasks.ioi(model, n=said.prompts)
    if said.memory:
        return alone(said.memory, model, task)
    edges = int(
        np.isfinite(eap(model, task[:1]).values).sum()
    )  # also: nothing is paid for the first time below
    length = task.clean.shape[1]
    parts = [
        f"Measured on: {machine()}.",
        (
            f"**{edges:,} edges, {len(task)} IOI pairs of {length} tokens, {said.rounds}"
            " interleaved rounds**"
        ),
        measured(model, task, said.rounds),
        "**Memory**",
        memory(said.model, said.prompts),
    ]
    text = "\n\n".join(parts)
    print(text)
    if said.write:
        write(Path(__file__).parent / "README.md", "circuits", text)


if __name__ == "__main__":
    main()
