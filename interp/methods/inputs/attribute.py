"""Attribution to input tokens: how much of the answer is due to each token of the prompt."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interp import engine
from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp._warn import warn
from interp.methods.inputs import baselines, token_attention, token_gradients, token_removal
from interp.methods.runs import rounding, sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.metrics import metric_of
from interp.models import bridge
from interp.results import Result
from interp.tasks.metrics import MetricLike


class Method(NamedTuple):
    """A row of the table: how it is computed, and what it is allowed to say.

    Attributes:
        unit: Of its values; None: the metric's.
        adds_up: Its values add up to the metric with the prompt minus the metric without it.
    """

    of: Callable[[baselines.Question], tuple[Tensor, dict[str, Any]]]
    unit: str | None = None
    adds_up: bool = False


METHODS = {
    "integrated gradients": Method(token_gradients.integrated_gradients, adds_up=True),
    "gradient x input": Method(token_gradients.gradient_x_input),
    "occlusion": Method(token_removal.occlusion),
    "shapley": Method(token_removal.shapley, adds_up=True),
    "knock-out": Method(token_removal.knock_out),
    "last attention": Method(token_attention.last_attention, "share of attention"),
    "mean attention": Method(token_attention.mean_attention, "share of attention"),
    "rollout": Method(token_attention.rollout, "share of attention"),
    "attention norm": Method(token_attention.attention_norm, "norm in the residual stream"),
}
OFF = 0.1  # of the whole difference: integrated gradients farther off than this are warned about


@torch_defaults()
@any_prompts(answers=True)
def attribute(
    model: Model,
    task: Any,
    *,
    by: str = "integrated gradients",
    at: str | Sequence[str | int] = "*",
    baseline: str | int | None = None,
    metric: MetricLike = None,
    steps: int = 32,
    samples: int = 16,
    seed: int = 0,
    backend: str | None = None,
) -> Result:
    """Input attribution (saliency): how much of the answer is due to each token of the prompt.

    Example:
        >>> attribute(model, "The capital of France is").plot()
        >>> attribute(model, task, by="shapley", at=["IO", "S1", "S2", "END"])

    Args:
        model: A loaded model.
        task: A task, or prompts; their answers are then the model's own next tokens.
        by: How:
            "integrated gradients": gradients on the way from the baseline;
            "gradient x input": the gradient in the run itself;
            "occlusion": what is lost when the baseline stands in one token's place;
            "shapley": the same averaged over all sets of the other tokens (up to seven tokens), or
            over `samples` drawn orders;
            "knock-out": what is lost when the last token may not attend to this one, in any layer;
            "last attention", "mean attention", "rollout" (Abnar and Zuidema 2020), "attention norm"
            (Kobayashi et al. 2020): what attention alone says, from the last token, whatever the
            answer is.
        at: "*" for every position (prompts of one length), or positions by name or number, which
            also prompts of several lengths have.
        baseline: What stands in a token's place: "corrupted", the token of the corrupted prompt;
            a token, as a text or an id; "mean", the mean embedding of the vocabulary; or "zero".
            None: "corrupted" where the task has corrupted prompts, else " the". A BOS in front is
            never taken away, and gets 0. Learned positions stay under all but "zero". The attention
            methods have no baseline.
        metric: As in `patch`; for gradients it must have one.
        steps: How many points integrated gradients average over.
        samples: How many orders "shapley" draws, half of them the reverse of the others.
        seed: Draws those orders.
        backend: "engine" or "hooks"; None chooses. `metadata["backend"]` says which ran.

    Returns:
        In the metric's unit, axis "pos" (or "place" for named positions), one value per example
        kept; positive: the token speaks for the answer. Attention gives shares or norms, which have
        no sign. `metadata["with_prompt"]` and `["without_prompt"]` are the metric of the prompt and
        of the baseline at every position; integrated gradients and Shapley values add up to their
        difference, and `metadata["missing"]` says by how much they do not, as a share of it (the
        mean over prompts of the size of what is missing, over that of the difference).

    Raises:
        ValueError: If the method or the baseline is unknown, or `at` names a position that is not
            there.

    Warns:
        UserWarning: If integrated gradients miss the whole difference by more than a tenth. On
            SmolLM2 they do with "mean" and "zero" (by 0.6 to 3.5 times its size, at 8 and at
            32 steps): next to a short embedding the gradient of a norm has no bound, and half an
            embedding is no word. With "corrupted" it was 0.11 at 8 steps and below 0.001 at 32;
            with " the" up to 0.26 at 32 and below 0.05 at 64.

    Cost:
        One backward pass ("gradient x input") or `steps` of them; one run a token ("occlusion",
        "knock-out"), `samples` runs a token ("shapley"); one run for attention.

    Reference:
        Sundararajan et al. 2017 (arXiv 1703.01365), with the points of Gauss and Legendre;
        Strumbelj and Kononenko 2010 for Shapley values from drawn orders, here in pairs; Zeiler and
        Fergus 2014 for occlusion; Geva et al. 2023 (arXiv 2304.14767) for the knock-out.
    """
    started = time.perf_counter()
    if by not in METHODS:
        raise unknown("way to attribute", by, METHODS, "by='integrated gradients'")
    for name, value in (("steps", steps), ("samples", samples)):
        if value < 1:
            raise ValueError(f"{name}={value}: at least one is needed (try {name}=16)")
    method, metric = METHODS[by], metric_of(task, metric)
    places = None if isinstance(at, str) and at == "*" else _places(task, at)
    engine_model = sweep.choose_engine(model, backend, lambda: _engine(model, metric))
    absent, baseline = baselines.absent(model, task, baseline)
    asked = baselines.Question(
        model,
        task,
        metric,
        baselines.embedded(model, task.clean),
        absent,
        engine_model,
        steps,
        samples,
        seed,
    )
    with bridge.LOCK:
        values, more = method.of(asked)
        if method.unit is None:
            more |= _ends(asked, values, method.adds_up)
    labels = task.position_labels()
    if places is not None:
        rows = torch.arange(len(task), device=values.device)
        values = torch.stack([values[where.to(values.device), rows] for where in places.values()])
    examples = to_numpy(values)
    metadata = sweep.provenance(
        model,
        task,
        f"attribution to tokens, {by}",
        started,
        metric=metric.name,
        backend="hooks" if engine_model is None or method.unit else "engine",
        **({} if method.unit else {"baseline": baseline}),
        **more,
    )
    if places is None:
        metadata["positions"] = "labels are the first prompt's tokens"
    dim, coords = ("pos", labels) if places is None else ("place", list(places))
    name = by if method.unit else f"{metric.name} due to the token, {by}"
    unit = method.unit or metric.unit
    result = Result(examples.mean(-1), (dim,), {dim: coords}, name, unit, metadata, examples)
    return rounding.noted(result, model, task, metric)


def _engine(model: Model, metric: Any) -> Any:
    """The engine where it can do this: it sees the last token's logits, and nothing else."""
    return None if metric.keep or metric.everywhere else engine.find(model)


def _places(task: Any, at: str | Sequence[str | int]) -> dict[str, Tensor]:
    """The positions that were named, one [batch] each."""
    names = [at] if isinstance(at, str | int) else list(at)
    length, n = task.clean.shape[1], len(task)
    known = {**task.positions, "END": task.positions.get("END", torch.full((n,), length - 1))}
    found = {}
    for name in names:
        if isinstance(name, int) and -length <= name < length:
            found[str(name)] = torch.full((n,), name % length)
        elif isinstance(name, str) and name in known:
            found[name] = known[name]
        else:
            raise ValueError(
                f"there is no position {name!r}: name some of {', '.join(known)}, or numbers from 0"
                f" to {length - 1}; at='*' is every position"
            )
    if not found:
        raise ValueError("at=[] names no position (try at='*')")
    return found


def _ends(asked: baselines.Question, values: Tensor, adds_up: bool) -> dict[str, Any]:
    """The metric with the whole prompt and with none of it, and what the values miss of the
    difference.
    """
    none = torch.zeros(1, asked.actual.shape[1], dtype=torch.bool)
    without, whole = token_removal.coalitions(asked, torch.cat([none, ~none]), "the two ends")
    about = {"with_prompt": float(whole.mean()), "without_prompt": float(without.mean())}
    if not adds_up:
        return about
    difference = whole - without
    missed = (values.to(whole).sum(0) - difference).abs().mean()
    about["missing"] = float(missed / difference.abs().mean())
    if about["missing"] > OFF:
        warn(
            f"the values of a prompt miss its whole difference by {about['missing']:.0%}:"
            f" integrated gradients have not converged (try steps={4 * asked.steps}, or"
            " baseline=' the', a token, or 'corrupted', the corrupted prompts; by='shapley' adds up"
            " by itself)"
        )
    return about
