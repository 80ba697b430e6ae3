"""Text written by a model while interventions hold."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp import sites
from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._types import Model
from interp.edits import Edit, Seen
from interp.interventions import Intervention, run
from interp.methods.runs import sweep
from interp.methods.runs.batching import batches_by_length
from interp.methods.steering.engine_continuation import engine_continuation
from interp.models import bridge
from interp.sites import Site


@dataclass(frozen=True, eq=False)
class Generation:
    """What a model wrote after a prompt.

    Attributes:
        prompt: The prompt as text.
        text: What was written.
        tokens: The new ids.
        ended: Whether it stopped by itself.
        metadata: Model, temperature, seed, interventions.
    """

    prompt: str
    text: str
    tokens: Int[Tensor, "new"]
    ended: bool
    metadata: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{self.prompt}[{self.text}]{'' if self.ended else ' ...'}"

    def _repr_html_(self) -> str:
        more = "" if self.ended else " <span style='opacity:.6'>...</span>"
        written = (
            "<span "
            f"style='opacity:.65'>{escape(self.prompt)}</span><b>{escape(self.text)}</b>{more}"
        )
        return f"<div style='white-space:pre-wrap'>{written}</div>"


@torch_defaults()
def generate(
    model: Model,
    prompt: Any,
    interventions: Iterable[Intervention] = (),
    *,
    max_new_tokens: int = 20,
    temperature: float = 0.0,
    seed: int = 0,
    every_token: bool = True,
    engine: Any = None,
) -> "Generation | list[Generation]":
    """What the model writes after a prompt while the interventions hold.

    Example:
        >>> generate(model, "The capital of France is", max_new_tokens=3)
        >>> generate(model, "I think that", [direction.push(4.0)], temperature=0.7, seed=1)

    Args:
        model: A loaded model.
        prompt: A text (the first token is put before it) or ids [pos]; or a list of texts, ids
            [batch pos], or a task.
        interventions: What holds meanwhile. Position -1 (or END) is the newest token: an edit there
            holds at the prompt's last token and at every token since, as with hooks on a model that
            caches keys and values. Other positions count in the prompt.
        max_new_tokens: Where to stop at the latest.
        temperature: 0 takes the likeliest token; above, tokens are drawn.
        seed: Draws the tokens, for each prompt by itself.
        every_token: False lets the interventions act on the prompt's own tokens only.
        engine: The same model as the package interp-engine has loaded it (vLLM on GPUs), which then
            writes the likeliest tokens: interp_engine.load_model("Qwen/Qwen3-8B"). The
            interventions must be additions to the stream (`direction.push()`), and under them the
            stream after the last layer is first compared in both.

    Returns:
        A Generation, or a list of them for several prompts. It ends at the tokenizer's end token,
        which is not part of the text.

    Raises:
        ValueError: If the prompt and the new tokens are more than the model reads, or an engine
            cannot do what is asked or gives other numbers.

    Cost:
        One forward pass per new token; nothing is cached between them. An engine keeps keys and
        values, and takes one prompt at a time.
    """
    if engine is not None and temperature > 0:
        raise ValueError(
            f"temperature={temperature} with engine=: it draws by a generator of its own, so that"
            " the seed would mean another text; leave one of them out"
        )
    if max_new_tokens < 1 or temperature < 0:
        raise ValueError(
            f"max_new_tokens={max_new_tokens}, temperature={temperature}: at least 1, and at"
            " least 0"
        )
    batches = list(batches_by_length(model, prompt))
    edits = list(interventions)
    if len(batches) > 1 and any(edit.rows is not None for edit in edits):
        raise ValueError("an intervention on some rows needs prompts of one length")
    written: dict[int, Generation] = {}
    metadata = {
        "model": bridge.name(model),
        "temperature": temperature,
        "seed": seed,
        "interventions": [str(e.at) for e in edits],
    }
    for batch in batches:
        if engine is None:
            new = continuation(
                model, batch.tokens, edits, max_new_tokens, temperature, seed, every_token
            )
        else:
            length = _length(model, batch.tokens, max_new_tokens)
            held = [_held(edit, length, length + 1, every_token) for edit in edits]
            new = engine_continuation(engine, model, batch.tokens, held, max_new_tokens)
        for i, before, after in zip(batch.index, batch.tokens, new):
            written[i] = _generation(model.tokenizer, before, after, metadata)
    single = (
        isinstance(prompt, str)
        or (isinstance(prompt, Tensor) and prompt.ndim == 1)
        or _is_ids(prompt)
    )
    return written[0] if single else [written[i] for i in sorted(written)]


def _is_ids(prompt: Any) -> bool:
    return isinstance(prompt, Sequence) and len(prompt) > 0 and isinstance(prompt[0], int)


def _generation(
    tokenizer: Any, before: Tensor, after: Tensor, metadata: dict[str, Any]
) -> Generation:
    """The Generation of one prompt, cut at the end token."""
    stop = (
        (after == tokenizer.eos_token_id).nonzero()
        if tokenizer.eos_token_id is not None
        else after[:0]
    )
    ended = len(stop) > 0
    after = after[: int(stop[0])] if ended else after
    return Generation(tokenizer.decode(before), tokenizer.decode(after), after, ended, metadata)


def continuation(
    model: Model | None,
    tokens: Int[Tensor, "batch pos"],
    interventions: Sequence[Intervention],
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    every_token: bool = True,
) -> Int[Tensor, "batch new"]:
    """The ids that a model writes after prompts of one length; drop what follows an end token."""
    prompt = _length(model, tokens, max_new_tokens)
    tokens = tokens.to(bridge.device(model))
    draws = [torch.Generator().manual_seed(seed) for _ in tokens]
    stop = -1 if model.tokenizer.eos_token_id is None else model.tokenizer.eos_token_id
    ended = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
    for _ in sweep.progress(range(max_new_tokens), "generate"):
        edits = [_held(i, prompt, tokens.shape[1], every_token) for i in interventions]
        logits = run(model, tokens, edits, last_only=True).logits
        new = logits.argmax(-1) if temperature == 0 else _draw(logits / temperature, draws)
        tokens = torch.cat([tokens, new[:, None]], 1)
        ended |= new == stop
        if bool(ended.all()):
            break
    return tokens[:, prompt:]


def _length(model: Model, tokens: Tensor, max_new_tokens: int) -> int:
    """The prompts' length; ValueError where the model does not read so much and what is new."""
    prompt, n_ctx = tokens.shape[1], bridge.dims(model).n_ctx
    if prompt + max_new_tokens - 1 > n_ctx:
        raise ValueError(
            f"{prompt} tokens of prompt and {max_new_tokens} new ones: the model reads at most"
            f" {n_ctx}"
        )
    return prompt


def _draw(logits: Tensor, draws: list[torch.Generator]) -> Int[Tensor, "batch"]:
    """A token for each prompt, drawn by its own generator, independent of the others."""
    chances = logits.float().softmax(-1).cpu()  # drawn on the CPU: the same seed, the same text
    drawn = [torch.multinomial(row, 1, generator=g) for row, g in zip(chances, draws)]
    return torch.cat(drawn).to(logits.device)


def _held(intervention: Intervention, prompt: int, length: int, every_token: bool) -> Intervention:
    """The intervention on a prompt that has grown to `length` tokens."""
    site = Site.parse(intervention.at)
    if site.pos in (None, sites.STAR):
        return (
            intervention
            if every_token
            else replace(intervention, edit=_first(intervention.edit, prompt))
        )
    if site.pos in (-1, "END"):
        last = length if every_token else prompt
        return replace(
            intervention, at=site.at(None), edit=_each(intervention.edit, prompt - 1, last)
        )
    if isinstance(site.pos, int):
        sites.position(site, prompt)
        return replace(intervention, at=site.at(site.pos % prompt))
    raise unknown(
        "position in generated text", site.pos, ("END",), "a number, or END for the newest token"
    )


def _each(edit: Edit, first: int, last: int) -> Edit:
    """The edit of one position, at each of the positions from first up to last."""

    def part(act: Tensor, seen: Seen) -> Tensor:
        edited = [edit(act[:, at : at + 1], seen) for at in range(first, last)]
        return torch.cat([act[:, :first], *edited, act[:, last:]], 1)

    return part


def _first(edit: Edit, prompt: int) -> Edit:
    """The edit at the prompt's tokens only."""

    def part(act: Tensor, seen: Seen) -> Tensor:
        return torch.cat(
            [edit(act[:, :prompt], {k: v[:, :prompt] for k, v in seen.items()}), act[:, prompt:]], 1
        )

    return part
