"""Dictionaries that are trained once: kept in the user's cache, and read from there afterwards."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from interp import _store
from interp._isolation import torch_defaults
from interp._types import Model
from interp._warn import warn
from interp.features.activations import Activations
from interp.features.dictionary import CFG, Dictionary
from interp.features.loading.load import load
from interp.features.training.train import train
from interp.methods.runs.checkpoint import digest
from interp.models.state import weights_hash


def cache_folder(*names: str) -> Path:
    """A folder of this name for activations and dictionaries in the user's cache (or INTERP_CACHE).

    Example:
        >>> folder = features.cache_folder("study-22", "resid_post.15")
        >>> features.activations(model, "resid_post.15", folder=folder)

    Args:
        names: The folder's name, and names of folders inside it.

    Returns:
        The path; nothing is created.
    """
    return _store.cache_folder("features", *names)


@torch_defaults()
def load_or_train(
    model: Model | None,
    site: str,
    on: Activations,
    *,
    name: str = "",
    folder: str | Path | None = None,
    **recipe: Any,
) -> Dictionary:
    """The dictionary that `train` gives, from the cache if this recipe was trained before.

    The recipe is the model's weights, the activations and every option. A damaged dictionary is
    trained again.

    Example:
        >>> features.load_or_train(model, "resid_post.15", acts, width=2304, k=32, tokens=150_000)

    Args:
        model: The model; None if there is none (synthetic activations).
        site: What the dictionary reads.
        on: Its activations.
        name: How results name it.
        folder: Another place than the user's cache.
        recipe: Options of `train`.

    Returns:
        A `Dictionary`.
    """
    from sae_lens import __version__ as theirs

    from interp import __version__ as ours

    of = {
        "weights": None if model is None else weights_hash(model),
        "tokens": digest(on.tokens),
        "values": digest(on.shard(0)[site]),
        "site": site,
    }
    of |= recipe | {"skip": on.skip, "sae_lens": theirs, "interp": ours, "n": len(on)}
    home = (cache_folder("trained") if folder is None else Path(folder)) / _store.key(of)
    if (home / CFG).is_file():
        try:
            dictionary = load(home)
            return replace(dictionary, name=name) if name else dictionary
        except ValueError as error:
            warn(f"{error}: it is trained again")
    trained = train(model, site, on, name=name, **recipe)
    trained.save(home)
    return trained
