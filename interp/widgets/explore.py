"""`interp.widgets.explore`: a model and a prompt from all sides, in one panel."""

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import torch
import traitlets as t
from ipywidgets import widget_serialization
from torch import Tensor

from interp import plots
from interp._errors import unknown
from interp._types import Model
from interp.circuits import Circuit
from interp.features.cards.describe import visible
from interp.interventions import run
from interp.methods.lenses.logit_attribution import logit_attribution
from interp.models import bridge
from interp.results import Result
from interp.widgets import _head_runs as runs
from interp.widgets import _next_tokens as next_tokens
from interp.widgets import _prompts as prompts
from interp.widgets._ablation import ABLATED, FEW, Ablation, ablated_words
from interp.widgets._base import Widget
from interp.widgets._link import Link, prompt_or_text, trait

NEXT = "next tokens"
TABS = (NEXT, "heads", "attention", "lens", "patching", "circuit", "features")
MOST_TOKENS, WRITERS, EDGES, MOST_LETTERS = 256, 8, 200, 110


class ExploreWidget(Widget, files="next_tokens explore"):
    """The panel; see `explore`."""

    shares = {
        "prompt": prompt_or_text(prompts.OWN),
        "token": trait("token", -1),
        "head": trait("head"),
        "ablated": ABLATED,
    }
    inputs = ("prompt", "text", "token", "ablated", "ablated_by")
    kept = ("tab", "head", "inside_tabs")
    tab = t.Unicode(NEXT).tag(sync=True)
    prompt, text = t.Int(prompts.OWN).tag(sync=True), t.Unicode("").tag(sync=True)
    token = t.Int(-1).tag(sync=True)  # the one whose next tokens are shown; -1 is the last
    head = t.Unicode("").tag(sync=True)
    ablated, ablated_by = t.Unicode("").tag(sync=True), t.Unicode("mean").tag(sync=True)
    inside_tabs = t.Dict().tag(sync=True)  # tab -> the state of its widget, once it was opened
    examples = t.List().tag(sync=True)
    tabs = t.List().tag(sync=True)
    absent = t.Dict().tag(sync=True)  # tab -> why it is not there
    children = t.Dict().tag(sync=True, **widget_serialization)

    def __init__(
        self,
        look: Callable,
        makers: dict[str, Callable],
        renewed: Sequence[str] = (),
        **traits: Any,
    ) -> None:
        self._look, self._makers, self._renewed = look, makers, renewed
        self._links: dict[str, Link] = {}
        self._noted: dict[str, dict] = {}
        super().__init__(**traits)
        self.observe(self._open, "tab")
        self.observe(self._bring_back, "inside_tabs")
        self._open()

    def _ask(self) -> None:
        state = {name: getattr(self, name) for name in self.inputs}
        self._work(lambda stale: self._look(state), self._show)

    def _show(self, reply: dict) -> None:
        self._give("reply", reply)

    def _open(self, change: Any = None) -> None:
        """Makes the widget of the tab that is open, once."""
        name = self.tab
        if name not in self.tabs:
            error = unknown("tab", name, self.tabs)
            self._trouble("tab", self.absent.get(name) or str(error))
            return
        self._trouble("tab")
        if name == NEXT or name in self.children:
            return

        def show(made: Widget) -> None:
            before = self.inside_tabs.get(name)
            # the panel is first: what it shows, a new tab begins with
            self._links[name] = Link([self, made])
            made.inside(self)  # the panel's picture is that of the open tab
            if before is not None:
                self._put(made, before)
            made.observe(lambda change: self._note(name, made), [*made.inputs, *made.kept])
            self._note(name, made)
            self.children = {**self.children, name: made}

        self._work(lambda stale: self._makers[name](), show, lane=f"tab {name}")

    def _model_changed(self) -> None:
        """Makes those tabs again in which something was found out when they were made."""
        old = {name: made for name, made in self.children.items() if name in self._renewed}
        self.children = {name: made for name, made in self.children.items() if name not in old}
        for name, made in old.items():
            self._links.pop(name).close()
            made.outside(self)
            made.close()
        if self.tab in old:
            self._open()

    def _note(self, name: str, made: Widget) -> None:
        """Takes down the state of a tab's widget, so that it is saved with the panel."""
        state = made.state
        if self.inside_tabs.get(name) != state:
            self._noted = {**self.inside_tabs, name: state}
            self.inside_tabs = self._noted

    def _bring_back(self, change: Any = None) -> None:
        """Puts the tabs' widgets into the states that were set (a saved notebook's, a link's)."""
        if self.inside_tabs == self._noted:
            return
        for name, made in self.children.items():
            if name in self.inside_tabs and made.state != self.inside_tabs[name]:
                self._put(made, self.inside_tabs[name])

    def _put(self, made: Widget, state: dict) -> None:
        """The state of a tab's widget, as far as it has such traits; what is wrong is a line."""
        try:
            made.put(**{key: value for key, value in state.items() if key in made.state})
        except (t.TraitError, TypeError, ValueError) as error:
            self._trouble("tab", f"the state of the tab could not be set: {error}")

    def child(self, tab: str | None = None) -> Widget:
        """The widget of a tab (by default the open one), made if it is not there yet."""
        name = tab or self.tab
        if name == NEXT:
            return self
        self.tab = name
        self.wait()
        if name not in self.children:
            raise ValueError(self.problem or f"the tab {name!r} could not be made")
        return self.children[name]

    def close(self) -> None:
        """Closes the panel and what is in its tabs."""
        for one in self._links.values():
            one.close()
        for child in list(self.children.values()):
            child.close()
        super().close()

    # --- what others read -------------------------------------------------------------------------

    @property
    def value(self) -> dict[str, Any]:
        """What the open tab shows, and what all tabs share."""
        shared = {k: getattr(self, k) for k in ("prompt", "text", "head", "ablated", "ablated_by")}
        shown = self.current() if self.tab == NEXT else self.child().value
        return {"tab": self.tab, **shared, "shown": shown}

    @property
    def code(self) -> str:
        """The Python that makes this panel again, and that of the open tab."""
        own = self.prompt == prompts.OWN
        options = [f"prompt={self.prompt}"] if not own and self.prompt else []
        usual = {"tab": NEXT, "token": -1, "head": "", "ablated": "", "ablated_by": "mean"}
        options += [
            f"{name}={getattr(self, name)!r}"
            for name, value in usual.items()
            if getattr(self, name) != value
        ]
        given = repr(self.text) if own else "task"
        line = f"interp.widgets.explore({', '.join(['model', given, *options])})"
        made = self.children.get(self.tab)
        return line if made is None else f"{line}\n{made.python}"

    def table(self) -> Any:
        """What the open tab shows."""
        if self.tab == NEXT:
            import pandas as pd

            return pd.DataFrame(self.current()["top"])
        return self.child().table()

    def __repr__(self) -> str:
        return f"<explore widget: {self.tab}>"

    def _draw(self, figure: Any) -> None:
        made = self.children.get(self.tab)
        if made is not None and made.fits():
            made._draw(figure)
            return
        reply = self.reply
        figure.set_size_inches(9, 3.4)
        left, right = figure.subplots(1, 2)
        prompt = textwrap.shorten(reply["prompt"], MOST_LETTERS, placeholder=" ...")
        figure.suptitle(f"{self.title}\n{prompt}", fontsize=plots.LABEL, parse_math=False)
        next_tokens.bars(left, reply["top"], bool(reply["ablated"]), "ablated")
        way = f", ablated {reply['ablated']}" if reply["ablated"] else ""
        left.set_title(f"next tokens, {reply['title']}{way}", fontsize=plots.LABEL, loc="left")
        heads = reply["writers"][::-1]
        right.barh(
            range(len(heads)),
            [one["effect"] for one in heads],
            color=["#b2182b" if one["effect"] > 0 else "#2166ac" for one in heads],
        )
        names = [
            one["head"] + ("" if one["read"] is None else f"  reads {visible(one['read'])}")
            for one in heads
        ]
        right.set_yticks(range(len(heads)), names, fontsize=plots.TICK, parse_math=False)
        right.tick_params(axis="x", labelsize=plots.TICK)
        right.set_xlabel(reply["about"], fontsize=plots.TICK, parse_math=False)
        right.set_title("heads that write it", fontsize=plots.LABEL, loc="left")
        right.spines[["top", "right"]].set_visible(False)


def explore(
    model: Model,
    text_or_task: Any,
    *,
    dictionary: Any = None,
    on: Any = None,
    circuit: Circuit | Result | None = None,
    **state: Any,
) -> ExploreWidget:
    """A panel with a tab for each question; all tabs share prompt, selection and ablations.

    The tabs are next tokens, heads, attention, lens, and patching, where for a text the corrupted
    prompt is typed; for a task with corrupted prompts also circuit; with a dictionary its features.
    Each is the widget of that name, made when its tab is first opened. A head that is ablated in
    one is ablated in the others.

    Example:
        >>> interp.widgets.explore(model, "The capital of France is")
        >>> interp.widgets.explore(model, task, ablated="L20H0", tab="attention")

    Args:
        model: The model.
        text_or_task: A prompt as text, or a task.
        dictionary: For the features tab, see `interp.widgets.features`.
        on: The text that its cards are read from.
        circuit: For the circuit tab; by default the largest edges that `interp.discover` finds.
        **state: tab, prompt, token (-1: the last), head, ablated (heads as text), ablated_by
            ("mean", "zero").

    Raises:
        ValueError: If it is neither a text nor a task, or the prompt is none of the task's.

    Cost: a second for the first picture; the circuit tab runs `interp.discover` once.
    """
    task, text = prompts.split(text_or_task)
    d, given = bridge.dims(model), text_or_task
    ablation = Ablation(model, task)
    kept: dict[tuple, tuple] = {}

    def read(state: dict) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        asked = state["prompt"], state["text"], state["ablated"], state["ablated_by"]
        key = *asked, bridge.ready(model)
        if key not in kept:
            ids = prompts.ids_of(model, task, *asked[:2], MOST_TOKENS, d)
            edits = ablation.edits(*asked)
            before = run(model, ids[None]).logits[0].float().cpu()
            now = run(model, ids[None], edits).logits[0].float().cpu() if edits else before
            (pattern,) = prompts.activations(model, ids, "pattern")
            kept.clear()
            kept[key] = ids, before, now, pattern
        return kept[key]

    def look(state: dict) -> dict:
        ids, before, now, pattern = read(state)
        n = len(ids)
        at = state["token"]
        if not -1 <= at < n:
            raise ValueError(f"the prompt has tokens 0 to {n - 1}, token={at} is none of them")
        at = n - 1 if at == -1 else at
        words = prompts.words_of(model.tokenizer, ids)
        listed = next_tokens.listed(model.tokenizer, now[at].softmax(-1), before[at].softmax(-1))
        # the probability of each token of the prompt, given those before it
        given_before = now[:-1].log_softmax(-1).gather(-1, ids[1:, None])[:, 0].exp()
        writers, about = _writers(model, ids[: at + 1], pattern)
        return {
            **listed,
            "prompt": prompts.text_of(model.tokenizer, ids),
            "tokens": words,
            "expected": [None, *(round(float(p), 4) for p in given_before)],
            "at": at,
            "title": f"after {at} {words[at].strip() or repr(words[at])[1:-1]}",
            "ablated": ablated_words(state),
            "writers": [
                {**one, "read": None if one["src"] is None else words[one["src"]]}
                for one in writers
            ],
            "about": about,
        }

    state = {"prompt": prompts.OWN if task is None else 0, "text": text, **state}
    tabs, absent = _tabs(task, dictionary)
    makers: dict[str, Callable[[], Widget]] = {
        name: _maker(name, model, given, dictionary, on, circuit) for name in tabs if name != NEXT
    }
    found = {"circuit": circuit is None, "features": True}  # from the model as it was
    return ExploreWidget(
        look,
        makers,
        [name for name in tabs if found.get(name)],
        model_now=lambda: bridge.ready(model),
        tabs=tabs,
        absent=absent,
        examples=prompts.listed(task),
        title=prompts.title(model, task, "explore"),
        **state,
    )


def _tabs(task: Any, dictionary: Any) -> tuple[list[str], dict[str, str]]:
    """The tabs there are, and why the others are not."""
    absent = {}
    pairs = "interp.tasks.pairs(model, clean=[...], corrupted=[...], answers=[...], wrong=[...])"
    alone = task is not None and bool((task.clean == task.corrupted).all())
    for name in ("patching", "circuit"):
        if alone or task is None and name == "circuit":  # in patching a second prompt is typed
            absent[name] = f"{name} compares two prompts: explore(model, {pairs})"
    if dictionary is None:
        absent["features"] = "features needs a dictionary: explore(model, task, dictionary=sae)"
    return [name for name in TABS if name not in absent], absent


def _maker(
    name: str, model: Model, given: Any, dictionary: Any, on: Any, circuit: Any
) -> Callable[[], Widget]:
    from interp import widgets

    def make_circuit() -> Widget:
        from interp.methods.circuits.discovery import discover

        found = circuit
        if found is None:
            few = given[: min(FEW, len(given))]
            scores = discover(model, few, method="eap_ig")
            there = int((scores.values == scores.values).sum())  # NaN where there is no edge
            found = Circuit.top(scores, min(EDGES, there))
        return widgets.circuit(found, model, given[: min(FEW, len(given))])

    makers: dict[str, Callable[[], Widget]] = {
        "heads": lambda: widgets.heads(model, given),
        "attention": lambda: widgets.attention(model, given),
        "lens": lambda: widgets.lens(model, given),
        "patching": lambda: widgets.patching(model, given),
        "circuit": make_circuit,
        "features": lambda: widgets.features(model, dictionary, on),
    }
    return makers[name]


def _writers(model: Model, ids: Tensor, pattern: Tensor) -> tuple[Sequence[dict[str, Any]], str]:
    """The heads that write most to the likeliest next token here, and what each reads most.

    The first token, the usual attention sink, is left out of what they read.
    """
    one = runs.task_of(model, ids)
    effects = logit_attribution(model, one)
    tokens = [model.tokenizer.decode(t[0].tolist()) for t in (one.answers, one.wrong)]
    values = torch.as_tensor(effects.values, dtype=torch.float32)
    best = values.abs().flatten().topk(min(WRITERS, values.numel())).indices.tolist()
    rows = []
    for place in best:
        layer, head = divmod(place, values.shape[1])
        row = pattern[layer, head, len(ids) - 1, : len(ids)].float().cpu().clone()
        src = int(row[1:].argmax()) + 1 if len(row) > 1 else None
        rows.append(
            {
                "head": f"L{layer}H{head}",
                "effect": float(values[layer, head]),
                "src": src,
                "share": None if src is None else float(row[src]),
            }
        )
    return rows, f"direct effect on the logit of {tokens[0]!r} minus {tokens[1]!r}, unablated"
