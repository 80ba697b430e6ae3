"""Modular addition: all pairs of numbers, split once into training and held-out pairs."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from interp.toys.data.source import Batch, Source, at_least, last


@dataclass(frozen=True)
class ModularAddition(Source):
    """a, b, = and then (a + b) mod p: all p * p ordered pairs, a share of them to train on.

    A batch draws pairs with replacement. "=" is the id p. Labels: "a", "b" [batch]. No pair is in
    both splits; the mirrored pair b, a may be.

    Example:
        >>> source = interp.toys.data.make("modular_addition", p=53, share=0.3)
        >>> source.all("heldout")           # every pair of it, once

    Attributes:
        p: The modulus.
        share: The share of pairs in "train".
        seed: Decides which pairs.

    Reference:
        Power et al. 2022 (arXiv 2201.02177); Nanda et al. 2023 (arXiv 2301.05217) use p=113,
        share=0.3, and all pairs at each step.
    """

    p: int = 53
    share: float = 0.3
    seed: int = 0
    n_ctx = 3

    def __post_init__(self) -> None:
        at_least(2, p=self.p)
        if not 0 < self.share < 1 or not 1 <= round(self.share * self.p**2) < self.p**2:
            raise ValueError(
                f"share={self.share}: both splits of the {self.p**2} pairs need some (try"
                " share=0.3)"
            )

    @property
    def d_vocab(self) -> int:
        return self.p + 1

    @cached_property
    def _pairs(self) -> dict[str, Int[Tensor, "pairs"]]:
        order = torch.randperm(self.p**2, generator=torch.Generator().manual_seed(self.seed))
        cut = round(self.share * self.p**2)
        return {"train": order[:cut], "heldout": order[cut:]}

    def all(self, split: str = "train") -> Batch:
        """Every pair of a split once, in the order in which they were drawn."""
        if split not in self._pairs:
            from interp._errors import unknown

            raise unknown("split of ModularAddition", split, self.splits)
        return self._of(self._pairs[split])

    def _of(self, pair: Int[Tensor, "batch"]) -> Batch:
        a, b = pair // self.p, pair % self.p
        inputs = torch.stack([a, b, torch.full_like(a, self.p)], 1)
        return Batch(inputs, last((a + b) % self.p, 3), {"a": a, "b": b})

    def _draw(self, n: int, generator: torch.Generator, split: str) -> Batch:
        pairs = self._pairs[split]
        return self._of(pairs[torch.randint(len(pairs), (n,), generator=generator)])
