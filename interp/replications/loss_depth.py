"""The layer at which something is lost, prompt by prompt, and windows on either side of it."""

from dataclasses import replace

import numpy as np

from interp._errors import unknown
from interp.results import Result

HOW = ("centre", "peak")


def loss_depth(
    result: Result, *, how: str = "centre", dim: str = "layer", drop: bool = False
) -> Result:
    """The layer at which each prompt loses most, from effects by layer, in layers.

    Example:
        >>> sets = {"relation": "1:SUBJECT-1", "subject": "SUBJECT"}
        >>> depth = loss_depth(attention_knockout(model, task, "END", sets, window=8))
        >>> depth.sel(set="subject") - depth.sel(set="relation")      # layers later, by prompt

    Args:
        result: Effects with an axis of layers and one value per example.
        how: "centre" is the mean layer, weighted by how far an effect lies below zero (gains weigh
            nothing); "peak" is the layer of the lowest effect, the first of equals.
        dim: The axis of layers, with numbers as labels.
        drop: Whether prompts that lose nothing in some row are left out; metadata["kept"] has the
            others' places.

    Returns:
        The result without that axis, in layers, one value per prompt kept.

    Raises:
        ValueError: If a prompt loses nothing at any layer, or no examples were kept.
    """
    if how not in HOW:
        raise unknown("way to place a loss", how, HOW, "how='centre'")
    axis = result._axis(dim)
    if result.examples is None:
        raise ValueError(
            f"{result.name!r} kept no examples: a loss is placed prompt by prompt, then averaged"
        )
    layers = np.asarray(result.coords[dim], dtype=float)
    effects = np.moveaxis(result.examples, axis, -1)
    lost = np.where(effects < 0, -effects, 0.0)
    bare = np.argwhere(~(lost.sum(-1) > 0))
    kept = np.setdiff1d(np.arange(effects.shape[-2]), bare[:, -1] if drop else [])
    lost, effects = lost[..., kept, :], effects[..., kept, :]
    if len(bare) and (not drop or not len(kept)):
        raise ValueError(
            f"prompt {int(bare[0][-1])} loses nothing at any {dim}: it has no depth of loss"
            " (drop=True leaves such prompts out)"
        )
    depths = (lost @ layers) / lost.sum(-1) if how == "centre" else layers[lost.argmax(-1)]
    dims = tuple(d for d in result.dims if d != dim)
    coords = {d: result.coords[d] for d in dims}
    name = f"{how} of the loss: {result.name}"
    return replace(
        result,
        values=depths.mean(-1),
        dims=dims,
        coords=coords,
        name=name,
        unit=f"{dim}",
        examples=depths,
        metadata={**result.metadata, "kept": kept.tolist()},
    )


def split_windows(cut: Result, depth: float) -> tuple[Result, Result]:
    """A knock-out's windows that lie wholly before a depth, and those wholly after it: two Results.

    Example:
        >>> knockout = attention_knockout(model, task, "END", {"subject": "SUBJECT"}, window=8)
        >>> before, after = split_windows(knockout, 15.5)   # layers up to 14, and from 16 on

    Args:
        cut: What `attention_knockout` returned.
        depth: A layer, or a place within one: layer 15 reaches from 15 to 16, so a window with it
            is on neither side of 15.5.

    Returns:
        Two Results with fewer layers.

    Raises:
        ValueError: If one side has no window, or the result is no knock-out in windows.
    """
    if "window" not in cut.metadata or "layer" not in cut.dims:
        raise ValueError(
            f"{cut.name!r} has no windows of layers: split_windows takes what attention_knockout"
            " returns"
        )
    size = cut.metadata["window"]
    first = {centre: centre - size // 2 for centre in cut.coords["layer"]}
    sides = [
        [c for c, low in first.items() if low + size <= depth],
        [c for c, low in first.items() if low >= depth],
    ]
    if not all(sides):
        raise ValueError(
            f"no window of {size} layers lies wholly {'after' if sides[0] else 'before'} {depth:g}"
            " (try smaller windows)"
        )
    before, after = (cut.sel(layer=side) for side in sides)
    return before, after
