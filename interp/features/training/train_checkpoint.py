"""Training that can be stopped: everything it needs to continue, in one safetensors file."""

import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from interp import _files, _store
from interp._errors import listed

EVERY = 60.0  # seconds between two checkpoints
SCHEMA = 2  # 2: with a checksum
FILE = "training.safetensors"
COUNTS = ("act_freq_scores", "n_forward_passes_since_fired")


class _StateForm(BaseModel):
    """What a checkpoint says of the training beside its tensors."""

    model_config = ConfigDict(strict=True, extra="allow")
    steps: int = Field(ge=0)
    samples: int = Field(ge=0)
    active: int = Field(ge=0)
    curve: list[dict[str, float]]


@dataclass
class Checkpoint:
    """Writes checkpoints of one training, or nothing where there is no file."""

    path: Path | None
    trainer: Any
    of: Mapping[str, Any]
    last: float = field(default_factory=time.monotonic)

    def write_if_due(self, curve: list[dict[str, float]], *, last: bool = False) -> None:
        """Writes a checkpoint if the last one is a minute old or the training ends."""
        if self.path is None or not (last or time.monotonic() - self.last > EVERY):
            return
        t = self.trainer
        state = {
            "schema": SCHEMA,
            "of": self.of,
            "steps": t.n_training_steps,
            "samples": t.n_training_samples,
            "active": int(t.n_frac_active_samples),
            "curve": curve,
        }
        _store.write_tensors(self.path, _tensors(t), {"training": json.dumps(state)})
        self.last = time.monotonic()

    def resume(self) -> list[dict[str, float]]:
        """The curve so far; the trainer is put where the file left it."""
        if self.path is None or not self.path.exists():
            return []
        advice = "give another folder, or delete the file to start again"
        try:
            tensors, metadata = _files.read_tensors(self.path)
            state = json.loads(metadata.get("training", "null"))
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{str(self.path)!r} is not a checkpoint ({_files.short_reason(error)}): {advice}"
            ) from None
        if not isinstance(state, dict) or not isinstance(state.get("of"), dict):
            raise ValueError(f"{str(self.path)!r} is not a checkpoint of a training: {advice}")
        recipe = json.loads(json.dumps(self.of))
        other = [name for name in recipe if state["of"].get(name) != recipe[name]]
        if other or state.get("schema") not in (1, SCHEMA):  # 1 had no checksum
            raise ValueError(
                f"{str(self.path)!r} belongs to another training, with other"
                f" {listed(other) or 'schema'}: {advice}"
            )
        _files.typed(state, _StateForm, self.path, "a checkpoint of a training")
        wanted = {name: tensor.shape for name, tensor in _tensors(self.trainer).items()}
        started = {name for name in tensors if name.startswith("adam.")}  # none before a step
        wrong = [
            name
            for name in {*tensors, *wanted} - started
            if name not in tensors or tensors[name].shape != wanted.get(name)
        ]
        if wrong:
            raise ValueError(
                f"{str(self.path)!r} is not a checkpoint of this training: {sorted(wrong)[0]} is"
                f" missing or of another shape: {advice}"
            )
        try:
            if state["steps"] > recipe.get("steps", state["steps"]):
                raise ValueError(f"{state['steps']} steps of {recipe['steps']}")
            _put(self.trainer, tensors, state)
        except (KeyError, ValueError, RuntimeError, IndexError, TypeError) as error:
            raise ValueError(
                f"{str(self.path)!r} is not a checkpoint of this training"
                f" ({_files.short_reason(error)}): {advice}"
            ) from None
        return state["curve"]


def checkpoint(folder: str | Path | None, trainer: Any, of: Mapping[str, Any]) -> Checkpoint:
    """The `Checkpoint` of a training with this recipe."""
    return Checkpoint(None if folder is None else Path(folder) / FILE, trainer, of)


def _tensors(trainer: Any) -> dict[str, Tensor]:
    """The tensors that a checkpoint holds: weights, Adam's moments, counts."""
    tensors = {
        f"sae.{name}": value.detach().clone().contiguous()
        for name, value in trainer.sae.state_dict().items()
    }
    for i, state in trainer.optimizer.state_dict()["state"].items():
        tensors |= {
            f"adam.{i}.{name}": torch.as_tensor(value).clone().contiguous()
            for name, value in state.items()
        }
    return tensors | {f"count.{name}": getattr(trainer, name).float().clone() for name in COUNTS}


def _put(trainer: Any, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Puts a trainer where a checkpoint left it."""
    trainer.sae.load_state_dict(
        {name[4:]: value for name, value in tensors.items() if name.startswith("sae.")}
    )
    adam = trainer.optimizer.state_dict()
    for name, value in tensors.items():
        if name.startswith("adam."):
            _, i, part = name.split(".")
            adam["state"].setdefault(int(i), {})[part] = value
    trainer.optimizer.load_state_dict(adam)
    for name in COUNTS:
        setattr(trainer, name, tensors[f"count.{name}"])
    trainer.n_training_steps, trainer.n_training_samples = state["steps"], state["samples"]
    trainer.n_frac_active_samples = state["active"]
    with warnings.catch_warnings():  # schedules are counted again from the start: quick, and exact
        warnings.simplefilter("ignore")
        for schedule in (trainer.lr_scheduler, *trainer.coefficient_schedulers.values()):
            for _ in range(state["steps"]):
                schedule.step()
