"""Folders of circuit-tracer's transcoders: `config.yaml` and a `layer_N.safetensors` a layer."""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from interp import _files
from interp.features.dictionary import Dictionary
from interp.features.loading.formats.config import Where, site_of_hook

HEAD = "config.yaml"
HOLDS = f"{HEAD} with layer_N.safetensors (circuit-tracer)"
THRESHOLD = "activation_function.threshold"
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


def read(path: Path, where: Where) -> Dictionary:
    """The transcoder of one layer."""
    named = _LAYER.fullmatch(path.name)
    folder = path.parent if named else path
    form = _files.typed(
        _files.read_yaml(folder / HEAD), _Form, folder / HEAD, "written by circuit-tracer"
    )
    if form.model_kind != "transcoder_set":
        raise ValueError(
            f"it is a {form.model_kind.replace('_', ' ')[:40]}: interp reads transcoders of one"
            " layer each (model_kind: transcoder_set)"
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
