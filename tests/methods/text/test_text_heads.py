"""Heads on running text: the loss as a measure, two ways to it; profiles, components and rank
correlations by hand.
"""

import numpy as np
import pytest
import torch

import interp
from interp._stats import spearman
from interp.edits import set_to
from interp.interventions import Intervention, run
from interp.methods.attention.head_scores import strongest
from interp.methods.attention.task_scores import gradients_at_z
from interp.studies import rank_correlation, shuffled_correlation
from interp.tasks.metrics import Metric


@pytest.fixture
def text(any_tiny):
    return interp.tasks.text(any_tiny, n=3, length=12)


def test_text_is_chunks_of_one_half_and_heldout_of_the_other(tiny):
    text = interp.tasks.text(tiny, n=3, length=12, seed=1)
    metric = text.heldout()
    assert text.clean.shape == metric.clean.shape == (3, 12) and len(metric) == 3
    assert (text.clean[:, 0] == tiny.tokenizer.bos_token_id).all() and (
        text.clean != metric.clean
    ).any()
    assert (text.corrupted.sort(1).values == text.clean.sort(1).values).all() and (
        text.corrupted[:, 0] == text.clean[:, 0]
    ).all()
    assert (text.answers != text.wrong).all()


def test_text_loss_is_the_cross_entropy_and_its_ablation_too(any_tiny, text):
    loss = interp.methods.runs.loss_metric(text)
    logits = run(any_tiny, text).logits
    told = logits[0].log_softmax(-1)
    by_hand = -np.mean(
        [float(told[i, text.clean[0, i + 1]]) for i in range(1, 11)]
    )  # position 0 predicts nothing
    assert float(loss.of(logits, {})[0]) == pytest.approx(by_hand, rel=1e-5)
    by_hooks = interp.ablate(any_tiny, text, "L*H*", metric=loss, backend="hooks")
    assert by_hooks.metadata["clean"] == pytest.approx(
        float(interp.methods.text.cross_entropy(any_tiny, text.clean).values), rel=1e-5
    )
    z = run(any_tiny, text, keep=["L1H2.z"], last_only=True).kept["L1H2.z"]

    def edit(i):
        return [Intervention("L1H2.z", set_to(z.mean(0, keepdim=True)))]

    one = [
        interp.methods.text.cross_entropy(any_tiny, text.clean[i : i + 1], edit(i)).values
        - interp.methods.text.cross_entropy(any_tiny, text.clean[i : i + 1]).values
        for i in range(3)
    ]
    np.testing.assert_allclose(by_hooks.sel(layer=1, head=2).examples, one, atol=2e-5)


def test_an_end_measure_is_not_changed_by_reading_everywhere(any_tiny, text):
    last = Metric(
        "log prob", "nats", lambda logits, kept: text.metric(logits[:, -1]), everywhere=True
    )
    plain = interp.ablate(any_tiny, text, "L*H*@END", backend="engine")
    np.testing.assert_allclose(
        interp.ablate(any_tiny, text, "L*H*@END", metric=last, backend="engine").examples,
        plain.examples,
        atol=2e-5,
    )


def test_gradients_of_the_loss_by_differences(any_tiny, text):
    loss = interp.methods.runs.loss_metric(text)
    lean, z = gradients_at_z(any_tiny, text, metric=loss)
    step = 0.05 * torch.randn(z[1, 0].shape, generator=torch.Generator().manual_seed(0))
    moved = [
        loss.of(
            run(any_tiny, text, [Intervention("L1H0.z", set_to(z[1, 0] + s * step))]).logits, {}
        )
        for s in (1, -1)
    ]
    torch.testing.assert_close(
        (moved[0] - moved[1]) / 2, (lean[1, 0] * step).sum((-1, -2)), atol=2e-4, rtol=2e-2
    )


def test_importance_on_text(any_tiny, text):
    loss = interp.methods.runs.loss_metric(text)
    scored = interp.head_scores(any_tiny, ["ablation", "gradient"], on=text, metric=loss)
    signed = interp.ablate(any_tiny, text, "L*H*", metric=loss)
    np.testing.assert_allclose(
        scored.sel(score="ablation").examples, np.abs(signed.examples), atol=1e-6
    )
    assert scored.metadata["units"] == {"ablation": "nats per token", "gradient": "nats per token"}


def test_text_loss_says_what_does_not_fit(any_tiny, text):
    with pytest.raises(ValueError, match="three tokens or more"):
        interp.methods.runs.loss_metric(torch.zeros(2, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="made for 3 chunks"):
        interp.ablate(any_tiny, text[:2], "L0H0", metric=interp.methods.runs.loss_metric(text))


def test_profiles_by_distance_are_means_of_diagonals(any_tiny, text):
    profile = interp.methods.attention.attention_by_distance(any_tiny, text)
    pattern = interp.attention_patterns(any_tiny, text).examples[1, 2, :, :, 0]
    expected = np.mean([pattern[i, i - 3] for i in range(4, 12)])  # from source 1 on
    assert profile.sel(layer=1, head=2, distance=3).examples[0] == pytest.approx(expected, abs=1e-6)
    grouped = interp.methods.attention.attention_by_distance(
        any_tiny, text, groups={"early": [0, 1]}
    )
    np.testing.assert_allclose(grouped.values[0], profile.values[:2].mean((0, 1)))
    assert profile.metadata["even"][0] == pytest.approx(
        np.mean([1 / k for k in range(2, 13)]), abs=1e-6
    )
    with pytest.raises(ValueError, match="groups name layers"):
        interp.methods.attention.attention_by_distance(any_tiny, text, groups={"late": [99]})


def test_components_rebuild_the_distances_and_explain_the_variance(any_tiny, text):
    every = interp.methods.attention.pattern_components(
        any_tiny, text, components=12
    )  # as many as heads: nothing is lost
    flat = interp.attention_patterns(any_tiny, text).examples.reshape(12, -1)
    apart = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    found = every.values.reshape(12, -1).T
    np.testing.assert_allclose(
        np.linalg.norm(found[:, None] - found[None], axis=-1), apart, atol=2e-3
    )
    assert sum(every.metadata["explained"]) == pytest.approx(1, abs=1e-4)
    one = flat.reshape(12, 12, 12, 3)[..., 0].reshape(12, -1)
    squares = np.linalg.svd(one - one.mean(0), compute_uv=False) ** 2
    share = interp.methods.attention.pattern_variance_explained(any_tiny, text, components=2)
    assert share.examples[0] == pytest.approx(squares[:2].sum() / squares.sum(), rel=1e-3)
    assert float(
        interp.methods.attention.pattern_variance_explained(any_tiny, text, components=11).values
    ) == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="number of heads, 12"):
        interp.methods.attention.pattern_variance_explained(any_tiny, text, components=13)


def test_shuffled_patterns_keep_rows_and_the_sink(any_tiny, text):
    from interp.methods.attention.pattern_maps import _flat, _patterns

    pattern = _patterns(any_tiny, text.clean)
    plain, mixed = _flat(pattern, True, False, 0)[0], _flat(pattern, True, True, 0)[0]
    row = slice(sum(range(12)), sum(range(13)))  # the last row's entries
    torch.testing.assert_close(plain[:, row].sort(-1).values, mixed[:, row].sort(-1).values)
    torch.testing.assert_close(plain[:, row.start], mixed[:, row.start])
    assert (plain[:, row.stop - 1] != mixed[:, row.stop - 1]).any() and _flat(
        pattern, False, False, 0
    )[0].shape[1] == plain.shape[1] - 12


def test_a_list_of_heads_is_a_panel_each(any_tiny, text):
    some = interp.attention_patterns(any_tiny, text.clean[0], ["L1H2", "L0H3"])
    assert some.dims == ("site", "dest", "src")
    np.testing.assert_array_equal(
        some.values[0], interp.attention_patterns(any_tiny, text.clean[0], "L1H2").values
    )
    with pytest.raises(ValueError, match="single heads"):
        interp.attention_patterns(any_tiny, text.clean[0], ["L1H*"])


def test_ranks_and_correlations_by_hand():
    assert spearman(np.array([1.0, 2, 3]), np.array([1.0, 3, 2])) == pytest.approx(0.5)
    assert spearman(np.ones(3), np.arange(3.0)) == 0
    a = np.arange(40.0).reshape(4, 10)
    assert rank_correlation(a, -a).value == pytest.approx(-1)
    assert abs(shuffled_correlation(a, a).value) < 0.1
    # what shuffles give is no interval: the brackets are for 95 % intervals alone
    assert "middle 95 % of 200 shuffles" in str(shuffled_correlation(a, a))
    assert shuffled_correlation(a, a, within=True).value > 0.9  # rows alone order these
    with pytest.raises(ValueError, match="same cells"):
        rank_correlation(a, a.T)
    with pytest.raises(ValueError, match="missing"):
        rank_correlation(a, np.full_like(a, np.nan))


def test_an_axis_may_be_correlated_with(any_tiny, text):
    far = interp.head_scores(any_tiny, "distance", on=text).sel(score="distance")
    layers = np.repeat(np.arange(3.0), 4).reshape(3, 4)
    assert rank_correlation(far, "layer").value == pytest.approx(
        spearman(far.values.ravel(), layers.ravel())
    )


def test_random_heads_from_any_layer(any_tiny):
    given = ["L0H0", "L0H1", "L0H2"]
    with pytest.raises(ValueError, match="too few"):
        interp.methods.runs.random_heads(any_tiny, given)
    for drawn in interp.methods.runs.random_heads(any_tiny, given, layers="any"):
        assert len(set(drawn)) == 3 and not set(drawn) & set(given)


def test_the_strongest_score_of_each_head(any_tiny):
    scored = interp.head_scores(any_tiny)
    assert strongest(scored, floor=2.0) == ["none of them"] * 12
    assert (
        strongest(scored, floor=0.0)[5]
        == scored.coords["score"][int(scored.values[:, 1, 1].argmax())]
    )
    with pytest.raises(ValueError, match="one unit"):
        strongest(interp.head_scores(any_tiny, ["induction", "entropy"]))
