"""A task: prompts, their answers, named positions, and a metric."""

import hashlib
import inspect
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from html import escape
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from interp._errors import listed, short, unknown
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp.models.tokens import bos_word, encode, first_tokens, is_single, single, tokenizer_of
from interp.results import Result
from interp.tasks.metrics import METRICS
from interp.tasks.show import Shown

__all__ = ["Task", "bos_word", "encode", "first_tokens", "is_single", "single", "tokenizer_of"]

HOW = (
    "interp.tasks.pairs(model, clean=[...], corrupted=[...], answers=[...], wrong=[...]), "
    "one string a prompt"
)


class Lacking(ValueError, AttributeError):
    """What a task does not have was asked for. An AttributeError too, so that `hasattr` says no."""


class Step(NamedTuple):
    """One run of a part: prompts of one length with one token to predict, and its weight in the
    sum.
    """

    weight: float
    task: "Task"


class Part(NamedTuple):
    """Prompts of one length: which of all they are, and the runs whose weighted sum is their
    metric.
    """

    index: Int[Tensor, "batch"]
    steps: tuple[Step, ...]


class _Corrupted:
    """The field `corrupted`, which says how to give corrupted prompts where a task has none."""

    def __get__(self, task: Any, owner: Any = None) -> Any:
        if task is None:
            raise AttributeError("corrupted")  # the field has no default
        if task.__dict__.get("_corrupted") is None:
            raise Lacking(
                f"the task {task.name!r} has clean prompts alone, and this compares with corrupted "
                f"ones: {HOW}. Ablation, lenses, attention, logit attribution, head scores and "
                "steering need none."
            )
        return task.__dict__["_corrupted"]

    def __set__(self, task: Any, value: Any) -> None:
        task.__dict__["_corrupted"] = value


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """A question put to a model: clean and (where there are any) corrupted prompts, and their
    answers.

    Example:
        >>> task = interp.tasks.ioi(model, n=32, seed=0)       # ships with the toolkit
        >>> task = interp.tasks.pairs(model, clean, corrupted, answers, wrong)  # your own strings
        >>> task = interp.tasks.read("prompts.csv", model)     # your own file
        >>> task.metric(model(task.clean)).mean()        # logit difference on the clean prompts
        >>> held = task.heldout()                        # other prompts: judge on these

    Tasks are made by `interp.tasks.pairs`, `read`, and the built-in tasks, all through one door,
    which proves for the tokenizer at hand that clean and corrupted prompts line up.

    Attributes:
        name: What results call it.
        clean, corrupted: Token ids [batch pos], without padding. `corrupted` raises one sentence
            where there are none. Prompts of several lengths have no such tensor: see `prompts`.
        answers, wrong: Token ids; where examples have different numbers of them, `answers_count`
            and `wrong_count` say which count. No columns where there are none.
        positions: An index per example for each name; END, the prompt's last token, is always
            there.
        labels: Words about each example, to choose by: `task.having("country", ["France"])`.
        metric_name: The metric by which the task is judged, a name of `interp.tasks.METRICS`.
        metadata: Where the prompts come from.
        tokenizer: The tokenizer of the ids.
        remake: Makes the held-out half; None where there is none.
        forced: How many tokens of the answer stand after the prompt (teacher forcing; see `parts`).
        title_and_unit: The metric's title and unit where they differ from the metric's own.
        swap_answers: Token ids of the answers after an interchange, when the clean run takes what
            is swapped from the corrupted one (there called the source); None where the task says
            nothing of that. They may be the answers themselves. `swap_answers_count` says which
            count.
    """

    name: str
    clean: Int[Tensor, "batch pos"]
    corrupted: Int[Tensor, "batch pos"] | None = _Corrupted()
    answers: Int[Tensor, "batch answer"]
    wrong: Int[Tensor, "batch wrong"]
    answers_count: Bool[Tensor, "batch answer"]
    wrong_count: Bool[Tensor, "batch wrong"]
    positions: dict[str, Int[Tensor, "batch"]]
    labels: dict[str, list[str]]
    metric_name: str
    metadata: dict[str, Any]
    tokenizer: Any = field(repr=False)
    remake: Callable[..., "Task"] | None = field(default=None, repr=False)
    forced: int = 0
    title_and_unit: tuple[str, str] | None = None
    swap_answers: Int[Tensor, "batch swap"] | None = None
    swap_answers_count: Bool[Tensor, "batch swap"] | None = None

    def _outside_inference_mode(self) -> None:
        """Tensors made in inference mode take part in no gradient: copies that do stand in their
        places.
        """

        def free(value: Any) -> Any:
            if isinstance(value, Tensor) and value.is_inference():
                return value.clone()
            if isinstance(value, dict):
                return {name: free(one) for name, one in value.items()}
            return value

        with torch.inference_mode(False):
            for name, value in list(self.__dict__.items()):
                if isinstance(value, Tensor) or name == "positions":
                    self.__dict__[name] = free(value)

    def __post_init__(self) -> None:
        self._outside_inference_mode()
        n, length = self.clean.shape
        corrupted = self.__dict__["_corrupted"]
        if corrupted is not None and corrupted.shape != self.clean.shape:
            raise ValueError(
                f"clean prompts are {n} x {length}, corrupted ones {tuple(corrupted.shape)}: "
                "they must agree"
            )
        kinds = [("answers", "answers_count"), ("wrong", "wrong_count")]
        kinds += [] if self.swap_answers is None else [("swap_answers", "swap_answers_count")]
        for ids, count in kinds:
            values, counts = getattr(self, ids), getattr(self, count)
            if values.shape != counts.shape or len(values) != n:
                raise ValueError(
                    f"{ids} and {count} need one shape, with a row for each of {n} prompts"
                )
            if values.shape[1] and not counts.any(-1).all():
                raise ValueError(f"an example counts none of its {ids}: each needs at least one")
        end = length - 1 - self.forced
        if "END" not in self.positions or not (self.positions["END"] == end).all():
            raise ValueError(
                "positions must have END, and it must be the last token: the metric is read there"
            )
        for name, index in self.positions.items():
            if index.shape != (n,) or not ((0 <= index) & (index < length)).all():
                raise ValueError(
                    f"position {name!r} must give each of {n} prompts an index from 0 to "
                    f"{length - 1}"
                )
        for name, values in self.labels.items():
            if len(values) != n:
                raise ValueError(f"label {name!r} has {len(values)} values for {n} prompts")

    def __repr__(self) -> str:
        other = self.metadata.get("other prompts", "corrupted")
        kinds = f"clean and {other} prompts" if self.paired else "clean prompts"
        sizes = ", ".join(map(str, sorted(set(map(len, self.prompts)))))
        where = ", ".join(self.position_names)
        return (
            f"Task({self.name}: {len(self)} {kinds} of {sizes} tokens; positions {where}; "
            f"metric {self.metric_title}; task.show() shows them)"
        )

    def _repr_html_(self) -> str:
        head = escape(repr(self).removesuffix("; task.show() shows them)") + ")")
        return f"<div>{head}</div>{self.show(min(3, len(self)))._repr_html_()}"

    def __len__(self) -> int:
        return len(self.clean)

    # --- the prompts ------------------------------------------------------------------------------

    @property
    def paired(self) -> bool:
        """Whether there are corrupted prompts."""
        return self.__dict__["_corrupted"] is not None

    @property
    def prompts(self) -> list[Int[Tensor, "pos"]]:
        """The token ids of each clean prompt."""
        return list(self.clean)

    @property
    def corrupted_prompts(self) -> list[Int[Tensor, "pos"]]:
        """The token ids of each corrupted prompt."""
        return list(self.corrupted)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The task as runs of one length each; one run where its prompts have one length."""
        return (Part(torch.arange(len(self), device="cpu"), (Step(1.0, self),)),)

    @property
    def position_names(self) -> list[str]:
        """The names of positions."""
        return list(self.positions)

    @property
    def digests(self) -> list[str]:
        """A short name for each clean prompt, by which a circuit knows the prompts it was found
        on.
        """
        return [digest(ids) for ids in self.prompts]

    def __getitem__(self, which: Any) -> "Task":
        """Some of the examples: task[:8], task[[0, 3]], task[mask]."""
        at = self._chosen(which)
        tensors = ["clean", "answers", "wrong", "answers_count", "wrong_count"]
        tensors += ["swap_answers", "swap_answers_count"] if self.has_swap_answers else []
        return self.but(
            **{name: getattr(self, name)[at] for name in tensors},
            corrupted=self.corrupted[at] if self.paired else None,
            positions={name: index[at] for name, index in self.positions.items()},
            labels={name: [values[i] for i in at] for name, values in self.labels.items()},
        )

    def _chosen(self, which: Any) -> Int[Tensor, "chosen"]:
        at = torch.arange(len(self), device="cpu")[which]
        at = at[None] if at.ndim == 0 else at
        if len(at) == 0:
            raise ValueError(f"no examples are left of {len(self)}: a task needs at least one")
        return at

    def but(self, **changes: Any) -> "Task":
        """The same task with some of its fields changed."""
        now = {f.name: self.__dict__.get(f.name) for f in fields(self)}
        return Task(**{**now, "corrupted": self.__dict__["_corrupted"], **changes})

    def swapped(self) -> "Task":
        """The same task with clean and corrupted prompts exchanged, without answers after a swap
        (they were meant for the other direction).
        """
        return self.but(
            clean=self.corrupted, corrupted=self.clean, swap_answers=None, swap_answers_count=None
        )

    def having(self, label: str, values: Sequence[str]) -> "Task":
        """The prompts whose label is one of these.

        >>> task.having("country", ["France", "Japan"])
        """
        if label not in self.labels:
            raise unknown("label", label, self.labels)
        return self[[i for i, value in enumerate(self.labels[label]) if value in set(values)]]

    # --- two halves -------------------------------------------------------------------------------

    def split(
        self, share: float = 0.5, seed: int = 0, *, by: str | None = None
    ) -> tuple["Task", "Task"]:
        """The task in two: prompts to find something on, and prompts to judge it on.

        Example:
            >>> find, judge = task.split(0.5, seed=0)
            >>> find, judge = task.split(0.7, by="country")      # no country is in both

        Examples that share a prompt, clean or corrupted, stay together, so that nothing is judged
        on what it was found on. `find.heldout()` is `judge`.

        Args:
            share: The share of examples to find on, as near as examples that belong together allow.
            seed: Draws who goes where.
            by: A label whose values stay together too.

        Returns:
            The task to find on and the task to judge on.

        Raises:
            ValueError: If all examples belong together, or the share leaves one side empty.
        """
        if not 0 < share < 1:
            raise ValueError(f"share={share}: a share is between 0 and 1 (try task.split(0.5))")
        if by is not None and by not in self.labels:
            raise unknown("label", by, self.labels, "task.split(0.5, by='template')")
        sets = self._together(by)
        if len(sets) < 2:
            raise ValueError(
                f"the {len(self)} examples cannot be split: they all share prompts"
                + (f" or one {by}" if by else "")
                + ", so that the one half would be judged on what the other was found on"
            )
        random.Random(f"split {seed}").shuffle(sets)
        wanted, found = share * len(self), []
        for k, some in enumerate(sets):
            if k and (k == len(sets) - 1 or len(found) + len(some) / 2 > wanted):
                break
            found += some
        taken = set(found)
        halves_ = sorted(taken), [i for i in range(len(self)) if i not in taken]
        drawn = {"seed": seed, "share": share}
        find, judge = (
            self[half].but(metadata={**self.metadata, **drawn, "split": which}, remake=None)
            for half, which in zip(halves_, ("find", "heldout"))
        )
        return find.but(remake=_Other(judge)), judge

    def _together(self, by: str | None) -> list[list[int]]:
        """Examples that share a prompt (or a label's value), in sets."""
        parent = list(range(len(self)))

        def root(i: int) -> int:
            while parent[i] != i:
                i = parent[i]
            return i

        seen: dict[Any, int] = {}
        kinds = [self.prompts, *([self.corrupted_prompts] if self.paired else [])]
        keys = [[("prompt", tuple(ids.tolist())) for ids in kind] for kind in kinds]
        keys += [[(by, value) for value in self.labels[by]]] if by else []
        for column in keys:
            for i, key in enumerate(column):
                parent[root(i)] = root(seen.setdefault(key, i))
        sets: dict[int, list[int]] = {}
        for i in range(len(self)):
            sets.setdefault(root(i), []).append(i)
        return list(sets.values())

    def heldout(self) -> "Task":
        """Other prompts of the same task, judged by the same metric.

        A built-in task draws as many on disjoint fillings. Your own prompts have a held-out half
        after `find, judge = task.split(0.5)`: then `find.heldout()` is `judge`.
        """
        if self.metadata.get("split") == "heldout":
            raise ValueError(
                "this is already the held-out half; make the task again for the other one"
            )
        if self.remake is None:
            raise ValueError(
                f"the {len(self)} prompts of {self.name!r} are all there are. Split them first: "
                "find, judge = task.split(0.5, seed=0); find.heldout() is then judge."
            )
        seed = (self.metadata.get("seed") or 0) + 1
        return self.remake(n=len(self), split="heldout", seed=seed).with_metric(self.metric_name)

    @property
    def recipe(self) -> dict[str, Any]:
        """What `interp.tasks.make` needs besides n, seed and split, as JSON can keep it.

        >>> interp.tasks.ioi(model, corruption="names").recipe
        {'make': 'ioi', 'options': {'corruption': 'names'}}

        Options at their default are left out. {} where the task was not made by name, or JSON
        cannot hold an option.
        """
        maker, chosen = getattr(self.remake, "func", None), getattr(self.remake, "keywords", {})
        if maker is None:
            return {}
        usual = {name: p.default for name, p in inspect.signature(maker).parameters.items()}
        options = {name: value for name, value in chosen.items() if value != usual.get(name)}
        try:
            return {"make": maker.__name__, "options": json.loads(json.dumps(options))}
        except TypeError:
            return {}

    # --- answers ----------------------------------------------------------------------------------

    def tokens(self, name: str) -> tuple[Int[Tensor, "batch k"], Bool[Tensor, "batch k"]]:
        """The ids that each example has under a name, and which count: "answer", "wrong", or a
        label.

        >>> task.tokens("country")      # " France", " Japan", ...: as they stand after a space
        """
        if name in ("answer", "wrong"):
            self._has("answers" if name == "answer" else "wrong")
            both = (self.answers, self.answers_count), (self.wrong, self.wrong_count)
            return both[name == "wrong"]
        if name not in self.labels:
            raise unknown("name of tokens", name, ["answer", "wrong", *self.labels])
        ids = torch.tensor(
            [[single(self.tokenizer, " " + word)] for word in self.labels[name]], device="cpu"
        )
        return ids, torch.ones_like(ids, dtype=torch.bool)

    def against(self, name: str) -> "Task":
        """The same prompts with the words of a label for wrong answers.

        >>> task.against("country")         # the capital's logit against the country's own
        """
        wrong, count = self.tokens(name)
        if bool((wrong[:, None] == self.answers[..., None]).any()):
            raise ValueError(
                f"{name!r} is the answer itself in some prompt: nothing is left to tell apart"
            )
        return self.but(wrong=wrong, wrong_count=count)

    @property
    def answered_for(self) -> bool:
        """Whether there are answers."""
        return self.answers.shape[1] > 0

    @property
    def has_wrong(self) -> bool:
        """Whether there are wrong answers to compare with."""
        return self.wrong.shape[1] > 0

    @property
    def has_swap_answers(self) -> bool:
        """Whether the task says what the answer is after an interchange."""
        return self.swap_answers is not None

    def _has(self, *needed: str) -> None:
        """Nothing, or one sentence about the answers that are missing."""
        if "answers" in needed and not self.answered_for:
            raise Lacking(
                f"the task {self.name!r} has no answers, so there is nothing to measure: {HOW}"
            )
        if "wrong" in needed and not self.has_wrong:
            raise Lacking(
                f"the task {self.name!r} has no wrong answers to compare with: {HOW}; "
                "or measure the answer by itself, metric='log_prob'"
            )

    # --- the metric -------------------------------------------------------------------------------

    @property
    def metric_title(self) -> str:
        """The metric in words: "logit difference", ..."""
        if self.title_and_unit is not None:
            return self.title_and_unit[0]
        title = METRICS[self.metric_name].title
        return title.replace("the answer", self.metadata["answers"]) if self._own else title

    @property
    def _own(self) -> bool:
        return str(self.metadata.get("answers", "")).startswith("the model's own")

    @property
    def metric_unit(self) -> str:
        """The unit of the metric: "logits", "probability", ..."""
        return (
            METRICS[self.metric_name].unit
            if self.title_and_unit is None
            else self.title_and_unit[1]
        )

    @property
    def reads(self) -> str:
        """What the metric has to see: "answers" (a few columns of the logits) or the "vocab"."""
        return METRICS[self.metric_name].reads

    @property
    def columns(self) -> Int[Tensor, "batch column"]:
        """The tokens whose logits the metric reads, answers first."""
        return torch.cat([self.answers, self.wrong], -1)

    def with_metric(self, name: str) -> "Task":
        """The same task judged by another metric: "logit_diff", "prob", "log_prob", "rank", ..."""
        check_metric(name)
        if METRICS[name].compares and self.answered_for:
            self._has("wrong")
        return self.but(metric_name=name, title_and_unit=None)

    def metric(self, logits: Float[Tensor, "... d_vocab"]) -> Float[Tensor, "..."]:
        """One number per example from logits [batch pos d_vocab] or, at the end, [... batch
        d_vocab].

        Three axes that begin like the prompts, [batch pos], are read as every position.
        """
        if logits.ndim == 3 and logits.shape[:2] == self.clean.shape:
            logits = logits[:, -1]
        if logits.ndim < 2 or logits.shape[-2] != len(self):
            raise ValueError(
                f"logits of shape {tuple(logits.shape)} do not fit {len(self)} prompts of "
                f"{self.clean.shape[1]} tokens"
            )
        self._has("answers", *(["wrong"] if METRICS[self.metric_name].compares else []))
        counts = (c.to(logits.device) for c in (self.answers_count, self.wrong_count))
        answers, wrong = self.answers.to(logits.device), self.wrong.to(logits.device)
        row = METRICS[self.metric_name]
        if row.reads == "vocab":
            return row.of(logits.float(), answers, wrong, *counts)
        columns = torch.cat([answers, wrong], -1)
        few = logits.gather(-1, columns.expand(*logits.shape[:-1], columns.shape[-1]))
        return self.metric_from_columns(few.float())

    def metric_from_columns(
        self, few: Float[Tensor, "*more batch column"]
    ) -> Float[Tensor, "*more batch"]:
        """The metric from the logits of `columns` alone, where `reads` is "answers"."""
        a = self.answers.shape[-1]
        counts = (c.to(few.device) for c in (self.answers_count, self.wrong_count))
        return METRICS[self.metric_name].of(few[..., :a], few[..., a:], *counts)

    # --- positions --------------------------------------------------------------------------------

    def position(self, name: str) -> Int[Tensor, "batch"]:
        """Where a named position is in each example."""
        if name not in self.positions:
            raise unknown("position", name, self.positions, "'END'")
        return self.positions[name]

    def position_labels(self) -> list[str]:
        """A label per position: its number, the first example's token, and its names there."""
        names = {i: [] for i in range(self.clean.shape[1])}
        for name, index in self.positions.items():
            if bool((index == index[0]).all()):
                names[int(index[0])].append(name)
        return [
            " ".join([str(i), self._word(self.clean[0, i]), *(f"({n})" for n in names[i])])
            for i in names
        ]

    def _word(self, token: Tensor | int) -> str:
        text = self.tokenizer.decode([int(token)])
        return text.strip() or repr(text)[1:-1]

    # --- the model's own behaviour ----------------------------------------------------------------

    @torch_defaults()
    def clean_metric(self, model: Any) -> Result:
        """The model's metric on the clean prompts, with an example each."""
        values = to_numpy(joined(self, lambda task: task._read(model, "clean")))
        metadata = {"task": self.name, "n": len(self), "method": "clean run"}
        return Result(values.mean(), (), {}, self.metric_title, self.metric_unit, metadata, values)

    def _read(self, model: Any, kind: str) -> Float[Tensor, "batch"]:
        from interp.interventions import run

        return self.metric(run(model, getattr(self, kind), last_only=True).logits)

    def _on_top(self, model: Any, kind: str) -> Float[Tensor, "batch"]:
        """1 where an answer is the likeliest of all tokens."""
        return self.with_metric("top1")._read(model, kind)

    @torch_defaults()
    def answered(self, model: Any) -> "Task":
        """The prompts that the model answers: with an answer on top of all tokens.

        >>> kept = task.answered(model); print(len(kept), "of", len(task))
        """
        self._has("answers")
        return self[(self._on_top(model, "clean") == 1).cpu()]

    @torch_defaults()
    def behaviour(self, model: Any) -> Result:
        """How well the model does the task by itself, clean and corrupted, with an interval.

        >>> task.behaviour(model)

        Rows: the share of prompts with an answer above every wrong one, the share with an answer on
        top of all tokens, the difference between answer and wrong answer, and the task's own
        metric. All are of the clean prompts' answers, also on the corrupted (source) prompts, whose
        own answers a task does not hold: `metadata["note"]` says so.
        """
        self._has("answers")
        compares = ("logit_diff",) if self.has_wrong else ()
        rows = []
        kinds = ["clean", *(["corrupted"] if self.paired else [])]
        for kind in kinds:
            row: dict[str, Tensor] = {}
            if self.has_wrong:
                row["answer above wrong"] = self._above(model, kind)
            row["answer on top"] = self._on_top(model, kind)
            for name in compares:
                task = self.with_metric(name)
                row[task.metric_title] = joined(task, lambda t, kind=kind: t._read(model, kind))
            if self.metric_name not in ("accuracy", "top1", *compares):
                row[self.metric_title] = joined(self, lambda t, kind=kind: t._read(model, kind))
            rows.append(row)
        measures = list(rows[0])
        usual = {"answer above wrong", "answer on top", "logit difference"}
        unit = "share of prompts, or logits"
        if set(measures) - usual:
            unit = f"share of prompts, logits, or {self.metric_unit}"
        examples = torch.stack([torch.stack([row[m] for row in rows]) for m in measures])
        examples = to_numpy(examples)  # [measure prompts n]
        coords = {"measure": measures, "prompts": kinds}
        metadata = {"task": self.name, "n": len(self), "method": "plain run"}
        metadata |= {"split": self.metadata["split"]} if "split" in self.metadata else {}
        if self.paired:
            metadata["note"] = "the corrupted prompts are scored by the answers of the clean ones"
        if self.paired and self.has_swap_answers:
            metadata["note"] += (
                ", not by their own: how well the model does the source prompts is asked of a task"
                " of them, interp.tasks.pairs(model, clean=source, answers=...)"
            )
        return Result(
            examples.mean(-1), ("measure", "prompts"), coords, "behaviour", unit, metadata, examples
        )

    def _above(self, model: Any, kind: str) -> Float[Tensor, "batch"]:
        """1 where an answer is above every wrong one."""
        return self.with_metric("accuracy")._read(model, kind)

    def show(self, n: int = 3) -> Shown:
        """The first prompts with their positions marked, clean above corrupted, and the answers."""
        return Shown(self[: min(n, len(self))])


class _Other:
    """The held-out half of a split task, as `remake`."""

    def __init__(self, task: Task):
        self.task = task

    def __call__(self, **options: Any) -> Task:
        return self.task


# --- several lengths, answers of several tokens ---------------------------------------------------


class Row(NamedTuple):
    """One example: its ids, its answers (each a list of ids), its positions and its labels."""

    clean: list[int]
    corrupted: list[int] | None
    answers: list[list[int]]
    wrong: list[list[int]]
    positions: dict[str, int]
    labels: dict[str, str]
    swap_answers: Sequence[list[int]] = ()


class MixedTask(Task):
    """A task whose prompts have several lengths, or whose answers have several tokens.

    Its numbers are those of each prompt run alone: `parts` groups prompts of one length, and no
    padding ever enters a number. An answer of several tokens is scored as a whole by teacher
    forcing: the sum over its tokens of their log-probabilities, each after the prompt and the
    tokens before it. Such a sum is a sum of runs that predict one token each, and those are a
    part's `steps`.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        name: str,
        metric_name: str,
        metadata: Mapping[str, Any],
        tokenizer: Any,
        remake: Callable[..., Task] | None = None,
    ):
        put = self.__dict__.__setitem__
        put("rows", list(rows))
        put("name", name)
        put("metric_name", metric_name)
        put("metadata", dict(metadata))
        put("tokenizer", tokenizer)
        put("remake", remake)
        put("labels", {key: [row.labels[key] for row in rows] for key in rows[0].labels})
        put("title_and_unit", None)
        put("forced", 0)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "corrupted" and not self.paired:  # a property's AttributeError ends here
            return _Corrupted().__get__(self)
        raise Lacking(
            f"{name!r} is a tensor of prompts of one length with answers of one token, and "
            f"{self.why_mixed()}. What runs prompts one length at a time works; otherwise choose "
            "some: task.by_length() gives a task for each length"
        )

    def why_mixed(self) -> str:
        """What is of several lengths, in words."""
        sizes = sorted(set(map(len, self.prompts)))
        several = f"the prompts of {self.name!r} have {listed(map(str, sizes))} tokens"
        return several if len(sizes) > 1 else f"the answers of {self.name!r} have several tokens"

    @property
    def corrupted(self) -> Any:
        """Raises: there is no tensor of prompts of several lengths."""
        return self.__getattr__("corrupted")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def paired(self) -> bool:
        """Whether there are corrupted prompts."""
        return self.rows[0].corrupted is not None

    @property
    def prompts(self) -> list[Int[Tensor, "pos"]]:
        """The token ids of each clean prompt."""
        return [torch.tensor(row.clean, device="cpu") for row in self.rows]

    @property
    def corrupted_prompts(self) -> list[Int[Tensor, "pos"]]:
        """The token ids of each corrupted prompt."""
        return [torch.tensor(row.corrupted, device="cpu") for row in self.rows]

    @property
    def position_names(self) -> list[str]:
        """The names of positions."""
        return [*self.rows[0].positions, "END"]

    @property
    def answered_for(self) -> bool:
        """Whether there are answers."""
        return bool(self.rows[0].answers)

    @property
    def has_wrong(self) -> bool:
        """Whether there are wrong answers to compare with."""
        return bool(self.rows[0].wrong)

    @property
    def has_swap_answers(self) -> bool:
        """Whether the task says what the answer is after an interchange."""
        return bool(self.rows[0].swap_answers)

    @property
    def swap_answers(self) -> Any:
        """Raises: there is no tensor of answers of prompts of several lengths."""
        return self.__getattr__("swap_answers")

    @property
    def whole(self) -> bool:
        """Whether some answer has more than one token."""
        return any(len(ids) > 1 for row in self.rows for ids in _every_answer(row))

    @property
    def metric_title(self) -> str:
        """The metric in words."""
        return _whole(self.metric_name)[0] if self.whole else super().metric_title

    @property
    def metric_unit(self) -> str:
        """The unit of the metric."""
        return _whole(self.metric_name)[1] if self.whole else METRICS[self.metric_name].unit

    @property
    def parts(self) -> tuple[Part, ...]:
        """The task as runs of one length each."""
        if "_parts" not in self.__dict__:
            self.__dict__["_parts"] = tuple(self._make_parts())
        return self.__dict__["_parts"]

    def _make_parts(self) -> list[Part]:
        groups: dict[tuple, list[int]] = {}
        for i, row in enumerate(self.rows):
            sizes = tuple(tuple(len(ids) for ids in kind) for kind in (row.answers, row.wrong))
            groups.setdefault((len(row.clean), sizes if self.whole else ()), []).append(i)
        return [Part(torch.tensor(at, device="cpu"), self._steps(at)) for at in groups.values()]

    def _steps(self, at: Sequence[int]) -> tuple[Step, ...]:
        rows = [self.rows[i] for i in at]
        if not self.whole:
            return (Step(1.0, self._one(rows, rows, self.metric_name)),)
        title_and_unit = _whole(self.metric_name)
        compares = METRICS[self.metric_name].compares
        sides = [(1.0, [row.answers for row in rows])]
        sides += [(-1.0, [row.wrong for row in rows])] if compares else []
        firsts = [
            row._replace(
                answers=[ids[:1] for ids in row.answers],
                wrong=[ids[:1] for ids in row.wrong] if compares else [],
            )
            for row in rows
        ]
        steps = [
            Step(1.0, self._one(firsts, rows, self.metric_name, title_and_unit=title_and_unit))
        ]
        for sign, each in sides:
            count = len(each[0])
            for k in range(count):  # alternatives: the mean over them
                for size in range(1, len(each[0][k])):
                    forced = [
                        row._replace(
                            clean=[*row.clean, *ids[k][:size]],
                            corrupted=row.corrupted and [*row.corrupted, *ids[k][:size]],
                            answers=[[ids[k][size]]],
                            wrong=[],
                            swap_answers=(),
                        )
                        for row, ids in zip(rows, each)
                    ]
                    one = self._one(forced, rows, "log_prob", size, title_and_unit)
                    steps.append(Step(sign / count, one))
        return tuple(steps)

    def _one(
        self,
        rows: Sequence[Row],
        named: Sequence[Row],
        metric: str,
        forced: int = 0,
        title_and_unit: tuple[str, str] | None = None,
    ) -> Task:
        """The task of rows of one length with answers of one token each."""
        return rectangle(
            rows,
            named,
            self.name,
            metric,
            self.metadata,
            self.tokenizer,
            self.remake,
            forced,
            title_and_unit,
        )

    def __getitem__(self, which: Any) -> Task:
        """Some of the examples: task[:8], task[[0, 3]], task[mask]."""
        at = self._chosen(which)
        return self.but(rows=[self.rows[i] for i in at])

    def but(self, **changes: Any) -> Task:
        """The same task with some of its fields changed."""
        keys = ("rows", "name", "metric_name", "metadata", "tokenizer", "remake")
        now = {key: self.__dict__[key] for key in keys}
        odd = set(changes) - set(now) - {"title_and_unit"}
        if odd:
            return self.__getattr__(min(odd))
        return assemble(**{**now, **{k: v for k, v in changes.items() if k in now}})

    def swapped(self) -> Task:
        """The same task with clean and corrupted prompts exchanged, without answers after a
        swap.
        """
        if not self.paired:
            return _Corrupted().__get__(self)
        rows = [
            row._replace(clean=row.corrupted, corrupted=row.clean, swap_answers=())
            for row in self.rows
        ]
        return self.but(rows=rows)

    def by_length(self) -> dict[int, Task]:
        """A task for each length of prompt."""
        sizes = [len(row.clean) for row in self.rows]
        return {
            size: self[[i for i, k in enumerate(sizes) if k == size]] for size in sorted(set(sizes))
        }

    def with_metric(self, name: str) -> Task:
        """The same task judged by another metric."""
        check_metric(name)
        if METRICS[name].compares and self.answered_for:
            self._has("wrong")
        if self.whole:
            _whole(name)
            if name == "log_prob" and any(len(row.answers) > 1 for row in self.rows):
                raise ValueError(
                    "the log-probability of several answers of several tokens is no sum over "
                    "tokens: give one answer a prompt, or use metric='logit_diff'"
                )
        return self.but(metric_name=name)

    def metric(self, logits: Any) -> Any:
        """Raises: the logits of prompts of several lengths are no tensor."""
        return self.__getattr__("metric")

    def position(self, name: str) -> Any:
        """Raises a sentence; positions are asked for part by part."""
        if name not in self.position_names:
            raise unknown("position", name, self.position_names, "'END'")
        return self.__getattr__("positions")

    def tokens(self, name: str) -> Any:
        """Raises a sentence; answers are asked for part by part."""
        return self.__getattr__("answers")

    def against(self, name: str) -> Task:
        """The same prompts with the words of a label for wrong answers."""
        if name not in self.labels:
            raise unknown("name of tokens", name, self.labels)
        rows = [
            row._replace(wrong=[[single(self.tokenizer, " " + row.labels[name])]])
            for row in self.rows
        ]
        return self.but(rows=rows)

    def _firsts(self) -> list[tuple[Tensor, Task]]:
        return [(part.index, part.steps[0].task) for part in self.parts]

    def _on_top(self, model: Any, kind: str) -> Tensor:
        """1 where each token of the answer is the likeliest after those before it."""
        if not self.whole:
            return joined(self.with_metric("top1"), lambda t: t._read(model, kind))
        out = torch.zeros(len(self), device="cpu")
        for i, row in enumerate(self.rows):
            bare = row._replace(corrupted=None, wrong=[], positions={})
            for ids in row.answers:
                hits = []
                for k, token in enumerate(ids):
                    one = bare._replace(clean=[*getattr(row, kind), *ids[:k]], answers=[[token]])
                    task = rectangle([one], [one], self.name, "top1", {}, self.tokenizer)
                    hits.append(float(task._read(model, "clean")))
                out[i] = max(float(out[i]), min(hits))
        return out

    def _above(self, model: Any, kind: str) -> Tensor:
        """1 where an answer, as a whole, is above every wrong one."""
        if not self.whole:
            return joined(self.with_metric("accuracy"), lambda t: t._read(model, kind))
        out = torch.empty(len(self), device="cpu")
        for i, row in enumerate(self.rows):
            best = []
            for side in (row.answers, row.wrong):
                alone = [row._replace(answers=[ids], wrong=[]) for ids in side]
                scored = [
                    MixedTask([one], self.name, "log_prob", self.metadata, self.tokenizer)
                    for one in alone
                ]
                best.append(
                    max(float(joined(one, lambda t: t._read(model, kind))) for one in scored)
                )
            out[i] = float(best[0] > best[1])
        return out


def _every_answer(row: Row) -> list[list[int]]:
    """The answers, the wrong ones, and those after a swap."""
    return [*row.answers, *row.wrong, *row.swap_answers]


def _whole(metric: str) -> tuple[str, str]:
    """The title and unit of a metric of answers of several tokens."""
    known = {
        "log_prob": ("log probability of the whole answer", "nats"),
        "logit_diff": ("log probability of the whole answer minus the wrong one's", "nats"),
    }
    if metric not in known:
        raise ValueError(
            f"{metric!r} is not a sum over the tokens of an answer, and some answers here have "
            "several tokens: use metric='log_prob' or 'logit_diff' (of the whole answers), "
            "or score "
            "by the first token, interp.tasks.pairs(..., answer_tokens='first')"
        )
    return known[metric]


def joined(
    task: Task, of: Callable[[Task], Shaped[Tensor, "*more batch"]], *, once: bool = False
) -> Shaped[Tensor, "*more n"]:
    """What a function gives for each part of a task, put together example by example.

    >>> joined(task, lambda part: part.metric(run(model, part, last_only=True).logits))

    of: from a task of one length to numbers whose last axis is its examples. The steps of a part
    are summed by their weights; once: the first step alone, where no answer is scored.
    """
    out = None
    for index, steps in task.parts:
        one = None
        for weight, step in steps[:1] if once else steps:
            value = of(step) if weight == 1 else weight * of(step)
            one = value if one is None else one + value
        if out is None:
            out = torch.empty(*one.shape[:-1], len(task), dtype=one.dtype, device=one.device)
        out[..., index] = one
    return out


def assemble(
    rows: Sequence[Row],
    name: str,
    metric_name: str,
    metadata: Mapping[str, Any],
    tokenizer: Any,
    remake: Callable[..., Task] | None = None,
) -> Task:
    """The task of these rows: a plain one where they have one length and answers of one token."""
    plain = len({len(row.clean) for row in rows}) == 1 and all(
        len(ids) == 1 for row in rows for ids in _every_answer(row)
    )
    if plain:
        return rectangle(rows, rows, name, metric_name, metadata, tokenizer, remake)
    mixed = MixedTask(rows, name, metric_name, metadata, tokenizer, remake)
    if mixed.whole:
        _whole(metric_name)
    return mixed


def rectangle(
    rows: Sequence[Row],
    named: Sequence[Row],
    name: str,
    metric: str,
    metadata: Mapping[str, Any],
    tokenizer: Any,
    remake: Callable[..., Task] | None = None,
    forced: int = 0,
    title_and_unit: tuple[str, str] | None = None,
) -> Task:
    """The task of rows of one length with answers of one token; `named` gives positions and
    labels.
    """
    answers, answers_count = _ragged([[ids[0] for ids in row.answers] for row in rows])
    wrong, wrong_count = _ragged([[ids[0] for ids in row.wrong] for row in rows])
    positions = {
        key: torch.tensor([row.positions[key] for row in named], device="cpu")
        for key in named[0].positions
    }
    positions["END"] = torch.full((len(rows),), len(rows[0].clean) - 1 - forced, device="cpu")
    pairs = rows[0].corrupted is not None
    swap: tuple[Tensor | None, Tensor | None] = (None, None)
    if rows[0].swap_answers:
        swap = _ragged([[ids[0] for ids in row.swap_answers] for row in rows])
    return Task(
        name,
        torch.tensor([row.clean for row in rows], device="cpu"),
        torch.tensor([row.corrupted for row in rows], device="cpu") if pairs else None,
        answers,
        wrong,
        answers_count,
        wrong_count,
        positions,
        {key: [row.labels[key] for row in named] for key in named[0].labels},
        metric,
        dict(metadata),
        tokenizer,
        remake,
        forced,
        title_and_unit,
        *swap,
    )


def _ragged(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Rows of ids as one tensor [batch most], short rows filled up, and which entries count."""
    most = max(map(len, rows))
    if most == 0:
        return torch.zeros(len(rows), 0, dtype=torch.long, device="cpu"), torch.zeros(
            len(rows), 0, device="cpu"
        ) > 0
    if min(map(len, rows)) == 0:
        raise ValueError("an example has no answer, or no wrong answer: each needs at least one")
    ids = torch.tensor([row + [row[0]] * (most - len(row)) for row in rows], device="cpu")
    count = torch.tensor([[k < len(row) for k in range(most)] for row in rows], device="cpu")
    return ids, count


# --- tokens ---------------------------------------------------------------------------------------


def digest(ids: Tensor | Sequence[int]) -> str:
    """A short name for a prompt's tokens."""
    plain = ids.tolist() if isinstance(ids, Tensor) else list(ids)
    return hashlib.sha256(",".join(map(str, plain)).encode()).hexdigest()[:12]


def check_metric(name: str) -> None:
    """Nothing, or a ValueError that names the metrics there are."""
    if isinstance(name, str) and name in METRICS:
        return
    if not isinstance(name, str):
        raise TypeError(
            "a task is judged by a metric that has a name, such as 'logit_diff', not"
            f" {short(name)}: a function goes to the verb, patch(model, task, where,"
            " metric=my_metric)"
        )
    if name.lower().startswith("kl"):  # it compares two runs, and a task knows no model
        raise ValueError(
            f"{name!r} compares with another run, so it needs the model: "
            "metric=kl_metric(model, task)"
        )
    raise unknown("metric", name, METRICS)


# --- for the built-in tasks -----------------------------------------------------------------------


def halves(pool: Sequence[Any], split: str) -> list[Any]:
    """The half of a pool that a split draws from: every other entry, so that the two never meet."""
    if split not in ("find", "heldout"):
        raise unknown("split", split, ("find", "heldout"))
    return list(pool[0::2] if split == "find" else pool[1::2])


def usable(tokenizer: Any, words: Sequence[str], split: str, needed: int, what: str) -> list[str]:
    """The words of a split that are one token after a space; ValueError when too few are left."""
    kept = halves([w for w in dict.fromkeys(words) if is_single(tokenizer, " " + w)], split)
    if len(kept) < needed:
        raise ValueError(
            f"only {len(kept)} {what} are one token for this tokenizer, {needed} are needed"
        )
    return kept
