"""Absorption where it is planted, word by word, and none where it is not."""

from importlib import import_module

import pytest
import torch
from torch.nn.functional import normalize

from interp import features

LETTERS, EACH, D = 6, 40, 512


def planted(share):
    """A dictionary with a latent a letter and a latent a word; on the absorbed words the letter's
    direction is written into the word's latent, and the letter's is off.
    """
    g = torch.Generator().manual_seed(0)
    rows = torch.linalg.qr(torch.randn(D, LETTERS + LETTERS * EACH, generator=g))[0].T
    letter, word = rows[:LETTERS], rows[LETTERS:]
    label = torch.arange(LETTERS).repeat_interleave(EACH)
    x = 2 * letter[label] + word
    absorbed = torch.rand(len(label), generator=g) < share
    W_dec = torch.cat([letter, torch.where(absorbed[:, None], 2 * letter[label] + word, word)])
    # the letter's latent reads its direction, less twice each absorbed word's own: 2 - 3 < 0 there
    reads = torch.stack(
        [letter[c] - 3 * word[(label == c) & absorbed].sum(0) for c in range(LETTERS)]
    )
    weights = {
        "W_enc": torch.cat([reads, word]).T.contiguous(),
        "b_enc": torch.zeros(len(W_dec)),
        "W_dec": W_dec,
        "b_dec": torch.zeros(D),
    }
    weights["threshold"] = torch.full((len(W_dec),), 0.1)  # rounding is not on
    sae = features.Dictionary(
        "jumprelu", weights, "resid_post.1", "planted", settings={"apply_b_dec_to_input": False}
    )
    assert torch.allclose(sae.reconstruct(x), x, atol=1e-4)  # nothing is lost by it
    return sae, x, [f"letter {i}" for i in label.tolist()], absorbed


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_planted_absorption_is_found_word_by_word(share):
    sae, x, labels, absorbed = planted(share)
    found = features.absorption(sae, x, labels, words=[str(i) for i in range(len(x))])
    judged = found.metadata["words"]
    named = {int(word) for one in found.metadata["classes"].values() for word, _ in one["absorbed"]}
    assert named <= set(absorbed.nonzero()[:, 0].tolist()) and judged == LETTERS * EACH // 2
    assert float(found.values) == pytest.approx(len(named) / judged) and (
        found.examples == 1
    ).sum() == len(named)
    if not share:
        assert float(found.values) == 0
    else:  # all the absorbed words of the held-out half, by the latent of the word itself
        assert all(
            latent == LETTERS + int(word)
            for one in found.metadata["classes"].values()
            for word, latent in one["absorbed"]
        )
        assert found.metadata["classes"]["letter 0"]["own"][0] == 0


def test_every_judged_word_absorbed_scores_one(monkeypatch):
    absorption = import_module("interp.features.evaluation.absorption")

    sae, x, labels, absorbed = planted(0.4)
    split = absorption._class

    def only_absorbed(dictionary, x, z, there, fit, test):
        return split(
            dictionary,
            x,
            z,
            there,
            torch.arange(len(x)),
            torch.cat([test[absorbed[test]], test[~there[test]]]),
        )

    monkeypatch.setattr(absorption, "_class", only_absorbed)
    found = features.absorption(sae, x, labels)
    own_words = [one["judged"] for one in found.metadata["classes"].values()]
    hit = [len(one["absorbed"]) for one in found.metadata["classes"].values()]
    assert (
        sum(own_words) > 20
        and [h for h, n in zip(hit, own_words)] == own_words
        and float(found.values) == 1
    )


def test_words_of_a_tokenizer_and_what_cannot_be_judged(tiny):
    words = features.first_letters(tiny, "resid_post.1", most=20)
    assert all(
        word[0] == letter for word, letter in zip(words.words, words.labels)
    ) and words.x.shape == (len(words.words), 32)
    random = features.Dictionary(
        "topk",
        {
            "W_enc": torch.randn(32, 64),
            "b_enc": torch.zeros(64),
            "W_dec": normalize(torch.randn(64, 32), dim=-1),
            "b_dec": torch.zeros(32),
        },
        "resid_post.1",
        settings={"k": 8, "apply_b_dec_to_input": True},
    )
    found = features.absorption(random, words.x, words.labels, words=words.words)
    assert 0 <= float(found.values) <= 1 and found.unit == "share of words"
    with pytest.raises(ValueError, match="one label, got 3"):
        features.absorption(random, words.x, ["a"] * 3)
    with pytest.raises(ValueError, match="two classes with 16 words"):
        features.absorption(random, words.x, ["a"] * len(words.x))
