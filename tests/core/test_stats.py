"""Shared statistics against slow, independent versions."""

import numpy as np
import pytest
import torch

from interp._stats import bootstrap, fractions, ratio_parts
from interp.results import Result, mean_of, stack


def slow_ratio_interval(above, below, draws=4000):
    """The ratio of the two means over examples that are drawn together, one draw at a time."""
    rng, n = np.random.default_rng(5), len(below)
    ratios = []
    for _ in range(draws):
        at = rng.integers(0, n, n)
        ratios.append(above[at].mean() / below[at].mean())
    return np.percentile(ratios, [2.5, 97.5])


@pytest.mark.parametrize("kind", ["proportional", "independent", "opposed"])
def test_the_interval_of_a_ratio_draws_both_together(kind):
    rng = np.random.default_rng(0)
    below = rng.gamma(6.0, 1.0, 64)
    noise = rng.normal(0, 0.3, 64)
    above = {
        "proportional": 0.4 * below + noise,
        "independent": 2 + noise,
        "opposed": 5 - 0.4 * below + noise,
    }[kind]
    parts = ratio_parts(above, below)
    assert parts.mean() == pytest.approx(above.mean() / below.mean())
    slow = slow_ratio_interval(above, below)
    wide = slow[1] - slow[0]
    np.testing.assert_allclose(bootstrap(parts), slow, atol=0.15 * wide)  # to first order
    exact = bootstrap(parts, n_boot=4000, denominator=below)
    np.testing.assert_allclose(exact, slow, atol=0.06 * wide)
    fixed = bootstrap(above / below.mean())  # the denominator held fixed is another interval
    wrong = abs((fixed[1] - fixed[0]) / (slow[1] - slow[0]) - 1)
    assert wrong > 0.25


def test_parts_of_a_constant_ratio_do_not_spread():
    below = np.array([1.0, 5.0, 9.0])
    np.testing.assert_allclose(ratio_parts(0.25 * below, below), 0.25)
    many = torch.tensor(np.stack([below, 0 * below]))
    np.testing.assert_allclose(ratio_parts(many, torch.tensor(below)), [[1] * 3, [0] * 3])


def fraction_of(below, above=None):
    """A result of two fractions, as the verbs make them, and one number that is none."""
    above = np.arange(len(below)) / 7.0 if above is None else above
    parts, notes = fractions(np.stack([above, 2 * above]), below, "clean minus corrupted", "try x")
    examples = np.concatenate([parts, above[None]])
    metadata = {**notes, "ratios": {"measure": ["one", "two"]}}
    coords = {"measure": ["one", "two", "plain"]}
    return Result(examples.mean(-1), ("measure",), coords, "faithful", "u", metadata, examples)


def test_a_fraction_of_what_may_be_zero_says_so_and_has_no_interval(tmp_path):
    with pytest.warns(UserWarning, match="clean minus corrupted is 0.2.* contains 0") as seen:
        result = fraction_of(np.array([3.0, -2.0, 1.5, -2.5, 1.0]))
    assert len(seen) == 1 and seen[0].filename == __file__
    for one in (result, Result.load(result.save(tmp_path / "x.npz")), mean_of([result, result])):
        low, high = one.ci()
        assert np.isnan(low[:2]).all() and np.isnan(high[:2]).all() and low[2] < high[2]
        assert one.table().rows[0][2:] == (None, None) and one.table().rows[2][2] is not None
        for text in (repr(one), one._repr_html_(), repr(one.sel(measure="one")), one.caption()):
            assert "contains 0" in text
        assert "contains 0" not in repr(one.sel(measure="plain"))
        assert one.sel(measure="plain").ci()[0] == low[2]
    steady = fraction_of(np.ones(5))
    assert "contains 0" not in repr(steady) and not np.isnan(steady.ci()[0]).any()
    assert "contains 0" in repr(stack({"a": steady, "b": result}))
    assert np.isnan(stack({"a": steady, "b": result}).ci()[0][1, 0])
    assert result.plot() is not None and result.sel(measure="one").ci(level=0.5)[0] is not None
    with pytest.raises(ValueError, match="is 0 on average: there is no fraction .try x"):
        fraction_of(np.array([1.0, -1.0]))


def test_the_interval_of_a_fraction_contains_the_fraction_or_is_absent():
    rng, absent = np.random.default_rng(1), 0
    for n in (2, 3, 5, 9):
        for _ in range(50):
            below, above = rng.normal(0.8, 1, n), rng.normal(0, 1, n)
            low, high = bootstrap(ratio_parts(above, below), 0.95, 300, 0, below)
            absent += bool(np.isnan(low))
            assert np.isnan(low) == np.isnan(high)
            assert np.isnan(low) or low <= above.mean() / below.mean() <= high
    assert 20 < absent < 180
