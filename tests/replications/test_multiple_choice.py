"""Multiple choice: what prompts and donors are, and swaps and cuts that must change nothing."""

import pytest
import torch

from interp.interventions import run
from interp.replications import multiple_choice as mc

HEADS = ["L19H2", "L23H0", "L23H1"]
NEAR = dict(atol=2e-3, rtol=1e-3)


@pytest.fixture(scope="module")
def some(smollm2):
    find = mc.letters(smollm2, mc.TO_FIND, 8, seed=1)
    judge = mc.letters(smollm2, mc.TO_JUDGE, 4, seed=2)
    donors = mc.letters(smollm2, mc.TO_JUDGE, 4, seed=2, donors=True)
    return find, judge, donors, run(smollm2, judge, last_only=True).logits


def listed(task):
    """The words of each prompt's lines, and the word that it asks for."""
    texts = [task.tokenizer.decode(ids) for ids in task.prompts]
    rows = [[line.split(". ")[1] for line in text.split("\n") if ". " in line] for text in texts]
    return rows, [text.split("Which is ")[1].split("?")[0] for text in texts]


def test_the_words_of_training_finding_and_judging_are_apart():
    groups = [set(mc.TRAINED_ON), set(mc.TO_FIND), set(mc.TO_JUDGE)]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_the_right_option_is_the_one_asked_for(some):
    _, judge, _, _ = some
    rows, asked = listed(judge)
    assert [row[p] for row, p in zip(rows, mc.places(judge).tolist())] == asked
    assert mc.places(judge).tolist() == [0, 1, 2, 3]
    answers = [judge.tokenizer.decode(a).strip() for a in judge.answers[:, 0]]
    assert answers == list("ABCD")


def test_a_donor_leads_to_three_letters(some):
    _, judge, donors, _ = some
    (rows, asked), (theirs, wanted) = listed(judge), listed(donors)
    for row, other, one, new, own, line, word in zip(
        rows,
        theirs,
        asked,
        wanted,
        *(mc.places(*x).tolist() for x in ((judge,), (donors,), (donors, "word"))),
    ):
        assert sorted(row) == sorted(other) and one != new
        assert other[line] == new == row[word] and row[own] == one
        assert len({own, line, word}) == 3


def test_options_that_cannot_be(smollm2):
    with pytest.raises(ValueError, match="options=5: at least two"):
        mc.letters(smollm2, mc.TO_FIND, 4, 0, options=5)
    with pytest.raises(ValueError, match="with donors three"):
        mc.letters(smollm2, mc.TO_FIND, 4, 0, options=2, donors=True)


def test_new_labels_are_read_in_their_order(smollm2):
    task = mc.letters(smollm2, mc.TO_FIND, 4, seed=3, shuffled=True, labels=mc.OTHERS)
    assert all(len(set(names)) == 4 for names in task.labels["names"])
    assert any(list(names) != sorted(names) for names in task.labels["names"])
    logits = torch.zeros(4, 50_000)
    code = task.tokenizer
    for row, (names, place) in enumerate(zip(task.labels["names"], mc.places(task))):
        logits[row, code.encode(f" {names[place]}", add_special_tokens=False)[0]] = 3.0
    assert mc.chosen(task, logits).tolist() == mc.places(task).tolist()
    torch.testing.assert_close(mc.lead(task, logits), torch.full((4,), 3.0))


def test_lines_cover_the_options(some):
    _, judge, _, _ = some
    at = mc.lines(judge)
    text = [judge.tokenizer.decode(judge.clean[0, p]) for p in at]
    rows, _ = listed(judge)
    assert text == [f"{letter}. {word}\n" for letter, word in zip("ABCD", rows[0])]


def test_all_nodes_kept_is_the_model_and_none_is_the_same_for_all_prompts(smollm2, some):
    find, judge, _, logits = some
    nodes = [f"L{i}H{j}" for i in range(30) for j in range(9)] + [f"mlp.{i}" for i in range(30)]
    torch.testing.assert_close(mc.keep_only(smollm2, find, judge, nodes, nodes), logits, **NEAR)
    none = mc.keep_only(smollm2, find, judge, [], nodes)
    torch.testing.assert_close(none, none[:1].expand_as(none), **NEAR)
    assert (logits - none).abs().max() > 0.5


@pytest.mark.parametrize("what", ["q", "k", "v"])
def test_their_own_values_change_nothing_and_donors_do(smollm2, some, what):
    _, judge, donors, logits = some
    torch.testing.assert_close(mc.swapped(smollm2, judge, judge, HEADS, what), logits, **NEAR)
    assert (mc.swapped(smollm2, judge, donors, HEADS, what) - logits).abs().max() > 1e-2


def test_all_directions_are_the_model_and_few_are_not(smollm2, some):
    find, judge, _, logits = some
    few = mc.Directions(smollm2, find, HEADS)
    keys = next(s for s in few.at if s.endswith(".k"))
    assert len(few.basis[keys]) == 64 and set(few.at) >= {"L19H2.q", "L23KV0.k", "L23KV0.v"}
    one = mc.Directions(smollm2, find, HEADS[:0])
    torch.testing.assert_close(one.kept(judge, 4), logits, **NEAR)
    few.basis = {s: torch.linalg.qr(torch.randn(64, 64)).Q for s in few.basis}
    torch.testing.assert_close(few.kept(judge, 64), logits, **NEAR)
    torch.testing.assert_close(few.kept(judge, 64, drawn=0), logits, **NEAR)
    assert (few.kept(judge, 1) - logits).abs().max() > 1e-2


def test_a_head_looks_at_lines_with_no_more_than_all_its_attention(smollm2, some):
    _, judge, _, _ = some
    two, by_line = mc.looks(smollm2, judge)
    assert two.shape == (30, 9, 2) and by_line.shape == (30, 9, 4, 4)
    assert float(by_line.sum(-1).max()) <= 1 + 1e-5
    right = by_line.diagonal(dim1=2, dim2=3).mean(-1)
    torch.testing.assert_close(right, two[..., 0])
    assert mc.letter_heads(smollm2, judge) == []
    some_heads = mc.letter_heads(smollm2, judge, least=0.0, times=1.0)
    assert 0 < len(some_heads) < 270
