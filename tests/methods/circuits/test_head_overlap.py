"""The overlap of two tasks' circuits, and roles by attention and effect."""

import numpy as np
import pytest

import interp
from interp.methods.circuits import attention_times_effect, head_overlap
from interp.results import Result


def scores(examples, name="score"):
    examples = np.asarray(examples, dtype=float)
    coords = {"layer": list(range(examples.shape[0])), "head": list(range(examples.shape[1]))}
    return Result(
        examples.mean(-1), ("layer", "head"), coords, name, "logits", {"task": name}, examples
    )


def drawn(seed, shape=(6, 9, 8), spread=0.1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*shape[:2], 1)) + spread * rng.normal(size=shape)


def test_overlap_counts_what_sets_count():
    a, b = scores(drawn(0)), scores(drawn(1))
    sets = [set(x.top(10).labels) for x in (a, b)]
    found = head_overlap(a, b, 10)
    assert found.sel(measure="overlap").values == len(sets[0] & sets[1]) / 10
    assert found.sel(measure="Jaccard").values == pytest.approx(
        len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    )
    assert set(found.metadata["both"]) == sets[0] & sets[1]
    same = head_overlap(a, scores(-a.examples), 10)  # size counts, not sign
    assert same.sel(measure="overlap").values == 1


def test_random_sets_are_those_of_a_plain_permutation_within_layers():
    a, b = scores(drawn(2)), scores(drawn(3))
    tops = [set(x.top(12).labels) for x in (a, b)]
    layers = [[f"L{layer}H{h}" for h in range(9)] for layer in range(6)]
    rng, slow = np.random.default_rng(0), []
    for _ in range(4000):
        one = {h for here in layers for h in rng.permutation(here)[: len(tops[1] & set(here))]}
        slow.append(len(one & tops[0]) / 12)
    found = head_overlap(a, b, 12, draws=4000)
    expected = sum(len(tops[0] & set(x)) * len(tops[1] & set(x)) / 9 for x in layers) / 12
    assert found.sel(measure="by chance").values == pytest.approx(expected, abs=0.01)
    assert np.mean(slow) == pytest.approx(expected, abs=0.01)
    for k in range(13):  # the whole distribution

        def share(sets):
            return np.mean(np.isclose(sets, k / 12))

        assert share(slow) == pytest.approx(share(found.metadata["random sets"]), abs=0.03)
    assert (
        found.sel(measure="95 % of random sets").values
        <= found.sel(measure="99 % of random sets").values
    )


def test_the_interval_is_a_point_where_prompts_agree_and_pairs_are_drawn_alike():
    a, b = scores(np.repeat(drawn(4)[..., :1], 5, -1)), scores(np.repeat(drawn(5)[..., :1], 5, -1))
    found = head_overlap(a, b, 10)
    assert (
        found.sel(measure="low").values
        == found.sel(measure="high").values
        == found.sel(measure="overlap").values
    )
    noisy, other = scores(drawn(6, spread=1.0)), scores(drawn(7))
    first, again = head_overlap(noisy, other, 10), head_overlap(noisy, other, 10)
    assert (
        first.metadata["drawn"] == again.metadata["drawn"] and np.ptp(first.metadata["drawn"]) > 0
    )
    assert (
        head_overlap(noisy, noisy, 10).sel(measure="low").values < 1
    )  # the two sides are drawn apart


def test_overlap_says_what_is_wrong():
    a = scores(drawn(0))
    with pytest.raises(ValueError, match="n=54"):
        head_overlap(a, a, 54)
    with pytest.raises(ValueError, match="of one model"):
        head_overlap(a, scores(drawn(0, (5, 9, 8))), 10)
    with pytest.raises(ValueError, match="b is not every head's score"):
        head_overlap(a, a.mean("head"), 10)


def test_both_is_the_product_prompt_by_prompt(any_tiny):
    task = interp.tasks.ioi(any_tiny, n=3)
    look, write = (
        interp.methods.attention.attention_between(any_tiny, task, "END", "IO"),
        interp.logit_attribution(any_tiny, task),
    )
    role = attention_times_effect(
        look, write.sel(layer=look.coords["layer"]) if "layer" in write.dims else write
    )
    k = role.labels().index("L2H1")
    np.testing.assert_allclose(
        role.examples.reshape(-1, 3)[k],
        look.pick(["L2H1"]).examples[0] * write.pick(["L2H1"]).examples[0],
    )
    with pytest.raises(ValueError, match="other axes"):
        attention_times_effect(look.mean("head"), write)
