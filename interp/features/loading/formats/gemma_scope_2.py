"""Gemma Scope 2's `params.safetensors`: JumpReLU SAEs and transcoders of Gemma 3.

Beside it stands `config.json`, which names the module that was read. Tensors are w_enc
[d_in latent], w_dec [latent d_out], b_enc, b_dec, threshold and, in what is called affine,
affine_skip_connection [d_in d_out]: then the output is decode(encode(x)) + x @ that.
"""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from interp import _files
from interp._errors import listed, short
from interp.features.dictionary import Dictionary
from interp.features.loading.formats.config import Where, configuration

FILE, HEAD, SKIP = "params.safetensors", "config.json", "affine_skip_connection"
HOLDS = f"{FILE} (Gemma Scope 2)"
SEVERAL = re.compile(r"params_layer_\d{1,4}\.safetensors")  # of a cross-layer transcoder
# what the words of `hf_hook_point_in` and `_out` stand for
POINTS = {
    "output": "resid_post.{l}",
    "self_attn.o_proj.input": "L{l}H*.z",
    "pre_feedforward_layernorm.output": "mlp.{l}.module_in",
    "post_feedforward_layernorm.output": "mlp.{l}",
}
# without config.json, by the folder: what is read, and what is written
FOLDERS = {
    "resid_post": ("resid_post.{l}", None),
    "attn_out": ("L{l}H*.z", None),
    "mlp_out": ("mlp.{l}", None),
    "transcoder": ("mlp.{l}.module_in", "mlp.{l}"),
}


class _Form(BaseModel):
    """The fields of the configuration that are read."""

    model_config = ConfigDict(strict=True, extra="allow")
    architecture: str
    hf_hook_point_in: str | None = None
    hf_hook_point_out: str | None = None
    affine_connection: bool | None = None
    model_name: str | None = None


def finds(path: Path) -> bool:
    """Whether a path is such a file, or the folder that it is in."""
    named = path.name == FILE or SEVERAL.fullmatch(path.name)
    return bool(named) and path.is_file() or (path / FILE).is_file()


def read(path: Path, where: Where) -> Dictionary:
    """The SAE or transcoder."""
    file = path / FILE if path.is_dir() else path
    tensors, _ = _files.read_tensors(file)
    if SEVERAL.fullmatch(file.name) or ("w_dec" in tensors and tensors["w_dec"].ndim == 3):
        shape = list(tensors["w_dec"].shape) if "w_dec" in tensors else "missing"
        raise ValueError(
            f"w_dec ({shape}) writes to several layers, as in Gemma Scope 2's cross-layer"
            " transcoders and crosscoders: which layer each part belongs to is not published, and"
            " tools that read them disagree, so interp does not read them"
        )
    W_enc = _files.shaped(tensors, "w_enc", (None, None), file)
    d, n = W_enc.shape
    W_dec = _files.shaped(tensors, "w_dec", (n, None), file)
    shapes = {"b_enc": n, "threshold": n, "b_dec": W_dec.shape[1]}
    weights = {"W_enc": W_enc, "W_dec": W_dec}
    weights |= {name: _files.shaped(tensors, name, (size,), file) for name, size in shapes.items()}
    if SKIP in tensors:
        weights["W_skip"] = _files.shaped(tensors, SKIP, (d, W_dec.shape[1]), file).T.contiguous()
    extra = sorted(set(tensors) - {"w_enc", "w_dec", SKIP, *shapes})
    if extra:
        raise ValueError(f"{str(file)!r} also has {listed(extra)}, which interp does not know")
    model, site, to = _of(file, SKIP in tensors, where)
    site, to = where.or_else(site, to, repr(str(file)))
    skip = "skip_" if SKIP in tensors else ""
    kind = "jumprelu" if to in (None, site) else f"jumprelu_{skip}transcoder"
    settings = {"apply_b_dec_to_input": False}
    return Dictionary(kind, weights, site, "", to, settings, {"model": model})


def _of(file: Path, skip: bool, where: Where) -> tuple[str | None, str | None, str | None]:
    """Model, what is read and what is written, as far as config.json or the folders say."""
    if not (file.parent / HEAD).is_file():
        return _from_path(file.absolute())
    head = file.parent / HEAD
    form = _files.typed(configuration(head), _Form, head, "written for Gemma Scope 2")
    if form.architecture != "jump_relu":
        raise ValueError(
            f"{str(head)!r}: its architecture is {short(form.architecture)}, and interp knows"
            " 'jump_relu'"
        )
    if form.affine_connection is not None and form.affine_connection != skip:
        has = f"has {SKIP}" if skip else f"has no {SKIP}"
        raise ValueError(
            f"{str(head)!r} says affine_connection: {str(form.affine_connection).lower()}, and"
            f" {file.name} {has}"
        )
    site = None if where.site else _point(form.hf_hook_point_in, head)
    to = None if where.to else _point(form.hf_hook_point_out, head)
    return form.model_name, site, None if to == site else to


def _point(name: str | None, head: Path) -> str | None:
    """The address of a module's input or output."""
    if name is None:
        return None
    found = re.fullmatch(r"(?:model\.)?(?:language_model\.)?layers\.(\d{1,4})\.([a-z_.]+)", name)
    if found is None or found[2] not in POINTS:
        raise ValueError(
            f"{str(head)!r} names {short(name)}, which interp does not know (known after"
            f" 'model.layers.N.': {', '.join(POINTS)}); give the sites, features.load(...,"
            " site='mlp.5.module_in', to='mlp.5')"
        )
    return POINTS[found[2]].format(l=int(found[1]))


def _from_path(file: Path) -> tuple[str | None, str | None, str | None]:
    """The same from ".../gemma-scope-2-1b-pt/transcoder_all/layer_5_width_16k_l0_big/"."""
    of = next(filter(None, (re.fullmatch(r"gemma-scope-2-(.+)", p) for p in file.parts)), None)
    model = None if of is None else f"gemma-3-{of[1]}"
    layer = re.match(r"layer_(\d{1,4})_width_", file.parent.name)
    kind = file.parent.parent.name.removesuffix("_all")
    if layer is None or kind not in FOLDERS:
        return model, None, None
    site, to = FOLDERS[kind]
    return model, site.format(l=int(layer[1])), to and to.format(l=int(layer[1]))
