"""Dictionaries made elsewhere (a folder, a sae-lens release or object), and their check."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from interp import _files, sites, texts
from interp._isolation import torch_defaults
from interp._types import Model
from interp.features import encoders
from interp.features.activations import activations
from interp.features.dictionary import CFG, OWN_CFG, OWN_WEIGHTS, SCHEMA, WEIGHTS, Dictionary
from interp.features.sites import fits
from interp.models import bridge

PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")


@torch_defaults()
def load(where: str | Path, sae_id: str | None = None, *, model: Any = None) -> Dictionary:
    """The dictionary in a folder (ours or sae-lens'), or the trained SAE of a sae-lens release.

    Only safetensors are read, never a pickle.

    Example:
        >>> features.load("sae", model=model)
        >>> features.load("gpt2-small-res-jb", "blocks.8.hook_resid_pre")  # needs a hub

    Args:
        where: A folder, or the name of a release.
        sae_id: The id within the release.
        model: If given, `check` verifies that the dictionary fits it, on our own prose.

    Returns:
        A `Dictionary`.

    Raises:
        ValueError: If the folder does not hold a dictionary, or the dictionary does not fit.
        ConnectionError: If a release cannot be fetched.
    """
    if sae_id is not None:
        dictionary = _release(str(where), sae_id)
    else:
        dictionary = _folder(Path(where))
    if model is not None:
        check(model, dictionary, texts.prose() if model.tokenizer is not None else None)
    return dictionary


@torch_defaults()
def check(
    model: Model, dictionary: Dictionary, on: Any = None, *, tokens: int = 1_000
) -> Dictionary:
    """The dictionary itself, if it fits the model; otherwise a ValueError says what does not.

    Example:
        >>> features.check(model, sae)                # widths and sites
        >>> features.check(model, sae, interp.texts.prose())

    Args:
        model: The model that it should fit.
        dictionary: The dictionary to check.
        on: Text to try it on, ids [chunk pos] or a corpus. Its explained variance must be above
            zero there.
        tokens: How many tokens of the text are read.

    Returns:
        The dictionary, unchanged.

    Raises:
        ValueError: If a site or a width is not the model's, or nothing is explained.
    """
    fits(model, dictionary.site, dictionary.d_in, dictionary.name)
    fits(model, dictionary.writes, dictionary.d_out, f"what {dictionary.name} writes")
    if on is not None:
        both = list(dict.fromkeys((dictionary.site, dictionary.writes)))
        acts = activations(model, both, on, tokens=tokens, length=64, split=None)
        x, y = acts.of(dictionary.site), acts.of(dictionary.writes)
        explained = 1 - float(
            (dictionary.reconstruct(x) - y).pow(2).sum() / (y - y.mean(0)).pow(2).sum()
        )
        if not explained > 0:
            raise ValueError(
                f"{dictionary.name} explains {explained:.2f} of the variance of"
                f" {dictionary.writes!r} in {bridge.name(model)} ({len(acts):,} tokens): it belongs"
                " to another model, layer or scale"
            )
    return dictionary


@torch_defaults()
def from_sae(
    sae: Any,
    *,
    name: str = "",
    metadata: Mapping[str, Any] | None = None,
    site: str | None = None,
    to: str | None = None,
) -> Dictionary:
    """The dictionary of a sae-lens SAE object, also of one in training; the weights are copied.

    Example:
        >>> features.from_sae(sae_lens.SAE.load_from_disk("sae"))

    Args:
        sae: A sae-lens SAE or TrainingSAE.
        name: How results name it.
        metadata: Plain JSON; what sae-lens recorded if None.
        site: What it reads; taken from sae-lens' hook name if None.
        to: What it writes, if that is another site.

    Returns:
        A `Dictionary` with its own copy of the weights.

    Raises:
        ValueError: If sae-lens' kind cannot be encoded here, rescales each activation, or names no
            hook.
    """
    state = {k: v.detach().clone() for k, v in sae.state_dict().items()}
    if hasattr(sae.cfg, "get_inference_sae_cfg_dict"):
        sae.process_state_dict_for_saving_inference(state)
        cfg = sae.cfg.get_inference_sae_cfg_dict()
    else:
        sae.process_state_dict_for_saving(state)
        cfg = sae.cfg.to_dict()
    return _made(cfg, state, "the SAE", name=name, metadata=metadata, site=site, to=to)


def _release(release: str, sae_id: str) -> Dictionary:
    """The dictionary of a sae-lens release; a ConnectionError if it cannot be fetched."""
    from sae_lens import SAE

    try:
        sae = SAE.from_pretrained(release, sae_id)
    except ValueError:
        raise
    except Exception as error:  # no route, offline, no such file: a dozen kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise ConnectionError(
            f"cannot fetch {sae_id!r} of {release!r} ({reason}): load a folder instead,"
            " features.load('folder')"
        ) from error
    return from_sae(sae, name=f"{release}/{sae_id}")


def _folder(folder: Path) -> Dictionary:
    """The dictionary in a folder, ours or sae-lens'."""
    if folder.suffix in PICKLES:
        raise ValueError(
            f"{str(folder)!r} is a pickle, which can run any code: only safetensors are read (save"
            " it as sae-lens does)"
        )
    if not folder.is_dir():
        raise ValueError(
            f"no such folder: {str(folder)!r} (for a release of sae-lens give its id too:"
            " load('gpt2-small-res-jb', 'blocks.8.hook_resid_pre'))"
        )
    for head, weights, make in ((OWN_CFG, OWN_WEIGHTS, _own), (CFG, WEIGHTS, _made)):
        if (folder / head).is_file() and (folder / weights).is_file():
            tensors, _ = _files.read_tensors(folder / weights)
            try:
                return make(_json(folder / head), tensors, repr(str(folder)))
            except ValueError as error:
                named = str(folder) in str(error)
                raise ValueError(f"{'' if named else repr(str(folder)) + ': '}{error}") from None
    pickled = next((p.name for p in sorted(folder.iterdir()) if p.suffix in PICKLES), None)
    if pickled:
        raise ValueError(
            f"{str(folder)!r} holds {pickled}, a pickle, which can run any code: only safetensors"
            " are read"
        )
    raise ValueError(
        f"{str(folder)!r} has no {CFG} with {WEIGHTS} (sae-lens) and no {OWN_CFG} with"
        f" {OWN_WEIGHTS} (interp)"
    )


def _json(path: Path) -> dict[str, Any]:
    content = _files.read_json(path, "a dictionary's configuration", most=10_000_000)
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} should hold a mapping, and holds {_files.short(content)}")
    return content


class _OwnForm(BaseModel):
    """Our own configuration of a dictionary."""

    model_config = ConfigDict(strict=True, extra="forbid")
    kind: str
    site: str
    to: str | None = None
    name: str = ""
    settings: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class _Hooks(BaseModel):
    """What sae-lens says about where a dictionary belongs; ours is within it."""

    model_config = ConfigDict(strict=True, extra="allow")
    hook_name: str | None = None
    hook_name_out: str | None = None
    model_name: str | None = None
    interp: _OwnForm | None = None


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


def _own(cfg: dict[str, Any], weights: dict[str, Tensor], what: str) -> Dictionary:
    if cfg.pop("schema", None) != SCHEMA:
        raise ValueError(
            f"{what} was written by another version of interp (its schema is not {SCHEMA})"
        )
    _files.typed(cfg, _OwnForm, what.strip("'"), "a dictionary saved by interp")
    return Dictionary(weights=weights, **cfg)


def _made(
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
    scaled = cfg.get("finetuning_scaling_factor") is True  # what follows would drop it
    if "metadata" not in cfg:  # before sae-lens 6
        from sae_lens.loading.pretrained_sae_loaders import handle_config_defaulting

        cfg = handle_config_defaulting(cfg)
    ours = (cfg.get("metadata") or {}).get("interp") if isinstance(cfg.get("metadata"), dict) else 0
    if isinstance(ours, dict):
        ours.pop("schema", None)
    _files.typed(cfg, _SaeLensForm, what.strip("'"), "a dictionary of sae-lens")
    kind, described = cfg["architecture"], dict(cfg.get("metadata") or {})
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
    site = site or ours.get("site") or _site(described.get("hook_name"), what, "site")
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
        weights = _without_norms(weights) if cfg.get("rescale_acts_by_decoder_norm") else weights
    facts = {
        k: described[k]
        for k in ("dataset_path", "context_size", "training_architecture")
        if described.get(k) is not None
    }
    metadata = dict(
        metadata or ours.get("metadata") or {"model": described.get("model_name"), **facts}
    )
    return Dictionary(kind, weights, site, name or ours.get("name", ""), to, settings, metadata)


def _site(hook: str | None, what: str, which: str) -> str:
    """The site of a sae-lens hook name."""
    if hook is None:
        raise ValueError(
            f"{what} does not say which hook it belongs to: give it, from_sae(sae,"
            f" {which}='resid_post.15')"
        )
    return str(sites.from_hook(hook))


def _with_scaling(weights: dict[str, Tensor], used: bool, what: str) -> dict[str, Tensor]:
    """The same dictionary with an old sae-lens' factor for each latent put into the directions.

    sae-lens before version 6 multiplied the latents by it before decoding, where a configuration
    said so.
    """
    factors = [k for k in ("finetuning_scaling_factor", "scaling_factor") if k in weights]
    rest = {k: v for k, v in weights.items() if k not in factors}
    if not used:
        return rest
    if not factors or weights[factors[0]].shape != weights["W_dec"].shape[:1]:
        raise ValueError(
            f"{what} says that a factor scales each latent (finetuning_scaling_factor), and has no"
            " such tensor with a number for each latent"
        )
    return {**rest, "W_dec": weights["W_dec"] * weights[factors[0]][:, None]}


def _without_norms(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same dictionary with directions of length one.

    The norms go into the encoder, where they decide which latents are the largest.
    """
    if not {"W_dec", "W_enc", "b_enc"} <= set(weights):
        return weights  # the dictionary itself names what is missing
    norms = weights["W_dec"].norm(dim=-1)
    scaled = {
        "W_dec": weights["W_dec"] / norms[:, None],
        "W_enc": weights["W_enc"] * norms,
        "b_enc": weights["b_enc"] * norms,
    }
    return {**weights, **scaled}
