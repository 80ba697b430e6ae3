"""The feature widget in plain Python and node. Its numbers are those of a run under the same edit."""

import numpy as np
import pytest
import torch
from dictionaries import dictionary
from javascript import run_in_node

import interp
from interp import features, widgets
from interp.features.cards.card_html import piece
from interp.features.cards.describe import Counted, Words, plain, visible
from interp.models import bridge
from interp.widgets.features import unclear

TEXT = "The capital of France is"


def test_own_labels_and_the_list_are_kept_in_a_file(made, tmp_path):
    file = tmp_path / "labels.json"
    w = made(labels=file)
    w.label(3, "names")
    w.keep(5)
    w.keep(7)
    w.keep(5)
    again = made(labels=file)
    assert (again.labels, again.mine) == ({"3": "names"}, [7])
    again.label(3, " ")
    assert made(labels=file).labels == {}
    file.write_text("[]")
    with pytest.raises(ValueError, match="holds no labels of latents"):
        made(labels=file)


def test_two_latents_stand_side_by_side_and_what_has_no_words_says_why(made):
    w = made(beside=4)
    assert piece(w._card(4)) == w.reply["beside"] != w.reply["card"]
    w.beside = -1
    assert "beside" not in w.wait().reply


def test_what_has_no_words_says_why(made):
    w = made()
    words = dict(zip(w.index["latents"], w.index["words"]))
    for latent in list(words)[:6]:
        w.latent = latent
        unclear = not words[latent].startswith(("on ", "after ", "before ", "never on"))
        assert bool(w.wait().reply["why"]) == unclear


def test_what_has_no_words_is_listed_by_the_tokens_that_it_raises(made):
    w = made()
    raised = [i for i, said in zip(w.index["latents"], w.index["words"]) if "raises" in said]
    assert raised and "no clear token" not in w.index["words"]
    for latent in raised[:5]:
        card = w._card(latent)
        assert card.description == "no clear token"
        names = dict.fromkeys(plain(word) for word, _ in card.up[:3])
        assert (
            dict(zip(w.index["latents"], w.index["words"]))[latent] == f"raises {', '.join(names)}"
        )


def test_why_names_the_token_and_its_share(tiny, seen):
    counted = Counted(seen, Words(tiny.tokenizer))
    latent = next(i for i in range(seen.dictionary.n_latents) if len(seen.of(i)[0]) >= 3)
    rows, values = seen.of(latent)
    ids = counted.ids["on"][rows]
    shares = {int(i): float(values[ids == i].sum() / values.sum()) for i in ids.unique()}
    best = max(shares, key=shares.get)
    said = unclear(counted, latent)
    assert repr(visible(counted.words(best))) in said and f"({100 * shares[best]:.0f} %)" in said


JS = """
import test from "node:test";
import assert from "node:assert/strict";
import { ordered, around, next, range } from "./widget.mjs";

const index = { latents: [3, 17, 170, 4], words: ["on the", "after def", "no clear token", "on The"], density: [0.1, 0.3, 0.3, 0], largest: [5, 1, 2, 0] };
test("the list is searched by word or number and sorted", () => {
  const of = (sort, find) => ordered(index, sort, find).map((i) => index.latents[i]);
  assert.deepEqual(of("number", ""), [3, 4, 17, 170]);
  assert.deepEqual(of("density", ""), [17, 170, 3, 4]);
  assert.deepEqual(of("largest", " THE "), [3, 4]);
  assert.deepEqual(of("number", "17"), [17, 170]);
  assert.deepEqual(of("number", "zebra"), []);
});
test("so many rows are drawn around the chosen one", () => {
  assert.deepEqual(around(-1, 1000, 200), [0, 200]);
  assert.deepEqual(around(500, 1000, 200), [400, 600]);
  assert.deepEqual(around(999, 1000, 200), [800, 1000]);
  assert.deepEqual(around(2, 5, 200), [0, 5]);
});
test("next stays within the list", () => {
  assert.deepEqual([next([3, 4, 17], 4, 1), next([3, 4, 17], 17, 1), next([3, 4, 17], 3, -1), next([3, 4], 9, 1), next([], 3, 1)], [17, 17, 3, 3, null]);
  assert.deepEqual(range("clamp"), [0, 4]);
});
"""


@pytest.fixture(scope="module")
def seen(tiny):
    ids = torch.randint(5, 200, (30, 16), generator=torch.Generator().manual_seed(0))
    ids[:, 0] = 1
    return features.firings(tiny, dictionary("standard"), on=ids)


@pytest.fixture
def made(tiny, seen, closed_after):
    def make(seen=seen, **state):
        return closed_after(widgets.features(tiny, seen.dictionary, seen, **state))

    return make


def probs(tiny, sae, text, edits):
    return (
        interp.run(tiny, widgets.prompt_task(tiny, text), edits, last_only=True)
        .logits[0]
        .softmax(-1)
    )


@pytest.mark.parametrize("by", ["ablate", "clamp", "steer"])
def test_the_edit_is_that_of_a_run(tiny, seen, made, by):
    w = made(latent=5, text=TEXT, by=by, strength=1.5)
    amount = 1.5 * float(seen.maxima[5])
    edits = (
        features.ablate(seen.dictionary, 5)
        if by == "ablate"
        else getattr(features, by)(seen.dictionary, {5: amount})
    )
    now, before = probs(tiny, seen.dictionary, TEXT, edits), probs(tiny, seen.dictionary, TEXT, [])
    assert np.allclose(
        [one["now"] for one in w.value["next tokens"]], now.topk(8).values, atol=1e-5
    )
    assert w.value["kl"] == pytest.approx(
        float((before * (before.log() - now.log())).sum()), abs=1e-4
    )
    w.where = "end"
    edits = (
        features.ablate(seen.dictionary, 5, at=-1)
        if by == "ablate"
        else getattr(features, by)(seen.dictionary, {5: amount}, at=-1)
    )
    assert w.value["next tokens"][0]["now"] == pytest.approx(
        float(probs(tiny, seen.dictionary, TEXT, edits).max()), abs=1e-5
    )


def test_the_prompt_shows_the_latent_and_is_its_strongest_context_unless_typed(tiny, seen, made):
    w = made(latent=9)
    best = w.card.bands[0].contexts[0]
    assert (
        w.value["prompt"]
        == "".join(best.words[: best.at + 1]).removeprefix("<|im_start|>").lstrip()
    )
    w.text = TEXT
    tokens = widgets.prompt_task(tiny, TEXT).clean
    z = seen.dictionary.encode(
        interp.run(tiny, tokens, keep=["resid_post.1"]).kept["resid_post.1"]
    )[0, :, 9]
    assert np.allclose(w.value["values"][1:], z[1:], atol=1e-4) and w.value["values"][0] == 0


def test_a_prompt_is_run_once_and_its_edits_start_late(tiny, made, monkeypatch):
    w = made(latent=9, text=TEXT)  # what is checked once for a model is checked by now
    runs = []
    real = {name: getattr(bridge, name) for name in ("forward", "resume")}
    for name in real:
        monkeypatch.setattr(
            bridge,
            name,
            lambda *args, name=name, **options: [runs.append(name), real[name](*args, **options)][
                1
            ],
        )
    for latent in (3, 4):
        w.put(latent=latent, text="Paris is the capital of")
        w.wait()
    assert runs == ["forward", "resume", "resume"]
    w.put(text=TEXT)
    assert w.wait().fits() and runs[3:] == ["resume"]


def test_the_code_gives_the_state_and_the_numbers_again(tiny, seen, made):
    w = made(latent=7, text=TEXT, by="steer", strength=2.0, where="end", sort="density")
    first, _, third = w.code.split("\n")
    names = {"interp": interp, "model": tiny, "dictionary": seen.dictionary}
    logits = eval(third, names)[0]
    assert np.allclose(
        [one["now"] for one in w.value["next tokens"]], logits.softmax(-1).topk(8).values, atol=1e-3
    )
    again = eval(
        first.replace("dictionary,", "dictionary, seen,", 1), {**names, "seen": seen}
    ).wait()
    assert again.value == w.value and again.sort == "density"
    again.close()


def test_a_card_comes_though_its_edit_cannot_be_made(tiny, made):
    ids = torch.randint(5, 200, (4, 16))
    side = features.Dictionary(
        "standard",
        dictionary("standard").weights,
        "L1H*.z",
        settings={"apply_b_dec_to_input": True},
    )
    w = made(features.firings(tiny, side, on=ids), latent=2)
    assert "interp-card" in w.reply["card"] and "side by side" in w.problem
    assert w.png()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    "state, says",
    [
        ({"latent": 40}, "no latent 40: the list has 40, from 0 to 39"),
        ({"by": "clam"}, "did you mean 'clamp'"),
        ({"where": "start"}, "unknown place"),
        ({"text": "to " * 300}, "at most 256"),
    ],
)
def test_what_cannot_be_shown_is_a_line(made, state, says):
    w = made(latent=1)
    shown = w.reply
    for name, value in state.items():
        setattr(w, name, value)
    assert says in w.wait().problem and (w.reply == shown or w.reply["latent"] == 1)


def test_some_latents_are_a_list_too(tiny, seen, made):
    few = features.firings(tiny, seen.dictionary, [4, 30], on=seen.tokens)
    w = made(few, latent=30)
    assert w.index["latents"] == [4, 30] and w.value["density"] == pytest.approx(
        float(seen.density[30])
    )


def test_it_is_a_picture_in_a_saved_notebook(made):
    html = made(latent=3)._html()
    assert (
        "data:image/png;base64" in html
        and "interp.widgets.features(model, dictionary, latent=3)" in html
    )


def test_the_list_in_the_page(tmp_path):
    run_in_node("next_tokens features", JS, tmp_path)
