"""Attribution graphs: exercises on completeness, pruning, an edge by hand, and interventions."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import interp
from interp import features, toys
from interp._numbers import to_numpy
from interp.features.graphs.influence import Node, scores
from interp.workshop.exercise import Exercise
from interp.workshop.exercise import Setting as Base

# the graph on paper: what each target gets from each source
KINDS = {
    **dict.fromkeys(("a", "b"), "token"),
    **dict.fromkeys(("f1", "f2", "g1", "g2", "g3"), "feature"),
    **dict.fromkeys(("e0", "e1"), "error"),
    "y": "logit",
}
INPUTS = {
    "f1": {"b": -1.5},
    "f2": {"a": 3.0},
    "g1": {"b": -1.0, "f2": 1.5},
    "g2": {"a": -0.5, "b": 2.0, "f2": 1.0, "e0": -1.5},
    "g3": {"b": -2.0, "f1": 1.0, "f2": -2.0, "e0": 1.0},
    "y": {"a": 1.0, "b": -1.0, "f2": 0.5, "g1": 2.0, "g2": 0.5, "g3": 1.0, "e0": 1.0, "e1": 3.0},
}
NAMES, SHARE = list(KINDS), 0.75
END = NAMES.index("y")
RECIPE = toys.RECIPES["induction"].but(model={"mlp": 128}, name="induction with MLPs")
TRAINED = {"width": 128, "k": 12, "tokens": 20_000, "batch": 256}
MANY = 5  # features of graphs-5


class Setting(Base):
    """A graph on paper, and a small transformer that does induction, with a graph of one prompt."""

    names = ("model", "graph", "data")
    own_model = True

    def __init__(self, model: Any = None) -> None:
        run = toys.load_or_train(RECIPE)
        super().__init__(toys.gpt_neox(run))
        text = run.source.batch(2000, torch.Generator().manual_seed(0)).inputs
        self.transcoders = features.train_transcoders(self.model, "0-1", text, **TRAINED)
        heldout = run.source.batch(200, torch.Generator().manual_seed(9), "heldout")
        row = heldout.inputs[heldout.labels["length"] == 8][2]
        self.prompt, self.answer = row[None, :12], f"logits:t{int(row[12])}"
        self.graph = features.graph(
            self.model,
            self.prompt,
            self.transcoders,
            answers=[f"t{int(row[12])}"],
            nodes=None,
            edges=None,
        )
        self.effects = torch.zeros(len(NAMES), len(NAMES))
        for target, some in INPUTS.items():
            for source, effect in some.items():
                self.effects[NAMES.index(target), NAMES.index(source)] = effect
        self.frozen = frozen(self)
        self.by_hand = by_hand(self.graph, self.answer)
        self.data = self.hand_out()[2]

    def hand_out(self) -> tuple:
        graph = replace(self.graph, effects=self.graph.effects.copy())
        data = SimpleNamespace(
            names=list(NAMES),
            kinds=list(KINDS.values()),
            effects=self.effects.clone(),
            share=SHARE,
            answer=self.answer,
            feature=self.by_hand,
            features=strongest(self.graph, self.answer),
            transcoders=list(self.transcoders),
            **{name: value.clone() for name, value in self.frozen["tensors"].items()},
            target=self.frozen["target"],
        )
        return self.model, graph, data


def frozen(s: Setting) -> dict[str, Any]:
    """What decides the strongest feature of layer 0: the tokens, the heads, and its encoder."""
    node = max(
        (n for n in s.graph.nodes if n.kind == "feature" and n.layer == 0 and n.pos > 4),
        key=lambda n: n.value,
    )
    block = toys.load_or_train(RECIPE).net().blocks[0]
    kept = interp.run(s.model, s.prompt, keep=["embed", "L0H*.pattern"]).kept
    embed = kept["embed"][0]
    size = embed.shape[1]
    centre = torch.eye(size) - 1 / size

    with torch.no_grad():
        W_V = block.attn.v.weight.unflatten(0, (2, -1)).transpose(1, 2)  # [head, d_model, d_head]
        W_O = block.attn.o.weight.T.unflatten(0, (2, -1))  # [head, d_head, d_model]
        gain = block.ln1.original_component.weight
        tensors = {
            "embed": embed,
            "pattern": kept["L0H*.pattern"][:, 0],
            "OV": centre @ (gain[:, None] * W_V @ W_O),
            "scale": (embed.var(-1, unbiased=False) + 1e-5).rsqrt(),
            "encoder": s.transcoders[0].weights["W_enc"][:, node.index],
        }
    return {"target": node, "tensors": {name: x.detach() for name, x in tensors.items()}}


def strongest(graph: Any, answer: str) -> list[str]:
    """The features of layer 0 whose loss moves the answer's logit most, by the graph."""
    names = [n.name for n in graph.nodes if n.kind == "feature" and n.layer == 0]
    return sorted(names, key=lambda name: -abs(predicted(graph, answer, name)))[:MANY]


def by_hand(graph: Any, answer: str) -> str:
    """The feature of layer 0 whose own edge and whose ways through others both matter most."""

    def both(node: Node) -> float:
        alone = (
            predicted(graph, answer, node.name, **{way: False}) for way in ("direct", "through")
        )
        return min(abs(part) for part in alone)

    return max((n for n in graph.nodes if n.kind == "feature" and n.layer == 0), key=both).name


def predicted(
    graph: Any,
    answer: str,
    name: str,
    *,
    to: float = 0.0,
    direct: bool = True,
    through: bool = True,
) -> float:
    """The change of a logit, as the graph has it, when a feature takes another value."""
    i, end = graph.place(name), graph.place(answer)
    factor = np.ones(len(graph.nodes))
    factor[i] = to
    for j, node in enumerate(graph.nodes):
        if through and node.kind == "feature" and node.layer > graph.nodes[i].layer:
            moved = node.value - (1 - to) * graph.effects[j, i]
            factor[j] = max(moved, 0.0) / node.value
    if not direct:
        factor[i] = 1.0
    return float(graph.effects[end] @ (factor - 1))


# --- 1: completeness ------------------------------------------------------------------------------

one = Exercise(
    "graphs-1",
    1,
    "the completeness of the graph on paper, one number",
    hints=(
        "First the shares: of each target's inputs, in size, so that each row adds up to 1. Then the"
        " influence of each node on y: what y takes from it, directly and through others.",
        "influence is weights @ S + weights @ S @ S + ... with S the table of shares and weights 1 at"
        " y. Three terms are enough here.",
        "For each target the share of its inputs that is no error; then the mean over targets,"
        " weighted by their influence (y itself counts 1).",
    ),
    remember="An error that enters y counts fully, and one that enters a feature as much as the"
    " feature counts. Completeness is high only where what matters was explained.",
)


def _shares(effects: Tensor) -> Tensor:
    size = effects.abs()
    return size / size.sum(1, keepdim=True).clamp(min=1e-9)


def _flow(shares: Tensor, steps: int = 3) -> Tensor:
    """Influence on the logit over paths of at most so many edges."""
    flow = torch.zeros(len(shares))
    flow[END] = 1.0
    total = torch.zeros(len(shares))
    for _ in range(steps):
        flow = flow @ shares
        total += flow
    return total


def _complete(s, shares: Tensor, flow: Tensor, last: float = 1.0) -> float:
    out = flow.clone()
    out[END] = last
    out = out * (shares.abs().sum(1) > 0)
    lost = shares[:, [kind == "error" for kind in KINDS.values()]].sum(1)
    return float(((1 - lost) * out).sum() / out.sum())


@one.right
def _(s):
    shares = s.data.effects.abs()
    shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-9)
    weights = torch.tensor([float(kind == "logit") for kind in s.data.kinds])
    influence = weights @ shares + weights @ shares @ shares + weights @ shares @ shares @ shares
    error = torch.tensor([kind == "error" for kind in s.data.kinds])
    counts = (influence + weights) * shares.any(1)
    return (counts * (1 - shares[:, error].sum(1))).sum() / counts.sum()


@one.another
def _(s):
    weights = np.array([kind == "logit" for kind in KINDS.values()], float)
    found = scores(to_numpy(s.data.effects.double()), weights, list(KINDS.values()))
    return found["completeness"]


@one.mistake(
    "only what enters the logit",
    "You looked at y alone. The features that y takes from have inputs, too, and one of them has an"
    " error among them.",
)
def _(s):
    return _complete(s, _shares(s.data.effects), torch.zeros(len(NAMES)))


@one.mistake(
    "every target counts the same",
    "That is the plain mean over the targets. Weight each by its influence on y: an error in a"
    " feature that hardly matters hardly matters.",
)
def _(s):
    shares = _shares(s.data.effects)
    return _complete(s, shares, torch.ones(len(NAMES)))


@one.mistake(
    "effects with their sign",
    "You took shares of sums in which inputs of opposite sign cancel. Take every effect by its size.",
)
def _(s):
    signed = s.data.effects / s.data.effects.sum(1, keepdim=True).where(
        s.data.effects.any(1, keepdim=True), torch.ones(len(NAMES), 1)
    )
    return _complete(s, signed, _flow(signed))


@one.mistake(
    "replacement instead of completeness",
    "That is replacement: of the influence that reaches y, the share that begins at tokens rather"
    " than at errors. Asked for is the share of all inputs.",
)
def _(s):
    flow = _flow(_shares(s.data.effects))
    tokens, errors = (
        float(flow[[kind == which for kind in KINDS.values()]].sum())
        for which in ("token", "error")
    )
    return tokens / (tokens + errors)


@one.mistake("what is missing", "That is the share of the errors: one minus it.")
def _(s):
    shares = _shares(s.data.effects)
    return 1 - _complete(s, shares, _flow(shares))


@one.mistake(
    "the logit does not count",
    "You weighted by influence and left y out. Nothing matters more than what enters y: it counts 1.",
)
def _(s):
    shares = _shares(s.data.effects)
    return _complete(s, shares, _flow(shares), last=0.0)


@one.mistake(
    "influence over one edge alone",
    "You weighted by the direct effect on y. A feature also matters through other features: add the"
    " longer paths.",
)
def _(s):
    shares = _shares(s.data.effects)
    return _complete(s, shares, _flow(shares, 1))


@one.mistake(
    "edges counted",
    "You counted edges. They have sizes, and a target's inputs count by their share.",
)
def _(s):
    there = s.data.effects != 0
    return 1 - there[:, [kind == "error" for kind in KINDS.values()]].sum() / there.sum()


@one.mistake(
    "effects not made into shares",
    "You added effects of different targets. Each is in its own target's unit: take shares of each"
    " target's inputs first.",
)
def _(s):
    size = s.data.effects.abs()
    return 1 - size[:, [kind == "error" for kind in KINDS.values()]].sum() / size.sum()


# --- 2: pruning -----------------------------------------------------------------------------------

two = Exercise(
    "graphs-2",
    2,
    "the names of the features and errors that are kept when the graph on paper is pruned to three"
    " quarters of the influence (tokens and logits always stay, and are not named)",
    kind="labels",
    hints=(
        "Begin with the influence of each node on y, over paths of every length: exercise 1 has it.",
        "Sort all nodes but y by influence, tokens among them. Add up from the largest, until three"
        " quarters of the sum of all are reached.",
        "The node that reaches the threshold is kept as well. Name those of the kept that are"
        " features or errors.",
    ),
    remember="An error is kept like any node: pruning does not tidy away what was not explained. And"
    " f2 is kept, though its own edge to y is one of the weakest: it works through g1 and others.",
)


def _ranked(values: Tensor, share: float = SHARE, among: Any = None, more: int = 0) -> list[str]:
    chosen = [i for i in range(len(NAMES)) if i != END and (among is None or i in among)]
    order = sorted(chosen, key=lambda i: -float(values[i]))
    parts = np.cumsum([float(values[i]) for i in order]) / sum(float(values[i]) for i in order)
    n = int(np.searchsorted(parts, share - 1e-9)) + 1 + more
    return [NAMES[i] for i in order[:n] if i in INNER]


INNER = [i for i, kind in enumerate(KINDS.values()) if kind in ("feature", "error")]


@two.right
def _(s):
    shares = s.data.effects.abs()
    shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-9)
    weights = torch.tensor([float(kind == "logit") for kind in s.data.kinds])
    influence = weights @ shares + weights @ shares @ shares + weights @ shares @ shares @ shares
    order = influence.argsort(descending=True).tolist()
    kept, total = [], 0.0
    for i in order:
        if total < s.data.share * influence.sum() - 1e-6:
            kept.append(i)
        total += float(influence[i])
    return [s.data.names[i] for i in kept if s.data.kinds[i] in ("feature", "error")]


@two.another
def _(s):
    left = paper(s.data.effects).prune(nodes=SHARE, edges=None)
    short = {node.name: name for name, node in PAPER.items()}
    return [short[node.name] for node in left.nodes if node.kind in ("feature", "error")]


@two.mistake(
    "direct effects on the logit alone",
    "You ranked by what enters y directly. A node also matters through others: take the influence"
    " over paths of every length.",
)
def _(s):
    return _ranked(_flow(_shares(s.data.effects), 1))


@two.mistake(
    "effects added up, not influence",
    "You ranked by the sum of all that a node gives. That counts what it gives to nodes that do not"
    " matter, and in units that differ.",
)
def _(s):
    return _ranked(s.data.effects.abs().sum(0))


@two.mistake(
    "a threshold for each node",
    "You kept nodes whose own influence is above one quarter. The threshold is on the sum: the"
    " largest nodes that together make up three quarters.",
)
def _(s):
    flow = _flow(_shares(s.data.effects))
    return [NAMES[i] for i in INNER if float(flow[i]) >= 1 - SHARE]


@two.mistake(
    "three quarters of the nodes",
    "You kept three quarters of the nodes. Asked for are three quarters of the influence.",
)
def _(s):
    flow = _flow(_shares(s.data.effects))
    order = sorted((i for i in range(len(NAMES)) if i != END), key=lambda i: -float(flow[i]))
    return [NAMES[i] for i in order[:7] if i in INNER]


@two.mistake(
    "tokens left out of the sum",
    "You added up features and errors alone. Tokens always stay, but their influence belongs to the"
    " sum of which three quarters are taken.",
)
def _(s):
    return _ranked(_flow(_shares(s.data.effects)), among=INNER)


@two.mistake(
    "one node too few",
    "You stopped before three quarters were reached. The node that crosses the threshold is kept.",
)
def _(s):
    return _ranked(_flow(_shares(s.data.effects)), more=-1)


@two.mistake(
    "errors thrown away",
    "You threw errors away. They are nodes like all others, and they stay if they matter: that is"
    " how a graph shows what it does not explain.",
)
def _(s):
    return [n for n in _ranked(_flow(_shares(s.data.effects))) if KINDS[n] != "error"]


PAPER = {
    "a": Node("token", "embed", -1, 0, 0, label="a"),
    "b": Node("token", "embed", -1, 1, 1, label="b"),
    **{f"f{i}": Node("feature", "mlp.0", 0, i - 1, i) for i in (1, 2)},
    **{f"g{i}": Node("feature", "mlp.1", 1, min(i - 1, 1), i) for i in (1, 2, 3)},
    "e0": Node("error", "mlp.0", 0, 1),
    "e1": Node("error", "mlp.1", 1, 1),
    "y": Node("logit", "logits", 2, 1, 2, label="y"),
}


def paper(effects: Tensor) -> features.AttributionGraph:
    """The graph on paper as an AttributionGraph; every value is the sum of its inputs."""
    sums = effects.sum(1).tolist()
    nodes = tuple(
        replace(node, value=sums[i]) if node.kind in ("feature", "logit") else node
        for i, node in enumerate(PAPER.values())
    )
    weights = {PAPER["y"].name: 1.0}
    return features.AttributionGraph(nodes, to_numpy(effects.double()), weights, ("a", "b"))


# --- 3: an edge by hand ---------------------------------------------------------------------------

three = Exercise(
    "graphs-3",
    2,
    "the direct effect of each token's embedding on the feature data.target, a number for each"
    " position",
    ("position",),
    hints=(
        "There are two ways from a token to the feature: the stream, if it stands at the feature's own"
        " position, and each head of layer 0, if it looks there. Add them.",
        "What head h brings from position p to the feature's position q: pattern[h, q, p] * (scale[p]"
        " * embed[p]) @ OV[h]. Nothing else depends on the run.",
        "effect[p] = encoder @ (embed[q] if p == q, plus the sum over heads of what each brings from p).",
    ),
    remember="An edge is a product of weights and of what was held: where the heads look, and the"
    " norm's scale. No run is needed, and no gradient. With it all inputs of a node add up to its value.",
)


def _brought(s, *, turned: bool = False, scales: str = "source", flipped: bool = False) -> Tensor:
    """What each head brings from each position to the feature's [head, position, d_model]."""
    d, q = s.data, s.frozen["target"].pos
    OV = d.OV.transpose(1, 2) if flipped else d.OV
    sizes = {"source": d.scale, "none": torch.ones(len(d.scale)), "own": d.scale[q].expand(12)}
    pattern = d.pattern[:, :, q] if turned else d.pattern[:, q]
    return pattern[..., None] * torch.einsum("pd,hde->hpe", sizes[scales][:, None] * d.embed, OV)


def _edge(s, heads: Any = (0, 1), *, stream: bool = True, **how) -> Tensor:
    d, q = s.data, s.frozen["target"].pos
    given = _brought(s, **how)[list(heads)].sum(0)
    if stream:
        given[q] += d.embed[q]
    return given @ d.encoder


@three.right
def _(s):
    q = s.data.target.pos
    effect = torch.zeros(len(s.data.embed))
    for p in range(len(s.data.embed)):
        given = s.data.embed[q] * (p == q)
        for h in range(2):
            entered = s.data.scale[p] * s.data.embed[p]
            given = given + s.data.pattern[h, q, p] * entered @ s.data.OV[h]
        effect[p] = given @ s.data.encoder
    return effect


@three.another
def _(s):
    return s.graph.effects[s.graph.place(s.frozen["target"].name), :12]


@three.mistake(
    "the stream forgotten",
    "The heads are right. But the token at the feature's own position reaches it without any head,"
    " through the stream.",
)
def _(s):
    return _edge(s, stream=False)


@three.mistake(
    "the heads forgotten",
    "That is the stream alone. The two heads of layer 0 bring what other tokens wrote.",
)
def _(s):
    return _edge(s, ())


@three.mistake("the first head alone", "That is the stream and head 0. There is a second head.")
def _(s):
    return _edge(s, (0,))


@three.mistake("the second head alone", "That is the stream and head 1. There is a head 0, too.")
def _(s):
    return _edge(s, (1,))


@three.mistake(
    "the pattern turned round",
    "pattern[head, position that looks, position looked at]: you took the column of those that look"
    " at the feature's position.",
)
def _(s):
    return _edge(s, turned=True)


@three.mistake(
    "the norm before the heads forgotten",
    "The heads read the stream after a norm: multiply each embedding by scale of its position.",
)
def _(s):
    return _edge(s, scales="none")


@three.mistake(
    "one scale for all sources",
    "You scaled every token by scale of the feature's position. Each token is normed where it"
    " stands, before a head takes it away.",
)
def _(s):
    return _edge(s, scales="own")


@three.mistake("OV turned round", "A row vector goes in on the left: x @ OV[h], not OV[h] @ x.")
def _(s):
    return _edge(s, flipped=True)


# --- 4: what the graph predicts -------------------------------------------------------------------

four = Exercise(
    "graphs-4",
    3,
    "the change of the answer's logit that the graph predicts when data.feature is switched off, one"
    " number",
    hints=(
        "Switched off, the feature gives nothing: its effect on every later node is taken away. Those"
        " nodes change, and what they give changes in proportion.",
        "A feature of layer 1 with value v falls to max(v - effect, 0), and gives that divided by v of"
        " what it gave.",
        "change = -effect on the logit, plus for each feature of layer 1: its effect on the logit times"
        " (new value / old value - 1).",
    ),
    remember="A prediction that was made before the model was asked. A part of it passes features of"
    " the next layer, which no single edge shows.",
    rtol=1e-3,
    decimals=3,
)


def _told(s, **how) -> float:
    return predicted(s.graph, s.answer, s.by_hand, **how)


def _asked(s) -> np.ndarray:
    return s.graph.intervene({s.by_hand: 0.0}, n=0).sel(node=s.answer).values


@four.right
def _(s):
    graph, i, end = s.graph, s.graph.place(s.data.feature), s.graph.place(s.data.answer)
    change = -graph.effects[end, i]
    for j, node in enumerate(graph.nodes):
        if node.kind == "feature" and node.layer == 1:
            now = max(node.value - graph.effects[j, i], 0.0)
            change += graph.effects[end, j] * (now / node.value - 1)
    return change


@four.another
def _(s):
    return _asked(s)[1] - _asked(s)[0]


@four.mistake(
    "the direct edge alone",
    "That is the feature's own edge to the logit. It also feeds features of layer 1, which then give"
    " less, or more.",
)
def _(s):
    return _told(s, through=False)


@four.mistake(
    "the direct edge forgotten",
    "You followed the features of layer 1 and left out the feature's own edge to the logit.",
)
def _(s):
    return _told(s, direct=False)


@four.mistake(
    "the wrong direction", "You added what the feature gives. It is switched off: take it away."
)
def _(s):
    return _told(s, to=2.0)


@four.mistake(
    "the logit itself",
    "That is the logit that the graph predicts. Asked for is its change: minus the logit before.",
)
def _(s):
    return s.graph[s.answer].value + _told(s)


@four.mistake(
    "the model's answer",
    "That is what the model does. Asked for is what the graph predicts: the two are compared next.",
)
def _(s):
    return _asked(s)[2] - _asked(s)[0]


@four.mistake(
    "influence instead of effect",
    "That is the feature's influence, a share without a sign. A prediction takes effects.",
)
def _(s):
    return s.graph.node_influence()[s.graph.place(s.by_hand)]


# --- 5: does the model agree? ---------------------------------------------------------------------

five = Exercise(
    "graphs-5",
    2,
    "for each of data.features, switched off alone: the change of the answer's logit by the graph, and"
    " in the model",
    ("feature", "run"),
    hints=(
        "graph.intervene({name: 0.0}) gives a table: nodes by (before, graph, model).",
        ".sel(node=data.answer).values are three numbers: before, by the graph, in the model.",
        "For each name the second minus the first, and the third minus the first.",
    ),
    remember="The graph holds the attention patterns and the norms' scales; the model does not. Where"
    " the two columns part, look at what the heads do when the feature is off.",
    rtol=1e-3,
    decimals=3,
)


def _said(s, value: float = 0.0, graph: Any = None) -> np.ndarray:
    """Before, by the graph and in the model, for each feature alone [feature, 3]."""
    graph = s.graph if graph is None else graph

    def make() -> np.ndarray:
        rows = [
            graph.intervene({name: value * graph[name].value}, n=0).sel(node=s.answer).values
            for name in s.data.features
        ]
        return np.array(rows)

    return s.once(f"said {value} {id(graph)}", make)


@five.right
def _(s):
    rows = []
    for name in s.data.features:
        before, by_graph, in_model = s.graph.intervene({name: 0.0}).sel(node=s.data.answer).values
        rows.append([by_graph - before, in_model - before])
    return rows


@five.another
def _(s):
    model = []
    for name in s.data.features:
        node = s.graph[name]
        off = features.ablate(s.transcoders[node.layer], node.index, at=node.pos)
        pair = [interp.run(s.model, s.prompt, edits).logits[0, -1] for edits in ([], off)]
        before, after = (x[s.graph[s.answer].index] - x.mean() for x in pair)
        model.append(float(after - before))
    return np.stack(
        [[predicted(s.graph, s.answer, name) for name in s.data.features], model], axis=1
    )


@five.mistake(
    "logits instead of changes", "Those are logits. Asked for are changes: minus the logit before."
)
def _(s):
    return _said(s)[:, 1:]


@five.mistake(
    "before minus after",
    "You subtracted what came after from what was before. A change is after minus before.",
)
def _(s):
    return _said(s)[:, :1] - _said(s)[:, 1:]


@five.mistake(
    "the columns swapped", "The numbers are right, with the model first. The graph comes first."
)
def _(s):
    return (_said(s)[:, 1:] - _said(s)[:, :1])[:, ::-1]


@five.mistake("twice the value", "You set each feature to twice its value. Switched off is 0.")
def _(s):
    return _said(s, 2.0)[:, 1:] - _said(s, 2.0)[:, :1]


@five.mistake("set to one", "You set each feature to 1. Switched off is 0.")
def _(s):
    rows = [
        s.graph.intervene({name: 1.0}, n=0).sel(node=s.answer).values for name in s.data.features
    ]
    return np.array(rows)[:, 1:] - np.array(rows)[:, :1]


@five.mistake(
    "the edges alone",
    "The first column has the features' edges to the logit, with the sign turned. graph.intervene"
    " follows all paths: a feature of layer 0 acts through features of layer 1, too.",
)
def _(s):
    model = _said(s)[:, 2] - _said(s)[:, 0]
    direct = [predicted(s.graph, s.answer, name, through=False) for name in s.data.features]
    return np.stack([direct, model], 1)


EXERCISES = [one, two, three, four, five]
