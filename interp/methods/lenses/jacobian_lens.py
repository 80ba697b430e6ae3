"""The Jacobian lens: each layer's stream, moved on by the average of its first-order effect on the
last layer's.
"""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp import _files, _store, engine
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp._warn import warn
from interp.interventions import Intervention, run
from interp.methods.lenses.lens import (
    Lens,
    check_lengths,
    divergence,
    fingerprint,
    scored_tokens,
    streams_of,
    with_divergence,
)
from interp.methods.runs import sweep
from interp.models import bridge
from interp.models.tokens import read_prompts

RECIPE = 1  # raise it when the estimate changes: lenses of an older recipe are then fitted anew
SKIP = 16  # positions at the start that are left out: sinks have a stream of their own
KIND = "Jacobian lens"
FEW_TEXTS, FEW_PLACES = 3, 100  # with fewer, a warning says that J is one of a few positions


@torch_defaults()
def jacobian_lens(
    model: Model,
    tokens: Any,
    layers: Sequence[int] | None = None,
    *,
    skip: int = SKIP,
    rows: int | None = None,
    seed: int = 0,
    cached: bool = True,
    backend: str | None = None,
) -> Lens:
    """A Jacobian lens: per layer the matrix J that says how the last layer's stream follows from
    this one, to first order and on average.

    Example:
        >>> lens = interp.jacobian_lens(model, texts)
        >>> interp.logit_lens(model, task, lens=lens).plot()
        >>> interp.widgets.lens(model, "The capital of France is", lens=lens)
        >>> lens.save("my_jacobian_lens.pt")

    J is the mean, over texts and over positions t of each, of the derivative of the last layer's
    stream, added up over the positions from t on, in the stream after the layer at t. Where J is
    the identity, this is the logit lens. Nothing is trained: J is measured.

    Args:
        model: A loaded model.
        tokens: Text: ids [text pos], texts, or a task. TransformerLens calls about 100 texts of 128
            tokens usable; published lenses have up to 1,000. Below 3 texts or 100 positions a
            warning says so.
        layers: Those to measure, all if None; the last is always there and is the identity.
        skip: How many positions at the start are left out; the last position is, too.
        rows: Rows of J that are measured on each text, all if None. A number below d_model makes
            the whole as many times cheaper: other rows are drawn on each text, each as often as any
            other, and a row is the mean over the texts on which it was drawn.
        seed: Draws the rows.
        cached: Kept on disk for the same weights, text and options.
        backend: "engine", "hooks", or None: the engine where it can.

    Returns:
        The lens. `lens.kl` is its divergence from the model's output in nats, on at most 512 tokens
        of the same text. It is no training goal, and may be larger than the logit lens's.

    Raises:
        ValueError: If a text has no position left, a layer does not exist, there are too few texts
            to see each row once, or the model's positions look ahead.

    Cost:
        A backward pass through the model per row and text. On 135M parameters .2 to .3 s of one
        core for a row of a text of 64 tokens: 20 texts with rows=29, some 3 minutes of one core.

    Reference:
        Gurnee et al. 2026, "Verbalizable Representations Form a Global Workspace in Language
        Models" (transformer-circuits.pub/2026/workspace). With rows=None the estimate is that of
        TransformerLens' `JacobianLens.fit`; `rows` is ours.
    """
    started = time.perf_counter()
    given = read_prompts(model, tokens).by_length()
    chunks = [ids.cpu() for _, ids in given]
    check_lengths(model, given, skip, stop=1)
    chosen, rows = _checked(model, chunks, layers, rows)
    _notice_few(chunks, skip)
    mark = fingerprint(model)
    path = _path(mark, chunks, (chosen, skip, rows, seed))
    said = dict(skip=skip, texts=sum(map(len, chunks)), rows=rows)
    if cached and path.exists():
        try:
            weight, numbers = _load(model, path, len(chosen))
            return _lens(
                model, mark, chosen, weight, numbers, started, **said, **{"from disk": True}
            )
        except ValueError as error:
            warn(f"{error}: the lens is fitted again")
    weight = _measured(model, chunks, chosen, skip, rows, seed, backend)
    streams = streams_of(model, chunks, chosen)
    keep, zero = scored_tokens(len(streams[0])), torch.zeros_like(weight[0])
    scored = [
        [divergence(model, h[keep], streams[-1][keep], w, zero[0]) for w in (zero, own)]
        for own, h in zip(weight, streams)
    ]
    numbers = torch.tensor(scored, dtype=torch.float64).T.contiguous()
    if cached:
        _store.write_tensors(path, {"weight": weight.cpu(), "kl": numbers})
    return _lens(model, mark, chosen, weight, numbers, started, **said, **{"from disk": False})


def _measured(
    model: Model,
    chunks: Sequence[Tensor],
    layers: tuple[int, ...],
    skip: int,
    rows: int,
    seed: int,
    backend: str | None,
) -> Tensor:
    """J - 1 of each layer, turned round [layer d_model d_model], as `Lens` has it."""
    d = bridge.dims(model)
    lean = sweep.choose_engine(model, backend, lambda: engine.find(model))
    texts = [ids[None] for chunk in chunks for ids in chunk]
    order = torch.randperm(d.d_model, generator=torch.Generator().manual_seed(seed))
    total = torch.zeros(len(layers) - 1, d.d_model, d.d_model, dtype=torch.float64)
    times = torch.zeros(d.d_model, dtype=torch.float64)
    for i, ids in enumerate(sweep.progress(texts, KIND)):
        drawn = order[(i * rows + torch.arange(rows)) % d.d_model]
        found = (
            _by_hooks(model, ids, layers[:-1], drawn, skip)
            if lean is None
            else engine.stream_jacobian(
                lean, ids.to(lean.device), layers[:-1], drawn, skip, ids.shape[1] - 1
            )[:, :, 0]
        )
        total[:, drawn] += found.double().cpu()
        times[drawn] += 1
    jacobians = (total / times[:, None]).float()
    weight = jacobians.mT - torch.eye(d.d_model)
    return torch.cat([weight, torch.zeros(1, d.d_model, d.d_model)]).to(bridge.device(model))


def _by_hooks(model: Model, ids: Tensor, layers: Sequence[int], rows: Tensor, first: int) -> Tensor:
    """Rows of the derivative [layer row d_model]: a copy of the text for each row, and one backward
    for all.
    """
    stop = ids.shape[1] - 1  # no next token comes after the last position
    last, out = f"resid_post.{bridge.dims(model).n_layers - 1}", []
    for some in rows.split(max(1, sweep.TOKENS_PER_RUN // ids.shape[1])):
        starts: dict[int, Tensor] = {}

        def tap(layer: int, starts: dict[int, Tensor] = starts) -> Intervention:
            def edit(act: Tensor, seen: Any) -> Tensor:
                starts[layer] = torch.zeros_like(act).requires_grad_(True)
                return act + starts[layer]

            return Intervention(f"resid_post.{layer}", edit)

        with torch.inference_mode(False):
            taps = [tap(layer) for layer in layers]
            end = run(model, ids.repeat(len(some), 1), taps, [last], last_only=True, grad=True)
            stream = end.kept[last]
            along = torch.zeros_like(stream)
            along[torch.arange(len(some)), first:stop, some] = 1.0
            grads = torch.autograd.grad(stream, [starts[layer] for layer in layers], along)
        out.append(torch.stack([g[:, first:stop].mean(1) for g in grads]))
    return torch.cat(out, 1)


def _notice_few(chunks: Sequence[Tensor], skip: int) -> None:
    """A warning where J would be that of a few positions."""
    texts = sum(map(len, chunks))
    places = sum(ids[:, skip:-1].numel() for ids in chunks)
    if texts < FEW_TEXTS or places < FEW_PLACES:
        warn(
            f"J is a mean over {places:,} positions of {texts} text{'s' * (texts != 1)}: on other"
            " texts it may be another one (some 20 texts of 64 tokens do for a look, 100 of 128 are"
            " usual)"
        )


def _checked(
    model: Model, chunks: Sequence[Tensor], layers: Any, rows: int | None
) -> tuple[tuple[int, ...], int]:
    """The layers in order with the last one, and the number of rows; ValueError for what does not
    fit.
    """
    d = bridge.dims(model)
    if not bridge.causal(model):
        raise ValueError(
            "a Jacobian lens adds up effects on later positions, and this model looks ahead"
        )
    wanted = range(d.n_layers) if layers is None else layers
    wrong = [layer for layer in wanted if not 0 <= layer < d.n_layers]
    if wrong:
        raise ValueError(f"no layer {wrong[0]}: this model has layers 0 to {d.n_layers - 1}")
    chosen = tuple(sorted({*wanted, d.n_layers - 1}))
    if len(chosen) < 2:
        raise ValueError(
            f"layer {chosen[0]} is the last one, where the lens is the identity: name others"
        )
    rows = d.d_model if rows is None else rows
    texts = sum(map(len, chunks))
    if not 1 <= rows <= d.d_model:
        raise ValueError(f"rows={rows}: between 1 and {d.d_model}, the width of the stream")
    if rows * texts < d.d_model:
        raise ValueError(
            f"rows={rows} of {texts} texts are {rows * texts} rows, and J has {d.d_model}: give"
            f" {-(-d.d_model // rows)} texts, or rows={-(-d.d_model // texts)}"
        )
    return chosen, rows


# --- on disk --------------------------------------------------------------------------------------


def _path(mark: str, chunks: Sequence[Tensor], options: tuple) -> Path:
    text = hashlib.sha256(repr((KIND, RECIPE, options)).encode())
    for ids in chunks:
        text.update(repr(tuple(ids.shape)).encode())
        text.update(to_numpy(ids.long().contiguous()).tobytes())
    # a hidden folder: what is not hidden in the cache is a model
    return _store.cache_folder("models", ".lenses", f"{mark}-{text.hexdigest()[:16]}.safetensors")


def _load(model: Model, path: Path, n: int) -> tuple[Tensor, Tensor]:
    held, _ = _files.read_tensors(path)
    width = bridge.dims(model).d_model
    _files.shaped(held, "weight", (n, width, width), path)
    _files.shaped(held, "kl", (2, n), path)
    return held["weight"].to(bridge.device(model)), held["kl"]


def _lens(
    model: Model,
    mark: str,
    layers: tuple[int, ...],
    weight: Tensor,
    numbers: Tensor,
    started: float,
    **said: Any,
) -> Lens:
    bias = weight.new_zeros(len(weight), weight.shape[-1])
    return with_divergence(model, mark, layers, weight, bias, numbers, KIND, started, **said)
