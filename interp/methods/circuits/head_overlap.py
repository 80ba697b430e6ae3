"""Whether two tasks use the same heads: the overlap of their circuits, beside random heads."""

import time
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.results import Result

CHUNK = 100  # resampled score maps in memory at a time


def head_overlap(
    a: Result,
    b: Result,
    n: int = 27,
    *,
    draws: int = 1000,
    n_boot: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Result:
    """Share of the n largest heads of b that are among the n largest of a, beside random heads.

    Example:
        >>> a, b = (attribution_patch(model, t, "L*H*") for t in (ioi, laundry))
        >>> head_overlap(a, b, n=27)

    Args:
        a: Scores by layer and head with their examples; heads are ranked by size, whatever the
            sign.
        b: The same for the other task.
        n: Heads per circuit.
        draws: How many random sets, each with as many heads in each layer as b's circuit, drawn
            from all of the layer's heads (a permutation within layers: stricter than one of all
            heads).
        n_boot: How many bootstrap resamples of the examples of a and of b, each apart.
        level: Of the bootstrap interval.
        seed: Draws all of it.

    Returns:
        Share of heads, axis "measure". "overlap": the share of b's heads that a has (the same both
        ways); "low" and "high": its bootstrap interval (a resampled circuit is noisier, so these
        lie low rather than high); "Jaccard": in both, as a share of in either; "by chance", "95 %
        of random sets", "99 % of random sets": mean and percentiles over the random sets. metadata:
        "both" (the heads in both circuits), "drawn" (the overlap of every resample), "random sets"
        (of every set).

    Raises:
        ValueError: If the two are not scores of every head of one model, with examples.

    Reference:
        After Merullo et al. 2024 (arXiv 2310.08744), who do not compare with random heads.
    """
    started = time.perf_counter()
    for name, scores in (("a", a), ("b", b)):
        if (
            scores.dims != ("layer", "head")
            or scores.examples is None
            or np.isnan(scores.values).any()
        ):
            raise ValueError(
                f"{name} is not every head's score with its examples (try attribution_patch(model,"
                " task, 'L*H*'))"
            )
    if a.coords != b.coords:
        raise ValueError("a and b are not scores of the same heads: they must be of one model")
    if not 1 <= n < a.values.size:
        raise ValueError(
            f"n={n}: a circuit has 1 to {a.values.size - 1} of {a.values.size} heads (try n=27)"
        )
    top_a, top_b = _top(a.values.reshape(1, -1), n), _top(b.values.reshape(1, -1), n)
    random = (
        _random_sets(top_a.reshape(a.values.shape), top_b.reshape(a.values.shape), draws, seed) / n
    )
    drawn = (_resampled(a, n, n_boot, seed, 0) & _resampled(b, n, n_boot, seed, 1)).sum(-1) / n
    shared = float((top_a & top_b).sum() / n)
    low, high = np.percentile(drawn, [50 * (1 - level), 100 - 50 * (1 - level)])
    rows = {
        "overlap": shared,
        "low": low,
        "high": high,
        "Jaccard": shared / (2 - shared),
        "by chance": random.mean(),
        "95 % of random sets": np.percentile(random, 95),
        "99 % of random sets": np.percentile(random, 99),
    }
    labels = replace(a, metadata={}).labels()
    metadata = {k: a.metadata[k] for k in ("model", "split") if k in a.metadata}
    metadata |= {
        "method": "overlap",
        "tasks": [x.metadata.get("task", x.name) for x in (a, b)],
        "n": n,
        "draws": draws,
        "seed": seed,
        "prompts": [a.examples.shape[-1], b.examples.shape[-1]],
        "both": [labels[i] for i in np.flatnonzero(top_a & top_b)],
        "drawn": drawn.tolist(),
        "random sets": random.tolist(),
        "seconds": round(time.perf_counter() - started, 2),
    }
    name = f"overlap of the top {n} heads"
    return Result(
        np.array(list(rows.values())),
        ("measure",),
        {"measure": list(rows)},
        name,
        "share of heads",
        metadata,
    )


def attention_times_effect(attention: Result, effect: Result) -> Result:
    """A head's part in a role: what it looks at times what it does, prompt by prompt.

    Large only where a head does both on the same prompts.

    Example:
        >>> looks = attention_between(model, task, "END", "IO")
        >>> attention_times_effect(looks, logit_attribution(model, task)).top(3, by="high")

    Args:
        attention: Attention of every head, from `attention_between`.
        effect: An effect of every head on the same prompts.

    Returns:
        The product on the effect's axes, with its sign and unit, one value per example kept: a head
        that attends by 0.5 counts with half its effect.

    Raises:
        ValueError: If the two have other axes or other prompts.
    """
    pair = (attention.examples, effect.examples)
    if (attention.dims, attention.coords) != (effect.dims, effect.coords):
        raise ValueError(
            f"{attention.name!r} and {effect.name!r} have other axes: both need every head (try"
            " 'L*H*')"
        )
    if any(e is None for e in pair) or pair[0].shape != pair[1].shape:
        raise ValueError(
            "attention and effect need their examples, as many in both: of the same prompts"
        )
    examples = pair[0] * pair[1]
    name, unit = f"{attention.name} x {effect.name}", f"{effect.unit} x {attention.unit}"
    return replace(effect, values=examples.mean(-1), examples=examples, name=name, unit=unit)


def _top(scores: Float[np.ndarray, "row head"], n: int) -> Bool[np.ndarray, "row head"]:
    """Which heads are the n largest in size of each row; of equal ones the first."""
    chosen = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(
        chosen, np.argsort(-np.abs(scores), axis=-1, kind="stable")[:, :n], True, axis=-1
    )
    return chosen


def _random_sets(
    top_a: Bool[np.ndarray, "layer head"],
    top_b: Bool[np.ndarray, "layer head"],
    draws: int,
    seed: int,
) -> Int[np.ndarray, "draw"]:
    """How many of mine each random set holds that has as many heads in each layer as theirs."""
    rng, heads = np.random.default_rng(seed), top_a.shape[1]
    each = zip(top_a.sum(1).tolist(), top_b.sum(1).tolist())
    return sum(
        (rng.hypergeometric(a, heads - a, b, draws) for a, b in each if b),
        np.zeros(draws, dtype=int),
    )


def _resampled(
    scores: Result, n: int, n_boot: int, seed: int, side: int
) -> Bool[np.ndarray, "boot head"]:
    """The circuits of n heads found on prompts drawn with replacement."""
    cells = scores.examples.reshape(scores.values.size, -1)
    size = cells.shape[-1]
    if size < 2:
        raise ValueError(f"{size} example: an interval needs at least two")
    weights = (
        np.random.default_rng([seed, side]).multinomial(size, np.full(size, 1 / size), n_boot)
        / size
    )
    return np.concatenate(
        [_top(weights[i : i + CHUNK] @ cells.T, n) for i in range(0, n_boot, CHUNK)]
    )
