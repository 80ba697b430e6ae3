"""Short descriptions of latents, counted from a text: the tokens that stand out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.features.cards.firings import Firings

UNCLEAR, NEVER = "no clear token", "never on"
PLACES = {
    "on": 0,
    "after": -1,
    "before": 1,
}  # the token itself, the one before it, the one that follows
SHARE, RATIO, COUNT, WORDS = 0.3, 5.0, 3, 4
LEAST = 0.05  # share of the activation that a token needs to be named


class Distinct(NamedTuple):
    """A token that stands out where a latent is on.

    Attributes:
        place: "on", "after" (the token before the latent's), or "before" (the one that follows).
        word: The token as text.
        share: The share of the latent's activation that falls on it.
        ratio: That share divided by the token's share of the text.
        count: At how many tokens.
    """

    place: str
    word: str
    share: float
    ratio: float
    count: int


@dataclass
class Words:
    """Token ids as text, each decoded once; the id itself without a tokenizer."""

    tokenizer: Any
    known: dict[int, str] = field(default_factory=dict)

    def __call__(self, token: int) -> str:
        if token not in self.known:
            self.known[token] = (
                str(token) if self.tokenizer is None else self.tokenizer.decode([token])
            )
        return self.known[token]


class Counted:
    """How often each token of the text stands at, before and after a position.

    Shares of a latent's activation are compared with these frequencies.
    """

    def __init__(self, seen: Firings, words: Words):
        self.seen, self.words = seen, words
        self.ids = {name: _at(seen, torch.arange(len(seen)), step) for name, step in PLACES.items()}
        self.base = {name: torch.bincount(ids[ids >= 0]).float() for name, ids in self.ids.items()}
        self.base = {name: counts / counts.sum().clamp_min(1) for name, counts in self.base.items()}

    def distinct(self, latent: int) -> list[Distinct]:
        """The tokens that stand out for a latent, best first, in the clearest place."""
        rows, values = self.seen.of(latent)
        weights = values.abs().double()
        by_place = [self._place(name, ids[rows], weights) for name, ids in self.ids.items()]
        own_place, *neighbours = by_place
        clear = [
            tokens
            for tokens in (
                [own_place] if _clear(own_place) else sorted(neighbours, key=_share, reverse=True)
            )
            if _clear(tokens)
        ]
        return clear[0] if clear else []

    def _place(self, name: str, ids: Tensor, weights: Tensor) -> list[Distinct]:
        """The tokens that stand out in one place, the largest share first."""
        inside = ids >= 0
        ids, weights = ids[inside], weights[inside]
        if not len(ids):
            return []
        token_ids, which, counts = ids.unique(return_inverse=True, return_counts=True)
        share = (
            torch.zeros(len(token_ids), dtype=torch.double).scatter_add(0, which, weights)
            / weights.sum()
        )
        ratio = share / self.base[name][token_ids]
        named = ((ratio >= RATIO) & (counts >= COUNT) & (share >= LEAST)).nonzero()[:, 0]
        best = named[share[named].argsort(descending=True, stable=True)][:WORDS].tolist()
        return [
            Distinct(
                name,
                self.words(int(token_ids[i])),
                float(share[i]),
                float(ratio[i]),
                int(counts[i]),
            )
            for i in best
        ]

    def description(self, latent: int, distinct: Sequence[Distinct] | None = None) -> str:
        """A few words: "on the, a", "after def", "no clear token", "never on"."""
        if not len(self.seen.of(latent)[0]):
            return NEVER
        distinct = self.distinct(latent) if distinct is None else distinct
        if not distinct:
            return UNCLEAR
        words = dict.fromkeys(plain(token.word) for token in distinct)
        return f"{distinct[0].place} {', '.join(words)}"


@torch_defaults()
def describe(model: Model | None, seen: Firings) -> Any:
    """A pandas DataFrame with a row per latent: description, clarity, density and largest value.

    Example:
        >>> lines = features.describe(model, features.firings(model, sae))
        >>> lines[lines.description.str.contains("return")]

    Args:
        model: Its tokenizer turns ids into words; None shows ids.
        seen: What `firings` returned.

    Returns:
        Columns "description"; "share", the share of the latent's activation on its clearest token
        (NaN if none is clear); "density", the share of tokens at which it is on; and "largest", its
        largest value.
    """
    return table(Counted(seen, Words(getattr(model, "tokenizer", None))))


def table(counted: Counted) -> Any:
    """The table of `describe`."""
    import pandas as pd

    seen, rows = counted.seen, []
    for latent in seen.latents:
        distinct = counted.distinct(latent)
        rows.append(
            (
                latent,
                counted.description(latent, distinct),
                distinct[0].share if distinct else float("nan"),
            )
        )
    frame = pd.DataFrame(rows, columns=["latent", "description", "share"]).set_index("latent")
    frame.attrs["tokens"] = len(seen)
    return frame.assign(density=to_numpy(seen.density), largest=to_numpy(seen.maxima))


def _clear(tokens: Sequence[Distinct]) -> bool:
    """Whether tokens together have a large enough share to describe a latent."""
    return _share(tokens) >= SHARE


def _share(tokens: Sequence[Distinct]) -> float:
    """The share of a latent's activation on these tokens together."""
    return sum(token.share for token in tokens)


def _at(seen: Firings, rows: Tensor, step: int) -> Tensor:
    """The ids of the tokens `step` positions from rows; -1 outside the chunk."""
    chunk, pos = seen.where(rows)
    pos = pos + step
    inside = (pos >= 0) & (pos < seen.tokens.shape[1])
    return torch.where(inside, seen.tokens[chunk, pos.clamp(0, seen.tokens.shape[1] - 1)], -1)


def plain(word: str) -> str:
    """A token as a word in a sentence: its space left out; signs and white space in quotes."""
    shown = word.strip() or visible(word)
    return shown if any(letter.isalnum() for letter in shown) else f"“{shown}”"


def visible(word: str) -> str:
    """A token with visible white space."""
    shown = word.replace("\n", "↵").replace("\t", "⇥").replace("\r", "↵")
    return "␣" + shown[1:] if shown.startswith(" ") else shown or "∅"
