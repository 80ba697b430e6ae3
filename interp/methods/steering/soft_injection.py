"""Soft injection: few-shot prompts' mean head outputs mixed into prompts without examples."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp import engine, sites
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.edits import Edit
from interp.interventions import Intervention, run
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.batching import batches_by_length
from interp.methods.runs.metrics import MetricLike, check_shape, metric_of
from interp.models import bridge
from interp.results import Result
from interp.sites import Site


@dataclass(frozen=True, eq=False)
class SoftInjection:
    """A learned mix of head outputs, and its score on prompts it was not trained on.

    Attributes:
        mix: Share of the injected output (0 to 1) of each (layer, head).
        score: The metric on the held-out half, on the axis "mix": none, learned, halfway (learned,
            after half the steps), hard (learned, rounded to 0 or 1), half, all, shuffled (learned,
            other heads).
        losses: On the training half, before each step and after the last.
        trained: Which examples of the target task it was trained on.
        heldout: Which examples it was tested on: of the target task, or of `heldout=`.
        means: What is injected, the few-shot mean outputs [layer head d_head], which
            `injection_interventions` takes.
    """

    mix: Result
    score: Result
    losses: tuple[float, ...]
    trained: tuple[int, ...]
    heldout: tuple[int, ...]
    means: Float[Tensor, "layer head d_head"]

    def __repr__(self) -> str:
        return f"loss {self.losses[0]:.3f} to {self.losses[-1]:.3f} nats\n{self.score.table()!r}"

    def _repr_html_(self) -> str:
        return self.score._repr_html_() + self.mix._repr_html_()


@torch_defaults()
def injection_interventions(model: Model, source: Any, mix: Any) -> list[Intervention]:
    """Interventions that mix the source prompts' mean head outputs into a prompt's last token.

    Example:
        >>> run(model, zero_shot, injection_interventions(model, few_shot, 0.5))
        >>> generate(model, "Q: dog A:", injection_interventions(model, few_shot, learned.mix))

    Args:
        model: A loaded model.
        source: Few-shot prompts (a task's clean ones, texts of any lengths, ids), or their means
            [layer head d_head].
        mix: The share of the injected z at END: one number, a tensor [layer head], or a Result on
            (layer, head). Heads of share 0 are left alone.

    Raises:
        ValueError: If the shape of the means or of the mix is not the model's.

    Reference:
        Park and Rhee 2025 (arXiv 2507.20906).
    """
    means = _means(model, source)
    shares = _shares(model, mix)
    heads = [(layer, head) for layer in range(len(shares)) for head in range(shares.shape[1])]
    return [
        Intervention(
            str(Site("head", "z", layer, head, None, -1)),
            _mixed(means[layer, head], shares[layer, head]),
        )
        for layer, head in heads
        if shares.requires_grad or float(shares[layer, head]) != 0
    ]


@torch_defaults()
@any_prompts(join=False)
def soft_injection(
    model: Model,
    source_task: Any,
    target_task: Any,
    *,
    heads: str | Sequence[str] = "L*H*",
    steps: int = 40,
    lr: float = 0.2,
    l1: float = 0.0,
    metric: str = "top1",
    heldout: Any = None,
    seed: int = 0,
    backend: str | None = None,
) -> SoftInjection:
    """The learned share of each head's few-shot mean output that makes zero-shot prompts work.

    Example:
        >>> learned = soft_injection(model, few_shot, zero_shot)
        >>> learned.score.table(), learned.mix.top(5)

    Args:
        model: A loaded model.
        source_task: Few-shot prompts, whose mean head outputs are injected.
        target_task: Prompts without examples; half of them, drawn by seed, train the shares, the
            other half tests them (with `heldout`, all of them train).
        heads: Only these heads are mixed.
        steps: How many steps of Adam.
        lr: The learning rate.
        l1: The weight of the mean share in the loss, beside minus the log probability of the
            answer.
        metric: The metric of the test, by name.
        heldout: A task to test on, with other prompts; None: half of `target_task`.
        seed: Draws the halves and the shuffled control.
        backend: "engine" runs the last token alone, "hooks" whole prompts, with the same numbers;
            None chooses.

    Returns:
        A SoftInjection: the shares (sigmoids that start at one half), the score on the held-out
        half beside plain mixes, and the losses.

    Raises:
        ValueError: If a prompt is trained on and tested, or there are fewer than 4 prompts (2 with
            `heldout`).

    Cost:
        One forward and backward pass of the training half per step.

    Reference:
        Park and Rhee 2025 (arXiv 2507.20906).
    """
    started = time.perf_counter()
    need = 4 if heldout is None else 2
    if steps < 1 or len(target_task) < need:
        raise ValueError(
            f"steps={steps}, {len(target_task)} prompts: at least 1 step, and 4 prompts to train on"
            " half and test on half (2 where heldout= has those of the test)"
        )
    order = torch.randperm(len(target_task), generator=torch.Generator().manual_seed(seed)).tolist()
    if heldout is None:
        trained, held = sorted(order[: len(order) // 2]), sorted(order[len(order) // 2 :])
        test = target_task[held]
    else:
        trained, held, test = sorted(order), list(range(len(heldout))), heldout
    train = target_task[trained]
    if set(train.digests) & set(test.digests):
        raise ValueError(
            "a prompt comes twice in the target task: it would be trained on and tested (make its"
            " prompts different)"
            if heldout is None
            else "a prompt of heldout= is trained on as well: give prompts that the target task"
            " does not have"
        )
    means, chosen = _means(model, source_task), _chosen(model, heads)
    loss_of, backend_used = mix_loss(model, means, train, backend)
    theta = torch.zeros_like(chosen, requires_grad=True)

    def shares():
        return theta.sigmoid() * chosen

    optimizer, losses, halfway = torch.optim.Adam([theta], lr=lr), [], shares().detach()
    for step in sweep.progress(range(steps), "soft injection"):
        if step == steps // 2:
            halfway = shares().detach()
        optimizer.zero_grad()
        with torch.enable_grad():
            loss = loss_of(shares())
            (loss + l1 * shares().sum() / chosen.sum()).backward(inputs=[theta])
        losses.append(float(loss.detach()))
        optimizer.step()
    with torch.no_grad():
        learned = shares().detach()
        losses.append(float(loss_of(learned)))
    options = {
        "source": source_task.name if hasattr(source_task, "name") else "prompts",
        "seed": seed,
        "steps": steps,
        "lr": lr,
        "l1": l1,
    }
    score = _score(model, means, test, learned, halfway, chosen, metric, options, started)
    d = bridge.dims(model)
    coords = {"layer": list(range(d.n_layers)), "head": list(range(d.n_heads))}
    metadata = sweep.provenance(
        model,
        target_task,
        "soft injection",
        started,
        n_trained=len(trained),
        backend=backend_used,
        **options,
    )
    mix = Result(
        to_numpy(learned), ("layer", "head"), coords, "injected share", "share (0 to 1)", metadata
    )
    return SoftInjection(mix, score, tuple(losses), tuple(trained), tuple(held), means)


def mix_loss(
    model: Model, means: Tensor, task: Any, backend: str | None = None
) -> tuple[Callable[[Tensor], Tensor], str]:
    """The loss (minus the answer's log probability) as a function of shares, and the backend.

    Differentiable in the shares [layer head]; in nats.
    """
    scored = task.with_metric("log_prob")
    engine_model = sweep.choose_engine(model, backend, lambda: engine.find(model))
    if engine_model is None:

        def logits(shares):
            return run(
                model,
                task,
                injection_interventions(model, means, shares),
                last_only=True,
                grad=True,
            ).logits

        return lambda shares: -scored.metric(logits(shares)).mean(), "hooks"
    again = engine.ending(engine_model, engine.run(engine_model, task.clean, logits=None))

    def mixed(shares):
        return lambda layer, z: z + shares[layer][:, None].to(z) * (means[layer] - z)

    return lambda shares: -scored.metric(again(mixed(shares))).mean(), "engine"


def _score(
    model: Model,
    means: Tensor,
    task: Any,
    learned: Tensor,
    halfway: Tensor,
    chosen: Tensor,
    metric: MetricLike,
    options: dict,
    started: float,
) -> Result:
    """The metric on held-out prompts under the learned mix and the plain ones beside it."""
    order = torch.randperm(
        int(chosen.sum()), generator=torch.Generator().manual_seed(options["seed"])
    )
    shuffled = learned.clone()
    shuffled[chosen > 0] = learned[chosen > 0][order]
    hard = (learned > 0.5).float()
    mixes = {
        "none": 0 * chosen,
        "learned": learned,
        "halfway": halfway,
        "hard": hard,
        "half": 0.5 * chosen,
        "all": chosen,
        "shuffled": shuffled,
    }
    metric = metric_of(task, metric)
    rows = [
        run(model, task, injection_interventions(model, means, mix), last_only=True).logits
        for mix in mixes.values()
    ]
    read = [check_shape(metric.of(logits, {}), len(task), metric) for logits in rows]
    examples = np.stack([to_numpy(values) for values in read])
    metadata = sweep.provenance(
        model, task, "soft injection, held-out half", started, backend="hooks", **options
    )
    return Result(
        examples.mean(-1),
        ("mix",),
        {"mix": list(mixes)},
        metric.name,
        metric.unit,
        metadata,
        examples,
    )


def _means(model: Model, source: Any) -> Float[Tensor, "layer head d_head"]:
    """Mean z at END over the source prompts, or the means themselves."""
    d = bridge.dims(model)
    if isinstance(source, Tensor) and source.ndim == 3:
        if source.shape != (d.n_layers, d.n_heads, d.d_head):
            raise ValueError(
                f"means of shape {tuple(source.shape)}: {bridge.name(model)} has {d.n_layers}"
                f" layers of {d.n_heads} heads of {d.d_head} numbers"
            )
        return source
    values = [
        run(model, batch.tokens, keep=["L*H*.z@-1"], last_only=True).kept["L*H*.z@-1"]
        for batch in batches_by_length(model, source)
    ]  # each [layer head batch d_head]
    return torch.cat(values, 2).mean(2)


def _shares(model: Model, mix: Any) -> Float[Tensor, "layer head"]:
    """The mix as shares [layer head]."""
    d = bridge.dims(model)
    values = torch.as_tensor(mix.values if isinstance(mix, Result) else mix)
    values = values.to(bridge.device(model), torch.float32)
    values = values.expand(d.n_layers, d.n_heads) if values.ndim == 0 else values
    if values.shape != (d.n_layers, d.n_heads):
        raise ValueError(
            f"a mix of shape {tuple(values.shape)}: one number, or {d.n_layers} layers by"
            f" {d.n_heads} heads for {bridge.name(model)}"
        )
    return values


def _chosen(model: Model, heads: str | Sequence[str]) -> Float[Tensor, "layer head"]:
    """One where a head may be mixed."""
    d = bridge.dims(model)
    chosen = torch.zeros(d.n_layers, d.n_heads, device=bridge.device(model))
    patterns = [heads] if isinstance(heads, str) else list(heads)
    for site in (s for pattern in patterns for s in sites.expand(pattern, d).sites):
        if site.family != "head":
            raise ValueError(
                f"only heads are mixed, got {str(site)!r} (try 'L*H*' or ['L10H7', 'L11H2'])"
            )
        chosen[site.layer, site.index] = 1
    if not chosen.any():
        raise ValueError("no heads: name at least one, for example ['L10H7']")
    return chosen


def _mixed(mean: Tensor, share: Tensor) -> Edit:
    """The edit that goes this share of the way to the mean."""
    return lambda act, seen: act + share.to(act) * (mean.to(act) - act)
