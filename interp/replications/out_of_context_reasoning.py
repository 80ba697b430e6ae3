"""What a one-layer model has learned of out-of-context reasoning: its answers, and the size of its
map at equal margins.

    toys.over_training(runs, answers(source)).sel(measure="accuracy").plot()
    norms(run.net(), source)["nuclear"]

Huang et al. 2025, Generalization or Hallucination? Understanding Out-of-Context Reasoning in
Transformers: with W_O and W_V as two factors training leans to a small nuclear norm of W_OV, with
one matrix to a small Frobenius norm. Under cross-entropy both grow for ever, so they are compared
when every right answer leads by the same.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp._types import Model
from interp.models import bridge
from interp.results import Result

SPLITS = ("facts", "implications", "heldout")


def answers(
    source: Any, splits: Sequence[str] = SPLITS, *, n: int = 300, seed: int = 0
) -> Callable[[Any], Result]:
    """A measure for `toys.over_training`: how often the right answer is on top, and its mean rank
    (1: on top).

    Example:
        >>> toys.over_training(runs, answers(source)).sel(measure="accuracy")

    Args:
        n: So many rows of each split, the same ones every time.

    Returns:
        Axes: split, measure ("accuracy", "rank").
    """
    batches = [
        source.batch(n, torch.Generator().manual_seed(seed), split=split) for split in splits
    ]

    def measure(model: Model) -> Result:
        rows = []
        for batch in batches:
            with torch.no_grad():
                logits = bridge.forward(model, batch.inputs)[:, -1]
            rank = 1 + (logits > logits.gather(1, batch.targets[:, -1:])).sum(1).double()
            rows.append([float((rank == 1).double().mean()), float(rank.mean())])
        coords = {"split": list(splits), "measure": ["accuracy", "rank"]}
        return Result(rows, tuple(coords), coords, "answers", "share right, or rank", {"n": n})

    return measure


def questions(source: Any) -> tuple[Int[Tensor, "row 2"], Int[Tensor, "row"], Bool[Tensor, "row"]]:
    """Every name with both questions as ids [name, question], its answer, and whether training
    holds it.
    """
    name = torch.arange(source.names).repeat(2)
    question = torch.arange(2).repeat_interleave(
        source.names
    )  # 0: where the name lives; 1: what follows
    city = source.city_of[name]
    answer = torch.where(question == 1, 2 + source.cities + source.implied_by[city], 2 + city)
    trained = (question == 0) | torch.isin(name, source.trained)
    return torch.stack([2 + 2 * source.cities + name, question], 1), answer, trained


def margins(
    map_: Float[Tensor, "d d"], weights: Float[Tensor, "d"], source: Any, *, block: bool = False
) -> Float[Tensor, "row"]:
    """By how much each answer's logit leads the best wrong one's, when the last token reads name
    and question alone.

    Args:
        map_: W_OV, from one-hot tokens to logits.
        weights: How strongly a token of each id is attended to.
        block: Wrong answers are only other cities and implied words, not every token.
    """
    at, answer, _ = questions(source)
    logits = (weights[at][..., None] * map_[at]).sum(1)
    if block:
        logits, answer = logits[:, 2 : 2 + 2 * source.cities], answer - 2
    right = logits.gather(1, answer[:, None])[:, 0]
    return right - logits.scatter(1, answer[:, None], -torch.inf).amax(1)


def norms(net: Any, source: Any, *, block: bool = False) -> dict[str, float]:
    """The norms of W_OV = W_V W_O, as they are and when the smallest margin of what was trained on
    is 1.

    Example:
        >>> norms(run.net(), source)["nuclear at margin 1"]

    Args:
        net: One layer, one head, linear attention over one-hot tokens without position. What
            attention is scaled up by, W_OV could be scaled down by: so the attention is scaled
            until names and questions are read with a weight of 1 on average.
        block: Only the part from names and questions to cities and what they imply, which the
            paper's theory is about; the rest also holds what keeps all other tokens from being
            said.

    Raises:
        ValueError: When an answer that was trained on is wrong: then there is no margin to compare
            at. "rank": the effective one, (sum s)^2 / sum s^2 of the singular values s.
    """
    attention = net.blocks[0].attn
    if (
        net.spec.n_layers != 1
        or net.spec.n_heads != 1
        or net.spec.attention != ("linear",)
        or net.spec.embed != "identity"
    ):
        raise ValueError(
            "norms of W_OV are read off one layer with one head, attention='linear' and"
            " embed='identity'"
        )
    with torch.no_grad():
        map_ = attention.W_V[0] @ attention.W_O[0]
        weights = attention.W_Q[0][-1] @ attention.W_K[0].T  # END is the last id, and it asks
        at, _, trained = questions(source)
        scale = weights[at].mean()
        least = float(margins(map_ * scale, weights / scale, source, block=block)[trained].min())
        part = map_[at.unique()][:, 2 : 2 + 2 * source.cities] if block else map_
        s = torch.linalg.svdvals(part * scale).double()
    if least <= 0:
        raise ValueError(
            f"an answer of the training set is wrong (its margin is {least:.3g}): train longer"
        )
    nuclear, frobenius = float(s.sum()), float(s.square().sum().sqrt())
    at_one = {"nuclear at margin 1": nuclear / least, "frobenius at margin 1": frobenius / least}
    return {
        "nuclear": nuclear,
        "frobenius": frobenius,
        "margin": least,
        **at_one,
        "rank": (nuclear / frobenius) ** 2,
    }
