"""What a model does on held-out prompts and on other text: measured before and after training."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import run
from interp.methods.finetuning.examples import count, examples, losses
from interp.methods.runs import sweep
from interp.methods.text.token_losses import chunk_losses
from interp.models import bridge
from interp.tasks.metrics import METRICS
from interp.tasks.task import MixedTask, Task, joined

ABOVE, TOP = "accuracy", "answer on top"
PROB, OPTIONS = "p(answer)", "p(options)"
DIFF, LOSS = "logit difference", "loss"
TEXT, OTHER, KL = "loss per token", "other text: loss", "other text: KL"
UNITS = {
    ABOVE: "share of prompts",
    TOP: "share of prompts",
    PROB: "probability",
    OPTIONS: "probability",
    DIFF: "logits",
    LOSS: "nats",
    TEXT: "nats per token",
    OTHER: "nats per token",
    KL: "nats per token",
}
NAMES = {ABOVE: "accuracy", TOP: "top1", PROB: "prob", DIFF: "logit_diff", LOSS: "log_prob"}


def on_prompts(model: Model, heldout: Task | Sequence[Tensor] | None) -> dict[str, Any]:
    """Each measure of the held-out prompts, an array with a number for each prompt."""
    if heldout is None:
        return {}
    if not isinstance(heldout, Task):
        each = []
        for one in examples(heldout):
            with torch.no_grad():
                each.append(sum(losses(model, [one])) / count([one]))
        return {TEXT: to_numpy(torch.stack(each))}
    if isinstance(heldout, MixedTask) and heldout.whole:
        return _whole(model, heldout)
    wanted = [m for m in (ABOVE, TOP, PROB, OPTIONS, DIFF, LOSS)]
    if not heldout.has_wrong:
        wanted = [m for m in wanted if m not in (ABOVE, OPTIONS, DIFF)]

    def measure(task: Task) -> Tensor:
        logits = run(model, task.clean, last_only=True).logits
        return torch.stack([_read(task, name, logits) for name in wanted])

    values = to_numpy(joined(heldout, measure))
    return dict(zip(wanted, values))


def _read(task: Task, measure: str, logits: Tensor) -> Tensor:
    if measure == OPTIONS:
        both = torch.cat([task.answers, task.wrong], -1).to(logits.device)
        there = torch.cat([task.answers_count, task.wrong_count], -1).to(logits.device)
        return METRICS["prob"].of(logits.float(), both, both, there, there)
    value = task.with_metric(NAMES[measure]).metric(logits)
    return -value if measure == LOSS else value


def _whole(model: Model, task: MixedTask) -> dict[str, Any]:
    """The measures of answers of several tokens, each scored as a whole."""
    out = {}
    if task.has_wrong:
        out[ABOVE] = to_numpy(task._above(model, "clean"))
    out[TOP] = to_numpy(task._on_top(model, "clean"))
    each = examples(task)
    with torch.no_grad():
        out[LOSS] = to_numpy(torch.stack([sum(losses(model, [one])) for one in each]))
    return out


def on_texts(before: Model, after: Model | None, tokens: Tensor | None) -> dict[str, Any]:
    """Loss of the next token and KL from the model before, an array with a number for each text.

    The predictions at position 0 are left out, as in `cross_entropy`. after: None for the model
    before itself, whose KL is 0.
    """
    if tokens is None:
        return {}
    found: list[Tensor] = []
    size = max(1, sweep.TOKENS_PER_RUN // tokens.shape[1])
    for first in range(0, len(tokens), size):
        part = tokens[first : first + size]
        plain = run(before, part).logits
        if after is None:
            own = chunk_losses(plain, part)
            found.append(torch.stack([own, torch.zeros_like(own)]))
            continue
        new = run(after, part).logits
        log_p, log_q = (x[:, 1:].float().log_softmax(-1) for x in (plain, new))
        kl = torch.nn.functional.kl_div(log_q, log_p, reduction="none", log_target=True)
        found.append(torch.stack([chunk_losses(new, part), kl.sum(-1).mean(-1)]))
    loss, kl = to_numpy(torch.cat(found, 1))
    return {OTHER: loss, KL: kl}


def other_tokens(model: Model, given: Any) -> Tensor | None:
    """Texts that the model was not trained on, in chunks of one length [chunk pos]."""
    from interp.models.tokens import read_prompts
    from interp.texts import chunks, prose

    if given is None:
        if bridge.dims(model).n_ctx < 8:
            return None
        length = min(64, bridge.dims(model).n_ctx)
        return chunks(model, prose(), length=length, n=8, split="heldout")
    ids = read_prompts(model, given).ids
    length = min(map(len, ids))
    if length < 3:
        raise ValueError(
            f"other_texts has a text of {length} tokens: three or more are needed, for example"
            " other_texts=interp.texts.chunks(model, interp.texts.prose(), n=16)"
        )
    return torch.stack([one[:length] for one in ids])
