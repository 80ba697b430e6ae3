"""The model's loss with an activation replaced, on the engine or with hooks."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from interp import sites
from interp._types import Model
from interp.edits import set_to
from interp.engine import unembed
from interp.engine.forward import embed, run_from, window
from interp.features import site_values
from interp.features.sites import place
from interp.interventions import Intervention, run
from interp.methods.runs.sweep import choose_engine
from interp.methods.text.token_losses import chunk_losses
from interp.models import bridge


def but_first(act: Tensor, new: Tensor, skip: int) -> Tensor:
    """`new` in place of activations [chunk pos d], except at the first `skip` positions."""
    return torch.cat([act[:, :skip], new[:, skip:].to(act.dtype)], 1)


def losses_with(
    model: Model, ids: Tensor, at: str, act: Tensor, new: Sequence[Tensor], backend: str | None
) -> Tensor:
    """The loss of each chunk [1 + new, chunk]: unedited, and with each of `new` at the site."""
    engine = choose_engine(model, backend, lambda: site_values.engine_for(model, [at]))
    with torch.no_grad(), bridge.LOCK:
        if engine is not None:
            return _engine_losses(engine, ids, at, [act, *new])
        runs = [
            run(model, ids, edits).logits
            for edits in ([], *(splice(at, value, bridge.dims(model)) for value in new))
        ]
        return torch.stack([chunk_losses(logits, ids) for logits in runs])


def splice(at: str, value: Tensor, dims: Any) -> list[Intervention]:
    """The interventions that put a value [chunk pos d] in a site's place, head by head if need be.

    Example:
        >>> run(model, tokens, splice("resid_post.15", sae.reconstruct(x), dims))
    """
    site = place(at)
    if not site.stars:
        return [Intervention(at, set_to(value))]
    heads = sites.expand(site, dims).sites
    return [
        Intervention(head, set_to(part))
        for head, part in zip(heads, value.unflatten(-1, (len(heads), -1)).unbind(-2))
    ]


def _engine_losses(engine: Any, ids: Tensor, at: str, values: Sequence[Tensor]) -> Tensor:
    """All variations as rows of one batch, from the layer at which they differ."""
    site = place(at)
    kind, layer = site_values.spot(site, engine.n_layers)
    x, view, rows = (
        embed(engine, ids)[None],
        window(engine, 0, ids.shape[1]),
        torch.stack(list(values)),
    )

    def put(value: Tensor) -> Tensor:
        if "head" not in site.row.axes:
            return rows
        if site.stars:
            return rows.unflatten(-1, value.shape[-2:])
        value = value.clone()
        value[:, :, :, site.index] = rows
        return value

    x = run_from(engine, x, view, 0, layer)
    x = rows if kind == "resid_pre" else x.expand(len(rows), *x.shape[1:])
    here = {} if kind == "resid_pre" else {kind: put}
    x = run_from(engine, x, view, layer, touch=lambda number, _: here if number == layer else {})
    return torch.stack([chunk_losses(unembed(engine, row), ids) for row in x])
