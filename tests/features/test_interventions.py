"""Editing latents: nothing changed is the plain run; a changed latent moves the activation along
its direction alone.
"""

import pytest
import torch
from dictionaries import dictionary

from interp import features
from interp.interventions import run

AT = "resid_post.1"


@pytest.fixture(scope="module")
def ids():
    return torch.randint(5, 200, (6, 12), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["topk", "gated", "transcoder", "skip_transcoder"])
def test_clamping_latents_to_what_they_are_is_the_plain_run(tiny, ids, kind):
    one = dictionary(kind)
    reads = run(tiny, ids, keep=[one.site]).kept[one.site]
    z = float(one.encode(reads)[0, 5, 3])
    same = run(tiny, ids[:1], features.clamp(one, {3: z}, at=5)).logits
    assert torch.allclose(same, run(tiny, ids[:1]).logits, atol=1e-5)
    assert not torch.allclose(
        run(tiny, ids[:1], features.clamp(one, {3: z + 3}, at=5)).logits, same, atol=1e-3
    )


@pytest.mark.parametrize("kind", ["standard", "jumprelu_transcoder"])
def test_ablation_takes_the_latents_directions_out_and_keeps_the_error(tiny, ids, kind):
    one = dictionary(kind)
    before = run(tiny, ids, keep=dict.fromkeys([one.site, one.writes])).kept
    after = run(tiny, ids, features.ablate(one, [3, 9]), keep=[one.writes]).kept[one.writes]
    z = one.encode(before[one.site])
    assert (z[..., [3, 9]] > 0).any()
    changed = z.clone()
    changed[..., [3, 9]] = 0
    by_hand = (
        before[one.writes]
        + one.reconstruct(before[one.site], changed)
        - one.reconstruct(before[one.site])
    )
    assert torch.allclose(after[:, 1:], by_hand[:, 1:], atol=1e-5)
    assert torch.equal(after[:, 0], before[one.writes][:, 0])  # the sink is left alone


def test_steering_adds_the_direction_at_one_position(tiny, ids):
    one = dictionary()
    before = run(tiny, ids, keep=[AT]).kept[AT]
    after = run(tiny, ids, features.steer(one, {7: 2.5}, at=-1), keep=[AT]).kept[AT]
    expected = before.clone()
    expected[:, -1] += 2.5 * one.W_dec[7]
    assert torch.allclose(after, expected, atol=1e-5)


def test_a_latent_that_is_not_there_is_said(tiny):
    with pytest.raises(ValueError, match="has latents 0 to 39, got 40"):
        features.ablate(dictionary(), 40)
    with pytest.raises(ValueError, match="side by side"):
        features.ablate(
            features.Dictionary("topk", dictionary().weights, "L1H*.z", settings={"k": 4}), 3
        )
