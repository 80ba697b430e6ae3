"""Heads found without an intervention: sparse codes of what they write that only positives have.

A small sparse autoencoder is trained on what all heads write at the last position, for a few
positive prompts and as many negative ones. The code of a head on a prompt is the number of its
strongest latent. A head that matters for the task should have codes on positive prompts that it
never has on negative ones. (O'Neill and Bui 2024, arXiv 2405.12522; the counting follows the
authors' published code, charlieoneill11/sae-circuits.)
"""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._types import Model
from interp.features.activations import Activations
from interp.features.training.train import train
from interp.interventions import run
from interp.methods.runs import sweep
from interp.models import bridge
from interp.results import Result

COUNTS = {
    "share": "share of its codes on positives",
    "union": "share of all its codes",
    "number": "codes",
}
NORMALISE = ("scale", "standardise", "none")
POSITIONS = ("last", "mean")
BATCH = 512
NONE = -1  # the code where no latent is on


class Codes(NamedTuple):
    """The code of each head on each positive and each negative prompt, and their metadata."""

    positive: Int[Tensor, "n layer head"]
    negative: Int[Tensor, "m layer head"]
    metadata: Mapping[str, Any]


@torch_defaults()
def head_codes(
    model: Model,
    task: Any,
    *,
    width: int = 200,
    steps: int = 200,
    l1: float = 5.0,
    normalise: str = "scale",
    seed: int = 0,
    score_on: Any = None,
    positions: str = "last",
) -> Codes:
    """The codes of what every head writes on clean (positive) and corrupted (negative) prompts.

    One standard SAE is trained by sae-lens on all heads and all prompts together, `steps` steps of
    512 rows (of all rows if there are fewer).

    Example:
        >>> codes = interp.replications.head_codes(model, interp.tasks.ioi(model, n=10))
        >>> interp.replications.head_code_scores(codes).top(10)

    Args:
        model: The model.
        task: A task with clean and corrupted prompts.
        width: Latents of the SAE.
        steps: Steps of training.
        l1: sae-lens' l1_coefficient.
        normalise: "scale" divides what a head writes by its root mean square length over the
            prompts, because late heads write more; "standardise" subtracts its mean first, so that
            codes tell prompts rather than heads apart; "none".
        seed: Decides the first weights and the order.
        score_on: Another task of the same kind whose prompts are coded instead of the training ones
            (the authors train on 10 prompts and count codes on hundreds).
        positions: "last", or "mean" for the mean over all positions but the first (the authors'
            published data are means).

    Returns:
        `Codes`. metadata: latents on, explained variance, seconds.
    """
    started = time.perf_counter()
    clean, corrupted = (
        written(model, tokens, positions) for tokens in (task.clean, task.corrupted)
    )
    others = (
        None
        if score_on is None
        else tuple(
            written(model, tokens, positions) for tokens in (score_on.clean, score_on.corrupted)
        )
    )
    read = time.perf_counter() - started
    codes = codes_of(
        clean,
        corrupted,
        width=width,
        steps=steps,
        l1=l1,
        normalise=normalise,
        seed=seed,
        others=others,
    )
    metadata = sweep.provenance(
        model,
        task,
        "codes of heads",
        started,
        **{**codes.metadata, "seconds reading": round(read, 2)},
    )
    return codes._replace(metadata=metadata)


@torch.no_grad()
def written(
    model: Model, tokens: Int[Tensor, "batch pos"], positions: str = "last"
) -> Float[Tensor, "batch layer head d_model"]:
    """What every head writes [batch layer head d_model], at the last position or on average."""
    if positions not in POSITIONS:
        raise unknown("positions", positions, POSITIONS)
    address = "L*H*.z@-1" if positions == "last" else "L*H*.z"
    z = run(model, tokens, keep=[address], last_only=True).kept[address]
    z = z if positions == "last" else z[..., 1:, :].mean(-2)
    W_O = torch.stack(
        [bridge.head_matrix(model, layer) for layer in range(bridge.dims(model).n_layers)]
    )
    return torch.einsum("lhbd,lhdm->blhm", z.float(), W_O.float())


def codes_of(
    positive: Float[Tensor, "n layer head d"],
    negative: Float[Tensor, "m layer head d"],
    *,
    width: int = 200,
    steps: int = 200,
    l1: float = 5.0,
    normalise: str = "scale",
    seed: int = 0,
    others: tuple[Tensor, Tensor] | None = None,
) -> Codes:
    """The codes of your own vectors, one per prompt and head; see `head_codes`."""
    if normalise not in NORMALISE:
        raise unknown("way to normalise heads", normalise, NORMALISE)
    both = torch.cat([positive, negative])
    middle = both.mean(0) if normalise == "standardise" else torch.zeros_like(both[0])
    size = (both - middle).norm(dim=-1, keepdim=True).pow(2).mean(0).sqrt()
    size = (
        size.clamp_min(torch.finfo(size.dtype).tiny)
        if normalise != "none"
        else torch.ones_like(size)
    )

    def level(x):
        return (x - middle) / size

    rows = level(both).flatten(0, 2)
    batch = min(BATCH, len(rows))
    acts = Activations(
        ("embed",),
        torch.zeros(len(rows), 1, dtype=torch.long),
        0,
        ({"embed": rows},),
        {"texts": "what heads write"},
    )
    sae = train(
        None,
        "embed",
        acts,
        kind="standard",
        width=width,
        tokens=steps * batch,
        batch=batch,
        seed=seed,
        l1_coefficient=l1,
    )
    coded = [_code(sae, level(x)) for x in others or (positive, negative)]
    last = sae.metadata["curve"][-1]
    metadata = {
        "width": width,
        "steps": steps,
        "l1": l1,
        "normalise": normalise,
        "seed": seed,
        "rows": len(rows),
        "examples": len(both),
    }
    metadata |= {
        "latents on": last["l0"],
        "explained": last["explained"],
        "codes": len(torch.cat(coded).unique()),
        "coded": sum(map(len, coded)),
    }
    return Codes(coded[0], coded[1], metadata)


@torch.no_grad()
def _code(sae: Any, x: Float[Tensor, "n layer head d"]) -> Int[Tensor, "n layer head"]:
    """The number of the strongest latent, or NONE if no latent is on."""
    z = sae.encode(x)
    return torch.where((z > 0).any(-1), z.argmax(-1), NONE)


def permuted(codes: Codes, seed: int = 0) -> Codes:
    """The same codes with prompts called positive and negative at random, as a null."""
    both = torch.cat([codes.positive, codes.negative])
    mixed = both[torch.randperm(len(both), generator=torch.Generator().manual_seed(seed))]
    return Codes(
        mixed[: len(codes.positive)],
        mixed[len(codes.positive) :],
        {**codes.metadata, "permuted": seed},
    )


# --- counting -------------------------------------------------------------------------------------


def head_code_scores(codes: Codes, *, count: str = "share", softmax: bool = False) -> Result:
    """How well each head's codes tell positive prompts: the codes that only positives have.

    Example:
        >>> interp.replications.head_code_scores(interp.replications.head_codes(model, task)).plot()

    Args:
        codes: What `head_codes` returned.
        count: "share": of the different codes that the head has on positives, the share that it has
            on no negative (0 to 1); "union": of all its different codes; "number": how many (as in
            the authors' main results).
        softmax: Whether a softmax over all heads is taken, as the authors do; the ranking stays.

    Returns:
        Axes "layer" and "head".
    """
    _counted(count)
    n, layers, heads = codes.positive.shape
    values = np.array(
        [
            [_only(codes.positive[:, i, j], codes.negative[:, i, j], count) for j in range(heads)]
            for i in range(layers)
        ]
    )
    unit = COUNTS[count]
    if softmax:
        grown = np.exp(values - values.max())
        values, unit = grown / grown.sum(), "share of all heads"
    coords = {"layer": list(range(layers)), "head": list(range(heads))}
    return Result(
        values,
        ("layer", "head"),
        coords,
        "codes that only positive prompts have",
        unit,
        {**codes.metadata, "count": count, "softmax": softmax},
    )


def head_pair_scores(codes: Codes, *, count: str = "share") -> Result:
    """`head_code_scores` for pairs of heads of two layers: pairs of codes that only positives have.

    Example:
        >>> interp.replications.head_pair_scores(codes).top(10)

    Args:
        codes: What `head_codes` returned.
        count: See `head_code_scores`.

    Returns:
        Axes "sender" and "receiver"; NaN if the receiver's layer is not after the sender's.
    """
    _counted(count)
    n, layers, heads = codes.positive.shape
    names = [f"L{i}H{j}" for i in range(layers) for j in range(heads)]
    base = int(max(codes.positive.max(), codes.negative.max())) + 2
    yes, no = (x.flatten(1) - NONE for x in (codes.positive, codes.negative))  # from 0 on
    values = np.full((len(names), len(names)), np.nan)

    def together(codes, sender, receiver):
        return codes[:, sender] * base + codes[:, receiver]

    for sender in sweep.progress(range((layers - 1) * heads), "pairs of codes"):
        for receiver in range((sender // heads + 1) * heads, len(names)):
            in_yes, in_no = (together(x, sender, receiver) for x in (yes, no))
            values[sender, receiver] = _only(in_yes, in_no, count)
    coords = {"sender": names, "receiver": names}
    return Result(
        values,
        ("sender", "receiver"),
        coords,
        "code pairs that only positive prompts have",
        COUNTS[count],
        {**codes.metadata, "count": count},
    )


def _counted(count: str) -> None:
    """None if this way to count exists; otherwise a ValueError."""
    if count not in COUNTS:
        raise unknown("way to count codes", count, COUNTS)


def _only(positive: Tensor, negative: Tensor, count: str) -> float:
    """How many of the codes on positives are on no negative, counted as asked."""
    yes, no = set(positive.tolist()), set(negative.tolist())
    out_of = {"share": len(yes), "union": len(yes | no), "number": 1}[count]
    return len(yes - no) / out_of
