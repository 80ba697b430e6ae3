"""How far a verdict's numbers may lie from the recorded ones, and which words that leaves open.

A study runs on other processors than the one that recorded it. Sums are taken in another order
there, so that numbers of a fixed model differ in their last digits, and numbers of a model that is
trained in the notebook differ about as much as they do between seeds. A record is compared within
this tolerance:

| a claim's `varies` | numbers may differ by                                                     |
|--------------------|---------------------------------------------------------------------------|
| "" (a fixed model) | a tenth of the half-width of the 95 % interval, or 1 % of the number      |
| "trained"          | the half-width, a quarter of the number (an interval over sequences does  |
|                    | not say how seeds differ), or what one of n examples changes when it goes |
|                    | over to the null (the control's value where the claim has no null)        |
| "timed"            | two thirds of the number, so a factor of three                            |

The largest of these counts. A verdict's word is compared where it is clear of its thresholds: a
word that the row would have with each number moved by its tolerance may come out, too.

A row is *narrow* when another word lies within a tenth of its interval; it says so in the table,
and may come out as that word elsewhere.
"""

from collections.abc import Callable, Iterable
from itertools import product

from interp.studies.verdict_rules import (
    DOES_NOT_HOLD,
    HOLDS,
    NOT_TESTABLE,
    PARTLY,
    TIMED,
    TRAINED,
    WORDS,
    Gate,
    Measured,
    Verdict,
)

ORDER = (NOT_TESTABLE, DOES_NOT_HOLD, PARTLY, HOLDS)


def tolerance(
    value: float, low: float, high: float, n: int, *, varies: str = "", null: float | None = None
) -> float:
    """How far this number may lie from the same number on another processor.

    Example:
        >>> tolerance(0.5, 0.25, 0.75, 10, varies="trained", null=0.0)
        0.25

    Args:
        value: The number.
        low, high: Its 95 % interval.
        n: How many examples it is made of.
        varies: What the number depends on beside the model: "", "trained" or "timed".
        null: The value an example has where there is no effect.
    """
    half = (high - low) / 2
    if varies == TIMED:
        return max(half, abs(value) * 2 / 3)
    if varies == TRAINED:
        return max(half, abs(value) / 4, 0.0 if null is None else abs(value - null) / n)
    return max(half / 10, abs(value) / 100)


def open_words(verdict: Verdict) -> tuple[str, ...]:
    """The other words that this verdict may have elsewhere: within tolerance, or because narrow.

    Example:
        >>> open_words(claim.judge(measured([0.9, 1.1, 1.05]), control=measured([0.0, 0.1, 0.0])))
        ('partly',)
    """
    words = _reachable(verdict, _tolerated) | _reachable(verdict, _tenth)
    return tuple(sorted(words - {verdict.word}))


def narrow(verdict: Verdict) -> tuple[str, ...]:
    """The other words that lie within a tenth of the interval; empty for a verdict that is clear.

    Example:
        >>> narrow(claim.judge(Measured(1.01, 0.8, 1.2, 20), control=Measured(0.1, 0.0, 0.2, 20)))
        ('partly',)
    """
    return tuple(sorted(_reachable(verdict, _tenth) - {verdict.word}))


# how far a number may lie from itself: (number, what it varies with, the null) -> distance
Step = Callable[[Measured, str, "float | None"], float]


def _tolerated(got: Measured, varies: str, null: float | None) -> float:
    return tolerance(got.value, got.low, got.high, got.n, varies=varies, null=null)


def _tenth(got: Measured, varies: str, null: float | None) -> float:
    return 0.0 if got.kind else (got.high - got.low) / 10


def _reachable(verdict: Verdict, step: Step) -> set[str]:
    """Every word with the numbers moved by a step, its own included."""
    claim = verdict.claim
    if verdict.untested:
        return {NOT_TESTABLE}
    gates = [_passes(g, claim.varies, step) for g in verdict.gates]
    if any(might == {False} for might in gates):
        return {NOT_TESTABLE}
    words = {NOT_TESTABLE} if any(False in might for might in gates) else set()
    if verdict.parts:
        parts = [sorted(_reachable(part, step), key=ORDER.index) for _, part in verdict.parts]
        # a better word of a part never makes a worse word of the whole
        words |= _between(claim.parts_word([p[i] for p in parts]) for i in (0, -1))
    elif verdict.measured is None:
        return set(WORDS) if verdict.gates else {verdict.word}
    else:
        words |= _judged_nearby(verdict, step)
    if HOLDS in words and verdict.provided:
        conditions = [_passes(c, claim.varies, step) for c in verdict.provided]
        if any(False in might for might in conditions):
            words |= {PARTLY}
        if any(might == {False} for might in conditions):
            words -= {HOLDS}
    return words


def _judged_nearby(verdict: Verdict, step: Step) -> set[str]:
    """The words of the thresholds alone, for the number and its control each moved either way."""
    claim = verdict.claim
    reference = claim.null
    if reference is None and verdict.control is not None:
        reference = verdict.control.value
    ours = _moved(verdict.measured, claim.varies, reference, step)
    theirs = (
        [None] if verdict.control is None else _moved(verdict.control, claim.varies, None, step)
    )
    return _between(claim.threshold_word(a, b)[0] for a, b in product(ours, theirs))


def _between(words: Iterable[str]) -> set[str]:
    """These words and those that lie between them."""
    ranks = [ORDER.index(word) for word in words]
    return set(ORDER[min(ranks) : max(ranks) + 1])


def _moved(got: Measured, varies: str, null: float | None, step: Step) -> list[Measured]:
    by = step(got, varies, null)
    return [type(got)(got.value + x, got.low + x, got.high + x, got.n) for x in (-by, 0.0, by)]


def _passes(gate: Gate, varies: str, step: Step) -> set[bool]:
    """Whether the gate passes, and whether it would with its number moved."""
    return {gate.passes(got.value) for got in _moved(gate.measured, varies, None, step)}
