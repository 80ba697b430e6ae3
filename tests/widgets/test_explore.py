"""The panel of tabs, and widgets that are linked: what one shows, the others show."""

import copy

import pytest
import torch
from javascript import run_in_node

import interp
from interp.interventions import run
from interp.widgets import explore, link, restore


@pytest.fixture
def panel(tiny, task, closed_after):
    return closed_after(explore(tiny, task))


def test_its_next_tokens_are_those_of_a_run(tiny, task, panel):
    panel.put(prompt=1, token=4)
    reply = panel.wait().reply
    logits = run(tiny, task.prompts[1][None]).logits[0]
    shares = logits[4].softmax(-1)
    best = int(shares.argmax())
    assert reply["top"][0]["token"] == tiny.tokenizer.decode([best])
    assert reply["top"][0]["now"] == pytest.approx(float(shares[best]), abs=1e-5)
    given = logits[:-1].softmax(-1)[torch.arange(len(logits) - 1), task.prompts[1][1:]]
    assert reply["expected"][1:] == pytest.approx(given.tolist(), abs=1e-4)


def test_the_heads_that_write_a_token_are_those_of_logit_attribution(tiny, panel):
    panel.put(prompt=-1, text="When Mary and John went")
    first = panel.wait().reply["writers"][0]
    one = interp.widgets.prompt_task(tiny, "When Mary and John went")
    effects = interp.logit_attribution(tiny, one, "L*H*")
    assert abs(first["effect"]) == pytest.approx(float(abs(effects.values).max()), abs=1e-4)
    pattern = interp.attention_patterns(tiny, "When Mary and John went", first["head"]).values[-1]
    assert first["src"] == int(pattern[1:].argmax()) + 1
    assert first["share"] == pytest.approx(float(pattern[first["src"]]), abs=1e-4)


def test_tabs_share_prompt_head_token_and_ablations(panel):
    heads, attention, lens = (panel.child(tab) for tab in ("heads", "attention", "lens"))
    panel.put(prompt=2, ablated="L1H2 L0H0")
    assert {one.prompt for one in (heads, attention, lens)} == {2}
    assert {heads.wait().heads, attention.ablated, lens.ablated} == {"L0H0 L1H2", "L1H2 L0H0"}
    heads.put(by="zero", chosen=[[2, 3]])
    assert [(one.ablated, one.ablated_by) for one in (panel, attention, lens)] == [
        ("L2H3", "zero")
    ] * 3
    attention.head = "L2H1"
    assert heads.pointer == [2, 1] and panel.head == "L2H1"
    attention.token = 5
    assert lens.token == panel.token == 5
    heads.put(prompt=-1)  # the mean is no prompt: the others stay
    assert panel.prompt == 2


@pytest.mark.parametrize("by", ["mean", "zero"])
def test_an_ablation_is_the_same_in_every_tab(panel, by):
    panel.put(prompt=1, ablated="L1H2 L0H1", ablated_by=by)
    heads = panel.child("heads").wait()
    there = heads.value["next tokens"][0]
    here = panel.wait().reply["top"][0]
    assert (here["token"], here["now"]) == (there["token"], pytest.approx(there["now"], abs=1e-5))
    lens = panel.child("lens").wait()
    assert lens.reply["list"][0][1] == pytest.approx(there["now"], abs=1e-4)


def test_attention_under_an_ablation_is_that_of_the_head_widget(tiny, task, panel):
    panel.put(prompt=1, ablated="L0H1", head="L2H3")
    attention, heads = panel.child("attention").wait(), panel.child("heads").wait()
    pattern = attention.value["pattern"].values
    rows = heads.attention["rows"]
    assert (heads.attention["layer"], heads.attention["head"]) == (2, 3)
    for dest, row in enumerate(rows):
        assert pattern[dest, : dest + 1] == pytest.approx(row, abs=2e-3)
    plain = interp.attention_patterns(tiny, task[1], "L2H3").values
    assert abs(plain - pattern).max() > 1e-3


def test_what_was_done_in_its_tabs_is_part_of_its_state(tiny, task, panel, closed_after):
    patching = panel.child("patching")
    patching.put(prompt=-1, site="heads", cell=[1, 3])
    panel.child("lens").put(by="prob")
    panel.put(prompt=2, head="L0H1")
    assert patching.in_panel and patching.prompt == 2 and not panel.in_panel
    state = copy.deepcopy(panel.state)
    later = closed_after(explore(tiny, task))  # its tabs are made when they are opened
    restore(later, state)
    assert later.tab == "lens" and later.child().by == "prob"
    there = later.child("patching")
    assert (there.site, there.cell, there.prompt) == ("heads", [0, 1], 2)
    assert there.state == patching.state
    there.put(site="resid_pre", cell=[1, 2])
    later.follow(panel.link)  # a widget that is there already is set, too
    assert later.tab == "lens" and there.state == patching.state


def test_a_text_has_no_circuit_and_says_what_has(tiny, closed_after):
    free = closed_after(explore(tiny, "When Mary and John went", ablated="L0H1", tab="heads"))
    assert free.tabs == ["next tokens", "heads", "attention", "lens", "patching"]
    assert free.child().wait().heads == "L0H1"
    free.tab = "circuit"
    assert "interp.tasks.pairs(" in free.problem
    patching = free.child("patching")
    assert "type a corrupted prompt" in patching.wait().problem and patching.clean == free.text
    patching.corrupted = "When Mary and Tom went"
    free.put(text="When Anna and John went")
    assert patching.wait().clean == free.text and patching.corrupted.endswith("Tom went")
    free.tab = "lens"
    assert free.problem == ""
    again = closed_after(eval(free.code.splitlines()[0], {"interp": interp, "model": tiny}))
    assert (again.tab, again.ablated, again.text) == ("lens", "L0H1", free.text)


def test_errors_are_a_line(panel):
    panel.put(ablated="L9H9")
    assert "no such layer" in panel.wait().problem
    panel.put(ablated="", token=99)
    assert "token=99 is none of them" in panel.wait().problem
    panel.put(token=-1, ablated_by="half")
    assert "by 'mean' or 'zero'" in panel.wait().problem


def test_a_link_ends(tiny, task, closed_after):
    a = closed_after(interp.widgets.heads(tiny, task, prompt=1))
    b = closed_after(interp.widgets.patching(tiny, task, site="heads"))
    tied = link(a, b)
    assert b.prompt == 1 and a.linked == b.linked != ""
    b.put(cell=[1, 3])
    assert a.pointer == [1, 3]
    tied.close()
    a.put(prompt=0)
    assert b.prompt == 1 and a.linked == ""


def test_two_widgets_of_training_show_the_same_step(closed_after, panel):
    def curve(steps):
        values = interp.Result(
            [float(s) for s in steps], ("step",), {"step": steps}, "loss", "nats"
        )
        return closed_after(interp.widgets.training(values))

    a, b = curve([0, 10, 20]), curve([0, 10, 30])
    link(a, b)
    a.step = 10
    assert b.step == 10
    b.step = 30  # a has no such checkpoint
    assert a.step == 10 and not a.problem
    with pytest.raises(ValueError, match="shares nothing with the others"):
        link(a, panel)


def test_what_cannot_be_linked(tiny, task, closed_after):
    a = closed_after(interp.widgets.heads(tiny, task))
    with pytest.raises(ValueError, match=r"needs two widgets: interp\.widgets\.link\(a, b\)"):
        link(a)
    with pytest.raises(ValueError, match="widgets are a Widget, not 'L0H1'"):
        link(a, "L0H1")


def test_the_static_twin_is_that_of_the_open_tab(panel):
    plain = panel.png()
    panel.child("heads").wait()
    assert panel.png() != plain and "heads" in repr(panel)


JS = """
import test from "node:test";
import assert from "node:assert/strict";
import { tabAfter, surprise } from "./widget.mjs";

test("arrow keys stay within the tabs", () => {
  const tabs = ["a", "b", "c"];
  assert.deepEqual(["ArrowRight", "ArrowLeft", "Home", "End", "x"].map((k) => tabAfter(tabs, "b", k)), ["c", "a", "a", "c", null]);
  assert.equal(tabAfter(tabs, "c", "ArrowRight"), "c");
});
test("what was expected is pale, what was not is dark", () => {
  assert.equal(surprise(1), 0);
  assert.equal(surprise(null), 0);
  assert.equal(surprise(0.5), 0.1);
  assert.equal(surprise(0), 1);
});
"""


def test_the_page(tmp_path):
    run_in_node("next_tokens explore", JS, tmp_path)
