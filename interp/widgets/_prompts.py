"""The prompt a widget shows: one of a task's, or a text that is typed; and heads as people write
them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp import engine
from interp._numbers import to_numpy
from interp._types import Model
from interp.dims import Dims
from interp.interventions import Intervention, run
from interp.methods.runs.batching import token_ids
from interp.models import bridge
from interp.sites import Site
from interp.tasks.task import Task, is_single, single
from interp.widgets._head_names import heads_of

OWN = -1  # the number of the example that is no task's: the typed text
LISTED = 200  # examples of a task that can be chosen in the page


def split(prompt_or_task: Any) -> tuple[Any, str]:
    """(the task or None, the text or "")."""
    if isinstance(prompt_or_task, str):
        return None, prompt_or_task
    if isinstance(prompt_or_task, Task):
        return prompt_or_task, ""
    raise ValueError(
        f"a prompt is a text or a task, got {type(prompt_or_task).__name__} (try 'The capital of"
        " France is', or for several interp.tasks.pairs(model, clean=[...], answers=[...]))"
    )


def title(model: Model, task: Any, what: str) -> str:
    """What stands over a widget: "smollm2-135m · ioi · attention"."""
    named = [bridge.name(model), *([task.name] if task is not None else []), what]
    return " · ".join(named)


def listed(task: Any) -> list[str]:
    """A line for each example of a task, to choose from."""
    if task is None:
        return []
    return [
        f"{i + 1}: {text_of(task.tokenizer, row)[:70]}"
        for i, row in enumerate(task.prompts[:LISTED])
    ]


def text_of(tokenizer: Any, ids: Int[Tensor, "pos"]) -> str:
    """The text of a prompt, its first token left out when it is the tokenizer's own."""
    own = len(ids) > 0 and int(ids[0]) == tokenizer.bos_token_id
    return tokenizer.decode(ids[int(own) :].tolist())


def ids_of(
    model: Model, task: Any, example: int, text: str, most: int, d: Dims
) -> Int[Tensor, "pos"]:
    """The tokens of the example of the task, or of the text; ValueError when they are more than can
    be shown.
    """
    if example == OWN and not text.strip():
        raise ValueError("no prompt: type a text, for example The capital of France is")
    if example != OWN and (task is None or not 0 <= example < len(task)):
        has = (
            "there is no task here"
            if task is None
            else f"this task has examples 0 to {len(task) - 1}"
        )
        raise ValueError(f"no example {example}: {has}; {OWN} is the typed text")
    ids = token_ids(model, text)[0] if example == OWN else task.prompts[example]
    if len(ids) > min(most, d.n_ctx):
        why = (
            f"the model reads at most {d.n_ctx}"
            if d.n_ctx <= most
            else f"this widget shows at most {most}"
        )
        raise ValueError(f"the prompt is {len(ids)} tokens long, {why}: shorten it")
    return ids


def words_of(tokenizer: Any, ids: Tensor) -> list[str]:
    """The text of each token."""
    return [tokenizer.decode([token]) for token in ids.tolist()]


def typed_word(tokenizer: Any, text: str) -> int:
    """The token of a typed word: as it stands after a space, where that is one token."""
    return single(
        tokenizer, " " + text if text[:1] != " " and is_single(tokenizer, " " + text) else text
    )


def activations(
    model: Model, ids: Int[Tensor, "pos"], *kinds: str, edits: Sequence[Intervention] = ()
) -> list[Tensor]:
    """What a run of one prompt keeps: "pattern" [layer head dest src], "v" [layer pos kv_head
    d_head], "resid_post" [layer pos d_model].
    """
    fast = engine.find(model)
    if fast is not None and not edits:
        cache = engine.run(fast, ids[None], keep=kinds, logits=None)
        return [torch.stack(cache[kind])[:, 0] for kind in kinds]
    keys = {"pattern": "L*H*.pattern", "v": "L*KV*.v", "resid_post": "resid_post.*"}
    kept_by_hooks = run(
        model, ids[None], edits, keep=[keys[kind] for kind in kinds], last_only=True
    ).kept
    one = {
        kind: kept_by_hooks[keys[kind]].select(1 if kind == "resid_post" else 2, 0)
        for kind in kinds
    }
    return [one[kind].transpose(1, 2) if kind == "v" else one[kind] for kind in kinds]


def label(word: str, letters: int) -> str:
    """A token as a label in a figure: without its space, cut; white space alone is made visible."""
    return (
        word.strip()[:letters]
        or word.replace("\n", "↵").replace("\xa0", "⍽").replace(" ", "␣")[:letters]
    )


def heads_in_order(text: str, d: Dims) -> list[Site]:
    """The heads a text names, in its order: "L5H1 L7H*"."""
    words = text.replace(",", " ").replace(";", " ").split()
    heads = dict.fromkeys(head for word in words for head in sorted(heads_of(word, d)))
    if not heads:
        raise ValueError("no heads: type some, for example L5H1 L7H*")
    return [Site("head", "out", layer, index) for layer, index in heads]


def pattern_bytes(values: Tensor, top: float, depth: torch.dtype = torch.uint16) -> bytes:
    """Numbers from 0 to top as unsigned whole numbers, which the page reads faster than JSON."""
    most = torch.iinfo(depth).max
    whole = (values.float() / (top or 1.0)).clamp(0, 1).mul(most).round()
    return (
        to_numpy(whole.to(torch.int32))
        .astype({torch.uint16: "<u2", torch.uint8: "u1"}[depth])
        .tobytes()
    )
