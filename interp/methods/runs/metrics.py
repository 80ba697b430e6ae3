"""What is measured on a run: the task's metric, or anything that gives a number per example."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp import interventions
from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._types import Model
from interp.methods.text.token_losses import chunk_losses
from interp.models.tokens import read_prompts
from interp.sites import Site
from interp.tasks.metrics import Metric, MetricLike
from interp.tasks.pairs import pairs
from interp.tasks.task import MixedTask, Task


def _one_length_only(logits: Tensor, kept: Mapping[str, Tensor]) -> Tensor:
    """Raises ValueError: a metric of several lengths is taken one length at a time."""
    raise ValueError(
        "prompts of several lengths are measured one length at a time: task.by_length() gives them"
    )


def metric_of(task: Any, metric: MetricLike = None) -> Metric:
    """The Metric meant: the task's own, another by name, or a function of the logits at END."""
    if isinstance(metric, Metric):
        return metric
    if callable(metric):
        return Metric(
            getattr(metric, "__name__", "metric"), "metric", lambda logits, kept: metric(logits)
        )
    measured = task if metric is None else task.with_metric(metric)
    if isinstance(measured, MixedTask):
        return Metric(measured.metric_title, measured.metric_unit, _one_length_only, task=measured)
    by_columns = measured.reads == "answers"
    return Metric(
        measured.metric_title,
        measured.metric_unit,
        lambda logits, kept: measured.metric(logits),
        columns=measured.columns if by_columns else None,
        of_columns=measured.metric_from_columns if by_columns else None,
        part=lambda index: metric_of(measured[index]),
    )


def metric_parts(
    task: Task, metric: Metric
) -> list[tuple[Int[Tensor, "batch"], list[tuple[float, Task, Metric]]]]:
    """For each part of a task its examples, and its runs as (weight, task, metric)."""
    if not isinstance(task, MixedTask):
        return [(torch.arange(len(task)), [(1.0, task, metric)])]
    if metric.task is not None:
        return [(p.index, [(w, t, metric_of(t)) for w, t in p.steps]) for p in metric.task.parts]
    return [
        (p.index, [(1.0, p.steps[0].task, of_part(metric, p.index, len(task)))]) for p in task.parts
    ]


def of_part(metric: Metric, index: Tensor, n: int) -> Metric:
    """A metric made for n prompts, on some of them."""
    if metric.part is not None:
        return metric.part(index)
    if metric.columns is not None and len(metric.columns) == n:
        raise ValueError(
            f"the metric {metric.name!r} was made for {n} prompts together, and prompts of several "
            "lengths are run apart: give its name, or a function of the logits"
        )
    return metric


def part_of(task: Task, index: Tensor) -> Task:
    """The prompts of a part, as a task of one length."""
    for part in task.parts:
        if torch.equal(part.index, index):
            return part.steps[0].task
    return task[index]


def check_shape(values: Any, n: int, what: Metric) -> Float[Tensor, "batch"]:
    """The values themselves when they are one number per example, otherwise a ValueError."""
    if not isinstance(values, Tensor) or values.shape != (n,):
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(
            f"the metric {what.name!r} gave {shape}: it must give one number per example, shape"
            f" ({n},)"
        )
    if values.is_complex():
        raise ValueError(f"the metric {what.name!r} gave complex numbers: give real ones (.real?)")
    wrong = (~torch.isfinite(values)).nonzero()
    if len(wrong):
        i = int(wrong[0])
        raise ValueError(
            f"the metric {what.name!r} is {float(values[i].detach())} for example {i} (counted"
            " from 0): every example needs a finite number; leave the example out, or mend the"
            " metric"
        )
    return values.float()


def attention_metric(
    heads: Sequence[str], to: str, *, minus: str | None = None, at: str = "END", task: Any
) -> Metric:
    """Metric: attention of these heads from `at` to `to`, minus that to `minus`, mean over heads.

    Example:
        >>> metric = attention_metric(["L23H3", "L17H4"], "IO", minus="S2", task=task)
        >>> patch(model, task, "L*H*@END", metric=metric)

    Args:
        heads: Single heads.
        to: The position that is attended to, by the task's name for it.
        minus: A second position, whose share is subtracted.
        at: The position that attends.
        task: The task whose positions these are.

    Returns:
        A Metric in shares of the row (0 to 1), or a difference of two shares (-1 to 1).

    Raises:
        ValueError: If there is no head, or the task has no such position.
    """
    keep = tuple(f"{Site.parse(head)}.pattern@{at}" for head in heads)
    if not keep:
        raise ValueError("attention_metric needs at least one head, for example ['L23H3']")
    name = f"attention {at} to {to}" + (f" minus {minus}" if minus else "")

    def of_some(index: Tensor) -> Metric:
        return attention_metric(heads, to, minus=minus, at=at, task=part_of(task, index))

    if isinstance(task, MixedTask):
        of_some(task.parts[0].index)  # raises where a position is unknown
        return Metric(name, "share of attention", _one_length_only, part=of_some)
    for place in filter(None, (to, minus, at)):
        task.position(place)  # raises with a did-you-mean

    def of(logits: Tensor, kept: Mapping[str, Tensor]) -> Tensor:
        rows = torch.stack([kept[k] for k in keep]).mean(0)  # [batch src]

        def share(place: str) -> Tensor:
            return rows.gather(1, task.position(place).to(rows.device)[:, None])[:, 0]

        return share(to) if minus is None else share(to) - share(minus)

    return Metric(name, "share of attention", of, keep, needs_logits=False, part=of_some)


@torch_defaults()
def kl_metric(model: Model, task: Any, run: str = "clean") -> Metric:
    """Metric: KL(clean || this run) of the prediction, zero where the two agree.

    Per example, over the whole vocabulary at the last position, in nats: the sum over tokens of
    p_clean (log p_clean - log p_this).

    Example:
        >>> kl = kl_metric(model, task)
        >>> patch(model, task, "L*H*", metric=kl)      # negative: closer to the clean prediction
        >>> ablate(model, task, "L*H*", metric=kl)     # positive: away from it

    Args:
        model: A loaded model.
        task: The task or prompts that are measured: a held-out task needs its own metric.
        run: "clean" or "corrupted": the prompts to compare with. They are run once, here.

    Returns:
        A Metric in nats.

    Raises:
        ValueError: If `run` is unknown, or later the prompts are others.

    Reference:
        The metric of ACDC (Conmy et al. 2023, arXiv 2304.14997): it measures the whole prediction,
        not one answer.
    """
    if run not in ("clean", "corrupted"):
        raise unknown("run", run, ("clean", "corrupted"))
    if not isinstance(task, Task):
        task = pairs(model, read_prompts(model, task).ids, name="text")
    name = f"KL from the {run} run"

    def of_some(index: Tensor) -> Metric:
        return kl_metric(model, part_of(task, index), run)

    if isinstance(task, MixedTask):
        return Metric(name, "nats", _one_length_only, part=of_some)
    target = (
        interventions.run(model, getattr(task, run), last_only=True).logits.float().log_softmax(-1)
    )

    def of(logits: Tensor, kept: Mapping[str, Tensor]) -> Tensor:
        if logits.shape != target.shape:
            raise ValueError(
                f"kl_metric was made for {len(target)} prompts and got logits "
                f"{tuple(logits.shape)}: "
                "make it for the task that it measures, kl_metric(model, task)"
            )
        here = logits.float().log_softmax(-1).to(target)
        return torch.nn.functional.kl_div(here, target, reduction="none", log_target=True).sum(-1)

    return Metric(name, "nats", of, part=of_some)


def loss_metric(tokens: Any) -> Metric:
    """Metric: mean loss of the next tokens of each chunk of text, in nats per token.

    Example:
        >>> text = interp.tasks.text(model, n=8, length=64)
        >>> ablate(model, text, "L*H*", metric=loss_metric(text))      # positive: the head helps
        >>> head_scores(model, ["ablation", "gradient"], on=text, metric=loss_metric(text))

    Args:
        tokens: A task, or ids [chunk pos]; the metric belongs to these prompts. Every position
            counts but position 0, whose token is the tokenizer's own, as in `cross_entropy`.

    Returns:
        A Metric that reads every position: for `ablate`, `effect` and `head_scores`.

    Raises:
        ValueError: If a chunk has fewer than three tokens, or texts are given in place of ids.
    """
    if _is_text(tokens):
        raise ValueError(
            "loss_metric measures token ids, which it takes from a task: task = "
            "interp.tasks.pairs(model, texts); loss_metric(task). Or: "
            "interp.methods.text.cross_entropy(model, texts)"
        )
    ids = read_prompts(None, tokens).ids
    if min(map(len, ids)) < 3:
        raise ValueError(
            f"a prompt of {min(map(len, ids))} tokens has no loss: chunks [chunk pos] of three "
            "tokens or more are needed"
        )

    def of_some(index: Tensor) -> Metric:
        return loss_metric(torch.stack([ids[i] for i in index.tolist()]))

    if len(set(map(len, ids))) > 1:
        return Metric(
            "cross-entropy", "nats per token", _one_length_only, everywhere=True, part=of_some
        )
    tokens = torch.stack(ids)

    def of(logits: Tensor, kept: Mapping[str, Tensor]) -> Tensor:
        if logits.shape[:-1] != tokens.shape:
            raise ValueError(
                f"loss_metric was made for {len(tokens)} chunks of {tokens.shape[1]} tokens and got"
                f" logits {tuple(logits.shape)}: make it for the task that it measures, and use it"
                " with ablate, effect or head_scores, which read every position"
            )
        return chunk_losses(logits.float(), tokens.to(logits.device))

    return Metric("cross-entropy", "nats per token", of, everywhere=True, part=of_some)


def _is_text(tokens: Any) -> bool:
    several = isinstance(tokens, Sequence) and len(tokens) > 0 and isinstance(tokens[0], str)
    return isinstance(tokens, str) or several
