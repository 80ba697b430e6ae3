"""The attention widget in plain Python and node. Its numbers are those of
`interp.attention_patterns` and `head_scores`.
"""

import threading
from importlib import import_module

import numpy as np
import pytest
from javascript import run_in_node

import interp
from interp import _progress, widgets

TEXT = "The capital of France is"


@pytest.fixture
def made(closed_after):
    def make(*args, **state):
        return closed_after(widgets.attention(*args, **state))

    return make


@pytest.mark.parametrize("weighted", [False, True])
def test_the_pattern_is_that_of_attention_patterns(any_tiny, made, weighted):
    w = made(any_tiny, TEXT, head="L2H3", heads="L1H* L0H2", weighted=weighted)
    assert w.problem == "" and w.value["heads"] == ["L1H0", "L1H1", "L1H2", "L1H3", "L0H2"]
    expected = interp.attention_patterns(any_tiny, TEXT, "L2H3", weighted=weighted)
    shown = w.value["pattern"]
    assert np.allclose(shown.values, expected.values, atol=1e-5) and (
        shown.dims,
        shown.coords,
        shown.unit,
    ) == (expected.dims, expected.coords, expected.unit)
    whole = (
        np.frombuffer(w.reply["big"], "<u2").reshape(shown.values.shape) / 65535 * w.reply["top"]
    )
    assert np.allclose(whole, shown.values, atol=w.reply["top"] / 60000)


def test_small_pictures_hold_the_largest_of_what_they_merge(tiny, made):
    w = made(tiny, ("Mary and John " * 30).strip(), heads="L1H0 L2H1", first=True)
    side, n = w.reply["side"], len(w.reply["tokens"])
    assert n == 91 and side == 48
    small = np.frombuffer(w.reply["small"], "u1").reshape(2, side, side) / 255
    pattern = interp.attention_patterns(tiny, w.reply["prompt"], "L1H0").values
    assert (
        small[0].max() == pytest.approx(pattern.max(), abs=1 / 200)
        and small.max() <= w.reply["limits"]
    )


def test_heads_are_found_by_score_only_when_asked(tiny, made, monkeypatch):
    head_scores = import_module("interp.widgets.attention")

    asked, real = [], head_scores.head_scores
    monkeypatch.setattr(
        head_scores,
        "head_scores",
        lambda *args, **more: asked.append(args[1]) or real(*args, **more),
    )
    w = made(tiny, TEXT)
    assert asked == [] and w.head == ""
    w.find = "induction"
    found = w.value["scores"]
    best = real(tiny, "induction").sel(score="induction")
    ranked = sorted(zip(best.labels(), best.values.ravel()), key=lambda pair: -pair[1])
    assert list(found) == [name for name, _ in ranked] and found[ranked[0][0]] == pytest.approx(
        ranked[0][1]
    )
    assert w.reply["head"] == ranked[0][0] and w.reply["score"]["unit"] == "share of attention"
    w.find = "previous-token"
    w.wait()
    assert len(asked) == 1  # patterns are scored together
    w.find = ""
    pattern = interp.attention_patterns(tiny, TEXT, "L*H*").values  # layer, head, dest, src
    most = pattern[:, :, -1, 1:-1].max(-1)
    assert w.value["heads"][0] == "L{}H{}".format(*np.unravel_index(most.argmax(), most.shape))


def test_a_task_has_examples_and_scores_of_its_own(tiny, made):
    task = interp.tasks.ioi(tiny, n=3)
    w = made(tiny, task, prompt=1, head="L0H1")
    expected = interp.attention_patterns(tiny, task[1], "L0H1")
    assert (
        np.allclose(w.value["pattern"].values, expected.values, atol=1e-5) and len(w.examples) == 3
    )
    w.find = "ablation"
    assert w.value["scores"] and w.problem == ""
    w.prompt, w.text, w.find = -1, TEXT, ""
    assert w.value["prompt"] == TEXT


def test_the_code_gives_the_state_again(tiny, made):
    task = interp.tasks.ioi(tiny, n=3)
    for given in (task, TEXT):
        w = made(tiny, given, heads="L1H* L0H0", head="L0H0", weighted=True, first=True)
        first, second = w.code.split("\n")
        again = eval(first, {"interp": interp, "model": tiny, "task": task})
        assert again.wait().value["pattern"] == w.value["pattern"] and again.first is True
        result = eval(
            second.removesuffix(".plot()"), {"interp": interp, "model": tiny, "task": task}
        )
        assert np.allclose(result.values, w.value["pattern"].values, atol=1e-5)
        again.close()


@pytest.mark.parametrize(
    "state, says",
    [
        ({"heads": "L9H0"}, "layers 0 to 2"),
        ({"heads": "mlp.1"}, "mlp.1"),
        ({"head": "L1H*"}, "one head"),
        ({"find": "inductoin"}, "did you mean 'induction'"),
        ({"text": "to " * 300}, "reads at most 256"),
        ({"text": " "}, "type a text"),
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


def test_only_a_text_or_a_task_is_taken(tiny):
    with pytest.raises(ValueError, match="a text or a task, got int"):
        widgets.attention(tiny, 3)


def test_the_static_twin_and_two_widgets_at_once(tiny, made):
    one, two = made(tiny, TEXT, heads="L1H*"), made(tiny, "Mary and John went", find="induction")
    assert len(one.static().axes) == 1 + 1 + 4 and one.png()[:4] == b"\x89PNG"
    assert one.value["prompt"] != two.value["prompt"] and one.value["head"] == "L1H0"


def test_progress_goes_to_a_listener_and_what_it_raises_ends_the_work():
    heard = []
    with _progress.report_to(lambda *said: heard.append(said)):
        assert list(_progress.progress(range(3), "work")) == [0, 1, 2]
    assert heard[0] == ("work", 0, 3)

    def stop(*said):
        raise InterruptedError

    with pytest.raises(InterruptedError), _progress.report_to(stop):
        list(_progress.progress(range(3), "work"))
    other = threading.Thread(
        target=lambda: heard.append(list(_progress.progress(range(3), "elsewhere"))), daemon=True
    )
    other.start()
    other.join(20)
    assert heard[-1] == [0, 1, 2]  # no other thread waits for the bar that was stopped


def test_the_wall_has_every_head_at_its_place(tiny, made):
    w = made(tiny, TEXT, first=True, wall=True)
    w.wait()
    every = w.every
    small = np.frombuffer(every["bytes"], "u1").reshape(
        every["layers"], every["heads"], every["side"], every["side"]
    )
    pattern = interp.attention_patterns(tiny, TEXT, "L*H*").values
    assert every["side"] == pattern.shape[-1]
    assert np.allclose(small / 255 * every["limit"], pattern, atol=1 / 250)
    w.first = False
    assert np.frombuffer(w.wait().every["bytes"], "u1").reshape(small.shape)[..., 0].max() == 0


JS = """
import test from "node:test";
import assert from "node:assert/strict";
import { arcs, bend, unpack, around, largest, layout, rgb, pixels, short, below } from "./widget.mjs";

test("whole numbers become shares of the top", () => {
  const view = new DataView(new Uint16Array([0, 65535, 32768]).buffer);
  const [a, b, c] = unpack(view, 2);
  assert.deepEqual([a, b], [0, 2]);
  assert.ok(Math.abs(c - 1) < 1e-4);
});
test("a token looks at those before it and is looked at by those after", () => {
  const m = [1, 0, 0, 0.4, 0.6, 0, 0.1, 0.2, 0.7];
  assert.deepEqual(around(m, 3, 1), { to: [0.4, 0.6, 0], by: [0, 0, 0.2] });
  assert.deepEqual(largest([0.1, 0, 0.5, 0.1], 3), [2, 0, 3]);
});
test("from one token to 512 the matrix fits and its labels do not touch", () => {
  for (const n of [1, 6, 15, 60, 100, 101, 256, 512]) {
    const { cell, size, every } = layout(n);
    assert.ok(size <= 400.01 && every * cell >= 12, String(n));
  }
});
test("pixels above the diagonal are clear, a left-out first token is grey", () => {
  const colours = { zero: [0, 0, 0], much: [200, 100, 50], missing: [9, 9, 9] };
  const all = pixels((k) => [1, 0, 0.5, 2][k], 2, colours);
  assert.deepEqual([...all], [200, 100, 50, 255, 0, 0, 0, 0, 100, 50, 25, 255, 200, 100, 50, 255]);
  assert.deepEqual([...pixels(() => 1, 2, colours, false)].slice(8, 12), [9, 9, 9, 255]);
  assert.deepEqual(rgb(" #2b6e8f"), [43, 110, 143]);
  assert.deepEqual(rgb("#fff"), [255, 255, 255]);
});
test("arcs go to what a token looks at and come from what looks at it, not to the first and not to itself", () => {
  const matrix = [1, 0, 0, 0.6, 0.4, 0, 0.5, 0.3, 0.2];
  assert.deepEqual(arcs(matrix, 3, 1, 1, true).map((a) => [a.at, a.kind]), [[0, "to"], [2, "by"]]);
  assert.deepEqual(arcs(matrix, 3, 1, 1, false).map((a) => [a.at, a.kind, a.share]), [[2, "by", 0.3]]);
  assert.match(bend(50, 10, 40, 40), /^M50 10C.* 50 40$/);
});
test("labels are short and their room is known", () => {
  assert.equal(short(" capital"), "capital");
  assert.equal(short("<|im_start|>").length, 11);
  assert.equal(short(" "), "␣");
  assert.ok(below(["a"]) < below(["abcdefgh"]));
});
"""


def test_the_pure_functions_of_the_page(tmp_path):
    run_in_node("attention", JS, tmp_path)
