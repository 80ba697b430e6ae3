"""Folders of EleutherAI's `sparsify`: `cfg.json` and `sae.safetensors`.

A folder is named after the module whose output (of a transcoder, whose input and output) was read:
"layers.5.mlp".
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from interp import _files
from interp.features.dictionary import Dictionary
from interp.features.loading.formats.config import Where, configuration, site_of_module

HEAD, WEIGHTS = "cfg.json", "sae.safetensors"
HOLDS = f"{HEAD} with {WEIGHTS} (sparsify)"


class _Form(BaseModel):
    """The fields of the configuration that are read."""

    model_config = ConfigDict(strict=True, extra="allow")
    d_in: int
    k: int
    activation: str = "topk"
    transcode: bool = False
    signed: bool = False


def finds(path: Path) -> bool:
    """Whether a path is such a folder."""
    return (path / HEAD).is_file() and (path / WEIGHTS).is_file()


def read(path: Path, where: Where) -> Dictionary:
    """The sparse autoencoder or transcoder of one module."""
    form = _files.typed(configuration(path / HEAD), _Form, path / HEAD, "written by sparsify")
    if form.activation != "topk" or form.signed:
        raise ValueError(
            f"its activation function is {'a signed ' if form.signed else ''}{form.activation!r},"
            " and of sparsify's functions interp has only 'topk', unsigned"
        )
    tensors, _ = _files.read_tensors(path / WEIGHTS)
    file, d = path / WEIGHTS, form.d_in
    W_enc = _files.shaped(tensors, "encoder.weight", (None, d), file)
    n = len(W_enc)
    weights = {
        "W_enc": W_enc.T.contiguous(),
        "b_enc": _files.shaped(tensors, "encoder.bias", (n,), file),
        "W_dec": _files.shaped(tensors, "W_dec", (n, d), file),
        "b_dec": _files.shaped(tensors, "b_dec", (d,), file),
    }
    if "W_skip" in tensors:
        weights["W_skip"] = _files.shaped(tensors, "W_skip", (d, d), file)
    written = site_of_module(path.name)
    reads = site_of_module(path.name, taken_in=True) if form.transcode else written
    site, to = where.or_else(reads, written if form.transcode else None, repr(str(path)))
    if form.transcode and to is None:
        raise ValueError(
            f"{str(path)!r} is a transcoder: say what it writes too, features.load(...,"
            f" site={site!r}, to='mlp.5')"
        )
    settings = {"k": form.k, "apply_b_dec_to_input": not form.transcode}
    about = {"module": path.name}
    return Dictionary("topk", weights, site, "", to, settings, about)
