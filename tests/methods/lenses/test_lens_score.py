"""Lenses judged on other text: at the last layer, by hand, and beside the lens's own number."""

import numpy as np
import pytest
import torch

import interp
from interp.methods.lenses import lens_score
from interp.models import bridge


def text(model, n=3, length=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(5, bridge.dims(model).d_vocab, (n, length), generator=g)


@pytest.fixture
def lenses(tiny):
    ids = text(tiny)
    return {
        "Jacobian": interp.jacobian_lens(tiny, ids, skip=2, cached=False),
        "tuned": interp.tuned_lens(tiny, ids, steps=5, batch=8, cached=False),
    }


def test_the_last_layer_is_the_model(tiny, lenses):
    found = lens_score(tiny, text(tiny, seed=1), lenses)
    assert found.coords["lens"] == ["logit lens", "Jacobian", "tuned"]
    np.testing.assert_allclose(found.values[:, -1], 0, atol=1e-6)
    assert (found.values[:, :-1] > 1e-4).all()
    near = lens_score(tiny, text(tiny, seed=1), lenses, measure="top10")
    np.testing.assert_array_equal(near.values[:, -1], 1.0)


def test_it_is_the_divergence_by_hand(tiny, lenses):
    ids, lens = text(tiny, n=2, seed=2), lenses["tuned"]
    _, cache = tiny.run_with_cache(ids)
    h = lens.read(
        1, cache["blocks.1.hook_out"] if "blocks.1.hook_out" in cache else cache["resid_post", 1]
    )
    logits = bridge.unembed(tiny, bridge.final_norm(tiny, h))
    p, q = tiny(ids).log_softmax(-1), logits.log_softmax(-1)
    by_hand = (p.exp() * (p - q)).sum(-1)[:, 3:].mean(1)
    found = lens_score(tiny, ids, lens, layers=[1], skip=3)
    np.testing.assert_allclose(found.examples[1, 0], by_hand.detach(), atol=1e-5)
    ten = (logits.topk(10).indices == p.argmax(-1)[..., None]).any(-1)[:, 3:].double().mean(1)
    found = lens_score(tiny, ids, lens, layers=[1], skip=3, measure="top10")
    np.testing.assert_allclose(found.examples[1, 0], ten)


def test_it_agrees_with_the_lens_own_number_on_its_text(tiny):
    ids = text(tiny)
    lens = interp.jacobian_lens(tiny, ids, skip=2, cached=False)
    found = lens_score(tiny, ids, lens)
    np.testing.assert_allclose(found.values, lens.kl.values, atol=1e-5)


def test_texts_keep_their_order(tiny):
    a, b = text(tiny, n=1, length=9)[0].tolist(), text(tiny, n=1, length=6, seed=3)[0].tolist()
    both = lens_score(tiny, [a, b]).examples
    for i, ids in enumerate((a, b)):
        np.testing.assert_allclose(
            both[..., i], lens_score(tiny, [ids]).examples[..., 0], atol=1e-6
        )


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m, x, lens: lens_score(m, x, lens, measure="loss"), "measure 'loss'"),
        (lambda m, x, lens: lens_score(m, x, {"logit lens": lens}), "another name"),
        (lambda m, x, lens: lens_score(m, x, {"mine": 3}), "lenses is a Lens"),
        (lambda m, x, lens: lens_score(m, x, lens, layers=[7]), "layer 7 is not read"),
        (lambda m, x, lens: lens_score(m, x, lens, skip=12), "no position left"),
        (lambda m, x, lens: lens_score(interp.load("tiny-neox"), x, lens), "another model"),
    ],
)
def test_wrong_calls_are_one_sentence(tiny, lenses, call, says):
    with pytest.raises(ValueError, match=says):
        call(tiny, text(tiny), lenses["tuned"])
