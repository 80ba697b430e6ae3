"""What latents do for a task, circuits of them, and heads found by codes: laws on tiny models."""

import numpy as np
import pytest
import torch
from dictionaries import dictionary

import interp
from interp import features
from interp.replications.head_codes import codes_of, permuted, written
from interp.tasks.metrics import Metric

SITES = ("resid_post.1", "mlp.1", "attn.2", "L1H*.z", "L1H2.z", "mlp.1.post", "embed", "logits.in")


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=3, seed=0)


def some(model, site, kind="standard"):
    """A random dictionary that fits this site."""
    from interp.features.sites import width
    from interp.models import bridge

    if "transcoder" in kind:
        return dictionary(kind)
    d, g = width(site, bridge.dims(model)), torch.Generator().manual_seed(1)

    def w(*shape):
        return 0.2 * torch.randn(*shape, generator=g)

    made = {"W_enc": w(d, 40), "W_dec": w(40, d), "b_dec": w(d), "b_enc": w(40)}
    return features.Dictionary(
        kind,
        made,
        site,
        settings={"apply_b_dec_to_input": True} | ({"k": 4} if kind == "topk" else {}),
    )


# --- attribution ----------------------------------------------------------------------------------


@pytest.mark.parametrize("site", SITES)
def test_latents_and_error_add_up_to_the_site(any_tiny, ioi, site):
    one = some(any_tiny, site)
    found = features.latent_attribution(any_tiny, ioi, one, method="gradient", by="position")
    whole = interp.attribution_patch(any_tiny, ioi, site, direction="noising")
    whole = whole.sum() if whole.dims else whole
    np.testing.assert_allclose(found.examples.sum((0, 1)), whole.examples, atol=1e-4)
    np.testing.assert_allclose(
        features.latent_attribution(any_tiny, ioi, one, method="gradient").examples,
        found.examples.sum(1),
        atol=1e-5,
    )
    slow = features.latent_attribution(
        any_tiny, ioi, one, method="gradient", by="position", backend="hooks"
    )
    np.testing.assert_allclose(found.examples, slow.examples, atol=1e-4)


def test_along_the_path_they_add_up_to_patching_the_site_exactly(any_tiny, ioi):
    for site in ("resid_post.1", "L1H*.z"):
        found = features.latent_attribution(
            any_tiny, ioi, some(any_tiny, site), method="ig", steps=12
        )
        sites = [site] if "*" in site else site
        whole = interp.patch(any_tiny, ioi, sites, direction="noising")
        np.testing.assert_allclose(found.examples.sum(0), whole.examples, atol=5e-3)  # 12 midpoints


@pytest.mark.parametrize("kind,at", [("standard", None), ("topk", "S2"), ("skip_transcoder", None)])
def test_exactly_is_the_run_with_the_latent_ablated(any_tiny, ioi, kind, at):
    one = some(any_tiny, "resid_post.1", kind)
    found = features.latent_attribution(any_tiny, ioi, one, method="exact", to="zero", at=at)
    assert found.coords["latent"][-1] == "error" and len(found.coords["latent"]) > 3
    for latent in found.coords["latent"][:-1:12]:
        alone = interp.effect(any_tiny, ioi, features.ablate(one, latent, at=at))
        np.testing.assert_allclose(found.sel(latent=latent).examples, alone.examples, atol=1e-4)
    unlisted = sorted(set(range(40)) - set(found.coords["latent"]))
    if unlisted:
        assert not interp.effect(
            any_tiny, ioi, features.ablate(one, unlisted, at=at)
        ).examples.any()


def test_exactly_at_each_position(any_tiny, ioi):
    one = some(any_tiny, "mlp.1", "topk")
    found = features.latent_attribution(
        any_tiny, ioi, one, method="exact", to="zero", by="position"
    )
    latent = found.coords["latent"][1]
    for pos in (3, ioi.clean.shape[1] - 1):
        alone = interp.effect(any_tiny, ioi, features.ablate(one, latent, at=pos))
        np.testing.assert_allclose(
            found.sel(latent=latent).examples[pos], alone.examples, atol=1e-4
        )
    assert not found.examples[:, 0].any()


@pytest.mark.parametrize(
    "site,kind",
    [
        ("resid_post.2", "standard"),
        ("mlp.2", "topk"),
        ("L2H*.z", "standard"),
        ("mlp.1", "skip_transcoder"),
    ],
)
@pytest.mark.parametrize("to", ["corrupted", "zero", "mean"])
def test_a_linear_metric_needs_no_run_to_be_exact(tiny, site, kind, to):
    task = interp.tasks.ioi(tiny, n=3, seed=0)
    one, v = some(tiny, site, kind), torch.randn(32, generator=torch.Generator().manual_seed(3))
    last = (
        f"attn.{one.writes[1]}@END" if "H" in site else f"resid_post.{one.writes.split('.')[1]}@END"
    )
    linear = Metric(
        "projection", "units", lambda logits, kept: kept[last] @ v, (last,), needs_logits=False
    )
    estimate, exact = (
        features.latent_attribution(tiny, task, one, method=m, to=to, metric=linear)
        for m in ("gradient", "exact")
    )
    assert np.abs(exact.examples).max() > 1e-3
    np.testing.assert_allclose(estimate.examples, exact.examples, atol=1e-4)


def test_attribution_says_what_is_wrong(tiny):
    task, one = interp.tasks.ioi(tiny, n=3), some(tiny, "mlp.1")
    with pytest.raises(ValueError, match="did you mean 'gradient'"):
        features.latent_attribution(tiny, task, one, method="gradients")
    with pytest.raises(ValueError, match="did you mean 'corrupted'"):
        features.latent_attribution(tiny, task, one, to="corupted")
    with pytest.raises(ValueError, match="no position 99"):
        features.latent_attribution(tiny, task, one, at=99)


# --- heads by codes -------------------------------------------------------------------------------


def planted(n=8, layers=3, heads=4, d=24, seed=0):
    """What heads write: each its own vector with some noise, one head another one on positives."""
    g = torch.Generator().manual_seed(seed)
    own, other = torch.randn(layers, heads, d, generator=g), torch.randn(d, generator=g)
    size = 1 + 5 * torch.arange(layers)[:, None, None]  # late heads write more
    made = [size * (own + 0.05 * torch.randn(n, layers, heads, d, generator=g)) for _ in range(2)]
    made[0][:, 1, 2] += 6 * (other - own[1, 2])
    return made


@pytest.mark.parametrize("normalise", ["scale", "standardise"])
def test_a_planted_head_is_found_by_its_codes(normalise):
    positive, negative = planted()
    codes = codes_of(positive, negative, width=32, steps=300, l1=2.0, normalise=normalise)
    found = interp.replications.head_code_scores(codes)
    assert found.values[1, 2] == 1
    if normalise == "scale":  # without each head's mean, noise alone gives codes
        assert found.values.sum() == 1
        soft = interp.replications.head_code_scores(codes, softmax=True)
        assert soft.values.sum() == pytest.approx(1) and soft.values.argmax() == 6


def test_permuted_labels_find_nothing():
    codes = codes_of(*planted(), width=32, steps=300, l1=2.0)
    assert interp.replications.head_code_scores(permuted(codes, 1)).values[1, 2] == 0


def test_codes_are_counted_by_hand():
    positive = torch.tensor([[[3, 5]], [[4, 5]], [[3, 5]], [[6, 7]]])
    negative = torch.tensor([[[6, 5]], [[2, 5]], [[2, 7]], [[2, 5]]])
    codes = interp.replications.Codes(positive, negative, {})
    assert interp.replications.head_code_scores(codes).values.tolist() == [
        [pytest.approx(2 / 3), 0]
    ]
    assert interp.replications.head_code_scores(codes, count="union").values[0, 0] == pytest.approx(
        2 / 4
    )
    assert interp.replications.head_code_scores(codes, count="number").values[0, 0] == 2
    apart = interp.replications.Codes(positive.transpose(1, 2), negative.transpose(1, 2), {})
    pairs = interp.replications.head_pair_scores(
        apart
    )  # (3 5) (4 5) (6 7) against (6 5) (2 5) (2 7)
    assert pairs.values[0, 1] == 1 and np.isnan(pairs.values[[0, 1, 1], [0, 0, 1]]).all()
    with pytest.raises(ValueError, match="way to count codes"):
        interp.replications.head_code_scores(codes, count="shares")


def test_what_heads_write_is_what_the_hooks_say(any_tiny, ioi):
    kept = interp.run(any_tiny, ioi, keep=["L*H*@END"]).kept["L*H*@END"]
    assert torch.allclose(written(any_tiny, ioi.clean).permute(1, 2, 0, 3), kept, atol=1e-5)
    whole = interp.run(any_tiny, ioi.clean, keep=["L*H*"]).kept["L*H*"]
    assert torch.allclose(
        written(any_tiny, ioi.clean, "mean").permute(1, 2, 0, 3),
        whole[..., 1:, :].mean(-2),
        atol=1e-5,
    )
    codes = interp.replications.head_codes(any_tiny, ioi, width=16, steps=10)
    assert codes.positive.shape == (3, 3, 4) and codes.metadata["examples"] == 6
    assert interp.replications.head_code_scores(codes).dims == ("layer", "head")
    many = interp.replications.head_codes(any_tiny, ioi, width=16, steps=10, score_on=ioi[[0, 1]])
    assert many.negative.shape[0] == 2


# --- feature circuits -----------------------------------------------------------------------------


def chain(model, *kinds):
    sites = ("resid_post.0", "mlp.1", "resid_post.1")
    return [some(model, s, k) for s, k in zip(sites, kinds or ("topk", "topk", "topk"))]


def test_edges_of_every_latent_add_up_to_the_node(any_tiny, ioi):
    for kinds in ((), ("topk", "transcoder", "standard")):
        many = chain(any_tiny, *kinds)
        found = features.circuit(any_tiny, ioi, many, nodes=10_000, method="gradient")
        for d in many:
            effect = features.latent_attribution(any_tiny, ioi, d, method="gradient")
            named = {f"{d.writes}:{n}": -v for n, v in zip(effect.coords["latent"], effect.values)}
            for name, score in named.items():
                assert found.nodes[name] == pytest.approx(score, abs=1e-4)
                out = sum(s for (a, _), s in found.edges.items() if a == name)
                assert out == pytest.approx(score, abs=1e-4), name


def test_an_edge_is_the_exact_cut_where_all_is_linear(tiny):
    """From what attention writes to the stream after the MLP, nothing lies between but the MLP:
    held still, it is linear.
    """
    task = interp.tasks.ioi(tiny, n=3)
    d = 32

    def linear(site):
        return features.Dictionary(  # every latent always on, so that encoding is linear, too
            "standard",
            {**some(tiny, site).weights, "b_enc": torch.full((40,), 500.0)},
            site,
            settings={"apply_b_dec_to_input": False},
        )

    first, mlp, last = linear("attn.2"), linear("mlp.2"), linear("resid_post.2")
    v = torch.randn(d, generator=torch.Generator().manual_seed(3))
    metric = Metric(
        "projection",
        "units",
        lambda logits, kept: kept["resid_post.2@END"] @ v,
        ("resid_post.2@END",),
        needs_logits=False,
    )
    found = features.circuit(tiny, task, [last, first, mlp], nodes=10_000, metric=metric)
    clean, other = (
        interp.run(tiny, t, keep=["attn.2", "resid_post.2"]).kept
        for t in (task.clean, task.corrupted)
    )
    i, j = 3, 7
    change = (first.encode(other["attn.2"]) - first.encode(clean["attn.2"]))[
        ..., i, None
    ] * first.W_dec[i]
    change[:, 0] = 0
    moved = last.encode(clean["resid_post.2"] + change) - last.encode(clean["resid_post.2"])
    exact = (moved[:, -1, j, None] * last.W_dec[j] @ v).mean()
    assert abs(float(exact)) > 1e-3
    assert found.edges["attn.2:3", "resid_post.2:7"] == pytest.approx(
        -float(exact), rel=1e-3, abs=1e-4
    )
    assert not any(a == "resid_post.2:3" and b != "output" for a, b in found.edges)


def test_keeping_all_is_the_clean_run_and_keeping_none_the_mean(any_tiny, ioi):
    many = chain(any_tiny, "topk", "skip_transcoder", "standard")
    found = features.circuit(any_tiny, ioi, many, nodes=10_000, to="mean", steps=2)
    nothing = features.FeatureCircuit({}, {}, found.sites, {})
    every = {f"{d.writes}:{i}": 1.0 for d in many for i in [*range(40), "error"]}
    whole = features.faithfulness(
        any_tiny, ioi, many, features.FeatureCircuit(every, {}, found.sites, {})
    )
    np.testing.assert_allclose(whole.sel(kept="circuit").values, 1, atol=1e-3)
    np.testing.assert_allclose(
        whole.sel(kept="its latents").examples, whole.sel(kept="all latents").examples, atol=1e-5
    )
    empty = features.faithfulness(any_tiny, ioi, many, nothing)
    np.testing.assert_allclose(empty.sel(kept="circuit").examples, 0, atol=1e-6)
    np.testing.assert_allclose(empty.sel(kept="random latents").examples, 0, atol=1e-6)
    assert abs(float(empty.sel(kept="all errors").values)) > 1e-3
    # nothing kept: every site but its first position is its mean over the prompts
    last = interp.run(any_tiny, ioi, keep=["resid_post.1"]).kept["resid_post.1"]
    fixed = torch.cat([last[:, :1], last[:, 1:].mean(0, keepdim=True).expand(3, -1, -1)], 1)
    edited = interp.run(
        any_tiny,
        ioi.clean,
        [interp.Intervention("resid_post.1", interp.edits.set_to(fixed))],
        last_only=True,
    ).logits
    assert empty.metadata["nothing"] == pytest.approx(float(ioi.metric(edited).mean()), abs=1e-4)


def test_a_feature_circuit_is_the_same_after_a_round_trip_and_draws_itself(tiny, tmp_path):
    task = interp.tasks.ioi(tiny, n=3)
    found = features.circuit(tiny, task, chain(tiny), nodes=12, steps=2)
    assert (
        len(found.nodes) == 12
        and features.FeatureCircuit.load(found.save(tmp_path / "c.json")) == found
    )
    less = found.above(edges=np.median([abs(s) for s in found.edges.values()]))
    assert 0 < len(less.edges) < len(found.edges) and less.nodes == found.nodes
    assert found.plot().get_title().endswith("edges") and less.plot() is not None
    assert len(found.latents("mlp.1")) <= 12
    (tmp_path / "d.json").write_text("{")
    with pytest.raises(ValueError, match="not a feature circuit"):
        features.FeatureCircuit.load(tmp_path / "d.json")


def test_feature_circuits_say_what_is_wrong(tiny):
    task, many = interp.tasks.ioi(tiny, n=3), chain(tiny)
    with pytest.raises(ValueError, match="two dictionaries write 'mlp.1'"):
        features.circuit(tiny, task, [*many, many[1]])
    with pytest.raises(ValueError, match="all heads side by side"):
        features.circuit(tiny, task, [some(tiny, "L1H*.z")])
    found = features.circuit(tiny, task, many, nodes=4, steps=1)
    with pytest.raises(ValueError, match="the circuit is of resid_post.0, mlp.1, resid_post.1"):
        features.faithfulness(tiny, task, many[:2], found)
    with pytest.raises(ValueError, match="site of this circuit"):
        found.latents("mlp.2")
