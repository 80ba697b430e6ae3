"""Attribution graphs: what flows into a node adds up to it (test_graph_edges has every edge);
influence and pruning by hand and by another tool's numbers; files both ways.
"""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import interp
from interp import features
from interp.features import Dictionary
from interp.features.graphs.attribution_graph import AttributionGraph
from interp.features.graphs.drawing import layout
from interp.features.graphs.influence import Node, influence, scores
from interp.models import bridge

KINDS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "topk", "gated")
EVERYTHING = dict(nodes=None, edges=None)


def dictionary(model, where, kind="transcoder", n=24, seed=0, to=None, **settings):
    """A dictionary with random weights."""
    d = bridge.dims(model).d_model
    g = torch.Generator().manual_seed(seed)

    def draw(*shape, size=1.0):
        return torch.randn(*shape, generator=g) * size

    w = {"W_enc": draw(d, n, size=d**-0.5), "W_dec": draw(n, d, size=0.3 * d**-0.5)}
    w |= {"b_enc": draw(n, size=0.1), "b_dec": draw(d, size=0.1)}
    if "skip" in kind:
        w["W_skip"] = draw(d, d, size=0.2 * d**-0.5)
    if "jump" in kind:
        w["threshold"] = torch.full((n,), 0.2)
    if kind == "gated":
        del w["b_enc"]
        w |= {"b_gate": draw(n, size=0.1), "r_mag": draw(n, size=0.1), "b_mag": draw(n, size=0.1)}
    if kind == "topk":
        settings = {"k": 5, **settings}
    return Dictionary(kind, w, where, to=to, settings=settings)


def transcoders(model, layers=None, kind="transcoder", **settings):
    layers = range(bridge.dims(model).n_layers) if layers is None else layers
    return [
        dictionary(model, f"mlp.{layer}.in", kind, seed=layer, to=f"mlp.{layer}", **settings)
        for layer in layers
    ]


def prompt(model, length=7):
    g = torch.Generator().manual_seed(0)
    return torch.randint(5, bridge.dims(model).d_vocab, (1, length), generator=g)


@pytest.mark.parametrize("kind", KINDS)
def test_what_flows_into_a_node_adds_up_to_it(any_tiny, kind):
    given = transcoders(any_tiny, kind=kind, apply_b_dec_to_input=kind == "topk")
    graph = features.graph(any_tiny, prompt(any_tiny), given, **EVERYTHING)
    assert sum(node.kind == "feature" for node in graph.nodes) > 50
    np.testing.assert_allclose(graph.missing, 0, atol=2e-5)
    z = given[1].encode(interp.run(any_tiny, prompt(any_tiny), keep=["mlp.1.in"]).kept["mlp.1.in"])
    for node in graph.nodes:
        if node.site == "mlp.1" and node.kind == "feature":
            assert node.value == pytest.approx(float(z[0, node.pos, node.index]), abs=1e-5)


def test_the_stream_cut_by_a_dictionary_adds_up_too(any_tiny):
    given = [*transcoders(any_tiny, [0, 2]), dictionary(any_tiny, "resid_post.1", "standard")]
    graph = features.graph(any_tiny, prompt(any_tiny), given, **EVERYTHING)
    np.testing.assert_allclose(graph.missing, 0, atol=2e-5)
    below = [i for i, n in enumerate(graph.nodes) if n.layer < 1 or n.kind == "token"]
    above = [i for i, n in enumerate(graph.nodes) if n.layer > 1 and n.kind != "mlp"]
    assert not graph.effects[np.ix_(above, below)].any()  # nothing passes the cut but its latents
    assert {n.kind for n in graph.nodes if n.layer == 1} == {"feature", "error", "mlp"}


def test_few_nodes_are_those_that_matter_and_the_rest_is_error(tiny):
    given = transcoders(tiny)
    whole = features.graph(tiny, prompt(tiny), given, **EVERYTHING)
    few = features.graph(tiny, prompt(tiny), given, max_nodes=20, **EVERYTHING)
    assert sum(node.kind == "feature" for node in few.nodes) == 20
    np.testing.assert_allclose(few.missing, 0, atol=2e-5)
    flow = dict(zip([n.name for n in whole.nodes], whole.node_influence()))
    features_of = [n.name for n in whole.nodes if n.kind == "feature"]
    best = sorted(features_of, key=lambda name: -flow[name])[:20]
    assert len(set(best) & {n.name for n in few.nodes}) >= 10


def test_a_difference_of_logits_is_one_node(tiny):
    task = interp.tasks.ioi(tiny, n=1)
    word = [tiny.tokenizer.decode([i]) for i in (400, 401)]
    graph = features.graph(
        tiny, task, transcoders(tiny), answers=[word[0]], wrong=word[1], **EVERYTHING
    )
    logits = interp.run(tiny, task.clean).logits[0, -1]
    (end,) = [node for node in graph.nodes if node.kind == "logit"]
    assert end.value == pytest.approx(float(logits[400] - logits[401]), abs=1e-5)
    assert graph.weights == {end.name: 1.0}
    np.testing.assert_allclose(graph.missing, 0, atol=2e-5)


def test_tokens_that_read_alike_are_different_nodes(tiny, monkeypatch):
    monkeypatch.setattr(type(tiny.tokenizer), "decode", lambda self, ids, **_: "?")
    graph = features.graph(tiny, prompt(tiny), transcoders(tiny, [1]))
    assert len(graph.weights) == 10 and all(name.startswith("logits:?#") for name in graph.weights)


# --- influence, pruning, scores -------------------------------------------------------------------


def test_influence_is_that_of_another_tool():
    """The graph and the numbers of circuit-tracer's own test of its influence."""
    effects = np.zeros((12, 12))
    for target, inside in {11: [1, 3, 6, 8], 3: [0, 1, 6], 1: [9, 10], 0: [9]}.items():
        effects[target, inside] = 10
    weights = np.zeros(12)
    weights[11] = 1
    expected = np.array([1 / 12, 1 / 3, 0, 1 / 4, 0, 0, 1 / 3, 0, 1 / 4, 1 / 4, 1 / 6, 0])
    np.testing.assert_allclose(influence(effects, weights), expected)


def five():
    """A token, two features, an error and a logit: 0 -> 1 -> 4, 0 -> 2 -> 4, 3 -> 4."""
    nodes = (
        Node("token", "embed", -1, 0, 5, label="a"),
        Node("feature", "mlp.0", 0, 0, 1, 2.0),
        Node("feature", "mlp.0", 0, 0, 2, 1.0),
        Node("error", "mlp.0", 0, 0),
        Node("logit", "logits", 1, 0, 7, 10.0, 0.0, "b"),
    )
    effects = np.zeros((5, 5))
    effects[1, 0], effects[2, 0] = 2.0, 1.0
    effects[4, [1, 2, 3]] = 6.0, -1.0, 3.0
    return AttributionGraph(nodes, effects, {"logits:b": 1.0}, ("a",))


def test_scores_and_pruning_by_hand():
    graph = five()
    flow = graph.node_influence()
    np.testing.assert_allclose(flow, [0.7, 0.6, 0.1, 0.3, 0])
    kinds = [node.kind for node in graph.nodes]
    found = scores(graph.effects, np.array([0, 0, 0, 0, 1.0]), kinds)
    assert found["replacement"] == pytest.approx(0.7 / (0.7 + 0.3))
    assert found["errors"] == pytest.approx(0.3 / 1.7)
    # the logit's inputs are .7 explained, the features' wholly; weighted by 1, .6 and .1
    assert found["completeness"] == pytest.approx((0.7 * 1 + 0.6 + 0.1) / 1.7)
    kept = graph.prune(nodes=0.9, edges=1.0)  # .7, .6 and .3 are 1.6 of 1.7
    assert [n.name for n in kept.nodes] == ["embed@0", "mlp.0:1@0", "mlp.0:error@0", "logits:b"]
    assert kept.missing[-1] == pytest.approx(10.0 - 9.0)
    np.testing.assert_allclose(kept.influence, [0.7, 0.6, 0.3, 0])
    fewer = graph.prune(nodes=1.0, edges=0.7)  # 0 -> 1 and 1 -> 4 carry 1.2 of 1.7
    assert {n.name for n in fewer.nodes} == {"embed@0", "mlp.0:1@0", "logits:b"}
    with pytest.raises(ValueError, match="a share of the influence"):
        graph.prune(nodes=80)


def test_a_part_keeps_tokens_and_logits_and_counts_what_is_gone():
    part = five().only(["mlp.0:1@0"])
    assert [n.name for n in part.nodes] == ["embed@0", "mlp.0:1@0", "logits:b"]
    np.testing.assert_allclose(part.influence, [0.7, 0.6, 0])  # of the whole graph
    np.testing.assert_allclose(part.missing, [0, 0, 10.0 - 6.0])
    with pytest.raises(ValueError, match="unknown node"):
        five().only(["nobody"])


def test_a_circle_is_refused():
    graph = five()
    effects = graph.effects.copy()
    effects[1, 2] = effects[2, 1] = 1.0
    with pytest.raises(ValueError, match="circle"):
        replace(graph, effects=effects).node_influence()


# --- interventions, files, pictures ---------------------------------------------------------------


def test_switching_a_last_feature_off_is_what_the_graph_says_but_for_the_norm(tiny_gpt2):
    """After the last MLP only the final norm is between a feature and the logits."""
    given = transcoders(tiny_gpt2, [2])
    graph = features.graph(tiny_gpt2, prompt(tiny_gpt2), given, **EVERYTHING)
    name = next(n.name for n in graph.nodes if n.kind == "feature" and n.pos == 6)
    same = graph.intervene({name: graph[name].value})
    np.testing.assert_allclose(same.values[:, 0], same.values[:, 1], atol=1e-5)
    np.testing.assert_allclose(same.values[:, 0], same.values[:, 2], atol=1e-5)
    step = graph.intervene({name: graph[name].value * 1.001})
    moved = step.values - step.values[:, :1]
    ends = [i for i, n in enumerate(step.coords["node"]) if n.startswith("logits")]
    assert np.corrcoef(moved[ends, 1], moved[ends, 2])[0, 1] > 0.9
    off = graph.intervene({name: 0.0})
    assert off.coords["run"] == ["before", "graph", "model"]
    i, effect = graph.place(list(graph.weights)[0]), graph.effects[:, graph.place(name)]
    assert off.values[0, 1] - off.values[0, 0] == pytest.approx(-effect[i], abs=1e-6)


def test_the_model_answers_with_its_own_run(tiny):
    given = transcoders(tiny, [0, 1])
    graph = features.graph(tiny, prompt(tiny), given, **EVERYTHING)
    node = next(n for n in graph.nodes if n.site == "mlp.0" and n.kind == "feature")
    found = graph.intervene({node.name: 3.0}, n=100)

    def edit(act, seen):
        out = act.clone()
        out[0, node.pos] += (3.0 - node.value) * given[0].W_dec[node.index]
        return out

    run = interp.run(tiny, prompt(tiny), [interp.Intervention("mlp.0", edit)], ["mlp.1.in"])
    z = given[1].encode(run.kept["mlp.1.in"])[0]
    logits = run.logits[0, -1]
    for name, values in zip(found.coords["node"], found.values):
        other = graph[name]
        if other.kind == "logit":
            assert values[2] == pytest.approx(float(logits[other.index] - logits.mean()), abs=1e-4)
        elif other.site == "mlp.1":
            assert values[2] == pytest.approx(float(z[other.pos, other.index]), abs=1e-4)


@pytest.fixture(scope="module")
def drawn(request):
    model = interp.load("tiny")
    graph = features.graph(model, prompt(model), transcoders(model))
    name = next(n.name for n in graph.nodes if n.kind == "feature")
    return graph.group({"mine": [name]})


def test_files_keep_everything(drawn, tmp_path):
    again = AttributionGraph.load(drawn.save(tmp_path / "graph.json"))
    assert again.nodes == drawn.nodes and again.scores == drawn.scores
    assert again.groups == drawn.groups and again.weights == drawn.weights
    np.testing.assert_array_equal(again.effects, drawn.effects)
    np.testing.assert_array_equal(again.influence, drawn.influence)
    with pytest.raises(ValueError, match="read from a file"):
        again.intervene({again.groups["mine"][0]: 0.0})
    theirs = AttributionGraph.from_neuronpedia(drawn.to_neuronpedia(tmp_path / "n.json", slug="x"))
    assert theirs.effects.shape == drawn.effects.shape
    assert np.count_nonzero(theirs.effects) == np.count_nonzero(drawn.effects)
    assert theirs.groups == drawn.groups
    assert theirs.to_networkx().number_of_edges() == np.count_nonzero(drawn.effects)


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda c: c["nodes"][0].update(kind="head"), "nodes.0.kind"),
        (lambda c: c["edges"].append([0, 10**6, 1.0]), "an edge runs"),
        (lambda c: c["edges"].append([0, 1, float("nan")]), "finite"),
        (lambda c: c.pop("tokens"), "'tokens' is missing"),
        (lambda c: c["nodes"].append(dict(c["nodes"][0])), "twice|effects"),
        (lambda c: c["groups"].update(x=["nobody"]), "unknown node"),
    ],
)
def test_a_damaged_file_is_one_sentence(drawn, tmp_path, change, says):
    path = drawn.save(tmp_path / "graph.json")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=says) as raised:
        AttributionGraph.load(path)
    assert "graph.json" in str(raised.value)


def word(model):
    """A text that is one token."""
    return model.tokenizer.decode([int(prompt(model)[0, 3])])


def test_a_prompt_that_does_not_fit_into_the_memory_is_told_what_would(tiny, monkeypatch):
    given, long = transcoders(tiny), prompt(tiny, 24)
    monkeypatch.setenv("INTERP_MEMORY", "0.004")
    with pytest.raises(ValueError, match="a graph of 24 tokens with .* latents on takes") as raised:
        features.graph(tiny, long, given)
    said = re.search(r"about (\d+) tokens fit", str(raised.value))
    assert said and 1 < int(said[1]) < 24 and "INTERP_MEMORY" in str(raised.value)
    short = features.graph(tiny, long[:, : int(0.8 * int(said[1]))], given)
    assert len(short.tokens) == int(0.8 * int(said[1]))
    monkeypatch.delenv("INTERP_MEMORY")
    assert len(features.graph(tiny, long, given).tokens) == 24


def test_groups_are_named_in_the_picture_and_the_text(drawn):
    import matplotlib.pyplot as plt

    assert "mine" in repr(drawn) and "of the whole graph" in repr(drawn)
    ax = drawn.plot(names=0)
    assert "mine" in [text.get_text() for text in ax.texts]
    plt.close(ax.figure)


def test_transcoders_of_another_model_are_noticed(tiny, tiny_gpt2):
    given = [replace(d, metadata={"model": "tiny", "curve": []}) for d in transcoders(tiny, [1])]
    features.graph(tiny, prompt(tiny), given)
    with pytest.warns(UserWarning, match="was trained on 'tiny'"):
        features.graph(tiny_gpt2, prompt(tiny_gpt2), given)


@pytest.mark.parametrize(
    "values, says", [({}, "names no values"), ({"x": float("nan")}, "a number")]
)
def test_values_that_are_none_are_one_sentence(drawn, values, says):
    with pytest.raises(ValueError, match=says):
        drawn.intervene(values)


def test_the_picture_shows_the_strongest_and_says_what_it_leaves_out(drawn):
    import matplotlib.pyplot as plt

    ax = drawn.plot(max_edges=30)
    assert "not drawn" in ax.get_xlabel() and "completeness" in ax.get_title()
    assert [t.get_text() for t in ax.get_yticklabels()][0] == "tokens"
    plt.close(ax.figure)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m, d: features.graph(m, ["a b", "c d"], d), "of one prompt, got 2"),
        (lambda m, d: features.graph(m, prompt(m), []), "no dictionary"),
        (lambda m, d: features.graph(m, prompt(m), [*d, d[0]]), "two dictionaries write 'mlp.0'"),
        (
            lambda m, d: features.graph(m, prompt(m), [dictionary(m, "mlp.0", "standard")]),
            "a graph takes transcoders",
        ),
        (
            lambda m, d: features.graph(m, prompt(m), [replace(d[0], kind="snmf", settings={})]),
            "not linear|snmf",
        ),
        (lambda m, d: features.graph(m, prompt(m), d, wrong=" Paris"), "needs answers"),
        (lambda m, d: features.graph(m, prompt(m), d, answers=[]), "names no logit"),
        (lambda m, d: features.graph(m, prompt(m), d, answers=[word(m)] * 2), "twice"),
        (lambda m, d: features.graph(m, prompt(m), d, answers=[word(m)], wrong=word(m)), "itself"),
        (lambda m, d: features.graph(m, prompt(m), d, max_nodes=-1), "max_nodes=-1"),
        (lambda m, d: features.graph(m, prompt(m), d, max_nodes=0), "max_nodes=0"),
        (lambda m, d: features.graph(m, prompt(m), d, skip=-1), "skip=-1 of 7 positions"),
        (lambda m, d: features.graph(m, prompt(m), d, skip=7), "skip=7 of 7 positions"),
        (lambda m, d: features.graph(m, torch.zeros(1, 9999, dtype=int), d), "9999 tokens"),
    ],
)
def test_wrong_calls_are_one_sentence(tiny, call, says):
    with pytest.raises(ValueError, match=says):
        call(tiny, transcoders(tiny, [0]))


def test_logits_stand_side_by_side_and_an_experiment_has_a_scale_for_each_unit(tiny):
    graph = features.graph(tiny, prompt(tiny), transcoders(tiny), max_nodes=20, **EVERYTHING)
    at = layout(graph)["nodes"]
    places = [(at[n.name]["x"], at[n.name]["y"]) for n in graph.nodes if n.kind == "logit"]
    assert len(set(places)) == len(places) > 7 and len({y for _, y in places}) == 2
    feature = next(node.name for node in graph.nodes if node.kind == "feature")
    found = graph.intervene({feature: 0.0})
    axes = found.plot()
    assert [ax.images[0].colorbar.ax.get_ylabel() for ax in axes] == ["logits", "activation"]
    assert found._repr_html_().count("<img") == 2
    with pytest.raises(ValueError, match=r"has several units, a panel each: .*\.sel\(node="):
        found.plot(ax=axes[0])


# --- finding a feature, and why a node is not there -----------------------------------------------


def test_features_are_listed_by_their_influence_and_have_names_that_work(tiny):
    graph = features.graph(tiny, prompt(tiny), transcoders(tiny), **EVERYTHING)
    best, every = graph.features(3), graph.features(None)
    assert len(every.coords["node"]) == sum(n.kind == "feature" for n in graph.nodes) > 50
    assert best.coords["node"] == every.coords["node"][:3]
    assert (np.diff(every.values) <= 0).all()
    size = dict(zip([n.name for n in graph.nodes], graph.node_influence()))
    assert [size[name] for name in best.coords["node"]] == best.values.tolist()
    graph.intervene({best.coords["node"][0]: 0.0})


def test_a_node_that_is_not_there_says_why(tiny, tmp_path):
    given = transcoders(tiny, [0, 2])
    whole = features.graph(tiny, prompt(tiny), given, **EVERYTHING)
    names = {n.name for n in whole.nodes}
    off = next(f"mlp.0:{k}@3" for k in range(24) if f"mlp.0:{k}@3" not in names)
    for name, says in {
        off: "is off: latent .* is 0 at position 3 .*features of this graph there: mlp.0:",
        "mlp.0:99@3": "the dictionary of 'mlp.0' has the latents 0 to 23",
        "mlp.0:1@77": "this prompt has the positions 0 to 6",
        "mlp.0:1@0": r"no dictionary is used at the first positions \(skip=1\)",
        "mlp.1:4@3": "unknown node",  # no dictionary there
    }.items():
        with pytest.raises(ValueError, match=says):
            whole[name]
    fewer = whole.prune(nodes=0.01, edges=None)
    weakest = whole.features(None).coords["node"][-1]
    with pytest.raises(ValueError, match="pruned away.*nodes=None, edges=None"):
        fewer[weakest]
    with pytest.raises(ValueError, match=f"{off}' is off"):
        fewer[off]
    fewer.save(tmp_path / "fewer.json")  # which names were pruned is not in the file
    with pytest.raises(ValueError, match="is off, or was pruned away"):
        AttributionGraph.load(tmp_path / "fewer.json")[off]
    few = features.graph(tiny, prompt(tiny), given, max_nodes=3, **EVERYTHING)
    with pytest.raises(ValueError, match="is off, or beyond max_nodes"):
        few[off]
    gone = next(n.name for n in whole.nodes if n.kind == "mlp" and n.name not in fewer._places)
    for graph in (whole, fewer):
        with pytest.raises(ValueError, match="is no feature.*graph.features"):
            graph.intervene({gone: 0.0})


def test_a_graph_that_lost_all_features_says_so(tiny):
    whole = features.graph(tiny, prompt(tiny), transcoders(tiny, [0]), **EVERYTHING)
    count = len(whole.features(None).coords["node"])
    assert "features pruned away" not in repr(whole) and f"{count} feature" in repr(whole)
    none = whole.only([])
    assert f"all {count} features pruned away: nodes=None, edges=None keeps them" in repr(none)
