"""Results: selecting, averaging, intervals worked out by hand, ranking, and a round trip to
disk.
"""

import json

import numpy as np
import pytest

from interp._stats import bootstrap
from interp.results import Result, mean_of

RNG = np.random.default_rng(0)
EXAMPLES = RNG.normal(size=(3, 4, 20))


@pytest.fixture
def result():
    coords = {"layer": [0, 1, 2], "head": [0, 1, 2, 3]}
    return Result(
        EXAMPLES.mean(-1),
        ("layer", "head"),
        coords,
        "effect",
        "logits",
        {"pattern": "L*H*", "n": 20},
        EXAMPLES,
    )


def test_selecting_by_label(result):
    one = result.sel(layer=2, head=1)
    assert one.dims == () and one.values == EXAMPLES[2, 1].mean()
    np.testing.assert_array_equal(one.examples, EXAMPLES[2, 1])
    some = result.sel(layer=[2, 0])
    assert some.coords["layer"] == [2, 0]
    np.testing.assert_array_equal(some.values, result.values[[2, 0]])
    np.testing.assert_array_equal(
        result.sel(head=3).sel(layer=1).values, result.sel(layer=1).sel(head=3).values
    )


def test_averages_and_sums_keep_examples_apart(result):
    np.testing.assert_allclose(result.mean("head").examples, EXAMPLES.mean(1))
    np.testing.assert_allclose(result.sum("layer").values, result.values.sum(0))
    assert result.mean().dims == () and float(result.mean().values) == pytest.approx(
        EXAMPLES.mean()
    )


def test_labels_fill_the_stars(result):
    assert result.labels()[5] == "L1H1"
    assert result.sel(layer=2).labels() == ["L2H0", "L2H1", "L2H2", "L2H3"]
    lying = Result(
        np.zeros((2, 2)),
        ("layer", "pos"),
        {"layer": [0, 1], "pos": ["0 The", "1 dog"]},
        "x",
        "u",
        {"pattern": "resid_pre.*@*"},
    )
    assert lying.labels() == ["resid_pre.0@0", "resid_pre.0@1", "resid_pre.1@0", "resid_pre.1@1"]


def test_top_ranks_and_leaves_out_what_does_not_apply(result):
    order = np.argsort(-np.abs(result.values).ravel())
    assert result.top(3).labels == [result.labels()[i] for i in order[:3]]
    assert result.top(1, by="low").rows[0][1] == result.values.min()
    holes = Result(np.array([1.0, np.nan, -3.0]), ("layer",), {"layer": [0, 1, 2]}, "x", "u")
    assert [row[1] for row in holes.top(5)] == [-3.0, 1.0]


def test_picking_and_marking_cells(result):
    chosen = result.pick(["L2H1", "L0H3"])
    np.testing.assert_array_equal(chosen.values, [result.values[2, 1], result.values[0, 3]])
    assert chosen.dims == ("site",) and result.cells(["L2H1"]) == [(2, 1)]
    assert chosen.sum().values == pytest.approx(result.values[2, 1] + result.values[0, 3])


def test_differences_are_paired(result):
    zero = result - result
    assert zero.examples is not None and not zero.examples.any()
    with pytest.raises(ValueError, match="other axes or units"):
        result - result.mean("head")


def test_a_number_less_a_result_is_what_is_missing(result):
    missing = 1 - result
    np.testing.assert_allclose(missing.examples, 1 - result.examples)
    np.testing.assert_allclose(missing.values, 1 - result.values)
    assert missing.unit == result.unit and missing.name.startswith("1 minus ")


def test_average_of_results(result):
    np.testing.assert_allclose(mean_of([result, result]).examples, result.examples)
    with pytest.raises(ValueError, match="same axes"):
        mean_of([result, result.mean("head")])
    with pytest.raises(ValueError, match="at least one"):
        mean_of([])


# --- intervals ------------------------------------------------------------------------------------


def test_constant_examples_have_no_width():
    low, high = bootstrap(np.full((2, 9), 3.5))
    np.testing.assert_allclose([low, high], 3.5)


def test_two_examples_by_hand():
    """Means of two draws from {0, 1} are 0, 1/2, 1 with 1/4, 1/2, 1/4: the middle half is 0 to 1 at
    95 %.
    """
    low, high = bootstrap(np.array([0.0, 1.0]), level=0.95, n_boot=4000)
    assert (low, high) == (0.0, 1.0)
    low, high = bootstrap(np.array([0.0, 1.0]), level=0.4, n_boot=4000)
    assert (low, high) == (0.5, 0.5)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    samples = np.random.default_rng(1).normal(size=(400, 30))
    low, high = bootstrap(samples)
    assert 0.88 < ((low < 0) & (0 < high)).mean() < 0.98


def test_intervals_agree_with_resampling_one_by_one():
    x = RNG.normal(size=25)
    rng = np.random.default_rng(5)
    slow = np.percentile([rng.choice(x, 25).mean() for _ in range(4000)], [2.5, 97.5])
    np.testing.assert_allclose(bootstrap(x, n_boot=4000), slow, atol=0.05)


def test_intervals_are_seeded(result):
    np.testing.assert_array_equal(result.ci(seed=3), result.ci(seed=3))
    assert not np.array_equal(result.ci(seed=3), result.ci(seed=4))


# --- on disk and on the page ----------------------------------------------------------------------


def test_a_saved_result_comes_back(result, tmp_path):
    back = Result.load(result.save(tmp_path / "deep" / "x.npz"))
    for field in ("dims", "coords", "name", "unit", "metadata"):
        assert getattr(back, field) == getattr(result, field)
    np.testing.assert_array_equal(back.values, result.values)
    np.testing.assert_array_equal(back.examples, result.examples)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["x.npz"]


def test_a_failed_save_leaves_the_old_file(result, tmp_path, monkeypatch):
    path = result.save(tmp_path / "x.npz")
    before = path.read_bytes()
    monkeypatch.setattr(
        "interp._store.os.replace", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        result.mean().save(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["x.npz"]


def test_what_is_not_ours_is_refused(tmp_path, result):
    (tmp_path / "x.npz").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="not a result saved by interp"):
        Result.load(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", values=np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="not a result"):
        Result.load(tmp_path / "y.npz")
    header = np.frombuffer(json.dumps({"schema": 99}).encode(), np.uint8)
    np.savez(tmp_path / "z.npz", header=header, values=np.zeros(1))
    with pytest.raises(ValueError, match="another version"):
        Result.load(tmp_path / "z.npz")
    with pytest.raises(ValueError, match="try 'x.npz'"):
        result.save(tmp_path / "x.pkl")


def test_a_table_has_a_row_per_cell(result):
    frame = result.to_frame()
    assert len(frame) == 12 and list(frame.columns) == [
        "site",
        "layer",
        "head",
        "effect",
        "low",
        "high",
    ]
    assert frame.attrs["unit"] == "logits" and frame.loc[5, "site"] == "L1H1"


def test_every_result_says_its_name_and_unit(result):
    for r in (result, result.mean("head"), result.mean()):
        assert "effect" in repr(r) and "logits" in repr(r)
        assert "effect" in r._repr_html_() and "logits" in r._repr_html_()
    assert "base64" in result._repr_html_() and "seconds" not in result._repr_html_()


def test_a_printed_result_says_what_it_leaves_out_and_keeps_the_order_of_a_short_axis(result):
    assert repr(result).splitlines()[-1].startswith("5 of 12, the largest")
    layers = Result(np.array([0.1, 3.0, -2.0] * 3), ("layer",), {"layer": list(range(9))}, "x", "u")
    rows = repr(layers).splitlines()[2:]
    assert [row.split()[0] for row in rows] == [f"layer={i}" for i in range(9)]


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda r: r.sel(layers=1), "did you mean 'layer'"),
        (lambda r: r.sel(layer=7), "unknown layer 7"),
        (lambda r: r.mean("heads"), "did you mean 'head'"),
        (lambda r: r.top(3, by="hi"), "did you mean 'high'|unknown way to rank"),
        (lambda r: r.pick(["L9H9"]), "unknown cell 'L9H9'"),
        (lambda r: Result(1.0, (), {}, "x", "u").ci(), "kept no examples"),
        (lambda r: r.ci(level=95), "between 0 and 1"),
        (lambda r: Result(np.zeros(3), ("layer",), {"layer": [0, 1]}, "x", "u"), "do not fit"),
        (lambda r: Result(np.zeros(3), ("layer",), {}, "x", "u"), "do not fit"),
        (
            lambda r: Result(
                np.zeros(2), ("layer",), {"layer": [0, 1]}, "x", "u", {}, np.ones((2, 5))
            ),
            "must be the mean",
        ),
        (
            lambda r: Result(
                np.zeros(2), ("layer",), {"layer": [0, 1]}, "x", "u", {}, np.ones((3, 5))
            ),
            "need shape",
        ),
        (lambda r: bootstrap(np.zeros((2, 1))), "at least two examples"),
        (lambda r: Result(1.0, (), {}, "x", "u").plot(), "single number"),
    ],
)
def test_wrong_input_is_one_sentence(result, call, says):
    with pytest.raises(ValueError, match=says):
        call(result)


# --- equality, names of places, and what JSON can say ---------------------------------------------


def test_equality_is_what_the_file_would_say(result, tmp_path):
    metadata = {
        "pattern": "L*H*",
        "n": np.int64(20),
        "even": {"a": np.float32(0.5)},
        "order": ("ABBA", "BABA"),
        3: np.arange(2),
    }
    holes = Result(
        np.array([1.0, np.nan]), ("layer",), {"layer": list(np.arange(2))}, "x", "u", metadata
    )
    for r in (result, result.mean(), result.sel(layer=1), holes):
        assert Result.load(r.save(tmp_path / "r.npz")) == r
    changed = Result(
        result.values,
        result.dims,
        result.coords,
        "effect",
        "fraction",
        result.metadata,
        result.examples,
    )
    without = Result(result.values, result.dims, result.coords, "effect", "logits", result.metadata)
    for other in (changed, without, result.mean("head"), result - result, "a word"):
        assert result != other


def test_a_file_says_who_wrote_it(result, tmp_path):
    from interp import __version__

    with np.load(result.save(tmp_path / "r.npz"), allow_pickle=False) as file:
        assert json.loads(bytes(file["header"]))["interp"] == __version__


def test_a_position_by_name_number_or_label():
    pos = ["0 <|im_start|>", "1 (S1)", "2 dog (S1)", "3 to (X) (END)"]
    r = Result(np.arange(4.0), ("pos",), {"pos": pos}, "x", "u", {"pattern": "resid_pre.3@*"})
    assert [float(r.sel(pos=p).values) for p in ("END", "X", 3, "S1", "1", "2 dog (S1)")] == [
        3,
        3,
        3,
        2,
        1,
        2,
    ]
    assert r.sel(pos=["S1", 0]).coords["pos"] == [
        pos[2],
        pos[0],
    ]  # a token that looks like a name is none
    assert r.sel(pos="END").labels() == ["resid_pre.3@3"]
    with pytest.raises(ValueError, match="unknown pos 'S9'"):
        r.sel(pos="S9")


def test_numbers_of_several_units_are_not_ranked_together():
    units = {"units": {"clean": "logits", "faithful": "fraction", "random": "fraction"}}
    mixed = Result([4.0, 0.9, 0.2], ("score",), {"score": [*units["units"]]}, "e", "logits", units)
    with pytest.raises(ValueError, match=r"numbers in logits, fraction.*\.table\(\) shows all"):
        mixed.top(2)
    assert [row[0] for row in mixed.top(3)] == ["clean", "faithful", "random"]  # all of them
    assert mixed.sel(score=["faithful", "random"]).top(1).labels == ["faithful"]


def test_top_and_ci_give_the_same_intervals(result):
    low, high = result.ci()
    by_label = dict(zip(result.labels(), zip(low.ravel(), high.ravel())))
    for label, _, *ends in result.top(4):
        np.testing.assert_allclose(ends, by_label[label])


def test_what_is_too_large_to_draw_shows_its_largest_cells():
    coords = {"layer": list(range(30)), "head": list(range(9)), "pos": list(range(4))}
    wide = Result(
        np.random.default_rng(0).normal(size=(30, 9, 4)),
        tuple(coords),
        coords,
        "effect",
        "logits",
        {"pattern": "L*H*@*"},
    )
    page = wide._repr_html_()
    assert wide.top(1).labels[0] in page and "the 20 strongest of 1,080" in wide.plot().get_title()
    none = Result(np.zeros(0), ("layer",), {"layer": []}, "effect", "logits")
    assert "no cells" in none._repr_html_()


def test_marks_take_labels_and_coordinates(result):
    import matplotlib.pyplot as plt

    def boxes(marks):
        return [(p.get_x(), p.get_y()) for p in result.plot(marks=marks).patches]

    assert boxes({"mover": ["L2H1"]}) == boxes({"mover": [(2, 1)]}) == [(1.5, 0.5)]
    plt.close("all")


@pytest.mark.parametrize(
    "call, says",
    [
        (
            lambda r, p: Result(np.zeros((2, 2)), ("a", "a"), {"a": [0, 1]}, "x", "u"),
            "name an axis twice",
        ),
        (lambda r, p: Result(np.zeros(1), ("a",), {"a": [(1, 2)]}, "x", "u"), "numbers or words"),
        (lambda r, p: Result(1.0, (), {}, "x", "u", {"who": object}).save(p), "about holds type"),
        (lambda r, p: r.top(0), "has no rows"),
        (lambda r, p: r.plot(marks={"mover": ["L9H9"]}), "unknown cell 'L9H9'"),
        (lambda r, p: r.plot(marks={"mover": [(9, 1)]}), r"unknown layer in marks\['mover'\] 9"),
    ],
)
def test_more_wrong_input_is_one_sentence(result, tmp_path, call, says):
    import matplotlib.pyplot as plt

    with pytest.raises(ValueError, match=says):
        call(result, tmp_path / "x.npz")
    assert not list(tmp_path.iterdir())
    plt.close("all")


def test_a_file_with_parts_missing_is_refused(tmp_path):
    header = np.frombuffer(json.dumps({"schema": 1, "name": "x"}).encode(), np.uint8)
    np.savez(tmp_path / "x.npz", header=header, values=np.zeros(1))
    with pytest.raises(ValueError, match="parts are missing"):
        Result.load(tmp_path / "x.npz")


def test_quantities_of_different_units_are_a_table_in_order():
    coords = {"measure": ["share right", "logits"], "prompts": ["clean", "corrupted"]}
    r = Result(
        np.array([[1.0, 0.0], [3.5, -3.5]]), ("measure", "prompts"), coords, "behaviour", "mixed"
    )
    assert r.table().labels == [
        "share right, clean",
        "share right, corrupted",
        "logits, clean",
        "logits, corrupted",
    ]
    assert "base64" not in r._repr_html_() and r._repr_html_().index(
        "share right, clean"
    ) < r._repr_html_().index("logits, clean")


def test_tables_and_arrays_of_a_result(result, tmp_path):
    import pandas as pd

    long = result.to_frame(examples=True)
    assert len(long) == result.examples.size
    means = long.groupby("site", sort=False)[result.name].mean()
    np.testing.assert_allclose(means.to_numpy(), result.values.ravel())
    assert pd.read_csv(result.to_csv(tmp_path / "r.csv")).shape == result.to_frame().shape
    assert np.asarray(result).shape == result.values.shape


def test_a_caption_says_what_was_asked_and_how_to_read_it():
    def caption(**metadata):
        return Result(
            np.zeros(2), ("head",), {"head": [0, 1]}, "effect", "nats", metadata
        ).caption()

    said = caption(pattern="L*H*", receivers="L23H3.q_in@END", queries="END", keys=["S1", "S2"])
    assert "receivers L23H3.q_in@END" in said and "keys S1, S2" in said
    closer = "an effect below 0: closer to the clean run"
    assert closer in caption(metric="KL from the clean run")
    assert closer not in caption(metric="logit difference")
    assert caption(read="0: they add up").endswith("0: they add up")


def test_measures_of_several_units_have_a_panel_each_and_numbers_on_an_axis_a_name():
    coords = {"measure": ["faithfulness", "clean", "circuit"]}
    units = {"faithfulness": "fraction", "clean": "logits", "circuit": "logits"}
    mixed = Result([0.9, 4.0, 3.6], ("measure",), coords, "x", "mixed", {"units": units})
    assert [ax.get_ylabel() for ax in mixed.plot()] == ["fraction", "logits"]
    assert mixed.sel(measure=["clean", "circuit"]).plot().get_ylabel() == "logits"
    pushed = Result([0.0, 1.0], ("strength",), {"strength": [0.0, 1.0]}, "x", "logits")
    assert pushed.plot().get_xlabel() == "strength, times the direction"
