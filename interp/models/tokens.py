"""Prompts as people have them (a text, several texts, ids, padded ids with a mask) as token ids."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from interp._errors import listed
from interp._warn import warn

TEXT = "'The capital of France is'"
WAYS = (
    f"a prompt is a text ({TEXT}), a list of texts of any lengths, token ids [batch "
    "pos], or what a "
    "tokenizer gives (input_ids with attention_mask)"
)


class Prompts(NamedTuple):
    """Prompts without their padding.

    ids: each prompt's tokens. columns: where each token stands in a table of all prompts, `width`
    columns wide: a padded table keeps its own layout, prompts of several lengths begin at column 0.
    """

    ids: list[Int[Tensor, "pos"]]
    columns: list[Int[Tensor, "pos"]]
    width: int

    def by_length(self) -> list[tuple[list[int], Int[Tensor, "batch pos"]]]:
        """(which prompts, their ids) for each length, in the order of the first of each."""
        groups: dict[int, list[int]] = defaultdict(list)
        for i, ids in enumerate(self.ids):
            groups[len(ids)].append(i)
        return [(at, torch.stack([self.ids[i] for i in at])) for at in groups.values()]

    @property
    def whole(self) -> bool:
        """Whether the prompts fill their table: one length and no padding."""
        return all(len(ids) == self.width for ids in self.ids)


def tokenizer_of(model: Any) -> Any:
    """The tokenizer of a model, or the tokenizer itself."""
    return getattr(model, "tokenizer", model)


def first_tokens(tokenizer: Any) -> list[int]:
    """What stands before a text: the tokenizer's BOS token, or nothing where it has none."""
    return [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]


def bos_word(tokenizer: Any) -> str:
    """The BOS token as text, "" where there is none."""
    return tokenizer.decode(first_tokens(tokenizer))


def encode(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a prompt: the BOS token, put there openly, then the text.

    A text that already begins with the BOS token (a chat template's) gets no second one, and a
    tokenizer without a BOS token puts nothing first.
    """
    ids = list(tokenizer(text, add_special_tokens=False).input_ids)
    first = first_tokens(tokenizer)
    return ids if ids[:1] == first else [*first, *ids]


def notice_space(tokenizer: Any, text: str) -> None:
    """A warning where a prompt ends with a space that this tokenizer makes a token of its own."""
    if not text.endswith(" ") or not text.strip():
        return
    ids = tokenizer(text, add_special_tokens=False).input_ids
    if ids == tokenizer(text.rstrip(" "), add_special_tokens=False).input_ids:
        return
    warn(
        f"the prompt {text[-30:]!r} ends with a space, which is a token of its own here, and words"
        f" carry their space in front: end the prompt with {text.rstrip(' ')[-20:]!r}"
    )


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


def read_prompts(model: Any, prompts: Any) -> Prompts:
    """The prompts' ids without padding, and where each stood.

    Example:
        >>> read_prompts(model, ["The capital of France is", "Hello"]).ids
        >>> read_prompts(model, tokenizer(texts, padding=True, return_tensors="pt"))

    Args:
        model: A model, or its tokenizer.
        prompts: A text, texts, ids [batch pos] or [pos], a list of ids, a mapping with input_ids
            and attention_mask, or anything with `prompts` (a task: its clean ones).

    Raises:
        ValueError: If it is something else.
        ValueError: If there is no prompt, or one is empty.

    Warns:
        UserWarning: If ids look padded and come without a mask.
    """
    own = getattr(prompts, "prompts", None)
    if own is not None:
        return _unpadded(own)
    if isinstance(prompts, Mapping) or hasattr(prompts, "input_ids"):
        return _masked(prompts)
    if isinstance(prompts, str):
        prompts = [prompts]
    if getattr(prompts, "ndim", 0) == 1 and all(isinstance(one, str) for one in prompts):
        prompts = list(prompts)  # a column of a table, or an array of texts
    if isinstance(prompts, Tensor) or (
        hasattr(prompts, "dtype") and hasattr(prompts, "shape") and not hasattr(prompts, "columns")
    ):
        table = torch.as_tensor(prompts)
        if table.is_floating_point() or table.ndim not in (1, 2):
            raise ValueError(
                f"a prompt is a text or its token ids [pos], got {table.dtype} of shape "
                f"{tuple(table.shape)}: {WAYS}"
            )
        prompts = [table] if table.ndim == 1 else list(table)
    if not isinstance(prompts, Sequence):
        raise ValueError(_not_prompts(prompts))
    if len(prompts) == 0:
        raise ValueError(f"no prompts: give at least one, for example [{TEXT}]")
    if isinstance(prompts[0], int):
        prompts = [prompts]
    ids = [_ids(model, prompt) for prompt in prompts]
    if not any(isinstance(prompt, str) for prompt in prompts):
        notice_padding(model, ids)
    return _unpadded(ids)


def _unpadded(ids: Sequence[Tensor]) -> Prompts:
    return Prompts(list(ids), [torch.arange(len(one)) for one in ids], max(map(len, ids)))


def _not_prompts(given: Any) -> str:
    kind = type(given).__name__
    if given is None:
        return f"there is no prompt (None): {WAYS}"
    if hasattr(given, "columns"):
        return (
            f"a {kind} is a table, not prompts: make a task of it, "
            "task = interp.tasks.read(frame, model), or give its texts, frame['prompt'].tolist()"
        )
    return f"a {kind} is no prompt: {WAYS}"


def _ids(model: Any, prompt: Any) -> Int[Tensor, "pos"]:
    if isinstance(prompt, str) and not prompt:
        raise ValueError(f"an empty prompt: give some text, for example {TEXT}")
    if isinstance(prompt, str):
        notice_space(tokenizer_of(model), prompt)
        return torch.tensor(encode(tokenizer_of(model), prompt))
    if not isinstance(prompt, (Tensor, Sequence)) and not hasattr(prompt, "__array__"):
        raise ValueError(_not_prompts(prompt))
    try:
        ids = torch.as_tensor(prompt)
    except (TypeError, ValueError):
        raise ValueError(_not_prompts(prompt)) from None
    if ids.ndim != 1 or len(ids) == 0 or ids.is_floating_point():
        raise ValueError(
            f"a prompt is a text or its token ids [pos], got {ids.dtype} of shape "
            f"{tuple(ids.shape)}: {WAYS}"
        )
    return ids.long()


def _masked(given: Any) -> Prompts:
    """Padded ids with a mask, as a tokenizer gives them."""
    get = given.get if isinstance(given, Mapping) else lambda key: getattr(given, key, None)
    ids, mask = get("input_ids"), get("attention_mask")
    if ids is None:
        raise ValueError(
            "a mapping of prompts has input_ids and attention_mask, as a tokenizer gives "
            "them; here "
            f"it has {listed(map(str, given))}"
        )
    if mask is None:
        table = torch.as_tensor(ids)
        return _unpadded(list(table[None] if table.ndim == 1 else table))
    if isinstance(ids, Sequence) and ids and not isinstance(ids[0], int):
        sizes = {len(row) for row in ids}
        if len(sizes) > 1:  # several lengths, not padded
            return _unpadded([torch.tensor(row)[torch.tensor(m) > 0] for row, m in zip(ids, mask)])
    ids, mask = torch.as_tensor(ids), torch.as_tensor(mask) > 0
    ids, mask = (x[None] if x.ndim == 1 else x for x in (ids, mask))
    if ids.shape != mask.shape:
        raise ValueError(
            f"input_ids are {tuple(ids.shape)} and attention_mask {tuple(mask.shape)}: one for each"
        )
    if not mask.any(-1).all():
        raise ValueError("attention_mask leaves a prompt without any token")
    columns = [row.nonzero()[:, 0] for row in mask]
    if any(int(at[-1] - at[0]) + 1 != len(at) for at in columns):
        raise ValueError(
            "attention_mask has a gap inside a prompt: padding stands before or after a prompt. To "
            "keep tokens from being looked at use interp.attention_knockout(model, task, at, to)"
        )
    return Prompts([row[at] for row, at in zip(ids, columns)], columns, ids.shape[1])


def notice_padding(model: Any, ids: Sequence[Tensor] | Tensor) -> None:
    """A warning where some prompts, and not all, begin or end with the padding token."""
    tokenizer = tokenizer_of(model)
    pad = getattr(tokenizer, "pad_token_id", None)
    if pad is None or len(ids) < 2:
        return
    first = tokenizer.bos_token_id == pad  # then one in front is no padding
    before = [bool((row[: 1 + first] == pad).all()) for row in ids if len(row) > first]
    after = [bool(row[-1] == pad) for row in ids]
    for side, padded in (("begin", before), ("end", after)):
        if any(padded) and not all(padded):
            warn(
                f"{sum(padded)} of {len(ids)} prompts {side} with the padding token "
                f"{tokenizer.decode([pad])!r} and count it as text: give the mask too, "
                "tokenizer(texts, padding=True, return_tensors='pt'), or the texts themselves"
            )
