"""The tuned lens: the identity at the end, never worse than the plain lens on its text, the same
for a seed.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

import interp
from interp.interventions import run
from interp.methods.lenses.lens import divergence
from interp.models import bridge


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path))
    return tmp_path


def text(model, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(5, bridge.dims(model).d_vocab, (8, 16), generator=g)


def test_a_tuned_lens_is_closer_to_the_model_and_the_identity_at_the_end(any_tiny):
    lens = interp.tuned_lens(any_tiny, text(any_tiny), steps=60)
    plain, tuned = lens.kl.values
    assert (
        lens.layers == (0, 1, 2) and (tuned <= plain).all() and (tuned[:2] < 0.8 * plain[:2]).all()
    )
    assert tuned[2] == plain[2] == pytest.approx(0, abs=1e-5)
    h = torch.randn(2, 3, 32)
    torch.testing.assert_close(lens.read(2, h), h, atol=0, rtol=0)
    assert (lens.read(0, h) - h).abs().max() > 0


def test_the_divergence_is_over_the_text_without_position_zero(any_tiny):
    tokens = text(any_tiny)
    lens = interp.tuned_lens(any_tiny, tokens, layers=[1], steps=20)
    out = run(any_tiny, tokens, keep=["resid_post.1"])
    true = out.logits[:, 1:].log_softmax(-1)
    for row, h in ((0, out.kept["resid_post.1"]), (1, lens.read(1, out.kept["resid_post.1"]))):
        said = bridge.unembed(any_tiny, bridge.final_norm(any_tiny, h[:, 1:])).log_softmax(-1)
        expected = (true.exp() * (true - said)).sum(-1).mean()
        assert lens.kl.values[row, 0] == pytest.approx(float(expected), rel=1e-3)


def test_what_tuning_learns_holds_on_other_text(any_tiny):
    lens = interp.tuned_lens(any_tiny, text(any_tiny), layers=[1], steps=60)
    out = run(any_tiny, text(any_tiny, seed=9), keep=["resid_post.1", "resid_post.2"])
    h, end = (out.kept[f"resid_post.{i}"][:, 1:].flatten(0, 1) for i in (1, 2))
    zero = torch.zeros(32, 32), torch.zeros(32)
    assert divergence(any_tiny, h, end, lens.weight[0], lens.bias[0]) < divergence(
        any_tiny, h, end, *zero
    )


def test_the_same_seed_gives_the_same_lens_and_it_is_kept(tiny, own_cache):
    options = dict(layers=[0], steps=5)
    first, again = (interp.tuned_lens(tiny, text(tiny), **options, cached=False) for _ in range(2))
    torch.testing.assert_close(first.weight, again.weight, atol=0, rtol=0)
    assert not list(own_cache.rglob("*.safetensors"))
    kept = interp.tuned_lens(tiny, text(tiny), **options)
    read = interp.tuned_lens(tiny, text(tiny), **options)
    assert (kept.kl.metadata["from disk"], read.kl.metadata["from disk"]) == (False, True)
    torch.testing.assert_close(kept.weight, read.weight, atol=0, rtol=0)
    np.testing.assert_array_equal(kept.kl.values, read.kl.values)
    for other in (dict(options, seed=1), dict(options, steps=6), dict(options, vocab=50)):
        assert not interp.tuned_lens(tiny, text(tiny), **other).kl.metadata["from disk"]
    assert not interp.tuned_lens(tiny, text(tiny, 1), **options).kl.metadata["from disk"]


def test_two_models_of_one_name_have_each_their_lens(tiny):
    lens = interp.tuned_lens(tiny, text(tiny), layers=[0], steps=2)
    other = interp.models.tiny("tiny", seed=5)
    assert not interp.tuned_lens(other, text(tiny), layers=[0], steps=2).kl.metadata["from disk"]
    with pytest.raises(ValueError, match="another model"):
        interp.logit_lens(other, interp.tasks.ioi(other, n=2), lens=lens)


def test_a_lens_reads_a_task(any_tiny):
    task = interp.tasks.ioi(any_tiny, n=4, seed=0)
    lens = interp.tuned_lens(any_tiny, text(any_tiny), layers=[1], steps=20)
    plain, tuned = interp.logit_lens(any_tiny, task), interp.logit_lens(any_tiny, task, lens=lens)
    assert np.isnan(tuned.values[0]) and np.isfinite(tuned.values[1:]).all()
    np.testing.assert_allclose(tuned.values[2], plain.values[2])
    h = run(any_tiny, task, keep=["resid_post.1@END"]).kept["resid_post.1@END"]
    logits = bridge.unembed(any_tiny, bridge.final_norm(any_tiny, lens.read(1, h)))
    np.testing.assert_allclose(tuned.examples[1], task.metric(logits).numpy(), atol=1e-5)
    everywhere = interp.logit_lens(any_tiny, task, "resid_post.1@*", lens=lens)
    np.testing.assert_allclose(everywhere.examples[-1], tuned.examples[1], atol=1e-5)


def test_fewer_tokens_to_train_on_are_judged_on_all(tiny):
    few = interp.tuned_lens(tiny, text(tiny), layers=[1], steps=40, vocab=30)
    assert (few.kl.values[1] <= few.kl.values[0]).all()
    whole = interp.tuned_lens(tiny, text(tiny), layers=[1], steps=40, vocab=None)
    np.testing.assert_allclose(few.kl.values[0], whole.kl.values[0])  # the logit lens is the same


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m: interp.tuned_lens(m, torch.tensor([1])), "2 or more tokens"),
        (lambda m: interp.tuned_lens(m, text(m), layers=[7]), "layers 0 to 2"),
        (lambda m: interp.tuned_lens(m, text(m), steps=0), "steps=0"),
    ],
)
def test_wrong_lenses_are_one_sentence(tiny, call, says):
    with pytest.raises(ValueError, match=says):
        call(tiny)


def test_wrong_readings_through_a_lens_are_one_sentence(tiny):
    task, lens = (
        interp.tasks.ioi(tiny, n=2),
        interp.tuned_lens(tiny, text(tiny), layers=[1], steps=2),
    )
    for where, says in (
        ("resid_pre.*@END", "after a layer"),
        ("resid_post.0@END", "has no map at the layers"),
    ):
        with pytest.raises(ValueError, match=says):
            interp.logit_lens(tiny, task, where, lens=lens)
    with pytest.raises(ValueError, match="it has 1, 2"):
        lens.read(0, torch.zeros(32))
    with pytest.raises(ValueError, match="must be the identity"):
        replace(lens, bias=lens.bias + 1)
