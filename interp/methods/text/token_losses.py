"""The loss of text from its logits."""

from jaxtyping import Float, Int
from torch import Tensor


def token_losses(
    logits: Float[Tensor, "chunk pos d_vocab"], tokens: Int[Tensor, "chunk pos"]
) -> Float[Tensor, "chunk token"]:
    """The loss of the next token at each position but the first and the last, in nats.

    Args:
        logits: Of every position.
        tokens: The ids that were read.
    """
    logits, following = logits[:, 1:-1].float(), tokens[:, 2:].long().to(logits.device)
    return logits.logsumexp(-1) - logits.gather(-1, following[..., None])[..., 0]


def chunk_losses(
    logits: Float[Tensor, "chunk pos d_vocab"], tokens: Int[Tensor, "chunk pos"]
) -> Float[Tensor, "chunk"]:
    """The mean loss of the next token in each chunk, position 0 left out, in nats.

    Args:
        logits: Of every position.
        tokens: The ids that were read.
    """
    return token_losses(logits, tokens).mean(-1)
