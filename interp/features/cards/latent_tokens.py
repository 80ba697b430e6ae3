"""Latents beside the tokens that they are read from and the tokens that they write."""

from collections.abc import Mapping
from typing import Any

import torch

from interp._isolation import torch_defaults
from interp._types import Model
from interp.features.cards.logit_effects import effects
from interp.features.dictionary import Dictionary
from interp.features.prompt_activations import PromptActivations


@torch_defaults()
def latent_tokens(
    model: Model | None,
    dictionary: Dictionary,
    read: PromptActivations,
    latents: Mapping[str, int],
    *,
    n: int = 5,
) -> Any:
    """A pandas DataFrame with a row per latent: tokens it is largest on, and tokens it raises.

    Example:
        >>> latents = detection.metadata["latents"][parts.name]     # from `concept_detection`
        >>> features.latent_tokens(model, parts, find, latents)

    Args:
        model: The model of the activations.
        dictionary: Whose latents they are.
        read: What `prompt_activations` returned.
        latents: Latents by any names.
        n: How many tokens are listed.

    Returns:
        Columns "latent"; "on": distinct tokens by the latent's mean value on them; "raises": the
        tokens whose logits its direction raises most through the unembedding, without later layers
        (empty if the site does not write to the residual stream).
    """
    import pandas as pd

    at, ids = list(latents.values()), read.activations.tokens[:, 0]
    with torch.no_grad():
        z = dictionary.encode(read.activations.of(dictionary.site))[:, at].cpu()
    each, which, counts = ids.unique(return_inverse=True, return_counts=True)
    mean = torch.zeros(len(each), len(at), dtype=z.dtype).index_add(0, which, z) / counts[:, None]
    logits = effects(model, dictionary.writes, dictionary.W_dec[at])
    word = (
        (lambda i: str(int(i)))
        if model.tokenizer is None
        else (lambda i: model.tokenizer.decode([int(i)]).strip())
    )
    rows = []
    for column, (name, latent) in enumerate(latents.items()):
        on = [
            word(each[i])
            for i in mean[:, column].topk(min(n, len(each))).indices
            if mean[i, column] > 0
        ]
        up = [] if logits is None else [word(i) for i in logits[column].topk(n).indices]
        rows.append({"for": name, "latent": latent, "on": ", ".join(on), "raises": ", ".join(up)})
    return pd.DataFrame(rows).set_index("for")
