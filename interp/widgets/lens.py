"""`interp.widgets.lens`: what each layer would say after each token, as a table of top tokens."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import traitlets as t
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp import plots, sites
from interp._errors import unknown
from interp._types import Model
from interp.methods.attention.attention_patterns import token_labels
from interp.methods.lenses.logit_lens import translator
from interp.models import bridge
from interp.results import Result
from interp.sites import Site
from interp.tasks.metrics import METRICS
from interp.widgets import _prompts as prompts
from interp.widgets._ablation import ABLATED, Ablation, ablated_words
from interp.widgets._base import Widget
from interp.widgets._link import prompt_or_text, trait

MOST_TOKENS, WIDE, TALL, TOP = 512, 16, 32, 10
BLOCK = (
    64  # positions read at once: enough for one pass over the unembedding to serve several layers
)
PACE = 0.3  # seconds between two pictures of an unfinished table
READS = {"rank": METRICS["rank"], "logit_diff": METRICS["logit_diff"], "prob": METRICS["prob"]}
BY = {
    **{name: (row.title, row.unit) for name, row in READS.items()},
    "top": ("probability of the top token", "probability"),
}


def lens(model: Model, prompt_or_task: Any, *, lens: Any = None, **state: Any) -> "LensWidget":
    """A widget of the logit lens: click a cell for its list, type another prompt or answer.

    Example:
        >>> interp.widgets.lens(model, "The capital of France is", answer="Paris", against="London")
        >>> interp.widgets.lens(model, task, by="logit_diff", lens=interp.tuned_lens(model, text))

    Args:
        model: The model.
        prompt_or_task: A text, or a task whose prompts are shown.
        lens: A tuned or Jacobian lens to read through; layers that it does not have stay empty. See
            `interp.logit_lens`.
        **state: by: the colour, "rank" of the answer (0: on top), "logit_diff", "prob" of the
            answer, or "top", the probability of the token shown. answer, against: words of one
            token each; by default the task's, or for a text the model's own first and second choice
            at its end.
            start: the first of at most 16 positions shown (-1: the last ones). step: every how many
            layers (0: as many as 32 rows hold). layer, token: the cell listed (-1: the last).
            ablated, ablated_by: heads that are ablated in the run shown, "L20H0", by "mean" or
            "zero".
    """
    task, text = prompts.split(prompt_or_task)
    d = bridge.dims(model)
    site = Site.parse("resid_post.*@*")

    def reader() -> Callable:
        return translator(model, lens, site, sites.expand(site, d, 1))

    held = {"state": None, "translate": reader()}  # says at once what is wrong with the lens
    readings: dict[tuple, Reading] = {}
    ablation = Ablation(model, task)

    def read(prompt: int, text: str, ablated: str, ablated_by: str) -> Reading:
        now = bridge.ready(model)
        if now != held["state"]:  # a lens of other weights is refused
            held.update(state=now, translate=reader())
        key = prompt, text, ablated, ablated_by, now
        if key not in readings:
            ids = prompts.ids_of(model, task, prompt, text, MOST_TOKENS, d)
            edits = ablation.edits(prompt, text, ablated, ablated_by)
            readings.clear()
            (stream,) = prompts.activations(model, ids, "resid_post", edits=edits)
            words = prompts.words_of(model.tokenizer, ids)
            readings[key] = Reading(
                prompts.text_of(model.tokenizer, ids), words, token_labels(model, ids), stream
            )
        return readings[key]

    def logits(stream: Tensor, layer: int) -> Tensor | None:
        row = held["translate"](Site("resid_post", "out", layer), stream)
        return (
            None
            if row is None
            else bridge.unembed(model, bridge.final_norm(model, row.contiguous())).float()
        )

    def answers(prompt: int, answer: str, against: str, end: Tensor) -> Answers:
        return _answers(
            model.tokenizer, None if prompt == prompts.OWN else task, prompt, answer, against, end
        )

    state = {"by": "rank", "text": text, "prompt": prompts.OWN if task is None else 0, **state}
    name = "Logit lens" if lens is None else lens.kind[0].upper() + lens.kind[1:]
    sizes = dict(
        layers=d.n_layers,
        vocab=d.d_vocab,
        name=name,
        examples=prompts.listed(task),
        title=prompts.title(model, task, name.lower()),
        model_now=lambda: bridge.ready(model),
    )
    return LensWidget(
        read, logits, answers, lambda i: model.tokenizer.decode([i]), **sizes, **state
    )


@dataclass(frozen=True)
class Reading:
    """One prompt and the stream after each layer."""

    text: str
    words: list[str]
    labels: list[str]
    stream: Float[Tensor, "layer pos d_model"]


@dataclass(frozen=True)
class Answers:
    """The tokens the colours are about, and which of them count."""

    right: Int[Tensor, "1 answer"]
    wrong: Int[Tensor, "1 wrong"]
    right_count: Bool[Tensor, "1 answer"]
    wrong_count: Bool[Tensor, "1 wrong"]

    @property
    def key(self) -> tuple:
        """What tells two of them apart."""
        return tuple(self.right[self.right_count].tolist()), tuple(
            self.wrong[self.wrong_count].tolist()
        )

    def measures(self, logits: Float[Tensor, "pos d_vocab"]) -> dict[str, list[float]]:
        """Rank, logit difference and probability, as `interp.logit_lens` reads them."""

        device = logits.device
        right, wrong = self.right.to(device), self.wrong.to(device)
        counts = self.right_count.to(device), self.wrong_count.to(device)

        def pick(ids):
            return logits.gather(-1, ids.expand(len(logits), -1))

        given = {"vocab": (logits, right, wrong), "answers": (pick(right), pick(wrong))}
        return {name: row.of(*given[row.reads], *counts).tolist() for name, row in READS.items()}


def _answers(
    tokenizer: Any, task: Any, prompt: int, answer: str, against: str, end: Tensor
) -> Answers:
    """Those typed; else the task's; else the two the model itself has on top at the end."""

    def one(i):
        return (torch.tensor([[int(i)]]), torch.tensor([[True]]))

    predicted = end.topk(2).indices
    if task is None:
        right, wrong = one(predicted[0]), one(predicted[1])
    else:
        row = slice(prompt, prompt + 1)
        right, wrong = (
            (task.answers[row], task.answers_count[row]),
            (task.wrong[row], task.wrong_count[row]),
        )
    if answer.strip():
        right = one(prompts.typed_word(tokenizer, answer))
        if task is None and not against.strip() and int(predicted[1]) == int(right[0]):
            wrong = one(predicted[0])
    wrong = one(prompts.typed_word(tokenizer, against)) if against.strip() else wrong
    return Answers(right[0], wrong[0], right[1], wrong[1])


@dataclass(frozen=True)
class Cell:
    """What the lens says at one place: the top tokens and their probabilities, and the measures."""

    ids: list[int]
    probs: list[float]
    measures: dict[str, float]

    def number(self, by: str) -> float:
        """What the colour says."""
        return self.probs[0] if by == "top" else self.measures[by]


class LensWidget(Widget, files="lens"):
    """The widget; see `lens`."""

    shares = {
        "prompt": prompt_or_text(prompts.OWN),
        "token": trait("token", -1),
        "ablated": ABLATED,
    }
    inputs = (
        *("text", "prompt", "by", "answer", "against", "start", "step", "layer", "token"),
        *("ablated", "ablated_by"),
    )
    text = t.Unicode("").tag(sync=True)
    prompt = t.Int(prompts.OWN).tag(sync=True)
    by = t.Unicode("rank").tag(sync=True)
    answer = t.Unicode("").tag(sync=True)
    against = t.Unicode("").tag(sync=True)
    start = t.Int(-1).tag(sync=True)
    step = t.Int(0).tag(sync=True)
    layer = t.Int(-1).tag(sync=True)
    token = t.Int(-1).tag(sync=True)
    ablated = t.Unicode("").tag(sync=True)  # heads that are ablated in the run shown
    ablated_by = t.Unicode("mean").tag(sync=True)
    layers = t.Int().tag(sync=True)
    vocab = t.Int().tag(sync=True)
    name = t.Unicode("").tag(sync=True)
    examples = t.List().tag(sync=True)

    def __init__(
        self,
        read: Callable,
        logits: Callable,
        answers: Callable,
        word: Callable[[int], str],
        **traits: Any,
    ) -> None:
        self._read, self._logits, self._answers, self._word = read, logits, answers, word
        self._cells: dict[tuple, dict[tuple[int, int], Cell]] = {}
        self._now: tuple[Reading, list[int], range, dict] | None = None
        super().__init__(**traits)

    def _ask(self) -> None:
        if self.by not in BY:
            raise unknown("colour", self.by, BY)
        state = {name: getattr(self, name) for name in (*self.inputs, "weights")}
        self._work(lambda stale: self._filled(state, stale), self._show)

    def _filled(self, state: dict, stale: Callable[[], bool]) -> Iterator[tuple[dict, Any]]:
        """The table, again and again while it fills: a few layers all over first."""
        run_of = tuple(state[name] for name in ("prompt", "text", "ablated", "ablated_by"))
        reading = self._read(*run_of)
        total = len(reading.words)
        end = self._logits(reading.stream[-1, -1:], self.layers - 1)[0]
        answers = self._answers(state["prompt"], state["answer"], state["against"], end)
        rows, columns = _window(state, self.layers, total)
        key = (*run_of, state["weights"], answers.key)
        if key not in self._cells:
            self._cells = {key: {}}
        cells, shown = self._cells[key], time.monotonic()
        todo = [
            layer for layer in _coarse(rows) if any((layer, pos) not in cells for pos in columns)
        ]
        at_once = max(1, BLOCK // len(columns))
        for i in range(0, len(todo), at_once):
            self._fill(cells, reading, answers, todo[i : i + at_once], columns)
            if stale():
                return
            if time.monotonic() - shown > PACE and i + at_once < len(todo):
                shown = time.monotonic()
                yield self._answer(state, reading, answers, rows, columns, cells)
        yield self._answer(state, reading, answers, rows, columns, cells)

    def _fill(
        self, cells: dict, reading: Reading, answers: Answers, layers: Sequence[int], columns: range
    ) -> None:
        read = {
            layer: self._logits(reading.stream[layer, columns.start : columns.stop], layer)
            for layer in layers
        }
        for layer, logits in read.items():
            if logits is None:
                cells.update({(layer, pos): None for pos in columns})
                continue
            top = logits.topk(min(TOP, logits.shape[-1]))
            probs = (top.values - logits.logsumexp(-1, keepdim=True)).exp().tolist()
            numbers, ids = answers.measures(logits), top.indices.tolist()
            for k, pos in enumerate(columns):
                cells[layer, pos] = Cell(
                    ids[k], probs[k], {name: values[k] for name, values in numbers.items()}
                )

    def _answer(
        self,
        state: dict,
        reading: Reading,
        answers: Answers,
        rows: list,
        columns: range,
        cells: dict,
    ) -> tuple[dict, Any]:
        layer = rows[-1] if state["layer"] not in rows else state["layer"]
        pos = columns[-1] if state["token"] not in columns else state["token"]
        table = [[cells.get((row, column)) for column in columns] for row in rows]

        def words(ids, count):
            return [self._word(i) for i in ids[count].tolist()]

        chosen = cells.get((layer, pos))
        reply = {
            "prompt": reading.text,
            "tokens": [reading.words[i] for i in columns],
            "start": columns.start,
            "total": len(reading.words),
            "rows": rows,
            "top": [[None if c is None else self._word(c.ids[0]) for c in row] for row in table],
            "numbers": [
                [None if c is None else c.number(state["by"]) for c in row] for row in table
            ],
            "sure": [[None if c is None else c.probs[0] for c in row] for row in table],
            "by": state["by"],
            "title": BY[state["by"]][0],
            "unit": BY[state["by"]][1],
            "answers": words(answers.right, answers.right_count),
            "wrong": words(answers.wrong, answers.wrong_count),
            "ablated": ablated_words(state),
            "layer": layer,
            "token": pos,
            "list": (
                []
                if chosen is None
                else [[self._word(i), p] for i, p in zip(chosen.ids, chosen.probs)]
            ),
            "measures": {} if chosen is None else chosen.measures,
        }
        return reply, (reading, rows, columns, dict(cells))

    def _show(self, answer: tuple[dict, Any]) -> None:
        reply, self._now = answer
        self._give("reply", reply)

    # --- what others read -------------------------------------------------------------------------

    @property
    def value(self) -> dict[str, Any]:
        """What is shown: the prompt, the top token of each cell [layer][pos], the colours' numbers
        as a Result, the list.
        """
        reply, (reading, rows, columns, _) = self.current(), self._now
        coords = {"layer": rows, "pos": [reading.labels[i] for i in columns]}
        numbers = Result(
            np.array(reply["numbers"], dtype=float),
            ("layer", "pos"),
            coords,
            f"{self.name}: {reply['title']}",
            reply["unit"],
        )
        return {
            **{
                k: reply[k] for k in ("prompt", "top", "answers", "wrong", "layer", "token", "list")
            },
            "numbers": numbers,
        }

    @property
    def code(self) -> str:
        """The Python that gives this state, and for a task its numbers as a Result."""
        own = self.prompt == prompts.OWN
        read = ", lens=lens" * (self.name != "Logit lens")
        options = [f"prompt={self.prompt}"] if not own and self.prompt else []
        usual = {
            "by": "rank",
            "answer": "",
            "against": "",
            "start": -1,
            "step": 0,
            "layer": -1,
            "token": -1,
            "ablated": "",
            "ablated_by": "mean",
        }
        options += [
            f"{name}={getattr(self, name)!r}"
            for name, value in usual.items()
            if getattr(self, name) != value
        ]
        arguments = ", ".join(["model", repr(self.text) if own else "task", *options])
        lines = [f"interp.widgets.lens({arguments}{read})"]
        plain = not self.answer and not self.against and not self.ablated
        if not own and plain and self.by in READS:
            lines.append(
                f"interp.logit_lens(model, task[{self.prompt}], 'resid_post.*@*',"
                f" metric={self.by!r}{read}).plot()"
            )
        return "\n".join(lines)

    def _draw(self, figure: Any) -> None:
        draw(figure, self.reply, self.vocab, self.name)
        figure.suptitle(self.title, fontsize=plots.LABEL, parse_math=False)


def _window(state: dict, layers: int, total: int) -> tuple[list[int], range]:
    """The layers shown, upward to the last, and the positions."""
    step = state["step"] or -(-layers // TALL)
    if step < 1:
        raise ValueError(
            f"every {step}th layer cannot be shown: step is 1 or more, or 0 for as many as fit"
        )
    if state["start"] >= total or state["start"] < -1:
        raise ValueError(
            f"the prompt has positions 0 to {total - 1}, start={state['start']} is none of them"
        )
    rows = sorted(range(layers - 1, -1, -step))
    start = max(0, total - WIDE) if state["start"] == -1 else state["start"]
    return rows, range(start, min(total, start + WIDE))


def _coarse(rows: Sequence[int]) -> list[int]:
    """The last layer, then every eighth, then those between: what there is to see is seen early."""
    order = [rows[-1], *rows[::-8], *rows[::-4], *rows[::-2], *rows[::-1]]
    return list(dict.fromkeys(order))


# --- the static twin ------------------------------------------------------------------------------


def shares(reply: dict, vocab: int) -> tuple[Float[np.ndarray, "layer pos"], float, float]:
    """The colours' places on a scale, and its ends: rank on a logarithmic one, the top at 1."""
    numbers = np.array(reply["numbers"], dtype=float)
    if reply["by"] == "rank":
        return 1 - np.log10(1 + numbers) / np.log10(vocab), 0.0, 1.0
    most = float(np.nanmax(np.abs(numbers), initial=0)) or 1.0
    return (numbers, -most, most) if reply["by"] == "logit_diff" else (numbers, 0.0, 1.0)


def draw(figure: Any, reply: dict, vocab: int, name: str) -> None:
    """The table with its colours and top tokens, into a figure."""
    from matplotlib.patches import Rectangle

    from interp.widgets._colours import colours_of

    tall, wide = len(reply["rows"]), len(reply["tokens"])
    figure.set_size_inches(max(5, 0.72 * wide + 1.8), 0.23 * tall + 1.3)
    ax = figure.subplots()
    values, low, high = shares(reply, vocab)
    options = dict(vmin=low, vmax=high, cmap=colours_of(low), aspect="auto", origin="lower")
    image = ax.imshow(values, **options)
    for i, j in np.ndindex(tall, wide):
        if reply["top"][i][j] is not None:
            word = reply["top"][i][j]
            ax.text(
                j, i, prompts.label(word, 8), ha="center", va="center", fontsize=7, parse_math=False
            )
    ax.set_yticks(range(tall), reply["rows"], fontsize=plots.TICK)
    labels = [f"{reply['start'] + i} {prompts.label(w, 9)}" for i, w in enumerate(reply["tokens"])]
    ax.set_xticks(
        range(wide), labels, fontsize=plots.TICK, rotation=35, ha="right", parse_math=False
    )
    ax.set_xlabel("after this token", fontsize=plots.LABEL)
    ax.set_ylabel("layer", fontsize=plots.LABEL)
    answers = f" ({', '.join(repr(w) for w in reply['answers'])})" if reply["by"] != "top" else ""
    ax.set_title(
        f"{name}: top token; colour: {reply['title']}{answers}",
        fontsize=plots.TITLE,
        loc="left",
        parse_math=False,
    )
    if reply["layer"] in reply["rows"]:  # the chosen cell, and its likeliest tokens
        column = reply["token"] - reply["start"]
        row = list(reply["rows"]).index(reply["layer"])
        box = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=2)
        ax.add_patch(box)
        words = ", ".join(f"{prompts.label(word, 12)} {p:.0%}" for word, p, *_ in reply["list"][:6])
        at = f"layer {reply['layer']} after {labels[column]} (outlined): {words}"
        ax.set_title(f"{ax.get_title(loc='left')}\n{at}", loc="left", fontsize=plots.TITLE)
    bar = figure.colorbar(image, ax=ax)
    bar.set_label(reply["unit"], fontsize=plots.LABEL)
    if reply["by"] == "rank":
        ticks = [rank for rank in (0, 10, 100, 1000, 10000, 100000) if rank < vocab]
        bar.set_ticks(
            [1 - np.log10(1 + r) / np.log10(vocab) for r in ticks],
            labels=[f"{r:,}".replace(",", " ") for r in ticks],
        )
    bar.ax.tick_params(labelsize=plots.TICK)
