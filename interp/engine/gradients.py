"""One forward and one backward: the gradient of a number at activations of the lean forward."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from interp._errors import unknown
from interp.engine.forward import KINDS, Run, Touch, earlier, embed, run_from, window
from interp.engine.weights import Engine

NO_GRADIENT = (
    "this number has no gradient (a rank or an accuracy moves in steps): read one that moves"
    " smoothly, such as 'logit_diff' or 'log_prob'"
)


def gradients(
    engine: Engine,
    tokens: Tensor,
    read: Callable[[Tensor], Tensor],
    kinds: Iterable[str],
    *,
    resid: Tensor | None = None,
    base: Run | None = None,
    first: int = 0,
    everywhere: bool = False,
) -> tuple[Tensor, dict[str, list[Tensor]]]:
    """(read's value, {kind: one gradient per layer, shaped like the activation}) for one run on
    `tokens`.

    `read` maps the final normed residual at END [1 batch d_model] to numbers, which are summed
    before the backward; as prompts do not mix, each prompt's gradient is that of its own number.
    `attn_in` and `mlp_in` give the gradient through that reader alone. `resid` starts from this
    residual [batch pos d_model] instead of the embedding (integrated gradients). With `base` (a run
    that kept k and v) and `first`, only positions from `first` on are run and differentiated;
    gradients then have `pos` = length - first. `everywhere`: `read` is given every position, [1
    batch pos d_model].

    Example:
        >>> value, grads = gradients(engine, clean, columns(engine, answers),
        ...     kinds=("z", "mlp_out"))
        >>> grads["z"][10].shape                      # batch pos head d_head
        torch.Size([16, 15, 9, 64])
    """
    value, taps = record(engine, tokens, read, kinds, resid, base, first, everywhere)
    return value.detach()[0], _without_row(pull(value.sum(), None, taps, keep=False))


def gradients_dropping(
    engine: Engine,
    tokens: Tensor,
    read: Callable[[Tensor], Tensor],
    kinds: Iterable[str],
    *,
    base: Run | None = None,
    first: int = 0,
) -> Iterator[dict[str, list[Tensor]]]:
    """For each layer in turn, the gradients of `gradients` when nothing flows back through what
    that layer writes.

    Example:
        >>> for grads in gradients_dropping(engine, clean, columns(engine, answers), ("z",)): ...

    Reference:
        The dropped layer's attention and MLP still act in the forward pass, but the backward one
        stops at their outputs and goes on through the stream alone (GradDrop: Kramar et al. 2024,
        arXiv 2403.00745). One forward: above the dropped layer the gradient is the plain one, so
        only the layers below are walked again.
    """
    kinds = tuple(kinds)
    value, taps = record(
        engine, tokens, read, dict.fromkeys((*kinds, "resid_pre", "resid_post")), None, base, first
    )
    plain = pull(value.sum(), None, taps)
    for number in range(engine.n_layers):
        past = plain["resid_post"][
            number
        ]  # skips the layer: it arrives at resid_pre as it left resid_post
        below = pull(taps["resid_pre"][number], past, {kind: taps[kind][:number] for kind in kinds})

        def inside(kind: str, past: Tensor = past, number: int = number) -> Tensor:
            return past if kind.startswith("resid") else torch.zeros_like(plain[kind][number])

        yield _without_row({k: [*below[k], inside(k), *plain[k][number + 1 :]] for k in kinds})


def stream_jacobian(
    engine: Engine,
    tokens: Tensor,
    layers: Iterable[int],
    rows: Tensor,
    first: int,
    stop: int,
    at_once: int = 32,
) -> Tensor:
    """Rows of d resid_post.last / d resid_post.layer [layer row batch d_model].

    The effects on the positions first .. stop - 1 of the last layer are added up, and averaged over
    the same positions of the layer. One forward, and a backward for `at_once` rows together.

    Example:
        >>> stream_jacobian(engine, tokens, range(11), torch.arange(768), 16, 127)
    """
    _, taps = record(
        engine, tokens, lambda end: end, ("resid_post",), None, None, 0, everywhere=True
    )
    end, starts = taps["resid_post"][-1], [taps["resid_post"][layer] for layer in layers]
    out = []
    # a search for anomalies cannot look into a batch of gradients
    with torch.inference_mode(False), torch.autograd.set_detect_anomaly(False):
        for some in rows.split(at_once):
            along = end.new_zeros(len(some), *end.shape)
            along[torch.arange(len(some)), :, :, first:stop, some] = 1.0
            found = torch.autograd.grad(
                end, starts, along, retain_graph=True, is_grads_batched=True
            )
            out.append(torch.stack([g[:, 0, :, first:stop].mean(-2) for g in found]))
    return torch.cat(out, 1)


def record(
    engine: Engine,
    tokens: Tensor,
    read: Callable[[Tensor], Tensor],
    kinds: Iterable[str],
    resid: Tensor | None,
    base: Run | None,
    first: int,
    everywhere: bool = False,
    *,
    layer: int = 0,
    touch: Touch | None = None,
) -> tuple[Tensor, dict[str, list[Tensor]]]:
    """read's value [row ...] with its graph, and the activations [row ...] of each kind and layer
    in that graph.

    resid [batch pos d_model], or with rows in front, enters `layer`; touch edits activations in
    that layer alone.
    """
    kinds = tuple(kinds)
    for kind in kinds:
        if kind not in KINDS or (kind == "resid_mid" and engine.parallel):
            known = [k for k in KINDS if k != "resid_mid" or not engine.parallel]
            raise unknown(
                "kind of activation", kind, known, "gradients(engine, tokens, read, ('z',))"
            )
    before = earlier(engine, base, first)
    taps: dict[str, list[Tensor]] = {kind: [] for kind in kinds}

    def tap(kind: str) -> Callable[[Tensor], Tensor]:
        def keep(value: Tensor) -> Tensor:
            taps[kind].append(
                value.view_as(value)
            )  # a node of its own: q, k, v may be views of one tensor
            return taps[kind][-1]

        return keep

    taken = {kind: tap(kind) for kind in kinds}
    end = tokens.shape[1]
    with torch.inference_mode(False), torch.enable_grad():
        x = (
            (embed(engine, tokens)[:, first:] if resid is None else resid)
            .detach()
            .clone()
            .requires_grad_(True)
        )
        x = x if x.ndim == 4 else x[None]
        view = window(engine, first, end)

        def prefix(number: int) -> tuple[Tensor, Tensor]:  # copies: inference may have made them
            k, v = before(number)
            return k.clone(), v.clone()

        def here(number: int, _: Tensor) -> Touch:
            return taken if number > layer else _both(touch, taken)

        x = run_from(engine, x, view, layer, prefix=before and prefix, touch=here)
        value = read(engine.final_norm(x if everywhere else x[:, :, -1]))
    if not value.requires_grad:
        raise ValueError(NO_GRADIENT)
    return value, taps


def _both(edits: Touch | None, taken: Touch) -> Touch:
    """The touches of a layer that is edited: the edit first, then the tap."""
    out = dict(taken)
    for kind, edit in (edits or {}).items():
        tap = taken.get(kind, lambda value: value)
        out[kind] = lambda value, edit=edit, tap=tap: tap(edit(value))
    return out


def pull(
    value: Tensor, along: Tensor | None, taps: dict[str, list[Tensor]], keep: bool = True
) -> dict[str, list[Tensor]]:
    """The gradient of value (times `along`) at every tap; zero where value does not depend on
    one.
    """
    flat = [t for some in taps.values() for t in some]
    with torch.inference_mode(False):
        found = (
            torch.autograd.grad(value, flat, along, retain_graph=keep, allow_unused=True)
            if flat
            else ()
        )
    each = iter(torch.zeros_like(t) if g is None else g for t, g in zip(flat, found, strict=True))
    return {kind: [next(each) for _ in some] for kind, some in taps.items()}


def _without_row(grads: dict[str, list[Tensor]]) -> dict[str, list[Tensor]]:
    return {kind: [g[0] for g in some] for kind, some in grads.items()}
