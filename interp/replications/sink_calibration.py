"""Attention of the answering token scaled head by head, and a search for the heads.

Everything here edits one row of attention, that of the last token: some columns are multiplied by a
factor and the row is divided by its sum (`edits.reweight`). Keys and values of earlier tokens stay
as they are, so they are computed once, and those of a task's shared beginning once for all prompts.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from interp import engine
from interp._arguments import quoted
from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.engine.forward import earlier, run_from, window
from interp.engine.gradients import pull, record
from interp.replications.calibration_items import asked, classes, shown, split_items

THRESHOLD = 0.1  # mean attention of a column above which it is a sink (the authors' script)
QUERIES = 16  # queries that a counted column needs: one that is looked at once has at most 1 / 16
KINDS = ("first", "sinks", "item", "random")
ROWS = 2_000  # rows of one token that run at once


@dataclass(frozen=True)
class Group:
    """Prompts of one length: their numbers, their run, and the columns of each kind.

    Attributes:
        masks: For each kind a boolean [layer prompt head src], or with axes of one.
    """

    chosen: list[int]
    base: engine.Run
    masks: Mapping[str, Tensor]


@dataclass(frozen=True)
class Prompts:
    """Items of one task, run once, with what edits at the last token need.

    Attributes:
        engine: The model's engine.
        labels: The right class of each prompt.
        logits: Logits of the classes in the unedited run [prompt class].
        columns: The token of each class.
        groups: The prompts by length.
        slopes: For each kind of columns how much each class's logit, minus that of the first class,
            rises, to first order, when the logarithm of the columns' factor does [prompt class
            layer head].
        has_sinks: For how many of the prompts a head has a later sink, as a share [layer head].
    """

    engine: engine.Engine
    labels: np.ndarray
    logits: np.ndarray
    columns: Tensor
    groups: tuple[Group, ...]
    slopes: Mapping[str, np.ndarray]
    has_sinks: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@torch_defaults()
def prompts(model: Model, task: str, part: str, n: int | None = None) -> Prompts:
    """The prompts of one part of a task, run once, and the slope of every head.

    Example:
        >>> some = prompts(model, "continent", "first", n=20)
        >>> right(some.logits, some.labels).mean()

    Args:
        model: A model that the engine can run.
        task: One of `calibration_items.ITEMS`.
        part: "pilot", "first" or "second".
        n: How many prompts; None for all.

    Cost:
        A run over what follows the shared beginning, and a backward pass at the last token for each
        class: about 10 CPU s for 100 prompts of SmolLM2.
    """
    lean, tokenizer = engine.build(model), model.tokenizer

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    before = ids(tokenizer.bos_token + shown(task))
    items = split_items(task, part, n)
    columns = torch.tensor([ids(" " + name)[0] for name in classes(task)])
    whole = [before + ids(text) for text, _ in items]
    start, tail = (len(ids(part.rstrip(" "))) for part in asked(task))
    once = engine.run(lean, torch.tensor([before]), keep=("k", "v", "pattern"), logits=None)
    rng = random.Random(f"{task} {part}")
    logits = np.zeros((len(items), len(columns)))
    shape = (len(items), len(columns), lean.n_layers, lean.n_heads)
    slopes = {kind: np.zeros(shape) for kind in KINDS}
    groups, sunk = [], 0
    for length in sorted({len(row) for row in whole}):
        chosen = [i for i, row in enumerate(whole) if len(row) == length]
        tokens = torch.tensor([whole[i] for i in chosen])
        late = engine.run(lean, tokens, keep=("k", "v", "pattern"), base=once, first=len(before))
        kept = {
            kind: [
                torch.cat([a.expand(len(chosen), *a.shape[1:]), b], 1)
                for a, b in zip(once[kind], late[kind])
            ]
            for kind in ("k", "v")
        }
        base = engine.Run(tokens, late.resid, late.logits, kept)
        masks = {
            "first": torch.arange(length).eq(0)[None, None, None],
            "sinks": _later_sinks(once["pattern"], late["pattern"], length),
            "item": _between(length, len(before) + start, length - tail)[None, None, None],
            "random": torch.stack(
                [torch.arange(length).eq(rng.randrange(1, len(before))) for _ in chosen]
            )[None, :, None],
        }
        logits[chosen] = to_numpy(late.logits[:, columns])
        rows = torch.stack([layer[:, :, -1] for layer in late["pattern"]])
        read = engine.columns(lean, columns.expand(len(chosen), -1))
        value, taps = record(lean, tokens, read, ("pattern",), None, base, length - 1)
        for c in range(1, len(columns)):  # of each class against the first: a shift changes nothing
            grads = pull((value[..., c] - value[..., 0]).sum(), None, taps)["pattern"]
            g = torch.stack([layer[0, :, :, 0] for layer in grads])
            each = rows * (g - (g * rows).sum(-1, keepdim=True))  # [layer prompt head src]
            for kind, mask in masks.items():
                slopes[kind][chosen, c] = to_numpy((each * mask).sum(-1).movedim(0, 1))
        groups.append(Group(chosen, base, masks))
        sunk = sunk + to_numpy(masks["sinks"].any(-1).sum(1))
    labels = np.array([label for _, label in items])
    return Prompts(lean, labels, logits, columns, tuple(groups), slopes, sunk / len(items))


def _between(length: int, first: int, stop: int) -> Tensor:
    at = torch.arange(length)
    return (at >= first) & (at < stop)


def _later_sinks(early: Sequence[Tensor], late: Sequence[Tensor], length: int) -> Tensor:
    """Which columns but the first get more than THRESHOLD, mean over at least QUERIES queries
    [layer prompt head src].
    """
    queries = torch.arange(length, 0, -1)
    out = []
    for a, b in zip(early, late):
        total = b.sum(-2)
        total[..., : a.shape[-1]] += a.sum(-2)
        out.append((total / queries > THRESHOLD) & (queries >= QUERIES))
    found = torch.stack(out)
    found[..., 0] = False
    return found


@torch_defaults()
def edited(some: Prompts, edits: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Logits of the classes under each edit [edit prompt class].

    Example:
        >>> halved = np.full((30, 9), 0.5)
        >>> edited(some, [("first", halved)])

    Args:
        some: The prompts.
        edits: For each (kind of columns, factor of every head [layer head], or of every head in
            each prompt [prompt layer head]); 1 leaves a head alone.

    Raises:
        ValueError: If the kind is none of `KINDS`, or factors have another shape or are not above
            zero.

    Cost:
        A run of one token for each prompt and edit: about 0.6 CPU s for 100 prompts of SmolLM2.
    """
    lean = some.engine
    heads, prompt = (lean.n_layers, lean.n_heads), (len(some),)
    for kind, factors in edits:
        if kind not in KINDS:
            raise unknown("kind of columns", kind, KINDS)
        if np.shape(factors) not in (heads, prompt + heads) or not np.all(np.asarray(factors) > 0):
            raise ValueError(
                f"factors are positive numbers [{heads[0]} layers, {heads[1]} heads], with"
                f" {len(some)} prompts in front where each has its own, not {quoted(factors)}"
            )
    out = np.zeros((len(edits), *some.logits.shape))
    for group in some.groups:
        step = max(1, ROWS // len(group.chosen))
        for begin in range(0, len(edits), step):
            part = edits[begin : begin + step]
            by = [np.broadcast_to(f, prompt + heads)[group.chosen] for _, f in part]
            kinds = [kind for kind, _ in part]
            out[begin : begin + step, group.chosen] = _run(some, group, kinds, np.stack(by))
    return out


def _run(some: Prompts, group: Group, kinds: Sequence[str], by: np.ndarray) -> np.ndarray:
    """Logits of the classes [edit prompt class] for factors [edit prompt layer head]."""
    lean, length = some.engine, group.base.tokens.shape[1]
    factors = torch.tensor(by, dtype=lean.embed.dtype)

    def touch(number: int, x: Tensor) -> dict:
        here = factors[:, :, number, :, None]  # [edit prompt head 1]
        if bool((here == 1).all()):
            return {}

        def scale(pattern: Tensor) -> Tensor:  # [edit prompt head 1 src]
            times = torch.ones_like(pattern)
            for row, kind in enumerate(kinds):
                mask = group.masks[kind]
                mask = mask[number if len(mask) > 1 else 0]  # [prompt head src]
                times[row, :, :, 0] = torch.where(mask, here[row], 1.0)
            scaled = pattern * times
            return scaled / scaled.sum(-1, keepdim=True)

        return {"pattern": scale}

    with torch.no_grad():
        x = engine.embed(lean, group.base.tokens)[:, length - 1 :]
        x = x.expand(len(kinds), *x.shape)
        view, before = window(lean, length - 1, length), earlier(lean, group.base, length - 1)
        x = run_from(lean, x, view, prefix=before, touch=touch)
        return to_numpy(engine.unembed(lean, x[:, :, -1])[..., some.columns])


def log_probs(logits: np.ndarray) -> np.ndarray:
    """Log-probability of each class among the classes [... class]."""
    top = logits - logits.max(-1, keepdims=True)
    return top - np.log(np.exp(top).sum(-1, keepdims=True))


def right(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the label has the highest logit of the classes [... prompt], as numbers."""
    return (logits.argmax(-1) == labels).astype(float)


def label_log_probs(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Log-probability of the label among the classes [... prompt]."""
    every = log_probs(logits)
    index = np.broadcast_to(labels[:, None], (*every.shape[:-1], 1))
    return np.take_along_axis(every, index, -1)[..., 0]


def promise(some: Prompts, kind: str, labels: np.ndarray) -> np.ndarray:
    """What a head promises: the mean slope of the labels' log-probability [layer head]."""
    weight = np.eye(some.logits.shape[-1])[labels] - np.exp(log_probs(some.logits))
    return np.einsum("pc,pclh->lh", weight, some.slopes[kind]) / len(some)


def best_heads(
    promised: np.ndarray, k: int, factor: float, *, only: np.ndarray | None = None
) -> np.ndarray:
    """The factors [layer head] of the k heads that promise most, and 1 for all others.

    Args:
        promised: As `promise` gives it.
        factor: Above 1 for heads that may go either way; below 1 for a reduction, and then only
            heads are taken whose reduction is promised to help.
        only: The heads that may be chosen, a boolean [layer head].
    """
    gain = np.abs(promised) if factor > 1 else -promised
    gain = gain if only is None else np.where(only, gain, -np.inf)
    chosen = np.argsort(-gain, axis=None)[:k]
    chosen = chosen[gain.flat[chosen] > 0]
    out = np.ones(promised.shape)
    sign = np.sign(promised.flat[chosen]) if factor > 1 else 1.0
    out.flat[chosen] = factor**sign
    return out


def choose_heads(
    some: Prompts,
    kind: str,
    labels: np.ndarray,
    *,
    k: int,
    factor: float,
    beta: float,
    by: str = "log-probability",
) -> np.ndarray:
    """The factors [layer head] of the heads that a search on these prompts chooses.

    Example:
        >>> choose_heads(some, "first", some.labels, k=20, factor=2.0, beta=0.4)

    Args:
        some: The prompts that are searched.
        kind: "first": each chosen head gets `factor` or 1 / `factor`. "sinks": each gets `beta`,
            and only heads with a later sink in a tenth of the prompts are chosen.
        labels: The right classes, or shuffled ones.
        k: How many heads; fewer where fewer promise anything.
        factor, beta: See `kind`.
        by: "log-probability": by `promise`. "accuracy": by the accuracy that each head alone gives,
            estimated with its slope, as ACT's script counts right answers.
    """
    only = None if kind == "first" else often_with_sinks(some)
    if by == "log-probability":
        promised = promise(some, kind, labels)
    elif by == "accuracy":
        ways, before = (
            [factor, 1 / factor] if kind == "first" else [beta],
            right(some.logits, labels),
        )
        rises = []
        for way in ways:
            logits = some.logits[..., None, None] + np.log(way) * some.slopes[kind]
            each = right(np.moveaxis(logits, 1, -1), labels[:, None, None])
            rises.append(each.mean(0) - before.mean())
        rise = np.maximum(np.max(rises, 0), 0)
        up = (np.argmax(rises, 0) == 0) & (kind == "first")
        promised = np.where(up, rise, -rise)
    else:
        raise unknown("way to search", by, ("log-probability", "accuracy"))
    return best_heads(promised, k, factor if kind == "first" else beta, only=only)


def choose_in_blocks(some: Prompts, size: int, *, k: int, factor: float, beta: float) -> np.ndarray:
    """The factors [prompt layer head] when each block of `size` prompts is searched by itself.

    Args:
        some, k, factor, beta: As in `choose_heads`, for the first token.
        size: Prompts of a block; whole blocks have to fill the prompts.
    """
    if size < 1 or len(some) % size:
        raise ValueError(f"size={size}: {len(some)} prompts do not fall into blocks of as many")
    out = []
    for rows in np.arange(len(some)).reshape(-1, size):
        slopes = {"first": some.slopes["first"][rows]}
        few = replace(some, labels=some.labels[rows], logits=some.logits[rows], slopes=slopes)
        out.append(choose_heads(few, "first", few.labels, k=k, factor=factor, beta=beta))
    return np.repeat(out, size, 0)


def random_heads(
    some: Prompts,
    kind: str,
    like: np.ndarray,
    rng: np.random.Generator,
    *,
    factor: float,
    beta: float,
) -> np.ndarray:
    """The factors [layer head] of as many random heads as `like` has, of those one could choose."""
    could = np.flatnonzero(often_with_sinks(some) | (kind == "first"))
    heads = rng.choice(could, (like != 1).sum(), replace=False)
    out = np.ones(like.shape)
    out.flat[heads] = rng.choice([factor, 1 / factor], len(heads)) if kind == "first" else beta
    return out


def often_with_sinks(some: Prompts) -> np.ndarray:
    """Which heads have a later sink in at least a tenth of the prompts [layer head]."""
    return some.has_sinks >= 0.1
