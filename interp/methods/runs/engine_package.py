"""What is asked of the package interp-engine, whose models may take the place of a run of ours."""

from typing import Any

from torch import Tensor

from interp._arguments import quoted

# How far a token's activations may be from the hook path's, as a share of their norm: the median
# token, and any. In a short type the two round apart in every layer (SmolLM2-135M in bfloat16: some
# token by 0.02 to 0.10, by the address); a tensor from elsewhere is off by its own size.
EXACT, SHORT = (1e-3, 1e-3), (0.1, 0.5)


def library() -> Any:
    """The package, imported only here."""
    try:
        import interp_engine
    except ImportError as error:
        raise ImportError(
            'engine= takes a model of interp-engine: pip install "interp[interp-engine]"'
        ) from error
    return interp_engine


def package_of(engine: Any) -> Any:
    """The package that an engine is of; a TypeError where it is of none."""
    package = library()
    if not isinstance(engine, package.EngineAPI):
        raise TypeError(
            f"engine={quoted(engine)} is no model of interp-engine's: engine="
            "interp_engine.load_model('owner/name')"
        )
    return package


def check_same(found: Tensor, value: Tensor, at: str, model: str) -> None:
    """Nothing where the engine's activations [batch pos d] are the hook path's; else a
    ValueError.
    """
    short = min(value.dtype.itemsize, found.dtype.itemsize) < 4
    value, found = value.double().cpu(), found.double().cpu()
    if found.shape != value.shape:
        raise ValueError(
            f"{at!r}: the engine gives {tuple(found.shape)} and the model here"
            f" {tuple(value.shape)}: they are not the same model"
        )
    off = (found - value).norm(dim=-1) / value.norm(dim=-1).clamp_min(1e-6)
    middle, most = off.median().item(), off.max().item()
    limits = SHORT if short else EXACT
    if not (middle <= limits[0] and most <= limits[1]):
        raise ValueError(
            f"{at!r}: the engine's activations are not those of {model} (off by {middle:.2g} of the"
            f" median token's norm, {most:.2g} at most): load the same weights in both, or leave"
            " engine= out"
        )
