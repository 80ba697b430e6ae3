"""The fast way to the same numbers: sites and measures in the lean engine's terms, where it knows them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp import engine as lean
from interp.methods.measures import Measure, check_shape
from interp.sites import STAR, Site

# What the engine calls a site's (family, part). What is not here goes the way of the hooks.
KINDS: dict[tuple[str, str], str] = {
    ("head", "out"): "z",  # what a head writes is linear in its z
    ("head", "z"): "z",
    ("head", "q"): "q",
    ("head", "pattern"): "pattern",
    ("head", "scores"): "scores",
    ("kv", "k"): "k",
    ("kv", "v"): "v",
    ("attn", "out"): "attn_out",
    ("attn", "in"): "attn_in",
    ("mlp", "out"): "mlp_out",
    ("mlp", "in"): "mlp_in",
    ("mlp", "post"): "post",
    ("embed", "out"): "resid_pre",
    ("resid_pre", "out"): "resid_pre",
    ("resid_mid", "out"): "resid_mid",
    ("resid_post", "out"): "resid_post",
}


def engine_for(model: Any, judge: Measure, groups: Sequence[Sequence[Site]]) -> Any:
    """The lean engine when it can do this sweep with this model and measure, otherwise None."""
    if judge.keep or not all((s.family, s.part) in KINDS for group in groups for s in group):
        return None
    return lean.find(model)


def values(
    engine: Any,
    base: Tensor,
    source: Tensor | Callable[[Mapping[str, list[Tensor]]], Mapping[str, list[Tensor]]],
    groups: Sequence[Sequence[Site]],
    judge: Measure,
    positions: Mapping[str, Tensor],
    bar: Any,
) -> Float[Tensor, "cell batch"]:
    """The measure of each variation: the sites of a group take the source's values, all else is the base run.

    source: the other run's tokens [batch pos], or a function from the base's own kept activations to
    replacement values per kind and layer (a mean over prompts, zeros).
    """
    kinds = sorted({KINDS[s.family, s.part] for group in groups for s in group})
    run = lean.run(engine, base, keep=tuple(dict.fromkeys(("resid_pre", "k", "v", *kinds))))
    other = lean.run(engine, source, keep=kinds, logits=None) if isinstance(source, Tensor) else source(kinds)
    patches = [[_patch(site, positions) for site in group] for group in groups]

    def tick(done: int, total: int) -> None:
        bar.update(done - bar.n)

    with bar:
        return lean.sweep(engine, run, other, patches, _reader(engine, judge, len(base)), tick=tick)


def _patch(site: Site, positions: Mapping[str, Tensor]) -> lean.Patch:
    pos = positions[site.pos] if isinstance(site.pos, str) and site.pos != STAR else site.pos
    index = site.unit if site.part == "post" else site.index
    layer = 0 if site.family == "embed" else site.layer
    return lean.Patch(KINDS[site.family, site.part], layer, index, None if pos == STAR and isinstance(pos, str) else pos)


def _reader(engine: Any, judge: Measure, n: int) -> Callable[[Tensor], Tensor]:
    """Reads the measure off the final residual: from a few columns of the unembedding where that is enough."""
    if judge.columns is not None:
        few = lean.columns(engine, judge.columns)
        return lambda resid: judge.of_columns(few(resid)).float()
    return lean.vocab(engine, lambda logits: torch.stack([check_shape(judge.of(row, {}), n, judge) for row in logits]))
