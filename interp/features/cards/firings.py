"""Which latents of a dictionary are on at which tokens of a text, from one pass."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp._isolation import torch_defaults
from interp._types import Model
from interp.features import site_values
from interp.features.activations import PER_RUN, Activations, chunks_of
from interp.features.dictionary import Dictionary
from interp.features.loading.check import check
from interp.methods.runs.sweep import progress
from interp.models import bridge

MOST = 200_000_000  # latents on, over all tokens: 2.4 GB


@dataclass(frozen=True, eq=False)
class Firings:
    """Where latents are on in a text, and with which values, ordered by latent.

    Example:
        >>> seen = features.firings(model, sae, tokens=50_000)
        >>> rows, values = seen.of(17)          # the tokens where it is on, and its values
        >>> seen.density[17]                    # the share of tokens

    Attributes:
        dictionary: Whose latents they are.
        tokens: The text's ids [chunk pos].
        skip: How many first positions of each chunk are left out (1: the attention sink).
        latents: Which latents are held.
        rows, values: The tokens and values of one latent after the other.
        starts: Where each latent begins in `rows`, and the end [1 + latent].
        metadata: Model, text, number of tokens, skip.
    """

    dictionary: Dictionary
    tokens: Int[Tensor, "chunk pos"]
    skip: int
    latents: tuple[int, ...]
    rows: Int[Tensor, "on"]
    values: Float[Tensor, "on"]
    starts: Int[Tensor, "ends"]
    metadata: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.tokens) * (self.tokens.shape[1] - self.skip)

    def __repr__(self) -> str:
        return (
            f"Firings({self.dictionary.name}: {len(self.latents):,} latents on {len(self):,} tokens"
            f" of {self.metadata.get('texts', 'tokens')})"
        )

    def of(self, latent: int) -> tuple[Int[Tensor, "on"], Float[Tensor, "on"]]:
        """The rows (tokens) where a latent is on, and its values there."""
        i = self._place(latent)
        where = slice(int(self.starts[i]), int(self.starts[i + 1]))
        return self.rows[where], self.values[where]

    def _place(self, latent: int) -> int:
        """The index of a latent among those held; a ValueError if it is not there."""
        if latent not in self.latents:
            complete = len(self.latents) == self.dictionary.n_latents
            available = (
                f"0 to {self.dictionary.n_latents - 1}"
                if complete
                else ", ".join(map(str, self.latents[:12]))
            )
            raise ValueError(f"no latent {latent!r} here: there are {available}")
        return self.latents.index(latent)

    @property
    def density(self) -> Float[Tensor, "latent"]:
        """The share of tokens at which each held latent is on."""
        return self.starts.diff() / max(1, len(self))

    @property
    def maxima(self) -> Float[Tensor, "latent"]:
        """The largest value of each held latent; 0 for one that is never on."""
        latents = torch.arange(len(self.latents), device=self.starts.device)
        which = torch.repeat_interleave(latents, self.starts.diff())
        return self.values.new_zeros(len(self.latents)).scatter_reduce(
            0, which, self.values, "amax", include_self=False
        )

    def where(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The chunks and the positions of rows; positions are counted in the whole chunk."""
        wide = self.tokens.shape[1] - self.skip
        return rows // wide, rows % wide + self.skip


@torch_defaults()
def firings(
    model: Model | None,
    dictionary: Dictionary,
    latents: Iterable[int] | None = None,
    *,
    on: Any = None,
    tokens: int = 32_768,
    length: int = 128,
    split: str | None = "heldout",
    seed: int = 0,
    backend: str | None = None,
) -> Firings:
    """Where latents are on in a text, and with which values, from one pass over it.

    Example:
        >>> seen = features.firings(model, sae)
        >>> features.cards(model, sae, [17, 40], on=seen)         # no second pass

    Args:
        model: The model whose activations are read; None if `on` holds the site's activations.
        dictionary: Whose latents they are.
        latents: Which latents are held; all if None.
        on: A corpus (the documentation if None), ids [chunk pos], or `Activations`, whose vectors
            are used as they are if they hold the dictionary's site.
        tokens: How many tokens of a corpus or of `Activations` at most. The first token of each
            chunk, the attention sink, is left out.
        length: Tokens in a chunk of the corpus.
        split: Which half of the corpus is read.
        seed: Decides which chunks are drawn.
        backend: "engine", "hooks", or None to choose.

    Returns:
        `Firings`.

    Raises:
        ValueError: If a latent does not exist, the dictionary does not fit the model, or too many
            latents are on to keep in memory.
    """
    chosen = _chosen(dictionary, latents)
    if model is not None:
        check(model, dictionary)
    ids, skip, metadata = chunks_of(model, on, tokens, length, split, seed)
    all_on: list[tuple[Tensor, Tensor, Tensor]] = []
    done = count = 0
    for x in _vectors(model, dictionary.site, on, ids, skip, backend):
        with torch.no_grad():
            z = dictionary.encode(x)
        z = z if latents is None else z[:, chosen]
        row, which = z.nonzero(as_tuple=True)
        all_on.append(((row + done).cpu(), which.cpu(), z[row, which].float().cpu()))
        done, count = done + len(x), count + len(row)
        if count > MOST:
            much = f"{dictionary.name} has {count / done:,.0f} latents on a token"
            raise ValueError(
                f"{much}, too many to keep for {ids.numel():,} tokens: ask for fewer latents or"
                " tokens"
            )
    row, which, value = (torch.cat(part) for part in zip(*all_on))
    order = which.argsort(stable=True)
    starts = torch.cat([which.new_zeros(1), torch.bincount(which, minlength=len(chosen)).cumsum(0)])
    metadata = {
        **metadata,
        "model": bridge.name(model) if model is not None else dictionary.metadata.get("model"),
        "tokens": done,
        "skip": skip,
    }
    return Firings(
        dictionary,
        ids[: -(-done // (ids.shape[1] - skip))],
        skip,
        tuple(chosen),
        row[order],
        value[order],
        starts,
        metadata,
    )


def _chosen(dictionary: Dictionary, latents: Iterable[int] | None) -> list[int]:
    """The latents that were asked for, each once; a ValueError for one that does not exist."""
    if latents is None:
        return list(range(dictionary.n_latents))
    chosen = list(dict.fromkeys(latents))
    wrong = next(
        (i for i in chosen if not (isinstance(i, int) and 0 <= i < dictionary.n_latents)), None
    )
    if wrong is not None or not chosen:
        raise ValueError(
            f"{dictionary.name} has latents 0 to {dictionary.n_latents - 1}, got"
            f" {'none' if not chosen else repr(wrong)}"
        )
    return chosen


def _vectors(
    model: Model | None, site: str, on: Any, ids: Tensor, skip: int, backend: str | None
) -> Iterator[Tensor]:
    """The activations [n d] of the text, a part at a time."""
    if isinstance(on, Activations) and site in on.sites:
        n_left = ids[:, skip:].numel()
        for number in progress(range(len(on.shards)), "latents"):
            x = on.shard(number)[site][:n_left]
            n_left -= len(x)
            yield from x.split(PER_RUN)
            if not n_left:
                return
        return
    if model is None:
        raise ValueError("without a model, on= must be activations that hold the dictionary's site")
    chunks_per_run = max(1, PER_RUN // ids.shape[1])
    for part in progress(ids.split(chunks_per_run), "latents"):
        yield site_values.values(model, part, [site], backend)[site][:, skip:].flatten(0, 1).float()
