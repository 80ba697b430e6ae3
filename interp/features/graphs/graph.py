"""The attribution graph of a prompt, through transcoders and dictionaries of the stream."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from interp import engine as lean
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.engine.weights import Engine
from interp.features.crosscoders.cross_layer_transcoder import (
    CrossLayerTranscoder,
    directions,
    one_a_layer,
)
from interp.features.dictionary import Dictionary
from interp.features.graphs.attribution_graph import AttributionGraph
from interp.features.graphs.direct_effects import AT_ONCE, HeldRun, Target, Written, direct_effects
from interp.features.graphs.influence import Node, scores
from interp.features.graphs.logit_nodes import logit_nodes, token_texts
from interp.features.graphs.prompt_parts import LINEAR, Part, prompt_parts
from interp.features.interventions import SKIP
from interp.methods.runs import sweep
from interp.models import bridge, placement
from interp.models import tokens as words

ADDS_UP = {4: 1e-3, 2: 0.1}  # of the largest value, by bytes: farther off than rounding takes it


@torch_defaults()
def graph(
    model: Model,
    prompt: Any,
    dictionaries: Dictionary | CrossLayerTranscoder | Sequence[Dictionary | CrossLayerTranscoder],
    *,
    answers: Sequence[str] | None = None,
    wrong: str | None = None,
    nodes: float | None = 0.8,
    edges: float | None = 0.98,
    max_nodes: int = 4000,
    skip: int = SKIP,
) -> AttributionGraph:
    """The attribution graph of one prompt: what its logits were made of, latent by latent.

    Example:
        >>> graph = features.graph(model, "The capital of France is", transcoders)
        >>> graph                               # completeness, replacement, errors, first of all
        >>> graph.plot()
        >>> features.graph(model, prompt, transcoders, answers=[" Paris"], wrong=" London")

    Nodes are latents at positions, what each dictionary leaves out at each position ("error"), the
    whole MLP of layers without a transcoder, the tokens' embeddings, and logits. Attention patterns
    and the norms' scales are held as they are in this run, so effects are linear and add up: into a
    node flow the effects of all sources and a bias, together its value.

    Args:
        model: A loaded model that the engine runs.
        prompt: One prompt: a text, its ids, or a task with one prompt.
        dictionaries: Transcoders (reading "mlp.N.in", or "mlp.N.normalized" or "mlp.N.module_in"
            after the MLP's norm; writing "mlp.N"), a cross-layer transcoder, and dictionaries of
            the stream ("resid_post.N"). A dictionary of the stream cuts it: what lies below acts
            only through its latents and its error, and through what latents of a cross-layer
            transcoder below write above it.
        answers: The logits, by their token; None: the likeliest, up to ten or 95 % of the
            probability. A logit's value is its distance from the mean logit.
        wrong: With one answer: the node is its logit minus this one.
        nodes: How much of the influence on the logits the nodes that are kept account for; None
            keeps all.
        edges: The same for edges.
        max_nodes: The most latents whose inputs are computed; of more, those with the largest
            influence. The others are counted to the errors of their place.
        skip: At so many first positions, dictionaries are not used: the whole MLP (or stream) is
            an error there. They are trained without the attention sink.

    Returns:
        The graph, pruned; its scores are those of the whole one.

    Raises:
        ValueError: If the prompt is not one, a dictionary is of another width or reads another
            place, two are of one layer, an answer is there twice, the graph does not fit into the
            memory (INTERP_MEMORY), or the engine does not run this model.

    Warns:
        UserWarning: If a dictionary was trained on a model of another name.

    Cost:
        A run, and one backward sweep per latent that is on, 256 at a time: on 135M parameters, 12
        tokens and ten layers with 32 latents a token, some 15 s of one core.

    Reference:
        Ameisen et al. 2025, "Circuit Tracing: Revealing Computational Graphs in Language Models";
        Dunefsky et al. 2024, arXiv 2406.11944. Whole MLPs, dictionaries of the stream and the bias
        of each node are ours.
    """
    started = time.perf_counter()
    if max_nodes < 1:
        raise ValueError(f"max_nodes={max_nodes}: at least one latent is a node (try 4000)")
    ids = _one_prompt(model, prompt)
    if not 0 <= skip <= max(1, ids.shape[1] - 1):
        raise ValueError(
            f"skip={skip} of {ids.shape[1]} positions: from 0 on, and some are left (try skip=1)"
        )
    given = one_a_layer(dictionaries)
    sweep.needs_engine(model, "features.graph", "features.circuit")
    with bridge.LOCK, torch.no_grad():
        engine = lean.find(model)
        assert engine is not None
        parts = prompt_parts(model, engine, given, ids, skip)
        held = HeldRun(engine, ids)
        found = _assembled(model, engine, held, parts, ids, answers, wrong, max_nodes)
    metadata = sweep.provenance(
        model,
        None,
        "attribution graph",
        started,
        dictionaries={p.dictionary.writes: p.dictionary.name for p in parts},
        skip=skip,
        backend="engine",
        **found.metadata,
    )
    whole = AttributionGraph(
        found.nodes,
        found.effects,
        found.weights,
        found.tokens,
        found.scores,
        metadata=metadata,
        _live=(model, tuple(p.dictionary for p in parts), ids),
    )
    if nodes is None and edges is None:
        return whole
    return whole.prune(nodes=nodes, edges=edges)


# --- what the prompt and the dictionaries are -----------------------------------------------------


def _one_prompt(model: Model, prompt: Any) -> Int[Tensor, "1 pos"]:
    read = words.read_prompts(model, prompt)
    if len(read.ids) != 1:
        raise ValueError(
            f"an attribution graph is of one prompt, got {len(read.ids)} (try task[[0]], or the"
            " first of your texts)"
        )
    ids = torch.as_tensor(read.ids[0])[None]
    longest = bridge.dims(model).n_ctx
    if ids.shape[1] > longest:
        raise ValueError(
            f"a prompt of {ids.shape[1]} tokens: this model reads {longest} (try its end,"
            f" ids[:, -{longest}:])"
        )
    return ids


# --- the graph ------------------------------------------------------------------------------------


class _Columns(NamedTuple):
    """The sources, in the order of the columns: tokens, latents that are on, errors, whole MLPs."""

    features: list[tuple[int, int, int]]  # (part, position, latent)
    mlps: list[int]  # layers without a transcoder
    length: int
    parts: int

    @property
    def errors(self) -> int:
        """The first column of an error."""
        return self.length + len(self.features)

    @property
    def whole_mlps(self) -> int:
        """The first column of a whole MLP."""
        return self.errors + self.parts * self.length

    def __len__(self) -> int:
        return self.whole_mlps + len(self.mlps) * self.length


class _Found(NamedTuple):
    nodes: tuple[Node, ...]
    effects: Any
    weights: dict[str, float]
    tokens: tuple[str, ...]
    scores: dict[str, float]
    metadata: dict[str, Any]


def _assembled(
    model: Model,
    engine: Engine,
    held: HeldRun,
    parts: Sequence[Part],
    ids: Tensor,
    answers: Sequence[str] | None,
    wrong: str | None,
    max_nodes: int,
) -> _Found:
    """All nodes and the effects between them."""
    texts = token_texts(model, ids[0].tolist())
    logits, ends, weights = logit_nodes(model, held, answers, wrong)
    columns = _Columns(
        [
            (k, int(pos), int(latent))
            for k, part in enumerate(parts)
            for pos, latent in part.z.nonzero()
        ],
        sorted(set(range(engine.n_layers)) - {part.layer for part in parts if part.inside}),
        ids.shape[1],
        len(parts),
    )
    _check_memory(engine, columns, len(logits), max_nodes)
    reads = [_reads(held, parts[k], pos, latent) for k, pos, latent in columns.features]
    chosen, effects, biases = _computed(held, parts, columns, reads, ends, weights, max_nodes)

    # what is not a node of its own is counted to the error of its place
    at = {i: row for row, i in enumerate(chosen)}
    for i, (k, pos, _) in enumerate(columns.features):
        if i not in at:
            effects[:, columns.errors + k * columns.length + pos] += effects[:, columns.length + i]
    features = torch.tensor(chosen, dtype=torch.long) + columns.length
    keep = torch.cat(
        [torch.arange(columns.length), features, torch.arange(columns.errors, len(columns))]
    )
    effects = effects[:, keep]

    targets = [columns.length + row for row in range(len(chosen))]
    n = effects.shape[1] + len(logits)
    targets += range(effects.shape[1], n)
    whole = torch.zeros(n, n)
    whole[targets, : effects.shape[1]] = effects
    own = torch.zeros(n)
    own[targets] = biases + torch.tensor([reads[i][1] for i in chosen] + [b for _, b in ends])
    nodes = _nodes(parts, columns, chosen, ids, texts, logits, own.tolist())

    values = torch.tensor([node.value for node in nodes])[targets]
    apart = float((whole[targets].sum(1) + own[targets] - values).abs().max())
    if not apart <= ADDS_UP.get(engine.itemsize, 1e-3) * max(1.0, float(values.abs().max())):
        raise ValueError(
            f"the inputs of a node miss its value by {apart:.2g}: this model computes something"
            " that the graph does not know; please report the model's family"
        )
    array, names = to_numpy(whole.double()), [node.name for node in nodes[-len(logits) :]]
    row = torch.zeros(n, dtype=torch.float64)
    row[-len(logits) :] = torch.tensor(weights, dtype=torch.float64)
    worth = scores(array, to_numpy(row), [node.kind for node in nodes])
    token = None if wrong is None else words.single(words.tokenizer_of(model), wrong)
    about = {"ids": ids[0].tolist(), "against": token, "logit cap": engine.logit_cap}
    about |= {"latents on": len(reads), "latents kept": len(chosen), "adds up to": apart}
    return _Found(nodes, array, dict(zip(names, weights)), tuple(texts), worth, about)


def _check_memory(engine: Engine, columns: _Columns, n_logits: int, max_nodes: int) -> None:
    """Nothing where the effects fit into the budget of memory; otherwise a ValueError that names
    what would fit.
    """

    def need(share: float, most: int) -> float:
        """The bytes of a graph of this share of the positions."""
        on, rest = share * len(columns.features), share * (len(columns) - len(columns.features))
        rows = min(on, most) + n_logits
        work = 16.0 * AT_ONCE * share * columns.length * engine.d_model
        return work + 8 * rows * (on + rest) + 36 * (rows + rest) ** 2

    length, has = columns.length, placement.budget(engine.device)
    fitting = (n for n in range(length - 1, 1, -1) if need(n / length, max_nodes) <= has)
    shorter = next(fitting, None)
    fewer = next((n for n in (2000, 1000, 500, 200) if n < max_nodes and need(1, n) <= has), None)
    advice = [f"about {shorter} tokens fit"] if shorter else []
    advice += [f"max_nodes={fewer} fits"] if fewer else []
    placement.check_budget(
        need(1, max_nodes),
        engine.device,
        f"a graph of {length:,} tokens with {len(columns.features):,} latents on",
        " and ".join(advice) or "take fewer dictionaries",
    )


def _reads(held: HeldRun, part: Part, pos: int, latent: int) -> tuple[Target, float]:
    """What a latent reads of the stream, and the bias of its encoder and of the norm before it."""
    d = part.dictionary
    w = d.weights_at(part.z.device)
    scale, bias = LINEAR[d.kind]
    direction = w["W_enc"][:, latent].float()
    if scale is not None:
        direction = direction * w[scale][latent].float().exp()
    own = float(w[bias][latent])
    if d.settings.get("apply_b_dec_to_input"):
        own -= float(direction @ w["b_dec"].float())
    if part.inside:
        direction, given = held.before_norm(part.layer, part.through, direction, pos)
        own += float(given)
    return Target(part.layer, part.inside, pos, direction), own


def _written(
    held: HeldRun, parts: Sequence[Part], columns: _Columns
) -> tuple[dict[int, Written], dict[int, Written], Written]:
    """What every source writes: into streams that are cut, by MLPs, and by the embeddings."""
    run, length = held.run, columns.length
    every = torch.arange(length)
    stream: dict[int, Written] = {}
    mlps: dict[int, Written] = {}
    into: dict[int, list[tuple[Tensor, Tensor, Tensor]]] = {}  # of latents, by the MLP
    for k, part in enumerate(parts):
        w = part.dictionary.weights_at(part.z.device)
        mine = [(i, pos, n) for i, (j, pos, n) in enumerate(columns.features) if j == k]
        place_of, latent = (
            torch.tensor([row[at] for row in mine], dtype=torch.long) for at in (1, 2)
        )
        at = torch.tensor([row[0] for row in mine], dtype=torch.long) + length
        size = part.z[place_of, latent][:, None]
        errors = (every, part.error, columns.errors + k * length + every)
        for to, W_dec in directions(part.dictionary, part.z.device).items():
            layer = part.layer if to is None else to
            latents = (place_of, size * W_dec[latent].float(), at)
            if part.inside:
                into.setdefault(layer, []).append(latents)
            else:
                stream[layer] = _together([latents, errors], bias=w["b_dec"].float())
        if part.inside:
            into.setdefault(part.layer, []).append(errors)
            skip = w["W_skip"].float() if "W_skip" in w else None
            mlps[part.layer] = _together(
                into[part.layer], bias=w["b_dec"].float(), skip=skip, through=part.through
            )
    for k, layer in enumerate(columns.mlps):
        mlps[layer] = Written(
            every, run["mlp_out"][layer][0].float(), columns.whole_mlps + k * length + every
        )
    return stream, mlps, Written(every, run["resid_pre"][0][0].float(), every)


def _together(some: Sequence[tuple[Tensor, Tensor, Tensor]], **more: Any) -> Written:
    """Several that write into one place: of each its positions, vectors and columns."""
    pos, vectors, columns = (torch.cat(part) for part in zip(*some))
    return Written(pos, vectors, columns, **more)


def _computed(
    held: HeldRun,
    parts: Sequence[Part],
    columns: _Columns,
    reads: Sequence[tuple[Target, float]],
    ends: Sequence[tuple[Target, float]],
    weights: Sequence[float],
    max_nodes: int,
) -> tuple[list[int], Tensor, Tensor]:
    """Which latents are nodes, the effects on them and on the logits, and what biases give them."""
    written = _written(held, parts, columns)

    def effects_on(some: Sequence[Target]) -> tuple[Tensor, Tensor]:
        return direct_effects(held, some, *written, len(columns))

    logit_rows, logit_bias = effects_on([target for target, _ in ends])
    chosen: list[int] = []
    rows, biases = [], []
    left = min(len(reads), max_nodes)
    todo = list(range(len(reads)))
    with sweep.progress(None, "attribution graph: latents", total=left) as bar:
        while left:
            if len(reads) > max_nodes:  # those that matter most by what is known so far
                flow = _flow(logit_rows, rows, chosen, weights, columns)
                taken = set(chosen)
                todo = [i for i in flow.argsort(descending=True).tolist() if i not in taken]
            batch = todo[: min(AT_ONCE, left)]
            todo = todo[len(batch) :]
            found, bias = effects_on([reads[i][0] for i in batch])
            chosen += batch
            rows.append(found)
            biases.append(bias)
            left -= len(batch)
            bar.update(len(batch))
    return chosen, torch.cat([*rows, logit_rows]), torch.cat([*biases, logit_bias])


def _flow(
    logit_rows: Tensor,
    rows: Sequence[Tensor],
    chosen: Sequence[int],
    weights: Sequence[float],
    columns: _Columns,
) -> Tensor:
    """The influence of each latent on the logits, through the latents whose inputs are known."""

    def shares(some: Tensor) -> Tensor:
        return some.abs() / some.abs().sum(1, keepdim=True).clamp(min=1e-30)

    flow = torch.tensor(weights) @ shares(logit_rows)
    total = flow.clone()
    if rows:
        inner = shares(torch.cat(list(rows)))
        at = torch.tensor(chosen, dtype=torch.long) + columns.length
        for _ in range(2 * columns.parts):
            flow = flow[at] @ inner
            total += flow
    return total[columns.length : columns.errors]


def _nodes(
    parts: Sequence[Part],
    columns: _Columns,
    chosen: Sequence[int],
    ids: Tensor,
    texts: Sequence[str],
    logits: Sequence[Node],
    biases: Sequence[float],
) -> tuple[Node, ...]:
    nodes = [
        Node("token", "embed", -1, pos, token, 1.0, 0.0, text)
        for pos, (token, text) in enumerate(zip(ids[0].tolist(), texts))
    ]
    for i in chosen:
        k, pos, latent = columns.features[i]
        part = parts[k]
        value, bias = float(part.z[pos, latent]), biases[len(nodes)]
        nodes.append(Node("feature", part.dictionary.writes, part.layer, pos, latent, value, bias))
    for part in parts:
        nodes += [
            Node("error", part.dictionary.writes, part.layer, pos) for pos in range(columns.length)
        ]
    for layer in columns.mlps:
        nodes += [Node("mlp", f"mlp.{layer}", layer, pos) for pos in range(columns.length)]
    for logit in logits:
        nodes.append(replace(logit, bias=biases[len(nodes)]))
    return tuple(nodes)
