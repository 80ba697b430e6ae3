"""What Ctrl-C, or a notebook's interrupt button, gives back: one line, and what is finished."""

import contextlib
import functools
import inspect
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

import numpy as np

P, T = ParamSpec("P"), TypeVar("T")


class Interrupted(KeyboardInterrupt):
    """A verb was interrupted. It stops a script and "Run All" as any interrupt does, and it
    carries what was finished.

    Example:
        >>> try:
        ...     effects = interp.patch(model, task, "L*H*@*")
        ... except KeyboardInterrupt as stopped:
        ...     effects = stopped.result       # NaN where nothing was run; None if nothing is there

        After an interrupt in a notebook or at a prompt it is `sys.last_value.result`.

    Attributes:
        result: The Result as far as it was finished, with NaN in the cells that were not run and
            `metadata["interrupted"]`; None where a verb has no parts that mean something alone.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result

    def _render_traceback_(self) -> list[str]:
        """What IPython prints: one line, because there is no fault to look for."""
        return [f"Interrupted: {self}"]


class _Thread(threading.local):
    """How many verbs this thread is inside of, and what the outermost knows of an interrupt."""

    depth = 0
    stop: "Stop | None" = None


class Stop:
    """Whether the verb that keeps its finished part was interrupted."""

    interrupted = False


_THREAD = _Thread()


def keeping() -> Stop | None:
    """The note to take when an interrupt comes, where the verb can go on with what is finished;
    None where it cannot, so that the interrupt has to pass through.
    """
    return _THREAD.stop


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Inside, an interrupt waits until the end, so that what is done there is done as a whole.

    Python gives interrupts to the main thread alone: elsewhere there is nothing to hold back.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    waiting: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting:
        raise KeyboardInterrupt


def one_line(verb: Callable[P, T]) -> Callable[P, T]:
    """The verb, which answers an interrupt with one line in place of a dozen frames."""

    @functools.wraps(verb)
    def call(*args: P.args, **options: P.kwargs) -> T:
        _THREAD.depth += 1
        try:
            return verb(*args, **options)
        except KeyboardInterrupt as error:
            if _THREAD.depth > 1 or isinstance(error, Interrupted):
                raise
            raise Interrupted(_message(verb, args, options)) from None
        finally:
            _THREAD.depth -= 1

    return call


def keeps_finished(verb: Callable[P, T]) -> Callable[P, T]:
    """The verb, which raises `Interrupted` with the finished part when it is interrupted.

    What runs its sweep asks `keeping`, notes the interrupt there, and leaves NaN where nothing was
    run. Inside of another verb, that one decides.
    """

    @functools.wraps(verb)
    def call(*args: P.args, **options: P.kwargs) -> T:
        if _THREAD.depth or _THREAD.stop is not None:
            return verb(*args, **options)
        stop = _THREAD.stop = Stop()
        try:
            result = verb(*args, **options)
        finally:
            _THREAD.stop = None
        if not stop.interrupted:
            return result
        part = _noted(result)
        raise Interrupted(_message(verb, args, options, part), part)

    return call


def _noted(result: Any) -> Any:
    """The part of a result, saying how much of it there is; None where nothing was finished."""
    if result is None or not np.isfinite(result.values).any():
        return None
    finished, cells = int(np.isfinite(result.values).sum()), result.values.size
    note = f"{finished:,} of {cells:,} cells were finished"
    return replace(result, metadata={**result.metadata, "interrupted": note})


def _message(verb: Callable, args: tuple, options: dict[str, Any], result: Any = None) -> str:
    """What happened, where the finished part is, and the call that could go on another time."""
    top = getattr(sys.modules.get("interp"), "__all__", ())  # shown as people call it
    name = verb.__name__
    name = f"interp.{name}" if name in top else name
    text = f"{name} was stopped"
    if result is not None:
        text += (
            f": {result.metadata['interrupted']}. They are in `sys.last_value.result` (import sys),"
            " with NaN in the others"
        )
    if "resume" not in inspect.signature(verb).parameters:
        return f"{text}."
    if options.get("resume") is not None:
        return f"{text}. The same call goes on from {str(options['resume'])!r}."
    shown = [_shown(a) for a in args[2:]] + [f"{k}={_shown(v)}" for k, v in options.items()]
    call = ", ".join(["model", "task", *shown, f"resume='{verb.__name__}.npz'"])
    return f"{text}. A call that can be stopped and goes on: {name}({call})"


def _shown(value: Any) -> str:
    """An argument as it was typed, where that is short."""
    text = repr(value)
    return text if isinstance(value, str | int | float | list | tuple) and len(text) < 60 else "..."
