"""How latents are used, by hand; and dictionaries that are kept."""

import dataclasses

import numpy as np
import pytest
import torch

from interp import features
from interp._stats import bootstrap, correlations
from interp.features.activations import Activations
from interp.features.training import train_cache


@pytest.fixture(scope="module")
def acts(tiny):
    ids = torch.randint(5, 200, (40, 16), generator=torch.Generator().manual_seed(0))
    return features.activations(tiny, "resid_post.1", ids)


def test_correlations_are_numpys_and_their_intervals_hold_what_they_should():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(2, 6_000))
    rows = np.stack([a[0], a[0] + a[1], np.ones(6_000)])
    found = correlations(rows, 60)
    assert np.allclose(found.mean(-1)[:2, :2], np.corrcoef(rows[:2])) and np.isnan(found[2]).all()
    low, high = bootstrap(found[0, 1])
    assert low < 0.5**0.5 < high and high - low < 0.03  # (1 - r2) / sqrt(n) is 0.0065
    with pytest.raises(ValueError, match="do not fall into 7 groups"):
        correlations(rows, 7)


def test_densities_are_counted_and_sorted():
    x = torch.tensor([[1.0, 0.0], [1.0, -1.0], [2.0, 0.0], [0.0, -3.0]])
    acts = Activations(("embed",), torch.zeros(4, 1, dtype=torch.long), 0, ({"embed": x},), {})
    found = features.densities(features.identity("embed", 2), acts)
    assert found.values.tolist() == [[0.75, 0.5, 0, 0]] and found.metadata["dead"] == {
        "identity": 2
    }
    assert found.metadata["latents on"] == {"identity": 1.25} and found.metadata["underused"] == {
        "identity": 2
    }
    with pytest.raises(ValueError, match="of one size"):
        features.densities([features.identity("embed", 2), features.identity("embed", 3)], acts)


def test_tokens_that_are_far_from_the_mean_get_more_of_a_threshold_and_no_more_of_top_k(tiny, acts):
    x = acts.of()
    random, _ = features.baselines(acts, k=4, width=64)
    always = {
        **random.weights,
        "b_enc": random.weights["b_enc"] + 99,
    }  # so that k are always above zero
    topk = dataclasses.replace(random, weights=always, name="top-k")
    z = (x - x.mean(0)) @ random.weights["W_enc"]
    jump = features.Dictionary(
        "jumprelu",
        {**random.weights, "threshold": z.flatten().quantile(0.95).expand(64)},
        random.site,
        "jump",
        settings=random.settings,
    )
    found = features.l0_difficulty_correlation(tiny, [topk, jump], acts, acts.tokens)
    assert (
        np.isnan(found.sel(dictionary="top-k").values).all() and found.metadata["tokens"] == 40 * 13
    )
    assert found.sel(dictionary="jump", measure="distance from the mean").values > 0.3
    from scipy.stats import spearmanr

    inner = slice(1, 14)  # rows are positions 1 to 15: those with a loss on both sides are 2 to 14
    count = (jump.encode(x) > 0).sum(-1).view(40, 15)[:, inner].flatten()
    times = torch.bincount(acts.tokens.flatten(), minlength=512)
    rare = -times[acts.tokens[:, 2:15]].flatten()
    assert found.sel(dictionary="jump", measure="rarity of the token").values == pytest.approx(
        spearmanr(count, rare).statistic, abs=1e-6
    )


def test_a_dictionary_is_trained_once_for_each_recipe(tiny, acts, tmp_path, monkeypatch):
    how = dict(folder=tmp_path, width=64, k=4, tokens=640, batch=64)
    first = features.load_or_train(tiny, "resid_post.1", acts, **how)
    calls = []
    monkeypatch.setattr(train_cache, "train", lambda *a, **o: calls.append(o) or first)
    again = features.load_or_train(tiny, "resid_post.1", acts, name="mine", **how)
    assert (
        not calls
        and again.name == "mine"
        and torch.equal(again.W_dec, first.W_dec)
        and again.metadata == first.metadata
    )
    features.load_or_train(tiny, "resid_post.1", acts, seed=1, **how)
    (home,) = [p.parent for p in tmp_path.glob("*/cfg.json") if features.load(p.parent)][:1]
    (home / "sae_weights.safetensors").write_bytes(b"cut")
    features.load_or_train(tiny, "resid_post.1", acts, **how)
    assert [c.get("seed", 0) for c in calls][0] == 1 and len(calls) >= 1
