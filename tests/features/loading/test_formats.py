"""Dictionaries that other tools wrote say what those tools say. `fixtures/README.md` has how."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import interp
from interp import features, sites
from interp.features.loading.check import _same_output
from interp.models import bridge

FILES = Path(__file__).parent / "fixtures"
SCOPE = "gemma_scope/gemma-scope-2b-pt-{}/layer_1/width_16k/average_l0_3/params.npz"
# what was written: the path from `fixtures`, then what is read and written, and the kind
WRITTEN = {
    **{
        f"sae_lens/{version}-{name}": (f"sae_lens/{version}-{name}", site, None, kind)
        for version in ("3.22.2", "5.10.7")
        for name, site, kind in (
            ("standard", "resid_post.1", "standard"),
            ("factor", "resid_post.1", "standard"),
            ("gated", "resid_post.1", "gated"),
            ("jumprelu", "resid_post.1", "jumprelu"),
            ("topk", "resid_post.1", "topk"),
            ("head", "L1H2.q", "standard"),
        )
    },
    **{
        f"sae_lens/{version}-factor": (
            f"sae_lens/{version}-factor",
            "resid_pre.1",
            None,
            "standard",
        )
        for version in ("1.3.0", "2.1.3")
    },
    **{
        f"dictionary_learning/{name}": (f"dictionary_learning/{name}", "resid_post.1", None, kind)
        for name, kind in (
            ("standard", "standard"),
            ("april", "standard"),
            ("gated", "gated"),
            ("topk", "topk"),
            ("batchtopk", "jumprelu"),
            ("matryoshka", "jumprelu"),
            ("jumprelu", "jumprelu"),
        )
    },
    "sparsify/layers.1": ("sparsify/layers.1", "resid_post.1", None, "topk"),
    "sparsify/layers.1.attention": ("sparsify/layers.1.attention", "attn.1", None, "topk"),
    "sparsify/layers.1.mlp": ("sparsify/layers.1.mlp", "mlp.1.module_in", "mlp.1", "topk"),
    "gemma_scope/res": (SCOPE.format("res"), "resid_post.1", None, "jumprelu"),
    "gemma_scope/transcoders": (
        SCOPE.format("transcoders"),
        "mlp.1.normalized",
        "mlp.1",
        "jumprelu_transcoder",
    ),
    **{
        f"gemma_scope_2/{folder}.layer_1_width_16k_l0_small{more}": (
            f"gemma_scope_2/gemma-scope-2-1b-pt/{folder}/layer_1_width_16k_l0_small{more}",
            site,
            to,
            kind,
        )
        for folder, more, site, to, kind in (
            ("resid_post_all", "", "resid_post.1", None, "jumprelu"),
            ("attn_out_all", "", "L1H*.z", None, "jumprelu"),
            ("transcoder_all", "", "mlp.1.module_in", "mlp.1", "jumprelu_transcoder"),
            ("transcoder_all", "_affine", "mlp.1.module_in", "mlp.1", "jumprelu_skip_transcoder"),
        )
    },
    **{
        f"circuit_tracer/{name}.{layer}": (
            f"circuit_tracer/{name}/layer_{layer}.safetensors",
            site.format(layer),
            f"mlp.{layer}",
            kind,
        )
        for name, site, kind in (
            ("relu", "resid_mid.{}", "transcoder"),
            ("jumprelu", "mlp.{}.normalized", "jumprelu_transcoder"),
            ("skip", "mlp.{}.module_in", "skip_transcoder"),
        )
        for layer in (0, 1)
    },
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_tool_wrote_gives_what_the_tool_gives(name, tmp_path):
    path, site, to, kind = WRITTEN[name]
    one, outputs = features.load(FILES / path), load_file(FILES / f"{name}.outputs.safetensors")
    assert (one.site, one.to, one.kind) == (site, to, kind)
    x = outputs["x"]
    assert torch.allclose(one.reconstruct(x), outputs["reconstruction"], atol=1e-5)
    assert torch.allclose(one.encode(x), outputs["latents"], atol=1e-5)
    assert (one.encode(x) > 0).any() and (outputs["reconstruction"] - one.b_dec).abs().max() > 0.1
    again = features.load(one.save(tmp_path))
    assert torch.allclose(again.reconstruct(x), outputs["reconstruction"], atol=1e-5)
    assert (again.site, again.to) == (site, to)


def test_a_folder_of_layers_is_read_in_their_order():
    found = features.load_all(FILES / "circuit_tracer/jumprelu")
    assert [one.writes for one in found] == ["mlp.0", "mlp.1"]
    for layers in (1, "1", [1]):
        one = features.load_all(FILES / "circuit_tracer/relu", layers)
        assert [found.writes for found in one] == ["mlp.1"]
    with pytest.raises(ValueError, match="has no dictionary of layer"):
        features.load_all(FILES / "circuit_tracer/relu", "1-9")
    with pytest.raises(ValueError, match="no dictionary of layer 7"):
        features.load_all(FILES / "circuit_tracer/relu", [1, 7])
    with pytest.raises(ValueError, match="holds 2 layers: features.load_all"):
        features.load(FILES / "circuit_tracer/relu")


def test_a_site_that_no_file_says_is_asked_for_and_what_is_typed_goes_first(tmp_path):
    shutil.copy(FILES / SCOPE.format("res"), tmp_path)
    with pytest.raises(ValueError, match="does not say which site it reads: give it"):
        features.load(tmp_path / "params.npz")
    assert features.load(tmp_path, site="resid_pre.0").site == "resid_pre.0"
    assert features.load(FILES / "sparsify/layers.1", site="resid_pre.2").site == "resid_pre.2"
    for path in (SCOPE.format("transcoders"), "circuit_tracer/relu/layer_1.safetensors"):
        one = features.load(FILES / path, site="mlp.1.in")  # what it writes stays as it was
        assert (one.site, one.to) == ("mlp.1.in", "mlp.1") and "transcoder" in one.kind
    assert features.load(FILES / path, to="attn.0").to == "attn.0"


@pytest.mark.parametrize(
    "path, said",
    [
        ("sae_lens/3.22.2-tanh", "activation function 'tanh-relu'"),
        ("sparsify/layers.0.mlp", "activation function is 'groupmax'"),
        ("circuit_tracer/cross_layer", "is a cross-layer transcoder, .*CrossLayerTranscoder.load"),
    ],
)
def test_what_cannot_be_computed_here_is_refused(path, said):
    with pytest.raises(ValueError, match=said):
        features.load(FILES / path)


def _rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_wrong_parts_are_named_with_their_file(tmp_path):
    folder = tmp_path / "layers.1"
    shutil.copytree(FILES / "sparsify/layers.1", folder)
    tensors = load_file(folder / "sae.safetensors")
    save_file({**tensors, "b_dec": torch.zeros(5)}, folder / "sae.safetensors")
    with pytest.raises(ValueError, match=r"b_dec should have the shape \[6\], and has \[5\]"):
        features.load(folder)
    del tensors["encoder.bias"]
    save_file(tensors, folder / "sae.safetensors")
    with pytest.raises(ValueError, match=r"sae.safetensors' has no encoder.bias"):
        features.load(folder)
    topk = tmp_path / "topk"
    shutil.copytree(FILES / "dictionary_learning/topk", topk)
    _rewrite(topk / "config.json", lambda c: c["trainer"].update(k=2))
    with pytest.raises(ValueError, match="ae.pt says k=3, and config.json k=2"):
        features.load(topk)
    _rewrite(topk / "config.json", lambda c: c["trainer"].update(dict_class="CrossCoder"))
    with pytest.raises(ValueError, match="unknown dict_class of dictionary_learning 'CrossCoder'"):
        features.load(topk)
    _rewrite(topk / "config.json", lambda c: c["trainer"].update(dict_class=3))
    with pytest.raises(ValueError, match="trainer.dict_class. should be"):
        features.load(topk)
    batch = tmp_path / "batchtopk"
    shutil.copytree(FILES / "dictionary_learning/batchtopk", batch)
    state = torch.load(batch / "ae.pt", weights_only=True)
    torch.save(state | {"threshold": torch.tensor(-1.0)}, batch / "ae.pt")
    with pytest.warns(UserWarning, match="has no threshold yet"):
        features.load(batch)


def test_an_unused_factor_of_sae_lens_that_is_not_one_is_refused(tmp_path):
    folder = tmp_path / "sae"
    shutil.copytree(FILES / "sae_lens/2.1.3-factor", folder)
    _rewrite(folder / "cfg.json", lambda c: c.update(finetuning_scaling_factor=False))
    with pytest.raises(ValueError, match="a factor for each latent .* says that it is not used"):
        features.load(folder)
    tensors = load_file(folder / "sae_weights.safetensors")
    save_file(tensors | {"scaling_factor": torch.ones(12)}, folder / "sae_weights.safetensors")
    assert torch.equal(features.load(folder).W_dec, tensors["W_dec"])


@pytest.mark.parametrize("family", ["tiny", "tiny-gpt2"])
def test_what_an_mlp_reads_after_its_norm_is_what_transformer_lens_has_there(family):
    model = interp.load(family)
    ids, hooks = torch.arange(5, 17)[None], ("ln2.hook_normalized", "mlp.hook_in")
    _, cache = model.run_with_cache(ids)
    acts = features.activations(
        model, ["mlp.1.normalized", "mlp.1.module_in"], ids, skip=0, split=None
    )
    for site, hook in zip(("mlp.1.normalized", "mlp.1.module_in"), hooks):
        assert torch.allclose(acts.of(site), cache[f"blocks.1.{hook}"][0], atol=1e-5)
    x = interp.run(model, ids, keep=["mlp.1.in"]).kept["mlp.1.in"][0]
    x = x - x.mean(-1, keepdim=True) if family == "tiny-gpt2" else x
    scaled = x / (x.pow(2).mean(-1, keepdim=True) + model.cfg.eps).sqrt()
    assert torch.allclose(acts.of("mlp.1.normalized"), scaled, atol=1e-4)


def test_a_dictionary_of_another_model_or_of_a_module_before_its_norm_is_refused(tiny):
    one = features.load(FILES / "sparsify/layers.1.mlp")
    with pytest.raises(ValueError, match="is 6 wide at 'mlp.1.module_in', where tiny has 32"):
        features.check(tiny, one)
    with pytest.raises(ValueError, match="this model has layers 0 to 2"):
        features.check(tiny, features.load(FILES / "sparsify/layers.1", site="resid_post.7"))
    dims = dataclasses.replace(bridge.dims(tiny), variants=("mlp out",))
    with pytest.raises(ValueError, match="output of 'layers.1.mlp', and m changes that"):
        _same_output(one, dims, "m")
    with pytest.raises(ValueError, match="no norm of their own before them"):
        sites.check(
            sites.Site.parse("mlp.1.normalized"), dataclasses.replace(dims, variants=("one norm",))
        )


# --- Gemma Scope 2 --------------------------------------------------------------------------------

SCOPE_2 = (
    FILES / "gemma_scope_2/gemma-scope-2-1b-pt/transcoder_all/layer_1_width_16k_l0_small_affine"
)


def test_gemma_scope_2_without_its_configuration_says_the_same_by_its_folders(tmp_path):
    place = tmp_path / "gemma-scope-2-1b-pt" / "transcoder" / SCOPE_2.name
    shutil.copytree(SCOPE_2, place)
    (place / "config.json").unlink()
    assert len(features.load_all(SCOPE_2.parent)) == 2
    a, b = features.load(SCOPE_2), features.load(place / "params.safetensors")
    assert (a.site, a.to, a.kind) == (b.site, b.to, b.kind)
    assert a.metadata["model"] == "google/gemma-3-1b-pt" and b.metadata["model"] == "gemma-3-1b-pt"
    shutil.move(place, tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="does not say which site it reads"):
        features.load(tmp_path / "elsewhere")
    assert features.load(tmp_path / "elsewhere", site="mlp.2.module_in", to="mlp.2").to == "mlp.2"


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda t: t.pop("threshold"), "has no threshold"),
        (lambda t: t.update(w_dec=torch.zeros(10, 3, 6)), "writes to several layers"),
        (lambda t: t.update(log_scale=torch.zeros(2)), "also has log_scale, which interp does not"),
        (
            lambda t: t.pop("affine_skip_connection"),
            "affine_connection: true, and .* has no affine",
        ),
        (lambda t: t.update(affine_skip_connection=torch.zeros(6, 4)), r"the shape \[6, 6\]"),
    ],
)
def test_tensors_of_gemma_scope_2_that_are_not_known_are_named(tmp_path, change, says):
    folder = tmp_path / "layer_1"
    shutil.copytree(SCOPE_2, folder)
    tensors = load_file(folder / "params.safetensors")
    change(tensors)
    save_file(tensors, folder / "params.safetensors")
    with pytest.raises(ValueError, match=says):
        features.load(folder)


@pytest.mark.parametrize(
    "field, value, says",
    [
        ("architecture", "topk", "architecture is 'topk', and interp knows 'jump_relu'"),
        ("hf_hook_point_in", "model.layers.1.mlp.act.output", "which interp does not know"),
        ("affine_connection", False, "affine_connection: false, and params.safetensors has"),
    ],
)
def test_a_configuration_of_gemma_scope_2_that_is_not_known_is_refused(
    tmp_path, field, value, says
):
    folder = tmp_path / "layer_1"
    shutil.copytree(SCOPE_2, folder)
    _rewrite(folder / "config.json", lambda c: c.update({field: value}))
    with pytest.raises(ValueError, match=says):
        features.load(folder)


# --- cross-layer transcoders ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cross_layer", "cross_layer_jumprelu"])
def test_a_cross_layer_transcoder_gives_what_circuit_tracer_gives(name, tmp_path):
    outputs = load_file(FILES / f"circuit_tracer/{name}.outputs.safetensors")
    clt = features.CrossLayerTranscoder.load(FILES / "circuit_tracer" / name)
    assert clt.reads == ("resid_mid.0", "resid_mid.1", "resid_mid.2")
    assert clt.writes == ("mlp.0", "mlp.1", "mlp.2") and clt.metadata["model"] == "tiny"
    again = features.CrossLayerTranscoder.load(clt.save(tmp_path))
    for one in (clt, again):
        x = outputs["x"]
        assert torch.allclose(one.encode(x), outputs["latents"], atol=1e-5)
        assert torch.allclose(one.reconstruct(x), outputs["reconstruction"], atol=1e-5)
    assert repr(again) == repr(clt) and again.metadata == clt.metadata
    with pytest.raises(ValueError, match="CrossLayerTranscoder.load"):
        features.load(tmp_path)


@pytest.mark.parametrize(
    "file, change, says",
    [
        ("W_dec_1", None, "has no W_dec_1.safetensors: .* of 3 layers has one for each"),
        ("W_enc_1", lambda t: t.pop("b_dec_1"), "has no b_dec_1"),
        ("W_enc_2", lambda t: t.pop("threshold_2"), "has no threshold_2, as others have"),
        ("W_enc_0", lambda t: t.update(W_skip_0=torch.zeros(6, 6)), "also has W_skip_0"),
        ("W_dec_0", lambda t: t.update(W_dec_0=torch.zeros(10, 2, 6)), r"\[10, 3, 6\], and has"),
        ("W_enc_0", lambda t: t.update(threshold_0=-t["threshold_0"]), "below zero"),
    ],
)
def test_parts_of_a_cross_layer_transcoder_that_are_missing_are_named(tmp_path, file, change, says):
    folder = tmp_path / "clt"
    shutil.copytree(FILES / "circuit_tracer/cross_layer_jumprelu", folder)
    path = folder / f"{file}.safetensors"
    if change is None:
        path.unlink()
    else:
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)
    with pytest.raises(ValueError, match=says):
        features.CrossLayerTranscoder.load(folder)


def test_a_cross_layer_transcoder_among_others_is_named_with_what_reads_it(tmp_path):
    for folder in (FILES / "circuit_tracer/cross_layer", tmp_path):
        clt = features.CrossLayerTranscoder.load(FILES / "circuit_tracer/cross_layer")
        clt.save(tmp_path)
        with pytest.raises(ValueError, match="cross-layer.*CrossLayerTranscoder.load"):
            features.load_all(folder)
    save_file({"w_enc": torch.zeros(2, 3)}, tmp_path / "params_layer_0.safetensors")
    with pytest.raises(ValueError, match="Gemma Scope 2's cross-layer .* does not read them"):
        features.load(tmp_path / "params_layer_0.safetensors")


def test_a_folder_without_a_cross_layer_transcoder_says_what_it_looked_for(tmp_path):
    with pytest.raises(ValueError, match="cross_layer.json with .* and config.yaml with W_enc_N"):
        features.CrossLayerTranscoder.load(tmp_path)
    with pytest.raises(ValueError, match="features.load_all"):
        features.CrossLayerTranscoder.load(FILES / "circuit_tracer/relu")
    folder = tmp_path / "own"
    clt = features.CrossLayerTranscoder.load(FILES / "circuit_tracer/cross_layer")
    clt.save(folder)
    tensors = load_file(folder / "cross_layer.safetensors")
    tensors.pop("W_enc.1")
    save_file(tensors, folder / "cross_layer.safetensors")
    with pytest.raises(ValueError, match="has no W_enc.1: it is of the layers 0, 1, 2"):
        features.CrossLayerTranscoder.load(folder)
