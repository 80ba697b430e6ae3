"""Needle, few-shot and successor: the laws of their own beside the contracts of test_tasks.py, and
their gates.
"""

import re

import pytest

import interp
from interp.tasks import fewshot, needle, successor
from interp.tasks.fewshot import PAIRS
from interp.tasks.needle import FIRST, WORDS
from interp.tasks.successor import ORDERS


def words(task, i, kind="clean"):
    return [task.tokenizer.decode([int(t)]).strip() for t in getattr(task, kind)[i]]


# --- needle ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("forced", [False, True])
def test_a_needle_is_what_is_read(model, forced):
    task = needle(model, n=10, length=128, forced=forced)
    assert task.clean.shape[1] == 128 + 2 * forced
    reads = [f"READ{k}" for k in range(3 if forced else 1)]
    assert set(task.positions) == {"NEEDLE0", "NEEDLE1", "NEEDLE2", "QUESTION", *reads, "END"}
    for i in range(10):
        at = {k: int(v[i]) for k, v in task.positions.items()}
        row, text = task.clean[i], words(task, i)
        assert (
            at["NEEDLE2"] == at["NEEDLE1"] + 1 == at["NEEDLE0"] + 2
            and text[at["NEEDLE0"] - 1] == "the"
        )
        assert " ".join(text[at["NEEDLE0"] : at["NEEDLE0"] + 3]) == task.labels["answer"][i]
        asks = [w for w in text[at["QUESTION"] :] if w]
        assert (
            asks[:3] == ["Question", ":", "What"]
            and at["NEEDLE2"] < at["QUESTION"]
            and text[at["QUESTION"]] == ""
        )
        assert (
            at["END"] == at[reads[-1]] and task.answers[i, 0] == row[at[f"NEEDLE{len(reads) - 1}"]]
        )
        for k in range(1, len(reads)):  # what was predicted at READk-1 stands at READk
            assert (
                row[at[f"READ{k}"]] == row[at[f"NEEDLE{k - 1}"]]
                and at[f"READ{k}"] == at[f"READ{k - 1}"] + 1
            )
        changed = {k for k in range(len(text)) if row[k] != task.corrupted[i, k]}
        assert (
            changed <= {at[k] for k in at if k.startswith("NEEDLE")} | {at[k] for k in reads[1:]}
            and at["NEEDLE0"] in changed
        )


def test_a_needle_stands_at_its_depth(model):
    for depth in (0.0, 0.5, 1.0):
        task = needle(model, n=12, length=200, depth=depth)
        at = task.position("NEEDLE0").float()
        hay = 200 - 30  # the needle and its question take about so many
        assert (abs(at / hay - depth) < 0.2).all(), (depth, at)
    mixed = needle(model, n=9, depth=[0.1, 0.9])
    assert mixed.labels["depth"][:4] == ["0.1", "0.9", "0.1", "0.9"] and set(
        mixed.labels["length"]
    ) == {"128"}


def test_needles_of_the_halves_share_no_word_and_no_passage(model):
    task = needle(model, n=20)
    held = task.heldout()
    assert not {w for a in task.labels["answer"] for w in a.split()} & {
        w for a in held.labels["answer"] for w in a.split()
    }
    assert held.metadata["length"] == 128 and held.metadata["depths"] == task.metadata["depths"]


def test_our_prose_has_no_word_of_an_answer():
    said = set(re.findall("[a-z]+", " ".join(d.text for d in interp.texts.prose()).lower()))
    assert not said & {*FIRST, *WORDS}


def test_a_paraphrased_question_repeats_no_pair_of_words_before_the_answer(model):
    """What leads to the answer in the needle does not come again in the question."""
    plain, other = needle(model, n=4), needle(model, n=4, paraphrased=True)
    for task, repeats in ((plain, True), (other, False)):
        for ids, at, asked in zip(
            task.clean, task.positions["NEEDLE0"], task.positions["QUESTION"]
        ):
            before = ids[at - 2 : at].tolist()
            question = ids[asked:].tolist()
            pairs = [question[i : i + 2] for i in range(len(question) - 1)]
            assert (before in pairs) == repeats
    assert other.heldout().metadata["paraphrased"] and other.labels["answer"]


def test_a_needle_hides_in_other_texts(tiny):
    hay = [
        "The dog and the cat saw the house near the river. " * 20,
        "A man gave the woman a book. " * 20,
    ]
    task = needle(tiny, n=4, length=100, hay=hay)
    shared = set(words(task, 0)) & set(words(task.heldout(), 0))
    assert "dog" in words(task, 0) and "dog" not in shared


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(depth=1.5), "between 0"),
        (dict(depth=[]), "between 0"),
        (dict(length=20), "choose between"),
        (dict(length=9000), "more texts"),
    ],
)
def test_needles_that_cannot_be_are_refused(tiny, options, says):
    with pytest.raises(ValueError, match=says):
        needle(tiny, n=2, **options)


# --- few-shot -------------------------------------------------------------------------------------


def shots(task, i, kind="clean"):
    text = task.tokenizer.decode(getattr(task, kind)[i][1:])
    said = [
        line.split(":")[1].strip()
        for line in text.replace("<unk>", "\n").split("\n")
        if ":" in line
    ]
    return list(zip(said[:-1:2], said[1:-1:2])), said[-2]


@pytest.mark.parametrize("kind", sorted(PAIRS))
def test_shots_are_pairs_and_shuffled_ones_are_not(smollm2, kind):
    pairs = {tuple(p.split()) for p in PAIRS[kind]}
    task = fewshot(smollm2, n=12, kind=kind)
    for i in range(12):
        shown, asked = shots(task, i)
        mixed, same = shots(task, i, "corrupted")
        answer, wrong = task._word(task.answers[i, 0]), task._word(task.wrong[i, 0])
        assert (
            len(shown) == 5
            and set(shown) <= pairs
            and (asked, answer) in pairs
            and asked == same == task.labels["query"][i]
        )
        assert not set(mixed) & pairs and sorted(a for _, a in mixed) == sorted(a for _, a in shown)
        assert words(task, i)[int(task.positions["QUERY"][i])] == asked
        assert not {answer, wrong} & {a for _, a in shown} and wrong in {a for _, a in pairs}


def test_another_query_changes_the_query_alone(model):
    task = fewshot(model, n=12, corruption="query", shots=3)
    for i in range(12):
        assert (task.clean[i] != task.corrupted[i]).nonzero().flatten().tolist() == [
            int(task.positions["QUERY"][i])
        ]
    held = task.heldout()
    assert not set(task.labels["query"]) & set(held.labels["query"]) and held.metadata["shots"] == 3
    assert fewshot(model, n=4, shots=0, corruption="query").clean.shape[1] < 10


def test_every_kind_has_forty_pairs_and_no_word_twice():
    for kind, pairs in PAIRS.items():
        said = [word for pair in pairs for word in set(pair.split())]
        assert len(pairs) >= 40 and len(set(said)) == len(said), kind


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(kind="antonyms"), "did you mean 'antonym'"),
        (dict(corruption="shuffle"), "did you mean 'shuffled'"),
        (dict(shots=1), "two shots or more"),
        (dict(shots=60), "are needed"),
    ],
)
def test_shots_that_cannot_be_are_refused(tiny, options, says):
    with pytest.raises(ValueError, match=says):
        fewshot(tiny, **options)


# --- successor ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, shown, n", [("all", 2, 30), ("all", 1, 20), ("digit", 2, 10), ("month", 3, 10)]
)
def test_the_answer_follows_the_last_member(smollm2, kind, shown, n):
    task = successor(smollm2, n=n, kind=kind, shown=shown)
    for i in range(n):
        order = ORDERS[task.labels["kind"][i]]

        def after(word):
            return order[(order.index(word) + 1) % len(order)]

        last = int(task.positions["LAST"][i])
        assert after(words(task, i)[last]) == task._word(task.answers[i, 0])
        assert after(words(task, i, "corrupted")[last]) == task._word(task.wrong[i, 0])
        assert sum(w in order for w in words(task, i)) == shown
    assert not set(task.labels["from"]) & set(task.heldout().labels["from"])


def test_orders_that_cannot_be_are_refused(tiny):
    for options, says in (
        (dict(kind="months"), "did you mean 'month'"),
        (dict(shown=0), "one to five"),
        (dict(kind="month", n=99), "too many"),
    ):
        with pytest.raises(ValueError, match=says):
            successor(tiny, **options)


# --- gates: what the default model does, on held-out fillings -------------------------------------


@pytest.mark.parametrize(
    "name, options, measure, least",
    [
        ("needle", dict(length=128), "answer on top", 0.85),
        ("successor", {}, "answer above wrong", 0.9),
        ("successor", {}, "answer on top", 0.6),
        ("fewshot", dict(kind="antonym"), "answer on top", 0.5),
        ("fewshot", dict(kind="plural"), "answer on top", 0.85),
    ],
)
def test_smollm2_passes_the_gate(smollm2, name, options, measure, least):
    behaviour = interp.tasks.make(name, smollm2, n=16, **options).heldout().behaviour(smollm2)
    share = behaviour.sel(measure=measure)
    assert share.sel(prompts="clean").values >= least
    assert (
        share.sel(prompts="corrupted").values <= share.sel(prompts="clean").values - 0.3
        or measure == "answer above wrong"
    )
