"""Numbers about curves over training, such as how long a rise takes, each with its bootstrap
interval.

Curves are a Result on the axes seed, step, measure that kept its sequences (`toys.over_training` of
several runs with `toys.accuracy_on` or `toys.in_context`). Each number is taken seed by seed and
averaged; what is drawn again for the interval are the seeds, when there are two or more, and the
sequences. `curves.sel(seed=[1])` gives the number of one seed.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from interp._errors import unknown
from interp.results import Result
from interp.studies.verdict_rules import Measured

DIMS = ("seed", "step", "measure")
Level = tuple[str, float]


def training_time_between(curves: Result, start: Level, end: Level, **options: int) -> Measured:
    """How long one level is reached after another, as a share of the whole training.

    A level is reached where the curve first comes to it, on straight lines between checkpoints; one
    that is never reached counts as reached at the end, so that the number is then a bound.

    Example:
        >>> training_time_between(curves, ("icl", 0.55), ("icl", 0.95))  # how abrupt is the rise?
        >>> training_time_between(curves, ("previous token", 0.3), ("icl", 0.55))

    Args:
        curves: A Result [seed step measure] that keeps its sequences.
        start: (measure, level).
        end: (measure, level). Below 0: this one comes first.
        **options: n_boot and seed.
    """
    first, then = _column(curves, start[0]), _column(curves, end[0])
    steps = np.array(curves.coords["step"], float) / curves.coords["step"][-1]
    return _number(
        curves,
        lambda c: _reached(steps, c[:, then], end[1]) - _reached(steps, c[:, first], start[1]),
        **options,
    )


def at_end(
    curves: Result, measure: str, minus: str = "", last: int = 1, **options: int
) -> Measured:
    """A measure at the end of training, or its difference from another measure.

    Example:
        >>> at_end(curves, "tail", minus="head", last=3)

    Args:
        curves: A Result [seed step measure] that keeps its sequences.
        measure: Which measure.
        minus: A second measure that is subtracted; "" for none.
        last: Over how many of the last checkpoints the mean is taken.
        **options: n_boot and seed.
    """
    column, other = _column(curves, measure), _column(curves, minus) if minus else None
    return _number(
        curves,
        lambda c: c[-last:, column].mean() - (0.0 if other is None else c[-last:, other].mean()),
        **options,
    )


def drop_from_peak(curves: Result, measure: str, last: int = 1, **options: int) -> Measured:
    """How far a measure ends below its highest value during training.

    Example:
        >>> drop_from_peak(curves, "structural", last=3)               # is it transient?

    Args:
        curves: A Result [seed step measure] that keeps its sequences.
        measure: Which measure.
        last: The end is the mean of so many checkpoints, the highest value the highest such mean.
        **options: n_boot and seed.
    """
    column = _column(curves, measure)

    def smooth(c):
        return np.convolve(c[:, column], np.ones(last) / last, "valid")

    return _number(curves, lambda c: smooth(c).max() - smooth(c)[-1], **options)


def share_of_steps(
    curves: Result,
    *,
    at_least: Mapping[str, float] = {},
    at_most: Mapping[str, float] = {},
    order: Sequence[str] = (),
    since: int = 0,
    **options: int,
) -> Measured:
    """The share of the training after step `since` in which all conditions hold.

    Each checkpoint after `since` stands for the steps since the one before it.

    Example:
        >>> share_of_steps(
        ...     curves, at_least={"structural": 0.85}, at_most={"head": 0.7},
        ...     order=("head", "tail"), since=2000,
        ... )

    Args:
        curves: A Result [seed step measure] that keeps its sequences.
        at_least: Measures with the smallest value that counts.
        at_most: Measures with the largest value that counts.
        order: Measures that must stand in this order, from low to high.
        since: The step after which is counted.
        **options: n_boot and seed.

    Raises:
        ValueError: If there is no checkpoint after `since`.
    """
    steps = curves.coords["step"]
    late = [i for i, step in enumerate(steps) if step > since]
    if not late:
        raise ValueError(f"no checkpoint after step {since}: the last is at {steps[-1]}")
    wide = np.diff([since, *(steps[i] for i in late)])
    low, high = ([(_column(curves, k), v) for k, v in some.items()] for some in (at_least, at_most))
    ranked = list(pairwise(_column(curves, k) for k in order))

    def share(c: np.ndarray) -> float:
        rows = c[late]
        so = (
            [rows[:, k] >= v for k, v in low]
            + [rows[:, k] <= v for k, v in high]
            + [rows[:, a] < rows[:, b] for a, b in ranked]
        )
        return float(wide[np.all(so, axis=0)].sum() / wide.sum())

    return _number(curves, share, **options)


def draw_curves(
    curves: Result,
    measures: Sequence[str] = (),
    *,
    title: str = "",
    marks: Mapping[str, float] = {},
    ax: object = None,
) -> object:
    """The Axes with the mean curve of each measure, and each seed's own curve in a thin line.

    Args:
        curves: A Result [seed step measure] that keeps its sequences.
        measures: Which; all if empty.
        title: The title; the result's name if empty.
        marks: Vertical lines by name, such as {"forgetting stops": 2000}.
        ax: Where to draw; a new figure if None.
    """
    from interp import plots

    names = list(measures or curves.coords["measure"])
    steps, mean = (
        curves.coords["step"],
        np.stack([curves.values[:, :, _column(curves, k)] for k in names], 1),
    )
    ax = plots.lines(
        mean.mean(0),
        steps,
        x_name="step of training",
        title=title or curves.name,
        unit=curves.unit,
        names=names,
        placed=True,
        ax=ax,
    )
    drawn = list(ax.get_lines())[: len(names)]
    for one in mean if len(mean) > 1 else ():
        for line, values in zip(drawn, one):
            ax.plot(steps, values, color=line.get_color(), linewidth=0.6, alpha=0.6)
    for name, step in marks.items():
        ax.axvline(step, color="#555555", linewidth=0.8, linestyle=":")
        ax.annotate(
            name,
            (step, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, -9),
            textcoords="offset points",
            fontsize=8,
        )
    return ax


# --- details --------------------------------------------------------------------------------------


def _column(curves: Result, measure: str) -> int:
    if curves.dims != DIMS or curves.examples is None:
        raise ValueError(
            f"curves have the axes {DIMS} and their sequences, not {curves.dims}:"
            " over_training(runs, toys.accuracy_on(batches))"
        )
    if measure not in curves.coords["measure"]:
        raise unknown("measure", measure, curves.coords["measure"])
    return curves.coords["measure"].index(measure)


def _reached(steps: np.ndarray, curve: np.ndarray, level: float) -> float:
    """Where the curve first comes to the level (the end when it never does)."""
    there = np.flatnonzero(curve >= level)
    if not len(there):
        return float(steps[-1])
    i = there[0]
    if i == 0:
        return float(steps[0])
    return float(
        steps[i - 1]
        + (steps[i] - steps[i - 1]) * (level - curve[i - 1]) / (curve[i] - curve[i - 1])
    )


def _number(
    curves: Result, statistic: Callable[[np.ndarray], float], *, n_boot: int = 500, seed: int = 0
) -> Measured:
    examples = curves.examples  # [seed step measure sequence]
    n_seeds, n = len(examples), examples.shape[-1]
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), n_boot).T / n
    again = np.stack([one @ weights for one in examples])  # [seed step measure boot]
    each = np.array([[statistic(again[s, ..., b]) for b in range(n_boot)] for s in range(n_seeds)])
    drawn = rng.integers(0, n_seeds, (n_boot, n_seeds))
    numbers = np.take_along_axis(each.T, drawn, 1).mean(1)
    value = float(np.mean([statistic(one) for one in examples.mean(-1)]))
    low, high = np.percentile(numbers, [2.5, 97.5])
    return Measured(value, float(low), float(high), n_seeds * n)
