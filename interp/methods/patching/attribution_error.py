"""How good an estimate is, cell by cell: attribution patching against patching itself."""

from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from scipy.stats import rankdata

from interp.methods.patching.attribution_patch import SIZE_ONLY
from interp.results import Result

ESTIMATED = "attribution patching"  # how `attribution_patch` names its methods
FARTHEST = 3  # cells that are farthest off, as they are printed


@dataclass(frozen=True, eq=False)
class Fit:
    """An estimate beside the exact effects: the numbers, the points, and the missed cells.

    Attributes:
        numbers: A Result on the axis "measure".
        labels: The cells compared.
        exact: Their exact effects.
        estimate: Their estimates.
        missed: The exact top cells that are not surely in the estimate's top, as (label, exact,
            estimate, rank in the estimate, the mean rank among equals), largest first.
        unit: Of the effects.
        farthest: The cells at which the estimate is farthest off, as (label, exact, estimate).
        notes: What has to be known to read the numbers, a sentence each.
    """

    numbers: Result
    labels: list[str]
    exact: np.ndarray
    estimate: np.ndarray
    missed: list[tuple[str, float, float, float]]
    unit: str
    farthest: list[tuple[str, float, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __getitem__(self, measure: str) -> float:
        """One of the numbers: fit["Pearson correlation"]."""
        return float(self.numbers.sel(measure=measure).values)

    def plot(self, ax: Any = None) -> Any:
        """The Axes with a point per cell, exact effect across and estimate up, and the line where
        the two are equal.
        """
        from interp import plots

        words = dict(
            x_name=f"exact ({self.unit})", y_name=f"estimate ({self.unit})", title=self.numbers.name
        )
        return plots.scatter(self.exact, self.estimate, self.labels, ax=ax, equal=True, **words)

    def _lines(self) -> list[tuple[str, str, str, str]]:
        return [(label, _signed(x), _signed(y), f"{rank:g}") for label, x, y, rank in self.missed]

    def _off(self) -> list[tuple[str, str, str, str]]:
        return [(label, _signed(x), _signed(y), _signed(y - x)) for label, x, y in self.farthest]

    def _numbers(self) -> list[tuple[str, str]]:
        both = zip(self.numbers.coords["measure"], self.numbers.values)
        return [(name, "none" if np.isnan(v) else _signed(v)) for name, v in both]

    def __repr__(self) -> str:
        wide = max(map(len, self.numbers.coords["measure"]))
        numbers = [f"{m:<{wide}}  {v}" for m, v in self._numbers()]
        rows = [f"  {a}: exact {x}, estimate {y}, rank {rank}" for a, x, y, rank in self._lines()]
        missed = ["missed:", *rows] if rows else ["missed: none"]
        off = [f"  {a}: exact {x}, estimate {y}, error {z}" for a, x, y, z in self._off()]
        farthest = ["farthest off:", *off] if off else []
        head = f"{self.numbers.name} ({self.unit}, {len(self.labels)} cells)"
        notes = [f"note: {note}" for note in self.notes]
        return "\n".join([head, *numbers, *missed, *farthest, *notes])

    def _repr_html_(self) -> str:
        def row(cells, tag="td"):
            return "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"

        def table(head, rows):
            return f"<table>{row(head, 'th')}{''.join(map(row, rows))}</table>" if rows else ""

        numbers = "".join(map(row, self._numbers()))
        missed = table(("missed", "exact", "estimate", "rank"), self._lines())
        farthest = table(("farthest off", "exact", "estimate", "error"), self._off())
        caption = escape(f"{self.numbers.name} ({self.unit}, {len(self.labels)} cells)")
        notes = "".join(f"<div><small>note: {escape(note)}</small></div>" for note in self.notes)
        none = "" if missed else "<div>none missed</div>"
        return (
            f"<div><table>{numbers}</table>{missed}{none}{farthest}<small>{caption}</small>"
            f"{notes}</div>"
        )


def attribution_error(exact: Result, estimate: Result, top: int = 10) -> Fit:
    """How far an estimate is from exact effects, cell by cell, and which top cells it missed.

    Example:
        >>> exact, estimate = patch(model, task, "L*H*"), attribution_patch(model, task, "L*H*")
        >>> attribution_error(exact, estimate)                # prints; .plot() draws the points

    Args:
        exact: The exact effects, from `patch`.
        estimate: The estimate, with the same axes, labels and unit (for a part of a long sweep use
            `.sel` on each). An estimate without a sign ("atp*") is compared with the exact effects'
            sizes, taken prompt by prompt before their mean.
        top: How many of the largest exact cells are looked for among the estimate's largest.

    Returns:
        A Fit: Pearson and Spearman correlation; the slope of the least-squares line of estimate on
        exact (1: the right size on average, below 1: too small); the root mean square error in the
        effects' unit; the share of the exact `top` cells among the estimate's `top`, and the share
        that a random order would find. Equal sizes share a place in the top by chance, so a tie
        earns what chance gives it. Left out are cells without a number in one of the two, and cells
        that are exactly zero in both, which agree whatever the method is (positions before the
        first token that differs). A correlation without variation is NaN, and a note says why.

    Raises:
        ValueError: If the two are not on the same cells, answer different questions, or are given
            the wrong way round.
    """
    _check_order(exact, estimate)
    size = estimate.unit.endswith(SIZE_ONLY)
    _same(exact, estimate, size)
    if top < 1:
        raise ValueError(f"top={top} compares no cells (try top=10)")
    x, y = (_sizes(exact) if size else exact.values).ravel(), estimate.values.ravel()
    known = ~(np.isnan(x) | np.isnan(y))
    zero = known & (x == 0) & (y == 0)
    valid = np.flatnonzero(known & ~zero)
    if len(valid) == 0:
        why = (
            "every cell is exactly zero in both" if known.any() else "no cell has a number in both"
        )
        raise ValueError(f"{why} in both results: there is nothing to compare")
    x, y, every = x[valid], y[valid], exact.labels()
    labels, k = [every[i] for i in valid], min(top, int((x != 0).sum()))
    first, second = _in_top(x, k), _in_top(y, k)
    ranks = rankdata(-np.abs(y))
    largest = np.argsort(-np.abs(x), kind="stable")[:k]
    missed = [
        (labels[i], float(x[i]), float(y[i]), float(ranks[i])) for i in largest if second[i] < 1
    ]
    off = np.argsort(-np.abs(y - x), kind="stable")[:FARTHEST]
    farthest = [(labels[i], float(x[i]), float(y[i])) for i in off if y[i] != x[i]]
    numbers = {
        "Pearson correlation": _correlation(x, y),
        "Spearman correlation": _correlation(rankdata(x), rankdata(y)),
        "slope": float(np.cov(x, y, ddof=0)[0, 1] / x.var()) if _varies(x) else float("nan"),
        "root mean square error": float(np.sqrt(np.mean((y - x) ** 2))),
        f"share of the top {k} found": float(first @ second / k) if k else float("nan"),
        "share found by chance": k / len(valid),
    }
    metadata = {**estimate.metadata, "top": k, "cells": len(valid), "zero in both": int(zero.sum())}
    unit = estimate.unit
    result = Result(
        np.array(list(numbers.values())),
        ("measure",),
        {"measure": list(numbers)},
        f"{estimate.name}, against patching",
        f"correlation, share, or {unit}",
        metadata,
    )
    return Fit(result, labels, x, y, missed, unit, farthest, _notes(x, y, k, top, int(zero.sum())))


def _check_order(exact: Result, estimate: Result) -> None:
    """Raises ValueError where the estimate stands first and what it estimates second."""
    estimated = [str(r.metadata.get("method")).startswith(ESTIMATED) for r in (exact, estimate)]
    if estimated == [True, False]:
        raise ValueError(
            f"{exact.name!r} is an estimate and {estimate.name!r} is not: the exact effects come"
            " first, attribution_error(interp.patch(...), interp.attribution_patch(...))"
        )


def _in_top(values: np.ndarray, k: int) -> np.ndarray:
    """How likely each cell is among the k largest in size, where equals are put in any order."""
    size = np.abs(values)
    least = np.sort(size)[-k] if k else np.inf
    above, equal = size > least, size == least
    return above + equal * ((k - above.sum()) / max(1, equal.sum()))


def _notes(x: np.ndarray, y: np.ndarray, k: int, top: int, zero: int) -> list[str]:
    """What has to be known to read the numbers."""
    notes = []
    for name, values in (("exact effect", x), ("estimate", y)):
        if not _varies(values):
            what = "correlation" if name == "estimate" else "correlation and no slope"
            notes.append(f"the {name} is {values[0]:.3g} in every cell: there is no {what}")
    if k < min(top, len(x)):
        notes.append(f"{k} cells have an exact effect that is not zero, so top is {k}")
    if zero:
        notes.append(f"{zero} cells that are exactly zero in both are left out")
    return notes


def _signed(x: float) -> str:
    return f"{x:+.3f}" if 0.01 <= abs(x) < 1000 or x == 0 else f"{x:+.3g}"


def _same(exact: Result, estimate: Result, size: bool) -> None:
    """Raises ValueError unless the two results are on the same cells and answer one question."""
    if exact.dims != estimate.dims or exact.coords != estimate.coords:
        raise ValueError(
            f"the exact effects are on {exact.dims} {exact.values.shape}, the estimate on"
            f" {estimate.dims} {estimate.values.shape}: take the same cells of both (try"
            " .sel(layer=[8, 9]) on each)"
        )
    if estimate.unit.removesuffix(SIZE_ONLY) != exact.unit:
        raise ValueError(
            f"the exact effects are in {exact.unit!r}, the estimate in {estimate.unit!r}: ask for"
            " one unit"
        )
    directions = [
        d
        for r in (exact, estimate)
        for d in ("denoising", "noising")
        if f" {d}" in str(r.metadata.get("method"))
    ]
    if len(set(directions)) > 1:
        raise ValueError(
            "one result is of denoising and the other of noising: they answer different questions"
        )
    if exact.unit.startswith("fraction") and "noising" in directions:
        raise ValueError(
            "as a fraction, noising is 1 where nothing changes: compare in the metric's own unit"
        )
    if size and exact.examples is None:
        raise ValueError("sizes are taken prompt by prompt, and the exact effects kept no examples")


def _sizes(exact: Result) -> np.ndarray:
    return np.abs(exact.examples).mean(-1)


def _varies(x: np.ndarray) -> bool:
    return bool(np.ptp(x) > 0)


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if _varies(x) and _varies(y) else float("nan")
