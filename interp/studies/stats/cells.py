"""Numbers about all cells of a Result at once, such as every head's score, each with its bootstrap
interval.

What is drawn again are the examples: the interval says how the number would vary with other prompts
like these.
"""

import numpy as np

from interp._stats import spearman
from interp.results import Result
from interp.studies.verdict_rules import Measured, measured


def split_half(scores: Result, *, ranks: bool = False, **options: object) -> Measured:
    """How reliable scores are: the correlation over cells between two halves of the examples.

    The halves are every other example, so that labels that take turns fall into both.

    Example:
        >>> split_half(interp.head_scores(model, ["retrieval"], on=task))

    Args:
        scores: A Result that keeps its examples.
        ranks: Spearman's correlation instead of Pearson's.
        **options: level, n_boot and seed.

    Raises:
        ValueError: If there are fewer than four examples.
    """
    if scores.examples is None or scores.examples.shape[-1] < 4:
        raise ValueError(
            f"{scores.name!r} has too few examples for two halves with an interval: 4 or more are"
            " needed"
        )
    return _correlation(scores.examples[..., 0::2], scores.examples[..., 1::2], ranks, **options)


def cell_correlation(a: Result, b: Result, *, ranks: bool = False, **options: object) -> Measured:
    """The correlation over cells of two results on the same axes (two lengths, two tasks).

    Example:
        >>> cell_correlation(short_prompts, long_prompts, ranks=True)

    Args:
        a: A Result that keeps its examples.
        b: Another; examples are drawn separately in each. Cells that are NaN in either are
            left out.
        ranks: Spearman's correlation instead of Pearson's.
        **options: level, n_boot and seed.

    Returns:
        The correlation; n is the number of examples of the smaller result.

    Raises:
        ValueError: If the axes differ, or one kept no examples.
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
    """The share of cells whose mean over examples is above a number.

    Example:
        >>> share_of_cells(scores, above=0.1)               # how many heads score more than 0.1?

    Args:
        scores: A Result that keeps its examples.
        above: The number.
        least: Whether a cell that reaches the number exactly counts as well.
        **options: level, n_boot, seed and groups, as in `measured`.

    Raises:
        ValueError: If there are no examples.
    """
    if scores.examples is None or not scores.values.size:
        raise ValueError(f"{scores.name!r} has no cells with examples to count")
    passes = np.greater_equal if least else np.greater
    # a mean of 18 ones and 2 zeros is 0.9 only up to rounding
    return measured(
        _rows(scores.examples), lambda rows: passes(rows.mean(0).round(9), above).mean(), **options
    )


def quantile_of_cells(scores: Result, *, quantile: float = 0.99, **options: object) -> Measured:
    """A quantile over cells of the absolute value of their means over examples.

    Example:
        >>> quantile_of_cells(effects.pick(random_heads))   # what the strongest random heads reach

    Args:
        scores: A Result that keeps its examples.
        quantile: 0.99: the size that all but one in a hundred stay below.
        **options: level, n_boot, seed and groups, as in `measured`.

    Raises:
        ValueError: If there are no examples.
    """
    if scores.examples is None or not scores.values.size:
        raise ValueError(f"{scores.name!r} has no cells with examples to measure")
    return measured(
        _rows(scores.examples), lambda rows: np.quantile(np.abs(rows.mean(0)), quantile), **options
    )


def share_of_examples(scores: Result, above: float) -> Result:
    """In what share of examples each cell's own value is above a number, as a Result.

    Example:
        >>> share_of_examples(scores, 0.1).top(10, by="high")       # how often is a head active?

    Args:
        scores: A Result that keeps its examples.
        above: The number.

    Returns:
        The same axes, "share of prompts"; an example is 1 where its value is above, else 0.

    Raises:
        ValueError: If there are no examples.
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
