"""RelP: edge attribution patching with other rules for the backward pass."""

from typing import Any

from interp import engine
from interp._isolation import torch_defaults
from interp._types import Model
from interp.methods.circuits.discovery.eap import attributed
from interp.results import Result
from interp.tasks.metrics import MetricLike


@torch_defaults()
def relp(
    model: Model,
    task: Any,
    *,
    metric: MetricLike = None,
    by: str = "resample",
    examples: bool = False,
    positions: bool = False,
) -> Result:
    """RelP: clean minus corrupted write of each edge, times the relevance where it is read.

    Example:
        >>> relp(model, task).top(5)
        >>> Circuit.top(relp(model, task), 500)

    Relevance replaces the gradient: norms' scales and attention patterns are constants, an
    activation function hands back its output over its input, and each factor of a gated MLP half.
    So nothing flows through queries and keys, whose edges score 0.

    Args:
        model: A loaded model that the engine runs.
        task: A task with corrupted prompts.
        metric: As in `interp.patch`; it must have a gradient.
        by: What a corrupted edge carries, see `interp.evaluate`.
        examples: Keep every example's score (for intervals and stability).
        positions: An axis "place" for where the write is read, as in `eap`.

    Returns:
        The estimate in the metric's unit, axes sender, receiver (NaN: no edge). Positive:
        corrupting the edge lowers the metric.

    Raises:
        ValueError: If the engine does not run this model: it is the one that knows these rules.

    Cost:
        Two forward passes and one backward pass, as EAP.

    Reference:
        Rezaei Jafari et al. 2025, "RelP: Faithful and Efficient Circuit Discovery in Language
        Models via Relevance Patching" (arXiv 2508.21258): the LN, identity, half and AH rules. A
        soft cap of the logits keeps its own slope.
    """
    options = dict(metric=metric, by=by, examples=examples, positions=positions, backend="engine")
    return attributed(model, task, "relp", "RelP", rules=engine.RELP, **options)
