"""Text with repeats: rows of real text, and rows in which a block of words comes again."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.texts.corpus import SPLITS
from interp.toys.data.source import IGNORE, Batch, Source, at, at_least, from_half, share

WORD = re.compile(r"[a-z]+|[^\sa-z]")


@dataclass(frozen=True)
class TextWithRepeats(Source):
    """Rows of real text, word by word, among rows in which a block of words comes again and again.

    Every row begins with BOS (the last id). A row of text goes on with words as they stand in one
    half of the documentation corpus; all words outside the vocabulary are one token, "<rare>" (the
    id before BOS), whose loss is not taken. The other rows hold different words in random order,
    drawn by the square root of their frequency, over and over: there a word can be known from its
    earlier place alone. Labels: "repeat" [batch pos], the token stood in an earlier block; "length"
    [batch], that of the block, 0 in rows of text. "heldout" has other documents and other blocks.

    Example:
        >>> source = interp.toys.data.make("text_with_repeats", vocab=500, n_ctx=48)
        >>> batch = source.batch(2, generator)
        >>> " ".join(source.words[i] for i in batch.inputs[0])

    Attributes:
        n_ctx: Positions of a row.
        vocab: How many words; the most frequent ones of the documentation.
        repeats: The share of the rows that repeat.
        shortest: The shortest block.
        longest: The longest block; 0 means half of n_ctx.

    Cost:
        The corpus, half a minute the first time on a machine (see `interp.texts.documentation`).

    Reference:
        Olsson et al. 2022, In-context Learning and Induction Heads (arXiv 2209.11895), test models
        that were trained on text with random blocks; ours is small and is trained on such blocks.
    """

    n_ctx: int = 48
    vocab: int = 500
    repeats: float = 0.5
    shortest: int = 4
    longest: int = 0

    def __post_init__(self) -> None:
        at_least(1, shortest=self.shortest)
        at_least(0, longest=self.longest)
        at_least(2, n_ctx=self.n_ctx)
        share(repeats=self.repeats)
        if not self.shortest <= self.most < self.n_ctx:
            raise ValueError(
                f"blocks of {self.shortest} to {self.most} words do not come again within"
                f" n_ctx={self.n_ctx} (try n_ctx={2 * max(self.most, self.shortest) + 1})"
            )
        if self.most > self.vocab:
            raise ValueError(
                f"a block of {self.most} different words needs vocab={self.most} or more, not"
                f" {self.vocab}"
            )
        if self.vocab > len(self._counted):
            raise ValueError(
                f"vocab={self.vocab}: the documentation has {len(self._counted)} different words"
                " (try vocab=500)"
            )

    @property
    def most(self) -> int:
        """The longest block's length."""
        return self.longest or (self.n_ctx - 1) // 2

    @property
    def d_vocab(self) -> int:
        return self.vocab + 2

    @property
    def rare(self) -> int:
        """The token of all words that have none of their own."""
        return self.vocab

    @property
    def bos(self) -> int:
        return self.vocab + 1

    @cached_property
    def words(self) -> list[str]:
        """The word of each token; "<rare>" and "<bos>" are the last two."""
        return [*(word for word, _ in self._counted[: self.vocab]), "<rare>", "<bos>"]

    @cached_property
    def _documents(self) -> dict[str, list[list[str]]]:
        """The words of the documents of each half."""
        from interp.texts import documentation

        found: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
        for document in documentation():
            found[document.split].append(WORD.findall(document.text.lower()))
        return found

    @cached_property
    def _counted(self) -> list[tuple[str, int]]:
        """All words with their counts, the most frequent first; of equals by the alphabet."""
        counts = Counter(w for half in self._documents.values() for some in half for w in some)
        return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))

    @cached_property
    def _text(self) -> dict[str, Int[Tensor, "word"]]:
        """The tokens of each half, document after document."""
        number = {word: i for i, word in enumerate(self.words[: self.vocab])}
        return {
            split: torch.tensor([number.get(w, self.rare) for some in half for w in some])
            for split, half in self._documents.items()
        }

    @cached_property
    def _log_weights(self) -> Float[Tensor, "vocab"]:
        return torch.tensor([float(n) for _, n in self._counted[: self.vocab]]).log() / 2

    def _blocks(self, n: int, generator: torch.Generator) -> Int[Tensor, "n most"]:
        """n rows of different words: the largest of log weights plus Gumbel noise."""
        noise = -(-at(generator, n, self.vocab).clamp(min=1e-12).log()).log()
        return (
            (self._log_weights + noise)
            .topk(self.most, dim=1)
            .indices.gather(1, at(generator, n, self.most).argsort(1))
        )

    def _repeated(self, n: int, generator: torch.Generator, split: str) -> Tensor:
        """n rows of repeated blocks and, as a last column, the block's length."""
        place = torch.arange(self.n_ctx)

        def rows(m: int) -> Tensor:
            length = torch.randint(self.shortest, self.most + 1, (m, 1), generator=generator)
            block = self._blocks(m, generator)
            bos = torch.full((m, 1), self.bos)
            return torch.cat([bos, block.gather(1, place % length), length], 1)

        return from_half(rows, n, split, self.n_ctx)

    def _draw(self, n: int, generator: torch.Generator, split: str) -> Batch:
        text = self._text[SPLITS[split != "train"]]
        start = torch.randint(len(text) - self.n_ctx, (n, 1), generator=generator)
        rows = torch.cat([torch.full((n, 1), self.bos), text[start + torch.arange(self.n_ctx)]], 1)
        again = at(generator, n) < self.repeats
        drawn = self._repeated(n, generator, split)
        rows[again] = drawn[again, :-1]
        length = drawn[:, -1] * again
        inputs, targets = rows[:, :-1].contiguous(), rows[:, 1:].clone()
        targets[targets == self.rare] = IGNORE
        repeat = again[:, None] & (torch.arange(self.n_ctx)[None] > length[:, None])
        return Batch(inputs, targets, {"repeat": repeat, "length": length})
