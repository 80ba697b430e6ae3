"""Feature cards: what one latent stands for, as far as a text and the weights can say."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.features.cards import logit_effects
from interp.features.cards.describe import Counted, Distinct, Words
from interp.features.cards.firings import Firings, firings
from interp.features.dictionary import Dictionary
from interp.models import bridge

BEFORE, AFTER = 12, 6  # tokens of a context around the marked one
STRONGEST, BANDS, EACH = 8, 4, 3  # contexts at the top, bands of the range, contexts of each
BINS, LOGITS, NEIGHBOURS = 24, 8, 6
FIRST_LEFT_OUT = "the first token of each chunk is left out"


class Context(NamedTuple):
    """A piece of text: its tokens, the latent's value at each (0: not on), and the marked token.

    Attributes:
        words: The tokens as text.
        values: The latent's value at each.
        at: The index of the marked token.
        chunk: The chunk of the text that it comes from.
    """

    words: tuple[str, ...]
    values: tuple[float, ...]
    at: int
    chunk: int


class Band(NamedTuple):
    """A part of a latent's range: name, lowest and highest value, number of tokens, contexts."""

    name: str
    low: float
    high: float
    count: int
    contexts: tuple[Context, ...]


@dataclass(frozen=True, eq=False)
class Card:
    """What is known of one latent.

    Example:
        >>> card = features.card(model, sae, 17)
        >>> card.description             # "on the, a", "after def", "no clear token"
        >>> card.plot(); card.html("17.html")

    Attributes:
        latent: Its number.
        description: A few words, counted from the text.
        dictionary: The dictionary's name.
        site: What the dictionary reads, and what it writes if that differs.
        tokens: How many tokens were read.
        on: At how many of them the latent was on.
        maximum: Its largest value.
        edges, counts: Histogram of its values, from 0 (or the lowest) to the maximum.
        bands: The strongest contexts, then some from each quarter of the tokens where it is on.
        distinct: The tokens behind the description.
        up, down: Tokens whose logits it raises and lowers most; metadata["effect"] says how that is
            computed. Empty if the site does not write to the residual stream.
        neighbours: The latents with the most similar directions, with their cosine.
        metadata: Text, model, kind of dictionary, seed.
    """

    latent: int
    description: str
    dictionary: str
    site: str
    tokens: int
    on: int
    maximum: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    bands: tuple[Band, ...]
    distinct: tuple[Distinct, ...]
    up: tuple[tuple[str, float], ...]
    down: tuple[tuple[str, float], ...]
    neighbours: tuple[tuple[int, float], ...]
    metadata: dict[str, Any]

    @property
    def density(self) -> float:
        """The share of tokens at which it is on."""
        return self.on / self.tokens

    def __repr__(self) -> str:
        return (
            f"Card({self.latent}: {self.description}; on at {self.on:,} of {self.tokens:,} tokens,"
            f" {self.dictionary})"
        )

    def _repr_html_(self) -> str:
        from interp.features.cards import card_html

        return card_html.piece(self)

    def html(self, path: str | Path) -> Path:
        """The path of the card as one HTML file that makes no network request."""
        from interp.features.cards import card_html

        return card_html.write(self, path)

    def plot(self, figure: Any = None) -> Any:
        """The matplotlib Figure of the card."""
        from interp.features.cards import card_figure

        return card_figure.draw(self, figure)


@torch_defaults()
def card(model: Model | None, dictionary: Dictionary, latent: int, **options: Any) -> Card:
    """The card of one latent; `cards` computes several in one pass.

    Example:
        >>> features.card(model, sae, 17, tokens=50_000)

    Args:
        model: The model whose activations are read.
        dictionary: Whose latent it is.
        latent: The number of the latent.
        options: See `cards`.

    Returns:
        A `Card`, which shows itself in a notebook.
    """
    return cards(model, dictionary, [latent], **options)[0]


class Cards(list):
    """Cards in order; in a notebook all of them are shown."""

    def _repr_html_(self) -> str:
        return "".join(card._repr_html_() for card in self)


@torch_defaults()
def cards(
    model: Model | None,
    dictionary: Dictionary,
    latents: Iterable[int],
    *,
    on: Any = None,
    tokens: int = 32_768,
    seed: int = 0,
    **options: Any,
) -> Cards:
    """The cards of latents, from one pass over a text that the dictionary was not trained on.

    Example:
        >>> several = features.cards(model, sae, [17, 40], tokens=50_000)
        >>> features.page(several, "cards.html")

    Args:
        model: The model whose activations are read; None if `on` is `Firings`.
        dictionary: Whose latents they are.
        latents: The numbers of the latents.
        on: A corpus, token ids, `Activations`, or `Firings`, which need no pass; see `firings`.
        tokens: How many tokens are read. A rarely active latent needs many: the card says at how
            many tokens it was on.
        seed: Decides which chunks are read and which contexts are shown.
        options: `length`, `split` and `backend` of `firings`.

    Returns:
        `Cards`, in the order of `latents`.

    Raises:
        ValueError: If a latent does not exist, or the firings are of another dictionary.
    """
    which = list(latents)
    seen = (
        on
        if isinstance(on, Firings)
        else firings(model, dictionary, which, on=on, tokens=tokens, seed=seed, **options)
    )
    if seen.dictionary is not dictionary:
        raise ValueError(
            f"these firings are of {seen.dictionary.name!r}, not of {dictionary.name!r}"
        )
    make = reader(model, seen, seed=seed)
    return Cards(make(latent) for latent in which)


def reader(
    model: Model | None, seen: Firings, *, seed: int = 0, counted: Counted | None = None
) -> Callable[[int], Card]:
    """A function from a latent to its card; what all cards share is computed once."""
    dictionary = seen.dictionary
    counted = counted or Counted(seen, Words(getattr(model, "tokenizer", None)))
    units = normalize(dictionary.W_dec.float(), dim=-1)
    writes = (
        model is not None
        and logit_effects.into_stream(model, dictionary.writes, dictionary.W_dec[:1].float())
        is not None
    )
    scale = logit_effects.scale(model, seen.tokens, seen.skip) if writes else 1.0
    place = dictionary.site if dictionary.to is None else f"{dictionary.site} -> {dictionary.to}"
    effect = (
        logit_effects.CONVENTION
        if writes
        else f"{dictionary.writes} writes nothing to the stream by itself"
    )
    metadata = {
        **seen.metadata,
        "kind": dictionary.kind,
        "first": FIRST_LEFT_OUT if seen.skip else "no token is left out",
        "effect": effect,
        "seed": seed,
    }
    metadata |= {"model": bridge.name(model)} if model is not None else {}

    def make(latent: int) -> Card:
        rows, values = seen.of(latent)
        distinct = counted.distinct(latent)
        low, high = (
            (float(values.min().clamp_max(0)), float(values.max())) if len(values) else (0.0, 0.0)
        )
        counts, edges = (
            np.histogram(to_numpy(values), BINS, (low, high))
            if high > low
            else (np.zeros(0, int), np.zeros(0))
        )
        up, down = (
            _effects(model, dictionary, latent, (high or 1.0) / scale, counted.words)
            if writes
            else ((), ())
        )
        return Card(
            latent,
            counted.description(latent, distinct),
            dictionary.name,
            place,
            len(seen),
            len(rows),
            high,
            tuple(map(float, edges)),
            tuple(map(int, counts)),
            bands(seen, latent, counted.words, seed),
            tuple(distinct),
            up,
            down,
            neighbours(units, latent),
            dict(metadata),
        )

    return make


def neighbours(units: Tensor, latent: int, n: int = NEIGHBOURS) -> tuple[tuple[int, float], ...]:
    """The latents whose directions have the largest cosine with this one's."""
    cosines = units @ units[latent]
    cosines[latent] = -2
    best = cosines.topk(min(n, len(cosines) - 1))
    return tuple(zip(best.indices.tolist(), best.values.tolist()))


def _effects(
    model: Model | None, dictionary: Dictionary, latent: int, times: float, words: Words
) -> tuple[tuple, tuple]:
    """The tokens whose logits a latent raises most and lowers most, with the effects."""
    logits = (
        logit_effects.effects(model, dictionary.writes, dictionary.W_dec[latent : latent + 1])[0]
        * times
    )
    ends = [logits.topk(min(LOGITS, len(logits)), largest=largest) for largest in (True, False)]
    return tuple(
        tuple((words(int(i)), float(v)) for i, v in zip(end.indices, end.values)) for end in ends
    )


# --- contexts -------------------------------------------------------------------------------------


def bands(seen: Firings, latent: int, words: Words, seed: int = 0) -> tuple[Band, ...]:
    """The strongest contexts, then a few from each quarter of the tokens where a latent is on.

    The strongest come from different chunks; the others are drawn by seed.
    """
    rows, values = seen.of(latent)
    if not len(rows):
        return ()
    order = values.argsort(descending=True, stable=True)
    shown: set[tuple] = set()
    best = _chosen(seen, rows[order], STRONGEST, shown, one_a_chunk=True)

    def contexts(shown_rows):
        return tuple(_context(seen, rows, values, row, words) for row in shown_rows)

    top = [context.values[context.at] for context in contexts(best)]
    result = [Band("strongest", min(top), max(top), len(top), contexts(best))]
    parts = order.tensor_split(BANDS) if len(order) >= 2 * BANDS else ()
    for number, part in enumerate(parts):
        mixed = part[
            torch.randperm(
                len(part),
                generator=torch.Generator().manual_seed(seed * 1_000_003 + latent * BANDS + number),
            )
        ]
        shown_rows = _chosen(seen, rows[mixed], EACH, shown)
        name = f"{100 - 100 * (number + 1) // BANDS} to {100 - 100 * number // BANDS} %"
        result.append(
            Band(
                name,
                float(values[part].min()),
                float(values[part].max()),
                len(part),
                contexts(shown_rows),
            )
        )
    return tuple(result)


def _chosen(
    seen: Firings, rows: Tensor, n: int, shown: set[tuple], one_a_chunk: bool = False
) -> list[int]:
    """The first n rows whose context is new: other words, and (at the top) another chunk."""
    chosen: list[int] = []
    chunks: set[int] = set()
    for row, chunk, pos in zip(rows.tolist(), *(part.tolist() for part in seen.where(rows))):
        key = tuple(seen.tokens[chunk, max(0, pos - 4) : pos + 1].tolist())
        if key in shown or one_a_chunk and chunk in chunks:
            continue
        shown.add(key)
        chunks.add(chunk)
        chosen.append(row)
        if len(chosen) == n:
            break
    return chosen


def _context(seen: Firings, rows: Tensor, values: Tensor, row: int, words: Words) -> Context:
    """The tokens around a row, with the latent's values."""
    per_chunk = seen.tokens.shape[1] - seen.skip
    chunk, pos = row // per_chunk, row % per_chunk + seen.skip
    start, stop = max(0, pos - BEFORE), min(seen.tokens.shape[1], pos + AFTER + 1)
    chunk_values = torch.zeros(seen.tokens.shape[1])
    first, last = torch.searchsorted(
        rows, torch.tensor([chunk * per_chunk, (chunk + 1) * per_chunk])
    ).tolist()
    chunk_values[rows[first:last] - chunk * per_chunk + seen.skip] = values[first:last]
    text = tuple(words(i) for i in seen.tokens[chunk, start:stop].tolist())
    return Context(text, tuple(chunk_values[start:stop].tolist()), pos - start, chunk)
