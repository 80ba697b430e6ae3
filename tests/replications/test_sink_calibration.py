"""The edits of the last token's attention against whole runs, the slopes, and the items."""

import dataclasses

import numpy as np
import pytest
import torch

import interp
from interp.replications import calibration_items, sink_calibration
from interp.replications.calibration_items import ITEMS, PARTS, asked, classes, shown, split_items
from interp.replications.sink_calibration import (
    QUERIES,
    THRESHOLD,
    best_heads,
    choose_heads,
    choose_in_blocks,
    edited,
    label_log_probs,
    log_probs,
    promise,
    prompts,
    random_heads,
    right,
)

PLACES = {
    "Greek": "Anthony|Walter|Nancy|Christina|Hugo|Wendy from Ireland|Nathaniel|Iris|Derek|Alicia",
    "quiet": "David|Patrick|Roy|Samantha|Tim|John|Mary|Anna in the library|Paul|Laura",
    "new": "Kevin|Brian|George|Edward|Jason|Jeff|Ryan|Jacob of Switzerland|Gary|Eric",
}


@pytest.fixture(scope="module")
def some(tiny):
    """A task in words that the tiny model's tokenizer knows, of prompts of two lengths."""
    beginning = "The park and the school and the river and the beach and the museum are old .\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(calibration_items.ITEMS, "places", (beginning, "Then {} is", PLACES))
        found = prompts(tiny, "places", "first", 9)
    assert len(found.groups) > 1 and len(set(found.columns.tolist())) == 3
    return found


@pytest.fixture(scope="module")
def drawn(some):
    shape = (some.engine.n_layers, some.engine.n_heads)
    return np.random.default_rng(0).uniform(0.3, 3.0, shape)


def whole_run(model, tokens, columns, interventions=()):
    return interp.run(model, tokens, interventions).logits[:, -1, columns].numpy()


@pytest.mark.parametrize("task", ITEMS)
def test_items_are_balanced_and_in_one_part_each(task):
    parts = {part: split_items(task, part) for part in PARTS}
    texts = [text for rows in parts.values() for text, _ in rows]
    assert len(set(texts)) == len(texts) and len(parts["first"]) == len(parts["second"]) == 100
    for rows in parts.values():
        assert len(set(np.bincount([label for _, label in rows]))) == 1
    few = split_items(task, "first", 8)
    assert few == parts["first"][:8] and {label for _, label in few} == set(
        range(len(classes(task)))
    )
    before, after = asked(task)
    assert all(text.startswith(before) and text.endswith(after) for text in texts)


def test_the_examples_shown_are_no_items():
    for task in ITEMS:
        before, after = asked(task)
        for part in PARTS:
            for text, _ in split_items(task, part):
                word = text[len(before) : len(text) - len(after)]
                assert f"{before}{word}{after}" not in shown(task)


@pytest.mark.parametrize("n", [3, 104, 0])
def test_refuses_a_number_of_items_that_is_not_there(n):
    with pytest.raises(ValueError, match=f"n={n}: the first part of 'continent' has 100 items"):
        split_items("continent", "first", n)


def test_refuses_unknown_names():
    with pytest.raises(ValueError, match="language"):
        split_items("languages", "first")
    with pytest.raises(ValueError, match="pilot"):
        split_items("language", "third")


def test_logits_are_those_of_whole_runs(tiny, some):
    for group in some.groups:
        want = whole_run(tiny, group.base.tokens, some.columns)
        np.testing.assert_allclose(some.logits[group.chosen], want, atol=2e-5)


def test_factors_of_one_change_nothing(some, drawn):
    got = edited(some, [("first", np.ones_like(drawn))])[0]
    np.testing.assert_allclose(got, some.logits, atol=2e-5)


@pytest.mark.parametrize("kind", sink_calibration.KINDS)
def test_an_edit_is_that_of_a_whole_run(tiny, some, drawn, kind, monkeypatch):
    monkeypatch.setattr(sink_calibration, "ROWS", 5)  # two edits in several parts
    both = edited(some, [("first", np.ones_like(drawn)), (kind, drawn)])
    np.testing.assert_allclose(both[0], some.logits, atol=2e-5)
    changed = 0
    for group in some.groups:
        edits = []
        for layer in range(drawn.shape[0]):
            for head in range(drawn.shape[1]):
                mask = group.masks[kind]
                mask = mask[layer if len(mask) > 1 else 0]
                mask = mask[:, head if mask.shape[1] > 1 else 0]  # [prompt src]

                def scale(pattern, seen, mask=mask, by=float(drawn[layer, head])):
                    out = torch.where(mask[:, None], pattern * by, pattern)
                    return out / out.sum(-1, keepdim=True)

                edits.append(interp.Intervention(f"L{layer}H{head}.pattern@END", scale))
        want = whole_run(tiny, group.base.tokens, some.columns, edits)
        np.testing.assert_allclose(both[1][group.chosen], want, atol=2e-5)
        changed += int(group.masks[kind].any())
    assert changed and np.abs(both[1] - some.logits).max() > 1e-4


@pytest.mark.parametrize("kind", ["first", "item", "random"])
def test_slopes_are_what_small_factors_do(some, drawn, kind):
    small, shape = 1e-2, drawn.shape
    for layer, head in ((0, 0), (shape[0] - 1, shape[1] - 1)):
        up, down = np.ones(shape), np.ones(shape)
        up[layer, head], down[layer, head] = np.exp(small), np.exp(-small)
        high, low = edited(some, [(kind, up), (kind, down)])
        change = (high - low) / (2 * small)
        change = change - change[:, :1]
        want = some.slopes[kind][:, :, layer, head]
        np.testing.assert_allclose(change, want, atol=2e-3, rtol=0.02)


def test_later_sinks_are_columns_with_much_attention(tiny, some):
    for group in some.groups:
        got = interp.methods.attention.attention_received(tiny, group.base.tokens).examples
        got = np.moveaxis(got, -1, 1)  # [layer head pos prompt] -> [layer prompt head pos]
        length = group.base.tokens.shape[1]
        want = got > THRESHOLD
        want[..., 0] = False
        want[..., length - QUERIES + 1 :] = False
        np.testing.assert_array_equal(group.masks["sinks"].numpy(), want)
    assert 0 < np.mean(group.masks["sinks"].numpy()[..., 1 : length - QUERIES + 1]) < 1


def test_the_words_asked_about_are_the_item(tiny, some):
    words = [word for every in PLACES.values() for word in every.split("|")]
    for group in some.groups:
        at = group.masks["item"][0, 0, 0]
        assert {tiny.tokenizer.decode(ids[at]).strip() for ids in group.base.tokens} <= set(words)


def test_each_prompt_may_have_factors_of_its_own(some, drawn):
    each = np.random.default_rng(1).uniform(0.3, 3.0, (len(some), *drawn.shape))
    got = edited(some, [("first", each)])[0]
    alone = edited(some, [("first", sheet) for sheet in each])
    np.testing.assert_allclose(got, alone[np.arange(len(some)), np.arange(len(some))], atol=2e-5)


def test_refuses_factors_of_another_shape_and_unknown_columns(some, drawn):
    with pytest.raises(ValueError, match="factors are positive numbers"):
        edited(some, [("first", np.ones(3))])
    with pytest.raises(ValueError, match="factors are positive numbers"):
        edited(some, [("first", 0 * drawn)])
    with pytest.raises(ValueError, match="sinks"):
        edited(some, [("sink", drawn)])


def test_a_promise_is_the_mean_slope_of_the_labels_log_probability(some):
    labels, total = some.labels[::-1], 0.0
    chance = np.exp(log_probs(some.logits))
    np.testing.assert_allclose(chance.sum(-1), 1)
    slope = some.slopes["first"]
    for i, label in enumerate(labels):
        total = total + slope[i, label] - (chance[i, :, None, None] * slope[i]).sum(0)
    np.testing.assert_allclose(promise(some, "first", labels), total / len(some), atol=1e-9)


def test_best_heads_by_hand():
    promised = np.array([[0.5, -0.9, 0.1], [-0.2, 0.0, 0.3]])
    np.testing.assert_array_equal(best_heads(promised, 2, 2.0), [[2.0, 0.5, 1.0], [1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(  # only reductions that promise something
        best_heads(promised, 4, 0.4), [[1.0, 0.4, 1.0], [0.4, 1.0, 1.0]]
    )
    among = np.array([[True, False, True], [False, True, True]])
    np.testing.assert_array_equal(
        best_heads(promised, 2, 2.0, only=among), [[2.0, 1.0, 1.0], [1.0, 1.0, 2.0]]
    )


def test_right_by_hand():
    logits = np.array([[[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [0.0, 2.0]]])
    np.testing.assert_array_equal(right(logits, np.array([0, 1])), [[1, 1], [0, 1]])
    np.testing.assert_allclose(
        label_log_probs(logits, np.array([0, 1]))[0],
        np.log([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-2))]),
    )


SETTINGS = dict(k=3, factor=2.0, beta=0.4)


def test_a_search_takes_the_heads_that_promise_most(some):
    got = choose_heads(some, "first", some.labels, **SETTINGS)
    np.testing.assert_array_equal(got, best_heads(promise(some, "first", some.labels), 3, 2.0))
    assert (got != 1).sum() == 3
    of_sinks = choose_heads(some, "sinks", some.labels, **SETTINGS)
    assert set(np.unique(of_sinks)) <= {0.4, 1.0}
    none = dataclasses.replace(some, has_sinks=0 * some.has_sinks)
    assert (choose_heads(none, "sinks", some.labels, **SETTINGS) == 1).all()


def test_a_search_by_accuracy_counts_the_answers_that_a_slope_turns(some):
    """Two heads that can turn an answer: one upwards, and one, of more prompts, downwards."""
    logits = np.zeros_like(some.logits)
    labels = np.zeros(len(some), dtype=int)
    logits[:, 1] = 0.1  # every answer is wrong
    slopes = {kind: np.zeros((*logits.shape, 2, 2)) for kind in ("first", "sinks")}
    for each in slopes.values():
        each[:2, 1, 0, 1] = -1.0  # more attention turns two answers
        each[:4, 1, 1, 0] = 1.0  # less attention turns four
        each[:, 1, 1, 1] = 0.01  # too little to turn any
    has = np.array([[1.0, 1.0], [0.2, 0.0]])
    toy = dataclasses.replace(some, logits=logits, labels=labels, slopes=slopes, has_sinks=has)
    rule = dict(k=3, factor=2.0, beta=0.4, by="accuracy")
    np.testing.assert_array_equal(
        choose_heads(toy, "first", labels, **rule), [[1.0, 2.0], [0.5, 1.0]]
    )
    np.testing.assert_array_equal(
        choose_heads(toy, "sinks", labels, **rule), [[1.0, 1.0], [0.4, 1.0]]
    )
    with pytest.raises(ValueError, match="accuracy"):
        choose_heads(toy, "first", labels, k=3, factor=2.0, beta=0.4, by="acc")


def test_blocks_are_searched_by_themselves(some):
    whole = choose_in_blocks(some, len(some), **SETTINGS)
    np.testing.assert_array_equal(whole[4], choose_heads(some, "first", some.labels, **SETTINGS))
    got = choose_in_blocks(some, 3, **SETTINGS)
    rows = slice(3, 6)
    block = dataclasses.replace(
        some,
        labels=some.labels[rows],
        logits=some.logits[rows],
        slopes={"first": some.slopes["first"][rows]},
    )
    want = choose_heads(block, "first", block.labels, **SETTINGS)
    for i in range(3, 6):
        np.testing.assert_array_equal(got[i], want)
    with pytest.raises(ValueError, match="size=4: 9 prompts"):
        choose_in_blocks(some, 4, **SETTINGS)


def test_random_heads_are_as_many_and_could_have_been_chosen(some):
    has = np.zeros_like(some.has_sinks)
    has[1, :3] = 0.5
    toy, like = dataclasses.replace(some, has_sinks=has), np.ones_like(has)
    like[0, :2] = 2.0
    rng, rule = np.random.default_rng(0), dict(factor=2.0, beta=0.4)
    for _ in range(5):
        got = random_heads(toy, "sinks", like, rng, **rule)
        assert (got == 0.4).sum() == 2 and (got[has < 0.1] == 1).all()
        assert sorted(np.unique(random_heads(toy, "first", like, rng, **rule))) in (
            [0.5, 1.0],
            [1.0, 2.0],
            [0.5, 1.0, 2.0],
        )
