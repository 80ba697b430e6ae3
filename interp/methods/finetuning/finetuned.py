"""A model that was trained further: the model, what was learned, and what it changed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp import _files, _store
from interp._isolation import torch_defaults
from interp._types import Model
from interp.interventions import Intervention
from interp.methods.finetuning.changes import Change, change_of, interventions
from interp.models import bridge, state
from interp.results import Result

SCHEMA = 1
KEY = "interp fine-tuned"
WHEN = ["before", "after"]


@dataclass(frozen=True, eq=False)
class FineTuned:
    """A model that was trained further, once for each seed, beside what that changed.

    Example:
        >>> tuned = interp.finetune(model, task, how="lora")
        >>> tuned.sheet                          # before and after
        >>> tuned.plot()                         # the loss of each step
        >>> interp.patch(tuned.model, task, "L*H*")
        >>> tuned.save("letters.safetensors")

    Attributes:
        models: A loaded model for each seed; `model` is the first. Each has weights of its own.
        changes: What was learned, a dictionary of tensors for each seed: A and B of each matrix,
            the vector of each head, or the weights that were trained.
        sheet: Each measure before and after (axes "measure" and "when"), one value per seed kept
            where there are several.
        heldout: The measures of the held-out prompts (axes "measure", "when", "seed"), one value
            per prompt kept; None where no prompt was held out.
        losses: The loss of each step's batch before the step (axis "step"), one value per seed kept
            where there are several.
        n_trained: How many numbers were learned, for each seed.
        metadata: How it was trained.
    """

    models: tuple[Any, ...] = field(repr=False)
    changes: tuple[dict[str, Tensor], ...] = field(repr=False)
    sheet: Result
    heldout: Result | None
    losses: Result
    n_trained: int
    metadata: dict[str, Any]

    @property
    def model(self) -> Any:
        """The model of the first seed."""
        return self.models[0]

    def interventions(self, seed: int = 0) -> list[Intervention]:
        """The offsets as interventions on the model before: the same logits, head by head.

        Args:
            seed: Which of the seeds, counted from 0.

        Raises:
            ValueError: If it was not offsets that were learned.
        """
        if self.metadata["how"] != "offsets":
            raise ValueError(
                f"{self.metadata['change']} are no interventions: run the trained model,"
                " tuned.model (how='offsets' learns interventions)"
            )
        return interventions(self.changes[seed])

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """The Axes with the loss of each step."""
        return self.losses.plot(ax, **options)

    def __repr__(self) -> str:
        m = self.metadata
        seeds = m["seeds"]
        stopped = f"; {m['interrupted']}" if "interrupted" in m else ""
        head = (
            f"FineTuned({m['model']} on {m['task']}: {m['change']}, {self.n_trained:,} numbers"
            f" learned; {m['steps']} steps, {'seed' if len(seeds) == 1 else 'seeds'}"
            f" {', '.join(map(str, seeds))}{stopped})"
        )
        rows = [("", *(f"{name:>10}" for name in WHEN), ""), *self._rows()]
        wide = max(len(row[0]) for row in rows)
        left, right = (max(len(row[k]) for row in rows) for k in (1, 2))
        table = (f"  {a:<{wide}} {b:<{left}} {c:<{right}} {d}".rstrip() for a, b, c, d in rows)
        return "\n".join([head, *table, *(f"  {note}" for note in self._notes())])

    def _repr_html_(self) -> str:
        head = escape(repr(self).split("\n")[0])
        rows = "".join(
            f"<tr><td style='text-align:left'>{a}</td><td>{b}</td><td>{c}</td>"
            f"<td style='text-align:left'>{d}</td></tr>"
            for a, b, c, d in self._rows()
        )
        names = "".join(f"<th>{name}</th>" for name in ("", *WHEN, ""))
        notes = "".join(f"<div>{escape(note)}</div>" for note in self._notes())
        return f"<div>{head}</div><table><tr>{names}</tr>{rows}</table>{notes}"

    def _rows(self) -> list[tuple[str, str, str, str]]:
        """The sheet's rows: measure, before, after, unit."""
        units = self.sheet.metadata["units"]
        ends = self.sheet.metadata.get("interval", {})

        def shown(value: float, interval: list[float] | None) -> str:
            return f"{value:10.3f}" + (" [{:.3f}, {:.3f}]".format(*interval) if interval else "")

        return [
            (name, *map(shown, values, ends.get(name, (None, None))), units[name])
            for name, values in zip(self.sheet.coords["measure"], self.sheet.values)
        ]

    def _notes(self) -> list[str]:
        """On what it was judged, and what the brackets are."""
        about = self.sheet.metadata
        notes = [about["judged on"]] if "judged on" in about else []
        if any(end for pair in about.get("interval", {}).values() for end in pair):
            notes.append("in brackets: 95 % interval over these prompts or texts")
        return notes

    def save(self, path: str | Path) -> Path:
        """The path of the file with what was learned, and the sheet: small for LoRA and offsets.

        `read_finetuned` puts it back into the model it was learned for.

        Args:
            path: A .safetensors file.
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            raise ValueError(
                f"what was learned is saved as .safetensors, got {str(path)!r} (try"
                f" {path.stem + '.safetensors'!r})"
            )
        tensors = {
            f"{i}/{name}": value
            for i, some in enumerate(self.changes)
            for name, value in some.items()
        }
        head = {
            "schema": SCHEMA,
            "metadata": self.metadata,
            "n_trained": self.n_trained,
            "sheet": _plain(self.sheet),
            "heldout": None if self.heldout is None else _plain(self.heldout),
            "losses": _plain(self.losses),
        }
        return _store.write_tensors(path, tensors, {KEY: json.dumps(head)})


@torch_defaults()
def read_finetuned(path: str | Path, model: Model) -> FineTuned:
    """The fine-tuned model of a file that `FineTuned.save` wrote, made of the model before.

    Example:
        >>> tuned = interp.methods.finetuning.read_finetuned("letters.safetensors", model)
        >>> interp.patch(tuned.model, task, "L*H*")

    Args:
        path: The file.
        model: The loaded model that was trained, which stays as it is.

    Returns:
        A FineTuned with the sheet, the losses and, for each seed, the model.

    Raises:
        ValueError: If the file is of another kind, or was learned for other weights.
    """
    tensors, metadata = _files.read_tensors(path)
    if KEY not in metadata:
        raise ValueError(
            f"{str(path)!r} holds no fine-tuning of ours: tuned.save('letters.safetensors') of what"
            " interp.finetune gives writes one"
        )
    head = json.loads(metadata[KEY])
    if head.get("schema") != SCHEMA:
        raise ValueError(
            f"{str(path)!r} was written by another version (schema {head.get('schema')}, here"
            f" {SCHEMA}): train it again"
        )
    about = head["metadata"]
    if state.weights_hash(model) != about["weights"]:
        raise ValueError(
            f"{str(path)!r} was learned for {about['model']!r}, whose weights are not those of this"
            f" model ({bridge.name(model)!r}): give the model that was trained"
        )
    change = change_of(model, **about["options"])
    changes: list[dict[str, Tensor]] = [{} for _ in about["seeds"]]
    device = bridge.device(model)
    for key, value in tensors.items():
        number, _, name = key.partition("/")
        changes[int(number)][name] = value.to(device)
    models = tuple(merged(model, change, one) for one in changes)
    return FineTuned(
        models,
        tuple(changes),
        _result(head["sheet"]),
        None if head["heldout"] is None else _result(head["heldout"]),
        _result(head["losses"]),
        head["n_trained"],
        about,
    )


def merged(model: Model, change: Change, learned: Mapping[str, Tensor]) -> Any:
    """A model of its own with what was learned in its weights; the model before stays as it is."""
    new = bridge.copied(model, f"{bridge.name(model)}, fine-tuned ({change.title})")
    change.merge(new, dict(learned))
    return new


def _plain(result: Result) -> dict[str, Any]:
    """A result as JSON can hold it."""
    return {
        "values": _lists(result.values),
        "dims": list(result.dims),
        "coords": result.coords,
        "name": result.name,
        "unit": result.unit,
        "metadata": result.metadata,
        "examples": None if result.examples is None else _lists(result.examples),
    }


def _lists(values: Any) -> Any:
    out = np.asarray(values).astype(object)
    out[np.isnan(np.asarray(values, dtype=float))] = None
    return out.tolist()


def _result(plain: dict[str, Any]) -> Result:
    numbers = {
        key: None if plain[key] is None else np.array(plain[key], dtype=float)
        for key in ("values", "examples")
    }
    return Result(**{**plain, **numbers})


def check_same(model: Model, new: Model, change: Change, learned: dict[str, Tensor]) -> None:
    """Nothing where the trained model's logits are those of the model before with what was learned
    applied to its run; otherwise a ValueError.
    """
    from interp.interventions import run

    tokens = bridge.probe(model)
    with torch.no_grad(), change.applied(model, learned) as edits:
        wanted = run(model, tokens, edits).logits.float()
    found = run(new, tokens).logits.float()
    far = float((found - wanted).abs().max()) / max(1.0, float(wanted.abs().max()))
    if far > (1e-3 if next(model.parameters()).dtype.itemsize >= 4 else 0.1):
        raise ValueError(
            f"{change.title} cannot be put into the weights of {bridge.name(model)}: the logits"
            f" would differ by {far:.1%} (how='full' trains the weights themselves)"
        )
