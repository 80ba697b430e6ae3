"""The dictionaries of a graph on its prompt: their latents, their errors and their places."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from interp._types import Model
from interp._warn import warn
from interp.engine.weights import Engine
from interp.features import site_values
from interp.features.crosscoders.cross_layer_transcoder import directions
from interp.features.dictionary import Dictionary
from interp.features.loading.check import check
from interp.features.sites import place
from interp.models import bridge

LINEAR = {  # kinds whose latents are linear in what they read where they are on: scale, bias
    **dict.fromkeys(
        (
            "standard",
            "topk",
            "jumprelu",
            "transcoder",
            "skip_transcoder",
            "jumprelu_transcoder",
            "jumprelu_skip_transcoder",
        ),
        (None, "b_enc"),
    ),
    "gated": ("r_mag", "b_mag"),
}


AFTER_NORM = ("normalized", "module_in")  # read after the MLP's norm: before and after its weights


class Part(NamedTuple):
    """A dictionary on this prompt."""

    dictionary: Dictionary
    layer: int
    inside: bool  # a transcoder, which reads what the MLP reads
    z: Float[Tensor, "pos latent"]
    error: Float[Tensor, "pos d_model"]

    @property
    def through(self) -> str:
        """What it reads of the MLP: "in" (the stream), "normalized" or "module_in"."""
        part = place(self.dictionary.site).part
        return part if self.inside and part in AFTER_NORM else "in"


def prompt_parts(
    model: Model, engine: Engine, dictionaries: Sequence[Dictionary], ids: Tensor, skip: int
) -> list[Part]:
    """Each dictionary's latents and errors on the prompt, from the first layer to the last."""
    if not dictionaries:
        raise ValueError("no dictionary: features.graph(model, prompt, [transcoder, ...])")
    spots: dict[tuple[int, bool], str] = {}
    for d in dictionaries:
        check(model, d)
        of = d.metadata.get("model")
        if "curve" in d.metadata and of not in (None, bridge.name(model)):
            warn(
                f"{d.name} was trained on {of!r}, and this model is {bridge.name(model)!r}: its"
                " latents mean nothing here, unless the two are one model under two names"
            )
        spot = spot_of(engine, d)
        if spot in spots:
            raise ValueError(
                f"two dictionaries write {d.writes!r} ({spots[spot]} and {d.name}): a graph has one"
                " a place"
            )
        spots[spot] = d.name
    sites = list(dict.fromkeys(s for d in dictionaries for s in (d.site, d.writes)))
    values = site_values.values(model, ids, sites)
    latents, made = [], {}
    for d in dictionaries:
        z = d.encode(values[d.site][0].float()).float()
        z[:skip] = 0.0
        latents.append(z)
    for d, z in zip(
        dictionaries, latents
    ):  # what is written in each place, by all that write there
        at, w = spot_of(engine, d), d.weights_at(z.device)
        own = made.setdefault(at, torch.zeros_like(values[d.writes][0].float()))
        own += w["b_dec"].float()
        if "W_skip" in w:
            own += values[d.site][0].float() @ w["W_skip"].float().T
        for layer, W_dec in directions(d, z.device).items():
            there = made.setdefault((int(layer or 0), at[1]), torch.zeros_like(own))
            there += z @ W_dec.float()
    parts = []
    for d, z in zip(dictionaries, latents):
        layer, inside = spot_of(engine, d)
        error = values[d.writes][0].float() - made[layer, inside]
        parts.append(Part(d, layer, inside, z, error))
    return sorted(parts, key=lambda part: (part.layer, not part.inside))


def spot_of(engine: Engine, d: Dictionary) -> tuple[int, bool]:
    """The layer of a dictionary, and whether it stands for the layer's MLP."""
    if d.kind not in LINEAR:
        raise ValueError(
            f"the latents of {d.name} ({d.kind}) are not linear in what they read: a graph takes"
            f" {', '.join(LINEAR)}"
        )
    reads, writes = place(d.site), place(d.writes)
    layer = -1 if writes.layer is None else writes.layer
    before = "resid_pre" if engine.parallel else "resid_mid"
    known = [f"mlp.{layer}.{part}" for part in ("in", *AFTER_NORM)]
    if (writes.family, writes.part) == ("mlp", "out") and str(reads) in (
        *known,
        f"{before}.{layer}",
    ):
        return layer, True
    if reads == writes and writes.family == "resid_post":
        return layer, False
    raise ValueError(
        f"{d.name} reads {d.site!r} and writes {d.writes!r}: a graph takes transcoders ('mlp.N.in',"
        " 'mlp.N.normalized' or 'mlp.N.module_in' -> 'mlp.N') and dictionaries of the stream"
        " ('resid_post.N')"
    )
