"""A recipe: all that a training depends on, as plain values that can be written down and hashed."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from interp._errors import unknown
from interp._files import short_reason
from interp._numbers import to_numpy

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("constant", "linear", "cosine")
VERSION = (
    1  # raise it when the trainer's own numbers change: runs of an older version are then made anew
)


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, and how; the same recipe gives the same weights on one machine.

    Example:
        >>> recipe = Recipe("sinks", data="bigram_backcopy", model={"n_layers": 1, "mlp": 256})
        >>> run = toys.train(recipe)

    Attributes:
        name: Names the run and its folder.
        data, data_options: A source of `interp.toys.data` and its options.
        model: Options of `toys.transformer`; d_vocab, d_in and n_ctx come from the data if they are
            not given.
        steps, batch: Steps, and rows per step.
        optimizer: "adamw", "adam" or "sgd" (with momentum).
        lr: The learning rate; it rises linearly over `warmup` steps, then follows the schedule.
        betas, momentum: Of Adam and of SGD.
        weight_decay: On every weight.
        warmup: Steps of the linear rise.
        schedule: "constant", or "linear" or "cosine" to 0.
        clip: The largest gradient norm; None for no limit.
        z_loss: Times the mean squared log-partition, added to the loss (Chowdhery et al. 2022,
            arXiv 2204.02311).
        forget_every: Token embeddings are drawn anew every so many steps ("active forgetting", Chen
            et al. 2023, arXiv 2307.01163); 0 for never.
        forget_until: The last step at which that happens ("temporary", Anand et al. 2024, arXiv
            2406.00053).
        forget_rows: Which ids are drawn anew, as [first, stop]; None for all.
        checkpoints: How many are kept, at steps spaced by logarithm with the first and the last
            step among them; or the steps.
        seed: Decides the weights, the batches and what is drawn anew.

    Raises:
        ValueError: If a value is impossible or cannot be written as JSON.
    """

    name: str
    data: str = ""
    data_options: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 1000
    batch: int = 64
    optimizer: str = "adamw"
    lr: float = 1e-3
    betas: tuple[float, float] | list[float] = (0.9, 0.999)
    momentum: float = 0.0
    weight_decay: float = 0.0
    warmup: int = 0
    schedule: str = "constant"
    clip: float | None = None
    z_loss: float = 0.0
    forget_every: int = 0
    forget_until: int | None = None
    forget_rows: tuple[int, int] | list[int] | None = None
    checkpoints: int | tuple[int, ...] | list[int] = 24
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known, f"{name}={known[0]!r}")
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise ValueError(
                f"name={self.name!r}: a plain word, for it names the folder of the run"
            )
        for name, least in (
            ("steps", 1),
            ("batch", 1),
            ("warmup", 0),
            ("forget_every", 0),
            ("seed", 0),
        ):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)!r}: a whole number from {least} on")
        if not self.lr > 0:
            raise ValueError(f"lr={self.lr!r}: above 0 (try lr=1e-3)")
        if self.forget_until is not None and not self.forget_every:
            raise ValueError("forget_until needs forget_every, how often embeddings are drawn anew")
        try:
            again = json.loads(json.dumps(asdict(self)))
        except TypeError as error:
            raise ValueError(
                f"a recipe holds plain values, so that it can be written down: {error}"
            ) from None
        for name in (
            "data_options",
            "model",
        ):  # lists for tuples, so that a recipe equals the one read back
            object.__setattr__(self, name, again[name])
        for name in ("betas", "forget_rows", "checkpoints"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))

    def but(self, **changes: Any) -> "Recipe":
        """The recipe with some values changed; `model` and `data_options` are merged.

        Example:
            >>> recipe.but(model={"attention": "relu"}, optimizer="sgd", lr=0.1)
        """
        from interp.toys.model.spec import checked

        checked(changes, Recipe, "part of a recipe", "recipe.but(seed=1)")
        for name in ("model", "data_options"):
            if name in changes:
                changes[name] = {**getattr(self, name), **changes[name]}
        return replace(self, **changes)

    def checkpoint_steps(self) -> list[int]:
        """The steps whose weights are kept; step 0 is before any training."""
        if not isinstance(self.checkpoints, int):
            return sorted({0, self.steps, *(s for s in self.checkpoints if 0 <= s <= self.steps)})
        n = max(1, self.checkpoints - 2)
        return sorted({0, self.steps, *(round(self.steps ** (i / n)) for i in range(n + 1))})

    def factor(self, step: int) -> float:
        """The factor that multiplies lr at a step, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        left = 1 - (step - self.warmup) / max(1, self.steps - self.warmup)
        return {
            "constant": 1.0,
            "linear": left,
            "cosine": 0.5 - 0.5 * float(torch.cos(torch.tensor(left * torch.pi))),
        }[self.schedule]

    def generator(self, what: str) -> torch.Generator:
        """A generator for each thing that is drawn."""
        return torch.Generator().manual_seed(self.number(what))

    def number(self, what: str) -> int:
        """The seed of what is drawn under this name."""
        return int.from_bytes(hashlib.sha256(f"{self.seed} {what}".encode()).digest()[:6])

    def forgets(self, step: int) -> bool:
        """Whether embeddings are drawn anew after this step, counted from 1."""
        return (
            bool(self.forget_every)
            and step % self.forget_every == 0
            and step < self.steps
            and (self.forget_until is None or step <= self.forget_until)
        )

    def to_json(self) -> str:
        """The recipe as text; `from_json` reads it back."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)


def from_json(text: str) -> Recipe:
    """The recipe that `Recipe.to_json` wrote.

    Raises:
        ValueError: If the text is no recipe.
    """
    try:
        content = json.loads(text)
        return Recipe(**content)
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(
            f"this is no recipe that was written by interp ({short_reason(error)})"
        ) from None


def digest(recipe: Recipe, *tensors: torch.Tensor) -> str:
    """A short hash of a recipe and of what was drawn with it.

    The first batch and the first weights are hashed too, so that a run made before a generator
    changed counts as another run.
    """
    h = hashlib.sha256(f"{VERSION} {json.dumps(asdict(recipe), sort_keys=True)}".encode())
    for tensor in tensors:
        h.update(to_numpy(tensor.detach().contiguous()).tobytes())
    return h.hexdigest()[:16]


Draw = Callable[
    [int, torch.Generator], Any
]  # what gives batches: a source's `batch`, or a function of your own
