"""Sparse features: vectors with few entries that are not zero."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from interp.toys.data.source import IGNORE, Batch, Source, at_least, zipf


@dataclass(frozen=True)
class Superposition(Source):
    """Vectors whose entries are on with probability p_i ~ i ** -(1 + alpha), uniform in [0, 2).

    There is one position; the vector is its own target, so all targets are -100. "heldout" has the
    same distribution: values are real numbers, and none occurs twice. Label: "on" [batch features].

    Example:
        >>> source = interp.toys.data.make("superposition", features=400, alpha=0.5)
        >>> source.batch(512, generator).inputs[:, 0]           # [batch features]

    Attributes:
        features: How many entries.
        alpha: How fast their probabilities fall.
        active: How many entries are on, on average.

    Reference:
        Liu, Liu and Gore 2025, Superposition Yields Robust Neural Scaling (arXiv 2505.10465).
    """

    features: int = 400
    alpha: float = 0.0
    active: float = 1.0
    n_ctx = 1

    def __post_init__(self) -> None:
        at_least(1, features=self.features)
        if not self.active > 0 or self.chances.max() > 1:
            raise ValueError(
                f"active={self.active}: the most frequent feature would be on with chance"
                f" {float(self.chances.max()):.3g}, which lies above 0 and up to 1 (try active=1.0)"
            )

    @property
    def d_in(self) -> int:
        return self.features

    @property
    def d_vocab(self) -> int:
        return self.features

    @cached_property
    def chances(self) -> Float[Tensor, "features"]:
        """The probability that each feature is on."""
        return self.active * zipf(self.features, 1 + self.alpha)

    def vectors(self, n: int, generator: torch.Generator) -> Float[Tensor, "n features"]:
        """n vectors; one uniform number u decides both: on if u < p_i, and u / p_i is uniform."""
        u = torch.rand((n, self.features), generator=generator, dtype=torch.float64).div_(
            self.chances
        )  # rare needs fine
        return u.masked_fill_(u >= 1, 0.0).mul_(2).float()

    def _draw(self, n: int, generator: torch.Generator, split: str) -> Batch:
        x = self.vectors(n, generator)
        return Batch(x[:, None], torch.full((n, 1), IGNORE), {"on": x > 0})
