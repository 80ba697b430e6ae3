"""Judging circuits: laws of faithfulness and completeness, areas and ROC by hand, and an
independent run by hooks.
"""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import interp
from interp import sites
from interp.circuits import Circuit, residual_graph
from interp.interventions import Intervention, run
from interp.methods.circuits.evaluate import fractions, weak_null
from interp.methods.runs import sweep
from interp.methods.runs.metrics import metric_of
from interp.models import bridge
from interp.results import Result
from interp.tasks.metrics import Metric

MEASURES = [
    "faithfulness",
    "completeness",
    "random faithfulness",
    "random completeness",
    "clean",
    "corrupted",
    "circuit",
    "complement",
]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def found(_tiny):
    """Of every tiny model: the model, a task, its EAP scores."""
    made = {}
    for kind, model in _tiny.items():
        task = interp.tasks.ioi(model, n=4)
        made[kind] = model, task, interp.discover(model, task, "eap", examples=True)
    return made


@pytest.fixture(params=["tiny", "tiny-gpt2", "tiny-neox"])
def any_found(request, found):
    return found[request.param]


def value(result, measure):
    return float(result.sel(measure=measure).values)


# --- evaluate -------------------------------------------------------------------------------------


def by_hooks(model, task, circuit):
    """The measure of the circuit's run, written out: each receiver reads the corrupted twin's write
    of what is cut.
    """
    dims, edits = bridge.dims(model), []
    names = [str(s) for s in sites.senders(dims)]
    other = run(model, task.corrupted, keep=names, last_only=True).kept
    for receiver in sites.receivers(dims):
        lost = [
            str(s)
            for s in sites.senders(dims)
            if sites.precedes(s, receiver, dims) and (str(s), str(receiver)) not in circuit
        ]
        if lost:

            def edit(act, seen, lost=lost):
                return act + sum(other[s] - seen[s] for s in lost)

            edits.append(Intervention(receiver, edit, reads=tuple(lost)))
    return task.metric(run(model, task.clean, edits, last_only=True).logits).double().numpy()


def test_faithfulness_is_that_of_a_run_by_hooks(any_found):
    model, task, scores = any_found
    held = task.heldout()
    circuit = Circuit.top(scores, 60)
    got = interp.evaluate(model, held, circuit, sets=2)
    clean, corrupted = (
        held.metric(run(model, tokens, last_only=True).logits).double().numpy()
        for tokens in (held.clean, held.corrupted)
    )
    for name, one in (("circuit", circuit), ("complement", ~circuit)):
        np.testing.assert_allclose(
            got.sel(measure=name).examples, by_hooks(model, held, one), atol=1e-4
        )
    np.testing.assert_allclose(got.sel(measure="clean").examples, clean, atol=1e-5)
    np.testing.assert_allclose(got.sel(measure="corrupted").examples, corrupted, atol=1e-4)
    kept, whole = got.sel(measure="circuit").examples.mean(), (clean - corrupted).mean()
    assert value(got, "faithfulness") == pytest.approx(
        (kept - corrupted.mean()) / whole, abs=2e-4 / abs(whole)
    )


@pytest.mark.parametrize("by", ["resample", "mean", "zero"])
def test_the_whole_graph_is_1_and_what_is_never_read_is_0(any_found, by):
    model, task, scores = any_found
    whole = Circuit.top(scores, int((~np.isnan(scores.values)).sum()))
    got = interp.evaluate(model, task, whole, by=by, sets=1)
    # at every example: the parts of a ratio of 1 do not vary
    np.testing.assert_allclose(got.sel(measure="faithfulness").examples, 1, atol=0.02)
    np.testing.assert_allclose(got.sel(measure="completeness").examples, 1, atol=1e-9)
    assert value(got, "random faithfulness") == pytest.approx(value(got, "faithfulness"), abs=1e-6)
    nowhere = Circuit.of([("embed", "L0H0.q_in"), ("L0H1", "mlp.1.in")], like=scores)
    got = interp.evaluate(model, task, nowhere, by=by, sets=1)
    np.testing.assert_allclose(got.sel(measure="faithfulness").examples, 0, atol=0.02)


def test_completeness_is_what_the_complement_lacks(any_found):
    model, task, scores = any_found
    circuit = Circuit.top(scores, 60)
    one, other = (interp.evaluate(model, task, c, sets=1) for c in (circuit, ~circuit))
    whole = abs(value(one, "clean") - value(one, "corrupted"))
    np.testing.assert_allclose(
        one.sel(measure="completeness").examples,
        1 - other.sel(measure="faithfulness").examples,
        atol=1e-4 / whole**2,
    )


def test_pruning_leaves_resampled_faithfulness_as_it_is(any_found):
    model, task, scores = any_found
    circuit = Circuit.top(scores, 30)
    assert len(circuit.prune()) < len(circuit)
    edges = interp.methods.circuits.edges.Edges(
        model, task, interp.methods.runs.metrics.metric_of(task)
    )
    rows = edges.cut(torch.tensor(np.stack([circuit.weights(), circuit.prune().weights()])))
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-5)
    curves = [
        interp.faithfulness_curve(model, task, scores, (0.1, 0.4), prune=p, sets=2)
        for p in (True, False)
    ]
    whole = abs(curves[0].metadata["clean"] - curves[0].metadata["corrupted"])
    np.testing.assert_allclose(curves[0].values, curves[1].values, atol=1e-4 / whole)
    assert (
        curves[0].metadata["kept"][0]
        < curves[1].metadata["kept"][0]
        == curves[0].coords["edges"][0]
    )


def test_fractions_by_hand():
    metric = Metric("m", "logits", lambda logits, kept: logits)
    clean, corrupted = torch.tensor([4.0, 2.0]), torch.tensor([0.0, 0.0])
    got, notes = fractions(
        torch.tensor([[4.0, 2.0], [0.0, 0.0], [2.0, 1.0], [3.0, 0.0]]), clean, corrupted, metric
    )
    np.testing.assert_allclose(got.mean(-1), [1, 0, 0.5, 0.5])
    # half of each prompt's own way: the ratio of means is 0.5 whichever prompts are drawn
    np.testing.assert_allclose(got, [[1, 1], [0, 0], [0.5, 0.5], [0.5 + 1 / 3, 0.5 - 1 / 3]])
    assert notes == {"denominator": [4, 2]}
    with pytest.raises(ValueError, match="with all edges cut is 0 on average: there is no"):
        fractions(clean[None], clean, clean, metric)


def test_an_evaluation_says_what_it_is(found, tmp_path):
    model, task, scores = found["tiny"]
    circuit = Circuit.top(scores, 60)
    seen, got = (interp.evaluate(model, t, circuit, sets=3) for t in (task, task.heldout()))
    assert got.coords["measure"] == MEASURES and (seen.metadata["seen"], got.metadata["seen"]) == (
        True,
        False,
    )
    assert (
        "found on" in seen.name and "found on" not in got.name and got.metadata["share"] == 60 / 190
    )
    assert (
        got.sel(measure="clean").unit == "logits"
        and "clean" in got.sel(measure="faithfulness").unit
    )
    assert len(got.metadata["random"]) == 3 and np.mean(got.metadata["random"]) == pytest.approx(
        value(got, "random faithfulness")
    )
    assert Result.load(got.save(tmp_path / "e.npz")) == got and "<table>" in got._repr_html_()
    told = interp.methods.circuits.with_evaluation(circuit, got)
    assert told.edges == circuit.edges and Circuit.load(told.save(tmp_path / "c.json")) == told
    said = told.evaluation
    assert (said["metric"], said["by"], said["split"], said["n"], said["seed"]) == (
        "logit_diff",
        "resample",
        "heldout",
        4,
        1,
    )
    assert (
        said["faithfulness"] == pytest.approx(value(got, "faithfulness"), rel=1e-3)
        and said["random"]["sets"] == 3
    )
    with pytest.raises(ValueError, match="not an evaluation of these 10 edges"):
        interp.methods.circuits.with_evaluation(Circuit.top(scores, 10), got)


def test_bad_circuits_are_refused(found):
    model, task, scores = found["tiny"]
    circuit = Circuit.top(scores, 30)
    for verb in (interp.evaluate, interp.methods.circuits.minimality):
        with pytest.raises(ValueError, match=r"interp.load\('tiny'\)"):
            verb(found["tiny-gpt2"][0], task, circuit)
        with pytest.raises(ValueError, match="no edges"):
            verb(model, task, circuit - circuit)
        with pytest.raises(ValueError, match="found on 'ioi'"):
            verb(model, interp.tasks.successor(model, n=4), circuit)
        with pytest.raises(ValueError, match="did you mean 'resample'"):
            verb(model, task, circuit, by="resampel")
    interp.evaluate(model, interp.tasks.induction(model, n=4), circuit, any_task=True, sets=1)
    with pytest.raises(ValueError, match="sets=0"):
        interp.evaluate(model, task, circuit, sets=0)
    with pytest.raises(ValueError, match="parts of a circuit"):
        interp.methods.circuits.minimality(model, task, circuit, of="edge")
    with pytest.raises(ValueError, match="component of the circuit"):
        interp.methods.circuits.minimality(model, task, circuit, of="components", without=["L9H9"])


# --- minimality and random circuits ---------------------------------------------------------------


def test_minimality_is_the_difference_of_two_evaluations(any_found):
    model, task, scores = any_found
    circuit = Circuit.top(scores, 25)

    def faithful(c):
        return value(interp.evaluate(model, task, c, sets=1), "faithfulness")

    lost = interp.methods.circuits.minimality(model, task, circuit)
    assert lost.coords["edge"] == [f"{s} -> {r}" for s, r in circuit]
    whole = faithful(circuit)
    for label in lost.top(2).labels:
        less = circuit - Circuit.of([tuple(label.split(" -> "))], like=scores)
        assert float(lost.sel(edge=label).values) == pytest.approx(
            whole - faithful(less), rel=1e-3, abs=1e-2
        )
    nodes = interp.methods.circuits.minimality(model, task, circuit, of="components")
    assert float(nodes.sel(component="embed").values) == pytest.approx(
        whole, rel=1e-3, abs=1e-2
    )  # nothing is left
    twin, v = [c for c in nodes.top(3).labels if c != "embed"][:2]

    def sends(*cs):
        return Circuit.of([edge for edge in circuit if edge[0] in cs], like=scores)

    beside = interp.methods.circuits.minimality(
        model, task, circuit, of="components", without=[twin]
    )
    by_hand = faithful(circuit - sends(twin)) - faithful(circuit - sends(twin, v))
    assert float(beside.sel(component=v).values) == pytest.approx(by_hand, rel=1e-3, abs=1e-2)
    assert twin not in beside.coords["component"]


def test_random_circuits_have_the_size(any_found):
    circuit = Circuit.top(any_found[2], 40)
    for match in ("size", "layers"):
        drawn = interp.methods.circuits.random_circuits(circuit, 4, seed=3, match=match)
        assert [len(one) for one in drawn] == [40] * 4 and len({tuple(one) for one in drawn}) == 4
        assert drawn == interp.methods.circuits.random_circuits(circuit, 4, seed=3, match=match)
        assert drawn != interp.methods.circuits.random_circuits(circuit, 4, seed=4, match=match)

    def place(c):
        return sorted(
            r.rstrip("0123456789") if "KV" not in r and "H" not in r else r[:2] + r[-4:]
            for _, r in c
        )

    assert all(place(one) == place(circuit) for one in drawn)  # the last were matched by layers
    assert any(
        place(one) != place(circuit) for one in interp.methods.circuits.random_circuits(circuit, 4)
    )
    with pytest.raises(ValueError, match="did you mean 'layers'"):
        interp.methods.circuits.random_circuits(circuit, match="layer")


@pytest.mark.parametrize("n", [1, 2, 3, 5, 12, 40, 120])
def test_connected_random_circuits_lie_on_ways_from_the_embedding_to_the_logits(any_found, n):
    import networkx

    circuit = Circuit.greedy(any_found[2], n)
    wanted = len(circuit.prune()) or n
    drawn = interp.methods.circuits.random_circuits(circuit, 4, seed=3, match="connected")
    assert [len(one) for one in drawn] == [wanted] * 4
    for one in drawn:  # by another library's search, not by prune
        graph = one.to_networkx()
        before = networkx.descendants(graph, "embed") | {"embed"}
        after = networkx.ancestors(graph, "logits") | {"logits"}
        for sender, receiver in one:
            fed = residual_graph.feeds(receiver, one.graph)
            assert sender in before and set(fed) & after, (sender, receiver)
    again, other = (
        interp.methods.circuits.random_circuits(circuit, 4, seed=seed, match="connected")
        for seed in (3, 4)
    )
    assert drawn == again
    if wanted > 3:  # of one edge there is one: from the embedding straight into the logits
        assert drawn != other and len({tuple(one) for one in drawn}) == 4


def test_connected_random_circuits_of_nearly_all_edges(found):
    scores = found["tiny"][2]
    total = int((~np.isnan(scores.values)).sum())
    for n in (total - 1, total):
        circuit = Circuit.top(scores, n)
        for one in interp.methods.circuits.random_circuits(circuit, 3, match="connected"):
            assert len(one) == len(one.prune()) == len(circuit.prune())


def of_ways(recwarn):
    """What was warned of ways from the embedding to the logits."""
    return [str(w.message) for w in recwarn if "way from the embedding" in str(w.message)]


def test_a_circuit_without_a_way_says_that_its_0_is_certain(found, recwarn):
    model, task, scores = found["tiny"]
    nowhere = Circuit.of([("embed", "L0H0.q_in"), ("L0H1", "mlp.1.in")], like=scores)
    said = "0 of the circuit's 2 edges lie on a way from the embedding to the logits (1 leave"
    got = interp.evaluate(model, task, nowhere, sets=3, match="connected")
    assert got.metadata["kept"] == 0 and got.metadata["random kept"] == [2, 2, 2]
    assert said in repr(got) and "Circuit.top(scores, 4).prune()" in repr(got)
    assert [said in one for one in of_ways(recwarn)] == [True]
    lost = interp.methods.circuits.minimality(model, task, nowhere)
    assert said in repr(lost) and len(of_ways(recwarn)) == 2
    assert (lost.values == 0).all()
    good = interp.evaluate(model, task, Circuit.top(scores, 120), sets=3)
    assert "note" not in good.metadata and len(of_ways(recwarn)) == 2


def test_random_circuits_without_a_way_say_that_their_0_is_certain(found, recwarn):
    model, task, scores = found["tiny"]
    circuit = Circuit.of([("embed", "mlp.0.in"), ("mlp.0", "logits.in")], like=scores)
    got = interp.evaluate(model, task, circuit, sets=5)
    ways = [len(one.prune()) for one in interp.methods.circuits.random_circuits(circuit, 5)]
    assert got.metadata["random kept"] == ways == [0] * 5 and got.metadata["kept"] == 2
    assert got.metadata["random"] == [0] * 5
    assert "none of the 5 random circuits drawn by match='size' has a way" in repr(got)
    assert ["match='connected'" in one for one in of_ways(recwarn)] == [True]
    hard = interp.evaluate(model, task, circuit, sets=5, match="connected")
    assert hard.metadata["random kept"] == [2] * 5 and "note" not in hard.metadata
    assert len(of_ways(recwarn)) == 1 and np.abs(hard.metadata["random"]).max() > 1e-6
    for match, note in (("size", "none of the 2 random"), ("connected", None)):
        curve = interp.faithfulness_curve(model, task, scores, (2, 190), sets=2, match=match)
        said = curve.metadata.get("note", "")
        assert (f"at 2 edges: {note}" in said) if note else "random" not in said
        assert "190" not in said


def test_few_random_circuits_with_a_way_are_counted():
    assert weak_null([3, 0, 0, 0, 1], "size", "resample").startswith(
        "2 of the 5 random circuits drawn by"
    )
    assert "of the other 3 the faithfulness is certain to be 0" in weak_null(
        [3, 0, 0, 0, 1], "size", "resample"
    )
    assert "not even the one random circuit" in weak_null([0], "layers", "resample")
    assert weak_null([3, 0], "size", "resample") == weak_null([], "size", "resample") == ""
    mean = weak_null([0, 0], "size", "mean")  # means pass through heads that see nothing: no 0
    assert "their output is the same for every prompt" in mean and "certain" not in mean
    assert weak_null([0, 0], "connected", "resample") == ""


# --- curves ---------------------------------------------------------------------------------------


def test_the_curve_s_points_are_evaluations_and_its_last_is_1(any_found):
    model, task, scores = any_found
    curve = interp.faithfulness_curve(model, task, scores, (0.2, 60, 1), sets=2, select="greedy")
    total = int((~np.isnan(scores.values)).sum())
    assert curve.coords == {
        "circuit": ["discovered", "random"],
        "edges": sorted([round(0.2 * total), 60, total]),
    }
    np.testing.assert_allclose(curve.values[:, -1], 1, atol=0.02)
    alone = interp.evaluate(model, task, Circuit.greedy(scores, 60), sets=2)
    at = curve.sel(edges=60)
    assert float(at.sel(circuit="discovered").values) == pytest.approx(
        value(alone, "faithfulness"), rel=1e-3, abs=1e-2
    )
    assert float(at.sel(circuit="random").values) == pytest.approx(
        value(alone, "random faithfulness"), rel=1e-3, abs=1e-2
    )
    assert curve.metadata["total"] == total and len(curve.metadata["random"]["60"]) == 2
    ax = curve.plot()
    assert ax.get_xlabel() == "number of edges" and [
        t.get_text() for t in ax.get_legend().get_texts()
    ][:2] == ["discovered", "random"]
    for wrong in ((0.0,), (2.5,), (total + 1,), ()):
        with pytest.raises(ValueError, match="shares lie in"):
            interp.faithfulness_curve(model, task, scores, wrong)
    with pytest.raises(ValueError, match="did you mean 'greedy'"):
        interp.faithfulness_curve(model, task, scores, select="greed")


def curve_of(values, numbers, total):
    examples = np.stack([np.array(values)] * 2)[..., None] + np.array([-0.1, 0.1])
    coords = {"circuit": ["discovered", "random"], "edges": numbers}
    return Result(
        examples.mean(-1),
        ("circuit", "edges"),
        coords,
        "f",
        "fraction",
        {"total": total, "absolute": True},
        examples,
    )


def test_areas_by_hand():
    # shares 0.1, 0.3, 1.0; f = 0.5, 1.5, 1.0
    got = interp.methods.circuits.cpr_cmd(curve_of([0.5, 1.5, 1.0], [10, 30, 100], 100)).sel(
        circuit="discovered"
    )
    cpr = 0.2 * (0.5 + 1.5) / 2 + 0.7 * (1.5 + 1.0) / 2
    cmd = 0.2 * (0.5 + 0.5) / 2 + 0.7 * (0.5 + 0.0) / 2
    np.testing.assert_allclose(got.values, [cpr, cmd])
    # where f is above 1 a prompt that has more of it is farther from 1
    np.testing.assert_allclose(got.examples[0] - cpr, [-0.09, 0.09])
    np.testing.assert_allclose(got.examples[1] - cmd, 0.1 * np.array([0.1 - 0.45, 0.45 - 0.1]))
    perfect = interp.methods.circuits.cpr_cmd(curve_of([1.0, 1.0], [1, 1000], 1000))
    np.testing.assert_allclose(perfect.values[:, 0], [0.999, 0])
    with pytest.raises(ValueError, match="at least two sizes"):
        interp.methods.circuits.cpr_cmd(curve_of([1.0], [1], 10))
    with pytest.raises(ValueError, match="faithfulness_curve"):
        interp.methods.circuits.cpr_cmd(perfect)


# --- agreement ------------------------------------------------------------------------------------


def scored(scores, values):
    """The same graph with these scores for its edges, in forward order (by receiver, then
    sender).
    """
    out = np.full(scores.values.shape, np.nan)
    there = ~np.isnan(scores.values)
    out.T[there.T] = values
    return Result(out, scores.dims, scores.coords, "made up", "logits", scores.metadata)


def test_roc_is_the_share_of_pairs_in_order(found):
    scores = found["tiny"][2]
    total = int((~np.isnan(scores.values)).sum())
    values = np.random.default_rng(0).integers(-4, 5, total).astype(float)  # many ties
    made = scored(scores, values)
    every = list(~Circuit.of((), like=scores))
    truth = Circuit.of(every[::7], like=scores)
    positive = np.array([edge in truth for edge in every])
    for absolute, v in ((True, np.abs(values)), (False, values)):
        gap = v[positive][:, None] - v[~positive][None]
        curve = interp.methods.circuits.roc_curve(made, truth, absolute=absolute)
        assert curve.metadata["auc"] == pytest.approx(((gap > 0) + 0.5 * (gap == 0)).mean())
        x, y = np.array(curve.coords[curve.dims[0]]), curve.values
        assert np.trapezoid(y, x) == pytest.approx(curve.metadata["auc"])
        assert (
            (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
            and (np.diff(x) >= 0).all()
            and (np.diff(y) >= 0).all()
        )
    line = curve.plot().lines[0]
    np.testing.assert_allclose(line.get_xdata(), x)  # at its own place, not evenly spaced
    same = interp.methods.circuits.roc_curve(scored(scores, np.zeros(total)), truth)
    assert same.metadata["auc"] == 0.5 and same.values.tolist() == [0, 1]
    assert (
        interp.methods.circuits.roc_curve(scored(scores, positive.astype(float)), truth).metadata[
            "auc"
        ]
        == 1
    )


def test_roc_by_hand(found):
    # two edges of the circuit among six scored 6, 5, 5, 4 ... : one alone on top, one tied with
    # another
    scores = found["tiny"][2]
    total = int((~np.isnan(scores.values)).sum())
    every = list(~Circuit.of((), like=scores))
    values = np.concatenate([[6.0, 5, 5], np.zeros(total - 3)])
    curve = interp.methods.circuits.roc_curve(
        scored(scores, values), Circuit.of(every[:2], like=scores)
    )
    others = total - 2
    np.testing.assert_allclose(curve.coords["false positive rate"], [0, 0, 1 / others, 1])
    np.testing.assert_allclose(curve.values, [0, 0.5, 1, 1])
    assert curve.metadata["auc"] == pytest.approx(1 - 0.25 / others)


def test_roc_needs_a_circuit_and_every_score(found):
    scores = found["tiny"][2]
    circuit = Circuit.top(scores, 10)
    broken = scores.values.copy()
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="1 of 190 edges have no score"):
        interp.methods.circuits.roc_curve(
            Result(broken, scores.dims, scores.coords, "s", "logits", scores.metadata), circuit
        )
    with pytest.raises(ValueError, match="some, not all"):
        interp.methods.circuits.roc_curve(scores, circuit - circuit)
    with pytest.raises(ValueError, match="both must be of one model"):
        interp.methods.circuits.roc_curve(found["tiny-gpt2"][2], circuit)


def test_agreement_by_hand(found):
    scores = found["tiny"][2]
    first = Circuit.of(
        [("embed", "mlp.0.in"), ("mlp.0", "logits.in"), ("mlp.0", "mlp.1.in")], like=scores
    )
    second = Circuit.of([("embed", "mlp.0.in"), ("L0H0", "logits.in")], like=scores)
    got = interp.methods.circuits.agreement(first, second)
    by_chance = (3 * 2 / 190) / (5 - 3 * 2 / 190)
    # components: embed, mlp.0, mlp.1 and embed, mlp.0, L0H0
    np.testing.assert_allclose(got.values, [1 / 4, 2 / 4, 1 / 2, 1 / 3, by_chance])
    assert interp.methods.circuits.agreement(first, first).values[:4].tolist() == [1, 1, 1, 1]
    total = int((~np.isnan(scores.values)).sum())
    up = scored(scores, np.arange(1.0, total + 1))
    down = scored(scores, -np.arange(1.0, total + 1))
    np.testing.assert_allclose(
        interp.methods.circuits.agreement(up, down, n=19).values[:3], [-1, 1, 1]
    )
    with pytest.raises(ValueError, match="got Circuit and Result"):
        interp.methods.circuits.agreement(first, up)
    assert "Jaccard, top 19" in repr(interp.methods.circuits.agreement(up, down))  # of 190 edges
    with pytest.raises(ValueError, match="n=500: the graph has 190 edges .try n=19, a tenth"):
        interp.methods.circuits.agreement(up, down, n=500)
    with pytest.raises(ValueError, match="both must be of one model"):
        interp.methods.circuits.agreement(scores, found["tiny-neox"][2], n=5)


def test_stability_is_between_chance_and_1(found):
    model, task, scores = found["tiny"]
    got = interp.methods.circuits.stability(model, task, "eap", n=40, resamples=4, seeds=3)
    resampled, others, chance = got.values
    assert 0.02 < chance < resampled <= 1 and 0 <= others <= 1
    assert {k: len(v) for k, v in got.metadata["pairs"].items()} == {
        "prompts resampled": 6,
        "other seeds": 3,
    }
    assert (
        np.mean(got.metadata["pairs"]["other seeds"]) == pytest.approx(others)
        and got.metadata["in every resample"] <= 40
    )
    every = int((~np.isnan(scores.values)).sum())
    assert interp.methods.circuits.stability(
        model, task, "eap", n=every, resamples=2, seeds=2
    ).values.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="at least 2"):
        interp.methods.circuits.stability(model, task[:1])
    with pytest.raises(ValueError, match="a pair needs two"):
        interp.methods.circuits.stability(model, task, resamples=1)


def test_the_clean_run_is_read_by_the_backend_that_cuts_the_edges():
    """In bfloat16 the two backends differ by rounding, which is no part of a faithfulness."""
    model = interp.load("tiny", dtype="bfloat16", progress=False)
    task = interp.tasks.ioi(model, n=4)
    scores = interp.discover(model, task, "eap")
    clean = {}
    for backend in ("engine", "hooks"):
        found = interp.evaluate(model, task, Circuit.top(scores, 40), sets=1, backend=backend)
        curve = interp.faithfulness_curve(model, task, scores, (0.5,), sets=1, backend=backend)
        clean[backend] = sweep.unedited_metric(
            model, task.clean, metric_of(task), task.positions, backend=backend
        )
        np.testing.assert_array_equal(found.sel(measure="clean").examples, clean[backend].float())
        assert curve.metadata["clean"] == float(clean[backend].mean())
    assert (clean["engine"] != clean["hooks"]).any()
