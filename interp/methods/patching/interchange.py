"""Interchange interventions: does swapping a site swap the causal variable?"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp._interrupts import keeps_finished
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.methods.patching.patch import (
    Where,
    expand_sites,
    first_change,
    groups_that_change,
    patch_interventions,
    pattern_text,
    sweep_result,
)
from interp.methods.patching.random_weights import random_weights
from interp.methods.patching.subspace import Subspace
from interp.methods.patching.suffix import Suffix, suffix
from interp.methods.runs import checkpoint, rounding, sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.swap_answers import SwapAnswers, check_swap, swap_accuracy, swap_answers
from interp.results import Result
from interp.sites import Site
from interp.tasks.task import Task, digest

DRAWS = 5  # random subspaces, and placebos, whose mean is shown
NAME, UNIT = "interchange accuracy", "share of prompts"


@keeps_finished
@torch_defaults()
@any_prompts(answers=True, compares=True, whole=False, swaps=True)
def interchange(
    model: Model,
    task: Any,
    where: Where | None = None,
    *,
    subspace: Subspace | None = None,
    seed: int = 0,
    backend: str | None = None,
    resume: str | Path | None = None,
) -> Result:
    """Interchange accuracy: how often swapping a site's value in gives the answer after the swap.

    The clean prompt is run with the site as it is in the source prompt (the task's corrupted one).
    If the site carries the causal variable, and nothing else that matters, the answer becomes the
    one that the causal model predicts, `task.swap_answers`.

    Example:
        >>> task = interp.tasks.ioi(model, n=32)
        >>> interp.interchange(model, task, "resid_post.*@END").plot()
        >>> find, judge = task.split(0.5)
        >>> space = interp.align(model, find, "resid_post.15@END", k=8)
        >>> interp.interchange(model, judge, subspace=space)             # beside its controls

    Args:
        model: A loaded model.
        task: A task that says what the answers are after the swap: `interp.tasks.pairs(...,
            source=, swapped=)`, or a built-in one with `task.has_swap_answers`.
        where: An address pattern (its stars are the axes of the result), or what `patch` takes
            besides. Left out for a subspace, which knows its site.
        subspace: Swap only the part of the value that lies in it.
        seed: Draws the controls of a subspace.
        backend: "engine" or "hooks"; None chooses. `metadata["backend"]` says which ran.
        resume: A path.npz that stores finished cells of a sweep.

    Returns:
        The share of prompts whose answer after the swap is above every other answer of the task (on
        top of all tokens where there is no other), one value (0 or 1) per example kept. Below a
        printed table, and as a line in a picture, stands "no swap": the share without any swap,
        `metadata["compare with"]["no swap"]`.

        With a subspace, the axis "swapped": the subspace itself, and what must be read beside it,
        because a subspace that can be trained to do anything shows nothing:

        - "whole site": all of the value;
        - "random subspace": of the same rank, and "placebo": a random change of the same length as
          the subspace's own, each the mean of 5 draws;
        - "labels at random": a subspace fitted in the same way to a drawn answer of each prompt;
        - "random weights": the same fit in the same architecture with random weights, judged there,
          and "random weights, no swap": what that model gives without any swap;
        - "no swap".

    Raises:
        ValueError: If the task has no answers after the swap, the prompts are the same, the
            subspace was fitted to some of these pairs, or belongs to another model or site.

    Cost:
        One partial forward pass per site; with a subspace about 14 from its site on, and a model
        with random weights is made.

    Reference:
        Geiger et al. 2021 (arXiv 2106.02997) and 2023 (arXiv 2303.02536). The controls follow
        Makelov et al. 2023 (arXiv 2311.17030) and Wu et al. 2024 (arXiv 2401.12631).
    """
    started = time.perf_counter()
    check_swap(task)
    if subspace is not None:
        if resume is not None:
            raise ValueError("resume= stores the cells of a sweep, and a subspace is one site")
        return _in_subspace(model, task, where, subspace, seed, backend, started)
    if where is None:
        raise ValueError(
            "interchange needs a site, interp.interchange(model, task, 'resid_post.*@END'), or a "
            "subspace, which has one"
        )
    base, source, metric = task.clean, task.corrupted, swap_accuracy(task)
    grid, groups = expand_sites(model, task, where)
    active = groups_that_change(groups, first_change(model, base, source))
    cells: list[list[Site]] = [*(groups[i] for i in active), []]  # the last: nothing is swapped
    ledger = resume and checkpoint.ledger(
        resume, sweep.unedited_metric(model, base, metric, task.positions)
    )
    values, backend_used = sweep.sweep(
        model,
        base,
        source,
        cells,
        lambda which, rows: patch_interventions(
            model,
            [cells[i] for i in which],
            source[rows],
            {name: at[rows] for name, at in task.positions.items()},
        ),
        metric,
        task.positions,
        f"interchange {pattern_text(where)}",
        backend,
        ledger=ledger,
        needed=1,
    )
    swapped = values[-1].expand(len(groups), -1).clone()
    swapped[active] = values[:-1]
    metadata = sweep.provenance(
        model,
        task,
        "interchange",
        started,
        pattern=pattern_text(where),
        metric=metric.name,
        backend=backend_used,
    )
    metadata["compare with"] = {"no swap": float(values[-1].mean())}
    name = f"{NAME} at {where}" if isinstance(where, str | Site) else NAME
    result = sweep_result(swapped, grid, task, name, UNIT, metadata)
    return rounding.noted(result, model, task, metric)


# --- a part of the value --------------------------------------------------------------------------


def _in_subspace(
    model: Model,
    task: Task,
    where: Where | None,
    space: Subspace,
    seed: int,
    backend: str | None,
    started: float,
) -> Result:
    """The accuracy of a subspace beside its controls, axis "swapped"."""
    site = Site.parse(space.site)
    if where is not None and str(where) != space.site:
        raise ValueError(
            f"this subspace is one of {space.site!r}, not of {pattern_text(where)!r}: leave the "
            "site out, interp.interchange(model, task, subspace=space)"
        )
    space.check(model)
    _check_pairs(task, space)
    first_change(model, task.clean, task.corrupted)  # raises where the prompts are the same
    compared = swap_answers(task)
    rest = suffix(model, site, task.clean, task.corrupted, task.positions, backend)
    g = torch.Generator().manual_seed(seed)
    shape = tuple(space.basis.shape)
    random_spaces = [random_basis(shape, g) for _ in range(DRAWS)]
    own = part(rest, space.basis)
    rows: dict[str, list[Tensor]] = {
        "subspace": [own],
        "whole site": [rest.source - rest.base],
        "random subspace": [part(rest, basis) for basis in random_spaces],
        "placebo": [placebo(own, g) for _ in range(DRAWS)],
    }
    random_labels = space.controls.get("labels at random")
    if random_labels is not None:
        rows["labels at random"] = [part(rest, random_labels)]
    rows["no swap"] = [torch.zeros_like(own)]
    shares = _shares(rest, compared, rows)
    untrained = space.controls.get("random weights")
    if untrained is not None:
        other = random_weights(model, int(space.metadata.get("seed", 0)))
        there = suffix(other, site, task.clean, task.corrupted, task.positions, backend)
        last = shares.pop("no swap")
        changes = {
            "random weights": [part(there, untrained)],
            "random weights, no swap": [torch.zeros_like(there.base)],
        }
        shares |= _shares(there, compared, changes)
        shares["no swap"] = last
    examples = torch.stack(list(shares.values()))
    metadata = sweep.provenance(
        model,
        task,
        "interchange in a subspace",
        started,
        pattern=space.site,
        subspace=repr(space),
        k=space.k,
        metric=NAME,
        draws=DRAWS,
        backend=rest.backend,
    )
    without = [name for name in ("labels at random", "random weights") if name not in shares]
    if without:
        metadata["controls that were not fitted"] = without
    return Result(
        to_numpy(examples).mean(-1),
        ("swapped",),
        {"swapped": list(shares)},
        f"{NAME} at {space.site}",
        UNIT,
        metadata,
        to_numpy(examples),
    )


def _check_pairs(task: Task, space: Subspace) -> None:
    """A ValueError where a subspace would be judged on pairs that it was fitted to."""
    fitted = set(space.metadata.get("pairs", ()))
    shared = sum(pair in fitted for pair in pair_digests(task))
    if shared:
        raise ValueError(
            f"{shared} of these {len(task)} pairs are among those that the subspace was fitted to: "
            "judge it on others (find, judge = task.split(0.5), or task.heldout())"
        )


def pair_digests(task: Task) -> list[str]:
    """A short name for each pair of prompts."""
    both = zip(task.prompts, task.corrupted_prompts)
    return [digest([*clean.tolist(), -1, *source.tolist()]) for clean, source in both]


def random_basis(shape: tuple[int, int], g: torch.Generator) -> Tensor:
    """Orthonormal columns of a random subspace [d k]."""
    return torch.linalg.qr(torch.randn(*shape, generator=g)).Q


def part(rest: Suffix, basis: Tensor) -> Tensor:
    """What a swap in a subspace changes at the site [batch ... d]."""
    change = (rest.source - rest.base).float()
    basis = basis.to(change.device)
    return ((change @ basis) @ basis.T).to(rest.base.dtype)


def placebo(change: Tensor, g: torch.Generator) -> Tensor:
    """A change in a random direction, as long as the one given."""
    drawn = torch.randn(change.shape, generator=g).to(change.device)
    length = change.float().norm(dim=-1, keepdim=True)
    return (drawn / drawn.norm(dim=-1, keepdim=True) * length).to(change.dtype)


def _shares(
    rest: Suffix, compared: SwapAnswers, rows: Mapping[str, list[Tensor]]
) -> dict[str, Tensor]:
    """Whether each prompt has the answer after the swap, the mean over a row's changes [batch]."""
    everyone = torch.arange(len(rest.base))
    out = {}
    with torch.no_grad():
        for name, changes in rows.items():
            right = [accuracy(rest, compared, rest.base + change, everyone) for change in changes]
            out[name] = torch.stack(right).mean(0)
    return out


def accuracy(rest: Suffix, compared: SwapAnswers, values: Tensor, at: Tensor) -> Tensor:
    """1 where the answer after the swap is the best with these values at the site [batch]."""
    if compared.columns_only:
        return compared.right(rest.logits(values[None], at, compared.ids).float())[0]
    logits = rest.logits(values[None], at, None).float()
    few = logits.gather(-1, compared.ids.to(logits.device)[None])
    return compared.right(few, logits.amax(-1))[0]
