"""The direct effect of a direction on the logits.

The direction passes W_out or W_O into the residual stream, the final norm and the unembedding.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp._types import Model
from interp.features import site_values
from interp.features.sites import place
from interp.models import bridge
from interp.sites import Site

CONVENTION = (
    "direct effect on the logits at the largest activation: the direction over the final norm's"
    " mean scale in this text, times its gain and the unembedding, minus the mean over tokens"
)
SAMPLE = 512  # tokens that the final norm's scale is measured on
ROWS = 64  # logits over the whole vocabulary are large: so many directions at a time


def into_stream(
    model: Model, site: str | Site, directions: Float[Tensor, "*n d"]
) -> Float[Tensor, "*n d_model"] | None:
    """What directions of a site write to the residual stream; None if the site does not write.

    What a block reads ("mlp.3.in") is the stream. Queries, keys and pre-activations write nothing
    by themselves.

    Example:
        >>> into_stream(model, "mlp.3.post", sae.W_dec)     # @ W_out; "L9H2.z" and "L9H*.z": @ W_O
    """
    at, directions = place(site), directions.to(bridge.device(model))
    if at.row.axes.endswith("d_model"):
        return directions
    if (at.family, at.part) == ("mlp", "post"):
        return directions @ bridge.mlp_out(model, at.layer).float()
    if (at.family, at.part) not in (("head", "z"), ("kv", "v")):
        return None
    W_O = bridge.head_matrix(model, at.layer).float()  # [head d_head d_model]
    if at.family == "kv":  # each value is read by all heads of its group
        W_O = W_O.unflatten(0, (bridge.dims(model).n_kv_heads, -1)).sum(1)
    return directions @ (W_O.flatten(0, 1) if at.stars else W_O[at.index])


def scale(model: Model, tokens: Int[Tensor, "chunk pos"], skip: int = 1) -> float:
    """The mean factor by which the final norm divides, on the first few chunks of a text."""
    first_chunks = tokens[: max(1, SAMPLE // tokens.shape[1])]
    end = site_values.values(model, first_chunks, ["logits.in"])["logits.in"][:, skip:]
    return float(bridge.final_scale(model, end).mean())


def effects(
    model: Model, site: str | Site, directions: Float[Tensor, "n d"], divide: float = 1.0
) -> Float[Tensor, "n d_vocab"] | None:
    """The logits that directions add directly, minus their mean; None if they add none."""
    stream = into_stream(model, site, directions.float())
    if stream is None:
        return None
    with torch.no_grad():
        if bridge.dims(model).norm == "ln":
            stream = stream - stream.mean(-1, keepdim=True)
        gain = (
            stream.new_ones(stream.shape[-1])
            if bridge.dims(model).norm == "none"
            else bridge.final_gain(model)[0].detach().float()
        )
        logits = (stream / divide * gain) @ bridge.unembedding(model)[0].detach().float().T
    return logits - logits.mean(-1, keepdim=True)


def raised(
    model: Model, site: str | Site, directions: Float[Tensor, "n d"], most: int
) -> Int[Tensor, "n most"] | None:
    """The tokens whose logits directions raise most, best first; None if they raise none.

    Cost:
        A product with the unembedding for each direction.
    """
    if into_stream(model, site, directions[:1].float()) is None:
        return None
    found = []
    for part in directions.split(ROWS):
        logits = effects(model, site, part)
        found.append(logits.topk(min(most, logits.shape[-1])).indices)
    return torch.cat(found)
