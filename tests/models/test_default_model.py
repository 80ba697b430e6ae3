"""The real model, both ways: a site of every kind, every verb that has an engine way, and wrong
input.
"""

import numpy as np
import pytest

import interp
from interp.methods.runs import attention_metric

# what a thousandth of a logit is to effects of several logits; the tiny models are held to 1e-4
CLOSE = dict(atol=1e-3, rtol=1e-3)
KINDS = [
    "embed@S2",
    "resid_pre.12@S2",
    "resid_mid.12",
    "resid_post.20@END",
    "attn.17",
    "attn.17.in@S2",
    "mlp.5",
    "mlp.0.in",
    "mlp.17.post#100",
    "L20H0",
    "L20H0.z@END",
    "L23H3.q",
    "L23KV1.k",
    "L23KV1.v@S2",
    "L20H0.pattern",
    "L17H4.scores",
]


@pytest.fixture(scope="module")
def ioi(smollm2):
    return interp.tasks.ioi(smollm2, n=2, seed=0)


def both(verb, *args, **options):
    """The verb's numbers by the engine and by the hooks, each saying that it was so."""
    ways = [verb(*args, **options, backend=backend) for backend in ("engine", "hooks")]
    assert [r.metadata["backend"] for r in ways] == ["engine", "hooks"]
    return ways


@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_every_kind_of_site(smollm2, ioi, direction):
    engine, hooks = both(
        interp.patch, smollm2, ioi, [[kind] for kind in KINDS], direction=direction
    )
    np.testing.assert_allclose(engine.examples, hooks.examples, **CLOSE)
    assert np.abs(engine.values).max() > 1, "some site matters, or this compares zeros"


@pytest.mark.parametrize("by", ["mean", "zero", "resample"])
def test_ablating(smollm2, ioi, by):
    sets = [["L23H3"], ["L20H0@END", "L19H2@END"], ["mlp.17"], ["L18KV2.v"]]
    engine, hooks = both(interp.ablate, smollm2, ioi, sets, by=by)
    np.testing.assert_allclose(engine.examples, hooks.examples, **CLOSE)


@pytest.mark.parametrize("metric", ["prob", "rank", "kl", "attention"])
def test_measures(smollm2, ioi, metric):
    made = {
        "kl": lambda: interp.methods.runs.kl_metric(smollm2, ioi),
        "attention": lambda: attention_metric(["L23H3"], "S2", task=ioi),
    }
    metric = made[metric]() if metric in made else metric
    engine, hooks = both(
        interp.patch, smollm2, ioi, [["L20H0"], ["mlp.0@S2"], ["resid_post.25@END"]], metric=metric
    )
    np.testing.assert_allclose(engine.examples, hooks.examples, **CLOSE)


@pytest.mark.parametrize("method", ["atp", "atp*", "ig"])
def test_attribution(smollm2, ioi, method):
    engine, hooks = both(
        interp.attribution_patch,
        smollm2,
        ioi,
        [["L23H3"], ["L23H3.q@END"], ["mlp.0@S2"]],
        method=method,
        steps=2,
    )
    np.testing.assert_allclose(engine.examples, hooks.examples, **CLOSE)


def test_tracing(smollm2, ioi):
    sites = [["resid_pre.8@S2"], ["mlp.0@S2"], ["attn.23@END"]]
    engine, hooks = both(interp.causal_trace, smollm2, ioi, sites, subject="S2", samples=1)
    np.testing.assert_allclose(engine.examples, hooks.examples, **CLOSE)


@pytest.mark.parametrize(
    "where, says",
    [
        ("L30H0", "layers 0 to 29"),
        ("L10H9", "heads 0 to 8"),
        ("L9H7.k", "KV head"),
        ("L9KV7.k", "KV heads 0 to 2"),
        ("L*H*@S3", "did you mean 'S2'"),
        ("resid_pre.5@15", "0 to 14"),
    ],
)
def test_wrong_places_are_answered_with_right_ones(smollm2, ioi, where, says):
    with pytest.raises(ValueError, match=says):
        interp.patch(smollm2, ioi, where)
