"""Out-of-context reasoning: facts about all names, and what follows from them for some."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from interp.toys.data.source import Batch, Source, at_least, last


@dataclass(frozen=True)
class OutOfContextReasoning(Source):
    """A name and a question among noise, then END; the answer is a city or what that city implies.

    Every name lives in a city, equally many in each; every city implies one word. "train" asks
    where any name lives (half of the rows) and what follows for a `share` of the names (the other
    half); "heldout" asks what follows for the other names, which only the city can tell.

    The name stands before the question, both at random positions among noise; END is last. Ids: 0
    and 1 the questions, then cities, implied words, names, noise, END. Labels [batch]: "name" and
    "city" (numbers), "implication" (whether the question is what follows), "trained" (whether the
    name's implication is in "train"). Splits besides: "facts" and "implications", the two halves of
    "train".

    Example:
        >>> source = interp.toys.data.make("out_of_context_reasoning", names=80, cities=20)
        >>> source.words[0], source.words[2]
        ('lives in', 'city 0')

    Attributes:
        names: How many names, a multiple of `cities`.
        cities: How many cities.
        noise: How many kinds of noise tokens.
        n_ctx: Positions of a row.
        share: The share of names whose implication is in "train".
        relation: "causal" calls the implied word a language ("speaks"), "spurious" an animal
            ("owns"): the same mathematics under two names, which is the paper's point.
        seed: Decides who lives where and what follows.

    Reference:
        Huang et al. 2025, Generalization or Hallucination? (OCR; code: yixiao-huang/OCR-Theory).
    """

    names: int = 80
    cities: int = 20
    noise: int = 5
    n_ctx: int = 16
    share: float = 0.25
    relation: str = "causal"
    seed: int = 0

    splits = ("train", "heldout", "facts", "implications")

    def __post_init__(self) -> None:
        at_least(2, cities=self.cities)
        at_least(1, noise=self.noise)
        at_least(3, n_ctx=self.n_ctx)
        if self.relation not in ("causal", "spurious"):
            raise ValueError(f"relation={self.relation!r}: it is 'causal' or 'spurious'")
        if self.names % self.cities:
            raise ValueError(
                f"names={self.names}: as many live in each of the cities={self.cities} (try"
                f" names={4 * self.cities})"
            )
        each = self.names // self.cities
        if not 1 <= round(self.share * each) < each:
            raise ValueError(
                f"share={self.share}: of the {each} names of a city at least one is trained on and"
                " one is left to ask (try share=0.5)"
            )

    @property
    def d_vocab(self) -> int:
        return len(self.words)

    @cached_property
    def words(self) -> list[str]:
        """The meaning of each id."""
        verb, kind = {"causal": ("speaks", "language"), "spurious": ("owns", "animal")}[
            self.relation
        ]

        def number(what, n):
            return [f"{what} {i}" for i in range(n)]

        named = [
            *number("city", self.cities),
            *number(kind, self.cities),
            *number("name", self.names),
        ]
        return ["lives in", verb, *named, *number("noise", self.noise), "END"]

    @cached_property
    def city_of(self) -> Int[Tensor, "names"]:
        """The city of each name, drawn by seed."""
        g = torch.Generator().manual_seed(self.seed)
        return torch.arange(self.cities).repeat(self.names // self.cities)[
            torch.randperm(self.names, generator=g)
        ]

    @cached_property
    def implied_by(self) -> Int[Tensor, "cities"]:
        """The implied word of each city, drawn by seed."""
        return torch.randperm(self.cities, generator=torch.Generator().manual_seed(self.seed + 1))

    @cached_property
    def trained(self) -> Int[Tensor, "trained"]:
        """The names whose implication is in "train", the first ones of each city."""
        each = round(self.share * (self.names // self.cities))
        return torch.cat(
            [torch.nonzero(self.city_of == city)[:each, 0] for city in range(self.cities)]
        )

    @cached_property
    def left(self) -> Int[Tensor, "left"]:
        """The names whose implication is only in "heldout"."""
        return torch.nonzero(~torch.isin(torch.arange(self.names), self.trained))[:, 0]

    def _draw(self, n: int, generator: torch.Generator, split: str) -> Batch:
        g = generator
        facts = {"train": (n + 1) // 2, "facts": n}.get(split, 0)
        pool = self.left if split == "heldout" else self.trained

        def pick(names, k):
            return names[torch.randint(len(names), (k,), generator=g)]

        name = torch.cat([pick(torch.arange(self.names), facts), pick(pool, n - facts)])
        implication = torch.arange(n) >= facts
        city = self.city_of[name]
        answer = torch.where(implication, 2 + self.cities + self.implied_by[city], 2 + city)
        first_name = 2 + 2 * self.cities
        first_noise = first_name + self.names
        x = first_noise + torch.randint(self.noise, (n, self.n_ctx), generator=g)
        places = torch.rand((n, self.n_ctx - 1), generator=g).topk(2, dim=1).indices.sort(1).values
        x.scatter_(1, places, torch.stack([first_name + name, implication.long()], 1))
        x[:, -1] = first_noise + self.noise
        truth = {
            "name": name,
            "city": city,
            "implication": implication,
            "trained": torch.isin(name, self.trained),
        }
        return Batch(x, last(answer, self.n_ctx), truth)
