"""What is left of a widget without its kernel: pictures of the last state, and states that come back."""

import time

import nbformat
import pytest
from dictionaries import transcoders
from javascript import run_in_node
from nbformat import v4

import interp
from interp import features, widgets

ALBUM = """
import test from "node:test";
import assert from "node:assert/strict";
import { withPictures } from "./widget.mjs";
const VIEW = "application/vnd.jupyter.widget-view+json";
const output = (id) => ({ output_type: "display_data", metadata: { mine: 1 }, data: { [VIEW]: { model_id: id }, "text/html": "old", "text/plain": "old" } });

test("the newest picture takes the place of the view, in a copy", () => {
  const whole = { metadata: {}, cells: [{ cell_type: "markdown" }, { outputs: [output("a"), output("b"), { output_type: "stream", text: "x" }] }] };
  const before = JSON.stringify(whole);
  const saved = withPictures(whole, new Map([["a", { html: "new", text: "now", metadata: { interp: { model_id: "a" } } }]]));
  assert.equal(JSON.stringify(whole), before);
  const [a, b, c] = saved.cells[1].outputs;
  assert.deepEqual(a.data, { "text/html": "new", "text/plain": "now" });
  assert.deepEqual(a.metadata, { mine: 1, interp: { model_id: "a" } });
  assert.deepEqual([b, c], whole.cells[1].outputs.slice(1));
  assert.deepEqual(saved.cells[0], whole.cells[0]);
});
test("an output that still shows the last state keeps its own picture", () => {
  const saved = withPictures({ cells: [{ outputs: [output("a")] }] }, new Map([["a", { model_id: "a" }]]));
  assert.deepEqual(saved.cells[0].outputs[0].data, { "text/html": "old", "text/plain": "old" });
});
"""


def test_what_is_saved_has_pictures(tmp_path):
    run_in_node("heads", ALBUM, tmp_path)


def test_a_page_is_sent_the_picture_of_the_last_state(tiny, task, closed_after):
    grid = closed_after(widgets.heads(tiny, task))
    grid._repr_mimebundle_()
    assert grid.picture["question"] == {**grid.state, "weights": 0} and "html" not in grid.picture
    grid._page(grid, {"do": "page"}, [])
    grid.heads, grid.by = "L1H2", "zero"
    end = time.monotonic() + 60
    while grid.picture["question"]["by"] != "zero" and time.monotonic() < end:
        time.sleep(0.05)
    assert "1 ablated" in grid.picture["html"] and "by=&#x27;zero&#x27;" in grid.picture["html"]
    assert grid.picture["metadata"]["interp"]["state"] == grid.state and not grid.trouble


MADE = {
    "heads": (
        lambda m, task: widgets.heads(m, task),
        dict(heads="L1H2", by="zero", pointer=[2, 1]),
    ),
    "patching": (lambda m, task: widgets.patching(m, task), dict(site="heads", cell=[1, 2])),
    "lens": (lambda m, task: widgets.lens(m, task), dict(by="prob", layer=1, token=3)),
    "attention": (lambda m, task: widgets.attention(m, task), dict(heads="L2H*", token=2)),
    "circuit": (
        lambda m, task: widgets.circuit(interp.discover(m, task), m, task),
        dict(shown=9, within="model"),
    ),
    "graph": (
        lambda m, task: widgets.graph(features.graph(m, task[0], transcoders([0, 2])), m),
        dict(shown=9, node="embed@1", names={"mlp.0:error@2": "x"}, pinned=["mlp.0:error@2"]),
    ),
}


@pytest.mark.parametrize("kind", MADE)
def test_a_state_comes_back(tiny, task, closed_after, kind):
    make, state = MADE[kind]
    one, other = closed_after(make(tiny, task)), closed_after(make(tiny, task))
    for name, value in state.items():
        setattr(one, name, value)
    one.wait()
    assert one.maker == kind and one.state.items() >= state.items()
    assert widgets.restore(other, one.state) is other
    assert other.wait().state == one.state and other.code == one.code
    if kind not in ("circuit", "graph"):  # made of what has another name here
        again = closed_after(
            eval(one.code.splitlines()[0], dict(interp=interp, model=tiny, task=task))
        )
        assert again.state.items() >= {k: v for k, v in state.items() if k != "pointer"}.items()
    assert other.current() == one.current() or kind == "circuit"  # it tells of the last edit


def test_a_state_is_read_from_a_saved_notebook(tiny, task, closed_after, tmp_path):
    shown = [closed_after(widgets.heads(tiny, task, heads=heads)) for heads in ("L1H2", "L0H*")]
    bundles = [one._repr_mimebundle_() for one in shown]
    outputs = [v4.new_output("display_data", data=d, metadata=m) for d, m in bundles]
    file = tmp_path / "mine.ipynb"
    cells = [v4.new_code_cell("w", outputs=[one]) for one in outputs]
    nbformat.write(v4.new_notebook(cells=cells), file)
    grid = closed_after(widgets.heads(tiny, task))
    assert widgets.restore(grid, file, which=1).heads == "L0H*"
    assert widgets.restore(grid, str(file), which=-2).heads == "L1H2"
    with pytest.raises(ValueError, match="cell 2: <heads widget.* 4 ablated"):
        widgets.restore(grid, file)
    with pytest.raises(ValueError, match="which=2"):
        widgets.restore(grid, file, which=2)
    with pytest.raises(ValueError, match="no saved lens widget"):
        widgets.restore(closed_after(widgets.lens(tiny, task)), file)
    with pytest.raises(ValueError, match="did you mean 'factor'"):
        widgets.restore(grid, {"factors": 2.0})


@pytest.mark.slow
def test_a_notebook_that_is_run_without_a_page_holds_the_last_state(tmp_path):
    from nbclient import NotebookClient

    cells = (
        "import interp; model = interp.models.tiny(); task = interp.tasks.ioi(model, n=2)",
        "w = interp.widgets.heads(model, task); w",
        "w.heads = 'L1H2 L2H*'",
    )
    nb = v4.new_notebook(cells=[v4.new_code_cell(c) for c in cells])
    NotebookClient(nb, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (output,) = nb.cells[1].outputs
    assert "5 ablated" in output.data["text/plain"] and "L1H2 L2H*" in output.data["text/html"]
    assert output.metadata["interp"]["state"]["heads"] == "L1H2 L2H*"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[" * 100_000, "nests too deeply"),
        ("{", "not JSON"),
        ('{"cells": 3}', "no saved heads widget"),
        (
            '{"cells": [null, {"outputs": [1, {"metadata": {"interp": 2}}]}]}',
            "no saved heads widget",
        ),
        (
            '{"cells": [{"outputs": [{"metadata": {"interp": {"widget": "heads", "state": []}}}]}]}',
            "no saved heads widget",
        ),
    ],
)
def test_a_notebook_that_is_none_is_named(tiny, task, closed_after, tmp_path, content, said):
    (tmp_path / "n.ipynb").write_text(content)
    with pytest.raises(ValueError, match=said) as error:
        widgets.restore(closed_after(widgets.heads(tiny, task)), tmp_path / "n.ipynb")
    assert "n.ipynb" in str(error.value)


def test_a_state_of_another_kind_of_value_changes_nothing(tiny, task, closed_after):
    grid = closed_after(widgets.heads(tiny, task))
    before = dict(grid.state)
    with pytest.raises(ValueError, match="no state of a heads widget"):
        widgets.restore(grid, {**before, "by": "zero", "pointer": 3})
    assert grid.state == before
