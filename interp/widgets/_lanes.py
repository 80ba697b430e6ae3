"""Work beside the kernel's own thread, of which only the newest counts."""

import atexit
import ctypes
import os
import threading
import weakref
from collections.abc import Callable

IDLE = 30.0  # seconds a thread waits for more work before it ends
LAST = 30.0  # seconds that the end of the process waits for a job's present step
Job = Callable[[Callable[[], bool]], None]
_lanes: "weakref.WeakSet[Lane]" = weakref.WeakSet()


@atexit.register
def _end() -> None:
    """Ends every job before the interpreter: a thread still inside torch aborts the process."""
    for thread in [lane.end() for lane in list(_lanes)]:
        if thread is not None:
            thread.join(LAST)


def _forget() -> None:
    """In a forked process, where no lane has its thread: nothing runs, and nothing waits."""
    for lane in list(_lanes):
        lane.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Lane:
    """One thread for jobs that replace each other: a newer job drops the one that waits and makes
    the running one stale.

    Example:
        >>> lane = Lane()
        >>> lane.put(lambda stale: print("done"))     # stale(): is the answer still wanted?
        >>> lane.wait(1.0)
        True
    """

    def __init__(self) -> None:
        self.begin()
        _lanes.add(self)

    def begin(self) -> None:
        """Empties the lane; whatever ran in it is not waited for."""
        self._change = threading.Condition()
        self._next: tuple[int, Job] | None = None
        self._turn = 0
        self._running = self._over = False
        self._thread: threading.Thread | None = None

    def put(self, job: Job) -> None:
        """Runs this job as soon as the running one ends, in place of any other that waits."""
        with self._change:
            self._turn += 1
            self._next = (self._turn, job)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="interp widget", daemon=True
                )
                self._thread.start()
            self._change.notify_all()

    def stop(self) -> None:
        """Drops the job that waits and makes the running one stale."""
        with self._change:
            self._turn += 1
            self._next = None
            self._change.notify_all()

    def end(self) -> threading.Thread | None:
        """The thread, to be joined; its running job meets SystemExit at its next line of Python."""
        with self._change:
            self._turn += 1
            self._next, self._over, thread = None, True, self._thread
            if thread is not None and self._running:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
                )
            self._change.notify_all()
        return thread

    def wait(self, timeout: float) -> bool:
        """Whether nothing is left to do within so many seconds; at once True in the lane's own
        thread.
        """
        if threading.current_thread() is self._thread:
            return True
        with self._change:
            return self._change.wait_for(lambda: self._next is None and not self._running, timeout)

    def _work(self) -> None:
        while True:
            with self._change:
                self._running = False
                self._change.notify_all()
                self._change.wait_for(lambda: self._next is not None or self._over, IDLE)
                if self._next is None:
                    self._thread = None
                    return
                (turn, job), self._next, self._running = self._next, None, True
            job(lambda turn=turn: turn != self._turn)
