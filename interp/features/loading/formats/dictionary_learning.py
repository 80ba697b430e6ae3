"""Folders of `dictionary_learning`: `config.json` and `ae.pt`, which is read without running it."""

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from interp import _files
from interp._errors import unknown
from interp._warn import warn
from interp.features.dictionary import Dictionary
from interp.features.loading.formats.config import Where, configuration, site_of_module, unit_norm

HEAD, WEIGHTS = "config.json", "ae.pt"
HOLDS = f"{HEAD} with {WEIGHTS} (dictionary_learning)"


class _Trainer(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    dict_class: str
    k: int | None = None
    layer: int | None = None
    lm_name: str | None = None
    submodule_name: str | None = None


class _Buffer(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    io: str | None = None


class _Form(BaseModel):
    """The fields of the configuration that are read."""

    model_config = ConfigDict(strict=True, extra="allow")
    trainer: _Trainer
    buffer: _Buffer | None = None


def finds(path: Path) -> bool:
    """Whether a path is such a folder, or the `ae.pt` in one."""
    folder = path.parent if path.name == WEIGHTS else path
    return (folder / HEAD).is_file() and (folder / WEIGHTS).is_file()


def read(path: Path, where: Where) -> Dictionary:
    """The dictionary, with latents as the library's own `load_dictionary` has them."""
    folder = path.parent if path.name == WEIGHTS else path
    content = configuration(folder / HEAD)
    form = _files.typed(content, _Form, folder / HEAD, "written by dictionary_learning")
    name = form.trainer.dict_class
    if name not in KINDS:
        raise unknown("dict_class of dictionary_learning", name, KINDS)
    tensors = _files.read_pt(folder / WEIGHTS)
    if not isinstance(tensors, dict):
        raise ValueError(f"{WEIGHTS} should hold tensors by name, and holds {type(tensors)}")
    kind, weights, settings = KINDS[name](_Tensors(tensors, folder / WEIGHTS), form.trainer.k)
    site, to = where.or_else(_site(form), None, repr(str(folder)))
    about = {"model": form.trainer.lm_name, "dict_class": name}
    if form.trainer.submodule_name is not None:
        about["module"] = form.trainer.submodule_name
    return Dictionary(kind, weights, site, "", to, settings, about)


def _site(form: _Form) -> str | None:
    """What it reads, where the configuration names a module or says it in words."""
    said, io = form.trainer.submodule_name, form.buffer.io if form.buffer else None
    if said is None:
        return None
    words = re.fullmatch(r"(resid_pre|resid_post|mlp_out|attn_out)_layer_?(\d{1,4})", said)
    if words is None:
        return site_of_module(said, taken_in=io == "in")
    family = {"mlp_out": "mlp", "attn_out": "attn"}.get(words[1], words[1])
    return f"{family}.{int(words[2])}"


class _Tensors:
    """The tensors of a file; each is held against the width and the number of latents."""

    def __init__(self, tensors: dict[str, Any], path: Path) -> None:
        self.tensors, self.path = tensors, path

    def get(self, name: str, *shape: int | None) -> Tensor:
        return _files.shaped(self.tensors, name, shape, self.path)

    def linear(self) -> tuple[dict[str, Tensor], int, int]:
        """W_enc and W_dec of two linear layers, the width, and the number of latents."""
        W_enc = self.get("encoder.weight", None, None).T
        d, n = W_enc.shape
        return {"W_enc": W_enc, "W_dec": self.get("decoder.weight", d, n).T}, d, n

    def matrices(self) -> tuple[dict[str, Tensor], int, int]:
        """The same of two plain matrices, with both biases."""
        W_enc = self.get("W_enc", None, None)
        d, n = W_enc.shape
        found = {"W_enc": W_enc, "W_dec": self.get("W_dec", n, d)}
        return found | {"b_enc": self.get("b_enc", n), "b_dec": self.get("b_dec", d)}, d, n

    def threshold(self, n: int) -> Tensor:
        """The one threshold of all latents, for each of them [n]."""
        value = self.get("threshold")
        if float(value) < 0:
            warn(
                f"{str(self.path)!r} has no threshold yet (its training ended before it was"
                " measured): every latent above zero is on, as the library itself reads it"
            )
        return value.expand(n).clone()


Made = tuple[str, dict[str, Tensor], dict[str, Any]]  # kind, weights, settings
CENTRED = {"apply_b_dec_to_input": True}


def _standard(t: _Tensors, k: int | None) -> Made:
    found, d, n = t.linear()
    found |= {"b_enc": t.get("encoder.bias", n), "b_dec": t.get("bias", d)}
    return "standard", unit_norm(found), CENTRED


def _april(t: _Tensors, k: int | None) -> Made:
    found, d, n = t.linear()
    found |= {"b_enc": t.get("encoder.bias", n), "b_dec": t.get("decoder.bias", d)}
    return "standard", found, {"apply_b_dec_to_input": False}


def _gated(t: _Tensors, k: int | None) -> Made:
    found, d, n = t.linear()
    names = {"b_gate": "gate_bias", "b_mag": "mag_bias", "r_mag": "r_mag"}
    found |= {ours: t.get(theirs, n) for ours, theirs in names.items()}
    return "gated", found | {"b_dec": t.get("decoder_bias", d)}, CENTRED


def _topk(t: _Tensors, k: int | None) -> Made:
    found, d, n = t.linear()
    found |= {"b_enc": t.get("encoder.bias", n), "b_dec": t.get("b_dec", d)}
    stored = t.tensors.get("k")
    if isinstance(stored, Tensor) and stored.numel() == 1 and int(stored) != (k or int(stored)):
        raise ValueError(f"{WEIGHTS} says k={int(stored)}, and {HEAD} k={k}")
    if k is None and isinstance(stored, Tensor) and stored.numel() == 1:
        k = int(stored)
    return "topk", found, {"k": k, **CENTRED}


def _batchtopk(t: _Tensors, k: int | None) -> Made:
    found, d, n = t.linear()
    found |= {"b_enc": t.get("encoder.bias", n), "b_dec": t.get("b_dec", d)}
    return "jumprelu", found | {"threshold": t.threshold(n).to(found["W_dec"].dtype)}, CENTRED


def _matryoshka(t: _Tensors, k: int | None) -> Made:
    found, _, n = t.matrices()
    return "jumprelu", found | {"threshold": t.threshold(n).to(found["W_dec"].dtype)}, CENTRED


def _jumprelu(t: _Tensors, k: int | None) -> Made:
    found, _, n = t.matrices()
    return "jumprelu", found | {"threshold": t.get("threshold", n)}, {"apply_b_dec_to_input": False}


KINDS = {  # the library's class of dictionary
    "AutoEncoder": _standard,
    "AutoEncoderNew": _april,
    "GatedAutoEncoder": _gated,
    "AutoEncoderTopK": _topk,
    "BatchTopKSAE": _batchtopk,
    "MatryoshkaBatchTopKSAE": _matryoshka,
    "JumpReluAutoEncoder": _jumprelu,
}
