"""A task: aligned clean and corrupted prompts, their answers, named positions, and a metric."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp._numbers import to_numpy
from interp._say import unknown
from interp.results import Result
from interp.tasks.metrics import METRICS
from interp.tasks.show import Shown


@dataclass(frozen=True, eq=False)
class Task:
    """A question put to a model, in pairs of prompts of one length.

    >>> task = interp.tasks.ioi(model, n=32, seed=0)
    >>> task.metric(model(task.clean)).mean()        # logit difference on the clean prompts
    >>> held = task.heldout()                        # other names, places, objects: judge on these

    clean, corrupted: token ids, one shape, no padding. answers, wrong: token ids; where examples have
    different numbers of them, *_count says which count. positions: an index per example for each name; END
    is always there and last. A task is made by `build`, which proves all this for the tokenizer at hand.
    """

    name: str
    clean: Int[Tensor, "batch pos"]
    corrupted: Int[Tensor, "batch pos"]
    answers: Int[Tensor, "batch answer"]
    wrong: Int[Tensor, "batch wrong"]
    answers_count: Bool[Tensor, "batch answer"]
    wrong_count: Bool[Tensor, "batch wrong"]
    positions: dict[str, Int[Tensor, "batch"]]
    labels: dict[str, list[str]]
    metric_name: str
    about: dict[str, Any]
    tokenizer: Any = field(repr=False)
    remake: Callable[..., "Task"] = field(repr=False)

    def __post_init__(self) -> None:
        n, length = self.clean.shape
        if self.corrupted.shape != self.clean.shape:
            raise ValueError(
                f"clean prompts are {n} x {length}, corrupted ones {tuple(self.corrupted.shape)}: they must agree"
            )
        for ids, count in (("answers", "answers_count"), ("wrong", "wrong_count")):
            if (
                getattr(self, ids).shape != getattr(self, count).shape
                or len(getattr(self, ids)) != n
            ):
                raise ValueError(
                    f"{ids} and {count} need one shape, with a row for each of {n} prompts"
                )
            if not getattr(self, count).any(-1).all():
                raise ValueError(f"an example counts none of its {ids}: each needs at least one")
        if "END" not in self.positions or not (self.positions["END"] == length - 1).all():
            raise ValueError(
                "positions must have END, and it must be the last token: the metric is read there"
            )
        for name, index in self.positions.items():
            if index.shape != (n,) or not ((0 <= index) & (index < length)).all():
                raise ValueError(
                    f"position {name!r} must give each of {n} prompts an index from 0 to {length - 1}"
                )
        for name, values in self.labels.items():
            if len(values) != n:
                raise ValueError(f"label {name!r} has {len(values)} values for {n} prompts")

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, which: Any) -> "Task":
        """Some of the examples: task[:8], task[[0, 3]], task[mask]."""
        at = torch.arange(len(self))[which]
        at = at[None] if at.ndim == 0 else at
        if len(at) == 0:
            raise ValueError(f"no examples are left of {len(self)}: a task needs at least one")
        tensors = ("clean", "corrupted", "answers", "wrong", "answers_count", "wrong_count")
        return replace(
            self,
            **{name: getattr(self, name)[at] for name in tensors},
            positions={name: index[at] for name, index in self.positions.items()},
            labels={name: [values[i] for i in at] for name, values in self.labels.items()},
        )

    def having(self, label: str, values: Sequence[str]) -> "Task":
        """The prompts whose label is one of these: `conflict(model).having("country", ["France", "Japan"])`."""
        if label not in self.labels:
            raise unknown("label", label, self.labels)
        return self[[i for i, value in enumerate(self.labels[label]) if value in set(values)]]

    def heldout(self) -> "Task":
        """As many prompts of the same task on disjoint fillings, drawn with another seed, judged by the same metric."""
        if self.about["split"] == "heldout":
            raise ValueError(
                "this is already the held-out half; make the task again for the other one"
            )
        other = self.remake(n=len(self), split="heldout", seed=self.about["seed"] + 1)
        return other.with_metric(self.metric_name)

    @property
    def recipe(self) -> dict[str, Any]:
        """What `interp.tasks.make` needs besides n, seed and split: {"make": name, "options": {...}}, as JSON can keep it.

        >>> interp.tasks.ioi(model, corruption="names").recipe
        {'make': 'ioi', 'options': {'corruption': 'names'}}

        Options at their default are left out. {} where the task was not made by name, or JSON cannot hold an option.
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

    def tokens(self, name: str) -> tuple[Int[Tensor, "batch k"], Bool[Tensor, "batch k"]]:
        """The token ids that each example has under a name, and which of them count: "answer", "wrong", or a label.

        >>> task.tokens("country")          # " France", " Japan", ...: a label's words, as they stand after a space
        """
        if name in ("answer", "wrong"):
            return (
                (self.answers, self.answers_count)
                if name == "answer"
                else (self.wrong, self.wrong_count)
            )
        if name not in self.labels:
            raise unknown("name of tokens", name, ["answer", "wrong", *self.labels])
        ids = torch.tensor([[single(self.tokenizer, " " + word)] for word in self.labels[name]])
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
        return replace(self, wrong=wrong, wrong_count=count)

    # --- the metric ------------------------------------------------------------------------------------------

    @property
    def metric_title(self) -> str:
        """The metric in words: "logit difference", ..."""
        return METRICS[self.metric_name].title

    @property
    def metric_unit(self) -> str:
        """The unit of the metric: "logits", "probability", ..."""
        return METRICS[self.metric_name].unit

    @property
    def reads(self) -> str:
        """What the metric has to see: "answers" (a few columns of the logits) or the whole "vocab"."""
        return METRICS[self.metric_name].reads

    @property
    def columns(self) -> Int[Tensor, "batch column"]:
        """The tokens whose logits the metric reads, answers first."""
        return torch.cat([self.answers, self.wrong], -1)

    def with_metric(self, name: str) -> "Task":
        """The same task judged by another metric: "logit_diff", "prob", "prob_diff", "log_prob", "rank", ..."""
        if name not in METRICS:
            if name.lower().startswith("kl"):  # it compares two runs, and a task knows no model
                raise ValueError(
                    f"{name!r} compares with another run, so it needs the model: metric=kl_to(model, task)"
                )
            raise unknown("metric", name, METRICS)
        return replace(self, metric_name=name)

    def metric(self, logits: Float[Tensor, "... d_vocab"]) -> Float[Tensor, "..."]:
        """One number per example from logits [batch pos d_vocab] or, at the last position, [... batch d_vocab].

        Three axes that begin like the prompts, [batch pos], are read as every position.
        """
        if logits.ndim == 3 and logits.shape[:2] == self.clean.shape:
            logits = logits[:, -1]
        if logits.ndim < 2 or logits.shape[-2] != len(self):
            raise ValueError(
                f"logits of shape {tuple(logits.shape)} do not fit {len(self)} prompts of {self.clean.shape[1]} tokens"
            )
        row = METRICS[self.metric_name]
        if row.reads == "vocab":
            own = self.answers, self.wrong, self.answers_count, self.wrong_count
            return row.of(logits.float(), *(x.to(logits.device) for x in own))
        columns = self.columns.to(logits.device)
        few = logits.gather(-1, columns.expand(*logits.shape[:-1], columns.shape[-1]))
        return self.metric_from_columns(few.float())

    def metric_from_columns(
        self, few: Float[Tensor, "*more batch column"]
    ) -> Float[Tensor, "*more batch"]:
        """The metric from the logits of `columns` alone, where `reads` is "answers"."""
        a = self.answers.shape[-1]
        counts = self.answers_count.to(few.device), self.wrong_count.to(few.device)
        return METRICS[self.metric_name].of(few[..., :a], few[..., a:], *counts)

    # --- positions -------------------------------------------------------------------------------------------

    def position(self, name: str) -> Int[Tensor, "batch"]:
        """Where a named position is in each example."""
        if name not in self.positions:
            raise unknown("position", name, self.positions, "'END'")
        return self.positions[name]

    def position_labels(self) -> list[str]:
        """A label per position: its number, its names in the first example, and the first example's token."""
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

    # --- the model's own behaviour ---------------------------------------------------------------------------

    def clean_metric(self, model: Any) -> Result:
        """The model's metric on the clean prompts, with an example each."""
        from interp.interventions import run

        values = to_numpy(self.metric(run(model, self, last_only=True).logits))
        about = {"task": self.name, "n": len(self), "method": "clean run"}
        return Result(values.mean(), (), {}, self.metric_title, self.metric_unit, about, values)

    def answered(self, model: Any) -> "Task":
        """The prompts that the model answers: with an answer on top of all tokens.

        >>> kept = task.answered(model); print(len(kept), "of", len(task))
        """
        return self[self.with_metric("top1").clean_metric(model).examples == 1]

    def behaviour(self, model: Any) -> Result:
        """How well the model does the task by itself, clean and corrupted: accuracy, logit difference, its own metric.

        >>> task.behaviour(model)        # with a bootstrap interval over the prompts
        """
        from interp.interventions import run

        measures = {
            "answer above wrong": "accuracy",
            "answer on top": "top1",
            "logit difference": "logit_diff",
        }
        unit = "share of prompts, or logits"
        if self.metric_name not in measures.values():
            measures[self.metric_title] = self.metric_name
            unit = f"share of prompts, logits, or {self.metric_unit}"
        rows = []
        for tokens in (self.clean, self.corrupted):
            logits = run(model, tokens, last_only=True).logits
            rows.append(
                torch.stack([self.with_metric(m).metric(logits) for m in measures.values()])
            )
        examples = to_numpy(torch.stack(rows, 1))  # [measure prompts n]
        coords = {"measure": list(measures), "prompts": ["clean", "corrupted"]}
        about = {
            "task": self.name,
            "n": len(self),
            "method": "plain run",
            "split": self.about["split"],
        }
        return Result(
            examples.mean(-1), ("measure", "prompts"), coords, "behaviour", unit, about, examples
        )

    def show(self, n: int = 3) -> Shown:
        """The first prompts with their positions marked, clean above corrupted, and what is answered."""
        return Shown(self[: min(n, len(self))])


# --- making and proving --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """One pair of prompts as text. places: name -> (the text before, the word that must stand there)."""

    clean: str
    corrupted: str
    answers: Sequence[str]
    wrong: Sequence[str]
    places: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def tokenizer_of(model: Any) -> Any:
    """The tokenizer of a model, or the tokenizer itself."""
    return getattr(model, "tokenizer", model)


def encode(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a prompt: the tokenizer's first token put there openly, then the text, nothing added."""
    if tokenizer.bos_token_id is None:
        raise ValueError(
            "the tokenizer has no first token (bos_token): set one, whatever stands first is the sink"
        )
    return [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False).input_ids]


def is_single(tokenizer: Any, text: str) -> bool:
    """Whether a text is one known token."""
    ids = tokenizer(text, add_special_tokens=False).input_ids
    return len(ids) == 1 and ids[0] != tokenizer.unk_token_id


def single(tokenizer: Any, text: str) -> int:
    """The one token a text is; ValueError that shows the pieces when it is more."""
    ids = tokenizer(text, add_special_tokens=False).input_ids
    if not is_single(tokenizer, text):
        pieces = [tokenizer.decode([i]) for i in ids]
        raise ValueError(
            f"{text!r} is not one token for this tokenizer but {pieces}: use another word"
        )
    return ids[0]


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


def different(n: int, draw: Callable[[int], Example], what: str) -> list[Example]:
    """n examples, example i from draw(i), no pair of prompts twice: intervals count each as one more observation."""
    found: dict[tuple[str, str], Example] = {}
    for i in range(n):
        drawn = (draw(i) for _ in range(200))
        new = next((e for e in drawn if (e.clean, e.corrupted) not in found), None)
        if new is None:
            raise ValueError(
                f"n={n} is too many: the fillings of this half gave only {len(found)} different {what} prompts"
            )
        found[new.clean, new.corrupted] = new
    return list(found.values())


def build(
    name: str,
    tokenizer: Any,
    examples: Sequence[Example],
    metric: str,
    about: dict[str, Any],
    remake: Callable[..., Task],
) -> Task:
    """The task of these examples, its alignment proved for this tokenizer; ValueError with the reason otherwise."""
    if not examples:
        raise ValueError("a task needs at least one example: n must be 1 or more")
    pairs = [(encode(tokenizer, e.clean), encode(tokenizer, e.corrupted)) for e in examples]
    length = len(pairs[0][0])
    for e, (clean, corrupted) in zip(examples, pairs):
        if not len(clean) == len(corrupted) == length:
            raise ValueError(
                f"prompts of {len(clean)} and {len(corrupted)} tokens among prompts of {length}: "
                f"{e.clean!r} and {e.corrupted!r} do not line up for this tokenizer"
            )
        if clean == corrupted:
            raise ValueError(f"clean and corrupted are the same: {e.clean!r}")
    positions = {}
    for place in examples[0].places:
        at = [_index(tokenizer, e, place, clean) for e, (clean, _) in zip(examples, pairs)]
        positions[place] = torch.tensor(at)
    positions["END"] = torch.full((len(examples),), length - 1)
    answers, answers_count = _ragged([[single(tokenizer, a) for a in e.answers] for e in examples])
    wrong, wrong_count = _ragged([[single(tokenizer, w) for w in e.wrong] for e in examples])
    labels = {key: [e.labels[key] for e in examples] for key in examples[0].labels}
    said = {"bos": tokenizer.decode([tokenizer.bos_token_id]), **about}
    return Task(
        name,
        torch.tensor([c for c, _ in pairs]),
        torch.tensor([c for _, c in pairs]),
        answers,
        wrong,
        answers_count,
        wrong_count,
        positions,
        labels,
        "logit_diff",
        said,
        tokenizer,
        remake,
    ).with_metric(metric)


def _index(tokenizer: Any, example: Example, place: str, tokens: list[int]) -> int:
    before, word = example.places[place]
    at = len(encode(tokenizer, before))
    found = tokenizer.decode([tokens[at]]).strip() if at < len(tokens) else "(past the end)"
    # the text before must be the tokens before: only then is this the word's own place
    if found != word.strip() or encode(tokenizer, before) != tokens[:at]:
        raise ValueError(
            f"position {place} of {example.clean!r} should be {word!r} but token {at} is {found!r}"
        )
    return at


def _ragged(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Rows of ids as one tensor [batch most], short rows filled with their first id, and which entries count."""
    most = max(map(len, rows))
    if min(map(len, rows)) == 0:
        raise ValueError("an example has no answer, or no wrong answer: each needs at least one")
    ids = torch.tensor([row + [row[0]] * (most - len(row)) for row in rows])
    count = torch.tensor([[k < len(row) for k in range(most)] for row in rows])
    return ids, count
