"""Cross-entropy on text: what an edit costs where it was not meant to do anything."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import Intervention, run
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.text.token_losses import chunk_losses
from interp.results import Result
from interp.tasks.task import Task


@torch_defaults()
@any_prompts(raw=True)
def cross_entropy(
    model: Model,
    tokens: Any,
    interventions: Sequence[Intervention] = (),
    *,
    positions: Mapping[str, Tensor] | None = None,
) -> Result:
    """Mean loss of the next token in each chunk of text, under the interventions (nats per token).

    Example:
        >>> tokens = interp.texts.chunks(model, interp.texts.documentation(), n=32, split="heldout")
        >>> plain = interp.methods.text.cross_entropy(model, tokens)
        >>> steer = [Intervention("resid_post.12", add(vector))]
        >>> steered = interp.methods.text.cross_entropy(model, tokens, steer)
        >>> (steered.examples - plain.examples).mean()        # the side effect

    Args:
        model: A loaded model.
        tokens: Ids [chunk pos], position 0 the tokenizer's first token: the prediction made there
            is left out, because that position only holds the attention sink.
        interventions: The same for every chunk, a few chunks to a run so that their logits fit into
            memory: an edit must not hold values chunk by chunk.
        positions: Named positions, an index per chunk.

    Returns:
        One number, one value per chunk kept.

    Raises:
        ValueError: If a chunk has fewer than three tokens.
    """
    started = time.perf_counter()
    if isinstance(tokens, Task):
        positions, tokens = positions or tokens.positions, tokens.clean
    tokens = torch.as_tensor(tokens)
    tokens = tokens[None] if tokens.ndim == 1 else tokens
    if tokens.ndim != 2 or tokens.shape[0] == 0 or tokens.shape[1] < 3:
        raise ValueError(
            f"tokens of shape {tuple(tokens.shape)} have no loss: chunks [chunk pos] of three"
            " tokens or more are needed, the first one being left out"
        )
    edits = list(interventions)
    if any(edit.rows is not None for edit in edits):
        raise ValueError(
            "cross_entropy runs a few chunks at a time: an intervention with `rows` of its own does"
            " not fit"
        )
    size = max(1, sweep.TOKENS_PER_RUN // tokens.shape[1])
    losses = []
    for first in sweep.progress(range(0, len(tokens), size), "cross-entropy"):
        part = slice(first, first + size)
        where = {name: at if at.ndim == 0 else at[part] for name, at in (positions or {}).items()}
        losses.append(
            chunk_losses(run(model, tokens[part], edits, positions=where).logits, tokens[part])
        )
    examples = to_numpy(torch.cat(losses))
    metadata = sweep.provenance(
        model, None, "edited run" if edits else "plain run", started, backend="hooks"
    )
    metadata |= {
        "n": len(tokens),
        "length": tokens.shape[1],
        "edits": [str(edit.at) for edit in edits],
    }
    return Result(examples.mean(), (), {}, "cross-entropy", "nats per token", metadata, examples)
