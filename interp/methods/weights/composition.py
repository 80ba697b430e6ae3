"""Composition: how much of what one head writes another head reads, by their weights alone."""

import time
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from interp import sites
from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.methods.runs import sweep
from interp.methods.weights import ov_qk
from interp.models import bridge
from interp.results import Result

KINDS = ("q", "k", "v")
Heads = str | Sequence[str]


@torch_defaults()
def composition(
    model: Model,
    senders: Heads = "L*H*",
    receivers: Heads = "L*H*",
    *,
    kind: str = "q",
    offset: int | None = None,
    components: bool = False,
    without: Sequence[int] = (),
    rotations: int = 20,
    seed: int = 0,
) -> Result:
    """Q-, K- or V-composition: how much each later head reads of what each earlier head writes.

    Example:
        >>> composition(model, receivers="L23H3", kind="q").top(5)
        >>> composition(model, ["L19H2"], ["L23H3"], components=True).top(3)

    Args:
        model: A loaded model that the engine knows.
        senders: Heads, a pattern or a list.
        receivers: Heads, a pattern or a list.
        kind: "q", "k" or "v".
        offset: For q and k in rotary models, how many tokens before the query the key stands (None:
            the content part, as at offset 0).
        components: A score for each singular vector of the sender's OV, largest first.
        without: Dimensions of the stream to leave out (massive activations).
        rotations: How many random rotations the null draws.
        seed: Draws them.

    Returns:
        Frobenius norms of what the sender writes and the receiver reads, |S R| / (|S| |R|): 0
        nothing is read, 1 the most there can be. Axes sender, (component,) receiver; NaN where the
        sender is not in an earlier layer. A head that shares its KV head uses that K or V.
        metadata["null"]: the same pairs with the reading subspace turned by random rotations: exact
        root mean square, and mean and 95 % range over the drawn rotations.

    Raises:
        ValueError: If no sender comes before a receiver, or an option does not fit the model.

    Reference:
        Elhage et al. 2021; per component Merullo et al. 2024 (arXiv 2406.09519). The norms' gains
        are folded into the matrices.
    """
    started = time.perf_counter()
    at = _checked(model, kind, offset, without, rotations)
    send, receive = ov_qk.heads_of(model, senders), ov_qk.heads_of(model, receivers)
    if not any(s.layer < r.layer for s in send for r in receive):
        raise ValueError(
            "no sender is in a layer before a receiver: heads of one layer cannot feed each other"
        )
    S = {s: _drop(sender(model, s), without) for s in send}
    if components:
        S = {s: torch.linalg.svd(m.double(), full_matrices=False).Vh.float() for s, m in S.items()}
    R = {r: _drop(receiver(model, r, kind, at).mT, without).mT for r in receive}
    rows = [_scores(S, r, R[r], components) for r in sweep.progress(receive, f"{kind} composition")]
    values = torch.stack(rows, -1)
    null = _null(S, R, components, rotations, seed, bridge.dims(model).d_model - len(set(without)))
    coords = {"sender": list(map(str, send)), "receiver": list(map(str, receive))}
    dims = ("sender", "receiver")
    if components:
        dims, coords = (
            ("sender", "component", "receiver"),
            {**coords, "component": list(range(values.shape[1]))},
        )
    metadata = sweep.provenance(
        model,
        None,
        f"{kind} composition",
        started,
        kind=kind,
        offset=at,
        without=list(without),
        seed=seed,
        null=null,
        backend="engine",
    )
    return Result(
        to_numpy(values),
        dims,
        coords,
        f"{kind} composition",
        "share of the product of norms",
        metadata,
    )


def sender(model: Model, site: sites.Site) -> Float[Tensor, "d_head d_model"]:
    """What a head writes [d_head d_model]: W_V W_O up to a rotation on W_V's side."""
    small = torch.linalg.qr(ov_qk.value(model, site.layer)[site.index]).R
    return small @ ov_qk.write(model, site.layer)[site.index]


def receiver(
    model: Model, site: sites.Site, kind: str, offset: int = 0
) -> Float[Tensor, "d_model d_head"]:
    """What a head reads through q, k or v [d_model d_head]: QK or OV up to a rotation."""
    if kind == "v":
        near, far = (
            ov_qk.value(model, site.layer)[site.index],
            ov_qk.write(model, site.layer)[site.index].mT,
        )
    else:
        q, k = (W[site.index] for W in ov_qk.query_key(model, site.layer, offset))
        near, far = (q, k) if kind == "q" else (k, q)
    return near @ torch.linalg.qr(far).R.mT


def _scores(S: dict, r: sites.Site, R: Tensor, components: bool) -> Tensor:
    """One receiver's scores: [sender], or [sender component]."""
    rows = []
    for s, matrix in S.items():
        if s.layer >= r.layer:
            rows.append(matrix.new_full((len(matrix),) if components else (), float("nan")))
        else:
            rows.append(_score(matrix, R, components))
    return torch.stack(rows)


def _score(S: Tensor, R: Tensor, components: bool) -> Tensor:
    """The score of one sender (and component) and one receiver."""
    through = S @ R
    if components:  # rows of S have length one: the singular value of a rank-one circuit cancels
        return through.norm(dim=-1) / R.norm()
    return through.norm() / (S.norm() * R.norm())


def _null(
    S: dict, R: dict, components: bool, rotations: int, seed: int, width: int
) -> dict[str, float]:
    """What pairs get when the receiver reads a randomly rotated subspace."""
    g = torch.Generator().manual_seed(seed)
    pairs = [(s, r) for s in S for r in R if s.layer < r.layer]
    drawn = []
    for _ in range(rotations):
        like = S[pairs[0][0]]
        turn = torch.linalg.qr(torch.randn(like.shape[-1], like.shape[-1], generator=g)).Q.to(like)
        for i in torch.randint(len(pairs), (16,), generator=g).tolist():
            s, r = pairs[i]
            drawn.append(_score(S[s], turn @ R[r], components).flatten())
    null_scores = torch.cat(drawn).cpu()
    low, high = torch.quantile(null_scores, torch.tensor([0.025, 0.975])).tolist()
    # over all rotations the mean of |S Q R|^2 is |S|^2 |R|^2 / d_model, whatever S and R are
    return {"rms": width**-0.5, "mean": float(null_scores.mean()), "low": low, "high": high}


def _drop(matrix: Tensor, without: Sequence[int]) -> Tensor:
    """The matrix [... d_model] with these dimensions of the stream left out."""
    dims_left = [i for i in range(matrix.shape[-1]) if i not in set(without)]
    return matrix[..., dims_left]


def _checked(
    model: Model, kind: str, offset: int | None, without: Sequence[int], rotations: int
) -> int:
    """The offset; ValueError for options that do not fit the model."""
    if kind not in KINDS:
        raise unknown("kind of composition", kind, KINDS, "kind='q'")
    if kind == "v" and offset is not None:
        raise ValueError(
            f"offset={offset}: values are not turned by position (offset goes with kind='q' or 'k')"
        )
    d_model = bridge.dims(model).d_model
    wrong = [i for i in without if not 0 <= i < d_model]
    if wrong or len(set(without)) == d_model:
        raise ValueError(
            f"without={list(without)}: dimensions of the stream are 0 to {d_model - 1}, and some"
            " must stay"
        )
    if rotations < 1:
        raise ValueError(f"rotations={rotations}: the null needs at least one")
    return offset or 0
