"""Linear probes: where a label can be read, beside what a probe reads without the model's help."""

import random
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp import sites
from interp._arguments import quoted
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._progress import progress
from interp._types import Model
from interp.interventions import run
from interp.methods.probing.logistic import fitted
from interp.methods.runs import sweep
from interp.methods.runs.batching import batches_by_length
from interp.methods.steering.direction import Direction, width
from interp.models import bridge
from interp.models.tokens import read_prompts
from interp.results import Result
from interp.sites import STAR, Site
from interp.tasks.task import Task

LEAST = 4  # prompts of each label on each side
PROBE, SHUFFLED = "probe", "labels shuffled by type"
BAG, MOST = "bag of tokens", "most frequent label"
EXAMPLE = "interp.probe(model, texts, labels, 'resid_post.*@END')"


class _Given(NamedTuple):
    """Prompts and their labels, in two halves.

    Attributes:
        labels: The number of each prompt's label.
        names: The labels in words.
        fit, test: Which prompts.
    """

    labels: Int[Tensor, "n"]
    names: list[str]
    fit: Int[Tensor, "some"]
    test: Int[Tensor, "others"]


@torch_defaults()
def probe(
    model: Model,
    prompts: Any,
    labels: Any,
    where: str | Site = "resid_post.*@END",
    *,
    types: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Result:
    """Linear probes: the share of held-out prompts whose label is read off each site.

    Example:
        >>> plural = [label == "plural" for label in task.labels["number"]]
        >>> interp.probe(model, task, plural, "resid_post.*@SUBJECT").plot()
        >>> interp.probe(model, ["I love it", ...], ["good", ...], "resid_post.12@END")
        >>> interp.probe(model, activations, labels, "resid_post.12@END")     # [n d_model]

    A probe is a logistic classifier (of each label against the others), fitted on half of the
    prompts and judged on the other half: half of each label's prompts, and equal prompts together.

    Args:
        model: A loaded model.
        prompts: Texts, ids, or a task (its clean prompts); or activations [n d] of one site, which
            `where` then only names.
        labels: One for each prompt: bools, words or numbers; at least 4 prompts of each label on
            each side.
        where: An address with one position; its other stars, and "@*", are axes of the result.
        types: What each prompt's type is for the control, by default the token at the position;
            where that is the same in all prompts, each prompt is a type of its own.
        seed: Decides the halves and the control's labels.

    Returns:
        The site's axes, and last the axis "measure":

        - "probe": the share that is read rightly;
        - "labels shuffled by type": the same for labels that belong to the type and mean nothing.
          The probe's share minus this is its selectivity: what it learned by heart is in both.
          Below 0, the probe shows nothing that cannot be learned by heart: types that come often
          are easier to learn than the label is to read, or few prompts make both uncertain. A note
          says where that is so;
        - "bag of tokens": what a probe reads off the counts of the tokens up to the position,
          without the model (left out for activations);
        - "most frequent label": always that.

        One value (0 or 1) per held-out prompt kept.

    Raises:
        ValueError: If labels do not fit the prompts, or a label has too few.

    Cost:
        One run, and two fits a site: about 0.1 s each for 576 numbers.

    Reference:
        Alain and Bengio 2016 (arXiv 1610.01644); the control follows Hewitt and Liang 2019 (arXiv
        1909.03368).
    """
    started = time.perf_counter()
    site = Site.parse(where)
    read = _read(model, prompts, site)
    given = _halves(read.ids, len(read.values), labels, seed)
    if types is not None and len(types) != len(read.values):
        raise ValueError(f"{len(read.values)} prompts and {len(types)} types: give one for each")
    counts = given.labels[given.fit].bincount()
    most = (given.labels[given.test] == counts.argmax()).double()
    # what does not depend on the layer: the control's labels, and the bag of tokens
    beside: list[tuple[_Given, Tensor | None]] = []
    for places in read.places:
        kinds = _types(types, read.ids, places, len(read.values))
        shuffled = given._replace(labels=_by_type(given, kinds, seed))
        bag = None
        if read.ids is not None and places is not None:
            bag = _right(_bag(read.ids, places, given.fit), given)
        beside.append((shuffled, bag))
    flat = read.values.reshape(len(read.values), -1, read.values.shape[-1])
    rows = []
    for i in progress(range(flat.shape[1]), "probe"):
        shuffled, bag = beside[i % len(beside)]  # the position is the last axis of a site
        x = flat[:, i].float()
        row = {PROBE: _right(x, given), SHUFFLED: _right(x, shuffled)}
        rows.append({**row, **({} if bag is None else {BAG: bag}), MOST: most})
    measures = list(rows[0])
    examples = torch.stack([torch.stack([row[m] for m in measures]) for row in rows])
    examples = to_numpy(examples).reshape(*read.shape, len(measures), len(given.test))
    task = prompts if isinstance(prompts, Task) else None
    metadata = sweep.provenance(
        model,
        task,
        "linear probe",
        started,
        pattern=str(site),
        labels={name: int((given.labels == i).sum()) for i, name in enumerate(given.names)},
        fitted=len(given.fit),
        judged=len(given.test),
    )
    note = _by_heart(examples.mean(-1), measures, metadata["pattern"])
    metadata |= {"note": note} if note else {}
    return Result(
        examples.mean(-1),
        (*read.coords, "measure"),
        {**read.coords, "measure": measures},
        f"label read at {site}",
        "share of held-out prompts",
        metadata,
        examples,
    )


@torch_defaults()
def probe_direction(
    model: Model,
    prompts: Any,
    labels: Any,
    where: str | Site = "resid_post.12@END",
    *,
    seed: int = 0,
) -> Direction:
    """The direction along which a probe reads a label of two, as `steer` takes it.

    Its length is that of the difference of the two labels' means along it, so that
    `direction.push(1)` goes from the one to the other.

    Example:
        >>> plural = interp.methods.probing.probe_direction(model, task, labels, "resid_post.5@END")
        >>> interp.steer(model, task, plural, strengths=(-1, 0, 1))

    Args:
        model: A loaded model.
        prompts, labels: As in `probe`; there are two labels.
        where: One address.
        seed: Decides the halves.

    Returns:
        The Direction towards the label that comes last in order (True, or the later word), fitted
        on half of the prompts; `metadata["accuracy"]` is the share read rightly on the others.

    Raises:
        ValueError: If there are more than two labels, or the address is several places.
    """
    site = Site.parse(where)
    if site.stars:
        raise ValueError(
            f"a direction belongs to one place, {str(site)!r} is many (try 'resid_post.12@END')"
        )
    values, ids, *_ = _read(model, prompts, site)
    given = _halves(ids, len(values), labels, seed)
    if len(given.names) != 2:
        raise ValueError(
            f"a direction tells two labels apart, and there are {len(given.names)}: ask about one, "
            "labels=[label == 'plural' for label in labels]"
        )
    x, true = values.float()[given.fit], given.labels[given.fit] == 1
    w, b = fitted(x, true)
    unit = w / w.norm()
    apart = (x[true] @ unit).mean() - (x[~true] @ unit).mean()
    right = (values.float()[given.test] @ w + b > 0) == (given.labels[given.test] == 1)
    metadata = {
        "method": "linear probe",
        "model": bridge.name(model),
        "n": len(given.fit),
        "towards": given.names[1],
        "accuracy": float(right.float().mean()),
    }
    return Direction(unit * apart, str(site), metadata)


def _by_heart(means: Any, measures: list[str], pattern: str) -> str:
    """A sentence where labels that mean nothing are read better than the labels themselves."""
    selectivity = means[..., measures.index(PROBE)] - means[..., measures.index(SHUFFLED)]
    below = int((selectivity < 0).sum())
    if not below:
        return ""
    where = f"at {pattern}" if selectivity.size == 1 else f"in {below} of {selectivity.size} cells"
    return (
        f"{where} the labels shuffled by type are read better than the labels (the selectivity is"
        " below 0): there the probe shows nothing that it could not learn by heart"
    )


# --- what is read ---------------------------------------------------------------------------------


class _Values(NamedTuple):
    """The activations of a site, and where they stand.

    Attributes:
        values: On the CPU.
        ids: The tokens of each prompt, None where there are only activations.
        coords: The axes of the cells, with their labels.
        places: For each position that is probed, its number in each prompt (None: not known).
    """

    values: Float[Tensor, "n *cell d"]
    ids: list[Tensor] | None
    coords: dict[str, list]
    places: list[list[int] | None]

    @property
    def shape(self) -> tuple[int, ...]:
        """How many cells each axis has."""
        return tuple(map(len, self.coords.values()))


def _read(model: Model, prompts: Any, site: Site) -> _Values:
    if isinstance(prompts, Tensor) and prompts.is_floating_point():
        if prompts.ndim != 2 or site.stars:
            raise ValueError(
                f"activations are those of one site, [n d], got {tuple(prompts.shape)} for "
                f"{str(site)!r}: one row for each label, and an address without stars"
            )
        return _Values(prompts.detach().cpu(), None, {}, [None])
    if site.pos is None:
        raise ValueError(
            f"{str(site)!r} is every position: say which one is probed, {str(site) + '@END'!r}, or "
            f"{str(site) + '@*'!r} for one probe a position"
        )
    d = bridge.dims(model)
    width(sites.check(site, d), d)
    every = prompts.prompts if isinstance(prompts, Task) else read_prompts(model, prompts).ids
    ids = [one.cpu() for one in every]
    length = len(ids[0])
    star = site.pos == STAR
    if star and any(len(one) != length for one in ids):
        raise ValueError(
            "the prompts have several lengths, and a probe a position needs one length: name the "
            f"position, {str(site.at('END'))!r}"
        )
    stars = len([axis for axis in site.stars if axis != "pos"])
    values: list[Tensor] = [torch.empty(0)] * len(ids)
    at = [0] * len(ids)
    for batch in batches_by_length(model, prompts):
        kept = run(
            model, batch.tokens, keep=[site], positions=batch.positions, last_only=True
        ).kept[str(site)]
        size = batch.tokens.shape[1]
        for i, value in zip(batch.index, kept.movedim(stars, 0).detach().cpu()):
            values[i] = value
        if not star:
            named = batch.positions[site.pos] if isinstance(site.pos, str) else site.pos
            places = torch.as_tensor(named).expand(len(batch.index)) % size
            for i, place in zip(batch.index, places.tolist()):
                at[i] = place
    grid = sites.expand(site, d, length, {str(site.pos): 0})
    coords = dict(grid.coords)
    if star and isinstance(prompts, Task):
        coords["pos"] = prompts.position_labels()
    return _Values(
        torch.stack(values), ids, coords, [[p] * len(ids) for p in range(length)] if star else [at]
    )


# --- halves, types, bags --------------------------------------------------------------------------


def _halves(ids: list[Tensor] | None, n: int, labels: Any, seed: int) -> _Given:
    """The labels as numbers, and prompts to fit and to judge on; equal prompts stay together."""
    one = isinstance(labels, str | Mapping) or not isinstance(labels, Iterable)
    if one or getattr(labels, "ndim", 1) != 1:
        raise TypeError(f"labels are a list, one for each prompt, not {quoted(labels)}: {EXAMPLE}")
    plain = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if len(plain) != n:
        raise ValueError(f"{n} prompts and {len(plain)} labels: give one for each, {EXAMPLE}")
    names = sorted(set(plain), key=lambda label: (str(type(label)), label))
    if len(names) < 2:
        raise ValueError(f"every label is {plain[0]!r}: a probe tells labels apart, {EXAMPLE}")
    numbers = torch.tensor([names.index(label) for label in plain])
    same: dict[Any, list[int]] = {}
    for i in range(n):
        same.setdefault(i if ids is None else tuple(ids[i].tolist()), []).append(i)
    sets = list(same.values())
    random.Random(f"probe {seed}").shuffle(sets)
    fit: list[int] = []
    taken, every = [0] * len(names), numbers.bincount(minlength=len(names)).tolist()
    for some in sets:  # half of each label's prompts
        label = int(numbers[some[0]])
        if taken[label] + len(some) / 2 <= every[label] / 2:
            fit += some
            taken[label] += len(some)
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[fit] = True
    for i, name in enumerate(names):
        sides = [int((numbers[side] == i).sum()) for side in (chosen, ~chosen)]
        if min(sides) < LEAST:
            raise ValueError(
                f"the label {name!r} is in {sides[0]} prompts to fit on and {sides[1]} to judge "
                f"on, and a probe needs {LEAST} of each: give more prompts of it"
            )
    words = [str(name) for name in names]
    return _Given(numbers, words, chosen.nonzero()[:, 0], (~chosen).nonzero()[:, 0])


def _types(
    types: Sequence[Hashable] | None, ids: list[Tensor] | None, places: list[int] | None, n: int
) -> list[Hashable]:
    """The type of each prompt: the token at the position, or the prompt itself."""
    if types is not None:
        return list(types)
    if ids is None or places is None:
        return list(range(n))
    tokens = [int(one[place]) for one, place in zip(ids, places)]
    return list(tokens) if len(set(tokens)) > 1 else [tuple(one.tolist()) for one in ids]


def _by_type(given: _Given, kinds: Sequence[Hashable], seed: int) -> Int[Tensor, "n"]:
    """A label drawn for each type, each label as often as it is among the prompts."""
    rng = random.Random(f"types {seed}")
    pool = given.labels.tolist()
    drawn = {kind: rng.choice(pool) for kind in dict.fromkeys(kinds)}
    return torch.tensor([drawn[kind] for kind in kinds])


def _bag(ids: list[Tensor], places: list[int], fit: Tensor) -> Float[Tensor, "n token"]:
    """How often each token of the prompts fitted on stands up to the position."""
    upto = [one[: place + 1] for one, place in zip(ids, places)]
    known = torch.cat([upto[i] for i in fit.tolist()]).unique()
    return torch.stack([(one[:, None] == known).sum(0).float() for one in upto])


def _right(x: Float[Tensor, "n d"], given: _Given) -> Float[Tensor, "others"]:
    """1 where a probe fitted on the one half reads a label of the other half rightly."""
    fit, test = given.fit, given.test
    scores = []
    for i in range(len(given.names)):
        true = given.labels[fit] == i
        if not bool(true.any()) or bool(true.all()):  # a shuffled label may not be there
            scores.append(torch.full((len(test),), 1e9 if bool(true.all()) else -1e9))
            continue
        if len(given.names) == 2 and i == 1:
            scores.append(-scores[0])
            continue
        w, b = fitted(x[fit], true)
        scores.append(x[test] @ w + b)
    return (torch.stack(scores).argmax(0) == given.labels[test]).double()
