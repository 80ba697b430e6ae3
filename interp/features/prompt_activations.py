"""The activations of prompts of any lengths; each vector knows its prompt."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp._isolation import torch_defaults
from interp._types import Model
from interp.features.activations import Activations, activations
from interp.features.dictionary import Dictionary
from interp.methods.runs.batching import batches_by_length
from interp.models import bridge


class PromptActivations(NamedTuple):
    """Activations of prompts, and the prompt [n] of each vector; position 0 is left out.

    Attributes:
        activations: The vectors, each a chunk of its own with one token.
        prompt: The number of each vector's prompt.
    """

    activations: Activations
    prompt: Int[Tensor, "n"]

    def pooled(self, dictionary: Dictionary) -> Float[Tensor, "prompt latent"]:
        """Each latent's largest value in each prompt."""
        with torch.no_grad():
            z = dictionary.encode(self.activations.of(dictionary.site))
        pooled = z.new_zeros(int(self.prompt.max()) + 1, dictionary.n_latents)
        return pooled.scatter_reduce_(
            0, self.prompt.to(z.device)[:, None].expand_as(z), z, "amax", include_self=False
        )


@torch_defaults()
def prompt_activations(
    model: Model, site: str | Sequence[str], prompts: Any, *, folder: str | Path | None = None
) -> PromptActivations:
    """What a model computes at one site or several, on prompts of any lengths, without padding.

    Example:
        >>> prompts = ["The shop is closed.", "He was born in France."]
        >>> read = features.prompt_activations(model, "mlp.10.post", prompts)
        >>> parts = features.factorise(model, "mlp.10.post", read.activations, rank=100)
        >>> read.pooled(parts)                        # [prompt latent]

    Args:
        model: The model.
        site: One address or several.
        prompts: Texts (the first token is put before each), token ids, or a task.
        folder: Where shards are kept, one folder per length; see `activations`.

    Returns:
        `PromptActivations`: the vectors in the order of the prompts, without each first token.

    Raises:
        ValueError: If a prompt consists of the first token alone.
    """
    where, shards, at, ids = [site] if isinstance(site, str) else list(site), [], [], []
    for batch in batches_by_length(model, prompts):
        n, length = batch.tokens.shape
        if length < 2:
            raise ValueError(
                f"prompt {batch.index[0]} is the first token alone, which is left out: give each"
                " some text"
            )
        shard_folder = None if folder is None else Path(folder) / f"length-{length}"
        acts = activations(model, where, batch.tokens, folder=shard_folder)
        shards.append({s: acts.of(s) for s in acts.sites})
        at.append(torch.tensor(batch.index).repeat_interleave(length - 1))
        ids.append(batch.tokens[:, 1:].flatten())
    rows = torch.cat(at)
    order = rows.argsort(stable=True)
    by_site = {s: torch.cat([shard[s] for shard in shards])[order] for s in shards[0]}
    metadata = {
        "model": bridge.name(model),
        "texts": "prompts",
        "prompts": int(rows.max()) + 1,
        "tokens": len(rows),
        "skip": 1,
    }
    return PromptActivations(
        Activations(tuple(by_site), torch.cat(ids)[order][:, None], 0, (by_site,), metadata),
        rows[order],
    )
