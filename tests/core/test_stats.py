"""Shared statistics against slow, independent versions."""

import numpy as np
import pytest
import torch

from interp._stats import bootstrap, ratio_parts


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
