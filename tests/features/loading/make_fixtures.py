"""Writes the dictionaries in `fixtures` with the tools whose formats they are.

Not run by the tests: each tool in an environment of its own, `python make_fixtures.py TOOL`.
`fixtures/README.md` says which versions. Beside each folder stands `NAME.outputs.safetensors`:
activations "x", and what the tool itself computes from them, "latents" and "reconstruction".
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent / "fixtures"
D, N, K = 6, 10, 3  # width, latents, on at once


def random(*size, scale=1.0):
    return scale * torch.randn(size)


def disturb(module):
    """Every parameter a little off, so that a bias at zero hides nothing."""
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)


def keep(name, x, reconstruction, latents=None):
    outputs = {"x": x, "reconstruction": reconstruction, "latents": latents}
    save_file(
        {k: v.detach().contiguous() for k, v in outputs.items() if v is not None},
        HERE / f"{name}.outputs.safetensors",
    )


def dictionary_learning():
    from dictionary_learning import trainers
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
    from dictionary_learning.trainers.standard import StandardTrainerAprilUpdate
    from dictionary_learning.training import trainSAE
    from dictionary_learning.utils import load_dictionary

    class Data:
        config = {"ctx_len": 8, "d_submodule": D, "io": "out"}

        def __iter__(self):
            while True:
                yield torch.randn(64, D) * 2 + 0.5

    plain = {"steps": 40, "activation_dim": D, "dict_size": N, "layer": 1, "lm_name": "tiny/model"}
    plain |= {"seed": 0, "device": "cpu", "submodule_name": "resid_post_layer_1", "warmup_steps": 2}
    top = {"k": K, "threshold_start_step": 5}
    kinds = {
        "standard": (trainers.StandardTrainer, {"sparsity_warmup_steps": 4, "lr": 1e-2}),
        "april": (StandardTrainerAprilUpdate, {"sparsity_warmup_steps": 4, "lr": 1e-2}),
        "gated": (trainers.GatedSAETrainer, {"sparsity_warmup_steps": 4, "lr": 1e-2}),
        "topk": (trainers.TopKTrainer, {**top, "lr": 1e-2}),
        "batchtopk": (trainers.BatchTopKTrainer, {**top, "lr": 1e-2}),
        "matryoshka": (
            MatryoshkaBatchTopKTrainer,
            {**top, "lr": 1e-2, "group_fractions": [0.5, 0.5]},
        ),
        "jumprelu": (trainers.JumpReluTrainer, {"sparsity_warmup_steps": 4, "lr": 1e-2}),
    }
    for name, (trainer, more) in kinds.items():
        folder = HERE / "dictionary_learning" / name
        torch.manual_seed(0)
        config = {"trainer": trainer, **plain, **more}
        normed = name in ("topk", "batchtopk")  # their biases are scaled back when they are saved
        trainSAE(
            Data(), [config], 40, save_dir=str(folder), normalize_activations=normed, device="cpu"
        )
        for file in (folder / "trainer_0").iterdir():
            shutil.move(file, folder / file.name)
        (folder / "trainer_0").rmdir()
        if name == "matryoshka":  # load_dictionary has no group sizes to give it
            from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE

            ae = MatryoshkaBatchTopKSAE.from_pretrained(folder / "ae.pt", k=K)
        else:
            ae, _ = load_dictionary(str(folder), device="cpu")
        x = random(16, D, scale=2) + 0.5
        keep(f"dictionary_learning/{name}", x, ae(x), ae.encode(x))


def sparsify():
    from sparsify.config import SparseCoderConfig
    from sparsify.sparse_coder import SparseCoder

    for name, options in {
        "layers.1": {},
        "layers.1.mlp": {"transcode": True, "skip_connection": True},
        "layers.1.attention": {"normalize_decoder": False, "num_latents": N},
        "layers.0.mlp": {"activation": "groupmax", "num_latents": 12},  # interp refuses it
    }.items():
        torch.manual_seed(0)
        coder = SparseCoder(D, SparseCoderConfig(expansion_factor=2, k=K, **options))
        disturb(coder)
        coder.save_to_disk(HERE / "sparsify" / name)
        coder, x = SparseCoder.load_from_disk(HERE / "sparsify" / name), random(16, D)
        top = coder.encode(x)
        latents = torch.zeros(16, coder.num_latents)
        latents.scatter_(1, top.top_indices, top.top_acts)
        keep(f"sparsify/{name}", x, coder(x).sae_out, latents)


def circuit_tracer():
    import yaml
    from circuit_tracer.transcoder.activation_functions import JumpReLU
    from circuit_tracer.transcoder.single_layer_transcoder import (
        SingleLayerTranscoder,
        TranscoderSet,
        load_transcoder_set,
    )

    for name, jump, skip, hook in (
        ("relu", False, False, "hook_resid_mid"),
        ("jumprelu", True, False, "ln2.hook_normalized"),
        ("skip", False, True, "mlp.hook_in"),
    ):
        torch.manual_seed(0)
        folder, made = HERE / "circuit_tracer" / name, {}
        for layer in range(2):
            act = JumpReLU(torch.rand(N)) if jump else torch.nn.functional.relu
            kind = {"skip_connection": skip, "dtype": torch.float32, "device": torch.device("cpu")}
            made[layer] = SingleLayerTranscoder(D, N, act, layer, **kind)
            disturb(made[layer])
            if jump:
                act.threshold.data = torch.rand(N)
        TranscoderSet(made, hook, "hook_mlp_out", scan="tiny").to_safetensors(str(folder))
        config = {"model_kind": "transcoder_set", "model_name": "tiny", "scan": "tiny"}
        config |= {"feature_input_hook": hook, "feature_output_hook": "hook_mlp_out"}
        (folder / "config.yaml").write_text(yaml.dump(config))
        paths = {layer: str(folder / f"layer_{layer}.safetensors") for layer in range(2)}
        again = load_transcoder_set(paths, "tiny", hook, "hook_mlp_out", torch.device("cpu"))
        x = random(16, D)
        for layer in range(2):
            keep(f"circuit_tracer/{name}.{layer}", x, again[layer](x), again[layer].encode(x))


def circuit_tracer_cross_layer():
    import yaml
    from circuit_tracer.transcoder.activation_functions import JumpReLU
    from circuit_tracer.transcoder.cross_layer_transcoder import CrossLayerTranscoder, load_clt

    for name, act in (("cross_layer", "relu"), ("cross_layer_jumprelu", "jump_relu")):
        torch.manual_seed(0)
        kind = {"lazy_decoder": False, "dtype": torch.float32, "device": torch.device("cpu")}
        clt = CrossLayerTranscoder(3, N, D, activation_function=act, **kind)
        disturb(clt)
        if act == "jump_relu":
            clt.activation_function.threshold.data = torch.rand(3, 1, N)
            assert isinstance(clt.activation_function, JumpReLU)
        folder = HERE / "circuit_tracer" / name
        clt.to_safetensors(str(folder))
        config = {"model_kind": "cross_layer_transcoder", "model_name": "tiny", "scan": "tiny"}
        config |= {"feature_input_hook": "hook_resid_mid", "feature_output_hook": "hook_mlp_out"}
        (folder / "config.yaml").write_text(yaml.dump(config))
        again, x = load_clt(str(folder), **kind), random(3, 16, D)
        z = again.encode(x)
        keep(f"circuit_tracer/{name}", x, again.decode(z.to_sparse(), x), z)


def gemma_scope():
    """The files as DeepMind publishes them (`np.savez`), read by sae-lens and by circuit-tracer."""
    from circuit_tracer.transcoder.single_layer_transcoder import load_gemma_scope_transcoder
    from sae_lens import SAE
    from sae_lens.loading import pretrained_sae_loaders as loaders

    for kind in ("res", "transcoders"):
        torch.manual_seed(0)
        place = "layer_1/width_16k/average_l0_3"
        folder = HERE / "gemma_scope" / f"gemma-scope-2b-pt-{kind}" / place
        folder.mkdir(parents=True)
        arrays = {"W_enc": random(D, N), "W_dec": random(N, D), "b_enc": random(N)}
        arrays |= {"b_dec": random(D), "threshold": torch.rand(N)}
        np.savez(folder / "params.npz", **{k: v.numpy() for k, v in arrays.items()})
        x = random(16, D)
        if kind == "transcoders":
            theirs = load_gemma_scope_transcoder(str(folder / "params.npz"), 1, torch.device("cpu"))
            keep("gemma_scope/transcoders", x, theirs(x), theirs.encode(x))
        else:
            loaders.hf_hub_download = lambda **_: str(folder / "params.npz")
            cfg, state, _ = loaders.gemma_2_sae_huggingface_loader(
                "google/gemma-scope-2b-pt-res", place
            )
            cfg = loaders.handle_config_defaulting(cfg | {"d_in": D, "d_sae": N})
            theirs = SAE.from_dict(cfg)
            theirs.load_state_dict(state)
            keep("gemma_scope/res", x, theirs(x), theirs.encode(x))


def gemma_scope_2():
    """The files as published, read by sae-lens; the outputs are computed in float64 by hand."""
    from sae_lens.loading import pretrained_sae_loaders as loaders

    for place, hooks in {
        "resid_post_all/layer_1_width_16k_l0_small": ("output", "output"),
        "attn_out_all/layer_1_width_16k_l0_small": ("self_attn.o_proj.input",) * 2,
        "transcoder_all/layer_1_width_16k_l0_small": (
            "pre_feedforward_layernorm.output",
            "post_feedforward_layernorm.output",
        ),
        "transcoder_all/layer_1_width_16k_l0_small_affine": (
            "pre_feedforward_layernorm.output",
            "post_feedforward_layernorm.output",
        ),
    }.items():
        torch.manual_seed(0)
        affine, folder = (
            place.endswith("affine"),
            HERE / "gemma_scope_2/gemma-scope-2-1b-pt" / place,
        )
        folder.mkdir(parents=True)
        w = {"w_enc": random(D, N), "w_dec": random(N, D), "b_enc": random(N), "b_dec": random(D)}
        w |= {"threshold": torch.rand(N)}
        if affine:
            w["affine_skip_connection"] = random(D, D)
        save_file(w, folder / "params.safetensors")
        about = {"type": "sae", "architecture": "jump_relu", "model_name": "google/gemma-3-1b-pt"}
        about |= {f"hf_hook_point_{a}": f"model.layers.1.{b}" for a, b in zip(("in", "out"), hooks)}
        about |= {"width": N, "l0": K, "affine_connection": affine}
        (folder / "config.json").write_text(json.dumps(about))
        x = random(16, D)
        by_hand = {k: v.double() for k, v in w.items()}
        before = x.double() @ by_hand["w_enc"] + by_hand["b_enc"]
        z = before * (before > by_hand["threshold"])
        out = z @ by_hand["w_dec"] + by_hand["b_dec"]
        if affine:
            out = out + x.double() @ by_hand["affine_skip_connection"]
        keep(f"gemma_scope_2/{folder.parent.name}.{folder.name}", x, out.float(), z.float())
        # what sae-lens makes of the same file
        loaders.hf_hub_download = lambda *a, folder=folder, **o: str(
            folder / ("config.json" if "config" in str((a, o)) else "params.safetensors")
        )
        loaders.get_safetensors_tensor_shapes = lambda *_, w=w: {
            k: list(v.shape) for k, v in w.items()
        }
        cfg, state, _ = loaders.gemma_3_sae_huggingface_loader("google/gemma-scope-2-1b-pt", place)
        theirs = (x @ state["W_enc"] + state["b_enc"]).relu()
        theirs = theirs * (theirs > state["threshold"]) @ state["W_dec"] + state["b_dec"]
        if affine:
            theirs = theirs + x @ state["W_skip"].T
        assert torch.allclose(theirs, out.float(), atol=1e-5), cfg["architecture"]


def sae_lens(version):
    folder = HERE / "sae_lens"
    folder.mkdir(exist_ok=True)
    if version.startswith(("1.", "2.")):
        import wandb
        from sae_lens.training.config import LanguageModelSAERunnerConfig
        from sae_lens.training.sparse_autoencoder import SparseAutoencoder

        wandb.util.generate_id = str  # what wandb had when this version was written
        cfg = LanguageModelSAERunnerConfig(
            d_in=D,
            expansion_factor=2,
            hook_point="blocks.1.hook_resid_pre",
            hook_point_layer=1,
            log_to_wandb=False,
            device="cpu",
            dtype=torch.float32,
            model_name="tiny",
        )
        torch.manual_seed(0)
        sae, name = SparseAutoencoder(cfg), f"sae_lens/{version}-factor"
        disturb(sae)
        sae.save_model(str(HERE / name))
        x = random(16, D)
        keep(name, x, sae(x).sae_out, sae.encode(x))
        return
    from sae_lens import SAE, SAEConfig

    plain = {"d_in": D, "d_sae": N, "model_name": "tiny", "hook_layer": 1, "dtype": "float32"}
    plain |= {"hook_name": "blocks.1.hook_resid_post", "hook_head_index": None, "device": "cpu"}
    plain |= {"prepend_bos": True, "dataset_path": "text", "context_size": 8}
    plain |= {"dataset_trust_remote_code": False, "normalize_activations": "none"}
    plain |= {"sae_lens_training_version": version}
    for kind, more in {
        "standard": {"apply_b_dec_to_input": True},
        "factor": {"architecture": "standard", "finetuning_scaling_factor": True},
        "gated": {},
        "jumprelu": {},
        "topk": {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}},
        "tanh": {"architecture": "standard", "activation_fn_str": "tanh-relu"},
        "head": {
            "architecture": "standard",
            "hook_name": "blocks.1.attn.hook_q",
            "hook_head_index": 2,
        },
    }.items():
        options = {"architecture": kind, "activation_fn_str": "relu"}
        options |= {"apply_b_dec_to_input": False, "finetuning_scaling_factor": False}
        if kind == "topk" and version.startswith("3."):
            options["architecture"] = "standard"
        torch.manual_seed(0)
        sae, name = SAE(SAEConfig(**plain | options | more)), f"sae_lens/{version}-{kind}"
        disturb(sae)
        if kind == "jumprelu":
            sae.threshold.data = torch.rand(N)
        sae.save_model(str(HERE / name))
        x = random(16, D)
        keep(name, x, sae.decode(sae.encode(x)), sae.encode(x))


if __name__ == "__main__":
    torch.set_grad_enabled(sys.argv[1] == "dictionary_learning")
    HERE.mkdir(exist_ok=True)
    globals()[sys.argv[1]](*sys.argv[2:])
    for file in HERE.rglob("*cfg.json"):
        json.loads(file.read_text())
