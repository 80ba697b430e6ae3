"""A crosscoder of two models, trained on the same tokens in both."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from interp._isolation import torch_defaults
from interp._types import Model
from interp.features.activations import Activations, activations
from interp.features.crosscoders.crosscoder import Crosscoder
from interp.methods.runs import sweep

REVIVED = 1 / 32  # weight of the loss by which dead latents learn what is left over
DEAD = 50  # steps without being on


@torch_defaults()
def train_crosscoder(
    models: Sequence[Model] | None,
    site: str,
    on: Any = None,
    *,
    names: tuple[str, str] | None = None,
    width: int = 2304,
    k: int = 32,
    tokens: int = 200_000,
    batch: int = 1024,
    lr: float = 1e-3,
    seed: int = 0,
) -> Crosscoder:
    """A crosscoder of two models or two checkpoints: what they share, and what one has alone.

    Example:
        >>> crosscoder = features.train_crosscoder((base, tuned), "resid_post.15")
        >>> crosscoder               # how many latents are shared, and whose the others are
        >>> crosscoder.exclusive()

    Sparsity is BatchTopK: of a batch, the k latents a token with the largest size times the sum of
    their directions' lengths are on. An L1 penalty would shorten the direction in the model where a
    latent is weaker, down to nothing, and so invent latents of one model alone.

    Args:
        models: Two models with one tokenizer. None if `on` has activations.
        site: The site that is read in both ("resid_post.15").
        on: A corpus or ids [chunk pos], as in `features.activations`; or two `Activations` of the
            same tokens, one of each model.
        names: What the models are called; by their own names if None.
        width: How many latents.
        k: How many are on at a token, on average.
        tokens: How many tokens it is trained on; a shorter text is read again.
        batch: Tokens a step.
        lr: Adam's learning rate, falling to zero over the last fifth.
        seed: Decides text, order and first weights.

    Returns:
        A `Crosscoder`; its metadata has the variance explained in each model, on the same tokens.

    Raises:
        ValueError: If these are not two models or two activations, their tokens differ, or k is not
            between 1 and the width.

    Cost:
        A run of the text in each model; then `12 * tokens * width * (d_first + d_second)`
        multiplications: 200,000 tokens of SmolLM2 with 2,304 latents take some ten minutes of two
        cores.

    Reference:
        Lindsey et al. 2024, "Sparse Crosscoders for Cross-Layer Features and Model Diffing"; Minder
        et al. 2025, arXiv 2504.02922, for BatchTopK and what L1 does. Dead latents are revived by
        the auxiliary loss of Gao et al. 2024, arXiv 2406.04093.
    """
    acts = _pair(models, site, on, tokens, seed)
    if not 1 <= k <= width:
        raise ValueError(f"k={k} of width={width}: from 1 to the width")
    n_steps = tokens // batch
    if n_steps < 1:
        raise ValueError(f"{tokens:,} tokens are fewer than one batch of {batch:,}")
    called = names or _names(acts)
    x = [some.of(site) for some in acts]
    if len(x[0]) < batch:
        raise ValueError(
            f"{len(x[0]):,} tokens are fewer than one batch of {batch:,}: give a longer text, or a"
            " smaller batch"
        )
    widths = (x[0].shape[1], x[1].shape[1])
    scale = torch.stack([some.pow(2).mean().sqrt().clamp(min=1e-12) for some in x])
    per_column = torch.cat([s.expand(d) for s, d in zip(scale, widths)])
    parameters = _first_weights(widths, width, seed, torch.cat(x, 1).mean(0) / per_column)
    optimizer = torch.optim.Adam(parameters.values(), lr=lr)
    batches = _batches(len(x[0]), batch, seed)
    threshold, on_count, counted = scale.new_zeros(()), scale.new_zeros(width), 0
    idle = torch.zeros(width, dtype=torch.long, device=scale.device)
    with sweep.progress(None, "crosscoder: steps", total=n_steps) as bar:
        for step in range(n_steps):
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1.0, (n_steps - step) / max(1, n_steps // 5))
            rows = next(batches).to(scale.device)
            both = torch.cat([some[rows] for some in x], 1) / per_column
            with torch.inference_mode(False), torch.enable_grad():
                loss, sizes = _loss(parameters, widths, both.clone(), k, idle > DEAD)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            least = sizes[sizes > 0]
            if len(least):
                threshold = least.min() if step == 0 else threshold.lerp(least.min(), 0.02)
            fired = (sizes > 0).any(0)
            idle = torch.where(fired, 0, idle + 1)
            if step >= n_steps - max(1, n_steps // 5):  # who is alive at the end
                on_count, counted = on_count + (sizes > 0).sum(0), counted + batch
            bar.update(1)
    weights = _folded(parameters, widths, per_column, threshold)
    weights |= {"scale": scale, "frequency": on_count / max(1, counted)}
    found = Crosscoder(weights, site, called, widths)
    about = {"models": [some.metadata.get("model") for some in acts], "k": k, "seed": seed}
    about |= {"tokens": n_steps * batch, "texts": acts[0].metadata.get("texts"), "lr": lr}
    about["explained"] = dict(zip(called, _explained(found, *x)))
    return Crosscoder(weights, site, called, widths, about)


def _pair(
    models: Sequence[Model] | None, site: str, on: Any, tokens: int, seed: int
) -> tuple[Activations, Activations]:
    """The activations of the same tokens in both models."""
    if isinstance(on, list | tuple) and any(isinstance(some, Activations) for some in on):
        found = list(on)
    elif models is None:
        raise ValueError(
            "no models: features.train_crosscoder((base, tuned), 'resid_post.15'), or give two"
            " activations of the same tokens as on="
        )
    else:
        if len(models) != 2:
            raise ValueError(f"a crosscoder is of two models, got {len(models)}")
        found = [activations(model, site, on, tokens=tokens, seed=seed) for model in models]
    if len(found) != 2 or not all(isinstance(some, Activations) for some in found):
        raise ValueError(f"a crosscoder is of two activations, one of each model, got {len(found)}")
    first, second = found
    same = first.skip == second.skip and torch.equal(first.tokens, second.tokens)
    if not same or len(first) != len(second):
        raise ValueError(
            "the two models read different tokens (another tokenizer, or another text): a"
            " crosscoder compares them token by token, so give the same ids to both"
        )
    return first, second


def _batches(n: int, size: int, seed: int) -> Iterator[Tensor]:
    """Rows of n tokens, a batch at a time, without end; each pass has another order."""
    g = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(n, generator=g)[: n // size * size].split(size)


def _names(acts: Sequence[Activations]) -> tuple[str, str]:
    """The models' names; where they are the same, by their order."""
    first, second = (str(some.metadata.get("model")) for some in acts)
    return (first, second) if first != second else (f"{first} (first)", f"{second} (second)")


def _first_weights(widths: tuple[int, int], n: int, seed: int, mean: Tensor) -> dict[str, Tensor]:
    """Directions of one random length in both models; the encoder is their transpose."""
    g = torch.Generator().manual_seed(seed)
    parts = [torch.randn(n, d, generator=g) for d in widths]
    W_dec = torch.cat([part / part.norm(dim=-1, keepdim=True) for part in parts], 1) / 2
    W_dec = W_dec.to(mean.device)
    made = {"W_enc": W_dec.T, "b_enc": mean.new_zeros(n), "W_dec": W_dec, "b_dec": mean}
    with torch.inference_mode(False):
        return {name: value.clone().requires_grad_(True) for name, value in made.items()}


def _lengths(W_dec: Tensor, widths: tuple[int, int]) -> Tensor:
    """The sum of the lengths of each latent's two directions [latent]."""
    return torch.stack([part.norm(dim=-1) for part in W_dec.split(widths, 1)]).sum(0)


def _loss(
    w: dict[str, Tensor], widths: tuple[int, int], both: Tensor, k: int, dead: Tensor
) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and how large each latent was where it was on [token latent]."""
    z = (both @ w["W_enc"] + w["b_enc"]).relu()
    sizes = z * _lengths(w["W_dec"], widths)
    most = sizes.flatten().topk(k * len(both), sorted=False)
    chosen = torch.zeros_like(sizes).flatten().scatter(0, most.indices, 1.0).view_as(sizes)
    left = both - (z * chosen) @ w["W_dec"] - w["b_dec"]
    loss = left.pow(2).sum(1).mean()
    if bool(dead.any()):
        some = (both @ w["W_enc"] + w["b_enc"])[:, dead]
        top = some.topk(min(some.shape[1], 2 * k), dim=1)
        revived = torch.zeros_like(some).scatter(1, top.indices, top.values.relu())
        again = left.detach() - revived @ w["W_dec"][dead]
        loss = loss + REVIVED * again.pow(2).sum(1).mean()
    return loss, (sizes * chosen).detach()


def _folded(
    w: dict[str, Tensor], widths: tuple[int, int], per_column: Tensor, threshold: Tensor
) -> dict[str, Tensor]:
    """The weights for activations as they are, the sum of a latent's lengths put into its size."""
    w = {name: value.detach() for name, value in w.items()}
    lengths = _lengths(w["W_dec"], widths).clamp(min=1e-12)
    return {
        "W_enc": w["W_enc"] / per_column[:, None] * lengths,
        "b_enc": w["b_enc"] * lengths,
        "W_dec": w["W_dec"] * per_column / lengths[:, None],
        "b_dec": w["b_dec"] * per_column,
        "threshold": threshold.expand(len(lengths)).clone(),
    }


def _explained(crosscoder: Crosscoder, *x: Tensor) -> list[float]:
    """The share of the variance that it explains in each model."""
    missed, whole = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for parts in zip(*(some.split(8192) for some in x)):
        for i, (y, made) in enumerate(zip(parts, crosscoder.reconstruct(*parts))):
            missed[i] += float((y - made).pow(2).sum())
            whole[i] += float((y - x[i].mean(0)).pow(2).sum())
    return (1 - missed / whole.clamp(min=1e-30)).tolist()
