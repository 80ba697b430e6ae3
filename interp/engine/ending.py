"""The last position alone, run again under edits that act only there; differentiable."""

from collections.abc import Callable

from torch import Tensor

from interp.engine.forward import Run, block, rotate, window
from interp.engine.weights import Engine


def ending(engine: Engine, base: Run) -> Callable[[Callable[[int, Tensor], Tensor]], Tensor]:
    """A function from an edit of z at END, edit(layer, z [batch head d_head]) -> same shape, to the logits at END.

    >>> again = ending(engine, run(engine, tokens, keep=("resid_pre", "k", "v")))
    >>> again(lambda layer, z: z)               # [batch d_vocab], the logits of the run itself

    Keys and values of the positions before END come from the base run: an edit at END cannot have changed them.
    Gradients flow through the edit, at the price of one token a prompt.
    """
    last = base.tokens.shape[1] - 1
    view, early = window(engine, last, last + 1), window(engine, 0, last)
    before = [(rotate(k[:, :last], early), v[:, :last]) for k, v in zip(base["k"], base["v"])]
    start = base["resid_pre"][0][:, last:][None]

    def again(edit: Callable[[int, Tensor], Tensor]) -> Tensor:
        x = start
        for number, layer in enumerate(engine.layers):
            touch = {"z": lambda z, number=number: edit(number, z[0, :, 0])[None, :, None]}
            x = block(engine, layer, x, view, before[number] if last else None, touch)
        return engine.unembed(engine.final_norm(x[0, :, -1]).contiguous())

    return again
