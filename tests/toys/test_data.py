"""Toy data: what each source says of its rows is true of them, splits cannot leak, and draws
repeat.
"""

import json
from dataclasses import FrozenInstanceError, asdict

import pytest
import torch

from interp.toys import data
from interp.toys.data import IGNORE, Batch, make
from interp.toys.data.source import from_half, heldout

SMALL = {
    "bigram_backcopy": {"n_ctx": 12},
    "characters": {"n_ctx": 12, "text": "prose"},
    "dual_process": {"items": 40, "unseen": 10},
    "in_context_classes": {"classes": 64, "labels": 8},
    "key_value_recall": {"pairs": 3, "keys": 6, "values": 4, "queries": 2},
    "modular_addition": {"p": 13},
    "out_of_context_reasoning": {"names": 16, "cities": 4, "share": 0.25},
    "repeated_tokens": {"vocab": 12, "n_ctx": 13, "shortest": 2},
    "superposition": {"features": 20, "alpha": 0.5},
    "text_with_repeats": {"vocab": 40, "n_ctx": 13, "shortest": 2},
}
EVERY = [(name, split) for name in SMALL for split in data.SOURCES[name].splits]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(name, **more):
    return make(name, **{**SMALL[name], **more})


def rows(batch):
    return set(map(tuple, batch.inputs.tolist()))


@pytest.mark.parametrize("name, split", EVERY)
def test_every_batch_fits_its_source_and_repeats(name, split):
    source = small(name)
    batch, again, other = (source.batch(33, seeded(s), split) for s in (0, 0, 1))
    assert torch.equal(batch.inputs, again.inputs) and torch.equal(batch.targets, again.targets)
    assert all(torch.equal(batch.labels[k], again.labels[k]) for k in batch.labels)
    assert not torch.equal(batch.inputs, other.inputs)
    assert batch.targets.shape == (33, source.n_ctx) == batch.inputs.shape[:2] and len(batch) == 33
    if source.d_in is None:
        assert (
            batch.inputs.dtype == torch.long
            and 0 <= batch.inputs.min()
            and batch.inputs.max() < source.d_vocab
        )
    else:
        assert batch.inputs.shape[2] == source.d_in
    taken = batch.targets[batch.targets != IGNORE]
    assert len(taken) > 0 or name == "superposition"
    assert not len(taken) or 0 <= taken.min() and taken.max() < source.d_vocab
    assert make(name, **json.loads(json.dumps(asdict(source)))) == source
    with pytest.raises(FrozenInstanceError):
        source.n_ctx = 3


def test_every_source_is_tested():
    assert set(SMALL) == set(data.names())


@pytest.mark.parametrize(
    "name",
    ["bigram_backcopy", "dual_process", "key_value_recall", "repeated_tokens", "modular_addition"],
)
def test_no_sequence_is_in_both_halves(name):
    source = small(name, **({"n_ctx": 3} if name == "bigram_backcopy" else {}))
    train, held = (rows(source.batch(6000, seeded(0), split)) for split in ("train", "heldout"))
    assert not train & held
    assert len(train) > 50 < len(held)  # and so many rows that halves drawn alike would have met
    joint = rows(source.batch(6000, seeded(1), "train"))
    assert len(train & joint) > 5


def test_the_halves_are_a_fair_coin():
    every = torch.cartesian_prod(*[torch.arange(16)] * 3)
    coin = heldout(every)
    assert 0.47 < coin.float().mean() < 0.53
    for column in range(3):  # and of no column alone
        share = torch.stack([coin[every[:, column] == i].float().mean() for i in range(16)])
        assert 0.35 < share.min() and share.max() < 0.65
    alone = torch.zeros(1, 2, dtype=torch.long)
    mine = "heldout" if heldout(alone) else "train"
    other = {"heldout": "train", "train": "heldout"}[mine]
    assert len(from_half(lambda m: alone.repeat(m, 1), 5, mine, 2)) == 5
    with pytest.raises(ValueError, match="all but empty"):
        from_half(lambda m: alone.repeat(m, 1), 5, other, 2)


# --- each source, by its own rule -----------------------------------------------------------------


def test_bigrams_and_copies():
    source = make("bigram_backcopy", n_ctx=40)
    batch = source.batch(400, seeded())
    x, y, trigger = batch.inputs, batch.targets, batch.labels["trigger"]
    assert [source.characters[i] for i in source.triggers_ids][0] == " "
    assert (
        torch.equal(x[:, 1:], y[:, :-1])
        and (x[:, 0] == source.bos).all()
        and not (x[:, 1:] == source.bos).any()
    )
    assert (
        torch.equal(trigger, torch.isin(x, torch.tensor(source.triggers_ids)))
        and not trigger[:, :2].any()
    )
    before = torch.cat([x[:, :1], x[:, :-1]], 1)
    assert torch.equal(y[trigger], before[trigger])
    assert (
        torch.equal(batch.labels["bigram"][:, 1:], ~trigger[:, 1:])
        and not batch.labels["bigram"][:, 0].any()
    )
    assert batch.labels["nats"][trigger].max() == 0
    assert torch.allclose(
        batch.labels["nats"][~trigger].double(),
        -source.chances[x[~trigger], y[~trigger]].log(),
        atol=1e-6,
    )
    letter = source.characters.index("h")
    follows = (
        torch.bincount(y[batch.labels["bigram"] & (x == letter)], minlength=source.bos)
        / (x == letter).sum()
    )
    assert (follows - source.chances[letter]).abs().max() < 0.07


def test_bigrams_are_those_of_the_text():
    from interp.texts import prose

    source = make("bigram_backcopy", rare=1)  # every character
    text = "".join(d.text for d in prose())
    q, u = source.characters.index("t"), source.characters.index("h")
    assert float(source.chances[q, u]) == pytest.approx(text.count("th") / text.count("t"))
    assert float(source.chances[source.bos, source.triggers_ids[0]]) == 0
    assert torch.allclose(source.chances.sum(1), torch.ones(source.d_vocab, dtype=torch.float64))


def test_repeats_have_no_fixed_period():
    source = small("repeated_tokens", loss="repeat")
    batch = source.batch(200, seeded())
    length, x = batch.labels["length"], batch.inputs
    assert set(length.tolist()) == {2, 3, 4, 5, 6}
    for row, period, repeat, target in zip(
        x.tolist(), length.tolist(), batch.labels["repeat"], batch.targets
    ):
        assert len(set(row[1 : 1 + period])) == period
        assert all(row[i] == row[i - period] for i in range(1 + period, len(row)))
        assert repeat.tolist() == [i > period for i in range(len(row))]
        assert all(
            t == (row + [None])[i - period + 1]
            for i, t in enumerate(target.tolist())
            if t != IGNORE
        )
        assert torch.equal(target != IGNORE, repeat)
    assert (small("repeated_tokens").batch(5, seeded()).targets != IGNORE).all()


def test_text_stands_in_the_documentation_and_blocks_come_again():
    from interp.texts import documentation
    from interp.toys.data.text_with_repeats import WORD

    source = make("text_with_repeats", vocab=200, n_ctx=20)
    halves = {}
    for split, half in (("train", "find"), ("heldout", "heldout")):
        texts = [WORD.findall(d.text.lower()) for d in documentation() if d.split == half]
        known = set(source.words[:200])
        words = " ".join(w if w in known else "<rare>" for some in texts for w in some)
        batch = source.batch(300, seeded(), split)
        x, y, length = batch.inputs, batch.targets, batch.labels["length"]
        assert (x[:, 0] == source.bos).all() and not (x[:, 1:] == source.bos).any()
        assert not (y == source.rare).any() and torch.equal(y == IGNORE, after(x, y, source))
        assert 0.4 < (length > 0).float().mean() < 0.6
        for row, period, repeat in zip(x.tolist(), length.tolist(), batch.labels["repeat"]):
            if period:
                assert len(set(row[1 : 1 + period])) == period and source.rare not in row
                assert all(row[i] == row[i - period] for i in range(1 + period, len(row)))
                assert repeat.tolist() == [i > period for i in range(len(row))]
            else:
                assert " ".join(source.words[i] for i in row[1:]) in words and not repeat.any()
        halves[split] = rows(batch)
    assert not halves["train"] & halves["heldout"]
    often = torch.bincount(source.batch(300, seeded(), "train").inputs.flatten())[:200]
    assert often[:20].sum() > often[100:120].sum()  # frequent words come more often, in blocks too
    assert make("text_with_repeats", repeats=0.0).batch(9, seeded()).labels["length"].sum() == 0


def after(x, y, source):
    """Where the next token is a rare word: known of all places but the last from x itself."""
    last = y[:, -1:] == IGNORE
    return torch.cat([x[:, 1:] == source.rare, last], 1)


def test_characters_stand_in_their_half_of_the_text():
    from interp.texts import code

    source = make("characters", n_ctx=60)
    assert "".join(sorted(source.characters)) == source.characters
    halves = {}
    for split, half in (("train", "find"), ("heldout", "heldout")):
        text = "\n".join(d.text for d in code() if d.split == half)
        halves[split] = "".join(c for c in text if c in source.characters)
        assert 0.99 < len(halves[split]) / len(text) < 1  # some characters are rare
        batch = source.batch(50, seeded(), split)
        assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
        for x, y in zip(batch.inputs.tolist(), batch.targets[:, -1].tolist()):
            assert "".join(source.characters[i] for i in [*x, y]) in halves[split]
    assert halves["train"] not in halves["heldout"] and halves["train"] != halves["heldout"]
    everything = "".join(d.text for d in code())
    assert min(everything.count(c) for c in source.characters) >= source.rare
    assert make("characters", rare=200).d_vocab < source.d_vocab


def test_a_vocabulary_that_the_text_does_not_have_is_refused():
    with pytest.raises(ValueError, match="vocab=1000000"):
        make("text_with_repeats", vocab=1_000_000)
    with pytest.raises(ValueError, match="do not come again"):
        make("text_with_repeats", n_ctx=6, shortest=8)


def test_recall_asks_for_pairs_that_were_shown():
    source = small("key_value_recall")
    batch = source.batch(50, seeded())
    for row, target, asked, key, value in zip(
        batch.inputs.tolist(),
        batch.targets.tolist(),
        *(batch.labels[k].tolist() for k in ("asked", "key", "value")),
    ):
        pairs = dict(zip(row[1:7:2], row[2:7:2]))
        assert (
            row[0] == source.d_vocab - 1
            and len(pairs) == 3
            and max(pairs) < 6 <= min(pairs.values())
        )
        places = [i for i, t in enumerate(target) if t != IGNORE]
        assert places == [7, 9] and [target[i] for i in places] == [pairs[row[i]] for i in places]
        assert [row[i] for i in key] == [row[i] for i in places] and [row[i] for i in value] == [
            target[i] for i in places
        ]
        assert len(set(asked)) == 2


def test_sums():
    source = small("modular_addition")
    train, held = source.all("train"), source.all("heldout")
    assert len(train) == round(0.3 * 169) and len(train) + len(held) == 169 == len(
        rows(train) | rows(held)
    )
    assert (
        torch.equal(train.targets[:, 2], (train.labels["a"] + train.labels["b"]) % 13)
        and (train.targets[:, :2] == IGNORE).all()
    )
    assert rows(source.batch(500, seeded(), "heldout")) <= rows(held)
    assert rows(small("modular_addition", seed=1).all()) != rows(train)


def test_features():
    source = make("superposition", features=30, alpha=1.0)
    batch = source.batch(40000, seeded())
    x = batch.inputs[:, 0]
    assert (
        torch.equal(batch.labels["on"], x > 0) and x.max() < 2 and (batch.targets == IGNORE).all()
    )
    assert float(source.chances[0] / source.chances[4]) == pytest.approx(25) and float(
        source.chances.sum()
    ) == pytest.approx(1)
    assert ((x > 0).float().mean(0) - source.chances).abs().max() < 0.012
    assert x[:, 0][x[:, 0] > 0].mean() == pytest.approx(1, abs=0.02)


def test_facts_for_all_and_implications_for_some():
    source = small("out_of_context_reasoning")
    batch = {split: source.batch(600, seeded(), split) for split in source.splits}
    asked = {
        k: {(n, i) for n, i in zip(b.labels["name"].tolist(), b.labels["implication"].tolist())}
        for k, b in batch.items()
    }
    assert asked["train"] == {(n, False) for n in range(16)} | {
        (n, True) for n in source.trained.tolist()
    }
    assert asked["heldout"] == {(n, True) for n in source.left.tolist()}
    assert (
        not asked["train"] & asked["heldout"]
        and asked["facts"] | asked["implications"] == asked["train"]
    )
    assert sorted(source.city_of[source.trained].tolist()) == [
        0,
        1,
        2,
        3,
    ]  # every city has a name to learn from
    assert torch.equal(
        batch["train"].labels["trained"], torch.isin(batch["train"].labels["name"], source.trained)
    )
    words = source.words
    for b in batch.values():
        for row, target, name, city, implied in zip(
            b.inputs.tolist(),
            b.targets[:, -1].tolist(),
            *(b.labels[k].tolist() for k in ("name", "city", "implication")),
        ):
            said = [words[i] for i in row]
            assert (
                said[-1] == "END"
                and said.count(f"name {name}") == 1
                and sum(w.startswith("noise") for w in said) == 13
            )
            assert said.index(f"name {name}") < said.index("speaks" if implied else "lives in")
            assert words[target] == (
                f"language {source.implied_by[city]}" if implied else f"city {city}"
            )
    other = small("out_of_context_reasoning", relation="spurious")
    assert (
        torch.equal(other.batch(9, seeded()).inputs, source.batch(9, seeded()).inputs)
        and other.words[1] == "owns"
    )


def test_in_context_classes_by_split():
    source = small("in_context_classes", epsilon=0.0)
    means, shown = source._means
    for split in source.splits:
        batch = source.batch(200, seeded(), split)
        items, labels = batch.inputs[:, 0::2, 65:], batch.inputs[:, 1::2, 65:]
        place = batch.inputs[:, :, :65]
        assert (place.sum(2) == 1).all() and (place.argmax(2).diff(dim=1) == 1).all()
        assert torch.equal(labels, shown[batch.labels["context"]])
        classes, match = batch.labels["classes"], batch.labels["match"]
        answer, weights = batch.targets[:, -1], batch.labels["weights"]
        same = (items[:, :-1] == items[:, -1:]).all(2)
        assert torch.equal(match[:, 1::2], same) and not match[:, 0::2].any()
        if split == "icl":
            assert (classes == -1).all() and (weights == -1).all()
            assert (torch.cdist(items.flatten(0, 1), means) > 0.1).all()
        else:
            assert torch.equal(items, means[classes]) and torch.equal(weights, classes[:, -1] % 8)
        if split == "iwl":
            assert not match.any() and torch.equal(answer, weights)
        else:
            assert (same.sum(1) % 4 == 0).all() and same.any(1).all()
            assert (batch.labels["context"] == answer[:, None])[same].all()
            assert (
                (answer != weights).all()
                if split in ("icl", "swap")
                else torch.equal(answer, weights)
            )
    assert (
        small("in_context_classes", bursty=0.0)
        .batch(300, seeded())
        .labels["match"]
        .any(1)
        .float()
        .mean()
        < 0.3
    )
    noisy = (
        make("in_context_classes", epsilon=1.0, classes=64, labels=8)
        .batch(400, seeded())
        .inputs[:, 0::2, 65:]
    )
    assert noisy.var() == pytest.approx(1 / 63, rel=0.05)


def test_dual_process_by_split():
    source = small("dual_process", absent=0.25)
    marker = torch.tensor([40, 41])
    for split in source.splits:
        batch = source.batch(800, seeded(), split)
        item, shown, query = batch.inputs[:, :-1:2], batch.inputs[:, 1::2], batch.inputs[:, -1]
        there, answer, known = item == query[:, None], batch.targets[:, -1], batch.labels["known"]
        assert torch.isin(shown, marker).all() and torch.equal(
            ~there.any(1), batch.labels["absent"]
        )
        assert (shown == answer[:, None])[there].all()
        if split == "structural":
            assert item.min() == 42 and (known == -1).all() and (there.sum(1) == 1).all()
            continue
        assert item.max() < 40 and torch.equal(known, marker[source.classes[query]])
        assert torch.equal(answer, 81 - known if split in ("head", "tail") else known)
        assert (shown == marker[source.classes[item]])[~there].all()
        share = {"train": 0.25, "heldout": 0.25, "weights": 1.0}.get(split, 0.0)
        assert batch.labels["absent"].float().mean() == pytest.approx(share, abs=0.05)
        ends = {"head": (0, 3), "tail": (36, 39)}.get(split, (0, 39))
        assert ends[0] <= item.min() and item.max() <= ends[1]
    assert source.classes.float().mean() == 0.5
    often = torch.bincount(source.batch(4000, seeded()).inputs[:, :-1:2].flatten(), minlength=40)[
        :40
    ].float()
    assert (often / often.sum() - source.chances).abs().max() < 0.02


# --- what is said to a wrong word -----------------------------------------------------------------


@pytest.mark.parametrize(
    "said, name, options",
    [
        ("did you mean 'modular_addition'", "modular_adition", {}),
        ("did you mean 'triggers'", "bigram_backcopy", {"trigers": 3}),
        ("some must be no triggers", "bigram_backcopy", {"triggers": 40}),
        ("n_ctx=2: it is at least 3", "bigram_backcopy", {"n_ctx": 2}),
        ("do not come again", "repeated_tokens", {"longest": 40}),
        ("needs vocab=16 or more", "repeated_tokens", {"vocab": 8}),
        ("it is 'all' or 'repeat'", "repeated_tokens", {"loss": "some"}),
        ("need as many different keys", "key_value_recall", {"keys": 4}),
        ("only pairs=8 can be asked", "key_value_recall", {"queries": 9}),
        ("both splits of the 169 pairs", "modular_addition", {"p": 13, "share": 1.0}),
        (
            "the most frequent feature would be on with chance",
            "superposition",
            {"alpha": 1.0, "active": 5.0},
        ),
        ("did you mean 'code'", "characters", {"text": "cod"}),
        (
            "no two characters of 'prose' come as often",
            "characters",
            {"text": "prose", "rare": 9999},
        ),
        ("half of 'prose' has", "characters", {"text": "prose", "n_ctx": 20_000}),
        ("as many live in each", "out_of_context_reasoning", {"names": 81}),
        ("at least one is trained on and one is left", "out_of_context_reasoning", {"share": 1.0}),
        ("'causal' or 'spurious'", "out_of_context_reasoning", {"relation": "both"}),
        ("it divides pairs=8", "in_context_classes", {"burstiness": 3}),
        ("at least as many as labels=32", "in_context_classes", {"classes": 16}),
        ("8 pairs and a query take 17", "in_context_classes", {"positions": 16}),
        ("a share lies from 0 to 1", "dual_process", {"absent": 1.5}),
        ("a context takes as many different items", "dual_process", {"unseen": 2}),
    ],
)
def test_impossible_options_are_answered_with_a_sentence(said, name, options):
    with pytest.raises(ValueError, match=said):
        make(name, **options)


def test_impossible_batches():
    source = small("modular_addition")
    with pytest.raises(ValueError, match="did you mean 'heldout'"):
        source.batch(3, seeded(), "heldot")
    with pytest.raises(ValueError, match="did you mean 'heldout'"):
        source.all("held")
    with pytest.raises(ValueError, match="at least one row"):
        source.batch(0, seeded())
    ids = torch.zeros(2, 3, dtype=torch.long)
    with pytest.raises(
        Exception, match="differ in batch or pos|Int.Tensor, 'batch pos'."
    ):  # by the checked shapes, in tests
        Batch(torch.zeros(2, 3, 5), torch.zeros(2, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="'odd' has 3 rows"):
        Batch(ids, ids, {"odd": torch.zeros(3)})
