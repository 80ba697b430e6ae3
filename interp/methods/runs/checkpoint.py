"""Sweeps that can be stopped: finished cells are stored in a file, and the same call continues."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp import _files, _store
from interp._errors import listed
from interp._numbers import to_numpy
from interp._types import Model
from interp.models import bridge, state

EVERY = 5.0  # seconds between two writes; the last one comes when the sweep ends, however it ends
SCHEMA = 3

# (how many cells, what they are) -> their values as far as known [cell batch], the cells to do, and
# a function
# that takes finished ones: note(places among those to do, their values)
Ledger = Callable[
    ..., AbstractContextManager[tuple[Tensor, list[int], Callable[[list[int], Tensor], None]]]
]


def ledger(path: str | Path | None, baseline: Tensor, **options: Any) -> Ledger:
    """What stores the cells of one sweep: a file, or nothing when there is no path.

    Args:
        path: The .npz file, or None.
        baseline: The metric of the run that is varied [batch], which a file must agree with: it
            tells apart what no hash sees, such as two metrics of one name.
        options: What else the numbers depend on.
    """
    if path is None:
        return partial(_nowhere, baseline)
    path, device = _store.npz_path(path, "a sweep to resume"), baseline.device
    return partial(_in_file, path, to_numpy(baseline), device, options)


def numbered_path(path: str | Path | None, number: int) -> Path | None:
    """The path of one of several sweeps: trace.npz, number 2, is trace.2.npz."""
    return (
        None
        if path is None
        else _store.npz_path(path, "a sweep to resume").with_suffix(f".{number}.npz")
    )


@contextmanager
def _nowhere(
    baseline: Tensor, cells: int, model: Model, what: Mapping[str, Any]
) -> Iterator[tuple]:
    """The ledger that stores nothing."""
    values = torch.full((cells, len(baseline)), float("nan"), device=baseline.device)
    yield values, list(range(cells)), lambda rows, values: None


@contextmanager
def _in_file(
    path: Path,
    baseline: np.ndarray,
    device: torch.device,
    options: Mapping[str, Any],
    cells: int,
    model: Model,
    what: Mapping[str, Any],
) -> Iterator[tuple]:
    """The ledger in a file: written every few seconds, and when the sweep ends, however it ends."""
    identity = {"model": bridge.name(model), "weights": state.weights_hash(model)}
    identity |= {name: digest(value) for name, value in {**what, "options": options}.items()}
    arrays = {
        "values": np.full((cells, len(baseline)), np.nan, np.float32),
        "done": np.zeros(cells, bool),
        "baseline": baseline,
    }
    if path.exists():
        arrays = _load(path, identity, baseline, cells)
    todo = np.flatnonzero(~arrays["done"]).tolist()

    def save():
        head = {"resume": SCHEMA, "of": identity, "checksum": _checksum(arrays)}
        return _store.write_arrays(path, head, arrays)

    if len(todo) == cells:
        save()  # a path that cannot be written should fail now, not in an hour
    last, new = time.monotonic(), False

    def note(rows: list[int], values: Tensor) -> None:
        nonlocal last, new
        at = [todo[row] for row in rows]
        arrays["values"][at], new = to_numpy(values), True
        arrays["done"][at] = True
        if time.monotonic() - last > EVERY:
            save()
            last, new = time.monotonic(), False

    try:
        yield torch.from_numpy(arrays["values"]).to(device, copy=True), todo, note
    finally:  # also when interrupted: that is what it is for
        if new:
            save()


def _load(
    path: Path, identity: Mapping[str, str], baseline: np.ndarray, cells: int
) -> dict[str, np.ndarray]:
    """The arrays of a file that belongs to this sweep; otherwise a ValueError that says why not."""
    advice = "give resume= another path, or delete the file to start again"
    try:
        head, arrays = _files.read_arrays(path)
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not a sweep to resume ({error}): {advice}") from None
    saved_identity = head.get("of")
    shapes = {"values": (cells, len(baseline)), "done": (cells,), "baseline": baseline.shape}
    if not isinstance(saved_identity, dict) or not set(shapes) <= set(arrays):
        raise ValueError(f"{str(path)!r} is not a sweep to resume (parts are missing): {advice}")
    other = [name for name in identity if saved_identity.get(name) != identity[name]]
    if not other and head.get("resume") == SCHEMA:
        for name, shape in shapes.items():
            if arrays[name].shape != shape or (arrays[name].dtype == bool) != (name == "done"):
                raise ValueError(
                    f"{str(path)!r} is not a sweep to resume ({name} is"
                    f" {arrays[name].dtype} {list(arrays[name].shape)}, not {list(shape)}):"
                    f" {advice}"
                )
        if not np.allclose(arrays["baseline"], baseline, rtol=1e-3, atol=1e-3):
            other = ["metric on the unedited run"]
        elif head.get("checksum") != _checksum(arrays):
            raise ValueError(
                f"{str(path)!r} is damaged (its numbers are not what was written): {advice}"
            )
    if other or head.get("resume") != SCHEMA:
        raise ValueError(
            f"{str(path)!r} belongs to another sweep, with other {listed(other) or 'schema'}:"
            f" {advice}"
        )
    return {name: arrays[name] for name in shapes}


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """A hash of the numbers of a ledger, so that a value changed on disk is noticed."""
    return digest({name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()})


def digest(value: Any) -> str:
    """A short hash of tensors and plain values, and of lists and mappings of them."""
    h = hashlib.sha256()

    def feed(x: Any) -> None:
        if isinstance(x, Tensor):
            h.update(
                repr((tuple(x.shape), x.dtype)).encode()
                + to_numpy(x.detach().cpu().contiguous()).tobytes()
            )
        elif isinstance(x, Mapping):
            feed(sorted(x.items()))
        elif isinstance(x, list | tuple):
            h.update(f"[{len(x)}".encode())
            for part in x:
                feed(part)
        else:
            h.update(f"<{x!r}>".encode())

    feed(value)
    return h.hexdigest()[:16]
