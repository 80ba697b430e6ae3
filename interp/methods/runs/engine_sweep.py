"""Sweeps by the engine: sites and metrics in its terms, where it knows them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp import engine
from interp._types import Model
from interp.methods.runs.metrics import check_shape
from interp.sites import STAR, Site
from interp.tasks.metrics import Metric

# What the engine calls a site's (family, part). What is not here is left to the hooks.
KINDS: dict[tuple[str, str], str] = {
    ("head", "out"): "z",  # what a head writes is linear in its z, where no norm comes after
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


def kind_of(engine_model: Any, site: Site) -> str:
    """What this engine calls the site: what a head writes is its z, or its share after a norm."""
    kind = KINDS[site.family, site.part]
    return engine_model.head_kind if (site.family, site.part) == ("head", "out") else kind


Cell = Sequence[
    Site | engine.Patch
]  # sites that take the source's values, or patches that say themselves what they do


def engine_for(model: Model, metric: Metric, groups: Sequence[Cell]) -> Any:
    """The engine when it can do this sweep with this model and metric, otherwise None."""
    kept_sites = [Site.parse(key) for key in metric.keep]
    at_end = all(site.pos in ("END", -1) and not site.stars for site in kept_sites)
    if metric.everywhere and metric.keep:
        return None  # the engine watches END alone
    if not at_end or not all((s.family, s.part) in KINDS for s in [*kept_sites, *_sites(groups)]):
        return None
    if any((s.family, s.part) in (("head", "out"), ("embed", "out")) for s in kept_sites):
        # what the engine carries there is z, or a layer's stream: another quantity
        return None
    return engine.find(model)


def sweep_by_engine(
    engine_model: Any,
    base: Tensor,
    source: Tensor | Callable[[list[str]], Mapping[str, list[Tensor]]],
    groups: Sequence[Cell],
    metric: Metric,
    positions: Mapping[str, Tensor],
    bar: Any,
    added: Tensor | None = None,
    note: Callable[[list[int], Tensor], None] | None = None,
) -> Float[Tensor, "cell batch"]:
    """The metric of each variation: a group's sites take the source's values.

    Args:
        engine_model: The model as the engine holds it.
        base: The tokens of the run that is varied.
        source: The other run's tokens [batch pos], or a function from the kinds needed to
            replacement values per kind and layer (a mean over prompts, zeros).
        groups: The sites of each variation.
        metric: What is measured.
        positions: Named positions.
        bar: The progress bar, or None.
        added: What the base run's embeddings have in addition.
        note: Called with cells and their values as they finish.
    """
    kept_sites = {key: Site.parse(key) for key in metric.keep}
    kinds = sorted({kind_of(engine_model, s) for s in _sites(groups)})
    watched = {(KINDS[s.family, s.part], s.layer) for s in kept_sites.values()}
    # what heads write is computed from z, in the run that is patched and in the source run
    run_kinds = tuple(dict.fromkeys("z" if kind == "write" else kind for kind in kinds))
    base_kinds = [kind for kind in kinds if kind != "write"]
    needed = tuple(dict.fromkeys(("resid_pre", "k", "v", *base_kinds, *(k for k, _ in watched))))
    run = engine.run(
        engine_model,
        base,
        keep=needed,
        resid=None
        if added is None
        else engine.embed(engine_model, base) + added.to(engine_model.embed),
    )
    other = (
        engine.run(engine_model, source, keep=run_kinds, logits=None)
        if isinstance(source, Tensor)
        else source(kinds)
    )

    def at(s):
        return (
            s
            if isinstance(s, engine.Patch)
            else engine_patch(s, kind_of(engine_model, s), positions)
        )

    patches = [[at(s) for s in group] for group in groups]
    watch = {
        (kind, layer): engine.watching(run, kind, layer, len(groups)) for kind, layer in watched
    }

    before = 0 if bar is None else bar.n

    def tick(done: int, total: int) -> None:
        if bar is not None:
            bar.update(before + done - bar.n)

    read = metric_reader(engine_model, metric, len(base))
    watched_values = {
        key: _chosen(watch[KINDS[s.family, s.part], s.layer], s) for key, s in kept_sites.items()
    }
    values = torch.empty(len(groups), len(base), device=engine_model.device)

    def finished(rows: list[int], out: Tensor) -> None:
        if (
            kept_sites
        ):  # out holds logits of no interest here when the metric reads only what it keeps

            def see(i):
                return {key: value[i] for key, value in watched_values.items()}

            out = torch.stack(
                [
                    check_shape(metric.of(logits, see(i)), len(base), metric)
                    for i, logits in zip(rows, out)
                ]
            )
        values[rows] = out.to(values)
        if note is not None:
            note(rows, values[rows])

    options = dict(
        first=_first(base, source, added),
        tick=tick,
        finished=finished,
        watch=watch,
        everywhere=metric.everywhere,
    )
    engine.sweep(engine_model, run, other, patches, read, **options)
    return values


def _first(base: Tensor, source: Any, added: Tensor | None) -> int | None:
    """The first position where base and source differ; None where the engine finds it by itself."""
    if added is None or not isinstance(source, Tensor):
        return None
    noisy = added.any(-1).any(0).nonzero()
    return min(
        engine.first_difference(base, source), int(noisy[0]) if len(noisy) else base.shape[1]
    )


def kinds_of(groups: Sequence[Cell]) -> list[str]:
    """The kinds of activation that a sweep replaces, in the engine's words where it has any."""
    return sorted({KINDS.get((s.family, s.part), s.part) for s in _sites(groups)})


def _sites(groups: Sequence[Cell]) -> list[Site]:
    return [s for group in groups for s in group if isinstance(s, Site)]


def _chosen(value: Tensor, site: Site) -> Tensor:
    """A watched value [cell batch ...] of one head or neuron."""
    if site.index is not None:
        return value[:, :, site.index]
    return value[..., site.unit : site.unit + 1] if site.unit is not None else value


def engine_patch(site: Site, kind: str, positions: Mapping[str, Tensor]) -> engine.Patch:
    """The engine's patch of this kind where the site is."""
    pos = positions[site.pos] if isinstance(site.pos, str) and site.pos != STAR else site.pos
    index = site.unit if site.part == "post" else site.index
    layer = 0 if site.family == "embed" else site.layer
    return engine.Patch(kind, layer, index, None if pos == STAR and isinstance(pos, str) else pos)


def metric_reader(engine_model: Any, metric: Metric, n: int) -> Callable[[Tensor], Tensor]:
    """A function that reads the metric off the final residual, from a few columns where it can."""
    if metric.keep:  # the metric is taken afterwards, together with what was watched
        return (
            engine.vocab(engine_model, lambda logits: logits)
            if metric.needs_logits
            else lambda resid: resid[..., 0]
        )
    if metric.columns is not None:
        read_columns = engine.columns(engine_model, metric.columns)
        return lambda resid: metric.of_columns(read_columns(resid)).float()
    return engine.vocab(
        engine_model,
        lambda logits: torch.stack([check_shape(metric.of(row, {}), n, metric) for row in logits]),
    )
