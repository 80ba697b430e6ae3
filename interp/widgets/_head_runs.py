"""What the head grid computes: one prompt with heads ablated, from the first changed layer on, in a
tenth of a second.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interp import engine
from interp._types import Model
from interp.edits import scale, set_to
from interp.interventions import Intervention, run
from interp.methods.ablation.ablate import WAYS, other_prompts
from interp.methods.attention.task_scores import gradients_at_z
from interp.models import bridge
from interp.tasks import Task
from interp.tasks.task import bos_word, encode, single, tokenizer_of
from interp.widgets._head_names import Heads
from interp.widgets._next_tokens import listed

Stop = Callable[[], bool]
TEXTS = 8  # reference texts for the mean ablation of a single prompt
MOST = 96  # tokens of a pattern that is drawn


class Setup(NamedTuple):
    """All that stays the same between clicks: the unablated runs, and what heads are set to."""

    model: Any
    task: Task
    engine: Any  # None: by hooks
    clean: list  # per prompt the engine's Run, or None
    logits: Tensor  # of the unablated runs [batch d_vocab]
    z: list[Tensor]  # per layer [batch pos head d_head]
    reference: Callable[[], Tensor]  # the prompts that means and resampled values come from
    sources: dict[str, list[Tensor]]  # way to ablate -> what z becomes, per layer
    last: dict[
        int, tuple
    ]  # prompt -> (by, factor, heads, its run): the next click may begin in the middle of it


def prompt_task(
    model: Model, text: str, answer: str | None = None, wrong: str | None = None
) -> Task:
    """A task of one prompt, to ablate or to look at.

    It has no corrupted prompt (the clean one stands there), so do not patch it.

    Example:
        >>> task = interp.widgets.prompt_task(model, "The capital of France is", " Paris", " Rome")

    Args:
        model: The model.
        text: The prompt.
        answer: One token; the likeliest next token if None.
        wrong: One token; the next likely if None.

    Raises:
        ValueError: If the prompt is empty or longer than the model reads.
    """
    tokenizer = tokenizer_of(model)
    if not text.strip():
        raise ValueError("an empty prompt: type some text, for example 'The capital of France is'")
    ids = encode(tokenizer, text)
    limit = bridge.dims(model).n_ctx
    if len(ids) > limit:
        raise ValueError(
            f"the prompt has {len(ids)} tokens, the model reads at most {limit}: shorten it"
        )
    right = None if answer is None else single(tokenizer, answer)
    other = None if wrong is None else single(tokenizer, wrong)
    return task_of(model, torch.tensor(ids), right, other)


def task_of(model: Model, ids: Tensor, right: int | None = None, other: int | None = None) -> Task:
    """A task of one prompt of these tokens [pos]; its answers the likeliest unless given."""
    tokenizer, tokens = tokenizer_of(model), ids[None]
    ranked = run(model, tokens, last_only=True).logits[0].topk(3).indices.tolist()
    right = ranked[0] if right is None else right
    other = next(i for i in ranked if i != right) if other is None else other
    one = torch.ones(1, 1, dtype=torch.bool)

    def remake(**options: Any) -> Task:
        raise ValueError(
            "a single prompt has no held-out half: make a task, for example interp.tasks.ioi(model)"
        )

    metadata = {"bos": bos_word(tokenizer), "seed": 0, "split": "find"}
    end = {"END": torch.tensor([len(ids) - 1])}
    return Task(
        "prompt",
        tokens,
        tokens,
        torch.tensor([[right]]),
        torch.tensor([[other]]),
        one,
        one,
        end,
        {},
        "logit_diff",
        metadata,
        tokenizer,
        remake,
    )


def prepare(model: Model, task: Task, reference: Callable[[], Tensor] | None = None) -> Setup:
    """The setup for these prompts; means and resampling draw on them, or on `reference`."""
    fast = engine.find(model)
    with bridge.LOCK:
        if fast is None:
            done = run(model, task, keep=["L*H*.z"], last_only=True)
            z, logits, clean = (
                [one.permute(1, 2, 0, 3) for one in done.kept["L*H*.z"]],
                done.logits,
                [None] * len(task),
            )
        else:
            each = [
                engine.run(fast, tokens[None], keep=("resid_pre", "z")) for tokens in task.clean
            ]
            z = [torch.cat(layer) for layer in zip(*(one["z"] for one in each))]
            clean, logits = (
                [
                    engine.Run(r.tokens, r.resid, r.logits, {"resid_pre": r["resid_pre"]})
                    for r in each
                ],
                torch.cat([r.logits for r in each]),
            )
    return Setup(model, task, fast, clean, logits, z, reference or (lambda: task.clean), {}, {})


def source(setup: Setup, by: str) -> list[Tensor] | None:
    """What z becomes, per layer [1 or batch, pos, head, d_head]; None for scaling, which has no
    source.
    """
    if by == "scale":
        return None
    if by not in setup.sources:
        if by == "zero":
            setup.sources[by] = [torch.zeros_like(z[:1]) for z in setup.z]
        else:
            prompts = setup.reference()
            same_prompts = prompts is setup.task.clean
            rows = (
                other_prompts(len(setup.task), len(prompts), 0, same=same_prompts)
                if by == "resample"
                else None
            )
            z = setup.z if same_prompts else _z(setup, prompts)
            setup.sources[by] = [
                one.mean(0, keepdim=True) if rows is None else one[rows] for one in z
            ]
    return setup.sources[by]


def _z(setup: Setup, prompts: Tensor) -> list[Tensor]:
    if setup.engine is None:
        return [
            one.permute(1, 2, 0, 3)
            for one in run(setup.model, prompts, keep=["L*H*.z"], last_only=True).kept["L*H*.z"]
        ]
    return engine.run(setup.engine, prompts, keep=("z",), logits=None)["z"]


def logits_of(
    setup: Setup, row: int, heads: Heads, by: str, factor: float, stop: Stop = lambda: False
) -> Tensor | None:
    """Logits [1 d_vocab] of one prompt with these heads ablated; None when stopped."""
    if not heads:
        setup.last.pop(row, None)
        return setup.logits[row : row + 1]
    values = source(setup, by)
    if setup.engine is None:
        edits = _interventions(setup, row, heads, values, factor)
        return run(setup.model, setup.task.clean[row : row + 1], edits, last_only=True).logits
    base, start = setup.clean[row], min(layer for layer, _ in heads)
    before = setup.last.get(row)
    if before is not None and before[:2] == (by, factor):
        differs = min((layer for layer, _ in heads ^ before[2]), default=len(setup.z))
        if (
            differs > start
        ):  # the last ablated run has the same changes further up than the clean one
            base, start = before[3], differs
    done = engine.again(setup.engine, base, _touches(heads, values, row, factor), start, stop)
    if done is None:
        return None
    setup.last[row] = (by, factor, heads, done)
    return done.logits


def estimated(setup: Setup) -> Iterator[Tensor | None]:
    """What ablating each head alone by its mean would change, to first order [prompt layer head].

    The gradient of the logit difference at z, times (mean z minus z), summed over positions; None
    after each prompt.
    """
    task, mean = setup.task.with_metric("logit_diff"), source(setup, "mean")
    effects = []
    for row in range(len(task)):
        grads, z = gradients_at_z(setup.model, task[row : row + 1])
        toward = torch.stack([layer[:1].to(z) for layer in mean]).permute(0, 3, 1, 2, 4)
        effects.append((grads * (toward - z)).sum((-1, -2))[..., 0].float().cpu())
        yield None
    yield torch.stack(effects)


def _touches(heads: Heads, values: list[Tensor] | None, row: int, factor: float) -> dict[int, dict]:
    by_layer: dict[int, list[int]] = {}
    for layer, head in sorted(heads):
        by_layer.setdefault(layer, []).append(head)

    def edit(layer: int, chosen: list[int]) -> Callable[[Tensor], Tensor]:
        def change(
            z: Tensor,
        ) -> Tensor:  # [row batch pos head d_head], its own tensor: in place is safe
            if values is None:
                z[..., chosen, :] *= factor
            else:
                new = values[layer][row % len(values[layer])]
                z[..., chosen, :] = new[-z.shape[2] :, chosen]  # the last block carries END alone
            return z

        return change

    return {layer: {"z": edit(layer, chosen)} for layer, chosen in by_layer.items()}


def _interventions(
    setup: Setup, row: int, heads: Heads, values: list[Tensor] | None, factor: float
) -> list[Intervention]:
    def edit(layer: int, head: int) -> Any:
        return (
            scale(factor)
            if values is None
            else set_to(values[layer][row % len(values[layer])][None, :, head])
        )

    return [Intervention(f"L{layer}H{head}.z", edit(layer, head)) for layer, head in sorted(heads)]


def prose(model: Model, length: int) -> Tensor:
    """Running text of this many tokens, the reference for a single prompt."""
    from interp import tasks

    return tasks.text(model, n=TEXTS, length=length).clean


# --- what is shown --------------------------------------------------------------------------------


def predictions(setup: Setup, rows: list[int], logits: Tensor) -> dict[str, Any]:
    """Answer, logit difference, next tokens and changes, from prompts' logits [n d_vocab]."""
    part, clean = setup.task[rows], setup.logits[rows]
    measured = {}
    for name in ("prob", "logit_diff"):
        metric = part.with_metric(name).metric
        measured[name] = {"now": float(metric(logits).mean()), "clean": float(metric(clean).mean())}
    now, before = logits.float().softmax(-1).mean(0), clean.float().softmax(-1).mean(0)
    return {**measured, **listed(setup.task.tokenizer, now, before)}


def answers(setup: Setup, row: int) -> dict[str, str]:
    """The words of a prompt's answer and of its wrong answer."""
    task = setup.task

    def say(ids, count):
        return "/".join(task.tokenizer.decode([i]) for i in ids[row][count[row]].tolist())

    return {
        "answer": say(task.answers, task.answers_count),
        "wrong": say(task.wrong, task.wrong_count),
    }


def pattern_of(
    setup: Setup, rows: list[int], layer: int, head: int, heads: Heads, by: str, factor: float
) -> Tensor:
    """What one head attends to [dest src] under the ablation, the mean over these prompts."""
    patterns = []
    for row in rows:
        if setup.engine is None:
            edits = _interventions(setup, row, heads, source(setup, by) if heads else None, factor)
            key = f"L{layer}H{head}.pattern"
            patterns.append(
                run(
                    setup.model, setup.task.clean[row : row + 1], edits, [key], last_only=True
                ).kept[key][0]
            )
            continue
        last = setup.last.get(row)
        same = last is not None and last[:3] == (by, factor, heads)
        patterns.append(
            engine.pattern(setup.engine, last[3] if same else setup.clean[row], layer)[0, head]
        )
    return torch.stack(patterns).mean(0)


def check_way(by: str) -> None:
    """Nothing when this is a way to ablate; otherwise a ValueError that names them."""
    from interp._errors import unknown

    if by not in WAYS:
        raise unknown("way to ablate", by, WAYS, "by='mean'")
