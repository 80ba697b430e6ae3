"""Areas under ROC curves of cells, by hand and against roc, and intervals where cells are tied."""

import numpy as np
import pytest

import interp
from interp.results import Result
from interp.studies import mean_auroc, rank_correlation


def scores(values):
    values = np.asarray(values, dtype=float)
    return Result(
        values, ("layer", "head"), {"layer": [0, 1], "head": [0, 1, 2]}, "scores", "units"
    )


ONE = scores([[5, -4, 3], [2, 1, 0]])


def test_the_area_of_cells_by_hand():
    # known: 5 and 2; others 4 3 1 0: 5 beats four, 2 beats two of four
    truth = ["L0H0", "L1H0"]
    assert interp.methods.circuits.roc_curve(ONE, truth).metadata["auc"] == pytest.approx(6 / 8)
    assert interp.methods.circuits.roc_curve(ONE, truth, absolute=False).metadata[
        "auc"
    ] == pytest.approx(7 / 8)
    got = mean_auroc({"a": [ONE]}, {"a": truth})
    assert got.value == pytest.approx(6 / 8) and got.low <= got.value <= got.high and got.n == 6
    tied = mean_auroc({"a": [ONE], "b": [scores(np.ones((2, 3)))]}, {"a": truth, "b": truth})
    assert tied.value == pytest.approx((6 / 8 + 0.5) / 2)


def test_areas_are_compared_on_the_same_draws():
    truth, other = {"a": ["L0H0", "L0H1"]}, scores([[0, 1, 2], [3, 4, 5]])
    same = mean_auroc({"a": [ONE, ONE]}, truth, against={"a": [ONE]})
    assert (same.value, same.low, same.high) == (0, 0, 0)
    ratio = mean_auroc({"a": [other]}, truth, against={"a": [ONE]}, how="ratio")
    assert ratio.value == ratio.high == 0
    assert mean_auroc({"a": [ONE]}, truth, against={"a": [other]}).value == 1


def test_areas_say_what_is_missing():
    with pytest.raises(ValueError, match="both need the same tasks"):
        mean_auroc({"a": [ONE]}, {"b": ["L0H0"]})
    with pytest.raises(ValueError, match="'L9H9'"):
        mean_auroc({"a": [ONE]}, {"a": ["L9H9"]})
    with pytest.raises(ValueError, match="all or none"):
        mean_auroc({"a": [ONE]}, {"a": []})
    with pytest.raises(ValueError, match="no score"):
        mean_auroc({"a": [scores([[np.nan, 1, 2], [3, 4, 5]])]}, {"a": ["L0H0"]})
    with pytest.raises(ValueError, match="did you mean 'L0H0'|L9H9"):
        interp.methods.circuits.roc_curve(ONE, ["L9H9"])


def test_cells_that_are_tied_are_drawn_together():
    """Three copies of each cell say no more than one: the interval is that of the single cells."""

    def row(values):
        coords = {"layer": [0], "head": list(range(values.size))}
        return Result(values, ("layer", "head"), coords, "scores", "units")

    values = np.random.default_rng(1).random((1, 12))
    one, copies = row(values), row(np.repeat(values, 3, axis=1))
    labels = list(one.labels())
    truth = [labels[k] for k in (0, 3, 5)]
    three = [label for k in (0, 3, 5) for label in list(copies.labels())[3 * k : 3 * k + 3]]
    single = mean_auroc({"a": [one]}, {"a": truth})
    tied = mean_auroc({"a": [copies]}, {"a": three}, together=3)
    assert (tied.value, tied.low, tied.high, tied.n) == pytest.approx(
        (single.value, single.low, single.high, single.n)
    )
    loose = mean_auroc({"a": [copies]}, {"a": three})
    assert loose.high - loose.low < tied.high - tied.low and loose.n == 36
    with pytest.raises(ValueError, match="together=5"):
        mean_auroc({"a": [one]}, {"a": truth}, together=5)


def test_correlations_of_tied_heads_are_over_groups():
    """Three copies of each head: the interval of the single heads, not a narrower one."""
    a, b = np.random.default_rng(2).random((2, 20))
    single = rank_correlation(a, b)
    three = [np.repeat(x, 3) for x in (a, b)]
    tied, loose = rank_correlation(*three, together=3), rank_correlation(*three)
    assert (tied.value, tied.low, tied.high, tied.n) == pytest.approx(
        (single.value, single.low, single.high, 20)
    )
    assert loose.high - loose.low < tied.high - tied.low and loose.n == 60
    with pytest.raises(ValueError, match="together=7"):
        rank_correlation(*three, together=7)
