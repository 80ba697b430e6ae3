"""How well single latents detect concepts: chosen on some prompts, tested on others."""

import time
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._stats import auroc
from interp.features.dictionary import Dictionary
from interp.features.prompt_activations import PromptActivations
from interp.results import Result


@torch_defaults()
def concept_detection(
    dictionaries: Dictionary | Sequence[Dictionary],
    find: PromptActivations,
    labels: Sequence[str],
    heldout: PromptActivations,
    heldout_labels: Sequence[str],
    *,
    shuffle: int | None = None,
) -> Result:
    """The AUROC of the best latent for each label on held-out prompts, chosen on other prompts.

    A prompt's score is the latent's largest value in it. AUROC is the probability that a prompt
    with the label scores higher than one without (0.5: chance; ties count half).

    Example:
        >>> detection = features.concept_detection(
        ...     [parts, sae], find, concepts, heldout, heldout_concepts
        ... )
        >>> detection.mean("concept")
        >>> detection.metadata["latents"]["snmf 100 mlp.10.post"]["weekdays"]

    Args:
        dictionaries: One dictionary, or several to compare. A dictionary with metadata["names"]
            (`mean_differences`) uses the latent of that name.
        find: Prompts on which latents are chosen. Of equal latents, the one whose mean differs most
            is taken.
        labels: One label per prompt of `find`.
        heldout: Prompts on which they are tested.
        heldout_labels: One label per prompt of `heldout`.
        shuffle: A seed with which both lists of labels are shuffled first; this gives what choosing
            alone achieves.

    Returns:
        AUROC, axis "concept", and axis "dictionary" first if several were given.
        `metadata["latents"][dictionary][concept]` is the chosen latent.

    Raises:
        ValueError: If the number of labels is wrong, or the two splits have different labels.
    """
    started = time.perf_counter()
    compared = [dictionaries] if isinstance(dictionaries, Dictionary) else list(dictionaries)
    concepts = list(dict.fromkeys(labels))
    _check(find, labels, heldout, heldout_labels, concepts)
    rng = None if shuffle is None else np.random.default_rng(shuffle)

    def mixed(names):
        return np.array(names) if rng is None else rng.permutation(np.array(names))

    here, there = mixed(labels), mixed(heldout_labels)
    values, chosen = [], {}
    for dictionary in compared:
        at = _choose(dictionary, find.pooled(dictionary), here, concepts)
        scores = _auroc(heldout.pooled(dictionary), there, concepts)
        values.append(scores[np.arange(len(concepts)), at])
        chosen[dictionary.name] = dict(zip(concepts, at.tolist()))
    metadata = {
        "latents": chosen,
        "prompts": [len(labels), len(heldout_labels)],
        "tokens": len(find.prompt),
        "shuffle": shuffle,
    }
    metadata |= {
        "model": find.activations.metadata.get("model"),
        "seconds": round(time.perf_counter() - started, 2),
    }
    if isinstance(dictionaries, Dictionary):
        return Result(
            values[0],
            ("concept",),
            {"concept": concepts},
            f"detection by {compared[0].name}",
            "AUROC",
            metadata,
        )
    coords = {"dictionary": [dictionary.name for dictionary in compared], "concept": concepts}
    return Result(
        np.stack(values),
        ("dictionary", "concept"),
        coords,
        "detection by the best latent",
        "AUROC",
        metadata,
    )


def _check(
    find: PromptActivations,
    labels: Sequence[str],
    heldout: PromptActivations,
    heldout_labels: Sequence[str],
    concepts: list[str],
) -> None:
    """None if there is a label per prompt and both splits have the same; otherwise a ValueError."""
    for read, names in ((find, labels), (heldout, heldout_labels)):
        if len(names) != int(read.prompt.max()) + 1:
            raise ValueError(
                f"{len(names)} labels for {int(read.prompt.max()) + 1} prompts: one for each is"
                " needed"
            )
    unmatched = set(heldout_labels) ^ set(concepts)
    if unmatched or len(concepts) < 2:
        raise ValueError(
            "both splits need the same labels, at least two:"
            f" {sorted(unmatched) or concepts} is in one only"
        )


def _choose(
    dictionary: Dictionary, scores: Tensor, labels: np.ndarray, concepts: list[str]
) -> np.ndarray:
    """The latent for each concept."""
    names = dictionary.metadata.get("names")
    if names is not None:
        return np.array([list(names).index(c) for c in concepts])
    apart = np.stack(
        [to_numpy(scores[labels == c].mean(0) - scores[labels != c].mean(0)) for c in concepts]
    )
    apart = apart / (to_numpy(scores.std(0)) + 1e-6)
    return (_auroc(scores, labels, concepts) + 1e-6 * apart).argmax(1)


@torch_defaults()
def concept_of(
    dictionary: Dictionary,
    read: PromptActivations,
    labels: Sequence[str],
    *,
    at_least: float = 0.75,
) -> list[str | None]:
    """The label that each latent detects best on these prompts, or None.

    Example:
        >>> features.concept_of(parts, find, concepts)

    Args:
        dictionary: Whose latents are described.
        read: What `prompt_activations` returned.
        labels: One per prompt.
        at_least: A latent whose AUROC is below this for all labels gets None.

    Returns:
        A list with one entry per latent.
    """
    concepts = list(dict.fromkeys(labels))
    _check(read, labels, read, labels, concepts)
    scores = _auroc(read.pooled(dictionary), np.array(labels), concepts)
    return [
        concepts[i] if best >= at_least else None
        for i, best in zip(scores.argmax(0), scores.max(0))
    ]


def _auroc(scores: Tensor, labels: np.ndarray, concepts: Sequence[str]) -> np.ndarray:
    """AUROC [concept latent] of scores [prompt latent] against each label."""
    return auroc(to_numpy(scores), np.array([np.array(labels) == c for c in concepts]))
