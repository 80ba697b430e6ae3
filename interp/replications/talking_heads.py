"""What a head's query makes of changes in the stream, and the parts of what a head writes.

For Merullo, Eickhoff and Pavlick 2024, arXiv 2406.09519.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp import interventions
from interp._isolation import torch_defaults
from interp._types import Model
from interp.engine.forward import rotate, window
from interp.methods.patching.suffix import suffix
from interp.methods.weights import ov_qk
from interp.methods.weights.composition import sender
from interp.sites import Site


@dataclass(frozen=True)
class QueryView:
    """What one head's query at END reads, and how its attention follows from it.

    Attributes:
        stream: What the query reads at END.
        reads: The scores are (stream / its root mean square) @ reads.
        eps: Of the norm before the query.
    """

    stream: Float[Tensor, "batch d"]
    reads: Float[Tensor, "batch d src"]
    eps: float

    def attention(self, change: Float[Tensor, "..."] | None = None) -> Float[Tensor, "... src"]:
        """Attention from END once the change is added to what this query reads, and nowhere else.

        The change is [... batch d], or anything that broadcasts to it.

        Example:
            >>> view.attention(other_write - own_write)      # the direct path from the writer
        """
        x = self.stream if change is None else self.stream + change
        scale = (x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt()
        return torch.einsum("...bd,bds->...bs", x / scale, self.reads).softmax(-1)


@dataclass(frozen=True)
class EndOfPrompt:
    """One run's END: what heads' queries read there, what heads write there, and the logits.

    Attributes:
        views: A QueryView for each receiver.
        writes: What each sender writes.
        logits: The run's own.
    """

    views: dict[str, QueryView]
    writes: dict[str, Float[Tensor, "batch d"]]
    logits: Float[Tensor, "batch d_vocab"]


@torch_defaults()
def end_of_prompt(
    model: Model,
    tokens: Int[Tensor, "batch pos"],
    receivers: Sequence[str] = (),
    senders: Sequence[str] = (),
) -> EndOfPrompt:
    """What passes between heads at END: the receivers' scores there as a map of the normed stream.

    With it the direct path from any writer to a query is one product, so that thousands of changes
    cost no more than one run.

    Example:
        >>> end = end_of_prompt(model, task.clean, ["L23H0"], ["L20H0"])
        >>> end.views["L23H0"].attention(-end.writes["L20H0"])       # [batch src]

    Args:
        model: A model with RMSNorm and rotary positions that the engine knows.
        tokens: Prompts of one length; END is the last token.
        receivers: Single heads whose queries are asked for.
        senders: Single heads whose writes are asked for.

    Raises:
        ValueError: If there is a receiver, and the model has another norm or positions that are not
            rotary.
    """
    places = {head: ov_qk._one(model, head) for head in receivers}
    layers = sorted({layer for layer, _ in places.values()})
    engine_model = ov_qk._engine(model, "end_of_prompt")
    blocks = engine_model.layers
    for layer in layers:
        turned = engine_model.rotations and blocks[layer].rotary is not None
        if blocks[layer].norm1.kind == "ln" or not turned:
            raise ValueError(
                "end_of_prompt reads queries of models with RMSNorm and rotary positions, which"
                f" layer {layer} does not have (interp.path_patch works for every model)"
            )
    streams, wrote = [f"resid_pre.{layer}" for layer in layers], [f"{h}@END" for h in senders]
    out = interventions.run(model, tokens, keep=[*streams, *wrote], last_only=True)
    views = {}
    for layer in layers:
        stream, norm = out.kept[f"resid_pre.{layer}"].float(), blocks[layer].norm1
        normed = stream / (stream.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt()
        Q, K = ov_qk.query_key(model, layer)
        for head in (h for h, place in places.items() if place[0] == layer):
            q, k = (W[places[head][1]] for W in (Q, K))
            reads = _scores_from(model, layer, q, normed @ k)
            views[head] = QueryView(stream[:, -1], reads * blocks[layer].scale, norm.eps)
    written = {h: out.kept[at].reshape(len(tokens), -1) for h, at in zip(senders, wrote)}
    return EndOfPrompt(views, written, out.logits.reshape(len(tokens), -1))


def _scores_from(
    model: Model, layer: int, q: Float[Tensor, "d d_head"], keys: Float[Tensor, "batch pos d_head"]
) -> Float[Tensor, "batch d pos"]:
    """The matrix from END's normed stream to its scores, both sides turned by their positions."""
    engine_model, length = ov_qk._engine(model, "end_of_prompt"), keys.shape[1]
    which = engine_model.layers[layer].rotary
    last, every = (window(engine_model, first, length) for first in (length - 1, 0))
    reader = rotate(q[:, None, None], last, which)[:, 0, 0]
    return torch.einsum("dh,bsh->bds", reader, rotate(keys[:, :, None], every, which)[:, :, 0])


@torch_defaults()
def components(model: Model, head: str) -> Float[Tensor, "component d"]:
    """The directions a head writes to: its OV's right singular vectors, the largest value first.

    All that the head writes is a sum along them: `write @ components.T @ components == write`.
    """
    (site,) = ov_qk.heads_of(model, head)
    written = sender(model, site).double()
    return torch.linalg.svd(written, full_matrices=False).Vh.float()


def along(
    write: Float[Tensor, "batch d"], directions: Float[Tensor, "k d"]
) -> Float[Tensor, "batch d"]:
    """The part of a write in the space of some orthonormal directions."""
    return write @ directions.T @ directions


@torch_defaults()
def scaled_logits(
    model: Model,
    tokens: Int[Tensor, "batch pos"],
    head: str,
    edits: Sequence[tuple[Float[Tensor, "_ d"], float]],
    ids: Int[Tensor, "batch n"],
) -> Float[Tensor, "edit batch n"]:
    """Logits at END when a head's write there is scaled along some directions, one row an edit.

    Example:
        >>> scaled_logits(model, task.clean, "L20H0", [(components(model, "L20H0")[:2], 4.0)], ids)

    Args:
        model: A loaded model.
        tokens: Prompts of one length.
        head: The head whose write at END is edited; at other positions it writes as before.
        edits: (orthonormal directions, factor); a factor of 1 changes nothing.
        ids: Tokens of each prompt whose logits are asked for.

    Cost:
        Three runs, and for each edit END alone from the head's layer on.
    """
    wrote = end_of_prompt(model, tokens, senders=[head]).writes[head]
    at = Site("attn", "out", Site.parse(head).layer, pos=-1)
    rest = suffix(model, at, tokens, tokens, {})
    changed = [rest.base + (factor - 1) * along(wrote, v).to(rest.base) for v, factor in edits]
    return rest.logits(torch.stack(changed), torch.arange(len(tokens)), ids)
