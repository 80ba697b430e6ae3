"""A measure over training: drag through the checkpoints and see it form."""

from typing import Any

import numpy as np
import traitlets as t

from interp._errors import unknown
from interp.results import Result
from interp.widgets._base import Widget
from interp.widgets._link import STEP

LINES = 8  # as many cells are drawn as curves; more are a map beside their mean
MOST = 400_000  # numbers that the page is given


class TrainingWidget(Widget, files="training"):
    """The widget; see `training`. step: the checkpoint that is shown; set it from Python or on the
    page.
    """

    shares = {"step": STEP}
    inputs = ("step",)
    step = t.Int(0).tag(sync=True)
    steps = t.List().tag(sync=True)
    curves, low, high = t.List().tag(sync=True), t.List().tag(sync=True), t.List().tag(sync=True)
    labels = t.List().tag(sync=True)
    maps = t.List().tag(sync=True)
    axes, ticks = t.List().tag(sync=True), t.List().tag(sync=True)
    name, unit = t.Unicode().tag(sync=True), t.Unicode().tag(sync=True)

    def __init__(self, result: Result, **traits: Any) -> None:
        self._result, seeds = result, _seeds_last(result)
        means = seeds.mean(-1)  # over seeds
        rest = tuple(d for d in result.dims if d not in ("seed", "step"))
        flat = means.reshape(len(means), -1)
        few = flat.shape[1] <= LINES
        shown = flat if few else flat.mean(1, keepdims=True)
        each = seeds.reshape(len(means), -1, seeds.shape[-1])
        each = each if few else each.mean(1, keepdims=True)

        def label(d, i):
            return c if isinstance(c := result.coords[d][i], str) else f"{d} {c}"

        names = (
            [", ".join(map(label, rest, at)) for at in np.ndindex(means.shape[1:])]
            if few
            else ["mean of all cells"]
        )
        grid = [] if few or len(rest) != 2 else means.tolist()
        steps = [int(s) for s in result.coords["step"]]
        super().__init__(
            steps=steps,
            labels=[n or result.name for n in names],
            curves=shown.T.tolist(),
            low=each.min(-1).T.tolist(),
            high=each.max(-1).T.tolist(),
            maps=grid,
            axes=list(rest) if grid else [],
            ticks=[[str(c) for c in result.coords[d]] for d in rest] if grid else [],
            name=result.name,
            unit=result.unit,
            **{"step": steps[-1], **traits},
        )

    def _ask(self) -> None:
        if self.step not in self.steps:
            known = ", ".join(map(str, self.steps[:8])) + (", ..." if len(self.steps) > 8 else "")
            nearest = min(self.steps, key=self._distance)
            raise ValueError(
                f"step={self.step}: there are checkpoints at {known}; the nearest is {nearest}"
            )
        self._trouble("main")
        self._give("reply", {})
        self.answered = self.asked

    def _distance(self, step: int) -> int:
        return abs(step - self.step)

    @property
    def value(self) -> Result:
        """The measure at the checkpoint that is shown; of several seeds, with their axis."""
        return self._result.sel(step=self.step)

    @property
    def code(self) -> str:
        """The Python that gives what is shown."""
        return f"interp.widgets.training(result, step={self.step})\nresult.sel(step={self.step})"

    def _draw(self, figure: Any) -> None:

        rows = 2 if self.maps else 1
        figure.set_size_inches(7.5, 2.8 * rows)
        ax = figure.add_subplot(rows, 1, 1)
        for number, (label, curve) in enumerate(zip(self.labels, self.curves)):
            (line,) = ax.plot(self.steps, curve, marker="o", markersize=3, label=label)
            if self._result.dims[0] == "seed":
                ax.fill_between(
                    self.steps,
                    self.low[number],
                    self.high[number],
                    color=line.get_color(),
                    alpha=0.2,
                    linewidth=0,
                )
        ax.axvline(self.step, color="0.4", linestyle=":")
        ax.set_xscale("symlog", linthresh=max(1, self.steps[1] if len(self.steps) > 1 else 1))
        (
            ax.set_xlabel("training step"),
            ax.set_ylabel(self.unit),
            ax.set_title(f"{self.name}; step {self.step} marked"),
        )
        ax.legend(fontsize=8)
        if self.maps:
            at = self._result.sel(step=self.step)
            (at.mean("seed") if "seed" in at.dims else at).plot(
                figure.add_subplot(rows, 1, 2), title=f"{self.name} at step {self.step}"
            )

    def __repr__(self) -> str:
        return f"<training widget: {self.name}, step {self.step} of {self.steps[-1]}>"


def training(result: Result, **state: Any) -> TrainingWidget:
    """A widget that goes through training: curves, and a map at the chosen checkpoint.

    `.value` is the Result at that step.

    Example:
        >>> run = interp.toys.load_or_train("induction")
        >>> heads = interp.toys.over_training(
        ...     run, lambda model: interp.head_scores(model, "induction", length=12)
        ... )
        >>> interp.widgets.training(heads.sel(score="induction"), step=run.steps[12])

    Args:
        result: From `interp.toys.over_training`, or any Result with an axis "step" (and, first,
            "seed": the mean is drawn, with the range of the seeds). Up to 8 cells per step are
            curves; two axes with more are a map, beside the mean of all cells.
        **state: step.

    Raises:
        ValueError: If there is no axis "step", or there are more numbers than a page can hold.
    """
    if not isinstance(result, Result) or "step" not in result.dims:
        given = f"axes {result.dims}" if isinstance(result, Result) else type(result).__name__
        raise ValueError(
            f"a Result with an axis 'step' is needed, got {given} (try"
            " interp.toys.over_training(run, measure))"
        )
    if result.values.size > MOST:
        raise ValueError(
            f"{result.values.size} numbers are more than the {MOST} that a page is given: measure"
            " fewer checkpoints (steps=[...])"
        )
    rest = [d for d in result.dims if d not in ("seed", "step")]
    cells = result.values.size // len(result.coords["step"]) // len(result.coords.get("seed", [0]))
    if cells > LINES and len(rest) != 2:
        raise ValueError(
            f"{cells} cells a step over {rest or 'no axes'}: at most {LINES} are curves, and a map"
            " has two axes (try result.sel(...) first)"
        )
    unknown_traits = set(state) - {"step"}
    if unknown_traits:
        last = result.coords["step"][-1]
        raise unknown("state", unknown_traits.pop(), ["step"], f"training(result, step={last})")
    return TrainingWidget(result, **state)


def _seeds_last(result: Result) -> np.ndarray:
    """The values [step ... seed]."""
    values = np.asarray(result.values, dtype=float)
    dims = list(result.dims)
    if "seed" not in dims:
        values, dims = values[..., None], [*dims, "seed"]
    order = ["step", *(d for d in dims if d not in ("seed", "step")), "seed"]
    return values.transpose([dims.index(d) for d in order])
