"""Fine-tuning of any loaded model on the CPU, with a before-and-after sheet."""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp import _interrupts
from interp._errors import unknown
from interp._interrupts import Interrupted
from interp._isolation import torch_defaults
from interp._stats import bootstrap
from interp._types import Model
from interp.dims import layer_numbers
from interp.methods.finetuning import sheet as sheets
from interp.methods.finetuning.changes import Change, Full, change_of
from interp.methods.finetuning.examples import Example, as_task, count, examples, losses
from interp.methods.finetuning.finetuned import WHEN, FineTuned, check_same, merged
from interp.methods.runs import sweep
from interp.models import bridge, placement, state
from interp.results import Result
from interp.sites import Site
from interp.tasks.task import Task, digest

OPTIMIZERS = ("adamw", "sgd")
FEWEST = 5  # prompts, of which some can be held out


@torch_defaults()
def finetune(
    model: Model,
    task: Any,
    *,
    how: str = "full",
    layers: Any = None,
    rank: int = 4,
    matrices: Sequence[str] = ("q", "k", "v", "o"),
    alpha: float | None = None,
    heads: str | Site | Sequence[str | Site] | None = None,
    steps: int = 80,
    batch: int = 12,
    lr: float | None = None,
    optimizer: str = "adamw",
    weight_decay: float = 0.0,
    heldout: Any = None,
    other_texts: Any = None,
    seed: int | Sequence[int] = 0,
) -> FineTuned:
    """Fine-tuning (full, LoRA, offsets of heads): the trained model and a before-and-after sheet.

    Example:
        >>> tuned = interp.finetune(model, task)                         # all weights
        >>> tuned = interp.finetune(model, task, layers=[10, 11, 12])    # those of three layers
        >>> tuned = interp.finetune(model, task, how="lora", rank=4, matrices=("q", "v"))
        >>> tuned = interp.finetune(model, task, how="offsets", heads=["L10H7", "L23H*"])
        >>> tuned = interp.finetune(model, [("The sky is", " green"), ...], seed=[0, 1, 2])
        >>> tuned.sheet, tuned.plot(), tuned.model

    The model itself stays as it is. Dropout stays off. A Ctrl-C ends the training after the step
    that runs, and what was learned until then is in `stopped.result` of the `Interrupted` that is
    raised, with its sheet; to go on from there, fine-tune `stopped.result.model`.

    Args:
        model: A loaded model.
        task: What it is trained on: a task (its clean prompts and their answers), a list of
            (prompt, answer), or texts or ids, of which every next token is learned but the one at
            the first position.
        how: "full": the weights themselves. "lora": a change of low rank of some matrices.
            "offsets": a vector for each chosen head, added to its output z at every position.
        layers: Numbers of layers, or the first and the last, "10-12", for "full" and "lora": these
            alone are trained. None: all, and for "full" the embedding, the unembedding and the
            final norm as well.
        rank: Of LoRA.
        matrices: Which of "q", "k", "v", "o", "gate", "in", "out" LoRA changes in each layer.
        alpha: LoRA adds alpha / rank * B A; alpha is the rank if None.
        heads: For "offsets", which heads: addresses, with stars.
        steps: How many steps of the optimiser; with 0 steps the model is the same bit for bit.
        batch: Prompts or texts a step, drawn without repetition until all have been seen.
        lr: The learning rate; if None 5e-5 ("full"), 1e-3 ("lora") or 1e-2 ("offsets").
        optimizer: "adamw" or "sgd" (without momentum).
        weight_decay: Of the optimiser.
        heldout: What it is judged on, in any form of `task`. None: a built-in task's held-out
            prompts; otherwise a fifth of the prompts or texts, drawn by the first seed, which are
            then not trained on (with fewer than five, nothing is held out, and the sheet says so).
        other_texts: Texts or ids on which side effects are measured (cut to the shortest); None: 8
            pieces of 64 tokens of `interp.texts.prose`.
        seed: Decides the order of the examples and LoRA's first A. Several train one model each.

    Returns:
        A `FineTuned`. Its sheet has the axes "measure" and "when" ("before", "after"), each measure
        in its own unit. Of the held-out prompts: "accuracy" (the share with the answer above every
        wrong one), "answer on top" (of all tokens), "p(answer)", "p(options)" (the probability on
        answer and wrong answers together), "logit difference", and "loss" (of the answer, in nats);
        of held-out texts "loss per token". Of the other texts: "other text: loss" (nats per token)
        and "other text: KL" (the KL divergence from the model before, nats per token). What is
        printed, and `sheet.metadata["judged on"]`, says on how many prompts and texts, and
        `sheet.metadata["interval"]` has the 95 % bootstrap intervals over them of each measure
        before and after (the mean over seeds of each); None for fewer than five, and where all are
        alike.

        The loss of a step is the mean over the predicted tokens of its batch, before the step.

    Raises:
        ValueError: If a prompt is both trained on and held out, an option does not fit, the loss
            stops being a number, or the memory will not do.

    Cost:
        About 1.3 s a step for 12 prompts of 45 tokens and SmolLM2 on one core. In memory: the
        weights once more for each seed, and for each number that is trained its gradient and two
        averages (for all of SmolLM2, 2.2 GB); `metadata["memory"]` says how much.

    Reference:
        Low-rank changes: Hu et al. 2021 (arXiv 2106.09685), merged into the weights at the end.
        Offsets of heads are the second step of Yin et al. 2024 (arXiv 2406.01563); the bias of the
        heads' output matrix takes them up, so that no new part is needed.
    """
    started = time.perf_counter()
    seeds = [int(s) for s in ([seed] if isinstance(seed, int) else seed)]
    _check(model, steps, batch, lr, optimizer, seeds)
    options = dict(
        layers=None if layers is None else layer_numbers(layers, bridge.dims(model).n_layers),
        matrices=list(matrices),
        rank=rank,
        alpha=alpha,
        heads=None if heads is None else _texts(heads),
    )
    change = change_of(model, how, **options)
    rate = change.rate if lr is None else lr
    train, held = _halves(model, task, heldout, seeds[0])
    some = examples(train)
    tokens = sheets.other_tokens(model, other_texts)
    need = _memory(model, change, len(seeds))
    _check_room(model, need)
    before = sheets.on_prompts(model, held), sheets.on_texts(model, None, tokens)
    models, changes, curves, after, stopped = [], [], [], [], ""
    for one in seeds:
        name = "fine-tuning" if len(seeds) == 1 else f"fine-tuning, seed {one}"
        new, learned, curve, stop = _trained(
            model, change, some, one, steps, batch, rate, optimizer, weight_decay, name
        )
        models.append(new)
        changes.append(learned)
        curves.append(curve)
        after.append((sheets.on_prompts(new, held), sheets.on_texts(model, new, tokens)))
        if stop:
            stopped = f"stopped after {stop - 1} of {steps} steps of seed {one}"
            break
    done = seeds[: len(models)]
    n_trained = sum(value.numel() for value in changes[0].values())
    about = sweep.provenance(
        model,
        train if isinstance(train, Task) else None,
        "fine-tuning",
        started,
        how=how,
        change=change.title,
        options={"how": how, **options},
        steps=steps,
        batch=batch,
        lr=rate,
        optimizer=optimizer,
        weight_decay=weight_decay,
        seeds=done,
        trained=len(some),
        judged=len(held) if held is not None else 0,
        memory=placement.size(need),
        weights=state.weights_hash(model),
    )
    about.setdefault("task", "texts")
    if stopped:
        about["interrupted"] = stopped
    tuned = FineTuned(
        tuple(models),
        tuple(changes),
        _sheet(before, after, {**about, **_judged(train, held, some, tokens, len(done))}),
        _heldout(before[0], [prompts for prompts, _ in after], done, about),
        _curve(curves, steps, about),
        n_trained,
        about,
    )
    if stopped:
        raise Interrupted(
            f"interp.finetune was {stopped}. What was learned is in `sys.last_value.result` (import"
            " sys)",
            tuned,
        )
    return tuned


def _texts(heads: Any) -> list[str]:
    """Addresses as texts, one or several."""
    return [str(heads)] if isinstance(heads, str | Site) else [str(one) for one in heads]


def _check(
    model: Model, steps: int, batch: int, lr: float | None, optimizer: str, seeds: list[int]
) -> None:
    """Raises ValueError where an option means nothing."""
    if steps < 0 or batch < 1:
        raise ValueError(f"steps={steps}, batch={batch}: 0 steps or more, of 1 example or more")
    if lr is not None and not (lr > 0 and math.isfinite(lr)):
        raise ValueError(f"lr={lr}: a learning rate is a number above 0, lr=5e-5")
    if optimizer not in OPTIMIZERS:
        raise unknown("optimizer", optimizer, OPTIMIZERS, "optimizer='adamw'")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seed={seeds}: one seed or several different ones, seed=[0, 1, 2]")
    if bridge.dims(model).d_in:
        raise ValueError(
            f"{bridge.name(model)} reads vectors in place of tokens: interp.toys.train trains it"
        )


def _halves(
    model: Model, given: Any, heldout: Any, seed: int
) -> tuple[Task | list[Tensor], Task | list[Tensor] | None]:
    """What is trained on and what is judged on, which share no prompt."""
    train = as_task(model, given, "task")
    held = None if heldout is None else as_task(model, heldout, "heldout")
    if held is None and isinstance(train, Task):
        if train.remake is not None:
            held = train.heldout()
        elif len({tuple(ids.tolist()) for ids in train.prompts}) >= FEWEST:
            train, held = train.split(0.8, seed)
    elif held is None and len(kinds := list(dict.fromkeys(_digests(train)))) >= FEWEST:
        order = torch.randperm(len(kinds), generator=torch.Generator().manual_seed(seed)).tolist()
        chosen = {kinds[i] for i in order[: len(kinds) // FEWEST]}
        held = [ids for ids in train if digest(ids) in chosen]
        train = [ids for ids in train if digest(ids) not in chosen]
    both = set(_digests(train)) & set(_digests(held) if held is not None else [])
    if both:
        raise ValueError(
            f"{len(both)} of the held-out prompts are trained on as well, so they would show what"
            " was learned by heart: give other ones, or leave heldout= out"
        )
    return train, held


def _digests(given: Task | Sequence[Tensor]) -> list[str]:
    return given.digests if isinstance(given, Task) else [digest(ids) for ids in given]


def _memory(model: Model, change: Change, n_seeds: int) -> float:
    """Bytes beside the model: a copy for each seed, and three numbers for each that is trained."""
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    trained = 0
    if isinstance(change, Full):
        own = bridge.trainable(model, change.layers).values()
        trained = sum(3 * p.numel() * max(4, p.element_size()) for p in own)
    return float(weights * n_seeds + trained)


def _check_room(model: Model, need: float) -> None:
    """Raises ValueError where the memory will not do."""
    device = bridge.device(model)
    has = placement.free(device)
    if has is not None and need > has:
        raise ValueError(
            f"fine-tuning {bridge.name(model)} takes {placement.size(need)} of memory beside the"
            f" model, and {placement.size(has)} are free: one seed at a time, a few layers"
            " (layers=[10, 11]) or how='lora' take less"
        )


def _trained(
    model: Model,
    change: Change,
    some: Sequence[Example],
    seed: int,
    steps: int,
    batch: int,
    lr: float,
    optimizer: str,
    weight_decay: float,
    what: str,
) -> tuple[Any, dict[str, Tensor], list[float], int]:
    """The trained model, what was learned, the loss of each step, and 1 + the number of steps after
    which it was stopped (0: it was not).
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    in_place = isinstance(change, Full)
    work = (
        bridge.copied(model, f"{bridge.name(model)}, fine-tuned ({change.title})")
        if in_place
        else model
    )
    learned = change.start(work, generator)
    kinds = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    optimiser = kinds[optimizer](learned.values(), lr=lr, weight_decay=weight_decay)
    leaves = list((change.own if isinstance(change, Full) else learned).values())
    curve: list[float] = []
    order, stopped = _order(len(some), min(batch, len(some)), generator), 0
    try:
        with change.applied(work, learned) as edits:
            for step in sweep.progress(range(steps), what):
                rows = [some[i] for i in next(order)]
                optimiser.zero_grad()
                loss = 0.0
                for part in losses(work, rows, edits):
                    (part / count(rows)).backward(inputs=leaves)
                    loss += float(part.detach()) / count(rows)
                if not math.isfinite(loss):
                    raise ValueError(
                        f"the loss of step {step} is {loss}: a smaller learning rate would keep it"
                        f" a number (lr={lr:g} was used, try lr={lr / 10:g})"
                    )
                with _interrupts.held_back():
                    change.gradients(learned)
                    if step == 0:
                        _check_reached(learned, change)
                    optimiser.step()
                    change.stepped(learned)
                    curve.append(loss)
    except KeyboardInterrupt:
        stopped = 1 + len(curve)
    for value in learned.values():
        value.requires_grad_(False).grad = None
    if in_place:
        for p in work.parameters():
            p.grad = None
        change.merge(work, learned)
        return work, change.kept(work, learned), curve, stopped
    kept = change.kept(model, learned)
    new = merged(model, change, kept)
    check_same(model, new, change, kept)
    return new, kept, curve, stopped


def _check_reached(learned: dict[str, Tensor], change: Change) -> None:
    """Raises ValueError where nothing that was to be learned has a gradient."""
    if all(value.grad is None for value in learned.values()):
        raise ValueError(
            f"nothing of {change.title} has a gradient in this model: how='full' trains the"
            " weights themselves"
        )


def _order(n: int, size: int, generator: torch.Generator) -> Any:
    """Batches of examples, drawn without repetition until all have been seen."""
    left: list[int] = []
    while True:
        if len(left) < size:
            left = left + [
                i for i in torch.randperm(n, generator=generator).tolist() if i not in left
            ]
        yield left[:size]
        left = left[size:]


# --- what is said of it ---------------------------------------------------------------------------


def _judged(
    train: Any, held: Any, some: Sequence[Example], tokens: Tensor | None, n_seeds: int
) -> dict[str, Any]:
    """What the sheet is measured on, in words, and the note beside it where it is printed."""
    kind = "prompts" if isinstance(train, Task) else "texts"
    trained = f"{_number(len(some), kind)} trained on"
    if held is None:
        said = (
            f"nothing is held out ({trained}; {FEWEST} different ones are needed), so what was"
            f" learned is not measured: give other {kind} as heldout="
        )
    else:
        own = _number(len(held), "prompts" if isinstance(held, Task) else "texts")
        few = ", too few for an interval" if len(held) < FEWEST else ""
        said = f"judged on {own} held out ({trained}){few}"
    if tokens is not None:
        said += f"; other text: {_number(len(tokens), 'pieces')} of {tokens.shape[1]} tokens"
    over = f"; the intervals here are over the {n_seeds} seeds, not over prompts"
    return {"judged on": said, "note": said + (over if n_seeds > 1 else "")}


def _number(n: int, things: str) -> str:
    return f"{n} {things if n != 1 else things[:-1]}"


def _ends(values: np.ndarray) -> list[float] | None:
    """The 95 % interval of a mean over prompts, where there are enough and they differ."""
    if len(values) < FEWEST or np.ptp(values) == 0:
        return None
    return [float(end) for end in bootstrap(values)]


def _sheet(before: Any, after: list[Any], about: dict[str, Any]) -> Result:
    """All measures before and after, one value per seed kept where there are several."""
    names = [*before[0], *before[1]]
    first = {**before[0], **before[1]}
    each = np.stack(
        [
            [[first[m].mean(), {**prompts, **texts}[m].mean()] for m in names]
            for prompts, texts in after
        ],
        axis=-1,
    ).reshape(len(names), 2, len(after))
    over_seeds = {m: np.mean([{**a, **b}[m] for a, b in after], 0) for m in names}
    interval = {m: [_ends(np.asarray(first[m])), _ends(over_seeds[m])] for m in names}
    return Result(
        each.mean(-1),
        ("measure", "when"),
        {"measure": names, "when": WHEN},
        "before and after fine-tuning",
        "each measure in its own unit",
        {**about, "units": {m: sheets.UNITS[m] for m in names}, "interval": interval},
        each if len(after) > 1 else None,
    )


def _heldout(
    before: dict[str, Any], after: list[dict[str, Any]], seeds: list[int], about: dict[str, Any]
) -> Result | None:
    """The measures of the held-out prompts, one value per prompt kept."""
    if not before:
        return None
    names = list(before)
    each = np.stack(
        [
            np.stack([np.stack([before[m]] * len(after)), np.stack([one[m] for one in after])])
            for m in names
        ]
    )  # [measure when seed prompt]
    return Result(
        each.mean(-1),
        ("measure", "when", "seed"),
        {"measure": names, "when": WHEN, "seed": seeds},
        "held-out prompts, before and after fine-tuning",
        "each measure in its own unit",
        {**about, "units": {m: sheets.UNITS[m] for m in names}},
        each,
    )


def _curve(curves: list[list[float]], steps: int, about: dict[str, Any]) -> Result:
    """The loss of each step's batch, one value per seed kept where there are several."""
    rows = np.full((steps, len(curves)), np.nan)
    for i, curve in enumerate(curves):
        rows[: len(curve), i] = curve
    return Result(
        rows.mean(-1),
        ("step",),
        {"step": list(range(steps))},
        "training loss",
        "nats per token",
        about,
        rows if len(curves) > 1 else None,
    )
