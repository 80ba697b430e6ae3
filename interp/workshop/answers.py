"""An answer as plain numbers or labels, and what can be said about it if no mistake is known."""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from interp._arguments import quoted
from interp._numbers import to_numpy
from interp.workshop.exercise import Exercise


class NotAnAnswer(ValueError):
    """An answer of a kind that the exercise does not ask for; the message says what it asks for."""


def plain(exercise: Exercise, answer: Any) -> Any:
    """The answer as a float array, or for an exercise of labels as a set of strings.

    Tensors of any dtype and device, arrays, nested lists, numbers, data frames and Results do.

    Raises:
        NotAnAnswer: If it is none of these; says what is asked for.
    """
    if answer is None or answer is Ellipsis:
        raise NotAnAnswer(f"there is no answer yet. {asked(exercise)}")
    return labels(exercise, answer) if exercise.kind == "labels" else numbers(exercise, answer)


def asked(exercise: Exercise) -> str:
    """The question again."""
    return f"What is asked for: {exercise.asks}{precision(exercise)}."


def precision(exercise: Exercise) -> str:
    """How far an answer may be rounded, in words."""
    return "" if exercise.kind == "labels" else f" ({exercise.decimals} decimals or more)"


def numbers(exercise: Exercise, answer: Any) -> np.ndarray:
    """The answer as a float64 array."""
    if callable(answer) and not hasattr(answer, "__array__") and not hasattr(answer, "values"):
        raise NotAnAnswer(
            f"that is the function {getattr(answer, '__name__', answer)!s}: call it, and give what"
            f" it returns. {asked(exercise)}"
        )
    try:
        return _array(answer)
    except (TypeError, ValueError, RuntimeError):
        raise NotAnAnswer(
            f"{quoted(answer)} is not a number or a table of numbers. {asked(exercise)}"
        ) from None


def _array(answer: Any) -> np.ndarray:
    values = getattr(answer, "values", None)  # a Result, a data frame
    if values is not None and not callable(values):
        answer = values
    if hasattr(answer, "detach"):
        if answer.is_complex():
            raise TypeError("not real numbers")
        answer = to_numpy(answer.detach().double())
    if isinstance(answer, (list, tuple)):
        answer = np.array([_array(one) for one in answer])
    array = np.asarray(answer)
    if array.dtype.kind not in "fiub":
        raise TypeError("not numbers")
    return array.astype(float)


def labels(exercise: Exercise, answer: Any) -> frozenset[str]:
    """The answer as a set of labels; (20, 0) is L20H0 too."""
    if hasattr(answer, "labels") and not callable(answer.labels):  # result.top(3)
        answer = answer.labels
    if isinstance(answer, str):
        answer = answer.replace(",", " ").split()
    if hasattr(answer, "tolist"):
        answer = answer.tolist()
    if not isinstance(answer, Iterable):
        raise NotAnAnswer(f"{quoted(answer)} is not a list of names. {asked(exercise)}")
    found = set()
    for one in answer:
        pair = not isinstance(one, str) and isinstance(one, Iterable)
        parts = list(one) if pair else []
        found.add(
            f"L{int(parts[0])}H{int(parts[1])}"
            if len(parts) == 2
            else _head(str(one).strip().partition("@")[0])
        )
    return frozenset(found)


def _head(text: str) -> str:
    """L23H3, however it is written: l23h3, 23.3."""
    pair = re.fullmatch(r"[lL]?(\d+)[hH.](\d+)", text)
    return f"L{int(pair[1])}H{int(pair[2])}" if pair else text


def slack(answer: Any) -> float:
    """The relative error of numbers that were kept with few bits."""
    return 8e-3 if str(getattr(answer, "dtype", "")) == "torch.bfloat16" else 0.0


TIGHT = 2e-4  # a known mistake is computed as people do, up to the last bits


def same(exercise: Exercise, answer: Any, right: Any, rtol: float | None = None) -> bool:
    """Whether two plain answers agree within the exercise's tolerance, or within another one."""
    if exercise.kind == "labels":
        return answer == right
    a, b = np.squeeze(answer), np.squeeze(right)
    if a.shape != b.shape:
        return False
    rtol = exercise.rtol if rtol is None else rtol
    scale = float(np.nanmax(np.abs(b), initial=0.0)) if b.size else 0.0
    atol = rtol * scale / 4 + 1e-7
    return bool(np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True))


def rounded(answer: Any, right: Any, least: int = 0) -> int | None:
    """To how many decimals, at least `least`, the answer is the right one rounded; None if not."""
    a, b = np.squeeze(answer), np.squeeze(right)
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    noise = 1e-6 * max(1.0, float(np.abs(b).max(initial=0.0)))
    for decimals in range(least, 7):
        written_so = np.abs(a - a.round(decimals)).max(initial=0.0) <= noise
        if written_so and np.abs(a - b).max(initial=0.0) <= 0.5 * 10.0**-decimals + noise:
            return decimals
    return None


def is_it(exercise: Exercise, answer: Any, right: Any, slack: float = 0.0) -> bool:
    """Whether an answer is right: the same, or the same rounded to the decimals asked for."""
    if same(exercise, answer, right, max(exercise.rtol, slack)):
        return True
    if exercise.kind == "labels":
        return False
    return rounded(answer, right, exercise.decimals) is not None


def nearest(exercise: Exercise, answer: Any, made: list[Any]) -> int | None:
    """Which of the values of known mistakes the answer has, its own rounding allowed for."""
    found = []
    for i, value in enumerate(made):
        if same(exercise, answer, value, TIGHT):
            gap = 0.0 if exercise.kind == "labels" else _gap(answer, value)
            found.append((0, gap, i))
        elif exercise.kind != "labels" and rounded(answer, value, exercise.decimals) is not None:
            found.append((1, _gap(answer, value), i))
    return min(found)[2] if found else None


def _gap(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.nanmax(np.abs(np.squeeze(a) - np.squeeze(b)), initial=0.0))


def remark(exercise: Exercise, answer: Any, right: Any) -> str:
    """A sentence on an answer that is no known mistake: its shape, its sign, its scale; or ""."""
    if exercise.kind == "labels":
        return _on_labels(answer, right)
    a, b = np.squeeze(answer), np.squeeze(right)
    if not np.isfinite(a).all() and np.isfinite(b).all():
        return "It has NaN or infinite numbers in it: look for a division by zero or a log of zero."
    if a.shape != b.shape:
        return _on_shape(exercise, a, b)
    if a.ndim == 2 and a.shape[0] == a.shape[1] and same(exercise, a.T, b):
        return f"The numbers are right, but its axes are swapped: asked for is {_axes(exercise)}."
    for word, changed in (
        ("The size is right and the sign is not: what is subtracted from what?", -a),
        ("It is a hundred times too large: a share is asked for, not a percentage.", a / 100),
        ("It is one minus what is asked for.", 1 - a),
        ("It is the square of what is asked for.", np.sqrt(np.abs(a)) * np.sign(b)),
    ):
        if same(exercise, changed, b):
            return word
    if a.ndim and not a.std() > 0:
        return (
            "All its numbers are the same: was the result written into the table? If a hook was to"
            " make the difference: did it run? (`name in model.hook_dict` tells; a name that is not"
            " there is ignored in silence.)"
        )
    return _close(exercise, a, b)


def _close(exercise: Exercise, a: np.ndarray, b: np.ndarray) -> str:
    """What can be said of numbers that are nearly right, or right in part."""
    off = np.abs(a - b).max(initial=0.0) / (np.abs(b).max(initial=0.0) or 1.0)
    decimals = rounded(a, b)
    if decimals is not None and off < 0.2:
        return (
            f"Close: it looks like the right answer with too few digits ({decimals} decimals). Give"
            f" it with {exercise.decimals} decimals or more, or do not round at all."
        )
    one_by_one = np.isclose(a, b, rtol=exercise.rtol, atol=exercise.rtol * np.abs(b).max(initial=0))
    if a.ndim and 2 * one_by_one.sum() > a.size > one_by_one.sum():
        return f"{one_by_one.sum()} of its {a.size} numbers are right."
    if off < 0.05:
        return "It is within 5 % of the answer, and no known mistake: look for a detail."
    return ""


def _on_shape(exercise: Exercise, a: np.ndarray, b: np.ndarray) -> str:
    if a.ndim == b.ndim == 2 and a.T.shape == b.shape:
        what = "The numbers are right, but its" if same(exercise, a.T, b) else "Its"
        want = f"{_axes(exercise)}, shape {list(b.shape)}"
        return f"{what} axes are swapped: what is asked for is {want}."
    for axis in range(a.ndim):
        if np.delete(a.shape, axis).tolist() == list(b.shape) and same(exercise, a.mean(axis), b):
            return (
                f"There is one axis too many (axis {axis}, of length {a.shape[axis]}): its mean is"
                " what is asked for."
            )
    want = f"shape {list(b.shape)} ({_axes(exercise)})" if b.ndim else "one number"
    have = f"shape {list(a.shape)}" if a.ndim else "one number"
    return f"It has {have}; asked for is {want}."


def _on_labels(answer: frozenset, right: frozenset) -> str:
    if len(answer) != len(right):
        return f"You gave {len(answer)}; asked for are {len(right)}."
    odd = sorted(one for one in answer if not re.fullmatch(r"L\d+H\d+", one))
    if odd and all(re.fullmatch(r"L\d+H\d+", one) for one in right):
        return f"{quoted(odd[0])} is not the name of a head: write it as L4H2."
    hit = len(answer & right)
    return f"{hit} of {len(right)} are right." if hit else "None of them is right."


def _axes(exercise: Exercise) -> str:
    return "[" + ", ".join(exercise.axes) + "]"
