"""Attention as an associative memory: what is stored, how it is read, and how many pairs fit.

>>> memory = hebbian(keys, values); read = recall(memory, keys)
>>> hebbian_attention(q, k, v)          # equals linear_attention(q, k, v): another order of the sum
>>> curve = accuracy(d_k=[16, 32, 64], memory="hebbian")
>>> power_law(curve.coords["d_k"], capacity(curve).values)

"Understanding Transformers through the Lens of Pavlovian Conditioning" (2025) reads linear
attention as Hebbian learning; Schlag et al. 2021 (arXiv 2102.11174) as fast weights with the delta
rule; Ramsauer et al. 2020 (arXiv 2008.02217) read softmax attention as a Hopfield network.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp._errors import unknown
from interp._numbers import to_numpy
from interp.results import Result

Keys = Float[Tensor, "*batch pairs d_k"]
Values = Float[Tensor, "*batch pairs d_v"]


# --- memories -------------------------------------------------------------------------------------


def hebbian(keys: Keys, values: Values) -> Float[Tensor, "*batch d_v d_k"]:
    """The sum of the outer products of values and keys: every pair is stored independently.

    Read at random unit keys of n pairs, the expected squared error is (n - 1) / d_k of the value's
    square.
    """
    return values.mT @ keys


def delta_rule(
    keys: Keys, values: Values, *, rate: float = 1.0, passes: int = 1
) -> Float[Tensor, "*batch d_v d_k"]:
    """The memory after each pair in turn has corrected what is read at its key.

    Args:
        keys: Vectors of length one.
        values: The value of each key.
        rate: The share of the error that is corrected; with 1 a pair is read without error right
            after its step.
        passes: How often all pairs are gone through.

    Raises:
        ValueError: If rate is not between 0 and 2, or passes below 1.

    Reference:
        Widrow and Hoff 1960, Rescorla and Wagner 1972. Over many passes it converges to the pairs'
        least squares solution if one fits.
    """
    if not 0 < rate < 2 or passes < 1:
        raise ValueError(
            f"rate={rate}, passes={passes}: the rate lies between 0 and 2 (else errors grow), and"
            " one pass is the least"
        )
    memory = torch.zeros(*keys.shape[:-2], values.shape[-1], keys.shape[-1])
    for i in list(range(keys.shape[-2])) * passes:
        key = keys[..., i, :, None]
        memory += rate * (values[..., i, :, None] - memory @ key) @ key.mT
    return memory


def recall(
    memory: Float[Tensor, "*batch d_v d_k"], queries: Float[Tensor, "*batch n d_k"]
) -> Float[Tensor, "*batch n d_v"]:
    """The value that a memory gives for each query."""
    return queries @ memory.mT


def softmax_recall(
    keys: Keys,
    values: Values,
    queries: Float[Tensor, "*batch n d_k"],
    *,
    sharpness: float | None = None,
) -> Float[Tensor, "*batch n d_v"]:
    """The values, weighted by the softmax of `sharpness` times query dot key.

    Args:
        sharpness: d_k ** 0.5 if None, as for attention with keys and queries of length d_k ** 0.5.
    """
    return (
        queries @ keys.mT * (keys.shape[-1] ** 0.5 if sharpness is None else sharpness)
    ).softmax(-1) @ values


# --- identities -----------------------------------------------------------------------------------

Q = Float[Tensor, "*batch pos d_k"]
V = Float[Tensor, "*batch pos d_v"]


def linear_attention(q: Q, k: Q, v: V, decay: Float[Tensor, "*batch pos"] | None = None) -> V:
    """Causal attention without softmax: out_t = sum over s <= t of (q_t . k_s) v_s.

    Args:
        decay: Factors a_t; the entry of the pattern is then also multiplied by a_{s+1} ... a_t.
    """
    pattern = (q @ k.mT).tril()
    if decay is not None:
        span = q.shape[-2]
        factors = decay[..., :, None].expand(*decay.shape, span).tril(-1)  # [t s]: a_t where s < t
        pattern = pattern * torch.where(
            torch.ones(span, span).tril(-1) > 0, factors, torch.ones(())
        ).cumprod(-2)
    return pattern @ v


def hebbian_attention(q: Q, k: Q, v: V) -> V:
    """`linear_attention` without decay, token by token: each stores its pair and reads the memory.

    Example:
        >>> torch.testing.assert_close(hebbian_attention(q, k, v), linear_attention(q, k, v))
    """
    return torch.stack(
        [
            recall(hebbian(k[..., : t + 1, :], v[..., : t + 1, :]), q[..., t : t + 1, :])[..., 0, :]
            for t in range(q.shape[-2])
        ],
        -2,
    )


def state_space(
    x: V,
    keep: Float[Tensor, "*batch pos d_state"],
    write: Float[Tensor, "*batch pos d_state"],
    read: Float[Tensor, "*batch pos d_state"],
) -> V:
    """A selective state-space model: h_t = keep_t * h_{t-1} + write_t x_t, out_t = read_t . h_t.

    The transition is diagonal, with one state of size d_state for each channel of x. The token
    decides keep, write and read, and all channels share them, as in Mamba-2 (Dao and Gu 2024, arXiv
    2405.21060), whose keep is one number per token.

    Reference:
        Sieber et al. 2024, Understanding the differences in Foundation Models (arXiv 2405.15731).
        It equals `linear_attention` exactly if write is its keys, read its queries, x its values,
        and keep_t is one number for the whole state: 1, or the decay a_t. With different numbers
        for the entries of the state, no pattern q_t . k_s times a factor equals it.
    """
    state = torch.zeros(*x.shape[:-2], write.shape[-1], x.shape[-1])
    out = []
    for t in range(x.shape[-2]):
        state = keep[..., t, :, None] * state + write[..., t, :, None] * x[..., t, None, :]
        out.append((read[..., t, None, :] @ state)[..., 0, :])
    return torch.stack(out, -2)


# --- how many pairs fit ---------------------------------------------------------------------------

MEMORIES = ("hebbian", "delta", "softmax")


def pairs(
    n: int, d_k: int, values: int, trials: int, keys: str, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Unit keys [trials n d_k], random or orthonormal, and a value for each [trials n]."""
    if keys not in ("random", "orthogonal"):
        raise unknown("kind of keys", keys, ("random", "orthogonal"))
    if keys == "orthogonal" and n > d_k:
        raise ValueError(f"only d_k={d_k} keys can be orthogonal, not {n}")
    drawn = torch.randn(trials, d_k if keys == "orthogonal" else n, d_k, generator=generator)
    unit_keys = (
        torch.linalg.qr(drawn).Q[:, :n]
        if keys == "orthogonal"
        else torch.nn.functional.normalize(drawn, dim=-1)
    )
    return unit_keys, torch.randint(values, (trials, n), generator=generator)


def _read(memory: str, keys: Tensor, values: Tensor) -> Tensor:
    """What a memory of these pairs gives at their own keys."""
    if memory == "softmax":
        return softmax_recall(keys, values, keys, sharpness=keys.shape[-1])
    return recall(hebbian(keys, values) if memory == "hebbian" else delta_rule(keys, values), keys)


def accuracy(
    d_k: Sequence[int] = (16, 32, 64, 128),
    pairs_per_d: Sequence[float] = (0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 16),
    *,
    memory: str = "hebbian",
    values: int = 16,
    trials: int = 8,
    keys: str = "random",
    seed: int = 0,
) -> Result:
    """How often the right one of `values` one-hot values reads highest, by d_k and pairs per d_k.

    Example:
        >>> pairs = capacity(accuracy(memory="delta"))
        >>> accuracy(memory="softmax").sel(d_k=16)

    Args:
        d_k: Dimensions of the keys.
        pairs_per_d: Stored pairs per dimension.
        memory: "hebbian", "delta" (one pass) or "softmax".
        values: How many values there are. The number stays as pairs grow: if every value were new,
            the right one would always win at its own key.
        trials: Repetitions with other keys and values.
        keys: "random" or "orthogonal".
        seed: Decides keys and values.

    Returns:
        Axes "d_k" and "pairs per d_k"; share of pairs; chance is 1 / values. Examples are trials.
    """
    if memory not in MEMORIES:
        raise unknown("memory", memory, MEMORIES)
    g = torch.Generator().manual_seed(seed)
    cells = np.empty((len(d_k), len(pairs_per_d), trials))
    for i, d in enumerate(d_k):
        for j, per in enumerate(pairs_per_d):
            k, value = pairs(max(1, round(per * d)), d, values, trials, keys, g)
            read = _read(memory, k, torch.nn.functional.one_hot(value, values).float())
            cells[i, j] = to_numpy((read.argmax(-1) == value).float().mean(1))
    metadata = {"memory": memory, "values": values, "keys": keys, "seed": seed, "trials": trials}
    coords = {"d_k": list(d_k), "pairs per d_k": list(pairs_per_d)}
    return Result(
        cells.mean(-1),
        tuple(coords),
        coords,
        f"accuracy of {memory} retrieval",
        "share of pairs",
        metadata,
        cells,
    )


def capacity(curve: Result, at: float = 0.5) -> Result:
    """The number of pairs at which accuracy falls to `at`, for each d_k, interpolated in log n.

    NaN if it never falls so low; then store more pairs.
    """
    n = np.outer(curve.coords["d_k"], curve.coords["pairs per d_k"])
    n_pairs = np.full(len(n), np.nan)
    for row, (log_n, right) in enumerate(zip(np.log(n), curve.values)):
        below = np.flatnonzero(right < at)
        if len(below) and below[0] > 0:
            j = below[0]
            weight = (right[j - 1] - at) / (right[j - 1] - right[j])
            n_pairs[row] = np.exp(log_n[j - 1] + weight * (log_n[j] - log_n[j - 1]))
    return Result(
        n_pairs,
        ("d_k",),
        {"d_k": curve.coords["d_k"]},
        f"pairs at accuracy {at:g}",
        "pairs",
        dict(curve.metadata),
    )
