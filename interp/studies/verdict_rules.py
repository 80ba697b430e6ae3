"""Claims and verdicts: what a paper says, what we measured, and one of four words.

| word | when |
| --- | --- |
| holds | passes its threshold, and its 95 % interval lies beyond its control's without overlap |
| partly | right direction, the interval excludes the null, but not the above; or some parts hold |
| does not hold | the interval includes the null, or the sign is wrong, and the gate passed |
| not testable here | a gate failed: the model cannot do the task, so the claim was never tested |

A control is a second null: when our interval includes the control's value, the claim does not hold;
when the two intervals merely overlap, it holds partly at most. The thresholds belong to the Claim,
which is written before anything is measured and cannot be changed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from interp._stats import bootstrap

HOLDS, PARTLY, DOES_NOT_HOLD, NOT_TESTABLE = WORDS = (
    "holds",
    "partly",
    "does not hold",
    "not testable here",
)

# what a number depends on beside the model and the prompts: tolerance.py says how far it may move
FIXED, TRAINED, TIMED = VARIES = ("", "trained", "timed")


@dataclass(frozen=True)
class Measured:
    """A number with its 95 % interval and the number of examples behind it."""

    value: float
    low: float
    high: float
    n: int

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            number = float(getattr(self, name))
            if not math.isfinite(number):
                raise ValueError(
                    f"{name} = {number}: a measured number is finite (drop the examples that have"
                    " none)"
                )
            object.__setattr__(self, name, number)
        if self.low > self.high:
            raise ValueError(f"an interval from {self.low} to {self.high} is upside down")
        if self.n < 1:
            raise ValueError(f"n = {self.n}: something measured has at least one example")

    def __str__(self) -> str:
        return f"{short(self.value)} [{short(self.low)}, {short(self.high)}]"


def short(number: float) -> str:
    """The number in at most three significant digits, without an exponent where that reads well."""
    text = f"{number:.3g}"
    return f"{number:.0f}" if "e+" in text and abs(number) < 1e7 else text


def measured(
    per_example: object,
    statistic: Callable[[np.ndarray], float] | None = None,
    *,
    level: float = 0.95,
    n_boot: int = 1000,
    seed: int = 0,
    groups: Sequence[object] | None = None,
) -> Measured:
    """The statistic (default: the mean) over examples, with its bootstrap interval.

    Example:
        >>> measured([1.0, 2.0, 3.0, 2.0]).value
        2.0

    Args:
        per_example: One number per example (list, array, tensor, or a Result of one cell that keeps
            its examples). With `statistic`, rows are examples.
        statistic: Takes rows and returns one number: `measured(pairs, lambda p: ...)`.
        level: The level of the interval.
        n_boot: How many bootstrap draws.
        seed: Which draws.
        groups: A label per example (`task.labels["country"]`), for prompts that are not
            independent: whole groups are drawn, and n is the number of groups.

    Returns:
        The value, the ends of the interval, and n, the number of examples or groups.

    Raises:
        ValueError: If there are fewer than two examples or groups, or more than one number per
            example and no statistic.
    """
    rows = getattr(per_example, "examples", per_example)
    if rows is None:
        raise ValueError(
            "this Result kept no examples, so it has no interval; pass the per-example numbers"
        )
    rows = np.asarray(rows.detach().cpu() if hasattr(rows, "detach") else rows, dtype=float)
    if statistic is None and rows.ndim != 1:
        raise ValueError(
            f"one number an example is needed, not shape {rows.shape}: select one cell or average"
            " first, for example measured(result.sel(layer=10, head=7))"
        )
    if len(rows) < 2:
        raise ValueError(f"{len(rows)} example(s): an interval needs at least two")
    if statistic is None and groups is None:
        low, high = map(float, bootstrap(rows, level, n_boot, seed))
        return Measured(float(rows.mean()), low, high, len(rows))
    statistic, members = statistic or np.mean, _members(groups, len(rows))
    drawn = np.random.default_rng(seed).integers(0, len(members), size=(n_boot, len(members)))
    again = [statistic(rows[np.concatenate([members[k] for k in draw])]) for draw in drawn]
    low, high = np.percentile(again, [50 * (1 - level), 100 - 50 * (1 - level)])
    return Measured(float(statistic(rows)), float(low), float(high), len(members))


def _members(groups: Sequence[object] | None, n: int) -> list[np.ndarray]:
    """The examples of each group; without groups each example is its own."""
    labels = list(range(n)) if groups is None else list(groups)
    if len(labels) != n:
        raise ValueError(f"{len(labels)} group labels for {n} examples: one for each is needed")
    members = [
        np.array([i for i, x in enumerate(labels) if x == name]) for name in dict.fromkeys(labels)
    ]
    if len(members) < 2:
        raise ValueError(
            f"all examples are of one group ({labels[0]}): an interval over groups needs at"
            " least two"
        )
    return members


def share(part: object, whole: object, **options: object) -> Measured:
    """The ratio of two means over the same examples, with the interval of the ratio.

    Example:
        >>> share([1.0, 2.0], [2.0, 4.0]).value
        0.5

    Args:
        part: One number per example.
        whole: One number for each of the same examples; both are drawn together.
        **options: level, n_boot, seed and groups, as in `measured`.

    Raises:
        ValueError: If the two have different shapes.
    """
    pair = [np.asarray(getattr(x, "examples", x), dtype=float) for x in (part, whole)]
    if pair[0].shape != pair[1].shape:
        raise ValueError(
            f"a share needs the same examples in both: {pair[0].shape} and {pair[1].shape}"
        )
    return measured(
        np.stack(pair, -1), lambda rows: rows[:, 0].mean() / rows[:, 1].mean(), **options
    )


@dataclass(frozen=True)
class Gate:
    """A precondition: can this model do the task at all?"""

    name: str
    measured: Measured
    at_least: float

    @property
    def passed(self) -> bool:
        """Whether the measured value is at least the threshold."""
        return self.measured.value >= self.at_least

    def __str__(self) -> str:
        word = "passed" if self.passed else "FAILED"
        return (
            f"gate {word}: {self.name} = {self.measured} (needs at least {short(self.at_least)}, n"
            f" = {self.measured.n})"
        )


def gate(name: str, measured: Measured, *, at_least: float) -> Gate:
    """The gate that passes when the measured value is at least `at_least`.

    Example:
        >>> print(gate("IOI accuracy", Measured(0.98, 0.95, 1.0, 64), at_least=0.95))
        gate passed: IOI accuracy = 0.98 [0.95, 1] (needs at least 0.95, n = 64)

    Args:
        name: What was measured, in words.
        measured: The number with its interval.
        at_least: The smallest value with which the claim can be tested.
    """
    return Gate(name, measured, float(at_least))


@dataclass(frozen=True)
class Verdict:
    """A judged claim: the claim, the numbers, one of four words, and why."""

    claim: "Claim"
    word: str
    why: str
    measured: Measured | None = None
    control: Measured | None = None
    gates: tuple[Gate, ...] = ()
    parts: tuple[tuple[str, "Verdict"], ...] = ()
    note: str = ""
    provided: tuple[Gate, ...] = ()

    def __str__(self) -> str:
        return f"{self.claim.key}: {self.word} ({self.why})"


@dataclass(frozen=True)
class Claim:
    """One claim of a paper, with thresholds that are fixed here, before measuring.

    Example:
        >>> claim = Claim(
        ...     "movers", says="Name movers copy the name", paper="3 heads",
        ...     source="Wang et al. 2022, section 3.1", metric="logit difference lost",
        ...     holds=1.0, null=0.0, control="10 random sets of 3 heads",
        ... )
        >>> print(claim.judge(Measured(2.1, 1.8, 2.4, 64), control=Measured(0.1, 0.0, 0.3, 64)))
        movers: holds (2.1 >= 1, interval beyond the control's)

    Attributes:
        key: The claim's short name in the record.
        says: The paper's words.
        paper: The paper's number.
        source: Where it stands in the paper.
        metric: What we measure, with its unit.
        holds: The threshold for "holds".
        direction: ">=" or "<=".
        partly: A floor for "partly" (without one, an interval that excludes the null is enough).
        control: What it must beat, in words; its numbers come with `judge`.
        null: The value that means "no effect". With a control and no null given, the control's
            value is the null. `control="none"` says openly that there is nothing to compare with;
            then a null is required.
        parts: Names of sub-conditions, each judged by the same thresholds.
        needs: (parts for holds, parts for partly); by default all and one.
        varies: "trained" if the number comes from weights that the notebook trains, "timed" if it
            is a time; such numbers differ between machines, and a record is compared accordingly.
    """

    key: str
    says: str
    paper: str
    source: str
    metric: str
    holds: float
    partly: float | None = None
    direction: str = ">="
    control: str = ""
    null: float | None = None
    parts: tuple[str, ...] = ()
    needs: tuple[int, int] | None = None
    varies: str = FIXED

    def __post_init__(self) -> None:
        for name in ("key", "says", "paper", "source", "metric"):
            if not str(getattr(self, name)).strip():
                raise ValueError(
                    f"claim {self.key!r} has no {name}: every verdict carries what the paper says"
                    " and where"
                )
        if self.direction not in (">=", "<="):
            raise ValueError(
                f"direction {self.direction!r} of claim {self.key!r}: write '>=' or '<='"
            )
        if self.varies not in VARIES:
            raise ValueError(
                f"claim {self.key!r} varies {self.varies!r}: write '' (a fixed model), 'trained' or"
                " 'timed'"
            )
        if not self.control.strip():
            raise ValueError(
                f"claim {self.key!r} has no control: name one, for example control='10 random sets"
                " of 3 heads' (or control='none' together with null=0.0)"
            )
        if self.control == "none" and self.null is None:
            raise ValueError(
                f"claim {self.key!r} declares control='none': "
                "say which value means no effect, for example null=0.0"
            )
        sign = 1 if self.direction == ">=" else -1
        if self.partly is not None and sign * (self.holds - self.partly) < 0:
            raise ValueError(
                f"claim {self.key!r}: partly={self.partly} is stricter than holds={self.holds}"
            )
        if self.null is not None and sign * (self.holds - self.null) < 0:
            raise ValueError(
                f"claim {self.key!r}: null={self.null} would pass holds {self.direction}"
                f" {self.holds}"
            )
        object.__setattr__(self, "parts", tuple(self.parts))
        self._check_needs()

    def _check_needs(self) -> None:
        if not self.parts:
            if self.needs is not None:
                raise ValueError(f"claim {self.key!r} has needs={self.needs} but no parts")
            return
        needs = self.needs or (len(self.parts), 1)
        if not (len(self.parts) >= needs[0] >= needs[1] >= 1):
            raise ValueError(
                f"claim {self.key!r}: needs={needs} of {len(self.parts)} parts; write (for holds,"
                " for partly), for example (3, 2)"
            )
        object.__setattr__(self, "needs", tuple(needs))

    @property
    def threshold(self) -> str:
        """The fixed thresholds in words."""
        sign = self.direction
        text = f"{sign} {short(self.holds)}"
        if self.parts:
            text += f" in {self.needs[0]} of {len(self.parts)}"
            return text + (f"; partly in {self.needs[1]}" if self.needs[1] < self.needs[0] else "")
        floor = (
            f"{sign} {short(self.partly)}"
            if self.partly is not None
            else f"beyond {self._null_word()}"
        )
        return f"{text}; partly {floor}"

    def _null_word(self) -> str:
        return short(self.null) if self.null is not None else "the control"

    def judge(
        self,
        measured: Measured | Mapping[str, Measured | Verdict] | None,
        *,
        control: Measured | Mapping[str, Measured] | None = None,
        gate: Gate | tuple[Gate, ...] | list[Gate] | None = None,
        provided: Gate | tuple[Gate, ...] | list[Gate] = (),
        note: str = "",
    ) -> Verdict:
        """The verdict on this claim.

        Args:
            measured: A Measured; for a claim with parts, a dict {part: Measured or an already
                judged Verdict}.
            control: The control's Measured (one for all parts, or a dict).
            gate: One or several; when one failed, the word is "not testable here" and `measured`
                may be None.
            provided: Conditions of "holds" beside the threshold, of a claim in two halves ("these
                heads matter, and random ones do not"): when one fails, the claim holds partly at
                most.
            note: A sentence for the table.

        Raises:
            ValueError: If the control is missing or was not declared, the parts are not those of
                the claim, or a number has no interval.
        """
        gates = () if gate is None else (gate,) if isinstance(gate, Gate) else tuple(gate)
        failed = [g.name for g in gates if not g.passed]
        if measured is None and not failed:
            raise ValueError(f"claim {self.key!r}: nothing was measured although every gate passed")
        if self.parts and measured is not None:
            judged = self._judge_parts(measured, control)
        elif isinstance(measured, Mapping):
            raise ValueError(
                f"claim {self.key!r} has no parts; declare them in the Claim:"
                f" parts={tuple(measured)!r}"
            )
        else:
            word, why = (
                (NOT_TESTABLE, "")
                if measured is None
                else self.threshold_word(measured, self._control(control))
            )
            judged = {
                "word": word,
                "why": why,
                "measured": measured,
                "control": control if measured else None,
            }
        conditions = (provided,) if isinstance(provided, Gate) else tuple(provided)
        if conditions and judged["word"] == HOLDS:
            met = all(c.passed for c in conditions)
            conditions_text = ", ".join(
                f"{c.name} = {short(c.measured.value)} ({'' if c.passed else 'not '}>="
                f" {short(c.at_least)})"
                for c in conditions
            )
            judged |= {
                "word": HOLDS if met else PARTLY,
                "why": f"{judged['why']}; {'and' if met else 'but'} {conditions_text}",
            }
        if failed:
            judged |= {"word": NOT_TESTABLE, "why": "gate failed: " + ", ".join(failed)}
        return Verdict(self, gates=gates, note=note, provided=conditions, **judged)

    def _control(self, control: object) -> Measured | None:
        if self.control == "none":
            if control is not None:
                raise ValueError(
                    f"claim {self.key!r} declares control='none' but was given one: describe it in"
                    " the Claim"
                )
            return None
        if not isinstance(control, Measured):
            raise ValueError(
                f"claim {self.key!r} must be compared with its control ({self.control}): "
                "judge(x, control=measured(...))"
            )
        return control

    def threshold_word(self, got: Measured, control: Measured | None) -> tuple[str, str]:
        """The word for one number beside its control, and why; gates and parts aside."""
        if not isinstance(got, Measured):
            typed = type(got).__name__
            raise ValueError(
                f"claim {self.key!r}: {typed} has no interval; wrap the per-example numbers:"
                " measured(...)"
            )
        # "<=" is ">=" with every sign turned round, so there is one rule to read
        sign = 1 if self.direction == ">=" else -1
        near = min(sign * got.low, sign * got.high)  # the end of our interval nearest the null
        null = None if self.null is None else short(self.null)
        if null is not None and near <= sign * self.null:
            wrong = sign * got.value < sign * self.null
            return (
                DOES_NOT_HOLD,
                f"wrong sign: null is {null}" if wrong else f"interval includes the null ({null})",
            )
        if control is not None and near <= sign * control.value:
            return (
                DOES_NOT_HOLD,
                f"interval does not lie beyond the control's value ({short(control.value)})",
            )
        passes = sign * got.value >= sign * self.holds
        beats = control is None or near > max(sign * control.low, sign * control.high)
        comparison = f"{short(got.value)} {self.direction} {short(self.holds)}"
        if passes and beats:
            return HOLDS, comparison + ", interval beyond " + (
                "the control's" if control else f"the null ({null})"
            )
        if self.partly is not None and sign * got.value < sign * self.partly:
            return (
                DOES_NOT_HOLD,
                (
                    f"{short(got.value)} misses the floor for partly ({self.direction}"
                    f" {short(self.partly)})"
                ),
            )
        if passes:
            return PARTLY, f"{comparison}, but the interval overlaps the control's"
        return PARTLY, f"right direction, but not {comparison}"

    def _judge_parts(self, given: object, control: object) -> dict:
        names = tuple(given) if isinstance(given, Mapping) else ()
        if set(names) != set(self.parts):
            typed = names or type(given).__name__
            raise ValueError(
                f"claim {self.key!r} was declared with the parts {self.parts}, judged with {typed}"
            )
        if isinstance(control, Mapping) and (
            unmatched := set(control) ^ {p for p in names if isinstance(given[p], Measured)}
        ):
            raise ValueError(f"claim {self.key!r}: controls and parts differ: {sorted(unmatched)}")
        parts = []
        for name in self.parts:
            got = given[name]
            if not isinstance(got, Verdict):
                part_control = control[name] if isinstance(control, Mapping) else control
                word, why = self.threshold_word(got, self._control(part_control))
                got = Verdict(self, word, why, measured=got, control=part_control)
            parts.append((name, got))
        words = [v.word for _, v in parts]
        word = self.parts_word(words)
        why = (
            "no part is testable here"
            if word == NOT_TESTABLE
            else f"{words.count(HOLDS)} of {len(parts)} parts hold"
        )
        return {"word": word, "why": why, "parts": tuple(parts)}

    def parts_word(self, words: Sequence[str]) -> str:
        """The word of the whole for the words of its parts."""
        if all(w == NOT_TESTABLE for w in words):
            return NOT_TESTABLE
        full, some = words.count(HOLDS), words.count(HOLDS) + words.count(PARTLY)
        # "some of them": a part that holds partly counts
        enough = full >= self.needs[1] or (self.needs[1] == 1 and some >= 1)
        return HOLDS if full >= self.needs[0] else PARTLY if enough else DOES_NOT_HOLD
