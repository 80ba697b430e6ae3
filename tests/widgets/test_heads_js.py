"""The pure functions of the widgets' JavaScript, in node: each file as it is served, the shared
part before it.
"""

from javascript import run_in_node

HEAD_GRID = """
import test from "node:test";
import assert from "node:assert/strict";
import { scaleOf, fill, digits, percent, token, layout, every, place, taken, toggled, inverted, pairsOf, setOf, crosses } from "./widget.mjs";

test("diverging data is centred on zero, other data starts there", () => {
  assert.deepEqual(scaleOf([-1, 3, null]), { low: -3, high: 3, diverging: true });
  assert.deepEqual(scaleOf([1, 3]), { low: 0, high: 3, diverging: false });
  assert.deepEqual(scaleOf([null]), { low: 0, high: 1, diverging: false });
  assert.equal(scaleOf([0, 0]).high, 1);
});
test("zero is the neutral colour, the ends are full, missing is grey", () => {
  const scale = scaleOf([-2, 1]);
  assert.match(fill(0, scale), / 0%/);
  assert.match(fill(-2, scale), /--interp-down\\) 100%/);
  assert.match(fill(1, scale), /--interp-up\\) 50%/);
  assert.equal(fill(null, scale), "var(--interp-missing)");
  assert.match(fill(9, scale), /100%/);
});
test("numbers are short, with a real minus", () => {
  assert.deepEqual([1.234, -1.234, 0, 123.4, 0.0123, -0.0001].map((v) => digits(v)), ["1.23", "−1.23", "0.00", "123", "0.012", "−1e-4"]);
  assert.equal(digits(2, true), "+2.00");
  assert.equal(digits(NaN), "–");
  assert.deepEqual([0.5, 0.05, 0.0001, 0].map(percent), ["50 %", "5.0 %", "<0.1 %", "0 %"]);
  assert.equal(token(" to"), "␣to");
});
test("grids from 4 x 4 to 80 x 64 fit and can be hit", () => {
  for (const [l, h, g] of [[4, 4, 1], [12, 12, 1], [30, 9, 3], [32, 32, 4], [80, 64, 8]]) {
    const box = layout(l, h, g);
    assert.ok(box.cell >= 7 && box.width <= 660 && box.height <= 560, JSON.stringify(box));
    const last = place(box, g, l - 1, h - 1);
    assert.ok(last.x + box.cell <= box.width && last.y + box.cell <= box.height);
    assert.ok(every(box.cell) * box.cell >= 14);
  }
  const box = layout(3, 4, 2);
  assert.equal(place(box, 2, 0, 2).y - place(box, 2, 0, 1).y, box.cell + box.gap);
});
test("a click takes a head, its KV group, or its layer", () => {
  assert.deepEqual(taken("head", 2, 1, 9, 3), [19]);
  assert.deepEqual(taken("kv", 2, 4, 9, 3), [21, 22, 23]);
  assert.deepEqual(taken("layer", 1, 0, 4, 2), [4, 5, 6, 7]);
});
test("marks switch together, invert and survive the way to Python", () => {
  assert.deepEqual([...toggled(new Set([1]), [1, 2])].sort(), [1, 2]);
  assert.deepEqual([...toggled(new Set([1, 2]), [1, 2])], []);
  assert.deepEqual([...toggled(new Set([1]), [1], true)], [1]);
  const some = new Set([0, 5, 11]);
  assert.deepEqual(inverted(inverted(some, 12), 12), some);
  assert.deepEqual(pairsOf(some, 4), [[0, 0], [1, 1], [2, 3]]);
  assert.deepEqual(setOf(pairsOf(some, 4), 4), some);
});
test("one cross an ablated head", () => {
  assert.equal(crosses(new Set([0, 7]), layout(3, 4, 2), 2, 4).split("M").length - 1, 2);
});
"""


def test_head_grid(tmp_path):
    run_in_node("next_tokens heads", HEAD_GRID, tmp_path)


ANSWERS = """
import test from "node:test";
import assert from "node:assert/strict";
import { answersTo } from "./widget.mjs";

test("an answer fits the question that it carries, and no other", () => {
  const state = { site: "mlp", cell: [1, 2], strength: 1 }, now = (name) => state[name];
  const answer = { value: 3, question: { site: "mlp", cell: [1, 2], strength: 1.0 } };
  assert.ok(answersTo(answer, now));
  state.cell = [1, 3];
  assert.ok(!answersTo(answer, now));
  assert.ok(answersTo(answer, now, ["site"]));
  assert.ok(!answersTo({ value: 3 }, now) && !answersTo({}, now) && !answersTo(undefined, now));
});
"""


def test_answers(tmp_path):
    run_in_node("heads", ANSWERS, tmp_path)
