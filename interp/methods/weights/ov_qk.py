"""What the weights of heads do without any prompt: OV and QK circuits in the vocabulary.

A head reads the stream through a norm. Its gain is folded into the reading matrices, and for
LayerNorm the mean is taken out of them; the norm's scale depends on the prompt and is left out, as
are all biases.
"""

import time
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp import engine, sites
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.engine.forward import rotate, window
from interp.methods.runs import sweep
from interp.models import bridge
from interp.results import Result
from interp.tasks.task import single

Tokens = str | int | Sequence[str | int]


@torch_defaults()
def ov_readout(model: Model, head: str, tokens: Tokens, *, k: int = 10) -> Result:
    """The tokens whose logits a head raises most when it attends to each of the given tokens.

    Example:
        >>> readout = ov_readout(model, "L23H3", [" Mary", " Paris"])
        >>> readout.sel(input=" Mary").top(5, by="high")

    Args:
        model: A loaded model that the engine knows.
        head: One head, "L23H3".
        tokens: Words that are one token each, or ids. The input is the token's embedding alone,
            normed; what earlier layers make of a token is left out.
        k: How many outputs per input.

    Returns:
        Logits up to the final norm's scale, minus their mean over the vocabulary; axes input,
        output. The outputs are the k highest of every input together.

    Raises:
        ValueError: If there is not one head, or the engine does not know the model.

    Reference:
        Elhage et al. 2021, A Mathematical Framework for Transformer Circuits.
    """
    started = time.perf_counter()
    engine_model, (layer, index) = _engine(model, "ov_readout"), _one(model, head)
    ids = _ids(model, tokens)
    written = (
        _normed(engine_model, engine_model.embed[ids].float())
        @ value(model, layer)[index]
        @ write(model, layer)[index]
    )
    logits = written @ unembedding(engine_model).T
    return _readout(
        model,
        logits,
        ids,
        ("input", "output"),
        k,
        f"OV of {head}",
        "logits, up to a scale",
        started,
        head,
    )


@torch_defaults()
def qk_readout(model: Model, head: str, tokens: Tokens, *, k: int = 10, offset: int = 0) -> Result:
    """The tokens that a head attends to most from each given token, by embeddings alone.

    Example:
        >>> qk_readout(model, "L5H2", [" the"], offset=1).top(5, by="high")

    Args:
        model: A loaded model that the engine knows.
        head: One head, "L5H2".
        tokens: Query words that are one token each, or ids.
        k: How many keys per query.
        offset: How many tokens before the query the key stands, where positions are rotary (0:
            content alone).

    Returns:
        Attention scores minus their mean over the vocabulary; axes query, key. The keys are the k
        highest of every query together.

    Raises:
        ValueError: If there is not one head, or the offset does not fit the model.

    Reference:
        Elhage et al. 2021, A Mathematical Framework for Transformer Circuits.
    """
    started = time.perf_counter()
    engine_model, (layer, index) = _engine(model, "qk_readout"), _one(model, head)
    ids = _ids(model, tokens)
    q, key = query_key(model, layer, offset)
    keys = _normed(engine_model, engine_model.embed.float()) @ key[index]
    scores = (
        _normed(engine_model, engine_model.embed[ids].float())
        @ q[index]
        @ keys.T
        * engine_model.layers[layer].scale
    )
    scores = scores - scores.mean(-1, keepdim=True)
    name = f"QK of {head}" + (f" at offset {offset}" if offset else "")
    return _readout(model, scores, ids, ("query", "key"), k, name, "attention score", started, head)


def copying(given: Any) -> tuple[Tensor, float]:
    """The copying score [layer head 1] of every head, and the mean of mismatched pairs.

    Over the tokens, OV is W_E W_V W_O W_U. The score is the sum of its eigenvalues divided by the
    sum of their sizes: 1 when all are positive (a token raises itself), -1 when it lowers itself. A
    head reads V of its own KV head.
    """
    model = given.model
    engine_model, d = _engine(model, "copying"), bridge.dims(model)
    across = (
        unembedding(engine_model).T @ engine_model.embed.float()
    )  # [d_model d_model]: all of the vocabulary there is in it
    values = torch.stack([value(model, layer) for layer in range(d.n_layers)])
    writes = torch.stack([write(model, layer) for layer in range(d.n_layers)])
    reads = writes @ across  # [layer head d_head d_model]
    ratio = eigen_ratio(reads @ values)
    # mismatched: what layer l writes, for what a head of another layer reads; every other layer
    # once would be n squared
    other = [
        eigen_ratio(reads @ values.roll(shift, 0)).mean() for shift in range(1, min(d.n_layers, 4))
    ]
    null = torch.stack(other).mean() if other else torch.tensor(float("nan"))
    return ratio[..., None].float(), float(null)


def eigen_ratio(matrix: Float[Tensor, "*heads d_head d_head"]) -> Float[Tensor, "*heads"]:
    """Sum of the eigenvalues over the sum of their sizes: 1 all positive, -1 all negative."""
    values = torch.linalg.eigvals(matrix.double())
    return (values.real.sum(-1) / values.abs().sum(-1)).float()


# --- the matrices, one per query head, norms folded -----------------------------------------------


def fold(engine_model: Any, layer: int, W: Tensor) -> Tensor:
    """Reading matrices [head d_model d_head] with the norm's gain in them, LayerNorm's mean out."""
    norm = engine_model.layers[layer].norm1
    W = norm.weight.float()[:, None] * W.float()
    return W - W.mean(-2, keepdim=True) if norm.kind == "ln" else W


def value(model: Model, layer: int) -> Tensor:
    """W_V as each query head uses it [head d_model d_head]: head h reads KV head h // group."""
    return _grouped(model, "V", layer)


def write(model: Model, layer: int) -> Tensor:
    """W_O [head d_head d_model]."""
    return bridge.projection(model, "O", layer)[0].float()


def query_key(model: Model, layer: int, offset: int = 0) -> tuple[Tensor, Tensor]:
    """W_Q and W_K as each query head uses them, [head d_model d_head], rotated to this offset."""
    engine_model, d = _engine(model, "query_key"), bridge.dims(model)
    q, k = _grouped(model, "Q", layer), _grouped(model, "K", layer)
    if offset == 0:
        return q, k
    rotary = engine_model.layers[layer].rotary
    if not engine_model.rotations or rotary is None:
        raise ValueError(
            f"offset={offset}: positions of this layer are not rotary, so its QK is the same at"
            " every offset (leave it out)"
        )
    if not 0 < offset < d.n_ctx:
        raise ValueError(
            f"offset={offset}: the key stands 0 to {d.n_ctx - 1} tokens before the query"
        )

    def turn(W, at):
        view = window(engine_model, at, at + 1)
        return rotate(W.movedim(0, 1)[:, None], view, rotary)[:, 0].movedim(1, 0)

    return turn(q, offset), turn(k, 0)


def unembedding(engine_model: Any) -> Float[Tensor, "d_vocab d_model"]:
    """W_U with the final norm's gain, minus its mean token (a shift of all logits does nothing)."""
    norm = engine_model.final_norm
    W = engine_model.unembed.weight.float() * norm.weight.float()
    W = W - W.mean(-1, keepdim=True) if norm.kind == "ln" else W
    return W - W.mean(0)


def _grouped(model: Model, which: str, layer: int) -> Tensor:
    """A reading matrix as each query head uses it, norms folded."""
    W = fold(_engine(model, which), layer, bridge.projection(model, which, layer)[0])
    return W.repeat_interleave(bridge.dims(model).n_heads // len(W), 0)


def _normed(engine_model: Any, x: Tensor) -> Tensor:
    """Embeddings divided by their own scale; gain and mean are in the matrices that read them."""
    norm, x = engine_model.layers[0].norm1, x * engine_model.embed_scale
    centred = x - x.mean(-1, keepdim=True) if norm.kind == "ln" else x
    return x / (centred.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt()


def _engine(model: Model, what: str) -> Any:
    """The model as the engine holds it, or ValueError."""
    engine_model = engine.find(model)
    if engine_model is None:
        raise ValueError(
            f"{what}: weights can be read together only in a known pre-norm model:"
            f" {engine.why_not(model)}"
        )
    if engine_model.norms_writes:
        raise ValueError(
            f"{what}: what attention writes is normed in this model before it is added to the"
            " stream, so what a head writes is no matrix product of what it reads"
        )
    if what in ("query_key", "Q", "K") and any(layer.q_norm for layer in engine_model.layers):
        raise ValueError(
            f"{what}: each head's queries and keys are normed in this model, so what they make of"
            " each other is no fixed matrix (OV works)"
        )
    return engine_model


# --- heads, tokens and tables ---------------------------------------------------------------------


def heads_of(model: Model, where: str | Sequence[str]) -> list[sites.Site]:
    """The heads that a pattern or a list names, in forward order of what was typed."""
    heads: list[sites.Site] = []
    for text in [where] if isinstance(where, str) else where:
        site = sites.Site.parse(text)
        if site.family != "head" or site.part != "out" or site.pos is not None:
            raise ValueError(f"weights are read of heads, got {text!r} (try 'L*H*' or 'L23H3')")
        heads += sites.expand(site, bridge.dims(model)).sites
    if not heads:
        raise ValueError("no heads: name at least one, for example ['L23H3']")
    return list(dict.fromkeys(heads))


def _one(model: Model, head: str) -> tuple[int, int]:
    """Layer and index of the one head that was named."""
    heads = heads_of(model, head)
    if len(heads) != 1:
        raise ValueError(f"a read-out is of one head, {head!r} names {len(heads)} (try 'L23H3')")
    return heads[0].layer, heads[0].index


def _ids(model: Model, tokens: Tokens) -> list[int]:
    """The tokens as ids, each once."""
    words = [tokens] if isinstance(tokens, str | int) else list(tokens)
    if not words:
        raise ValueError("no tokens: give words that are one token each, for example [' Paris']")
    ids = [single(model.tokenizer, t) if isinstance(t, str) else int(t) for t in words]
    wrong = [i for i in ids if not 0 <= i < bridge.dims(model).d_vocab]
    if wrong:
        raise ValueError(f"token ids must be 0 to {bridge.dims(model).d_vocab - 1}, got {wrong[0]}")
    return list(dict.fromkeys(ids))


def _readout(
    model: Model,
    table: Tensor,
    ids: list[int],
    dims: tuple,
    k: int,
    name: str,
    unit: str,
    started: float,
    head: str,
) -> Result:
    """The table's highest columns as a Result."""
    if k < 1:
        raise ValueError(f"k={k}: a read-out needs at least one token a row")
    best = list(dict.fromkeys(table.topk(min(k, table.shape[-1])).indices.flatten().tolist()))
    coords = {dims[0]: _words(model, ids), dims[1]: _words(model, best)}
    metadata = sweep.provenance(model, None, "weights", started, head=head, k=k, backend="engine")
    return Result(to_numpy(table[:, best]), dims, coords, name, unit, metadata)


def _words(model: Model, ids: Sequence[int]) -> list[str]:
    """Each id as its text; where two read the same, with the id."""
    texts = [model.tokenizer.decode([i]) for i in ids]
    return [t if texts.count(t) == 1 else f"{t} ({i})" for t, i in zip(texts, ids)]
