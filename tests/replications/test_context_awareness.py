"""The handmade instructions: what makes their three kinds comparable."""

import re

from interp.replications.context_awareness import ITEMS, instructions


def words(text):
    return re.findall(r"[a-z0-9]+", text.lower())


def test_an_answer_about_the_passage_stands_in_it_and_a_general_one_does_not():
    common = set("the a an of and it in to is are on at that they he she for with from".split())
    common |= {"has", "have", "them", "there"}
    for x in ITEMS:
        passage = set(words(x.passage)) - common

        def new(question, answer):
            """Words of the answer that its question has not said."""
            return set(words(answer)) - set(words(question)) - common

        told = new(x.asked, x.answer)
        known = new(x.general, x.known)
        assert told & passage, x.asked
        assert len(told & passage) / len(told) > 0.5, (x.asked, told - passage)
        assert len(known & passage) / len(known) < 0.25, (x.general, known & passage)


def test_the_two_kinds_of_questions_and_answers_are_about_equally_long():
    for a, b in (("asked", "general"), ("answer", "known")):
        ours, theirs = (sum(len(words(getattr(x, k))) for x in ITEMS) for k in (a, b))
        assert abs(ours - theirs) / theirs < 0.06, (a, ours, theirs)


def test_the_kinds_with_a_passage_have_the_same_passages_in_the_same_order():
    kinds = instructions()
    assert [len(pairs) for pairs in kinds.values()] == [20, 20, 20]
    for x, needs, alone, idle in zip(ITEMS, *kinds.values()):
        assert needs == (f"{x.passage}\n\n{x.asked}", x.answer)
        assert alone == (x.general, x.known)
        assert idle == (f"{x.passage}\n\n{x.general}", x.known)
    assert len({x.passage for x in ITEMS}) == len({x.asked for x in ITEMS}) == 20
