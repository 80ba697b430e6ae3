"""A crosscoder finds the planted difference of two models, and nothing where there is none."""

import pytest
import torch

from interp import features
from interp.features.activations import Activations

SHARED, ALONE, D = 20, 3, 24  # features of both models, of each alone, width


def toy(different, seed=0, tokens=6_000):
    """Activations of two models that share 20 features, in other directions; 3 more are each's."""
    g = torch.Generator().manual_seed(seed)
    n = SHARED + 2 * ALONE
    on = (torch.rand(tokens, n, generator=g) < 2 / n) * (1 + torch.rand(tokens, n, generator=g))
    maps = []
    for _ in range(2):
        directions = torch.randn(n, D, generator=g)
        maps.append(directions / directions.norm(dim=1, keepdim=True))
    if different:
        maps[0][SHARED + ALONE :] = 0
        maps[1][SHARED : SHARED + ALONE] = 0
    else:
        maps[1] = maps[0]
    ids = torch.arange(tokens)[:, None]
    acts = [
        Activations(("embed",), ids, 0, ({"embed": on @ m},), {"model": name})
        for name, m in zip(("base", "tuned"), maps)
    ]
    return acts, maps


def trained(acts, **options):
    options = {"width": 40, "k": 2, "tokens": 80_000, "batch": 256, "lr": 1e-2} | options
    return features.train_crosscoder(None, "embed", acts, **options)


@pytest.fixture(scope="module")
def found():
    acts, maps = toy(different=True)
    return trained(acts), acts, maps


def test_planted_differences_are_found_and_are_the_planted_directions(found):
    crosscoder, _, maps = found
    assert min(crosscoder.metadata["explained"].values()) > 0.9
    for which, name in enumerate(crosscoder.names):
        first = SHARED + ALONE * which
        planted = maps[which][first : first + ALONE]
        latents = crosscoder.exclusive()[name]
        mine = torch.nn.functional.normalize(crosscoder.directions(name)[latents], dim=1)
        assert (mine @ planted.T).amax(0).min() > 0.95  # each is found
        assert (mine @ planted.T).amax(1).min() > 0.9  # and nothing else
    assert len(crosscoder.shared()) >= SHARED
    assert "only in tuned" in repr(crosscoder)


def test_two_equal_models_have_nothing_alone():
    acts, _ = toy(different=False)
    crosscoder = trained(acts)
    assert crosscoder.metadata["explained"]["base"] > 0.9
    assert [len(some) for some in crosscoder.exclusive().values()] == [0, 0]
    often = crosscoder.weights["frequency"]
    assert float(((crosscoder.relative_norm() - 0.5).abs() * often).sum() / often.sum()) < 0.01


def test_it_computes_what_its_weights_say_and_keeps_it(found, tmp_path):
    crosscoder, acts, _ = found
    x = [some.of()[:50] for some in acts]
    w = crosscoder.weights
    z = (torch.cat(x, 1) @ w["W_enc"] + w["b_enc"]).relu()
    z = torch.where(z > w["threshold"], z, 0)
    both = torch.cat(crosscoder.reconstruct(*x), 1)
    assert torch.allclose(crosscoder.encode(*x), z)
    assert torch.allclose(both, z @ w["W_dec"] + w["b_dec"])
    lengths = [
        crosscoder.directions(name).norm(dim=1) / s for name, s in zip(crosscoder.names, w["scale"])
    ]
    assert torch.allclose(sum(lengths), torch.ones(40), atol=1e-5)
    assert 1 < float((crosscoder.encode(*(s.of() for s in acts)) > 0).sum(1).float().mean()) < 3
    again = features.Crosscoder.load(crosscoder.save(tmp_path))
    assert again.metadata == crosscoder.metadata and repr(again) == repr(crosscoder)
    assert torch.equal(again.encode(*x), crosscoder.encode(*x))


def test_scale_of_one_model_changes_no_verdict(found):
    crosscoder, acts, _ = found
    loud, ids = {"embed": 30 * acts[1].of()}, acts[1].tokens
    louder = Activations(("embed",), ids, 0, (loud,), {"model": "tuned"})
    again = trained([acts[0], louder])
    for name in crosscoder.names:
        assert torch.equal(again.exclusive()[name], crosscoder.exclusive()[name])


def test_two_models_are_read_on_the_same_tokens_or_refused(tiny, tiny_gpt2):
    ids = torch.randint(5, 200, (40, 16), generator=torch.Generator().manual_seed(0))
    options = {"width": 32, "k": 4, "tokens": 1_280, "batch": 64}
    crosscoder = features.train_crosscoder((tiny, tiny_gpt2), "resid_post.1", ids, **options)
    assert crosscoder.names == ("tiny", "tiny-gpt2")
    other = [features.activations(tiny, "mlp.1", some) for some in (ids[:30], ids[10:])]
    with pytest.raises(ValueError, match="read different tokens"):
        features.train_crosscoder(None, "mlp.1", other, **options)
    with pytest.raises(ValueError, match="k=99 of width=32"):
        features.train_crosscoder((tiny, tiny), "mlp.1", ids, **options | {"k": 99})
    with pytest.raises(ValueError, match="of two models, got 1"):
        features.train_crosscoder((tiny,), "mlp.1", ids, **options)
    with pytest.raises(ValueError, match="has 32 numbers a token"):
        crosscoder.encode(torch.zeros(2, 5), torch.zeros(2, 32))
