"""What the study of knowledge conflicts needs: prompts by label, intervals over groups, the size of
the largest cells.
"""

import numpy as np
import pytest

import interp
from interp.results import Result
from interp.studies import measured, quantile_of_cells


def test_prompts_are_chosen_by_a_label(tiny):
    task = interp.tasks.conflict(tiny, n=12)
    some = sorted(set(task.labels["country"]))[:2]
    kept = task.having("country", some)
    at = [i for i, country in enumerate(task.labels["country"]) if country in some]
    assert (kept.clean == task.clean[at]).all() and set(kept.labels["country"]) == set(some)
    assert kept.labels["told"] == [task.labels["told"][i] for i in at]
    with pytest.raises(ValueError, match="did you mean 'country'"):
        task.having("countri", some)
    with pytest.raises(ValueError, match="no examples are left"):
        task.having("country", ["Atlantis"])


def test_groups_are_drawn_whole():
    twice = np.repeat([1.0, 2.0, 4.0, 5.0], 2)
    got, single = measured(twice, groups=list("aabbccdd")), measured(twice[::2])
    assert got.n == 4 and got.value == single.value == 3
    assert (got.low, got.high) == pytest.approx((single.low, single.high), abs=0.3)
    plain = measured(twice)
    assert got.high - got.low > plain.high - plain.low  # copies are no more observations
    alone = measured(twice, groups=range(8))
    assert alone.n == 8 and (alone.low, alone.high) == pytest.approx(
        (plain.low, plain.high), abs=0.3
    )
    uneven = measured([0.0, 0.0, 0.0, 4.0], groups=list("aaab"))
    assert (uneven.value, uneven.low, uneven.high, uneven.n) == (
        1.0,
        0.0,
        4.0,
        2,
    )  # the value is that of all examples
    rows = measured(
        np.stack([twice, 2 * twice], -1),
        lambda r: r[:, 1].mean() / r[:, 0].mean(),
        groups=list("aabbccdd"),
    )
    assert (rows.value, rows.low, rows.high) == (2, 2, 2)


@pytest.mark.parametrize(
    "groups, says", [(["a"] * 4, "one group"), (["a", "b"], "2 group labels for 4")]
)
def test_groups_must_fit(groups, says):
    with pytest.raises(ValueError, match=says):
        measured([1, 2, 3, 4], groups=groups)


def test_the_size_of_the_largest_cells():
    means = np.array([*range(1, 100), -100.0])  # 100 cells, the largest below zero
    scores = Result(
        means,
        ("set",),
        {"set": [f"L{i}H0" for i in range(100)]},
        "effects",
        "logits",
        {},
        np.repeat(means[:, None], 3, 1),
    )
    got = quantile_of_cells(scores, quantile=0.99)
    assert (
        got.value == pytest.approx(np.quantile(np.abs(means), 0.99))
        and got.low == got.high == got.value
    )
    assert quantile_of_cells(scores, quantile=1.0).value == 100
    mixed = np.stack([means, -means], -1)  # examples that cancel: a cell's size is that of its mean
    cancelled = Result(mixed.mean(-1), scores.dims, scores.coords, "effects", "logits", {}, mixed)
    assert quantile_of_cells(cancelled).value == 0
    with pytest.raises(ValueError, match="no cells with examples"):
        quantile_of_cells(Result(means, scores.dims, scores.coords, "effects", "logits", {}))
