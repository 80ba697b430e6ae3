"""Attribution to tokens from gradients at the embeddings."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.methods.inputs.baselines import Question
from interp.methods.runs import sweep
from interp.methods.runs.gradients import GradientBackend, by_engine, by_hooks
from interp.methods.runs.metrics import check_shape
from interp.sites import Site
from interp.tasks.metrics import Metric

EMBED = Site("embed")
TOKENS_AT_ONCE = 512


def gradient_x_input(asked: Question) -> tuple[Float[Tensor, "pos batch"], dict[str, Any]]:
    """The gradient at the embedding times its difference from the baseline."""
    slope = _backend(asked).slopes([EMBED], None)[EMBED][0]
    return (slope * (asked.actual - asked.absent)).sum(-1).T, {}


def integrated_gradients(asked: Question) -> tuple[Float[Tensor, "pos batch"], dict[str, Any]]:
    """The same with the gradient's mean on the straight line from the baseline.

    The points are Gauss and Legendre's: they lie closer near the ends, where gradients change most.
    """
    total = torch.zeros_like(asked.actual)
    places, weights = np.polynomial.legendre.leggauss(asked.steps)
    points = [(float(place + 1) / 2, float(weight) / 2) for place, weight in zip(places, weights)]
    # a short prompt's backward pass costs as much as several side by side
    at_once = 1 if asked.engine is None else max(1, TOKENS_AT_ONCE // asked.task.clean.numel())
    backends = {n: _backend(asked, n) for n in {at_once, len(points) % at_once} if 0 < n}
    with sweep.progress(None, "integrated gradients", total=len(points)) as bar:
        for first in range(0, len(points), at_once):
            some = points[first : first + at_once]
            between = torch.cat([torch.lerp(asked.absent, asked.actual, at) for at, _ in some])
            slopes = backends[len(some)].slopes([EMBED], between)[EMBED][0]
            for slope, (_, weight) in zip(slopes.split(len(total)), some):
                total += weight * slope
            bar.update(len(some))
    return (total * (asked.actual - asked.absent)).sum(-1).T, {"steps": asked.steps}


def _backend(asked: Question, copies: int = 1) -> GradientBackend:
    """The gradients of the metric of each prompt, of so many copies of the prompts."""
    tokens = asked.task.clean
    if asked.engine is None:
        return by_hooks(asked.model, asked.metric, tokens, asked.task.positions)
    metric = asked.metric if copies == 1 else _repeated(asked.metric, len(tokens))
    return by_engine(asked.engine, metric, tokens.repeat(copies, 1), 0)


def _repeated(metric: Metric, n: int) -> Metric:
    """A metric of n prompts for several copies of them."""

    def of(logits: Tensor, kept: Any) -> Tensor:
        return torch.cat([check_shape(metric.of(some, {}), n, metric) for some in logits.split(n)])

    return Metric(metric.name, metric.unit, of)
