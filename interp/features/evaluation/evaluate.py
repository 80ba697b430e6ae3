"""How far a dictionary can be trusted: what it keeps, what that costs the model, and how many
latents do it.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp import engine as lean
from interp import plots, sites
from interp._numbers import to_numpy
from interp._types import Model
from interp.edits import set_to
from interp.engine.forward import embed, run_from, window
from interp.features import site_values
from interp.features.activations import chunks_of
from interp.features.dictionary import Dictionary
from interp.features.loading import check
from interp.features.sites import place
from interp.interventions import Intervention, run
from interp.methods.runs.sweep import choose_engine, progress, provenance
from interp.methods.text.token_losses import chunk_losses
from interp.models import bridge
from interp.results import Result

MEASURES = {
    "latents on": "latents a token",
    "explained variance": "fraction",
    "loss recovered": "fraction",
    "loss, spliced": "nats a token",
    "loss, plain": "nats a token",
    "loss, mean ablated": "nats a token",
}
DENSE = 0.1  # on at more than this share of tokens
PER_RUN = 1_024  # tokens


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
    """Latents on, explained variance and loss recovered on text the dictionary was not trained on,
    with intervals.

    Example:
        >>> features.evaluate(model, sae)
        >>> many = features.evaluate(model, [sae, *features.baselines(acts, k=32)])        # a row each, the same text

    Args:
        on: A corpus (the "heldout" half of the documentation unless given), ids [chunk pos], or
            `Activations` (their ids). Loss recovered: (mean ablated - spliced) / (mean ablated -
            plain), where the reconstruction, without its error, stands for the activation at every
            position but the first; the mean is that of these tokens. Explained variance: 1 -
            squared error / squared distance from the mean. Both are ratios of sums over chunks;
            their intervals are the delta method's. metadata: tokens, and for each dictionary the
            number of latents that were never on ("dead") and on at more than a tenth of tokens
            ("dense"): few tokens call many latents dead.
    """
    started = time.perf_counter()
    dictionaries = [dictionary] if isinstance(dictionary, Dictionary) else list(dictionary)
    if not dictionaries or len({(d.site, d.writes) for d in dictionaries}) > 1:
        raise ValueError(
            "evaluate takes dictionaries that read and write the same sites: evaluate the others by"
            " themselves"
        )
    for one in dictionaries:
        check(model, one)
    ids, skip, metadata = chunks_of(model, on, tokens, length, split, seed)
    if ids.shape[1] < 3 or not 0 < skip + 1 < ids.shape[1]:
        raise ValueError(f"chunks of {ids.shape[1]} tokens have no loss: three are needed at least")
    reads, writes = dictionaries[0].site, dictionaries[0].writes
    backend_used = (
        "hooks"
        if backend == "hooks" or site_values.engine_for(model, [reads, writes]) is None
        else "engine"
    )
    n_chunks = max(1, PER_RUN // ids.shape[1] // (len(dictionaries) + 2))
    parts = [ids[i : i + n_chunks] for i in range(0, len(ids), n_chunks)]
    values = [
        site_values.values(model, part, list(dict.fromkeys((reads, writes))), backend)
        for part in progress(parts, "activations")
    ]
    target = torch.cat([f[writes] for f in values])
    middle = target[:, skip:].flatten(0, 1).mean(0)
    sums = [_Sums(one, middle) for one in dictionaries]
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
    counts = {one.name: total.counts() for one, total in zip(dictionaries, sums)}
    result_metadata = provenance(model, None, "evaluate", started, backend=backend_used)
    result_metadata |= {
        **metadata,
        "site": writes,
        "tokens": target[:, skip:, 0].numel(),
        "chunks": len(ids),
        "skip": skip,
        "latents": counts,
        "units": MEASURES,
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


def names_of(dictionaries: Sequence[Dictionary]) -> list[str]:
    """Their names; a ValueError where two are alike."""
    names = [d.name for d in dictionaries]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise ValueError(
            f"two dictionaries are called {twice!r}: give them names, dataclasses.replace(sae,"
            " name='seed 1')"
        )
    return names


def but_first(act: Tensor, new: Tensor, skip: int) -> Tensor:
    """`new` in the place of activations [chunk pos d], the first `skip` positions left as they are."""
    return torch.cat([act[:, :skip], new[:, skip:].to(act.dtype)], 1)


class _Sums:
    """What is added up over chunks for one dictionary."""

    def __init__(self, dictionary: Dictionary, middle: Tensor):
        self.dictionary, self.middle = dictionary, middle
        self.on, self.wrong, self.far = [], [], []
        self.times, self.tokens = torch.zeros(dictionary.n_latents, device=middle.device), 0

    @torch.no_grad()
    def add(self, x: Tensor, target: Tensor) -> Tensor:
        """The reconstruction of a few chunks [chunk pos d_in]."""
        z = self.dictionary.encode(x)
        out = self.dictionary.reconstruct(x, z)
        self.on.append((z != 0).sum(-1).float().mean(-1))
        self.wrong.append((out - target).pow(2).sum((-1, -2)))
        self.far.append((target - self.middle).pow(2).sum((-1, -2)))
        self.times += (z != 0).flatten(0, -2).sum(0)
        self.tokens += z[..., 0].numel()
        return out

    def examples(self, plain: np.ndarray, ablated: np.ndarray, spliced: np.ndarray) -> np.ndarray:
        """[measure chunk], in the order of MEASURES; the mean over chunks is the number itself."""
        on, wrong, far = (to_numpy(torch.cat(part)) for part in (self.on, self.wrong, self.far))
        recovered = ratio_of(ablated - spliced, ablated - plain)
        return np.stack([on, ratio_of(far - wrong, far), recovered, spliced, plain, ablated])

    def counts(self) -> dict[str, int]:
        return {
            "latents": self.dictionary.n_latents,
            "dead": int((self.times == 0).sum()),
            "dense": int((self.times > DENSE * self.tokens).sum()),
        }


def ratio_of(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """sum(above) / sum(below) as a mean of examples, each the ratio plus what it moves it by (the
    delta method).
    """
    ratio = above.sum() / below.sum() if below.sum() else np.nan
    return (
        ratio + (above - ratio * below) / below.mean()
        if below.sum()
        else np.full(len(above), np.nan)
    )


# --- the loss with an activation replaced ---------------------------------------------------------


def losses_with(
    model: Model, ids: Tensor, at: str, act: Tensor, new: Sequence[Tensor], backend: str | None
) -> Tensor:
    """The loss of each chunk [1 + new chunk]: untouched, and with each of `new` [chunk pos d] in
    the site's place.
    """
    engine = choose_engine(model, backend, lambda: site_values.engine_for(model, [at]))
    with torch.no_grad(), bridge.LOCK:
        if engine is not None:
            return _lean_losses(engine, ids, at, [act, *new])
        runs = [
            run(model, ids, edits).logits
            for edits in ([], *(splice(at, value, bridge.dims(model)) for value in new))
        ]
        return torch.stack([chunk_losses(logits, ids) for logits in runs])


def splice(at: str, value: Tensor, dims: Any) -> list[Intervention]:
    """The interventions that put a value [chunk pos d] in a site's place; heads side by side get
    theirs one by one.

    Example:
        >>> run(model, tokens, splice("resid_post.15", sae.reconstruct(x), dims))
    """
    site = place(at)
    if not site.stars:
        return [Intervention(at, set_to(value))]
    heads = sites.expand(site, dims).sites
    return [
        Intervention(one, set_to(part))
        for one, part in zip(heads, value.unflatten(-1, (len(heads), -1)).unbind(-2))
    ]


def _lean_losses(engine: Any, ids: Tensor, at: str, values: Sequence[Tensor]) -> Tensor:
    """All variations as rows of one batch, from the layer they differ at."""
    site = place(at)
    kind, layer = site_values.spot(site, engine.n_layers)
    x, view, rows = (
        embed(engine, ids)[None],
        window(engine, 0, ids.shape[1]),
        torch.stack(list(values)),
    )

    def put(value: Tensor) -> Tensor:
        if "head" not in site.row.axes:
            return rows
        if site.stars:
            return rows.unflatten(-1, value.shape[-2:])
        value = value.clone()
        value[:, :, :, site.index] = rows
        return value

    x = run_from(engine, x, view, 0, layer)
    x = rows if kind == "resid_pre" else x.expand(len(rows), *x.shape[1:])
    here = {} if kind == "resid_pre" else {kind: put}
    x = run_from(engine, x, view, layer, touch=lambda number, _: here if number == layer else {})
    return torch.stack([chunk_losses(lean.unembed(engine, row), ids) for row in x])


# --- tables and pictures --------------------------------------------------------------------------


def table(result: Result) -> Any:
    """A pandas DataFrame with a row per dictionary: its numbers, their intervals, dead and dense
    latents, tokens.

    Example:
        >>> features.table(features.evaluate(model, [sae, *features.baselines(acts, k=32)]))
    """
    import pandas as pd

    one = result.dims == ("measure",)
    names = [result.name] if one else result.coords["dictionary"]
    low, high = result.ci()
    values, low, high = (v[None] if one else v for v in (result.values, low, high))
    rows = []
    for i, name in enumerate(names):
        counts = result.metadata["latents"][name]
        row: dict[str, Any] = {"dictionary": name, "latents": counts["latents"]}
        for j, measure in enumerate(result.coords["measure"]):
            row |= {
                measure: values[i, j],
                f"{measure}, low": low[i, j],
                f"{measure}, high": high[i, j],
            }
        rows.append(
            row
            | {
                "dead": counts["dead"],
                "dense": counts["dense"],
                "tokens": result.metadata["tokens"],
            }
        )
    return pd.DataFrame(rows).set_index("dictionary")


def pareto(results: Result | Sequence[Result], *, y: str = "loss recovered", ax: Any = None) -> Any:
    """The Axes with dictionaries as points: latents on against a measure, up and to the left is
    better.

    Example:
        >>> features.pareto(features.evaluate(model, [small, large, *features.baselines(acts, k=32)]))
    """
    points: list[tuple[str, float, float]] = []
    for result in [results] if isinstance(results, Result) else results:
        chosen = result.sel(measure=["latents on", y])
        values = chosen.values if chosen.values.ndim == 2 else chosen.values[None]
        points += [
            (name, *map(float, v))
            for name, v in zip(result.coords.get("dictionary", [result.name]), values)
        ]
    names, x, height = zip(*points)
    shown = results if isinstance(results, Result) else results[0]
    title = f"{shown.metadata['site']}, {shown.metadata['tokens']:,} tokens"
    return plots.scatter(
        np.array(x),
        np.array(height),
        names,
        x_name="latents on (a token)",
        y_name=f"{y} ({MEASURES[y]})",
        title=title,
        top=len(points),
        ax=ax,
    )
