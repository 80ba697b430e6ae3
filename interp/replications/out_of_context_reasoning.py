"""What a one-layer model has learned of out-of-context reasoning: answers, and norms of W_OV.

>>> toys.over_training(runs, answers(source)).sel(measure="accuracy").plot()
>>> norms(run.net(), source)["nuclear"]

Huang et al. 2025, Generalization or Hallucination? Understanding Out-of-Context Reasoning in
Transformers: with W_O and W_V as two factors, training prefers a small nuclear norm of W_OV; with
one matrix, a small Frobenius norm. Under cross-entropy both grow forever, so they are compared at
equal margins of the right answers.
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
    """A measure for `toys.over_training`: accuracy and mean rank of the right answer (1: on top).

    Example:
        >>> toys.over_training(runs, answers(source)).sel(measure="accuracy")

    Args:
        source: `out_of_context_reasoning` of `toys.data`.
        splits: The splits that are measured.
        n: Rows of each split, the same ones every time.
        seed: Decides the rows.

    Returns:
        A function from a model to a Result with the axes "split" and "measure".
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
    """Every name with both questions as ids, its answer, and whether training has it."""
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
    """By how much each answer's logit exceeds the best wrong one's.

    Args:
        map_: W_OV, from one-hot tokens to logits.
        weights: The attention weight of each token id.
        source: `out_of_context_reasoning` of `toys.data`.
        block: Whether wrong answers are only other cities and implied words, not every token.
    """
    at, answer, _ = questions(source)
    logits = (weights[at][..., None] * map_[at]).sum(1)
    if block:
        logits, answer = logits[:, 2 : 2 + 2 * source.cities], answer - 2
    right = logits.gather(1, answer[:, None])[:, 0]
    return right - logits.scatter(1, answer[:, None], -torch.inf).amax(1)


def norms(net: Any, source: Any, *, block: bool = False) -> dict[str, float]:
    """The norms of W_OV = W_V W_O, as they are and at a smallest training margin of 1.

    Example:
        >>> norms(run.net(), source)["nuclear at margin 1"]

    Args:
        net: One layer and one head with linear attention over one-hot tokens without position. What
            attention is scaled up by, W_OV could be scaled down by, so attention is scaled until
            names and questions are read with a weight of 1 on average.
        source: `out_of_context_reasoning` of `toys.data`.
        block: Only the part of W_OV from names and questions to cities and what they imply, which
            the paper's theory is about. The rest suppresses all other tokens.

    Returns:
        By name: "nuclear", "frobenius", "margin", both norms "at margin 1", and "rank", the
        effective rank (sum s)^2 / sum s^2 of the singular values s.

    Raises:
        ValueError: If an answer of the training set is wrong, so that there is no margin.
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
