"""How well scores tell known cells from the others: the area under the ROC curve, over tasks and
seeds, with its interval.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from interp._stats import auroc
from interp.studies.verdict_rules import Measured

Scores = Mapping[str, Sequence[object]]  # task -> a Result of every cell for each seed
COMPARED = ("difference", "ratio")


def mean_auroc(
    found: Scores,
    truth: Mapping[str, Sequence[str]],
    *,
    against: Scores | None = None,
    how: str = "difference",
    together: int = 1,
    n_boot: int = 500,
    seed: int = 0,
) -> Measured:
    """The area under the ROC curve, averaged over tasks and seeds, or how two areas compare.

    Example:
        >>> mean_auroc({"ioi": [scores]}, {"ioi": ["L23H3", "L29H1"]}).value
        >>> mean_auroc(codes, truth, against=norms)     # above zero: the codes rank better

    Args:
        found: For each task the scores of the same cells, one Result per seed, ranked by size.
        truth: For each task the labels of the cells that belong to the truth.
        against: Other scores of the same cells, to compare with.
        how: "difference" or "ratio" of the two areas.
        together: How many neighbouring cells are drawn together: 3 where three heads share their
            keys and values, so that they are not independent.
        n_boot: How many bootstrap draws.
        seed: Which draws.

    Returns:
        An area between 0 and 1 (0.5 is guessing), or the comparison. For the interval, true and
        other cells are drawn separately in each task, the same for both scores, and so are the
        seeds. n is the number of cells, or of groups of them, of all tasks.

    Raises:
        ValueError: If `how` is unknown, cells do not fall into groups of `together`, or scores and
            truth do not belong to the same tasks.
    """
    if how not in COMPARED:
        raise ValueError(f"how={how!r}: two areas are compared by 'difference' or 'ratio'")
    sides = [_sizes(found, truth)] + ([] if against is None else [_sizes(against, truth)])
    known = {task: np.isin(list(found[task])[0].labels(), list(truth[task])) for task in found}
    if uneven := [task for task, yes in known.items() if together < 1 or len(yes) % together]:
        raise ValueError(
            f"together={together}: the {len(known[uneven[0]])} cells of {uneven[0]} do not fall"
            " into groups of as many"
        )
    rng = np.random.default_rng(seed)
    value = _compared(sides, known, how)
    drawn = [_compared(*_again(sides, known, rng, together), how) for _ in range(n_boot)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    n = sum(len(k) // together for k in known.values())
    return Measured(value, float(low), float(high), n)


def _sizes(found: Scores, truth: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """Each task's scores in size [seed cell]."""
    if set(found) != set(truth) or not found:
        raise ValueError(
            f"scores of {', '.join(found) or 'no task'} and truth of"
            f" {', '.join(truth) or 'no task'}: both need the same tasks"
        )
    out = {}
    for task, many in found.items():
        some = list(many)
        unknown = set(truth[task]) - set(some[0].labels())
        if unknown or not 0 < len(set(truth[task])) < some[0].values.size:
            raise ValueError(
                f"{task}: the truth is some cells of the scores, not"
                f" {'all or none' if not unknown else sorted(unknown)[0]!r}"
            )
        out[task] = np.abs(np.stack([one.values.ravel() for one in some]))
        if np.isnan(out[task]).any():
            raise ValueError(f"{task}: a cell has no score (NaN), and every cell needs one")
    return out


def _again(
    sides: list[dict[str, np.ndarray]],
    known: dict[str, np.ndarray],
    rng: np.random.Generator,
    together: int = 1,
) -> tuple[list, dict]:
    """The same with groups of cells and seeds drawn anew; groups with a true cell stay as many."""
    drawn, sorts = [{} for _ in sides], {}
    for task, yes in known.items():
        some = yes.reshape(-1, together).any(1)
        groups = np.concatenate(
            [rng.choice(np.flatnonzero(part), int(part.sum())) for part in (some, ~some)]
        )
        cells = (groups[:, None] * together + np.arange(together)).ravel()
        sorts[task] = yes[cells]
        for out, side in zip(drawn, sides):
            seeds = rng.integers(0, len(side[task]), len(side[task]))
            out[task] = side[task][seeds][:, cells]
    return drawn, sorts


def _compared(sides: list[dict[str, np.ndarray]], known: dict[str, np.ndarray], how: str) -> float:
    means = [
        np.mean([np.mean([auroc(row, known[task]) for row in rows]) for task, rows in side.items()])
        for side in sides
    ]
    if len(means) == 1:
        return float(means[0])
    return float(means[0] - means[1] if how == "difference" else means[0] / means[1])
