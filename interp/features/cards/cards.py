"""Feature cards: what one latent stands for, as far as a text and the weights can say."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

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
    """A piece of text: its tokens, the latent's value at each (0: not on), and which one it is
    about.
    """

    words: tuple[str, ...]
    values: tuple[float, ...]
    at: int
    chunk: int


class Band(NamedTuple):
    """A part of the latent's range: its name, the values from and to, how many tokens are in it,
    and some contexts.
    """

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
        >>> card.description                    # counted from the text: "on the, a", "after def", "no clear token"
        >>> card.plot(); card.html("17.html")

    Attributes:
        tokens: How many were read.
        on: At how many of them it was on.
        maximum: Its largest value.
        counts: Of values in equal bins from 0 (or the lowest) to the maximum, between `edges`.
        bands: The strongest contexts, then some from each quarter of the tokens it is on at.
        distinct: The tokens behind the description.
        up, down: Tokens whose logits it raises and lowers most (`metadata["effect"]` says how that
            is read); empty where the site writes nothing to the stream.
        neighbours: The latents whose directions are most alike, with their cosine.
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
        """The share of tokens it is on at."""
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
        """The path of the card as one HTML file that asks nothing of the network."""
        from interp.features.cards import card_html

        return card_html.write(self, path)

    def plot(self, figure: Any = None) -> Any:
        """The matplotlib Figure of the card."""
        from interp.features.cards import card_figure

        return card_figure.draw(self, figure)


def card(model: Model | None, dictionary: Dictionary, latent: int, **options: Any) -> Card:
    """The card of one latent; options as in `cards`, which reads many in one pass.

    Example:
        >>> features.card(model, sae, 17, tokens=50_000)
    """
    return cards(model, dictionary, [latent], **options)[0]


class Cards(list):
    """Cards in order; in a notebook all of them are shown."""

    def _repr_html_(self) -> str:
        return "".join(card._repr_html_() for card in self)


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
    """The cards of latents, from one pass over a text the dictionary was not trained on.

    Example:
        >>> many = features.cards(model, sae, [17, 40], tokens=50_000)
        >>> features.page(many, "cards.html")

    Args:
        on: As in `firings`: a corpus, ids, `Activations` that are there already, or `Firings`,
            which need no pass at all.
        options: Length, split, way. Few tokens say little about a latent that is seldom on: the
            card gives both counts.
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
    """The strongest contexts (one a chunk, none twice), then a few drawn by seed from each quarter
    of the tokens it is on at.
    """
    rows, values = seen.of(latent)
    if not len(rows):
        return ()
    order = values.argsort(descending=True, stable=True)
    shown: set[tuple] = set()
    best = _chosen(seen, rows[order], STRONGEST, shown, one_a_chunk=True)

    def contexts(rows_chosen):
        return tuple(_context(seen, rows, values, row, words) for row in rows_chosen)

    top = [one.values[one.at] for one in contexts(best)]
    bands_found = [Band("strongest", min(top), max(top), len(top), contexts(best))]
    parts = order.tensor_split(BANDS) if len(order) >= 2 * BANDS else ()
    for number, part in enumerate(parts):
        mixed = part[
            torch.randperm(
                len(part),
                generator=torch.Generator().manual_seed(seed * 1_000_003 + latent * BANDS + number),
            )
        ]
        rows_chosen = _chosen(seen, rows[mixed], EACH, shown)
        name = f"{100 - 100 * (number + 1) // BANDS} to {100 - 100 * number // BANDS} %"
        bands_found.append(
            Band(
                name,
                float(values[part].min()),
                float(values[part].max()),
                len(part),
                contexts(rows_chosen),
            )
        )
    return tuple(bands_found)


def _chosen(
    seen: Firings, rows: Tensor, n: int, shown: set[tuple], one_a_chunk: bool = False
) -> list[int]:
    """The first n rows whose context was not shown yet: the same words, or (at the top) the same
    chunk.
    """
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
