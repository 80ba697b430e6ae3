"""Dictionaries as points: latents on against a measure of `evaluate`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from interp import plots
from interp.features.evaluation.measures import MEASURES
from interp.results import Result


def pareto(results: Result | Sequence[Result], *, y: str = "loss recovered", ax: Any = None) -> Any:
    """The Axes with dictionaries as points: latents on against a measure.

    Up and to the left is better.

    Example:
        >>> dictionaries = [small, large, *features.baselines(acts, k=32)]
        >>> features.pareto(features.evaluate(model, dictionaries))

    Args:
        results: What `evaluate` returned, once or several times.
        y: The measure on the vertical axis.
        ax: Existing Axes to draw into.

    Returns:
        Matplotlib's Axes.
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
        x_name="latents on (per token)",
        y_name=f"{y} ({MEASURES[y]})",
        title=title,
        top=len(points),
        ax=ax,
    )
