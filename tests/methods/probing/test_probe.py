"""Probes: what is there is read, what is not is at chance, and what is learned by heart shows."""

import numpy as np
import pytest
import torch

import interp
from interp.methods.probing import probe_direction
from interp.methods.probing.probe import SHUFFLED, _by_heart, _halves

NAMES = "Mary John Tom James Anna Paul Mark Sarah".split()


def made(n=200, d=12, seed=0):
    """Activations with a label along a known direction, and noise elsewhere."""
    g = torch.manual_seed(seed)
    labels = torch.arange(n) % 2 == 0
    truth = torch.nn.functional.normalize(torch.randn(d, generator=g), dim=0)
    x = 0.3 * torch.randn(n, d, generator=g)
    return x + torch.where(labels, 1.0, -1.0)[:, None] * truth, labels, truth


@pytest.fixture(scope="module")
def prompts():
    """Two names, of which the first is repeated or not: 56 prompts of one length."""
    pairs = [(a, b) for a in NAMES for b in NAMES if a != b]
    return [f"When {a} and {b} went to the store, {a} gave a drink to" for a, b in pairs]


def test_a_planted_label_is_read_and_a_drawn_one_is_not(tiny):
    x, labels, truth = made(d=32)
    found = interp.probe(tiny, x, labels, "resid_post.1@END")
    assert found.coords["measure"] == ["probe", "labels shuffled by type", "most frequent label"]
    assert found.sel(measure="probe").values > 0.97
    assert abs(float(found.sel(measure="labels shuffled by type").values) - 0.5) < 0.15
    low, high = found.ci()
    assert (low <= found.values + 1e-9).all() and (found.values <= high + 1e-9).all()
    direction = probe_direction(tiny, x, labels, "resid_post.1@END")
    assert float(torch.cosine_similarity(direction.vector, truth, dim=0)) > 0.9
    assert direction.norm == pytest.approx(2, rel=0.15)  # from the one mean to the other
    assert direction.metadata["towards"] == "True" and direction.metadata["accuracy"] > 0.97


def test_what_is_learned_by_heart_shows_in_the_control(tiny):
    """Eight types, each with one activation: any labels of types can be read off."""
    kinds = torch.arange(160) % 8
    x = 3 * torch.eye(32)[kinds] + 0.1 * torch.randn(160, 32, generator=torch.manual_seed(0))
    found = interp.probe(tiny, x, kinds < 4, "resid_post.1@END", types=kinds.tolist())
    assert found.sel(measure="probe").values == 1
    assert found.sel(measure="labels shuffled by type").values == 1


def test_layers_positions_and_heads_are_axes(any_tiny, prompts):
    labels = [prompt.split()[1] in NAMES[:4] for prompt in prompts]
    found = interp.probe(any_tiny, prompts, labels, "resid_pre.*@2")
    assert found.dims == ("layer", "measure") and found.sel(layer=0, measure="probe").values > 0.9
    assert found.sel(layer=0, measure="bag of tokens").values > 0.9
    heads = interp.probe(any_tiny, prompts, labels, "L1H*.z@END")
    assert heads.dims == ("head", "measure") and heads.examples.shape[:2] == (4, 4)
    everywhere = interp.probe(any_tiny, prompts, labels, "embed@*")
    assert everywhere.dims == ("pos", "measure")
    one = interp.probe(any_tiny, prompts, labels, "embed@4")
    assert (everywhere.examples[4] == one.examples).all()


def test_each_cell_is_the_probe_of_its_activations(tiny, prompts):
    labels = [prompt.split()[3] for prompt in prompts[:56]]
    labels = ["early" if NAMES.index(name) < 4 else "late" for name in labels]
    found = interp.probe(tiny, prompts, labels, "resid_post.*@END")
    for layer in range(3):
        site = f"resid_post.{layer}@END"
        kept = interp.run(tiny, prompts, keep=[site]).kept[site]
        alone = interp.probe(tiny, prompts, labels, site)
        assert (found.sel(layer=layer).examples == alone.examples).all()
        direction = probe_direction(tiny, prompts, labels, site)
        again = probe_direction(tiny, kept, labels, site)
        assert len(direction.vector) == len(again.vector) == 32


def test_prompts_of_several_lengths_and_labels_of_several_kinds(tiny, prompts):
    longer = [*prompts[:30], *("After a while " + text for text in prompts[30:])]
    labels = [text.split(" and ")[0].split()[-1] for text in longer]
    chosen = [i for i, name in enumerate(labels) if name in NAMES[:3] + NAMES[5:]]
    found = interp.probe(
        tiny, [longer[i] for i in chosen], [labels[i] in NAMES[:3] for i in chosen], "mlp.1@END"
    )
    assert 0 <= found.sel(measure="probe").values <= 1
    thirds = [("a", "b", "c")[i % 3] for i in range(60)]
    x = torch.eye(32)[torch.arange(60) % 3]
    assert interp.probe(tiny, x, thirds, "mlp.1@END").sel(measure="probe").values == 1


def test_equal_prompts_are_in_one_half(tiny, prompts):
    """Labels that belong to nothing but the prompt: if a prompt were in both halves, its label
    would be known there.
    """
    twice = [*prompts, *prompts]
    g = np.random.default_rng(0)
    drawn = g.integers(0, 2, len(prompts)).astype(bool).tolist()
    found = interp.probe(tiny, twice, drawn + drawn, "resid_post.2@END")
    assert found.sel(measure="probe").values < 0.8


def test_steer_takes_the_direction(tiny):
    task = interp.tasks.ioi(tiny, n=24)
    labels = [order == "ABBA" for order in task.labels["order"]]
    direction = probe_direction(tiny, task, labels, "resid_post.1@END")
    steered = interp.steer(tiny, task, direction, strengths=(0, 1))
    assert steered.values[0] == 0 and np.isfinite(steered.values).all()


@pytest.mark.parametrize(
    "prompts, labels, where, says",
    [
        (["a drink"] * 3, [1, 0], "resid_post.1@END", "3 prompts and 2 labels"),
        (["a drink"] * 3, [1, 1, 1], "resid_post.1@END", "tells labels apart"),
        (["a drink", "a ring"], [1, 0], "resid_post.1@END", "needs 4 of each"),
        (["a drink", "a ring"], [1, 0], "resid_post.1", "every position"),
        (["a drink", "a drink to"], [1, 0], "resid_post.1@*", "one length"),
        (["a drink", "a ring"], [1, 0], "L1H1.pattern@END", "holds no vector"),
        (torch.zeros(4, 3, 2), [1, 0, 1, 0], "resid_post.1@END", "are those of one site"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tiny, prompts, labels, where, says):
    with pytest.raises(ValueError, match=says):
        interp.probe(tiny, prompts, labels, where)


def test_a_direction_tells_two_labels_apart(tiny):
    x = torch.eye(32)[torch.arange(60) % 3]
    labels = [("a", "b", "c")[i % 3] for i in range(60)]
    with pytest.raises(ValueError, match="there are 3"):
        probe_direction(tiny, x, labels, "mlp.1@END")
    with pytest.raises(ValueError, match="is many"):
        probe_direction(tiny, x, labels, "mlp.*@END")


def test_each_half_has_half_of_each_label(tiny):
    labels = [0] * 40 + [1] * 10 + [2] * 8
    for seed in range(20):  # by chance alone, 8 prompts would often fall 2 to 6
        given = _halves(None, len(labels), labels, seed)
        assert given.labels[given.fit].bincount().tolist() == [20, 5, 4]


def test_a_selectivity_below_zero_is_a_sentence(tiny):
    note = _by_heart(np.array([[0.5, 0.75], [0.9, 0.5]]), ["probe", SHUFFLED], "resid_post.*@END")
    assert note.startswith("in 1 of 2 cells the labels shuffled by type are read better")
    assert _by_heart(np.array([0.5, 0.5]), ["probe", SHUFFLED], "resid_post.1@END") == ""
