"""How good an estimate is, cell by cell: attribution patching against patching itself."""

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from scipy.stats import rankdata

from interp.methods.patching.attribution_patch import SIZE_ONLY
from interp.results import Result


@dataclass(frozen=True, eq=False)
class Fit:
    """An estimate beside the exact effects: the numbers, the points, and the missed cells.

    Attributes:
        numbers: A Result on the axis "measure".
        labels: The cells compared.
        exact: Their exact effects.
        estimate: Their estimates.
        missed: The exact top cells that are not in the estimate's top, as (label, exact, estimate,
            rank in the estimate), largest first.
        unit: Of the effects.
    """

    numbers: Result
    labels: list[str]
    exact: np.ndarray
    estimate: np.ndarray
    missed: list[tuple[str, float, float, int]]
    unit: str

    def __getitem__(self, measure: str) -> float:
        """One of the numbers: fit["Pearson correlation"]."""
        return float(self.numbers.sel(measure=measure).values)

    def plot(self, ax: Any = None) -> Any:
        """The Axes with a point per cell: exact effect across, estimate up."""
        from interp import plots

        words = dict(
            x_name=f"exact ({self.unit})", y_name=f"estimate ({self.unit})", title=self.numbers.name
        )
        return plots.scatter(self.exact, self.estimate, self.labels, ax=ax, **words)

    def _lines(self) -> list[tuple[str, str, str, str]]:
        return [(label, f"{x:+.3f}", f"{y:+.3f}", str(rank)) for label, x, y, rank in self.missed]

    def __repr__(self) -> str:
        wide = max(map(len, self.numbers.coords["measure"]))
        numbers = [
            f"{m:<{wide}}  {v:+.3f}"
            for m, v in zip(self.numbers.coords["measure"], self.numbers.values)
        ]
        rows = [f"  {a}: exact {x}, estimate {y}, rank {rank}" for a, x, y, rank in self._lines()]
        missed = ["missed:", *rows] if rows else ["missed: none"]
        return "\n".join(
            [f"{self.numbers.name} ({self.unit}, {len(self.labels)} cells)", *numbers, *missed]
        )

    def _repr_html_(self) -> str:
        def row(cells, tag="td"):
            return "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"

        numbers = "".join(
            row((m, f"{v:+.3f}"))
            for m, v in zip(self.numbers.coords["measure"], self.numbers.values)
        )
        head = row(("missed", "exact", "estimate", "rank"), "th")
        missed = (
            f"<table>{head}{''.join(map(row, self._lines()))}</table>"
            if self.missed
            else "<div>none missed</div>"
        )
        caption = (
            f"<small>{escape(self.numbers.name)} ({escape(self.unit)}, {len(self.labels)}"
            " cells)</small>"
        )
        return f"<div><table>{numbers}</table>{missed}{caption}</div>"


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
        effects' unit; the share of the exact `top` cells among the estimate's `top`. Cells without
        a number in one of the two are left out. A correlation without variation is NaN.

    Raises:
        ValueError: If the two are not on the same cells, or answer different questions.
    """
    size = estimate.unit.endswith(SIZE_ONLY)
    _same(exact, estimate, size)
    if top < 1:
        raise ValueError(f"top={top} compares no cells (try top=10)")
    x, y = (_sizes(exact) if size else exact.values).ravel(), estimate.values.ravel()
    valid = np.flatnonzero(~(np.isnan(x) | np.isnan(y)))
    if len(valid) == 0:
        raise ValueError("no cell has a number in both results: there is nothing to compare")
    x, y, every = x[valid], y[valid], exact.labels()
    labels, k = [every[i] for i in valid], min(top, len(valid))
    first, second = (np.argsort(-np.abs(v), kind="stable") for v in (x, y))
    rank = {int(cell): place + 1 for place, cell in enumerate(second)}
    missed = [
        (labels[i], float(x[i]), float(y[i]), rank[i]) for i in map(int, first[:k]) if rank[i] > k
    ]
    numbers = {
        "Pearson correlation": _correlation(x, y),
        "Spearman correlation": _correlation(rankdata(x), rankdata(y)),
        "slope": float(np.cov(x, y, ddof=0)[0, 1] / x.var()) if _varies(x) else float("nan"),
        "root mean square error": float(np.sqrt(np.mean((y - x) ** 2))),
        f"share of the top {k} found": 1 - len(missed) / k,
    }
    metadata = {**estimate.metadata, "top": k, "cells": len(valid)}
    unit = estimate.unit
    result = Result(
        np.array(list(numbers.values())),
        ("measure",),
        {"measure": list(numbers)},
        f"{estimate.name}, against patching",
        f"correlation, share, or {unit}",
        metadata,
    )
    return Fit(result, labels, x, y, missed, unit)


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
