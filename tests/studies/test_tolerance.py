"""Records and other processors: what a run may differ by, and what it may not."""

import json

import pytest

from interp.studies import Claim, Measured, VerdictChanged, check_recorded, gate
from interp.studies.tolerance import open_words, tolerance
from interp.studies.verdict_rules import DOES_NOT_HOLD, HOLDS, NOT_TESTABLE, PARTLY
from interp.studies.verdict_table import record, row


def claim(**change):
    """Holds from 1.0 on, beyond the null 0."""
    options = {"holds": 1.0, "null": 0.0, "control": "none", **change}
    return Claim("one", says="It is one", paper="1", source="Nobody 2020", metric="m", **options)


def at(value, half=0.1, n=10):
    return Measured(value, value - half, value + half, n)


@pytest.fixture
def compare(tmp_path):
    """compare(recorded verdict, verdict now): as the tests of the studies compare them."""

    def compare(was, now):
        record("00-toy", [row(was)], model="toy", fast=True, folder=tmp_path)
        return check_recorded("00-toy", [row(now)], fast=True, model="toy", folder=tmp_path)

    return compare


@pytest.mark.parametrize(
    "varies, expected",
    [
        ("", 0.05),  # a tenth of 0.5, and 1 % of 2 is less
        ("trained", 0.5),  # the half-width, and 2 / 10 of an example is less
        ("timed", 4 / 3),
    ],
)
def test_the_tolerance_of_a_number_by_hand(varies, expected):
    got = tolerance(2.0, 1.5, 2.5, 10, varies=varies, null=0.0)
    assert got == pytest.approx(expected)


def test_an_interval_without_width_leaves_one_example_or_one_per_cent():
    assert tolerance(0.0, 0.0, 0.0, 3, varies="trained", null=1.0) == pytest.approx(1 / 3)
    assert tolerance(0.0, 0.0, 0.0, 3, null=1.0) == 0
    assert tolerance(2.0, 2.0, 2.0, 3) == pytest.approx(0.02)


@pytest.mark.parametrize(
    "got, varies, words",
    [
        (at(2.0), "", ()),  # far above 1
        (at(1.005), "", (PARTLY,)),  # a tenth of 0.1 reaches below 1
        (at(0.995), "", (HOLDS,)),
        (at(1.05), "", ()),  # within the interval, but not within a tenth of it
        (at(1.05), "trained", (PARTLY,)),
        (at(0.105), "", (DOES_NOT_HOLD,)),  # the interval nearly includes the null
        (at(0.5), "trained", ()),
    ],
)
def test_a_word_is_open_where_a_threshold_is_near(got, varies, words):
    assert open_words(claim(varies=varies).judge(got)) == words


def test_a_near_control_opens_the_word():
    one = claim(control="random heads")
    assert open_words(one.judge(at(2.0), control=at(0.5))) == ()
    # the interval starts at 1.9 and the control's ends at 1.89: either may move by 0.02
    assert open_words(one.judge(at(2.0), control=at(1.79))) == (PARTLY,)


def test_gates_and_conditions_open_words_too():
    near, far = gate("able", at(0.505), at_least=0.5), gate("able", at(0.9), at_least=0.5)
    assert open_words(claim().judge(at(2.0), gate=far)) == ()
    assert open_words(claim().judge(at(2.0), gate=near)) == (NOT_TESTABLE,)
    failed = gate("able", at(0.495), at_least=0.5)
    assert set(open_words(claim().judge(at(2.0), gate=failed))) == {HOLDS}
    assert open_words(claim().judge(at(2.0), gate=gate("able", at(0.1), at_least=0.5))) == ()
    assert open_words(claim().judge(at(2.0), provided=near)) == (PARTLY,)
    assert open_words(claim().judge(at(2.0), provided=failed)) == (HOLDS,)


def test_parts_open_the_word_of_the_whole_where_they_decide_it():
    both = claim(parts=("a", "b"))
    assert open_words(both.judge({"a": at(2.0), "b": at(2.0)})) == ()
    assert open_words(both.judge({"a": at(2.0), "b": at(1.005)})) == (PARTLY,)
    assert open_words(both.judge({"a": at(0.0), "b": at(1.005)})) == ()  # partly either way


def test_a_part_keeps_the_tolerance_of_its_own_claim():
    own = claim(varies="trained").judge(at(1.05))
    whole = claim(parts=("fixed", "trained")).judge({"fixed": at(1.05), "trained": own})
    assert whole.word == HOLDS and open_words(whole) == (PARTLY,)
    parts = {p["name"]: p["within_tolerance"] for p in row(whole)["parts"]}
    assert parts == {"fixed": [], "trained": [PARTLY]}


def test_a_clear_row_with_another_word_fails(compare):
    assert compare(claim().judge(at(2.0)), claim().judge(at(2.0)))
    with pytest.raises(VerdictChanged, match="one: recorded 'holds', now 'does not hold'"):
        compare(claim().judge(at(2.0)), claim().judge(at(-2.0)))


def test_the_word_is_compared_though_the_number_is_near(compare):
    """The same number against another threshold: only the word says it."""
    with pytest.raises(VerdictChanged, match="recorded 'holds', now 'partly'"):
        compare(claim().judge(at(2.0)), claim(holds=3.0).judge(at(2.0)))


def test_a_narrow_row_may_come_out_either_way(compare):
    above, below = claim().judge(at(1.004)), claim().judge(at(0.996))
    assert (above.word, below.word) == (HOLDS, PARTLY)
    assert compare(above, below) and compare(below, above)


def test_a_narrow_row_may_not_come_out_as_any_word(compare):
    with pytest.raises(VerdictChanged, match="recorded 'holds', now 'does not hold'"):
        compare(claim().judge(at(1.004)), claim().judge(at(0.05)))


def test_a_record_may_say_that_it_is_narrow(compare, tmp_path):
    """Records that were made before rows said how narrow they are count as clear."""
    was, now = claim().judge(at(1.004, half=0.4)), claim().judge(at(0.97))
    assert open_words(was) == (PARTLY,) and open_words(now) == ()
    assert compare(was, now)
    old = row(was)
    del old["within_tolerance"], old["varies"]
    record("00-toy", [old], model="toy", fast=True, folder=tmp_path)
    with pytest.raises(VerdictChanged, match="recorded 'holds', now 'partly'"):
        check_recorded("00-toy", [row(now)], fast=True, model="toy", folder=tmp_path)


def test_a_number_outside_the_tolerance_fails_though_the_word_is_the_same(compare):
    with pytest.raises(VerdictChanged, match="recorded 2, now 2.1, which is more than 0.021 apart"):
        compare(claim().judge(at(2.0)), claim().judge(at(2.1)))
    assert compare(claim().judge(at(2.0)), claim().judge(at(2.015)))
    trained = claim(varies="trained")
    assert compare(trained.judge(at(2.0, half=0.3)), trained.judge(at(2.25, half=0.3)))
    with pytest.raises(VerdictChanged, match="recorded 2, now 2.8"):
        compare(trained.judge(at(2.0, half=0.3)), trained.judge(at(2.8, half=0.3)))


def test_numbers_of_controls_gates_and_parts_are_compared(compare):
    one = claim(control="random heads")
    with pytest.raises(VerdictChanged, match="control recorded 0.1, now 0.3"):
        compare(one.judge(at(2.0), control=at(0.1)), one.judge(at(2.0), control=at(0.3)))
    able = [gate("able", at(x), at_least=0.1) for x in (0.9, 0.7)]
    with pytest.raises(VerdictChanged, match="gate able recorded 0.9, now 0.7"):
        compare(*(claim().judge(at(2.0), gate=g) for g in able))
    both = claim(parts=("a", "b"))
    with pytest.raises(VerdictChanged, match="part 'b' recorded 2, now 3"):
        compare(*(both.judge({"a": at(2.0), "b": at(x)}) for x in (2.0, 3.0)))


def test_times_may_differ_by_a_factor_of_three(compare):
    timed = claim(varies="timed")
    assert compare(timed.judge(at(9.0)), timed.judge(at(20.0)))
    with pytest.raises(VerdictChanged, match="recorded 9, now 30"):
        compare(timed.judge(at(9.0)), timed.judge(at(30.0)))


def test_the_record_carries_what_the_comparison_needs(compare, tmp_path):
    compare(claim(varies="trained").judge(at(1.05)), claim(varies="trained").judge(at(1.05)))
    saved = json.loads((tmp_path / "verdicts" / "00-toy.json").read_text())["fast"]["rows"][0]
    assert saved["varies"] == "trained" and saved["within_tolerance"] == ["partly"]


def test_a_claim_says_what_it_varies_with():
    with pytest.raises(ValueError, match="'seeds': write '' .a fixed model., 'trained' or 'timed'"):
        claim(varies="seeds")
