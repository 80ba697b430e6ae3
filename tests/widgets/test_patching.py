"""The patching explorer in plain Python, and its rules in node. Its map is that of `interp.patch`."""

import numpy as np
import pytest
import torch
from javascript import run_in_node

import interp
from interp import widgets
from interp.interventions import run
from interp.methods.patching import patched_logits
from interp.widgets._patch_runs import SITES, coarse


@pytest.mark.parametrize("n, most", [(1, 4), (3, 2), (12, 4), (30, 6), (80, 2)])
def test_every_layer_comes_once_the_coarse_ones_first(n, most):
    parts = coarse(n, most)
    assert sorted(sum(parts, [])) == list(range(n)) and max(map(len, parts)) <= most
    assert sum(parts, [])[: -(-n // 8)] == list(range(0, n, 8))


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("direction, prompt", [("denoising", 1), ("noising", -1)])
def test_the_map_is_that_of_patch_and_a_cell_says_the_same(tiny, task, site, direction, prompt):
    shown = widgets.patching(tiny, task, site=site, direction=direction, prompt=prompt, cell=[2, 3])
    expected = interp.patch(
        tiny, task if prompt == -1 else task[prompt], SITES[site][0], direction=direction
    )
    assert shown.value.dims == expected.dims and shown.value.coords == expected.coords
    assert np.allclose(shown.value.values, expected.values, atol=1e-5)
    assert (shown.value.name, shown.value.unit) == (expected.name, expected.unit)
    prediction = shown.prediction
    assert prediction["after"] - prediction["before"] == pytest.approx(
        float(expected.values[2, 3]), abs=1e-4
    )
    assert [one["after"] for one in prediction["tokens"]] == sorted(
        (one["after"] for one in prediction["tokens"]), reverse=True
    )
    shown.close()


def test_it_fills_in(tiny, task):
    shown = widgets.patching(tiny, task)
    seen = []
    shown.observe(
        lambda change: seen.append(
            sum(v is not None for row in change["new"]["values"] for v in row)
        ),
        "reply",
    )
    shown.prompt = -1
    shown.wait()
    assert seen == sorted(seen) and len(seen) >= 3 and seen[-1] == shown.value.values.size


def test_a_map_that_was_seen_comes_back_at_once(tiny, task):
    shown = widgets.patching(tiny, task)
    first = shown.value
    shown.direction = "noising"
    assert shown.value is not first
    shown.direction = "denoising"
    assert shown.value is first


def test_a_cell_that_the_next_map_lacks_is_forgotten(tiny, task):
    shown = widgets.patching(tiny, task, cell=[1, 9]).wait()
    assert shown.prediction["name"] == "resid_pre.1@9"
    shown.site = "heads"
    assert shown.wait().cell == [] and "after" not in shown.prediction


@pytest.mark.parametrize(
    "state, said",
    [
        ({"site": "resid"}, "did you mean 'resid_pre'"),
        ({"direction": "up"}, "noising"),
        ({"prompt": 7}, "prompts 0 to 2"),
    ],
)
def test_errors_are_a_line(tiny, task, state, said):
    shown = widgets.patching(tiny, task).wait()
    for name, value in state.items():
        setattr(shown, name, value)
    assert said in shown.problem
    for name, value in dict(site="mlp", direction="noising", prompt=0).items():
        setattr(shown, name, value)
    assert shown.value.values.shape[0] == 3 and not shown.problem
    shown.cell = [9, 0]
    assert "layers 0 to 2" in shown.problem


def test_code_and_the_static_twin(tiny, task):
    shown = widgets.patching(tiny, task, site="heads", cell=[1, 2]).wait()
    names = dict(interp=interp, model=tiny, task=task)
    exec(
        shown.code.replace("interp.patch(", "map_ = interp.patch(", 1).replace(
            "\npatched(", "\nmoved = patched("
        ),
        names,
    )
    assert np.allclose(names["map_"].values, shown.value.values, atol=1e-5)
    assert names["moved"].shape[0] == 1 and shown.png()[:4] == b"\x89PNG"


CLEAN, CORRUPTED = "When Mary and John went to", "When Mary and Anna went to"


def test_a_typed_pair_is_that_of_a_task_of_pairs(tiny, task, closed_after):
    free = closed_after(
        widgets.patching(tiny, CLEAN, corrupted=CORRUPTED, answer="John", cell=[1, 3])
    )
    there = free.pair
    mine = interp.tasks.pairs(
        tiny, clean=[CLEAN], corrupted=[CORRUPTED], answers=[" John"], wrong=[there["wrong"]]
    )
    assert there["answer"] == " John" and there["differs"] == [4]
    best = int(run(tiny, mine.corrupted, last_only=True).logits[0].argmax())
    assert there["wrong"] == tiny.tokenizer.decode([best])
    expected = interp.patch(tiny, mine, "resid_pre.*@*")
    assert np.allclose(free.value.values, expected.values, atol=1e-5)
    names = dict(interp=interp, model=tiny)
    exec(free.code.replace("interp.patch(", "map_ = interp.patch(", 1), names)
    assert np.allclose(names["map_"].values, expected.values, atol=1e-5)
    # in the place of a task's prompt, and back
    other = closed_after(widgets.patching(tiny, task, prompt=1, cell=[1, 12]))
    first = other.value
    other.put(clean=CLEAN, corrupted=CORRUPTED, answer="John")
    assert np.allclose(other.value.values, expected.values, atol=1e-5) and other.cell == []
    assert other.pair["texts"] == [CLEAN, CORRUPTED] and other.own
    other.put(clean="", corrupted="", answer="")
    assert other.value is first and not other.own and b"PNG" in other.png()
    again = closed_after(widgets.patching(tiny, task))
    widgets.restore(again, {**other.state, "clean": CLEAN, "corrupted": CORRUPTED})
    assert again.value.values.shape == expected.values.shape


@pytest.mark.parametrize(
    "typed, said",
    [
        ({}, "type a corrupted prompt"),
        ({"corrupted": "When Mary went"}, "They part at token"),
        ({"corrupted": CORRUPTED, "answer": "John", "wrong": " John"}, "are both ' John'"),
        ({"corrupted": CORRUPTED, "answer": "Johannesburger"}, "Johannesburger"),
        ({"corrupted": CLEAN}, "the same"),
    ],
)
def test_what_is_no_pair_is_a_line(tiny, closed_after, typed, said):
    shown = closed_after(widgets.patching(tiny, CLEAN, **typed))
    assert said in shown.problem and not shown.fits("pair") and not shown.reply.get("values")
    shown.put(corrupted=CORRUPTED, answer="John", wrong="Anna")
    assert shown.value.values.shape == (3, 7) and not shown.problem


def test_an_answer_without_its_pair_is_refused(tiny, task, closed_after):
    shown = closed_after(widgets.patching(tiny, task, answer="John"))
    assert "belong to a typed pair" in shown.problem and not shown.fits()


def test_logits_when_patched_go_two_ways(any_tiny):
    task = interp.tasks.ioi(any_tiny, n=2)
    ways = [
        patched_logits(any_tiny, task, "noising", backend=backend) for backend in (None, "hooks")
    ]
    assert torch.allclose(ways[0][0], run(any_tiny, task.clean, last_only=True).logits, atol=1e-4)
    for site in ("resid_pre.1@-1", "L1H2", "mlp.0@3", "attn.2@END", ["L0H1", "mlp.1@-1"]):
        assert torch.allclose(*(patched(site) for _, patched in ways), atol=1e-4), site
    with pytest.raises(ValueError, match="cells: name one"):
        ways[0][1]("L*H*")
    with pytest.raises(ValueError, match="cannot be patched here"):
        ways[0][1]("L0H0.pattern")


SHAPES = """
import test from "node:test";
import assert from "node:assert/strict";
import { mapBox, cellAt, moved, cellName, prompts, short } from "./widget.mjs";

test("maps fit, layer 0 lowest", () => {
  for (const [l, c, words] of [[4, 4, false], [30, 15, true], [12, 20, true], [80, 64, false], [30, 80, true]]) {
    const box = mapBox(l, c, words);
    assert.ok(box.width <= 640 && box.height <= 640, JSON.stringify(box));
    assert.ok(cellAt(box, l, 0, 0).y > cellAt(box, l, l - 1, 0).y || l === 1);
  }
});
test("arrow keys stay on the map", () => {
  assert.deepEqual(moved([0, 0], "ArrowDown", 3, 4), [0, 0]);
  assert.deepEqual(moved([0, 0], "ArrowUp", 3, 4), [1, 0]);
  assert.deepEqual(moved([1, 3], "ArrowRight", 3, 4), [1, 3]);
});
test("cells and prompts in words", () => {
  assert.equal(cellName("heads", [5, 1], []), "L5H1, all positions");
  assert.equal(cellName("mlp", [5, 1], ["The", " John"]), "MLP output of layer 5, position 1 ␣John");
  const one = { clean: ["a", " John"], corrupted: ["a", " Mary"], differs: [1] };
  assert.deepEqual(prompts([one]), [[0, "1: ␣John / ␣Mary"]]);
  assert.deepEqual(prompts([one, one])[2], [-1, "mean of 2 prompts"]);
  assert.equal(short("abcdef", 4), "abc…");
});
"""


def test_shapes(tmp_path):
    run_in_node("patch_shapes patching", SHAPES, tmp_path)
