"""Whether a dictionary fits a model."""

from typing import Any

from interp._isolation import torch_defaults
from interp._types import Model
from interp.dims import Dims
from interp.features.activations import activations
from interp.features.dictionary import Dictionary
from interp.features.sites import fits, place
from interp.models import bridge


@torch_defaults()
def check(
    model: Model, dictionary: Dictionary, on: Any = None, *, tokens: int = 1_000
) -> Dictionary:
    """The dictionary itself, if it fits the model; otherwise a ValueError says what does not.

    Example:
        >>> features.check(model, sae)                # widths and sites
        >>> features.check(model, sae, interp.texts.prose())

    Args:
        model: The model that it should fit.
        dictionary: The dictionary to check.
        on: Text to try it on, ids [chunk pos] or a corpus. Its explained variance must be above
            zero there.
        tokens: How many tokens of the text are read.

    Returns:
        The dictionary, unchanged.

    Raises:
        ValueError: If a site or a width is not the model's, or nothing is explained.
    """
    fits(model, dictionary.site, dictionary.d_in, dictionary.name)
    fits(model, dictionary.writes, dictionary.d_out, f"what {dictionary.name} writes")
    _same_output(dictionary, bridge.dims(model), bridge.name(model))
    if on is not None:
        both = list(dict.fromkeys((dictionary.site, dictionary.writes)))
        acts = activations(model, both, on, tokens=tokens, length=64, split=None)
        x, y = acts.of(dictionary.site), acts.of(dictionary.writes)
        explained = 1 - float(
            (dictionary.reconstruct(x) - y).pow(2).sum() / (y - y.mean(0)).pow(2).sum()
        )
        if not explained > 0:
            raise ValueError(
                f"{dictionary.name} explains {explained:.2f} of the variance of"
                f" {dictionary.writes!r} in {bridge.name(model)} ({len(acts):,} tokens): it belongs"
                " to another model, layer or scale"
            )
    return dictionary


def _same_output(dictionary: Dictionary, dims: Dims, name: str) -> None:
    """Raises ValueError for a dictionary of a module's own output, in a model with a norm after it:
    there the address means what is added to the stream.
    """
    written, module = place(dictionary.writes), dictionary.metadata.get("module")
    if module is not None and written.part == "out" and f"{written.family} out" in dims.variants:
        raise ValueError(
            f"{dictionary.name} is of the output of {module!r}, and {name} changes that (by a norm)"
            f" before {str(written)!r} is added to the stream: it cannot be put in there"
        )
