"""Any prompts for every verb: texts and ids become a task, several lengths run apart.

A verb is written for a task of one length whose answers have one token. `any_prompts` makes it work
for a text, several texts, ids with a mask, prompts of several lengths, and answers of several
tokens: the task's parts are run one after another, and the values of each example are put together
(see `Task.parts`). So every number is that of the prompt run alone, and no verb has to pad.
"""

import functools
import inspect
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp._arguments import model_problem
from interp._numbers import to_numpy
from interp._progress import named
from interp._stats import fractions
from interp.interventions import Intervention, run
from interp.methods.runs.metrics import Metric, metric_of, metric_parts, of_part
from interp.methods.runs.sweep import unedited_metric
from interp.models.tokens import read_prompts
from interp.results import Result
from interp.sites import STAR, Site
from interp.tasks.pairs import SWAP_EXAMPLE, pairs
from interp.tasks.task import MixedTask, Task, joined

OWN = "the model's own next token"
FRACTION = "fraction (0 corrupted, 1 clean)"
POSITIONS = ("pos", "dest", "src")


def any_prompts(
    *,
    answers: bool = False,
    compares: bool = False,
    reads: bool = False,
    raw: bool = False,
    join: bool = True,
    fraction: str | None = None,
    whole: bool = True,
    swaps: bool = False,
) -> Callable[[Callable], Callable]:
    """A decorator that lets a verb(model, prompts, ...) take any prompts.

    Args:
        answers: The verb measures answers. A text has none: they are then the model's own next
            tokens.
        compares: The verb needs corrupted prompts.
        reads: The verb reads a run and changes nothing, so that in an answer of several tokens END
            is where each of its tokens is predicted. Otherwise END is the prompt's last token.
        raw: The verb takes token ids as they are.
        join: Prompts of several lengths are run apart here. Otherwise the verb does it by itself.
        fraction: The direction of an effect given as a fraction, where `unit` can ask for one;
            "given" is the verb's own option `direction`.
        whole: The verb can score answers of several tokens.
        swaps: The verb puts values of source prompts in, and asks for the answer after that.
    """

    def decorate(verb: Callable) -> Callable:
        signature = inspect.signature(verb)
        first = list(signature.parameters)[1]
        name = _public(verb)

        @functools.wraps(verb)
        def call(model: Any, *args: Any, **options: Any) -> Any:
            if first in options and not args:
                args = (options.pop(first),)
            if not args:
                return verb(model, **options)  # Python says what is missing
            _check_model(model, name)
            task, *rest = args
            task = task_for(
                model,
                task,
                name,
                answers=answers and not _measured_otherwise(options),
                compares=compares,
                raw=raw,
                swaps=swaps,
            )
            mixed = isinstance(task, MixedTask)
            if mixed and task.whole and not whole:
                raise ValueError(
                    f"{name} reads one token, and some answers of {task.name!r} have "
                    "several: score their first, interp.tasks.pairs(..., answer_tokens='first')"
                )
            if not (join and mixed):
                return verb(model, task, *rest, **options)
            given = signature.bind(model, task, *rest, **options)
            given.apply_defaults()
            return _join(
                verb, model, task, rest, options, given.arguments, answers, reads, fraction
            )

        call.__dict__["takes"] = first  # for tests: what has been opened to any prompts
        return call

    return decorate


def _public(verb: Callable) -> str:
    """The verb as people call it: interp.patch, or interp.methods.attention.attention_between."""
    name = verb.__name__.lstrip("_")
    top = getattr(sys.modules.get("interp"), "__all__", ())
    return f"interp.{name}" if name in top else f"{'.'.join(verb.__module__.split('.')[:3])}.{name}"


def _check_model(model: Any, verb: str) -> None:
    """Raises TypeError with the right call unless this is a loaded model."""
    if problem := model_problem(model):
        raise TypeError(f"{problem}; {verb}(model, ...)")


def _measured_otherwise(options: Mapping[str, Any]) -> bool:
    """Whether the metric asked for needs no answers."""
    metric = options.get("metric")
    return metric is not None and (not isinstance(metric, str) or metric == "kl")


# --- prompts as a task ----------------------------------------------------------------------------


def task_for(
    model: Any,
    prompts: Any,
    verb: str,
    *,
    answers: bool = False,
    compares: bool = False,
    raw: bool = False,
    swaps: bool = False,
) -> Any:
    """The task of these prompts for a verb; a ValueError shows the right call."""
    if swaps and not (isinstance(prompts, Task) and prompts.paired):
        name = f"the task {prompts.name!r}" if isinstance(prompts, Task) else "this"
        raise ValueError(
            f"{verb} needs source prompts and the answer after the swap, and {name} has none: task"
            f" = {SWAP_EXAMPLE}; {verb}(model, task, ...)"
        )
    if isinstance(prompts, Task):
        if compares and not prompts.paired:
            return prompts.corrupted  # raises the sentence
        if answers and not prompts.answered_for:
            return _answered(model, prompts)
        return prompts
    if compares:
        raise ValueError(_needs_pairs(prompts, verb))
    if isinstance(prompts, Tensor) and (raw or prompts.is_floating_point()):
        if raw and prompts.ndim == 2 and not prompts.is_floating_point():
            read_prompts(model, prompts)  # notices padding
        return prompts
    ids = read_prompts(model, prompts).ids
    one = isinstance(prompts, str)
    task = pairs(model, ids, name="text" if one else "texts")
    return _answered(model, task) if answers else task


def _needs_pairs(prompts: Any, verb: str) -> str:
    """The message for prompts that cannot be compared."""
    kind = "there is no task (None)" if prompts is None else f"got a {type(prompts).__name__}"
    if hasattr(prompts, "columns"):
        return (
            f"{verb} compares two prompts and {kind}: task = interp.tasks.read(frame, model); "
            f"{verb}(model, task, ...)"
        )
    return (
        f"{verb} compares two prompts, so it needs a task of pairs, and {kind}: "
        "task = interp.tasks.pairs(model, clean=['The keys are'], corrupted=['The key is'], "
        f"answers=[' here'], wrong=[' there']); {verb}(model, task, ...)"
    )


def _answered(model: Any, task: Task) -> Task:
    """The task with the model's own next token as the answer; its metadata says so."""
    best = joined(task, lambda t: run(model, t, last_only=True).logits.argmax(-1), once=True)
    metadata = {**task.metadata, "answers": OWN}
    if isinstance(task, MixedTask):
        rows = [row._replace(answers=[[int(i)]]) for row, i in zip(task.rows, best)]
        return task.but(rows=rows, metadata=metadata, metric_name="log_prob")
    ids = best.cpu()[:, None]
    count = torch.ones_like(ids, dtype=torch.bool)
    return task.but(answers=ids, answers_count=count, metadata=metadata, metric_name="log_prob")


# --- several lengths, answers of several tokens ---------------------------------------------------


def _join(
    verb: Callable,
    model: Any,
    task: MixedTask,
    rest: Sequence[Any],
    options: dict[str, Any],
    given: Mapping[str, Any],
    answers: bool,
    reads: bool,
    fraction: str | None,
) -> Result:
    """The verb on each part of the task, put together example by example."""
    started = time.perf_counter()
    name = _public(verb)
    _check_places(name, task, given, reads)
    options, metric = dict(options), options.get("metric")
    if isinstance(metric, str) and metric != "kl":
        task = task.with_metric(metric)
        del options["metric"]
    # what is no score of an answer is read off the prompts themselves
    once = not answers or _measured_otherwise(options)
    if task.whole and options.get("method") == "atp*":
        raise ValueError(
            "'atp*' gives sizes, which do not add up over the tokens of an answer: use "
            "method='atp', or "
            "score the first token, interp.tasks.pairs(..., answer_tokens='first')"
        )
    unit = options.get("unit", "metric")
    if unit != "metric" and fraction is not None:
        options["unit"] = "metric"
    out, parts, noised = None, [], np.zeros(len(task))
    for k, (index, steps) in enumerate(task.parts):
        total, first = None, None
        for j, (weight, step) in enumerate(steps[:1] if once else steps):
            with named(_part_name(task, step, k)):
                part_result = verb(
                    model,
                    _reading(step) if reads else step,
                    *rest,
                    **_options(options, index, len(task), k, j),
                )
            part_result = _trimmed(part_result, step.forced)
            if not isinstance(part_result, Result) or part_result.examples is None:
                raise ValueError(_why(name, task))
            total = weight * part_result.examples + (0 if total is None else total)
            if "noised" in part_result.metadata:  # the corrupted run of each prompt, where noise is
                noised[index.tolist()] += weight * np.asarray(part_result.metadata["noised"])
            first = _first(first, part_result, weight)
        if out is None:
            out, dims, coords = (
                np.full((*total.shape[:-1], len(task)), np.nan),
                first.dims,
                first.coords,
            )
        if total.shape[:-1] != out.shape[:-1] or (first.dims, _plain(first)) != (
            dims,
            _plain(first, coords),
        ):
            raise ValueError(_why(name, task))
        out[..., index.tolist()] = total
        parts.append((len(index), first))
    metadata = _about(parts, task, started)
    if "noised" in metadata:
        metadata["noised"] = noised.tolist()
    result = replace(
        parts[0][1], values=out.mean(-1), examples=out, coords=coords, metadata=metadata
    )
    if unit != "metric" and fraction is not None:
        direction = given.get("direction", "denoising") if fraction == "given" else fraction
        result = _in_unit(result, unit, direction, model, task, options.get("metric"))
    return result


def _part_name(task: MixedTask, step: Task, part: int) -> str:
    """What the progress bar says of one of several runs."""
    if len(task.parts) == 1:
        return ""
    return f"prompts of {step.clean.shape[1]} tokens ({part + 1} of {len(task.parts)} parts)"


def _reading(step: Task) -> Task:
    """The step with END where the answer's token is predicted."""
    if not step.forced:
        return step
    end = torch.full((len(step),), step.clean.shape[1] - 1)
    return step.but(forced=0, positions={**step.positions, "END": end})


def _options(
    options: Mapping[str, Any], index: Tensor, n: int, part: int, step: int
) -> dict[str, Any]:
    """The options for one part: a metric of these prompts, a file of its own to resume."""
    out = dict(options)
    if isinstance(out.get("metric"), Metric):
        out["metric"] = of_part(out["metric"], index, n)
    if isinstance(out.get("positions"), Mapping):
        out["positions"] = {
            k: at if at.ndim == 0 else at[index] for k, at in out["positions"].items()
        }
    if out.get("resume") is not None:
        path = Path(out["resume"])
        out["resume"] = path.with_name(f"{path.stem}.part{part}.{step}{path.suffix}")
    return out


def _trimmed(result: Any, forced: int) -> Any:
    """A result by position without the positions of the answer's tokens."""
    if not forced or not isinstance(result, Result):
        return result
    for dim in POSITIONS:
        if dim in result.dims:
            result = result.sel(**{dim: result.coords[dim][:-forced]})
    return result


def _first(first: Result | None, result: Result, weight: float) -> Result:
    """The first step's result, with the sums of what the metadata says about the plain runs."""
    sums = {
        key: weight * result.metadata[key]
        for key in ("clean", "corrupted")
        if isinstance(result.metadata.get(key), (int, float))
    }
    if first is None:
        return replace(result, metadata={**result.metadata, **sums})
    return replace(
        first,
        metadata={**first.metadata, **{k: first.metadata.get(k, 0.0) + v for k, v in sums.items()}},
    )


def _plain(first: Result, coords: Mapping | None = None) -> dict[str, Any]:
    """The labels, without the words that a position's label quotes from the first prompt."""
    coords = first.coords if coords is None else coords
    return {
        dim: len(labels) if dim in POSITIONS else list(labels) for dim, labels in coords.items()
    }


def _about(parts: Sequence[tuple[int, Result]], task: MixedTask, started: float) -> dict[str, Any]:
    """The metadata of the parts: what they share, means over prompts, and the lengths."""
    metadata = dict(parts[0][1].metadata)
    for key, value in list(metadata.items()):
        each = [part.metadata.get(key) for _, part in parts]
        if key in ("clean", "corrupted") and all(isinstance(v, (int, float)) for v in each):
            metadata[key] = sum(size * v for (size, _), v in zip(parts, each)) / len(task)
        elif key == "compare with":
            metadata[key] = {
                name: sum(size * v[name] for (size, _), v in zip(parts, each)) / len(task)
                for name in value
            }
        elif any(v != value for v in each):
            metadata[key] = each
    sizes = [len(ids) for ids in task.prompts]
    metadata["n"] = len(task)
    metadata["lengths"] = {str(size): sizes.count(size) for size in sorted(set(sizes))}
    metadata["seconds"] = round(time.perf_counter() - started, 2)
    return metadata


def _why(verb: str, task: MixedTask) -> str:
    """The message for a result that cannot be joined over lengths."""
    return (
        f"{verb} gives something else for each length of prompt, and the prompts of {task.name!r} "
        f"have {_sizes(task)} tokens: call it for each, task.by_length(), for one prompt, task[0], "
        "or where it takes a place at one by its name, 'resid_post.*@END'"
    )


def _sizes(task: MixedTask) -> str:
    """The prompts' lengths in words."""
    sizes = sorted({len(ids) for ids in task.prompts})
    return (
        " and ".join([", ".join(map(str, sizes[:-1])), str(sizes[-1])])
        if sizes[1:]
        else str(sizes[0])
    )


def _check_places(verb: str, task: MixedTask, given: Mapping[str, Any], reads: bool) -> None:
    """A ValueError where an address means another place in each prompt."""
    several = len({len(ids) for ids in task.prompts}) > 1
    for text in _addresses(
        {k: v for k, v in given.items() if k not in ("model", "task", "metric")}
    ):
        try:
            site = Site.parse(text)
        except ValueError:
            continue
        bare = str(site.at(None))
        if site.pos == STAR and several:
            names = [name for name in task.position_names if name != "END"]
            raise ValueError(
                f"the prompts have {_sizes(task)} tokens: a sweep over absolute positions needs "
                f"one length. Name the positions that you want to compare: {verb}(model, task, "
                f"{bare + '@' + (names or ['END'])[0]!r}), or leave positions out: {bare!r}"
                + (
                    ""
                    if names
                    else " (tasks.pairs(..., positions={'SUBJECT': 'cabinet'}) names more)"
                )
            )
        if isinstance(site.pos, int) and site.pos < 0 and task.whole and not reads:
            raise ValueError(
                f"{text!r} counts from the end, where an answer of several tokens stands: say "
                f"{bare + '@END'!r} for the prompt's last token"
            )


def _addresses(value: Any) -> list[str]:
    """Every address among the arguments."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Site):
        return [str(value)]
    if isinstance(value, Intervention):
        return [str(value.at)]
    if isinstance(value, Mapping):
        return [text for part in value.values() for text in _addresses(part)]
    if isinstance(value, Sequence):
        return [text for part in value for text in _addresses(part)]
    return []


def read_values(
    model: Any, task: Task, metric: Metric, kind: str = "clean", backend: str = "hooks"
) -> Tensor:
    """The metric of each example's plain run on its clean or corrupted prompt.

    Args:
        model: A loaded model.
        task: The prompts.
        metric: What is measured.
        kind: "clean" or "corrupted".
        backend: The one that ran what these values are compared with (see `unedited_metric`).
    """
    out = torch.empty(len(task))
    for index, steps in metric_parts(task, metric):
        out[index] = sum(
            w
            * unedited_metric(
                model, getattr(step, kind), step_metric, step.positions, backend=backend
            ).float()
            for w, step, step_metric in steps
        ).cpu()
    return out


def _in_unit(
    result: Result, unit: str, direction: str, model: Any, task: Task, metric: Any
) -> Result:
    """Effects in the metric's unit as fractions: from corrupted to clean, or of the clean value."""
    backend = result.metadata.get("backend", "hooks")
    if unit == "relative":
        clean = to_numpy(read_values(model, task, metric_of(task, metric), backend=backend))
        if not clean.min() > 0:
            raise ValueError(
                f"the metric is {clean.min():.3g} in the clean run of prompt "
                f"{int(clean.argmin())}: a "
                "relative change needs a value above zero in every prompt (try unit='fraction')"
            )
        examples, shown = result.examples / clean, "share of the clean value"
    else:
        metric = metric_of(task, metric)
        noised = result.metadata.get("noised")
        corrupted = (
            to_numpy(read_values(model, task, metric, "corrupted", backend))
            if noised is None
            else np.asarray(noised)
        )
        whole = to_numpy(read_values(model, task, metric, "clean", backend)) - corrupted
        what = f"clean minus corrupted {task.metric_title}"
        parts, notes = fractions(result.examples, whole, what, "try unit='metric'")
        examples, shown = parts + (direction == "noising"), FRACTION
        result = replace(result, metadata={**result.metadata, **notes})
    return replace(result, values=examples.mean(-1), examples=examples, unit=shown)
