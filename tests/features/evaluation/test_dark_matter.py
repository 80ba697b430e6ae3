"""Errors of dictionaries: what is linear in the input is found, what is not is not, and pursuit
never does worse than nothing.
"""

import dataclasses

import numpy as np
import pytest
import torch

from interp import features
from interp.features.activations import Activations


@pytest.fixture(scope="module")
def ids():
    found = torch.randint(5, 200, (60, 16), generator=torch.Generator().manual_seed(0))
    found[:, 0] = 1
    return found


@pytest.fixture(scope="module")
def acts(tiny, ids):
    return features.activations(tiny, "resid_post.1", ids[:40]), features.activations(
        tiny, "resid_post.1", ids[40:]
    )


def fixed(acts, keep=8):
    """The linear dictionary of a few coordinates, each and its opposite: its error is the other
    coordinates.
    """
    one = features.identity(acts.sites[0], 32)
    kept = (torch.arange(32) < keep).float()
    return dataclasses.replace(
        one, weights={**one.weights, "W_dec": one.W_dec * kept}, name="some coordinates"
    )


def test_an_error_that_is_linear_is_predicted_and_shuffled_ones_are_not(acts):
    fit, test = acts
    found = features.predict_error(fixed(fit), fit, test)
    assert found.sel(measure="error vector").values == pytest.approx(1, abs=1e-5)
    whole, linear, nonlinear = (
        float(found.sel(measure=m).values)
        for m in ("unexplained", "unexplained, linear part", "unexplained, nonlinear part")
    )
    assert linear == pytest.approx(whole, rel=1e-4) and nonlinear == pytest.approx(0, abs=1e-5)
    x = test.of()
    assert whole == pytest.approx(
        float(x[:, 8:].pow(2).sum() / (x - x.mean(0)).pow(2).sum()), rel=1e-5
    )
    noise = Activations(fit.sites, fit.tokens, 1, ({fit.sites[0]: torch.randn(600, 32)},), {})
    other = Activations(fit.sites, test.tokens, 1, ({fit.sites[0]: torch.randn(300, 32)},), {})
    sized = features.predict_error(fixed(fit), noise, other)
    assert (
        sized.sel(measure="squared error norm").values < 0.05
    )  # a normal's squared norm is even in x: nothing linear


def test_the_numbers_are_those_of_plain_least_squares(acts):
    fit, test = acts
    random, _ = features.baselines(fit, k=4, width=64)
    found = features.predict_error([random, fixed(fit)], fit, test).sel(dictionary=random.name)

    def with_one(a):
        return torch.cat([a.of(), torch.ones(len(a), 1)], 1).double()

    def error(a):
        return (a.of() - random.reconstruct(a.of())).double()

    for measure, wanted in (
        ("error vector", error),
        ("squared error norm", lambda a: error(a).pow(2).sum(-1, keepdim=True)),
    ):
        map_ = torch.linalg.lstsq(with_one(fit), wanted(fit)).solution
        y, guess = wanted(test), with_one(test) @ map_
        r2 = 1 - (y - guess).pow(2).sum() / (y - y.mean(0)).pow(2).sum()
        assert found.sel(measure=measure).values == pytest.approx(float(r2), abs=1e-4)
    low, high = found.ci()
    assert ((low <= found.values) & (found.values <= high)).all()


def test_the_parts_sum_to_the_error_and_can_be_trained_on(acts):
    fit, test = acts
    random, _ = features.baselines(fit, k=4, width=64)
    for given, (linear, nonlinear) in zip(acts, features.split_error(random, fit, test)):
        x = given.of()
        assert torch.allclose(
            linear.of() + nonlinear.of(), x - random.reconstruct(x), atol=1e-5
        ) and len(linear) == len(given)
    (linear, nonlinear), _ = features.split_error(random, fit, test)
    assert float((linear.of() * nonlinear.of()).sum()) == pytest.approx(
        0, abs=1e-3 * float(nonlinear.of().pow(2).sum())
    )
    assert (
        features.train(None, random.writes, linear, width=64, k=4, tokens=640, batch=64)
        .metadata["activations"]["part"]
        .startswith("linear error")
    )


def test_a_sink_in_the_text_decides_nothing(acts):
    fit, test = acts
    random, _ = features.baselines(fit, k=4, width=64)
    spoilt = []
    for given in acts:
        x = given.of().clone()
        x[7] = 300 * x[7]
        spoilt.append(
            Activations(given.sites, given.tokens, 1, ({given.sites[0]: x},), given.metadata)
        )
    found, plain = (features.predict_error(random, *pair) for pair in (spoilt, acts))
    assert (
        np.allclose(found.values, plain.values, atol=0.02)
        and found.metadata["sinks"] == 1
        and found.metadata["tokens"] == 299
    )
    pair = [
        features.error_norms([random, fixed(fit)], one).values[0, 1] for one in (spoilt[1], test)
    ]
    assert pair[0] == pytest.approx(pair[1], abs=0.02)


def test_error_norms_correlate_as_numpy_says(acts):
    fit, test = acts
    many = [*features.baselines(fit, k=4, width=64), fixed(fit)]
    found = features.error_norms(many, test)
    norms = np.stack(
        [(test.of() - one.reconstruct(test.of())).norm(dim=-1).numpy() for one in many]
    )
    assert np.allclose(found.values, np.corrcoef(norms), atol=1e-5)
    low, high = found.ci()
    assert low[0, 1] < found.values[0, 1] < high[0, 1]


@pytest.mark.parametrize("backend", ["engine", "hooks"])
def test_leaving_out_the_whole_error_is_judges_spliced_loss(any_tiny, ids, backend):
    fit = features.activations(any_tiny, "resid_post.1", ids[:40])
    random, _ = features.baselines(fit, k=4, width=64)
    found = features.error_losses(any_tiny, random, fit, ids[40:46], backend=backend)
    judged = features.evaluate(any_tiny, random, ids[40:46])
    extra = float(
        judged.sel(measure="loss, spliced").values - judged.sel(measure="loss, plain").values
    )
    assert float(found.sel(**{"left out": "whole error"}).values) == pytest.approx(extra, abs=1e-4)
    norm = found.metadata["norm"]
    assert (
        norm[0] == pytest.approx(norm[1] + norm[2], rel=0.2) and found.metadata["tokens"] == 6 * 15
    )
    share = features.nonlinear_share(found)
    _, linear, nonlinear = found.values
    assert float(share.values) == pytest.approx(
        nonlinear / (linear + nonlinear) - norm[2] / (norm[1] + norm[2]), abs=1e-6
    )
    nothing = features.error_losses(
        any_tiny, features.identity("resid_post.1", 32), fit, ids[40:46], backend=backend
    )
    assert np.allclose(nothing.values, 0, atol=1e-4)


def test_pursuit_is_no_worse_at_no_more_latents_and_exact_where_directions_are_orthogonal(acts):
    fit, test = acts
    x = test.of()[:50]
    random, pca = features.baselines(fit, k=4, width=64)
    for one in (random, pca):
        z = features.gradient_pursuit(one, x, few=20)
        assert ((z > 0).sum(-1) <= (one.encode(x) > 0).sum(-1)).all() and (z >= 0).all()
        assert (one.decode(z) - x).pow(2).sum() < (1 + 1e-5) * (one.reconstruct(x) - x).pow(2).sum()
    assert torch.allclose(features.gradient_pursuit(pca, x), pca.encode(x), atol=1e-4)


def test_pursuit_is_an_encoder_like_the_others(acts, tmp_path):
    fit, test = acts
    random, _ = features.baselines(fit, k=4, width=64)
    one = features.with_gradient_pursuit(random)
    x = test.of()[:30].view(2, 15, 32)
    assert torch.allclose(
        one.encode(x).flatten(0, 1), features.gradient_pursuit(random, x.flatten(0, 1)), atol=1e-5
    )
    assert torch.equal(features.load(one.save(tmp_path)).encode(x), one.encode(x))
    found = features.predict_error([random, one], fit, test).sel(measure="unexplained").values
    assert found[1] < found[0]
    with pytest.raises(ValueError, match="say what it should write"):
        features.with_gradient_pursuit(dataclasses.replace(random, to="mlp.1"))


def test_a_part_of_activations_is_those_chunks(acts):
    fit, _ = acts
    some = fit.part(3, 7)
    assert (
        torch.equal(some.of(), fit.of()[45:105])
        and torch.equal(some.tokens, fit.tokens[3:7])
        and len(some) == 60 == some.metadata["tokens"]
    )
    with pytest.raises(ValueError, match="chunks 0 to 40"):
        fit.part(30, 41)


def test_pursuit_works_on_what_writes_another_site_and_on_nothing():
    g = torch.Generator().manual_seed(0)

    def w(*shape):
        return 0.2 * torch.randn(*shape, generator=g)

    weights = {
        "W_enc": w(32, 40),
        "b_enc": w(40),
        "W_dec": w(40, 32),
        "b_dec": w(32),
        "W_skip": w(32, 32),
    }
    one = features.Dictionary(
        "skip_transcoder", weights, "mlp.1.in", to="mlp.1", settings={"apply_b_dec_to_input": False}
    )
    x, y = w(9, 32), w(9, 32)
    z = features.gradient_pursuit(one, x, target=y)
    assert (one.reconstruct(x, z) - y).pow(2).sum() < (one.reconstruct(x) - y).pow(2).sum()
    off = dataclasses.replace(one, weights={**weights, "b_enc": torch.full((40,), -99.0)})
    assert not features.gradient_pursuit(off, x, target=y).any()


def test_too_few_tokens_and_other_sites_are_said(acts):
    fit, test = acts
    few = Activations(fit.sites, fit.tokens[:2], 1, ({fit.sites[0]: fit.of()[:30]},), {})
    with pytest.raises(ValueError, match="30 tokens fit 32 coordinates exactly"):
        features.predict_error(fixed(fit), few, test)
    with pytest.raises(ValueError, match="read and write the same sites"):
        features.predict_error([fixed(fit), features.identity("mlp.1", 32)], fit, test)
