"""`interp.widgets.attention`: what heads look at, one in large and many in small, and the heads
found by a score.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import traitlets as t
from jaxtyping import Float
from torch import Tensor

from interp import _progress, plots
from interp._errors import unknown
from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import Intervention
from interp.methods.attention.attention_patterns import value_norms
from interp.methods.attention.head_scores import DETECTORS, SCORES, head_scores
from interp.models import bridge
from interp.results import Result
from interp.sites import Site
from interp.widgets import _prompts as prompts
from interp.widgets._ablation import ABLATED, Ablation, ablated_words
from interp.widgets._base import Widget
from interp.widgets._link import prompt_or_text, trait

MOST_TOKENS, MOST_HEADS, FOUND, SIDE = 512, 64, 12, 48
WALL = 24  # pixels of a head on the wall
ANY_TEXT = (*DETECTORS, "entropy", "distance", "waad", "fai", "output norm", "copying")
OF_TASK = ("ablation", "gradient")
NAMES = {
    False: ("attention", "share of attention"),
    True: ("attention x value", "norm in the residual stream"),
}


def attention(model: Model, prompt_or_task: Any, **state: Any) -> "AttentionWidget":
    """A widget of attention: point at a token, choose a head, find heads by a score.

    Example:
        >>> interp.widgets.attention(model, "The capital of France is", heads="L5H1 L7H*")
        >>> interp.widgets.attention(model, task, find="induction", weighted=True)

    Args:
        model: The model.
        prompt_or_task: A text, or a task whose prompts are shown; another prompt can be typed.
        **state: heads: those shown in small, such as "L5H1 L7H*"; if "", those that look most from
            the last token at one that is neither the first nor itself. head: the large one (the
            first of them if ""). find: a head score; the heads that score highest are shown instead
            (all heads of the model are then scored). weighted: attention times the norm of what the
            source's value writes (see `attention_patterns`). first: True colours the first token,
            the usual attention sink, too; without it the scale is that of the others. wall: all
            heads in small. ablated, ablated_by: heads that are ablated in the run shown, "L20H0",
            by "mean" or "zero". At most 512 tokens and 64 heads.
    """
    task, text = prompts.split(prompt_or_task)
    d = bridge.dims(model)
    readings: dict[tuple, Reading] = {}
    ablation = Ablation(model, task)

    def read(example: int, text: str, ablated: str, by: str) -> Reading:
        key = example, text, ablated, by, bridge.ready(model)
        if key not in readings:
            ids = prompts.ids_of(model, task, example, text, MOST_TOKENS, d)
            edits = ablation.edits(example, text, ablated, by)
            readings.clear()  # patterns are large: those of one prompt are kept
            readings[key] = _read(model, ids, edits)
        return readings[key]

    names = ANY_TEXT + (OF_TASK if task is not None else ())
    scored: dict[tuple[str, Any], Result] = {}

    def score(name: str) -> Result:
        if name not in names:
            raise unknown("head score", name, names)
        now = bridge.ready(model)
        if scored and next(iter(scored))[1] != now:
            scored.clear()
        if (name, now) not in scored:
            alike = [n for n in names if SCORES[n].pattern] if SCORES[name].pattern else [name]
            table = head_scores(model, alike, on=task if name in OF_TASK else None)
            # patterns are scored together: one run serves all
            scored.update({(n, now): table.sel(score=n) for n in alike})
        return scored[name, now]

    state = {"text": text, "prompt": prompts.OWN if task is None else 0, **state}
    title = prompts.title(model, task, "attention")
    listed = dict(
        examples=prompts.listed(task),
        finds=[[one, SCORES[one].what] for one in names],
        title=title,
        model_now=lambda: bridge.ready(model),
    )
    return AttentionWidget(
        read, score, lambda words: prompts.heads_in_order(words, d), d.group, **listed, **state
    )


@dataclass(frozen=True)
class Reading:
    """All patterns of one prompt, and the norm of what each value would write."""

    text: str
    words: list[str]
    pattern: Float[Tensor, "layer head dest src"]
    norms: Float[Tensor, "layer head src"]

    def of(self, head: Site, weighted: bool) -> Float[Tensor, "dest src"]:
        """One head's pattern."""
        rows = self.pattern[head.layer, head.index]
        return rows * self.norms[head.layer, head.index] if weighted else rows


def _read(model: Model, ids: Tensor, edits: list[Intervention]) -> Reading:
    pattern, values = prompts.activations(model, ids, "pattern", "v", edits=edits)
    norms = value_norms(model, Site.parse("L*H*"), values.transpose(1, 2)[:, :, None])[:, :, 0]
    words = prompts.words_of(model.tokenizer, ids)
    return Reading(
        prompts.text_of(model.tokenizer, ids), words, pattern.float().cpu(), norms.float().cpu()
    )


class AttentionWidget(Widget, files="attention"):
    """The widget; see `attention`."""

    shares = {
        "prompt": prompt_or_text(prompts.OWN),
        "token": trait("token", -1),
        "head": trait("head"),
        "ablated": ABLATED,
    }
    kept = ("token", "wall")
    inputs = (
        "text",
        "prompt",
        "heads",
        "head",
        "find",
        "weighted",
        "first",
        "ablated",
        "ablated_by",
    )
    answers = {"every": ("text", "prompt", "weighted", "first", "ablated", "ablated_by", "wall")}
    text = t.Unicode("").tag(sync=True)
    prompt = t.Int(prompts.OWN).tag(sync=True)
    heads = t.Unicode("").tag(sync=True)
    head = t.Unicode("").tag(sync=True)
    find = t.Unicode("").tag(sync=True)
    weighted = t.Bool(False).tag(sync=True)
    first = t.Bool(False).tag(sync=True)
    ablated = t.Unicode("").tag(sync=True)  # heads that are ablated in the run shown
    ablated_by = t.Unicode("mean").tag(sync=True)
    token = t.Int(-1).tag(sync=True)  # the one that is looked at; -1 is the last
    examples = t.List().tag(sync=True)
    finds = t.List().tag(sync=True)  # scores: [name, what it measures]
    wall = t.Bool(False).tag(sync=True)  # all heads in small
    every = t.Dict().tag(sync=True)

    def __init__(
        self,
        read: Callable[[int, str, str, str], Reading],
        score: Callable[[str], Result],
        heads_of: Callable[[str], list[Site]],
        group: int = 1,
        **traits: Any,
    ) -> None:
        self._read, self._score, self._heads_of, self._group = read, score, heads_of, group
        self._now: tuple[Reading, Site, list[tuple[Site, float | None]], bool, bool] | None = None
        super().__init__(**traits)
        self.observe(self._build, "wall")

    def _build(self, change: Any = None) -> None:
        """All heads in small, once they are asked for."""
        if not self.wall or self._now is None:
            return
        reading, _, _, weighted, first = self._now

        def work(stale: Callable[[], bool]) -> dict:
            return every_head(reading, weighted, first)

        self._work(work, lambda found: self._give("every", found), "wall")

    def _ask(self) -> None:
        state = {name: getattr(self, name) for name in self.inputs}
        self._work(lambda stale: self._compute_reply(state, stale), self._show)

    def _compute_reply(self, state: dict, stale: Callable[[], bool]) -> tuple[dict, Any]:
        """What there is to see for a state: the dict for the page, and the parts it is made of."""
        reading = self._read(*(state[name] for name in ("prompt", "text", "ablated", "ablated_by")))
        table = None
        if state["find"]:
            with _progress.report_to(lambda what, done, of: self._tell(stale, what, done, of)):
                table = self._score(state["find"])
            order = np.argsort(-np.nan_to_num(table.values, nan=-np.inf), axis=None, kind="stable")[
                :FOUND
            ]
            places = [np.unravel_index(i, table.values.shape) for i in order]
            shown = [
                (Site("head", "out", int(a), int(b)), float(table.values[a, b])) for a, b in places
            ]
        elif state["heads"].strip():
            shown = [(head, None) for head in self._heads_of(state["heads"])]
        else:
            shown = [(head, None) for head in telling(reading.pattern)]
        big = self._heads_of(state["head"]) if state["head"] else [shown[0][0]]
        if len(big) > 1:
            raise ValueError(f"one head is shown in large, {state['head']!r} names {len(big)}")
        now = (reading, big[0], shown[:MOST_HEADS], state["weighted"], state["first"])
        picture = _picture(*now, table, len(shown), self._group)
        own = not state["find"] and not state["heads"].strip()
        return {**picture, "ablated": ablated_words(state), "telling": own}, now

    def _tell(self, stale: Callable[[], bool], what: str, done: int, of: int | None) -> None:
        if stale():
            raise InterruptedError("a newer click came")
        with self._state:
            self.busy = (
                f"computing {what}: {done} of {of}" if of and of > 1 else f"computing {what}"
            )

    def _show(self, answer: tuple[dict, Any]) -> None:
        reply, self._now = answer
        self._give("reply", reply)
        self._build()

    # --- what others read -------------------------------------------------------------------------

    @property
    def value(self) -> dict[str, Any]:
        """What is shown: the prompt, the head in large and its pattern as a Result, the heads in
        small and their scores.
        """
        self.current()
        reading, head, shown, weighted, _ = self._now
        labels = [f"{i} {word.strip() or repr(word)[1:-1]}" for i, word in enumerate(reading.words)]
        name, unit = NAMES[weighted]
        coords = {"dest": labels, "src": labels}
        pattern = Result(
            to_numpy(reading.of(head, weighted)), ("dest", "src"), coords, f"{name} of {head}", unit
        )
        scored = {str(h): s for h, s in shown} if self.find else {}
        return {
            "prompt": reading.text,
            "head": str(head),
            "pattern": pattern,
            "heads": [str(h) for h, _ in shown],
            "scores": scored,
        }

    @property
    def code(self) -> str:
        """The Python that gives this state, and the pattern in large as a Result."""
        own = self.prompt == prompts.OWN
        given = repr(self.text) if own else "task"
        options = [f"prompt={self.prompt}"] if not own and self.prompt else []
        options += [
            f"{name}={getattr(self, name)!r}"
            for name in ("heads", "head", "find")
            if getattr(self, name)
        ]
        options += [f"ablated={self.ablated!r}, ablated_by={self.ablated_by!r}"] * bool(
            self.ablated
        )
        options += [f"token={self.token}"] * (self.token >= 0)
        options += ["weighted=True"] * self.weighted + ["first=True"] * self.first
        lines = [f"interp.widgets.attention({', '.join(['model', given, *options])})"]
        shown = self.reply.get("head", self.head)
        if shown and not self.ablated:
            of = given if own else f"task[{self.prompt}]"
            lines.append(
                f"interp.attention_patterns(model, {of},"
                f" {shown!r}{', weighted=True' * self.weighted}).plot()"
            )
        if self.find:
            on = ", on=task" * (self.find in OF_TASK)
            lines.append(
                "interp.head_scores(model,"
                f" {self.find!r}{on}).sel(score={self.find!r}).top({FOUND})"
            )
        return "\n".join(lines)

    def _draw(self, figure: Any) -> None:
        if self._now is not None:
            draw(figure, *self._now, self.reply, self.title)


def telling(pattern: Float[Tensor, "layer head dest src"], most: int = FOUND) -> list[Site]:
    """The heads that look most from the last token at one token: not the first, not itself.

    The first is where idle heads look, so that head by head it says little.
    """
    if pattern.shape[-1] > 2:
        values = pattern[:, :, -1, 1:-1].amax(-1)
    else:
        values = pattern[:, :, -1].amax(-1)
    order = values.flatten().argsort(descending=True, stable=True)[:most].tolist()
    return [Site("head", "out", *divmod(i, values.shape[1])) for i in order]


def every_head(reading: Reading, weighted: bool, first: bool) -> dict:
    """All heads of the model in small, for a wall of them."""
    n_layers, n_heads, n, _ = reading.pattern.shape
    side = min(WALL, n)
    drawn = reading.pattern * reading.norms[:, :, None] if weighted else reading.pattern
    if not first and n > 1:
        drawn = drawn * (torch.arange(n) > 0)
    limit = float(drawn.max())
    small = torch.nn.functional.adaptive_max_pool2d(drawn.flatten(0, 1), side)
    return {
        "layers": n_layers,
        "heads": n_heads,
        "side": side,
        "limit": limit,
        "bytes": prompts.pattern_bytes(small, limit, torch.uint8),
    }


def _picture(
    reading: Reading,
    head: Site,
    shown: list,
    weighted: bool,
    first: bool,
    table: Result | None,
    asked: int,
    group: int,
) -> dict:
    """The state as the page needs it: JSON, and matrices as bytes."""
    big = reading.of(head, weighted)
    many = torch.stack([reading.of(h, weighted) for h, _ in shown])

    def limit(m):
        return (
            1.0
            if not weighted and first
            else float((m if first else m[..., 1:]).max() if m.shape[-1] > 1 else m.max())
        )

    side = min(SIDE, big.shape[-1])
    small = torch.nn.functional.adaptive_max_pool2d(
        many if first else many * (torch.arange(big.shape[-1]) > 0), side
    )
    top, name = float(big.max()), NAMES[weighted]
    partners = [
        f"L{head.layer}H{i}"
        for i in range(head.index // group * group, (head.index // group + 1) * group)
    ]
    return {
        "prompt": reading.text,
        "tokens": reading.words,
        "head": str(head),
        "first": first,
        "weighted": weighted,
        "shares": [p for p in partners if p != str(head)],
        "name": name[0],
        "unit": name[1],
        "big": prompts.pattern_bytes(big, top),
        "top": top,
        "limit": limit(big),
        "many": [{"head": str(h), "score": s} for h, s in shown],
        "asked": asked,
        "side": side,
        "small": prompts.pattern_bytes(small, limit(many), torch.uint8),
        "limits": limit(many),
        "score": None if table is None else _about(table),
    }


def _about(table: Result) -> dict:
    name = table.metadata["at"]["score"]
    metadata = table.metadata
    return {
        "name": name,
        "unit": table.unit,
        "what": metadata["what"][name],
        "on": metadata["on"][name],
        "null": metadata["null"][name],
    }


# --- the static twin ------------------------------------------------------------------------------


def draw(
    figure: Any,
    reading: Reading,
    head: Site,
    shown: list,
    weighted: bool,
    first: bool,
    reply: dict,
    title: str,
) -> None:
    """One pattern in large and the others in small, into a figure."""
    words = [prompts.label(w, 12) for w in reading.words]
    wide = min(6, max(3, len(shown)))
    high = -(-len(shown) // wide)
    figure.set_size_inches(11, max(4.6, 1.35 * high + 0.8))
    places = figure.add_gridspec(high, wide + 2, width_ratios=(5, 0.5, *[1] * wide))
    ax = figure.add_subplot(places[:, 0])
    axes = [figure.add_subplot(places[i // wide, 2 + i % wide]) for i in range(len(shown))]

    def hidden(m):
        return np.where(np.tri(len(m), dtype=bool) & (first | (np.arange(len(m)) > 0)), m, 0.0)

    plots.heatmap(
        hidden(to_numpy(reading.of(head, weighted))),
        words,
        words,
        row_name="attends from",
        col_name="attends to",
        title=f"{head}: {reply['name']}",
        unit=reply["unit"],
        centred=False,
        ax=ax,
        limit=reply["limit"] or None,
    )
    for one, (site, score) in zip(axes, shown):
        one.imshow(
            hidden(to_numpy(reading.of(site, weighted))),
            vmin=0,
            vmax=reply["limits"] or 1,
            cmap=plots.SEQUENTIAL,
        )
        one.set_title(str(site) if score is None else f"{site}  {score:.2f}", fontsize=plots.TICK)
    for one in axes:
        one.set_xticks([])
        one.set_yticks([])
    score = reply["score"]
    caption = (
        f"heads with most {score['name']} ({score['unit']})"
        if score
        else "other heads"
        if len(shown) > 1
        else "the same"
    )
    words = f"{title}\non the right {caption}; their colours end at {reply['limits']:.2g}"
    figure.suptitle(words, fontsize=plots.LABEL, parse_math=False)
