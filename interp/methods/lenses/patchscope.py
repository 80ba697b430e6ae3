"""Patchscopes: the model tells what a representation holds when it is put into another prompt."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import torch

from interp import sites
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.edits import set_to
from interp.interventions import Intervention, run
from interp.methods.runs import sweep
from interp.methods.runs.batching import token_ids
from interp.methods.steering.direction import width
from interp.methods.steering.generate import continuation
from interp.models import bridge
from interp.results import Result
from interp.sites import Site
from interp.tasks.task import single

# Repeats whatever stands before the arrow: what is put in the place of "?" is written out again.
IDENTITY = "tree -> tree; 42 -> 42; blue -> blue; ? ->"


@dataclass(frozen=True, eq=False)
class Readings:
    """What the model wrote for each pair of source and target layer.

    Attributes:
        texts: By the labels of `result`, in its order.
        result: The probability of the first new token (of `answer` when one was asked for), with
            one axis for each star: "source", "target".
    """

    texts: dict[str, str]
    result: Result

    def __repr__(self) -> str:
        wide = max(map(len, self.texts))
        values = self.result.values.ravel()
        return "\n".join(
            f"{label:<{wide}}  {p:.3f}  {text!r}"
            for (label, text), p in zip(self.texts.items(), values)
        )

    def _repr_html_(self) -> str:
        head = (
            f"<tr><th></th><th>{escape(self.result.name)}</th><th style='text-align:left'>what is"
            " written</th></tr>"
        )
        cell = (
            "<tr><td style='text-align:left'>{}</td><td>{:.3f}</td><td"
            " style='text-align:left;white-space:pre'>{}</td></tr>"
        )
        values = self.result.values.ravel()
        body = "".join(
            cell.format(escape(a), p, escape(repr(t)[1:-1]))
            for (a, t), p in zip(self.texts.items(), values)
        )
        return (
            f"<table>{head}{body}</table><div><small>{escape(self.result.caption())}</small></div>"
        )


@torch_defaults()
def patchscope(
    model: Model,
    source_prompt: Any,
    target_prompt: Any = IDENTITY,
    *,
    source: str = "resid_post.8@-1",
    target: str = "resid_post.8@-2",
    layers: Sequence[int] | None = None,
    max_new_tokens: int = 5,
    answer: str | None = None,
) -> Readings:
    """Patchscopes: what the model writes with another prompt's representation put into this one.

    Example:
        >>> prompt = "The capital of France"
        >>> patchscope(model, prompt, source="resid_post.*@-1", target="resid_post.2@-2")

    Args:
        model: A loaded model.
        source_prompt: A text, or ids [pos]: where the representation comes from.
        target_prompt: A text, or ids [pos]: where it is put. The default repeats words, and the
            place is its "?", the last token but one.
        source: One place, or a sweep over layers ("resid_post.*@-1").
        target: The same; every source is put at every target.
        layers: Only these layers of a sweep.
        max_new_tokens: How much is written.
        answer: A word of one token (" Paris") whose probability is asked for.

    Returns:
        Readings: the texts, and the probability of the first new token (or of `answer`), axes
        "source" and "target" where they sweep. The place keeps the value also while the text is
        written.

    Raises:
        ValueError: If a place has no position, or the two places have different widths.

    Reference:
        Ghandeharioun et al. 2024 (arXiv 2401.06102).
    """
    started = time.perf_counter()
    given, into = _one(model, source_prompt, "source"), _one(model, target_prompt, "target")
    froms, tos = (
        _places(model, source, len(given), layers),
        _places(model, target, len(into), layers),
    )
    d = bridge.dims(model)
    if width(froms[0], d) != width(tos[0], d):
        raise ValueError(
            f"{source!r} holds {width(froms[0], d)} numbers and {target!r} {width(tos[0], d)}: put"
            " like into like"
        )
    cache = run(model, given[None], keep=froms, last_only=True).kept
    cells = [(a, b) for a in froms for b in tos]
    if answer is not None:
        answer_id = single(model.tokenizer, answer)
    texts, probabilities = [], []
    per_run = max(1, sweep.TOKENS_PER_RUN // (len(into) + max_new_tokens))
    for first in sweep.progress(range(0, len(cells), per_run), "patchscope"):
        part = cells[first : first + per_run]
        edits = [
            Intervention(b, set_to(cache[str(a)]), rows=slice(i, i + 1))
            for i, (a, b) in enumerate(part)
        ]
        tokens = into.repeat(len(part), 1)
        probs = run(model, tokens, edits, last_only=True).logits.softmax(-1)
        new = continuation(model, tokens, edits, max_new_tokens, every_token=False)
        wanted = new[:, 0] if answer is None else torch.full_like(new[:, 0], answer_id)
        probabilities += probs.gather(1, wanted[:, None])[:, 0].tolist()
        texts += [model.tokenizer.decode(row) for row in new]
    swept = {
        name: [s.layer for s in places]
        for name, site, places in (("source", source, froms), ("target", target, tos))
        if "*" in site
    }
    metadata = sweep.provenance(
        model, None, "patchscope", started, source=source, target=target, backend="hooks"
    )
    name = "probability of the first new token" if answer is None else f"probability of {answer!r}"
    values = torch.tensor(probabilities).reshape([len(v) for v in swept.values()])
    result = Result(to_numpy(values), tuple(swept), swept, name, "probability", metadata)
    return Readings(dict(zip([f"{a} to {b}" for a, b in cells], texts)), result)


def _one(model: Model, prompt: Any, which: str) -> torch.Tensor:
    """The ids of the one prompt that was given."""
    prompts = token_ids(model, prompt)
    if len(prompts) != 1:
        raise ValueError(f"a patchscope reads one {which} prompt, got {len(prompts)}")
    return prompts[0]


def _places(model: Model, where: str, length: int, layers: Sequence[int] | None) -> list[Site]:
    """The single places of a sweep over layers."""
    site, d = Site.parse(where), bridge.dims(model)
    if not isinstance(site.pos, int) or set(site.stars) - {"layer"}:
        raise ValueError(
            f"a patchscope reads and sets one token, its layers may be swept: {where!r} (try"
            " 'resid_post.*@-1')"
        )
    places = list(sites.expand(site, d, length).sites)
    width(places[0], d)
    if layers is None or not site.stars:
        return places
    wrong = [layer for layer in layers if not 0 <= layer < d.n_layers]
    if wrong or not layers:
        raise ValueError(f"layers={list(layers)}: this model has layers 0 to {d.n_layers - 1}")
    return [s for s in places if s.layer in layers]
