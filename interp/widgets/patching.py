"""The patching explorer: clean and corrupted prompt, a map that fills in, and what one patch does
to the predictions.
"""

from collections.abc import Callable, Iterator
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


NONE = {"clean": "", "corrupted": "", "answer": "", "wrong": ""}  # no typed pair


def _shown_prompt(widget: Any) -> int | str | None:
    if widget.own:
        return widget.clean or None
    return None if widget.prompt == -1 else widget.prompt


def _show_prompt(widget: Any, value: int | str) -> dict[str, Any] | None:
    if isinstance(
        value, str
    ):  # where there is a task, a text alone has no other to compare it with
        free = not widget.metadata["prompts"] and value != widget.clean
        return {"clean": value, "answer": "", "wrong": ""} if free else None
    return {**NONE, "prompt": value} if value < len(widget.metadata["prompts"]) else None


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
        "prompt": Shared(("prompt", "clean"), _shown_prompt, _show_prompt),
        "head": Shared(("cell", "site"), _shown_head, _show_head),
        "token": Shared(("cell", "site"), _shown_token, lambda widget, value: None),
    }
    inputs = ("site", "direction", "prompt", "clean", "corrupted", "answer", "wrong")
    answers = {
        "pair": ("prompt", "clean", "corrupted", "answer", "wrong"),
        "prediction": (*inputs, "cell"),
    }
    kept = ("cell",)
    slow = True
    site = t.Unicode("resid_pre").tag(sync=True)
    direction = t.Unicode("denoising").tag(sync=True)
    prompt = t.Int(0).tag(sync=True)
    clean, corrupted = t.Unicode("").tag(sync=True), t.Unicode("").tag(sync=True)
    answer, wrong = t.Unicode("").tag(sync=True), t.Unicode("").tag(sync=True)
    cell = t.List(t.Int()).tag(sync=True)
    pair = t.Dict().tag(sync=True)  # the two prompts that are shown: tokens, where they differ
    prediction = t.Dict().tag(sync=True)
    metadata = t.Dict().tag(sync=True)

    def __init__(
        self,
        ready: runs.Runs | None,
        of_pair: Callable[[runs.Pair], runs.Runs],
        metadata: dict[str, Any],
        **traits: Any,
    ) -> None:
        self._runs, self._of_pair, self._result = ready, of_pair, None
        self._done: dict[tuple, tuple[dict, Result]] = {}  # maps that are finished
        title = f"{metadata['title']} · activation patching"
        super().__init__(**{"metadata": metadata, "title": title, **traits})
        self.observe(self._click, ["cell"])

    @property
    def own(self) -> bool:
        """Whether a typed pair is shown, and not a prompt of the task."""
        return self._runs is None or any((self.clean, self.corrupted))

    def _typed(self) -> runs.Pair | None:
        return runs.Pair(self.clean, self.corrupted, self.answer, self.wrong) if self.own else None

    def _ready(self, pair: runs.Pair | None) -> runs.Runs:
        """The callables for a typed pair, or for the task; in the worker."""
        return self._of_pair(pair) if pair is not None or self._runs is None else self._runs

    def _ask(self) -> None:
        site, direction, pair = self.site, self.direction, self._typed()
        prompt = self.prompt if pair is None else 0
        state = self._key()
        if site not in runs.SITES:
            raise unknown("site to patch", site, runs.SITES, "site='resid_pre'")
        if direction not in DIRECTIONS:
            raise unknown("direction", direction, DIRECTIONS, "direction='noising'")
        if pair is None and (self.answer or self.wrong):
            raise ValueError(
                "answer and wrong belong to a typed pair: give clean and corrupted, too, or make a"
                " task with interp.tasks.pairs(model, clean=[...], corrupted=[...], answers=[...],"
                " wrong=[...])"
            )
        if pair is None and not -1 <= prompt < len(self.metadata["prompts"]):
            raise ValueError(
                f"prompt={prompt}: the task has prompts 0 to {len(self.metadata['prompts']) - 1},"
                " and -1 is all of them"
            )
        self._result = None
        if pair is None:
            self._give("pair", self.metadata["prompts"][max(prompt, 0)])
        if state not in self._done:
            self._give("reply", {"values": [], "done": 0, "of": self.metadata["layers"]})

        def job(stale: Callable[[], bool]) -> Iterator[dict | tuple[dict, Result]]:
            ready = self._ready(pair)
            if pair is not None:
                yield ready.metadata["prompts"][0]
            if state in self._done:
                yield self._done[state]
            else:
                yield from ready.map(site, direction, prompt, stale)

        self._work(job, self._show)
        self._click()

    def _key(self) -> tuple:
        return self.site, self.direction, self.prompt, self._typed(), self.weights

    def _show(self, update: dict | tuple[dict, Result]) -> None:
        if isinstance(update, dict):
            self._give("pair", update)
            self._click()
            return
        shown, self._result = update
        self._give("reply", shown)
        if shown["done"] == shown["of"]:
            self._done[self._key()] = update

    def _click(self, change: Any = None) -> None:
        """A cell was chosen, or the map is another one now."""
        cell, site, direction, pair = list(self.cell), self.site, self.direction, self._typed()
        prompt = self.prompt if pair is None else 0
        self.python = self.code
        if cell and not self.fits("pair"):  # the prompts come first, and then this is asked again
            return
        wide = self.metadata["heads"] if site == "heads" else len(self.pair.get("clean", ()))
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

        def job(stale: Callable[[], bool]) -> dict:
            return self._ready(pair).cell(site, direction, prompt, cell)

        self._work(job, show, lane="cell")

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
        own, free = self.own, self._runs is None
        state: dict[str, Any] = {"site": self.site, "direction": self.direction}
        state |= {} if own else {"prompt": self.prompt}
        if own:
            typed = {name: getattr(self, name) for name in NONE}
            state |= {name: text for name, text in typed.items() if text}
            if free:
                state.pop("clean", None)
        if self.cell:
            state["cell"] = list(self.cell)
        options = ", ".join(f"{name}={value!r}" for name, value in state.items())
        given = repr(self.clean) if free else "task"
        made = f"interp.widgets.patching(model, {given}, {options}{metric})"
        some = "task" if own or self.prompt == -1 else f"task[{self.prompt}]"
        pattern = runs.SITES[self.site][0] if self.site in runs.SITES else self.site
        direction = f"direction={self.direction!r}{metric}"
        if own:
            if not self.fits("pair"):
                return made
            words = {"clean": self.clean, "corrupted": self.corrupted}
            words |= {"answers": self.pair["answer"], "wrong": self.pair["wrong"]}
            given = ", ".join(f"{name}=[{text!r}]" for name, text in words.items())
            made += f"\ntask = interp.tasks.pairs(model, {given})"
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
        which = " / ".join(self.pair["texts"]) if self.own else which
        title = (
            f"{self.metadata['title']} · {which}: {self.direction},"
            f" {runs.SITES[self.site][1]}{partly}"
        )
        marks = {}
        if self.cell:
            said = runs.name_of(self.site, list(self.cell))
            if self.fits("prediction"):
                before, after = self.prediction["before"], self.prediction["after"]
                said += f": {self.pair['metric']} {before:.2f} to {after:.2f}"
            marks[said] = [tuple(result.coords[d][i] for d, i in zip(result.dims, self.cell))]
        result.plot(figure.subplots(), title=title, marks=marks)


def patching(
    model: Model, prompt_or_task: Any, *, metric: str | None = None, **state: Any
) -> PatchingWidget:
    """A widget of activation patching: which sites tell the clean prompt from the corrupted one.

    The map is that of `interp.patch`, coarse first, and is shown while it is computed: `.wait()`
    for it where the saved notebook should hold the finished picture. A click on a cell shows the
    predictions before and after that patch. `.value` is the Result, `.prediction` what the patch of
    the chosen cell does to the next token. A pair of one's own can be typed on the page: a clean
    and a corrupted prompt of as many tokens, and the answers that are compared.

    Example:
        >>> interp.widgets.patching(
        ...     model, "The capital of France is", corrupted="The capital of Italy is"
        ... )
        >>> interp.widgets.patching(model, task)
        >>> interp.widgets.patching(model, task, site="heads", direction="noising", prompt=-1)

    Args:
        model: The model.
        prompt_or_task: A clean prompt as text, or a task with corrupted prompts.
        metric: By name, as in `interp.patch`.
        **state: site ("resid_pre", "attn", "mlp": layer by position; "heads": layer by head, at all
            positions), direction, prompt (-1: the mean over all of them), cell ([layer, column]).
            clean, corrupted: a pair of one's own in place of the task's. answer, wrong: words of
            one token each; if "", the token that is likeliest after the clean prompt, and that
            after the corrupted one.
    """
    own = {"of_pair": runs.of_pairs(model, metric), "model_now": lambda: bridge.ready(model)}
    if isinstance(prompt_or_task, str):
        about = runs.about(model, metric)
        return PatchingWidget(None, metadata=about, **own, **{"clean": prompt_or_task, **state})
    task = task_for(model, prompt_or_task, "interp.widgets.patching", answers=True, compares=True)
    if isinstance(task, MixedTask):
        sizes = list(task.by_length())
        one = "interp.tasks.pairs(..., answer_tokens='first') scores the first"
        if len(sizes) > 1:
            one = f"show those of one, interp.widgets.patching(model, task.by_length()[{sizes[0]}])"
        raise ValueError(f"this map has a column for each position, and {task.why_mixed()}: {one}")
    ready = runs.runs(model, task, metric)
    return PatchingWidget(ready, metadata=ready.metadata, **own, **state)
