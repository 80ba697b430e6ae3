"""Attention as a memory: the same sums two ways, errors and capacities as theory has them."""

import numpy as np
import pytest
import torch

from interp._stats import power_law
from interp.replications import associative_memory as memory
from interp.results import Result


@pytest.fixture
def tokens():
    g = torch.Generator().manual_seed(0)

    def draw(d):
        return torch.randn(2, 3, 20, d, generator=g)

    return draw(8), draw(8), draw(5), torch.rand(2, 3, 20, generator=g)


def test_linear_attention_is_a_hebbian_memory(tokens):
    q, k, v, decay = tokens
    torch.testing.assert_close(
        memory.hebbian_attention(q, k, v), memory.linear_attention(q, k, v), atol=1e-5, rtol=1e-5
    )
    last = memory.recall(memory.hebbian(k, v), q[..., -1:, :])[
        ..., 0, :
    ]  # the last token reads the whole memory
    torch.testing.assert_close(
        last, memory.linear_attention(q, k, v)[..., -1, :], atol=1e-5, rtol=1e-5
    )
    assert (memory.softmax_recall(k, v, q[..., -1:, :])[..., 0, :] - last).abs().max() > 0.1


def test_linear_attention_is_a_state_space_model_when_it_forgets_all_alike(tokens):
    q, k, v, decay = tokens
    alike = decay[..., None].expand(k.shape)
    near = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(
        memory.state_space(v, torch.ones_like(k), k, q), memory.linear_attention(q, k, v), **near
    )
    torch.testing.assert_close(
        memory.state_space(v, alike, k, q), memory.linear_attention(q, k, v, decay), **near
    )
    each = torch.rand(k.shape, generator=torch.Generator().manual_seed(1))
    assert (
        memory.state_space(v, each, k, q) - memory.linear_attention(q, k, v, each.mean(-1))
    ).abs().max() > 0.1
    assert (memory.state_space(v, alike, k, q) - memory.linear_attention(q, k, v)).abs().max() > 0.1


def test_a_pattern_with_decay_by_hand():
    one = torch.ones(3, 1)
    out = memory.linear_attention(
        one, one, torch.tensor([[1.0], [10.0], [100.0]]), torch.tensor([0.9, 0.5, 0.1])
    )
    assert out[:, 0].tolist() == pytest.approx([1, 10.5, 101.05])


def test_the_delta_rule_corrects_and_comes_to_least_squares():
    g = torch.Generator().manual_seed(0)
    keys, _ = memory.pairs(6, 16, 4, 3, "random", g)
    values = torch.randn(3, 6, 5, generator=g)
    once, often = memory.delta_rule(keys, values), memory.delta_rule(keys, values, passes=200)
    torch.testing.assert_close(
        memory.recall(once, keys)[:, -1], values[:, -1], atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(memory.recall(often, keys), values, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(often, (torch.linalg.pinv(keys) @ values).mT, atol=1e-3, rtol=1e-3)
    assert (memory.recall(memory.hebbian(keys, values), keys) - values).abs().max() > 0.3
    keys, _ = memory.pairs(
        16, 16, 4, 3, "orthogonal", g
    )  # then both rules store without error, in one pass
    values = torch.randn(3, 16, 5, generator=g)
    for made in (memory.hebbian(keys, values), memory.delta_rule(keys, values)):
        torch.testing.assert_close(memory.recall(made, keys), values, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("d, n", [(16, 8), (64, 33), (64, 200)])
def test_crosstalk_is_as_theory_has_it(d, n):
    g = torch.Generator().manual_seed(0)
    keys, _ = memory.pairs(n, d, 2, 60, "random", g)
    assert torch.allclose(keys.norm(dim=-1), torch.ones(60, n), atol=1e-5)
    values = torch.randn(60, n, 12, generator=g)
    error = (
        memory.recall(memory.hebbian(keys, values), keys) - values
    ).square().mean() / values.square().mean()
    assert error.item() == pytest.approx((n - 1) / d, rel=0.1)


def test_capacity_grows_with_the_keys_and_softmax_holds_more():
    d_k, per = (16, 32, 64), (0.5, 1, 2, 4, 8)
    curve = memory.accuracy(d_k, per, trials=4)
    assert (
        curve.values.shape == (3, 5)
        and curve.values[:, 0].min() > 0.95
        and (np.diff(curve.values, axis=1) < 0).all()
    )
    pairs = memory.capacity(curve).values
    p, low, high = power_law(d_k, pairs)
    assert 0.8 < p < 1.2 and low < p < high
    soft = memory.accuracy(d_k, per, memory="softmax", trials=2)
    assert soft.values.min() > 0.99 and np.isnan(memory.capacity(soft).values).all()
    delta = memory.accuracy((16, 32), (0.5, 1, 2), memory="delta", trials=2)
    assert delta.values.shape == (2, 3) and delta == memory.accuracy(
        (16, 32), (0.5, 1, 2), memory="delta", trials=2
    )
    assert (memory.accuracy((16,), (0.5, 1), keys="orthogonal", trials=2).values == 1).all()


def test_capacity_by_hand():
    at = {"d_k": [10], "pairs per d_k": [1, 10, 100]}
    assert memory.capacity(
        Result([[0.9, 0.7, 0.3]], tuple(at), at, "", "")
    ).values == pytest.approx(10**2.5)
    assert np.isnan(
        memory.capacity(Result([[0.4, 0.3, 0.2]], tuple(at), at, "", "")).values
    ).all()  # began below


def test_a_power_law_by_hand():
    assert power_law([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx((2, 2, 2))
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):  # the interval holds the truth as often as it says
        x = np.arange(1, 6)
        _, low, high = power_law(x, x**0.7 * np.exp(0.1 * rng.normal(size=5)))
        inside += low < 0.7 < high
    assert 0.92 < inside / 400 < 0.98
    with pytest.raises(ValueError, match="three or more points"):
        power_law([1, 2], [1, 2])
    with pytest.raises(ValueError, match="positive and finite"):
        power_law([1, 2, 3], [1, 2, np.nan])


def test_wrong_words():
    with pytest.raises(ValueError, match="did you mean 'hebbian'"):
        memory.accuracy(memory="hebian")
    with pytest.raises(ValueError, match="did you mean 'orthogonal'"):
        memory.accuracy(keys="ortogonal")
    with pytest.raises(ValueError, match="only d_k=16 keys can be orthogonal, not 32"):
        memory.accuracy((16,), (2,), keys="orthogonal")
    with pytest.raises(ValueError, match="lies between 0 and 2"):
        memory.delta_rule(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), rate=2.5)
