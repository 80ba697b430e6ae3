"""An induction head with two parameters, and a classifier that learns (Reddy)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from interp._progress import progress
from interp.results import Result
from interp.toys.measures.icl_measures import _looks, _result, _right
from interp.toys.training.train import one_thread


class Two(nn.Module):
    """Both heads by formula, then the classifier: vectors [batch pos d_in] to logits [batch label].

    `back` is the score of the previous token in the first layer, where all others have 0. `match`
    multiplies the dot product of the query with what the first layer brought, in the second layer.
    Positions are known by their order, so the one-hot part of a vector (its first `places` entries)
    is not read.
    """

    def __init__(self, source: Any, hidden: int, seed: int):
        super().__init__()
        self.places = source.positions
        self.back, self.match = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sizes = (2 * source.width, hidden, hidden, source.d_vocab)
            layers = [
                part for a, b in zip(sizes, sizes[1:]) for part in (nn.Linear(a, b), nn.ReLU())
            ]
            self.classify = nn.Sequential(*layers[:-1])

    def forward(self, x: Float[Tensor, "batch pos d_in"]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [batch label], the first pattern [pos pos], the query's second one [batch pos]."""
        content, n = x[:, :, self.places :], x.shape[1]
        scores = torch.zeros(n, n) + self.back * torch.ones(n - 1).diag(-1)
        first = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf).softmax(-1)
        brought = (first @ content) * (torch.arange(n) > 0)[
            :, None
        ]  # nothing stands before the first
        second = (self.match * (brought @ content[:, -1:].mT)[..., 0]).softmax(-1)
        read = (second[:, None] @ content)[:, 0]
        return self.classify(torch.cat([content[:, -1], read], -1)), first, second


def two_parameters(
    source: Any,
    batches: dict[str, Any],
    *,
    steps: int = 2000,
    batch: int = 64,
    lr: float = 3e-3,
    hidden: int = 128,
    checkpoints: Sequence[int] | None = None,
    seeds: Sequence[int] = (0,),
    on: str = "icl",
) -> Result:
    """The measures of `toys.in_context` over the training of an induction head with two parameters.

    The two numbers stand for the attention of a two-layer network: how sharply the first layer
    attends to the previous token, and how sharply the second attends to what resembles the query.
    Both start at 0, uniform attention, and learn together with the classifier (Adam).

    Example:
        >>> batches = {"icl": source.batch(300, generator, "icl")}
        >>> curves = interp.replications.two_parameters(source, batches, seeds=[0, 1, 2])
        >>> curves.metadata["parameters"]                       # {seed: [back, match]}, as learned

    Args:
        source: `in_context_classes` of `toys.data`.
        batches: Batches of one size, by name.
        steps, batch, lr: Of the training.
        hidden: Width of the classifier's layers.
        checkpoints: Steps at which it is measured; forty if None.
        seeds: One training per seed.
        on: The batch on which attention is measured.

    Returns:
        Axes "seed", "step" and "measure"; shares, one value per sequence kept.

    Reference:
        Reddy 2024, arXiv 2312.03002.
    """
    wanted = checkpoints or range(0, steps, max(1, steps // 40))
    keep = sorted({0, steps, *(step for step in wanted if 0 <= step <= steps)})
    examples, learned = [], {}
    with one_thread():
        for seed in seeds:
            net, rows = Two(source, hidden, seed), []
            optimizer = torch.optim.Adam(net.parameters(), lr=lr)
            g = torch.Generator().manual_seed(seed)
            for step in progress(range(steps + 1), f"two parameters (seed {seed})"):
                if step in keep:
                    rows.append(_measured(net, batches, on))
                drawn = source.batch(batch, g)
                loss = F.cross_entropy(net(drawn.inputs)[0], drawn.targets[:, -1])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            examples.append(np.stack([row.examples for row in rows]))
            learned[str(seed)] = [round(p.item(), 3) for p in (net.back, net.match)]
    values = np.stack(examples)
    coords = {"seed": list(seeds), "step": keep, **rows[0].coords}
    metadata = {"method": "training", "model": "two parameters", "parameters": learned}
    return Result(
        values.mean(-1), ("seed", "step", "measure"), coords, "progress", "share", metadata, values
    )


@torch.no_grad()
def _measured(net: Two, batches: dict[str, Any], on: str) -> Result:
    """The measures of `toys.in_context` for this network."""
    seen = {name: net(b.inputs) for name, b in batches.items()}
    rows = {name: _right(seen[name][0], b) for name, b in batches.items()}
    logits, first, second = seen[on]
    return _result(
        rows | _looks(batches[on], logits, first.expand(len(logits), -1, -1), second),
        "progress",
        "share",
    )
