"""Statistics that several parts share, over scipy: intervals, correlations, AUROC, power laws."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from interp._warn import warn

NEAR_ZERO = 1e-6  # a mean below this is no denominator at all


def bootstrap(
    examples: np.ndarray,
    level: float = 0.95,
    n_boot: int = 1000,
    seed: int = 0,
    denominator: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the percentile bootstrap interval of the mean over the last axis.

    Examples are drawn with replacement, the same draws for every cell, so that cells stay
    comparable. With n examples the interval is that of n prompts from this task's generator, not of
    all prompts.

    Example:
        >>> low, high = bootstrap(np.array([1.0, 2.0, 3.0]))

    Args:
        examples: Numbers [... example], at least two examples.
        level: Between 0 and 1.
        n_boot: How many draws.
        seed: Decides the draws.
        denominator: Where the examples are parts in a ratio (`ratio_parts`), what they were divided
            by [example]: the ends are then exactly those of the ratio of the drawn means.

    Returns:
        The lower and the upper end, each of the shape of the other axes. NaN for a ratio whose
        denominator has an interval that contains 0: then the ratio has no bounded interval.

    Raises:
        ValueError: If there are fewer than two examples, or level is not between 0 and 1.
    """
    examples = np.asarray(examples, dtype=float)
    n = examples.shape[-1] if examples.ndim else 0
    if n < 2:
        raise ValueError(f"an interval needs at least two examples, got {n}")
    if not 0 < level < 1:
        raise ValueError(f"level={level}: an interval's level lies between 0 and 1 (try 0.95)")
    if not isinstance(n_boot, int) or n_boot < 1:
        raise ValueError(f"n_boot={n_boot!r}: how many draws, a whole number from 1 on (try 1000)")
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=n_boot) / n  # [n_boot n]
    cells = examples.reshape(-1, n)
    tail = 50 * (1 - level)
    below = np.ones(n) if denominator is None else np.asarray(denominator, dtype=float)
    ends = np.full((2, len(cells)), np.nan)
    shape = examples.shape[:-1]
    low, high = np.percentile(weights @ below, [min(tail, 2.5), max(100 - tail, 97.5)])
    if low <= 0 <= high:
        return ends[0].reshape(shape), ends[1].reshape(shape)
    below = weights @ (below / below.mean())  # each draw's denominator, over the mean one
    for start in range(0, len(cells), 2048):  # bounded memory: 2048 cells x n_boot doubles
        some = cells[start : start + 2048]
        mean = some.mean(-1, keepdims=True)
        means = mean + (some @ weights.T - mean) / below
        ends[:, start : start + 2048] = np.percentile(means, [tail, 100 - tail], axis=-1)
    return ends[0].reshape(shape), ends[1].reshape(shape)


def ratio_parts(above: Any, below: Any) -> Any:
    """Each example's part in mean(above) / mean(below): the mean of the parts is that ratio.

    A part is the ratio plus the example's influence on it (the delta method), so a bootstrap of the
    parts draws numerator and denominator together.

    Example:
        >>> ratio_parts(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
        array([0.5, 1.5])

    Args:
        above: Numbers [... example], an array or a tensor.
        below: Numbers [example], whose mean is not zero.

    Returns:
        The parts, shaped like `above`. A bootstrap of them is that of the ratio to first order, and
        exactly that of the ratio when it is given `below` as its denominator.
    """
    ratio = above.mean(-1)[..., None] / below.mean()
    return ratio + (above - ratio * below) / below.mean()


def fractions(
    above: Any, below: Any, what: str, instead: str, numerator: str = "a fraction of it"
) -> tuple[Any, dict[str, Any]]:
    """What every fraction of this package is made of: each example's part in the ratio of the means
    (`ratio_parts`), and what a result's metadata has to say about the denominator.

    Where the denominator's 95 % interval over the examples contains 0, a warning says so: other
    prompts might give any number, of either sign.

    Example:
        >>> parts, notes = fractions(effects, clean - corrupted, "clean minus corrupted logit
        ...     difference", "unit='metric'")

    Args:
        above: Numbers [... example], an array or a tensor.
        below: Numbers [example], what is divided by.
        what: What the denominator is, in words.
        instead: What else may be asked, in words.
        numerator: What the ratio is called in the warning.

    Returns:
        The parts, shaped like `above`, and {"denominator": a number per example}, with "unsteady":
        one sentence, where the denominator cannot be told from zero. `Result` reads both.

    Raises:
        ValueError: If the denominator is zero on average.
    """
    divided = np.asarray(below.tolist(), dtype=float)
    if not abs(divided.mean()) >= NEAR_ZERO:
        raise ValueError(
            f"{what} is {divided.mean():.2g} on average: there is no fraction ({instead})"
        )
    notes: dict[str, Any] = {"denominator": divided.tolist()}
    doubt = unsteady(divided, what, numerator)
    if doubt:
        notes["unsteady"] = doubt
        warn(f"{doubt} ({instead}, or take more prompts)")
    return ratio_parts(above, below), notes


def unsteady(below: Any, what: str, numerator: str = "a fraction of it") -> str:
    """One sentence where a denominator's 95 % interval contains 0; otherwise an empty text.

    Args:
        below: The denominator, a number per example.
        what: What it is, in words.
        numerator: What the ratio is called.
    """
    below = np.asarray(below, dtype=float)
    if len(below) < 2:
        return ""
    low, high = (float(end) for end in bootstrap(below))
    if not low <= 0 <= high:
        return ""
    return (
        f"{what} is {below.mean():.2g} on average, with a 95 % interval from {low:.2g} to"
        f" {high:.2g} that contains 0: {numerator} has no interval, and other prompts may give any"
        " number"
    )


def correlations(rows: np.ndarray, groups: int, mask: np.ndarray | None = None) -> np.ndarray:
    """Pearson's correlation of each pair of rows, as one value per group [row row group].

    The mean over groups is the correlation; each group's value is the correlation plus the group's
    influence on it (the influence function of Pearson's r), so that intervals can be taken over
    groups.

    Example:
        >>> values = correlations(np.stack([a, b]), groups=64)     # 64 chunks of tokens
        >>> low, high = bootstrap(values)

    Args:
        rows: Numbers [row example]; for Spearman's correlation give ranks.
        groups: How many groups of equal size the examples form, one after another.
        mask: Which examples count [example]; all if None.

    Returns:
        [row row group]; NaN for a row that never changes.

    Raises:
        ValueError: If the examples do not form groups of equal size.
    """
    rows = np.asarray(rows, dtype=float)
    if rows.shape[1] % groups:
        raise ValueError(f"{rows.shape[1]} examples do not fall into {groups} groups of one size")
    mask = np.ones(rows.shape[1], bool) if mask is None else np.asarray(mask, bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (
            mask
            * (rows - rows[:, mask].mean(1, keepdims=True))
            / rows[:, mask].std(1, keepdims=True)
        )
    product, square = z[:, None] * z[None], z**2
    r = product.sum(-1, keepdims=True) / mask.sum()
    influence = (product - r * (square[:, None] + square[None]) / 2) * (len(mask) / mask.sum())
    return (r + influence).reshape(len(rows), len(rows), groups, -1).mean(-1)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two lists of numbers; 0 if one of them never varies."""
    from scipy.stats import rankdata

    x, y = (ranks - ranks.mean() for ranks in (rankdata(a), rankdata(b)))
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size > 0 else 0.0


def auroc(values: np.ndarray, positive: np.ndarray) -> float | np.ndarray:
    """The area under the ROC curve: how likely a positive value lies above another one.

    Example:
        >>> auroc(np.array([1.0, 2.0, 3.0]), np.array([False, True, True]))
        1.0

    Args:
        values: [n], or [n column]: each column is ranked by itself. A tie counts one half.
        positive: Which of the n are positive: bools [n], or [label n] for several labels.

    Returns:
        A number for one label and one column; otherwise [label], [column] or [label column].
    """
    from scipy.stats import rankdata

    ranks, member = rankdata(values, axis=0), np.asarray(positive, dtype=float)
    n = member.sum(-1)
    n = n[:, None] if member.ndim == ranks.ndim == 2 else n
    area = (member @ ranks - n * (n + 1) / 2) / (n * (len(ranks) - n))
    return area if area.ndim else float(area)


def t_point(freedom: float, level: float = 0.95) -> float:
    """How many standard errors a two-sided interval of this level reaches, by Student's t."""
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, freedom))


def power_law(
    x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray
) -> tuple[float, float, float]:
    """The exponent p of y = c x ** p by least squares in the logs, with its 95 % interval.

    Example:
        >>> p, low, high = power_law([16, 32, 64, 128], [47, 90, 181, 365])

    Args:
        x, y: Three or more positive numbers each.

    Returns:
        The exponent, and the ends of its interval from the residuals (Student's t).

    Raises:
        ValueError: If there are fewer than three points, or one is not positive and finite.
    """
    from scipy.stats import linregress

    x, y = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    if len(x) != len(y) or len(x) < 3 or not (np.isfinite(x) & np.isfinite(y)).all():
        raise ValueError("a power law needs three or more points, each positive and finite")
    fit = linregress(x, y)
    half = t_point(len(x) - 2) * fit.stderr
    return float(fit.slope), float(fit.slope - half), float(fit.slope + half)
