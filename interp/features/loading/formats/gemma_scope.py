"""Gemma Scope's `params.npz`: JumpReLU SAEs and transcoders. What they read stands in the path,
"gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71/params.npz".
"""

import re
from pathlib import Path

import torch

from interp import _files
from interp.features.dictionary import Dictionary
from interp.features.loading.formats.config import Where

FILE = "params.npz"
HOLDS = f"{FILE} (Gemma Scope)"
SITES = {  # by the word in the repository's name: what it reads, and what it writes
    "res": ("resid_post.{l}", None),
    "mlp": ("mlp.{l}", None),
    "att": ("L{l}H*.z", None),
    "transcoders": ("mlp.{l}.normalized", "mlp.{l}"),
}


def finds(path: Path) -> bool:
    """Whether a path is such a file, or the folder that it is in."""
    return path.name == FILE and path.is_file() or (path / FILE).is_file()


def read(path: Path, where: Where) -> Dictionary:
    """The SAE or transcoder."""
    file = path if path.name == FILE else path / FILE
    arrays = _files.read_plain_arrays(file)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    W_enc = _files.shaped(tensors, "W_enc", (None, None), file)
    d, n = W_enc.shape
    W_dec = _files.shaped(tensors, "W_dec", (n, None), file)
    shapes = {"b_enc": n, "threshold": n, "b_dec": W_dec.shape[1]}
    weights = {"W_enc": W_enc, "W_dec": W_dec}
    weights |= {name: _files.shaped(tensors, name, (size,), file) for name, size in shapes.items()}
    extra = sorted(set(tensors) - set(weights))
    if extra:
        raise ValueError(f"{str(file)!r} also has {extra[0]}, which interp does not know")
    model, site, to = _from_path(file.absolute())
    site, to = where.or_else(site, to, repr(str(file)))
    kind = "jumprelu" if to is None else "jumprelu_transcoder"
    settings = {"apply_b_dec_to_input": False}
    return Dictionary(kind, weights, site, "", to, settings, {"model": model})


def _from_path(file: Path) -> tuple[str | None, str | None, str | None]:
    """Model, what is read and what is written, as far as the folders say."""
    release = re.compile(r"gemma-scope-(\d+b)-(pt|it)-(res|mlp|att|transcoders)")
    of = next(filter(None, map(release.search, reversed(file.parts))), None)
    layer = next(
        filter(None, (re.fullmatch(r"layer_(\d+)", p) for p in reversed(file.parts))), None
    )
    if of is None:
        return None, None, None
    model = f"gemma-2-{of[1]}" + ("-it" if of[2] == "it" else "")
    if layer is None:  # "embedding": its training scaled what it read
        return model, None, None
    site, to = SITES[of[3]]
    return model, site.format(l=int(layer[1])), to and to.format(l=int(layer[1]))
