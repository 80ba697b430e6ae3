"""Edges: cutting none is the clean run, cutting all the other one; two ways agree; slopes are
slopes.
"""

import numpy as np
import pytest
import torch

import interp
from interp import engine as lean
from interp import sites
from interp.interventions import cut, run
from interp.methods.circuits import edges as edges_file
from interp.methods.circuits.discovery import METHODS, discover, eap, eap_ig, exact
from interp.methods.circuits.edges import BY, Edges, edge_mask
from interp.methods.runs.metrics import kl_metric, metric_of
from interp.models import bridge


@pytest.fixture(scope="module")
def tasks(_tiny):
    return {kind: interp.tasks.ioi(model, n=3) for kind, model in _tiny.items()}


@pytest.fixture
def ioi(any_tiny, tasks):
    return tasks[bridge.name(any_tiny)]


def some_weights(model, rows=3, seed=0):
    there = edge_mask(bridge.dims(model)).float()
    g = torch.Generator().manual_seed(seed)
    return there * (torch.rand(rows, *there.shape, generator=g) < 0.5)


def test_the_default_models_graph_has_its_edges():
    dims = bridge.Dims(30, 9, 3, 576, 64, 1536, 49152, 2048, "rms", False)
    there = edge_mask(dims)
    assert there.shape == (301, 481) and int(there.sum()) == 70_651


@pytest.mark.parametrize("by", BY)
def test_cutting_nothing_is_the_clean_run(any_tiny, ioi, by):
    edges = Edges(any_tiny, ioi, metric_of(ioi), by=by)
    full = torch.ones(1, *edge_mask(edges.dims).shape)
    clean = ioi.metric(run(any_tiny, ioi.clean, last_only=True).logits)
    torch.testing.assert_close(edges.cut(full)[0], clean, atol=1e-5, rtol=1e-5)


def test_cutting_everything_is_the_corrupted_run(any_tiny, ioi):
    edges = Edges(any_tiny, ioi, metric_of(ioi))
    corrupted = ioi.metric(run(any_tiny, ioi.corrupted, last_only=True).logits)
    torch.testing.assert_close(
        edges.cut(torch.zeros(1, *edge_mask(edges.dims).shape))[0], corrupted, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("backend, held", [("engine", True), ("engine", False), ("hooks", False)])
@pytest.mark.parametrize("by", BY)
def test_many_prompts_go_in_groups_and_give_the_same(tiny, by, backend, held, monkeypatch):
    """Groups of 3, 3 and 1 prompts, kept between calls or made anew, by every method that uses
    them.
    """
    task = interp.tasks.ioi(tiny, n=7)
    metric = metric_of(task)
    whole = Edges(tiny, task, metric, by=by, backend=backend)
    monkeypatch.setattr(edges_file, "_bytes", lambda model, length: 1.0 if held else 2.0**40)
    monkeypatch.setattr(
        edges_file, "groups", lambda *_: list(torch.arange(7, device="cpu").split(3))
    )
    parts = edges_file.edges_on(tiny, task, metric, by=by, backend=backend)
    assert len(parts.parts) == 3 and parts.held is held
    weights = some_weights(tiny, rows=2)
    if by == "mean":  # one mean over all prompts, not one a group
        torch.testing.assert_close(parts.parts[2][1][0][1]().writes, whole.writes)
    torch.testing.assert_close(parts.cut(weights), whole.cut(weights), atol=2e-6, rtol=1e-5)
    points = [None] if by == "zero" else [0.5]
    both = by != "zero" and backend == "engine"
    for slopes in ("slopes", *(["slopes_at_activations"] if both else [])):
        torch.testing.assert_close(
            getattr(parts, slopes)(points), getattr(whole, slopes)(points), atol=2e-6, rtol=1e-4
        )
    if backend == "engine" and held:
        torch.testing.assert_close(
            parts.downstream(1, weights, parts.moves()),
            whole.downstream(1, weights, whole.moves()),
            atol=2e-6,
            rtol=1e-5,
        )


def test_as_many_prompts_go_together_as_fit(tiny, monkeypatch):
    task = interp.tasks.ioi(tiny, n=7)
    assert [len(g) for g in edges_file.groups(tiny, task, metric_of(task))] == [7]
    monkeypatch.setenv("INTERP_MEMORY", "0.001")
    each = edges_file._bytes(tiny, task.clean.shape[1])
    some = max(1, int(1e6 / 4 / 2 / each))
    assert some < 7
    assert len(edges_file.groups(tiny, task, metric_of(task))[0]) == some
    scores = {
        m: discover(tiny, task, m).values
        for m in ("eap", "eap_ig", "node_attribution", "magnitude")
    }
    scores["magnitude by mean"] = discover(tiny, task, "magnitude", by="mean").values
    acdc = discover(tiny, task, "acdc", tau=0.05).values
    monkeypatch.delenv("INTERP_MEMORY")
    for method, values in scores.items():
        options = {"by": "mean"} if method.endswith("mean") else {}
        whole = discover(tiny, task, method.split()[0], **options).values
        np.testing.assert_allclose(values, whole, atol=1e-6)
    np.testing.assert_allclose(acdc, discover(tiny, task, "acdc", tau=0.05).values, atol=1e-5)
    # a function of all prompts' logits is not asked about some of them
    right = task.answers[:, 0]
    own = metric_of(task, lambda logits: logits[..., range(7), right])
    assert len(edges_file.groups(tiny, task, own)) == 1


def test_one_edge_is_the_intervention_cut(any_tiny, ioi):
    edges = Edges(any_tiny, ioi, metric_of(ioi))
    d = edges.dims
    kept = run(any_tiny, ioi.corrupted, keep=["L0H1", "mlp.0", "embed"], last_only=True).kept
    for sender, receiver in (
        ("L0H1", "L1H2.q_in"),
        ("embed", "L1KV1.k_in"),
        ("mlp.0", "L2KV0.v_in"),
        ("mlp.0", "logits.in"),
    ):
        weights = torch.ones(1, *edge_mask(d).shape)
        row, column = (
            list(map(str, nodes)).index(x)
            for nodes, x in ((sites.senders(d), sender), (sites.receivers(d), receiver))
        )
        weights[0, row, column] = 0
        by_hand = run(
            any_tiny, ioi.clean, [cut(sender, receiver, kept[sender])], last_only=True
        ).logits
        torch.testing.assert_close(edges.cut(weights)[0], ioi.metric(by_hand), atol=1e-5, rtol=1e-5)


def test_cutting_all_edges_of_a_head_is_patching_it(any_tiny, ioi):
    edges = Edges(any_tiny, ioi, metric_of(ioi))
    weights = torch.ones(1, *edge_mask(edges.dims).shape)
    weights[0, list(map(str, sites.senders(edges.dims))).index("L1H2")] = 0
    patched = interp.patch(any_tiny, ioi, ["L1H2"], direction="noising")
    here = edges.cut(weights)[0] - edges.cut(torch.ones_like(weights))[0]
    np.testing.assert_allclose(here.numpy(), patched.examples, atol=1e-5)


def test_starting_late_gives_the_same_runs(any_tiny, ioi):
    edges = Edges(any_tiny, ioi, metric_of(ioi), backend="engine")
    weights, per_layer = some_weights(any_tiny), lean.graph(edges.engine).per_layer
    for layer in (0, 1, 2):
        late = weights.clone()
        late[:, :, : layer * per_layer] = 1  # everything before the layer is clean
        torch.testing.assert_close(
            edges.downstream(layer, late, edges.moves()), edges.cut(late), atol=1e-5, rtol=1e-4
        )


def test_rows_do_not_mix_and_parts_do_not_matter(any_tiny, ioi):
    edges = Edges(any_tiny, ioi, metric_of(ioi), backend="engine")
    weights = some_weights(any_tiny, rows=5)
    alone = torch.cat([edges.cut(row[None]) for row in weights])
    torch.testing.assert_close(edges.cut(weights), alone, atol=1e-5, rtol=1e-4)
    small = lean.cut_runs(
        edges.engine, ioi.clean, edges.other, weights, edges.read, first=edges.first, budget=1.0
    )
    torch.testing.assert_close(small, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("by", BY)
def test_eap_is_the_slope_in_an_edges_weight(any_tiny, ioi, by):
    edges = Edges(any_tiny, ioi, metric_of(ioi), by=by)
    weights = torch.ones(1, *edge_mask(edges.dims).shape, requires_grad=True)
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(edges.cut(weights).sum(), weights)
    found = eap(any_tiny, ioi, by=by, examples=True)
    there = edge_mask(edges.dims).numpy()
    np.testing.assert_allclose(
        found.examples.sum(-1)[there], slope[0].numpy()[there], atol=2e-5, rtol=1e-4
    )
    assert np.isnan(found.values[~there]).all() and not np.isnan(found.values[there]).any()


def test_one_step_of_ig_is_the_slope_at_the_corrupted_input(tiny, tasks):
    turned = tasks["tiny"]
    flipped = eap_ig(tiny, turned, steps=1)
    edges = Edges(tiny, turned, metric_of(turned))
    np.testing.assert_allclose(
        flipped.values[edges_there(tiny)],
        edges.slopes([0.0]).mean(0).numpy()[edges_there(tiny)],
        atol=1e-6,
    )
    np.testing.assert_allclose(
        eap(tiny, turned).values[edges_there(tiny)],
        edges.slopes([1.0]).mean(0).numpy()[edges_there(tiny)],
        atol=1e-5,
    )


def edges_there(model):
    return edge_mask(bridge.dims(model)).numpy()


def test_exact_is_path_patching_an_edge_at_a_time(tiny, tasks):
    task = tasks["tiny"]
    found = exact(tiny, task, examples=True)
    senders, receivers = (
        [["L0H1"], ["mlp.1"], ["embed"]],
        [["L1H2.q_in"], ["L2KV0.k_in"], ["logits.in"]],
    )
    paths = interp.path_patch(tiny, task, senders, receivers, direction="noising")
    for (s,) in senders:
        for (r,) in receivers:
            here = -paths.sel(sender=s, receiver=r).values
            np.testing.assert_allclose(
                found.sel(sender=s, receiver=r).values, here, atol=1e-5, equal_nan=True
            )


def test_slopes_match_exact_effects_where_the_model_is_nearly_linear(tiny, tasks):
    # an edge into the logits passes the final norm alone: a tenth of its move has a tenth of the
    # effect
    edges = Edges(tiny, tasks["tiny"], metric_of(tasks["tiny"]))
    weights = torch.ones(2, *edge_mask(edges.dims).shape)
    weights[1, 3, -1] -= 1e-2
    one, other = edges.cut(weights).double()
    np.testing.assert_allclose(
        float((one - other).mean() * 100), float(edges.slopes([None])[:, 3, -1].mean()), rtol=2e-2
    )


def test_what_cannot_be(tiny, tasks):
    task = tasks["tiny"]
    with pytest.raises(ValueError, match="did you mean 'eap_ig'"):
        discover(tiny, task, method="eap-ig")
    with pytest.raises(ValueError, match="did you mean 'mean'"):
        eap(tiny, task, by="means")
    with pytest.raises(ValueError, match="at least one point"):
        eap_ig(tiny, task, steps=0)
    with pytest.raises(ValueError, match="zero embedding"):
        eap_ig(tiny, task, by="zero")
    with pytest.raises(ValueError, match="no gradient"):
        eap(tiny, task, metric="rank")
    assert discover(tiny, task, "eap").metadata["method"] == "eap" and "eap" in METHODS


def test_a_measure_over_the_vocabulary_works_too(tiny, tasks):
    task = tasks["tiny"]
    kl = kl_metric(tiny, task)
    fast, slow = (exact_one(tiny, task, kl, backend) for backend in ("engine", "hooks"))
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-4)


def exact_one(model, task, metric, backend):
    return Edges(model, task, metric, backend=backend).cut(some_weights(model, rows=1))
