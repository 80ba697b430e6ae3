"""Sets of ablated sites: the greedy order and the pairs, against `ablate` one call at a time."""

import numpy as np
import pytest

import interp


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=4, seed=0)


@pytest.mark.parametrize("most, by", [("harm", "low"), ("help", "high")])
def test_the_first_choice_is_the_best_alone_and_each_step_the_best_beside_it(
    any_tiny, ioi, most, by
):
    order = interp.methods.ablation.greedy_ablation(any_tiny, ioi, "L*H*", steps=3, most=most)
    chosen = order.coords["step"]
    assert order.dims == ("step",) and chosen == order.metadata["chosen"] and len(set(chosen)) == 3
    alone = interp.ablate(any_tiny, ioi, "L*H*")
    assert chosen[0] == alone.top(1, by=by).labels[0]
    np.testing.assert_allclose(order.metadata["alone"], alone.pick(chosen).values, atol=1e-4)
    best = {"harm": min, "help": max}[most]
    for step in (1, 2):  # every other head tried by hand, one call each
        tried = {
            h: interp.ablate(any_tiny, ioi, [*chosen[:step], h])
            for h in alone.labels()
            if h not in chosen[:step]
        }
        assert best(tried, key=lambda h: float(tried[h].values)) == chosen[step]
        np.testing.assert_allclose(order.examples[step], tried[chosen[step]].examples, atol=1e-4)


def test_greedy_tries_again_only_the_best_alone(any_tiny, ioi):
    order = interp.methods.ablation.greedy_ablation(any_tiny, ioi, "L*H*", steps=3, keep_best=3)
    assert set(order.coords["step"]) == set(
        interp.ablate(any_tiny, ioi, "L*H*").top(3, by="low").labels
    )
    everything = interp.methods.ablation.greedy_ablation(
        any_tiny, ioi, ["mlp.*"], steps=3, by="zero"
    )
    np.testing.assert_allclose(
        everything.examples[-1],
        interp.ablate(any_tiny, ioi, ["mlp.*"], by="zero").examples,
        atol=1e-4,
    )


@pytest.mark.parametrize("by", ["mean", "resample", "zero"])
def test_pairs_are_symmetric_and_three_ablations(any_tiny, ioi, by):
    sites = ["L0H1", "L1H3", "mlp.2", "L2H0@END"]
    pairs = interp.methods.ablation.pairwise_ablation(any_tiny, ioi, sites, by=by)
    assert pairs.dims == ("first", "second") and pairs.coords["first"] == sites
    np.testing.assert_array_equal(pairs.examples, pairs.examples.swapaxes(0, 1))
    assert np.isnan(np.diag(pairs.values)).all() and np.isnan(pairs.values).sum() == len(sites)
    for i, a in enumerate(sites):
        one = interp.ablate(any_tiny, ioi, [a], by=by)
        assert pairs.metadata["alone"][a] == pytest.approx(float(one.values), abs=1e-4)
        for j in range(i):
            b = sites[j]
            by_hand = interp.ablate(any_tiny, ioi, [a, b], by=by).examples - one.examples
            by_hand = by_hand - interp.ablate(any_tiny, ioi, [b], by=by).examples
            np.testing.assert_allclose(pairs.examples[i, j], by_hand, atol=1e-4)


def test_sets_on_paper(any_tiny, ioi, tmp_path):
    ablation = interp.methods.ablation
    for found in (
        ablation.pairwise_ablation(any_tiny, ioi, ["L0H1", "L1H*"]),
        ablation.greedy_ablation(any_tiny, ioi, ["L0H1", "L1H*"], steps=2),
    ):
        found.plot()
        assert interp.Result.load(found.save(tmp_path / "r.npz")) == found
        assert "L1H" in repr(found.top(2))


@pytest.mark.parametrize(
    "call, says",
    [
        (
            lambda m, t: interp.methods.ablation.greedy_ablation(m, t, "L*H*", steps=13),
            "from 1 to 12 steps",
        ),
        (
            lambda m, t: interp.methods.ablation.greedy_ablation(
                m, t, "L*H*", steps=3, keep_best=2
            ),
            "from 1 to 2 steps",
        ),
        (
            lambda m, t: interp.methods.ablation.greedy_ablation(m, t, "L*H*", most="harmm"),
            "did you mean 'harm'",
        ),
        (lambda m, t: interp.methods.ablation.greedy_ablation(m, t, []), "a pattern or a list"),
        (
            lambda m, t: interp.methods.ablation.greedy_ablation(m, t, "L*H*", by="meen"),
            "did you mean 'mean'",
        ),
        (lambda m, t: interp.methods.ablation.pairwise_ablation(m, t, ["L1H2"]), "at least two"),
        (
            lambda m, t: interp.methods.ablation.pairwise_ablation(m, t, ["L1H2", "L9H2"]),
            "layers 0 to 2",
        ),
    ],
)
def test_wrong_sets_are_one_sentence(any_tiny, ioi, call, says):
    with pytest.raises(ValueError, match=says):
        call(any_tiny, ioi)
