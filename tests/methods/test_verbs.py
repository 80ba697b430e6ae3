"""The verbs: laws, numbers worked out by hand, and what they say to wrong input."""

import numpy as np
import pytest
import torch

import interp
from interp.edits import set_to, zero
from interp.interventions import Intervention, run
from interp.methods.attention.attention_patterns import attention_between
from interp.methods.attention.head_scores import repeated_tokens
from interp.methods.runs import attention_metric, kl_metric
from interp.models import bridge
from interp.tasks.metrics import Metric

CLOSE = dict(atol=1e-4, rtol=1e-4)


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=4, seed=0)


# --- patching -------------------------------------------------------------------------------------


def test_patching_the_whole_stream_restores_the_clean_run(any_tiny, ioi):
    effect = interp.patch(any_tiny, ioi, "resid_pre.0", unit="fraction")
    np.testing.assert_allclose(effect.values, 1.0, atol=1e-3)
    np.testing.assert_allclose(effect.examples, 1.0, atol=1e-3)  # of every prompt: no spread
    effect = interp.patch(any_tiny, ioi, "resid_pre.0", direction="noising", unit="fraction")
    np.testing.assert_allclose(effect.values, 0.0, atol=1e-3)


@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_the_interval_of_a_fraction_draws_numerator_and_denominator_together(any_tiny, direction):
    task = interp.tasks.ioi(any_tiny, n=24, seed=0)
    options = dict(metric=kl_metric(any_tiny, task))  # 0 in the clean run
    whole = interp.patch(any_tiny, task, "resid_pre.0", **options).examples
    plain = interp.patch(any_tiny, task, "mlp.1", direction=direction, **options).examples
    found = interp.patch(any_tiny, task, "mlp.1", direction=direction, unit="fraction", **options)
    rng, ratios = np.random.default_rng(1), []
    for _ in range(3000):
        at = rng.integers(0, 24, 24)
        ratios.append(plain[at].mean() / whole[at].mean() + (direction == "noising"))
    slow = np.percentile(ratios, [2.5, 97.5])
    np.testing.assert_allclose(found.ci(), slow, atol=0.1 * (slow[1] - slow[0]))
    minus = found - found
    np.testing.assert_allclose(minus.ci(), 0, atol=1e-6)
    np.testing.assert_allclose((1 - found).ci(), 1 - np.array(found.ci())[::-1], atol=1e-6)


def test_denoising_and_noising_the_last_stream_are_mirror_images(any_tiny, ioi):
    there = interp.patch(any_tiny, ioi, "resid_post.2@END")
    back = interp.patch(any_tiny, ioi, "resid_post.2@END", direction="noising")
    np.testing.assert_allclose(there.examples, -back.examples, atol=1e-4)


def test_each_cell_is_the_run_it_would_be_alone(any_tiny, ioi):
    swept = interp.patch(any_tiny, ioi, "L*H*@END")
    clean = run(any_tiny, ioi, keep=["L1H2@END"]).kept["L1H2@END"]
    base = ioi.metric(run(any_tiny, ioi.corrupted).logits)
    edit = Intervention("L1H2@END", set_to(clean))
    alone = ioi.metric(run(any_tiny, ioi.corrupted, [edit], positions=ioi.positions).logits) - base
    np.testing.assert_allclose(swept.sel(layer=1, head=2).examples, alone.numpy(), atol=1e-4)


def test_positions_before_the_first_difference_have_exactly_no_effect(any_tiny, ioi):
    first = int((ioi.clean != ioi.corrupted).any(0).nonzero()[0])
    effects = interp.patch(any_tiny, ioi, "resid_pre.*@*").values
    assert first > 0 and (effects[:, :first] == 0).all() and np.abs(effects[:, first:]).max() > 0


def test_a_measure_may_read_attention_instead_of_logits(any_tiny, ioi):
    metric = attention_metric(["L2H0"], "IO", minus="S2", task=ioi)
    effect = interp.patch(any_tiny, ioi, "L*H*", direction="noising", metric=metric)
    assert effect.unit == "share of attention"
    later = effect.sel(layer=2).values
    np.testing.assert_allclose(later, 0, atol=1e-6)  # heads of the same layer are not upstream
    assert np.abs(effect.sel(layer=0).values).max() > 1e-4


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(where="L*H*@S9"), "did you mean"),
        (dict(where="L7H0"), "layers 0 to 2"),
        (dict(where="L*H*", direction="denosing"), "did you mean 'denoising'"),
        (dict(where="L*H*", unit="fractions"), "did you mean 'fraction'"),
        (dict(where="L*H*", metric="logit_dif"), "did you mean 'logit_diff'"),
        (
            dict(where="L0H0", metric=Metric("bad", "x", lambda logits, kept: logits)),
            "one number per example",
        ),
    ],
)
def test_wrong_input_is_one_sentence(any_tiny, ioi, options, says):
    with pytest.raises(ValueError, match=says):
        interp.patch(any_tiny, ioi, **options)


def test_identical_prompts_have_nothing_to_patch(any_tiny, ioi):
    from dataclasses import replace

    with pytest.raises(ValueError, match="nothing to patch|the same"):
        interp.patch(any_tiny, replace(ioi, corrupted=ioi.clean), "L*H*")


# --- ablation -------------------------------------------------------------------------------------


def test_zero_ablation_is_the_zero_edit(any_tiny, ioi):
    effects = interp.ablate(any_tiny, ioi, "L*H*", by="zero")
    base = ioi.metric(run(any_tiny, ioi.clean).logits)
    alone = ioi.metric(run(any_tiny, ioi.clean, [Intervention("L1H3", zero())]).logits) - base
    np.testing.assert_allclose(effects.sel(layer=1, head=3).examples, alone.numpy(), atol=1e-4)


def test_mean_ablation_of_one_prompt_repeated_changes_nothing(any_tiny, ioi):
    one = ioi[[0, 0, 0]]
    np.testing.assert_allclose(interp.ablate(any_tiny, one, "L*H*", by="mean").values, 0, atol=1e-4)
    np.testing.assert_allclose(
        interp.ablate(any_tiny, one, "mlp.*", by="resample").values, 0, atol=1e-4
    )


def test_scaling_by_one_changes_nothing_and_by_zero_is_zero_ablation(any_tiny, ioi):
    np.testing.assert_allclose(
        interp.ablate(any_tiny, ioi, "L*H*", by="scale", factor=1.0).values, 0, atol=1e-5
    )
    scaled = interp.ablate(any_tiny, ioi, "mlp.*", by="scale", factor=0.0)
    np.testing.assert_allclose(
        scaled.values, interp.ablate(any_tiny, ioi, "mlp.*", by="zero").values, atol=1e-4
    )


def test_a_list_is_ablated_together(any_tiny, ioi):
    both = interp.ablate(any_tiny, ioi, ["L0H1", "mlp.1"], by="zero")
    edits = [Intervention("L0H1", zero()), Intervention("mlp.1", zero())]
    base = ioi.metric(run(any_tiny, ioi.clean).logits)
    by_hand = ioi.metric(run(any_tiny, ioi.clean, edits).logits) - base
    assert both.dims == ()
    np.testing.assert_allclose(both.examples, by_hand.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(by="meen"), "did you mean 'mean'"),
        (dict(by="scale"), "a factor goes with"),
        (dict(by="mean", factor=2.0), "a factor goes with"),
        (dict(reference=torch.zeros(2, 3, dtype=torch.long)), "prompts of the task's length"),
    ],
)
def test_wrong_ablations_are_one_sentence(any_tiny, ioi, options, says):
    with pytest.raises(ValueError, match=says):
        interp.ablate(any_tiny, ioi, "L*H*", **options)


def test_an_empty_set_is_refused(any_tiny, ioi):
    with pytest.raises(ValueError, match="name at least one"):
        interp.ablate(any_tiny, ioi, [])


# --- attribution and lens -------------------------------------------------------------------------


def test_direct_attributions_add_up_to_the_logit_difference(any_tiny, ioi):
    from interp.methods.lenses.logit_attribution import answer_direction, through_final_norm

    parts = [interp.logit_attribution(any_tiny, ioi, w) for w in ("embed", "L*H*", "mlp.*")]
    total = sum(p.examples.reshape(-1, len(ioi)).sum(0) for p in parts)
    out = run(any_tiny, ioi, keep=["logits.in@-1"])
    toward = through_final_norm(any_tiny, out.kept["logits.in@-1"], answer_direction(any_tiny, ioi))
    for layer in range(3):  # attention biases belong to no head
        bias = bridge.projection(any_tiny, "O", layer)[1]
        total = total + (0 if bias is None else (toward @ bias).numpy())
    _, norm_bias = bridge.final_gain(any_tiny)
    if norm_bias is not None:
        total = total + (answer_direction(any_tiny, ioi) @ norm_bias).numpy()
    expected = ioi.with_metric("logit_diff").metric(out.logits).numpy()
    np.testing.assert_allclose(total, expected, atol=1e-4)


def test_the_heads_of_a_layer_add_up_to_its_attention(tiny):
    task = interp.tasks.ioi(tiny, n=4, seed=0)
    heads = interp.logit_attribution(tiny, task, "L*H*").values.sum(1)
    np.testing.assert_allclose(
        heads, interp.logit_attribution(tiny, task, "attn.*").values, atol=1e-5
    )


def test_the_two_sides_of_an_attribution_make_the_difference(any_tiny, ioi):
    sides = {
        t: interp.logit_attribution(any_tiny, ioi, toward=t).examples
        for t in ("difference", "answer", "wrong")
    }
    np.testing.assert_allclose(sides["answer"] - sides["wrong"], sides["difference"], atol=1e-5)
    with pytest.raises(ValueError, match="did you mean 'answer'"):
        interp.logit_attribution(any_tiny, ioi, toward="anwser")


def test_the_lens_at_the_last_layer_is_the_model(any_tiny, ioi):
    last = interp.logit_lens(any_tiny, ioi).sel(layer=2)
    np.testing.assert_allclose(
        last.examples, ioi.metric(run(any_tiny, ioi.clean).logits).numpy(), atol=1e-4
    )


def test_the_lens_reads_every_position(any_tiny, ioi):
    everywhere = interp.logit_lens(any_tiny, ioi, "resid_post.*@*", metric="rank")
    assert everywhere.dims == ("layer", "pos") and everywhere.values.shape == (
        3,
        ioi.clean.shape[1],
    )
    at_end = interp.logit_lens(any_tiny, ioi, "resid_post.*@END", metric="rank")
    np.testing.assert_array_equal(everywhere.examples[:, -1], at_end.examples)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m, t: interp.logit_lens(m, t, "L*H*"), "the lens reads the stream"),
        (lambda m, t: interp.logit_lens(m, t, "resid_post.*"), "one position at a time"),
        (lambda m, t: interp.logit_attribution(m, t, "L*H*.z"), "what writes to the stream"),
        (lambda m, t: interp.attention_patterns(m, t, "mlp.*"), "attention belongs to heads"),
        (lambda m, t: attention_between(m, t, "S1", "END"), "comes after"),
        (lambda m, t: attention_between(m, t, "END", "I0"), "did you mean 'IO'"),
        (lambda m, t: interp.head_scores(m, ["indction"]), "did you mean 'induction'"),
    ],
)
def test_wrong_readings_are_one_sentence(any_tiny, ioi, call, says):
    with pytest.raises(ValueError, match=says):
        call(any_tiny, ioi)


# --- attention and head scores --------------------------------------------------------------------


def test_patterns_are_causal_rows_that_sum_to_one(any_tiny, ioi):
    pattern = interp.attention_patterns(any_tiny, ioi)
    np.testing.assert_allclose(pattern.values.sum(-1), 1, atol=1e-5)
    assert np.abs(np.triu(pattern.values, 1)).max() < 1e-6


def test_attends_reads_the_pattern_at_each_examples_own_positions(any_tiny, ioi):
    pattern = interp.attention_patterns(any_tiny, ioi).examples  # [layer head dest src n]
    shares = attention_between(any_tiny, ioi, "S2", "S1").examples
    for i in range(len(ioi)):
        at, to = int(ioi.positions["S2"][i]), int(ioi.positions["S1"][i])
        np.testing.assert_allclose(shares[:, :, i], pattern[:, :, at, to, i], atol=1e-6)


def test_head_scores_by_hand():
    from interp.methods.attention.head_scores import SCORES

    length = 3  # positions: first, a b c, a b c
    perfect = torch.zeros(7, 7)
    for dest, src in (
        (4, 2),
        (5, 3),
        (6, 4),
    ):  # second a looks at the b after the first a, and so on
        perfect[dest, src] = 1
    assert (
        SCORES["induction"].of(perfect, length) == 1
        and SCORES["duplicate-token"].of(perfect, length) == 0
    )
    previous = torch.diag(torch.ones(6), -1)
    assert SCORES["previous-token"].of(previous, length) == 1 and SCORES["first-token"].of(
        previous, length
    ) == pytest.approx(1 / 6)
    same = torch.zeros(7, 7)
    for dest, src in ((4, 1), (5, 2), (6, 3)):
        same[dest, src] = 1
    assert (
        SCORES["duplicate-token"].of(same, length) == 1
        and SCORES["induction"].of(same, length) == 0
    )


def test_repeated_tokens_repeat_and_are_seeded(any_tiny):
    tokens = repeated_tokens(any_tiny, n=3, length=5, seed=1)
    assert tokens.shape == (3, 11) and (tokens[:, 1:6] == tokens[:, 6:]).all()
    assert all(len(set(row[1:6].tolist())) == 5 for row in tokens)
    assert (tokens == repeated_tokens(any_tiny, n=3, length=5, seed=1)).all()
    assert (tokens != repeated_tokens(any_tiny, n=3, length=5, seed=2)).any()


def test_scores_and_results_say_where_they_come_from(any_tiny):
    scores = interp.head_scores(any_tiny, n=2, length=6)
    assert scores.dims == ("score", "layer", "head") and scores.unit == "share of attention"
    assert scores.metadata["even"]["previous-token"] > 0 and scores.metadata["seed"] == 0
    assert (scores.values >= 0).all() and (scores.values <= 1).all()


# --- two ways, one meaning ------------------------------------------------------------------------


def test_sets_in_one_sweep_are_the_sets_alone(any_tiny, ioi):
    sets = [["L0H1", "L1H2"], ["mlp.1"], ["L2H0@END"]]
    together = interp.patch(any_tiny, ioi, sets)
    assert together.dims == ("set",)
    for i, one in enumerate(sets):
        np.testing.assert_allclose(
            together.sel(set=i).examples, interp.patch(any_tiny, ioi, one).examples, atol=1e-4
        )


def test_the_engine_is_refused_where_it_does_not_apply(any_tiny, ioi):
    with pytest.raises(ValueError, match="does not know"):
        interp.patch(any_tiny, ioi, "L*H*.q_in", backend="engine")
    assert interp.patch(any_tiny, ioi, "L*H*.q_in").metadata["backend"] == "hooks"


def test_random_heads_are_layer_matched_and_new(any_tiny):
    sets = interp.methods.runs.random_heads(any_tiny, ["L1H2@END", "L2H0@END", "L2H1@END"], sets=5)
    for one in sets:
        assert [s[:2] for s in one] == ["L1", "L2", "L2"] and not {
            "L1H2@END",
            "L2H0@END",
            "L2H1@END",
        } & set(one)
        assert len(set(one)) == 3
    assert sets == interp.methods.runs.random_heads(
        any_tiny, ["L1H2@END", "L2H0@END", "L2H1@END"], sets=5
    )
    with pytest.raises(ValueError, match="too few are left"):
        interp.methods.runs.random_heads(any_tiny, [f"L1H{h}" for h in range(3)])


def test_stream_norms_by_hand(any_tiny, ioi):
    norms = interp.methods.attention.residual_norms(any_tiny, ioi)
    kept = run(any_tiny, ioi, keep=["resid_post.1"]).kept["resid_post.1"]
    np.testing.assert_allclose(norms.sel(layer=1).examples, kept.norm(dim=-1).T.numpy(), rtol=1e-5)
