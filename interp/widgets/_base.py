"""What every widget has: its files, a worker, errors as a line, the Python of its state, and a
picture of itself.

A widget is three files: NAME.py (state and callables, and the function NAME that makes it), NAME.js
(draws, reports clicks), NAME.css; add the function to __init__.pyi. Own ES modules cannot import
each other without a server, so _shared.js and _shared.css are put before the widget's own text: its
JS uses `frame`, `tag`, `svg`, `fill`, ... without importing them, and exports its pure functions
for `node --test`.

    class Lens(Widget, files="lens"):
        inputs = ("prompt", "by")                        # traits that a click or a user sets; each
        change asks again prompt = t.Int(0).tag(sync=True) by = t.Unicode("rank").tag(sync=True)

        def __init__(self, result, compute, **traits):   # results and callables, never a model
            self._compute_lens = compute
            super().__init__(**traits)                   # last: it asks for the first answer

        def _ask(self):                                  # an input changed: runs in the kernel's
        thread, so be quick
            prompt = self.prompt                         # read the state here, not in the job
            self._work(lambda stale: self._compute_lens(prompt), self._show)

        def _show(self, answer):                         # in the worker, unless a newer click came
        in between
            self.reply = answer                          # one JSON dict; the JS draws it on
            "change:reply"

        value, code = property(...), property(...)       # what is shown as Python values; the
        Python that gives it def _draw(self, figure): ...                     # the static twin,
        into a matplotlib Figure

A job may be a generator: each `yield` (but None) is shown, and between two of them other widgets
and newer clicks get their turn. Within a long step it calls stale() now and then and returns when
that is true. Jobs run under the one lock of all model runs (`bridge.LOCK`) and touch no trait;
`_show` may. A ValueError becomes the line in the widget. A second lane (`lane="pointer"`) is for
what must not cancel the first. In the JS: `const view = frame(context, "name"); view.on("reply",
draw); view.save({prompt: 3}); return view.close;`.
"""

import base64
import html
import inspect
import io
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from interp.models import bridge
from interp.widgets._lanes import Lane

HERE = Path(__file__).parent
SLOW = 0.2  # seconds after which a widget says that it computes
DPI = 90


class Widget(anywidget.AnyWidget):
    """The base of the widgets; see the module."""

    inputs: tuple[str, ...] = ()
    # True: shown at once, though its first answer takes seconds; `.wait()` first for a finished
    # static twin
    slow = False
    # what is shown: everything that the JS needs beside the state
    reply = t.Dict().tag(sync=True)
    busy = t.Unicode("").tag(sync=True)
    problem = t.Unicode("").tag(sync=True)
    python = t.Unicode("").tag(sync=True)
    title = t.Unicode("").tag(sync=True)  # model, task and kind: "smollm2-135m · ioi · attention"
    # The page counts its questions up in `asked`; it is answered when `answered` has come as far.
    asked = t.Int(0).tag(sync=True)
    answered = t.Int(0).tag(sync=True)

    def __init_subclass__(cls, *, files: str = "", **options: Any) -> None:
        if files:
            cls._esm = source(files, "js")
            cls._css = source(files, "css")
        super().__init_subclass__(**options)

    def __init__(self, **traits: Any) -> None:
        self._lanes: dict[str, Lane] = {}
        self._slow: set[str] = set()
        self._problems: dict[str, str] = {}  # by lane: no lane wipes another's message
        # messages from the page and answers of the worker change traits one at a time
        self._state = threading.RLock()
        self._batching = self._dirty = False
        self.trouble = ""  # the traceback of the last error that was not a ValueError
        super().__init__(**traits)
        self.observe(self._input, [*self.inputs, "asked"])
        self._again()

    # --- what a widget fills in -------------------------------------------------------------------

    def _ask(self) -> None:
        """Starts the work for the present state."""

    def _draw(self, figure: Any) -> None:
        """Draws the static twin into a figure."""

    @property
    def value(self) -> Any:
        """What is shown now, as Python values; waits for work that is under way."""
        self.wait()
        return dict(self.reply)

    @property
    def code(self) -> str:
        """The Python that reproduces the state."""
        return ""

    def _program(self) -> str:
        """The code as it is now, for the page; overridden where `code` waits for the worker."""
        return self.code

    # --- state ------------------------------------------------------------------------------------

    def set_state(self, sync_data: dict) -> None:
        """A message from the page: however many traits it sets, one question is asked."""
        with self._state:
            self._batching, self._dirty = True, False
            try:
                super().set_state(sync_data)
            except t.TraitError as error:
                self._trouble("trait", str(error))
            finally:
                self._batching = False
            if self._dirty:
                self._again()

    def _input(self, change: Any) -> None:
        self._dirty = True
        if not self._batching:
            self._again()

    def _again(self) -> None:
        with self._state:
            before, self._batching = (
                self._batching,
                True,
            )  # what _ask itself brings in order asks nothing more
            try:
                self._ask()
                self._trouble("ask")
                self._trouble("trait")
                self.python = self._program()
            except ValueError as error:
                self._say(error, "ask")
                self.answered = self.asked
            finally:
                self._batching = before

    def _say(self, error: Exception, lane: str) -> None:
        known = isinstance(error, ValueError)
        self._trouble(lane, str(error) if known else f"{type(error).__name__}: {error}")
        self.trouble = "" if known else traceback.format_exc()

    def _trouble(self, lane: str, text: str = "") -> None:
        """Sets what is wrong in a lane ("" when it is mended); the page shows the newest."""
        self._problems.pop(lane, None)
        if text:
            self._problems[lane] = text
        self.problem = next(reversed(self._problems.values()), "")

    # --- work -------------------------------------------------------------------------------------

    def _work(
        self,
        job: Callable[[Callable[[], bool]], Any],
        show: Callable[[Any], None],
        lane: str = "main",
    ) -> None:
        """Runs job(stale) in the lane's thread and shows what it gives, unless a newer job of the
        lane came in between.
        """
        asked = self.asked

        def run(stale: Callable[[], bool]) -> None:
            over = threading.Event()
            timer = threading.Timer(
                SLOW, lambda: self._late(lane, lambda: stale() or over.is_set())
            )
            timer.daemon = True
            timer.start()
            try:
                for value in _steps(lambda: job(stale)):
                    with self._state:
                        if stale():
                            return
                        if value is None:  # nothing new: the step only let others have their turn
                            continue
                        self._trouble(lane)
                        show(value)
                with self._state:
                    if not stale():
                        self.python = self._program()
            except (
                Exception
            ) as error:  # nobody else would see it: the worker has no cell to print under
                with self._state:
                    if not stale():
                        self._say(error, lane)
            finally:
                timer.cancel()
                with self._state:
                    over.set()
                    if not stale():
                        self._computing(lane, False)
                        self.answered = (
                            max(self.answered, asked) if lane == "main" else self.answered
                        )

        self._lanes.setdefault(lane, Lane()).put(run)

    def _late(self, lane: str, over: Callable[[], bool]) -> None:
        with self._state:  # the work may end while the timer waits for its turn
            if not over():
                self._computing(lane, True)

    def _computing(self, lane: str, now: bool) -> None:
        with self._state:
            self._slow = self._slow | {lane} if now else self._slow - {lane}
            self.busy = "computing" if self._slow else ""

    def _stop(self, lane: str = "main") -> None:
        """Ends the work of a lane after its present step; what was shown stays."""
        if lane in self._lanes:
            self._lanes[lane].stop()
        self._computing(lane, False)

    def wait(self, timeout: float = 120.0) -> "Widget":
        """The widget itself, when all its work is done; TimeoutError after so many seconds."""
        for lane in list(self._lanes.values()):
            if not lane.wait(timeout):
                raise TimeoutError(f"the widget was still computing after {timeout:g} s")
        return self

    def close(self) -> None:
        """Ends the work, frees the listeners here and takes the widget off the page."""
        for lane in self._lanes.values():
            lane.stop()
        self.unobserve_all()
        super().close()

    # --- pictures ---------------------------------------------------------------------------------

    def static(self, wait: bool = True) -> Any:
        """The state as a matplotlib Figure, which a saved or untrusted notebook shows."""
        from matplotlib.figure import Figure  # not pyplot: its state is not safe in callbacks

        if wait:
            self.wait()
        figure = Figure(dpi=DPI, layout="constrained")
        if self.reply or not self.problem:
            self._draw(figure)
        else:
            figure.set_size_inches(7, 0.6)
            figure.text(0.01, 0.5, self.problem, va="center", fontsize=9)
        return figure

    def png(self, wait: bool = True) -> bytes:
        """The static figure as the bytes of a PNG."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        buffer = io.BytesIO()
        FigureCanvasAgg(self.static(wait)).print_png(buffer)
        return buffer.getvalue()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None:  # closed
            return None
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, "text/plain": repr(self), "text/html": self._html()}, metadata

    def _html(self) -> str:
        picture = base64.b64encode(self.png(wait=not self.slow)).decode()
        image = (
            f"<img alt='{html.escape(repr(self))}' style='max-width:100%'"
            f" src='data:image/png;base64,{picture}'>"
        )
        code = f"<pre>{html.escape(self.code)}</pre>"
        return f"{image}<details><summary>Python</summary>{code}</details>"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} widget>"


def source(name: str, kind: str) -> str:
    """The text of a widget's own files ("circuit_shapes circuit_graph"), the shared one before
    them.
    """
    files = [HERE / f"{stem}.{kind}" for stem in ("_shared", *name.split())]
    return "\n".join(file.read_text(encoding="utf-8") for file in files if file.exists())


def _steps(job: Callable[[], Any]) -> Iterator[Any]:
    """What a job gives, each step under the one lock of all model runs."""
    with bridge.LOCK:
        value = job()
    if not inspect.isgenerator(value):
        yield value
        return
    while True:
        with bridge.LOCK:
            try:
                step = next(value)
            except StopIteration:
                return
        yield step
        time.sleep(0.001)  # a lock that is taken again at once would keep others waiting
