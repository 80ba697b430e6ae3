"""Widgets in plain Python: traits and callables, no page. The numbers are those of `interp.ablate`."""

import threading
import time

import numpy as np
import pytest

import interp
from interp import widgets
from interp.interventions import Intervention, run
from interp.models import bridge
from interp.widgets import _base
from interp.widgets import _head_runs as runs
from interp.widgets._head_names import heads_of, patterns_of, text_of
from interp.widgets._lanes import Lane


@pytest.fixture
def grid(tiny, task, closed_after):
    return closed_after(widgets.heads(tiny, task))


def change(grid):
    diff = grid.value["logit difference"]
    return diff["now"] - diff["clean"]


# --- the worker -----------------------------------------------------------------------------------


def test_only_the_newest_of_the_waiting_jobs_runs_and_the_running_one_is_stale():
    lane, done, gate = Lane(), [], threading.Event()
    lane.put(lambda stale: (gate.wait(5), done.append(("first", stale()))))
    time.sleep(0.05)
    lane.put(lambda stale: done.append(("second", stale())))
    lane.put(lambda stale: done.append(("third", stale())))
    assert not lane.wait(0.01)
    gate.set()
    assert lane.wait(5) and done == [("first", True), ("third", False)]


class Slow(_base.Widget):
    inputs = ("asked",)

    def __init__(self, job):
        self.job = job
        super().__init__()

    def _ask(self):
        self._work(self.job, lambda said: self._give("reply", {"said": said}))


def test_a_late_answer_is_dropped_and_long_work_says_so():
    gate, seen = threading.Event(), []
    answers = iter([lambda: gate.wait(5) and "late", lambda: "new"])
    widget = Slow(lambda stale: next(answers)())
    widget.observe(lambda change: seen.append(change["new"]), "busy")
    time.sleep(_base.SLOW + 0.15)
    assert widget.busy == "computing"
    widget.asked = 1
    gate.set()
    widget.wait()
    assert (
        widget.value == {"said": "new"}
        and widget.answered == 1
        and widget.busy == ""
        and "computing" in seen
    )


def test_an_error_is_a_line_and_the_next_answer_takes_it_away():
    def wrong():
        raise ValueError("no such thing")

    answers = iter([wrong, lambda: 1 / 0, lambda: "fine"])
    widget = Slow(lambda stale: next(answers)())
    assert (
        widget.wait().problem == "no such thing" and not widget.trouble and b"PNG" in widget.png()
    )
    widget.asked += 1
    assert "ZeroDivisionError" in widget.wait().problem and "1 / 0" in widget.trouble
    widget.asked += 1
    assert widget.wait().problem == "" and widget.value == {"said": "fine"}


def test_an_error_does_not_stand_under_the_next_question():
    gate = threading.Event()

    def wrong():
        raise ValueError("no such thing")

    answers = iter([wrong, lambda: gate.wait(5) and "fine"])
    widget = Slow(lambda stale: next(answers)()).wait()
    assert widget.problem == "no such thing"
    widget.asked += 1
    assert widget.problem == ""
    gate.set()
    assert widget.wait().value == {"said": "fine"}


def test_steps_are_shown_one_by_one_under_the_lock_of_all_model_runs():
    def free():  # whether another thread can take the lock now
        got = []
        thread = threading.Thread(
            target=lambda: got.append(
                bridge.LOCK.acquire(timeout=0.2) and (bridge.LOCK.release(), True)[1]
            )
        )
        thread.start()
        thread.join()
        return got[0]

    inside = []

    def job(stale):
        for i in range(3):
            inside.append(free())
            yield i if i else None

    shown = []
    widget = Slow(lambda stale: job(stale))
    widget.observe(lambda change: shown.append((change["new"]["said"], free())), "reply")
    widget.asked += 1
    widget.wait()
    assert shown[-2:] == [(1, True), (2, True)] and not any(inside)


def test_a_closed_widget_listens_to_nothing(grid):
    grid.close()
    grid.by = "zero"
    assert all(lane.wait(1) for lane in grid._lanes.values())
    assert grid.comm is None and "by='mean'" in grid.python


def test_an_answer_carries_its_question_and_no_other_is_given(task, tiny, closed_after):
    grid = closed_after(widgets.heads(tiny, task))
    asked = {name: getattr(grid, name) for name in grid.inputs}
    assert (
        grid.reply["question"] == {**asked, "weights": 0} and grid.fits() and grid.fits("colours")
    )
    seen = []
    grid.observe(lambda change: seen.append((grid.fits(), change["new"]["question"])), "reply")
    gate, inner = threading.Event(), grid._compute

    def slow(*state):
        gate.wait(5)
        yield from inner(*state)

    grid._compute = slow
    grid.heads = "L1H2"
    assert not grid.fits() and grid.fits("colours")  # the grid's colours do not depend on the marks
    grid.by = "zero"
    gate.set()
    grid.wait()
    assert grid.fits() and seen and all(fits for fits, _ in seen)
    assert seen[-1][1]["by"] == "zero" and seen[-1][1]["chosen"] == [[1, 2]]


def test_a_question_that_cannot_be_answered_has_no_value(grid):
    grid.by = "freezing"
    with pytest.raises(ValueError, match="freezing"):
        grid.value  # not the numbers of the mean ablation under another name
    assert not grid.fits()
    grid.by = "mean"
    assert grid.value["by"] == "mean"


# --- names of heads -------------------------------------------------------------------------------


def test_heads_are_read_as_people_type_them(tiny):
    dims = bridge.dims(tiny)
    assert heads_of("L1H0, L2KV1", dims) == {(1, 0), (2, 2), (2, 3)}
    assert heads_of("L*H0 L1H*", dims) == {(0, 0), (2, 0), *((1, h) for h in range(4))}
    assert heads_of("  ", dims) == frozenset()
    for text in ("", "L0H1", "L1H*", "L*H2 L0H0", "L*H*"):
        assert text_of(heads_of(text, dims), dims) == text
    rng = np.random.default_rng(0)
    for _ in range(50):
        some = {(int(l), int(h)) for l, h in np.argwhere(rng.random((3, 4)) < rng.random())}
        assert (
            heads_of(text_of(some, dims), dims)
            == some
            == {p for one in patterns_of(some, dims) for p in heads_of(one, dims)}
        )


@pytest.mark.parametrize(
    "text, said",
    [
        ("H3", "not an address: 'H3'"),
        ("L9H0", "no such layer"),
        ("L0H7", "no such head"),
        ("L1KV5", "no such KV head"),
        ("mlp.1", "not a head"),
        ("L1H0.q", "not a head"),
    ],
)
def test_a_wrong_head_is_quoted(tiny, text, said):
    with pytest.raises(ValueError, match=said):
        heads_of(text, bridge.dims(tiny))


# --- the head grid --------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["mean", "zero", "resample", "scale"])
def test_its_numbers_are_those_of_ablate_and_its_code_gives_them(any_tiny, by):
    model, task = any_tiny, interp.tasks.ioi(any_tiny, n=3)
    grid = widgets.heads(model, task, by=by, heads="L0H1 L2H*")
    for prompt in (0, 2, -1):
        grid.prompt = prompt
        moved = change(grid)
        assert not grid.problem
        again = eval(grid.code.splitlines()[-1], {"interp": interp, "model": model, "task": task})
        assert moved == pytest.approx(float(again), abs=1e-4) and abs(moved) > 1e-3
    grid.close()


def test_a_click_after_another_starts_in_the_middle_and_changes_no_number(tiny, task, grid):
    for heads in ("L0H1", "L0H1 L2H3", "L0H1 L1H2 L2H3", "L1H2 L2H3", "L1H2", "L0H1 L1H2"):
        grid.heads = heads
        expected = interp.ablate(tiny, task, heads.split(), metric="logit_diff").examples[0]
        assert change(grid) == pytest.approx(float(expected), abs=1e-4)


def test_by_hooks_it_says_the_same(tiny, task, grid, monkeypatch):
    from interp import engine

    monkeypatch.setattr(engine, "find", lambda model: None)
    hooks = widgets.heads(tiny, task)
    for heads, by in (("L0H1 L1H3", "mean"), ("L1H2", "scale"), ("L2H0", "resample")):
        for one in (grid, hooks):
            one.by, one.heads, one.pointer = by, heads, [2, 1]
        assert change(hooks) == pytest.approx(change(grid), abs=1e-4)
        assert np.allclose(
            sum(hooks.attention["rows"], []), sum(grid.attention["rows"], []), atol=2e-3
        )
    hooks.close()


def test_the_attention_is_that_of_the_ablated_run(tiny, task, grid):
    grid.pointer = [2, 1]
    clean = interp.attention_patterns(tiny, task[[0]], "L2H1").values
    grid.wait()
    assert np.allclose(grid.attention["rows"][-1], clean[-1], atol=1e-3)
    grid.heads = "L0H*"
    grid.wait()
    assert not np.allclose(grid.attention["rows"][-1], clean[-1], atol=1e-2)


def test_all_but_the_marked(tiny, task, grid):
    grid.heads, grid.keep = "L1H2 L0H*", True
    others = ["L1H0", "L1H1", "L1H3", "L2H*"]
    assert len(grid.value["heads"]) == 7
    assert change(grid) == pytest.approx(
        float(interp.ablate(tiny, task, others, metric="logit_diff").examples[0]), abs=1e-4
    )


def test_nothing_ablated_is_the_clean_run_exactly(grid):
    grid.heads = "L1H1"
    grid.wait()
    grid.heads = ""
    assert change(grid) == 0.0 and grid.value["heads"] == []


def test_undo_goes_back_step_by_step(grid):
    for heads in ("L0H0", "L0H0 L1H1"):
        grid.heads = heads
    grid.keep = True
    assert grid.steps == 3
    grid.undo()
    assert (grid.heads, grid.keep, grid.steps) == ("L0H0 L1H1", False, 2)
    grid.undo()
    grid._receive(grid, {"do": "undo"}, [])
    assert (grid.wait().chosen, grid.steps) == ([], 0)
    grid.undo()


def test_bad_input_is_a_line_and_changes_nothing(grid):
    grid.heads = "L1H1"
    before = grid.value
    for trait, wrong, said in [
        ("heads", "L9H9", "no such layer"),
        ("chosen", [[7, 0]], "no such head: L7H0"),
        ("by", "men", "did you mean 'mean'"),
        ("prompt", 5, "no prompt 5"),
    ]:
        good = getattr(grid, trait)
        setattr(grid, trait, wrong)
        assert said in grid.wait().problem
        setattr(grid, trait, good)
        grid.asked += 1
        assert grid.wait().problem == "" and grid.value == before


def test_one_message_of_the_page_asks_once(grid):
    asked = []
    grid._ask = lambda: asked.append((grid.by, grid.chosen))
    grid.set_state({"by": "zero", "chosen": [[0, 1]], "asked": 1})
    assert asked == [("zero", [[0, 1]])]


def test_a_prompt_of_ones_own(tiny):
    grid = widgets.heads(tiny, "When Mary and John went", heads="L1H1", by="zero")
    said = eval(grid.code.splitlines()[-1], {"interp": interp, "model": tiny})
    assert change(grid) == pytest.approx(float(said), abs=1e-4)
    assert len(grid.prompts) == 1 and grid.reply["mean"] is None
    grid.text = "Mary " * 400
    assert "the model reads at most 256" in grid.wait().problem
    grid.text = " "
    assert "an empty prompt" in grid.wait().problem
    grid.text = "When John and Mary went to the"
    assert grid.wait().problem == "" and grid.prompts == ["When John and Mary went to the"]
    grid.by = "mean"
    said = eval(grid.code.splitlines()[-1], {"interp": interp, "model": tiny})
    assert change(grid) == pytest.approx(float(said), abs=1e-4)
    grid.close()


def test_the_grid_takes_any_result_over_layer_and_head(tiny, task):
    scores = interp.methods.attention.attention_between(tiny, task, "END", "IO")
    grid = widgets.heads(tiny, task, scores).wait()
    assert grid.colours["unit"] == "share of attention" and np.allclose(
        grid.values, scores.values.ravel(), atol=1e-3
    )
    some = widgets.heads(tiny, task, scores.sel(layer=[2])).wait()
    assert some.values[:4] == [None] * 4 and some.values[8] is not None
    with pytest.raises(ValueError, match="over layer and head"):
        widgets.heads(tiny, task, interp.logit_lens(tiny, task))


def test_a_saved_notebook_shows_the_picture(grid):
    grid.heads = "L1H1"
    data, _ = grid._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "<img alt=" in data["text/html"] and "data:image/png;base64," in data["text/html"]
    assert "1 ablated" in data["text/plain"] and "L1H1" in data["text/html"]
    assert "id=" not in data["text/html"].split("base64,")[0]


def test_the_picture_is_no_pyplot_figure(grid):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    figure = grid.static()
    assert plt.get_fignums() == before and len(figure.axes) == 3  # grid, colour bar, tokens


def test_an_unknown_widget_is_told():
    with pytest.raises(AttributeError, match="did you mean 'heads'"):
        _ = widgets.head


def test_redo_comes_back_until_something_new_is_done(tiny, task, closed_after):
    w = closed_after(widgets.heads(tiny, task))
    w.heads = "L1H2"
    w.heads = "L1H2 L0H0"
    w.undo()
    assert (w.heads, w.steps, w.ahead) == ("L1H2", 1, 1)
    w.redo()
    assert (w.heads, w.steps, w.ahead) == ("L0H0 L1H2", 2, 0)
    w.undo()
    w.heads = "L0H3"
    w.redo()
    assert (w.heads, w.ahead) == ("L0H3", 0)


def test_a_pinned_state_keeps_its_numbers_and_comes_back(tiny, task, closed_after):
    w = closed_after(widgets.heads(tiny, task, heads="L1H2", by="zero"))
    w.pin()
    before = w.value["logit difference"]["now"]
    w.put(heads="L2H0", by="mean")
    w.pin()
    assert [one["letter"] for one in w.pins] == ["A", "B"]
    assert w.pins[0]["logit_diff"] == before != w.pins[1]["logit_diff"]
    w._receive(w, {"do": "return", "letter": "A"}, [])
    assert (w.heads, w.by) == ("L1H2", "zero")
    assert w.value["logit difference"]["now"] == before
    w._receive(w, {"do": "unpin", "letter": "A"}, [])
    assert [one["letter"] for one in w.pins] == ["B"]


@pytest.mark.parametrize("name", ["ablation", "patching", "induction"])
def test_the_colours_are_those_of_the_verb(tiny, task, closed_after, name):
    few = task[:3]
    expected = {
        "ablation": lambda: interp.ablate(tiny, few, "L*H*", by="mean", metric="logit_diff"),
        "patching": lambda: interp.patch(tiny, few, "L*H*", metric="logit_diff"),
        "induction": lambda: interp.head_scores(tiny, "induction").sel(score="induction"),
    }[name]().values
    w = closed_after(widgets.heads(tiny, task, colour=name))
    assert w.colours["values"] == pytest.approx(expected.ravel().tolist(), rel=2e-3, abs=1e-6)
    w.colour = "no such"
    assert "colour of the grid" in w.wait().problem


def test_a_link_brings_the_state_to_another_widget(tiny, task, closed_after):
    w = closed_after(widgets.heads(tiny, task, heads="L1H2", by="zero", prompt=1))
    v = closed_after(widgets.heads(tiny, task))
    v.follow(w.link)
    assert v.value == w.value
    with pytest.raises(ValueError, match="no link of this widget"):
        v.follow("LensWidget?by=1")


def test_what_is_shown_can_be_saved(tiny, task, closed_after):
    w = closed_after(widgets.heads(tiny, task))
    assert w.export("png").startswith(b"\x89PNG") and b"<svg" in w.export("svg")
    assert w.export("csv").decode().splitlines()[0].startswith("token,now")
    with pytest.raises(ValueError, match="'png', 'svg' or 'csv'"):
        w.export("pdf")


@pytest.mark.parametrize("prompt", ["task", "text"])
def test_the_heads_that_are_named_are_those_whose_small_ablation_changes_most(
    any_tiny, closed_after, prompt
):
    given = interp.tasks.ioi(any_tiny, n=2) if prompt == "task" else "When Mary and John went to"
    w = closed_after(widgets.heads(any_tiny, given, prompt=-1, colour="estimated ablation"))
    values = np.array(w.colours["values"]).reshape(w.n_layers, w.n_heads)
    named = [index for index, _ in w.likely["heads"]]
    said = [effect for _, effect in w.likely["heads"]]
    assert said == pytest.approx(values.ravel()[named].tolist(), rel=1e-2)
    if prompt == "text":  # of several prompts those that change most in each, whatever the sign
        assert named == np.argsort(-abs(values).ravel(), kind="stable")[: len(named)].tolist()
    # a small step from z towards its mean, times its size: for the first head and another
    setup = runs.prepare(
        any_tiny,
        given if prompt == "task" else runs.prompt_task(any_tiny, given),
        None if prompt == "task" else lambda: runs.prose(any_tiny, len(w.attention["labels"])),
    )
    mean, step = runs.source(setup, "mean"), 0.01
    for layer, head in ([named[0] // w.n_heads, named[0] % w.n_heads], [1, 2]):
        toward = mean[layer][:1, :, head]
        edit = Intervention(f"L{layer}H{head}.z", lambda z, seen: z + step * (toward - z))
        moved = run(any_tiny, setup.task, [edit], last_only=True).logits
        metric = setup.task.with_metric("logit_diff").metric
        change = float((metric(moved) - metric(setup.logits)).mean()) / step
        assert values[layer, head] == pytest.approx(change, rel=0.1, abs=2e-3)
