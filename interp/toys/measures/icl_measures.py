"""Progress measures: what small transformers get right and attend to, per sequence."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp._numbers import to_numpy
from interp.interventions import Intervention, run
from interp.results import Result

CONTEXT, BACK, MATCH = "labels in context", "previous token", "matching label"
LOOKS = (CONTEXT, BACK, MATCH)


def accuracy_on(
    batches: Mapping[str, Any], edits: Sequence[Intervention] = (), name: str = "right answers"
) -> Callable[[Any], Result]:
    """A measure: the share of sequences answered rightly at the last position, for each batch.

    An answer is right if it is the most likely token.

    Example:
        >>> splits = ("structural", "head", "tail")
        >>> batches = {split: source.batch(300, generator, split) for split in splits}
        >>> toys.over_training(runs, toys.accuracy_on(batches))

    Args:
        batches: Batches of one size, by name.
        edits: Interventions under which the model answers.
        name: The name of the result.

    Returns:
        A function from a model to a Result with the axis "measure" (the batches' names), one value
        per sequence kept. Unit: share of sequences.

    Raises:
        ValueError: If the batches differ in size.
    """
    _one_size(batches)

    def measure(model: Any) -> Result:
        rows = {
            k: _right(run(model, b.inputs, edits, last_only=True).logits, b)
            for k, b in batches.items()
        }
        return _result(rows, name, "share of sequences")

    return measure


def in_context(batches: Mapping[str, Any], on: str = "icl") -> Callable[[Any], Result]:
    """A measure of two-layer models of `in_context_classes`: right answers, and the circuit.

    Example:
        >>> measure = toys.in_context({"icl": new_classes, "iwl": not_in_context})
        >>> toys.over_training(runs, measure)

    Args:
        batches: Batches of one size, by name.
        on: The batch on which the circuit is measured.

    Returns:
        A function from a model to a Result with the axis "measure", one value per sequence kept:
        the share of right answers on each batch, and on the batch `on` "labels in context", the
        probability of the labels shown; "previous token", the attention of labels to the item
        before them in the first head; "matching label", the attention of the query to the labels of
        its own class in the head of the second layer.

    Raises:
        ValueError: If the batches differ in size, or `on` is no batch of `in_context_classes`.

    Reference:
        Reddy 2024, arXiv 2312.03002 (progress measures).
    """
    _one_size(batches)
    if on not in batches or not {"context", "match"} <= set(batches[on].labels):
        raise ValueError(f"on={on!r} names a batch of `in_context_classes` among {list(batches)}")

    def measure(model: Any) -> Result:
        measured = batches[on]
        seen = run(model, measured.inputs, keep=["L0H0.pattern", "L1H0.pattern"], last_only=True)
        logits = {
            k: seen.logits if k == on else run(model, b.inputs, last_only=True).logits
            for k, b in batches.items()
        }
        rows = {k: _right(logits[k], b) for k, b in batches.items()}
        rows |= _looks(
            measured, logits[on], seen.kept["L0H0.pattern"], seen.kept["L1H0.pattern"][:, -1]
        )
        return _result(rows, "progress", "share")

    return measure


def _looks(
    batch: Any, logits: Tensor, first: Tensor, second: Float[Tensor, "batch pos"]
) -> dict[str, Tensor]:
    """The rows LOOKS, one number per sequence.

    Args:
        batch: A batch of `in_context_classes`.
        logits: Logits at the last position.
        first: The attention pattern [batch dest src] of the first layer.
        second: The query's attention in the second layer.
    """
    shown = torch.zeros_like(logits).scatter_(1, batch.labels["context"], 1.0)
    at = torch.arange(1, first.shape[-1], 2)
    back = first[:, at, at - 1].mean(-1)
    return {
        CONTEXT: (shown * logits.softmax(-1)).sum(-1),
        BACK: back,
        MATCH: (second * batch.labels["match"]).sum(-1),
    }


def _right(logits: Float[Tensor, "batch d_vocab"], batch: Any) -> Float[Tensor, "batch"]:
    """Whether the most likely token is the answer, 1 or 0."""
    return (logits.argmax(-1) == batch.targets[:, -1]).float()


def _result(rows: Mapping[str, Tensor], name: str, unit: str) -> Result:
    """Rows by name as a Result with the axis "measure"."""
    examples = np.stack([to_numpy(row) for row in rows.values()])
    return Result(
        examples.mean(-1),
        ("measure",),
        {"measure": list(rows)},
        name,
        unit,
        {"n": examples.shape[-1]},
        examples,
    )


def _one_size(batches: Mapping[str, Any]) -> None:
    """None if all batches have one size; otherwise a ValueError."""
    sizes = {name: len(b.targets) for name, b in batches.items()}
    if not sizes or len(set(sizes.values())) > 1:
        raise ValueError(f"batches by name, all of one size: got {sizes}")
