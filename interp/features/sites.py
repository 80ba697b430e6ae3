"""What a dictionary can read: a site with one vector per token, its width, and its values."""

from torch import Tensor

from interp import sites
from interp._types import Model
from interp.dims import Dims
from interp.models import bridge
from interp.sites import Site


def place(where: str | Site) -> Site:
    """The site that a dictionary reads; "L9H*.z" means all heads of layer 9 side by side.

    Raises:
        ValueError: For a position, for a sweep over layers, and for a site that has no vector per
            token (attention patterns, logits).
    """
    site = Site.parse(where)
    swept = [axis for axis in site.stars if axis not in ("head", "kv_head")]
    if swept or site.pos is not None or site.unit is not None:
        raise ValueError(
            f"a dictionary reads one site at every position, got {str(site)!r} (try"
            " 'resid_post.15', 'mlp.10', 'L9H*.z')"
        )
    if site.part in ("pattern", "scores") or (site.family, site.part) == ("logits", "out"):
        raise ValueError(
            f"a dictionary reads activations, not {str(site)!r} (try 'resid_post.15', 'mlp.10',"
            " 'L9H*.z')"
        )
    return site


def width(where: str | Site, dims: Dims) -> int:
    """How many numbers a token has at this site."""
    site = sites.check(place(where), dims)
    per_head = {"d_model": dims.d_model, "d_mlp": dims.d_mlp, "d_head": dims.d_head}[
        site.row.axes.split()[-1]
    ]
    heads = dims.n_heads if site.family == "head" else dims.n_kv_heads
    return per_head * heads if site.stars else per_head


def side_by_side(where: str | Site, value: Tensor) -> Tensor:
    """A value of `run`, [batch pos d] or [head batch pos d], as [batch pos width]."""
    return value.permute(1, 2, 0, 3).flatten(2) if place(where).stars else value


def fits(model: Model | None, where: str | Site, d: int, what: str) -> None:
    """None if the model has d numbers per token at this site, else a ValueError."""
    has = width(where, bridge.dims(model))
    if has != d:
        raise ValueError(
            f"{what} is {d} wide at {str(where)!r}, where {bridge.name(model)} has {has}: it"
            " belongs to another model or site"
        )
