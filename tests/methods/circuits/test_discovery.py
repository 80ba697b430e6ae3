"""Discovery methods: each against a slow version of its own definition, or a number known
beforehand.
"""

from importlib import import_module

import numpy as np
import pytest
import torch

import interp
from interp import sites
from interp.circuits import Circuit
from interp.interventions import cut, run
from interp.methods.circuits import discovery, edges
from interp.methods.circuits.discovery import (
    acdc,
    eap,
    eap_ig,
    edge_pruning,
    information_flow,
    magnitude,
    node_attribution,
    random,
)
from interp.methods.circuits.discovery.edge_pruning import _masks, keep_probability
from interp.methods.circuits.discovery.information_flow import contributions
from interp.methods.runs.metrics import kl_metric
from interp.models import bridge


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=2, seed=0)


@pytest.fixture
def tiny_ioi(tiny):
    return interp.tasks.ioi(tiny, n=2, seed=0)


def far(a, b):
    return float(np.nanmax(np.abs(a.values - b.values)))


def at(result, sender, receiver):
    return result.values[
        result.coords["sender"].index(sender), result.coords["receiver"].index(receiver)
    ]


# --- eap_ig at activations ------------------------------------------------------------------------


def test_at_activations_only_the_embedding_is_as_at_inputs(any_tiny, ioi):
    inside, inputs = (
        eap_ig(any_tiny, ioi, at="activations", steps=4),
        eap_ig(any_tiny, ioi, steps=4),
    )
    np.testing.assert_allclose(inside.values[0], inputs.values[0], atol=1e-5)
    assert far(inside, inputs) > 1e-3
    one = edges.Edges(any_tiny, ioi, interp.methods.runs.metrics.metric_of(ioi))
    clean = one.slopes_at_activations([1.0]).mean(0).numpy()  # the writes as they are: plain EAP
    np.testing.assert_allclose(clean, np.nan_to_num(eap(any_tiny, ioi).values), atol=1e-5)


def test_at_activations_a_sender_s_edges_add_up_to_patching_it(any_tiny, ioi):
    # with many steps the integral of one component's own slope is the whole effect of corrupting it
    found = eap_ig(any_tiny, ioi, at="activations", steps=300)
    patched = interp.patch(any_tiny, ioi, "mlp.1", direction="noising")
    row = found.values[found.coords["sender"].index("mlp.1")]
    assert np.nansum(row) == pytest.approx(
        -float(patched.values), abs=0.02 * abs(np.nansum(row)) + 1e-3
    )


# --- ACDC -----------------------------------------------------------------------------------------


def by_hooks(model, task, measure):
    """The mean measure with these edges cut, one intervention an edge."""
    other = run(model, task.corrupted, keep=list(map(str, sites.senders(bridge.dims(model))))).kept

    def each(gone):
        return [cut(s, r, other[str(s)]) for s, r in gone]

    return lambda gone: float(
        measure.of(run(model, task.clean, each(gone), last_only=True).logits, {}).double().mean()
    )


def by_engine(model, task, measure):
    """The same, one whole run of the engine at a time."""
    graph = edges.Edges(model, task, measure, backend="engine")
    names = [list(map(str, side(graph.dims))) for side in (sites.senders, sites.receivers)]

    def value(gone):
        weights = torch.ones(1, *map(len, names))
        for s, r in gone:
            weights[0, names[0].index(str(s)), names[1].index(str(r))] = 0
        return float(graph.cut(weights, bar=False).double().mean())

    return value


def plain_acdc(model, value, tau, distance, tried=None):
    """Conmy et al.'s algorithm 1, an edge at a time: the edges it keeps, and the change that kept
    each.
    """
    dims = bridge.dims(model)
    gone, now, stays = [], value([]), {}
    for receiver in reversed(sites.receivers(dims)):
        mine = [s for s in reversed(sites.senders(dims)) if sites.precedes(s, receiver, dims)]
        if tried is not None:
            gone += [(s, receiver) for s in mine if (str(s), str(receiver)) not in tried]
            mine = [s for s in mine if (str(s), str(receiver)) in tried]
            now = value(gone)
        for sender in mine:
            new = value([*gone, (sender, receiver)])
            change = new - now
            if (change if distance else abs(change)) < tau:
                gone, now = [*gone, (sender, receiver)], new
            else:
                stays[str(sender), str(receiver)] = change if distance else -change
    return stays


def edges_kept(result):
    found = np.nan_to_num(result.values)
    return {
        (result.coords["sender"][s], result.coords["receiver"][r]): found[s, r]
        for s, r in np.argwhere(found)
    }


@pytest.mark.parametrize("metric, tau", [("kl", 0.002), ("logit_diff", 0.05)])
def test_acdc_keeps_what_a_plain_loop_keeps(any_tiny, ioi, metric, tau):
    measure = (
        kl_metric(any_tiny, ioi)
        if metric == "kl"
        else interp.methods.runs.metrics.metric_of(ioi, metric)
    )
    tau = tau * {"tiny": 1, "tiny-gpt2": 0.1, "tiny-neox": 0.1}[bridge.name(any_tiny)]
    expected = plain_acdc(any_tiny, by_engine(any_tiny, ioi, measure), tau, metric == "kl")
    found = acdc(any_tiny, ioi, tau=tau, metric=metric)
    mine = edges_kept(found)
    assert set(mine) == set(expected) and 3 < len(mine) < 150
    assert (
        found.metadata["kept"] == len(mine)
        and found.metadata["runs"] < 2 * np.isfinite(found.values).sum()
    )
    for edge, change in expected.items():
        assert mine[edge] == pytest.approx(change, abs=1e-4)


@pytest.mark.slow
def test_acdc_by_hooks_and_among_fewer(tiny, tiny_ioi):
    few = Circuit.top(eap_ig(tiny, tiny_ioi), 30)
    expected = plain_acdc(
        tiny, by_hooks(tiny, tiny_ioi, kl_metric(tiny, tiny_ioi)), 0.002, True, tried=set(few)
    )
    for backend in ("engine", "hooks"):
        found = acdc(tiny, tiny_ioi, tau=0.002, among=few, backend=backend)
        assert set(edges_kept(found)) == set(expected) and 3 < len(expected) < 30
    again = acdc(tiny, tiny_ioi, tau=0.002, among=30, metric=kl_metric(tiny, tiny_ioi))
    assert again.metadata["tried"] == 30


def test_acdc_goes_on_from_its_file(tiny, tiny_ioi, tmp_path, monkeypatch):
    path, whole = tmp_path / "acdc.npz", acdc(tiny, tiny_ioi, tau=0.01)
    module = import_module(
        "interp.methods.circuits.discovery.acdc"
    )  # the name in the package is the function
    runs, stop = module._runs, []

    def breaks(*given):
        stop.append(given)
        if len(stop) > 6:
            raise KeyboardInterrupt
        return runs(*given)

    monkeypatch.setattr(module, "_runs", breaks)
    with pytest.raises(KeyboardInterrupt):
        acdc(tiny, tiny_ioi, tau=0.01, resume=path)
    monkeypatch.undo()
    rest = acdc(tiny, tiny_ioi, tau=0.01, resume=path)
    np.testing.assert_array_equal(rest.values, whole.values)
    assert 0 < rest.metadata["runs"] < whole.metadata["runs"]
    assert acdc(tiny, tiny_ioi, tau=0.01, resume=path).metadata["runs"] == 0
    with pytest.raises(ValueError, match="another sweep"):
        acdc(tiny, tiny_ioi, tau=0.02, resume=path)


@pytest.mark.parametrize("tau", [0, -1.0, True])
def test_acdc_wants_a_threshold(tiny, tiny_ioi, tau):
    with pytest.raises(ValueError, match="above 0"):
        acdc(tiny, tiny_ioi, tau=tau)
    with pytest.raises(ValueError, match="a circuit such as"):
        acdc(tiny, tiny_ioi, among=True)


# --- the others -----------------------------------------------------------------------------------


def test_node_attribution_is_attribution_patching_lifted(any_tiny, ioi):
    found = node_attribution(any_tiny, ioi)

    def one(where):
        return interp.attribution_patch(any_tiny, ioi, where, direction="noising")

    nodes = {f"L{l}H{h}": -v for (l, h), v in np.ndenumerate(one("L*H*").values)}
    nodes |= {f"mlp.{l}": -v for l, v in enumerate(one("mlp.*").values)} | {
        "embed": -float(one("embed").values)
    }
    dims = bridge.dims(any_tiny)
    for s in sites.senders(dims):
        for r in sites.receivers(dims):
            if sites.precedes(s, r, dims):
                reads = (
                    [str(h) for h in sites.feeds(r, dims)]
                    if r.family == "kv"
                    else [str(r).rpartition(".")[0]]
                )
                end = np.inf if r.family == "logits" else max(abs(nodes[c]) for c in reads)
                sign = np.sign(nodes[str(s)])
                assert at(found, str(s), str(r)) == pytest.approx(
                    sign * min(abs(nodes[str(s)]), end), abs=1e-5
                )
    each = node_attribution(any_tiny, ioi, examples=True, backend="hooks")
    np.testing.assert_allclose(each.examples.mean(-1), each.values)


def test_magnitude_is_the_move_of_what_a_cut_edge_gives_its_receiver(any_tiny, ioi):
    found = magnitude(any_tiny, ioi)
    assert far(found, magnitude(any_tiny, ioi, backend="hooks")) < 1e-5
    first = int((ioi.clean != ioi.corrupted).any(0).nonzero()[0])
    other = run(any_tiny, ioi.corrupted, keep=["L*H*", "embed"]).kept
    heads = {"L0H1": other["L*H*"][0, 1], "embed": other["embed"]}
    kv = bridge.dims(any_tiny).n_kv_heads - 1
    for sender, part in (("L0H1", "L1H2.q"), ("embed", f"L2KV{kv}.k"), ("L0H1", f"L2KV{kv}.v")):
        receiver = part + "_in"
        edits = [], [cut(sender, receiver, heads[sender])]
        clean, moved = (
            run(any_tiny, ioi.clean, edit, keep=[part]).kept[part][:, first:] for edit in edits
        )

        def size(x):
            return x.pow(2).sum((1, 2)).sqrt()

        assert at(found, sender, receiver) == pytest.approx(
            float((size(moved - clean) / size(clean)).mean()), rel=1e-4
        )


def test_contributions_by_hand():
    parts = torch.tensor([[3.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    # the sum is (2, 1): 3. Without each: |(-1, 1)| = 2, |(2, 0)| = 2, |(3, 1)| = 4; so 1, 1 and
    # nothing
    assert contributions(parts, parts.sum(0)).tolist() == [0.5, 0.5, 0.0]
    assert contributions(torch.zeros(2, 3), torch.zeros(3)).tolist() == [0.0, 0.0]


def test_information_flow_keeps_what_it_hands_on(any_tiny, ioi):
    found = information_flow(any_tiny, ioi, examples=True)
    values = np.nan_to_num(found.values)
    into = dict(zip(found.coords["receiver"], values.sum(0)))
    out = dict(zip(found.coords["sender"], values.sum(1)))
    assert into["logits.in"] == pytest.approx(1, abs=1e-5) and values.min() >= 0
    dims = bridge.dims(any_tiny)
    for layer in range(dims.n_layers):  # what a component gets from above, it hands on below
        assert into[f"mlp.{layer}.in"] == pytest.approx(out[f"mlp.{layer}"], abs=1e-5)
        heads = sum(out[f"L{layer}H{h}"] for h in range(dims.n_heads))
        values_ = sum(into[f"L{layer}KV{k}.v_in"] for k in range(dims.n_kv_heads))
        assert (
            0.98 * heads - 1e-5 < values_ < heads + 1e-5
        )  # it ends where no token brings a head's write nearer
    assert 0.98 < out["embed"] < 1 + 1e-5  # all of it comes from the tokens in the end
    assert not any(v for r, v in into.items() if r.endswith(("q_in", "k_in")))


def test_masks_are_drawn_as_often_above_zero_as_said():
    logits = torch.linspace(-4, 4, 5)
    drawn = _masks(logits.repeat_interleave(4000), torch.Generator().manual_seed(0)).view(5, -1)
    torch.testing.assert_close(
        (drawn > 0).float().mean(1), keep_probability(logits), atol=0.03, rtol=0
    )
    assert drawn.min() == 0 and drawn.max() == 1


def test_edge_pruning_meets_its_target_and_its_seed(tiny, tiny_ioi):
    options = dict(steps=60, share=0.3)
    found, again, other = (edge_pruning(tiny, tiny_ioi, seed=seed, **options) for seed in (1, 1, 2))
    np.testing.assert_array_equal(found.values, again.values)
    assert far(found, other) > 0.1
    for share in (0.3, 0.05):  # the share that was asked for, not where learning happened to end
        kept = edge_pruning(tiny, tiny_ioi, seed=1, steps=60, share=share)
        assert kept.metadata["kept"] == np.nanmean(kept.values) == pytest.approx(share, abs=1e-6)
    assert 0.1 < found.metadata["learned"] < 0.6
    assert np.nanmin(found.values) >= 0 and np.nanmax(found.values) <= 1
    for wrong in (dict(share=0), dict(share=1.5), dict(steps=0)):
        with pytest.raises(ValueError, match="share|step"):
            edge_pruning(tiny, tiny_ioi, **wrong)


def test_the_gradient_into_masks_by_hooks_is_that_of_the_engine(any_tiny, ioi):
    few, slopes = ioi[:2], []
    for backend in ("engine", "hooks"):
        metric = interp.methods.runs.metrics.metric_of(few)
        graph = edges.Edges(any_tiny, few, metric, backend=backend)
        draw = torch.Generator().manual_seed(0)
        mask = torch.rand(1, *edges.edge_mask(graph.dims).shape, generator=draw)
        with torch.enable_grad():
            graph.cut(mask.requires_grad_(), bar=False).sum().backward()
        slopes.append(mask.grad)
    assert slopes[0].abs().max() > 1e-3
    torch.testing.assert_close(*slopes, atol=1e-5, rtol=1e-3)


def test_edge_pruning_runs_by_hooks(tiny, tiny_ioi):
    found = edge_pruning(tiny, tiny_ioi[:2], steps=2, share=0.3, backend="hooks")
    assert found.metadata["backend"] == "hooks"
    assert np.nanmean(found.values) == pytest.approx(0.3, abs=1e-6)


def test_random_is_its_seed(any_tiny, ioi):
    assert (
        far(random(any_tiny, ioi, seed=1), random(any_tiny, ioi, seed=1))
        == 0
        < far(random(any_tiny, ioi), random(any_tiny, ioi, seed=1))
    )


@pytest.mark.parametrize("method", discovery.METHODS)
def test_every_method_scores_every_edge_and_no_other(method, tiny_gpt2):
    task = interp.tasks.ioi(tiny_gpt2, n=2)
    found = discovery.discover(
        tiny_gpt2, task, method, **({"steps": 3} if method == "edge_pruning" else {})
    )
    assert found.dims == ("sender", "receiver") and found.metadata["method"] == method
    np.testing.assert_array_equal(
        np.isfinite(found.values), edges.edge_mask(bridge.dims(tiny_gpt2)).numpy()
    )
    assert len(Circuit.top(found, 5)) == 5


def test_nothing_of_nothing_is_no_move(tiny):
    import copy

    model = copy.deepcopy(tiny)
    attention = model.blocks[1].attn
    with torch.no_grad():
        for part in (attention.q, attention.k):
            for parameter in part.parameters():
                parameter.zero_()  # its queries and keys are zero, whatever it reads
    found = magnitude(model, interp.tasks.ioi(model, n=2, seed=0))
    assert at(found, "embed", "L1H0.q_in") == 0
    Circuit.top(found, 5)  # refuses scores that are missing for an edge
