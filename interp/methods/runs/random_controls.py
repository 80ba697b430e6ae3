"""Controls: random heads and random tokens to set beside the ones that were found."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._types import Model
from interp.methods.ablation.token_sets import Tokens, token_set
from interp.models import bridge
from interp.sites import Site

Cell = tuple[int, int]  # layer, head


@torch_defaults()
def random_heads(
    model: Model,
    like: Sequence[str],
    *,
    sets: int = 10,
    seed: int = 0,
    layers: "str | Sequence[int]" = "same",
    avoid: Sequence[str] = (),
) -> list[list[str]]:
    """Sets of random heads, as many in each layer as the given ones, and none of them given.

    Example:
        >>> random_heads(model, ["L23H3", "L29H1"], sets=2)
        [['L23H7', 'L29H4'], ['L23H0', 'L29H8']]
        >>> random_heads(model, ["L23H3", "L29H1"], layers=range(2, 30))

    Args:
        model: A loaded model.
        like: Heads, with positions kept ("L19H2@END" is answered by "L19H5@END").
        sets: How many sets.
        seed: Draws them.
        layers: "same" draws from each head's own layer, because early and late heads differ in
            everything and a random head from anywhere is too easy to beat. "any" draws from the
            whole model, range(2, 30) from these layers: for papers that do so, and for sets that
            hold most of a layer.
        avoid: Heads that are never drawn, beside the given ones.

    Raises:
        ValueError: If too few heads are left to draw from.
    """
    given, never = _single(like), _single(avoid)
    if not given:
        raise ValueError("random_heads needs single heads, got none (try ['L23H3', 'L29H1'])")
    d = bridge.dims(model)
    taken = {(s.layer, s.index) for s in [*given, *never]}
    pools = _pools(given, taken, layers, d.n_layers, d.n_heads)
    g = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(sets):
        chosen: list[str] = []
        for here, free in pools:
            at = [free[i] for i in torch.randperm(len(free), generator=g)[: len(here)].tolist()]
            chosen += [
                str(Site("head", s.part, layer, head, None, s.pos))
                for s, (layer, head) in zip(here, at)
            ]
        drawn.append(chosen)
    return drawn


def _single(heads: Sequence[str]) -> list[Site]:
    """The sites, if each is a single head."""
    sites = [Site.parse(h) for h in heads]
    not_heads = [str(s) for s in sites if s.family != "head" or s.stars]
    if not_heads:
        raise ValueError(
            f"random_heads needs single heads, got {not_heads} (try ['L23H3', 'L29H1'])"
        )
    return sites


def _pools(
    given: list[Site], taken: set[Cell], layers: "str | Sequence[int]", n_layers: int, n_heads: int
) -> list[tuple[list[Site], list[Cell]]]:
    """The given heads in parts, each with the heads that may stand in for it."""

    def free(layer):
        return [(layer, h) for h in range(n_heads) if (layer, h) not in taken]

    if isinstance(layers, str):
        if layers not in ("same", "any"):
            raise unknown(
                "choice of layers", layers, ("same", "any"), "or numbers, for example range(2, 30)"
            )
        numbers = sorted({s.layer for s in given}) if layers == "same" else list(range(n_layers))
    else:
        numbers = sorted({int(layer) for layer in layers})
        wrong = [layer for layer in numbers if not 0 <= layer < n_layers]
        if wrong:
            raise ValueError(f"layers={wrong}: this model has the layers 0 to {n_layers - 1}")
    if layers == "same":
        pools = [([s for s in given if s.layer == layer], free(layer)) for layer in numbers]
    else:
        pools = [(given, [cell for layer in numbers for cell in free(layer)])]
    for here, left in pools:
        if len(left) < len(here):
            where = f"layer {here[0].layer}" if layers == "same" else f"the layers {layers}"
            raise ValueError(
                f"{where}: {len(here)} heads are given and {len(left)} others may be drawn: too few"
                " are left to draw (try layers='any')"
            )
    return pools


@torch_defaults()
def random_tokens(
    task: Any, like: Tokens, *, among: Tokens = "1:END-1", sets: int = 3, seed: int = 0
) -> list[Bool[Tensor, "batch pos"]]:
    """Sets of random tokens: in each prompt as many as `like` has there, drawn from `among`.

    Example:
        >>> others = random_tokens(task, "SUBJECT")          # neither the first token nor the last
        >>> sets = {str(k): tokens for k, tokens in enumerate(others)}
        >>> attention_knockout(model, task, "END", sets, window=8)

    Args:
        task: A task, for its positions and prompts.
        like: The token set that gives the sizes, see `token_set`.
        among: The token set drawn from. A drawn set may share tokens with `like` (leave those out
            of `among` where none may be shared), but is never `like` itself.
        sets: How many sets.
        seed: Draws them.

    Returns:
        Masks [batch pos], one per set.

    Raises:
        ValueError: If a prompt leaves no other set of that size.
    """
    given, pool = token_set(task, like), token_set(task, among)
    g = torch.Generator().manual_seed(seed)
    for i, (like_mask, free) in enumerate(zip(given, pool)):
        size, left = int(like_mask.sum()), int(free.sum())
        if size > left or (size == left and bool((like_mask == free).all())):
            raise ValueError(
                f"prompt {i} has {left} tokens to draw from and {size} are needed: no other set is"
                " left (widen `among`)"
            )
    return [
        torch.stack([_other(like_mask, free, g) for like_mask, free in zip(given, pool)])
        for _ in range(sets)
    ]


def _other(like_mask: Tensor, free: Tensor, g: torch.Generator) -> Tensor:
    """As many of the free tokens as `mine` has, drawn again while they are the same ones."""
    at = free.nonzero()[:, 0]
    while True:
        drawn = torch.zeros_like(like_mask)
        drawn[at[torch.randperm(len(at), generator=g)[: int(like_mask.sum())]]] = True
        if not torch.equal(drawn, like_mask):
            return drawn
