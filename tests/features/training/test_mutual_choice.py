"""Mutual choice, feature choice and the Zipf loss: budgets are kept exactly, and the law is
Zipf's.
"""

import pytest
import torch

from interp import features
from interp.features.training import architectures, zipf


def sae(kind, n=20, k=3, d=16, **options):
    return architectures.sae(kind, d, d, n, k, 100, 0, options)


@pytest.fixture(scope="module")
def made():
    return features.synthetic(features=48, d=32, on=3, tokens=4_000)


def test_zipf_is_one_over_the_rank_and_nothing_is_on_more_often_than_always():
    assert torch.allclose(zipf.zipf(3, 1.1), torch.tensor([0.6, 0.3, 0.2]))
    capped = zipf.zipf(50, 12.0)
    assert (
        capped.max() <= 1 + 1e-6
        and capped.sum() == pytest.approx(12, rel=1e-5)
        and (capped.diff() < 0).all()
    )
    steps = (1 / capped).double().diff()
    assert torch.allclose(
        steps, steps.mean().expand_as(steps), rtol=1e-3
    )  # 1 / (rank + shift): its inverse is a line
    assert torch.allclose(zipf.zipf(7, 7.0), torch.ones(7)) and torch.allclose(
        zipf.zipf(4, 2.0, 0.0), torch.full((4,), 0.5)
    )
    with pytest.raises(ValueError, match="sum to 7 at most"):
        zipf.zipf(7, 8.0)


@pytest.mark.parametrize("exponent", [0.0, 1.0])
@pytest.mark.parametrize("total", [60, 61, 47])
def test_shares_sum_to_the_budget(total, exponent):
    each = zipf.shares(20, total, 10, exponent)
    assert int(each.sum()) == total and int(each.max()) <= 10 and int(each.min()) >= 0
    assert int(each.max() - each.min()) <= 1 or exponent


@pytest.mark.parametrize("kind", ["mutualchoice", "featurechoice"])
def test_the_budget_of_a_batch_is_spent_exactly(kind):
    one, x = sae(kind), torch.randn(40, 20) + 9  # all above zero
    on = one.activation_fn(x) > 0
    assert int(on.sum()) == 3 * 40
    if kind == "featurechoice":
        assert (on.sum(0) == 6).all()  # 3 * 40 / 20
        kept = torch.where(on, x, torch.inf).min(0).values
        assert (
            kept >= torch.where(on, -torch.inf, x).max(0).values
        ).all()  # ... and at the tokens it is largest at
    else:
        assert x[on].min() >= x[~on].max()
    below = one.activation_fn(x - 100)
    assert not below.any()  # nothing is on below zero, whatever the budget


def test_feature_choice_by_zipfs_law_keeps_its_shares():
    one, x = sae("featurechoice", exponent=1.0), torch.randn(40, 20) + 9
    on = (one.activation_fn(x) > 0).sum(0)
    assert torch.equal(on, zipf.shares(20, 120, 40, 1.0)) and on[0] > 5 * on[-1] > 0


def test_the_zipf_loss_is_nothing_where_the_law_holds_and_teaches_more_than_the_dead_where_not():
    law = zipf.zipf(20, 3.0)
    assert not zipf.underused(law).any() and not zipf.underused(law.flip(0)).any()
    assert zipf.underused(torch.tensor([0.6, 0.05, 0.35])).tolist() == [
        False,
        True,
        False,
    ]  # 0.05 < 0.273 / 2
    one, x = sae("mutualchoice"), torch.randn(40, 16)
    dead = torch.zeros(20, dtype=torch.bool)
    latents, before = one.encode_with_hidden_pre(x)

    def loss():
        return float(
            one.calculate_topk_aux_loss(
                sae_in=x, sae_out=one.decode(latents), hidden_pre=before, dead_neuron_mask=dead
            ).detach()
        )

    one.density = law
    assert loss() == 0
    one.density = law * (torch.arange(20) != 9)
    assert loss() > 0 and one.taught(dead).nonzero().flatten().tolist() == [9]
    assert one.taught(torch.arange(20) == 2).nonzero().flatten().tolist() == [2, 9]
    one.cfg.aux = "k"
    assert loss() == 0 and torch.equal(one.taught(dead), dead)


@pytest.mark.parametrize("kind", ["batchtopk", "mutualchoice", "featurechoice"])
def test_the_sparse_step_has_the_dense_steps_loss_and_gradients(kind):
    from sae_lens.saes.sae import TrainStepInput

    from interp.features.training import topk_step

    one, x, dead = sae(kind, n=60, k=4), torch.randn(50, 16), torch.arange(60) < 7
    one.W_dec.data *= 1 + torch.rand(60, 1)
    one.b_enc.data += 0.1 * torch.randn(60)
    found = topk_step.gradients(one, x, dead)
    ours = {name: p.grad.clone() for name, p in one.named_parameters()}
    one.zero_grad()
    output = one.training_forward_pass(TrainStepInput(x, {}, dead, 0, False))
    output.loss.backward()
    assert found.aux > 0 and torch.allclose(found.mse + found.aux, output.loss, rtol=1e-5)
    for name, parameter in one.named_parameters():
        assert (ours[name] - parameter.grad).norm() < 1e-5 * parameter.grad.norm(), name


@pytest.mark.parametrize("kind", ["mutualchoice", "featurechoice"])
def test_both_train_the_same_either_way_and_become_thresholds_that_sae_lens_reads(
    kind, made, tmp_path
):
    from sae_lens import SAE

    how = dict(kind=kind, width=64, k=3, tokens=12_800, batch=128, lr=1e-2)
    fast, slow = (
        features.train(None, "embed", made.activations, fast=fast, **how) for fast in (True, False)
    )
    assert all(
        torch.allclose(fast.weights[name], slow.weights[name], atol=1e-4) for name in fast.weights
    )
    assert fast.kind == "jumprelu" and len(fast.weights["threshold"].unique()) == (
        64 if kind == "featurechoice" else 1
    )
    assert fast.metadata["curve"][-1]["explained"] > fast.metadata["curve"][0]["explained"] + 0.1
    x = made.activations.of()[:1000]
    z = fast.encode(x)
    assert (
        2.3 < float((z > 0).sum(-1).float().mean()) < 3.7
    )  # thresholds spend about the budget, one token at a time
    if kind == "featurechoice":
        assert ((z > 0).float().mean(0) - 3 / 64).abs().median() < 0.02
    again = features.load(fast.save(tmp_path))
    assert torch.equal(again.encode(x), z) and again.metadata["kind"] == kind
    assert torch.allclose(SAE.load_from_disk(tmp_path).encode(x), z, atol=1e-4)


def test_training_goes_on_with_its_densities_and_thresholds(made, tmp_path, monkeypatch):
    from interp.features.training import train_checkpoint

    monkeypatch.setattr(train_checkpoint, "EVERY", 0)
    how = dict(kind="featurechoice", width=64, k=3, tokens=1_920, batch=64)
    whole = features.train(None, "embed", made.activations, **how)

    def stop(now):
        if now["tokens"] > 900:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features.train(None, "embed", made.activations, folder=tmp_path, callback=stop, **how)
    again = features.train(None, "embed", made.activations, folder=tmp_path, **how)
    assert all(torch.equal(again.weights[name], value) for name, value in whole.weights.items())


def test_what_cannot_be_is_said(made):
    with pytest.raises(ValueError, match="did you mean 'zipf'"):
        features.train(
            None,
            "embed",
            made.activations,
            kind="mutualchoice",
            width=64,
            k=3,
            tokens=1280,
            batch=128,
            aux="zip",
        )
    with pytest.raises(ValueError, match="did you mean 'featurechoice'"):
        features.train(None, "embed", made.activations, kind="feature-choice")
    with pytest.raises(ValueError, match="option of mutualchoice"):
        features.train(
            None,
            "embed",
            made.activations,
            kind="mutualchoice",
            width=64,
            k=3,
            tokens=1280,
            batch=128,
            exponents=1.0,
        )
