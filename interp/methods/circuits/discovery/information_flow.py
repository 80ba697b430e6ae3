"""Information flow routes: where the prediction's content comes from, back from the logits."""

import time
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp import sites
from interp._isolation import torch_defaults
from interp._types import Model
from interp.interventions import run
from interp.methods.circuits import edges
from interp.methods.runs import sweep
from interp.models import bridge
from interp.results import Result
from interp.sites import Site
from interp.tasks.task import Task, joined


@torch_defaults()
def information_flow(model: Model, task: Any, *, examples: bool = False) -> Result:
    """Share of the prediction's content that comes along each edge, in the clean run alone.

    A part z of a sum y contributes by its proximity max(0, |y| - |y - z|), with |.| the sum of
    absolute values, as a share of what all parts contribute. From the top: the logits at END have
    relevance 1. Whatever has relevance hands it on to the senders whose writes its stream is the
    sum of, by their shares; an MLP hands its own on to its input at the same position; a head to
    its values, to each source position by the share of that token's attention-weighted value in
    what the head writes (where none of them comes nearer to it, the flow ends).

    Example:
        >>> information_flow(model, task).top(5)

    Args:
        model: A loaded model.
        task: A task, or prompts; no corrupted ones are needed.
        examples: Keep every example's score.

    Returns:
        What passes along the edge, over all positions: a share of the prediction's content, never
        negative; axes sender, receiver (NaN: no edge). The edges into the logits add up to 1.
        Queries and keys get 0: how a head came to look where it looks is not asked, nor is the
        task's metric.

    Cost:
        One forward pass, and the contributions of each head prompt by prompt.

    Reference:
        Ferrando and Voita 2024 (arXiv 2403.00824). The paper splits the stream block by block and
        cuts small edges; here every receiver's stream is split among all the writes before it, and
        nothing is cut.
    """
    started = time.perf_counter()
    dims = bridge.dims(model)
    senders, receivers = sites.senders(dims), sites.receivers(dims)
    streams = [f"{part}.{layer}" for layer in range(dims.n_layers) for part in ("resid_pre", "mlp")]
    streams = [s if s.startswith("resid") else s + ".in" for s in streams]
    inside = ["L*H*.pattern", "L*KV*.v"]
    keep = [*map(str, senders), *streams, *inside, "logits.in"]

    def walk(part: Task) -> Tensor:
        cache = run(model, part.clean, keep=keep, last_only=True).kept
        return _walk(model, dims, senders, receivers, cache).movedim(0, -1)

    with torch.no_grad():
        scores = joined(task, walk, once=True).movedim(-1, 0)
    metadata = sweep.provenance(model, task, "information_flow", started, backend="hooks")
    return edges.edge_scores(
        scores, model, task, "information flow", "share of the content", metadata, examples
    )


def _walk(
    model: Model,
    dims: bridge.Dims,
    senders: list[Site],
    receivers: list[Site],
    cache: dict[str, Tensor],
) -> Float[Tensor, "batch sender receiver"]:
    """Every edge's score, receiver by receiver from the logits back."""
    writes = torch.stack([cache[str(s)] for s in senders])
    _, n, length, _ = writes.shape
    row, scores = (
        {str(s): i for i, s in enumerate(senders)},
        writes.new_zeros(n, len(senders), len(receivers)),
    )
    relevance = writes.new_zeros(len(senders), n, length)  # of each sender at each position
    shares: dict[str, Tensor] = {}
    for number in reversed(range(len(receivers))):
        receiver = receivers[number]
        if receiver.family == "head" or receiver.part == "k_in":
            continue  # queries and keys
        stream = f"resid_pre.{receiver.layer}" if receiver.family == "kv" else str(receiver)
        receiver_relevance = writes.new_zeros(n, length)
        if receiver.family == "logits":
            receiver_relevance[:, -1] = 1.0
        elif receiver.family == "mlp":
            receiver_relevance = relevance[row[f"mlp.{receiver.layer}"]]
        else:
            receiver_relevance = sum(
                _to_sources(model, head, receiver, cache, relevance[row[str(head)]])
                for head in sites.feeds(receiver, dims)
            )
        if stream not in shares:
            count = sum(sites.precedes(s, receiver, dims) for s in senders)
            shares = {stream: contributions(writes[:count], cache[stream])}
        passed = shares[stream] * receiver_relevance
        relevance[: len(passed)] += passed
        scores[:, : len(passed), number] = passed.sum(-1).T
    return scores


def contributions(
    parts: Float[Tensor, "part *more d"], whole: Float[Tensor, "*more d"]
) -> Float[Tensor, "part *more"]:
    """Each part's share in a sum, by proximity; 0 for all where no part brings the sum nearer."""
    near = torch.stack(
        [(whole.abs().sum(-1) - (whole - part).abs().sum(-1)).clamp_min(0) for part in parts]
    )
    whole_of = near.sum(0)
    return torch.where(whole_of > 0, near / whole_of.clamp_min(1e-30), 0.0)


def _to_sources(
    model: Model,
    head: Site,
    kv: Site,
    cache: dict[str, Tensor],
    relevance: Float[Tensor, "batch dest"],
) -> Float[Tensor, "batch src"]:
    """A head's relevance, handed to its values by each token's share in what the head writes."""
    pattern = cache["L*H*.pattern"][head.layer, head.index]  # batch dest src
    values = cache["L*KV*.v"][kv.layer, kv.index]  # batch src d_head
    W_O = bridge.head_matrix(model, head.layer)
    tokens, write = values @ W_O[head.index], cache[str(head)]
    handed = []
    for prompt in range(len(tokens)):  # one at a time: the parts are pos x pos vectors
        parts = pattern[prompt].T[..., None] * tokens[prompt][:, None]  # src dest d_model
        handed.append((contributions(parts, write[prompt]) * relevance[prompt]).sum(-1))
    return torch.stack(handed)
