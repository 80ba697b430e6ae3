"""Feature cards: counts by hand, contexts where they belong, logit effects as runs say them, words
counted, HTML that runs nothing.
"""

import dataclasses
import re

import pytest
import torch
from dictionaries import dictionary
from torch.nn.functional import normalize

import interp
from interp import features
from interp.features.cards import logit_effects
from interp.features.cards.describe import Counted, Words
from interp.features.cards.firings import Firings
from interp.features.sites import width
from interp.interventions import Intervention, run
from interp.models import bridge
from interp.studies.notebooks.page import requests

AT = "resid_post.1"
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def ids():
    found = torch.randint(5, 200, (30, 16), generator=torch.Generator().manual_seed(0))
    found[:, 0] = 1
    return found


@pytest.fixture(scope="module")
def seen(tiny, ids):
    return features.firings(tiny, dictionary(), on=ids)


def test_a_card_counts_what_encoding_by_hand_counts(tiny, ids, seen):
    acts = features.activations(tiny, AT, ids)
    z = dictionary().encode(acts.of())
    assert torch.allclose(seen.density, (z != 0).float().mean(0)) and torch.allclose(
        seen.maxima, z.amax(0), atol=1e-5
    )
    one = dictionary()
    for card in features.cards(tiny, one, [3, 9], on=acts):
        here = z[:, card.latent]
        assert (card.tokens, card.on) == (
            30 * 15,
            int((here != 0).sum()),
        ) and card.density == card.on / 450
        assert (
            card.maximum == pytest.approx(float(here.max()), abs=1e-5)
            and sum(card.counts) == card.on
        )
        assert card.neighbours[0][1] == pytest.approx(
            max(
                float(normalize(one.W_dec, dim=-1)[i] @ normalize(one.W_dec, dim=-1)[card.latent])
                for i in range(40)
                if i != card.latent
            ),
            abs=1e-5,
        )


def test_contexts_show_the_latent_where_it_is_and_never_the_first_token(tiny, ids, seen):
    z = seen.dictionary.encode(run(tiny, ids, keep=[AT]).kept[AT])
    card = features.cards(tiny, seen.dictionary, [3], on=seen)[0]
    best, *quarters = card.bands
    assert best.contexts[0].values[best.contexts[0].at] == pytest.approx(card.maximum)
    assert len({one.chunk for one in best.contexts}) == len(best.contexts)
    assert (
        sum(band.count for band in quarters) == card.on
        and [band.name for band in quarters][0] == "75 to 100 %"
    )
    for band in card.bands:
        for one in band.contexts:
            words = [tiny.tokenizer.decode([i]) for i in ids[one.chunk].tolist()]
            start = next(s for s in range(16) if tuple(words[s : s + len(one.words)]) == one.words)
            assert start + one.at > 0 and (start > 0 or one.values[0] == 0)
            assert band.low - 1e-6 <= one.values[one.at] <= band.high + 1e-6
            shown = torch.tensor(one.values)[int(start == 0) :]
            assert torch.allclose(
                shown, z[one.chunk, start + int(start == 0) : start + len(one.words), 3], atol=1e-4
            )


def test_a_direction_says_to_the_logits_what_adding_it_does(any_tiny, ids):
    d = torch.randn(32, generator=torch.Generator().manual_seed(2))
    end = run(any_tiny, ids[:1], keep=["logits.in"]).kept["logits.in"][0, -1]

    def scale(x):
        return bridge.final_scale(any_tiny, x)

    def unnormed(x):
        return bridge.unembed(
            any_tiny, bridge.final_norm(any_tiny, x)
        )  # with the scale of x taken out again, it is affine

    moved, base, zero = unnormed(end + d), unnormed(end), unnormed(torch.zeros(32))
    expected = ((moved - zero) * scale(end + d) - (base - zero) * scale(end)) / scale(end)
    found = logit_effects.effects(any_tiny, "resid_post.2", d[None], float(scale(end)))[0]
    assert torch.allclose(found, expected - expected.mean(), atol=1e-4)
    assert logit_effects.effects(any_tiny, "mlp.1.pre", torch.randn(1, 64)) is None


@pytest.mark.parametrize(
    "site, writes",
    [("mlp.1.post", "mlp.1"), ("L1H2.z", "attn.1"), ("L1H*.z", "attn.1"), ("L1KV1.v", "attn.1")],
)
def test_what_a_site_adds_to_the_stream(any_tiny, ids, site, writes):
    wide = width(site, bridge.dims(any_tiny))
    d = torch.randn(wide, generator=torch.Generator().manual_seed(3))
    heads = [f"L1H{h}.z" for h in range(4)] if "*" in site else [site]
    edits = [
        Intervention(at, lambda act, seen, part=part: act + part)
        for at, part in zip(heads, d.split(wide // len(heads)))
    ]
    change = (
        run(any_tiny, ids[:2], edits, keep=[writes]).kept[writes]
        - run(any_tiny, ids[:2], keep=[writes]).kept[writes]
    )
    assert torch.allclose(
        logit_effects.into_stream(any_tiny, site, d[None])[0].expand_as(change), change, atol=1e-4
    )


def fired(ids, rows, values=None):
    """Firings of one latent at these rows."""
    rows = torch.as_tensor(rows)
    values = torch.ones(len(rows)) if values is None else values
    return Firings(dictionary(), ids, 1, (0,), rows, values, torch.tensor([0, len(rows)]), {})


def test_descriptions_are_counted(ids, tiny):
    ids = ids.clone()
    ids[:, 7] = 4
    flat = ids[:, 1:].flatten()

    def told(rows, values=None):
        return Counted(fired(ids, rows, values), Words(None)).description(0)

    here = (flat == 4).nonzero()[:, 0]
    assert told(here) == "on 4" and told(here + 1) == "after 4" and told(here - 1) == "before 4"
    assert (
        told(torch.arange(0, 450, 3)) == "no clear token"
        and told(torch.tensor([], dtype=torch.long)) == "never on"
    )
    mixed = torch.cat([here, torch.arange(0, 450, 3)]).unique()
    heavy = torch.where(torch.isin(mixed, here), 20.0, 0.1)
    assert (
        told(mixed, heavy) == "on 4" and told(mixed, heavy.flip(0) * 0 + 1) == "no clear token"
    )  # by activation, not by tokens alone
    (one,) = Counted(fired(ids, here), Words(None)).distinct(0)
    assert (
        one.count == 30 and one.share == pytest.approx(1) and one.ratio == pytest.approx(450 / 30)
    )


def test_all_latents_in_a_table(tiny, seen):
    lines = features.describe(tiny, seen)
    assert list(lines.index) == list(range(40)) and lines.attrs["tokens"] == 450
    card = features.cards(tiny, seen.dictionary, [9], on=seen)[0]
    assert lines.loc[9, "description"] == card.description and lines.loc[
        9, "density"
    ] == pytest.approx(card.density)
    assert lines["share"].isna().equals(~lines.description.str.match("on |after |before "))


@pytest.fixture(scope="module")
def evil():
    """A model whose words would run, were they not escaped."""
    model = interp.models.tiny(words=[EVIL, "'onclick=\"x"])
    known = model.tokenizer.get_vocab()
    wild = [i for word, i in known.items() if "script" in word or "onclick" in word]
    assert wild
    ids = torch.randint(5, 60, (20, 16), generator=torch.Generator().manual_seed(1))
    ids[:, ::3] = torch.tensor(wild)[torch.arange(ids[:, ::3].numel()) % len(wild)].view_as(
        ids[:, ::3]
    )
    ids[:, 0] = 1
    return features.cards(model, dictionary(name="<img src=x onerror=alert(1)>"), range(12), on=ids)


def test_html_runs_nothing_and_asks_nothing(evil, tmp_path):
    assert any(
        EVIL in word
        for card in evil
        for band in card.bands
        for one in band.contexts
        for word in one.words
    )
    file = evil[0].html(tmp_path / "card.html").read_text()
    many = features.page(evil, tmp_path / "cards.html").read_text()
    for text, scripts in ((file, 0), (evil[1]._repr_html_(), 0), (many, 1)):
        assert text.count("<script") == scripts and "<img" not in text and requests(text) == []
        assert not re.search(r"<[^>]*\sonclick=", text.replace("&quot;", ""))
        assert "&lt;script&gt;" in text
    assert len(file) < 100_000 and len(many) < 100_000 * len(evil)
    assert (
        all(f'id="f{card.latent}"' in many for card in evil)
        and "script-src 'sha256-" in many
        and "script-src" not in file
    )
    assert "tokens: 300" in file and "the first token of each chunk is left out" in file


def test_cards_draw_themselves(evil, seen, tiny):
    figure = evil[2].plot()
    figure.canvas.draw()
    assert any("tokens: 300" in text.get_text() for text in figure.axes[0].texts)
    dead = dataclasses.replace(
        evil[2], bands=(), counts=(), edges=(), on=0, maximum=0.0, up=(), down=()
    )
    dead.plot().canvas.draw()
    assert "on at none of these tokens" in dead._repr_html_()


def test_a_site_that_writes_nothing_says_so(tiny, ids):
    one = features.Dictionary(
        "standard",
        {k: v for k, v in features.identity("mlp.1.pre", 64).weights.items()},
        "mlp.1.pre",
        settings={"apply_b_dec_to_input": False},
    )
    card = features.card(tiny, one, 5, on=ids[:4])
    assert card.up == () and "mlp.1.pre writes nothing to the stream" in card._repr_html_()


def test_what_cannot_be_read_is_said(tiny, ids, seen, tmp_path):
    with pytest.raises(ValueError, match="has latents 0 to 39, got 40"):
        features.cards(tiny, dictionary(), [40], on=ids)
    with pytest.raises(ValueError, match="got none"):
        features.cards(tiny, dictionary(), [], on=ids)
    with pytest.raises(ValueError, match="not of"):
        features.cards(tiny, dictionary(name="other"), [3], on=seen)
    with pytest.raises(ValueError, match="no latent 3 here: there are 1, 2"):
        features.firings(tiny, dictionary(), [1, 2], on=ids[:2]).of(3)
    with pytest.raises(ValueError, match="try 'card.html'"):
        features.page(features.cards(tiny, seen.dictionary, [3], on=seen), tmp_path / "card.pdf")
