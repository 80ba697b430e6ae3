"""Edge scores by place: where a write is read. Summed over places they are the plain scores, and
nothing is read before the two prompts differ.
"""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import interp
from interp import sites
from interp.circuits import Circuit, known, layout, write
from interp.dims import Graph
from interp.interventions import Intervention, run
from interp.methods.circuits import minimality, random_circuits, roc_curve
from interp.methods.circuits.discovery import eap, eap_ig, gim, relp
from interp.methods.circuits.edges import Edges
from interp.methods.runs.metrics import metric_of
from interp.models import bridge

EVERY = pytest.mark.parametrize("method", [eap, eap_ig, gim, relp])


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=3, seed=0)


@EVERY
def test_summed_over_places_they_are_the_plain_scores(any_tiny, ioi, method):
    places, plain = (method(any_tiny, ioi, examples=True, positions=p) for p in (True, False))
    assert places.dims == ("sender", "receiver", "place")
    assert places.coords["place"] == ["IO", "S1", "S1+1", "S2", "END", "other"]
    np.testing.assert_allclose(places.sum("place").values, plain.values, atol=2e-5)
    np.testing.assert_allclose(places.sum("place").examples, plain.examples, atol=2e-5)
    assert np.nanmax(np.abs(places.sel(place="END").values)) > 1e-4


def test_each_place_is_the_move_there_times_the_slope_there(tiny):
    task = interp.tasks.ioi(tiny, n=3, seed=0)
    graph = Edges(tiny, task, metric_of(task, None), backend="hooks")
    moved = graph.moves()
    from interp.methods.circuits.edges import _slot
    from interp.methods.runs import gradients

    tap = gradients.by_hooks(tiny, metric_of(task, None), task.clean, task.positions)
    slots = list(dict.fromkeys(map(_slot, graph.receivers)))
    slopes = tap.slopes(slots)
    each = torch.stack([slopes[_slot(r)][r.index or 0] for r in graph.receivers])
    found = eap(tiny, task, positions=True)
    rows = torch.arange(3)
    for name in ("S2", "END"):
        at = task.position(name)
        lost = moved.shape[2] - task.clean.shape[1]  # moves begin where the prompts differ
        m = moved[:, rows, at + lost]
        expected = torch.einsum("sbd,rbd->sr", m, each[:, rows, at]) / 3
        values = found.sel(place=name).values
        there = np.isfinite(values)
        np.testing.assert_allclose(values[there], expected.numpy()[there], atol=2e-5)


@EVERY
def test_nothing_is_read_before_the_prompts_differ(tiny, method):
    task = interp.tasks.ioi(tiny, n=3, seed=0)
    found = method(tiny, task, positions=True)
    differ = (task.clean != task.corrupted).any(0).nonzero().min()
    for name in task.position_names:
        if (task.position(name) < differ).all():
            assert np.nanmax(np.abs(found.sel(place=name).values)) == 0


def test_the_hooks_give_the_same_and_two_names_of_a_token_count_once(any_tiny, ioi):
    twice = ioi.but(positions={"LAST": ioi.position("END"), **ioi.positions})
    fast, slow = (eap(any_tiny, twice, positions=True, backend=b) for b in ("engine", "hooks"))
    np.testing.assert_allclose(fast.values, slow.values, atol=2e-5)
    assert np.nanmax(np.abs(fast.sel(place="END").values)) == 0
    np.testing.assert_allclose(
        fast.sel(place="LAST").values,
        eap(any_tiny, ioi, positions=True).sel(place="END").values,
        atol=1e-6,
    )


def test_prompts_of_several_lengths_have_places(tiny):
    task = interp.tasks.pairs(
        tiny,
        ["The keys to the cabinet", "The man by the doors of the old house"],
        ["The key to the cabinet", "The men by the doors of the old house"],
        answers=[" are"] * 2,
        wrong=[" is"] * 2,
        positions={"NOUN": ["keys", "man"]},
    )
    places, plain = (eap(tiny, task, positions=p) for p in (True, False))
    assert places.coords["place"] == ["NOUN", "END", "other"]
    np.testing.assert_allclose(places.sum("place").values, plain.values, atol=2e-5)


def test_a_task_that_names_end_alone_has_a_place_for_every_position(tiny):
    task = interp.tasks.ioi(tiny, n=3, seed=0)
    bare = task.but(positions={"END": task.position("END")})
    named, numbered = (eap(tiny, t, positions=True) for t in (task, bare))
    length = task.clean.shape[1]
    assert numbered.coords["place"] == [str(i) for i in range(length)]
    np.testing.assert_allclose(
        numbered.sel(place=str(length - 1)).values, named.sel(place="END").values, atol=1e-6
    )
    np.testing.assert_allclose(numbered.sum("place").values, eap(tiny, task).values, atol=2e-5)


def test_what_a_circuit_is_chosen_from(tiny):
    task = interp.tasks.ioi(tiny, n=3, seed=0)
    found = eap(tiny, task, positions=True)
    assert (
        Circuit.top(found.sum("place"), 5).edges.keys()
        == Circuit.top(eap(tiny, task), 5).edges.keys()
    )
    assert len(Circuit.top(found.sel(place="END"), 5)) == 5
    assert len(found.top(3).labels) == 3
    found.plot()
    with pytest.raises(ValueError, match="positions=True goes with at='inputs'"):
        eap_ig(tiny, task, at="activations", positions=True)


# --- circuits by position -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_place(_tiny):
    """Of every tiny model: a task, scores by place, and a circuit of edges at places."""
    made = {}
    for kind, model in _tiny.items():
        task = interp.tasks.ioi(model, n=3, seed=0)
        scores = eap(model, task, positions=True)
        made[kind] = model, task, scores, Circuit.top(scores, 60)
    return made


def test_the_largest_edges_at_places_are_chosen(by_place):
    _, _, scores, circuit = by_place["tiny"]
    size = np.abs(scores.values[np.isfinite(scores.values)])
    assert len(circuit) == 60 and circuit.places == tuple(scores.coords["place"])
    assert min(map(abs, circuit.edges.values())) == np.sort(size)[-60]
    (s, r, place), score = next(iter(circuit.edges.items()))
    assert score == float(scores.sel(sender=s, receiver=r, place=place).values)
    assert circuit.n_graph_edges == len(size) == len(circuit | ~circuit)
    assert Circuit.greedy(scores, 30).edges.keys() <= (circuit | ~circuit).edges.keys()
    assert len(Circuit.threshold(scores, np.sort(size)[-60])) == 60


def by_plain_hooks(model, task, circuit, by):
    """The circuit's run, position by position: every receiver's stream is put together anew from
    what each sender writes there, in this run or in the other one.
    """
    dims = bridge.dims(model)
    senders, receivers = sites.senders(dims), sites.receivers(dims)
    tokens = task.corrupted
    other = interp.run(model, tokens, keep=[str(s) for s in senders]).kept
    if by == "mean":
        other = {name: x.mean(0, keepdim=True).expand_as(x) for name, x in other.items()}

    def edit(receiver):
        def to(act, seen):
            act = act.clone()
            for b in range(act.shape[0]):
                for p in range(act.shape[1]):
                    names = [n for n, at in task.positions.items() if int(at[b]) == p]
                    here = names[0] if names else "other"
                    for s in map(str, senders):
                        if s in seen and (s, receiver, here) not in circuit.edges:
                            act[b, p] += other[s][b, p] - seen[s][b, p]
            return act

        return to

    cells = []
    for receiver in receivers:
        before = [str(s) for s in senders if sites.precedes(s, receiver, dims)]
        cells.append(Intervention(receiver, edit(str(receiver)), reads=tuple(before)))
    logits = run(model, task.clean, cells).logits
    return metric_of(task, None).of(logits[:, -1] if logits.ndim == 3 else logits, {})


@pytest.mark.parametrize("kind, by", [("tiny", "resample"), ("tiny-neox", "mean")])
def test_a_circuit_is_cut_by_place(by_place, kind, by):
    model, task, _, circuit = by_place[kind]
    task = task[:2]
    expected = by_plain_hooks(model, task, circuit, by)
    for backend in ("engine", "hooks"):
        graph = Edges(model, task, metric_of(task), by=by, backend=backend, places=circuit.places)
        values = graph.cut(torch.from_numpy(circuit.weights())[None])[0]
        np.testing.assert_allclose(values.numpy(), expected.numpy(), atol=5e-5)
        plain = torch.from_numpy(circuit.without_places().weights())[None]
        assert (graph.cut(plain)[0] - values).abs().max() > 1e-3  # and that is another run


def test_all_places_are_the_plain_circuit_and_none_is_the_edge_cut(by_place):
    model, task, scores, _ = by_place["tiny"]
    plain = Circuit.top(scores.sum("place"), 40)
    everywhere = plain.with_places(task)
    assert everywhere.without_places().edges.keys() == plain.edges.keys()
    shown = ["faithfulness", "completeness", "clean", "corrupted", "circuit", "complement"]
    one, two = (interp.evaluate(model, task, c, sets=1) for c in (plain, everywhere))
    for measure in shown:
        np.testing.assert_allclose(
            one.sel(measure=measure).examples, two.sel(measure=measure).examples, atol=2e-5
        )
    assert two.metadata["places"] == list(everywhere.places)
    edge = max(plain.edges, key=lambda e: abs(plain.edges[e]))
    at_edge = Circuit.of([(*edge, p) for p in everywhere.places], like=everywhere)
    graph = Edges(model, task, metric_of(task), places=everywhere.places)
    whole, placed = (graph.cut(everywhere_weights(c)) for c in (plain, everywhere))
    assert (whole == placed).all()  # exactly: no rounding either
    cut = graph.cut(torch.from_numpy((everywhere - at_edge).weights())[None])
    without = graph.cut(torch.from_numpy((plain - Circuit.of([edge], plain)).weights())[None])
    np.testing.assert_allclose(cut.numpy(), without.numpy(), atol=1e-5)
    # where an edge is read decides: before the prompts differ nothing is lost
    early = Circuit.of([(*edge, "IO")], like=everywhere)
    kept = graph.cut(torch.from_numpy((everywhere - early).weights())[None])
    assert (task.position("IO") < (task.clean != task.corrupted).any(0).nonzero().min()).all()
    np.testing.assert_allclose(kept.numpy(), graph.cut(everywhere_weights(everywhere)), atol=1e-5)


def everywhere_weights(circuit):
    return torch.from_numpy(circuit.weights())[None]


def test_pruning_leaves_a_run_by_place_as_it_is(by_place):
    for kind in ("tiny", "tiny-gpt2"):
        model, task, scores, _ = by_place[kind]
        circuit = Circuit.top(scores, 25)
        pruned = circuit.prune()
        assert 0 < len(pruned) < len(circuit) and pruned.prune() == pruned
        graph = Edges(model, task, metric_of(task), places=circuit.places)
        rows = torch.from_numpy(np.stack([circuit.weights(), pruned.weights()]))
        one, two = graph.cut(rows)
        np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-5)


def test_pruning_by_hand():
    graph = Graph(n_layers=2, n_heads=2, n_kv_heads=1, parallel=False)

    def of(edges):
        return Circuit(dict.fromkeys(edges), graph, "toy", places=("S2", "IO", "END"))

    path = [
        ("embed", "L0KV0.v_in", "S2"),  # attention carries it from S2 to IO, and on to END
        ("L0H1", "L1KV0.k_in", "IO"),
        ("L1H0", "logits.in", "END"),
    ]
    broken = [("L0H0", "mlp.0.in", "S2"), ("mlp.0", "logits.in", "IO")]  # mlp.0 reads elsewhere
    assert list(of([*path, *broken]).prune()) == path
    assert len(of([("embed", "L0H0.q_in", "S2"), ("L0H0", "logits.in", "END")]).prune()) == 0
    assert len(of(path[:2]).prune()) == 0  # and nothing reaches the logits


def test_a_file_keeps_the_places(by_place, tmp_path):
    _, _, _, circuit = by_place["tiny"]
    path = circuit.save(tmp_path / "by-place.json")
    back = Circuit.load(path)
    assert back == circuit and back.places == circuit.places
    text = path.read_text()
    assert '"schema": 2' in text  # a program that knows no places refuses it
    assert '"schema": 1' in circuit.without_places().to_json()
    for wrong, sentence in (
        (text.replace('"END"', '"NOWHERE"', 1), "NOWHERE|END"),
        (text.replace('"places": [', '"places": ["S2", '), "'S2' is there twice"),
        (text.replace('"places": [', '"places": [3, '), "should be a valid string"),
        (text.replace('"embed", ', "", 1), "sender, receiver, place, score"),
        (text.replace('"places"', '"spaces"'), "sender, receiver, score"),
    ):
        path.write_text(wrong)
        with pytest.raises(ValueError, match=sentence):
            Circuit.load(path)


def test_tables_and_graphs_have_the_places(by_place):
    _, _, _, circuit = by_place["tiny"]
    frame = circuit.to_frame()
    assert list(frame.columns[:4]) == ["sender", "receiver", "place", "score"]
    assert list(zip(frame.sender, frame.receiver, frame.place)) == list(circuit)
    networkx = pytest.importorskip("networkx")
    graph = circuit.to_networkx()
    assert isinstance(graph, networkx.MultiDiGraph)
    assert {d["place"] for _, _, d in graph.edges(data=True)} == {e[2] for e in circuit}
    assert "place" not in circuit.without_places().to_frame()


def test_the_picture_has_a_colour_for_each_place(by_place):
    _, _, _, circuit = by_place["tiny"]
    plan = layout(circuit)
    drawn = {(e["sender"], e["receiver"], e["place"]): e["path"] for e in plan["edges"]}
    assert drawn.keys() == circuit.edges.keys()
    assert len(set(map(tuple, drawn.values()))) == len(drawn)  # no curve lies on another
    ax = circuit.plot()
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    at_end = sum(edge[2] == "END" for edge in circuit)
    assert f"read at END: {at_end} edges" in legend and "at 6 places" in ax.get_title()
    assert f"{at_end} edges" in circuit.plot(place="END").get_title()
    with pytest.raises(ValueError, match="'ENDE'.*END"):
        circuit.plot(place="ENDE")
    plt.close("all")


def test_circuits_with_and_without_places_are_not_mixed(by_place, tiny, tmp_path):
    _, task, scores, circuit = by_place["tiny"]
    plain = circuit.without_places()
    with pytest.raises(ValueError, match="no edge in common.*without_places"):
        circuit & plain
    assert (circuit & plain.with_places(circuit)).edges == circuit.edges
    edge = next(iter(plain))
    assert edge in circuit and (*edge, "IO") not in circuit
    with pytest.raises(ValueError, match="says no place"):
        Circuit.of([edge], like=circuit, places=circuit.places)
    with pytest.raises(ValueError, match="is an edge at a place"):
        Circuit.of([(*edge, "END")], like=plain)
    with pytest.raises(ValueError, match="know no positions.*without_places"):
        write(tmp_path / "graph.json", circuit, tiny)
    with pytest.raises(ValueError, match=r"know no positions.*scores.sum\('place'\)"):
        write(tmp_path / "graph.json", scores, tiny)
    bare = task.but(positions={"END": task.position("END")})
    with pytest.raises(ValueError, match="names no position 'IO'.*without_places"):
        interp.evaluate(tiny, bare, circuit)
    numbered = Circuit.top(eap(tiny, bare, positions=True), 10)
    with pytest.raises(ValueError, match="no position|say nothing of position"):
        interp.evaluate(tiny, interp.tasks.greater_than(tiny, n=3), numbered, any_task=True)


def test_curves_minimality_and_agreement_by_place(by_place):
    model, task, scores, circuit = by_place["tiny"]
    curve = interp.faithfulness_curve(model, task, scores, [0.05, 1], sets=1)
    assert curve.metadata["total"] == circuit.n_graph_edges
    assert curve.values[0, -1] == pytest.approx(1, abs=1e-4)  # all edges at all places
    alone = interp.evaluate(model, task, Circuit.top(scores, curve.coords["edges"][0]), sets=1)
    faithful = alone.sel(measure="faithfulness")
    assert curve.values[0, 0] == pytest.approx(float(faithful.values), abs=1e-4)
    few = circuit.prune()
    lost = minimality(model, task, few)
    edge = next(iter(few))
    assert lost.coords["edge"][0] == f"{edge[0]} -> {edge[1]} @ {edge[2]}"
    rest = interp.evaluate(model, task, few - Circuit.of([edge], few), sets=1)
    left = lost.metadata["faithfulness"] - float(rest.sel(measure="faithfulness").values)
    assert lost.values[0] == pytest.approx(left, abs=1e-4)
    assert roc_curve(scores, circuit).metadata["auc"] == 1
    for one in random_circuits(few, 2, match="connected"):
        assert len(one) == len(one.prune()) == len(few) and one.places == few.places
    drawn = random_circuits(few, 1, match="layers")[0]
    assert sorted(e[1:] for e in drawn if "KV" not in e[1] and "H" not in e[1]) == sorted(
        e[1:] for e in few if "KV" not in e[1] and "H" not in e[1]
    )


def test_the_compiled_reverse_reads_each_word_where_its_program_says():
    """Tracr's example: the word at END comes from where the program counts to. Only words are
    corrupted, so that nothing but their way differs: the value that is read there, and the answer.
    """
    model, _, _ = known("reverse", n=2)
    words = "ant bee cat dog eel fox gnu hen jay kid lark mole newt owl".split()
    last = 8
    for mark in (5, 7):
        source, shown = 2 * mark - last - 1, [words[:7], words[7:]]
        prompts = [
            " ".join([*w[: mark - 1], "ram", *w[: mark - 1][::-1][: last - mark]]) for w in shown
        ]
        answers = [" " + w[source - 1] for w in shown]
        task = interp.tasks.pairs(
            model,
            [" " + p for p in prompts],
            [" " + p for p in prompts[::-1]],
            answers=answers,
            wrong=answers[::-1],
        )
        assert task.clean.shape[1] == last + 1 and task.behaviour(model).values[0, 0] == 1
        true = {("embed", "L1KV2.v_in", str(source)), ("L1H2", "logits.in", str(last))}
        for method in (eap_ig, gim):
            scores = method(model, task, positions=True)
            assert set(Circuit.top(scores, 2)) == true, (method.__name__, mark)
        circuit = Circuit.of(true, like=scores)
        graph = Edges(model, task, metric_of(task), places=circuit.places)
        away = ("embed", "L1KV2.v_in", str(source + 1))
        moved = Circuit.of([away, ("L1H2", "logits.in", str(last))], like=circuit)
        rows = [np.ones_like(moved.weights()), circuit.weights(), moved.weights()]
        rows = torch.from_numpy(np.stack([*rows, 0 * rows[0]]))
        clean, alone, elsewhere, corrupted = graph.cut(rows).mean(1).tolist()
        assert alone == pytest.approx(clean, rel=0.05)
        assert elsewhere == pytest.approx(corrupted, rel=0.05) and corrupted < 0 < clean


@pytest.mark.parametrize(
    "method, option, says",
    [
        ("exact", {"positions": True}, "'exact' gives no scores by position"),
        ("eap", {"step": 5}, "unknown option of 'eap'"),
    ],
)
def test_an_option_that_a_method_lacks_is_one_sentence(tiny, method, option, says):
    with pytest.raises(ValueError, match=says):
        interp.discover(tiny, interp.tasks.ioi(tiny, n=2), method, **option)
