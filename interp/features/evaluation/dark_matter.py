"""What dictionaries leave out: how far their errors follow linearly from the input, and what that
costs the model.

The error of a token is the activation less its reconstruction. Least squares on some tokens says
what part of it is a linear function of the input (with a constant); the rest is called nonlinear.
All numbers are taken on other tokens. (Engels, Riggs and Tegmark 2024, "Decomposing the Dark Matter
of Sparse Autoencoders", arXiv 2410.14670.) Random and principal directions (`baselines`) have
errors, too: what holds of them says nothing about learned features.

Attention sinks are not only first tokens. One token whose input is a hundred times as long as the
others decides any sum of squares, so tokens of more than SINK times the median length are left out
of maps, numbers and edits; `metadata` counts them.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp._numbers import to_numpy
from interp._stats import correlations
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


def predict_error(
    dictionary: Dictionary | Sequence[Dictionary], fit: Activations, test: Activations
) -> Result:
    """How well a linear map of the input predicts dictionaries' errors: R2 of the vector and of its
    squared norm, on other tokens.

    Example:
        >>> found = features.predict_error([sae, *features.baselines(acts, k=32)], acts, heldout)
        >>> found.sel(measure="error vector").plot()

    Args:
        fit: Activations the maps are fitted to.
        test: Those they are judged on. "unexplained" is the squared error over the squared distance
            from the mean, and its parts are those of the predicted error and of what is left; they
            add up only as far as the map fits the test. Examples are chunks: ratios of sums, whose
            intervals are the delta method's.

    Raises:
        ValueError: Where fit has no more tokens than the input has coordinates.
    """
    started = time.perf_counter()
    dictionaries = [dictionary] if isinstance(dictionary, Dictionary) else list(dictionary)
    solve, rows = _solver(fit, dictionaries), []
    mask = _no_sink(test.of(dictionaries[0].site), _bound(fit, dictionaries[0].site))
    chunk = np.arange(len(test.tokens)).repeat(len(test) // len(test.tokens))[to_numpy(mask)]

    def by_chunk(value):
        return np.bincount(chunk, to_numpy(value.flatten(1).sum(-1)), len(test.tokens))

    for one in progress(dictionaries, "error maps"):
        x, error = (part[mask] for part in _errors(one, test))
        guess, size = (part.double() for part in _guess(solve(one), x))
        target, error = test.of(one.writes)[mask].double(), error.double()
        far = by_chunk((target - target.mean(0)).pow(2))
        norm = error.pow(2).sum(-1, keepdim=True)
        spread, off = by_chunk((norm - norm.mean()).pow(2)), by_chunk((norm - size[:, None]).pow(2))
        wide, left = by_chunk((error - error.mean(0)).pow(2)), by_chunk((error - guess).pow(2))
        parts = [by_chunk(part.pow(2)) for part in (error, guess, error - guess)]
        rows.append(
            np.stack(
                [
                    ratio_of(wide - left, wide),
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
        f"errors at {dictionaries[0].writes} from the input",
        "fraction",
        metadata,
        examples,
    )
    return (
        result.sel(dictionary=dictionaries[0].name)
        if isinstance(dictionary, Dictionary)
        else result
    )


def split_error(
    dictionary: Dictionary, fit: Activations, *rest: Activations
) -> list[tuple[Activations, Activations]]:
    """The linear and the nonlinear part of the error, as activations, of `fit` and of each that
    follows.

    The map is fitted to `fit` alone; the two parts sum to the error.

    Example:
        >>> (linear, nonlinear), (linear_heldout, nonlinear_heldout) = features.split_error(sae, acts, heldout)
        >>> features.train(model, sae.writes, nonlinear, width=288)
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


def error_norms(dictionaries: Sequence[Dictionary], on: Activations) -> Result:
    """The correlation between dictionaries of how large their error is at a token, dictionary x
    other.

    Examples are chunks, each the correlation plus what it moves it by.

    Example:
        >>> features.error_norms([small, large], heldout).plot()
    """
    compared = list(dictionaries)
    norms = np.stack([to_numpy(_errors(one, on)[1].norm(dim=-1)) for one in compared])
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
    """What leaving out the error costs the model, and leaving out one part of it: nats a token more
    than untouched.

    "linear part": the activation less the part of the error that is linear in the input (the map is
    fitted to `fit`); the nonlinear one stays. At every position but the first.

    Example:
        >>> features.error_losses(model, sae, acts, heldout)

    Args:
        on: As in `judge`. Examples are chunks. metadata["norm"]: the mean squared norm of each of
            the three.
    """
    started = time.perf_counter()
    ids, skip, metadata = chunks_of(model, on, tokens, length, "heldout", 0)
    weights = _solver(fit, [dictionary])(dictionary)
    both = list(dict.fromkeys((dictionary.site, dictionary.writes)))
    bound = _bound(fit, dictionary.site)
    n_chunks, losses, norms = (
        max(1, PER_RUN // ids.shape[1] // 4),
        [],
        torch.zeros(3, dtype=torch.double, device=weights.device),
    )
    for first in progress(range(0, len(ids), n_chunks), "losses"):
        part = ids[first : first + n_chunks]
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
        "nats a token",
        result_metadata,
        examples,
    )


def nonlinear_share(costs: Result) -> Result:
    """The nonlinear part's share of the loss increase less its share of the squared norm, from
    `error_losses`.

    Shares are of the two parts' sum. metadata: "of the loss", "of the norm". Examples are chunks
    (the delta method).

    Example:
        >>> features.nonlinear_share(features.error_losses(model, sae, acts, heldout))          # 0: it costs what its size says
    """
    linear, nonlinear = (costs.sel(**{"left out": part}).examples for part in COSTS[1:])
    _, small, large = costs.metadata["norm"]
    size = large / (small + large)
    examples = ratio_of(nonlinear, linear + nonlinear) - size
    metadata = {**costs.metadata, "of the loss": float(examples.mean() + size), "of the norm": size}
    return Result(
        examples.mean(),
        (),
        {},
        "share of the nonlinear part in the loss less that in the squared norm",
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
    """How long an input may be that is no sink."""
    return SINK * float(acts.of(site).norm(dim=-1).median())


def _no_sink(x: Tensor, bound: float) -> Tensor:
    """Mask of the tokens that are no attention sinks."""
    return x.norm(dim=-1) <= bound


def _solver(fit: Activations, dictionaries: Sequence[Dictionary]) -> Any:
    """What fits the errors of one of these dictionaries, and their squared norms, to the input:
    [d_in + 1, d_out + 1].
    """
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

    def solve(one: Dictionary) -> Tensor:
        error = _errors(one, fit)[1][mask].double()
        wanted = torch.cat([error, error.pow(2).sum(-1, keepdim=True)], 1)
        slopes = torch.cholesky_solve((x - middle).T @ (wanted - wanted.mean(0)), factor)
        return torch.cat([slopes, (wanted.mean(0) - middle @ slopes)[None]]).float()

    return solve


def _guess(weights: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The predicted error [n d_out] and its predicted squared norm [n]."""
    out = x.float() @ weights[:-1] + weights[-1]
    return out[:, :-1], out[:, -1]


def _like(acts: Activations, dictionary: Dictionary, value: Tensor, what: str) -> Activations:
    """Activations of the same tokens with these values."""
    return Activations(
        (dictionary.writes,),
        acts.tokens,
        acts.skip,
        ({dictionary.writes: value},),
        {**acts.metadata, "part": f"{what} of {dictionary.name}"},
    )
