"""What `evaluate` measures of a dictionary, added up over chunks, and ratios of such sums."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp._numbers import to_numpy
from interp._stats import ratio_parts, unsteady
from interp._warn import warn
from interp.features.dictionary import Dictionary

MEASURES = {
    "latents on": "latents per token",
    "explained variance": "fraction",
    "loss recovered": "fraction",
    "loss, spliced": "nats per token",
    "loss, plain": "nats per token",
    "loss, mean ablated": "nats per token",
}
DENSE = 0.1  # on at more than this share of tokens


def names_of(dictionaries: Sequence[Dictionary]) -> list[str]:
    """The names of dictionaries; a ValueError if two have the same name."""
    names = [d.name for d in dictionaries]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise ValueError(
            f"two dictionaries are called {twice!r}: give them names, dataclasses.replace(sae,"
            " name='seed 1')"
        )
    return names


class Sums:
    """What is added up over chunks for one dictionary."""

    def __init__(self, dictionary: Dictionary, middle: Tensor):
        self.dictionary, self.middle = dictionary, middle
        self.on, self.wrong, self.far = [], [], []
        self.times, self.tokens = torch.zeros(dictionary.n_latents, device=middle.device), 0

    @torch.no_grad()
    def add(self, x: Tensor, target: Tensor) -> Tensor:
        """The reconstruction of a few chunks [chunk pos d_in]."""
        z = self.dictionary.encode(x)
        out = self.dictionary.reconstruct(x, z)
        self.on.append((z != 0).sum(-1).float().mean(-1))
        self.wrong.append((out - target).pow(2).sum((-1, -2)))
        self.far.append((target - self.middle).pow(2).sum((-1, -2)))
        self.times += (z != 0).flatten(0, -2).sum(0)
        self.tokens += z[..., 0].numel()
        return out

    def examples(self, plain: np.ndarray, ablated: np.ndarray, spliced: np.ndarray) -> np.ndarray:
        """The measures [measure chunk] in the order of MEASURES; a measure is their mean."""
        on, wrong, far = (to_numpy(torch.cat(part)) for part in (self.on, self.wrong, self.far))
        recovered = ratio_of(ablated - spliced, ablated - plain)
        return np.stack([on, ratio_of(far - wrong, far), recovered, spliced, plain, ablated])

    def counts(self) -> dict[str, int]:
        """How many latents there are, are never on, and are on at more than a tenth of tokens."""
        return {
            "latents": self.dictionary.n_latents,
            "dead": int((self.times == 0).sum()),
            "dense": int((self.times > DENSE * self.tokens).sum()),
        }


def doubt(plain: np.ndarray, ablated: np.ndarray) -> dict[str, Any]:
    """What metadata says where the loss that a mean ablation adds cannot be told from zero, so that
    the share of it that is recovered has no interval; a warning says it too.
    """
    sentence = unsteady(ablated - plain, "the loss added by the mean ablation", "loss recovered")
    if not sentence:
        return {}
    warn(f"{sentence} (try another site, or more tokens)")
    return {"unsteady": sentence, "ratios": {"measure": ["loss recovered"]}}


def ratio_of(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """sum(above) / sum(below) as a mean of examples, by the delta method.

    Each example is the ratio plus the example's influence on it.
    """
    return ratio_parts(above, below) if below.sum() else np.full(len(above), np.nan)
