"""Sparsity of weights and of neurons: a model without some of its weights, and silenced neurons.

The weights follow Jaiswal et al. 2023 (arXiv 2306.03805), the neurons Luo et al. 2024 (arXiv
2411.02335).
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp._arguments import quoted
from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import Intervention, run
from interp.methods.runs import sweep
from interp.models import bridge
from interp.results import Result

BY = ("size", "random")
WITHIN = ("matrix", "model")
IGNORE = -100
SHARES = (*np.arange(0.05, 1.0, 0.05), 0.975, 1.0)  # where a layer's error is measured


@torch_defaults()
def pruned(
    model: Model, share: float, *, by: str = "size", within: str | int = "matrix", seed: int = 0
) -> Any:
    """A copy of the model with a share of the weights of attention and MLPs set to zero.

    Embeddings, norms and biases stay. Nothing is trained afterwards. The model itself is not
    changed.

    Example:
        >>> half = interp.replications.pruned(model, 0.5)                 # the smaller half
        >>> two_of_four = interp.replications.pruned(model, 0.5, within=4)
        >>> interp.methods.text.cross_entropy(half, tokens)

    Args:
        model: A loaded model.
        share: How much goes, from 0 to 1.
        by: "size", the weights nearest to zero, or "random".
        within: Where that share is taken: in every "matrix", in the "model" as a whole, or in each
            group of so many weights that one output reads from neighbouring inputs (4 with
            share=0.5 is the 2:4 pattern).
        seed: Which weights go at random.

    Returns:
        A loaded model. Exactly the rounded share goes, also where weights are of equal size.

    Raises:
        ValueError: If the share or an option is impossible, a group loses no whole number of
            weights, or the model has no such matrices.

    Cost:
        Two seconds for 135M parameters, and their memory.

    Reference:
        Jaiswal et al. 2023; their code takes the share in the model as a whole.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share}: a share lies from 0 to 1 (try share=0.3)")
    if by not in BY:
        raise unknown("way to choose weights", by, BY, "by='size'")
    size = within if isinstance(within, int) and not isinstance(within, bool) else 0
    if not size and within not in WITHIN:
        raise unknown("place for a share", within, WITHIN, "within='matrix', or within=4")
    gone = share * size
    if size and (size < 0 or abs(gone - round(gone)) > 1e-9):
        raise ValueError(
            f"share={share} of groups of {size} is no whole number of weights (try"
            f" share={1 / max(abs(size), 1):g}, within={abs(size)})"
        )
    what = {"size": "smallest", "random": "random"}[by]
    new = bridge.copied(model, f"{bridge.name(model)}, {what} {100 * share:g} % of weights removed")
    matrices = _matrices(new)
    generator = torch.Generator().manual_seed(seed)

    def sizes(weight: Tensor) -> Tensor:
        if by == "size":
            return weight.abs()
        return torch.rand(weight.shape, generator=generator).to(weight.device)

    with torch.no_grad():
        if size:
            for weight, inputs in matrices:
                _in_groups(weight if inputs else weight.T, share, size, sizes)
        elif within == "matrix":
            for weight, _ in matrices:
                weight[smallest(sizes(weight), round(share * weight.numel()))] = 0
        else:
            flat = torch.cat([sizes(weight).flatten() for weight, _ in matrices])
            mask, first = smallest(flat, round(share * len(flat))), 0
            for weight, _ in matrices:
                weight[mask[first : first + weight.numel()].view(weight.shape)] = 0
                first += weight.numel()
        bridge.joined(new)
    return new


def _matrices(model: Any) -> list[tuple[Tensor, bool]]:
    """The weights of attention and MLPs, and whether their last axis is what they read."""
    found = [
        (part.weight, not bridge.transposed(part))
        for layer in range(bridge.dims(model).n_layers)
        for which in bridge.MATRICES
        if (part := bridge.linear(model, layer, which)) is not None
    ]
    if not found:
        raise ValueError(
            f"{bridge.name(model)!r} has no plain matrices in attention and MLPs to prune"
        )
    return found


def smallest(sizes: Float[Tensor, "*shape"], n: int) -> Bool[Tensor, "*shape"]:
    """Which are the n smallest of all; of equals, those that come first."""
    flat = sizes.flatten()
    if n <= 0:
        return torch.zeros_like(sizes, dtype=torch.bool)
    limit = flat.kthvalue(n).values
    mask = flat < limit
    mask[(flat == limit).nonzero()[: n - int(mask.sum()), 0]] = True
    return mask.view(sizes.shape)


def _in_groups(weight: Tensor, share: float, size: int, sizes: Callable) -> None:
    """Sets the share of each group of `size` weights along the last axis to zero, in place."""
    if weight.shape[-1] % size:
        raise ValueError(
            f"a matrix that reads {weight.shape[-1]} inputs has no groups of {size} (try within=4)"
        )
    groups = sizes(weight).unflatten(-1, (-1, size))
    order = groups.argsort(dim=-1, stable=True)[..., : round(share * size)]
    gone = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order, True)
    weight[gone.flatten(-2)] = 0


class Silenced(NamedTuple):
    """What `activation_sparsity` returns: the share silenced and the loss, by tolerated error."""

    share: Result
    loss: Result


@torch_defaults()
def activation_sparsity(
    model: Model,
    tokens: Any,
    *,
    fit: Any,
    errors: Sequence[float] = (0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5),
    targets: Any = None,
    by: str = "size",
    seed: int = 0,
) -> Silenced:
    """The share of MLP neurons that can be silenced, and the loss then, by the error tolerated.

    A neuron's size at a token is the norm of what it writes: its activation times the norm of its
    output weights. Each layer has one threshold, and what lies at it or below is set to zero. The
    thresholds are those at which the silenced neurons together make up a given share of the
    layer's output, as the mean over tokens of the ratio of norms (the error).

    Example:
        >>> silenced = interp.replications.activation_sparsity(model, heldout, fit=find)
        >>> silenced.share.plot(); silenced.loss.plot()

    Args:
        model: A loaded model.
        tokens: Ids [chunk pos] that share and loss are measured on. The first position, where the
            attention sink is, is left out of everything.
        fit: Ids [chunk pos] of other text, which place the thresholds, with nothing silenced.
        errors: The errors tolerated; 0 silences what is exactly zero.
        targets: The next tokens of `tokens` [chunk pos], -100 where no loss is taken; None for
            the tokens as they follow each other.
        by: "size", or "random": as many neurons of each layer as size would silence, drawn anew
            at every token.
        seed: Which neurons are silenced at random.

    Returns:
        `share` (share of neurons, the mean over layers and tokens) and `loss` (nats per token),
        both over axis "error", one value per chunk kept.

    Raises:
        ValueError: If the ids are no chunks of three tokens or more, an error is not from 0 to 1,
            a chunk has no target, or the model has no MLPs with plain output weights.

    Cost:
        A run of `tokens` per error; a minute of one core for 1,000 tokens of SmolLM2 and 13
        errors.

    Reference:
        Luo et al. 2024. The loss at which perplexity has grown by p % gives their PPL-p %
        sparsity. They look for the error by bisection, and use one error for all checkpoints of a
        model; here the curve is returned.
    """
    started = time.perf_counter()
    if by not in BY:
        raise unknown("way to choose neurons", by, BY, "by='size'")
    tokens, fit = _chunks(tokens, "tokens"), _chunks(fit, "fit")
    errors = [float(error) for error in errors]
    if not errors or any(not 0 <= error <= 1 for error in errors):
        raise ValueError(f"errors={errors}: each lies from 0 to 1 (try errors=(0, 0.1, 0.2))")
    follows = _targets(targets, tokens)
    outputs = {}
    for layer in range(bridge.dims(model).n_layers):
        part = bridge.linear(model, layer, "out")
        if part is not None:
            weight = part.weight.detach().float()
            outputs[layer] = weight if bridge.transposed(part) else weight.T  # [neuron d_model]
    if not outputs:
        raise ValueError(f"{bridge.name(model)!r} has no MLP with plain output weights")
    places = {layer: f"mlp.{layer}.post" for layer in outputs}
    acts = run(model, fit, keep=list(places.values())).kept
    rules = {
        layer: _thresholds(acts[places[layer]][:, 1:].flatten(0, 1), weight, errors)
        for layer, weight in outputs.items()
    }
    shares, losses = [], []
    for number in sweep.progress(range(len(errors)), "silencing neurons"):
        generator = torch.Generator().manual_seed(seed)
        silenced: list[Tensor] = []
        edits = []
        for layer, place in places.items():
            limit, share = rules[layer][number]
            edit = _silencing(outputs[layer], limit, share, by, silenced, generator)
            edits.append(Intervention(place, edit))
        size, loss, counts = max(1, sweep.TOKENS_PER_RUN // tokens.shape[1]), [], []
        for first in range(0, len(tokens), size):
            part = slice(first, first + size)
            silenced.clear()
            loss.append(_losses(run(model, tokens[part], edits).logits, follows[part]))
            counts.append(torch.stack(silenced).mean(0))
        shares.append(to_numpy(torch.cat(counts)))
        losses.append(to_numpy(torch.cat(loss)))
    about = sweep.provenance(model, None, f"neurons silenced by {by}", started, backend="hooks")
    about |= {"n": len(tokens), "layers": list(outputs), "by": by, "seed": seed}

    def result(name: str, unit: str, values: Sequence[np.ndarray]) -> Result:
        examples = np.stack(values)
        coords = {"error": errors}
        return Result(examples.mean(-1), ("error",), coords, name, unit, about, examples)

    return Silenced(
        result("neurons silenced", "share of neurons", shares),
        result("loss with neurons silenced", "nats per token", losses),
    )


def _chunks(ids: Any, name: str) -> Int[Tensor, "chunk pos"]:
    """Ids [chunk pos]; a ValueError that shows the call if they are something else."""
    try:
        found = torch.as_tensor(ids)
    except (TypeError, ValueError, RuntimeError):
        found = torch.empty(0)
    if found.ndim != 2 or found.shape[0] == 0 or found.shape[1] < 3 or found.is_floating_point():
        raise ValueError(
            f"{name} is chunks of ids [chunk pos], three tokens or longer, not {quoted(ids)}:"
            " interp.texts.chunks(model, interp.texts.prose(), length=48)"
        )
    return found


def _targets(targets: Any, tokens: Tensor) -> Int[Tensor, "chunk pos"]:
    """The next tokens, -100 where no loss is taken: at the first place always."""
    if targets is None:
        found = torch.full_like(tokens, IGNORE)
        found[:, :-1] = tokens[:, 1:]
    else:
        found = _chunks(targets, "targets").clone()
        if found.shape != tokens.shape:
            raise ValueError(
                f"targets of shape {tuple(found.shape)} for tokens of shape"
                f" {tuple(tokens.shape)}: the next token of each position"
            )
    found[:, 0] = IGNORE
    empty = (found == IGNORE).all(1).nonzero()
    if len(empty):
        raise ValueError(f"chunk {int(empty[0, 0])} has no target after its first position")
    return found.long()


def _losses(logits: Tensor, targets: Tensor) -> Float[Tensor, "chunk"]:
    """The mean loss of each chunk over its targets."""
    losses = F.cross_entropy(
        logits.float().flatten(0, 1),
        targets.flatten().to(logits.device),
        reduction="none",
        ignore_index=IGNORE,
    ).view(targets.shape)
    return losses.sum(1).cpu() / (targets != IGNORE).sum(1)


def _thresholds(
    acts: Float[Tensor, "token neuron"], weight: Float[Tensor, "neuron d_model"], errors: list
) -> list[tuple[float, float]]:
    """For each error, the threshold of a layer and the share of neurons at it or below."""
    acts = acts.float()
    written, whole = acts.abs() * weight.norm(dim=1), (acts @ weight).norm(dim=1)
    ordered = written.flatten().sort().values
    limits, found = [0.0], [0.0]
    for share in SHARES:
        limit = float(ordered[max(0, round(float(share) * len(ordered)) - 1)])
        tail = (acts * (written <= limit)) @ weight
        limits.append(limit)
        found.append(float((tail.norm(dim=1) / whole.clamp(min=1e-12)).mean()))
    chosen = np.interp(errors, np.maximum.accumulate(found), limits)
    chosen[np.asarray(errors) == 0] = 0.0
    return [(float(t), float((written <= t).float().mean())) for t in chosen]


def _silencing(
    weight: Tensor,
    limit: float,
    share: float,
    by: str,
    silenced: list[Tensor],
    generator: torch.Generator,
) -> Callable:
    """The edit that silences a layer's neurons; the share of each chunk is added to a list."""
    norms = weight.norm(dim=1)

    def edit(activation: Tensor, seen: Any) -> Tensor:
        if by == "size":
            off = activation.abs().float() * norms <= limit
        else:
            drawn = torch.rand(activation.shape, generator=generator)
            off = (drawn < share).to(activation.device)
        silenced.append(off[:, 1:].float().mean((1, 2)).cpu())
        off[:, 0] = False
        return activation.masked_fill(off, 0)

    return edit
