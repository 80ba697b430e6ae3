"""Ranks with ties, and what follows from them."""

import numpy as np


def ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each value from 1 on, ties sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """The correlation of ranks; 0 where one of them never varies (nothing goes with it)."""
    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(), y - y.mean()
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size > 0 else 0.0


def area(values: np.ndarray, positive: np.ndarray) -> float:
    """The chance that one of the positive scores above another one, a tie counting one half: the area under the ROC curve."""
    n, m = int(positive.sum()), int((~positive).sum())
    return float((ranks(values)[positive].sum() - n * (n + 1) / 2) / (n * m))
