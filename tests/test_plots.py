"""Pictures: they say name and unit, centre diverging data on zero, mark cells, and show nothing by themselves."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from interp import plots
from interp.results import Result


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def result(values, dims, labels=None, examples=None):
    values = np.asarray(values, float)
    coords = {d: (labels or {}).get(d, list(range(n))) for d, n in zip(dims, values.shape)}
    return Result(values, dims, coords, "effect", "logits", {"pattern": "L*H*"}, examples)


def colour_bar(ax):
    return next(a for a in ax.figure.axes if a is not ax and a.get_ylabel())


def test_a_map_names_its_axes_and_unit():
    ax = result(np.arange(6.0).reshape(3, 2), ("layer", "head")).plot()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("layer", "head") and ax.get_title() == "effect"
    assert colour_bar(ax).get_ylabel() == "logits"
    np.testing.assert_array_equal(ax.images[0].get_array(), np.arange(6.0).reshape(3, 2).T)


def test_signed_values_are_centred_on_zero_and_others_are_not():
    signed = result([[-1.0, 0.5], [0.0, 3.0]], ("layer", "head")).plot().images[0]
    assert signed.get_clim() == (-3.0, 3.0) and signed.get_cmap().name.startswith("RdBu")
    positive = result([[1.0, 0.5], [0.0, 3.0]], ("layer", "head")).plot().images[0]
    assert positive.get_clim() == (0.0, 3.0) and positive.get_cmap().name == "viridis"


def test_missing_cells_are_grey_and_said():
    ax = result([[1.0, np.nan], [0.0, 3.0]], ("layer", "head")).plot()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["does not apply"]


def test_marks_outline_the_right_cells():
    ax = result(np.zeros((4, 3)), ("layer", "head")).plot(marks={"mover": [(3, 1)]})
    (box,) = ax.patches
    assert (box.get_x(), box.get_y()) == (2.5, 0.5)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["mover"]


def test_a_line_has_its_band_and_a_bar_its_whisker():
    examples = np.random.default_rng(0).normal(size=(5, 20))
    ax = result(examples.mean(-1), ("layer",), examples=examples).plot()
    assert len(ax.lines) >= 1 and len(ax.collections) == 1 and ax.get_ylabel() == "logits" and ax.get_xlabel() == "layer"
    ax = result(examples.mean(-1), ("site",), {"site": list("abcde")}, examples).plot()
    assert len(ax.patches) == 5 and [t.get_text() for t in ax.get_xticklabels()] == list("abcde")


def test_three_axes_make_small_multiples_with_one_scale():
    axes = result(np.random.default_rng(0).normal(size=(3, 4, 2)), ("score", "layer", "head"), {"score": ["a", "b", "c"]}).plot()
    assert [ax.get_title() for ax in axes] == ["a", "b", "c"]
    assert len({ax.images[0].get_clim() for ax in axes}) == 1


def test_tokens_are_legible_labels():
    ax = result(np.zeros((2, 3)), ("layer", "pos"), {"pos": ["0 <|im_start|>", "1 The", "2 dog (S1)"]}).plot()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0 <|im_start|>", "1 The", "2 dog (S1)"]
    assert ax.get_xlabel() == "token" and not ax.yaxis.get_inverted()


def test_drawing_into_given_axes_and_png_without_pyplot():
    _, mine = plt.subplots()
    assert result(np.zeros((2, 2)), ("layer", "head")).plot(ax=mine) is mine
    before = plt.get_fignums()
    r = result(np.zeros((2, 2)), ("layer", "head"))
    one, two = plots.png(r._picture()), plots.png(r._picture())
    assert one == two and one[:4] == b"\x89PNG" and plt.get_fignums() == before


def test_too_much_for_one_picture_is_said():
    with pytest.raises(ValueError, match=r"choose with \.sel"):
        result(np.zeros((2, 2, 2, 2)), ("a", "b", "layer", "head")).plot()
    with pytest.raises(ValueError, match="too many"):
        result(np.zeros((13, 2, 2)), ("score", "layer", "head")).plot()


def test_points_far_out_are_named():
    ax = plots.scatter(np.array([0.0, 0.1, 5.0]), np.array([0.0, 0.1, 5.0]), ["a", "b", "far"], x_name="x", y_name="y", title="t", top=1)
    assert [t.get_text() for t in ax.texts] == ["far"]
