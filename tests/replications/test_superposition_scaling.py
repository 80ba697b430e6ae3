"""The superposition toy: its optimiser, its geometry by hand, and the two regimes."""

import math

import numpy as np
import pytest
import torch

from interp.replications import superposition_scaling as toy
from interp.results import Result
from interp.toys.data.superposition import Superposition

TINY = {"features": 30, "steps": 200, "batch": 64}


def test_decay_shrinks_and_growth_pulls_norms_to_one():
    rows = torch.tensor([[0.3, 0.4], [3.0, 0.0]])
    decayed, grown = rows.clone(), rows.clone()
    toy.regularise(decayed, 1.0, 0.1)
    assert torch.allclose(decayed, rows * 0.9)
    toy.regularise(grown, -1.0, 0.1)
    assert grown.norm(dim=1).tolist() == pytest.approx([0.5 + 0.1 * 0.5, 3 - 0.1 * 2])
    for _ in range(200):
        toy.regularise(grown, -1.0, 0.1)
    assert torch.allclose(grown.norm(dim=1), torch.ones(2), atol=1e-4)
    assert torch.allclose(
        grown[0] / grown[0].norm(), rows[0] / rows[0].norm(), atol=1e-5
    )  # the direction stays


def test_geometry_by_hand():
    weight = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.6, 0.8], [0.1, 0.1]])
    assert toy.represented(weight) == 0.75
    assert toy.squared_overlap(weight) == pytest.approx((0.0 + 0.36 + 0.64) / 3)
    assert math.isnan(toy.squared_overlap(weight[3:]))
    random = torch.randn(4000, 16, generator=torch.Generator().manual_seed(0))
    assert toy.squared_overlap(random) * 16 == pytest.approx(1, rel=0.02)
    x = torch.eye(4)
    assert torch.allclose(
        toy.recover(x, weight, torch.full((4,), -0.1)), torch.relu(weight @ weight.T - 0.1)
    )


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_the_sparse_loss_and_its_slopes_are_those_of_autograd(alpha):
    g = torch.Generator().manual_seed(0)
    chances = Superposition(features=40, alpha=alpha).chances.float()
    x = toy.draw(chances, 300, g)
    dense = torch.cat([x.dense(40), torch.zeros(x.empty, 40)])
    weight, bias = torch.randn(40, 5, generator=g) / 2, torch.randn(40, generator=g) / 3
    slow = weight.double().requires_grad_(), bias.double().requires_grad_()
    loss = torch.nn.functional.mse_loss(toy.recover(dense.double(), *slow), dense.double())
    loss.backward()
    fast, by_weight, by_bias = toy.loss_and_slopes(x, weight, bias)
    assert fast == pytest.approx(loss.item(), rel=1e-5)
    assert torch.allclose(by_weight.double(), slow[0].grad, atol=1e-7, rtol=1e-4)
    assert torch.allclose(by_bias.double(), slow[1].grad, atol=1e-7, rtol=1e-4)


def test_drawn_vectors_have_the_frequencies_and_values_of_the_source():
    chances = Superposition(features=20, alpha=1.0).chances.float()
    x = toy.draw(chances, 20_000, torch.Generator().manual_seed(0))
    cells = x.row * 20 + x.feature
    assert len(cells.unique()) == len(cells) and (x.row.diff() >= 0).all()
    assert len(x.row.unique()) == x.rows and x.rows + x.empty == 20_000
    often = torch.bincount(x.feature, minlength=20) / 20_000
    assert torch.allclose(often, chances, atol=0.015)
    assert x.value.mean() == pytest.approx(1, abs=0.02) and 0 <= x.value.min() < x.value.max() < 2
    alone = (1 - chances.double()).prod()  # features are on independently of one another
    assert x.empty / 20_000 == pytest.approx(alone.item(), abs=0.015)


def test_the_rate_rises_and_falls_to_a_twentieth():
    rates = [toy.rate(step, 100, 0.01, 10) for step in range(100)]
    assert rates[:3] == pytest.approx([0.001, 0.002, 0.003]) and max(rates) == rates[
        9
    ] == pytest.approx(0.01)
    assert rates[-1] == pytest.approx(0.0005) and all(a > b for a, b in zip(rates[9:], rates[10:]))


def test_training_is_seeded_lowers_the_loss_and_has_two_regimes():
    strong, again, other = (toy.train(dimensions=5, decay=-1.0, seed=s, **TINY) for s in (0, 0, 1))
    assert (
        torch.equal(strong.weight, again.weight)
        and strong.losses == again.losses
        and strong.loss == again.loss
    )
    assert not torch.equal(strong.weight, other.weight)
    weak = toy.train(dimensions=5, decay=1.0, alpha=1.0, **TINY)
    for one in (strong, weak):
        assert np.mean(one.losses[-20:]) < np.mean(one.losses[:20]) / 3 and len(one.losses) == 200
    assert toy.represented(strong.weight) == 1 and toy.represented(weak.weight) < 0.7
    assert (
        weak.weight.norm(dim=1)[:3].mean() > weak.weight.norm(dim=1)[-10:].mean() + 0.3
    )  # the frequent ones stay


def test_one_step_is_adamw():
    """Against torch's own AdamW, which decays as here when decay is positive."""
    ours = toy.train(dimensions=4, decay=0.5, features=10, steps=1, batch=8, lr=0.1)
    g = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(10, 4, generator=g) / 2)
    bias = torch.nn.Parameter(torch.randn(10, generator=g))
    drawn = toy.draw(toy.Superposition(features=10).chances.float(), 8, g)
    x = torch.cat([drawn.dense(10), torch.zeros(drawn.empty, 10)])
    adamw = torch.optim.AdamW(
        [{"params": [weight], "weight_decay": 0.5}, {"params": [bias], "weight_decay": 0.0}],
        lr=toy.rate(0, 1, 0.1, 0),
    )
    torch.relu(x @ weight @ weight.T + bias).sub(x).square().mean().backward()
    adamw.step()
    torch.testing.assert_close(ours.weight, weight.detach())
    torch.testing.assert_close(ours.bias, bias.detach())


def test_a_sweep_and_its_exponents():
    found = toy.sweep([2, 4, 8], [0.0], decay=-1.0, seeds=2, features=20, steps=60, batch=32)
    assert found.values.shape == (3, 1, 3) and found.examples.shape == (3, 1, 3, 2)
    by_hand = found.sel(measure="loss").values[0]
    fit = toy.exponents(found)
    assert (
        fit.values[0, 0] == pytest.approx(-np.polyfit(np.log([2, 4, 8]), np.log(by_hand), 1)[0])
        and fit.values[0, 1] < fit.values[0, 0] < fit.values[0, 2]
    )
    at = {"measure": list(toy.MEASURES), "alpha": [0.0], "m": [1, 2, 4]}
    exact = Result(np.array([[[4.0, 2.0, 1.0]]] * 3), tuple(at), at, "", "")
    assert toy.exponents(exact).values[0] == pytest.approx([1, 1, 1])


def test_what_cannot_be_trained():
    with pytest.raises(ValueError, match="each is at least 1"):
        toy.train(dimensions=0)
    with pytest.raises(ValueError, match="a lower learning rate is needed"):
        toy.train(dimensions=3, lr=1e20, **TINY)
