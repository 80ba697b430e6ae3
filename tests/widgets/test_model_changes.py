"""A model that is changed while widgets show it: its new numbers, or a sentence; never the old ones."""

import numpy as np
import pytest
import torch

import interp
from interp import features, widgets
from interp.widgets import _base, _kept


@pytest.fixture
def model():
    return interp.load("tiny")  # one's own, which may be changed


@pytest.fixture
def ioi(model):
    return interp.tasks.ioi(model, n=2)


def change(model, by=0.05):
    """Other weights in every layer, as training leaves them."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(by * torch.randn(weight.shape, generator=generator))


def circuit(model, task):
    like = interp.discover(interp.models.tiny(), task, method="eap")
    edges = [("L0H1", "mlp.1.in"), ("L1H2", "logits.in"), ("embed", "mlp.1.in")]
    return widgets.circuit(interp.Circuit.of(edges, like=like), model, task)


def shown(widget):
    """All numbers of the widget, in one row."""
    found = []

    def walk(x):
        if isinstance(x, dict):
            [walk(v) for k, v in sorted(x.items()) if k != "question"]
        elif isinstance(x, (list, tuple)):
            [walk(v) for v in x]
        elif isinstance(x, float):
            found.append(x)

    walk([getattr(widget, name) for name in ("reply", *widget.answers)])
    return np.array(found)


def same(a, b):
    return a.shape == b.shape and np.allclose(a, b, atol=1e-3)


# how one is made, and a click
WIDGETS = {
    "heads": (lambda m, t: widgets.heads(m, t, heads="L1H2"), {"heads": "L0H1"}),
    "heads of a text": (lambda m, t: widgets.heads(m, "Mary and John went"), {"heads": "L0H1"}),
    "lens": (lambda m, t: widgets.lens(m, t, ablated="L0H1"), {"layer": 0}),
    "attention": (
        lambda m, t: widgets.attention(m, t, find="entropy", wall=True),
        {"head": "L1H0"},
    ),
    "patching": (lambda m, t: widgets.patching(m, t, cell=[1, 3]), {"cell": [0, 2]}),
    "circuit": (circuit, {"cut": ["L0H1 -> mlp.1.in"]}),
    "explore": (lambda m, t: widgets.explore(m, t, ablated="L0H1"), {"token": 3}),
}


@pytest.mark.parametrize("name", WIDGETS)
def test_after_a_change_a_widget_shows_what_a_new_one_does(model, ioi, closed_after, name):
    make, click = WIDGETS[name]
    old = closed_after(make(model, ioi))
    before = shown(old)
    assert old.weights == 0
    change(model)
    old.wait()
    assert old.weights == 1 and old.fits() and all(old.fits(one) for one in old.answers)
    new = closed_after(make(model, ioi))
    np.testing.assert_allclose(shown(old), shown(new), atol=1e-5)
    assert not same(shown(old), before)
    # a click finds out by itself, and shows no number that is half of the one, half of the other
    change(model, 0.03)
    frames = []
    names = ("reply", *old.answers)

    def frame(change):
        if name != "circuit" or "numbers" in old.reply:
            frames.append((old.weights, old.fits()))

    old.observe(frame, names)
    old.put(**click)
    old._all_done(60)
    new.put(**click)
    np.testing.assert_allclose(shown(old), shown(new.wait()), atol=1e-5)
    assert old.weights == new.weights + 1 == 2
    assert all(weights == 2 for weights, fits in frames if fits), frames


def test_a_cell_that_changes_the_model_renews_every_widget_that_is_open(model, ioi, closed_after):
    one = closed_after(widgets.lens(model, ioi))
    panel = closed_after(widgets.explore(model, ioi, tab="heads"))
    child = panel.child()
    old = shown(one), shown(child)
    _kept._after_cell()
    assert one.weights == child.weights == 0
    change(model)
    _kept._after_cell()
    for widget in (one, child, panel):  # some look later: another's run was under way
        widget._all_done(60)
    assert one.weights == child.weights == panel.weights == 1
    assert not same(old[0], shown(one)) and not same(old[1], shown(child))
    one.close()
    change(model)
    _kept._after_cell()
    assert one.weights == 1


def test_pinned_numbers_of_other_weights_are_told(model, ioi, closed_after):
    grid = closed_after(widgets.heads(model, ioi, heads="L1H2"))
    grid.pin()
    assert grid.wait().fingerprint == grid.pins[0]["of"]
    change(model)
    assert grid.wait().fingerprint != grid.pins[0]["of"]
    later = closed_after(widgets.heads(interp.load("tiny"), ioi))  # the weights as they were
    widgets.restore(later, grid.state)
    assert later.wait().fingerprint == later.pins[0]["of"]


def test_in_training_mode_no_number_is_shown(model, ioi, closed_after):
    one = closed_after(widgets.heads(model, ioi))
    model.train()
    one.wait()
    assert not one.fits() and "training mode" in one.problem
    with pytest.raises(ValueError, match="training mode"):
        _ = one.value
    model.eval()
    assert one.wait().fits() and one.problem == ""


def test_cards_of_another_model_are_refused_and_the_panel_makes_its_tab_again(
    model, ioi, closed_after
):
    acts = features.activations(model, "resid_post.1", tokens=400)
    sae = features.baselines(acts, k=4, width=8)[0]
    seen = features.firings(model, sae, on=acts)
    one = closed_after(widgets.features(model, sae, seen))
    panel = closed_after(widgets.explore(model, ioi, dictionary=sae, on=seen, tab="features"))
    first = panel.child().wait()
    circuit = panel.child("circuit")
    circuit.put(shown=3)
    circuit.wait()
    assert one.fits() and first.fits()
    change(model)
    with pytest.raises(ValueError, match="make the widget again"):
        _ = one.value
    with pytest.raises(ValueError, match="make the widget again"):
        _ = one.card
    assert not one.fits() and "make the widget again" in one.wait().problem
    made = panel.wait().children["circuit"]  # found out again: the open tab at once
    assert made is not circuit and made.shown == 3 and circuit.comm is None
    scores = interp.discover(model, ioi, method="eap_ig")
    best = float(np.nanmax(abs(scores.values)))
    assert made.plan["largest"] == pytest.approx(best, rel=1e-3)
    assert panel.child("features").wait().fits()  # the others when they are opened


def test_a_model_that_changes_in_every_run_ends_with_a_sentence(tiny, closed_after):
    states = iter(range(10**6))

    class Restless(_base.Widget):
        inputs = ("asked",)

        def _ask(self):
            self._work(lambda stale: 1.0, lambda x: self._give("reply", {"x": x}))

    one = closed_after(Restless(model_now=lambda: next(states)))
    for _ in range(6):
        one.wait()
    assert "changes each time" in one.problem and one.fits()
