"""Whether a dictionary fits a model."""

import math
from typing import Any

from interp._isolation import torch_defaults
from interp._types import Model
from interp._warn import warn
from interp.dims import Dims
from interp.features.activations import activations
from interp.features.crosscoders.cross_layer_transcoder import CrossLayerTranscoder
from interp.features.dictionary import Dictionary
from interp.features.sites import fits, place
from interp.models import bridge

Either = Dictionary | CrossLayerTranscoder


@torch_defaults()
def check(model: Model, dictionary: Either, on: Any = None, *, tokens: int = 1_000) -> Either:
    """The dictionary itself, if it fits the model; otherwise a ValueError says what does not.

    Example:
        >>> features.check(model, sae)                # widths and sites
        >>> features.check(model, sae, interp.texts.prose())

    Args:
        model: The model that it should fit.
        dictionary: The dictionary, or cross-layer transcoder, to check.
        on: Text to try it on, ids [chunk pos] or a corpus. Its explained variance must be above
            zero there (of a cross-layer transcoder, in each layer). Where it is not, a dictionary
            that was trained here on a model of this name gets a warning: the tokens may be too few.
        tokens: How many tokens of the text are read.

    Returns:
        The dictionary, unchanged.

    Raises:
        ValueError: If a site or a width is not the model's, if it reads what comes after the
            weights of a norm and these are folded into the next matrices here and were not where
            it was trained (or the other way round), or if nothing is explained.

    Warns:
        UserWarning: If nothing is explained by a dictionary that says it is of this model.
    """
    if isinstance(dictionary, CrossLayerTranscoder):
        for number in dictionary.layers:
            check(model, dictionary.layer(number))
        if on is not None:
            _explains(model, dictionary, on, tokens)
        return dictionary
    fits(model, dictionary.site, dictionary.d_in, dictionary.name)
    fits(model, dictionary.writes, dictionary.d_out, f"what {dictionary.name} writes")
    _same_output(dictionary, bridge.dims(model), bridge.name(model))
    _same_norm(dictionary, model)
    if on is not None:
        both = list(dict.fromkeys((dictionary.site, dictionary.writes)))
        acts = activations(model, both, on, tokens=tokens, length=64, split=None)
        x, y = acts.of(dictionary.site), acts.of(dictionary.writes)
        explained = 1 - float(
            (dictionary.reconstruct(x) - y).pow(2).sum() / (y - y.mean(0)).pow(2).sum()
        )
        if not explained > 0:
            _nothing(model, dictionary, explained, dictionary.writes, len(acts))
    return dictionary


def _explains(model: Model, whole: CrossLayerTranscoder, on: Any, tokens: int) -> None:
    """Raises ValueError for a layer of which nothing is explained."""
    both = list(dict.fromkeys((*whole.reads, *whole.writes)))
    acts = activations(model, both, on, tokens=tokens, length=64, split=None)
    shares = whole.explained(acts)
    worst = min(shares, key=lambda layer: shares[layer])
    if not shares[worst] > 0:
        _nothing(model, whole, shares[worst], f"mlp.{worst}", len(acts))


def _nothing(model: Model, dictionary: Either, share: float, where: str, n_tokens: int) -> None:
    """A warning for a dictionary that was trained here on a model of this name, and a ValueError
    for any other, where nothing is explained.
    """
    finding = (
        f"explains {share:.2f} of the variance of {where!r} in {bridge.name(model)}"
        f" ({n_tokens:,} tokens)"
    )
    known = dictionary.metadata
    tokens = known.get("tokens")
    trained = isinstance(tokens, int) and known.get("model") == bridge.name(model)
    if trained and "curve" in known and not math.isnan(share):
        warn(
            f"{dictionary.name} {finding}: it was trained on {tokens:,} tokens of a model of this"
            " name, which are too few, or the model has changed since (train on more,"
            f" tokens={10 * tokens:_})"
        )
        return
    few = f"too few tokens ({tokens:,})" if isinstance(tokens, int) else "too few tokens"
    raise ValueError(
        f"{dictionary.name} {finding}: it belongs to another model, layer or scale, or was trained"
        f" on {few}"
    )


def _same_norm(dictionary: Dictionary, model: Model) -> None:
    """Raises ValueError for a dictionary of what comes after a norm's weights, where the model has
    them folded into the next matrices and the dictionary was trained where they were not, or the
    other way round.
    """
    site = place(dictionary.site)
    if site.part != "module_in" or site.layer is None:
        return
    source = dictionary.metadata.get("activations")
    trained = isinstance(source, dict) and source.get("norm weights") == "folded"
    if bridge.folded_norm(model, site.layer) and not trained:
        raise ValueError(
            f"{dictionary.name} reads {dictionary.site!r}, after the weights of the norm, and in"
            " this model those are folded into the MLP's own matrices, so it would read other"
            f" numbers: load the model without folding (interp.load({bridge.name(model)!r}))"
        )
    if trained and not bridge.folded_norm(model, site.layer):
        raise ValueError(
            f"{dictionary.name} was trained where the weights of the norm before"
            f" {dictionary.site!r} were folded into the MLP's own matrices, and in this model they"
            " are not: features.check it with the model that it was trained on"
        )


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
