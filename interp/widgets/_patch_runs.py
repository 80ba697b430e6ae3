"""What the patching explorer computes: the map in a coarse order, layer by layer, and the
predictions of one cell.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from interp import sites as places
from interp._types import Model
from interp.interventions import run
from interp.methods.patching.patch import patch, sweep_result
from interp.methods.patching.patched_logits import patched_logits
from interp.methods.runs.metrics import metric_of
from interp.models import bridge
from interp.results import Result
from interp.tasks.pairs import pairs
from interp.tasks.task import Task
from interp.widgets._prompts import text_of, typed_word

SITES = {
    "resid_pre": ("resid_pre.*@*", "residual stream"),
    "attn": ("attn.*@*", "attention output"),
    "mlp": ("mlp.*@*", "MLP output"),
    "heads": ("L*H*", "heads, all positions"),
}
LAYERS, PROMPTS = (
    6,
    4,
)  # layers to a step for so many prompts: a newer click waits no longer than a step
SHOWN = 8  # tokens listed


class Runs(NamedTuple):
    """The two things a patching explorer asks for."""

    map: Callable[..., Iterator[tuple[dict, Result]]]
    cell: Callable[..., dict]
    metadata: dict[str, Any]


class Pair(NamedTuple):
    """Two typed prompts; answers are "" where the model's own next tokens count."""

    clean: str
    corrupted: str
    answer: str
    wrong: str


def coarse(n: int, most: int) -> list[list[int]]:
    """All of range(n), every eighth first, then those halfway between, in parts of at most so many.

    Example:
        >>> coarse(6, 4)
        [[0], [4], [2], [1, 3, 5]]
    """
    seen: set[int] = set()
    parts = []
    for stride in (8, 4, 2, 1):
        new = [i for i in range(0, n, stride) if i not in seen]
        seen.update(new)
        parts += [new[lo : lo + most] for lo in range(0, len(new), most)]
    return parts


def chosen(task: Any, prompt: int) -> Any:
    """The task's one prompt, or all of it (-1)."""
    if not -1 <= prompt < len(task):
        raise ValueError(
            f"prompt={prompt}: the task has prompts 0 to {len(task) - 1}, and -1 is all of them"
        )
    return task if prompt == -1 else task[prompt]


def name_of(site: str, cell: list[int]) -> str:
    """A cell of the map as an address: "resid_pre.12@9", "L5H1"."""
    layer, other = cell
    return f"L{layer}H{other}" if site == "heads" else f"{site}.{layer}@{other}"


def task_of(model: Model, pair: Pair) -> Task:
    """The task of a typed pair.

    Its answer is the likeliest token after the clean prompt, its wrong answer the likeliest after
    the corrupted one, unless they are typed.

    Raises:
        ValueError: If a prompt is missing, they are not of as many tokens, or the answers are one.
    """
    for kind, text in zip(Pair._fields[:2], pair):
        if not text.strip():
            raise ValueError(
                f"type a {kind} prompt of as many tokens as the other, for example The capital of"
                " France is beside The capital of Italy is"
            )
    typed = [text if text.strip() else None for text in pair[2:]]
    one = pairs(model, clean=[pair.clean], corrupted=[pair.corrupted])

    def answer(word: str | None, ids: torch.Tensor) -> int:
        if word is not None:
            return typed_word(one.tokenizer, word)
        return int(run(model, ids, last_only=True).logits[0].argmax())

    right, wrong = (
        answer(word, ids) for word, ids in zip(typed, (one.clean, one.corrupted), strict=True)
    )
    if right == wrong:
        said = repr(one.tokenizer.decode([right]))
        why = (
            f"the answer and the wrong answer are both {said}"
            if all(typed)
            else f"after both prompts the model says {said}"
            if not any(typed)
            else f"the model itself says {said}, which is the typed one"
        )
        raise ValueError(f"{why}: type an answer and a wrong answer that differ")
    return pairs(
        model, clean=[pair.clean], corrupted=[pair.corrupted], answers=[right], wrong=[wrong]
    )


def of_pairs(model: Model, metric: str | None = None) -> Callable[[Pair], Runs]:
    """The explorer's callables for a typed pair; those of the newest are kept."""
    kept: dict[tuple, Runs] = {}

    def find(pair: Pair) -> Runs:
        key = pair, bridge.ready(model)
        if key not in kept:
            made = runs(model, task_of(model, pair), metric)
            kept.clear()
            kept[key] = made
        return kept[key]

    return find


def runs(model: Model, task: Any, metric: str | None = None) -> Runs:
    """The explorer's callables for this model and task."""
    d, length, ready = bridge.dims(model), task.clean.shape[1], {}

    def whole(
        site: str, direction: str, prompt: int, stale: Callable[[], bool]
    ) -> Iterator[tuple[dict, Result]]:
        some, pattern = chosen(task, prompt), SITES[site][0]
        grid = places.expand(pattern, d, length, task.positions)
        wide = grid.shape[1]
        examples = np.full((len(grid.sites), len(some)), np.nan)
        done = 0
        for layers in coarse(d.n_layers, LAYERS if len(some) <= PROMPTS else 2):
            if stale():
                return
            rows = [i for layer in layers for i in range(layer * wide, (layer + 1) * wide)]
            result = patch(
                model,
                some,
                [[str(grid.sites[i])] for i in rows],
                direction=direction,
                metric=metric,
            )
            examples[rows], done = result.examples, done + len(layers)
            values = examples.mean(-1).reshape(grid.shape)
            ends = {k: result.metadata[k] for k in ("clean", "corrupted")} | {
                "name": result.name,
                "unit": result.unit,
            }
            reply = {
                "values": [[None if np.isnan(v) else float(v) for v in row] for row in values],
                "done": done,
                "of": d.n_layers,
                **ends,
            }
            metadata = {**result.metadata, "pattern": pattern}
            shown = sweep_result(
                torch.from_numpy(examples), grid, some, result.name, result.unit, metadata
            )
            yield reply, shown

    def cell(site: str, direction: str, prompt: int, at: list[int]) -> dict:
        some, key = chosen(task, prompt), (direction, prompt, bridge.ready(model))
        if key not in ready:
            ready.clear()  # the runs of one map at a time are kept
            ready[key] = patched_logits(model, some, direction)
        before, patched = ready[key]
        return _prediction(
            model, some, before, patched(name_of(site, at)), metric_of(some, metric), direction
        )

    return Runs(whole, cell, _about(model, task, metric))


def _prediction(
    model: Model, task: Any, before: torch.Tensor, after: torch.Tensor, metric: Any, direction: str
) -> dict:
    first, then = (x.float().softmax(-1).mean(0) for x in (before, after))
    top = list(
        dict.fromkeys(
            [
                *then.topk(SHOWN).indices.tolist(),
                *first.topk(3).indices.tolist(),
                *task.answers[0, :1].tolist(),
                *task.wrong[0, :1].tolist(),
            ]
        )
    )
    top = [i for i in top if len(task) == 1 or i in then.topk(SHOWN).indices]

    def value(logits):
        return float(metric.of(logits.float(), {}).mean())

    kind = (
        {int(task.answers[0, 0]): "answer", int(task.wrong[0, 0]): "wrong"}
        if len(task) == 1
        else {}
    )
    tokens = [
        {
            "text": model.tokenizer.decode([i]),
            "before": float(first[i]),
            "after": float(then[i]),
            "is": kind.get(i, ""),
        }
        for i in top
    ]
    tokens.sort(key=lambda one: -one["after"])
    return {"before": value(before), "after": value(after), "tokens": tokens, "n": len(task)}


def about(model: Model, asked: str | None = None) -> dict[str, Any]:
    """What the page shows of the model, without any prompt yet."""
    d = bridge.dims(model)
    return {
        "title": bridge.name(model),
        "prompts": [],
        "layers": d.n_layers,
        "heads": d.n_heads,
        "group": d.n_heads // d.n_kv_heads,
        "asked": asked or "",  # the metric's name as it was given
        "sites": [[k, title] for k, (_, title) in SITES.items()],
    }


def _about(model: Model, task: Any, asked: str | None) -> dict[str, Any]:
    """What the page shows of the task: its prompts as tokens, and where they differ."""

    def words(ids):
        return [task.tokenizer.decode([int(i)]) for i in ids]

    metric = metric_of(task, asked)

    def named(i):
        return {int(index[i]): name for name, index in task.positions.items()}

    prompts = [
        {
            "clean": words(task.clean[i]),
            "corrupted": words(task.corrupted[i]),
            "texts": [text_of(task.tokenizer, ids[i]) for ids in (task.clean, task.corrupted)],
            "metric": metric.name,
            "names": {str(k): v for k, v in named(i).items()},
            "differs": (task.clean[i] != task.corrupted[i]).nonzero()[:, 0].tolist(),
            "answer": words(task.answers[i][task.answers_count[i]][:1])[0],
            "wrong": words(task.wrong[i][task.wrong_count[i]][:1])[0],
        }
        for i in range(len(task))
    ]
    title = f"{bridge.name(model)} · {task.name}"
    return {**about(model, asked), "title": title, "prompts": prompts}
