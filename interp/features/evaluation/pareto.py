"""Dictionaries as points: latents on against a measure of `evaluate`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from interp import plots
from interp.features.evaluation.measures import MEASURES
from interp.results import Result


def pareto(results: Result | Sequence[Result], *, y: str = "loss recovered", ax: Any = None) -> Any:
    """The Axes with dictionaries as points: latents on against a measure, up and to the left is
    better.

    Example:
        >>> features.pareto(features.evaluate(model, [small, large, *features.baselines(acts, k=32)]))
    """
    points: list[tuple[str, float, float]] = []
    for result in [results] if isinstance(results, Result) else results:
        chosen = result.sel(measure=["latents on", y])
        values = chosen.values if chosen.values.ndim == 2 else chosen.values[None]
        points += [
            (name, *map(float, v))
            for name, v in zip(result.coords.get("dictionary", [result.name]), values)
        ]
    names, x, height = zip(*points)
    shown = results if isinstance(results, Result) else results[0]
    title = f"{shown.metadata['site']}, {shown.metadata['tokens']:,} tokens"
    return plots.scatter(
        np.array(x),
        np.array(height),
        names,
        x_name="latents on (a token)",
        y_name=f"{y} ({MEASURES[y]})",
        title=title,
        top=len(points),
        ax=ax,
    )
