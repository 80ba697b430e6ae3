"""The kinds of dictionary that sae-lens trains, with defaults for small models and few tokens."""

from typing import Any

import torch
from torch import Tensor

from interp._errors import unknown

TRAINED = (
    "topk",
    "batchtopk",
    "mutualchoice",
    "featurechoice",
    "matryoshka",
    "standard",
    "gated",
    "jumprelu",
    "transcoder",
    "skip_transcoder",
)
TRANSCODERS = ("transcoder", "skip_transcoder")  # read one site and write another
# those that are told how many latents are on
BY_K = (*TRAINED[:5], "jumprelu", *TRANSCODERS)
SPARSE = TRAINED[:4]  # those with a step of ours, which is faster: see topk_step


def check(kind: str, width: int, k: int) -> None:
    """None if this dictionary can be trained; otherwise a ValueError."""
    if kind not in TRAINED:
        raise unknown("kind of dictionary to train", kind, TRAINED)
    if width < 1 or kind in BY_K and not 1 <= k <= width:
        raise ValueError(
            f"k={k} of width={width}: at least one latent is on, and at most all there are"
        )


def sae(
    kind: str,
    d_in: int,
    d_out: int,
    width: int,
    k: int,
    steps: int,
    seed: int,
    options: dict[str, Any],
) -> Any:
    """A fresh sae-lens TrainingSAE; options go to its configuration class."""
    chosen = {
        "d_in": d_in,
        "d_sae": width,
        "normalize_activations": "expected_average_only_in",
    } | _defaults(kind, width, k, steps)
    sae_class, config = _classes(kind)
    wrong = next((name for name in options if name not in config.__dataclass_fields__), None)
    if wrong is not None:
        raise unknown(f"option of {kind}", wrong, config.__dataclass_fields__)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = sae_class(config(**chosen | options))
        if kind in TRANSCODERS:  # only the shapes differ
            fresh.b_dec = torch.nn.Parameter(torch.zeros(d_out))
            rows = torch.randn(width, d_out)
            fresh.W_dec = torch.nn.Parameter(0.1 * rows / rows.norm(dim=-1, keepdim=True))
        if kind == "skip_transcoder":
            fresh.W_skip = torch.nn.Parameter(torch.zeros(d_out, d_in))
    return fresh


def _classes(kind: str) -> tuple[Any, Any]:
    """The training class and its configuration: sae-lens' own, or ours derived from them."""
    from sae_lens.registry import get_sae_training_class

    from interp.features.training import mutual_choice

    ours = {
        "mutualchoice": (mutual_choice.MutualChoice, mutual_choice.MutualChoiceConfig),
        "featurechoice": (mutual_choice.FeatureChoice, mutual_choice.FeatureChoiceConfig),
    }
    theirs = {"matryoshka": "matryoshka_batchtopk", **dict.fromkeys(TRANSCODERS, "batchtopk")}
    return ours[kind] if kind in ours else get_sae_training_class(theirs.get(kind, kind))


def _defaults(kind: str, width: int, k: int, steps: int) -> dict[str, Any]:
    """The settings of a kind that the user did not choose."""
    settled = {
        "topk_threshold_lr": min(0.5, max(0.01, 20 / max(steps, 1)))
    }  # few steps: the threshold kept for later must still arrive
    if kind in SPARSE:
        return {"k": k} | ({} if kind == "topk" else settled)
    if kind in TRANSCODERS:
        return {"k": k, "apply_b_dec_to_input": False} | settled
    if kind == "matryoshka":
        return {
            "k": k,
            "matryoshka_widths": sorted(
                {max(1, width // 8), max(1, width // 4), max(1, width // 2), width}
            ),
        } | settled
    if kind == "jumprelu":  # the loss pulls the number of latents that are on towards k
        return {
            "jumprelu_sparsity_loss_mode": "quadratic",
            "target_l0": float(k),
            "l0_coefficient": 1.0,
            "l0_warm_up_steps": steps // 4,
            "jumprelu_bandwidth": 0.5,
            "jumprelu_init_threshold": 0.1,
            "jumprelu_ste_to_input": True,
        }
    return {"l1_coefficient": 5.0 if kind == "standard" else 2.0, "l1_warm_up_steps": steps // 4}


def transcoder_step(trainer: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, latents and output of one step of batch top-k that writes y from x.

    sae-lens does not train such transcoders itself.
    """
    sae = trainer.sae
    trainer.n_training_samples += len(x)
    latents, before = sae.encode_with_hidden_pre(x)
    out = sae.decode(latents)
    if hasattr(sae, "W_skip"):
        out = out + x @ sae.W_skip.T
    aux = sae.calculate_topk_aux_loss(
        sae_in=y, sae_out=out, hidden_pre=before, dead_neuron_mask=trainer.dead_neurons
    )
    loss = (out - y).pow(2).sum(-1).mean() + aux
    sae.update_topk_threshold(latents.detach())
    loss.backward()
    fired = (latents.detach() > 0).sum(0)
    trainer.n_forward_passes_since_fired += 1
    trainer.n_forward_passes_since_fired[fired > 0] = 0
    torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    trainer.lr_scheduler.step()
    return loss.detach(), latents.detach(), out.detach()
