"""Head scores: what a head does wherever it is, in one table keyed (layer, head)."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import run
from interp.methods.attention import pattern_scores, task_scores
from interp.methods.attention.task_scores import Given
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import task_for
from interp.methods.runs.metrics import metric_of, of_part
from interp.methods.weights import ov_qk
from interp.models import bridge
from interp.results import Result
from interp.tasks.induction import repeated_tokens
from interp.tasks.metrics import Metric
from interp.tasks.task import MixedTask, Task


@dataclass(frozen=True)
class Score:
    """One row of the table of head scores.

    Attributes:
        what: What it measures, in words.
        on: "repeats": always repeated random tokens; "tokens": the caller's prompts, else repeated
            random tokens; "task": a task the caller gives; "weights": no prompts at all.
        of: For pattern scores a function of (pattern [... dest src], the block's length); otherwise
            of what was given, with the null's number.
        unit: Its unit.
        source: The paper.
        null: What it is compared with.
        pattern: Whether it reads attention patterns alone.
    """

    what: str
    on: str
    of: Callable
    unit: str
    source: str
    null: str = "a head that attends evenly to all it can see"
    pattern: bool = False


SHARE, EVEN = "share of attention", dict(pattern=True)
INDUCTION = "Olsson et al. 2022, arXiv 2209.11895"
PREPLAN = "Li et al. 2025, arXiv 2510.13554 (preplan and anchor)"
MEDIAN = "a head drawn at random: the median head of this model"
PATTERN = pattern_scores

SCORES: dict[str, Score] = {
    "previous-token": Score(
        "attention to the token before", "tokens", PATTERN.previous_token, SHARE, INDUCTION, **EVEN
    ),
    "duplicate-token": Score(
        "attention to the same token earlier",
        "repeats",
        PATTERN.duplicate_token,
        SHARE,
        "Wang et al. 2022, arXiv 2211.00593",
        **EVEN,
    ),
    "induction": Score(
        "attention to what followed the same token",
        "repeats",
        PATTERN.induction,
        SHARE,
        INDUCTION,
        **EVEN,
    ),
    "first-token": Score(
        "attention to position 0, the sink",
        "tokens",
        PATTERN.first_token,
        SHARE,
        "Xiao et al. 2023, arXiv 2309.17453",
        **EVEN,
    ),
    "entropy": Score(
        "spread of attention, position 0 left out",
        "tokens",
        PATTERN.entropy,
        "nats",
        "ours",
        **EVEN,
    ),
    "distance": Score(
        "mean tokens looked back, position 0 left out",
        "tokens",
        PATTERN.distance,
        "tokens",
        "ours",
        **EVEN,
    ),
    "waad": Score(
        "windowed average attention distance (10 tokens), position 0 left out",
        "tokens",
        PATTERN.waad,
        "tokens",
        f"{PREPLAN}; leaving out position 0 is ours",
        **EVEN,
    ),
    "fai": Score(
        "future attention influence: attention got from tokens 4 to 50 later, position 0 left out",
        "tokens",
        PATTERN.fai,
        SHARE,
        f"{PREPLAN}; the mean over a head's tokens is ours",
        **EVEN,
    ),
    "copying": Score(
        "whether the OV circuit raises the token it reads: sum of eigenvalues over sum of their"
        " sizes, -1 to 1",
        "weights",
        ov_qk.copying,
        "eigenvalue ratio",
        "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits",
        "what a head reads, joined to what a head of another layer writes: mean over such"
        " mismatched pairs",
    ),
    "retrieval": Score(
        "share of needle tokens copied from where it looks most",
        "task",
        task_scores.retrieval,
        "share of needle tokens",
        "Wu et al. 2024, arXiv 2404.15574",
        "a head that looks most at a position drawn at random",
    ),
    "context divergence": Score(
        "how far z at END moves without the context, relative to its length",
        "task",
        task_scores.context_divergence,
        "relative distance",
        "ours, after vision-aware head divergence (He et al. 2024, arXiv 2412.13949)",
        "the same context with its tokens in random order, mean over heads",
    ),
    "ablation": Score(
        "size of the change of the metric under mean ablation",
        "task",
        task_scores.by_ablation,
        "metric",
        "Wang et al. 2022, arXiv 2211.00593",
        MEDIAN,
    ),
    "gradient": Score(
        "the same change to first order",
        "task",
        task_scores.by_gradient,
        "metric",
        "Nanda 2023 (attribution patching); Michel et al. 2019, arXiv 1905.10650",
        MEDIAN,
    ),
    "output norm": Score(
        "length of what the head writes, position 0 left out",
        "tokens",
        task_scores.output_norm,
        "stream units",
        "Kobayashi et al. 2020, arXiv 2004.10102",
        MEDIAN,
    ),
}
PROMPTS = {  # what a score of a task needs there, and a task that has it
    "retrieval": ("a task with a needle", "interp.tasks.needle(model)"),
    "context divergence": (
        "a task whose prompts name the position at which the context ends",
        "interp.tasks.colored_objects(model)",
    ),
}
DETECTORS = ("previous-token", "duplicate-token", "induction", "first-token")


@torch_defaults()
def head_scores(
    model: Model,
    scores: str | Sequence[str] = DETECTORS,
    *,
    on: Any = None,
    n: int = 8,
    length: int = 24,
    seed: int = 0,
    query: str = "QUERY",
    metric: Any = None,
) -> Result:
    """How much each head behaves like a previous-token, induction, copying, retrieval, ... head.

    Example:
        >>> head_scores(model).sel(score="induction").top(5)
        >>> head_scores(model, "copying").top(5, by="high")         # not among the four by default
        >>> head_scores(model, "retrieval", on=interp.tasks.needle(model)).top(5)
        >>> head_scores(model, ["ablation", "gradient"], on=task).sel(score="ablation").plot()
        >>> head_scores(model, ["entropy", "waad"], on=tokens)      # [chunk pos]

    Args:
        model: A loaded model.
        scores: One name or several, of: previous-token, duplicate-token, induction, first-token
            (these four are measured by default), entropy, distance, waad, fai, copying, output
            norm, and on a task retrieval, context divergence, ablation, gradient. The result's
            metadata say what each is, what it is computed on, its source and its null.
        on: A task, texts, or token ids [batch pos] or [pos]. Without it, scores of any text are
            measured on n prompts of the first token, `length` random tokens, and the same tokens
            again; induction and duplicate-token always are.
        n: How many repeated prompts.
        length: How many random tokens are repeated.
        seed: Draws them.
        query: For context divergence, the position name at which the prompt without its context
            begins (it is shorter, so positions shift too).
        metric: What importance is measured by, a name or a Metric (None: the task's own).

    Returns:
        The scores, axes score, layer, head, each in its own unit; examples are kept where all
        scores have as many. Importance is unsigned: `ablate` gives signs. `metadata["null"]` has
        what the null of each gets, `metadata["null is"]` says which null.

    Raises:
        ValueError: If a score is unknown, or needs a task and there is none.

    Reference:
        `metadata["source"]` names the paper of each score.
    """
    started = time.perf_counter()
    names = (scores,) if isinstance(scores, str) else tuple(scores)
    if on is not None:
        on = _prompts(model, names, on, metric)
    if isinstance(on, MixedTask):
        options = dict(n=n, length=length, seed=seed, query=query, metric=metric)
        return _by_length(model, names, on, options, started)
    task, tokens = _on(names, on)
    if length < 2:
        raise ValueError(f"length={length}: a repeated block needs at least 2 tokens")
    repeats = repeated_tokens(model, n=n, length=length, seed=seed)
    given = Given(model, repeats if tokens is None else tokens, task, query, seed, metric)
    scores_by_name: dict[str, Tensor] = {}
    null: dict[str, float] = {}
    for where, prompts in (("repeats", repeats), ("tokens", given.tokens)):
        rows = [s for s in names if SCORES[s].pattern and SCORES[s].on == where]
        scores_by_name |= _of_patterns(given._replace(tokens=prompts), rows, length)
        null |= {
            s: float(SCORES[s].of(pattern_scores.even(prompts.shape[1]), length)) for s in rows
        }
    for name in names:
        if not SCORES[name].pattern:
            scores_by_name[name], null[name] = SCORES[name].of(given)
    unit = None if task is None else metric_of(task, metric).unit
    return _result(
        model,
        names,
        scores_by_name,
        null,
        task,
        started,
        unit,
        n=n,
        seed=seed,
        length=length,
        given=on is not None,
    )


def _prompts(model: Any, names: Sequence[str], on: Any, metric: Any) -> Any:
    """The prompts as a task or ids; texts have answers only where a score measures some."""
    needs = [name for name in names if name in SCORES and SCORES[name].on == "task"]
    measured = any(name in ("ablation", "gradient") for name in needs)
    needs_answers = measured and (metric is None or isinstance(metric, str))
    task = task_for(model, on, "head_scores", answers=needs_answers, raw=not needs)
    if isinstance(task, MixedTask) and task.whole and needs:
        raise ValueError(
            f"{needs[0]!r} is measured on answers of one token, and some of {task.name!r} have "
            "several: score their first, interp.tasks.pairs(..., answer_tokens='first')"
        )
    return task


def _by_length(
    model: Any, names: Sequence[str], task: MixedTask, options: Mapping[str, Any], started: float
) -> Result:
    """The scores on prompts of several lengths: means over prompts, each as it is alone."""
    results, sizes, metric = [], [], options["metric"]
    for index, steps in task.parts:
        part_metric = of_part(metric, index, len(task)) if isinstance(metric, Metric) else metric
        results.append(
            head_scores(model, names, on=steps[0].task, **{**options, "metric": part_metric})
        )
        sizes.append(len(index))
    share = np.array(sizes) / sum(sizes)
    metadata = dict(results[0].metadata)
    for key in ("null", "even"):
        metadata[key] = {
            s: float(sum(w * result.metadata[key][s] for w, result in zip(share, results)))
            for s in metadata[key]
        }
    metadata |= {"n": len(task), "seconds": round(time.perf_counter() - started, 2)}
    values = sum(w * result.values for w, result in zip(share, results))
    examples = None
    keeps_examples = all(SCORES[s].on != "repeats" and s != "copying" for s in names)
    if keeps_examples and all(result.examples is not None for result in results):
        examples = np.concatenate([result.examples for result in results], -1)
        order = torch.cat([part.index for part in task.parts]).argsort().tolist()
        examples = examples[..., order]
        values = examples.mean(-1)
    return replace(results[0], values=values, examples=examples, metadata=metadata)


def _on(names: Sequence[str], on: Any) -> tuple[Any, Tensor | None]:
    """(the task or None, the prompts or None), checked against what the scores need."""
    if not names:
        raise ValueError(
            f"no scores: name at least one, for example head_scores(model, ['{DETECTORS[2]}'])"
        )
    for name in names:
        if name not in SCORES:
            raise unknown("head score", name, SCORES, most=len(SCORES))
    task = on if isinstance(on, Task) else None
    needs = [name for name in names if SCORES[name].on == "task"]
    if needs and task is None:
        what = PROMPTS.get(needs[0], ("a task", ""))[0]
        raise ValueError(f"{needs[0]!r} is measured on {what}: {_call(needs[0])}")
    if task is not None:
        return task, task.clean
    tokens = None if on is None else torch.as_tensor(on)
    return None, tokens[None] if tokens is not None and tokens.ndim == 1 else tokens


def _call(score: str) -> str:
    """The call that measures a score."""
    on = ""
    if SCORES[score].on == "task":
        on = f", on={PROMPTS.get(score, ('', 'task'))[1]}"
    return f"head_scores(model, {score!r}{on})"


def _of_patterns(given: Given, names: Sequence[str], length: int) -> dict[str, Tensor]:
    """The pattern scores [layer head n], a few prompts to a run."""
    if not names:
        return {}
    if given.tokens.shape[-1] < 3:
        raise ValueError(
            f"prompts of {given.tokens.shape[-1]} tokens leave nothing to score: 3 or more are"
            " needed"
        )
    parts = []
    for part in task_scores.chunks(given):
        pattern = run(given.model, given.tokens[part], keep=["L*H*.pattern"], last_only=True).kept[
            "L*H*.pattern"
        ]
        parts.append([SCORES[s].of(pattern, length) for s in names])
    return {s: torch.cat([p[i] for p in parts], 2) for i, s in enumerate(names)}


def _result(
    model: Model,
    names: Sequence[str],
    scores_by_name: dict,
    null: dict,
    task: Any,
    started: float,
    unit: str | None,
    given: bool,
    **options: Any,
) -> Result:
    """The table as a Result, with units, nulls and sources in its metadata."""
    d = bridge.dims(model)
    arrays = [scores_by_name[s].cpu().double() for s in names]
    equal = len({a.shape[-1] for a in arrays}) == 1 and "copying" not in names
    examples = to_numpy(torch.stack(arrays)) if equal else None
    values = to_numpy(torch.stack([a.mean(-1) for a in arrays]))
    units = {s: unit if SCORES[s].unit == "metric" else SCORES[s].unit for s in names}
    unit = units[names[0]] if len(set(units.values())) == 1 else "each score has its own"
    prompts = {"repeats": "repeated random tokens", "weights": "weights", "task": "the task given"}
    on = {
        s: prompts.get(SCORES[s].on, "the prompts given" if given else prompts["repeats"])
        for s in names
    }
    rows = {
        "null": {s: round(null[s], 6) for s in names},
        "null is": {s: SCORES[s].null for s in names},
        "units": units,
        "on": on,
        "what": {s: SCORES[s].what for s in names},
        "source": {s: SCORES[s].source for s in names},
        "elsewhere": {"score": {s: _call(s) for s in SCORES if s not in names}},
    }
    even = {s: round(null[s], 4) for s in names if SCORES[s].pattern}
    metadata = sweep.provenance(
        model, task, "head scores", started, **options, **rows, even=even, backend="hooks"
    )
    coords = {
        "score": list(names),
        "layer": list(range(d.n_layers)),
        "head": list(range(d.n_heads)),
    }
    return Result(
        values, ("score", "layer", "head"), coords, "head score", unit, metadata, examples
    )


def strongest(scored: Result, *, floor: float = 0.3, otherwise: str = "none of them") -> list[str]:
    """For each head the name of its highest score, or `otherwise` below the floor; layer by layer.

    Example:
        >>> strongest(head_scores(model))[:3]
        ['previous-token', 'none of them', 'none of them']

    Args:
        scored: A Result with the axis "score" first, whose scores have one unit (shares of
            attention) and can be compared.
        floor: What a score must reach.
        otherwise: The name of a head whose scores do not.
    """
    if (
        scored.dims[:1] != ("score",)
        or len({scored.metadata["units"][s] for s in scored.coords["score"]}) > 1
    ):
        raise ValueError(
            "strongest compares scores of one unit on the axis 'score':"
            " head_scores(model).sel(score=[...])"
        )
    flat = scored.values.reshape(len(scored.values), -1)
    names = scored.coords["score"]
    return [names[i] if flat[i, k] >= floor else otherwise for k, i in enumerate(flat.argmax(0))]
