"""Activations that a model of the package interp-engine gives, in the place of a run of our own: on
GPUs vLLM is behind it, elsewhere its eager backend.

`POINTS` says by which name it knows an address. Whether it means the same by it is asked of the
numbers: before anything is kept, some tokens are read from both, and must be equal.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp import sites
from interp._types import Model
from interp.dims import Dims
from interp.features import site_values
from interp.features.sites import place
from interp.methods.runs.engine_package import check_same, library, package_of
from interp.models import bridge
from interp.sites import Site

POINTS: dict[tuple[str, str], str] = {
    ("embed", "out"): "resid_pre.0",
    ("resid_pre", "out"): "resid_pre.{l}",
    ("resid_mid", "out"): "resid_mid.{l}",
    ("resid_post", "out"): "resid_post.{l}",
    ("logits", "in"): "resid_post.{last}",
    ("attn", "in"): "resid_pre.{l}",
    ("attn", "out"): "attn_out_post.{l}",
    ("head", "z"): "z.{l}",
    ("mlp", "in"): "resid_mid.{l}",
    ("mlp", "module_in"): "mlp_in.{l}",
    ("mlp", "pre"): "mlp_pre.{l}",
    ("mlp", "post"): "mlp_act.{l}",
    ("mlp", "out"): "mlp_out_post.{l}",
}
PROMPTS, TOKENS = 2, 32  # that are read from both


def values(
    engine: Any, tokens: Int[Tensor, "batch pos"], where: Sequence[str], dims: Dims
) -> dict[str, Tensor]:
    """The activations [batch pos d] at each of these addresses, in the engine's number type.

    Example:
        >>> values(interp_engine.load_model("Qwen/Qwen3-8B"), tokens, ["resid_post.12"], dims)

    Args:
        engine: A model of interp-engine's.
        tokens: Token ids, all prompts of one length.
        where: Addresses with one vector per token; "L9H*.z" gives all heads side by side.
        dims: The sizes of the same model here.

    Raises:
        ValueError: For an address that the engine does not have.
    """
    package = library()
    wanted = {str(at): sites.check(place(at), dims) for at in where}
    points = {at: point(site, dims) for at, site in wanted.items()}
    for at, name in points.items():
        reason = engine.refuses(name)
        if reason:
            raise ValueError(
                f"{at!r}: the engine does not give {name!r} ({_first(reason)}): leave engine= out,"
                " and the model's own run gives it"
            )
    with torch.no_grad():
        cache = package.capture(engine, tokens, sorted(set(points.values())))
    return {at: _shaped(cache[name], wanted[at], dims) for at, name in points.items()}


def point(site: Site, dims: Dims) -> str:
    """The engine's name of an address; a ValueError where it has none."""
    if (site.family, site.part) not in POINTS:
        known = ", ".join(dict.fromkeys(f"{f}.{p}".removesuffix(".out") for f, p in POINTS))
        raise ValueError(
            f"{str(site)!r} is no address that is read from another engine (these are: {known}):"
            " leave engine= out, and the model's own run gives it"
        )
    name = POINTS[site.family, site.part]
    if dims.parallel and (site.family, site.part) == ("mlp", "in"):
        name = POINTS["attn", "in"]  # attention and MLP read the same stream
    return name.format(l=site.layer, last=dims.n_layers - 1)


def _shaped(value: Tensor, site: Site, dims: Dims) -> Tensor:
    if site.family != "head" or site.stars:
        return value
    return value.unflatten(-1, (dims.n_heads, -1))[..., site.index, :]


def checked(engine: Any, model: Model, tokens: Tensor, where: Sequence[str]) -> str:
    """What the engine is ("interp-engine, vllm, bfloat16"), where its activations are the hook
    path's; otherwise a ValueError.

    Args:
        engine: A model of interp-engine's.
        model: The same model, loaded here.
        tokens: Token ids [chunk pos], of which a few are read from both.
        where: The addresses.
    """
    package_of(engine)
    some = tokens[:PROMPTS, :TOKENS]
    theirs = values(engine, some, where, bridge.dims(model))
    ours = site_values.values(model, some, where, "hooks")
    for at, value in ours.items():
        check_same(theirs[at], value, at, bridge.name(model))
    types = {str(value.dtype).removeprefix("torch.") for value in theirs.values()}
    return ", ".join(["interp-engine", engine.describe().backend, *sorted(types)])


def _first(reason: str) -> str:
    return " ".join(reason.split())[:160]
