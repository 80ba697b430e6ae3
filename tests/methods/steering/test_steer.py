"""Directions, steering and soft injection: laws, numbers by hand, and what they say to wrong
input.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

import interp
from interp.interventions import run
from interp.methods.steering.direction import Direction
from interp.methods.steering.soft_injection import mix_loss
from interp.tasks.task import encode

AT = "resid_post.1"


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=6, seed=0)


@pytest.fixture
def clean_less_corrupted(any_tiny, ioi):
    return interp.methods.steering.difference_of_means(any_tiny, ioi, where=f"{AT}@END")


# --- finding directions ---------------------------------------------------------------------------


def test_difference_of_means_by_hand(any_tiny, ioi):
    def there(tokens):
        return any_tiny.run_with_cache(tokens, prepend_bos=False)[1]["blocks.1.hook_out"]

    clean, corrupted = there(ioi.clean), there(ioi.corrupted)
    found = interp.methods.steering.difference_of_means(any_tiny, ioi, where=f"{AT}@END")
    torch.testing.assert_close(
        found.vector, clean[:, -1].mean(0) - corrupted[:, -1].mean(0), atol=1e-5, rtol=1e-4
    )
    everywhere = interp.methods.steering.difference_of_means(
        any_tiny, ioi.clean, ioi.corrupted, f"{AT}@*"
    )
    by_hand = clean[:, 1:].mean((0, 1)) - corrupted[:, 1:].mean((0, 1))  # position 0 is the sink
    torch.testing.assert_close(everywhere.vector, by_hand, atol=1e-5, rtol=1e-4)


def test_texts_of_any_lengths_get_the_first_token_and_count_alike(any_tiny):
    texts = ["Mary went to the store", "John and the dog", "the cat"]
    ends = [
        run(any_tiny, torch.tensor([encode(any_tiny.tokenizer, t)])).logits[0, -1] for t in texts
    ]
    found = interp.methods.steering.task_vector(any_tiny, texts, "logits@END")
    torch.testing.assert_close(found.vector, torch.stack(ends).mean(0), atol=1e-4, rtol=1e-4)


def test_directions_are_vectors():
    a, b = (
        Direction(torch.tensor([3.0, 4.0]), "resid_post.0@-1"),
        Direction(torch.tensor([1.0, 0.0]), "resid_post.0@-1"),
    )
    assert (
        (2 * a - b).vector.tolist() == [5, 8] and (-a).vector.tolist() == [-3, -4] and a.norm == 5
    )
    assert (
        a.normalised().vector.tolist() == pytest.approx([0.6, 0.8])
        and a.normalised().site == a.site
    )


def test_function_vector_by_hand(any_tiny, ioi):
    found = interp.methods.steering.function_vector(any_tiny, ioi, heads=3, metric="logit_diff")
    kept = run(any_tiny, ioi, keep=["L*H*@END"], positions=ioi.positions).kept[
        "L*H*@END"
    ]  # [layer head batch d_model]
    base = ioi.metric(run(any_tiny, ioi.corrupted).logits)
    effects = {}
    for layer in range(3):
        for head in range(4):
            mean = kept[layer, head].mean(0)
            put = interp.Intervention(
                f"L{layer}H{head}@-1", lambda act, seen, mean=mean: mean.expand(act.shape)
            )
            effects[layer, head] = float(
                (ioi.metric(run(any_tiny, ioi.corrupted, [put]).logits) - base).mean()
            )
    best = sorted(effects, key=effects.get)[::-1][:3]
    assert found.metadata["heads"] == [f"L{layer}H{head}@END" for layer, head in best]
    np.testing.assert_allclose(found.metadata["effects"], [effects[b] for b in best], atol=2e-4)
    torch.testing.assert_close(
        found.vector, sum(kept[b].mean(0) for b in best), atol=1e-5, rtol=1e-4
    )
    assert found.site == "resid_post.1@END"


# --- pushing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["add", "project_out", "set"])
def test_strength_zero_is_nothing(any_tiny, ioi, clean_less_corrupted, how):
    for site in (f"{AT}@END", AT, f"{AT}@*"):
        effect = interp.steer(
            any_tiny,
            ioi,
            replace(clean_less_corrupted, site=site),
            strengths=(0, 0.7),
            how=how,
            other_texts=ioi.clean,
        )
        assert (effect.sel(strength=0.0).values == 0).all() and (
            effect.sel(strength=0.7).values != 0
        ).all()


def test_adding_and_taking_away_is_nothing(any_tiny, ioi, clean_less_corrupted):
    there, back = clean_less_corrupted.push(3.0), (-clean_less_corrupted).push(3.0)
    plain = run(any_tiny, ioi).logits
    torch.testing.assert_close(
        run(any_tiny, ioi, [there, back]).logits, plain, atol=1e-4, rtol=1e-4
    )
    assert (run(any_tiny, ioi, [there]).logits - plain).abs().max() > 0.01


def test_each_strength_is_the_run_it_would_be_alone(any_tiny, ioi, clean_less_corrupted):
    effect = interp.steer(
        any_tiny, ioi, clean_less_corrupted, strengths=(-1, 0.5, 2), on="corrupted"
    )
    base = ioi.metric(run(any_tiny, ioi.corrupted).logits)

    def by_hand(act, seen):
        return act + 2 * clean_less_corrupted.vector

    alone = (
        ioi.metric(
            run(any_tiny, ioi.corrupted, [interp.Intervention("resid_post.1@-1", by_hand)]).logits
        )
        - base
    )
    np.testing.assert_allclose(effect.sel(strength=2.0).examples, alone.numpy(), atol=1e-4)


def test_adding_the_difference_moves_the_mean_all_the_way(any_tiny, ioi):
    at_end = interp.methods.steering.difference_of_means(any_tiny, ioi, where="logits@END")
    moved = (
        run(any_tiny, ioi.corrupted, [at_end.push()], positions=ioi.positions).logits[:, -1].mean(0)
    )
    torch.testing.assert_close(
        moved, run(any_tiny, ioi.clean).logits[:, -1].mean(0), atol=1e-4, rtol=1e-4
    )


def test_project_out_leaves_nothing_along_the_direction(any_tiny, ioi, clean_less_corrupted):
    along = clean_less_corrupted.normalised().vector
    everywhere = replace(clean_less_corrupted, site=AT)
    kept = run(any_tiny, ioi, [everywhere.push(how="project_out")], keep=[AT]).kept[AT]
    plain = run(any_tiny, ioi, keep=[AT]).kept[AT]
    np.testing.assert_allclose((kept[:, 1:] @ along).numpy(), 0, atol=1e-5)
    torch.testing.assert_close(kept[:, 0], plain[:, 0])  # the first token is the sink's
    half = run(any_tiny, ioi, [everywhere.push(0.5, how="project_out")], keep=[AT]).kept[AT]
    torch.testing.assert_close(half[:, 1:] @ along, plain[:, 1:] @ along / 2, atol=1e-5, rtol=1e-4)


def test_side_effect_by_hand(any_tiny, ioi, clean_less_corrupted):
    texts = ["Mary went to the store and gave a drink to John", "the dog"]
    harm = interp.methods.steering.steering_side_effect(
        any_tiny, texts, clean_less_corrupted, strengths=(0, 2)
    )
    push = replace(clean_less_corrupted, site=AT).push(2.0)
    for i, text in enumerate(texts):
        ids = torch.tensor([encode(any_tiny.tokenizer, text)])
        seen = [
            run(any_tiny, ids, e).logits[0, 1:-1] for e in ([], [push])
        ]  # position 0, the tokenizer's own token, is left out
        loss = [torch.nn.functional.cross_entropy(logits, ids[0, 2:]) for logits in seen]
        assert harm.examples[1, i] == pytest.approx(float(loss[1] - loss[0]), abs=1e-4)
    both = interp.steer(any_tiny, ioi, clean_less_corrupted, strengths=(0, 2), other_texts=texts)
    assert (
        both.dims == ("measure", "strength")
        and both.coords["measure"][1] == "change of cross-entropy"
    )
    np.testing.assert_allclose(both.values[1], harm.values)


def test_texts_are_steered_in_the_order_given(any_tiny, clean_less_corrupted):
    texts = ["the dog", "Mary went to the store", "a cat"]

    def metric(logits):
        return logits[:, 7]

    together = interp.steer(
        any_tiny, texts, clean_less_corrupted, strengths=(1,), metric=metric
    ).examples[0]
    alone = [
        interp.steer(any_tiny, [t], clean_less_corrupted, strengths=(1,), metric=metric).values[0]
        for t in texts
    ]
    np.testing.assert_allclose(together, alone, atol=1e-4)


# --- soft injection -------------------------------------------------------------------------------


@pytest.fixture
def other(any_tiny):
    return interp.tasks.capitals(any_tiny, n=10, seed=1)


def test_injecting_nothing_is_nothing_and_one_prompt_into_itself_too(any_tiny, ioi):
    plain = run(any_tiny, ioi[[0]]).logits
    assert interp.methods.steering.injection_interventions(any_tiny, ioi, 0.0) == []
    itself = run(
        any_tiny,
        ioi[[0]],
        interp.methods.steering.injection_interventions(any_tiny, ioi.clean[:1], 1.0),
    ).logits
    torch.testing.assert_close(itself, plain, atol=1e-4, rtol=1e-4)


def test_the_whole_injection_makes_every_head_say_the_mean(any_tiny, ioi, other):
    kept = run(
        any_tiny,
        other,
        interp.methods.steering.injection_interventions(any_tiny, ioi, 1.0),
        keep=["L*H*.z@-1"],
    ).kept["L*H*.z@-1"]
    means = run(any_tiny, ioi, keep=["L*H*.z@-1"]).kept["L*H*.z@-1"].mean(2, keepdim=True)
    torch.testing.assert_close(kept, means.expand_as(kept), atol=1e-5, rtol=1e-4)


def test_the_gradient_of_the_mix_is_the_finite_difference_both_ways(any_tiny, ioi, other):
    means = run(any_tiny, ioi, keep=["L*H*.z@-1"]).kept["L*H*.z@-1"].mean(2)
    shares = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    found = {}
    for backend in ("engine", "hooks"):
        loss_of, ran = mix_loss(any_tiny, means, other, backend)
        at = shares.clone().requires_grad_(True)
        loss = loss_of(at)
        found[backend] = float(loss.detach()), torch.autograd.grad(loss, at)[0]
        assert ran == backend
        for layer, head in ((0, 1), (1, 3), (2, 2)):
            step = torch.zeros(3, 4)
            step[layer, head] = 0.01
            with torch.no_grad():
                slope = (loss_of(shares + step) - loss_of(shares - step)) / 0.02
            assert float(found[backend][1][layer, head]) == pytest.approx(float(slope), abs=2e-3)
    assert found["engine"][0] == pytest.approx(found["hooks"][0], abs=1e-4)
    torch.testing.assert_close(found["engine"][1], found["hooks"][1], atol=1e-4, rtol=1e-3)


def test_a_learned_mix_fits_its_half_and_is_judged_on_the_other(any_tiny, ioi, other):
    learned = interp.methods.steering.soft_injection(
        any_tiny, ioi, other, steps=15, heads=["L0H*", "L2H1"], metric="log_prob"
    )
    assert learned.losses[-1] < learned.losses[0] and len(learned.losses) == 16
    assert (
        not set(learned.trained) & set(learned.heldout)
        and len(learned.trained) + len(learned.heldout) == 10
    )
    assert (
        (learned.mix.values[1] == 0).all()
        and (learned.mix.values[0] > 0).all()
        and learned.mix.values[2, 1] > 0
    )
    held = other[list(learned.heldout)].with_metric("log_prob")
    by_hand = held.metric(
        run(
            any_tiny,
            held,
            interp.methods.steering.injection_interventions(any_tiny, ioi, learned.mix),
        ).logits
    )
    np.testing.assert_allclose(
        learned.score.sel(mix="learned").examples, by_hand.numpy(), atol=1e-4
    )
    np.testing.assert_allclose(
        learned.score.sel(mix="none").examples,
        held.metric(run(any_tiny, held).logits).numpy(),
        atol=1e-4,
    )
    trained = other[list(learned.trained)].with_metric("log_prob")
    by_hand = -trained.metric(
        run(
            any_tiny,
            trained,
            interp.methods.steering.injection_interventions(any_tiny, ioi, learned.mix),
        ).logits
    ).mean()
    assert learned.losses[-1] == pytest.approx(float(by_hand), abs=1e-4)


def test_a_price_on_the_shares_makes_them_smaller(any_tiny, ioi, other):
    def share(l1):
        return interp.methods.steering.soft_injection(
            any_tiny, ioi, other, steps=10, l1=l1
        ).mix.values.mean()

    assert share(50.0) < share(0.0)


def test_prompts_of_their_own_test_and_all_others_train(any_tiny, ioi, other):
    """`halfway` is the mix of half the steps, and `means` is what is injected."""
    train, test = other[:6], other[6:]
    learned, short = (
        interp.methods.steering.soft_injection(
            any_tiny, ioi, train, heldout=test, steps=steps, metric="log_prob"
        )
        for steps in (6, 3)
    )
    assert learned.trained == tuple(range(6)) and learned.heldout == tuple(range(4))
    np.testing.assert_allclose(
        learned.score.sel(mix="halfway").examples, short.score.sel(mix="learned").examples
    )
    assert not np.allclose(
        learned.score.sel(mix="halfway").examples, learned.score.sel(mix="learned").examples
    )
    means = run(any_tiny, ioi, keep=["L*H*.z@-1"]).kept["L*H*.z@-1"].mean(2)
    torch.testing.assert_close(learned.means, means, atol=1e-5, rtol=1e-4)
    mixed = interp.methods.steering.injection_interventions(any_tiny, learned.means, learned.mix)
    by_hand = test.with_metric("log_prob").metric(run(any_tiny, test, mixed).logits)
    np.testing.assert_allclose(
        learned.score.sel(mix="learned").examples, by_hand.numpy(), atol=1e-4
    )


# --- wrong input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, says",
    [
        (
            lambda m, t, d: interp.steer(m, t, Direction(torch.zeros(5), AT)),
            "5 numbers, 'resid_post.1' of tiny",
        ),
        (lambda m, t, d: interp.steer(m, t, d, at="L0H1.z@END"), "32 numbers"),
        (
            lambda m, t, d: interp.steer(m, t, replace(d, metadata={"model": "gpt2"})),
            "found in 'gpt2'",
        ),
        (lambda m, t, d: interp.steer(m, t, d, how="ad"), "did you mean 'add'"),
        (lambda m, t, d: interp.steer(m, t, d, strengths=()), "at least one"),
        (lambda m, t, d: interp.steer(m, t, d, on="currupted"), "did you mean 'corrupted'"),
        (lambda m, t, d: interp.steer(m, t, d, at="resid_post.9@END"), "layers 0 to 2"),
        (lambda m, t, d: interp.steer(m, t, d * 0, how="project_out"), "points nowhere"),
        (
            lambda m, t, d: interp.methods.steering.steering_side_effect(m, torch.tensor([[1]]), d),
            "have no loss",
        ),
        (lambda m, t, d: d + replace(d, site="resid_post.0@END"), "one place"),
        (lambda m, t, d: d + replace(d, metadata={"model": "gpt2"}), "different models"),
        (lambda m, t, d: (d * 0).normalised(), "do not differ"),
        (
            lambda m, t, d: interp.methods.steering.difference_of_means(m, [], ["the dog"], AT),
            "no prompts",
        ),
        (
            lambda m, t, d: interp.methods.steering.difference_of_means(m, [""], ["the dog"], AT),
            "empty prompt",
        ),
        (
            lambda m, t, d: interp.methods.steering.difference_of_means(m, ["the dog"], where=AT),
            "the negative ones",
        ),
        (
            lambda m, t, d: interp.methods.steering.difference_of_means(
                m, t, where="resid_post.*@END"
            ),
            "one place",
        ),
        (
            lambda m, t, d: interp.methods.steering.difference_of_means(
                m, t, where="L0H0.pattern@END"
            ),
            "no vector",
        ),
        (
            lambda m, t, d: interp.methods.steering.difference_of_means(
                m, t, where="resid_post.7@END"
            ),
            "layers 0 to 2",
        ),
        (lambda m, t, d: interp.methods.steering.function_vector(m, t, heads=13), "12 heads"),
        (lambda m, t, d: interp.methods.steering.function_vector(m, t, layer=8), "layers 0 to 2"),
        (lambda m, t, d: interp.methods.steering.function_vector(m, ["the dog"]), "needs a task"),
        (
            lambda m, t, d: interp.methods.steering.injection_interventions(
                m, t, torch.zeros(2, 2)
            ),
            "3 layers by 4 heads",
        ),
        (
            lambda m, t, d: interp.methods.steering.injection_interventions(
                m, torch.zeros(2, 2, 2), 1.0
            ),
            "3 layers of 4 heads",
        ),
        (
            lambda m, t, d: interp.methods.steering.soft_injection(m, t, t, heads="mlp.*"),
            "only heads",
        ),
        (
            lambda m, t, d: interp.methods.steering.soft_injection(m, t, t, heads=["L5H0"]),
            "layers 0 to 2",
        ),
        (
            lambda m, t, d: interp.methods.steering.soft_injection(m, t, t, backend="engin"),
            "did you mean 'engine'",
        ),
        (
            lambda m, t, d: interp.methods.steering.soft_injection(m, t, t[[0, 0, 0, 0]]),
            "comes twice",
        ),
        (lambda m, t, d: interp.methods.steering.soft_injection(m, t, t[:2]), "4 prompts"),
        (
            lambda m, t, d: interp.methods.steering.soft_injection(m, t, t, heldout=t[:2]),
            "heldout= is trained on as well",
        ),
        (
            lambda m, t, d: interp.methods.steering.soft_injection(m, t, t, heldout="the dog"),
            "heldout is a task",
        ),
    ],
)
def test_wrong_input_is_one_sentence(any_tiny, ioi, clean_less_corrupted, call, says):
    with pytest.raises(ValueError, match=says):
        call(any_tiny, ioi, clean_less_corrupted)
