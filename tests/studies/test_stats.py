"""Areas under ROC curves of cells: by hand, and against roc."""

import numpy as np
import pytest

import interp
from interp.results import Result
from interp.studies import mean_auroc


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
