"""A cross-layer transcoder finds latents that were planted in one layer and write to three, which
transcoders of single layers cannot; what is finished is kept; what does not fit is a sentence.
"""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from dictionaries import cross_layer
from torch.nn.functional import normalize

import interp
from interp import features
from interp.features.activations import Activations

PLANTED, OWN, D, LAYERS = 12, 10, 24, (0, 1, 2)
OPTIONS = {"width": 32, "k": 2, "tokens": 120_000, "batch": 256, "lr": 1e-2}


def toy(seed=0, tokens=8_000):
    """Activations of three layers. Of 12 features only layer 0 reads whether they are on, and all
    three write their directions; layers 1 and 2 read and write 10 features of their own as well.
    """
    g = torch.Generator().manual_seed(seed)

    def sizes(n):
        return (torch.rand(tokens, n, generator=g) < 2 / n) * (
            1 + torch.rand(tokens, n, generator=g)
        )

    def lines(n):
        return normalize(torch.randn(n, D, generator=g), dim=1)

    on, planted, vectors = sizes(PLANTED), [], {}
    for layer in LAYERS:
        planted.append(lines(PLANTED))
        own = on if layer == 0 else sizes(OWN)
        vectors[f"mlp.{layer}.in"] = own @ lines(own.shape[1])
        vectors[f"mlp.{layer}"] = on @ planted[-1]
        if layer > 0:
            vectors[f"mlp.{layer}"] += own @ lines(OWN)
    ids = torch.arange(tokens)[:, None]
    return Activations(tuple(vectors), ids, 0, (vectors,), {"model": "toy"}), planted


@pytest.fixture(scope="module")
def found():
    acts, planted = toy()
    return features.train_cross_layer_transcoder(None, "0-2", acts, **OPTIONS), acts, planted


def test_planted_latents_are_found_with_what_they_write_in_each_layer(found):
    clt, acts, planted = found
    explained = clt.explained(acts)
    assert min(explained.values()) > 0.9, explained
    assert explained == pytest.approx(
        {int(layer): value for layer, value in clt.metadata["explained"].items()}
    )
    wrote = clt.weights["W_dec.0"]
    near = [normalize(wrote[j], dim=1) @ planted[j].T for j in LAYERS]  # [latent planted]
    best = near[0].argmax(0)
    assert len(set(best.tolist())) == PLANTED
    for j in LAYERS:
        assert near[j][best, range(PLANTED)].min() > 0.9


def test_transcoders_of_single_layers_cannot_know_what_no_later_layer_reads(found):
    _, acts, _ = found
    options = {**OPTIONS, "lr": 3e-3}
    for layer in (1, 2):
        site, to = f"mlp.{layer}.in", f"mlp.{layer}"
        one = features.train(None, site, acts, to=to, kind="transcoder", **options)
        x, y = acts.of(site), acts.of(to)
        missed = (one.reconstruct(x) - y).pow(2).sum() / (y - y.mean(0)).pow(2).sum()
        assert 1 - float(missed) < 0.7  # half of the variance is the planted features'


def test_of_one_layer_it_is_as_good_as_a_transcoder(found):
    _, acts, _ = found
    alone = features.train_cross_layer_transcoder(None, 0, acts, **OPTIONS)
    one = features.train(
        None, "mlp.0.in", acts, to="mlp.0", kind="transcoder", **{**OPTIONS, "lr": 3e-3}
    )
    x, y = acts.of("mlp.0.in"), acts.of("mlp.0")
    missed = (one.reconstruct(x) - y).pow(2).sum() / (y - y.mean(0)).pow(2).sum()
    assert alone.explained(acts)[0] > 1 - float(missed) - 0.05


def test_it_computes_what_its_weights_say(found):
    clt, acts, _ = found
    x = torch.stack([acts.of(site)[:50] for site in clt.reads])
    z = []
    for i, layer in enumerate(clt.layers):
        before = x[i] @ clt.weights[f"W_enc.{layer}"] + clt.weights[f"b_enc.{layer}"]
        z.append(torch.where(before > clt.weights[f"threshold.{layer}"], before, 0.0))
    torch.testing.assert_close(clt.encode(x), torch.stack(z))
    out = [clt.weights[f"b_dec.{layer}"].expand(50, -1).clone() for layer in LAYERS]
    for i in LAYERS:
        for j in LAYERS[i:]:
            out[j] += z[i] @ clt.weights[f"W_dec.{i}"][j - i]
    torch.testing.assert_close(clt.reconstruct(x), torch.stack(out))
    by_site = dict(zip(clt.reads, x))
    torch.testing.assert_close(clt.reconstruct(by_site), clt.reconstruct(x))
    on = (clt.encode(torch.stack([acts.of(s) for s in clt.reads])) > 0).sum(-1).float().mean(1)
    assert ((on > 1) & (on < 3)).all()  # about k at a token, by the thresholds
    sizes = [clt.weights[f"W_dec.{i}"].transpose(0, 1).flatten(1) for i in LAYERS]
    scale = torch.cat([acts.of(s).pow(2).mean().sqrt().expand(D) for s in clt.writes])
    for i, size in enumerate(sizes):
        torch.testing.assert_close(
            (size / scale[i * D :]).norm(dim=1), torch.ones(32), atol=1e-4, rtol=1e-4
        )


def test_a_model_is_read_once_and_what_is_finished_is_kept(tiny, tmp_path, monkeypatch):
    ids = torch.randint(5, 200, (30, 12), generator=torch.Generator().manual_seed(0))
    options = {"width": 24, "k": 4, "tokens": 2_000, "batch": 100, "folder": tmp_path}
    clt = features.train_cross_layer_transcoder(tiny, "0-2", ids, **options)
    assert clt.reads == ("mlp.0.in", "mlp.1.in", "mlp.2.in") and clt.metadata["model"] == "tiny"
    graph = features.graph(tiny, ids[:1], clt, nodes=None, edges=None)
    np.testing.assert_allclose(graph.missing, 0, atol=1e-4)
    assert graph.metadata["dictionaries"]["mlp.1"] == "cross-layer transcoder 0 to 2, layer 1"
    module = sys.modules["interp.features.crosscoders.train_cross_layer_transcoder"]
    monkeypatch.setattr(module, "_Training", None)  # what is kept is not trained again
    again = features.train_cross_layer_transcoder(tiny, [0, 1, 2], ids, **options)
    assert torch.equal(again.weights["W_dec.0"], clt.weights["W_dec.0"])
    assert again.metadata == clt.metadata


def test_latents_of_one_layer_are_looked_at_and_decode_nothing(tiny):
    clt = cross_layer()
    one = clt.layer(1)
    assert one.n_latents == 24 and one.site == "mlp.1.in" and one.writes == "mlp.1"
    torch.testing.assert_close(one.W_dec, clt.weights["W_dec.1"].sum(0))
    ids = torch.arange(5, 45).view(4, 10)
    assert features.firings(tiny, one, on=ids).dictionary is one
    for call, given in ((one.decode, 24), (one.reconstruct, 32)):
        with pytest.raises(ValueError, match="written by those of several: clt.*of the whole one"):
            call(torch.zeros(2, given))
    with pytest.raises(ValueError, match=r"clt.save\(...\) of the whole one"):
        one.save("folder")
    with pytest.raises(ValueError, match="has no layer 7: it is of the layers 0 to 2"):
        clt.layer(7)


def test_it_is_checked_on_a_text(tiny):
    ids = torch.randint(5, 200, (30, 12), generator=torch.Generator().manual_seed(0))
    options = {"width": 24, "k": 4, "tokens": 6_000, "batch": 100, "lr": 5e-3}
    clt = features.train_cross_layer_transcoder(tiny, "0-1", ids, **options)
    assert features.check(tiny, clt, ids) is clt
    with pytest.raises(ValueError, match="random explains -.* of the variance of 'mlp"):
        features.check(tiny, cross_layer(), ids)


WEIGHTS = dict(cross_layer().weights)


@pytest.mark.parametrize(
    "change, says",
    [
        (dict(kind="gated"), "unknown kind of cross-layer transcoder"),
        (dict(weights={**WEIGHTS, "W_dec.1": WEIGHTS["W_dec.0"]}), r"W_dec.1 .* \[2, 24, 32\]"),
        (dict(weights={**WEIGHTS, "b_dec.7": WEIGHTS["b_dec.0"]}), "has b_dec.7, which belongs to"),
        (dict(weights={k: v for k, v in WEIGHTS.items() if k != "b_enc.2"}), "has no b_enc.2"),
        (dict(weights={**WEIGHTS, "b_enc.1": torch.full((24,), torch.nan)}), "not finite"),
        (dict(weights={**WEIGHTS, "b_enc.1": torch.zeros(24).double()}), "of one floating type"),
        (dict(writes=("mlp.0", "mlp.2", "mlp.1")), "from the first to the last"),
        (dict(writes=("mlp.0", "mlp.1", "mlp.1")), "from the first to the last, each once"),
        (dict(reads=("mlp.0.in", "mlp.2.in", "mlp.1.in")), "reads 'mlp.2.in' for layer 1"),
        (dict(writes=("mlp.0",)), "reads 3 sites and writes 1"),
    ],
)
def test_weights_that_do_not_fit_are_one_sentence(change, says):
    with pytest.raises(ValueError, match=says):
        replace(cross_layer(), **change)


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(layers="0-9"), "no layer 9"),
        (dict(layers=[1, 1]), "named twice"),
        (dict(k=0), "k=0 of width=24: from 1 to the width"),
        (dict(tokens=10), "10 tokens are fewer than one batch of 100"),
        (dict(model=None), "no model: features.train_cross_layer_transcoder"),
    ],
)
def test_a_training_that_cannot_be_is_one_sentence(tiny, options, says):
    ids = torch.randint(5, 200, (30, 12), generator=torch.Generator().manual_seed(0))
    plain = {"model": tiny, "layers": "0-2", "on": ids, "width": 24, "k": 4, "tokens": 500}
    with pytest.raises(ValueError, match=says):
        features.train_cross_layer_transcoder(**{**plain, "batch": 100, **options})


def test_what_is_read_is_by_site_or_stacked(tiny):
    clt = cross_layer()
    x = interp.run(tiny, torch.arange(5, 12)[None], keep=clt.reads).kept
    assert clt.encode(x).shape == (3, 1, 7, 24)
    with pytest.raises(ValueError, match="reads 'mlp.2.in', which is not given"):
        clt.encode({k: v for k, v in x.items() if k != "mlp.2.in"})
    with pytest.raises(ValueError, match=r"is \[layer ... 32\] of 3 layers, not \[2, 7, 32\]"):
        clt.encode(torch.zeros(2, 7, 32))
    with pytest.raises(ValueError, match=r"are \[3 ... 24\], not \[3, 7, 5\]"):
        clt.decode(torch.zeros(3, 7, 5))
