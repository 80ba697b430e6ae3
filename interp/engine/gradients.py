"""One forward and one backward: the gradient of a number at activations of the lean forward."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from interp._say import unknown
from interp.engine.forward import KINDS, Run, block, embed, rotate, window
from interp.engine.weights import Engine


def gradients(
    engine: Engine,
    tokens: Tensor,
    read: Callable[[Tensor], Tensor],
    kinds: Iterable[str],
    *,
    resid: Tensor | None = None,
    base: Run | None = None,
    first: int = 0,
) -> tuple[Tensor, dict[str, list[Tensor]]]:
    """(read's value, {kind: one gradient per layer, shaped like the activation}) for one run on `tokens`.

    >>> value, grads = gradients(engine, clean, columns(engine, answers), kinds=("z", "mlp_out"))
    >>> grads["z"][10].shape                      # batch pos head d_head
    torch.Size([16, 15, 9, 64])

    `read` maps the final normed residual at END [1 batch d_model] to numbers, which are summed before the
    backward; as prompts do not mix, each prompt's gradient is that of its own number. `attn_in` and `mlp_in`
    give the gradient through that reader alone. `resid` starts from this residual [batch pos d_model] instead
    of the embedding (integrated gradients). With `base` (a run that kept k and v) and `first`, only positions
    from `first` on are run and differentiated; gradients then have `pos` = length - first.
    """
    kinds = tuple(kinds)
    for kind in kinds:
        if kind not in KINDS or (kind == "resid_mid" and engine.parallel):
            known = [k for k in KINDS if k != "resid_mid" or not engine.parallel]
            raise unknown("kind of activation", kind, known, "gradients(engine, tokens, read, ('z',))")
    if first and base is None:
        raise ValueError(f"first={first} needs base=, the run whose keys and values come before (kept 'k' and 'v')")
    taps: dict[str, list[Tensor]] = {kind: [] for kind in kinds}

    def tap(kind: str) -> Callable[[Tensor], Tensor]:
        def keep(value: Tensor) -> Tensor:
            taps[kind].append(value.view_as(value))  # a node of its own: q, k, v may be views of one tensor
            return taps[kind][-1]

        return keep

    touch = {kind: tap(kind) for kind in kinds}
    end = tokens.shape[1]
    with torch.inference_mode(False), torch.enable_grad():
        x = (embed(engine, tokens)[:, first:] if resid is None else resid).detach().clone().requires_grad_(True)[None]
        view, early = window(engine, first, end), window(engine, 0, first)
        for number, layer in enumerate(engine.layers):
            before = None
            if first:
                k, v = base["k"][number][:, :first], base["v"][number][:, :first]
                before = (rotate(k, early).clone(), v.clone())
            x = block(engine, layer, x, view, before, touch)
        value = read(engine.final_norm(x[:, :, -1]))
        flat = [t for kind in kinds for t in taps[kind]]
        found = iter(torch.autograd.grad(value.sum(), flat, allow_unused=True))
    shaped = {
        kind: [torch.zeros_like(t[0]) if g is None else g[0] for t, g in zip(taps[kind], found, strict=False)]
        for kind in kinds
    }
    return value.detach()[0], shaped
