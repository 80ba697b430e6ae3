"""Repeated tokens: a random block again and again, which induction heads can predict."""

from dataclasses import dataclass

import torch

from interp.toys.data.source import IGNORE, Batch, Source, at_least, distinct, from_half


@dataclass(frozen=True)
class RepeatedTokens(Source):
    """BOS, then a block of different random tokens over and over, its length drawn for each row.

    With one length, a head that looks a fixed number of tokens back would suffice and nothing would
    have to be matched. BOS is the id `vocab`. Labels: "repeat" [batch pos], the token stood in an
    earlier block; "length" [batch]. The halves share no sequence.

    Example:
        >>> source = interp.toys.data.make("repeated_tokens", vocab=64, n_ctx=33)
        >>> source.batch(8, generator).labels["repeat"]       # where the next token can be known

    Attributes:
        n_ctx: Positions of a row.
        vocab: How many different tokens.
        shortest: The shortest block.
        longest: The longest block; 0 means half of n_ctx.
        loss: "all", or "repeat" for a loss only where the token occurred before.

    Reference:
        Olsson et al. 2022, In-context Learning and Induction Heads (arXiv 2209.11895), whose block
        has one length.
    """

    n_ctx: int = 33
    vocab: int = 64
    shortest: int = 4
    longest: int = 0
    loss: str = "all"

    def __post_init__(self) -> None:
        at_least(1, vocab=self.vocab, shortest=self.shortest)
        at_least(0, longest=self.longest)
        if self.loss not in ("all", "repeat"):
            raise ValueError(f"loss={self.loss!r}: it is 'all' or 'repeat'")
        if not self.shortest <= self.most < self.n_ctx:
            raise ValueError(
                f"blocks of {self.shortest} to {self.most} tokens do not come again within"
                f" n_ctx={self.n_ctx} (try n_ctx={2 * self.most + 1})"
            )
        if self.most > self.vocab:
            raise ValueError(
                f"a block of {self.most} different tokens needs vocab={self.most} or more, not"
                f" {self.vocab}"
            )

    @property
    def most(self) -> int:
        """The longest block's length."""
        return self.longest or (self.n_ctx - 1) // 2

    @property
    def d_vocab(self) -> int:
        return self.vocab + 1

    def _draw(self, n: int, generator: torch.Generator, split: str) -> Batch:
        place = torch.arange(self.n_ctx)

        def rows(m: int) -> torch.Tensor:
            block = distinct(m, self.vocab, self.most, generator)
            length = torch.randint(self.shortest, self.most + 1, (m, 1), generator=generator)
            bos = torch.full((m, 1), self.vocab)
            return torch.cat(
                [bos, block.gather(1, place % length), length], 1
            )  # the length rides along

        drawn = from_half(rows, n, split, self.n_ctx)
        length, rows_ = drawn[:, -1], drawn[:, :-1]
        inputs, targets = rows_[:, :-1].contiguous(), rows_[:, 1:].clone()
        repeat = place[None] > length[:, None]
        if self.loss == "repeat":
            targets[~repeat] = IGNORE
        return Batch(inputs, targets, {"repeat": repeat, "length": length})
