"""Text that a model of the package interp-engine writes, in the place of runs of our own: it keeps
keys and values, and on GPUs vLLM is behind it.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp import sites
from interp._types import Model
from interp.interventions import Intervention, run
from interp.methods.runs import sweep
from interp.methods.runs.engine_package import check_same, package_of
from interp.models import bridge
from interp.sites import Site

PROMPTS = 2  # that are read from both before anything is written
NEUTRAL = dict(temperature=0.0, top_k=0, top_p=1.0, presence_penalty=0.0)


def engine_continuation(
    engine: Any,
    model: Model,
    tokens: Int[Tensor, "batch pos"],
    interventions: Sequence[Intervention],
    max_new_tokens: int,
) -> Int[Tensor, "batch new"]:
    """The likeliest ids that an engine writes after prompts of one length, one prompt at a time.

    Args:
        engine: A model of interp-engine's.
        model: The same model, loaded here; the stream after its last layer is compared first, with
            the interventions.
        tokens: The prompts.
        interventions: As `held` at a prompt with one more token: each adds one vector to the stream
            at some positions.
        max_new_tokens: How many.
    """
    package, prompt = package_of(engine), tokens.shape[1]
    specs, spared, later = steering(package, model, prompt, interventions)

    def steered(ids: Tensor) -> Any:
        if not specs:
            return contextlib.nullcontext()
        return package.steer(
            engine, specs, prompt_token_ids=ids.tolist(), position_mask=spared, generated=later
        )

    last = f"resid_post.{bridge.dims(model).n_layers - 1}"
    here = [edit for edit in interventions if _in_prompt(edit, prompt)]
    ours = run(model, tokens[:PROMPTS], [_cut(e, prompt) for e in here], [last]).kept[last]
    for ids, value in zip(tokens, ours):
        with steered(ids), torch.no_grad():
            found = package.capture(engine, ids[None], [last])[last]
        check_same(found, value[None], last, bridge.name(model))
    written = []
    for ids in sweep.progress(list(tokens), "generate"):
        with steered(ids):
            steps = package.generate_stream(
                engine, ids[None], max_tokens=max_new_tokens, stop_at_eos=False, **NEUTRAL
            )
            written.append(torch.tensor([step.token_id for step in steps]))
    return torch.stack(written).to(tokens.device)


def steering(
    package: Any, model: Model, prompt: int, interventions: Sequence[Intervention]
) -> tuple[list[Any], list[int], bool]:
    """The engine's steering, the prompt's positions that it spares, and whether it holds later.

    What an intervention does is asked of itself, at a prompt with one more token: what it adds to
    zeros must be what it adds to anything.
    """
    d, specs, where = bridge.dims(model), [], set()
    g = torch.Generator().manual_seed(0)
    for edit in interventions:
        site = Site.parse(edit.at)
        if site.family not in ("resid_pre", "resid_post") or edit.reads or edit.rows is not None:
            raise _not_there(edit, "is not made in the stream between layers of every prompt")
        zeros = torch.zeros(1, prompt + 1, d.d_model)
        added = _applied(edit, zeros)
        for scale in (1.0, 30.0):
            x = scale * torch.randn(zeros.shape, generator=g)
            if not torch.allclose(_applied(edit, x) - x, added, atol=1e-4 * scale, rtol=1e-4):
                raise _not_there(edit, "adds no fixed vector to what is there")
        held = added[0].abs().amax(-1) > 0
        if not held.any():  # a strength of zero
            continue
        vector = added[0][held][0]
        if not torch.allclose(added[0][held], vector.expand(int(held.sum()), -1), atol=1e-5):
            raise _not_there(edit, "adds another vector at another position")
        where.add(tuple(held.tolist()))
        for one in sites.expand(site.at(None), d).sites:
            layer = one.layer if site.family == "resid_post" else one.layer - 1
            if layer < 0:
                raise _not_there(edit, "is made before the first layer")
            point = f"resid_post.{layer}"
            specs.append(package.SteeringSpec.at(point, package.AddSpec(vector, 1.0)))
    if len(where) > 1:
        raise ValueError(
            "these interventions hold at different positions, and an engine steers all of them at"
            " the same ones: generate with one kind of position, or leave engine= out"
        )
    held_at = next(iter(where), (False,) * (prompt + 1))
    return specs, [k for k in range(prompt) if not held_at[k]], held_at[prompt]


def _applied(edit: Intervention, x: Tensor) -> Tensor:
    """What an intervention makes of a stream [1 pos d_model]."""
    pos, at = Site.parse(edit.at).pos, torch.arange(x.shape[1])[None]
    if not isinstance(pos, int):
        return edit.edit(x, {"pos": at})
    new = x.clone()
    new[:, [pos]] = edit.edit(x[:, [pos]], {"pos": at[:, [pos]]})
    return new


def _in_prompt(edit: Intervention, prompt: int) -> bool:
    pos = Site.parse(edit.at).pos
    return not isinstance(pos, int) or pos < prompt


def _cut(edit: Intervention, prompt: int) -> Intervention:
    """An intervention that is held at a prompt with one more token, at the prompt alone."""
    if isinstance(Site.parse(edit.at).pos, int):
        return edit

    def part(act: Tensor, seen: Any) -> Tensor:
        longer = torch.cat([act, act[:, -1:]], 1)
        return edit.edit(longer, {"pos": torch.arange(prompt + 1)[None]})[:, :-1]

    return Intervention(edit.at, part)


def _not_there(edit: Intervention, why: str) -> ValueError:
    return ValueError(
        f"the intervention at {str(edit.at)!r} {why}, and an engine steers only so: for example"
        " direction.push(2.0, at='resid_post.12'); leave engine= out for others"
    )
