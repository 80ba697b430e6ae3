"""The training widget: its numbers are the Result's, and page and kernel agree on the checkpoint."""

import numpy as np
import pytest
from javascript import run_in_node

from interp import widgets
from interp.results import Result

pytestmark = pytest.mark.xdist_group("browser")
STEPS = [0, 1, 10, 100]
rng = np.random.default_rng(0)


def of(dims, sizes):
    coords = {d: STEPS if d == "step" else list(range(n)) for d, n in zip(dims, sizes)}
    return Result(rng.normal(size=sizes), dims, coords, "induction score", "share of attention")


def test_few_cells_are_curves_with_the_seeds_around_them():
    result = of(("seed", "step", "head"), (3, 4, 2))
    w = widgets.training(result, step=10)
    assert w.labels == ["head 0", "head 1"] and not w.maps
    np.testing.assert_allclose(w.curves, result.values.mean(0).T)
    np.testing.assert_allclose(w.low, result.values.min(0).T)
    np.testing.assert_allclose(w.high, result.values.max(0).T)
    np.testing.assert_array_equal(w.value.values, result.values[:, 2])


def test_two_axes_are_a_map_beside_their_mean():
    result = of(("step", "layer", "head"), (4, 3, 5))
    w = widgets.training(result)
    assert w.step == 100 and w.axes == ["layer", "head"]
    np.testing.assert_allclose(w.maps, result.values)
    np.testing.assert_allclose(w.curves[0], result.values.mean((1, 2)))
    assert len(w.static().axes) >= 2 and "<img" in w._repr_mimebundle_()[0]["text/html"]


def test_the_code_gives_the_value():
    result = of(("step",), (4,))
    w = widgets.training(result, step=1)
    again = eval(w.code.splitlines()[1], {"result": result})
    assert float(again.values) == float(w.value.values) == result.values[1]


def test_wrong_input_is_a_sentence_or_a_line():
    with pytest.raises(ValueError, match="axis 'step'"):
        widgets.training(of(("layer",), (4,)))
    with pytest.raises(ValueError, match="a map has two axes"):
        widgets.training(of(("step", "a", "b", "c"), (4, 3, 3, 3)))
    w = widgets.training(of(("step",), (4,)))
    w.step = 7
    assert "there are checkpoints at 0, 1, 10, 100; the nearest is " in w.problem
    w.step = 10
    assert not w.problem


NEAREST = """
import test from "node:test";
import assert from "node:assert/strict";
import { nearest, along, span } from "./widget.mjs";

test("a place on the axis is the checkpoint next to it", () => {
  const steps = [0, 1, 10, 100];
  assert.deepEqual([0, 1, along(9, 100)].map((place) => nearest(place, steps)), [0, 3, 2]);
});
test("the axis holds zero and all numbers", () => {
  assert.deepEqual(span([[1, 2], [-1, 0]]), [-1, 2]);
  assert.deepEqual(span([[0, 0]]), [0, 1]);
});
"""


def test_the_page_finds_the_nearest_checkpoint(tmp_path):
    run_in_node("training", NEAREST, tmp_path)


def test_in_a_real_lab(open_notebook, tmp_path):
    cells = (
        (
            "import interp, numpy as np; from interp.results import Result; steps = [0, 1, 3, 10,"
            " 30, 100, 300, 1000]"
        ),
        "rise = np.linspace(0, 1, 8)[:, None, None] * np.random.default_rng(0).random((8, 3, 4))",
        (
            "r = Result(rise, ('step', 'layer', 'head'), {'step': steps, 'layer': [0, 1, 2],"
            " 'head': [0, 1, 2, 3]}, 'induction score', 'share of attention')"
        ),
    )
    page = open_notebook("; ".join(cells), "w = interp.widgets.training(r); w")
    page.page.wait_for_selector(".interp-steps-map rect")
    before = page.page.evaluate(
        "() => getComputedStyle(document.querySelector('.interp-steps-map"
        ' rect[data-i="5"]\')).fill'
    )
    page.page.locator(".interp input[type=range]").focus()
    for _ in range(3):
        page.page.keyboard.press("ArrowLeft")
    page.poll("w.step", 30)
    page.see("() => document.querySelector('.interp-steps-readout').textContent", "step 30 of 1000")
    page.see(
        "() => getComputedStyle(document.querySelector('.interp-steps-map"
        ' rect[data-i="5"]\')).fill',
        lambda now: now != before,
    )
    page.do("setattr(w, 'step', 0)")
    page.see("() => document.querySelector('.interp-steps-readout').textContent", "step 0 of 1000")
    box = page.page.locator(".interp-steps-plot").bounding_box()
    page.page.mouse.click(box["x"] + box["width"] - 28, box["y"] + 40)
    page.poll("w.step", 1000)
    assert page.picture(tmp_path / "training-light.png").stat().st_size > 5000
    page.theme("JupyterLab Dark")
    assert page.picture(tmp_path / "training-dark.png").stat().st_size > 5000
    page.theme("JupyterLab Light")
