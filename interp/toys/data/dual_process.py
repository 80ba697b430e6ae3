"""Dual process: items whose class can be read from the context or recalled from the weights."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.toys.data.source import Batch, Source, at_least, distinct, from_half, last, share, zipf


@dataclass(frozen=True)
class DualProcess(Source):
    """Items, each followed by the marker of its class, then an item whose marker is the answer.

    The query is one of the items of the context, except in a share `absent` of the rows, which need
    the weights. Ids: items by rank, the two markers, then `unseen` items that no other split shows.

    Splits: "heldout" (the same distribution; shares no sequence with "train"), "structural" (unseen
    items with random classes: only the context helps), "head" and "tail" (items of the first or
    last tenth of the ranks, the query's markers flipped: context against weights), "weights" (the
    query is not in the context).

    Labels [batch]: "query" (its rank; -1 unseen), "known" (the marker according to the weights; -1
    unseen), "absent".

    Example:
        >>> source = interp.toys.data.make("dual_process", items=1000, alpha=1.0, absent=0.1)

    Attributes:
        items: How many items; each has one of two classes, drawn by seed.
        pairs: Items in a context.
        alpha: Items come with probability rank ** -alpha.
        absent: The share of rows whose query is not in the context.
        unseen: How many items only "structural" shows.
        seed: Decides the classes.

    Reference:
        Anand et al. 2025, Dual Process Learning (arXiv 2406.00053), whose sequences are patterns of
        parts of speech: this is the same design with markers.
    """

    items: int = 1000
    pairs: int = 4
    alpha: float = 1.0
    absent: float = 0.1
    unseen: int = 100
    seed: int = 0

    splits = ("train", "heldout", "structural", "head", "tail", "weights")

    def __post_init__(self) -> None:
        at_least(1, pairs=self.pairs)
        at_least(20, items=self.items)
        share(absent=self.absent)
        if self.unseen < self.pairs or self.items <= self.pairs:
            raise ValueError(
                f"pairs={self.pairs}: a context takes as many different items, there are"
                f" items={self.items} and unseen={self.unseen}"
            )

    @property
    def d_vocab(self) -> int:
        return self.items + 2 + self.unseen

    @property
    def n_ctx(self) -> int:
        return 2 * self.pairs + 1

    @cached_property
    def classes(self) -> Int[Tensor, "items"]:
        """The class of each item, 0 or 1, balanced in head and tail alike."""
        g = torch.Generator().manual_seed(self.seed)
        tenths = torch.arange(self.items).split(max(2, self.items // 10))
        return torch.cat([(torch.randperm(len(ranks), generator=g) % 2) for ranks in tenths])

    @cached_property
    def chances(self) -> Float[Tensor, "items"]:
        """The probability of each item."""
        return zipf(self.items, self.alpha)

    def _rows(self, n: int, g: torch.Generator, split: str) -> Int[Tensor, "n wide"]:
        """Sequences, then the answer, and whether the query is absent."""
        tenth = self.items // 10
        if split == "structural":
            item = self.items + 2 + distinct(n, self.unseen, self.pairs, g)
            shown = torch.randint(2, (n, self.pairs), generator=g)
        else:
            ends = {"head": (0, tenth), "tail": (self.items - tenth, self.items)}.get(split)
            if ends:
                item = torch.randint(*ends, (n, self.pairs), generator=g)
            else:
                item = torch.multinomial(self.chances, n * self.pairs, True, generator=g).view(
                    n, self.pairs
                )
            shown = self.classes[item]
        at = torch.randint(self.pairs, (n, 1), generator=g)
        query, answer = item.gather(1, at), shown.gather(1, at)
        if split in ("head", "tail"):
            shown = torch.where(item == query, 1 - shown, shown)
            answer = 1 - answer
        absent = torch.zeros(n, 1, dtype=torch.bool)
        if split in ("train", "heldout", "weights"):
            absent = torch.rand((n, 1), generator=g) < (1.0 if split == "weights" else self.absent)
            rows = absent[:, 0]
            if rows.any():
                left = self.chances.repeat(int(rows.sum()), 1).scatter(1, item[rows], 0.0)
                query[rows] = torch.multinomial(left, 1, generator=g)
                answer[rows] = self.classes[query[rows]]
        pairs = torch.stack([item, self.items + shown], 2).flatten(1)
        return torch.cat([pairs, query, self.items + answer, absent.long()], 1)

    def _draw(self, n: int, generator: torch.Generator, split: str) -> Batch:
        if split in ("train", "heldout"):
            rows = from_half(lambda m: self._rows(m, generator, split), n, split, self.n_ctx)
        else:
            rows = self._rows(n, generator, split)
        query = rows[:, -3]
        seen = query < self.items
        query = torch.where(seen, query, -1)
        known = torch.where(seen, self.items + self.classes[query], -1)
        truth = {"query": query, "known": known, "absent": rows[:, -1].bool()}
        return Batch(rows[:, :-2].contiguous(), last(rows[:, -2], self.n_ctx), truth)
