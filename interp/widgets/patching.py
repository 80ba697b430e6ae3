"""The patching explorer: clean and corrupted prompt, a map that fills in, and what one patch does
to the predictions.
"""

from typing import Any

import traitlets as t

from interp._errors import unknown
from interp._types import Model
from interp.methods.runs.any_prompts import task_for
from interp.models import bridge
from interp.results import Result
from interp.sites import Site
from interp.tasks.task import MixedTask
from interp.widgets import _patch_runs as runs
from interp.widgets._base import Widget
from interp.widgets._link import Shared

DIRECTIONS = {"denoising": "clean into corrupted", "noising": "corrupted into clean"}


def _show_prompt(widget: Any, value: int | str) -> dict[str, Any] | None:
    there = isinstance(value, int) and value < len(widget.metadata["prompts"])
    return {"prompt": value} if there else None


def _shown_head(widget: Any) -> str | None:
    return "L{}H{}".format(*widget.cell) if widget.site == "heads" and widget.cell else None


def _show_head(widget: Any, value: str) -> dict[str, Any] | None:
    site = Site.parse(value)
    return {"cell": [site.layer, site.index]} if widget.site == "heads" else None


def _shown_token(widget: Any) -> int | None:
    return widget.cell[1] if widget.site != "heads" and widget.cell else None


class PatchingWidget(Widget, files="patch_shapes patching"):
    """See `patching`."""

    shares = {
        "prompt": Shared(("prompt",), lambda w: None if w.prompt == -1 else w.prompt, _show_prompt),
        "head": Shared(("cell", "site"), _shown_head, _show_head),
        "token": Shared(("cell", "site"), _shown_token, lambda widget, value: None),
    }
    inputs = ("site", "direction", "prompt")
    answers = {"prediction": ("site", "direction", "prompt", "cell")}
    kept = ("cell",)
    slow = True
    site = t.Unicode("resid_pre").tag(sync=True)
    direction = t.Unicode("denoising").tag(sync=True)
    prompt = t.Int(0).tag(sync=True)
    cell = t.List(t.Int()).tag(sync=True)
    prediction = t.Dict().tag(sync=True)
    metadata = t.Dict().tag(sync=True)

    def __init__(self, ready: runs.Runs, **traits: Any) -> None:
        self._runs, self._result = ready, None
        self._done: dict[tuple, tuple[dict, Result]] = {}  # maps that are finished
        title = f"{ready.metadata['title']} · activation patching"
        super().__init__(**{"metadata": ready.metadata, "title": title, **traits})
        self.observe(self._click, ["cell"])

    def _ask(self) -> None:
        site, direction, prompt = self.site, self.direction, self.prompt
        state = site, direction, prompt, self.weights
        if site not in runs.SITES:
            raise unknown("site to patch", site, runs.SITES, "site='resid_pre'")
        if direction not in DIRECTIONS:
            raise unknown("direction", direction, DIRECTIONS, "direction='noising'")
        if not -1 <= prompt < len(self.metadata["prompts"]):
            raise ValueError(
                f"prompt={prompt}: the task has prompts 0 to {len(self.metadata['prompts']) - 1},"
                " and -1 is all of them"
            )
        self._result = None
        if state in self._done:
            self._work(lambda stale: self._done[state], self._show)
        else:
            self._give("reply", {"values": [], "done": 0, "of": self.metadata["layers"]})
            self._work(lambda stale: self._runs.map(site, direction, prompt, stale), self._show)
        self._click()

    def _show(self, update: tuple[dict, Result | None]) -> None:
        shown, self._result = update
        state = self.site, self.direction, self.prompt, self.weights
        self._give("reply", shown)
        if shown["done"] == shown["of"]:
            self._done[state] = update

    def _click(self, change: Any = None) -> None:
        """A cell was chosen, or the map is another one now."""
        cell, (site, direction, prompt) = list(self.cell), (self.site, self.direction, self.prompt)
        wide = (
            self.metadata["heads"] if site == "heads" else len(self.metadata["prompts"][0]["clean"])
        )
        self.python = self.code
        if not cell:
            self._stop("cell")
            self._trouble("cell")
            self._give("prediction", {})
            return
        if len(cell) != 2 or not (0 <= cell[0] < self.metadata["layers"] and 0 <= cell[1] < wide):
            if change is None:  # the other map is narrower
                self.cell = []
                return
            self._trouble(
                "cell",
                f"cell={cell}: the map has layers 0 to {self.metadata['layers'] - 1} and columns 0"
                f" to {wide - 1}",
            )
            return

        def show(prediction: dict) -> None:
            name = runs.name_of(site, cell)
            self._give("prediction", {"cell": cell, "name": name, **prediction})

        self._work(lambda stale: self._runs.cell(site, direction, prompt, cell), show, lane="cell")

    @property
    def value(self) -> Result:
        """The finished map: what `interp.patch` gives; waits for it."""
        self.wait()
        if not self.fits() or self._result is None or self.reply["done"] < self.reply["of"]:
            raise ValueError(self.problem or "the map is not finished")
        return self._result

    @property
    def code(self) -> str:
        """The Python that makes this widget again, the map, and the run of the chosen cell."""
        metric = f", metric={self.metadata['asked']!r}" if self.metadata["asked"] else ""
        state = {"site": self.site, "direction": self.direction, "prompt": self.prompt}
        if self.cell:
            state["cell"] = list(self.cell)
        options = ", ".join(f"{name}={value!r}" for name, value in state.items())
        made = f"interp.widgets.patching(model, task, {options}{metric})"
        some = "task" if self.prompt == -1 else f"task[{self.prompt}]"
        pattern = runs.SITES[self.site][0] if self.site in runs.SITES else self.site
        direction = f"direction={self.direction!r}{metric}"
        call = f"{made}\ninterp.patch(model, {some}, {pattern!r}, {direction})"
        if self.cell:
            name = runs.name_of(self.site, list(self.cell))
            call += (
                f"\nbefore, patched = interp.methods.patching.patched_logits(model, {some},"
                f" {self.direction!r})\npatched({name!r}) - before"
            )
        return call

    def __repr__(self) -> str:
        return (
            f"<patching explorer: {self.direction} {self.site}, {self.reply.get('done', 0)} of"
            f" {self.metadata['layers']} layers>"
        )

    def _draw(self, figure: Any) -> None:
        result, layers = self._result if self.fits() else None, self.metadata["layers"]
        if result is None:
            figure.set_size_inches(7, 0.6)
            figure.text(
                0.01,
                0.5,
                f"{self.metadata['title']}: the map was still being computed",
                va="center",
                fontsize=9,
            )
            return
        figure.set_size_inches(
            min(11.0, 2.4 + 0.42 * result.values.shape[1]), min(9.0, 1.9 + 0.2 * layers)
        )
        partly = (
            "" if self.reply["done"] == layers else f" ({self.reply['done']} of {layers} layers)"
        )
        count = len(self.metadata["prompts"])
        which = f"mean of {count} prompts" if self.prompt == -1 else f"prompt {self.prompt + 1}"
        title = (
            f"{self.metadata['title']} · {which}: {self.direction},"
            f" {runs.SITES[self.site][1]}{partly}"
        )
        marks = {}
        if self.cell:
            said = runs.name_of(self.site, list(self.cell))
            if self.fits("prediction"):
                before, after = self.prediction["before"], self.prediction["after"]
                said += f": {self.metadata['metric']} {before:.2f} to {after:.2f}"
            marks[said] = [tuple(result.coords[d][i] for d, i in zip(result.dims, self.cell))]
        result.plot(figure.subplots(), title=title, marks=marks)


def patching(model: Model, task: Any, *, metric: str | None = None, **state: Any) -> PatchingWidget:
    """A widget of activation patching: which sites tell the clean prompt from the corrupted one.

    The map is that of `interp.patch`, coarse first, and is shown while it is computed: `.wait()`
    for it where the saved notebook should hold the finished picture. A click on a cell shows the
    predictions before and after that patch. `.value` is the Result, `.prediction` what the patch of
    the chosen cell does to the next token.

    Example:
        >>> interp.widgets.patching(model, task)
        >>> interp.widgets.patching(model, task, site="heads", direction="noising", prompt=-1)

    Args:
        model: The model.
        task: A task with corrupted prompts.
        metric: By name, as in `interp.patch`.
        **state: site ("resid_pre", "attn", "mlp": layer by position; "heads": layer by head, at all
            positions), direction, prompt (-1: the mean over all of them), cell ([layer, column]).
    """
    task = task_for(model, task, "interp.widgets.patching", answers=True, compares=True)
    if isinstance(task, MixedTask):
        sizes = list(task.by_length())
        one = "interp.tasks.pairs(..., answer_tokens='first') scores the first"
        if len(sizes) > 1:
            one = f"show those of one, interp.widgets.patching(model, task.by_length()[{sizes[0]}])"
        raise ValueError(f"this map has a column for each position, and {task.why_mixed()}: {one}")
    now = {"model_now": lambda: bridge.ready(model)}
    return PatchingWidget(runs.runs(model, task, metric), **now, **state)
