"""Attribution to tokens from runs in which some of them are taken away."""

from collections.abc import Sequence
from math import factorial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp import edits, engine
from interp.edits import Edit
from interp.interventions import Intervention
from interp.methods.inputs.baselines import Question
from interp.methods.runs import sweep
from interp.methods.runs.metrics import check_shape
from interp.models import bridge

Found = tuple[Float[Tensor, "pos batch"], dict[str, Any]]
ALL = "L*H*.scores"
TOKENS_AT_ONCE = 4096
EXACT = 7  # up to so many tokens, all coalitions are run


def occlusion(asked: Question) -> Found:
    """What the metric loses when the baseline stands in one token's place."""
    length = asked.actual.shape[1]
    present = torch.cat([~torch.eye(length, dtype=torch.bool), torch.ones(1, length).bool()])
    values = coalitions(asked, present, "occlusion")
    return values[-1] - values[:-1], {}


def shapley(asked: Question) -> Found:
    """Shapley values: what a token adds to a random set of the others, all orders alike.

    Up to seven tokens all sets are run. Otherwise tokens are added in drawn orders, each followed
    by its reverse; per prompt the values add up to the whole difference in either case.
    """
    length = asked.actual.shape[1]
    if length <= EXACT:
        return _all_sets(asked, length), {"orders": "all"}
    g = torch.Generator("cpu").manual_seed(asked.seed)
    half = [
        torch.randperm(length, generator=g, device="cpu") for _ in range(-(-asked.samples // 2))
    ]
    orders = [order for one in half for order in (one, one.flip(0))]
    present = torch.zeros(len(orders), length + 1, length, dtype=torch.bool, device="cpu")
    for i, order in enumerate(orders):
        for added, pos in enumerate(order.tolist()):
            present[i, added + 1 :, pos] = True
    values = coalitions(asked, present.flatten(0, 1), "Shapley values")
    gains = values.unflatten(0, present.shape[:2]).diff(dim=1)  # [order added batch]
    each = torch.stack([gain[order.argsort()] for gain, order in zip(gains, orders)])
    pairs = each.unflatten(0, (len(half), 2)).mean(1)
    metadata: dict[str, Any] = {"orders": len(orders)}
    if len(half) > 1:
        error = pairs.mean(-1).std(0) / len(half) ** 0.5
        metadata["sampling_error"] = float(error.max())  # of the mean over prompts, the worst token
    return pairs.mean(0), metadata


def knock_out(asked: Question) -> Found:
    """What the metric loses when the last token may not look at one token, in any layer."""
    n, length = asked.actual.shape[:2]
    blocks = torch.zeros(length, n, length, length, dtype=torch.bool)
    blocks[torch.arange(length), :, -1, torch.arange(length)] = True
    layers = range(bridge.dims(asked.model).n_layers)

    def cells(which: Sequence[int], rows: Tensor) -> list[list[Intervention]]:
        none: list[Intervention] = []
        return [
            none if i == length else [Intervention(ALL, edits.knock_out(blocks[i, rows]))]
            for i in which
        ]

    patches = [[engine.Patch("scores", layer, None, block=b) for layer in layers] for b in blocks]
    values, _ = sweep.sweep(
        asked.model,
        asked.task.clean,
        lambda kinds: {},
        [*patches, []],
        cells,
        asked.metric,
        asked.task.positions,
        "attention knock-out",
        "hooks" if asked.engine is None else None,
    )
    return values[-1] - values[:-1], {}


def _all_sets(asked: Question, length: int) -> Float[Tensor, "pos batch"]:
    """Shapley values from every set of tokens."""
    sets = torch.arange(2**length, device="cpu")
    bits = 2 ** torch.arange(length, device="cpu")
    present = (sets[:, None] & bits) > 0
    values, sizes = coalitions(asked, present, "Shapley values"), present.sum(-1)
    out = []
    for pos, bit in enumerate(bits.tolist()):
        without = sets[~present[:, pos]]
        weight = torch.tensor(
            [
                factorial(k) * factorial(length - k - 1) / factorial(length)
                for k in sizes[without].tolist()
            ],
            dtype=torch.float64,
        )
        gain = values[without + bit] - values[without]
        out.append((weight[:, None].to(gain.device) * gain.double()).sum(0).float())
    return torch.stack(out)


def coalitions(
    asked: Question, present: Bool[Tensor, "set pos"], what: str
) -> Float[Tensor, "set batch"]:
    """The metric when only these tokens are there, set by set."""
    tokens, metric = asked.task.clean, asked.metric
    present = present.to(asked.actual.device)[:, None, :, None]  # [set batch pos d_model]
    if asked.engine is None:
        cells = [[Intervention("embed", _only(some, asked.absent))] for some in present]
        return sweep.sweep_by_hooks(asked.model, tokens, cells, metric, asked.task.positions, what)
    values = torch.empty(len(present), len(tokens), device=asked.actual.device)
    at_once = max(1, TOKENS_AT_ONCE // tokens.numel())
    with sweep.progress(None, what, total=len(present)) as bar:
        for first in range(0, len(present), at_once):
            mixed = torch.where(present[first : first + at_once], asked.actual, asked.absent)
            some, flat = tokens.repeat(len(mixed), 1), mixed.flatten(0, 1)
            logits = engine.run(asked.engine, some, (), resid=flat.to(asked.engine.embed)).logits
            for i, each in enumerate(logits.split(len(tokens))):
                values[first + i] = check_shape(metric.of(each, {}), len(tokens), metric)
            bar.update(len(mixed))
    return values


def _only(present: Bool[Tensor, "1 pos 1"], absent: Float[Tensor, "batch pos d_model"]) -> Edit:
    """The edit that leaves only these tokens."""
    return lambda act, seen: torch.where(present, act, absent.to(act))
