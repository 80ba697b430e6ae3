"""Distributed alignment search: the subspace of a site that carries a causal variable."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interp import sites
from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.methods.lenses.tuned_lens import fingerprint
from interp.methods.patching.interchange import accuracy, pair_digests, part, random_basis
from interp.methods.patching.patch import first_change
from interp.methods.patching.random_weights import random_weights
from interp.methods.patching.subspace import Subspace, loss_curve
from interp.methods.patching.suffix import Suffix, suffix
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.swap_answers import SwapAnswers, check_swap, swap_answers
from interp.methods.steering.direction import width
from interp.models import bridge
from interp.sites import Site
from interp.tasks.task import Task

COLD, WARM = 0.02, 1.0  # the temperature of a mask at the end and at the start of a fit
RATE = 0.1  # of Adam, in units of an entry of an orthonormal column


class Fit(NamedTuple):
    """What a kind of subspace learns.

    Attributes:
        parameters: What the optimiser moves.
        change: (the source's difference [batch ... d], temperature 1 to 0.02) -> the part of it
            that is swapped in.
        penalty: The part of the loss that does not depend on prompts.
        basis: The orthonormal columns in the end.
        rates: How fast each parameter moves, in units of the fit's rate.
    """

    parameters: Sequence[Tensor]
    change: Callable[[Tensor, float], Tensor]
    penalty: Callable[[float], Tensor | float]
    basis: Callable[[], Tensor]
    rates: Sequence[float]


@torch_defaults()
@any_prompts(answers=True, compares=True, join=False, whole=False, swaps=True)
def align(
    model: Model,
    task: Any,
    where: str | Site,
    *,
    k: int = 8,
    kind: str = "das",
    steps: int = 200,
    batch: int = 16,
    seed: int = 0,
    controls: bool = True,
    backend: str | None = None,
) -> Subspace:
    """The subspace of a site that carries a causal variable, learned by gradient.

    The subspace is moved so that swapping the source prompt's part of it into the clean run gives
    the answer after the swap. The model stays as it is.

    Example:
        >>> find, judge = interp.tasks.ioi(model, n=64, corruption="position").split(0.5)
        >>> space = interp.align(model, find, "resid_post.15@END", k=8)
        >>> interp.interchange(model, judge, subspace=space)     # on other pairs, beside controls
        >>> space.plot()

    Args:
        model: A loaded model.
        task: A task that says what the answers are after the swap (see `interchange`).
        where: One address. Without a position the swap is at every position.
        k: The dimension of the subspace; for "boundless" the most it may have.
        kind: "das": k orthonormal directions. "boundless": orthonormal directions of which the
            first so many are swapped, and how many is learned, with a penalty on it. "mask": k of
            the site's own coordinates (of `mlp.3.post`: neurons).
        steps: Steps of Adam; the learning rate falls to zero.
        batch: Pairs a step, drawn by the seed.
        seed: Decides the start, the batches and the controls.
        controls: Fit the two controls that need a fit as well, in the same way: to an answer of
            each prompt that is drawn at random, and in a model with random weights. `interchange`
            shows them. They take as long again each.
        backend: "engine" or "hooks"; None chooses.

    Returns:
        The Subspace. Its accuracy on the pairs of the fit says little: judge it with `interchange`
        on others. A fit can also end where it learns nothing, most often for a small k (on
        `interp.toys.equality_task` with k=1, one start of three): `plot()` shows a loss that does
        not fall, and another seed helps. A subspace that swaps the variable need not be the one
        that the model reads: see `Subspace.angles`.

    Raises:
        ValueError: If the task has no answers after the swap, k is out of range, the site holds no
            vector, or options are unknown.

    Cost:
        For each step the layers from the site on, forward and back, for `batch` prompts; with a
        position only the tokens from there on. Three times with controls.

    Reference:
        Geiger et al. 2023 (arXiv 2303.02536); boundless: Wu et al. 2023 (arXiv 2305.08809); mask:
        De Cao et al. 2020 (arXiv 2004.14992). The loss is the cross-entropy among the task's own
        answers, where the papers take the whole vocabulary; a rotation is kept orthonormal by a QR
        decomposition, and only its first k columns are ever made.
    """
    started = time.perf_counter()
    site = Site.parse(where)
    d = _checked(model, task, site, k, kind, steps, batch)
    pieces = [part.steps[0].task for part in task.parts]
    for piece in pieces:
        first_change(model, piece.clean, piece.corrupted)  # raises where the prompts are the same
    compared = [swap_answers(piece) for piece in pieces]
    rests = _rests(model, site, pieces, backend)
    bases, losses = {}, {}
    of_controls: dict[str, str] = {}
    bar = sweep.progress(None, f"align {site}", total=steps * (3 if controls else 1))
    with bar:

        def fit(name: str, suffixes: Sequence[Suffix], targets: Sequence[SwapAnswers]) -> None:
            bases[name], losses[name] = _fit(
                KINDS[kind](d, k, seed), suffixes, targets, steps, batch, seed, bar
            )

        fit("subspace", rests, compared)
        if controls:
            fit("labels at random", rests, [c.at_random(seed + i) for i, c in enumerate(compared)])
            try:
                other = random_weights(model, seed)
            except ValueError as error:
                of_controls["random weights"] = str(error)
            else:
                fit("random weights", _rests(other, site, pieces, backend), compared)
    basis = bases.pop("subspace")
    with torch.no_grad():
        right = torch.cat(
            [
                accuracy(rest, answers, rest.base + part(rest, basis), torch.arange(len(rest.base)))
                for rest, answers in zip(rests, compared)
            ]
        )
    metadata = sweep.provenance(
        model,
        task,
        "align",
        started,
        kind=kind,
        backend=rests[0].backend,
        steps=steps,
        batch=batch,
        seed=seed,
        pairs=[name for piece in pieces for name in pair_digests(piece)],
        **{"accuracy on the pairs of the fit": float(right.mean())},
    )
    if of_controls:
        metadata["controls left out"] = of_controls
    curve = loss_curve(to_numpy(torch.tensor(list(losses.values()))), list(losses))
    return Subspace(basis, str(site), fingerprint(model), curve, bases, metadata)


def _rests(model: Model, site: Site, pieces: Sequence[Task], backend: str | None) -> list[Suffix]:
    return [suffix(model, site, p.clean, p.corrupted, p.positions, backend) for p in pieces]


def _checked(
    model: Model, task: Task, site: Site, k: int, kind: str, steps: int, batch: int
) -> int:
    """The width of the site; a ValueError for options out of range."""
    check_swap(task)
    if kind not in KINDS:
        raise unknown("kind of subspace", kind, KINDS, "kind='das'")
    if site.stars:
        raise ValueError(
            f"a subspace belongs to one place, {str(site)!r} is many (try 'resid_post.15@END')"
        )
    dims = bridge.dims(model)
    d = width(sites.check(site, dims), dims)
    if isinstance(site.pos, str) and site.pos not in task.position_names:
        raise unknown("position", site.pos, task.position_names, "'END'")
    if not 1 <= k <= d:
        raise ValueError(
            f"k={k}: {str(site)!r} of {bridge.name(model)} has {d} dimensions, so k is 1 to {d}"
        )
    if steps < 1 or batch < 1:
        raise ValueError(f"steps={steps}, batch={batch}: at least 1 of each")
    return d


def _fit(
    learned: Fit,
    rests: Sequence[Suffix],
    targets: Sequence[SwapAnswers],
    steps: int,
    batch: int,
    seed: int,
    bar: Any,
) -> tuple[Tensor, list[float]]:
    """The basis after some steps of Adam, and the loss of each step in nats."""
    g = torch.Generator().manual_seed(seed)
    sizes = torch.tensor([float(len(rest.base)) for rest in rests])
    d = rests[0].base.shape[-1]
    groups = [
        {"params": [p], "lr": RATE * rate * (d**-0.5 if p.ndim == 2 else 1)}
        for p, rate in zip(learned.parameters, learned.rates)
    ]
    optimiser = torch.optim.Adam(groups)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    losses = []
    for step in range(steps):
        # prompts of one length a step, each length as often as it has prompts
        which = int(torch.multinomial(sizes, 1, generator=g))
        rest, target = rests[which], targets[which]
        at = torch.randperm(len(rest.base), generator=g)[:batch].sort().values
        temperature = WARM * (COLD / WARM) ** (step / max(1, steps - 1))
        optimiser.zero_grad()
        with torch.enable_grad():
            base, source = rest.base[at].float(), rest.source[at].float()
            values = base + learned.change(source - base, temperature)
            loss = _loss(rest, target[at], values.to(rest.base.dtype), at).mean()
            whole = loss + learned.penalty(temperature)
            whole.backward(inputs=list(learned.parameters))  # the model's own may learn, too
        optimiser.step()
        falling.step()
        losses.append(float(loss.detach()))
        bar.update()
    with torch.no_grad():
        return learned.basis().detach().cpu(), losses


def _loss(rest: Suffix, target: SwapAnswers, values: Tensor, at: Tensor) -> Tensor:
    """The loss of each prompt with these values at the site [batch], in nats."""
    if target.columns_only:
        return target.loss(rest.logits(values[None], at, target.ids).float()[0])
    logits = rest.logits(values[None], at, None).float()[0]
    few = logits.gather(-1, target.ids.to(logits.device))
    return target.loss(few, logits.logsumexp(-1))


# --- kinds of subspace ----------------------------------------------------------------------------


def _das(d: int, k: int, seed: int) -> Fit:
    """k directions, kept orthonormal."""
    free = _start(d, k, seed)

    def basis() -> Tensor:
        return torch.linalg.qr(free).Q

    def change(difference: Tensor, temperature: float) -> Tensor:
        columns = basis().to(difference.device)
        return (difference @ columns) @ columns.T

    return Fit([free], change, lambda temperature: 0.0, basis, [1.0])


def _boundless(d: int, k: int, seed: int) -> Fit:
    """Orthonormal directions, of which those before a learned boundary are swapped."""
    free, share = _start(d, k, seed), torch.full((1,), 0.5, requires_grad=True)

    def directions() -> Tensor:
        return torch.linalg.qr(free).Q

    def inside(temperature: float) -> Tensor:
        # how far each direction lies within the boundary, in directions
        within = share.clamp(0, 1) * k - torch.arange(k) - 0.5
        return torch.sigmoid(within / (temperature * max(1.0, k / 8)))

    def change(difference: Tensor, temperature: float) -> Tensor:
        columns = directions().to(difference.device)
        return ((difference @ columns) * inside(temperature).to(columns)) @ columns.T

    def basis() -> Tensor:
        kept = max(1, int((inside(COLD) > 0.5).sum()))
        return directions()[:, :kept]

    return Fit([free, share], change, lambda temperature: share.clamp(0, 1).sum(), basis, [1, 0.2])


def _mask(d: int, k: int, seed: int) -> Fit:
    """k of the site's own coordinates."""
    weight = torch.zeros(d, requires_grad=True)

    def inside(temperature: float) -> Tensor:
        return torch.sigmoid(weight / temperature)

    def change(difference: Tensor, temperature: float) -> Tensor:
        return difference * inside(temperature).to(difference.device)

    def penalty(temperature: float) -> Tensor:
        return torch.relu((inside(temperature).sum() / k).log())  # zero once it is k

    def basis() -> Tensor:
        chosen = weight.topk(k).indices.sort().values
        return torch.eye(d)[:, chosen]

    return Fit([weight], change, penalty, basis, [1.0])


def _start(d: int, k: int, seed: int) -> Tensor:
    """Random orthonormal columns to start from."""
    return random_basis((d, k), torch.Generator().manual_seed(seed)).requires_grad_(True)


KINDS: dict[str, Callable[[int, int, int], Fit]] = {
    "das": _das,
    "boundless": _boundless,
    "mask": _mask,
}
