"""How far a dictionary can be trusted: what it keeps, at what cost, and with how many latents."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.features import site_values
from interp.features.activations import chunks_of
from interp.features.dictionary import Dictionary
from interp.features.evaluation.measures import MEASURES, Sums, doubt, names_of
from interp.features.evaluation.spliced_loss import but_first, losses_with
from interp.features.loading.check import check
from interp.methods.runs.sweep import progress, provenance
from interp.results import Result

PER_RUN = 1_024  # tokens


@torch_defaults()
def evaluate(
    model: Model,
    dictionary: Dictionary | Sequence[Dictionary],
    on: Any = None,
    *,
    tokens: int = 8_192,
    length: int = 128,
    split: str | None = "heldout",
    seed: int = 0,
    backend: str | None = None,
) -> Result:
    """Latents on, explained variance and loss recovered, on text that was not used for training.

    Example:
        >>> features.evaluate(model, sae)
        >>> features.evaluate(model, [sae, *features.baselines(acts, k=32)])        # the same text

    Args:
        model: The model.
        dictionary: One dictionary, or several that read and write the same sites.
        on: A corpus (the documentation if None), ids [chunk pos], or `Activations` (their ids).
        tokens: How many tokens at most.
        length: Tokens in a chunk of the corpus.
        split: Which half of the corpus is read.
        seed: Decides which chunks are drawn.
        backend: "engine", "hooks", or None to choose.

    Returns:
        Axis "measure" (and "dictionary" first if several were given), each in its own unit. "loss
        recovered" is (mean ablated - spliced) / (mean ablated - plain): the reconstruction, without
        its error, replaces the activation at every position but the first, and the mean is that of
        these tokens. "explained variance" is 1 - squared error / squared distance from the mean.
        Both are ratios of sums over chunks, with intervals by the delta method; examples are
        chunks. metadata["latents"] counts latents that were never on ("dead") and on at more than a
        tenth of tokens ("dense"); few tokens make many latents look dead.

    Raises:
        ValueError: If a dictionary does not fit the model, or they differ in their sites or share a
            name.
    """
    started = time.perf_counter()
    dictionaries = [dictionary] if isinstance(dictionary, Dictionary) else list(dictionary)
    if not dictionaries or len({(d.site, d.writes) for d in dictionaries}) > 1:
        raise ValueError(
            "evaluate takes dictionaries that read and write the same sites: evaluate the others by"
            " themselves"
        )
    for d in dictionaries:
        check(model, d)
    ids, skip, metadata = chunks_of(model, on, tokens, length, split, seed)
    if ids.shape[1] < 3 or not 0 < skip + 1 < ids.shape[1]:
        raise ValueError(f"chunks of {ids.shape[1]} tokens have no loss: three are needed at least")
    reads, writes = dictionaries[0].site, dictionaries[0].writes
    backend_used = (
        "hooks"
        if backend == "hooks" or site_values.engine_for(model, [reads, writes]) is None
        else "engine"
    )
    chunks_per_run = max(1, PER_RUN // ids.shape[1] // (len(dictionaries) + 2))
    parts = [ids[i : i + chunks_per_run] for i in range(0, len(ids), chunks_per_run)]
    values = [
        site_values.values(model, part, list(dict.fromkeys((reads, writes))), backend)
        for part in progress(parts, "activations")
    ]
    target = torch.cat([f[writes] for f in values])
    middle = target[:, skip:].flatten(0, 1).mean(0)
    sums = [Sums(d, middle) for d in dictionaries]
    losses = []
    for part, at_sites in zip(progress(parts, "losses"), values):
        act = at_sites[writes]
        new = [but_first(act, middle.expand_as(act), skip)]
        for total in sums:
            out = total.add(at_sites[reads][:, skip:], act[:, skip:])
            new.append(but_first(act, torch.cat([act[:, :skip], out], 1), skip))
        losses.append(losses_with(model, part, writes, act, new, backend))
    plain, ablated, *spliced = to_numpy(torch.cat(losses, 1))
    rows = [total.examples(plain, ablated, loss) for total, loss in zip(sums, spliced)]
    counts = {d.name: total.counts() for d, total in zip(dictionaries, sums)}
    result_metadata = provenance(model, None, "evaluate", started, backend=backend_used)
    result_metadata |= {
        **metadata,
        "site": writes,
        "tokens": target[:, skip:, 0].numel(),
        "chunks": len(ids),
        "skip": skip,
        "latents": counts,
        "units": MEASURES,
        **doubt(plain, ablated),
    }
    examples = np.stack(rows)  # dictionary measure chunk
    coords = {"dictionary": names_of(dictionaries), "measure": list(MEASURES)}
    unit = "each measure in its own unit"
    if isinstance(dictionary, Dictionary):
        return Result(
            examples[0].mean(-1),
            ("measure",),
            {"measure": coords["measure"]},
            dictionaries[0].name,
            unit,
            result_metadata,
            examples[0],
        )
    return Result(
        examples.mean(-1),
        ("dictionary", "measure"),
        coords,
        f"dictionaries of {writes}",
        unit,
        result_metadata,
        examples,
    )
