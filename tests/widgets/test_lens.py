"""The lens widget in plain Python and node. Its numbers are those of `interp.logit_lens`."""

from importlib import import_module

import numpy as np
import pytest
import torch
from javascript import run_in_node

import interp
from interp import widgets

lens = import_module("interp.widgets.lens")

TEXT = "The capital of France is"


@pytest.fixture
def made(closed_after):
    def make(*args, **state):
        return closed_after(widgets.lens(*args, **state))

    return make


@pytest.mark.parametrize("by", ["rank", "logit_diff", "prob"])
def test_the_numbers_are_those_of_logit_lens(any_tiny, made, by):
    task = interp.tasks.ioi(any_tiny, n=3)
    w = made(any_tiny, task, prompt=1, by=by)
    expected = interp.logit_lens(any_tiny, task[1], "resid_post.*@*", metric=by)
    numbers = w.value["numbers"]
    first = w.reply["start"]
    assert np.allclose(
        numbers.values, expected.values[:, first : first + numbers.values.shape[1]], atol=1e-3
    )
    assert (numbers.unit, numbers.coords["layer"]) == (expected.unit, [0, 1, 2])


def test_the_last_layer_says_what_the_model_says(tiny, made):
    w = made(tiny, TEXT, by="top")
    tokens = torch.tensor([interp.tasks.task.encode(tiny.tokenizer, TEXT)])
    probs = interp.run(tiny, tokens).logits[0].softmax(-1)
    assert np.allclose(w.value["numbers"].values[-1], probs.max(-1).values, atol=1e-5)
    best = [tiny.tokenizer.decode([i]) for i in probs[-1].topk(10).indices]
    assert [word for word, _ in w.value["list"]] == best and w.value["top"][-1][-1] == best[0]
    assert (
        w.value["answers"] == best[:1] and w.value["wrong"] == best[1:2]
    )  # without a task, the model's own two


def test_a_click_lists_another_cell_and_computes_nothing(tiny, made):
    w = made(tiny, TEXT, answer="Paris", against="London")
    reads, real = [], w._logits
    w._logits = lambda stream, layer: reads.append(len(stream)) or real(stream, layer)
    w.layer, w.token = 0, 2
    assert (
        w.value["layer"] == 0
        and w.value["token"] == 2
        and w.value["list"][0][0] == w.value["top"][0][2]
    )
    assert set(reads) <= {1}  # only the end, for the model's own choice


def test_a_typed_answer_is_read_as_it_stands_after_a_space(tiny, made):
    w = made(tiny, TEXT, answer="Paris", against=" London", by="logit_diff")
    assert w.value["answers"] == [" Paris"] and w.value["wrong"] == [" London"]
    one = w.value["numbers"].values
    w.answer, w.against = "London", "Paris"
    assert np.allclose(w.value["numbers"].values, -one, atol=1e-5)


def test_a_tuned_lens_is_read_through_and_layers_it_lacks_stay_empty(tiny, made):
    text = torch.randint(5, 50, (4, 12), generator=torch.Generator().manual_seed(0))
    tuned = interp.tuned_lens(tiny, text, layers=[0], steps=2, batch=8, vocab=None, cached=False)
    task = interp.tasks.ioi(tiny, n=2)
    w = made(tiny, task, lens=tuned)
    expected = interp.logit_lens(tiny, task[0], "resid_post.*@*", metric="rank", lens=tuned).values
    shown = w.value["numbers"].values
    assert (
        np.allclose(shown, expected[:, w.reply["start"] :], atol=1e-3, equal_nan=True)
        and np.isnan(shown[1]).all()
    )
    assert w.name == "Tuned lens" and "lens=lens" in w.code and w.png()[:4] == b"\x89PNG"
    w.layer = 1
    assert w.value["list"] == [] and w.problem == ""
    with pytest.raises(ValueError, match="another model"):
        widgets.lens(interp.models.tiny("tiny", seed=1), task, lens=tuned)


def test_long_prompts_are_shown_in_pages(tiny, made):
    w = made(tiny, ("Mary and John " * 30).strip())
    assert w.reply["total"] == 91 and w.reply["start"] == 91 - 16 and len(w.reply["tokens"]) == 16
    w.start = 0
    assert w.value["numbers"].coords["pos"][0].startswith("0 ") and w.reply["tokens"][1] == "Mary"
    w.step = 2
    assert w.value["numbers"].coords["layer"] == [0, 2]


def test_the_table_fills_from_coarse_to_fine():
    order = lens._coarse(range(30))
    assert sorted(order) == list(range(30)) and order[:4] == [29, 21, 13, 5]


def test_the_code_gives_the_state_again(tiny, made):
    task = interp.tasks.ioi(tiny, n=3)
    w = made(tiny, task, prompt=2, by="prob", layer=1, token=9)
    first, second = w.code.split("\n")
    again = eval(first, {"interp": interp, "model": tiny, "task": task})
    assert again.wait().value == w.value
    whole = eval(second.removesuffix(".plot()"), {"interp": interp, "model": tiny, "task": task})
    assert np.allclose(whole.values[:, w.reply["start"] :], w.value["numbers"].values, atol=1e-5)
    again.close()


@pytest.mark.parametrize(
    "state, says",
    [
        ({"answer": "Parisian dreams"}, "not one token"),
        ({"by": "colour"}, "unknown colour"),
        ({"start": 99}, "positions 0 to 5"),
        ({"step": -1}, "step is 1 or more"),
        ({"text": "to " * 300}, "reads at most 256"),
        ({"prompt": 3}, "no task here"),
    ],
)
def test_a_mistake_is_a_line_and_goes_away(tiny, made, state, says):
    w = made(tiny, TEXT)
    before = {name: getattr(w, name) for name in state}
    for name, value in state.items():
        setattr(w, name, value)
    w.wait()
    assert says in w.problem and w.trouble == "" and w.reply["tokens"][1] == "The"
    for name, value in before.items():
        setattr(w, name, value)
    assert w.wait().problem == ""


JS = """
import test from "node:test";
import assert from "node:assert/strict";
import { rankShare, colouring, rankTicks, columnWidth, moved, page, whole, word } from "./widget.mjs";

test("rank zero is full, the end of the vocabulary is nothing", () => {
  assert.equal(rankShare(0, 1000), 1);
  assert.ok(rankShare(999, 1000) < 1e-9);
  assert.equal(rankShare(null, 10), null);
  assert.ok(rankShare(9, 1000) > rankShare(10, 1000));
  assert.deepEqual(rankTicks(500), [0, 1, 10, 100]);
});
test("logit differences are centred on zero", () => {
  const { scale, share } = colouring("logit_diff", [[-3, null], [1, 2]], 10);
  assert.deepEqual(scale, { low: -3, high: 3, diverging: true });
  assert.equal(share(-3), -3);
  assert.equal(colouring("prob", [[0.2]], 10).scale.high, 1);
});
test("columns are readable and fit", () => {
  assert.equal(columnWidth(4), 88);
  assert.ok(columnWidth(16) >= 44 && 16 * columnWidth(16) <= 736);
});
test("arrows lead upward through the layers and stop at the edges", () => {
  assert.deepEqual(moved("ArrowUp", [1, 1], 3, 4), [2, 1]);
  assert.deepEqual(moved("ArrowUp", [2, 1], 3, 4), [2, 1]);
  assert.deepEqual(moved("ArrowLeft", [0, 0], 3, 4), [0, 0]);
  assert.deepEqual(moved("End", [0, 0], 3, 4), [0, 3]);
  assert.equal(moved("a", [0, 0], 3, 4), null);
});
test("pages overlap at the ends and stop there", () => {
  assert.equal(page(75, 16, 91, 1), null);
  assert.equal(page(75, 16, 91, -1), 59);
  assert.equal(page(3, 16, 91, -1), 0);
  assert.equal(page(0, 6, 6, 1), null);
});
test("numbers and words", () => {
  assert.equal(whole(49152), "49\\u202f152");
  assert.equal(word(" Paris"), "Paris");
  assert.equal(word("\\u00a0"), "⍽");
});
"""


def test_the_pure_functions_of_the_page(tmp_path):
    run_in_node("lens", JS, tmp_path)
