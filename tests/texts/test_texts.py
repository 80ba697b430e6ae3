"""Texts: the same for a set of versions, cleaned, no copy twice, no document in both halves, chunks
that tile documents.
"""

import json
import sys

import numpy as np
import pytest
import torch

import interp
from interp import texts
from interp.edits import add, zero
from interp.interventions import Intervention, run
from interp.texts import docstrings
from interp.texts.corpus import Corpus, Document
from interp.texts.docstrings import distinct, read_docstrings, sentences

DOC = """
    Return the rows whose label is in the :class:`Index` and which ``keep`` says to keep.

    The order of the rows is that of the frame, and nothing that was not asked for is changed [1]_.
        Not this: an indented line makes the paragraph code.

    Parameters
    ----------
    x : array_like
        The values that are looked at, one after another, until there are none left.

    >>> rows(x) of the frame that is the example of this and of that and it is not prose
    [1, 2]

    See https://example.org for the whole story of the rows and of the frame in all its detail.

    A frame that has no rows is given back as it is, and a copy is only made if it has to be.
"""


@pytest.fixture(scope="module")
def numpy_docs():
    return tuple(read_docstrings(["numpy"]))


# --- cleaning and copies --------------------------------------------------------------------------


def test_only_plain_sentences_are_kept_and_markup_goes():
    import inspect

    assert sentences(inspect.cleandoc(DOC)) == [
        "Return the rows whose label is in the Index and which keep says to keep.",
        "A frame that has no rows is given back as it is, and a copy is only made if it has to be.",
    ]


def test_copies_and_near_copies_are_seen():
    fresh = distinct()
    one = (
        "The order of the rows is that of the frame and nothing that was not asked for is changed."
    )
    assert fresh(one) and not fresh(one) and not fresh(one.upper().replace(".", "!"))
    assert not fresh(one.replace("changed", "altered"))
    assert fresh(
        "A frame that has no rows is given back as it is, and a copy is made only if it has to be."
    )


def test_documentation_is_deterministic_clean_and_without_copies(numpy_docs):
    assert numpy_docs == tuple(read_docstrings(["numpy"]))
    paragraphs = [p for d in numpy_docs for p in d.text.split("\n\n")]
    assert len(paragraphs) > 300 and len({p.lower() for p in paragraphs}) == len(paragraphs)
    assert all(
        p[0].isupper() and p[-1] in ".!?" and ">>>" not in p and "----" not in p for p in paragraphs
    )
    fresh = distinct()
    assert all(map(fresh, paragraphs))
    assert not any(".tests" in d.name for d in numpy_docs)


def test_documentation_is_kept_whole_and_made_once(tmp_path, monkeypatch):
    made = []

    def read():
        return made.append(1) or [Document("a", "one"), Document("b", "two")]

    monkeypatch.setattr(docstrings, "read_docstrings", read)
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path))
    first, again = (docstrings.documentation.__wrapped__() for _ in range(2))
    assert first.documents == again.documents and first.metadata == again.metadata and made == [1]
    (file,) = (tmp_path / "texts").iterdir()  # and no temporary one beside it
    assert json.loads(file.read_text()) == [["a", "one"], ["b", "two"]]
    file.write_text('[["a", "o')
    assert docstrings.documentation.__wrapped__().fingerprint == first.fingerprint and made == [
        1,
        1,
    ]
    assert set(first.metadata["versions"]) == {"python", *docstrings.PACKAGES}


# --- corpora and halves ---------------------------------------------------------------------------


def test_halves_share_no_document_and_no_document_moves(numpy_docs):
    whole = Corpus("numpy", numpy_docs)
    halves = [set(whole.half(s).documents) for s in ("find", "heldout")]
    assert not halves[0] & halves[1] and halves[0] | halves[1] == set(numpy_docs)
    assert min(map(len, halves)) > len(numpy_docs) / 4
    fewer = Corpus("fewer", numpy_docs[5:])
    assert set(fewer.half("find").documents) == halves[0] & set(numpy_docs[5:])


def test_our_prose_is_long_enough_and_in_both_halves():
    prose = texts.prose()
    assert sum(len(d.text.split()) for d in prose) > 2000 and all(
        100 < len(d.text.split()) < 200 for d in prose
    )
    assert len(prose.half("find")) == len(prose.half("heldout")) == 8


def test_the_fingerprint_tells_corpora_apart():
    one = Corpus("x", (Document("a", "bc"),))
    assert (
        one.fingerprint
        == Corpus("y", (Document("a", "bc"),)).fingerprint
        == one.metadata["fingerprint"]
    )
    assert one.fingerprint != Corpus("x", (Document("ab", "c"),)).fingerprint


def test_files_and_folders(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "sub" / "b.md").write_text("two")
    (tmp_path / "c.bin").write_bytes(b"\xff\xfe")
    assert [(d.name, d.text) for d in texts.files(tmp_path)] == [
        ("a.txt", "one"),
        ("sub/b.md", "two"),
    ]
    assert [d.name for d in texts.files([tmp_path / "a.txt"])] == ["a.txt"]
    for path, says in ((tmp_path / "c.bin", "not UTF-8"), (tmp_path / "d.txt", "no such file")):
        with pytest.raises(ValueError, match=says):
            texts.files(path)
    with pytest.raises(ValueError, match="no files were given"):
        texts.files([])


# --- chunks ---------------------------------------------------------------------------------------


def test_chunks_tile_each_document(any_tiny):
    tokenizer, corpus = any_tiny.tokenizer, texts.prose()
    found = texts.chunks(any_tiny, corpus, length=20)
    assert (found[:, 0] == tokenizer.bos_token_id).all() and (
        found[:, 1:] != tokenizer.bos_token_id
    ).all()
    row = 0
    for document in corpus:
        ids = tokenizer(document.text, add_special_tokens=False).input_ids
        n = len(ids) // 19
        assert found[row : row + n, 1:].flatten().tolist() == ids[: 19 * n]
        row += n
    assert row == len(found) > 100


def test_drawn_chunks_are_some_of_all_without_repeats_and_by_seed(tiny):
    corpus = texts.prose()
    every = {tuple(row) for row in texts.chunks(tiny, corpus, length=40, split="find").tolist()}
    drawn = [
        texts.chunks(tiny, corpus, length=40, n=9, split="find", seed=s).tolist() for s in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len({tuple(row) for row in drawn[0]}) == 9 and {tuple(row) for row in drawn[0]} <= every
    assert not every & {
        tuple(row) for row in texts.chunks(tiny, corpus, length=40, split="heldout").tolist()
    }


def test_joined_documents_lose_only_one_rest(tiny):
    corpus = texts.prose()
    apart, joined = (texts.chunks(tiny, corpus, length=64, join=j) for j in (None, "\n\n"))
    tokens = sum(len(tiny.tokenizer(d.text).input_ids) for d in corpus)
    assert len(joined) >= tokens // 63 > len(apart)
    assert (texts.chunks(tiny.tokenizer, corpus, length=64, join="\n\n") == joined).all()


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(length=1), "at least one more"),
        (dict(n=0), "at least one chunk"),
        (dict(n=10**6), "are needed: ask for fewer"),
        (dict(length=4000), "has 0 chunks of 4000 tokens"),
        (dict(split="test"), "unknown split 'test'"),
    ],
)
def test_chunks_that_cannot_be_are_refused(tiny, options, says):
    with pytest.raises(ValueError, match=says):
        texts.chunks(tiny, texts.prose(), **options)


def test_wrong_corpora_are_refused(tiny):
    with pytest.raises(TypeError, match="make one with texts.documentation"):
        texts.chunks(tiny, ["some words"])
    for documents, says in (
        ((), "no documents"),
        ((Document("a", " "),), "'a' is empty"),
        ((Document("a", "x"), Document("a", "y")), "two documents are called 'a'"),
    ):
        with pytest.raises(ValueError, match=says):
            Corpus("x", documents)
    with pytest.raises(ValueError, match="falls into the half"):
        one = Corpus("x", (Document("a", "x"),))
        one.half("find"), one.half("heldout")


def test_the_hub_is_asked_only_when_there_is_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match="pip install datasets .*need no hub"):
        texts.hub("someone/something")
    fake = type(sys)("datasets")
    fake.load_dataset = lambda name, **options: iter(
        [{"text": "one"}, {"text": " "}, {"text": "three"}]
    )
    monkeypatch.setitem(sys.modules, "datasets", fake)
    with pytest.raises(ConnectionError, match="HF_HUB_OFFLINE is set"):
        texts.hub("someone/something")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert [d.text for d in texts.hub("someone/something")] == ["one", "three"]
    with pytest.raises(ValueError, match="did you mean 'text'"):
        texts.hub("someone/something", column="texts")


# --- cross-entropy --------------------------------------------------------------------------------


def test_cross_entropy_by_hand(any_tiny):
    tokens = texts.chunks(any_tiny, texts.prose(), length=40, n=35)  # more than one run of them
    edit = [Intervention("L1H2", zero())]
    for edits in ([], edit):
        logits = run(any_tiny, tokens, edits).logits.double().log_softmax(-1)
        by_hand = [
            -np.mean([logits[i, p, tokens[i, p + 1]].item() for p in range(1, 39)])
            for i in range(35)
        ]
        found = interp.methods.text.cross_entropy(any_tiny, tokens, edits)
        np.testing.assert_allclose(found.examples, by_hand, atol=1e-5)
        assert found.unit == "nats per token" and found.metadata["n"] == 35
    assert abs(interp.methods.text.cross_entropy(any_tiny, tokens).values - found.values) > 1e-4


def test_cross_entropy_leaves_the_first_position_out(tiny):
    tokens = texts.chunks(tiny, texts.prose(), length=12, n=3)
    moved = Intervention("logits@0", add(torch.randn(interp.models.bridge.dims(tiny).d_vocab)))
    assert (
        interp.methods.text.cross_entropy(tiny, tokens, [moved]).values
        == interp.methods.text.cross_entropy(tiny, tokens).values
    )


def test_cross_entropy_takes_positions_chunk_by_chunk(tiny):
    tokens = texts.chunks(tiny, texts.prose(), length=100, n=8)
    where = torch.arange(8) * 10 + 5
    edit = [Intervention("resid_post.1@HERE", zero())]
    whole = interp.methods.text.cross_entropy(tiny, tokens, edit, positions={"HERE": where})
    each = [
        interp.methods.text.cross_entropy(
            tiny, tokens[i], edit, positions={"HERE": where[i : i + 1]}
        ).values
        for i in range(8)
    ]
    np.testing.assert_allclose(whole.examples, each, atol=1e-6)


def test_cross_entropy_refuses_what_it_cannot_batch(tiny):
    with pytest.raises(ValueError, match="three tokens or more"):
        interp.methods.text.cross_entropy(tiny, torch.tensor([[1, 2]]))
    with pytest.raises(ValueError, match="`rows` of its own"):
        interp.methods.text.cross_entropy(
            tiny, torch.ones(2, 5, dtype=torch.long), [Intervention("L0H0", zero(), rows=slice(1))]
        )
