"""Path patching: laws that tie it to plain patching, edges worked out by hand, and two ways to the
same numbers.
"""

import numpy as np
import pytest
import torch

import interp
from interp import sites
from interp.edits import set_to
from interp.interventions import Intervention, cut, run
from interp.methods.runs import attention_metric
from interp.models import bridge

CLOSE = dict(atol=1e-4, rtol=1e-4)
WAYS = ("engine", "hooks")
THROUGH = ("none", "mlps", "all")


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=4, seed=0)


def every(which, model):
    return [str(site) for site in which(bridge.dims(model))]


def effect(model, task, edits):
    """The change of the metric in the corrupted run under these interventions."""

    def metric(edits):
        return task.metric(
            run(model, task.corrupted, edits, positions=task.positions, last_only=True).logits
        )

    return (metric(edits) - metric([])).numpy()


# --- laws -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", WAYS)
@pytest.mark.parametrize("direction, all_of_it", [("denoising", 1), ("noising", 0)])
def test_direct_edges_of_all_senders_to_the_logits_are_the_other_run(
    any_tiny, ioi, backend, direction, all_of_it
):
    senders = every(sites.senders, any_tiny)
    whole = interp.path_patch(
        any_tiny, ioi, senders, "logits.in", direction=direction, unit="fraction", backend=backend
    )
    assert whole.metadata["backend"] == backend
    np.testing.assert_allclose(whole.values, all_of_it, atol=1e-3)


@pytest.mark.parametrize("backend", WAYS)
@pytest.mark.parametrize("through", THROUGH)
@pytest.mark.parametrize("sender", ["embed", "L1H2@S2", ["L0H3", "attn.1", "mlp.1"]])
def test_into_every_receiver_is_patching_the_sender(any_tiny, ioi, sender, through, backend):
    receivers = every(sites.receivers, any_tiny)
    paths = interp.path_patch(any_tiny, ioi, sender, receivers, through=through, backend=backend)
    np.testing.assert_allclose(
        paths.examples, interp.patch(any_tiny, ioi, sender).examples, **CLOSE
    )


@pytest.mark.parametrize("backend", WAYS)
@pytest.mark.parametrize("senders", ["L*H*", "mlp.*@END", "embed@*"])
def test_through_everything_into_the_logits_is_patching_the_sender(any_tiny, ioi, senders, backend):
    paths = interp.path_patch(any_tiny, ioi, senders, "logits.in", through="all", backend=backend)
    plain = interp.patch(any_tiny, ioi, senders)
    assert paths.dims == plain.dims and paths.coords == plain.coords
    np.testing.assert_allclose(paths.examples, plain.examples, **CLOSE)


def test_the_edges_of_one_sender_split_its_direct_effect_from_the_rest(any_tiny, ioi):
    # in a last layer the only ways on are its MLP (not in a parallel block) and the logits
    whole = interp.patch(any_tiny, ioi, "L2H1")
    ways_on = ["logits.in"] if bridge.dims(any_tiny).parallel else ["logits.in", "mlp.2.in"]
    np.testing.assert_allclose(
        interp.path_patch(any_tiny, ioi, "L2H1", ways_on).examples, whole.examples, **CLOSE
    )


# --- by hand --------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", WAYS)
def test_a_direct_edge_is_a_cut(any_tiny, ioi, backend):
    clean = run(any_tiny, ioi, keep=["L0H2"]).kept["L0H2"]
    for receiver in ("L1H3.q_in", "mlp.2.in", "L2KV0.v_in", "logits.in"):
        by_hand = effect(any_tiny, ioi, [cut("L0H2", receiver, clean)])
        edge = interp.path_patch(any_tiny, ioi, "L0H2", receiver, backend=backend)
        assert np.abs(by_hand).max() > 1e-4
        np.testing.assert_allclose(edge.examples, by_hand, **CLOSE)


@pytest.mark.parametrize("backend", WAYS)
def test_an_edge_through_mlps_by_hand(any_tiny, ioi, backend):
    kinds = ["L*H*", "L0H1", "resid_pre.2"]
    clean, base = (run(any_tiny, t, keep=kinds).kept for t in (ioi.clean, ioi.corrupted))
    # every head of the first two layers writes what it wrote, but the sender at S2; the MLPs do as
    # they do
    held = [
        Intervention(f"L{l}H{h}", set_to(base["L*H*"][l, h]))
        for l in range(2)
        for h in range(4)
        if (l, h) != (0, 1)
    ]
    at, rows = ioi.positions["S2"], torch.arange(len(ioi))
    mixed = base["L0H1"].clone()
    mixed[rows, at] = clean["L0H1"][rows, at]
    inner = run(
        any_tiny, ioi.corrupted, [*held, Intervention("L0H1", set_to(mixed))], keep=["resid_pre.2"]
    ).kept
    # what L2H3's key and query read there, and the score that follows
    read = {}
    for receiver in ("L2H3.q_in@S2", "L2KV1.k_in@S2", "L2H3.q_in"):
        value = inner["resid_pre.2"]
        if "@" in receiver:
            value = base["resid_pre.2"].clone()
            value[rows, at] = inner["resid_pre.2"][rows, at]
        read[receiver] = effect(
            any_tiny, ioi, [Intervention(receiver.split("@")[0], set_to(value))]
        )
    for receiver, by_hand in read.items():
        edge = interp.path_patch(
            any_tiny, ioi, "L0H1@S2", receiver, through="mlps", backend=backend
        )
        np.testing.assert_allclose(edge.examples, by_hand, **CLOSE)
    direct = interp.path_patch(any_tiny, ioi, "L0H1@S2", "L2KV1.k_in@S2", backend=backend)
    assert np.abs(direct.examples - read["L2KV1.k_in@S2"]).max() > 1e-4


@pytest.mark.parametrize("part", ["k", "v"])
@pytest.mark.parametrize("backend", WAYS)
def test_an_edge_into_a_kv_head_feeds_its_query_heads(tiny, part, backend):
    ioi = interp.tasks.ioi(tiny, n=4, seed=0)
    clean, base = (
        run(
            tiny,
            t,
            keep=[
                "L0H2",
                "resid_pre.1",
                "L1H*.q",
                "L1KV0.k",
                "L1KV0.v",
                "L1H*.z",
                "L1KV1.k",
                "L1KV1.v",
            ],
        ).kept
        for t in (ioi.clean, ioi.corrupted)
    )
    W, _ = bridge.projection(tiny, part.upper(), 1)
    stream = base["resid_pre.1"] + clean["L0H2"] - base["L0H2"]
    own = bridge.norm(tiny, "attn", 1, stream) @ W[1]
    # the two query heads that KV head 1 serves, each as it is when KV head 1 is so: patched
    # together
    changed = run(
        tiny, ioi.corrupted, [Intervention(f"L1KV1.{part}", set_to(own))], keep=["L1H*.z"]
    ).kept["L1H*.z"]
    d = bridge.dims(tiny)
    served = [site.index for site in sites.feeds(sites.Site("kv", part, 1, 1), d)]
    assert served == [2, 3]
    np.testing.assert_allclose(changed[:2].numpy(), base["L1H*.z"][:2].numpy(), atol=1e-5)
    jointly = effect(tiny, ioi, [Intervention(f"L1H{h}.z", set_to(changed[h])) for h in served])
    edge = interp.path_patch(tiny, ioi, "L0H2", f"L1KV1.{part}_in", backend=backend)
    np.testing.assert_allclose(edge.examples, jointly, **CLOSE)


# --- where nothing can change ---------------------------------------------------------------------


@pytest.mark.parametrize("backend", WAYS)
def test_where_no_position_carries_a_change_the_effect_is_exactly_zero(any_tiny, ioi, backend):
    first = int((ioi.clean != ioi.corrupted).any(0).nonzero()[0])
    effects = interp.path_patch(
        any_tiny, ioi, "L0H*@*", "L2H*.q_in", through="all", backend=backend
    )
    early = effects.values[[int(label.split("@")[1]) < first for label in effects.coords["sender"]]]
    assert first > 0 and early.size and (early == 0).all() and np.abs(effects.values).max() > 0
    still = interp.path_patch(
        any_tiny, ioi, "L0H*@S2", "L2H*.q_in@END", through="mlps", backend=backend
    )
    assert (still.values == 0).all()
    moving = interp.path_patch(
        any_tiny, ioi, "L0H*@S2", "L2H*.q_in@END", through="all", backend=backend
    )
    assert np.abs(moving.values).max() > 0
    assert interp.path_patch(any_tiny, ioi, "L0H1", "logits.in@S2", backend=backend).values == 0


def test_pairs_in_the_wrong_order_are_nan_and_alone_an_error(any_tiny, ioi):
    grid = interp.path_patch(any_tiny, ioi, "L*H*", "mlp.*.in")
    assert grid.dims == ("sender", "receiver") and grid.coords["receiver"] == [
        "mlp.0.in",
        "mlp.1.in",
        "mlp.2.in",
    ]
    d = bridge.dims(any_tiny)
    for i, sender in enumerate(grid.coords["sender"]):
        for j, receiver in enumerate(grid.coords["receiver"]):
            can = sites.precedes(sites.Site.parse(sender), sites.Site.parse(receiver), d)
            assert np.isnan(grid.values[i, j]) != can
    assert "before" in grid.metadata["nan"]
    same_layer = ("L1H0", "mlp.1.in")
    if d.parallel:
        with pytest.raises(ValueError, match="does not come before"):
            interp.path_patch(any_tiny, ioi, *same_layer)
    else:
        assert np.isfinite(interp.path_patch(any_tiny, ioi, *same_layer).values)
    with pytest.raises(ValueError, match="'L1H0' does not come before 'L1H1.q_in'"):
        interp.path_patch(any_tiny, ioi, "L1H0", "L1H1.q_in")


# --- two ways, one meaning ------------------------------------------------------------------------


def test_an_edit_of_one_heads_input_keeps_the_edit_of_the_whole_layers(any_tiny, ioi):
    # both act on the same queries: at END the head's own input counts, elsewhere the layer's
    kept = run(any_tiny, ioi, keep=["attn.1.in"]).kept["attn.1.in"]
    both = [
        Intervention("attn.1.in", set_to(kept)),
        Intervention("L1H0.q_in@END", lambda act, seen: act),
    ]
    q = run(any_tiny, ioi.corrupted, both, keep=["L1H0.q"], positions=ioi.positions).kept["L1H0.q"]
    plain, clean = (
        run(any_tiny, t, keep=["L1H0.q"]).kept["L1H0.q"] for t in (ioi.corrupted, ioi.clean)
    )
    torch.testing.assert_close(q[:, :-1], clean[:, :-1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(q[:, -1], plain[:, -1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("metric", ["prob", "rank"])
def test_other_metrics_and_fractions(any_tiny, ioi, metric):
    both = [
        interp.path_patch(any_tiny, ioi, "L*H*", "logits.in", metric=metric, backend=backend)
        for backend in WAYS
    ]
    np.testing.assert_allclose(both[0].examples, both[1].examples, **CLOSE)
    effect, share = (
        interp.path_patch(any_tiny, ioi, "L0H*", "mlp.2.in", unit=u) for u in ("metric", "fraction")
    )
    span = effect.metadata["clean"] - effect.metadata["corrupted"]
    np.testing.assert_allclose(share.values * span, effect.values, **CLOSE)


def test_a_measure_of_attention_goes_the_way_of_the_hooks(any_tiny, ioi):
    metric = attention_metric(["L2H0"], "IO", minus="S2", task=ioi)
    seen = interp.path_patch(any_tiny, ioi, "L0H*", "L2H*.q_in@END", metric=metric)
    assert seen.metadata["backend"] == "hooks" and seen.unit == "share of attention"
    there = [i for i, r in enumerate(seen.coords["receiver"]) if r.startswith("L2H0")]
    assert np.abs(seen.values[:, there]).max() > 1e-5
    np.testing.assert_allclose(np.delete(seen.values, there, 1), 0, atol=1e-6)


def test_a_small_budget_gives_the_same_numbers(tiny):
    from interp import engine as lean

    ioi = interp.tasks.ioi(tiny, n=4, seed=0)
    engine = lean.find(tiny)
    base, source = (lean.run(engine, t, keep=lean.PATHS) for t in (ioi.corrupted, ioi.clean))
    to = ((lean.Patch("q", 1, 1), lean.Patch("mlp_in", 2)), (lean.Patch("resid_post", 2),))
    cells = [((lean.Patch("z", 0, h),), r) for h in range(4) for r in to]
    for through in THROUGH:
        whole, parts = (
            lean.paths(
                engine,
                base,
                source,
                cells,
                lean.columns(engine, ioi.columns),
                through=through,
                budget=budget,
            )
            for budget in (2.0**30, 1.0)
        )
        torch.testing.assert_close(whole, parts, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="receivers are attn_in"):
        lean.paths(
            engine,
            base,
            source,
            [((lean.Patch("z", 0, 1),), (lean.Patch("z", 1, 1),))],
            lambda x: x,
        )


@pytest.mark.parametrize("through", THROUGH)
def test_the_default_model_both_ways(smollm2, through):
    ioi = interp.tasks.ioi(smollm2, n=3, seed=0)
    sets = [["L9H3"], ["L15H4", "mlp.16"], ["mlp.20@END"]]
    both = [
        interp.path_patch(smollm2, ioi, sets, "L23H3.q_in@END", through=through, backend=backend)
        for backend in WAYS
    ]
    np.testing.assert_allclose(both[0].examples, both[1].examples, atol=1e-3)
    assert np.abs(both[0].values).max() > 1e-3


# --- what it says to wrong input ------------------------------------------------------------------


@pytest.mark.parametrize(
    "senders, receivers, options, says",
    [
        ("L0H0.z", "logits.in", {}, "'L0H0.z'; what a sender writes"),
        ("L0H0", "L1H1", {}, "'L1H1'; a receiver reads"),
        ("L0H0", "L1H1.k_in", {}, "keys and values belong to a KV head"),
        ("L0H0", "logits.in", dict(through="mlp"), "did you mean 'mlps'"),
        ("L0H0", "logits.in", dict(direction="noisng"), "did you mean 'noising'"),
        ("L0H0", "logits.in", dict(backend="hook"), "did you mean 'hooks'"),
        ("L0H0", "logits.in@S9", {}, "did you mean"),
        ("L0H0", [], {}, "name at least one"),
    ],
)
def test_wrong_input_is_one_sentence(any_tiny, ioi, senders, receivers, options, says):
    with pytest.raises(ValueError, match=says):
        interp.path_patch(any_tiny, ioi, senders, receivers, **options)
