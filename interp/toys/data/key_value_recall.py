"""Key-value recall: pairs first, then keys whose values are the answers."""

from dataclasses import dataclass

import torch

from interp.toys.data.source import IGNORE, Batch, Source, at_least, distinct, from_half


@dataclass(frozen=True)
class KeyValueRecall(Source):
    """BOS, k1 v1 ... kn vn, then a key again and its value, `queries` times.

    The loss is at the keys that are asked for. Keys are 0 ... keys - 1 and differ within a row,
    values come after them and may repeat, BOS is the last id. Labels: "asked" [batch queries], the
    pair of each query, counted from 0; "key" and "value" [batch queries], the positions of that
    pair. The halves share no sequence.

    Example:
        >>> source = interp.toys.data.make("key_value_recall", pairs=8, keys=32, values=32)

    Attributes:
        pairs: Pairs in a row.
        keys: How many keys there are.
        values: How many values there are.
        queries: How many different keys are asked for.

    Reference:
        Arora et al. 2023, Zoology (arXiv 2312.04927), their multi-query associative recall with the
        queries at the end.
    """

    pairs: int = 8
    keys: int = 32
    values: int = 32
    queries: int = 1

    def __post_init__(self) -> None:
        at_least(1, pairs=self.pairs, values=self.values, queries=self.queries)
        if self.keys < self.pairs:
            raise ValueError(
                f"pairs={self.pairs} need as many different keys, there are keys={self.keys}"
            )
        if self.queries > self.pairs:
            raise ValueError(f"queries={self.queries}: only pairs={self.pairs} can be asked for")

    @property
    def d_vocab(self) -> int:
        return self.keys + self.values + 1

    @property
    def n_ctx(self) -> int:
        return 2 * (self.pairs + self.queries)  # BOS, and all but the last answer

    def _draw(self, n: int, generator: torch.Generator, split: str) -> Batch:
        def rows(m: int) -> torch.Tensor:
            keys = distinct(m, self.keys, self.pairs, generator)
            values = self.keys + torch.randint(self.values, (m, self.pairs), generator=generator)
            asked = distinct(m, self.pairs, self.queries, generator)
            pairs = torch.stack([keys, values], 2)
            again = pairs.gather(1, asked[:, :, None].expand(-1, -1, 2))
            bos = torch.full((m, 1), self.d_vocab - 1)
            return torch.cat([bos, pairs.flatten(1), again.flatten(1), asked], 1)

        drawn = from_half(rows, n, split, self.n_ctx)
        asked, rows_drawn = drawn[:, -self.queries :], drawn[:, : -self.queries]
        targets = rows_drawn[:, 1:].clone()
        targets[:, : 2 * self.pairs] = IGNORE
        targets[:, 2 * self.pairs :][:, ::2] = IGNORE  # what key comes next cannot be known
        return Batch(
            rows_drawn[:, :-1].contiguous(),
            targets,
            {"asked": asked, "key": 1 + 2 * asked, "value": 2 + 2 * asked},
        )
