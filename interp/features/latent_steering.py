"""Latents of several dictionaries as steering directions, at equal change of the prediction."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from interp._isolation import torch_defaults
from interp._types import Model
from interp.features.crosscoders.cross_layer_transcoder import LayerLatents
from interp.features.dictionary import Dictionary
from interp.methods.steering.direction import Direction
from interp.methods.steering.matched_kl import matched_kl_strengths, token_logit_gain
from interp.results import Result


@torch_defaults()
def latent_gain(
    model: Model,
    prompts: Any,
    dictionaries: Sequence[Dictionary],
    latents: Mapping[str, Mapping[str, int]],
    words: Mapping[str, Sequence[str | int]],
    neutral: Sequence[str | int],
    *,
    kl: float = 0.5,
    scale: float = 1.0,
) -> Result:
    """The gain in logits of a concept's words when its latent's direction is added, at equal KL.

    Example:
        >>> detection = features.concept_detection(
        ...     [parts, sae], find, concepts, heldout, heldout_concepts
        ... )
        >>> latents = detection.metadata["latents"]
        >>> features.latent_gain(model, prompts, [parts, sae], latents, words, neutral, kl=0.5)

    Args:
        model: The model.
        prompts: Texts, token ids or a task.
        dictionaries: Those that are compared.
        latents: The latent for each concept, by the dictionary's name.
        words: Tokens by concept.
        neutral: Tokens whose mean logit is subtracted.
        kl: How far the next-token prediction moves, in nats. The direction is added at every
            position but the first, with the strength that `matched_kl_strengths` finds.
        scale: Multiplies each direction; strengths are searched in steps of it.

    Returns:
        Axes "dictionary" and "concept", in logits; above zero if the concept's words rise more than
        the neutral ones. One value per prompt is kept. metadata["strengths"] has the strengths; a
        latent that never moves the prediction by `kl` has strength 0 and gains nothing, and
        metadata["unreached"] counts these.
    """
    by_name = {d.name: d for d in dictionaries}
    several = next((d.name for d in dictionaries if isinstance(d, LayerLatents)), None)
    if several is not None:
        raise ValueError(
            f"the latents of {several!r} write to several layers, and a direction is added to one:"
            " interp.run(model, prompts, features.steer(clt.layer(2), {17: 8.0}))"
        )
    concepts = list(words)
    cells = {f"{name}: {concept}": (name, concept) for name in by_name for concept in concepts}
    pushes = {
        key: Direction(
            by_name[n].W_dec[latents[n][c]] * scale, by_name[n].writes, {"method": "latent"}
        )
        for key, (n, c) in cells.items()
    }
    strengths = matched_kl_strengths(model, prompts, pushes, kl=kl)
    reached = {
        key: 0.0 if value != value else value
        for key, value in zip(pushes, strengths.values.tolist())
    }
    gains = token_logit_gain(
        model, prompts, pushes, reached, {key: words[c] for key, (_, c) in cells.items()}, neutral
    )
    shape = (len(by_name), len(concepts))
    metadata = {
        **gains.metadata,
        "kl": kl,
        "strengths": reached,
        "unreached": int((strengths.values != strengths.values).sum()),
    }
    coords = {"dictionary": list(by_name), "concept": concepts}
    examples = gains.examples.reshape(*shape, -1)
    return replace(
        gains,
        values=gains.values.reshape(shape),
        dims=("dictionary", "concept"),
        coords=coords,
        examples=examples,
        metadata=metadata,
    )
