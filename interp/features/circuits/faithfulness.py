"""How much of a task's behaviour remains when everything outside a feature circuit is ablated."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp._errors import listed
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._stats import fractions
from interp._types import Model
from interp.features.circuits.feature_circuit import FeatureCircuit, ordered
from interp.features.circuits.latent_attribution import ERROR, split
from interp.features.dictionary import Dictionary
from interp.features.interventions import SKIP
from interp.interventions import Intervention
from interp.methods.runs import sweep
from interp.methods.runs.metrics import metric_of
from interp.results import Result

Keep = Mapping[
    str, tuple[Tensor, bool]
]  # site -> which latents stay, and whether the error term does


@torch_defaults()
def faithfulness(
    model: Model,
    task: Any,
    dictionaries: Sequence[Dictionary],
    circuit: FeatureCircuit,
    *,
    reference: Tensor | None = None,
    random: int = 3,
    seed: int = 0,
    skip: int = SKIP,
    metric: Any = None,
) -> Result:
    """The share of the metric that remains when every node outside a circuit takes its mean value.

    Example:
        >>> features.faithfulness(model, task.heldout(), [early, middle, late], circuit)

    Args:
        model: The model.
        task: The task; use held-out prompts.
        dictionaries: The dictionaries of the circuit, one per site.
        circuit: The feature circuit.
        reference: Prompts [batch pos] of the task's length over which means are taken, position by
            position; the task's clean prompts if None.
        random: How many random circuits are drawn for the control.
        seed: Decides the random circuits.
        skip: How many first positions stay unchanged.
        metric: The task's own metric if None.

    Returns:
        Axis "kept": "circuit" (its latents and its own error terms), "its latents" (no error term),
        "its latents and all errors", "all errors", "all latents" (what the dictionaries explain),
        and "random latents": as many latents per site as the circuit has, drawn from those that are
        on, with the circuit's own error terms, averaged over the draws. Unit: share, where 0 is
        everything ablated and 1 the clean run, (metric - metric with nothing kept) / (clean -
        nothing kept), not clamped. One value per prompt is kept.

    Raises:
        ValueError: If the dictionaries are not the circuit's, the reference prompts have another
            length, or ablating everything does not change the metric.

    Reference:
        Marks et al. 2024, arXiv 2403.19647.
    """
    started = time.perf_counter()
    in_order = ordered(model, dictionaries)
    if [d.writes for d in in_order] != list(circuit.sites):
        raise ValueError(
            f"the circuit is of {listed(circuit.sites)}, the dictionaries write"
            f" {listed(d.writes for d in in_order)}"
        )
    metric = metric_of(task, metric)
    prompts = task.clean if reference is None else reference
    if prompts.shape[1:] != task.clean.shape[1:]:
        raise ValueError(
            f"the reference prompts have {prompts.shape[1]} tokens, the task's"
            f" {task.clean.shape[1]}: means are taken position by position"
        )
    with torch.no_grad():
        means = {
            d.writes: tuple(v.mean(0, keepdim=True) for v in split(model, prompts, d)[1:])
            for d in in_order
        }
    sets = _sets(in_order, circuit, means, random, seed)
    edits = [
        [_ablated(d, keep[d.writes], means[d.writes], skip) for d in in_order]
        for keep in sets.values()
    ]
    values = sweep.sweep_by_hooks(
        model, task.clean, edits, metric, task.positions, "faithfulness"
    ).double()
    clean, nothing = (
        sweep.unedited_metric(model, task.clean, metric, task.positions).double(),
        values[0],
    )
    parts, notes = fractions(
        values - nothing,
        clean - nothing,
        f"{metric.name} of the clean run minus that with nothing kept",
        "try other sites, or another reference",
        "faithfulness",
    )
    shares = to_numpy(parts)[1:]
    fixed = len(shares) - random
    rows = (
        np.concatenate([shares[:fixed], shares[fixed:].mean(0, keepdims=True)])
        if random
        else shares
    )
    labels = [*list(sets)[1 : fixed + 1], *(["random latents"] if random else [])]
    metadata = sweep.provenance(
        model,
        task,
        "faithfulness of a feature circuit",
        started,
        metric=metric.name,
        clean=float(clean.mean()),
        nothing=float(nothing.mean()),
        nodes=len(circuit.nodes),
        random=random,
        skip=skip,
        backend="hooks",
        **notes,
    )
    return Result(
        rows.mean(-1),
        ("kept",),
        {"kept": labels},
        "faithfulness",
        "share (0 all ablated, 1 clean)",
        metadata,
        rows,
    )


def _sets(
    dictionaries: Sequence[Dictionary],
    circuit: FeatureCircuit,
    means: Mapping[str, tuple],
    random: int,
    seed: int,
) -> dict[str, Keep]:
    """What is kept in each run: nothing first, then the named sets, then random latents."""
    g = torch.Generator().manual_seed(seed)
    none = {d.writes: torch.zeros(d.n_latents, dtype=torch.bool) for d in dictionaries}
    in_circuit = {
        d.writes: (
            none[d.writes].index_fill(
                0, torch.tensor(circuit.latents(d.writes), dtype=torch.long), True
            )
        )
        for d in dictionaries
    }
    errors = {d.writes: f"{d.writes}:{ERROR}" in circuit.nodes for d in dictionaries}

    def keep(latents, error):
        return {w: (latents[w], error[w] if isinstance(error, dict) else error) for w in latents}

    def drawn() -> dict[str, Tensor]:
        out = {}
        for d in dictionaries:
            on = means[d.writes][0].flatten(0, 1).any(0).nonzero()[:, 0]
            take = on.cpu()[torch.randperm(len(on), generator=g)[: int(in_circuit[d.writes].sum())]]
            out[d.writes] = none[d.writes].index_fill(0, take, True)
        return out

    every = {w: ~v for w, v in none.items()}
    sets = {
        "nothing": keep(none, False),
        "circuit": keep(in_circuit, errors),
        "its latents": keep(in_circuit, False),
        "its latents and all errors": keep(in_circuit, True),
        "all errors": keep(none, True),
        "all latents": keep(every, False),
    }
    return sets | {f"random {i}": keep(drawn(), errors) for i in range(random)}


def _ablated(
    d: Dictionary, kept: tuple[Tensor, bool], means: tuple[Tensor, Tensor], skip: int
) -> Intervention:
    """The intervention that sets every latent that is not kept to its mean.

    The error term takes its mean as well, unless it is kept.
    """
    (keep, error), (mean, mean_error) = kept, means
    reads = () if d.to is None else (d.site,)

    def edit(act: Tensor, seen: Mapping[str, Tensor]) -> Tensor:
        z = d.encode(seen[reads[0]] if reads else act)
        keep_here = keep.to(z.device)
        change = torch.where(keep_here, 0.0, mean - z) @ d.weights_at(z.device)["W_dec"]
        if not error:
            change = change + mean_error - (act - d.decode(z))
        return act + (change * (seen["pos"] >= skip)[..., None]).to(act.dtype)

    return Intervention(d.writes, edit, reads)
