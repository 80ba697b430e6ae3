"""A finished run once more with changes, from the first changed layer on: what a click costs."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from interp.engine.forward import Run, Touch, attention, block, unembed, window
from interp.engine.weights import Engine


def again(
    engine: Engine,
    base: Run,
    changes: Mapping[int, Touch],
    start: int | None = None,
    stop: Callable[[], bool] | None = None,
) -> Run | None:
    """The run with these touches, by layer; it keeps resid_pre and has the logits at END [batch d_vocab].

    >>> half = again(engine, clean, {10: {"z": lambda z: z * 0.5}})

    start: the first layer to compute (by default the first changed one); layers below it are base's own. So base may
    itself be a changed run, where the changes below `start` are the same. base must have kept resid_pre.
    stop: asked before every layer; None is the answer when it says yes.
    """
    start = min(changes, default=engine.n_layers) if start is None else start
    if start >= engine.n_layers and base.logits is not None:
        return base
    start = min(start, engine.n_layers - 1)
    streams = list(base["resid_pre"][: start + 1])
    with torch.no_grad():
        view, x = window(engine, 0, base.tokens.shape[1]), streams[start][None]
        for number in range(start, engine.n_layers):
            if stop is not None and stop():
                return None
            last = number == engine.n_layers - 1
            x = block(
                engine, engine.layers[number], x, view, touch=changes.get(number, {}), last=last
            )
            if not last:
                streams.append(x[0])
        resid = x[0]
        return Run(base.tokens, resid, unembed(engine, resid[:, -1]), {"resid_pre": streams})


def pattern(engine: Engine, done: Run, layer: int) -> Tensor:
    """What the heads of a layer attend to in a finished run that kept resid_pre: [batch head dest src]."""
    found: list[Tensor] = []
    touch = {"pattern": lambda own: (found.append(own), own)[1]}
    with torch.no_grad():
        normed = engine.layers[layer].norm1(done["resid_pre"][layer])[None]
        attention(
            engine,
            engine.layers[layer],
            normed,
            window(engine, 0, normed.shape[2]),
            None,
            touch,
            False,
        )
    return found[0][0]
