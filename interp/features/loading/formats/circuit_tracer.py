"""Folders of circuit-tracer's transcoders: `config.yaml` and a `layer_N.safetensors` a layer, or of
a cross-layer transcoder a `W_enc_N.safetensors` and a `W_dec_N.safetensors` a layer.
"""

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from interp import _files
from interp._errors import short
from interp.features.dictionary import Dictionary
from interp.features.loading.formats.config import Where, site_of_hook

HEAD = "config.yaml"
HOLDS = f"{HEAD} with layer_N.safetensors (circuit-tracer)"
THRESHOLD = "activation_function.threshold"
CROSS_LAYER = "cross_layer_transcoder"
_LAYER = re.compile(r"layer_(\d{1,4})\.safetensors")
_READ = ("W_enc", "b_enc", "W_dec", "b_dec", "W_skip", THRESHOLD)


class _Form(BaseModel):
    """The fields of the configuration that are read."""

    model_config = ConfigDict(strict=True, extra="allow")
    model_kind: str
    feature_input_hook: str
    feature_output_hook: str
    model_name: str | None = None


def finds(path: Path) -> bool:
    """Whether a path is such a folder, or the file of a layer in one."""
    if _LAYER.fullmatch(path.name):
        return path.is_file() and (path.parent / HEAD).is_file()
    return (path / HEAD).is_file()


def within(path: Path) -> list[Path]:
    """The files of the layers in a folder."""
    found = [(m, file) for file in path.iterdir() if (m := _LAYER.fullmatch(file.name))]
    return [file for _, file in sorted((int(m[1]), file) for m, file in found)]


def _form(folder: Path) -> _Form:
    what = "written by circuit-tracer"
    return _files.typed(_files.read_yaml(folder / HEAD), _Form, folder / HEAD, what)


def read(path: Path, where: Where) -> Dictionary:
    """The transcoder of one layer."""
    named = _LAYER.fullmatch(path.name)
    folder = path.parent if named else path
    form = _form(folder)
    if form.model_kind == CROSS_LAYER:
        raise ValueError(
            "it is a cross-layer transcoder, whose latents write to several layers:"
            f" features.CrossLayerTranscoder.load({str(folder)!r})"
        )
    if form.model_kind != "transcoder_set":
        raise ValueError(
            f"its model_kind is {short(form.model_kind)}: interp knows 'transcoder_set' and"
            f" {CROSS_LAYER!r}"
        )
    if named is None:
        files = within(folder)
        first = files[0].name if files else "layer_0.safetensors"
        raise ValueError(
            f"it holds {len(files)} layers: features.load_all({str(folder)!r}) reads all,"
            f" features.load({str(folder / first)!r}) one"
        )
    layer = int(named[1])
    tensors, _ = _files.read_tensors(path)
    W_enc = _files.shaped(tensors, "W_enc", (None, None), path)
    n, d = W_enc.shape
    W_dec = _files.shaped(tensors, "W_dec", (n, None), path)
    weights = {"W_enc": W_enc.T.contiguous(), "W_dec": W_dec}
    weights["b_enc"] = _files.shaped(tensors, "b_enc", (n,), path)
    weights["b_dec"] = _files.shaped(tensors, "b_dec", (W_dec.shape[1],), path)
    kind = "transcoder"
    if "W_skip" in tensors:
        kind = "skip_transcoder"
        weights["W_skip"] = _files.shaped(tensors, "W_skip", (W_dec.shape[1], d), path)
    if THRESHOLD in tensors:
        kind = f"jumprelu_{kind}"
        weights["threshold"] = _files.shaped(tensors, THRESHOLD, (n,), path)
        if bool((weights["threshold"] < 0).any()):
            raise ValueError(
                f"{THRESHOLD} has numbers below zero: circuit-tracer lets latents below zero"
                " through there, and interp does not"
            )
    extra = sorted(set(tensors) - set(_READ))
    if extra:
        raise ValueError(f"{path.name} also has {extra[0]}, which interp does not know")
    what = repr(str(path))
    hooks = [f"blocks.{layer}.{h}" for h in (form.feature_input_hook, form.feature_output_hook)]
    reads = None if where.site else site_of_hook(hooks[0], what)
    writes = None if where.to else site_of_hook(hooks[1], what)
    site, to = where.or_else(reads, writes, what)
    about = {"model": form.model_name}
    if form.feature_output_hook == "mlp.hook_out":  # the module's own, before a norm after it
        about["module"] = hooks[1]
    settings = {"apply_b_dec_to_input": False}
    return Dictionary(kind, weights, site, f"transcoder {layer}", to, settings, about)


_ENCODER = re.compile(r"W_enc_(\d{1,4})\.safetensors")


def read_cross_layer(folder: Path) -> dict[str, Any]:
    """The fields of the cross-layer transcoder in a folder.

    W_enc_N.safetensors has W_enc_N [latent d_in], b_enc_N, b_dec_N (of the layer that is written)
    and, with JumpReLU, threshold_N. W_dec_N.safetensors has W_dec_N [latent layer d_out]: what the
    latents that read layer N write in layer N, N + 1, and so on to the last.
    """
    form = _form(folder)
    if form.model_kind != CROSS_LAYER:
        raise ValueError(
            f"{str(folder)!r} holds no cross-layer transcoder (its model_kind is"
            f" {short(form.model_kind)}): features.load_all({str(folder)!r}) reads transcoders of"
            " one layer each"
        )
    found = [int(m[1]) for file in folder.iterdir() if (m := _ENCODER.fullmatch(file.name))]
    if not found:
        raise ValueError(f"{str(folder)!r} has no W_enc_0.safetensors")
    layers = range(max(found) + 1)
    weights, reads, writes, jumps = {}, [], [], []
    for layer in layers:
        tensors = {}
        for part in ("enc", "dec"):
            file = folder / f"W_{part}_{layer}.safetensors"
            if not file.is_file():
                raise ValueError(
                    f"{str(folder)!r} has no {file.name}: a cross-layer transcoder of"
                    f" {len(layers)} layers has one for each"
                )
            tensors |= _files.read_tensors(file)[0]
        W_enc = _files.shaped(tensors, f"W_enc_{layer}", (None, None), folder)
        b_dec = _files.shaped(tensors, f"b_dec_{layer}", (None,), folder)
        n, d_out = len(W_enc), len(b_dec)
        shape = (n, len(layers) - layer, d_out)
        W_dec = _files.shaped(tensors, f"W_dec_{layer}", shape, folder)
        weights[f"W_enc.{layer}"] = W_enc.T.contiguous()
        weights[f"W_dec.{layer}"] = W_dec.transpose(0, 1).contiguous()
        weights[f"b_enc.{layer}"] = _files.shaped(tensors, f"b_enc_{layer}", (n,), folder)
        weights[f"b_dec.{layer}"] = b_dec
        known = {f"{key}_{layer}" for key in ("W_enc", "b_enc", "b_dec", "W_dec", "threshold")}
        jumps.append(f"threshold_{layer}" in tensors)
        if jumps[-1]:
            value = _files.shaped(tensors, f"threshold_{layer}", (n,), folder)
            if bool((value < 0).any()):
                raise ValueError(
                    f"{str(folder)!r}: threshold_{layer} has numbers below zero: circuit-tracer"
                    " lets latents below zero through there, and interp does not"
                )
            weights[f"threshold.{layer}"] = value
        extra = sorted(set(tensors) - known)
        if extra:
            raise ValueError(
                f"{str(folder)!r} also has {extra[0]}, which interp does not know: circuit-tracer"
                f" itself reads {', '.join(sorted(known))} of layer {layer}"
            )
        what = repr(str(folder))
        reads.append(site_of_hook(f"blocks.{layer}.{form.feature_input_hook}", what))
        writes.append(site_of_hook(f"blocks.{layer}.{form.feature_output_hook}", what))
    if any(jumps) and not all(jumps):
        raise ValueError(f"{str(folder)!r} has no threshold_{jumps.index(False)}, as others have")
    about = {"model": form.model_name}
    if form.feature_output_hook == "mlp.hook_out":  # the module's own, before a norm after it
        about["module"] = form.feature_output_hook
    kind = "jumprelu" if all(jumps) else "relu"
    fields = {"kind": kind, "weights": weights, "name": folder.name, "metadata": about}
    return {**fields, "reads": tuple(reads), "writes": tuple(writes)}
