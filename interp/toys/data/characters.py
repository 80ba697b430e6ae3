"""Characters: rows of real text, character by character."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from interp._errors import unknown
from interp.texts.corpus import SPLITS
from interp.toys.data.source import Batch, Source, at_least

TEXTS = ("code", "documentation", "prose")


@dataclass(frozen=True)
class Characters(Source):
    """Rows of real text, character by character, the next character being the target everywhere.

    A row begins anywhere in the text of one half of a corpus. Characters that come less often than
    `rare` times are left out, as if they had not been written. There are no labels. "heldout" has
    other documents than "train".

    Example:
        >>> source = interp.toys.data.make("characters", n_ctx=64)
        >>> batch = source.batch(2, generator)
        >>> "".join(source.characters[i] for i in batch.inputs[0])

    Attributes:
        n_ctx: Positions of a row.
        text: A corpus of `interp.texts`: "code" (modules of Python's standard library),
            "documentation", or "prose" (short; a model soon knows it by heart).
        rare: Characters seen fewer times are left out.

    Cost:
        A second or two; the corpus "documentation" half a minute the first time on a machine.
    """

    n_ctx: int = 64
    text: str = "code"
    rare: int = 100

    def __post_init__(self) -> None:
        at_least(1, n_ctx=self.n_ctx, rare=self.rare)
        if self.text not in TEXTS:
            raise unknown("text of characters", self.text, TEXTS, "text='code'")
        if len(self.characters) < 2:
            raise ValueError(
                f"rare={self.rare}: no two characters of {self.text!r} come as often (try rare=100)"
            )
        short = [split for split, ids in self._ids.items() if len(ids) <= self.n_ctx]
        if short:
            raise ValueError(
                f"n_ctx={self.n_ctx}: the {short[0]!r} half of {self.text!r} has"
                f" {len(self._ids[short[0]])} characters (try n_ctx=64)"
            )

    @cached_property
    def _halves(self) -> dict[str, str]:
        """The text of each half, document after document."""
        from interp import texts

        documents = getattr(texts, self.text)()
        return {split: "\n".join(d.text for d in documents if d.split == split) for split in SPLITS}

    @cached_property
    def characters(self) -> str:
        """The character of each id, in the order of their code points."""
        counts = Counter(character for half in self._halves.values() for character in half)
        return "".join(sorted(c for c, n in counts.items() if n >= self.rare))

    @cached_property
    def _ids(self) -> dict[str, Int[Tensor, "character"]]:
        number = {character: i for i, character in enumerate(self.characters)}
        return {
            split: torch.tensor([number[c] for c in half if c in number])
            for split, half in self._halves.items()
        }

    @property
    def d_vocab(self) -> int:
        return len(self.characters)

    def _draw(self, n: int, generator: torch.Generator, split: str) -> Batch:
        ids = self._ids[SPLITS[split != "train"]]
        start = torch.randint(len(ids) - self.n_ctx, (n, 1), generator=generator)
        rows = ids[start + torch.arange(self.n_ctx + 1)]
        return Batch(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
