"""The dictionaries of a graph on its prompt: their latents, their errors and their places."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from interp._types import Model
from interp._warn import warn
from interp.engine.weights import Engine
from interp.features import site_values
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


class Part(NamedTuple):
    """A dictionary on this prompt."""

    dictionary: Dictionary
    layer: int
    inside: bool  # a transcoder, which reads what the MLP reads
    z: Float[Tensor, "pos latent"]
    error: Float[Tensor, "pos d_model"]


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
    parts = []
    for d in dictionaries:
        x, y = values[d.site][0].float(), values[d.writes][0].float()
        z = d.encode(x).float()
        z[:skip] = 0.0
        layer, inside = spot_of(engine, d)
        parts.append(Part(d, layer, inside, z, y - d.reconstruct(x, z).float()))
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
    if (writes.family, writes.part) == ("mlp", "out") and str(reads) in (
        f"mlp.{layer}.in",
        f"{before}.{layer}",
    ):
        return layer, True
    if reads == writes and writes.family == "resid_post":
        return layer, False
    raise ValueError(
        f"{d.name} reads {d.site!r} and writes {d.writes!r}: a graph takes transcoders ('mlp.N.in'"
        " -> 'mlp.N') and dictionaries of the stream ('resid_post.N')"
    )
