"""Training that can be stopped: everything it needs to continue, in one safetensors file."""

import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp import _store

EVERY = 60.0  # seconds between two checkpoints
SCHEMA = 1
FILE = "training.safetensors"
COUNTS = ("act_freq_scores", "n_forward_passes_since_fired")


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
        from safetensors import safe_open

        advice = "give another folder, or delete the file to start again"
        try:
            with safe_open(self.path, "pt") as file:
                state = json.loads(file.metadata()["training"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except Exception as error:
            raise ValueError(
                f"{str(self.path)!r} is not a checkpoint ({error}): {advice}"
            ) from None
        recipe = json.loads(json.dumps(self.of))
        other = [name for name in recipe if state["of"].get(name) != recipe[name]]
        if other or state["schema"] != SCHEMA:
            raise ValueError(
                f"{str(self.path)!r} belongs to another training, with other"
                f" {', '.join(other) or 'schema'}: {advice}"
            )
        _put(self.trainer, tensors, state)
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
