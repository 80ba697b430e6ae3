"""Heads ablated with the mouse: a layer x head grid, and beside it what the model then says."""

import string
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Any

import numpy as np
import torch
import traitlets as t

from interp import plots
from interp._errors import unknown
from interp._files import short_reason
from interp._numbers import to_numpy
from interp._types import Model
from interp.dims import Dims
from interp.methods.ablation.ablate import ablate
from interp.methods.attention.attention_patterns import token_labels
from interp.methods.attention.head_scores import SCORES, head_scores
from interp.methods.lenses.logit_attribution import logit_attribution
from interp.methods.patching.patch import patch
from interp.models import bridge
from interp.models.state import weights_hash
from interp.results import Result
from interp.sites import Site
from interp.widgets import _head_runs as runs
from interp.widgets._base import Widget
from interp.widgets._head_names import Heads, heads_of, patterns_of, text_of
from interp.widgets._link import Shared
from interp.widgets._next_tokens import bars as bar_chart
from interp.widgets._prompts import split
from interp.widgets._prompts import title as title_of

COLOUR_SCORES = ("previous-token", "duplicate-token", "induction")
PROMPTS = 8  # of a task, unless asked otherwise: what a mean over them costs is paid at every click
SHARED_WAYS = ("mean", "zero")  # to ablate, that other widgets show too
PINS = 4  # states kept to compare
LISTED = 8  # heads that are named, those whose ablation changes most
ESTIMATE = "estimated ablation"
DIRECT = "direct effect"
MEAN = -1  # in place of a prompt's number: the mean over all


def _shown_prompt(widget: Any) -> int | str | None:
    if widget.free:
        return widget.text or None
    return widget.prompt if widget.prompt != MEAN else None


def _show_prompt(widget: Any, value: int | str) -> dict[str, Any] | None:
    if isinstance(value, str):
        return {"text": value} if widget.free else None
    return {"prompt": value} if not widget.free and value < widget.count else None


def _show_head(widget: Any, value: str) -> dict[str, Any] | None:
    site = Site.parse(value)
    there = site.layer < widget.n_layers and site.index < widget.n_heads
    return {"pointer": [site.layer, site.index]} if there else None


def _shown_ablated(widget: Any) -> tuple[str, str] | None:
    """The ablated heads as text, and how."""
    if widget.by not in SHARED_WAYS:
        return None
    return text_of(widget._ablated(), widget._dims), widget.by


def _show_ablated(widget: Any, value: tuple[str, str]) -> dict[str, Any]:
    heads, by = value
    return {"heads": heads, "by": by, "keep": False}


class HeadsWidget(Widget, files="next_tokens heads"):
    """The head ablation widget; `interp.widgets.heads` makes one. Set traits or use the page, it is
    the same.

    heads: the marked heads as text, "L5H1 L7H* L9KV2"; chosen: the same as [layer, head] pairs.
    keep: True ablates all but the marked. by: "mean", "resample", "scale" (times factor), "zero".
    prompt: which one is shown, -1 the mean. text: the prompt itself, where there is no task.
    pointer: the head whose attention is shown.
    """

    shares = {
        "prompt": Shared(("prompt", "text"), _shown_prompt, _show_prompt),
        "head": Shared(("pointer",), lambda w: "L{}H{}".format(*w.pointer), _show_head),
        "ablated": Shared(("heads", "keep", "by"), _shown_ablated, _show_ablated),
    }
    inputs = ("heads", "chosen", "keep", "by", "factor", "prompt", "text")
    n_layers, n_heads, group = (
        t.Int(1).tag(sync=True),
        t.Int(1).tag(sync=True),
        t.Int(1).tag(sync=True),
    )
    kept = ("pointer", "colour", "pins")
    answers = {
        "colours": ("text", "colour"),
        "likely": ("text",),
        "attention": ("pointer", "chosen", "keep", "by", "factor", "prompt", "text"),
    }
    colours = t.Dict().tag(sync=True)  # the grid's: values [layer * head], name, unit
    likely = t.Dict().tag(
        sync=True
    )  # heads [index, effect] that change most by ablation; or why not
    prompts = t.List().tag(sync=True)
    free = t.Bool(False).tag(sync=True)
    count = t.Int(1)  # of prompts
    heads, chosen = t.Unicode("").tag(sync=True), t.List().tag(sync=True)
    keep = t.Bool(False).tag(sync=True)
    by, factor = t.Unicode("mean").tag(sync=True), t.Float(0.5).tag(sync=True)
    prompt, text = t.Int(0).tag(sync=True), t.Unicode("").tag(sync=True)
    pointer = t.List([0, 0]).tag(sync=True)
    attention = t.Dict().tag(sync=True)
    steps = t.Int(0).tag(sync=True)  # how many there are to undo
    ahead = t.Int(0).tag(sync=True)  # and to do again
    pins = t.List().tag(sync=True)  # states kept to compare, with their numbers
    fingerprint = t.Unicode("").tag(sync=True)  # of the weights, where states are kept
    colour = t.Unicode(DIRECT).tag(sync=True)  # what colours the grid
    palette = t.List().tag(sync=True)  # what can: [name, what it says]

    def __init__(
        self,
        dims: Dims,
        start: Callable[[str], Iterator[dict]],
        compute: Callable,
        look: Callable,
        paint: Callable[[str], dict] | None = None,
        fingerprint: Callable[[], str] = str,
        estimate: Callable[[], Iterator[dict | None]] | None = None,
        **traits: Any,
    ) -> None:
        self._dims, self._start, self._compute, self._look = dims, start, compute, look
        self._paint, self._fingerprint, self._estimate = paint, fingerprint, estimate
        self._past: list[tuple] = []
        self._next: list[tuple] = []
        self._known = ("", (), False)  # heads, chosen, keep as they were last understood
        # the text and the weights that the prompts were prepared for, and whose colours were given
        self._prepared: tuple[str, int] | None = None
        self._ready: tuple[str, int] | None = None
        self._code = ("", "")
        super().__init__(n_layers=dims.n_layers, n_heads=dims.n_heads, group=dims.group, **traits)
        self.observe(self._point, "pointer")
        self.observe(self._colour, "colour")
        self.observe(self._judge_pins, ["pins", "weights"])
        self._judge_pins()
        if self.colour != DIRECT:
            self._colour()
        self.on_msg(self._receive)

    # --- state ------------------------------------------------------------------------------------

    def _ask(self) -> None:
        self._understand()
        runs.check_way(self.by)
        text, prompt, asked = self.text, self.prompt, (self.text, self.weights)
        state = (self._ablated(), self.by, self.factor, prompt)

        def job(stale: Callable[[], bool]) -> Iterator[dict | None]:
            if asked != self._ready:
                for step in self._start(text):
                    if step is not None:
                        self._prepared = asked
                    yield step
                self._ready = asked
            yield from self._compute(*state, stale)

        self._work(job, self._show)

    def _understand(self) -> None:
        """Brings the line of text and the marked heads together, whichever of them changed."""
        heads, chosen, keep = self._known
        if self.heads != heads:
            self._known = (self.heads, chosen, keep)  # reported once, also when it is wrong
            new = sorted(heads_of(self.heads, self._dims))
        else:
            new = sorted({(int(layer), int(head)) for layer, head in self.chosen})
            outside = [
                f"L{layer}H{head}"
                for layer, head in new
                if not (0 <= layer < self.n_layers and 0 <= head < self.n_heads)
            ]
            if outside:
                self.chosen = [list(pair) for pair in chosen]
                raise ValueError(
                    f"no such head: {', '.join(outside[:5])} (layers 0 to {self.n_layers - 1},"
                    f" heads 0 to {self.n_heads - 1})"
                )
        if (tuple(new), self.keep) != (chosen, keep):
            self._past, self._next = [*self._past[-99:], (chosen, keep)], []
        self._known = (text_of(new, self._dims), tuple(new), self.keep)
        with self.hold_sync():
            self.ahead = len(self._next)
            self.steps, self.chosen, self.heads = (
                len(self._past),
                [list(pair) for pair in new],
                self._known[0],
            )

    def undo(self) -> None:
        """Takes the last change of the marked heads back."""
        self._step(self._past, self._next)

    def redo(self) -> None:
        """Makes the change that was taken back again."""
        self._step(self._next, self._past)

    def _step(self, back: list[tuple], forth: list[tuple]) -> None:
        if not back:
            return
        forth.append(self._known[1:])
        chosen, keep = back.pop()
        self._known = (self._known[0], chosen, keep)
        marked = [list(pair) for pair in chosen]
        self.put(keep=keep, chosen=marked, steps=len(self._past), ahead=len(self._next))

    def pin(self) -> None:
        """Keeps what is shown, to compare it with others; the first is A."""
        reply = self.current()
        state = {name: getattr(self, name) for name in ("heads", "keep", "by", "factor", "prompt")}
        shown = {name: reply["shown"][name]["now"] for name in ("prob", "logit_diff")}
        letter = next(
            c for c in string.ascii_uppercase if c not in [p["letter"] for p in self.pins]
        )
        one = {"letter": letter, **state, **shown, "of": self._fingerprint()}
        self.pins = [*self.pins[-(PINS - 1) :], one]

    def _judge_pins(self, change: Any = None) -> None:
        """Finds out which weights the model has, to tell pinned numbers of others."""
        if self.pins:
            find = self._fingerprint

            def show(now: str) -> None:
                self.fingerprint = now

            self._work(lambda stale: find(), show, "pins")

    def _colour(self, change: Any = None) -> None:
        """Computes what colours the grid; the widget stays usable meanwhile."""
        known = [name for name, _ in self.palette]
        if self._paint is None or self.colour not in known:
            error = unknown("colour of the grid", self.colour, known or [DIRECT])
            self._trouble("colour", str(error))
            return
        paint, name, asked = self._paint, self.colour, (self.text, self.weights)

        def job(stale: Callable[[], bool]) -> dict | None:
            # once the prompts are prepared, this is asked again
            return paint(name) if asked == self._prepared else None

        self._work(job, lambda c: self._give("colours", c), "colour")

    def _name_likely(self) -> None:
        """Finds the heads whose ablation changes most; the widget stays usable meanwhile."""
        if self._estimate is not None:
            find = self._estimate
            self._work(lambda stale: find(), lambda found: self._give("likely", found), "likely")

    def _receive(self, widget: Any, message: Any, buffers: Any) -> None:
        do = message.get("do") if isinstance(message, dict) else None
        if do == "undo":
            self.undo()
        elif do == "redo":
            self.redo()
        elif do == "pin" and self.fits():
            self.pin()
        elif do == "unpin":
            self.pins = [one for one in self.pins if one["letter"] != message.get("letter")]
        elif do == "return":
            for one in self.pins:
                if one["letter"] == message.get("letter"):
                    names = ("heads", "keep", "by", "factor", "prompt")
                    self.put(**{name: one[name] for name in names})

    def _ablated(self) -> Heads:
        marked = frozenset((layer, head) for layer, head in self.chosen)
        if not self.keep:
            return marked
        every = product(range(self.n_layers), range(self.n_heads))
        return frozenset(every) - marked

    # --- answers ----------------------------------------------------------------------------------

    def _show(self, update: dict) -> None:
        if "colours" in update:
            if self._paint is None or self.colour == DIRECT == (self._asking or {}).get("colour"):
                self._give("colours", update["colours"])
            else:
                self._colour()
            self.prompts = update["prompts"]
            self._name_likely()
        if "code" in update:
            self._code = update["code"]
        if "reply" in update:
            self._give("reply", {**update["reply"], "count": len(self._ablated())})
            self._point()

    def _point(self, change: Any = None) -> None:
        layer, head = self.pointer
        if (
            not (0 <= layer < self.n_layers and 0 <= head < self.n_heads)
            or self._ready is None
            and not self.reply
        ):
            return
        state = (self._ablated(), self.by, self.factor, self.prompt)
        asked = self.text, self.weights

        def job(stale: Callable[[], bool]) -> dict | None:
            # what is not ready yet asks this again when it is
            return self._look(layer, head, *state) if asked == self._prepared else None

        self._work(job, lambda reply: self._give("attention", reply), "pointer")

    @property
    def values(self) -> list[float | None]:
        """The numbers that colour the grid [layer * head]; None where there is none."""
        return self.colours.get("values", [])

    @property
    def value(self) -> dict[str, Any]:
        """The ablated heads and what the model then says: numbers with the unablated value beside
        them.
        """
        reply = self.current()
        shown = reply["shown"]
        return {
            "heads": [f"L{layer}H{head}" for layer, head in sorted(self._ablated())],
            "by": self.by,
            "prompt": self.prompt,
            "probability of the answer": shown["prob"],
            "logit difference": shown["logit_diff"],
            "mean over the prompts": reply["mean"],
            "next tokens": shown["top"],
        }

    @property
    def code(self) -> str:
        """The Python that makes this widget again, and the verb that gives its number."""
        return self.wait()._program()

    def _program(self) -> str:
        made, judged = self._code
        if not made:
            return ""
        scale = f", factor={self.factor:g}" if self.by == "scale" else ""
        keep = ", keep=True" if self.keep else ""
        text = repr(self.text) if self.free else "task"
        lines = [
            f"interp.widgets.heads(model, {text}, heads={self.heads!r},"
            f" by={self.by!r}{scale}{keep}, prompt={self.prompt})"
        ]
        ablated = self._ablated()
        if ablated:
            reference = judged if self.by in ("mean", "resample") else ""
            at = ".values" if self.prompt == MEAN else f".examples[{self.prompt}]"
            sites = patterns_of(ablated, self._dims)
            if "norm after" in self._dims.variants:  # there a head's z is not what it writes
                sites = [f"{site}.z" for site in sites]
            lines += ["# the change of the logit difference, without a widget:"]
            lines += [
                f"interp.ablate(model, {made}, {sites}, by={self.by!r}{scale}{reference},"
                f' metric="logit_diff"){at}'
            ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        ablated = len(self._ablated())
        by = f" by {self._way()}" if ablated else ""
        return (
            f"<heads widget: {self.n_layers} layers x {self.n_heads} heads, {ablated} ablated{by}>"
        )

    # --- the static twin --------------------------------------------------------------------------

    def _way(self) -> str:
        """How heads are ablated, in words: "mean", "scale, times 0.5"."""
        return f"scale, times {self.factor:g}" if self.by == "scale" else self.by

    def _draw(self, figure: Any) -> None:
        wide = min(14.0, max(8.0, 0.19 * self.n_layers + 4.5))
        figure.set_size_inches(wide, min(8.0, max(3.4, 0.17 * self.n_heads + 1.6)))
        grid, bars = figure.subplots(1, 2, width_ratios=(wide - 3, 3))
        values = np.array([np.nan if v is None else v for v in self.values], dtype=float).reshape(
            self.n_layers, self.n_heads
        )
        ablated = sorted(self._ablated())
        marks = (
            {
                f"ablated by {self._way()} ({len(ablated)})": [
                    (head, layer) for layer, head in ablated
                ]
            }
            if ablated
            else {}
        )
        plots.heatmap(
            values.T,
            range(self.n_heads),
            range(self.n_layers),
            row_name="head",
            col_name="layer",
            title=self.colours["name"],
            unit=self.colours["unit"],
            ax=grid,
            marks=marks,
        )
        shown = self.reply["shown"]
        bar_chart(bars, shown["top"], bool(ablated), "ablated")
        figure.suptitle(self.title, fontsize=plots.LABEL, parse_math=False)
        diff, prob = shown["logit_diff"], shown["prob"]
        title = (
            f"{self.reply['title']}\nlogit difference {diff['now']:.2f}, answer"
            f" {100 * prob['now']:.1f} %"
        )
        bars.set_title(
            title
            + (
                f"\nnot ablated: {diff['clean']:.2f}, {100 * prob['clean']:.1f} %"
                if ablated
                else ""
            ),
            fontsize=9,
            loc="left",
        )


# --- binding a model ------------------------------------------------------------------------------


def heads(
    model: Model,
    task: Any,
    result: Result | None = None,
    *,
    n: int = PROMPTS,
    reference: Any = None,
    **state: Any,
) -> HeadsWidget:
    """A widget that ablates attention heads: click them, and see what the model predicts.

    Example:
        >>> interp.widgets.heads(model, task, interp.ablate(model, task, "L*H*"))
        >>> interp.widgets.heads(model, "The capital of France is", heads="L23H* L28H5", by="zero")

    Args:
        model: The model.
        task: A task, of which the first n prompts are used, or a prompt as text, which can then be
            changed on the page.
        result: What colours the grid, any Result over layer and head (by default each head's direct
            effect on the logit difference).
        n: How many prompts of a task.
        reference: Token ids [batch pos] for "mean" and "resample"; by default those n prompts, and
            for a single prompt eight pieces of running text of its length.
        **state: heads, keep, by, factor, prompt; see `HeadsWidget`.
    """
    dims = bridge.dims(model)
    split(task)  # ValueError for what is neither a text nor a task
    free = isinstance(task, str)
    given = None if result is None else grid_of(result, dims)
    now: dict[str, Any] = {}

    def start(text: str) -> Iterator[dict | None]:
        """Prepares the prompts and says what is drawn of them; an error leaves what was there."""
        few = runs.prompt_task(model, text) if free else task[: min(n, len(task))]
        made = (
            "interp.widgets.prompt_task(model, " + repr(text) + ")"
            if free
            else f"task[:{len(few)}]"
        )
        length = few.clean.shape[1]
        where, judged = None, ""
        if reference is not None:
            where, judged = (lambda: torch.as_tensor(reference)), ", reference=reference"
        elif len(few) == 1:
            where, judged = (
                (lambda: runs.prose(model, length)),
                f", reference=interp.tasks.text(model, n={runs.TEXTS}, length={length}).clean",
            )
        now["setup"] = setup = runs.prepare(model, few, where)
        yield None
        colours = given or grid_of(logit_attribution(model, few), dims)

        def decode(ids):
            return setup.task.tokenizer.decode(ids[1:].tolist())

        listed = [decode(ids) for ids in few.clean]
        yield {"colours": colours, "prompts": listed, "code": (made, judged)}

    def effects() -> Iterator[torch.Tensor | None]:
        setup = now["setup"]
        if now.get("estimated", (None,))[0] is not setup:
            for values in runs.estimated(setup):
                if values is None:
                    yield None
                else:
                    now["estimated"] = setup, values
        yield now["estimated"][1]

    def estimate() -> Iterator[dict | None]:
        """The heads whose ablation changes most, to first order."""
        found = None
        try:
            for found in effects():
                if found is None:
                    yield None
        except (ValueError, RuntimeError, NotImplementedError) as error:
            yield {"heads": [], "why": f"not estimated: {short_reason(error)}"}
            return
        size, mean = found.abs().mean(0).flatten(), found.mean(0).flatten()
        order = size.argsort(descending=True, stable=True)[:LISTED].tolist()
        yield {"heads": [[i, float(f"{float(mean[i]):.3g}")] for i in order]}

    def paint(name: str) -> dict:
        """The grid's colours: each head by itself, on the prompts shown."""
        few = now["setup"].task
        if name == DIRECT:
            return given or grid_of(logit_attribution(model, few), dims)
        if name == "ablation":
            # what the widget removes: a head's z, which after a norm is not what it writes
            where = "L*H*.z" if "norm after" in dims.variants else "L*H*"
            found = ablate(model, few, where, by="mean", metric="logit_diff")
        elif name == ESTIMATE:
            *_, values = effects()
            coords = {"layer": list(range(dims.n_layers)), "head": list(range(dims.n_heads))}
            name = "mean ablation of each head, estimated"
            found = Result(to_numpy(values.mean(0)), ("layer", "head"), coords, name, "logits")
        elif name == "patching":
            found = patch(model, few, "L*H*", metric="logit_diff")
        else:
            found = head_scores(model, name).sel(score=name)
            return {**grid_of(found, dims), "name": f"{name} score"}
        return grid_of(found, dims)

    def compute(
        heads: Heads, by: str, factor: float, prompt: int, stale: Callable[[], bool]
    ) -> Iterator[dict | None]:
        """The prompt that is shown first, then the mean over all, one by one."""
        setup = now["setup"]
        count = len(setup.task)
        if not MEAN <= prompt < count:
            raise ValueError(
                f"no prompt {prompt}: there are prompts 0 to {count - 1}, and -1 is the mean over"
                " them"
            )
        prompt = 0 if count == 1 else prompt  # a mean over one prompt is that prompt
        rows, logits_of = ([prompt] if prompt != MEAN else []), {}
        rows += [row for row in range(count) if row != prompt]
        shown = None
        for row in rows:
            logits = runs.logits_of(setup, row, heads, by, factor, stale)
            if logits is None:
                return
            logits_of[row] = logits
            if row == prompt:
                shown = {**runs.predictions(setup, [row], logits), **runs.answers(setup, row)}
                title = f"prompt {row + 1} of {count}" if count > 1 else "this prompt"
                yield {
                    "reply": {
                        "shown": shown,
                        "mean": None,
                        "title": title,
                        "n": count,
                        "waiting": count > 1,
                    }
                }
            else:
                yield None
        if count > 1:
            mean = runs.predictions(
                setup, sorted(logits_of), torch.cat([logits_of[row] for row in sorted(logits_of)])
            )
            title = (
                f"prompt {prompt + 1} of {count}" if prompt != MEAN else f"mean of {count} prompts"
            )
            yield {
                "reply": {
                    "shown": shown or mean,
                    "mean": mean,
                    "title": title,
                    "n": count,
                    "waiting": False,
                }
            }

    def look(layer: int, head: int, heads: Heads, by: str, factor: float, prompt: int) -> dict:
        """What one head attends to, now."""
        setup = now["setup"]
        rows = [prompt] if prompt != MEAN else list(range(len(setup.task)))
        rows = [row for row in rows if row < len(setup.task)]
        pattern = runs.pattern_of(setup, rows, layer, head, heads, by, factor)[
            -runs.MOST :, -runs.MOST :
        ]
        labels = [
            label.split(" ", 1)[1] for label in token_labels(model, setup.task.clean[rows[0]])
        ]
        drawn = [
            [round(float(x), 3) for x in line[: i + 1]] for i, line in enumerate(pattern.tolist())
        ]
        return {
            "layer": layer,
            "head": head,
            "rows": drawn,
            "labels": labels[-runs.MOST :],
            "mean": len(rows),
            "all": len(labels),
        }

    state.setdefault("prompt", 0)
    palette = [[DIRECT, given["name"] if given else "direct effect of each head"]]
    palette += [[ESTIMATE, "what ablating each head alone would change, to first order"]]
    if not free and len(task) > 1:
        palette += [["ablation", "each head ablated alone: what falls (half a minute)"]]
    if not free and not bool((task.clean == task.corrupted).all()):
        palette += [["patching", "each head patched alone: what comes back (a quarter minute)"]]
    palette += [[score, SCORES[score].what] for score in COLOUR_SCORES]
    title = title_of(model, None if free else task, "head ablation")
    count = 1 if free else min(n, len(task))
    own = {
        "free": free,
        "count": count,
        "text": task if free else "",
        "title": title,
        "palette": palette,
        "model_now": lambda: bridge.ready(model),
        "fingerprint": lambda: weights_hash(model),
        "estimate": estimate,
    }
    return HeadsWidget(dims, start, compute, look, paint, **own, **state)


def grid_of(result: Result, dims: Dims) -> dict[str, Any]:
    """A Result over layer and head as the grid shows it; ValueError when it is about something
    else.
    """
    if set(result.dims) != {"layer", "head"}:
        raise ValueError(
            f"the grid is coloured by a Result over layer and head, {result.name!r} has"
            f" {result.dims or 'no axes'}"
        )
    values = np.full((dims.n_layers, dims.n_heads), np.nan)
    cells: Iterable = np.ndenumerate(
        result.values if result.dims[0] == "layer" else result.values.T
    )
    layers, heads = result.coords["layer"], result.coords["head"]
    if max(layers) >= dims.n_layers or max(heads) >= dims.n_heads:
        raise ValueError(
            f"{result.name!r} is about more heads than the model's {dims.n_layers} x {dims.n_heads}"
        )
    for (i, j), value in cells:
        values[layers[i], heads[j]] = value
    flat = [None if not np.isfinite(v) else float(f"{v:.4g}") for v in values.ravel()]
    return {"values": flat, "name": result.name, "unit": result.unit}
