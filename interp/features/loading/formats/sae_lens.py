"""Folders of sae-lens, of every version that wrote safetensors: `cfg.json` and
`sae_weights.safetensors`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from interp import _files
from interp._errors import short
from interp.features import encoders
from interp.features.dictionary import CFG, WEIGHTS, Dictionary
from interp.features.loading.formats.config import Where, configuration, site_of_hook, unit_norm
from interp.features.loading.formats.interp_folder import OwnForm

HOLDS = f"{CFG} with {WEIGHTS} (sae-lens)"


def finds(path: Path) -> bool:
    """Whether a path is such a folder."""
    return (path / CFG).is_file() and (path / WEIGHTS).is_file()


def read(path: Path, where: Where) -> Dictionary:
    """The dictionary."""
    cfg = configuration(path / CFG)
    tensors, _ = _files.read_tensors(path / WEIGHTS)
    return made(cfg, tensors, repr(str(path)), site=where.site, to=where.to)


class _Hooks(BaseModel):
    """What sae-lens says about where a dictionary belongs; ours is within it."""

    model_config = ConfigDict(strict=True, extra="allow")
    hook_name: str | None = None
    hook_name_out: str | None = None
    hook_head_index: int | None = None
    model_name: str | None = None
    interp: OwnForm | None = None


class _SaeLensForm(BaseModel):
    """The fields of sae-lens' configuration that are read."""

    model_config = ConfigDict(strict=True, extra="allow")
    architecture: str
    k: int | None = None
    apply_b_dec_to_input: bool | None = None
    normalize_activations: str | None = None
    rescale_acts_by_decoder_norm: bool | None = None
    finetuning_scaling_factor: bool | None = None
    metadata: _Hooks | None = None


class _OldForm(BaseModel):
    """The fields that versions before 6 had on top."""

    model_config = ConfigDict(strict=True, extra="allow")
    architecture: str = "standard"
    activation_fn: str | None = None
    activation_fn_str: str | None = None
    activation_fn_kwargs: dict[str, Any] | None = None
    hook_name: str | None = None
    hook_point: str | None = None
    hook_head_index: int | None = None
    hook_point_head_index: int | None = None
    finetuning_scaling_factor: bool | None = None


def _as_of_today(cfg: dict[str, Any], what: str) -> dict[str, Any]:
    """The configuration of an older version as sae-lens 6 has it."""
    from sae_lens.loading.pretrained_sae_loaders import handle_config_defaulting

    _files.typed(cfg, _OldForm, what.strip("'"), "a dictionary of sae-lens")
    try:
        return handle_config_defaulting(cfg)
    except Exception as error:  # of many kinds, by what is missing
        raise ValueError(
            f"{what} has no configuration that sae-lens reads ({_files.short_reason(error)})"
        ) from None


def made(
    cfg: dict[str, Any],
    weights: dict[str, Tensor],
    what: str,
    *,
    name: str = "",
    metadata: Mapping[str, Any] | None = None,
    site: str | None = None,
    to: str | None = None,
) -> Dictionary:
    """A dictionary from sae-lens' configuration and tensors."""
    scaled = cfg.get("finetuning_scaling_factor")  # what follows would drop these
    function = cfg.get("activation_fn_str") or cfg.get("activation_fn") or "relu"
    head = cfg.get("hook_head_index", cfg.get("hook_point_head_index"))
    if "metadata" not in cfg:  # before sae-lens 6
        cfg = _as_of_today(cfg, what)
    ours = (cfg.get("metadata") or {}).get("interp") if isinstance(cfg.get("metadata"), dict) else 0
    if isinstance(ours, dict):
        ours.pop("schema", None)
    _files.typed(cfg, _SaeLensForm, what.strip("'"), "a dictionary of sae-lens")
    kind, described = cfg["architecture"], dict(cfg.get("metadata") or {})
    if function not in ("relu", "topk" if kind == "topk" else "relu"):
        raise ValueError(
            f"{what} has the activation function {short(function)}, and of sae-lens' functions"
            " interp has 'relu' and 'topk'"
        )
    if kind not in encoders.SAE_LENS:
        raise ValueError(
            f"{what} is of the kind {kind!r}, which interp cannot encode with (it can:"
            f" {', '.join(encoders.SAE_LENS)})"
        )
    norm = cfg.get("normalize_activations", "none")
    if norm not in ("none", "expected_average_only_in"):
        raise ValueError(
            f"{what} rescales each activation ({norm}), so its latents alone do not say what it"
            " writes; interp does not read it"
        )
    ours = described.get("interp") or {}
    site = (
        site
        or ours.get("site")
        or _site(described.get("hook_name"), what, "site", described.get("hook_head_index", head))
    )
    to = (
        to
        or ours.get("to")
        or (
            _site(described["hook_name_out"], what, "to")
            if described.get("hook_name_out")
            else None
        )
    )
    weights = _with_scaling(weights, scaled, what)
    settings = {"apply_b_dec_to_input": bool(cfg.get("apply_b_dec_to_input", True))}
    if kind == "topk":
        settings["k"] = cfg.get("k")
        weights = unit_norm(weights) if cfg.get("rescale_acts_by_decoder_norm") else weights
    facts = {
        k: described[k]
        for k in ("dataset_path", "context_size", "training_architecture")
        if described.get(k) is not None
    }
    metadata = dict(
        metadata or ours.get("metadata") or {"model": described.get("model_name"), **facts}
    )
    return Dictionary(kind, weights, site, name or ours.get("name", ""), to, settings, metadata)


def _site(hook: str | None, what: str, which: str, head: Any = None) -> str:
    """The site of a sae-lens hook name, of one head where a number says which."""
    if hook is None:
        raise ValueError(
            f"{what} does not say which hook it belongs to: give it, from_sae(sae,"
            f" {which}='resid_post.15')"
        )
    site = site_of_hook(hook, what)
    return site if head is None else site.replace("*", str(head))


def _with_scaling(weights: dict[str, Tensor], used: bool | None, what: str) -> dict[str, Tensor]:
    """The same dictionary with an old sae-lens' factor for each latent put into the directions.

    Versions 0 to 2 multiplied every latent by it before decoding, versions 3 to 5 where the
    configuration says so.
    """
    factors = [k for k in ("finetuning_scaling_factor", "scaling_factor") if k in weights]
    rest = {k: v for k, v in weights.items() if k not in factors}
    if not factors:
        if used:
            raise ValueError(
                f"{what} says that a factor scales each latent (finetuning_scaling_factor), and has"
                " no such tensor"
            )
        return rest
    factor = weights[factors[0]]
    if used is False and bool((factor == 1).all()):
        return rest
    if used is False:
        raise ValueError(
            f"{what} has a factor for each latent ({factors[0]}), and says that it is not used"
            " (finetuning_scaling_factor: false): say which holds, true or without the tensor"
        )
    if "W_dec" not in rest or factor.shape != rest["W_dec"].shape[:1]:
        raise ValueError(
            f"{factors[0]} of {what} has the shape {list(factor.shape)}, not a number for each"
            " latent of W_dec"
        )
    return {**rest, "W_dec": rest["W_dec"] * factor[:, None]}
