"""Claims and verdicts: what a paper says, or what we ask, what we measured, and one of four words.

| word | when |
| --- | --- |
| holds | passes its threshold, and its 95 % interval lies beyond its control's without overlap |
| partly | right direction, the interval excludes the null, but not the above; or some parts hold |
| does not hold | the interval includes the null, or the sign is wrong, and the gate passed |
| not testable here | the model cannot do the task, its training has not converged, or the metric |
| | turned out not to measure what the claim is about: so the claim was never tested |

A claim either quotes a sentence of its paper (`quote`, and `source` for the place) or asks a
question of our own (`question`); the two are printed and counted apart. A descriptive claim ("half
of the error can be predicted") is judged against its own null; that a baseline does as well is a
second claim, and ours.

A control is a second null: when our interval includes the control's value, the claim does not hold;
when the two intervals merely overlap, it holds partly at most. The thresholds belong to the Claim,
which is written before anything is measured and cannot be changed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from interp._arguments import quoted
from interp._stats import bootstrap
from interp._warn import warn

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
    """A number with its 95 % interval and the number of examples behind it.

    Attributes:
        value: The number.
        low, high: The ends of its interval.
        n: How many of what varies: prompts, seeds, KV groups.
        unit: What these are, in the plural ("prompts").
        kind: What low and high are where they are not a 95 % interval ("middle 95 % of 200
            shuffles"); such a number is never printed as if they were one.
    """

    value: float
    low: float
    high: float
    n: int
    unit: str = ""
    kind: str = ""

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
        return number_text(self.value, self.low, self.high, self.kind)


def number_text(value: float, low: float, high: float, kind: str = "") -> str:
    """A number as it is printed: brackets are for 95 % intervals alone.

    Example:
        >>> number_text(0.5, 0.4, 0.6), number_text(0.5, 0.5, 0.5, "95th percentile of 200 draws")
        ('0.5 [0.4, 0.6]', '0.5 (95th percentile of 200 draws)')
    """
    if not kind:
        return f"{short(value)} [{short(low)}, {short(high)}]"
    span = f": {short(low)} to {short(high)}" if low < high else ""
    return f"{short(value)} ({kind}{span})"


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
    unit: str = "",
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
        unit: What the examples or groups are, in the plural; a claim's own `unit` if "".

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
    rows = _numbers(rows)
    if statistic is None and rows.ndim != 1:
        raise ValueError(
            f"one number an example is needed, not shape {rows.shape}: select one cell or average"
            " first, for example measured(result.sel(layer=10, head=7))"
        )
    if len(rows) < 2:
        raise ValueError(f"{len(rows)} example(s): an interval needs at least two")
    if statistic is None and groups is None:
        low, high = map(float, bootstrap(rows, level, n_boot, seed))
        return Measured(float(rows.mean()), low, high, len(rows), unit)
    statistic, members = statistic or np.mean, _members(groups, len(rows))
    drawn = np.random.default_rng(seed).integers(0, len(members), size=(n_boot, len(members)))
    again = [statistic(rows[np.concatenate([members[k] for k in draw])]) for draw in drawn]
    low, high = np.percentile(again, [50 * (1 - level), 100 - 50 * (1 - level)])
    return Measured(float(statistic(rows)), float(low), float(high), len(members), unit)


def drawn(values: object, percentile: float | None = None, *, what: str = "draws") -> Measured:
    """What draws of a null give, such as random sets of heads or shuffled labels: not an interval.

    Example:
        >>> print(drawn([0.0, 0.1, 0.2], what="random sets of heads"))
        0.1 (middle 95 % of 3 random sets of heads: 0.005 to 0.195)
        >>> print(drawn([0.0, 0.1, 0.2], 50, what="shuffles"))
        0.1 (50th percentile of 3 shuffles)

    Args:
        values: One number a draw.
        percentile: Which percentile is the value; None for the mean, with the middle 95 % beside
            it.
        what: What was drawn, in the plural.
    """
    values = np.asarray(getattr(values, "values", values), dtype=float).ravel()
    if percentile is None:
        low, high = np.percentile(values, [2.5, 97.5])
        kind = f"middle 95 % of {len(values)} {what}"
        return Measured(float(values.mean()), float(low), float(high), len(values), what, kind)
    at = float(np.percentile(values, percentile))
    return Measured(
        at, at, at, len(values), what, f"{percentile:g}th percentile of {len(values)} {what}"
    )


def _numbers(given: object) -> np.ndarray:
    """What was given as an array of numbers."""
    try:
        return np.asarray(given.detach().cpu() if hasattr(given, "detach") else given, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(
            f"one number per example is needed, not {quoted(given)}: measured([1.0, 2.0])"
        ) from None


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


def ratio_of_means(part: object, whole: object, **options: object) -> Measured:
    """The ratio of two means over the same examples, with the interval of the ratio.

    Example:
        >>> ratio_of_means([1.0, 2.0], [2.0, 4.0]).value
        0.5

    Args:
        part: One number per example.
        whole: One number for each of the same examples; both are drawn together.
        **options: level, n_boot, seed and groups, as in `measured`.

    Raises:
        ValueError: If the two have different shapes.
    """
    pair = [_numbers(getattr(x, "examples", x)) for x in (part, whole)]
    if pair[0].shape != pair[1].shape:
        raise ValueError(
            f"a ratio needs the same examples in both: {pair[0].shape} and {pair[1].shape}"
        )
    ratio = measured(
        np.stack(pair, -1), lambda rows: rows[:, 0].mean() / rows[:, 1].mean(), **options
    )
    below = measured(pair[1], **options)
    if below.low <= 0 <= below.high:
        warn(
            f"what is divided by is {below}: the interval contains 0, so the ratio has no"
            " bounds, and its interval is that of the draws alone"
        )
    return ratio


# what a gate asks: can the model do it, and had the training settled?
ABLE, CONVERGED = "able", "converged"


@dataclass(frozen=True)
class Gate:
    """A precondition: can this model do the task at all, and had its training settled?"""

    name: str
    measured: Measured
    at_least: float | None = None
    at_most: float | None = None
    kind: str = ABLE

    def passes(self, value: float) -> bool:
        """Whether this value would pass."""
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )

    @property
    def passed(self) -> bool:
        """Whether the measured value is on the right side of the threshold."""
        return self.passes(self.measured.value)

    @property
    def threshold(self) -> str:
        """The threshold in words."""
        return (
            f"at least {short(self.at_least)}"
            if self.at_most is None
            else f"at most {short(self.at_most)}"
        )

    def __str__(self) -> str:
        word = "passed" if self.passed else "FAILED"
        return (
            f"gate {word}: {self.name} = {self.measured} (needs {self.threshold}, n ="
            f" {self.measured.n})"
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


def converged(
    end: object,
    half: object,
    *,
    within: float,
    relative: bool = False,
    name: str = "the judged number",
) -> Gate:
    """The gate that passes when a number at half the training steps is the number at the end.

    Without it, what a longer training would have shown passes for a failure of the claim. Every
    seed has to agree.

    Example:
        >>> converged([0.91, 0.90], [0.90, 0.88], within=0.05, name="accuracy").passed
        True

    Args:
        end: The judged number at the end of training, one for each seed that counts.
        half: The same at half the steps, in the same order.
        within: How far they may be apart.
        relative: Whether `within` is a share of the number at the end.
        name: What the number is.

    Raises:
        ValueError: If the two have different seeds, or there are none.
    """
    end, half = (
        np.atleast_1d(np.asarray(getattr(x, "values", x), dtype=float)).ravel() for x in (end, half)
    )
    if end.shape != half.shape or not end.size:
        raise ValueError(
            f"convergence needs one number a seed at the end and at half the steps, not {end.size}"
            f" and {half.size}"
        )
    apart = np.abs(end - half)
    if relative:
        apart = apart / np.abs(end)
    worst = float(apart.max())
    kind = f"largest of {len(end)} seeds' " + ("relative " if relative else "") + "differences"
    return Gate(
        f"{name}, end and half of the training apart",
        Measured(worst, float(apart.min()), worst, len(end), "seeds", kind),
        at_most=float(within),
        kind=CONVERGED,
    )


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
    untested: str = ""

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

    A study keeps its claims in a file, which `load_claims` reads; nothing else is different there.

    Attributes:
        key: The claim's short name in the record.
        says: What is claimed, in a sentence.
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
        quote: A sentence of the paper, letter for letter; `source` says where it stands.
        question: What we ask, in a claim of our own.
        unit: What varies behind the interval, in the plural: "prompts", "seeds", "KV groups".
        convergence: Why a trained number needs no convergence gate ("the claim is about the course
            of the training"); without it, a claim with a quote or a question that is "trained"
            must be judged with `converged`.
        invalid: Why the number turned out not to measure what the claim is about, found after the
            run; the claim is then "not testable here".
        unsettled: Why nobody knows whether the training had converged ("training at half the steps
            was not looked at"), found after the run; "not testable here", too, for that reason.
        control_kind: What the control's number is where it is no mean with a 95 % interval ("95th
            percentile of 1000 random sets"); a control that says so itself (`drawn`) keeps its own.
        own: Parts with thresholds of their own: (part, ((field, value), ...)), what `part` gives.
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
    quote: str = ""
    question: str = ""
    unit: str = ""
    convergence: str = ""
    invalid: str = ""
    unsettled: str = ""
    control_kind: str = ""
    own: tuple[tuple[str, tuple[tuple[str, object], ...]], ...] = ()

    def __post_init__(self) -> None:
        for name in ("key", "says", "paper", "source", "metric"):
            if not str(getattr(self, name)).strip():
                raise ValueError(
                    f"claim {self.key!r} has no {name}: every verdict carries what the paper says"
                    " and where"
                )
        if self.quote and self.question:
            raise ValueError(
                f"claim {self.key!r} has a quote and a question: whose is it, the paper's or ours?"
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

    def part(self, name: str) -> "Claim":
        """The claim that one part is judged by: this one, with the part's own thresholds.

        Example:
            >>> claim.part("most not always").judge(measured(share))

        Args:
            name: One of `parts`.

        Raises:
            ValueError: If there is no such part.
        """
        if name not in self.parts:
            raise ValueError(f"claim {self.key!r} has the parts {self.parts}, not {name!r}")
        return replace(self, parts=(), needs=None, own=(), **dict(dict(self.own).get(name, ())))

    @property
    def kind(self) -> str:
        """Whose claim it is: "paper" (quoted), "ours", or "unquoted" (ascribed to a paper)."""
        return "paper" if self.quote else "ours" if self.question else "unquoted"

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
            if len({self.part(name)._bound() for name in self.parts}) > 1:
                each = [f"{name} {self.part(name)._bound()}" for name in self.parts]
                text = ", ".join(each) + ":"
            text += f" in {self.needs[0]} of {len(self.parts)}"
            return text + (f"; partly in {self.needs[1]}" if self.needs[1] < self.needs[0] else "")
        floor = (
            f"{sign} {short(self.partly)}"
            if self.partly is not None
            else f"beyond {self._null_word()}"
        )
        return f"{text}; partly {floor}"

    def _bound(self) -> str:
        return f"{self.direction} {short(self.holds)}"

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
        invalid: str = "",
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
            invalid: Why this number turned out not to measure what the claim is about; the word is
                then "not testable here", whatever the number.

        Raises:
            ValueError: If the control is missing or was not declared, the parts are not those of
                the claim, a number has no interval, or a trained number comes without a
                convergence gate.
        """
        gates = () if gate is None else (gate,) if isinstance(gate, Gate) else tuple(gate)
        failed = [g for g in gates if not g.passed]
        untested = self._untested(invalid)
        self._check_convergence(measured, gates, bool(failed or untested))
        measured = self._with_unit(measured)
        control = self._with_unit(control, kind=self.control_kind)
        if measured is None and not failed and not untested:
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
        if failed or untested:
            reasons = [untested] if untested else []
            for kind, words in ((CONVERGED, "not converged"), (ABLE, "gate failed")):
                names = [g.name for g in failed if g.kind == kind]
                reasons += [f"{words}: " + ", ".join(names)] if names else []
            judged |= {"word": NOT_TESTABLE, "why": "; ".join(reasons)}
        return Verdict(
            self, gates=gates, note=note, provided=conditions, untested=untested, **judged
        )

    def _untested(self, invalid: str = "") -> str:
        """Why no number can test this claim, gates aside; empty if one can."""
        invalid = invalid or self.invalid
        reasons = [f"the metric is not valid: {invalid}"] if invalid else []
        reasons += [f"not converged: {self.unsettled}"] if self.unsettled else []
        return "; ".join(reasons)

    def _check_convergence(self, measured: object, gates: tuple[Gate, ...], untested: bool) -> None:
        """Refuses a trained number that nobody looked at earlier in the training."""
        if self.varies != TRAINED or self.kind == "unquoted" or self.convergence or untested:
            return
        given = list(measured.values()) if isinstance(measured, Mapping) else [measured]
        if all(isinstance(x, Verdict) for x in given) or any(g.kind == CONVERGED for g in gates):
            return
        raise ValueError(
            f"claim {self.key!r} is about a trained model: gate=converged(at the end, at half the"
            " steps, within=...), or convergence='why none is needed' with the claim"
        )

    def _with_unit(self, got: object, kind: str = "") -> object:
        """The number or numbers, with this claim's unit where they have none."""
        if isinstance(got, Mapping):
            return {name: self._with_unit(x, kind) for name, x in got.items()}
        if isinstance(got, Measured):
            return replace(got, unit=got.unit or self.unit, kind=got.kind or kind)
        return got

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
                rule = self.part(name)
                word, why = rule.threshold_word(got, rule._control(part_control))
                if untested := rule._untested():
                    word, why = NOT_TESTABLE, untested
                got = Verdict(
                    rule, word, why, measured=got, control=part_control, untested=untested
                )
            parts.append((name, got))
        words = [v.word for _, v in parts]
        word = self.parts_word(words)
        untested = words.count(NOT_TESTABLE)
        why = f"{words.count(HOLDS)} of {len(parts)} parts hold"
        if untested:
            why += f", {untested} not testable here"
        return {"word": word, "why": why, "parts": tuple(parts)}

    def parts_word(self, words: Sequence[str]) -> str:
        """The word of the whole for the words of its parts.

        A whole fails only if it would fail with every untested part holding, too.
        """
        word = self._tested_word(words)
        if word == DOES_NOT_HOLD and NOT_TESTABLE in words:
            best = self._tested_word([HOLDS if w == NOT_TESTABLE else w for w in words])
            return word if best == DOES_NOT_HOLD else NOT_TESTABLE
        return word

    def _tested_word(self, words: Sequence[str]) -> str:
        if all(w == NOT_TESTABLE for w in words):
            return NOT_TESTABLE
        full, some = words.count(HOLDS), words.count(HOLDS) + words.count(PARTLY)
        # "some of them": a part that holds partly counts
        enough = full >= self.needs[1] or (self.needs[1] == 1 and some >= 1)
        return HOLDS if full >= self.needs[0] else PARTLY if enough else DOES_NOT_HOLD
