"""Dictionaries with random weights, of every kind, for the tests of features."""

import torch

from interp import features


def weights(kind, d=32, n=40):
    g = torch.Generator().manual_seed(1)

    def w(*shape):
        return 0.2 * torch.randn(*shape, generator=g)

    found = {"W_enc": w(d, n), "W_dec": w(n, d), "b_dec": w(d)}
    found |= {"b_gate": w(n), "r_mag": w(n), "b_mag": w(n)} if kind == "gated" else {"b_enc": w(n)}
    found |= {"threshold": w(n).abs()} if "jumprelu" in kind else {}
    return found | ({"W_skip": w(d, d)} if "skip" in kind else {})


def dictionary(kind="topk", site="resid_post.1", d=32, **more):
    reads = "mlp.1.in" if "transcoder" in kind else site
    settings = {"apply_b_dec_to_input": "transcoder" not in kind} | (
        {"k": 4} if kind == "topk" else {}
    )
    return features.Dictionary(
        kind,
        weights(kind, d=d),
        reads,
        to="mlp.1" if "transcoder" in kind else None,
        settings=settings,
        **more,
    )


def transcoders(layers=(0, 1, 2), kind="transcoder", d=32):
    """A transcoder with random weights for each of these layers."""
    return [
        features.Dictionary(kind, weights(kind, d=d), f"mlp.{i}.in", f"tc {i}", to=f"mlp.{i}")
        for i in layers
    ]


def per_layer(layers, kind="transcoder", reads="in", seed=0, d=32, n=24):
    """A random transcoder of each layer; those of `cross_layer` with what each writes at home."""
    whole = cross_layer(tuple(range(max(layers) + 1)), reads, "skip" in kind, seed, d, n)
    found = []
    for layer in layers:
        own = {
            key: whole.weights[f"{key}.{layer}"]
            for key in ("W_enc", "b_enc", "b_dec", "threshold", "W_skip")
            if f"{key}.{layer}" in whole.weights and (key != "threshold" or "jump" in kind)
        }
        own["W_dec"] = whole.weights[f"W_dec.{layer}"][0]
        site = f"mlp.{layer}.{reads}"
        found.append(features.Dictionary(kind, own, site, f"tc {layer}", f"mlp.{layer}"))
    return found


def cross_layer(layers=(0, 1, 2), reads="in", skip=False, seed=0, d=32, n=24, last=3):
    """A random cross-layer transcoder; layer by layer the same numbers, whichever layers it has."""
    weights, here = {}, dict(device="cpu", dtype=torch.float32)  # whatever torch's defaults are
    for i, layer in enumerate(layers):
        g = torch.Generator("cpu").manual_seed(100 * seed + layer)

        def draw(*shape, size, g=g):
            return size * torch.randn(*shape, generator=g, **here)

        weights[f"W_enc.{layer}"] = draw(d, n, size=d**-0.5)
        weights[f"b_enc.{layer}"] = draw(n, size=0.1)
        weights[f"b_dec.{layer}"] = draw(d, size=0.1)
        weights[f"threshold.{layer}"] = 0.2 * torch.rand(n, generator=g, **here)
        W_dec = draw(max(last, len(layers)), n, d, size=0.3 * d**-0.5)
        weights[f"W_dec.{layer}"] = W_dec[: len(layers) - i].clone()
        if skip:
            weights[f"W_skip.{layer}"] = draw(d, d, size=0.2 * d**-0.5)
    sites = tuple(f"mlp.{layer}.{reads}" for layer in layers)
    writes = tuple(f"mlp.{layer}" for layer in layers)
    return features.CrossLayerTranscoder("jumprelu", weights, sites, writes, "random")
