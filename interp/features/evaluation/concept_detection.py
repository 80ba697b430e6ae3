"""How well single latents tell concepts: chosen on some sentences, judged on others; and directions
to compare with.
"""

import time
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from interp._numbers import to_numpy
from interp._stats import auroc
from interp.features.dictionary import Dictionary
from interp.features.prompt_activations import Prompted
from interp.results import Result


def concept_detection(
    dictionaries: Dictionary | Sequence[Dictionary],
    find: Prompted,
    labels: Sequence[str],
    heldout: Prompted,
    heldout_labels: Sequence[str],
    *,
    shuffle: int | None = None,
) -> Result:
    """The AUROC of the best latent for each label on held-out prompts, the latent being chosen on
    others.

    A prompt's score is the latent's largest value in it; AUROC: the chance that a prompt with the
    label has a higher score than one without (0.5: by chance; ties count half).

    Example:
        >>> found = features.concept_detection([parts, sae], find, concepts, heldout, heldout_concepts)
        >>> found.mean("concept"), found.metadata["latents"]["snmf 100 mlp.10.post"]["weekdays"]

    Args:
        labels: One a prompt. Where latents are equal on `find`, the one whose mean differs most is
            taken. A dictionary that names its latents (metadata["names"], `mean_differences`) keeps
            to the named one.
        shuffle: A seed with which the labels of both are mixed first: what choosing alone gives.
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
    find: Prompted,
    labels: Sequence[str],
    heldout: Prompted,
    heldout_labels: Sequence[str],
    concepts: list[str],
) -> None:
    for read, names in ((find, labels), (heldout, heldout_labels)):
        if len(names) != int(read.prompt.max()) + 1:
            raise ValueError(
                f"{len(names)} labels for {int(read.prompt.max()) + 1} prompts: one for each is"
                " needed"
            )
    unmatched = set(heldout_labels) ^ set(concepts)
    if unmatched or len(concepts) < 2:
        raise ValueError(
            f"both splits need the same labels, at least two: {sorted(unmatched) or concepts} is in one"
            " only"
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


def concept_of(
    dictionary: Dictionary, read: Prompted, labels: Sequence[str], *, at_least: float = 0.75
) -> list[str | None]:
    """The label that each latent tells best on these prompts, or None where its AUROC is below
    `at_least` for all.

    Example:
        >>> features.concept_of(parts, find, concepts)
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
