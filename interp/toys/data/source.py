"""The base of all toy data: plain options, and batches drawn by a generator from named splits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp._errors import unknown

IGNORE = -100  # a target where no loss is taken: what torch's cross_entropy leaves out


@dataclass(frozen=True)
class Batch:
    """Inputs with their targets, and labels that say what is true of them.

    Example:
        >>> batch = source.batch(64, torch.Generator().manual_seed(0))
        >>> batch.inputs, batch.targets, batch.labels["trigger"]

    Attributes:
        inputs: Token ids [batch pos], or vectors [batch pos d_in].
        targets: The next tokens [batch pos], -100 where no loss is taken.
        labels: By name, tensors whose first axis is the batch.
    """

    inputs: Int[Tensor, "batch pos"] | Float[Tensor, "batch pos d_in"]
    targets: Int[Tensor, "batch pos"]
    labels: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.inputs.shape[:2] != self.targets.shape:
            raise ValueError(
                f"inputs of shape {tuple(self.inputs.shape)} and targets of shape"
                f" {tuple(self.targets.shape)} differ in batch or pos"
            )
        wrong = [name for name, label in self.labels.items() if len(label) != len(self.targets)]
        if wrong:
            raise ValueError(
                f"the label {wrong[0]!r} has {len(self.labels[wrong[0]])} rows, the batch has"
                f" {len(self.targets)}"
            )

    def __len__(self) -> int:
        return len(self.targets)


class Source:
    """A source of batches: a frozen dataclass whose fields are its options.

    A source has n_ctx (positions of a batch), d_vocab (ids of tokens and answers), d_in (None, or
    the width of its vectors: then d_vocab counts answers alone) and `splits`: "train", "heldout",
    and tests of its own. No sequence, pair or class of "train" is in "heldout"; a source's
    docstring says which.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "heldout")
    d_vocab: int
    d_in: int | None = None
    n_ctx: int

    def batch(self, n: int, generator: torch.Generator, split: str = "train") -> Batch:
        """n rows of a split; the same state of the generator gives the same batch, bit for bit."""
        if split not in self.splits:
            raise unknown(f"split of {type(self).__name__}", split, self.splits)
        if n < 1:
            raise ValueError(f"n={n}: a batch has at least one row")
        return self._draw(n, generator, split)

    def _draw(self, n: int, generator: torch.Generator, split: str) -> Batch:
        raise NotImplementedError


def at_least(least: float, **options: float) -> None:
    """None, or a ValueError that names the first option below `least`."""
    for name, value in options.items():
        if value < least:
            raise ValueError(f"{name}={value}: it is at least {least}")


def share(**options: float) -> None:
    """None, or a ValueError that names the first option outside [0, 1]."""
    for name, value in options.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value}: a share lies from 0 to 1 (try {name}=0.5)")


def at(generator: torch.Generator, *shape: int) -> Float[Tensor, "..."]:
    """Uniform numbers in [0, 1)."""
    return torch.rand(shape, generator=generator)


def distinct(n: int, of: int, k: int, generator: torch.Generator) -> Int[Tensor, "n k"]:
    """n rows of k different numbers below `of`, in random order."""
    return at(generator, n, of).topk(k, dim=1).indices


def zipf(n: int, alpha: float) -> Float[Tensor, "n"]:
    """Probabilities proportional to rank ** -alpha (alpha=0: all equal)."""
    weights = torch.arange(1, n + 1, dtype=torch.float64) ** -alpha
    return weights / weights.sum()


def last(answers: Int[Tensor, "batch"], n_ctx: int) -> Int[Tensor, "batch pos"]:
    """Targets at the last position alone."""
    targets = torch.full((len(answers), n_ctx), IGNORE)
    targets[:, -1] = answers
    return targets


# --- halves of all sequences ----------------------------------------------------------------------

_MULTIPLIERS = (
    torch.randint(-(2**62), 2**62, (4096,), generator=torch.Generator().manual_seed(20250101)) | 1
)


def heldout(rows: Int[Tensor, "batch k"]) -> Bool[Tensor, "batch"]:
    """Whether a row of numbers belongs to the held-out half of all rows, decided by a hash.

    A row of one half is never in the other, whatever the generator.
    """
    mixed = (rows.long() * _MULTIPLIERS[: rows.shape[1]]).sum(1)
    mixed = (mixed ^ (mixed >> 29)) * -4658895280553007687
    return mixed < 0


def from_half(draw: Callable[[int], Tensor], n: int, split: str, inputs: int) -> Tensor:
    """n rows of one half, decided by their first `inputs` columns; `draw(m)` gives m rows of both.

    "train" is one half, every other split the other.
    """
    parts: list[Tensor] = []
    n_rows = 0
    for _ in range(1000):
        rows = draw(2 * (n - n_rows) + 16)
        parts.append(rows[heldout(rows[:, :inputs]) == (split != "train")])
        n_rows += len(parts[-1])
        if n_rows >= n:
            return torch.cat(parts)[:n]
    raise ValueError(
        f"the half {split!r} of these sequences is all but empty: too few differ (try a larger"
        " vocabulary or longer sequences)"
    )
