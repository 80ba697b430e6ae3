"""Absorption, in a small form: latents that are off on some tokens because a narrower one is on.

A sparse dictionary saves a latent by writing "starts with S" into the latent of "snake". On "snake"
the general latent is then off, and whoever reads it concludes that the word starts with another
letter.
"""

import time
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from interp._isolation import torch_defaults
from interp._types import Model
from interp.features import site_values
from interp.features.dictionary import Dictionary
from interp.methods.probing.logistic import fitted
from interp.methods.runs.sweep import progress
from interp.results import Result
from interp.tasks.task import encode

LEAST = 16  # words of a class: half of them choose latents, half are tested
SPLITS, GAIN = (
    5,
    0.03,
)  # latents of a class at most, and the F1 that another must add (Chanin et al.'s 0.03)
LIKE, ABSORBERS, SHARE = (
    0.1,
    3,
    0.4,
)  # cosine with the probe, how many at most, their share of the projection (SAEBench's 0.4)
PREFIX = "The first letter of the word"  # what stands before each word


class Words(NamedTuple):
    """Words, their classes, and the activation [n d] at each."""

    words: tuple[str, ...]
    labels: tuple[str, ...]
    x: Float[Tensor, "n d"]


@torch_defaults()
def first_letters(
    model: Model, site: str, *, most: int = 80, seed: int = 0, batch: int = 64
) -> Words:
    """Words of one token, labelled by first letter, and the activations at them.

    Candidates are all tokens that are a space and three or more small letters. Each is read as the
    last token of a short prompt. Letters with fewer than 16 words are left out.

    Example:
        >>> words = features.first_letters(model, "resid_post.15")
        >>> features.absorption(sae, words.x, words.labels, words=words.words)

    Args:
        model: A model with a tokenizer.
        site: The address that is read.
        most: How many words per letter at most, drawn by seed.
        seed: Decides which words are drawn.
        batch: Prompts in one forward pass.

    Returns:
        `Words`, with fields words, labels and x.

    Raises:
        ValueError: If fewer than two letters have enough words.
    """
    tokenizer, g = model.tokenizer, torch.Generator().manual_seed(seed)
    words = {i: tokenizer.decode([i]) for i in range(len(tokenizer))}
    by_letter: dict[str, list[int]] = {}
    for i, text in words.items():
        if (
            text[:1] == " "
            and len(text) > 3
            and text[1:].isascii()
            and text[1:].isalpha()
            and text.islower()
        ):
            by_letter.setdefault(text[1], []).append(i)
    enough = {letter: ids for letter, ids in sorted(by_letter.items()) if len(ids) >= LEAST}
    if len(enough) < 2:
        raise ValueError(
            f"the tokenizer has fewer than two letters with {LEAST} words of one token: give"
            " absorption an x and labels of your own"
        )
    chosen = [
        (letter, ids[k])
        for letter, ids in enough.items()
        for k in torch.randperm(len(ids), generator=g)[:most].tolist()
    ]
    before = encode(tokenizer, PREFIX)
    ids = torch.tensor([[*before, i] for _, i in chosen])
    parts = [
        site_values.values(model, part, [site])[site][:, -1].float()
        for part in progress(ids.split(batch), "words")
    ]
    return Words(
        tuple(words[i].strip() for _, i in chosen),
        tuple(letter for letter, _ in chosen),
        torch.cat(parts),
    )


@torch_defaults()
def absorption(
    dictionary: Dictionary,
    x: Float[Tensor, "n d_in"],
    labels: Sequence[Hashable],
    *,
    words: Sequence[str] | None = None,
    seed: int = 0,
) -> Result:
    """The share of words on which a class's latents are off while a few others carry its direction.

    For each class: (1) a logistic probe on x, from one half of the words, gives a direction. (2)
    The latents that best detect the class there are its own; another one is added while F1 rises by
    0.03 (feature splitting). (3) Of the words of the other half that the probe gets right, a word
    is absorbed if all own latents are off and at most three other latents, whose directions have a
    cosine of at least 0.1 with the probe's, make up 0.4 of the dictionary's projection on it.

    Example:
        >>> words = features.first_letters(model, sae.site)
        >>> features.absorption(sae, words.x, words.labels, words=words.words)

    Args:
        dictionary: A dictionary that writes the site that it reads.
        x: Activations [n d_in].
        labels: The class of each.
        words: The word of each, for the metadata.
        seed: Decides the halves.

    Returns:
        A share of words, 0 (none absorbed) to 1, one value per word kept. metadata: the number of
        words, and for each class the probe's F1, its own latents ("own"), and the absorbed words,
        each with the latent that took most.

    Raises:
        ValueError: If the dictionary is a transcoder, there are fewer than two classes with 16
            words, or no probe gets a word right.

    Reference:
        A small form of Chanin et al. 2024 (arXiv 2409.14507) and of SAEBench's score. No ablation
        is run, so it says that another latent could stand in, not that the model uses it. With a
        few dozen words per class the interval is wide.
    """
    started = time.perf_counter()
    if dictionary.to is not None:
        raise ValueError(
            f"{dictionary.name} writes {dictionary.to!r}, not what it reads: absorption needs one"
            " site"
        )
    if len(labels) != len(x) or words is not None and len(words) != len(x):
        raise ValueError(
            f"each of {len(x)} vectors has one label, got {len(labels)}"
            + ("" if words is None else f" and {len(words)} words")
        )
    classes = [
        c for c in sorted(set(labels), key=str) if sum(name == c for name in labels) >= LEAST
    ]
    if len(classes) < 2:
        raise ValueError(
            f"at least two classes with {LEAST} words each are needed, got {len(classes)}"
        )
    keep = torch.tensor([name in classes for name in labels])
    at, names = keep.nonzero()[:, 0], np.array([str(name) for name in labels], dtype=object)
    mixed = at[torch.randperm(len(at), generator=torch.Generator().manual_seed(seed))]
    x = x.cpu()
    with torch.no_grad():
        z = dictionary.encode(x)
    rates, by_class = [], {}
    for name in progress(classes, "absorption"):
        in_class = torch.from_numpy(names == str(name))
        yes, no = mixed[in_class[mixed]], mixed[~in_class[mixed]]
        halves = [torch.cat([yes[i::2], no[i::2]]).sort().values for i in (0, 1)]
        absorbed, rows, facts = _class(dictionary, x, z, in_class, *halves)
        taken = [
            (words[r] if words is not None else int(r), latent)
            for r, hit, latent in zip(rows, absorbed, facts.pop("by"))
            if hit
        ]
        rates.append(np.array(absorbed, dtype=float))
        by_class[str(name)] = {**facts, "judged": len(rows), "absorbed": taken}
    examples = np.concatenate(rates)
    if not len(examples):
        raise ValueError(
            "no probe gets a single word right: there is no direction for these classes to be"
            " absorbed from"
        )
    metadata = {
        "dictionary": dictionary.name,
        "site": dictionary.site,
        "words": len(examples),
        "seed": seed,
        "classes": by_class,
    }
    metadata["seconds"] = round(time.perf_counter() - started, 1)
    return Result(
        float(examples.mean()),
        (),
        {},
        f"absorption in {dictionary.name}",
        "share of words",
        metadata,
        examples,
    )


def _class(
    dictionary: Dictionary, x: Tensor, z: Tensor, in_class: Tensor, fit: Tensor, test: Tensor
) -> tuple[list[bool], list[int], dict[str, Any]]:
    """For the test words of one class: whether each is absorbed, their rows, and the facts."""
    w, b = fitted(x[fit], in_class[fit])
    predicted = x[test] @ w + b > 0
    class_latents = _own(z[fit], in_class[fit])
    rows = test[predicted & in_class[test]]
    toward, W_dec = normalize(w, dim=0), dictionary.weights_at(w.device)["W_dec"].float()
    parts = z[rows] * (W_dec @ toward)  # what each latent adds along the probe
    like = normalize(W_dec, dim=-1) @ toward >= LIKE
    like[class_latents] = False
    off = (z[rows][:, class_latents] == 0).all(-1)
    others = parts.masked_fill(~like, 0).clamp_min(0)
    most = others.topk(min(ABSORBERS, others.shape[1]))
    projection = parts.sum(-1)
    absorbed = off & (projection > 0) & (most.values.sum(-1) >= SHARE * projection)
    facts = {
        "probe F1": round(_f1(predicted, in_class[test]), 3),
        "own": class_latents,
        "own F1": round(_f1((z[test][:, class_latents] != 0).any(-1), in_class[test]), 3),
    }
    return absorbed.tolist(), rows.tolist(), {**facts, "by": most.indices[:, 0].tolist()}


def _own(z: Tensor, labels: Tensor) -> list[int]:
    """The latents that detect a class: the best one, then others while "any is on" gains enough F1.

    A gain must show in both halves of the words; otherwise the latent of a single word would count
    as one of the class.
    """
    on, chosen, best = z != 0, [], torch.zeros(2)
    halves = [slice(0, None, 2), slice(1, None, 2)]
    while len(chosen) < SPLITS:
        together = on | on[:, chosen].any(-1, keepdim=True)
        f1 = torch.stack(
            [
                2 * together[h][labels[h]].sum(0) / (together[h].sum(0) + labels[h].sum())
                for h in halves
            ]
        )
        gain = (f1 - best[:, None]).amin(0)
        if chosen and float(gain.max()) < GAIN:
            break
        chosen.append(int(gain.argmax()))
        best = f1[:, chosen[-1]]
    return chosen


def _f1(predicted: Tensor, true: Tensor) -> float:
    """The F1 score of predictions."""
    return float(2 * (predicted & true).sum() / (predicted.sum() + true.sum()).clamp_min(1))
