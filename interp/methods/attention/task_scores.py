"""Head scores that need runs on given prompts: each gives ([layer head n], what the null gets)."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp import engine
from interp._types import Model
from interp.interventions import Intervention, run
from interp.methods.ablation.ablate import ablate
from interp.methods.runs import sweep
from interp.methods.runs.engine_sweep import metric_reader
from interp.methods.runs.metrics import check_shape, metric_of
from interp.models import bridge

SMOOTH = ("log_prob", "logit_diff", "prob", "prob_diff")  # metrics with a gradient


class Given(NamedTuple):
    """What the caller gave: a model, prompts [batch pos], and the task they belong to, if any."""

    model: Any
    tokens: Tensor
    task: Any
    query: str
    seed: int
    metric: Any = None


Scored = tuple[Tensor, float]  # [layer head n], what the null gets


def chunks(given: Given) -> Any:
    """Slices of the prompts, as many to a run as a CPU gains from."""
    size = max(1, sweep.TOKENS_PER_RUN // given.tokens.shape[1])
    return sweep.progress(
        [slice(i, i + size) for i in range(0, len(given.tokens), size)], "head scores"
    )


# --- retrieval ------------------------------------------------------------------------------------


def retrieval(given: Given) -> Scored:
    """Share of needle tokens for which the head's top-1 position is the token to come."""
    task = given.task
    pairs = needle_pairs(task)
    places = torch.stack([task.positions[a] for a, _ in pairs], 1)  # [batch needle]
    reads = torch.stack([task.positions[b] for _, b in pairs], 1)
    last = f"resid_post.{bridge.dims(given.model).n_layers - 1}"
    keep = [key for _, b in pairs for key in (f"L*H*.pattern@{b}", f"{last}@{b}")]
    hits, rights = [], []
    for part in chunks(given):
        cache = run(given.model, task[part], keep=keep, last_only=True).kept
        top = torch.stack(
            [cache[f"L*H*.pattern@{b}"].argmax(-1) for _, b in pairs], -1
        )  # [layer head batch needle]
        stream = torch.stack([cache[f"{last}@{b}"] for _, b in pairs], 1).contiguous()
        predicted = bridge.unembed(given.model, bridge.final_norm(given.model, stream)).argmax(-1)
        right = predicted == task.clean[part].gather(1, places[part])
        hits.append(copied(top, task.clean[part], places[part], right))
        rights.append(right)
    hit, right = torch.cat(hits, 2), torch.cat(rights)
    trials = right.float().mean(-1) > 0.5  # the paper counts trials with a recall above one half
    if not bool(trials.any()):
        raise ValueError(
            "retrieval: the model predicts more than half of the needle in none of these prompts,"
            " so nothing is retrieved and no head can be scored (try shorter prompts)"
        )
    chance = (right.float() / (reads + 1)).mean(-1)[trials].mean()
    return hit[:, :, trials], float(chance)


def needle_pairs(task: Any) -> list[tuple[str, str]]:
    """Pairs of position names: NEEDLE0 (a token of the needle), READ0 (where it is predicted)."""
    pairs: list[tuple[str, str]] = []
    while f"NEEDLE{len(pairs)}" in task.positions and f"READ{len(pairs)}" in task.positions:
        pairs.append((f"NEEDLE{len(pairs)}", f"READ{len(pairs)}"))
    if not pairs:
        raise ValueError(
            "retrieval needs a task with positions NEEDLE0 and READ0 (a token of the needle, and"
            f" where it is predicted), NEEDLE1 and READ1, ...; {task.name!r} has"
            f" {', '.join(sorted(task.positions))}: on=interp.tasks.needle(model) is such a task"
        )
    return pairs


def copied(
    top: Int[Tensor, "layer head batch needle"],
    tokens: Int[Tensor, "batch pos"],
    places: Int[Tensor, "batch needle"],
    right: Bool[Tensor, "batch needle"],
) -> Float[Tensor, "layer head batch"]:
    """Per head and prompt the share of needle tokens it copies: predicted right, and looked at."""
    inside = (top[..., None] == places[:, None]).any(-1)
    held = tokens.expand(*top.shape[:2], -1, -1).gather(-1, top)
    return (inside & (held == tokens.gather(1, places)) & right).float().mean(-1)


# --- context --------------------------------------------------------------------------------------


def context_divergence(given: Given) -> Scored:
    """How far z at END moves without the context: |z - z'| / mean of |z| and |z'|, per prompt."""
    task, g = given.task, torch.Generator().manual_seed(given.seed)
    start = task.position(given.query)
    if int(start.min()) < 2:
        raise ValueError(
            f"context divergence: some prompts have nothing between position 0 and {given.query!r}"
        )

    def at_end(tokens):
        return run(given.model, tokens, keep=["L*H*.z@-1"], last_only=True).kept["L*H*.z@-1"]

    divergences, null = [], []
    for i in sweep.progress(range(len(task)), "context divergence"):
        row, s = task.clean[i], int(start[i])
        shuffled = torch.cat([row[:1], row[1:s][torch.randperm(s - 1, generator=g)], row[s:]])
        both = at_end(torch.stack([row, shuffled]))
        without = at_end(torch.cat([row[:1], row[s:]])[None])[:, :, 0]
        divergences.append(apart(both[:, :, 0], without))
        null.append(apart(both[:, :, 0], both[:, :, 1]).mean())
    return torch.stack(divergences, -1), float(torch.stack(null).mean())


def apart(
    a: Float[Tensor, "layer head d_head"], b: Float[Tensor, "layer head d_head"]
) -> Float[Tensor, "layer head"]:
    """Distance of two vectors relative to their mean length: 0 the same, 2 at most."""
    return 2 * (a - b).norm(dim=-1) / (a.norm(dim=-1) + b.norm(dim=-1))


# --- importance -----------------------------------------------------------------------------------


def by_ablation(given: Given) -> Scored:
    """Size of the change of the metric when the head takes its mean over the prompts."""
    effects = (
        torch.from_numpy(
            ablate(given.model, given.task, "L*H*", by="mean", metric=given.metric).examples
        )
        .abs()
        .float()
    )
    return effects, _median(effects)


def by_gradient(given: Given) -> Scored:
    """The same to first order: |gradient at z, times (mean z - z)|, summed over positions."""
    task = given.task
    if given.metric is None and task.metric_name not in SMOOTH:
        raise ValueError(
            f"gradient: the metric {task.metric_name!r} has no gradient (try"
            " task.with_metric('logit_diff'))"
        )
    if len(task) < 2:
        raise ValueError(
            "gradient: a mean over one prompt is that prompt; the task needs 2 or more"
        )
    grads, z = gradients_at_z(given.model, task, metric=given.metric)
    effects = (grads * (z.mean(2, keepdim=True) - z)).sum((-1, -2)).abs()
    return effects, _median(effects)


def gradients_at_z(
    model: Model, task: Any, backend: str | None = None, metric: Any = None
) -> tuple[Tensor, Tensor]:
    """The gradient of each prompt's metric at z, and z [layer head batch pos d_head]."""
    metric = metric_of(task, metric)
    fits = metric.columns is not None or (metric.everywhere and not metric.keep)
    engine_model = engine.find(model) if fits and backend != "hooks" else None
    if engine_model is not None:
        _, grads = engine.gradients(
            engine_model,
            task.clean,
            metric_reader(engine_model, metric, len(task)),
            ("z",),
            everywhere=metric.everywhere,
        )
        z = engine.run(engine_model, task.clean, keep=("z",), logits=None)["z"]

        def heads_first(layers):
            return torch.stack(layers).permute(0, 3, 1, 2, 4)

        return heads_first(grads["z"]), heads_first(z)
    d, leaves = bridge.dims(model), {}

    def tap(key: tuple[int, int]) -> Any:
        def edit(act: Tensor, seen: Any) -> Tensor:
            leaves[key] = torch.zeros_like(act).requires_grad_(True)
            return act + leaves[key]

        return edit

    heads = [(layer, head) for layer in range(d.n_layers) for head in range(d.n_heads)]
    edits = [Intervention(f"L{layer}H{head}.z", tap((layer, head))) for layer, head in heads]
    out = run(
        model, task, edits, ["L*H*.z", *metric.keep], last_only=not metric.everywhere, grad=True
    )
    value = check_shape(metric.of(out.logits, out.kept), len(task), metric).sum()
    grads_by_head = torch.autograd.grad(value, [leaves[key] for key in heads])
    return torch.stack(grads_by_head).unflatten(0, (d.n_layers, d.n_heads)), out.kept[
        "L*H*.z"
    ].detach()


def output_norm(given: Given) -> Scored:
    """The mean norm of what the head writes, over positions from 1 on."""
    d, norms = bridge.dims(given.model), []
    # |z W_O| = |z R^T| with W_O = (QR)^T: d_head numbers a head in place of d_model
    small = [
        torch.linalg.qr(bridge.head_matrix(given.model, layer).mT.float()).R
        for layer in range(d.n_layers)
    ]
    for part in chunks(given):
        z = run(given.model, given.tokens[part], keep=["L*H*.z"], last_only=True).kept["L*H*.z"][
            :, :, :, 1:
        ]
        norms.append(
            torch.einsum("lhbpd,lhed->lhbpe", z.float(), torch.stack(small)).norm(dim=-1).mean(-1)
        )
    values = torch.cat(norms, 2)
    return values, _median(values)


def _median(values: Tensor) -> float:
    """What the head in the middle gets: a head drawn at random is as likely above as below."""
    return float(values.mean(-1).median())
