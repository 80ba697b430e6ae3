"""The activations of prompts at a few sites; nothing after the last of these sites is computed."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp import engine, sites
from interp._types import Model
from interp.engine.forward import embed, entering, window
from interp.features.sites import place, side_by_side
from interp.interventions import run
from interp.methods.runs.engine_sweep import KINDS
from interp.methods.runs.sweep import choose_engine
from interp.models import bridge
from interp.sites import Site


def values(
    model: Model, tokens: Int[Tensor, "batch pos"], where: Sequence[str], backend: str | None = None
) -> dict[str, Tensor]:
    """The activations [batch pos d] at each of these addresses, in the model's dtype.

    Example:
        >>> values(model, tokens, ["mlp.10.in", "mlp.10"])

    Args:
        tokens: Token ids, all prompts of one length.
        where: Addresses with one vector per token; "L9H*.z" gives all heads side by side.
        backend: "engine", "hooks", or None: the engine where it knows the model and the sites.

    Raises:
        ValueError: If a token id or the number of positions does not fit the model.
    """
    n_ctx, d_vocab = bridge.dims(model).n_ctx, bridge.dims(model).d_vocab
    if tokens.shape[1] > n_ctx or not 0 <= int(tokens.min()) <= int(tokens.max()) < d_vocab:
        raise ValueError(
            f"tokens {tuple(tokens.shape)} do not fit the model: ids 0 to {d_vocab - 1}, at most"
            f" {n_ctx} positions"
        )
    wanted = {str(at): sites.check(place(at), bridge.dims(model)) for at in where}
    engine = choose_engine(model, backend, lambda: engine_for(model, list(wanted)))
    with torch.no_grad(), bridge.LOCK:
        return (
            _by_hooks(model, tokens, wanted)
            if engine is None
            else _by_engine(engine, tokens, wanted)
        )


def engine_for(model: Model, where: Sequence[str]) -> Any:
    """The engine, if it knows the model and all these sites; otherwise None."""
    known = all(
        (s.family, s.part) in KINDS
        and (s.family, s.part) != ("head", "out")
        or s.family == "logits"
        for s in map(place, where)
    )
    return engine.find(model) if known else None


def _by_engine(engine: Any, tokens: Tensor, wanted: dict[str, Site]) -> dict[str, Tensor]:
    spots = {name: spot(site, engine.n_layers) for name, site in wanted.items()}
    values: dict[tuple[str, int], Tensor] = {}

    def keep(at: tuple[str, int]) -> Any:
        def touched(value: Tensor) -> Tensor:
            values[at] = value[0]
            return value

        return touched

    def touch(number: int, _: Tensor) -> Any:
        here = {kind for kind, layer in spots.values() if layer == number and kind != "resid_pre"}
        return {kind: keep((kind, number)) for kind in here}

    view = window(engine, 0, tokens.shape[1])
    for number, x in entering(engine, embed(engine, tokens)[None], view, touch=touch):
        values["resid_pre", number] = x[0]
        if all(at in values for at in spots.values()):
            break
    return {name: _heads(wanted[name], values[at]) for name, at in spots.items()}


def spot(site: Site, n_layers: int) -> tuple[str, int]:
    """The engine's kind and layer of a site.

    What leaves a block is what enters the next one, so that the next one need not run.
    """
    if site.family == "logits":
        return "resid_pre", n_layers
    if site.family == "resid_post":
        return "resid_pre", site.layer + 1
    return KINDS[site.family, site.part], site.layer or 0


def _by_head(site: Site, value: Tensor, d: bridge.Dims) -> Tensor:
    """Some architectures show heads side by side already: [batch pos head d] again."""
    if "pos head" not in site.row.axes:
        return value
    heads = d.n_kv_heads if site.family == "kv" else d.n_heads
    return value.flatten(2).unflatten(2, (heads, -1))


def _heads(site: Site, value: Tensor) -> Tensor:
    """One vector per token: of one head, or of all heads side by side."""
    if "head" not in site.row.axes:
        return value
    return value.flatten(2) if site.stars else value[:, :, site.index]


def _by_hooks(model: Model, tokens: Tensor, wanted: dict[str, Site]) -> dict[str, Tensor]:
    if len(wanted) == 1:
        (name, site), d = *wanted.items(), bridge.dims(model)
        if sites.row(site, d).how == "act" and site.family != "logits":
            value = bridge.until(model, tokens, [], sites.hook(site, d))
            return {name: _heads(site, _by_head(site, value, d))}
    cache = run(model, tokens, keep=list(wanted)).kept
    return {name: side_by_side(name, cache[name]) for name in wanted}
