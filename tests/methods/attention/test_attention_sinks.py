"""Sinks: what a position receives, how long its values are, and what a head does with the first
token.
"""

import numpy as np
import pytest
import torch

import interp
from interp import toys
from interp.interventions import run
from interp.toys.data import Batch

TOKENS = torch.tensor([[0, 3, 1, 4, 1, 5], [0, 2, 6, 5, 3, 5]])


def model(**options):
    return toys.transformer(**dict(d_vocab=8, n_layers=2, n_heads=2, d_model=16, n_ctx=6) | options)


def test_attention_received_is_the_mean_of_a_column_over_the_queries_that_see_it():
    toy = model()
    got = interp.methods.attention.attention_received(toy, TOKENS)
    pattern = run(toy, TOKENS, keep=["L1H0.pattern"]).kept["L1H0.pattern"]
    slow = [
        [sum(float(rows[q, k]) for q in range(k, 6)) / (6 - k) for rows in pattern]
        for k in range(6)
    ]
    np.testing.assert_allclose(got.sel(layer=1, head=0).examples, slow, atol=1e-6)
    assert got.dims == ("layer", "head", "pos") and got.coords["pos"] == list(range(6))


def test_even_attention_gives_the_first_position_the_harmonic_mean():
    got = interp.methods.attention.attention_received(model(attention="uniform"), TOKENS)
    np.testing.assert_allclose(got.sel(pos=0).values, np.mean(1 / np.arange(1, 7)), atol=1e-6)
    np.testing.assert_allclose(got.sel(pos=5).values, 1 / 6, atol=1e-6)


def test_rows_that_do_not_sum_to_one_can_be_made_to():
    even = model(attention="sigmoid", attention_scale=1e-9)  # every score 0, every weight a half
    assert np.allclose(interp.methods.attention.attention_received(even, TOKENS).values, 0.5)
    expected = interp.methods.attention.attention_received(
        model(attention="uniform"), TOKENS
    ).values
    np.testing.assert_allclose(
        interp.methods.attention.attention_received(even, TOKENS, to_one=True).values,
        expected,
        atol=1e-6,
    )
    none = interp.methods.attention.attention_received(model(attention="none"), TOKENS, to_one=True)
    assert (none.values == 0).all()


def test_site_norms_are_the_norms():
    toy = model()
    got = interp.methods.attention.activation_norms(toy, TOKENS, "L*KV*.v")
    kept = run(toy, TOKENS, keep=["L1KV0.v"]).kept["L1KV0.v"]
    np.testing.assert_allclose(got.sel(layer=1, kv_head=0).examples, kept.norm(dim=-1).T, atol=1e-6)
    assert interp.methods.attention.activation_norms(toy, TOKENS, "resid_post.*").dims == (
        "layer",
        "pos",
    )


def batch():
    dormant = torch.tensor([[1, 1, 1, 0, 1, 0], [1, 0, 1, 1, 0, 1]], dtype=torch.bool)
    return Batch(TOKENS, TOKENS.roll(-1, 1), {"bigram": dormant, "trigger": ~dormant})


def test_what_a_head_does_with_the_first_token_agrees_with_loops():
    toy = model()
    found = toys.sinks_on(batch())(toy)
    kept = run(toy, TOKENS, keep=["L*H*.pattern", "L*H*.scores", "L*KV*.v", "resid_post.*"]).kept

    def places(label):
        return [(b, t) for b in range(2) for t in range(2, 6) if batch().labels[label][b, t]]

    def mean(x):
        return float(torch.stack(list(x)).mean())

    for layer in range(2):
        pattern, scores, v = (kept[k][layer] for k in ("L*H*.pattern", "L*H*.scores", "L*KV*.v"))

        def ratio(x):
            return float(x[..., 0, :].norm(dim=-1).mean() / x[..., 1:, :].norm(dim=-1).mean())

        expected = {
            "dormant: to first": mean(
                pattern[h, b, t, 0] for h in range(2) for b, t in places("bigram")
            ),
            "active: to first": mean(
                pattern[h, b, t, 0] for h in range(2) for b, t in places("trigger")
            ),
            "active: to previous": mean(
                pattern[h, b, t, t - 1] for h in range(2) for b, t in places("trigger")
            ),
            "value ratio": np.mean([ratio(v[h]) for h in range(2)]),
            "stream ratio": ratio(kept["resid_post.*"][layer]),
            "score gap": mean(
                scores[h, b, t, 0] - scores[h, b, t, 1 : t + 1].mean()
                for h in range(2)
                for b, t in places("bigram")
            ),
        }
        got = found.sel(layer=layer)
        assert got.coords["measure"] == list(expected)
        np.testing.assert_allclose(got.values, list(expected.values()), atol=1e-5)


def test_errors_teach():
    with pytest.raises(ValueError, match="trigger"):
        toys.sinks_on(batch(), active="triger")
    labels = {"bigram": torch.ones(2, 6), "trigger": torch.zeros(2, 6)}
    with pytest.raises(ValueError, match="no active place"):
        toys.sinks_on(Batch(TOKENS, TOKENS, labels))
    with pytest.raises(ValueError, match="belongs to heads"):
        interp.methods.attention.attention_received(model(), TOKENS, "mlp.0")


def test_code_is_code_and_has_two_halves():
    corpus = interp.texts.code()
    text = "".join(d.text for d in corpus)
    assert (
        len(corpus) > 30
        and text.count("\n    def ") > 300
        and len(corpus.half("find")) > 10 < len(corpus.half("heldout"))
    )


def test_bos_can_stand_elsewhere_and_the_text_goes_on_around_it():
    def draw(**options):
        return toys.data.make("bigram_backcopy", n_ctx=12, **options).batch(
            200, torch.Generator().manual_seed(0)
        )

    first, third = draw(), draw(bos_at=2)
    source = toys.data.make("bigram_backcopy", n_ctx=12)
    assert (third.inputs[:, 2] == source.bos).all() and (third.targets[:, 1] == source.bos).all()
    assert torch.equal(
        torch.cat([third.inputs[:, :2], third.inputs[:, 3:]], 1), first.inputs[:, 1:]
    )
    assert torch.equal(third.targets[:, 2:], first.targets[:, 2:])
    for label in ("trigger", "bigram"):
        assert torch.equal(third.labels[label][:, 3:], first.labels[label][:, 3:])
        assert not third.labels[label][:, 1:3].any()  # where BOS is next, and BOS
    assert (third.labels["nats"][:, 1] == 0).all() and torch.equal(
        third.labels["nats"][:, 2:], first.labels["nats"][:, 2:]
    )
    assert torch.equal(third.labels["nats"][:, 0], first.labels["nats"][:, 1])
    with pytest.raises(ValueError, match="bos_at=9"):
        draw(bos_at=9)


def test_rows_without_bos_are_the_same_text():
    source = toys.data.make("bigram_backcopy", n_ctx=12, bos_at=None)
    rows = source.batch(200, torch.Generator().manual_seed(0))
    assert rows.inputs.shape == (200, 12) and (rows.inputs != source.bos).all()
    assert torch.equal(rows.targets[:, :-1], rows.inputs[:, 1:])
    copies = rows.labels["trigger"][:, 1:]  # what follows a trigger is what stood before it
    assert copies.any() and torch.equal(rows.targets[:, 1:][copies], rows.inputs[:, :-1][copies])
