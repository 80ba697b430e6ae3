"""Transcoders of several layers: each is that of `train`, what is finished is kept, and a graph
takes them.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from interp import features
from interp.features.training import train_cache

SMALL = dict(width=24, k=4, tokens=2_000, batch=100)


def ids(n=30):
    return torch.randint(5, 200, (n, 12), generator=torch.Generator().manual_seed(0))


def test_each_is_that_of_train_and_is_trained_once(tiny, tmp_path, monkeypatch):
    found = features.train_transcoders(tiny, "0-2", ids(), folder=tmp_path, **SMALL)
    assert [(t.site, t.writes) for t in found] == [(f"mlp.{n}.in", f"mlp.{n}") for n in range(3)]
    acts = features.activations(tiny, ["mlp.1.in", "mlp.1"], ids(), dtype="float16")
    alone = features.train(tiny, "mlp.1.in", acts, to="mlp.1", kind="transcoder", **SMALL)
    torch.testing.assert_close(found[1].W_dec, alone.W_dec, atol=1e-5, rtol=1e-4)
    read = features.load_all(tmp_path, model=None)  # the folder that was given
    assert [t.writes for t in read] == ["mlp.0", "mlp.1", "mlp.2"]
    assert all(torch.equal(a.W_dec, b.W_dec) for a, b in zip(read, found, strict=True))
    assert [t.writes for t in features.load_all(tmp_path, 1)] == ["mlp.1"]
    monkeypatch.setattr(train_cache, "train", None)  # what is kept is not trained again
    again = features.train_transcoders(tiny, [1, 2], ids(), folder=tmp_path, **SMALL)
    torch.testing.assert_close(again[0].W_dec, found[1].W_dec)
    graph = features.graph(tiny, ids(1), found, nodes=None, edges=None)
    np.testing.assert_allclose(graph.missing, 0, atol=1e-4)


@pytest.mark.parametrize("kind", ["transcoder", "skip_transcoder"])
def test_the_fast_step_is_the_plain_one(tiny, kind):
    acts = features.activations(tiny, ["mlp.1.in", "mlp.1"], ids())
    # few tokens a step, so that latents die and the auxiliary loss counts, too
    sizes = {**SMALL, "width": 200, "batch": 50}
    fast, plain = (
        features.train(tiny, "mlp.1.in", acts, to="mlp.1", kind=kind, fast=fast, **sizes)
        for fast in (True, False)
    )
    assert plain.metadata["curve"][-1]["dead"] > 0
    for name, value in plain.weights.items():
        torch.testing.assert_close(fast.weights[name], value, atol=2e-3, rtol=2e-2)


def test_one_layer_is_trained_on_its_own_sites_alone(tiny):
    acts = features.activations(tiny, ["mlp.1.in", "mlp.1", "mlp.2"], ids())
    part = acts.only(["mlp.1"])
    assert set(part.shard(0)) == {"mlp.1"} and len(part) == len(acts)
    torch.testing.assert_close(part.of(), acts.of("mlp.1"))
    with pytest.raises(ValueError, match="unknown site"):
        acts.only(["mlp.0"])


def test_a_linear_map_is_learned_by_the_skip_path(tiny):
    """What the latents need not write: the skip path's own map, in the activations' own units."""
    acts = features.activations(tiny, ["mlp.1.in", "mlp.1"], ids(60))
    x = acts.of("mlp.1.in")
    y = 3.0 * x @ torch.randn(32, 32, generator=torch.Generator().manual_seed(1)).T
    linear = replace(acts, shards=({"mlp.1.in": x, "mlp.1": y},))
    sizes = dict(width=8, k=1, tokens=40_000, batch=200)
    found = features.train(None, "mlp.1.in", linear, to="mlp.1", kind="skip_transcoder", **sizes)
    assert found.kind == "jumprelu_skip_transcoder"
    assert found.metadata["curve"][-1]["explained"] > 0.98
    left = found.reconstruct(x, found.encode(x)) - y
    assert float(left.pow(2).mean() / y.pow(2).mean()) < 0.03


def test_what_is_finished_survives_an_interruption(tiny, tmp_path, monkeypatch):
    done, real = [], train_cache.train

    def train(model, site, *args, **recipe):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(site)
        return real(model, site, *args, **recipe)

    monkeypatch.setattr(train_cache, "train", train)
    with pytest.raises(KeyboardInterrupt):
        features.train_transcoders(tiny, [0, 1], ids(), folder=tmp_path, **SMALL)
    seen = []
    monkeypatch.setattr(
        train_cache, "train", lambda m, site, *a, **r: seen.append(site) or real(m, site, *a, **r)
    )
    features.train_transcoders(tiny, [0, 1], ids(), folder=tmp_path, **SMALL)
    assert done == ["mlp.0.in"] and seen == ["mlp.1.in"]


@pytest.mark.parametrize(
    "layers, says",
    [
        ("0-9", "no layer 9"),
        ("a", "'10-19'"),
        ([], "names no layer"),
        ([1, 1], "twice"),
        (-1, "-1"),
    ],
)
def test_wrong_layers_are_one_sentence(tiny, layers, says):
    with pytest.raises(ValueError, match=says):
        features.train_transcoders(tiny, layers, ids(), **SMALL)
