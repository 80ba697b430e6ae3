"""Latents beside what they are read from and what they write: tokens on both sides."""

from collections.abc import Mapping
from typing import Any

import torch

from interp._types import Model
from interp.features.cards.logit_effects import effects
from interp.features.dictionary import Dictionary
from interp.features.prompt_activations import Prompted


def labelled(
    model: Model | None,
    dictionary: Dictionary,
    read: Prompted,
    latents: Mapping[str, int],
    *,
    n: int = 5,
) -> Any:
    """A pandas DataFrame with a row per latent: the tokens it is largest on, and those its
    direction raises most.

    Example:
        >>> features.labelled(model, parts, find, found.metadata["latents"][parts.name])

    Args:
        latents: By any names. "on": distinct tokens in the order of the latent's mean value on
            them; "raises": what its neurons write, through W_out and the unembedding, without later
            layers ("" where a site writes nothing to the stream).
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
