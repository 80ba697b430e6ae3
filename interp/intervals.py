"""Intervals: how far a mean over these examples could lie from the one over others like them."""

import numpy as np


def bootstrap(
    examples: np.ndarray, level: float = 0.95, n_boot: int = 1000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the percentile bootstrap interval of the mean over the last axis.

    >>> low, high = bootstrap(np.array([1.0, 2.0, 3.0]))

    Examples are drawn with replacement, the same draws for every cell, so cells stay comparable. With n
    examples the interval is that of n prompts from this task's generator, not of all prompts there are.
    """
    examples = np.asarray(examples, dtype=float)
    n = examples.shape[-1] if examples.ndim else 0
    if n < 2:
        raise ValueError(f"an interval needs at least two examples, got {n}")
    if not 0 < level < 1:
        raise ValueError(f"level={level}: an interval's level lies between 0 and 1 (try 0.95)")
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=n_boot) / n  # [n_boot n]
    cells = examples.reshape(-1, n)
    tail = 50 * (1 - level)
    ends = np.empty((2, len(cells)))
    for start in range(0, len(cells), 2048):  # bounded memory: 2048 cells x n_boot doubles
        means = cells[start : start + 2048] @ weights.T
        ends[:, start : start + 2048] = np.percentile(means, [tail, 100 - tail], axis=-1)
    shape = examples.shape[:-1]
    return ends[0].reshape(shape), ends[1].reshape(shape)


def correlations(rows: np.ndarray, groups: int, kept: np.ndarray | None = None) -> np.ndarray:
    """The correlation of each row with each [row row group]: its mean over groups is the number, each what it moves it by.

    >>> bootstrap(correlations(np.stack([a, b]), groups=64))          # a and b: 64 chunks of tokens, one after another

    rows: [row example], in as many groups of equal size. The influence function of Pearson's r; for Spearman's give
    ranks. kept: which examples count (None: all). A row that never changes has no correlation: NaN.
    """
    rows = np.asarray(rows, dtype=float)
    if rows.shape[1] % groups:
        raise ValueError(f"{rows.shape[1]} examples do not fall into {groups} groups of one size")
    kept = np.ones(rows.shape[1], bool) if kept is None else np.asarray(kept, bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (
            kept
            * (rows - rows[:, kept].mean(1, keepdims=True))
            / rows[:, kept].std(1, keepdims=True)
        )
    product, square = z[:, None] * z[None], z**2
    r = product.sum(-1, keepdims=True) / kept.sum()
    moved = (product - r * (square[:, None] + square[None]) / 2) * (len(kept) / kept.sum())
    return (r + moved).reshape(len(rows), len(rows), groups, -1).mean(-1)
