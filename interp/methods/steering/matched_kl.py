"""Steering at matched strength: directions that change the prediction equally are compared.

>>> pushes = {"happy": happy, "random": other}
>>> strengths = interp.methods.steering.matched_kl_strengths(model, prompts, pushes, kl=0.5)
>>> words = {"happy": [" joy"], "random": [" joy"]}
>>> token_logit_gain(model, prompts, pushes, strengths, words, [" thing", " way"])
"""

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import Intervention, run
from interp.methods.runs import sweep
from interp.methods.runs.batching import Batch, batches_by_length
from interp.methods.steering.direction import Direction
from interp.results import Result
from interp.tasks.task import single, tokenizer_of

# A direction, or a function of a strength that gives interventions: `lambda s: features.steer(sae,
# {17: s})`.
Push = Direction | Callable[[float], Sequence[Intervention]]
FAR = 1e8  # times the first strength: a push that has not changed the prediction by then never will


@torch_defaults()
def matched_kl_strengths(
    model: Model,
    prompts: Any,
    pushes: Mapping[str, Push],
    *,
    kl: float = 0.5,
    tolerance: float = 0.02,
    rounds: int = 40,
) -> Result:
    """The strength of each push at which the next-token prediction has moved by `kl` nats.

    The strength is searched for above zero: doubled or halved until the target lies between two
    strengths, then interpolated by a power law (never nearer to an end than a tenth).

    Example:
        >>> latent = lambda s: features.steer(sae, {17: s})
        >>> matched_kl_strengths(model, ["I think that"], {"happy": happy, "latent 17": latent})

    Args:
        model: A loaded model.
        prompts: Texts, ids, or a task.
        pushes: By name, a Direction, or a function from a strength to interventions.
        kl: The target: KL(unsteered || steered) at the last token over the whole vocabulary, in
            nats, mean over prompts.
        tolerance: When to stop, as a share of `kl`.
        rounds: How many strengths are tried at most.

    Returns:
        The strengths, axis "push"; NaN where a push never changes the prediction by as much.
        metadata["kl"] has the KL that was reached, by name.

    Raises:
        ValueError: If `kl` is not above 0, or there is no push.

    Cost:
        One forward pass of the prompts per push and round; all pushes travel as one batch.
    """
    started = time.perf_counter()
    _check(pushes, kl)
    batches = batches_by_length(model, prompts)
    plain = [run(model, b.tokens, last_only=True).logits.float().log_softmax(-1) for b in batches]
    count = sum(len(b.tokens) for b in batches)
    searches = {
        name: _search(
            kl,
            tolerance,
            rounds,
            1 / push.norm if isinstance(push, Direction) and push.norm else 1.0,
        )
        for name, push in pushes.items()
    }
    wanted = {name: next(search) for name, search in searches.items()}
    reached_by_name: dict[str, tuple[float, float]] = {}
    with sweep.progress(None, f"searching for {kl:g} nats", total=len(pushes)) as bar:
        while wanted:
            names, totals = list(wanted), np.zeros(len(wanted))
            for batch, base in zip(batches, plain):
                for i, logits in _steered(
                    model, batch, [(pushes[name], wanted[name]) for name in names]
                ):
                    here = logits.float().log_softmax(-1)
                    totals[i] += float(
                        torch.nn.functional.kl_div(here, base, reduction="sum", log_target=True)
                    )
            for name, reached in zip(names, totals / count):
                try:
                    wanted[name] = searches[name].send(float(reached))
                except StopIteration as end:
                    reached_by_name[name] = end.value
                    del wanted[name]
                    bar.update(1)
    metadata = sweep.provenance(
        model,
        None,
        "matched KL",
        started,
        n=count,
        target=kl,
        kl={name: reached_by_name[name][1] for name in pushes},
        backend="hooks",
    )
    return Result(
        [reached_by_name[name][0] for name in pushes],
        ("push",),
        {"push": list(pushes)},
        f"strength at {kl:g} nats",
        "strength",
        metadata,
    )


def _search(
    aim: float, tolerance: float, rounds: int, start: float
) -> Generator[float, float, tuple[float, float]]:
    """Asks for the KL at one strength after another; ends with (strength, KL), or NaN."""
    low: tuple[float, float] | None = None  # (log strength, KL) below the aim
    high: tuple[float, float] | None = None
    at = math.log(start)
    reached = math.nan
    for _ in range(rounds):
        reached = yield math.exp(at)
        if abs(reached - aim) <= tolerance * aim:
            return math.exp(at), reached
        if not reached < aim:  # also where it is not a number: too strong
            high = (at, reached)
        else:
            low = (at, reached)
        if high is None:
            at += (
                math.log(8)
                if reached <= 0
                else min(max(0.5 * math.log(aim / reached), 0.3), math.log(8))
            )
            if at > math.log(start * FAR):
                break
        elif low is None:
            at -= (
                min(max(0.5 * math.log(reached / aim), 0.3), math.log(8))
                if math.isfinite(reached)
                else math.log(8)
            )
        else:
            share = 0.5
            if low[1] > 0 and math.isfinite(high[1]):
                share = min(0.9, max(0.1, math.log(aim / low[1]) / math.log(high[1] / low[1])))
            at = low[0] + share * (high[0] - low[0])
    return math.nan, reached


@torch_defaults()
def token_logit_gain(
    model: Model,
    prompts: Any,
    pushes: Mapping[str, Push],
    strengths: Result | Mapping[str, float],
    words: Mapping[str, Sequence[str | int]],
    neutral: Sequence[str | int],
) -> Result:
    """How much more the logits of some words rise than those of neutral ones under each push.

    Example:
        >>> words, neutral = {"happy": [" joy", " love"]}, [" thing", " way"]
        >>> token_logit_gain(model, prompts, {"happy": happy}, {"happy": 4.0}, words, neutral)

    Args:
        model: A loaded model.
        prompts: Texts, ids, or a task.
        pushes: As in `matched_kl_strengths`.
        strengths: By name, as `matched_kl_strengths` gives them, or a dictionary.
        words: For each push, tokens as ids or as text that is one token (" joy").
        neutral: Tokens that stand for no concept.

    Returns:
        The mean change of the words' logits minus that of the neutral ones, at the last token, axis
        "push", one value per prompt kept.

    Raises:
        ValueError: If a push has no words, or a strength that is not finite.
    """
    started = time.perf_counter()
    if isinstance(strengths, Result):
        strengths = dict(zip(strengths.coords["push"], strengths.values.tolist()))
    for what, table in (("strength", strengths), ("words", words)):
        lacking = next((name for name in pushes if name not in table), None)
        if lacking is not None:
            raise ValueError(
                f"the push {lacking!r} has no {what}: every push needs them by its name"
            )
    ids = {name: _ids(model, words[name]) for name in pushes}
    plain_ids = _ids(model, neutral)
    names = list(pushes)
    dead = next((name for name in names if not math.isfinite(strengths[name])), None)
    if dead is not None:
        raise ValueError(
            f"the push {dead!r} has strength {strengths[dead]}: leave it out, it never reached"
            " the aim"
        )
    batches = batches_by_length(model, prompts)
    examples = np.zeros((len(names), sum(len(b.tokens) for b in batches)))
    for batch in batches:
        base = run(model, batch.tokens, last_only=True).logits.float()
        for i, logits in _steered(
            model, batch, [(pushes[name], strengths[name]) for name in names]
        ):
            change = logits.float() - base
            examples[i, batch.index] = to_numpy(
                change[:, ids[names[i]]].mean(-1) - change[:, plain_ids].mean(-1)
            )
    metadata = sweep.provenance(
        model,
        None,
        "gain of words",
        started,
        n=examples.shape[1],
        neutral=len(plain_ids),
        backend="hooks",
    )
    return Result(
        examples.mean(1),
        ("push",),
        {"push": names},
        "gain of the words' logits",
        "nats over neutral words",
        metadata,
        examples,
    )


def _steered(
    model: Model, batch: Batch, pushed: Sequence[tuple[Push, float]]
) -> Iterator[tuple[int, Tensor]]:
    """(number, logits at the last token [batch d_vocab]) under each push at its strength."""
    n, cells = len(batch.tokens), []
    for push, strength in pushed:
        edits = push.push(strength) if isinstance(push, Direction) else push(strength)
        cells.append([edits] if isinstance(edits, Intervention) else list(edits))
    for chunk, out in sweep.batched_runs(
        model, batch.tokens, cells, positions=batch.positions, what="steering"
    ):
        for k, cell in enumerate(chunk):
            yield cell, out.logits[k * n : (k + 1) * n]


def _ids(model: Model, words: Sequence[str | int]) -> list[int]:
    """The words as token ids."""
    if not len(words):
        raise ValueError("no words: give at least one, for example [' joy']")
    return [word if isinstance(word, int) else single(tokenizer_of(model), word) for word in words]


def _check(pushes: Mapping[str, Push], kl: float) -> None:
    """Raises ValueError unless there are pushes and the KL is above 0."""
    if not kl > 0:
        raise ValueError(f"kl={kl}: the prediction can only move by more than 0 nats (try kl=0.5)")
    if not pushes:
        raise ValueError("no pushes: name at least one, for example {'happy': direction}")
    invalid = next(
        (
            name
            for name, push in pushes.items()
            if not (isinstance(push, Direction) or callable(push))
        ),
        None,
    )
    if invalid is not None:
        raise ValueError(
            f"the push {invalid!r} is a {type(pushes[invalid]).__name__}: give a Direction, or a "
            "function of a strength"
        )
