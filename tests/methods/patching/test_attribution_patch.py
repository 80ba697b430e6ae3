"""Attribution patching: it is the derivative of patching, its mends do what they say, and its error
is measured.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

import interp
from interp.edits import set_to
from interp.interventions import Intervention, run
from interp.results import Result
from interp.tasks.metrics import Metric


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=3, seed=0)


@pytest.fixture
def tiny_ioi(tiny):
    return interp.tasks.ioi(tiny, n=3, seed=0)


def value_of(task, model, edits=()):
    """The metric of the corrupted run under edits."""
    return task.metric(
        run(model, task.corrupted, edits, positions=task.positions, last_only=True).logits
    )


# --- the estimate ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [
        "L1H2@S2",
        "resid_pre.1",
        "L0KV1.k",
        "L1KV1.v@END",
        "mlp.0.post#7",
        "L1H0.q_in",
        "mlp.1.pre",
        "logits.in@END",
    ],
)
def test_it_is_the_slope_of_patching(any_tiny, ioi, where):
    """A small step toward the source, up and down, by an intervention of its own."""
    key = where.split("@")[0]
    one, other = (
        run(any_tiny, t, keep=[key], positions=ioi.positions).kept[key]
        for t in (ioi.corrupted, ioi.clean)
    )
    at = ioi.positions[where.split("@")[1]] if "@" in where else None

    def part(v):
        return v if at is None else v[torch.arange(len(v)), at]

    def step(eps):
        return [Intervention(where, set_to(part(one + eps * (other - one))))]

    slope = (value_of(ioi, any_tiny, step(5e-3)) - value_of(ioi, any_tiny, step(-5e-3))) / 1e-2
    estimate = interp.attribution_patch(any_tiny, ioi, where)
    np.testing.assert_allclose(estimate.examples, slope.numpy(), atol=2e-3, rtol=2e-2)


@pytest.mark.parametrize("method", ["atp", "ig"])
def test_where_the_metric_is_linear_it_is_patching(any_tiny, ioi, method):
    """A measure that reads the residual itself, in place of the final norm and the unembedding."""
    reads = torch.linspace(-1, 1, interp.models.bridge.dims(any_tiny).d_model)
    metric = Metric(
        "a direction",
        "1",
        lambda logits, kept: kept["resid_post.2@END"] @ reads,
        ("resid_post.2@END",),
    )
    for where in ("mlp.2@END", "resid_post.2@END"):
        exact = interp.patch(any_tiny, ioi, where, metric=metric)
        estimate = interp.attribution_patch(any_tiny, ioi, where, metric=metric, method=method)
        assert abs(exact.values) > 1e-2 and estimate.metadata["backend"] == "hooks"
        np.testing.assert_allclose(estimate.examples, exact.examples, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "where", ["L*H*", "resid_pre.*@*", "L*KV*.k@S2", ["L0H1", "mlp.2"], [["L0H1"], ["L1H2@END"]]]
)
@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize("unit", ["metric", "fraction"])
def test_the_answer_has_the_form_of_patching(tiny, tiny_ioi, where, direction, unit):
    exact, estimate = (
        verb(tiny, tiny_ioi, where, direction=direction, unit=unit)
        for verb in (interp.patch, interp.attribution_patch)
    )
    assert (estimate.dims, estimate.coords, estimate.unit) == (exact.dims, exact.coords, exact.unit)
    assert estimate.examples.shape == exact.examples.shape and (
        not exact.dims or estimate.labels() == exact.labels()
    )
    estimate.ci()


def test_positions_before_the_first_difference_are_exactly_zero(any_tiny, ioi):
    first = int((ioi.clean != ioi.corrupted).any(0).nonzero()[0])
    for where in ("resid_pre.*@*", "L*KV*.k@*"):
        for backend in ("engine", "hooks"):
            values = interp.attribution_patch(
                any_tiny, ioi, where, method="atp*", backend=backend
            ).values
            assert (
                first > 0
                and (values[..., :first] == 0).all()
                and np.abs(values[..., first:]).max() > 0
            )


def test_positions_add_up_to_all_of_them(any_tiny, ioi):
    apart, together = (interp.attribution_patch(any_tiny, ioi, w) for w in ("L*H*@*", "L*H*"))
    np.testing.assert_allclose(apart.sum("pos").examples, together.examples, atol=1e-5)


def test_the_heads_a_kv_head_feeds_share_its_slope(tiny, tiny_ioi):
    """What a KV head's values change is the sum over its query heads of pattern times change, each
    with its own slope.
    """
    by_kv = interp.attribution_patch(tiny, tiny_ioi, "L1KV1.v")
    keys = ["L1H2.pattern", "L1H3.pattern", "L1KV1.v"]
    corrupted, clean = (run(tiny, t, keep=keys).kept for t in (tiny_ioi.corrupted, tiny_ioi.clean))
    change = clean["L1KV1.v"] - corrupted["L1KV1.v"]
    total = 0
    for head in (2, 3):  # each head's z, moved by its own attention to the changed values
        z = run(tiny, tiny_ioi.corrupted, keep=[f"L1H{head}.z"]).kept[f"L1H{head}.z"]
        move = corrupted[f"L1H{head}.pattern"] @ change

        def step(eps):
            return [Intervention(f"L1H{head}.z", set_to(z + eps * move))]

        total = (
            total
            + (value_of(tiny_ioi, tiny, step(5e-3)) - value_of(tiny_ioi, tiny, step(-5e-3))) / 1e-2
        )
    np.testing.assert_allclose(by_kv.examples, total.numpy(), atol=2e-3, rtol=2e-2)


@pytest.mark.parametrize("method", ["atp", "atp*", "ig"])
def test_each_example_is_what_it_would_be_alone(any_tiny, ioi, method):
    for where in ("L*H*", "L*KV*.k@S2"):
        together = interp.attribution_patch(any_tiny, ioi, where, method=method).examples
        alone = [
            interp.attribution_patch(any_tiny, ioi[i], where, method=method).examples[..., 0]
            for i in range(len(ioi))
        ]
        np.testing.assert_allclose(together, np.stack(alone, -1), atol=1e-5)


def test_a_list_is_the_sum_of_its_sites(any_tiny, ioi):
    one, other = (interp.attribution_patch(any_tiny, ioi, w) for w in ("L0H1", "mlp.2@S2"))
    both = interp.attribution_patch(any_tiny, ioi, ["L0H1", "mlp.2@S2"])
    np.testing.assert_allclose(both.examples, one.examples + other.examples, atol=1e-6)


# --- integrated gradients -------------------------------------------------------------------------


def test_integrated_gradients_at_the_embedding_are_complete(any_tiny, ioi):
    whole = (ioi.metric(run(any_tiny, ioi.clean).logits) - value_of(ioi, any_tiny)).numpy()
    off = []
    for steps in (1, 8, 64):
        summed = (
            interp.attribution_patch(any_tiny, ioi, "embed@*", method="ig", steps=steps)
            .sum("pos")
            .examples
        )
        off.append(np.abs(summed - whole).max())
    assert off[2] < off[0] and off[2] < 0.02 * np.abs(whole).max() + 1e-3


def test_one_step_is_the_slope_half_way(tiny, tiny_ioi):
    ends = [run(tiny, t, keep=["embed", "L1H2"]).kept for t in (tiny_ioi.corrupted, tiny_ioi.clean)]
    middle = Intervention("embed", set_to((ends[0]["embed"] + ends[1]["embed"]) / 2))
    move = ends[1]["L1H2"] - ends[0]["L1H2"]

    def step(eps):
        return value_of(
            tiny_ioi, tiny, [middle, Intervention("L1H2", lambda act, seen: act + eps * move)]
        )

    estimate = interp.attribution_patch(tiny, tiny_ioi, "L1H2", method="ig", steps=1)
    np.testing.assert_allclose(
        estimate.examples, ((step(5e-3) - step(-5e-3)) / 1e-2).numpy(), atol=2e-3, rtol=2e-2
    )


# --- atp*: the attention's own gradient, and GradDrop ---------------------------------------------


@pytest.fixture
def through_last_layer(any_tiny, ioi):
    """A measure linear in the last layer's attention output: nothing bends after the pattern."""
    reads = torch.linspace(-1, 1, interp.models.bridge.dims(any_tiny).d_model)
    return Metric(
        "a direction", "1", lambda logits, kept: kept["attn.2@END"] @ reads, ("attn.2@END",)
    )


@pytest.mark.parametrize(
    "where", ["L2H*.q", "L2H*.q@END", "L2KV*.k", "L2KV*.k@*", "L2KV*.k@S2", "L2H*.scores"]
)
def test_the_mended_softmax_is_exact_where_all_after_it_is_linear(
    any_tiny, ioi, through_last_layer, where
):
    """Dropping layers 0 or 1 leaves this slope as it is, dropping layer 2 leaves nothing: the mean
    over L - 1 is the size.
    """
    exact = interp.patch(any_tiny, ioi, where, metric=through_last_layer)
    estimate = interp.attribution_patch(
        any_tiny, ioi, where, metric=through_last_layer, method="atp*"
    )
    assert np.abs(exact.examples).max() > 1e-3
    np.testing.assert_allclose(estimate.examples, np.abs(exact.examples), atol=1e-4)
    plain = interp.attribution_patch(any_tiny, ioi, where, metric=through_last_layer)
    assert np.abs(np.abs(plain.examples) - np.abs(exact.examples)).max() > 1e-4


def by_hand(model, task, where, drop):
    """The gradient at a site with autograd on the bridge, attention and MLP of one layer
    detached.
    """
    leaves = {}

    def tap(act, seen):
        leaves["at"] = act.detach().clone().requires_grad_(True)
        return act * 0 + leaves["at"]

    cut = [
        Intervention(f"{part}.{drop}", lambda act, seen: act.detach()) for part in ("attn", "mlp")
    ]
    out = run(model, task.corrupted, [Intervention(where, tap), *cut], last_only=True, grad=True)
    value = task.metric(out.logits).sum()
    if not value.requires_grad:
        return torch.zeros_like(leaves["at"])
    return torch.autograd.grad(value, leaves["at"], allow_unused=True)[0]


@pytest.mark.parametrize(
    "where, counted",
    [
        ("mlp.0", 2),
        ("attn.1", 2),
        ("resid_pre.1", 3),
        ("resid_post.2", 3),
        ("embed", 3),
        ("L1H3.z", 2),
    ],
)
def test_grad_drop_by_hand(any_tiny, ioi, where, counted):
    kept = [run(any_tiny, t, keep=[where]).kept[where] for t in (ioi.corrupted, ioi.clean)]
    sizes = []
    for layer in range(3):
        grad = by_hand(any_tiny, ioi, where, layer)
        sizes.append((grad * (kept[1] - kept[0])).sum((1, 2)).abs())
    estimate = interp.attribution_patch(any_tiny, ioi, where, method="atp*")
    np.testing.assert_allclose(
        estimate.examples, torch.stack(sizes).sum(0).numpy() / counted, atol=1e-5, rtol=1e-4
    )


def test_sizes_say_that_they_have_no_sign(any_tiny, ioi):
    estimate = interp.attribution_patch(any_tiny, ioi, "L*H*", method="atp*")
    assert (
        "size" in estimate.name
        and estimate.unit == "logits, size only"
        and (estimate.values >= 0).all()
    )


# --- the error ------------------------------------------------------------------------------------


def made(values, **more):
    values = np.asarray(values, float)
    return Result(
        values,
        ("head",),
        {"head": list(range(len(values)))},
        "effect",
        more.pop("unit", "logits"),
        {},
        **more,
    )


def test_the_error_by_hand():
    fit = interp.methods.patching.attribution_error(
        made([3.0, -2.0, 1.0, 0.0]), made([1.5, 0.0, 1.0, -0.5]), top=2
    )
    assert fit["share of the top 2 found"] == 0.5
    assert fit.missed == [("head=1", -2.0, 0.0, 4)]
    x, y = np.array([3.0, -2, 1, 0]), np.array([1.5, 0, 1, -0.5])
    assert fit["Pearson correlation"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert fit["Spearman correlation"] == pytest.approx(0.8)  # ranks 3 0 2 1 against 3 1 2 0
    assert fit["slope"] == pytest.approx(np.polyfit(x, y, 1)[0])
    assert fit["root mean square error"] == pytest.approx(np.sqrt((2.25 + 4 + 0 + 0.25) / 4))
    assert "head=1: exact -2.000" in repr(fit) and "head=1" in fit._repr_html_()
    assert len(fit.plot().collections) == 1
    assert fit["share found by chance"] == 0.5
    assert [row[0] for row in fit.farthest] == ["head=1", "head=0", "head=3"]
    assert "head=1: exact -2.000, estimate +0.000, error +2.000" in repr(fit)
    (line,) = [line for line in fit.plot().lines if line.get_label() == "y = x"]
    np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())


def test_ties_and_zeros_earn_no_credit():
    error = interp.methods.patching.attribution_error
    nothing = error(made([2.0, 1.0, 0.5, 0.25]), made([0.0] * 4), top=2)
    assert nothing["share of the top 2 found"] == nothing["share found by chance"] == 0.5
    assert [row[3] for row in nothing.missed] == [2.5, 2.5] and "none" in repr(nothing)
    assert "the estimate is 0 in every cell: there is no correlation" in repr(nothing)
    few = error(made([0.0] * 6 + [1.0, -1.0]), made([0.0] * 5 + [0.5, 0.4, 3.0]), top=5)
    assert few["share of the top 2 found"] == 0.5 and len(few.labels) == 3
    assert "5 cells that are exactly zero in both" in few._repr_html_()
    assert "2 cells have an exact effect that is not zero" in repr(few)


def test_the_two_the_wrong_way_round_are_refused(tiny, tiny_ioi):
    exact, guess = (f(tiny, tiny_ioi, "L*H*") for f in (interp.patch, interp.attribution_patch))
    interp.methods.patching.attribution_error(exact, guess)
    with pytest.raises(ValueError, match="the exact effects come first"):
        interp.methods.patching.attribution_error(guess, exact)


def test_an_estimate_is_no_further_than_itself(any_tiny, ioi):
    exact = interp.patch(any_tiny, ioi, "L*H*")
    fit = interp.methods.patching.attribution_error(exact, exact)
    assert (
        fit["root mean square error"] == 0
        and fit["share of the top 10 found"] == 1
        and fit.missed == []
    )
    assert [
        fit[m] for m in ("Pearson correlation", "Spearman correlation", "slope")
    ] == pytest.approx([1, 1, 1])
    part = interp.methods.patching.attribution_error(
        exact.sel(layer=[1, 2]), interp.attribution_patch(any_tiny, ioi, "L*H*").sel(layer=[1, 2])
    )
    assert len(part.labels) == 8


def test_tied_ranks_and_missing_cells():
    fit = interp.methods.patching.attribution_error(
        made([1.0, 1.0, 2.0, np.nan]), made([0.0, 0.0, 5.0, 1.0])
    )
    assert fit["Spearman correlation"] == pytest.approx(1) and len(fit.labels) == 3
    assert np.isnan(
        interp.methods.patching.attribution_error(made([1.0, 1.0]), made([0.0, 2.0]))["slope"]
    )


def test_sizes_are_compared_with_sizes():
    exact = made([0.0, 1.0], examples=np.array([[-2.0, 2.0], [1.0, 1.0]]))
    fit = interp.methods.patching.attribution_error(
        exact, made([2.0, 1.0], unit="logits, size only")
    )
    assert fit["root mean square error"] == 0


# --- wrong input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(method="apt"), "did you mean 'atp'"),
        (dict(direction="denosing"), "did you mean 'denoising'"),
        (dict(unit="fractions"), "did you mean 'fraction'"),
        (dict(backend="engin"), "did you mean 'engine'"),
        (dict(method="ig", steps=0), "at least one step"),
        (dict(metric="rank"), "no gradient"),
        (dict(metric="accuracy", backend="hooks"), "no gradient"),
        (dict(method="atp*", direction="noising", unit="fraction"), "without a sign"),
    ],
)
def test_wrong_input_is_one_sentence(tiny, tiny_ioi, options, says):
    with pytest.raises(ValueError, match=says):
        interp.attribution_patch(tiny, tiny_ioi, "L*H*", **options)


@pytest.mark.parametrize(
    "exact, estimate, says",
    [
        (made([1.0]), made([1.0, 2.0]), "take the same cells"),
        (made([1.0]), made([1.0], unit="nats"), "ask for one unit"),
        (made([1.0]), made([1.0], unit="logits, size only"), "kept no examples"),
        (made([np.nan]), made([1.0]), "nothing to compare"),
        (made([0.0, 0.0]), made([0.0, 0.0]), "every cell is exactly zero in both"),
        (
            replace(made([1.0]), metadata={"method": "patch, noising"}),
            replace(made([1.0]), metadata={"method": "atp, denoising"}),
            "different questions",
        ),
    ],
)
def test_results_that_cannot_be_compared_are_one_sentence(exact, estimate, says):
    with pytest.raises(ValueError, match=says):
        interp.methods.patching.attribution_error(exact, estimate)


def test_a_measure_upstream_of_a_site_has_no_slope_there(any_tiny, ioi):
    metric = interp.methods.runs.attention_metric(["L0H0"], "IO", task=ioi)
    assert (interp.attribution_patch(any_tiny, ioi, "L2H*", metric=metric).values == 0).all()
