"""Circuits: sets of edges, chosen, pruned, saved; a KV head's edges belong to every query head that
shares it.
"""

import sys

import numpy as np
import pytest
import torch

import interp
from interp.circuits import Circuit, load
from interp.dims import Graph
from interp.methods.circuits.discovery import eap_ig
from interp.methods.circuits.edges import Edges, edge_mask
from interp.methods.runs.metrics import metric_of
from interp.models import bridge
from interp.results import Result

GQA = Graph(n_layers=2, n_heads=4, n_kv_heads=2, parallel=False)


@pytest.fixture(scope="module")
def found(_tiny):
    tasks = {kind: interp.tasks.ioi(model, n=3) for kind, model in _tiny.items()}
    return {kind: (tasks[kind], eap_ig(model, tasks[kind])) for kind, model in _tiny.items()}


def of(edges, graph=GQA, **more):
    return Circuit(dict(edges), graph, "toy", **more)


def test_top_takes_the_largest_in_size_or_signed(found):
    _, scores = found["tiny"]
    flat = np.abs(scores.values[~np.isnan(scores.values)])
    circuit = Circuit.top(scores, 20)
    assert len(circuit) == 20 and min(abs(s) for s in circuit.edges.values()) == np.sort(flat)[-20]
    signed = Circuit.top(scores, 20, absolute=False)
    assert min(signed.edges.values()) == np.sort(scores.values[~np.isnan(scores.values)])[-20]
    at = np.sort(flat)[-20]
    assert Circuit.threshold(scores, at).edges == circuit.edges


def test_edges_are_kept_in_forward_order(found):
    circuit = Circuit.top(found["tiny"][1], 60)
    receivers = [str(r) for r in interp.sites.receivers(circuit.graph)]
    order = [receivers.index(r) for _, r in circuit]
    assert order == sorted(order)


def test_greedy_grows_from_the_logits_and_needs_no_pruning_behind(found):
    for _, scores in found.values():
        circuit = Circuit.greedy(scores, 30)
        assert len(circuit) == 30
        _, after = circuit._reached()
        assert all((s,) in after for s, _ in circuit)  # every sender has a way to the logits
    everything = Circuit.greedy(scores, int((~np.isnan(scores.values)).sum()))
    assert len(~everything) == 0


def test_greedy_by_hand():
    scores = toy_scores(
        {
            ("L1H0", "logits.in"): 3.0,
            ("embed", "L1KV0.v_in"): 2.0,
            ("embed", "L0H0.q_in"): 9.0,
            ("mlp.0", "logits.in"): 1.0,
        }
    )
    assert list(Circuit.greedy(scores, 2)) == [("embed", "L1KV0.v_in"), ("L1H0", "logits.in")]
    assert set(Circuit.top(scores, 2)) == {("embed", "L0H0.q_in"), ("L1H0", "logits.in")}


def toy_scores(edges, graph=GQA):
    senders, receivers = (
        [str(x) for x in f(graph)] for f in (interp.sites.senders, interp.sites.receivers)
    )
    values = np.where(edge_mask(graph).numpy(), 1e-3, np.nan)
    for (s, r), score in edges.items():
        values[senders.index(s), receivers.index(r)] = score
    return Result(
        values,
        ("sender", "receiver"),
        {"sender": senders, "receiver": receivers},
        "scores",
        "logits",
        {"model": "toy"},
    )


def test_one_missing_score_does_not_make_blocks_parallel(found):
    with pytest.raises(ValueError, match="1 of .* edges have no score"):
        Circuit.top(toy_scores({("L0H0", "mlp.0.in"): float("nan")}), 3)
    for kind, (_, scores) in found.items():
        assert Circuit.top(scores, 3).graph.parallel == (kind == "tiny-neox")


def test_a_model_of_the_same_shape_by_another_name_is_said(found):
    circuit = Circuit.top(found["tiny"][1], 5)
    with pytest.warns(UserWarning, match="is of 'tiny'.*worth in 'other'"):
        circuit.check("other", circuit.graph)


def test_the_file_keeps_how_its_task_was_made(tiny):
    task = interp.tasks.capitals(tiny, n=2, relation="language")
    made = Circuit.top(eap_ig(tiny, task, steps=1), 5).task
    assert (made["name"], made["make"], made["options"]) == (
        "languages",
        "capitals",
        {"relation": "language"},
    )
    again = interp.tasks.make(made["make"], tiny, n=made["n"], seed=made["seed"], **made["options"])
    assert torch.equal(again.clean, task.clean)
    assert "make" not in Circuit.top(eap_ig(tiny, interp.tasks.ioi(tiny, n=2), steps=1), 5).task


def test_prune_drops_dead_ends_and_keeps_a_kv_heads_edges_for_any_of_its_queries():
    kept = {("embed", "L0KV0.v_in"): 1.0, ("L0H1", "logits.in"): 1.0}  # L0H1 shares L0KV0 with L0H0
    dead = {("embed", "L0KV1.v_in"): 1.0, ("L0H3", "L1H0.q_in"): 1.0, ("mlp.0", "logits.in"): 1.0}
    assert set(of({**kept, **dead}).prune()) == set(kept)
    assert len(of({("L0H0", "L1H0.q_in"): 1.0}).prune()) == 0


def test_a_circuit_says_how_many_of_its_edges_lie_on_a_way():
    way = {("embed", "mlp.0.in"): 1.0, ("mlp.0", "logits.in"): 1.0}
    dead = {("embed", "L0H0.q_in"): 1.0, ("L1H0", "logits.in"): 1.0, ("L0H1", "mlp.1.in"): 1.0}
    assert "2 of 5 on a way to the logits" in repr(of({**way, **dead}))
    assert "0 of 3 on a way to the logits" in repr(of(dead))
    for whole in (of(way), of({**way, **dead}).prune(), of({})):
        assert "on a way" not in repr(whole)
    one = of({**way, **dead})
    assert one._n_on_a_way == len(one.prune())


def test_pruning_leaves_the_run_as_it_is(any_tiny, found):
    task, scores = found[bridge.name(any_tiny)]
    edges = Edges(any_tiny, task, metric_of(task))
    for n in (10, 40, 80):
        circuit = Circuit.top(scores, n)
        whole, pruned = edges.cut(
            torch.tensor(np.stack([circuit.weights(), circuit.prune().weights()]))
        )
        torch.testing.assert_close(whole, pruned, atol=1e-5, rtol=1e-5)


def test_set_algebra_is_that_of_edges(found):
    _, scores = found["tiny"]
    a, b = Circuit.top(scores, 30), Circuit.greedy(scores, 30)
    assert (
        set(a & b) == set(a) & set(b)
        and set(a | b) == set(a) | set(b)
        and set(a - b) == set(a) - set(b)
    )
    assert a.jaccard(b) == len(set(a) & set(b)) / len(set(a) | set(b)) and a.jaccard(a) == 1
    assert len(~a) + len(a) == int(edge_mask(a.graph).sum()) and not set(~a) & set(a)
    assert a.share == 30 / int(edge_mask(a.graph).sum())


def test_nodes_are_the_components_at_the_ends():
    circuit = of(
        {("embed", "L0KV0.v_in"): 1.0, ("L0H1", "L1H3.q_in"): 1.0, ("mlp.1", "logits.in"): 1.0}
    )
    assert circuit.nodes == ["embed", "L0H1", "L1H3", "mlp.1"]


def test_a_file_comes_back_as_it_was(found, tmp_path):
    for kind, (_, scores) in found.items():
        circuit = Circuit.top(scores, 25)
        again = load(circuit.save(tmp_path / f"{kind}.json"))
        assert again == circuit and list(again) == list(circuit) and again.task["name"] == "ioi"
    roles = of({}, roles={"name mover": ["L1H2"]}, source={"kind": "paper", "cite": "somebody"})
    assert load(roles.save(tmp_path / "roles.json")).nodes == ["L1H2"]
    assert "\n  [" in circuit.to_json()  # an edge a line


def test_what_is_wrong_with_a_circuit(found, tmp_path):
    with pytest.raises(ValueError, match="unknown sender .*'L1H9'.*did you mean"):
        of({("L1H9", "logits.in"): 1.0})
    with pytest.raises(ValueError, match="unknown receiver .*'L1H0.k_in'"):
        of({("embed", "L1H0.k_in"): 1.0})
    with pytest.raises(ValueError, match="writes after"):
        of({("mlp.1", "L1H0.q_in"): 1.0})
    with pytest.raises(ValueError, match="finite"):
        of({("embed", "logits.in"): float("nan")})
    with pytest.raises(ValueError, match="in roles"):
        of({}, roles={"mover": ["L7H1"]})
    _, scores = found["tiny"]
    with pytest.raises(ValueError, match="have no score"):
        Circuit.top(toy_scores({("embed", "logits.in"): float("nan")}), 3)
    with pytest.raises(ValueError, match="n=0"):
        Circuit.top(scores, 0)
    with pytest.raises(ValueError, match="no edge scores"):
        Circuit.threshold(scores, 1e9)
    with pytest.raises(ValueError, match="axes"):
        Circuit.top(Result(np.zeros(2), ("layer",), {"layer": [0, 1]}, "x", "y"), 1)
    circuit = Circuit.top(scores, 5)
    with pytest.raises(ValueError, match="is of 'tiny'"):
        circuit.check("tiny-gpt2", GQA)
    with pytest.raises(ValueError, match="no edges"):
        of({}).check("toy", GQA)
    with pytest.raises(ValueError, match="found on 'ioi'"):
        circuit.check("tiny", circuit.graph, interp.tasks.capitals(interp.models.tiny(), n=2))
    with pytest.raises(ValueError, match="of one model"):
        circuit & of({("embed", "logits.in"): 1.0})
    with pytest.raises(ValueError, match="saved as .json"):
        circuit.save(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "model": "m", "graph": {}, "edges": []}'],
)
def test_a_broken_file_says_so(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="broken.json"):
        load(path)


def test_a_frame_has_an_edge_a_row(found):
    circuit = Circuit.top(found["tiny"][1], 25)
    frame = circuit.to_frame()
    assert dict(zip(zip(frame.sender, frame.receiver), frame.score)) == circuit.edges
    row = of([(("L0H1", "L1KV1.k_in"), None), (("mlp.0", "logits.in"), 2.0)]).to_frame()
    assert row.reads.tolist() == ["k", "in"] and row.sender_layer.tolist() == [0, 0]
    assert np.isnan(row.score[0]) and row.receiver_layer.isna().tolist() == [False, True]


def test_a_networkx_graph_has_the_same_edges_and_the_same_paths(found, monkeypatch):
    nx = pytest.importorskip("networkx")
    for _, scores in found.values():
        circuit = Circuit.top(scores, 40)
        graph = circuit.to_networkx()
        back = {
            (s, key): data.get("score") for s, _, key, data in graph.edges(keys=True, data=True)
        }
        assert back == circuit.edges
        after = {"logits"} | (nx.ancestors(graph, "logits") if "logits" in graph else set())
        before = {"embed"} | (nx.descendants(graph, "embed") if "embed" in graph else set())
        pruned = set(circuit.prune().edges)
        kept = {(s, k) for s, t, k in graph.edges(keys=True) if s in before and t in after}
        assert kept <= pruned  # shared keys feed heads that the circuit does not have
    shared = of({("embed", "L0KV1.k_in"): 1.0, ("L0H3", "logits.in"): None}).to_networkx()
    assert list(shared.edges(keys=True)) == [
        ("embed", "L0H3", "L0KV1.k_in"),
        ("L0H3", "logits", "logits.in"),
    ]
    assert shared.nodes["L0H3"] == {"kind": "head", "layer": 0}
    assert nx.shortest_path(shared, "embed", "logits") == ["embed", "L0H3", "logits"]
    named = of({("embed", "mlp.0.in"): 1.0}, roles={"mover": ["L1H2"]}).to_networkx()
    assert named.nodes["L1H2"]["role"] == "mover" and named.nodes["mlp.0"]["kind"] == "mlp"
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(ImportError, match="pip install networkx"):
        named_ = of({("embed", "mlp.0.in"): 1.0})
        named_.to_networkx()


def test_a_circuit_of_no_model_goes_with_one_of_its_shape():
    known, unnamed = of({("embed", "mlp.0.in"): 1.0}), of({("embed", "mlp.1.in"): 1.0})
    unnamed = Circuit(unnamed.edges, unnamed.graph, "unnamed")
    assert (known | unnamed).model == (unnamed | known).model == "toy"
    assert known.jaccard(unnamed) == 0
    with pytest.raises(ValueError, match="circuits of 'toy' .* and 'other'"):
        known | Circuit(known.edges, known.graph, "other")


@pytest.mark.parametrize("parallel", [False, True])
def test_an_edge_is_what_the_list_of_all_edges_has(parallel):
    from itertools import product

    from interp.circuits import residual_graph

    graph = Graph(2, 4, 2, parallel)
    every = residual_graph.edge_order(graph)
    pairs = list(product(*residual_graph.axes(graph)))
    found = [pair for pair in pairs if residual_graph.first_unknown([pair], graph) is None]
    assert set(found) == set(every) and residual_graph.n_edges(graph) == len(every)
    in_order = sorted(found, key=lambda pair: residual_graph.forward_order(graph)((pair, None)))
    assert in_order == list(every)


def test_each_kind_of_file_is_sent_to_its_reader(found, tmp_path):
    circuit = Circuit.top(found["tiny"][1], 10)
    path = circuit.save(tmp_path / "c.json")
    for kind in (interp.features.AttributionGraph, interp.features.FeatureCircuit):
        with pytest.raises(ValueError, match="c.json' is not .*: interp.Circuit.load reads it"):
            kind.load(path)
    other = interp.features.FeatureCircuit({"mlp.0:1": 1.0}, {}, ("mlp.0",), {})
    with pytest.raises(ValueError, match=r"interp.features.FeatureCircuit.load reads it\)"):
        Circuit.load(other.save(tmp_path / "f.json"))
    with pytest.raises(ValueError, match="place='END': this circuit has no places"):
        circuit.plot(place="END")
