"""The predictions of a patched run, ready to be asked for many sites of one prompt."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp import engine
from interp._isolation import torch_defaults
from interp._types import Model
from interp.interventions import run
from interp.methods.patching.patch import (
    Where,
    base_and_source,
    expand_sites,
    patch_interventions,
    pattern_text,
)
from interp.methods.runs import engine_sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.models import bridge


@torch_defaults()
@any_prompts(answers=True, compares=True, join=False)
def patched_logits(
    model: Model, task: Any, direction: str = "denoising", *, backend: str | None = None
) -> tuple[Float[Tensor, "batch d_vocab"], Callable[[Where], Float[Tensor, "batch d_vocab"]]]:
    """The base run's logits at END, and a function from sites to the logits when they are patched.

    The two plain runs are made once, so that each further site costs only the layers after it.

    Example:
        >>> before, patched = patched_logits(model, task[0])
        >>> patched("resid_pre.12@-1") - before

    Args:
        model: A loaded model.
        task: A task with clean and corrupted prompts, of one length.
        direction: "denoising" or "noising", as in `patch`.
        backend: "engine" or "hooks"; None chooses.

    Returns:
        The logits [batch d_vocab], and a function of what `patch` takes for one cell that gives
        logits of the same shape.

    Raises:
        ValueError: From the function, if the sites are several cells or of a kind it cannot patch.
    """
    base, source = base_and_source(task, direction, "metric")
    engine_model = None if backend == "hooks" else engine.find(model)
    if engine_model is None:
        before = run(model, base, last_only=True).logits

        @torch_defaults()
        def by_hooks(where: Where) -> Tensor:
            (edits,) = patch_interventions(model, _one(model, task, where), source, task.positions)
            return run(model, base, edits, positions=task.positions, last_only=True).logits

        return before, by_hooks
    known = ("z", "k", "v", "attn_out", "mlp_out", "resid_pre")
    with bridge.LOCK, torch.no_grad():
        base_run, other = (
            engine.run(engine_model, base, keep=known),
            engine.run(engine_model, source, keep=known, logits=None),
        )

    @torch_defaults()
    def by_engine(where: Where) -> Tensor:
        (sites,) = _one(model, task, where)
        kinds = {s: engine_sweep.KINDS.get((s.family, s.part)) for s in sites}
        unknown_site = next((s for s, kind in kinds.items() if kind not in known), None)
        if unknown_site is not None:
            raise ValueError(
                f"{str(unknown_site)!r} cannot be patched here (try 'resid_pre.5@-1', 'mlp.5', "
                "'attn.5' or 'L5H1')"
            )
        patches = [
            engine_sweep.engine_patch(
                site, engine_sweep.kind_of(engine_model, site), task.positions
            )
            for site in sites
        ]
        with bridge.LOCK, torch.no_grad():
            return engine.sweep(
                engine_model,
                base_run,
                other,
                [patches],
                engine.vocab(engine_model, lambda logits: logits),
            )[0]

    return base_run.logits, by_engine


def _one(model: Model, task: Any, where: Where) -> list[list[Any]]:
    """The sites of the one cell that was asked for."""
    grid, groups = expand_sites(model, task, where)
    if len(groups) != 1:
        raise ValueError(
            f"{pattern_text(where)!r} is {len(groups)} cells: name one (try 'resid_pre.5@-1')"
        )
    return groups
