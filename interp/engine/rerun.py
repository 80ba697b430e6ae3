"""A finished run once more with changes: from the first changed layer on, or at the last position
alone.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from interp.engine.forward import Run, Touch, attention, entering, keys, run_from, unembed, window
from interp.engine.weights import Engine


def again(
    engine: Engine,
    base: Run,
    changes: Mapping[int, Touch],
    start: int | None = None,
    stop: Callable[[], bool] | None = None,
) -> Run | None:
    """The run with these touches, by layer; it keeps resid_pre and has the logits at END [batch
    d_vocab].

    Example:
        >>> half = again(engine, clean, {10: {"z": lambda z: z * 0.5}})

    Args:
        start: The first layer to compute (by default the first changed one); layers below it are
            base's own. So base may itself be a changed run, where the changes below `start` are the
            same. base must have kept resid_pre.
        stop: Asked before every layer; None is the answer when it says yes.
    """
    start = min(changes, default=engine.n_layers) if start is None else start
    if start >= engine.n_layers and base.logits is not None:
        return base
    start = min(start, engine.n_layers - 1)
    streams = list(base["resid_pre"][: start + 1])
    with torch.no_grad():
        view, x = window(engine, 0, base.tokens.shape[1]), streams[start][None]
        blocks = entering(
            engine, x, view, start, touch=lambda number, _: changes.get(number, {}), end_only=True
        )
        for number, x in blocks:
            if stop is not None and number < engine.n_layers and stop():
                return None
            if start < number < engine.n_layers:
                streams.append(x[0])
        resid = x[0]
        return Run(base.tokens, resid, unembed(engine, resid[:, -1]), {"resid_pre": streams})


def pattern(engine: Engine, done: Run, layer: int) -> Tensor:
    """What the heads of a layer attend to in a finished run that kept resid_pre: [batch head dest
    src].
    """
    found: list[Tensor] = []

    def keep(own: Tensor) -> Tensor:
        found.append(own)
        return own

    touch = {"pattern": keep}
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


def ending(engine: Engine, base: Run) -> Callable[[Callable[[int, Tensor], Tensor]], Tensor]:
    """A function from an edit of z at END, edit(layer, z [batch head d_head]) -> same shape, to the
    logits at END.

    Keys and values of the positions before END come from the base run: an edit at END cannot have
    changed them. Gradients flow through the edit, at the price of one token a prompt.

    Example:
        >>> again = ending(engine, run(engine, tokens, keep=("resid_pre", "k", "v")))
        >>> again(lambda layer, z: z)               # [batch d_vocab], the logits of the run itself
    """
    last = base.tokens.shape[1] - 1
    view, early = window(engine, last, last + 1), window(engine, 0, last)
    before = [
        (keys(layer, k[:, :last], early), v[:, :last])
        for layer, k, v in zip(engine.layers, base["k"], base["v"])
    ]
    start = base["resid_pre"][0][:, last:][None]

    def again(edit: Callable[[int, Tensor], Tensor]) -> Tensor:
        def touch(number: int, _: Tensor) -> Touch:
            return {"z": lambda z: edit(number, z[0, :, 0])[None, :, None]}

        prefix = before.__getitem__ if last else None
        x = run_from(engine, start, view, prefix=prefix, touch=touch)
        return engine.logits(engine.final_norm(x[0, :, -1]))

    return again
