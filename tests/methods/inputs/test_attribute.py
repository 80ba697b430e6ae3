"""Attribution to tokens: what adds up does, and every method equals a slow version of itself."""

from functools import cache
from itertools import permutations

import numpy as np
import pytest
import torch

import interp
from interp.edits import set_to
from interp.interventions import Intervention
from interp.methods.inputs import attribute, baselines
from interp.methods.inputs.attribute import METHODS
from interp.methods.runs.metrics import metric_of
from interp.models import bridge


@pytest.fixture(scope="module")
def asked(any_tiny):
    return any_tiny, interp.tasks.ioi(any_tiny, 3)


def value(model, task, embeddings):
    """The task's metric when these embeddings are read."""
    logits = interp.run(model, task.clean, [Intervention("embed", set_to(embeddings))]).logits
    return metric_of(task).of(logits[:, -1], {})


def ends(model, task, baseline=None):
    return baselines.embedded(model, task.clean), baselines.absent(model, task, baseline)[0]


@pytest.mark.parametrize("baseline", [None, 3])
def test_gradients_on_the_way_add_up(asked, baseline):
    model, task = asked
    found = attribute(model, task, baseline=baseline, steps=20)
    actual, absent = ends(model, task, baseline)
    whole = value(model, task, actual) - value(model, task, absent)
    close = 0.02 * float(whole.abs().max()) + 1e-4
    assert np.allclose(found.examples.sum(0), whole.numpy(), atol=close)
    assert found.metadata["missing"] < 0.02
    with_prompt, without = found.metadata["with_prompt"], found.metadata["without_prompt"]
    assert with_prompt - without == pytest.approx(float(whole.mean()), abs=1e-4)


def test_the_gradient_is_the_slope_of_the_metric(asked):
    model, task = asked
    found = attribute(model, task, by="gradient x input")
    actual, absent = ends(model, task)
    step = 1e-2
    rise = value(model, task, torch.lerp(absent, actual, 1 + step)) - value(
        model, task, torch.lerp(absent, actual, 1 - step)
    )
    assert np.allclose(found.examples.sum(0), (rise / (2 * step)).numpy(), atol=2e-2)


def test_occlusion_takes_one_token_away(asked):
    model, task = asked
    found = attribute(model, task, by="occlusion")
    actual, absent = ends(model, task)
    whole = value(model, task, actual)
    for pos in range(task.clean.shape[1]):
        without = actual.clone()
        without[:, pos] = absent[:, pos]
        lost = whole - value(model, task, without)
        assert np.allclose(found.examples[pos], lost.numpy(), atol=1e-4)


def test_shapley_values_of_a_short_prompt_are_the_mean_over_all_orders(tiny):
    task = interp.tasks.pairs(tiny, ["cat saw the"], answers=[" it"])
    found = attribute(tiny, task, by="shapley")
    actual, absent = ends(tiny, task)
    length = actual.shape[1]
    assert found.metadata["orders"] == "all" and length <= 5

    @cache
    def worth(tokens):
        there = torch.tensor([pos in tokens for pos in range(length)])[None, :, None]
        return float(value(tiny, task, torch.where(there, actual, absent)))

    gains = np.zeros(length)
    for order in (orders := list(permutations(range(length)))):
        for i, pos in enumerate(order):
            rise = worth(frozenset(order[: i + 1])) - worth(frozenset(order[:i]))
            gains[pos] += rise / len(orders)
    assert np.allclose(found.values, gains, atol=1e-4)


def test_drawn_orders_add_up_for_each_prompt_and_come_near_the_exact_values(tiny, monkeypatch):
    task = interp.tasks.pairs(tiny, ["the cat saw the"], answers=[" it"])
    exact = attribute(tiny, task, by="shapley")
    monkeypatch.setattr("interp.methods.inputs.token_removal.EXACT", 0)
    few, many = (attribute(tiny, task, by="shapley", samples=n) for n in (4, 200))
    for found in (few, many):
        assert np.allclose(found.examples.sum(0), exact.examples.sum(0), atol=1e-4)
    error = many.metadata["sampling_error"]
    assert np.abs(many.values - exact.values).max() < 4 * error + 1e-5
    again = attribute(tiny, task, by="shapley", samples=4)
    assert np.array_equal(again.values, few.values)


def test_the_knock_out_is_the_verb_s_with_all_layers(asked):
    model, task = asked
    found = attribute(model, task, by="knock-out")
    n_layers = len(interp.sites.expand("L*H0", bridge.dims(model)).coords["layer"])
    for pos in (0, 3):
        verb = interp.attention_knockout(
            model, task, "END", pos, window=n_layers, every=max(1, n_layers // 2)
        ).sel(layer=n_layers // 2)
        assert np.allclose(found.examples[pos], -verb.examples, atol=1e-4)


def test_attention_is_what_the_patterns_say(asked):
    model, task = asked
    patterns = interp.attention_patterns(model, task).examples  # layer head dest src batch
    last = attribute(model, task, by="last attention")
    assert np.allclose(last.examples, patterns[-1, :, -1].mean(0), atol=1e-6)
    everywhere = attribute(model, task, by="mean attention")
    assert np.allclose(everywhere.examples, patterns[:, :, -1].mean((0, 1)), atol=1e-6)
    rollout, n = attribute(model, task, by="rollout"), len(task)
    for prompt in range(n):
        row = np.zeros(patterns.shape[2])
        row[-1] = 1.0
        for layer in reversed(patterns[..., prompt].mean(1)):  # from the last layer down
            row = 0.5 * row + 0.5 * row @ layer
        assert np.allclose(rollout.examples[:, prompt], row, atol=1e-5)
    for found in (last, everywhere, rollout):
        assert np.allclose(found.examples.sum(0), 1, atol=1e-5)
        assert found.unit == "share of attention" and "baseline" not in found.metadata


def test_named_places_are_the_positions_of_each_prompt_at_any_length(tiny):
    task = interp.tasks.ioi(tiny, 3)
    every = attribute(tiny, task, by="occlusion")
    some = attribute(tiny, task, by="occlusion", at=["S2", "END", 0])
    assert some.dims == ("place",) and some.coords["place"] == ["S2", "END", "0"]
    for prompt in range(3):
        at = int(task.positions["S2"][prompt])
        assert some.examples[0, prompt] == every.examples[at, prompt]
    texts = ["the cat saw the", "the dog"]
    mixed = attribute(tiny, texts, by="occlusion", at=[0, "END"])
    alone = attribute(tiny, texts[1], by="occlusion", at=[0, "END"])
    assert np.allclose(mixed.examples[:, 1], alone.examples[:, 0], atol=1e-5)


def test_the_mean_baseline_is_the_mean_token_where_it_stands(any_tiny):
    task = interp.tasks.ioi(any_tiny, 2)
    size = bridge.dims(any_tiny).d_vocab
    found, _ = baselines.absent(any_tiny, task, "mean")
    column = torch.arange(size)[:, None].expand(-1, task.clean.shape[1])
    mean, actual = (baselines.embedded(any_tiny, ids) for ids in (column, task.clean))
    assert torch.allclose(found[0, 1:], mean.mean(0)[1:], atol=1e-5)
    assert torch.equal(found[:, 0], actual[:, 0])  # BOS stays


@pytest.mark.parametrize(
    "options, words",
    [
        ({"by": "lime"}, "lime"),
        ({"baseline": "When Mary and"}, "When Mary and"),
        ({"baseline": 10**6}, "1000000"),
        ({"at": ["IOO"]}, "IOO"),
        ({"at": []}, "at="),
        ({"steps": 0}, "steps=0"),
    ],
)
def test_what_cannot_be_asked_is_said(tiny, options, words):
    with pytest.raises(ValueError, match=words):
        attribute(tiny, interp.tasks.ioi(tiny, 2), **options)


def test_a_sum_that_has_not_converged_is_warned_about(tiny):
    task = interp.tasks.ioi(tiny, 2)
    with pytest.warns(UserWarning, match="have not converged"):
        found = attribute(tiny, task, steps=2, baseline="zero")
    assert found.metadata["missing"] > 0.1  # next to zero a norm's gradient has no bound


@pytest.mark.parametrize("by", METHODS)
def test_every_method_draws_itself(tiny, by):
    found = attribute(tiny, interp.tasks.ioi(tiny, 2), by=by, steps=8)
    assert len(found.coords["pos"]) == len(found.values)
    assert found.plot() is not None
