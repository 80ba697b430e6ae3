"""Rank correlations with their intervals, and what shuffled heads would give."""

import numpy as np

from interp._stats import spearman
from interp.studies.verdict_rules import Measured, drawn, measured

SHUFFLES = 200


def rank_correlation(
    a: object, b: object, *, together: int = 1, n_boot: int = 1000, seed: int = 0
) -> Measured:
    """Spearman's correlation of two scores over the same cells, with an interval over the cells.

    Example:
        >>> rank_correlation([1.0, 2.0, 3.0], [10.0, 20.0, 40.0]).value
        1.0

    Args:
        a: A Result, or an array.
        b: Another on the same axes or of the same shape, or the name of an axis of a ("layer").
            Ties share their mean rank.
        together: How many neighbouring cells are drawn together: 3 where three heads share their
            keys and values, so that they are not independent.
        n_boot: How many bootstrap draws.
        seed: Which draws.

    Returns:
        The correlation; n is the number of cells, or of groups of them.

    Raises:
        ValueError: If the cells are not the same or do not fall into groups of `together`, or a
            score is NaN.
    """
    pairs = np.stack(_paired(a, b), -1)
    if together < 1 or len(pairs) % together:
        raise ValueError(
            f"together={together}: {len(pairs)} cells do not fall into groups of as many"
        )
    return measured(
        pairs,
        lambda rows: spearman(rows[:, 0], rows[:, 1]),
        groups=None if together == 1 else [k // together for k in range(len(pairs))],
        n_boot=n_boot,
        seed=seed,
    )


def shuffled_correlation(a: object, b: object, *, within: bool = False, seed: int = 0) -> Measured:
    """The rank correlation when b's cells are shuffled: the control of `rank_correlation`.

    Example:
        >>> shuffled_correlation(effects, scores, within=True)

    Args:
        a: A Result, or an array.
        b: Another on the same axes or of the same shape.
        within: Shuffle only within a row of the first axis (a layer): what is left is the
            correlation that comes of layers alone.
        seed: Which shuffles.

    Returns:
        The mean and the middle 95 % of 200 shuffles, as `drawn` gives them: no interval, and n is
        the number of shuffles.
    """
    first, second = _paired(a, b)
    rows = len(np.asarray(getattr(a, "values", a))) if within else 1
    rng = np.random.default_rng(seed)
    b = second.reshape(rows, -1)
    again = [spearman(first, rng.permuted(b, axis=1).ravel()) for _ in range(SHUFFLES)]
    return drawn(again, what="shuffles")


def _paired(a: object, b: object) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(b, str):
        axis, labels = a._axis(b), np.asarray(a.coords[b], dtype=float)
        b = np.broadcast_to(
            labels.reshape([-1 if i == axis else 1 for i in range(len(a.dims))]), a.values.shape
        )
    named = [getattr(x, "dims", None) for x in (a, b)]
    x, y = (np.asarray(getattr(v, "values", v), dtype=float) for v in (a, b))
    if x.shape != y.shape or (None not in named and named[0] != named[1]):
        raise ValueError(
            f"scores over the same cells are needed, got {named[0] or ''}{x.shape} and"
            f" {named[1] or ''}{y.shape}"
        )
    if np.isnan(x).any() or np.isnan(y).any():
        raise ValueError(
            "a score is missing (NaN) somewhere: choose the cells where both are there"
        )
    return x.ravel(), y.ravel()
