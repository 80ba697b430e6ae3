"""Edits: what an intervention does to an activation. Each is a function `edit(activation, seen) ->
activation`.

set_to(value) zero() scale(c) add(vector) project_out(direction)        anywhere knock_out(keys)
on `.scores` reweight({position: factor}) remove_sink() redistribute(source, to)     on `.pattern`,
rows renormalised force_attention(to) counterfactual_pattern(kind)                        on
`.pattern` latent(encode, decode, change)                                          a dictionary's
latents
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from interp._errors import unknown

Seen = Mapping[str, Tensor]
Edit = Callable[[Tensor, Seen], Tensor]
# Source positions: one or several numbers, the same in every prompt; integers [batch n], so many in
# each prompt;
# or a boolean [batch src], any set (`token_set(task, "S1:S2")`). One of each prompt is [batch 1],
# not [batch].
Positions = int | Sequence[int] | Tensor


def zero() -> Edit:
    """An edit that sets the activation to zero (far out of distribution in many models: see
    `ablate`).
    """
    return lambda act, seen: torch.zeros_like(act)


def set_to(value: Tensor | float) -> Edit:
    """An edit that replaces the activation by a value that broadcasts to it.

    Example:
        >>> set_to(clean.kept["L10H7"])
    """

    def edit(act: Tensor, seen: Seen) -> Tensor:
        new = torch.as_tensor(value, dtype=act.dtype, device=act.device)
        if (
            new.ndim == act.ndim - 1 and act.shape[1] == 1 and new.ndim >= 2
        ):  # [batch d] at one position
            new = new.unsqueeze(1)
        return _broadcast(new, act, "set_to")

    return edit


def add(vector: Tensor) -> Edit:
    """An edit that adds a vector to the activation (steering, task and function vectors)."""
    return lambda act, seen: act + _broadcast(vector.to(act), act, "add")


def scale(factor: float) -> Edit:
    """An edit that multiplies the activation."""
    return lambda act, seen: act * factor


def project_out(direction: Tensor) -> Edit:
    """An edit that removes the component along a direction [d] (directional ablation)."""
    unit = direction / direction.norm()

    def edit(act: Tensor, seen: Seen) -> Tensor:
        along = unit.to(act)
        if along.shape[-1] != act.shape[-1]:
            raise ValueError(
                f"the direction has {along.shape[-1]} entries, the activation {act.shape[-1]}"
            )
        return act - (act @ along).unsqueeze(-1) * along

    return edit


def knock_out(keys: Positions) -> Edit:
    """An edit of `.scores` [batch pos src] after which no query attends to these source positions.

    Args:
        keys: Positions (see `Positions`), or a boolean [batch pos src] of (query, key) pairs. Every
            query must keep at least one source it may attend to, otherwise the softmax has nothing
            to divide: ValueError.

    Reference:
        Geva et al. 2023, arXiv 2304.14767.
    """

    def edit(scores: Tensor, seen: Seen) -> Tensor:
        low = torch.finfo(scores.dtype).min
        pairs = isinstance(keys, Tensor) and keys.ndim == 3
        blocked = _broadcast(keys, scores, "knock_out") if pairs else _columns(keys, scores)
        out = scores.masked_fill(blocked, low)
        if bool((out <= low / 2).all(-1).any()):
            raise ValueError(
                "knock_out leaves a query with nothing to attend to: keep at least one source"
                " position"
            )
        return out

    return edit


# --- edits of attention patterns: every row sums to one again, and what a query cannot see stays ze
# A query sees every key up to its own position: for prompts longer than a sliding window that is
# not so.


def reweight(factors: Mapping[int, float]) -> Edit:
    """An edit of `.pattern` [batch pos src]: multiply columns by factors, then renormalise every
    row to one.
    """

    def edit(pattern: Tensor, seen: Seen) -> Tensor:
        out = pattern.clone()
        for source, factor in factors.items():
            out[..., source] = out[..., source] * factor
        total = out.sum(-1, keepdim=True)
        if bool((total <= 0).any()):
            raise ValueError(
                "reweight leaves a row with no attention at all: keep some factor above zero"
            )
        return out / total

    return edit


def remove_sink(at: Positions = 0) -> Edit:
    """An edit of `.pattern` that takes all attention off the sink and gives it to the row's other
    keys.

    Example:
        >>> Intervention("L*H*.pattern", remove_sink())

    Reference:
        As `redistribute(at)`: the others gain in proportion to what they have. A query that sees
        only the sink (the first token itself) keeps it, where `reweight({0: 0})` has nothing to
        divide. At every position of every head it only hands the sink on: with rotary positions
        this is the prompt without its first token, and the second token is the new sink. At one
        position (`@END`) that query really has none. Xiao et al. 2023, arXiv 2309.17453.
    """
    return redistribute(at)


def redistribute(
    source: Positions, to: Positions | None = None, *, share: float = 1.0, how: str = "proportional"
) -> Edit:
    """An edit of `.pattern` that moves a share of the attention on some keys to others.

    Example:
        >>> # ACT with beta = 0.4
        >>> Intervention("L20H0.pattern", redistribute(later_sinks, share=0.6))
        >>> Intervention("L20H0.pattern@END", redistribute(0, names, how="even"))

    Args:
        source, to: See `Positions`; to=None is every other key of the row.
        how: "proportional" to the attention that `to` has already, or "even". Rows that see no key
            of `to` stay as they are.

    Raises:
        ValueError: Where `to` has no attention at all to be in proportion to.

    Reference:
        Yu et al. 2024 (ACT), arXiv 2406.15765.
    """
    if how not in ("proportional", "even"):
        raise unknown("way to redistribute", how, ("proportional", "even"))
    _check_share(share)

    def edit(pattern: Tensor, seen: Seen) -> Tensor:
        visible, giving = _visible(pattern, seen), _columns(source, pattern)
        taking = (~giving if to is None else _columns(to, pattern)) & visible
        if bool((giving & taking).any()):
            raise ValueError(
                "redistribute: `source` and `to` have keys in common, so there is nothing to move"
                " there"
            )
        weight = taking.to(pattern) if how == "even" else pattern * taking
        total = weight.sum(-1, keepdim=True)
        if bool(((total <= 0) & taking.any(-1, keepdim=True)).any()):
            raise ValueError(
                "redistribute: a row has no attention on `to` to be in proportion to (try"
                " how='even')"
            )
        moved = pattern * giving * (share * taking.any(-1, keepdim=True))
        return (
            pattern
            - moved
            + moved.sum(-1, keepdim=True) * weight / total.clamp_min(torch.finfo(total.dtype).tiny)
        )

    return edit


def force_attention(to: Positions, share: float = 1.0) -> Edit:
    """An edit of `.pattern` that puts a share of each query's attention on some keys, evenly, come
    what may.

    The rest of the row keeps its proportions in what is left (where it has no attention, `to` gets
    it all). Rows that see no key of `to` stay as they are.

    Example:
        >>> Intervention("L23H3.pattern@END", force_attention(token_set(task, "S2")))
    """
    _check_share(share)

    def edit(pattern: Tensor, seen: Seen) -> Tensor:
        chosen = _columns(to, pattern) & _visible(pattern, seen)
        rest = pattern * ~chosen
        left = rest.sum(-1, keepdim=True)
        given = torch.where(left > 0, share, 1.0)
        forced = chosen * given / chosen.sum(-1, keepdim=True).clamp_min(1)
        out = forced + rest * (1 - given) / left.clamp_min(torch.finfo(left.dtype).tiny)
        return torch.where(chosen.any(-1, keepdim=True), out, pattern).to(pattern)

    return edit


def counterfactual_pattern(kind: str = "uniform") -> Edit:
    """An edit that replaces a pattern by a simple one: "uniform" over what is seen, "first",
    "previous" or "self".

    For "previous" the first token attends to itself. The pattern of another head or prompt is
    `set_to(kept["L5H2.pattern"])`.

    Example:
        >>> Intervention("L5H2.pattern", counterfactual_pattern("previous"))
    """
    if kind not in PATTERNS:
        raise unknown("pattern", kind, PATTERNS)

    def edit(pattern: Tensor, seen: Seen) -> Tensor:
        chosen = _attended(kind, pattern, seen).to(pattern)
        return _broadcast(
            chosen / chosen.sum(-1, keepdim=True), pattern, "counterfactual_pattern"
        ).clone()

    return edit


# Which keys [src] each query [batch pos 1] attends to, all alike.
PATTERNS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "uniform": lambda key, query: key <= query,
    "first": lambda key, query: (key == 0).expand(*query.shape[:-1], -1),
    "previous": lambda key, query: key == (query - 1).clamp_min(0),
    "self": lambda key, query: key == query,
}


def _queries(pattern: Tensor, seen: Seen) -> Tensor:
    """The position of each row of a pattern [batch pos 1]: as the run says, or all of them in
    order.
    """
    if "pos" in seen:
        return seen["pos"][..., None]
    if pattern.shape[-2] != pattern.shape[-1]:
        raise ValueError(
            f"rows of a pattern {tuple(pattern.shape)} without their positions: give them,"
            " edit(pattern, {'pos': rows})"
        )
    return torch.arange(pattern.shape[-2], device=pattern.device)[None, :, None]


def _visible(pattern: Tensor, seen: Seen) -> Tensor:
    """Which keys each row may look at [batch pos src]: those up to its own position."""
    return _attended("uniform", pattern, seen)


def _attended(kind: str, pattern: Tensor, seen: Seen) -> Tensor:
    key = torch.arange(pattern.shape[-1], device=pattern.device)
    return PATTERNS[kind](key, _queries(pattern, seen).to(pattern.device))


def _columns(where: Positions, act: Tensor) -> Tensor:
    """Some source positions as a boolean [batch 1 src] (or [1 1 src]); ValueError for one that does
    not exist.
    """
    n_src = act.shape[-1]
    at = torch.as_tensor(where, device=act.device)
    if at.dtype == torch.bool:
        if at.ndim > 2 or at.shape[-1:] != (n_src,):
            raise ValueError(
                f"a boolean of keys is [batch {n_src}] here, got {list(at.shape)} (try"
                " token_set(task, 'S1'))"
            )
        return _of_batch(at.expand(at.shape if at.ndim == 2 else (1, n_src)), act)
    if at.numel() == 0 or at.is_floating_point() or not bool(((-n_src <= at) & (at < n_src)).all()):
        raise ValueError(
            f"source positions are 0 to {n_src - 1} (or -1 for the last), got {at.tolist()}"
        )
    rows = at.reshape(1, -1) if at.ndim < 2 else at
    none = torch.zeros(len(rows), n_src, dtype=torch.bool, device=act.device)
    return _of_batch(none.scatter_(1, rows % n_src, True), act)


def _of_batch(columns: Tensor, act: Tensor) -> Tensor:
    if len(columns) not in (1, act.shape[0]):
        raise ValueError(
            f"source positions of {len(columns)} prompts do not fit a run of {act.shape[0]}"
        )
    return columns[:, None]


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"share={share}: a share of attention is 0 to 1")


def latent(
    encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor], change: Edit
) -> Edit:
    """An edit of a dictionary's latents that keeps its error term: act + decode(change(z)) -
    decode(z).
    """

    def edit(act: Tensor, seen: Seen) -> Tensor:
        z = encode(act)
        return act + decode(change(z, seen)) - decode(z)

    return edit


def _broadcast(value: Tensor, act: Tensor, what: str) -> Tensor:
    try:
        return value.to(act.device).expand(act.shape)
    except RuntimeError:
        raise ValueError(
            f"{what}: a value of shape {tuple(value.shape)} does not fit an activation of shape"
            f" {tuple(act.shape)}"
        ) from None
