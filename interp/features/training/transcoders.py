"""Transcoders of several layers, from one reading of the text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interp import _store
from interp._isolation import torch_defaults
from interp._types import Model
from interp.dims import layer_numbers
from interp.features.activations import activations
from interp.features.dictionary import Dictionary
from interp.features.loading.load_all import TRAINED
from interp.features.training.train_cache import cache_folder, load_or_train
from interp.methods.runs.sweep import progress
from interp.models import bridge


@torch_defaults()
def train_transcoders(
    model: Model,
    layers: str | int | Sequence[int],
    on: Any = None,
    *,
    width: int = 2304,
    k: int = 32,
    skip: bool = False,
    tokens: int = 100_000,
    seed: int = 0,
    folder: str | Path | None = None,
    **options: Any,
) -> list[Dictionary]:
    """A transcoder of each of these layers' MLPs, trained on one reading of the text.

    Example:
        >>> transcoders = features.train_transcoders(model, "10-19")
        >>> features.graph(model, "The capital of France is", transcoders)
        >>> [round(t.metadata["curve"][-1]["explained"], 2) for t in transcoders]

    What is finished is kept: the same call after an interruption, or in another session, reads it
    and trains the rest.

    Args:
        model: A loaded model.
        layers: One layer, several, or the first and the last, "10-19".
        on: A corpus, or ids [chunk pos] (the "find" half of the documentation if None).
        width: How many latents a layer.
        k: How many of them are on.
        skip: Whether each has a linear path beside its latents ("skip transcoder").
        tokens: How many tokens each is trained on; a shorter text is read again.
        seed: Decides the text, the order and the first weights.
        folder: Where activations and transcoders are kept; the user's cache if None. What was
            trained there is read again without training by `load_all(folder)`.
        options: Go to `train`.

    Returns:
        The transcoders in the order of layers; metadata["curve"] of each says how much of its MLP's
        output it explained. `features.evaluate` judges one on held-out text.

    Raises:
        ValueError: If a layer does not exist, or is named twice.

    Cost:
        A run of the text, `2 * d_model * 2` bytes of disk a token and layer, and `train` of each
        layer, one layer's activations in memory at a time. The bar says how long after the first.
        SmolLM2, layers 14 to 19, 2,304 latents, k = 32, 100,000 tokens: 5 minutes of one core, of
        which 3 read the text; the last batch is explained to 0.43 to 0.53, and 15 to 37 % of the
        latents are dead. From these rates, ten layers on 300,000 tokens would take 20 minutes.

    Reference:
        Dunefsky et al. 2024, arXiv 2406.11944; skip transcoders: Paulo et al. 2025, arXiv
        2501.18823.
    """
    chosen = layer_numbers(layers, bridge.dims(model).n_layers)
    home = cache_folder("transcoders") if folder is None else Path(folder)
    sites = [site for layer in chosen for site in (f"mlp.{layer}.in", f"mlp.{layer}")]
    read = _store.key({"sites": sites, "tokens": tokens, "seed": seed})
    acts = activations(
        model,
        sites,
        on,
        tokens=tokens,
        seed=seed,
        folder=home / "activations" / read,
        dtype="float16",
    )
    return [
        load_or_train(
            model,
            f"mlp.{layer}.in",
            acts.only([f"mlp.{layer}.in", f"mlp.{layer}"]),
            to=f"mlp.{layer}",
            kind="skip_transcoder" if skip else "transcoder",
            name=f"{'skip ' if skip else ''}transcoder {layer}",
            folder=home / TRAINED,
            width=width,
            k=k,
            tokens=tokens,
            seed=seed,
            **options,
        )
        for layer in progress(chosen, "transcoders: layers")
    ]
