"""The attribution graph's widget in plain Python, and its rules in node. Its numbers are those of
the graph and of `graph.intervene`.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from dictionaries import transcoders
from javascript import run_in_node

import interp
from interp import features, widgets
from interp.features import AttributionGraph
from interp.features.cards.logit_effects import effects
from interp.widgets import _graph_plan as plans

FILES = "circuit_shapes graph_shapes graph_panel graph"
TEXT = "The capital of France is"


@pytest.fixture(scope="module")
def given():
    return transcoders([0, 2])


@pytest.fixture(scope="module")
def graph(tiny, given):
    return features.graph(tiny, TEXT, given, nodes=None, edges=None)


@pytest.fixture(scope="module")
def feature(graph):
    """The most influential feature of the first layer."""
    ranked = [graph[name] for name in plans.ranked(graph)]
    return next(n.name for n in ranked if n.site == "mlp.0" and n.kind == "feature")


@pytest.fixture
def shown(closed_after, graph, tiny):
    return closed_after(widgets.graph(graph, tiny))


def test_the_plan_lists_the_strongest_and_its_parts_add_up(graph):
    plan = plans.plan(graph)
    assert [row[0] for row in plan["nodes"]] == [node.name for node in graph.nodes]
    into = {}
    for source, target, effect, _ in plan["edges"]:
        assert effect == pytest.approx(graph.effects[target, source], rel=1e-4)
        into.setdefault(target, {})[graph.nodes[source].name] = abs(effect)
    for i, node in enumerate(graph.nodes):
        _, _, _, _, value, bias, missing, _, inputs, total, outputs, _ = plan["nodes"][i]
        assert inputs == np.count_nonzero(graph.effects[i])
        assert outputs == np.count_nonzero(graph.effects[:, i])
        if node.kind in ("feature", "logit"):
            assert total + bias + missing == pytest.approx(value, abs=2e-3)
            best = graph.inputs(node.name, plans.NEAR).coords["node"]
            assert set(best) <= set(into.get(i, {}))  # what the page's list is made of
    assert [graph.nodes[i].name for i in plan["order"]] == plans.ranked(graph)


def test_of_a_large_graph_the_least_influential_are_left_out_and_counted(graph, monkeypatch):
    monkeypatch.setattr(plans, "MOST", 60)
    plan = plans.plan(graph)
    assert len(plan["nodes"]) == 60 and plan["left out"] == len(graph.nodes) - 60
    assert [plan["nodes"][i][0] for i in plan["order"]] == plans.ranked(graph)[: len(plan["order"])]


def test_what_is_clamped_is_what_intervene_says(shown, graph, feature):
    shown.clamp(feature, 0.0)
    expected = graph.intervene({feature: 0.0}, n=6)
    rows = shown.wait().current()["rows"]
    assert [row[0] for row in rows] == expected.coords["node"]
    np.testing.assert_allclose([row[1:] for row in rows], expected.values, rtol=1e-3, atol=1e-4)
    assert shown.table().columns.tolist() == ["node", "before", "graph", "model"]
    shown.clamp(feature, None)
    assert shown.wait().current() == {"rows": []} and shown.fits()


def test_names_groups_and_pins_are_saved_with_the_graph(shown, graph, feature, tmp_path, tiny):
    other = plans.ranked(graph)[-1]
    shown.name(feature, " France ")
    shown.pin(other)
    shown.group("capital", [feature, other])
    shown.group("rest", [other])  # a node is in one group
    assert shown.groups == {"capital": [feature], "rest": [other]}
    assert {feature, other} <= {node.name for node in shown.part.nodes}
    file = shown.save(tmp_path / "graph.json")
    again = AttributionGraph.load(file)
    assert again[feature].label == "France" and again.groups["capital"] == (feature,)
    np.testing.assert_array_equal(again.effects, graph.effects)
    reopened = widgets.graph(file)
    assert reopened.names == shown.names and reopened.pinned == [other]
    assert reopened.groups == shown.groups
    rebuilt = eval(shown.code.splitlines()[0], {"interp": interp, "graph": graph, "model": tiny})
    assert rebuilt.state == {**shown.state, "marked": []}
    for widget in (reopened, rebuilt):
        widget.close()
    with pytest.raises(ValueError, match="has its name from its token"):
        shown.name("embed@0", "begin")


def test_the_page_changes_names_and_overwrites_no_foreign_file(shown, feature, tmp_path):
    other = "mlp.0:error@2"
    shown.marked = [feature, other]
    shown._receive(shown, {"do": "group", "text": feature, "name": "two"}, [])
    assert shown.groups == {"two": [feature, other]} and shown.marked == []
    file = tmp_path / "mine.json"
    file.write_text("{}")
    shown._receive(shown, {"do": "save", "text": str(file)}, [])
    assert "exists" in shown.problem and file.read_text() == "{}"
    shown._receive(shown, {"do": "save", "text": str(tmp_path / "new.json")}, [])
    assert not shown.problem and (tmp_path / "new.json").exists()


def test_a_card_is_of_the_node_that_is_chosen(shown, graph, feature, tiny, given):
    shown.node = feature
    card = shown.wait().current("card")
    logits = graph[feature].value * given[0].W_dec[graph[feature].index]
    logits = effects(tiny, "mlp.0", logits[None])[0]
    words = [tiny.tokenizer.decode([int(i)]) for i in logits.argsort(descending=True)[:6]]
    assert [word for word, _ in card["up"]] == words
    shown.node = "mlp.0:error@2"
    assert shown.current("card") == {}
    shown.node = "nobody"
    assert "unknown node" in shown.problem


def test_with_a_text_cards_have_contexts_and_nodes_words(closed_after, graph, tiny, given, feature):
    seen = [features.firings(tiny, d, tokens=600) for d in given]
    shown = closed_after(widgets.graph(graph, tiny, on=seen, node=feature))
    assert "interp-card" in shown.current("card")["html"]
    counted = features.describe(tiny, seen[0]).description
    for name, text in shown.words.items():
        if graph[name].site == "mlp.0":
            assert counted[graph[name].index] == text


def test_other_weights_and_other_dictionaries_are_noticed(graph, given, feature, closed_after):
    other = interp.load("tiny")
    shown = closed_after(widgets.graph(graph, other))
    with torch.no_grad():
        other.blocks[1].mlp.out.weight *= 1.5
    shown.clamp(feature, 0.0)
    shown.wait()
    assert "not the weights" in shown.problem and not shown.reply.get("rows")
    shown.node = feature
    assert not shown.wait().fits("card")
    strange = [given[0], replace(given[1], weights=given[1].weights | {"b_enc": torch.ones(40)})]
    with pytest.raises(ValueError, match="weights, or dictionaries,"):
        widgets.graph(graph, interp.load("tiny"), dictionaries=strange)


def test_the_static_twin_shows_the_part_and_the_experiment(shown, feature):
    shown.node = feature
    shown.clamp(feature, 0.0)
    figure = shown.static()
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert any("before" in text and f"inputs of {feature}" in text for text in texts)
    assert len(shown.part.nodes) < len(shown._graph.nodes)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda g, m: widgets.graph(3), "graph is an AttributionGraph"),
        (lambda g, m: widgets.graph(g, on=[]), "on= needs the model"),
        (lambda g, m: widgets.graph(replace(g, _live=None), m), "read from a file"),
        (lambda g, m: widgets.graph(replace(g, metadata={}), m), "no prompt as ids"),
    ],
)
def test_wrong_calls_are_one_sentence(graph, tiny, call, says):
    with pytest.raises(ValueError, match=says):
        call(graph, tiny)


@pytest.mark.parametrize(
    "state, says",
    [
        ({"shown": 10**6}, "this graph has"),
        ({"values": {"mlp.0:error@2": 0.0}}, "no feature"),
        ({"values": {"nobody": 0.0}}, "unknown node"),
    ],
)
def test_a_wrong_state_is_a_line_in_the_widget(closed_after, graph, tiny, state, says):
    assert says in closed_after(widgets.graph(graph, tiny, **state)).problem


def test_without_a_model_no_value_is_set(closed_after, graph, feature):
    shown = closed_after(widgets.graph(graph, values={feature: 0.0}))
    assert "without a model" in shown.problem and not shown.fits()


RULES = """
import test from "node:test";
import assert from "node:assert/strict";
import { arrange, drawnEdges, parts, shownOf, shareOf, unpacked } from "./widget.mjs";
const row = (name, kind, layer, pos, share, more = {}) => [name, kind, layer, pos, 3, 0.5, more.missing ?? 0, share, more.inputs ?? 0, more.sum ?? 0, 1, name];
const plan = {
  nodes: [row("embed@0", "token", -1, 0, 0), row("a", "feature", 0, 0, 0.5, { inputs: 1, sum: 2.5 }), row("b", "feature", 0, 0, 0.3),
    row("c", "error", 1, 1, 0.2), row("logits:x", "logit", 2, 1, 0, { inputs: 3, sum: 2.5 })],
  edges: [[1, 4, 2, 0.1], [2, 4, -1, 0.2], [3, 4, 1.5, 0.3], [0, 1, 2.5, 0.4]], tokens: ["x", "y"],
};
const graph = unpacked(plan), order = [1, 2, 3];
test("tokens, logits, the most influential and one's own are shown", () => {
  assert.deepEqual(shownOf(graph, order, 1, ["c", "gone"]), [0, 4, 1, 3]);
  assert.equal(shareOf(graph, order, 2), 0.8);
});
test("a node's inputs are listed by effect and add up to its value", () => {
  const logit = graph.nodes[4];
  assert.deepEqual(logit.into.map((e) => e.from), [1, 3, 2]);
  const rest = parts(logit, 2);
  const total = logit.into.slice(0, 2).reduce((sum, e) => sum + e.effect, 0) + rest.reduce((sum, [, , v]) => sum + v, 0);
  assert.equal(total, 2 + 1.5 - 1 + 0.5);
  assert.deepEqual(rest.map(([what]) => what), ["others", "bias"]);
});
test("the strongest edges between shown nodes are drawn, and those of the one in focus", () => {
  assert.deepEqual(drawnEdges(graph.edges, [0, 1, 2, 4], 1).map((e) => [e.from, e.to]), [[0, 1]]);
  assert.deepEqual(drawnEdges(graph.edges, [0, 1, 2, 4], 1, 2).map((e) => [e.from, e.to]), [[2, 4], [0, 1]]);
});
test("every shown node has a place of its own inside the picture", () => {
  for (const room of [320, 700, 1300]) {
    const at = arrange(graph, [0, 1, 2, 3, 4], ["<|im_start|>", " containing"], room, { 4: 1 });
    const spots = new Set();
    for (const { x, y } of at.at.values()) { assert.ok(x > 0 && x < room && y > 0 && y < at.height); spots.add(`${x} ${y}`); }
    assert.equal(spots.size, 5);
    assert.ok(at.at.get(4).y < at.at.get(3).y && at.at.get(3).y < at.at.get(1).y && at.at.get(1).y < at.at.get(0).y);
  }
});
"""


def test_the_pages_rules(tmp_path):
    run_in_node(FILES, RULES, tmp_path)
