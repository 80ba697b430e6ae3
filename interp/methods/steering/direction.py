"""Directions: vectors that belong to one place in one model, and three ways to find them.

>>> happy = difference_of_means(model, ["I love this", "What a joy"], ["I hate this", "Boring"])
>>> interp.steer(model, task, happy, strengths=(-2, 0, 2))
>>> interp.generate(model, "I think that", [happy.push(2.0)])
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp import sites
from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._types import Model
from interp.edits import Edit, Seen, add, project_out, set_to
from interp.interventions import Intervention, run
from interp.methods.ablation.ablate import ablate
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.batching import batches_by_length
from interp.models import bridge
from interp.sites import Site
from interp.tasks.metrics import MetricLike
from interp.tasks.task import Task

HOWS = {"add": add, "project_out": project_out, "set": set_to}


@dataclass(frozen=True, eq=False)
class Direction:
    """A vector and the place it belongs to. Vectors of one place can be added, scaled and negated.

    Example:
        >>> (happy - formal).normalised() * 3

    Attributes:
        vector: The numbers [width].
        site: One address (layer and head given); without a position, or with "@*", it means every
            position but the first, whose large norm is the attention sink's.
        metadata: Where it comes from; metadata["model"] is the only model it may be used on.
    """

    vector: Float[Tensor, "width"]
    site: str
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        site = Site.parse(self.site)
        if [star for star in site.stars if star != "pos"]:
            raise ValueError(
                f"a direction belongs to one place, {self.site!r} is many (try 'resid_post.12@-1')"
            )
        # a list or a NumPy array is read as a tensor; a tensor stays what it is
        if not isinstance(self.vector, torch.Tensor):  # also where a default device is another
            object.__setattr__(self, "vector", torch.as_tensor(self.vector, device="cpu"))
        if not torch.isfinite(self.vector).all():
            raise ValueError(f"the vector at {self.site!r} is not finite")
        object.__setattr__(self, "site", str(site))

    @property
    def norm(self) -> float:
        """The vector's length, in the units of its site."""
        return float(self.vector.norm())

    def normalised(self) -> "Direction":
        """The same direction with length one."""
        if self.norm == 0:
            raise ValueError(
                "a direction of length zero cannot be normalised: the two sets of prompts do not"
                " differ here"
            )
        return self * (1 / self.norm)

    def __mul__(self, factor: float) -> "Direction":
        return replace(self, vector=self.vector * factor)

    __rmul__ = __mul__

    def __neg__(self) -> "Direction":
        return self * -1.0

    def __add__(self, other: "Direction") -> "Direction":
        if (self.site, len(self.vector)) != (other.site, len(other.vector)):
            raise ValueError(
                f"directions add up at one place: these are {len(self.vector)} numbers at"
                f" {self.site!r} and {len(other.vector)} at {other.site!r}"
            )
        models = {d.metadata["model"] for d in (self, other) if "model" in d.metadata}
        if len(models) > 1:
            raise ValueError(
                f"these directions come from different models: {' and '.join(sorted(models))}"
            )
        metadata = {
            "method": "sum",
            "of": [self.metadata, other.metadata],
            **({"model": models.pop()} if models else {}),
        }
        return Direction(self.vector + other.vector, self.site, metadata)

    def __sub__(self, other: "Direction") -> "Direction":
        return self + -other

    def push(
        self, strength: float = 1.0, *, how: str = "add", at: str | None = None
    ) -> Intervention:
        """The intervention that steers along this direction, for `run` and `generate`.

        Example:
            >>> interp.generate(model, "I think that", [happy.push(2.0)])

        Args:
            strength: How far; 0 always changes nothing.
            how: "add" the vector times the strength; "project_out": remove this share of the
                component along it (1: all of it); "set": go this share of the way to the vector (1:
                become it).
            at: Another place of the same width; "resid_post.*@END" is every layer.

        Raises:
            ValueError: If `how` is unknown, or a vector of length zero is to be projected out.
        """
        if how not in HOWS:
            raise unknown("way to steer", how, HOWS, "how='add'")
        if how == "project_out" and self.norm == 0:
            raise ValueError(
                "a direction of length zero points nowhere: there is nothing to project out"
            )
        site = Site.parse(self.site if at is None else at)
        edit = (
            add(self.vector * strength)
            if how == "add"
            else _partial_edit(HOWS[how](self.vector), strength)
        )
        return Intervention(
            str(site), _after_first(edit) if site.pos in (None, sites.STAR) else edit
        )

    def check(self, model: Model, at: str | None = None) -> None:
        """Raises ValueError unless the vector fits this model at this place."""
        site, d = Site.parse(at or self.site), bridge.dims(model)
        fits = width(sites.check(site, d), d)
        if len(self.vector) != fits:
            raise ValueError(
                f"the vector has {len(self.vector)} numbers, {str(site)!r} of {bridge.name(model)}"
                f" has {fits}"
            )
        found_in = self.metadata.get("model", bridge.name(model))
        if found_in != bridge.name(model):
            raise ValueError(
                f"this direction was found in {found_in!r} and means nothing in"
                f" {bridge.name(model)!r}: find it there again"
            )

    def __repr__(self) -> str:
        return (
            f"Direction({self.metadata.get('method', 'vector')} at {self.site}, {len(self.vector)}"
            f" numbers, norm {self.norm:.3g})"
        )


def _partial_edit(edit: Edit, strength: float) -> Edit:
    """The edit done in part, by the share `strength`: 0 is nothing, 1 the edit itself."""
    if strength == 1:
        return edit

    def part(act: Tensor, seen: Seen) -> Tensor:
        return act + strength * (edit(act, seen) - act)

    return part


def _after_first(edit: Edit) -> Edit:
    """The edit at every position but the first, which is the attention sink."""
    return lambda act, seen: (
        torch.cat([act[:, :1], edit(act[:, 1:], seen)], 1) if act.shape[1] > 1 else act
    )


def width(site: Site, d: bridge.Dims) -> int:
    """How many numbers a vector at this site has."""
    axis = site.row.axes.split()[-1]
    if axis == "src" or site.unit is not None:
        raise ValueError(
            f"{str(site)!r} holds no vector: directions live in the stream or in a part (try"
            " 'resid_post.12@-1')"
        )
    return getattr(d, axis)


# --- finding directions ---------------------------------------------------------------------------


@torch_defaults()
def difference_of_means(
    model: Model, positive: Any, negative: Any = None, where: str = "resid_post.12@-1"
) -> Direction:
    """The mean activation on the positive prompts minus the mean on the negative ones.

    Example:
        >>> difference_of_means(model, ["I love it"], ["I hate it"], "resid_post.12@*")
        >>> difference_of_means(model, task, where="resid_post.12@END")     # clean minus corrupted

    Args:
        model: A loaded model.
        positive: Texts of any lengths (the first token is put before each), ids [batch pos], or a
            task.
        negative: The same; None compares a task's clean prompts with its corrupted ones.
        where: One place. "@*" or no position: the mean over positions of each prompt, without
            position 0 (the attention sink), then over prompts.

    Returns:
        The Direction at that place, in the place's own unit.

    Raises:
        ValueError: If only one set of prompts is given, or the address is several places.
    """
    task = isinstance(positive, Task) and negative is None
    if negative is None and not task:
        raise ValueError(
            "difference_of_means compares two sets of prompts: give the negative ones, or a task"
            " alone"
        )
    positive_mean = _mean_activation(model, positive, where)
    negative_mean = _mean_activation(
        model, positive if task else negative, where, "corrupted" if task else "clean"
    )
    metadata = {
        "method": "difference of means",
        "model": bridge.name(model),
        "n": [_count(positive), _count(positive if task else negative)],
    }
    return Direction(positive_mean - negative_mean, where, metadata)


@torch_defaults()
def task_vector(model: Model, task: Any, where: str = "resid_post.12@END") -> Direction:
    """The mean activation at the last token of few-shot prompts, to be set in zero-shot prompts.

    Example:
        >>> vector = task_vector(model, few_shot, "resid_post.14@END")
        >>> steer(model, zero_shot, vector, how="set")

    Args:
        model: A loaded model.
        task: Few-shot prompts: a task's clean ones, texts, or ids.
        where: One place.

    Returns:
        The Direction at that place.

    Reference:
        Hendel et al. 2023 (arXiv 2310.15916).
    """
    return Direction(
        _mean_activation(model, task, where),
        where,
        {"method": "task vector", "model": bridge.name(model), "n": _count(task)},
    )


@torch_defaults()
@any_prompts(answers=True, compares=True, join=False)
def function_vector(
    model: Model,
    task: Any,
    *,
    heads: int = 10,
    layer: int | None = None,
    metric: MetricLike = "prob",
) -> Direction:
    """The sum of what the most causal heads write, on average, at few-shot prompts' last token.

    A head's causal effect is how much the metric on the corrupted prompts rises when the head's
    output at END becomes its mean over the clean prompts.

    Example:
        >>> vector = function_vector(model, few_shot)  # corrupted prompts: shuffled labels
        >>> vector.metadata["heads"], steer(model, zero_shot, vector)

    Args:
        model: A loaded model.
        task: Few-shot prompts as clean, the same with shuffled labels as corrupted.
        heads: How many of the heads are summed.
        layer: After which layer to add the vector; a third of the way up if None.
        metric: As in `patch`.

    Returns:
        The Direction at END after that layer; `metadata` has the heads and their mean effects.

    Raises:
        ValueError: If the model has fewer heads.

    Reference:
        Todd et al. 2023 (arXiv 2310.15213).
    """
    d = bridge.dims(model)
    if not 1 <= heads <= d.n_layers * d.n_heads:
        raise ValueError(
            f"heads={heads}: this model has {d.n_layers * d.n_heads} heads (try heads=10)"
        )
    swapped = task.swapped()
    effects = ablate(model, swapped, "L*H*@END", by="mean", reference=task.clean, metric=metric)
    best = effects.top(heads, by="high")
    head_outputs = run(model, task, keep=best.labels, last_only=True).kept
    vector = torch.stack([head_outputs[head].mean(0) for head in best.labels]).sum(0)
    at = f"resid_post.{d.n_layers // 3 if layer is None else layer}@END"
    sites.check(Site.parse(at), d)
    head_effects = {"heads": best.labels, "effects": [round(value, 4) for _, value, _, _ in best]}
    return Direction(
        vector,
        at,
        {"method": "function vector", "model": bridge.name(model), "n": len(task), **head_effects},
    )


def _mean_activation(
    model: Model, prompts: Any, where: str, on: str = "clean"
) -> Float[Tensor, "width"]:
    """The mean activation at one place over prompts [width]."""
    site, d = Site.parse(where), bridge.dims(model)
    width(sites.check(site, d), d)
    if [star for star in site.stars if star != "pos"]:
        raise ValueError(
            f"a direction belongs to one place, {where!r} is many (try 'resid_post.12@-1')"
        )
    values = []
    for batch in batches_by_length(model, prompts, on):
        value = run(
            model, batch.tokens, keep=[site], positions=batch.positions, last_only=True
        ).kept[str(site)]
        if site.pos in (None, sites.STAR):
            if value.shape[1] < 2:
                raise ValueError(
                    "a prompt of one token has only the first position, which is left out of every"
                    " mean"
                )
            value = value[:, 1:].mean(1)
        values.append(value)
    return torch.cat(values).mean(0)


def _count(prompts: Any) -> int:
    return 1 if isinstance(prompts, str) else len(prompts)
