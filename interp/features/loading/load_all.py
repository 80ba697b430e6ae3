"""All dictionaries of a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interp import texts
from interp._isolation import torch_defaults
from interp.dims import layer_numbers
from interp.features.dictionary import Dictionary
from interp.features.loading.check import check
from interp.features.loading.formats import FORMATS, circuit_tracer
from interp.features.loading.formats.config import Where
from interp.features.loading.load import read
from interp.features.sites import place

TRAINED = "trained"  # where `train_transcoders` keeps them, in the folder that it is given


@torch_defaults()
def load_all(
    folder: str | Path, layers: str | int | Sequence[int] | None = None, *, model: Any = None
) -> list[Dictionary]:
    """Every dictionary of a folder, in the order of layers.

    That is a folder of circuit-tracer's transcoders, or one whose folders each hold a dictionary of
    some tool: what sparsify writes for a model, or `sae.save("saes/12")` for several layers. The
    folder that `train_transcoders(folder=...)` was given holds them in its folder "trained".

    Example:
        >>> transcoders = features.load_all("transcoders", range(10, 20))
        >>> features.graph(model, "The capital of France is", transcoders)

    Args:
        folder: The folder.
        layers: Only those that write to these layers, as numbers or as the first and the last,
            "10-19"; None: all.
        model: If given, `check` verifies that each fits it.

    Returns:
        The dictionaries.

    Raises:
        ValueError: If a layer has none, or one cannot be read or does not fit.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"no such folder: {str(folder)!r}")
    paths = circuit_tracer.within(folder) if circuit_tracer.finds(folder) else []
    if not paths:
        paths = _inside(folder)
    if not paths and (folder / TRAINED).is_dir():
        paths = _inside(folder / TRAINED)
    found = [read(path, Where()) for path in paths]
    found.sort(key=lambda one: -1 if place(one.writes).layer is None else place(one.writes).layer)
    there = [place(one.writes).layer for one in found]
    if layers is not None:
        wanted = layer_numbers(layers, 10_000)  # what the folder lacks is said below
        missing = next((layer for layer in wanted if layer not in there), None)
        if missing is not None:
            raise ValueError(
                f"{str(folder)!r} has no dictionary of layer {missing} (it has {there})"
            )
        found = [one for one, layer in zip(found, there) if layer in wanted]
    if not found:
        if circuit_tracer.finds(folder) or (folder / "cross_layer.json").is_file():
            read(folder, Where())  # says what is there: a cross-layer transcoder
        raise ValueError(f"{str(folder)!r} holds no folder or file with a dictionary")
    if model is not None:
        prose = texts.prose() if model.tokenizer is not None else None
        for one in found:
            check(model, one, prose)
    return found


def _inside(folder: Path) -> list[Path]:
    """The folders in a folder that hold a dictionary."""
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    return [path for path in inside if any(form.finds(path) for form in FORMATS)]
