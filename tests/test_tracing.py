"""Distance from the clean prediction, and causal tracing: laws, numbers by hand, both ways the same."""

import numpy as np
import pytest
import torch

import interp
from interp.interventions import run


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=4, seed=0)


# --- kl_to ---------------------------------------------------------------------------------------------------


def test_kl_is_zero_at_home_and_torchs_own_elsewhere(any_tiny, ioi):
    judge = interp.kl_to(any_tiny, ioi)
    clean, corrupted = (run(any_tiny, t, last_only=True).logits.log_softmax(-1) for t in (ioi.clean, ioi.corrupted))
    assert judge.unit == "nats" and torch.equal(judge.of(clean, {}), torch.zeros(4))
    by_hand = (clean.exp() * (clean - corrupted)).sum(-1)
    torch.testing.assert_close(judge.of(corrupted, {}), by_hand, atol=1e-5, rtol=1e-4)
    theirs = [torch.nn.functional.kl_div(q, p.exp(), reduction="sum") for p, q in zip(clean, corrupted)]
    torch.testing.assert_close(judge.of(corrupted, {}), torch.stack(theirs), atol=1e-5, rtol=1e-4)
    other = interp.kl_to(any_tiny, ioi, run="corrupted")
    assert torch.equal(other.of(corrupted, {}), torch.zeros(4))


@pytest.mark.parametrize("way", ["engine", "hooks"])
def test_restoring_everything_takes_the_distance_to_zero(any_tiny, ioi, way):
    judge = interp.kl_to(any_tiny, ioi)
    effect = interp.patch(any_tiny, ioi, "resid_pre.0", metric=judge, way=way)
    far = judge.of(run(any_tiny, ioi.corrupted, last_only=True).logits, {})
    assert far.min() > 1e-3
    np.testing.assert_allclose(effect.examples, -far.numpy(), atol=1e-5)


def test_kl_both_ways(any_tiny, ioi):
    judge = interp.kl_to(any_tiny, ioi)
    for verb in (interp.patch, interp.ablate):
        ways = [verb(any_tiny, ioi, "L*H*", metric=judge, way=way) for way in ("engine", "hooks")]
        assert [r.about["way"] for r in ways] == ["engine", "hooks"]
        np.testing.assert_allclose(ways[0].examples, ways[1].examples, atol=1e-4)


def test_kl_says_what_it_needs(any_tiny, ioi):
    with pytest.raises(ValueError, match="kl_to"):
        ioi.with_metric("kl")
    with pytest.raises(ValueError, match="kl_to"):
        interp.patch(any_tiny, ioi, "L*H*", metric="KL")
    with pytest.raises(ValueError, match="did you mean 'clean'"):
        interp.kl_to(any_tiny, ioi, run="clear")
    with pytest.raises(ValueError, match="made for 4 prompts"):
        interp.patch(any_tiny, ioi[:2], "L*H*", metric=interp.kl_to(any_tiny, ioi))
