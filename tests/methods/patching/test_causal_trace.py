"""Distance from the clean prediction, and causal tracing: laws, numbers by hand, both ways the
same.
"""

import numpy as np
import pytest
import torch

import interp
from interp.interventions import run


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=4, seed=0)


# --- kl_metric ------------------------------------------------------------------------------------


def test_kl_is_zero_at_home_and_torchs_own_elsewhere(any_tiny, ioi):
    metric = interp.methods.runs.kl_metric(any_tiny, ioi)
    clean, corrupted = (
        run(any_tiny, t, last_only=True).logits.log_softmax(-1) for t in (ioi.clean, ioi.corrupted)
    )
    assert metric.unit == "nats" and torch.allclose(metric.of(clean, {}), torch.zeros(4), atol=1e-6)
    by_hand = (clean.exp() * (clean - corrupted)).sum(-1)
    torch.testing.assert_close(metric.of(corrupted, {}), by_hand, atol=1e-5, rtol=1e-4)
    theirs = [
        torch.nn.functional.kl_div(q, p.exp(), reduction="sum") for p, q in zip(clean, corrupted)
    ]
    torch.testing.assert_close(metric.of(corrupted, {}), torch.stack(theirs), atol=1e-5, rtol=1e-4)
    other = interp.methods.runs.kl_metric(any_tiny, ioi, run="corrupted")
    assert torch.allclose(other.of(corrupted, {}), torch.zeros(4), atol=1e-6)


@pytest.mark.parametrize("backend", ["engine", "hooks"])
def test_restoring_everything_takes_the_distance_to_zero(any_tiny, ioi, backend):
    metric = interp.methods.runs.kl_metric(any_tiny, ioi)
    effect = interp.patch(any_tiny, ioi, "resid_pre.0", metric=metric, backend=backend)
    far = metric.of(run(any_tiny, ioi.corrupted, last_only=True).logits, {})
    assert far.min() > 1e-3
    np.testing.assert_allclose(effect.examples, -far.numpy(), atol=1e-5)


def test_kl_says_what_it_needs(any_tiny, ioi):
    with pytest.raises(ValueError, match="kl_metric"):
        ioi.with_metric("kl")
    with pytest.raises(ValueError, match="kl_metric"):
        interp.patch(any_tiny, ioi, "L*H*", metric="KL")
    with pytest.raises(ValueError, match="did you mean 'clean'"):
        interp.methods.runs.kl_metric(any_tiny, ioi, run="clear")
    with pytest.raises(ValueError, match="made for 4 prompts"):
        interp.patch(any_tiny, ioi[:2], "L*H*", metric=interp.methods.runs.kl_metric(any_tiny, ioi))


# --- causal_trace ---------------------------------------------------------------------------------

EITHER = pytest.mark.parametrize("backend", ["engine", "hooks"])


@EITHER
def test_no_noise_has_nothing_to_restore(any_tiny, ioi, backend):
    trace = interp.causal_trace(
        any_tiny, ioi, "resid_pre.*@*", subject="S2", noise=0, samples=2, backend=backend
    )
    np.testing.assert_allclose(trace.values, 0, atol=1e-5)
    assert trace.metadata["corrupted"] == pytest.approx(trace.metadata["clean"], abs=1e-5)


@EITHER
@pytest.mark.parametrize("subject", ["S2", ("S1", "S2")])
def test_restoring_the_subject_below_everything_is_the_clean_run(any_tiny, ioi, backend, subject):
    names = [subject] if isinstance(subject, str) else None
    spots = names or range(int(ioi.position("S1").min()), int(ioi.position("S2").max()) + 1)
    together = [f"resid_pre.0@{spot}" for spot in spots]
    trace = interp.causal_trace(
        any_tiny, ioi, together, subject=subject, samples=3, backend=backend
    )
    lost = trace.metadata["clean"] - trace.metadata["corrupted"]
    assert np.abs(trace.examples).max() > 1e-2
    np.testing.assert_allclose(trace.values, lost, atol=1e-5)
    whole = interp.causal_trace(
        any_tiny, ioi, "resid_post.2@END", subject=subject, samples=3, backend=backend
    )
    np.testing.assert_allclose(whole.examples, trace.examples, atol=1e-4)


@EITHER
def test_a_window_by_hand(any_tiny, ioi, backend):
    from interp.edits import add, set_to
    from interp.interventions import Intervention
    from interp.models import bridge

    traced = interp.causal_trace(
        any_tiny, ioi, "mlp.*@S2", subject="S2", samples=1, seed=3, window=2, backend=backend
    )
    at, rows = ioi.position("S2"), torch.arange(4)
    sigma = bridge.embeddings(any_tiny, ioi.clean)[rows, at].numpy().std()
    noise = torch.randn(*ioi.clean.shape, 32, generator=torch.Generator().manual_seed(3)) * (
        3 * float(sigma)
    )
    blur = Intervention("embed@S2", add(noise[rows, at][:, None]))
    clean = run(any_tiny, ioi, keep=["mlp.0", "mlp.1", "mlp.2"]).kept

    def read(*edits):
        return ioi.metric(run(any_tiny, ioi, [blur, *edits]).logits).numpy()

    def put(layer):
        return Intervention(f"mlp.{layer}@S2", set_to(clean[f"mlp.{layer}"][rows, at]))

    for layer, together in ((0, (0,)), (1, (0, 1)), (2, (1, 2))):
        by_hand = read(*map(put, together)) - read()
        np.testing.assert_allclose(traced.examples[layer], by_hand, atol=1e-4)


def test_tracing_stands_beside_token_replacement(any_tiny, ioi):
    trace = interp.causal_trace(any_tiny, ioi, "resid_pre.*@*", subject="S2", samples=2)
    patched = interp.patch(any_tiny, ioi, "resid_pre.*@*")
    difference = patched - trace
    np.testing.assert_allclose(difference.examples, patched.examples - trace.examples)
    assert "denoising" in trace.metadata["in_distribution"]
    first = int(ioi.position("S2").min())
    assert (trace.values[:, :first] == 0).all()
    again = interp.causal_trace(any_tiny, ioi, "resid_pre.*@*", subject="S2", samples=2)
    np.testing.assert_array_equal(again.examples, trace.examples)
    other = interp.causal_trace(any_tiny, ioi, "resid_pre.*@*", subject="S2", samples=2, seed=1)
    assert np.abs(other.values - trace.values).max() > 1e-3


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(subject="S9"), "did you mean"),
        (dict(subject=("S2", "S1")), "comes after"),
        (dict(subject="S2", window=4), "a window is for 'mlp"),
        (dict(subject="S2", window=0), "at least one layer"),
        (dict(subject="S2", samples=0), "at least one draw"),
        (dict(subject="S2", metric="kl"), "kl_metric"),
        (dict(subject="S2", backend="fast"), "unknown backend"),
    ],
)
def test_wrong_traces_are_one_sentence(any_tiny, ioi, options, says):
    with pytest.raises(ValueError, match=says):
        interp.causal_trace(any_tiny, ioi, "resid_pre.*@*", **options)
