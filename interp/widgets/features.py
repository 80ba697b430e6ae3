"""`interp.widgets.features`: the latents of a dictionary as cards, one edited at a time to see what
the model then says.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import traitlets as t
from torch import Tensor

from interp import _files, _store
from interp._errors import unknown
from interp._types import Model
from interp.features import Dictionary, Firings, ablate, clamp, steer
from interp.features import firings as found_on
from interp.features.cards.card_figure import draw
from interp.features.cards.card_html import digits, piece
from interp.features.cards.cards import Card, reader
from interp.features.cards.describe import (
    COUNT,
    LEAST,
    NEVER,
    RATIO,
    SHARE,
    UNCLEAR,
    Counted,
    Words,
    plain,
    table,
    visible,
)
from interp.features.cards.logit_effects import raised
from interp.features.sites import side_by_side
from interp.interventions import Intervention, run
from interp.methods.runs.batching import token_ids
from interp.models import bridge
from interp.tasks.task import bos_word
from interp.widgets import _next_tokens as next_tokens
from interp.widgets._base import Widget
from interp.widgets._link import TYPED

EDITS = ("ablate", "clamp", "steer")
WHERE = {"all": None, "end": -1}
MOST = 256  # tokens of a prompt
HELD = 8  # prompts whose unedited runs are kept
RAISED = 3  # tokens that the list names for a latent without a description
WORK = 2e11  # multiplications that this may take: some seconds on one core
PLAIN = "The capital of France is"  # the prompt for a latent that is never on
CHANGED = (
    "the model has changed since the text for these cards was read: make the widget again, new ="
    " interp.widgets.features(model, dictionary), and for its state"
    " interp.widgets.restore(new, old.state)"
)
BELOW = 2.5  # inches of the static twin for the edit


class FeaturesWidget(Widget, files="next_tokens features"):
    """The feature widget; `interp.widgets.features` makes one. Set traits or use the page, it is
    the same.

    latent: which card is shown. text: the prompt the edit is tried on; "" means the latent's
    strongest context. by: "ablate", "clamp" (to strength times the latent's largest value) or
    "steer" (add so much of its direction). where: "all" tokens but the first, or "end". find, sort
    ("number", "density", "largest"): of the list on the page.
    """

    shares = {"prompt": TYPED}
    inputs = ("latent", "text", "by", "strength", "where", "beside")
    kept = ("find", "sort")
    latent = t.Int(0).tag(sync=True)
    text = t.Unicode("").tag(sync=True)
    by = t.Unicode("ablate").tag(sync=True)
    strength = t.Float(1.0).tag(sync=True)
    where = t.Unicode("all").tag(sync=True)
    find, sort = t.Unicode("").tag(sync=True), t.Unicode("number").tag(sync=True)
    beside = t.Int(-1).tag(sync=True)  # another latent, whose card stands below; -1: none
    labels = t.Dict().tag(sync=True)  # latent (as text) -> a name of one's own
    mine = t.List(t.Int()).tag(sync=True)  # latents on one's own list
    file = t.Unicode("").tag(sync=True)  # where labels and list are written
    index = t.Dict().tag(sync=True)  # of all latents: number, words, density, largest
    name = t.Unicode("").tag(sync=True)

    def __init__(
        self,
        index: dict,
        card: Callable[[int], Card],
        compute: Callable[..., Iterator[dict]],
        **traits: Any,
    ) -> None:
        self._card, self._compute = card, compute
        super().__init__(index=index, **traits)
        self.on_msg(self._note)

    def label(self, latent: int, text: str) -> None:
        """Gives a latent a name of one's own ("": none), and writes it to the file."""
        rest = {key: name for key, name in self.labels.items() if key != str(latent)}
        self.labels = {**rest, str(latent): text.strip()} if text.strip() else rest
        self._write_notes()

    def keep(self, latent: int) -> None:
        """Puts a latent on one's own list, or takes it off, and writes it to the file."""
        rest = [one for one in self.mine if one != latent]
        self.mine = rest if latent in self.mine else [*rest, latent]
        self._write_notes()

    def _write_notes(self) -> None:
        if self.file:
            notes = {"dictionary": self.name, "labels": self.labels, "mine": self.mine}
            _store.write_text(Path(self.file), json.dumps(notes, indent=1, ensure_ascii=False))

    def _note(self, widget: Any, message: Any, buffers: Any) -> None:
        do = message.get("do") if isinstance(message, dict) else None
        try:
            if do == "label":
                self.label(int(message["latent"]), str(message.get("text", "")))
            elif do == "keep":
                self.keep(int(message["latent"]))
        except OSError as error:
            self._trouble("notes", f"the notes could not be written: {error}")

    def _ask(self) -> None:
        if self.latent not in self.index["latents"]:
            held = self.index["latents"]
            raise ValueError(
                f"no latent {self.latent}: the list has {len(held):,}, from {min(held)} to"
                f" {max(held)}"
            )
        if self.beside != -1 and self.beside not in self.index["latents"]:
            raise ValueError(f"beside={self.beside}: the list has no such latent (-1: none)")
        if self.by not in EDITS:
            raise unknown("edit", self.by, EDITS)
        if self.where not in WHERE:
            raise unknown("place of the edit", self.where, WHERE)
        state = (self.latent, self.text, self.by, self.strength, self.where)
        other = self.beside

        def job(stale: Callable[[], bool]) -> Iterator[dict | None]:
            more = {} if other == -1 else {"beside": piece(self._card(other))}
            for reply in self._compute(*state, stale):
                yield None if reply is None else {**reply, **more}

        self._work(job, self._show)

    def _show(self, reply: dict) -> None:
        self._give("reply", reply)

    @property
    def card(self) -> Card:
        """The card of the latent that is shown."""
        return self._card(self.latent)

    @property
    def value(self) -> dict[str, Any]:
        """What is shown: the latent, its values in the prompt, the edit, and next tokens with and
        without it.
        """
        reply, card = self.current(), self.card
        return {
            "latent": self.latent,
            "description": card.description,
            "density": card.density,
            "largest": card.maximum,
            "by": self.by,
            "amount": reply.get("amount"),
            "where": self.where,
            "prompt": reply.get("prompt"),
            "tokens": reply.get("tokens"),
            "values": reply.get("values"),
            "next tokens": reply.get("top"),
            "changed": reply.get("changed"),
            "kl": reply.get("kl"),
        }

    @property
    def code(self) -> str:
        """The Python that makes this widget again, and the run with its edit."""
        return self.wait()._program()

    def _program(self) -> str:
        usual = {
            "text": "",
            "by": "ablate",
            "strength": 1.0,
            "where": "all",
            "find": "",
            "sort": "number",
            "beside": -1,
        }
        options = [f"latent={self.latent}"] + [
            f"{name}={getattr(self, name)!r}"
            for name, value in usual.items()
            if getattr(self, name) != value
        ]
        options += [f"labels={self.file!r}"] if self.file else []
        lines = [f"interp.widgets.features(model, dictionary, {', '.join(options)})"]
        prompt, amount = self.reply.get("prompt"), self.reply.get("amount")
        if prompt and self.reply.get("latent") == self.latent:
            at = "" if self.where == "all" else ", at=-1"
            what = f"{self.latent}" if self.by == "ablate" else f"{{{self.latent}: {amount:.4g}}}"
            lines += ["# the same edit, without a widget:"]
            task = f"interp.widgets.prompt_task(model, {prompt!r})"
            lines += [
                f"interp.run(model, {task}, interp.features.{self.by}(dictionary, {what}{at}),"
                " last_only=True).logits"
            ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<features widget: latent {self.latent} of {self.name}>"

    def _draw(self, figure: Any) -> None:
        reply = self.reply
        draw(self.card, figure, BELOW)
        whole = figure.get_size_inches()[1]
        notes = figure.add_axes((0.013, 0.25 / whole, 0.52, (BELOW - 0.6) / whole))
        notes.set_axis_off()
        notes.set(xlim=(0, 1), ylim=(0, 1))
        notes.plot([0, 1.88], [1.1, 1.1], color="#d0d7de", linewidth=0.8, clip_on=False)
        notes.text(0, 0.98, reply.get("title", ""), fontsize=10, weight="bold", va="top")
        if "top" not in reply:
            return
        words = [
            f"{visible(word)} ({digits(value)})" if value else visible(word)
            for word, value in zip(reply["tokens"], reply["values"])
        ]
        notes.text(
            0,
            0.8,
            "prompt, with the values of the latent:",
            fontsize=8.5,
            va="top",
            color="#5f6670",
        )
        notes.text(
            0,
            0.7,
            _wrapped(words),
            fontsize=8,
            va="top",
            family="DejaVu Sans Mono",
            parse_math=False,
            linespacing=1.5,
        )
        notes.text(0, 0.02, f"KL from the unedited run: {reply['kl']:.3g} nats", fontsize=8.5)
        bars = figure.add_axes((0.66, 0.5 / whole, 0.31, (BELOW - 0.75) / whole))
        next_tokens.bars(bars, reply["top"], True, "edited")


def _notes(file: str) -> dict[str, Any]:
    """The labels and the list that a file holds; none where there is no file yet."""
    if not file or not Path(file).exists():
        return {}
    try:
        held = _files.read_json(file, "labels of latents")
        return {"labels": dict(held["labels"]), "mine": [int(one) for one in held["mine"]]}
    except (ValueError, KeyError, TypeError, OverflowError):
        raise ValueError(
            f"{file!r} holds no labels of latents: name another file (labels='labels.json')"
        ) from None


def unclear(counted: Counted, latent: int) -> str:
    """Why no token describes a latent, in a sentence."""
    rows, values = counted.seen.of(latent)
    if len(rows) < COUNT:
        return f"No clear token: it is on at {len(rows)} tokens only."
    ids, weights = counted.ids["on"][rows], values.abs().double()
    shares = torch.zeros(int(ids.max()) + 1, dtype=torch.double).scatter_add(0, ids, weights)
    shares = shares / weights.sum()
    best = int(shares.argmax())
    share, ratio = float(shares[best]), float(shares[best]) / float(counted.base["on"][best])
    word = visible(counted.words(best))
    if share < LEAST:
        why = f"none has {100 * LEAST:.0f} % of its activation"
    elif ratio < RATIO:
        why = f"that is {ratio:.1f} times its share of the text, and {RATIO:g} times is asked"
    else:
        why = f"a description asks for {100 * SHARE:.0f} %"
    return f"No clear token: most of it is at {word!r} ({100 * share:.0f} %), but {why}."


def raises(model: Model, counted: Counted, latents: list[int]) -> dict[int, str]:
    """What latents do to the next token, for those that no token describes: "raises Paris, Rome".

    The latents that are on most often come first, where all would take too long; those that write
    nothing to the stream are left out.
    """
    seen, d = counted.seen, bridge.dims(model)
    most = max(1, int(WORK // (d.d_model * d.d_vocab)))
    latents = sorted(latents, key=lambda latent: -len(seen.of(latent)[0]))[:most]
    dictionary = seen.dictionary
    ids = raised(model, dictionary.writes, dictionary.W_dec[latents], RAISED) if latents else None
    if ids is None:
        return {}
    said = [dict.fromkeys(plain(counted.words(i)) for i in row) for row in ids.tolist()]
    return {latent: f"raises {', '.join(words)}" for latent, words in zip(latents, said)}


def _wrapped(words: list[str], letters: int = 84, lines: int = 6) -> str:
    """Words in a few lines; the first are left out where they are too many."""
    rows: list[str] = [""]
    for word in words:
        if rows[-1] and len(rows[-1]) + 1 + len(word) > letters:
            rows.append("")
        rows[-1] = f"{rows[-1]} {word}".strip()
    return "\n".join(rows if len(rows) <= lines else ["...", *rows[1 - lines :]])


# --- binding a model ------------------------------------------------------------------------------


def features(
    model: Model,
    dictionary: Dictionary,
    on: Any = None,
    *,
    tokens: int = 16_384,
    seed: int = 0,
    labels: str | Path | None = None,
    **state: Any,
) -> FeaturesWidget:
    """A widget of a dictionary's latents: find one, read its card, and edit it.

    Example:
        >>> interp.widgets.features(model, sae)
        >>> interp.widgets.features(model, sae, activations, latent=17, by="steer", strength=2.0)

    Args:
        model: The model.
        dictionary: Its latents, at one site.
        on: The text that cards are read from, as in `interp.features.firings`: a corpus (the
            held-out half of the documentation unless given), `Activations`, or `Firings`, which
            need no forward pass.
        tokens: How many tokens of the text are read.
        seed: Which.
        labels: A JSON file for names of one's own and a list of latents; it is read if it is there
            and written at every change.
        **state: latent, text, by, strength, where, find, sort, beside (a second card). Edits keep
            what the dictionary does not explain (`interp.features.ablate`, `clamp`, `steer`).
    """
    seen = (
        on
        if isinstance(on, Firings)
        else found_on(model, dictionary, on=on, tokens=tokens, seed=seed)
    )
    counted = Counted(seen, Words(getattr(model, "tokenizer", None)))
    make = reader(model, seen, seed=seed, counted=counted)
    made: dict[int, Card] = {}
    prompts: dict[str, Prompt] = {}
    index = listed(counted)
    words = dict(zip(index["latents"], index["words"]))
    first = next((i for i, said in words.items() if said not in (UNCLEAR, NEVER)), min(words))
    words |= raises(model, counted, [i for i, said in words.items() if said == UNCLEAR])
    index["words"] = list(words.values())

    with bridge.LOCK:
        was = bridge.ready(model)

    def card(latent: int) -> Card:
        with bridge.LOCK:
            now = bridge.ready(model)
        if now != was:
            raise ValueError(CHANGED)
        if latent not in made:
            made[latent] = make(latent)
        return made[latent]

    def compute(
        latent: int, text: str, by: str, strength: float, where: str, stale: Callable[[], bool]
    ) -> Iterator[dict | None]:
        """The card first, then the prompt with the latent's values, then what the edit does."""
        one = card(latent)
        amount = 0.0 if by == "ablate" else strength * (one.maximum or 1.0)
        title = edited(latent, by, amount, where)
        reply = {
            "latent": latent,
            "card": piece(one),
            "title": title,
            "amount": amount,
            "largest": one.maximum,
            "why": unclear(counted, latent) if one.description == UNCLEAR else "",
        }
        yield reply
        text = text or strongest(one, model.tokenizer)
        if text not in prompts:
            found = read(model, dictionary, text)
            while len(prompts) >= HELD:
                del prompts[next(iter(prompts))]
            prompts[text] = found
        held = prompts[text]
        values = (
            [0.0, *held.latents[1:, latent].tolist()]
            if seen.skip
            else held.latents[:, latent].tolist()
        )
        words = [model.tokenizer.decode([i]) for i in held.tokens[0].tolist()]
        reply |= {"prompt": text, "tokens": words, "values": values}
        yield reply
        changed = edits(dictionary, latent, by, amount, where)
        logits = (
            run(model, held.tokens, changed, last_only=True, start=held.trail).logits[0].float()
        )
        now, before = logits.log_softmax(-1), held.logits.log_softmax(-1)
        kl = float((before.exp() * (before - now)).sum())
        yield {**reply, "kl": kl, **next_tokens.listed(model.tokenizer, now.exp(), before.exp())}

    state.setdefault("latent", first)
    notes = {} if labels is None else {"file": str(labels), **_notes(str(labels))}
    title = f"{bridge.name(model)} · features: {dictionary.name}"
    own = {"name": dictionary.name, "title": title, "model_now": lambda: bridge.ready(model)}
    return FeaturesWidget(index, card, compute, **own, **notes, **state)


class Prompt:
    """A prompt as it is without an edit: its tokens, the latents at each, its logits, and where a
    run can start in it.
    """

    def __init__(self, tokens: Tensor, latents: Tensor, logits: Tensor, trail: bridge.Trail | None):
        self.tokens, self.latents, self.logits, self.trail = tokens, latents, logits, trail


def read(model: Model, dictionary: Dictionary, text: str) -> Prompt:
    """The prompt of a text, run once."""
    tokens = token_ids(model, text)[0][None]
    most = min(MOST, bridge.dims(model).n_ctx)
    if tokens.shape[1] > most:
        raise ValueError(
            f"the prompt is {tokens.shape[1]} tokens long, at most {most} can be edited here:"
            " shorten it"
        )
    with bridge.recorded(model) as calls:
        done = run(model, tokens, keep=[dictionary.site], last_only=True)
    with torch.no_grad():
        return Prompt(
            tokens,
            dictionary.encode(side_by_side(dictionary.site, done.kept[dictionary.site]))[0].float(),
            done.logits[0].float(),
            bridge.trail_of(model, tokens, calls, done.logits),
        )


def strongest(card: Card, tokenizer: Any) -> str:
    """The latent's strongest context, up to the token it is on at."""
    if not card.bands:
        return PLAIN
    one = card.bands[0].contexts[0]
    own = bos_word(tokenizer)
    return "".join(one.words[: one.at + 1]).removeprefix(own).lstrip() or PLAIN


def edits(
    dictionary: Dictionary, latent: int, by: str, amount: float, where: str
) -> list[Intervention]:
    """The interventions of an edit."""
    at = WHERE[where]
    if by == "ablate":
        return ablate(dictionary, latent, at=at)
    return (clamp if by == "clamp" else steer)(dictionary, {latent: amount}, at=at)


def edited(latent: int, by: str, amount: float, where: str) -> str:
    """What the edit does, in words."""
    name = f"latent {latent}"
    what = {
        "ablate": f"{name} set to zero",
        "clamp": f"{name} set to {digits(amount)}",
        "steer": f"{digits(amount)} of {name}'s direction added",
    }
    return f"{what[by]} at {'every token but the first' if where == 'all' else 'the last token'}"


def listed(counted: Counted) -> dict[str, Any]:
    """What the page lists: each latent's words, share of tokens and largest value."""
    lines = table(counted)

    def short(values):
        return [float(f"{v:.3g}") for v in values]

    return {
        "latents": lines.index.tolist(),
        "words": lines.description.tolist(),
        "density": short(lines.density),
        "largest": short(lines.largest),
        "tokens": len(counted.seen),
    }
