"""Pictures: they say name and unit, centre diverging data on zero, mark cells, and show nothing by
themselves.
"""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import interp
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
    assert (
        len(ax.lines) >= 1
        and len(ax.collections) == 1
        and ax.get_ylabel() == "logits"
        and ax.get_xlabel() == "layer"
    )
    ax = result(examples.mean(-1), ("site",), {"site": list("abcde")}, examples).plot()
    assert len(ax.patches) == 5 and [t.get_text() for t in ax.get_xticklabels()] == list("abcde")


def test_three_axes_make_small_multiples_with_one_scale():
    axes = result(
        np.random.default_rng(0).normal(size=(3, 4, 2)),
        ("score", "layer", "head"),
        {"score": ["a", "b", "c"]},
    ).plot()
    assert [ax.get_title() for ax in axes] == ["a", "b", "c"]
    assert len({ax.images[0].get_clim() for ax in axes}) == 1


def test_tokens_are_legible_labels():
    ax = result(
        np.zeros((2, 3)), ("layer", "pos"), {"pos": ["0 <|im_start|>", "1 The", "2 dog (S1)"]}
    ).plot()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0 <|im_start|>", "1 The", "2 dog (S1)"]
    assert ax.get_xlabel() == "token" and not ax.yaxis.get_inverted()


def test_drawing_into_given_axes_and_png_without_pyplot():
    _, mine = plt.subplots()
    assert result(np.zeros((2, 2)), ("layer", "head")).plot(ax=mine) is mine
    before = plt.get_fignums()
    r = result(np.zeros((2, 2)), ("layer", "head"))
    one, two = plots.png(r._picture()), plots.png(r._picture())
    assert one == two and one[:4] == b"\x89PNG" and plt.get_fignums() == before


def test_what_one_picture_cannot_hold_shows_its_strongest_cells():
    values = np.zeros((13, 3, 4))
    values[12, 1, 2], values[0, 0, 0] = -5, 3
    for shape, dims in (((13, 3, 4), ("score", "layer", "head")), ((13, 3, 2, 2), "abcd")):
        ax = result(values.reshape(shape), tuple(dims)).plot()
        assert len(ax.patches) == 20 and f"the 20 strongest of {values.size}" in ax.get_title()
        assert [bar.get_width() for bar in ax.patches[:2]] == [-5, 3]
    edges = result(np.eye(30), ("sender", "receiver"))
    assert (
        plots.crowded(edges.dims, edges.coords) and "the 20 strongest" in edges.plot().get_title()
    )
    assert not plots.crowded(("layer", "head"), {"layer": range(30), "head": range(9)})


def test_a_picture_on_the_page_says_each_cell_where_the_pointer_is():
    page = result(np.arange(6.0).reshape(2, 3), ("layer", "head"))._repr_html_()
    assert page.count("<i ") == 6 and 'title="L1H2: 5 logits"' in page
    panels = result(np.arange(12.0).reshape(2, 2, 3), ("task", "layer", "head"))._repr_html_()
    assert panels.count("<i ") == 12 and panels.count(": 11 logits") == 1
    assert page.count('tabindex="-1"') == 6 and "focus::after" in page  # a click keeps it
    assert "data-jp-theme-light=false" in page  # dark with the theme


def test_the_largest_cells_of_a_map_carry_their_address():
    values = np.zeros((30, 9))
    values[20, 0], values[3, 8] = 4, -2
    texts = [t.get_text() for t in result(values, ("layer", "head")).plot().texts]
    assert texts == ["L20H0", "L3H8"]


def test_axes_print_nothing_above_their_figure():
    one = result(np.zeros((3, 4)), ("layer", "head")).plot()
    many = result(np.zeros((3, 4, 2)), ("score", "layer", "head")).plot()
    assert one._ipython_display_() is None and many._ipython_display_() is None


def test_a_figure_for_a_paper_has_vector_text_and_a_columns_width(tmp_path):
    wide = result(np.arange(270.0).reshape(30, 9), ("layer", "head"))
    pdf = wide.savefig(tmp_path / "map.pdf").read_bytes()
    assert b"/Type3" not in pdf and b"/CIDFontType2" in pdf
    svg = wide.savefig(tmp_path / "map.svg", width="page").read_text()
    assert 'width="486pt"' in svg and ">layer</text>" in svg  # 6.75 inches of 72 points
    with pytest.raises(ValueError, match="width='column'"):
        wide.savefig(tmp_path / "map.pdf", width="colum")


def test_points_far_out_are_named():
    ax = plots.scatter(
        np.array([0.0, 0.1, 5.0]),
        np.array([0.0, 0.1, 5.0]),
        ["a", "b", "far"],
        x_name="x",
        y_name="y",
        title="t",
        top=1,
    )
    assert [t.get_text() for t in ax.texts] == ["far"]


def test_names_of_points_do_not_cover_each_other():
    x, y = np.array([1.0, 1.0, 0.99, 0.5, *[0.0] * 30]), np.array([1.0, 1.0, 1.0, 0.5, *[0.0] * 30])
    ax = plots.scatter(
        x, y, [f"L{i}H{i}" for i in range(34)], x_name="x", y_name="y", title="t", top=4
    )
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == ["L0H0", "L1H1", "L2H2", "L3H3"]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    crowd = plots.scatter(
        np.ones(40), np.ones(40), ["L10H10"] * 40, x_name="x", y_name="y", title="t", top=40
    )
    assert 1 <= len(crowd.texts) <= 6


def texts(legend):
    return [t.get_text() for t in legend.get_texts()]


def test_a_few_names_by_layer_are_lines_with_bands():
    examples = np.random.default_rng(0).normal(size=(2, 5, 20))
    ax = result(
        examples.mean(-1), ("name", "layer"), {"name": ["answer", "wrong"]}, examples
    ).plot()
    assert (
        texts(ax.get_legend()) == ["answer", "wrong", "95 % interval"]
        and ax.get_xlabel() == "layer"
    )
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), examples[1].mean(-1))
    assert (
        plots.kind(["name", "layer"], {"name": list("abcdefghi"), "layer": range(3)}) == "map"
    )  # nine are too many
    assert plots.kind(["pos", "layer"], {"pos": ["0 a"], "layer": range(3)}) == "map"


def test_losses_by_step_are_lines_and_named_steps_are_bars():
    assert plots.kind(["fit", "step"], {"fit": ["das"], "step": [1, 2, 3]}) == "lines"
    assert plots.kind(["step"], {"step": [1, 2, 3]}) == "lines"
    assert plots.kind(["step"], {"step": ["L9H1", "L2H0"]}) == "bars"


@pytest.mark.parametrize("names", [[f"L2{i}H{i}" for i in range(8)], ["prose", "random tokens"]])
def test_bars_have_room_for_their_labels_and_a_title_of_one_line(names):
    values = np.linspace(-0.3, 0.4, len(names))
    title = "The marked heads in other texts: prose minus code"
    interval = values - 0.1, values + 0.1
    ax = plots.bars(values, names, title=title, unit="share of attention", interval=interval)
    ax.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:]))
    assert ax.get_title() == title
    assert ax.title.get_window_extent().x0 >= 0


def test_whiskers_end_where_the_interval_ends():
    ax = plots.bars(
        np.array([1.0, 2.0]),
        ["a", "b"],
        title="t",
        unit="u",
        interval=(np.array([0.5, 1.9]), np.array([1.2, 2.7])),
    )
    whiskers = [segment[:, 1].tolist() for segment in ax.collections[0].get_segments()]
    np.testing.assert_allclose(whiskers, [[0.5, 1.2], [1.9, 2.7]])
    assert texts(ax.get_legend()) == ["95 % interval"]


def test_panels_carry_marks_one_colour_bar_and_the_unit():
    values = np.zeros((2, 4, 3))
    values[1] = np.nan
    axes = result(values, ("score", "layer", "head"), {"score": ["a", "b"]}).plot(
        marks={"mover": [("a", 3, 1)]}
    )
    assert [(p.get_x(), p.get_y()) for p in axes[0].patches] == [(2.5, 0.5)] and not axes[1].patches
    assert [a.get_ylabel() for a in axes[0].figure.axes if a not in list(axes)] == ["logits"]
    assert texts(axes[1].get_legend()) == ["does not apply"]


def test_small_maps_carry_their_numbers():
    few = result(
        [[1.0, np.nan], [0.25, 3.0]],
        ("measure", "prompts"),
        {"measure": ["a", "b"], "prompts": ["clean", "corrupted"]},
    )
    assert [t.get_text() for t in few.plot().texts] == ["1", "0.25", "3"]
    assert not result(np.zeros((30, 9)), ("layer", "head")).plot().texts


def test_colours_cover_the_values_when_told_not_to_centre():
    ax = result([[-3.0, 1.0]], ("layer", "head")).plot(centred=False)
    assert ax.images[0].get_clim() == (-3.0, 1.0) and ax.images[0].get_cmap().name == "viridis"
    assert result([[0.0, 0.0]], ("layer", "head")).plot().images[0].get_clim() == (0.0, 1.0)


def test_attention_says_who_attends_to_whom():
    tokens = {"dest": ["0 a", "1 b"], "src": ["0 a", "1 b"]}
    ax = result(np.eye(2), ("dest", "src"), tokens).plot()
    assert (ax.get_ylabel(), ax.get_xlabel()) == (
        "attends from",
        "attends to",
    ) and ax.yaxis.get_inverted()
    assert (
        result(np.eye(2), ("layer", "pos")).plot().get_xlabel() == "position"
    )  # numbers, no tokens


def test_long_titles_wrap_and_many_ticks_thin():
    r = Result(
        np.zeros((64, 4)),
        ("layer", "head"),
        {"layer": list(range(64)), "head": list(range(4))},
        "a long name " * 20,
        "u",
    )
    ax = r.plot()
    assert "\n" in ax.get_title() and len(ax.get_xticks()) <= 16


@pytest.mark.parametrize("labels", [["0 <|im_start|>", "1 Mary (IO)", "2 and"] * 5, list("abcde")])
def test_nothing_is_cut_off(labels):
    r = result(np.zeros((30, len(labels))), ("layer", "pos"), {"pos": labels})
    ax = r.plot(marks={"mover": [(3, labels[1])]})
    ax.figure.canvas.draw()
    inside, page = ax.figure.get_tightbbox(), ax.figure.get_size_inches()
    assert inside.x0 >= 0 and inside.y0 >= 0 and inside.x1 <= page[0] and inside.y1 <= page[1]
    assert not ax.get_legend().get_window_extent().overlaps(ax.xaxis.label.get_window_extent())


def test_a_result_on_the_page_leaves_pyplot_alone():
    before = plt.get_fignums()
    result(np.zeros((3, 4, 2)), ("score", "layer", "head"))._repr_html_()
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    "shape, dims, options, says",
    [
        ((2,), ("layer",), {"marks": {"a": [(1,)]}}, "outline the cells of a map"),
        ((2, 2, 2), ("score", "layer", "head"), {"ax": "mine"}, "figure of their own"),
        ((0,), ("layer",), {}, "has no cells"),
    ],
)
def test_wrong_input_is_one_sentence(shape, dims, options, says):
    with pytest.raises(ValueError, match=says):
        result(np.zeros(shape), dims).plot(**options)


def test_dollars_in_tokens_are_drawn_as_they_are():
    """matplotlib reads what stands between two of them as a formula: a token need not be one."""
    words = ["0 $$", "1 x$y$", "2 $a_b^{", "3 \\$", "4 $"]
    coords = {"dest": words, "src": words}
    result = interp.Result(np.arange(25.0).reshape(5, 5), ("dest", "src"), coords, "x", "share")
    ax = result.plot()
    ax.figure.canvas.draw()  # a broken formula raises here
    shown = [label._preprocess_math(label.get_text()) for label in ax.get_xticklabels()]
    assert shown == [(word, False) for word in words]
    row = result.sel(dest="2 $a_b^{").plot()
    row.figure.canvas.draw()
    assert row.title._preprocess_math(row.get_title())[0].endswith("2 $a_b^{")


def test_lines_with_logarithmic_axes_show_their_places_and_a_guide():
    widths, loss = [10, 20, 40], [4e-3, 2e-3, 1e-3]
    ax = plots.lines(
        [loss, loss],
        widths,
        names=["a", "b"],
        colours=["#0072b2", "#d55e00"],
        log="xy",
        guide=(loss, "1/m"),
        x_name="width",
        title="t",
        unit="loss",
    )
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["10", "20", "40"]
    assert [line.get_label() for line in ax.get_lines()] == ["a", "b", "1/m"]
    assert [line.get_color() for line in ax.get_lines()[:2]] == ["#0072b2", "#d55e00"]
    with pytest.raises(ValueError, match="log='z'"):
        plots.lines(loss, widths, log="z", x_name="", title="", unit="")
    with pytest.raises(ValueError, match="above 0"):
        plots.lines(loss, [-1, 0, 0], log="x", x_name="", title="", unit="")
