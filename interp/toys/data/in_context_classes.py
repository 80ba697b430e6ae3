"""In-context classification: items with labels, then an item whose label is the answer (Reddy)."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.toys.data.source import Batch, Source, at_least, last, share, zipf


@dataclass(frozen=True)
class InContextClasses(Source):
    """N items, each followed by its label, then an item whose label is the answer; all are vectors.

    An item is its class's mean with noise, (mean + epsilon noise) / sqrt(1 + epsilon ** 2), where
    the entries of both have variance 1 / D. A context of N pairs has N / B classes, each B times,
    and the query is of one of them; a share 1 - `bursty` of the contexts has N classes drawn freely
    and a query of any class. Vectors [pos positions + width] begin with a one-hot position, counted
    from a random offset; d_vocab = L, and the loss is at the last position.

    Splits: "heldout" (the same classes, other items), "icl" (new classes for each row, with random
    labels: only the context helps), "iwl" (the query's class is not in the context: only the
    weights help), "swap" (the classes of "train" with their labels shifted: context against
    weights).

    Labels: "classes" [batch N + 1], the query's last, -1 if new; "context" [batch N], the labels
    shown; "match" [batch pos], the positions of labels whose item is of the query's class;
    "weights" [batch], the query's own label (-1 if new).

    Example:
        >>> source = interp.toys.data.make("in_context_classes", classes=1024, labels=32)
        >>> batch = source.batch(128, generator, split="icl")

    Attributes:
        classes: How many classes (K); class k has the label k mod `labels`.
        labels: How many labels (L).
        pairs: Items in a context (N).
        burstiness: How often each class of a context occurs (B).
        epsilon: The size of the noise.
        alpha: Classes come with probability rank ** -alpha.
        bursty: The share of contexts in which classes repeat.
        width: Dimensions of an item (D).
        positions: Dimensions of the one-hot position.
        seed: Decides the means.

    Reference:
        Reddy 2024, The mechanistic basis of data dependence and abrupt learning (arXiv 2312.03002).
    """

    classes: int = 1024
    labels: int = 32
    pairs: int = 8
    burstiness: int = 4
    epsilon: float = 0.1
    alpha: float = 0.0
    bursty: float = 1.0
    width: int = 63
    positions: int = 65
    seed: int = 0

    splits = ("train", "heldout", "icl", "iwl", "swap")

    def __post_init__(self) -> None:
        at_least(2, labels=self.labels)
        at_least(1, pairs=self.pairs, burstiness=self.burstiness, width=self.width)
        at_least(0, epsilon=self.epsilon)
        share(bursty=self.bursty)
        if self.pairs % self.burstiness:
            raise ValueError(
                f"burstiness={self.burstiness}: it divides pairs={self.pairs} (each class of a"
                " context comes as often)"
            )
        if self.classes < self.labels or self.classes <= self.pairs:
            raise ValueError(
                f"classes={self.classes}: there are at least as many as labels={self.labels}, and"
                f" more than pairs={self.pairs}"
            )
        if self.positions < self.n_ctx:
            raise ValueError(
                f"positions={self.positions}: {self.pairs} pairs and a query take {self.n_ctx}"
            )

    @property
    def n_ctx(self) -> int:
        return 2 * self.pairs + 1

    @property
    def d_in(self) -> int:
        return self.positions + self.width

    @property
    def d_vocab(self) -> int:
        return self.labels

    @cached_property
    def _means(self) -> tuple[Float[Tensor, "classes width"], Float[Tensor, "labels width"]]:
        """The classes' means, and the vectors of the labels."""
        g = torch.Generator().manual_seed(self.seed)

        def draw(n):
            return torch.randn((n, self.width), generator=g) / self.width**0.5

        return draw(self.classes), draw(self.labels)

    @cached_property
    def chances(self) -> Float[Tensor, "classes"]:
        """The probability of each class."""
        return zipf(self.classes, self.alpha)

    def _classes(self, n: int, g: torch.Generator, split: str) -> Int[Tensor, "n several"]:
        """The classes of each context, the query's last; for "icl" numbered within the row."""
        few = self.pairs // self.burstiness

        def free(k):
            return torch.multinomial(self.chances, n * k, True, generator=g).view(n, k)

        drawn = torch.arange(few).repeat(n, 1) if split == "icl" else free(few)
        if split == "iwl":
            context = free(self.pairs)
            return torch.cat([context, self._others(context, g)], 1)
        shuffled = torch.rand((n, self.pairs), generator=g).argsort(1)
        context = drawn.repeat(1, self.burstiness).gather(1, shuffled)
        query = context.gather(1, torch.randint(self.pairs, (n, 1), generator=g))
        both = torch.cat([context, query], 1)
        if self.bursty < 1 and split in ("train", "heldout"):
            both = torch.where(
                torch.rand((n, 1), generator=g) < self.bursty, both, free(self.pairs + 1)
            )
        return both

    def _others(self, context: Int[Tensor, "n pairs"], g: torch.Generator) -> Int[Tensor, "n 1"]:
        """For each row a class that is not in its context."""
        left = self.chances.repeat(len(context), 1).scatter(1, context, 0.0)
        return torch.multinomial(left, 1, generator=g)

    def _draw(self, n: int, generator: torch.Generator, split: str) -> Batch:
        g, n_pairs = generator, self.pairs
        classes = self._classes(n, g, split)
        means, shown = self._means
        true_labels = classes % self.labels
        if split == "icl":
            new = torch.randn((n, n_pairs, self.width), generator=g) / self.width**0.5
            mean = new.gather(1, classes[:, :, None].expand(-1, -1, self.width))
            true_labels = torch.randint(self.labels, (n, n_pairs), generator=g).gather(1, classes)
        else:
            mean = means[classes]
        labels = true_labels
        if split == "swap":
            labels = (
                true_labels + torch.randint(1, self.labels, (n, 1), generator=g)
            ) % self.labels
        noise = torch.randn(mean.shape, generator=g) * (self.epsilon / self.width**0.5)
        x = torch.zeros(n, self.n_ctx, self.d_in)
        x[:, 0::2, self.positions :] = (mean + noise) / (1 + self.epsilon**2) ** 0.5
        x[:, 1::2, self.positions :] = shown[labels[:, :-1]]
        offset = torch.randint(self.positions - self.n_ctx + 1, (n, 1), generator=g)
        x.scatter_(2, (offset + torch.arange(self.n_ctx))[:, :, None], 1.0)
        match = torch.zeros(n, self.n_ctx, dtype=torch.bool)
        match[:, 1::2] = classes[:, :-1] == classes[:, -1:]
        none = torch.full_like(classes, -1)
        truth = {
            "classes": none if split == "icl" else classes,
            "context": labels[:, :-1],
            "match": match,
        }
        truth["weights"] = none[:, -1] if split == "icl" else true_labels[:, -1]
        return Batch(x, last(labels[:, -1], self.n_ctx), truth)
