"""Transcoders of several layers: each is that of `train`, what is finished is kept, and a graph
takes them.
"""

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
    monkeypatch.setattr(train_cache, "train", None)  # what is kept is not trained again
    again = features.train_transcoders(tiny, [1, 2], ids(), folder=tmp_path, **SMALL)
    torch.testing.assert_close(again[0].W_dec, found[1].W_dec)
    graph = features.graph(tiny, ids(1), found, nodes=None, edges=None)
    np.testing.assert_allclose(graph.missing, 0, atol=1e-4)


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
