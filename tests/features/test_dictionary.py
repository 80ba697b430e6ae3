"""Dictionaries of features: what they lose, how they are trained, kept, loaded and judged. Laws, on
tiny models.
"""

import dataclasses
from importlib import import_module

import numpy as np
import pytest
import torch
from dictionaries import dictionary, weights

import interp
from interp import features
from interp.features import site_values
from interp.features.training import train_checkpoint
from interp.interventions import Intervention


@pytest.fixture(scope="module")
def ids():
    found = torch.randint(5, 200, (40, 16), generator=torch.Generator().manual_seed(0))
    found[:, 0] = 1
    return found


KINDS = (
    "standard",
    "topk",
    "jumprelu",
    "gated",
    "transcoder",
    "skip_transcoder",
    "jumprelu_transcoder",
)


# --- dictionaries on disk -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_dictionary_is_the_same_after_a_round_trip_and_to_sae_lens(kind, tmp_path):
    from sae_lens import SAE

    one, x = (
        dictionary(kind, name="mine", metadata={"model": "tiny", "seed": 3}),
        torch.randn(7, 32),
    )
    again = features.load(one.save(tmp_path / kind))
    assert torch.equal(one.reconstruct(x), again.reconstruct(x))
    assert [getattr(again, f) for f in ("kind", "site", "to", "name", "metadata")] == [
        getattr(one, f) for f in ("kind", "site", "to", "name", "metadata")
    ]
    theirs = SAE.load_from_disk(tmp_path / kind)
    assert torch.allclose(theirs.encode(x), one.encode(x), atol=1e-5)
    assert torch.allclose(theirs(x), one.reconstruct(x), atol=1e-5)
    back = features.from_sae(theirs)
    assert (back.kind, back.site, back.to) == (one.kind, one.site, one.to)


def test_a_ready_sae_with_an_alias_and_with_long_directions_is_read_as_sae_lens_reads_it(tmp_path):
    from sae_lens import SAE, TopKSAE, TopKSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    config = TopKSAEConfig(
        d_in=32,
        d_sae=40,
        k=3,
        rescale_acts_by_decoder_norm=True,
        metadata=SAEMetadata(hook_name="blocks.1.hook_resid_post"),
    )
    theirs = TopKSAE(config)
    theirs.W_dec.data *= torch.linspace(0.5, 3, 40)[:, None]
    theirs.save_model(tmp_path)
    ours, x = features.load(tmp_path), torch.randn(9, 32)
    assert ours.site == "resid_post.1"
    assert torch.allclose(ours.reconstruct(x), SAE.load_from_disk(tmp_path)(x), atol=1e-5)


def test_what_does_not_fit_is_said(tmp_path, tiny, ids):
    wide = features.Dictionary(
        "topk",
        weights("topk", d=48),
        "resid_post.1",
        settings={"k": 4, "apply_b_dec_to_input": True},
    )
    with pytest.raises(ValueError, match="is 48 wide at 'resid_post.1', where tiny has 32"):
        features.check(tiny, wide)
    with pytest.raises(ValueError, match="layers 0 to 2"):
        features.check(tiny, dictionary(site="resid_post.9"))
    with pytest.raises(ValueError, match="one site at every position"):
        dictionary(site="resid_post.*")
    with pytest.raises(ValueError, match="reads vectors of 32 numbers"):
        dictionary().encode(torch.zeros(2, 5))
    (tmp_path / "sae.pt").write_bytes(b"pickled")
    for pickle in (tmp_path, tmp_path / "sae.pt"):
        with pytest.raises(ValueError, match="pickle"):
            features.load(pickle)
    dictionary().save(tmp_path / "random")  # random weights explain nothing
    dictionary().save(tmp_path / "cut")
    whole = (tmp_path / "cut" / "sae_weights.safetensors").read_bytes()
    (tmp_path / "cut" / "sae_weights.safetensors").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="is not whole"):
        features.load(tmp_path / "cut")
    with pytest.raises(ValueError, match="belongs to another model"):
        features.load(tmp_path / "random", model=tiny)


def test_one_that_was_trained_too_little_is_loaded_with_a_warning(tmp_path, tiny):
    raw = dictionary()
    known = {"model": "tiny", "tokens": 9_216, "curve": [{"explained": 0.0}]}
    dataclasses.replace(raw, metadata=known).save(tmp_path / "ours")
    with pytest.warns(UserWarning, match="trained on 9,216 tokens .*too few, or .* tokens=92_160"):
        found = features.load(tmp_path / "ours", model=tiny)
    assert found.metadata["tokens"] == 9_216
    dataclasses.replace(raw, metadata={**known, "model": "another"}).save(tmp_path / "theirs")
    with pytest.raises(ValueError, match=r"another model, .* or was trained on too few .*9,216"):
        features.load(tmp_path / "theirs", model=tiny)


def test_a_barely_trained_transcoder_comes_back(tmp_path, tiny):
    made = features.train(
        tiny, "mlp.1.in", to="mlp.1", kind="transcoder", width=16, k=4, tokens=4_096, lr=1e-9
    )
    made.save(tmp_path / "one")
    with pytest.warns(UserWarning, match="explains -?0.* of the variance of 'mlp.1' in tiny"):
        features.load(tmp_path / "one", model=tiny)


SITES = ["resid_pre.1", "resid_post.1", "resid_mid.1", "mlp.1", "attn.1", "mlp.1.post", "L1H*.z"]


def _random_model():
    from sae_lens import HookedSAETransformer
    from transformer_lens import HookedTransformerConfig

    config = HookedTransformerConfig(
        n_layers=3,
        d_model=32,
        n_ctx=16,
        d_head=8,
        n_heads=4,
        d_mlp=64,
        d_vocab=50,
        act_fn="gelu",
        seed=0,
    )
    return HookedSAETransformer(config)


@pytest.mark.parametrize("site", SITES)
def test_a_saved_folder_attaches_in_hooked_sae_transformer(tmp_path, site):
    from sae_lens import SAE

    one = dictionary("topk", site=site, d=64 if "post" in site and "mlp" in site else 32)
    one.save(tmp_path)
    theirs, model = SAE.load_from_disk(tmp_path), _random_model()
    tokens = torch.arange(10)[None]
    hook = theirs.cfg.metadata.hook_name

    def replaced(act, hook):
        flat = act.flatten(2) if act.ndim == 4 else act
        return one.reconstruct(flat).reshape(act.shape)

    plain = model(tokens)
    expected = model.run_with_hooks(tokens, fwd_hooks=[(hook, replaced)])
    with torch.no_grad():
        out = model.run_with_saes(tokens, saes=[theirs])
    assert torch.allclose(out, expected, atol=1e-4)
    assert (out - plain).abs().max() > 1e-2  # it is attached to something


@pytest.mark.parametrize("site", SITES)
def test_a_saved_folder_attaches_in_sae_lens_bridge(tmp_path, ids, site):
    import copy

    from sae_lens import SAE, SAETransformerBridge

    tiny = interp.load("tiny")  # its own: sae-lens puts other hook points into the model
    one = dictionary("topk", site=site, d=tiny.cfg.d_mlp if site.endswith("post") else 32)
    one.save(tmp_path)
    theirs = SAE.load_from_disk(tmp_path)
    # on a bridge this hook is what the MLP reads, not the stream that goes on
    place = "mlp.1.in" if site == "resid_mid.1" else site

    def replaced(act, seen):
        flat = act.flatten(2) if act.ndim == 4 else act
        return one.reconstruct(flat).reshape(act.shape)

    if site == "L1H*.z":  # all heads together: an edit of ours is given one at a time
        expected = tiny.run_with_hooks(
            ids, fwd_hooks=[("blocks.1.attn.hook_z", lambda act, hook: replaced(act, None))]
        )
    else:
        expected = interp.run(tiny, ids, [interp.Intervention(place, replaced)]).logits
    bridge = copy.copy(tiny)
    bridge.__class__ = SAETransformerBridge
    bridge._acts_to_saes, bridge._transcoder_output_hooks = {}, {}
    with torch.no_grad():
        plain, out = tiny(ids), bridge.run_with_saes(ids, saes=[theirs])
    assert torch.allclose(out, expected, atol=1e-3)
    assert (out - plain).abs().max() > 1e-2


def test_a_transcoder_reads_the_stream_by_a_name_that_others_have():
    one = dictionary("transcoder")
    hooks = one._sae_lens_cfg()["metadata"]
    assert (hooks["hook_name"], hooks["hook_name_out"]) == (
        "blocks.1.hook_resid_mid",
        "blocks.1.hook_mlp_out",
    )


def test_hooks_and_addresses_name_each_other():
    from interp.sites import from_hook, to_hook

    for site in (
        "resid_pre.2",
        "resid_post.1",
        "mlp.0",
        "attn.2",
        "mlp.1.post",
        "L1H*.z",
        "logits.in",
    ):
        assert str(from_hook(to_hook(site))) == site
    assert str(from_hook("blocks.11.hook_resid_mid")) == "resid_mid.11"
    with pytest.raises(ValueError, match="unknown hook"):
        from_hook("blocks.1.hook_nothing")


# --- activations ----------------------------------------------------------------------------------


def test_the_engine_and_the_hooks_give_the_same_activations(any_tiny, ids):
    for site in (
        "embed",
        "resid_pre.1",
        "resid_post.2",
        "mlp.1",
        "mlp.1.in",
        "mlp.1.post",
        "attn.2",
        "L1H*.z",
        "L1H2.z",
        "logits.in",
    ):
        fast, slow = (
            site_values.values(any_tiny, ids[:5], [site], backend)[site]
            for backend in ("engine", "hooks")
        )
        kept = interp.run(any_tiny, ids[:5], keep=[site]).kept[site]
        kept = kept.permute(1, 2, 0, 3).flatten(2) if "*" in site else kept
        assert torch.allclose(slow, kept, atol=1e-5) and torch.allclose(fast, kept, atol=1e-4), site


def test_shards_go_on_where_they_stopped_and_a_corrupt_one_is_made_again(
    tiny, ids, tmp_path, monkeypatch
):
    activations = import_module("interp.features.activations")

    monkeypatch.setattr(activations, "SHARD", 64)
    whole = features.activations(tiny, "resid_post.1", ids)
    kept = features.activations(tiny, "resid_post.1", ids, folder=tmp_path)
    assert len(kept.shards) == 10 and torch.equal(kept.of(), whole.of())
    assert len(whole) == 40 * 15 and whole.where(17) == (1, 3)
    kept.shards[4].unlink()
    kept.shards[3].write_bytes(kept.shards[3].read_bytes()[:-4] + b"abcd")
    first = kept.shards[0].stat().st_mtime_ns
    with pytest.warns(UserWarning, match="shard-00003.safetensors .* made again"):
        again = features.activations(tiny, "resid_post.1", ids, folder=tmp_path)
    assert torch.equal(again.of(), whole.of()) and again.shards[0].stat().st_mtime_ns == first
    with pytest.raises(ValueError, match="other activations, with other sites"):
        features.activations(tiny, "resid_post.0", ids, folder=tmp_path)


def test_batches_hold_every_token_once_and_can_be_gone_on_with(tiny, ids):
    acts = features.activations(tiny, "mlp.1", ids)
    stream = acts.batches(60, seed=2)
    first = [next(stream)["mlp.1"] for _ in range(25)]

    def rows(x):
        return sorted(map(tuple, x.tolist()))

    assert rows(torch.cat(first[:10])) == rows(acts.of())
    assert torch.equal(next(acts.batches(60, seed=2, start=13))["mlp.1"], first[13])
    assert not torch.equal(next(acts.batches(60, seed=3))["mlp.1"], first[0])
    with pytest.raises(ValueError, match="600 tokens are fewer than one batch"):
        next(acts.batches(601))


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dead", [0, 10, 40])
def test_the_sparse_step_has_sae_lens_loss_and_gradients(dead):
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.saes.sae import TrainStepInput

    from interp.features.training import topk_step

    theirs = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=32, d_sae=100, k=5))
    theirs.W_dec.data *= 1 + torch.rand(100, 1)
    theirs.b_enc.data += 0.1 * torch.randn(100)
    theirs.b_dec.data += 0.1 * torch.randn(32)
    x, mask = torch.randn(64, 32), torch.arange(100) < dead
    output = theirs.training_forward_pass(TrainStepInput(x, {}, mask, 0, False))
    output.loss.backward()
    expected = {name: p.grad.clone() for name, p in theirs.named_parameters()}
    found = topk_step.gradients(theirs, x, mask)
    assert torch.allclose(found.mse + found.aux, output.loss, rtol=1e-6)
    for name, parameter in theirs.named_parameters():
        assert (parameter.grad - expected[name]).norm() < 1e-6 * expected[name].norm(), name


def test_training_our_way_and_sae_lens_way_ends_the_same(tiny, ids):
    ours, theirs = (
        features.train(
            tiny, "resid_post.1", ids, width=64, k=4, tokens=1280, batch=64, lr=1e-3, fast=fast
        )
        for fast in (True, False)
    )
    assert torch.allclose(ours.W_dec, theirs.W_dec, atol=1e-5) and torch.allclose(
        ours.weights["W_enc"], theirs.weights["W_enc"], atol=1e-4
    )


@pytest.mark.parametrize(
    "kind", ["batchtopk", "matryoshka", "standard", "gated", "jumprelu", "transcoder"]
)
def test_every_kind_trains_and_says_the_numbers_it_has(kind, tiny, ids, tmp_path):
    where = ("mlp.1.in", "mlp.1") if kind == "transcoder" else ("resid_post.1", None)
    one = features.train(
        tiny,
        where[0],
        ids,
        kind=kind,
        to=where[1],
        width=64,
        k=4,
        tokens=64 * 60,
        batch=64,
        lr=1e-2,
    )
    first, last = one.metadata["curve"][0], one.metadata["curve"][-1]
    assert last["explained"] > first["explained"] and one.metadata["tokens"] == 64 * 60
    acts = features.activations(tiny, [one.site, one.writes], ids)
    x, y = acts.of(one.site), acts.of(one.writes)
    explained = 1 - (one.reconstruct(x) - y).pow(2).sum() / (y - y.mean(0)).pow(2).sum()
    assert (
        abs(float(explained) - last["explained"]) < 0.15
    )  # scaled back: what was trained is what is given
    assert features.check(tiny, features.load(one.save(tmp_path)), ids).metadata["kind"] == kind


def test_training_goes_on_where_it_stopped(tiny, ids, tmp_path, monkeypatch):
    monkeypatch.setattr(train_checkpoint, "EVERY", 0)
    how = dict(width=64, k=4, tokens=1920, batch=64)
    whole = features.train(tiny, "resid_post.1", ids, **how)

    def stop(now):
        if now["tokens"] > 900:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features.train(tiny, "resid_post.1", ids, folder=tmp_path, callback=stop, **how)
    again = features.train(tiny, "resid_post.1", ids, folder=tmp_path, **how)
    assert all(torch.equal(again.weights[name], value) for name, value in whole.weights.items())
    with pytest.raises(ValueError, match="another training, with other lr"):
        features.train(tiny, "resid_post.1", ids, folder=tmp_path, lr=0.5, **how)


def test_training_refuses_what_cannot_be(tiny, ids):
    with pytest.raises(ValueError, match="did you mean 'topk'"):
        features.train(tiny, "resid_post.1", ids, kind="top-k")
    with pytest.raises(ValueError, match="k=99 of width=64"):
        features.train(tiny, "resid_post.1", ids, width=64, k=99)
    with pytest.raises(ValueError, match="600 tokens are fewer than one batch of 1,024"):
        features.train(tiny, "resid_post.1", ids, width=64, k=4)
    with pytest.raises(ValueError, match="a transcoder, and only that"):
        features.train(tiny, "mlp.1.in", ids, kind="transcoder")


# --- judging --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "site", ["resid_post.1", "resid_post.2", "mlp.1", "attn.2", "L1H*.z", "L1H2.z", "mlp.1.post"]
)
def test_an_identity_loses_nothing_and_zero_is_zero_ablation(any_tiny, ids, site):
    d = features.activations(any_tiny, site, ids[:2]).of().shape[1]
    identity = features.identity(site, d)
    nothing = dataclasses.replace(
        identity, weights={**identity.weights, "W_dec": torch.zeros(2 * d, d)}, name="nothing"
    )
    found = features.evaluate(any_tiny, [identity, nothing], ids[:6])
    slow = features.evaluate(any_tiny, [identity, nothing], ids[:6], backend="hooks")
    losses = ["loss, spliced", "loss, plain", "loss, mean ablated"]
    assert np.allclose(found.sel(measure=losses).values, slow.sel(measure=losses).values, atol=1e-4)
    told = found.sel(dictionary="identity")
    assert told.sel(measure="explained variance").values == pytest.approx(1) and told.sel(
        measure="latents on"
    ).values == pytest.approx(d, abs=1)
    assert told.sel(measure="loss, spliced").values == pytest.approx(
        told.sel(measure="loss, plain").values, abs=1e-5
    )

    def off(act, seen):
        act = act.clone()
        act[:, 1:] = 0
        return act

    ablated = interp.methods.text.cross_entropy(any_tiny, ids[:6], [Intervention(site, off)])
    assert found.sel(dictionary="nothing", measure="loss, spliced").values == pytest.approx(
        float(ablated.values), abs=1e-4
    )
    assert told.sel(measure="loss, plain").values == pytest.approx(
        float(interp.methods.text.cross_entropy(any_tiny, ids[:6]).values), abs=1e-4
    )


def test_a_transcoder_is_judged_where_it_writes(tiny, ids):
    found = features.evaluate(tiny, dictionary("skip_transcoder"), ids[:4])
    one = dictionary("skip_transcoder")
    x = interp.run(tiny, ids[:4], keep=["mlp.1.in"]).kept["mlp.1.in"]

    def put(act, seen):
        return torch.cat([act[:, :1], one.reconstruct(x)[:, 1:]], 1)

    expected = interp.methods.text.cross_entropy(tiny, ids[:4], [Intervention("mlp.1", put)])
    assert found.sel(measure="loss, spliced").values == pytest.approx(
        float(expected.values), abs=1e-4
    )


def test_components_beat_random_directions_and_tables_say_the_tokens(tiny, ids):
    acts = features.activations(tiny, "resid_post.1", ids)
    found = features.evaluate(tiny, features.baselines(acts, k=4, width=64), acts)
    random, pca = found.sel(measure="explained variance").values
    assert 0 < random < pca < 1
    table = features.table(found)
    assert (
        list(table.index) == ["random 64", "pca 32"]
        and (table["tokens"] == 600).all()
        and (table["latents on"] <= 4).all()
    )
    low, value, high = (table[f"explained variance{end}"] for end in (", low", "", ", high"))
    assert ((low < value) & (value < high)).all()
    assert features.pareto(found).get_xlabel().startswith("latents on")


def test_known_directions_are_found_and_a_dictionary_recovers_itself():
    made = features.synthetic(features=48, d=32, on=2, tokens=8_000, seed=1)
    sae = features.train(
        None, "embed", made.activations, width=64, k=3, tokens=64_000, batch=256, lr=1e-2
    )
    assert float(features.matched_cosine_similarity(sae, made.truth).values) >= 0.9
    assert float(
        features.matched_cosine_similarity(made.truth, made.truth).values
    ) == pytest.approx(1)
    random, _ = features.baselines(made.activations, k=2, width=48)
    assert float(features.matched_cosine_similarity(random, made.truth).values) < 0.7


def test_one_latent_tells_what_it_stands_for():
    made = features.synthetic(features=48, d=64, on=4, tokens=3_000)
    orthogonal = dataclasses.replace(
        made.truth, weights={**made.truth.weights, "W_enc": torch.linalg.pinv(made.truth.W_dec)}
    )
    x = made.activations.of()
    label = orthogonal.encode(x)[:, 5] > 0.5
    found = features.probe(orthogonal, x, label, ks=(1, 4))
    assert found.sel(latents="1").values > 0.99 and found.metadata["best"][0] == 5
    with pytest.raises(ValueError, match="at least 8 of each"):
        features.probe(made.truth, x, torch.zeros(len(x), dtype=torch.bool))


def test_other_texts_stand_side_by_side_in_the_cache(tiny, ids, tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path / "models"))
    folder = features.cache_folder("tiny", "study")
    first, second = (
        features.activations(tiny, "resid_post.1", some, folder=folder)
        for some in (ids[:20], ids[20:])
    )
    assert len(list(folder.iterdir())) == 2
    assert torch.equal(first.of(), features.activations(tiny, "resid_post.1", ids[:20]).of())
    with pytest.raises(ValueError, match="holds other activations"):
        for some in (ids[:20], ids[20:]):
            features.activations(tiny, "resid_post.1", some, folder=tmp_path / "mine")


@pytest.mark.parametrize(
    "damage, said",
    [
        ({"W_enc": None}, "has no W_enc"),
        ({"b_enc": torch.zeros(3)}, "b_enc of .* has the shape"),
        ({"W_enc": torch.zeros(6, 10, dtype=torch.float16)}, "one floating type"),
        ({"k": -1}, "k of .* is -1"),
        ({"k": 10**7}, "k of .* is 10000000"),
    ],
)
def test_a_folder_with_a_wrong_part_is_refused_when_it_is_loaded(tmp_path, damage, said):
    import json

    from safetensors.torch import load_file, save_file

    kept = {k: v[:6] if k == "W_enc" else v for k, v in weights("topk", d=6, n=10).items()}
    features.Dictionary("topk", kept, "resid_post.1", settings={"k": 3}).save(tmp_path)
    tensors = load_file(tmp_path / "sae_weights.safetensors")
    head = json.loads((tmp_path / "cfg.json").read_text())
    for name, value in damage.items():
        if name == "k":
            head["k"] = value
        elif value is None:
            del tensors[name]
        else:
            tensors[name] = value
    save_file(tensors, tmp_path / "sae_weights.safetensors")
    (tmp_path / "cfg.json").write_text(json.dumps(head))
    with pytest.raises(ValueError, match=said):
        features.load(tmp_path)
