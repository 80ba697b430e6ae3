"""Edge scores by place: where a write is read. Summed over places they are the plain scores, and
nothing is read before the two prompts differ.
"""

import numpy as np
import pytest
import torch

import interp
from interp.circuits import Circuit
from interp.methods.circuits.discovery import eap, eap_ig, gim, relp
from interp.methods.circuits.edges import Edges
from interp.methods.runs.metrics import metric_of

EVERY = pytest.mark.parametrize("method", [eap, eap_ig, gim, relp])


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=3, seed=0)


@EVERY
def test_summed_over_places_they_are_the_plain_scores(any_tiny, ioi, method):
    places, plain = (method(any_tiny, ioi, examples=True, positions=p) for p in (True, False))
    assert places.dims == ("sender", "receiver", "place")
    assert places.coords["place"] == ["IO", "S1", "S1+1", "S2", "END", "other"]
    np.testing.assert_allclose(places.sum("place").values, plain.values, atol=2e-5)
    np.testing.assert_allclose(places.sum("place").examples, plain.examples, atol=2e-5)
    assert np.nanmax(np.abs(places.sel(place="END").values)) > 1e-4


def test_each_place_is_the_move_there_times_the_slope_there(tiny):
    task = interp.tasks.ioi(tiny, n=3, seed=0)
    graph = Edges(tiny, task, metric_of(task, None), backend="hooks")
    moved = graph.moves()
    from interp.methods.circuits.edges import _slot
    from interp.methods.runs import gradients

    tap = gradients.by_hooks(tiny, metric_of(task, None), task.clean, task.positions)
    slots = list(dict.fromkeys(map(_slot, graph.receivers)))
    slopes = tap.slopes(slots)
    each = torch.stack([slopes[_slot(r)][r.index or 0] for r in graph.receivers])
    found = eap(tiny, task, positions=True)
    rows = torch.arange(3)
    for name in ("S2", "END"):
        at = task.position(name)
        lost = moved.shape[2] - task.clean.shape[1]  # moves begin where the prompts differ
        m = moved[:, rows, at + lost]
        expected = torch.einsum("sbd,rbd->sr", m, each[:, rows, at]) / 3
        values = found.sel(place=name).values
        there = np.isfinite(values)
        np.testing.assert_allclose(values[there], expected.numpy()[there], atol=2e-5)


@EVERY
def test_nothing_is_read_before_the_prompts_differ(tiny, method):
    task = interp.tasks.ioi(tiny, n=3, seed=0)
    found = method(tiny, task, positions=True)
    differ = (task.clean != task.corrupted).any(0).nonzero().min()
    for name in task.position_names:
        if (task.position(name) < differ).all():
            assert np.nanmax(np.abs(found.sel(place=name).values)) == 0


def test_the_hooks_give_the_same_and_two_names_of_a_token_count_once(any_tiny, ioi):
    twice = ioi.but(positions={"LAST": ioi.position("END"), **ioi.positions})
    fast, slow = (eap(any_tiny, twice, positions=True, backend=b) for b in ("engine", "hooks"))
    np.testing.assert_allclose(fast.values, slow.values, atol=2e-5)
    assert np.nanmax(np.abs(fast.sel(place="END").values)) == 0
    np.testing.assert_allclose(
        fast.sel(place="LAST").values,
        eap(any_tiny, ioi, positions=True).sel(place="END").values,
        atol=1e-6,
    )


def test_prompts_of_several_lengths_have_places(tiny):
    task = interp.tasks.pairs(
        tiny,
        ["The keys to the cabinet", "The man by the doors of the old house"],
        ["The key to the cabinet", "The men by the doors of the old house"],
        answers=[" are"] * 2,
        wrong=[" is"] * 2,
        positions={"NOUN": ["keys", "man"]},
    )
    places, plain = (eap(tiny, task, positions=p) for p in (True, False))
    assert places.coords["place"] == ["NOUN", "END", "other"]
    np.testing.assert_allclose(places.sum("place").values, plain.values, atol=2e-5)


def test_what_a_circuit_is_chosen_from(tiny):
    task = interp.tasks.ioi(tiny, n=3, seed=0)
    found = eap(tiny, task, positions=True)
    with pytest.raises(ValueError, match=r"scores.sum\('place'\)"):
        Circuit.top(found, 5)
    assert (
        Circuit.top(found.sum("place"), 5).edges.keys()
        == Circuit.top(eap(tiny, task), 5).edges.keys()
    )
    assert len(Circuit.top(found.sel(place="END"), 5)) == 5
    assert len(found.top(3).labels) == 3
    found.plot()
    with pytest.raises(ValueError, match="positions=True goes with at='inputs'"):
        eap_ig(tiny, task, at="activations", positions=True)
