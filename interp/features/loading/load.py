"""The dictionary in a folder or a file that some tool wrote, or of a sae-lens release."""

from pathlib import Path
from typing import Any

from interp import texts
from interp._isolation import torch_defaults
from interp.features.dictionary import Dictionary
from interp.features.loading.check import check
from interp.features.loading.formats import FORMATS
from interp.features.loading.formats.config import Where
from interp.features.loading.from_sae import from_sae

PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")


@torch_defaults()
def load(
    where: str | Path,
    sae_id: str | None = None,
    *,
    model: Any = None,
    site: str | None = None,
    to: str | None = None,
) -> Dictionary:
    """The dictionary that interp, sae-lens or another tool wrote, or one of a sae-lens release.

    What reads a folder is found by the files in it: interp's own, sae-lens' (of every version that
    wrote safetensors), dictionary_learning's (`ae.pt`, read without running it), sparsify's, Gemma
    Scope's `params.npz`, Gemma Scope 2's `params.safetensors`, and a layer of circuit-tracer's
    transcoders. Latents and reconstructions are those of the tool itself. Cross-layer transcoders
    are read by `CrossLayerTranscoder.load`.

    Example:
        >>> features.load("sae", model=model)
        >>> features.load("transcoders/layer_3.safetensors")
        >>> features.load("params.npz", site="resid_post.20")
        >>> features.load("gpt2-small-res-jb", "blocks.8.hook_resid_pre")  # needs a hub

    Args:
        where: A folder, a file, or the name of a release.
        sae_id: The id within the release.
        model: If given, `check` verifies that the dictionary fits it, on our own prose.
        site: What it reads, if the files do not say it; it goes before what they say.
        to: What it writes, if that is another site.

    Returns:
        A `Dictionary`.

    Raises:
        ValueError: If no dictionary is there, a tensor is missing or of another shape, its
            activation function is unknown, its site is not said, or it does not fit the model.
        ConnectionError: If a release cannot be fetched.

    Warns:
        UserWarning: If a BatchTopK dictionary has no threshold yet, or one that was trained here
            explains nothing on the model of its name.
    """
    if sae_id is not None:
        dictionary = _release(str(where), sae_id, site, to)
    else:
        dictionary = read(Path(where), Where(site, to))
    if model is not None:
        check(model, dictionary, texts.prose() if model.tokenizer is not None else None)
    return dictionary


def read(path: Path, where: Where) -> Dictionary:
    """The dictionary at a path, by the first format whose files are there."""
    for form in FORMATS:
        if form.finds(path):
            try:
                return form.read(path, where)
            except ValueError as error:
                named = str(path) in str(error)
                raise ValueError(f"{'' if named else repr(str(path)) + ': '}{error}") from None
    if path.suffix in PICKLES:
        raise ValueError(
            f"{str(path)!r} is a pickle, which can run any code: it is read only as 'ae.pt' beside"
            " dictionary_learning's config.json, without running it (otherwise save safetensors, as"
            " sae-lens does)"
        )
    if not path.is_dir():
        kind = "no such folder" if not path.exists() else "not a file of a dictionary"
        raise ValueError(
            f"{kind}: {str(path)!r} (for a release of sae-lens give its id too:"
            " load('gpt2-small-res-jb', 'blocks.8.hook_resid_pre'))"
        )
    pickled = next((p.name for p in sorted(path.iterdir()) if p.suffix in PICKLES), None)
    if pickled:
        raise ValueError(
            f"{str(path)!r} holds {pickled}, a pickle, which can run any code: only safetensors"
            " are read, and 'ae.pt' beside dictionary_learning's config.json"
        )
    if (path / "cross_layer.json").is_file():
        raise ValueError(
            f"{str(path)!r} holds a cross-layer transcoder, whose latents write to several layers:"
            f" features.CrossLayerTranscoder.load({str(path)!r})"
        )
    wanted = "; ".join(form.HOLDS for form in FORMATS)
    raise ValueError(f"{str(path)!r} holds no dictionary; looked for {wanted}")


def _release(release: str, sae_id: str, site: str | None, to: str | None) -> Dictionary:
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
    return from_sae(sae, name=f"{release}/{sae_id}", site=site, to=to)
