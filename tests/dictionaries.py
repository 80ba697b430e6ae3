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
