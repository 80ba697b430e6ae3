"""What dictionaries leave out: how well their errors follow from the input, and what they cost.

The error of a token is the activation minus its reconstruction. Least squares on some tokens gives
the part of it that is a linear function of the input (with a constant); the rest is called
nonlinear. All numbers are measured on other tokens. (Engels, Riggs and Tegmark 2024, "Decomposing
the Dark Matter of Sparse Autoencoders", arXiv 2410.14670.) Random and principal directions
(`baselines`) have errors, too: what holds for them says nothing about learned features.

Attention sinks are not only first tokens. One token whose input is a hundred times as long as the
others dominates any sum of squares, so tokens of more than SINK times the median length are left
out of maps, numbers and edits; `metadata` counts them.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._stats import correlations, fractions
from interp._types import Model
from interp.features import site_values
from interp.features.activations import Activations, chunks_of
from interp.features.dictionary import Dictionary
from interp.features.evaluation.measures import names_of, ratio_of
from interp.features.evaluation.spliced_loss import but_first, losses_with
from interp.methods.runs.sweep import progress, provenance
from interp.results import Result

PREDICTED = (
    "error vector",
    "squared error norm",
    "unexplained",
    "unexplained, linear part",
    "unexplained, nonlinear part",
)
COSTS = ("whole error", "linear part", "nonlinear part")
PER_RUN = 1_024  # tokens
SINK = 10.0  # times the median length of the input
# of the mean variance of a coordinate: so that a coordinate that never changes does no harm
RIDGE = 1e-9


@torch_defaults()
def predict_error(
    dictionary: Dictionary | Sequence[Dictionary], fit: Activations, test: Activations
) -> Result:
    """How well a linear map of the input predicts dictionaries' errors, on other tokens.

    Example:
        >>> dictionaries = [sae, *features.baselines(acts, k=32)]
        >>> features.predict_error(dictionaries, acts, heldout).sel(measure="error vector").plot()

    Args:
        dictionary: One dictionary, or several that read and write the same sites.
        fit: Activations that the maps are fitted to.
        test: Activations on which they are tested.

    Returns:
        Axis "measure" (and "dictionary" first if several were given): R2 of the error vector and of
        its squared norm; "unexplained", the squared error over the squared distance from the mean;
        and the same for the predicted error and for what remains, which add up to it only as far as
        the map fits the test tokens. Fractions. Examples are chunks; the numbers are ratios of
        sums, with intervals by the delta method.

    Raises:
        ValueError: If `fit` has no more tokens than the input has coordinates.

    Reference:
        Engels et al. 2024, arXiv 2410.14670.
    """
    started = time.perf_counter()
    dictionaries = [dictionary] if isinstance(dictionary, Dictionary) else list(dictionary)
    solve, rows = _solver(fit, dictionaries), []
    mask = _no_sink(test.of(dictionaries[0].site), _bound(fit, dictionaries[0].site))
    chunk = np.arange(len(test.tokens)).repeat(len(test) // len(test.tokens))[to_numpy(mask)]

    def by_chunk(value):
        return np.bincount(chunk, to_numpy(value.flatten(1).sum(-1)), len(test.tokens))

    for d in progress(dictionaries, "error maps"):
        x, error = (part[mask] for part in _errors(d, test))
        guess, size = (part.double() for part in _guess(solve(d), x))
        target, error = test.of(d.writes)[mask].double(), error.double()
        far = by_chunk((target - target.mean(0)).pow(2))
        norm = error.pow(2).sum(-1, keepdim=True)
        spread, off = by_chunk((norm - norm.mean()).pow(2)), by_chunk((norm - size[:, None]).pow(2))
        wide, residual = by_chunk((error - error.mean(0)).pow(2)), by_chunk((error - guess).pow(2))
        parts = [by_chunk(part.pow(2)) for part in (error, guess, error - guess)]
        rows.append(
            np.stack(
                [
                    ratio_of(wide - residual, wide),
                    ratio_of(spread - off, spread),
                    *(ratio_of(part, far) for part in parts),
                ]
            )
        )
    metadata = {
        "model": test.metadata.get("model"),
        "site": dictionaries[0].writes,
        "fitted on": len(fit),
        "tokens": int(mask.sum()),
        "chunks": len(test.tokens),
        "sinks": int((~mask).sum()),
    }
    metadata |= {"seconds": round(time.perf_counter() - started, 2)}
    examples = np.stack(rows)
    coords = {"dictionary": names_of(dictionaries), "measure": list(PREDICTED)}
    result = Result(
        examples.mean(-1),
        ("dictionary", "measure"),
        coords,
        f"errors at {dictionaries[0].writes}, predicted from the input",
        "fraction",
        metadata,
        examples,
    )
    return (
        result.sel(dictionary=dictionaries[0].name)
        if isinstance(dictionary, Dictionary)
        else result
    )


@torch_defaults()
def split_error(
    dictionary: Dictionary, fit: Activations, *rest: Activations
) -> list[tuple[Activations, Activations]]:
    """The linear and the nonlinear part of the error, as activations, for each set of activations.

    Example:
        >>> (linear, nonlinear), heldout_parts = features.split_error(sae, acts, heldout)
        >>> features.train(model, sae.writes, nonlinear, width=288)

    Args:
        dictionary: Whose error is split.
        fit: Activations that the linear map is fitted to.
        rest: More activations to split with the same map.

    Returns:
        A pair (linear, nonlinear) for `fit`, then one for each of `rest`. A pair sums to the error.

    Raises:
        ValueError: If `fit` has no more tokens than the input has coordinates.
    """
    weights, parts = _solver(fit, [dictionary])(dictionary), []
    for acts in (fit, *rest):
        x, error = _errors(dictionary, acts)
        guess, _ = _guess(weights, x)
        parts.append(
            (
                _like(acts, dictionary, guess, "linear error"),
                _like(acts, dictionary, error - guess, "nonlinear error"),
            )
        )
    return parts


@torch_defaults()
def error_norms(dictionaries: Sequence[Dictionary], on: Activations) -> Result:
    """The correlation over tokens of two dictionaries' error norms, for each pair of dictionaries.

    Example:
        >>> features.error_norms([small, large], heldout).plot()

    Args:
        dictionaries: The dictionaries that are compared.
        on: Activations of their sites.

    Returns:
        Axes "dictionary" and "other", Pearson's correlation. Examples are chunks: the correlation
        plus the chunk's influence on it.
    """
    compared = list(dictionaries)
    norms = np.stack([to_numpy(_errors(d, on)[1].norm(dim=-1)) for d in compared])
    mask = _no_sink(on.of(compared[0].site), _bound(on, compared[0].site))
    examples = correlations(norms, len(on.tokens), to_numpy(mask))
    names = names_of(compared)
    metadata = {
        "model": on.metadata.get("model"),
        "site": compared[0].writes,
        "tokens": int(mask.sum()),
        "chunks": len(on.tokens),
        "sinks": int((~mask).sum()),
    }
    return Result(
        examples.mean(-1),
        ("dictionary", "other"),
        {"dictionary": names, "other": names},
        "error norms of a token",
        "correlation",
        metadata,
        examples,
    )


@torch_defaults()
def error_losses(
    model: Model,
    dictionary: Dictionary,
    fit: Activations,
    on: Any = None,
    *,
    tokens: int = 8_192,
    length: int = 128,
    backend: str | None = None,
) -> Result:
    """The loss added by removing the error, or one part of it, in nats per token.

    "linear part": the part of the error that is linear in the input is subtracted from the
    activation, and the nonlinear one stays. At every position but the first.

    Example:
        >>> features.error_losses(model, sae, acts, heldout)

    Args:
        model: The model.
        dictionary: Whose error is removed.
        fit: Activations that the linear map is fitted to.
        on: The text that the loss is measured on; see `evaluate`.
        tokens: How many tokens at most.
        length: Tokens in a chunk of a corpus.
        backend: "engine", "hooks", or None to choose.

    Returns:
        Axis "left out" ("whole error", "linear part", "nonlinear part"): loss minus the loss of the
        unedited model. Examples are chunks. metadata["norm"]: the mean squared norm of each of the
        three.
    """
    started = time.perf_counter()
    ids, skip, metadata = chunks_of(model, on, tokens, length, "heldout", 0)
    weights = _solver(fit, [dictionary])(dictionary)
    both = list(dict.fromkeys((dictionary.site, dictionary.writes)))
    bound = _bound(fit, dictionary.site)
    chunks_per_run, losses, norms = (
        max(1, PER_RUN // ids.shape[1] // 4),
        [],
        torch.zeros(3, dtype=torch.double, device=weights.device),
    )
    for first in progress(range(0, len(ids), chunks_per_run), "losses"):
        part = ids[first : first + chunks_per_run]
        values = site_values.values(model, part, both, backend)
        x, act = values[dictionary.site], values[dictionary.writes]
        mask = _no_sink(x, bound)[..., None]
        error = (act - dictionary.reconstruct(x)) * mask
        guess = _guess(weights, x.flatten(0, 1))[0].view_as(error) * mask
        cut = [error, guess, error - guess]
        norms += torch.stack([value[:, skip:].double().pow(2).sum() for value in cut])
        losses.append(
            losses_with(
                model,
                part,
                dictionary.writes,
                act,
                [but_first(act, act - value, skip) for value in cut],
                backend,
            )
        )
    plain, *without = to_numpy(torch.cat(losses, 1))
    examples = np.stack(without) - plain
    count = len(ids) * (ids.shape[1] - skip)
    backend_used = (
        "hooks" if backend == "hooks" or site_values.engine_for(model, both) is None else "engine"
    )
    result_metadata = (
        provenance(model, None, "error_losses", started, backend=backend_used) | metadata
    )
    result_metadata |= {
        "site": dictionary.writes,
        "tokens": count,
        "chunks": len(ids),
        "skip": skip,
        "norm": (norms / count).tolist(),
        "loss": float(plain.mean()),
    }
    return Result(
        examples.mean(-1),
        ("left out",),
        {"left out": list(COSTS)},
        f"loss without the error of {dictionary.name}",
        "nats per token",
        result_metadata,
        examples,
    )


def nonlinear_share(costs: Result) -> Result:
    """The nonlinear part's share of the added loss minus its share of the squared norm.

    Shares are of the sum of both parts. At 0 the part costs what its size predicts.

    Example:
        >>> features.nonlinear_share(features.error_losses(model, sae, acts, heldout))

    Args:
        costs: What `error_losses` returned.

    Returns:
        A fraction. metadata has both shares, "of the loss" and "of the norm". Examples are chunks
        (the delta method).
    """
    linear, nonlinear = (costs.sel(**{"left out": part}).examples for part in COSTS[1:])
    _, small, large = costs.metadata["norm"]
    size = large / (small + large)
    what = "the loss that the linear and the nonlinear part add"
    parts, notes = fractions(nonlinear, linear + nonlinear, what, "try another site")
    examples = parts - size
    metadata = {**costs.metadata, "of the loss": float(parts.mean()), "of the norm": size, **notes}
    return Result(
        examples.mean(),
        (),
        {},
        "share of the nonlinear part in the loss minus that in the squared norm",
        "fraction",
        metadata,
        examples,
    )


# --- maps -----------------------------------------------------------------------------------------


def _errors(dictionary: Dictionary, acts: Activations, few: int = 4_096) -> tuple[Tensor, Tensor]:
    """The inputs [n d_in] and the errors [n d_out] at each token."""
    x, target = acts.of(dictionary.site), acts.of(dictionary.writes)
    with torch.no_grad():
        return x, torch.cat(
            [b - dictionary.reconstruct(a) for a, b in zip(x.split(few), target.split(few))]
        )


def _bound(acts: Activations, site: str) -> float:
    """The largest norm of an input that is no attention sink."""
    return SINK * float(acts.of(site).norm(dim=-1).median())


def _no_sink(x: Tensor, bound: float) -> Tensor:
    """Mask of the tokens that are no attention sinks."""
    return x.norm(dim=-1) <= bound


def _solver(fit: Activations, dictionaries: Sequence[Dictionary]) -> Any:
    """A function from a dictionary to the map [d_in + 1, d_out + 1] of its errors."""
    if not dictionaries or len({(d.site, d.writes) for d in dictionaries}) > 1:
        raise ValueError(
            "dictionaries that read and write the same sites are compared: give the others by"
            " themselves"
        )
    x = fit.of(dictionaries[0].site)
    mask = _no_sink(x, _bound(fit, dictionaries[0].site))
    x = x[mask].double()
    if len(x) <= x.shape[1]:
        raise ValueError(
            f"{len(x):,} tokens fit {x.shape[1]} coordinates exactly, whatever the errors are: give"
            " more activations"
        )
    middle = x.mean(0)
    gram = (x - middle).T @ (x - middle)
    factor = torch.linalg.cholesky(
        gram
        + RIDGE
        * gram.diagonal().mean()
        * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    )

    def solve(d: Dictionary) -> Tensor:
        error = _errors(d, fit)[1][mask].double()
        wanted = torch.cat([error, error.pow(2).sum(-1, keepdim=True)], 1)
        slopes = torch.cholesky_solve((x - middle).T @ (wanted - wanted.mean(0)), factor)
        return torch.cat([slopes, (wanted.mean(0) - middle @ slopes)[None]]).float()

    return solve


def _guess(weights: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The predicted error [n d_out] and its predicted squared norm [n]."""
    out = x.float() @ weights[:-1] + weights[-1]
    return out[:, :-1], out[:, -1]


def _like(acts: Activations, dictionary: Dictionary, value: Tensor, what: str) -> Activations:
    """Activations of the same tokens with other values."""
    return Activations(
        (dictionary.writes,),
        acts.tokens,
        acts.skip,
        ({dictionary.writes: value},),
        {**acts.metadata, "part": f"{what} of {dictionary.name}"},
    )
