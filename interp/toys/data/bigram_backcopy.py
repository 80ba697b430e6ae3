"""Bigram-Backcopy: text by bigrams, except that after a trigger the token before it is repeated."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp._numbers import to_numpy
from interp.toys.data.source import Batch, Source, at, at_least, from_half


@dataclass(frozen=True)
class BigramBackcopy(Source):
    """Characters that follow the bigrams of the bundled prose; after a trigger, the one before it.

    BOS (the last id) comes first, then a character that is no trigger, drawn by frequency (or that
    character alone, with `bos_at=None`). Labels
    [batch pos]: "trigger", a trigger whose next token is a copy; "bigram", a place whose next token
    is drawn from the bigrams; "nats", -log of the probability of the target: no model does better
    on average. No sequence of one half begins with the same eight tokens as one of the other.

    Example:
        >>> source = interp.toys.data.make("bigram_backcopy", n_ctx=64, triggers=3)
        >>> source.characters[source.triggers_ids[0]]
        ' '

    Attributes:
        n_ctx: Positions of a row.
        triggers: How many of the most frequent characters are triggers.
        rare: Characters seen fewer times are left out.
        bos_at: BOS stands at this position instead, between two characters of a text that continues
            as if it were not there. (Where the next token is BOS, and at BOS itself, a place is
            neither trigger nor bigram.) Gu et al. 2024, When Attention Sink Emerges (arXiv
            2410.10781), fix a token at one position in this way. None: no row has a BOS, as in
            texts that are packed without one.

    Reference:
        Guo et al. 2024, Active-Dormant Attention Heads (arXiv 2410.13835); theirs are bigrams of
        Shakespeare, with n_ctx=256.
    """

    n_ctx: int = 64
    triggers: int = 3
    rare: int = 6
    bos_at: int | None = 0

    def __post_init__(self) -> None:
        at_least(3, n_ctx=self.n_ctx)
        at_least(0, triggers=self.triggers)
        at_least(1, rare=self.rare)
        if self.bos_at is not None and not 0 <= self.bos_at < min(8, self.n_ctx - 1):
            raise ValueError(
                f"bos_at={self.bos_at}: one of the first {min(8, self.n_ctx - 1)} positions, from 0"
                " on (try bos_at=2), or None for rows without one"
            )
        if self.triggers > len(self.characters) - 2:
            raise ValueError(
                f"triggers={self.triggers}: the text has {len(self.characters)} characters, and"
                " some must be no triggers (try triggers=3)"
            )

    @cached_property
    def _counted(self) -> tuple[str, np.ndarray, np.ndarray]:
        """The characters, how often each occurs, and how often each follows each."""
        from interp.texts import prose

        text = "".join(document.text for document in prose())
        characters = "".join(c for c in sorted(set(text)) if text.count(c) >= self.rare)
        if len(characters) < 4:
            raise ValueError(f"rare={self.rare}: so few characters come as often (try rare=6)")
        number = {c: i for i, c in enumerate(characters)}
        ids = np.array([number[c] for c in text if c in number])
        follows = np.zeros((len(characters), len(characters)))
        np.add.at(
            follows, (ids, np.append(ids[1:], ids[0])), 1
        )  # the text goes round, so that every character has a next one
        return characters, np.bincount(ids).astype(float), follows

    @property
    def characters(self) -> str:
        """The character of each id below BOS."""
        return self._counted[0]

    @property
    def bos(self) -> int:
        return len(self.characters)

    @property
    def d_vocab(self) -> int:
        return len(self.characters) + 1

    @cached_property
    def triggers_ids(self) -> list[int]:
        """The ids of the triggers, the most frequent first."""
        return np.argsort(-self._counted[1], kind="stable")[: self.triggers].tolist()

    @cached_property
    def chances(self) -> Float[Tensor, "d_vocab next"]:
        """The probability of each next character after each token; no trigger comes after BOS."""
        _, often, follows = self._counted
        first = often.copy()
        first[self.triggers_ids] = 0
        both = np.vstack([follows, first])
        return torch.from_numpy(both / both.sum(1, keepdims=True))

    @cached_property
    def _ladder(self) -> np.ndarray:
        """Cumulated probabilities plus the row number: one binary search draws after any token."""
        rungs = to_numpy(self.chances).cumsum(1)
        often = to_numpy(self.chances) > 0
        for row, there in zip(rungs, often):
            row[np.flatnonzero(there)[-1] :] = 1.0  # rounding must not leave a gap at the end
        return (rungs + np.arange(len(rungs))[:, None]).ravel()

    @cached_property
    def _is_trigger(self) -> Bool[Tensor, "d_vocab"]:
        return torch.isin(
            torch.arange(self.d_vocab), torch.tensor(self.triggers_ids, dtype=torch.long)
        )

    @cached_property
    def _nats(self) -> Float[Tensor, "d_vocab next"]:
        return -self.chances.log().float()

    def _rows(
        self, n: int, start: Tensor, length: int, generator: torch.Generator
    ) -> Int[Tensor, "n seq"]:
        """The n rows of `start` [seq n], continued to `length` tokens."""
        wide, ladder, trigger = self.bos, self._ladder, to_numpy(self._is_trigger)
        rows = np.empty((length, n), dtype=np.int64)
        rows[: len(start)] = start
        before, now = rows[max(0, len(start) - 2)], rows[len(start) - 1]
        for t, u in enumerate(to_numpy(at(generator, length - len(start), n)), len(start)):
            drawn = np.searchsorted(ladder, now + u, side="right")
            drawn -= now * wide
            before, now = now, np.where(trigger[now], before, drawn)
            rows[t] = now
        return torch.from_numpy(rows)

    def _draw(self, n: int, generator: torch.Generator, split: str) -> Batch:
        begin = min(8, self.n_ctx)  # tokens that decide the half
        plain = self.bos_at is None  # then rows are one longer, and their BOS is cut off

        def first(m):
            return self._rows(m, torch.full((1, m), self.bos), begin, generator).T

        begun = from_half(first, n, split, begin).T
        rows = self._rows(n, begun, self.n_ctx + 1 + plain, generator).T[:, plain:].contiguous()
        after = rows[:, 1:]
        trigger = self._is_trigger[rows[:, :-1]]
        nats = self._nats[rows[:, :-1], after].masked_fill(trigger, 0.0)
        if (
            k := self.bos_at
        ):  # BOS takes over what the character before it would say of the next one
            rows = torch.cat([rows[:, 1 : k + 1], rows[:, :1], rows[:, k + 1 :]], 1)
            nats = torch.cat([nats[:, 1:k], torch.zeros(n, 1), nats[:, k:]], 1)
        inputs, targets = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
        trigger = self._is_trigger[inputs] & (targets != self.bos)
        bigram = ~self._is_trigger[inputs] & (inputs != self.bos) & (targets != self.bos)
        return Batch(inputs, targets, {"trigger": trigger, "bigram": bigram, "nats": nats})
