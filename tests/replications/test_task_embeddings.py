"""Pairs of words that share no word, prompts that do not give the answer away, learned scalings."""

import re

import numpy as np
import pytest
import torch

import interp
from interp.replications.task_embeddings import FAMILIES, KINDS, head_scalings, question, word_pairs

ASKED = [("hot", "cold"), ("big", "small"), ("up", "down")]
SHOWN = [*ASKED, ("good", "bad"), ("fast", "slow")]


@pytest.mark.parametrize("kind", KINDS)
def test_words_that_train_do_not_test(tiny, kind):
    train, test = word_pairs(tiny, kind)
    assert not {w for pair in train for w in pair} & {w for pair in test for w in pair}
    words = [word for pair in train + test for word in pair]
    assert len(set(words)) == len(words) and 0 <= len(test) - len(train) <= 1
    assert all(len(tiny.tokenizer.encode(" " + word)) == 1 for word in words)
    assert word_pairs(tiny, kind) == (train, test) != word_pairs(tiny, kind, seed=1)
    assert list(FAMILIES) == list(KINDS)


def test_a_word_that_came_before_takes_its_pair_out(tiny, monkeypatch):
    monkeypatch.setitem(KINDS, "past", ["dog cat", "cat house", "house tree", "tree dog"])
    train, test = word_pairs(tiny, "past")
    assert sorted(train + test) == [("dog", "cat"), ("house", "tree")]


def test_a_prompt_shows_other_pairs_and_never_its_own_answer(tiny):
    task = question(tiny, ASKED, SHOWN, shots=4, shuffled=True)
    for (asks, answer), clean, scrambled in zip(ASKED, task.clean, task.corrupted):
        text, wrong = tiny.tokenizer.decode(clean), tiny.tokenizer.decode(scrambled)
        pairs, turned = (re.findall(r"Q: (\w+)\nA: (\w+)\n\n", t) for t in (text, wrong))
        assert set(pairs) == set(SHOWN) - {(asks, answer)} and text.endswith(f"Q: {asks}\nA:")
        assert sorted(a for _, a in turned) == sorted(a for _, a in pairs)
        assert [q for q, _ in turned] == [q for q, _ in pairs]
        assert not set(turned) & set(pairs) and wrong.endswith(f"Q: {asks}\nA:")
    plain = question(tiny, ASKED)
    assert tiny.tokenizer.decode(plain.clean[0], skip_special_tokens=True) == "Q: hot\nA:"
    assert tiny.tokenizer.decode(plain.answers[:, 0]) == " cold small down"


def test_scalings_are_adams_on_hooks_of_our_own(any_tiny):
    task = question(any_tiny, ASKED)
    a = [torch.zeros(any_tiny.cfg.n_heads, any_tiny.cfg.d_head, requires_grad=True) for _ in "012"]
    hooks = [
        (f"blocks.{layer}.attn.hook_z", lambda z, hook, at=layer: z * (1 + a[at]))
        for layer in range(3)
    ]
    optimiser, losses, wanted = torch.optim.Adam(a, lr=0.05), [], task.answers[:, 0]
    for _ in range(3):
        with torch.enable_grad():
            logits = any_tiny.run_with_hooks(task.clean, fwd_hooks=hooks, prepend_bos=False)
            loss = torch.nn.functional.cross_entropy(logits[:, -1], wanted)
            price = torch.stack([x.abs() for x in a]).mean()
            optimiser.zero_grad()
            (loss + 2.0 * price).backward(inputs=a)
        losses.append(float(loss.detach()))
        optimiser.step()
    found = head_scalings(any_tiny, task, steps=3, lr=0.05, l1=2.0)
    by_hand = torch.stack([x.detach().norm(dim=-1) for x in a])
    np.testing.assert_allclose(found.values, by_hand.numpy(), atol=2e-3)
    np.testing.assert_allclose(found.metadata["losses"][:3], losses, atol=1e-3)
    assert found.metadata["losses"][3] < losses[0] and found.dims == ("layer", "head")


def test_a_price_shortens_the_scalings(tiny):
    task = question(tiny, ASKED)
    free, dear = (head_scalings(tiny, task, steps=12, lr=0.05, l1=l1) for l1 in (0.0, 1e4))
    assert dear.values.mean() < free.values.mean() / 2


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m: word_pairs(m, "pasts"), "did you mean 'past'"),
        (lambda m: question(m, ASKED, ASKED, shots=3), "shots=3: 2 pairs"),
        (lambda m: head_scalings(m, question(m, ASKED), steps=0), "at least one step"),
    ],
)
def test_wrong_input_is_refused(tiny, call, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        call(tiny)


def test_it_is_found_as_a_module():
    assert interp.replications.task_embeddings.word_pairs is word_pairs
