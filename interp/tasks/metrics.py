"""Metrics: one number per prompt, read off the logits at the last position."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """One number per example, read off a run: `of(logits at the last position, kept) -> [batch]`.

    Example of a metric of your own, a function of the logits at the last position:
        >>> def entropy(logits):
        ...     return torch.distributions.Categorical(logits=logits).entropy()
        >>> patch(model, task, "L*H*", metric=entropy)
        >>> # with a name and a unit
        >>> own = Metric("entropy", "nats", lambda logits, kept: entropy(logits))

    Example:
        >>> patch(model, task, "L*H*@END", metric=attention_metric(["L23H3"], "IO", minus="S2"))

    Attributes:
        keep: The addresses the measure needs to see. columns [batch k] and of_columns: where the
            logits of a few tokens are enough, which ones, and the measure of them [... batch k] ->
            [... batch].
        needs_logits: False when only `keep` is read (logits may then be anything).
        everywhere: `of` is given the logits at every position, [batch pos d_vocab].
        part: For a metric that belongs to these prompts, the same for some of them.
        task: The task whose answers it scores, where its prompts have several lengths or its
            answers several tokens.
    """

    name: str
    unit: str
    of: Callable[[Tensor, Mapping[str, Tensor]], Tensor]
    keep: tuple[str, ...] = ()
    columns: Tensor | None = None
    of_columns: Callable[[Tensor], Tensor] | None = None
    needs_logits: bool = True
    everywhere: bool = False
    part: Callable[[Tensor], "Metric"] | None = None
    task: Any = None


# a metric by its name, a Metric, or a function of the last position's logits; None: the task's own
MetricLike = str | Metric | Callable | None


@dataclass(frozen=True)
class Formula:
    """One row of the table: title, unit, what it has to see, and how it is computed.

    reads "answers": `of(logits of the answers [... batch a], of the wrong ones [... batch w], which
    of them count)`. reads "vocab": `of(logits [... batch d_vocab], answers, wrong, which of them
    count)`.

    Attributes:
        compares: Whether it needs wrong answers.
    """

    title: str
    unit: str
    reads: str
    of: Callable[..., Tensor]
    compares: bool = False


def _mean(values: Tensor, count: Tensor) -> Tensor:
    return (values * count).sum(-1) / count.sum(-1)


def _best(values: Tensor, count: Tensor) -> Tensor:
    return values.masked_fill(~count, float("-inf")).amax(-1)


def _chosen(values: Tensor, ids: Tensor) -> Tensor:
    return values.gather(-1, ids.expand(*values.shape[:-1], ids.shape[-1]))


def _mass(logits: Tensor, ids: Tensor, count: Tensor) -> Tensor:
    return (_chosen(logits.softmax(-1), ids) * count).sum(-1)


def _log_prob(logits: Tensor, ids: Tensor, count: Tensor) -> Tensor:
    return _chosen(logits.log_softmax(-1), ids).masked_fill(~count, float("-inf")).logsumexp(-1)


def _rank(logits: Tensor, ids: Tensor, count: Tensor) -> Tensor:
    best = _best(_chosen(logits, ids), count)
    return (logits > best[..., None]).sum(-1).float()


def _logit_diff(a: Tensor, w: Tensor, counts_a: Tensor, counts_w: Tensor) -> Tensor:
    return _mean(a, counts_a) - _mean(w, counts_w)


METRICS: dict[str, Formula] = {
    # mean logit of the answers minus mean logit of the wrong ones
    "logit_diff": Formula("logit difference", "logits", "answers", _logit_diff, True),
    # is some answer above every wrong one?
    "accuracy": Formula(
        "accuracy",
        "share of prompts",
        "answers",
        lambda a, w, ca, cw: (_best(a, ca) > _best(w, cw)).float(),
        True,
    ),
    "prob": Formula(
        "probability of the answer", "probability", "vocab", lambda x, a, w, ca, cw: _mass(x, a, ca)
    ),
    "prob_diff": Formula(
        "probability difference",
        "probability",
        "vocab",
        lambda x, a, w, ca, cw: _mass(x, a, ca) - _mass(x, w, cw),
        True,
    ),
    "log_prob": Formula(
        "log probability of the answer",
        "nats",
        "vocab",
        lambda x, a, w, ca, cw: _log_prob(x, a, ca),
    ),
    # how many tokens stand above the best answer: 0 = it is on top
    "rank": Formula(
        "rank of the answer",
        "tokens above the answer",
        "vocab",
        lambda x, a, w, ca, cw: _rank(x, a, ca),
    ),
    "top1": Formula(
        "answer on top",
        "share of prompts",
        "vocab",
        lambda x, a, w, ca, cw: (_rank(x, a, ca) == 0).float(),
    ),
}
