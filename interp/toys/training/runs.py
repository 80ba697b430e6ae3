"""A run: a recipe, and the checkpoints that its training left in a folder, as safetensors."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from interp import _files, _store
from interp._errors import short
from interp.results import Result
from interp.toys.model.parts import Net
from interp.toys.model.spec import Spec, spec
from interp.toys.training.recipe import Recipe, from_json

DONE, STATE = "run.json", "state.safetensors"


@dataclass(frozen=True)
class Run:
    """A finished training run, with every checkpoint at hand.

    Example:
        >>> run = toys.load_or_train("induction")
        >>> run.steps                           # (0, 1, 2, 3, 5, ..., 700)
        >>> interp.patch(run.model(), task, "L*H*")
        >>> run.loss().plot()

    Attributes:
        recipe: What was trained.
        folder: Where the checkpoints are.
        steps: The steps of the checkpoints; 0 is before any training.
        losses: The loss of each training batch, in nats.
        metadata: Model, seed, seconds, and the key of the cache.
        options: All options of the model.
        words, bos: The words of its tokens, and the token that begins a prompt.
    """

    recipe: Recipe
    folder: Path
    steps: tuple[int, ...]  # of the checkpoints, 0 being before any training
    losses: np.ndarray  # [steps of training], of the batch trained on, in nats
    metadata: Mapping[str, Any]
    options: Mapping[str, Any] = field(repr=False)  # of the model, complete
    words: tuple[str, ...] = field(default=(), repr=False)
    bos: int | None = None
    temporary: Any = field(default=None, repr=False)  # what keeps a temporary folder alive

    def __repr__(self) -> str:
        end = f"loss {self.losses[-1]:.3f}" if len(self.losses) else "untrained"
        return (
            f"Run({self.recipe.name}, seed {self.recipe.seed}, {self.recipe.steps} steps, {end},"
            f" {len(self.steps)} checkpoints)"
        )

    def weights(self, step: int | None = None) -> dict[str, Tensor]:
        """The weights at a checkpoint (None: the last one)."""
        try:
            return _files.read_tensors(self._path(step))[0]
        except (ValueError, FileNotFoundError) as error:
            raise ValueError(
                f"{error}: delete the folder {str(self.folder)!r}, and the same call trains again"
            ) from None

    def net(self, step: int | None = None) -> Net:
        """The plain PyTorch module at a checkpoint, trainable."""
        weights, chosen = self.weights(step), spec(**self.options)
        _check_sizes(chosen, weights, self.folder)
        net = Net(chosen)
        put(net, weights)
        return net

    def model(self, step: int | None = None) -> Any:
        """The model at a checkpoint (None: the last one), for `interp.run` and the others."""
        from interp.toys.model.transformer import wrapped

        step = self.steps[-1] if step is None else step
        name = f"{self.recipe.name}@{step}" if step != self.steps[-1] else self.recipe.name
        return wrapped(self.net(step), name, self.words, self.bos)

    def loss(self, smooth: int = 1) -> Result:
        """The training loss by step, averaged over `smooth` steps at a time."""
        n = len(self.losses) // smooth
        values = self.losses[: n * smooth].reshape(n, smooth).mean(1)
        steps = [smooth * (i + 1) for i in range(n)]
        return Result(
            values,
            ("step",),
            {"step": steps},
            "training loss",
            "nats",
            {**self.metadata, "smooth": smooth},
        )

    @property
    def source(self) -> Any:
        """The data the run was trained on."""
        from interp.toys import data

        if not self.recipe.data:
            raise ValueError(
                f"{self.recipe.name!r} was trained on a function of your own: draw batches from"
                " that"
            )
        return data.make(self.recipe.data, **self.recipe.data_options)

    def _path(self, step: int | None) -> Path:
        step = self.steps[-1] if step is None else step
        if step not in self.steps:
            near = min(self.steps, key=lambda s: abs(s - step))
            raise ValueError(
                f"no checkpoint at step {step}: the nearest one is at {near} (run.steps lists all)"
            )
        return checkpoint(self.folder, step)


def checkpoint(folder: Path, step: int) -> Path:
    """The file with the weights of a step."""
    return folder / f"step-{step:08d}.safetensors"


def _check_sizes(chosen: Spec, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Nothing where a net of these sizes has these weights; otherwise a ValueError, before
    anything is allocated.
    """
    try:
        if chosen.n_layers > max(len(weights), 1):
            raise ValueError(f"n_layers={chosen.n_layers} and {len(weights)} tensors")
        with torch.device("meta"):
            needed = dict(Net(chosen, seed=None).named_parameters())
        for name in needed.keys() | weights.keys():
            if name not in needed or name not in weights:
                raise ValueError(f"{short(name)} is in one of the two only")
            has, wants = list(weights[name].shape), list(needed[name].shape)
            if has != wants:
                raise ValueError(f"{name} has the shape {has}, and should have {wants}")
    except (ValueError, RuntimeError) as error:  # torch's, of sizes beyond any memory
        raise ValueError(
            f"the weights in {str(folder)!r} are not of the model that its {DONE} describes"
            f" ({_files.short_reason(error)}): delete it, and the same call trains again"
        ) from None


def put(net: Net, weights: Mapping[str, Tensor]) -> None:
    """Copies these weights into a net, in place."""
    parameters = dict(net.named_parameters())
    different = sorted(set(parameters) ^ set(weights))
    if different:
        raise ValueError(
            f"these weights are of another model: {different[0]!r} is in one of the two only"
        )
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)


def finish(folder: Path, recipe: Recipe, losses: list[float], head: Mapping[str, Any]) -> None:
    """Writes the file that makes a folder a finished run."""
    content = {"recipe": recipe.to_json(), "losses": losses, **head}
    _store.write_text(folder / DONE, json.dumps(content))
    (folder / STATE).unlink(missing_ok=True)


class _RunForm(BaseModel):
    """What the file of a finished run says."""

    model_config = ConfigDict(strict=True, extra="ignore")
    recipe: str
    losses: list[float]
    steps: list[int] = Field(min_length=1)
    sizes: list[int]
    metadata: dict[str, Any]
    options: dict[str, Any]
    words: list[str]
    bos: int | None


def opened(folder: Path, temporary: Any = None) -> Run | None:
    """The finished run in a folder, or None if there is none or it is incomplete."""
    try:
        what = "a finished run"
        content = _files.typed(_files.read_json(folder / DONE), _RunForm, folder / DONE, what)
        recipe = from_json(content.recipe)
        spec(**content.options)
        complete = all(
            checkpoint(folder, step).stat().st_size == size
            for step, size in zip(content.steps, content.sizes, strict=True)
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return None
    if not complete:
        return None
    losses = np.array(content.losses)
    return Run(
        recipe,
        folder,
        tuple(content.steps),
        losses,
        content.metadata,
        content.options,
        tuple(content.words),
        content.bos,
        temporary,
    )
