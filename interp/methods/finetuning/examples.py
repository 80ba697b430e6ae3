"""What a model is trained on: prompts with answers or texts, as tokens and what is predicted."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interp._types import Model
from interp.interventions import Intervention, run
from interp.models import bridge
from interp.models.tokens import read_prompts
from interp.tasks.pairs import pairs
from interp.tasks.task import MixedTask, Task

PAIRS = "interp.finetune(model, [('The capital of France is', ' Paris'), ...])"


class Example(NamedTuple):
    """One sequence of tokens, and what is predicted in it.

    Attributes:
        ids: What the model reads.
        targets: (position, the tokens of which one is right after it).
    """

    ids: list[int]
    targets: list[tuple[int, list[int]]]


def as_task(model: Model, given: Any, what: str) -> Task | list[Tensor]:
    """A task with answers, or the ids of texts."""
    if isinstance(given, Task):
        return given if given.answered_for else given.prompts
    if _is_pairs(given):
        prompts, answers = zip(*given)
        return pairs(model, list(prompts), answers=list(answers), name=what)
    if given is None or hasattr(given, "columns"):
        made = "interp.tasks.read(frame, model)" if given is not None else "interp.tasks.pairs(...)"
        raise ValueError(
            f"{what} is {'None' if given is None else 'a table'}: give a task ({made}), prompts"
            f" with their answers ({PAIRS}), or texts"
        )
    return read_prompts(model, given).ids


def _is_pairs(given: Any) -> bool:
    return (
        isinstance(given, list | tuple)
        and len(given) > 0
        and all(
            isinstance(one, list | tuple) and len(one) == 2 and all(isinstance(x, str) for x in one)
            for one in given
        )
    )


def examples(given: Task | Sequence[Tensor]) -> list[Example]:
    """Each prompt with the tokens of its answer, or each text with its next tokens.

    The prediction at a text's first position is left out, as in `cross_entropy`.
    """
    if isinstance(given, MixedTask):
        return [_answered(row.clean, row.answers) for row in given.rows]
    if isinstance(given, Task):
        rows = zip(given.clean.tolist(), given.answers.tolist(), given.answers_count.tolist())
        return [
            _answered(ids, [[a] for a, there in zip(right, count) if there])
            for ids, right, count in rows
        ]
    out = []
    for ids in given:
        tokens = ids.tolist()
        if len(tokens) < 3:
            raise ValueError(
                f"a text of {len(tokens)} tokens has nothing to learn from (its first prediction is"
                f" left out): give texts of three tokens or more, or prompts with answers, {PAIRS}"
            )
        out.append(Example(tokens[:-1], [(i, [tokens[i + 1]]) for i in range(1, len(tokens) - 1)]))
    return out


def _answered(prompt: list[int], answers: list[list[int]]) -> Example:
    """A prompt and its answer, teacher forced; one-token alternatives are right together."""
    end = len(prompt) - 1
    if all(len(ids) == 1 for ids in answers):
        return Example(prompt, [(end, [ids[0] for ids in answers])])
    if len(answers) > 1:
        raise ValueError(
            "a prompt has several answers of several tokens, and only one can be trained on: give"
            " one answer a prompt, or score the first token, interp.tasks.pairs(...,"
            " answer_tokens='first')"
        )
    ids = answers[0]
    return Example([*prompt, *ids[:-1]], [(end + k, [token]) for k, token in enumerate(ids)])


def losses(
    model: Model, some: Sequence[Example], edits: Sequence[Intervention] = ()
) -> Iterator[Tensor]:
    """The summed loss of the predicted tokens in nats, one length of sequence after another."""
    device = bridge.device(model)
    lengths = sorted({len(one.ids) for one in some})
    for length in lengths:
        rows = [one for one in some if len(one.ids) == length]
        tokens = torch.tensor([one.ids for one in rows], device="cpu")
        at_end = all(place == length - 1 for one in rows for place, _ in one.targets)
        logits = run(model, tokens, edits, last_only=at_end, grad=torch.is_grad_enabled()).logits
        asked = [
            (row, place, right) for row, one in enumerate(rows) for place, right in one.targets
        ]
        which = torch.tensor([row for row, _, _ in asked], device=device)
        if at_end:
            read = logits[which]
        else:
            read = logits[which, torch.tensor([place for _, place, _ in asked], device=device)]
        most = max(len(right) for _, _, right in asked)
        ids = [[*right, *right[:1] * (most - len(right))] for _, _, right in asked]
        more = [[k >= len(right) for k in range(most)] for _, _, right in asked]
        kind = read.dtype if read.dtype == torch.float64 else torch.float32
        log_p = read.to(kind).log_softmax(-1).gather(1, torch.tensor(ids, device=device))
        log_p = log_p.masked_fill(torch.tensor(more, device=device), float("-inf"))
        yield -log_p.logsumexp(-1).sum()


def count(some: Sequence[Example]) -> int:
    """How many tokens are predicted."""
    return sum(len(one.targets) for one in some)
