"""Numbers about all cells of a Result at once, such as every head's score, each with its bootstrap
interval.

What is drawn again are the examples: the interval says how the number would vary with other prompts
like these.
"""

import numpy as np

from interp._stats import spearman
from interp.results import Result
from interp.studies.claims import Measured, measured


def split_half(scores: Result, *, ranks: bool = False, **options: object) -> Measured:
    """How reliable scores are: the correlation over cells of the means of two halves of the
    examples.

    The halves are every other example, so that labels that take turns fall into both. options as in
    `cell_correlation`.

    Example:
        >>> split_half(interp.head_scores(model, ["retrieval"], on=task))
    """
    if scores.examples is None or scores.examples.shape[-1] < 4:
        raise ValueError(
            f"{scores.name!r} has too few examples for two halves with an interval: 4 or more are"
            " needed"
        )
    return _correlation(scores.examples[..., 0::2], scores.examples[..., 1::2], ranks, **options)


def cell_correlation(a: Result, b: Result, *, ranks: bool = False, **options: object) -> Measured:
    """The correlation over cells of two results on the same axes (two lengths, two tasks), examples
    drawn apart in each.

    Args:
        ranks: Spearman's instead of Pearson's.
        options: Level, n_boot, seed. n: the examples of the smaller one. NaN cells in either are
            left out.
    """
    if a.dims != b.dims or a.coords != b.coords:
        raise ValueError(
            f"{a.name!r} and {b.name!r} are not on the same cells: there is nothing to correlate"
        )
    if a.examples is None or b.examples is None:
        raise ValueError("both results need their examples: the interval is drawn from them")
    return _correlation(a.examples, b.examples, ranks, **options)


def share_of_cells(
    scores: Result, *, above: float, least: bool = False, **options: object
) -> Measured:
    """The share of cells whose mean over examples is above a number (with least=True: at least that
    number).

    Example:
        >>> share_of_cells(found, above=0.1)               # how many heads score more than 0.1?
    """
    if scores.examples is None or not scores.values.size:
        raise ValueError(f"{scores.name!r} has no cells with examples to count")
    passes = np.greater_equal if least else np.greater
    # a mean of 18 ones and 2 zeros is 0.9 only up to rounding
    return measured(
        _rows(scores.examples), lambda rows: passes(rows.mean(0).round(9), above).mean(), **options
    )


def size_of_cells(scores: Result, *, quantile: float = 0.99, **options: object) -> Measured:
    """How large cells are, whatever their sign: the size that all but one in a hundred
    (quantile=0.99) stay below.

    A cell's size is that of its mean over the examples. options as in `measured`, groups among
    them.

    Example:
        >>> size_of_cells(effects.pick(strangers))         # what the strongest of random heads reach
    """
    if scores.examples is None or not scores.values.size:
        raise ValueError(f"{scores.name!r} has no cells with examples to measure")
    return measured(
        _rows(scores.examples), lambda rows: np.quantile(np.abs(rows.mean(0)), quantile), **options
    )


def how_often(scores: Result, above: float) -> Result:
    """The same result counting examples: 1 where the example's own value is above the number, 0
    where not.

    Example:
        >>> how_often(found, 0.1).top(10, by="high")       # in what share of prompts is each head active?
    """
    if scores.examples is None:
        raise ValueError(f"{scores.name!r} kept no examples to count")
    yes = np.where(np.isnan(scores.examples), np.nan, scores.examples > above)
    metadata = {**scores.metadata, "above": above}
    return Result(
        yes.mean(-1),
        scores.dims,
        scores.coords,
        f"{scores.name} above {above:g}",
        "share of prompts",
        metadata,
        yes,
    )


def _rows(examples: np.ndarray) -> np.ndarray:
    """One row an example, one column a cell."""
    return examples.reshape(-1, examples.shape[-1]).T


def _correlation(
    a: np.ndarray,
    b: np.ndarray,
    ranks: bool,
    *,
    level: float = 0.95,
    n_boot: int = 1000,
    seed: int = 0,
) -> Measured:
    first, second = _rows(a), _rows(b)
    valid = ~(np.isnan(first).any(0) | np.isnan(second).any(0))
    first, second = first[:, valid], second[:, valid]
    if not valid.any() or min(len(first), len(second)) < 2:
        raise ValueError(
            "a correlation with an interval needs cells that have numbers in two examples or more"
            " of each"
        )

    def pearson(x, y):
        return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) > 0 and np.ptp(y) > 0 else 0.0

    of = spearman if ranks else pearson
    rng = np.random.default_rng(seed)

    def again(rows):
        return rows[rng.integers(0, len(rows), len(rows))].mean(0)

    drawn = [of(again(first), again(second)) for _ in range(n_boot)]
    low, high = np.percentile(drawn, [50 * (1 - level), 100 - 50 * (1 - level)])
    return Measured(
        of(first.mean(0), second.mean(0)), float(low), float(high), min(len(first), len(second))
    )
