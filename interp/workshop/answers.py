"""An answer as plain numbers or labels, and what can be said about it if no mistake is known."""

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
        raise NotAnAnswer(f"there is no answer yet. Asked for is {exercise.asks}.")
    return labels(exercise, answer) if exercise.kind == "labels" else numbers(exercise, answer)


def numbers(exercise: Exercise, answer: Any) -> np.ndarray:
    """The answer as a float64 array."""
    if callable(answer) and not hasattr(answer, "__array__") and not hasattr(answer, "values"):
        raise NotAnAnswer(
            f"that is the function {getattr(answer, '__name__', answer)!s}: call it, and give what"
            f" it returns. Asked for is {exercise.asks}."
        )
    try:
        return _array(answer)
    except (TypeError, ValueError, RuntimeError):
        raise NotAnAnswer(
            f"{quoted(answer)} is not a number or a table of numbers. Asked for is {exercise.asks}."
        ) from None


def _array(answer: Any) -> np.ndarray:
    values = getattr(answer, "values", None)  # a Result, a data frame
    if values is not None and not callable(values):
        answer = values
    if hasattr(answer, "detach"):
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
        raise NotAnAnswer(f"{quoted(answer)} is not a list of names. Asked for is {exercise.asks}.")
    found = set()
    for one in answer:
        pair = not isinstance(one, str) and isinstance(one, Iterable)
        parts = list(one) if pair else []
        found.add(
            f"L{int(parts[0])}H{int(parts[1])}"
            if len(parts) == 2
            else str(one).strip().partition("@")[0]
        )
    return frozenset(found)


def same(exercise: Exercise, answer: Any, right: Any) -> bool:
    """Whether two plain answers agree within the exercise's tolerance."""
    if exercise.kind == "labels":
        return answer == right
    a, b = np.squeeze(answer), np.squeeze(right)
    if a.shape != b.shape:
        return False
    scale = float(np.nanmax(np.abs(b), initial=0.0)) if b.size else 0.0
    atol = exercise.rtol * scale / 4 + 1e-9
    return bool(np.allclose(a, b, rtol=exercise.rtol, atol=atol, equal_nan=True))


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
        return "All its numbers are the same: was the result written into the table?"
    return ""


def _on_shape(exercise: Exercise, a: np.ndarray, b: np.ndarray) -> str:
    if a.ndim == b.ndim == 2 and a.T.shape == b.shape:
        what = "The numbers are right, but its" if same(exercise, a.T, b) else "Its"
        return f"{what} axes are swapped: asked for is {_axes(exercise)}, shape {list(b.shape)}."
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
    hit = len(answer & right)
    return f"{hit} of {len(right)} are right." if hit else "None of them is right."


def _axes(exercise: Exercise) -> str:
    return "[" + ", ".join(exercise.axes) + "]"
