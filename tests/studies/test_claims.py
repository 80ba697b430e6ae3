"""Claims in a file: whose they are, what makes one testable, and how they are shown."""

from dataclasses import replace

import pytest

from interp.studies import Claim, Measured, converged, drawn, gate, load_claims, measured, verdicts
from interp.studies.restate import restated
from interp.studies.tolerance import narrow, open_words
from interp.studies.verdict_rules import DOES_NOT_HOLD, HOLDS, NOT_TESTABLE, PARTLY
from interp.studies.verdict_table import Table, comparisons, kind_of, row

TEXT = """
[sparse]
quote = "less than 5% of the heads"
place = "Wu et al. 2024, abstract"
paper = "< 5 %"
metric = "share of heads above 0.1"
unit = "prompts"
direction = "<="
holds = 0.05
partly = 0.1
null = 1.0

[grows]
question = "Does it grow with training?"
metric = "rank correlation with the step"
unit = "seeds"
holds = 0.8
null = 0.0
varies = "trained"

[grows.parts.early]

[grows.parts.late]
holds = 0.4
"""


@pytest.fixture
def claims(tmp_path):
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "00-toy.toml").write_text(TEXT)
    return load_claims("00-toy", tmp_path)


def at(value, half=0.1, n=10):
    return Measured(value, value - half, value + half, n)


def test_a_claim_is_the_papers_or_ours(claims):
    assert [c.kind for c in claims.values()] == ["paper", "ours"]
    sparse, grows = claims["sparse"], claims["grows"]
    assert sparse.source == "Wu et al. 2024, abstract" and grows.source == "our question"
    assert sparse.says == "less than 5% of the heads" and sparse.control == "none"
    assert "“less than 5% of the heads” (Wu et al. 2024, abstract)" in repr(claims)
    assert "<= 0.05; partly <= 0.1" in repr(claims) and "our question" in claims._repr_html_()
    with pytest.raises(ValueError, match="did you mean 'sparse'"):
        claims["sparce"]


def test_a_file_anywhere_is_read(tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    assert list(load_claims("mine.toml")) == ["sparse", "grows"]
    with pytest.raises(FileNotFoundError, match="no claims at"):
        load_claims("no-such-study", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('place = "Wu et al. 2024, abstract"\n', "", "place = "),
        ('quote = "less than 5% of the heads"\n', "", "needs either quote"),
        ("[sparse]\n", '[sparse]\nquestion = "And?"\n', "needs either quote"),
        ('unit = "prompts"\n', "", "has no unit"),
        ("partly = 0.1", "partial = 0.1", "did you mean 'partly'"),
        ("null = 1.0\n", "", "null=0.0"),
        ("holds = 0.4", "hold = 0.4", "part 'late'"),
        ("holds = 0.4", "holds = -0.4", "null=0.0 would pass"),
        ("holds = 0.4", 'holds = "0.4"', "part 'late': holds should be a number, and is '0.4'"),
        ("partly = 0.1", "partly = nan", "partly should be a number, and is nan"),
        ("null = 1.0", "null = [1.0]", "null should be a number"),
        ('unit = "prompts"', "unit = 3", "unit should be a text, and is 3"),
        ('unit = "prompts"', 'unit = "prompts"\nneeds = 2', "needs should be two whole numbers"),
        ('unit = "prompts"', 'unit = "prompts"\nparts = [1]', "parts should be a list of names"),
        ('unit = "prompts"', 'unit = "prompts', r"bad\.toml' is not TOML"),
        ("[sparse]", "sparse = 3\n[other]", "'sparse' in bad.toml is 3; a claim is a table"),
    ],
)
def test_an_incomplete_claim_is_refused(tmp_path, old, new, said):
    assert old in TEXT
    (tmp_path / "bad.toml").write_text(TEXT.replace(old, new, 1))
    with pytest.raises(ValueError, match=said):
        load_claims(str(tmp_path / "bad.toml"))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\xff\xfe", "not UTF-8 text"),
        (b"a = " + b"[" * 100_000, "nests too deeply|not TOML"),
        (b"a = " + b"9" * 5_000, "not TOML"),
        (b"", "has no claim"),
    ],
)
def test_a_file_that_is_no_toml_is_named(tmp_path, raw, said):
    (tmp_path / "bad.toml").write_bytes(raw)
    with pytest.raises(ValueError, match=said) as error:
        load_claims(tmp_path / "bad.toml")
    assert "bad.toml" in str(error.value) and len(str(error.value)) < 400


def test_a_part_has_its_own_threshold(claims):
    grows = claims["grows"]
    assert grows.threshold == "early >= 0.8, late >= 0.4: in 2 of 2; partly in 1"
    settled = converged([0.9], [0.9], within=0.1)
    got = grows.judge({"early": at(0.9), "late": at(0.5)}, gate=settled)
    assert got.word == HOLDS and [v.claim.holds for _, v in got.parts] == [0.8, 0.4]
    assert grows.judge({"early": at(0.5), "late": at(0.5)}, gate=settled).word == PARTLY
    with pytest.raises(ValueError, match="has the parts"):
        grows.part("middle")


def test_an_unsettled_training_is_no_failure(claims):
    grows, parts = claims["grows"], {"early": at(0.0), "late": at(0.0)}
    with pytest.raises(ValueError, match="converged"):
        grows.judge(parts)  # nobody looked
    assert grows.judge(parts, gate=converged([0.5, 0.5], [0.5, 0.4], within=0.1)).word == (
        DOES_NOT_HOLD
    )
    failed = grows.judge(parts, gate=converged([0.5, 0.5], [0.5, 0.39], within=0.1))
    assert failed.word == NOT_TESTABLE and failed.why.startswith("not converged: ")
    # parts that were judged one by one have each been asked
    late = grows.part("late")
    with pytest.raises(ValueError, match="converged"):
        late.judge(at(0.5))
    settled = converged([0.5], [0.5], within=0.1)
    each = {n: grows.part(n).judge(at(0.9), gate=settled) for n in grows.parts}
    assert grows.judge(each).word == HOLDS


def test_every_seed_has_to_agree():
    """The largest difference decides, not the mean; and a share is of the end."""
    assert converged([1.0, 1.0, 1.0], [1.0, 1.0, 0.7], within=0.29).passed is False
    assert converged([1.0, 1.0, 1.0], [1.0, 1.0, 0.7], within=0.31).passed is True
    assert converged([10.0], [9.0], within=0.11, relative=True).passed is True
    assert converged([10.0], [9.0], within=0.11).passed is False
    with pytest.raises(ValueError, match="one number a seed"):
        converged([1.0, 2.0], [1.0], within=0.1)


def test_an_invalid_metric_is_no_verdict(claims):
    got = claims["sparse"].judge(at(0.5), invalid="a needle of three tokens makes every head count")
    assert got.word == NOT_TESTABLE and "needle of three tokens" in got.why
    assert got.measured.value == 0.5  # the number is still shown
    assert narrow(got) == open_words(got) == ()
    assert claims["sparse"].judge(None, invalid="no such sentence").word == NOT_TESTABLE


def test_a_training_that_nobody_looked_at_is_not_called_an_invalid_metric(claims):
    grows = claims["grows"]
    unseen = replace(grows, unsettled="training at half the steps was not looked at")
    got = unseen.judge({"early": at(0.0), "late": at(0.0)})  # no gate is asked for
    assert got.word == NOT_TESTABLE and narrow(got) == ()
    assert got.why == "not converged: training at half the steps was not looked at"
    both = replace(unseen, invalid="the toy has one layer").judge(None)
    assert both.why.startswith("the metric is not valid: the toy has one layer; not converged: ")
    # one part alone
    late = replace(grows, own=(("late", (("unsettled", "not looked at"),)),))
    parts = late.judge({"early": at(0.9), "late": at(0.0)}, gate=converged([1], [1], within=0.1))
    assert [v.word for _, v in parts.parts] == [HOLDS, NOT_TESTABLE]
    assert parts.parts[1][1].why == "not converged: not looked at"


def test_an_untested_part_never_makes_a_failure():
    claim = Claim(
        "one",
        says="It is",
        paper="1",
        source="here",
        metric="m",
        holds=1.0,
        null=0.0,
        control="none",
        parts=("a", "b"),
    )
    words = {
        (HOLDS, HOLDS): HOLDS,
        (HOLDS, NOT_TESTABLE): PARTLY,
        (DOES_NOT_HOLD, NOT_TESTABLE): NOT_TESTABLE,
        (DOES_NOT_HOLD, DOES_NOT_HOLD): DOES_NOT_HOLD,
        (HOLDS, DOES_NOT_HOLD): PARTLY,
        (NOT_TESTABLE, NOT_TESTABLE): NOT_TESTABLE,
    }
    for parts, word in words.items():
        assert claim.parts_word(parts) == claim.parts_word(parts[::-1]) == word


@pytest.mark.parametrize(
    ("value", "half", "words"),
    [
        (0.06, 0.02, ()),  # 0.05 is a quarter of the interval away
        (0.052, 0.02, (HOLDS,)),  # ... and here a twentieth
        (0.048, 0.02, (PARTLY,)),
        (0.101, 0.02, (PARTLY,)),  # the floor counts as well
        (0.5, 0.49, ()),  # 0.1 is 0.4 away, a tenth of the interval is 0.098
    ],
)
def test_narrow_is_a_tenth_of_the_interval(claims, value, half, words):
    got = claims["sparse"].judge(at(value, half))
    assert narrow(got) == words
    assert set(narrow(got)) <= set(open_words(got))
    if words:
        assert row(got)["narrow"] == list(words)
        assert "narrow: another run may say" in repr(Table("t", (row(got),), "m"))


def test_units_come_from_the_claim_and_are_printed(claims):
    got = claims["sparse"].judge(measured([0.0, 0.05, 0.1]))
    assert got.measured.unit == "prompts"
    assert "n = 3 prompts" in repr(Table("t", (row(got),), "m"))
    own = claims["sparse"].judge(measured([0.0, 0.05, 0.1], unit="KV groups"))
    assert own.measured.unit == "KV groups"


def test_brackets_are_for_intervals_alone():
    """What random draws give is printed in words."""
    shuffles = drawn([0.1, 0.2, 0.3], what="shuffles")
    assert str(shuffles) == "0.2 (middle 95 % of 3 shuffles: 0.105 to 0.295)"
    strict = drawn([0.1, 0.2, 0.3], 100, what="random sets")
    assert str(strict) == "0.3 (100th percentile of 3 random sets)" and strict.low == strict.high
    claim = Claim(
        "one", says="It is", paper="1", source="here", metric="m", holds=1.0, control="shuffles"
    )
    got = claim.judge(at(1.5), control=shuffles)
    assert got.word == HOLDS and claim.judge(at(1.05, 0.9), control=strict).word == DOES_NOT_HOLD
    for text in (repr(Table("t", (row(got),), "m")), Table("t", (row(got),), "m")._repr_html_()):
        assert "shuffles: 0.105 to 0.295" in text and "[0.105" not in text


def test_the_papers_claims_and_ours_have_a_table_each(claims):
    settled = gate("can do it", at(1.0), at_least=0.5), converged([0.9], [0.9], within=0.1)
    both = [
        claims["sparse"].judge(at(0.01, 0.005)),
        claims["grows"].judge({"early": at(0.9), "late": at(0.5)}, gate=settled),
    ]
    table = Table("t", tuple(row(v) for v in both), "m")
    text = repr(table)
    assert text.index("What the paper says: ✔ 1 holds") < text.index("What we ask: ✔ 1 holds")
    assert table._repr_html_().count("<table") == 2
    assert comparisons(table.rows).startswith("2 rows with 3 numbers") and "forty" in text
    assert "needs at least 0.5" in text and "needs at most 0.1" in text


def test_rows_are_those_of_the_file(claims, tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_NOTEBOOKS", str(tmp_path))
    monkeypatch.delenv("INTERP_RECORD", raising=False)
    settled = converged([0.9], [0.9], within=0.1)
    sparse = claims["sparse"].judge(at(0.01, 0.005))
    grows = claims["grows"].judge({"early": at(0.9), "late": at(0.5)}, gate=settled)
    assert len(verdicts("00-toy", [sparse, grows], model="toy")) == 2
    with pytest.raises(ValueError, match="every claim has one row"):
        verdicts("00-toy", [sparse], model="toy")
    changed = Claim(
        "sparse",
        says="x",
        paper="x",
        source="x",
        metric="x",
        holds=0.5,
        direction="<=",
        null=1.0,
        control="none",
    )
    with pytest.raises(ValueError, match="other thresholds"):
        verdicts("00-toy", [changed.judge(at(0.01, 0.005)), grows], model="toy")


def test_a_record_is_restated_without_a_run(claims):
    """New words, the same numbers; a claim found to be untestable says so; thresholds stay."""
    settled = converged([0.9], [0.9], within=0.1)
    old = [
        row(claims["sparse"].judge(at(0.01, 0.005), note="kept")),
        row(claims["grows"].judge({"early": at(0.9), "late": at(0.5)}, gate=settled)),
    ]
    same = {k: replace(c, convergence="not needed") for k, c in claims.items()}
    assert restated(old, same) == restated(old, claims) == old
    invalid = {**same, "sparse": replace(claims["sparse"], invalid="the needles are too short")}
    first, second = restated(old, invalid)
    assert first["verdict"] == NOT_TESTABLE and "too short" in first["why"]
    assert first["measured"]["value"] == 0.01 and first["note"] == "kept" and second == old[1]
    quoted = {**same, "sparse": replace(claims["sparse"], quote="", question="Are they few?")}
    assert kind_of(restated(old, quoted)[0]) == "ours"
    plainer = {**claims, "grows": replace(claims["grows"], metric="does it rise?")}
    assert restated(old, plainer) == [old[0], old[1] | {"metric": "does it rise?"}]
    with pytest.raises(ValueError, match="other thresholds need a run"):
        restated(old, {**same, "sparse": replace(claims["sparse"], holds=0.04)})
    with pytest.raises(ValueError, match="needs a run"):
        restated(old[:1], same)


def test_a_control_that_is_dropped_is_judged_anew():
    """A descriptive claim against its own null: what a baseline reached no longer counts."""
    claim = Claim(
        "one",
        says="It is",
        paper="1",
        source="here",
        metric="m",
        holds=0.4,
        null=0.0,
        control="random directions",
        quote="It is",
        unit="tokens",
    )
    old = row(claim.judge(at(0.45, 0.01), control=at(0.99, 0.01)))
    assert old["verdict"] == DOES_NOT_HOLD
    alone = replace(claim, control="none")
    assert restated([old], {"one": alone})[0]["verdict"] == HOLDS
    assert restated([old], {"one": claim})[0]["verdict"] == DOES_NOT_HOLD
