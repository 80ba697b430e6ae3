"""How a dictionary uses its latents: how often each is on, and which tokens get more of them."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from scipy.stats import rankdata
from torch import Tensor

from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._stats import correlations
from interp._types import Model
from interp.features.activations import Activations
from interp.features.dictionary import Dictionary
from interp.features.evaluation.measures import names_of
from interp.features.training.zipf import underused
from interp.interventions import run
from interp.methods.runs.sweep import progress
from interp.methods.text.token_losses import token_losses
from interp.models import bridge
from interp.results import Result

HARD = ("next-token loss", "token's own loss", "rarity of the token", "distance from the mean")
PER_RUN = 512  # tokens


@torch_defaults()
def densities(dictionaries: Dictionary | Sequence[Dictionary], on: Activations) -> Result:
    """The share of tokens at which each latent is on, from the most used to the least.

    Example:
        >>> usage = features.densities([sae, other], heldout)
        >>> usage.metadata["dead"]

    Args:
        dictionaries: One dictionary, or several with the same number of latents.
        on: Activations of their site.

    Returns:
        Axes "dictionary" and "rank". metadata, for each dictionary: latents that were never on
        ("dead"), that are on less than half as often as Zipf's law with the same sum gives their
        rank ("underused", with the dead among them), and latents per token ("latents on"). Few
        tokens make many latents look dead; metadata["tokens"] is their number.

    Raises:
        ValueError: If the dictionaries differ in size or share a name.
    """
    compared = [dictionaries] if isinstance(dictionaries, Dictionary) else list(dictionaries)
    if len({d.n_latents for d in compared}) > 1:
        raise ValueError(
            "ranks are of dictionaries of one size, got"
            f" {', '.join(f'{d.name}: {d.n_latents:,}' for d in compared)}"
        )
    share = [(_on(d, on) > 0).float().mean(0) for d in progress(compared, "densities")]
    counts = {
        "dead": [int((s == 0).sum()) for s in share],
        "underused": [int(underused(s).sum()) for s in share],
        "latents on": [float(s.sum()) for s in share],
    }
    names = names_of(compared)
    metadata = {"model": on.metadata.get("model"), "site": compared[0].site, "tokens": len(on)} | {
        k: dict(zip(names, v)) for k, v in counts.items()
    }
    values = to_numpy(torch.stack([s.sort(descending=True).values for s in share]))
    return Result(
        values,
        ("dictionary", "rank"),
        {"dictionary": names, "rank": list(range(1, values.shape[1] + 1))},
        "share of tokens at which latents are on",
        "share of tokens",
        metadata,
    )


@torch_defaults()
def l0_difficulty_correlation(
    model: Model,
    dictionaries: Sequence[Dictionary],
    on: Activations,
    seen: Int[Tensor, "chunk pos"],
) -> Result:
    """Spearman's correlation of a token's number of latents with how hard the token is.

    Example:
        >>> features.l0_difficulty_correlation(model, [topk, mutual], heldout, acts.tokens)

    Args:
        model: The model whose losses are measured.
        dictionaries: The dictionaries that are compared.
        on: Activations of their site.
        seen: Token ids [chunk pos] in which rarity is counted.

    Returns:
        Axes "dictionary" and "measure": the loss at this token for the next one, the loss of this
        token, its rarity in `seen`, and its activation's distance from the mean (which depends on
        the sum of latents more than on the text). NaN if all tokens have as many latents. Examples
        are chunks: the correlation plus the chunk's influence on it.
    """
    compared, ids, skip = list(dictionaries), on.tokens, max(on.skip, 1)
    chunks_per_run = max(1, PER_RUN // ids.shape[1])
    with torch.no_grad(), bridge.LOCK:
        losses = torch.cat(
            [
                token_losses(run(model, part).logits, part)
                for part in progress(ids.split(chunks_per_run), "losses")
            ]
        )
    times = torch.bincount(seen.flatten().long(), minlength=bridge.dims(model).d_vocab)
    x = on.of(compared[0].site).unflatten(0, (len(ids), -1))
    last = (
        ids.shape[1] - 1
    )  # positions from skip + 1 have a loss of their own, those before the last one for the next

    def cut(value):
        return to_numpy(value[:, 1 : last - on.skip].reshape(-1))

    hard = [
        losses[:, skip:],
        losses[:, skip - 1 : -1],
        -times[ids.long()][:, skip + 1 : last].float(),
        (x - x.flatten(0, 1).mean(0)).norm(dim=-1)[:, 1 : last - on.skip],
    ]
    ranks = [rankdata(to_numpy(h).reshape(-1)) for h in hard]
    counts = [
        rankdata(cut((_on(d, on) > 0).sum(-1).float().unflatten(0, (len(ids), -1))))
        for d in progress(compared, "latents")
    ]
    examples = np.stack(
        [np.stack([correlations(np.stack([c, r]), len(ids))[0, 1] for r in ranks]) for c in counts]
    )
    metadata = {
        "model": bridge.name(model),
        "site": compared[0].site,
        "tokens": len(ranks[0]),
        "chunks": len(ids),
        "counted on": seen.numel(),
    }
    coords = {"dictionary": names_of(compared), "measure": list(HARD)}
    return Result(
        examples.mean(-1),
        ("dictionary", "measure"),
        coords,
        "latents per token and how hard the token is",
        "Spearman's rho",
        metadata,
        examples,
    )


def _on(dictionary: Dictionary, acts: Activations, at_a_time: int = 4_096) -> Tensor:
    """Which latents are on at each token [n latent], one byte each."""
    with torch.no_grad():
        return torch.cat(
            [
                (dictionary.encode(part) != 0).to(torch.uint8)
                for part in acts.of(dictionary.site).split(at_a_time)
            ]
        )
