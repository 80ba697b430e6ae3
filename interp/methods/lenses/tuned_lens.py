"""The tuned lens: the logit lens through an affine map per layer, trained on the final logits."""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp import _files, _store
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp._warn import warn
from interp.methods.lenses.lens import (
    Lens,
    check_lengths,
    divergence,
    fingerprint,
    logits_of,
    scored_tokens,
    streams_of,
    with_divergence,
)
from interp.methods.runs import sweep
from interp.models import bridge
from interp.models.tokens import read_prompts

RECIPE = 1  # raise it when the training changes: lenses of an older recipe are then trained anew


@torch_defaults()
def tuned_lens(
    model: Model,
    tokens: Any,
    layers: Sequence[int] | None = None,
    *,
    steps: int = 100,
    batch: int = 64,
    vocab: int | None = 4096,
    seed: int = 0,
    cached: bool = True,
) -> Lens:
    """A tuned lens: per layer the affine map that brings the stream's logits to the model's.

    Example:
        >>> lens = tuned_lens(model, text, layers=range(0, 30, 5))
        >>> logit_lens(model, task, lens=lens).plot()

    Args:
        model: A loaded model.
        tokens: Text to train on: ids [chunk pos], texts, or a task; position 0, the attention sink,
            is left out.
        layers: Those to train, all if None; the last is always there and is the identity.
        steps: How many steps of Adam per layer.
        batch: Tokens per step, drawn by seed.
        vocab: Train on the distribution over this many tokens, the likeliest on this text; None:
            all.
        seed: Draws the batches.
        cached: Kept on disk for the same weights, text and options.

    Returns:
        The lens. `lens.kl` is its divergence in nats over the whole vocabulary, on at most 512
        tokens of the same text. A map that is no better there than none is left as the identity,
        and kl.metadata["left alone"] says so.

    Raises:
        ValueError: If the text has fewer than two positions, or a layer does not exist.

    Cost:
        About 0.1 s a step and layer for 135M parameters with vocab=4096.

    Reference:
        Belrose et al. 2023 (arXiv 2303.08112): KL to the final logits. They train on the model's
        own training set; here it is the text that you give.
    """
    started = time.perf_counter()
    given = read_prompts(model, tokens).by_length()
    chunks = [ids.cpu() for _, ids in given]
    check_lengths(model, given, 1)
    chosen = _checked(model, layers, steps, batch, vocab)
    mark = fingerprint(model)
    path = _path(mark, chunks, (chosen, steps, batch, vocab, seed))
    if cached and path.exists():
        try:
            return _load(model, path, mark, chosen, started)
        except ValueError as error:
            warn(f"{error}: the lens is fitted again")
    streams = streams_of(model, chunks, chosen)
    keep = scored_tokens(len(streams[0]))
    vocab_ids = _likeliest(model, streams[-1][keep], vocab)
    fitted, scored, alone = [], [], []
    bar = sweep.progress(None, "tuned lens", total=(len(chosen) - 1) * steps)
    with bar:
        for layer, stream in zip(chosen, streams):
            width = stream.shape[-1]
            zero = stream.new_zeros(width, width), stream.new_zeros(width)
            maps = (
                zero
                if layer == chosen[-1]
                else _fit(model, stream, streams[-1], vocab_ids, steps, batch, seed + layer, bar)
            )
            plain, tuned = (
                divergence(model, stream[keep], streams[-1][keep], *m) for m in (zero, maps)
            )
            if not tuned < plain:
                maps, tuned = zero, plain
                alone += [layer] if layer != chosen[-1] else []
            fitted.append(maps)
            scored.append((plain, tuned))
    weight, bias = (torch.stack(part) for part in zip(*fitted))
    numbers = torch.tensor(scored, dtype=torch.float64).T.contiguous()
    if cached:
        _save(path, weight, bias, numbers, alone)
    return _lens(model, mark, chosen, weight, bias, numbers, alone, started, False)


def _fit(
    model: Model,
    stream: Tensor,
    last: Tensor,
    vocab_ids: Tensor,
    steps: int,
    batch: int,
    seed: int,
    bar: Any,
) -> Any:
    """The map of one layer by Adam, learning rate falling to zero."""
    g = torch.Generator().manual_seed(seed)
    W_U, b_U = bridge.unembedding(model)
    rows = W_U.detach()[vocab_ids].float()
    offset = 0 if b_U is None else b_U.detach()[vocab_ids].float()

    def logits(h):
        return bridge.final_norm(model, h.to(W_U.dtype)).float() @ rows.T + offset

    size = stream.shape[-1]
    scale = stream.pow(2).mean().sqrt()  # the bias moves in units of the stream
    weight, bias = (
        torch.zeros(shape, device=stream.device, requires_grad=True)
        for shape in ((size, size), (size,))
    )
    # an entry of the map is one of d_model that add up: the wider the stream, the smaller the step
    groups = [{"params": [weight], "lr": 0.1 / size}, {"params": [bias], "lr": 0.01}]
    optimiser = torch.optim.Adam(groups)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    with torch.inference_mode(False), torch.enable_grad():
        for _ in range(steps):
            pick = torch.randint(len(stream), (batch,), generator=g)
            h, true = stream[pick], logits(last[pick]).log_softmax(-1)
            predicted = logits(h + h @ weight + scale * bias).log_softmax(-1)
            loss = (true.exp() * (true - predicted)).sum(-1).mean()
            optimiser.zero_grad()
            loss.backward(inputs=[weight, bias])  # the model's own may learn, too
            optimiser.step()
            falling.step()
            bar.update()
    return weight.detach(), (scale * bias).detach()


def _likeliest(model: Model, last: Tensor, vocab: int | None) -> Tensor:
    """The tokens the model gives most probability to, over this text."""
    size = bridge.dims(model).d_vocab
    if vocab is None or vocab >= size:
        return torch.arange(size)
    with torch.no_grad():
        mass = sum(logits_of(model, h).softmax(-1).sum(0) for h in last.split(64))
    return mass.topk(vocab).indices.sort().values


def _checked(
    model: Model, layers: Any, steps: int, batch: int, vocab: int | None
) -> tuple[int, ...]:
    """The layers in order, the last one among them; ValueError for options out of range."""
    d = bridge.dims(model)
    wanted = range(d.n_layers) if layers is None else layers
    wrong = [layer for layer in wanted if not 0 <= layer < d.n_layers]
    if wrong:
        raise ValueError(f"no layer {wrong[0]}: this model has layers 0 to {d.n_layers - 1}")
    if steps < 1 or batch < 1 or (vocab is not None and vocab < 2):
        raise ValueError(f"steps={steps}, batch={batch}, vocab={vocab}: at least 1, 1 and 2")
    return tuple(sorted({*wanted, d.n_layers - 1}))


# --- on disk --------------------------------------------------------------------------------------


def _path(mark: str, chunks: Sequence[Tensor], options: tuple) -> Path:
    text = hashlib.sha256()
    for ids in chunks:
        text.update(repr((RECIPE, tuple(ids.shape), options)).encode())
        text.update(to_numpy(ids.long().contiguous()).tobytes())
    # a hidden folder: what is not hidden in the cache is a model
    return _store.cache_folder("models", ".lenses", f"{mark}-{text.hexdigest()[:16]}.safetensors")


def _save(path: Path, weight: Tensor, bias: Tensor, numbers: Tensor, alone: list[int]) -> None:
    left = torch.tensor(alone, dtype=torch.int64)
    _store.write_tensors(path, {"weight": weight, "bias": bias, "kl": numbers, "left": left})


def _load(model: Model, path: Path, mark: str, layers: tuple[int, ...], started: float) -> Lens:
    t, _ = _files.read_tensors(path)
    width, n = bridge.dims(model).d_model, len(layers)
    for name, shape in {"weight": (n, width, width), "bias": (n, width), "kl": (2, n)}.items():
        _files.shaped(t, name, shape, path)
    if "left" not in t:
        raise ValueError(f"{str(path)!r} has no list of the layers left alone")
    return _lens(
        model,
        mark,
        layers,
        t["weight"].to(bridge.device(model)),
        t["bias"].to(bridge.device(model)),
        t["kl"],
        t["left"].tolist(),
        started,
        True,
    )


def _lens(
    model: Model,
    mark: str,
    layers: tuple[int, ...],
    weight: Tensor,
    bias: Tensor,
    numbers: Tensor,
    alone: list,
    started: float,
    from_disk: bool,
) -> Lens:
    """The lens of these maps and divergences."""
    said = {"from disk": from_disk, "left alone": alone}
    return with_divergence(
        model, mark, layers, weight, bias, numbers, "tuned lens", started, backend="hooks", **said
    )
