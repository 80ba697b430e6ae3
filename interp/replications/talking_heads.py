"""Talking heads: what a head's query makes of changes in the stream, and the parts of a head's write.

Merullo, Eickhoff and Pavlick 2024, arXiv 2406.09519.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp import interventions, sites
from interp._isolation import torch_defaults
from interp._types import Model
from interp.engine.forward import rotate, window
from interp.methods.weights import composition, ov_qk


@dataclass(frozen=True)
class QueryView:
    """What one head's query at END sees: the stream there, and how the scores follow from it.

    Attributes:
        stream: What the query reads at END.
        reads: The scores are (stream / its root mean square) @ reads.
        eps: Of the norm before the query.
    """

    stream: Float[Tensor, "batch d"]
    reads: Float[Tensor, "batch d src"]
    eps: float

    def attention(
        self, change: Float[Tensor, "*more batch d"] | None = None
    ) -> Float[Tensor, "*more batch src"]:
        """Attention from END once the change is added to what the query reads, and to nothing else.

        Example:
            >>> query_view(model, task.clean, "L23H0").attention(other - own)
        """
        x = self.stream if change is None else self.stream + change
        scale = (x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt()
        return torch.einsum("...bd,bds->...bs", x / scale, self.reads).softmax(-1)


@torch_defaults()
def query_view(model: Model, tokens: Int[Tensor, "batch pos"], head: str) -> QueryView:
    """A head's scores at END as a linear map of the normed stream there, exact for rotary models.

    With it the direct path from any writer to this query is one matrix product, so that thousands
    of changes cost as much as one run.

    Example:
        >>> view = query_view(model, task.clean, "L23H0")
        >>> view.attention().shape          # [batch src]

    Args:
        model: A model with RMSNorm and rotary positions that the engine knows.
        tokens: Prompts of one length; END is the last token.
        head: One head.

    Raises:
        ValueError: If the model has another norm, or positions that are not rotary.
    """
    layer, index = ov_qk._one(model, head)
    engine_model = ov_qk._engine(model, "query_view")
    block = engine_model.layers[layer]
    if block.norm1.kind == "ln" or not engine_model.rotations or block.rotary is None:
        raise ValueError(
            f"query_view reads models with RMSNorm and rotary positions, and {head} has another"
            " norm or other positions (interp.path_patch works for every model)"
        )
    site = f"resid_pre.{layer}"
    stream = interventions.run(model, tokens, keep=[site], last_only=True).kept[site].float()
    normed = stream / (stream.pow(2).mean(-1, keepdim=True) + block.norm1.eps).sqrt()
    q, k = (W[index] for W in ov_qk.query_key(model, layer))
    length = tokens.shape[1]
    reader = rotate(q[:, None, None], window(engine_model, length - 1, length), block.rotary)
    keys = rotate((normed @ k)[:, :, None], window(engine_model, 0, length), block.rotary)
    reads = torch.einsum("dh,bsh->bds", reader[:, 0, 0], keys[:, :, 0]) * block.scale
    return QueryView(stream[:, -1], reads, block.norm1.eps)


@torch_defaults()
def writes(
    model: Model, tokens: Int[Tensor, "batch pos"], heads: list[str]
) -> dict[str, Float[Tensor, "batch d"]]:
    """What each of these heads writes at END."""
    keep = [f"{head}@END" for head in heads]
    kept = interventions.run(model, tokens, keep=keep, last_only=True).kept
    return {head: kept[site].reshape(len(tokens), -1) for head, site in zip(heads, keep)}


@torch_defaults()
def components(model: Model, head: str) -> Float[Tensor, "component d"]:
    """The directions that a head writes to, by its OV's singular values, largest first.

    Its every write is a sum along them: `write @ components.mT @ components` is the write itself.
    """
    (site,) = ov_qk.heads_of(model, head)
    return torch.linalg.svd(
        composition.sender(model, site).double(), full_matrices=False
    ).Vh.float()


def parts(
    write: Float[Tensor, "batch d"], directions: Float[Tensor, "component d"]
) -> Float[Tensor, "component batch d"]:
    """The part of a write along each of some orthonormal directions."""
    return torch.einsum("bd,cd->cb", write, directions)[..., None] * directions[:, None]
