"""Gradients of a metric at sites, by hooks (the definition) and by the engine, with equal numbers.

A slot is the address of one kind of site in one layer, its heads or neurons starred: "L3H*.z",
"mlp.3.post#*", "resid_pre.3". A slot's tensor is always [index batch pos d], `index` being the head
or the neuron, or alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from interp import engine, sites
from interp._types import Model
from interp.edits import Seen, set_to
from interp.interventions import Intervention, run
from interp.methods.runs.engine_sweep import kind_of, metric_reader
from interp.methods.runs.metrics import check_shape
from interp.models import bridge
from interp.sites import STAR, Site
from interp.tasks.metrics import Metric

SiteTensors = dict[Site, Tensor]  # slot -> [index batch pos d]


class GradientBackend(NamedTuple):
    """One way to run the model: the activations at the slots, and the metric's gradients there.

    Attributes:
        values: (tokens, slots) -> the activations.
        slopes: (slots, embedding or None) -> the gradients in the base run.
        dropping: (slots) -> the gradients when nothing flows back through what one layer writes,
            layer by layer.
        patterns: (slot, values [row index batch pos d_head]) -> the layer's attention
            [row head batch dest src] with its queries or keys replaced.
    """

    values: Callable[[Tensor, Sequence[Site]], SiteTensors]
    # (slots, embedding); by hooks also what is dropped and what is edited
    slopes: Callable[..., SiteTensors]
    dropping: Callable[[Sequence[Site]], Iterator[SiteTensors]]
    patterns: Callable[[Site, Tensor], Tensor]


def by_hooks(
    model: Model, metric: Metric, base: Tensor, positions: Mapping[str, Tensor]
) -> GradientBackend:
    """The definition: the gradient at a site is the derivative in something added to it."""
    dims = bridge.dims(model)

    def values(tokens: Tensor, slots: Sequence[Site]) -> SiteTensors:
        cache = run(
            model, tokens, keep=[_whole(s) for s in slots], positions=positions, last_only=True
        ).kept
        return {s: _lay_out(s, cache[str(_whole(s))]) for s in slots}

    def slopes(
        slots: Sequence[Site],
        embedding: Tensor | None = None,
        drop: int | None = None,
        edits: Sequence[Intervention] = (),
    ) -> SiteTensors:
        leaves: dict[Site, Tensor] = {}

        def tap(site: Site) -> Intervention:
            def edit(act: Tensor, seen: Seen) -> Tensor:
                leaves[site] = torch.zeros_like(act).requires_grad_(True)
                return act + leaves[site]

            return Intervention(site, edit)

        each = {s: sites.expand(_whole(s), dims).sites for s in slots}
        first = (
            list(edits) if embedding is None else [Intervention("embed", set_to(embedding)), *edits]
        )
        # the embedding is tapped in any case: then a metric without a gradient differs from one
        # upstream of the site
        taps = [
            tap(site)
            for site in dict.fromkeys(
                [Site("embed"), *(one for some in each.values() for one in some)]
            )
        ]
        dropped = [] if drop is None else [f"attn.{drop}", f"mlp.{drop}"]
        last = [Intervention(write, lambda act, seen: act.detach()) for write in dropped]
        with torch.inference_mode(False):
            out = run(
                model,
                base,
                [*first, *taps, *last],
                metric.keep,
                positions=positions,
                last_only=True,
                grad=True,
            )
            value = check_shape(metric.of(out.logits, out.kept), len(base), metric)
            if not value.requires_grad:
                raise ValueError(engine.NO_GRADIENT)
            leaf_grads = torch.autograd.grad(value.sum(), list(leaves.values()), allow_unused=True)
        grads = {
            site: torch.zeros_like(leaf) if g is None else g
            for (site, leaf), g in zip(leaves.items(), leaf_grads)
        }

        def stacked(s):
            return (
                torch.stack([grads[one] for one in each[s]])
                if s.index == STAR
                else grads[each[s][0]]
            )

        return {s: _lay_out(s, stacked(s)) for s in slots}

    def patterns(slot: Site, rows: Tensor) -> Tensor:
        key = f"L{slot.layer}H*.pattern"

        def put(row):
            return [
                Intervention(replace(slot, index=i), set_to(value)) for i, value in enumerate(row)
            ]

        return torch.stack(
            [run(model, base, put(row), [key], last_only=True).kept[key] for row in rows]
        )

    def dropping(slots):
        return (slopes(slots, drop=layer) for layer in range(dims.n_layers))

    return GradientBackend(values, slopes, dropping, patterns)


def by_engine(engine_model: Any, metric: Metric, base: Tensor, first: int) -> GradientBackend:
    """The engine: positions before the first difference are not run; gradients there are 0."""
    base_run = engine.run(engine_model, base, keep=("resid_pre", "k", "v"))
    read = metric_reader(engine_model, metric, len(base))

    def values(tokens: Tensor, slots: Sequence[Site]) -> SiteTensors:
        cache = engine.run(engine_model, tokens, keep=kinds(slots), logits=None)
        return {s: _lay_out_engine(s, cache[kind_of(engine_model, s)]) for s in slots}

    def kinds(slots: Sequence[Site]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(kind_of(engine_model, s) for s in slots))

    def at(slots: Sequence[Site]) -> tuple[str, ...]:
        # what heads write is added up: the gradient at each is that at the sum
        return tuple(dict.fromkeys("attn_out" if k == "write" else k for k in kinds(slots)))

    def padded(slots: Sequence[Site], grads: Mapping[str, list[Tensor]]) -> SiteTensors:
        if "write" in kinds(slots):
            heads = engine_model.n_heads
            grads = {
                "write": [g[:, :, None].expand(-1, -1, heads, -1) for g in grads["attn_out"]],
                **grads,
            }
        return {
            s: F.pad(_lay_out_engine(s, grads[kind_of(engine_model, s)]), (0, 0, first, 0))
            for s in slots
        }

    def slopes(slots: Sequence[Site], embedding: Tensor | None = None) -> SiteTensors:
        resid = None if embedding is None else embedding[:, first:]
        _, grads = engine.gradients(
            engine_model, base, read, at(slots), resid=resid, base=base_run, first=first
        )
        return padded(slots, grads)

    def dropping(slots: Sequence[Site]) -> Iterator[SiteTensors]:
        for grads in engine.gradients_dropping(
            engine_model, base, read, at(slots), base=base_run, first=first
        ):
            yield padded(slots, grads)

    def patterns(slot: Site, rows: Tensor) -> Tensor:
        return engine.patterns(
            engine_model, base_run, slot.layer, slot.part, rows.permute(0, 2, 3, 1, 4)
        ).transpose(1, 2)

    return GradientBackend(values, slopes, dropping, patterns)


def _whole(slot: Site) -> Site:
    return replace(
        slot, unit=None
    )  # all neurons of a layer are one tensor: no need to take them one by one


def _lay_out(slot: Site, value: Tensor) -> Tensor:
    """[index batch pos d] from [head batch pos d] or [batch pos d]; a neuron is an index of one."""
    if slot.unit == STAR:
        return value.movedim(-1, 0)[..., None]
    return value if slot.index == STAR else value[None]


def _lay_out_engine(slot: Site, layers: Sequence[Tensor]) -> Tensor:
    """[index batch pos d] from the engine's activations by layer."""
    value = layers[0 if slot.family == "embed" else slot.layer]
    axes = "batch pos head d_model" if slot.part == "out" else slot.row.axes
    return _lay_out(
        slot, value.movedim(axes.split().index("head"), 0) if slot.index == STAR else value
    )
