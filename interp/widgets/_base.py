"""What every widget has: its files, a worker, answers that carry their question, errors as a line,
the Python of its state, and a picture of itself.

A widget is three files: NAME.py (state and callables, and the function NAME that makes it), NAME.js
(draws, reports clicks), NAME.css; add the function to __init__.pyi. Own ES modules cannot import
each other without a server, so _shared.js and _shared.css are put before the widget's own text: its
JS uses `frame`, `tag`, `svg`, `fill`, ... without importing them, and exports its pure functions
for `node --test`.

    class Lens(Widget, files="lens"):
        inputs = ("prompt", "by")           # the question: each change of these asks again
        prompt = t.Int(0).tag(sync=True)
        by = t.Unicode("rank").tag(sync=True)

        def __init__(self, result, compute, **traits):   # results and callables, never a model
            self._compute_lens = compute
            super().__init__(**traits)      # last: it asks for the first answer

        def _ask(self):                     # an input changed: in the kernel's thread, so be quick
            prompt = self.prompt            # read the state here, not in the job
            self._work(lambda stale: self._compute_lens(prompt), self._show)

        def _show(self, answer):            # in the worker, unless a newer click came in between
            self._give("reply", answer)     # one JSON dict, stamped with its question

        value, code = property(...), property(...)   # what is shown as Python values; its Python
        def _draw(self, figure): ...        # the static twin, into a matplotlib Figure

**An answer carries its question.** `_give("reply", {...})` stamps the dict with
`{"question": {"prompt": 3, "by": "rank"}}`, the inputs as they were when the work was asked for
(`_work` takes them down). A widget with more than one answer names the traits of the others'
questions in a table: `answers = {"prediction": ("site", "prompt", "cell")}`. In Python,
`self.fits("prediction")` says whether the answer is to the present question, and
`self.current("prediction")` gives it, or raises what is wrong. On the page a part of the widget
that shows an answer says so, once:

    view.answers(node, "reply");                               // all of the question counts
    view.answers(card, "reply", { only: ["latent"] });         // what does not depend on the rest
    view.answers(box, "reply", { has: (reply) => reply.numbers });
    view.draft({ strength: 2 });   // the page shows a state that it has not sent yet; null: sent

and from then on its content is hidden behind "computing" in every frame in which the answer is to
another question than the page shows (`view.fits("reply", only)` is that test). It keeps its
size. A late reply may therefore be drawn at once: nobody sees it until it is true. Keep controls
that hold the keyboard's focus out of such a part, or give it only the traits that matter.

**The model is part of the question.** A widget that is given
`model_now=lambda: bridge.ready(model)` looks at the model when it starts a job, when a cell of the
notebook has run, and before it gives a value. Where weights, hooks or layers are others than
before, `weights` counts up, which asks again. What the callables keep of a model they keep for one
`bridge.ready(model)`.

**What the user did survives.** The inputs, and the traits named in `kept` (where the pointer is,
which cell is chosen), are the widget's `state`. Every output carries it, beside a picture and the
Python; `_kept` keeps all three at the last state, and `interp.widgets.restore` reads it. The JS
takes part with `export default { initialize: kept, render }`. `_draw` and `_program` run in a
worker when all work is done: they read the widget and change nothing.

A job may be a generator: each `yield` (but None) is shown, and between two of them other widgets
and newer clicks get their turn. Within a long step it calls stale() now and then and returns when
that is true. Jobs run under the one lock of all model runs (`bridge.LOCK`) and touch no trait;
`_show` may. A ValueError becomes the line in the widget. A second lane (`lane="pointer"`) is for
what must not cancel the first. In the JS: `const view = frame(context, "name"); view.on("reply",
draw); view.save({prompt: 3}); return view.close;`.
"""

import copy
import inspect
import io
import json
import os
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import anywidget
import traitlets as t

from interp._files import short_reason
from interp.models import bridge
from interp.widgets._kept import Kept, before_pictures
from interp.widgets._lanes import Lane
from interp.widgets._link import Shared

HERE = Path(__file__).parent
SLOW = 0.2  # seconds after which a widget says that it computes
LOOK = 0.05  # seconds that a cell's end waits for a run that is under way, to look at the model
RENEWALS = 3  # in a row, with nothing done by the user: the runs themselves change the model
UNSEEN = object()
DPI = 90


_widgets: "weakref.WeakSet[Widget]" = weakref.WeakSet()


def _open() -> None:
    """In a forked process no other thread holds a widget."""
    for widget in list(_widgets):
        widget._state = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open)


def _after_cell() -> None:
    """Looks whether a cell has changed a model.

    All models are looked at first, and then the widgets ask; later, where one is being run.
    """
    there = [one for one in list(_widgets) if one._model_now is not None and one.comm is not None]
    seen = []
    if there and bridge.LOCK.acquire(timeout=LOOK):
        try:
            seen = [(one, one._model_state()) for one in there]
        finally:
            bridge.LOCK.release()
    for one in there:
        one._renewals = 0
    for one, now in seen:
        one._meet_model(now)
    for one in [] if seen else there:
        lane = one._lanes.setdefault("model", Lane())
        lane.put(lambda stale, one=one: bool(one._look_at_model()))


before_pictures.append(_after_cell)


class Widget(Kept, anywidget.AnyWidget):
    """The base of the widgets; see the module."""

    inputs: tuple[str, ...] = ()
    # answers beside `reply`, and the traits that their questions are made of
    answers: dict[str, tuple[str, ...]] = {}
    shares: dict[str, Shared] = {}
    # True: shown at once, though its first answer takes seconds; `.wait()` first for a finished
    # static twin
    slow = False
    # what is shown: everything that the JS needs beside the state
    reply = t.Dict().tag(sync=True)
    busy = t.Unicode("").tag(sync=True)
    problem = t.Unicode("").tag(sync=True)
    python = t.Unicode("").tag(sync=True)
    linked = t.Unicode("").tag(sync=True)  # what is linked has the same; see _link
    kind = t.Unicode("").tag(sync=True)  # what a link of it begins with
    remembers = t.List(t.Unicode()).tag(sync=True)  # the traits of its state, which a link holds
    in_panel = t.Bool(False).tag(sync=True)  # a panel around it shows prompt, Python and buttons
    title = t.Unicode("").tag(sync=True)  # model, task and kind: "smollm2-135m · ioi · attention"
    # counts the states of the model that were met; an answer is to the newest
    weights = t.Int(0).tag(sync=True)
    # The page counts its questions up in `asked`; it is answered when `answered` has come as far.
    asked = t.Int(0).tag(sync=True)
    answered = t.Int(0).tag(sync=True)

    def __init_subclass__(cls, *, files: str = "", **options: Any) -> None:
        if files:
            cls._esm = source(files, "js")
            cls._css = source(files, "css")
        super().__init_subclass__(**options)

    def __init__(self, *, model_now: Callable[[], Any] | None = None, **traits: Any) -> None:
        self._model_now, self._model_was, self._renewals = model_now, UNSEEN, 0
        self._lanes: dict[str, Lane] = {}
        self._slow: set[str] = set()
        self._problems: dict[str, str] = {}  # by lane: no lane wipes another's message
        # messages from the page and answers of the worker change traits one at a time
        self._state = threading.RLock()
        _widgets.add(self)
        self._batching = self._dirty = False
        self._asking: dict[str, Any] | None = None  # the state whose answer is being shown
        self.trouble = ""  # the traceback of the last error that was not a ValueError
        own = {"kind": type(self).__name__, "remembers": [*self.inputs, *self.kept]}
        super().__init__(**{**own, **traits})
        self.observe(self._input, [*self.inputs, "asked", "weights"])
        self.on_msg(self._tool)
        self._begin_keeping()
        self._again()

    # --- what a widget fills in -------------------------------------------------------------------

    def _ask(self) -> None:
        """Starts the work for the present state."""

    def _draw(self, figure: Any) -> None:
        """Draws the static twin into a figure."""

    @property
    def value(self) -> Any:
        """What is shown now, as Python values; waits for work that is under way."""
        return self.current()

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
        if change["name"] != "weights":
            self._renewals = 0
        self._dirty = True
        if not self._batching:
            self._again()

    def put(self, **traits: Any) -> None:
        """Sets several traits at once, and asks one question."""
        with self._state:
            before, self._batching, self._dirty = self._batching, True, False
            try:
                for name, value in traits.items():
                    setattr(self, name, value)
            finally:
                self._batching = before
            if self._dirty and not before:
                self._again()

    def _again(self) -> None:
        with self._state:
            # what _ask itself brings in order asks nothing more
            before, self._batching = self._batching, True
            asking, self._asking = self._asking, None
            try:
                self._ask()
                self._trouble("ask")
                self._trouble("trait")
                self.python = self._program()
            except ValueError as error:
                self._say(error, "ask")
                self.answered = self.asked
            finally:
                self._batching, self._asking = before, asking

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

    # --- answers ----------------------------------------------------------------------------------

    def _question(self, answer: str = "reply", state: dict[str, Any] | None = None) -> dict:
        """The traits that an answer depends on, as they are now or were in a state."""
        names = (*self.answers.get(answer, self.inputs), "weights")
        now = {name: getattr(self, name) for name in names} if state is None else state
        return {name: copy.deepcopy(now[name]) for name in names}

    def _give(self, answer: str, value: dict) -> None:
        """Sets an answer, stamped with the question that the work under way was asked."""
        setattr(self, answer, {**value, "question": self._question(answer, self._asking)})

    def fits(self, answer: str = "reply") -> bool:
        """Whether this answer is there, and is to the present question."""
        return getattr(self, answer).get("question") == self._question(answer)

    def current(self, answer: str = "reply") -> dict[str, Any]:
        """The answer to the present question, waited for.

        Raises:
            ValueError: If there is none: what is wrong with the question.
        """
        self.wait()
        if not self.fits(answer):
            raise ValueError(self.problem or "there is no answer to the present question")
        return {k: v for k, v in getattr(self, answer).items() if k != "question"}

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
        self._trouble(lane)  # of an older question
        names = {"weights", *self.inputs, *(n for some in self.answers.values() for n in some)}
        state = {name: copy.deepcopy(getattr(self, name)) for name in names}

        def run(stale: Callable[[], bool]) -> None:
            over = threading.Event()
            timer = threading.Timer(
                SLOW, lambda: self._late(lane, lambda: stale() or over.is_set())
            )
            timer.daemon = True
            timer.start()
            try:
                self._look_at_model()
                for value in _steps(lambda: None if stale() else job(stale)):
                    with self._state:
                        if stale():
                            return
                        if value is None:  # nothing new: the step only let others have their turn
                            continue
                        self._trouble(lane)
                        self._asking = state
                        try:
                            show(value)
                        finally:
                            self._asking = None
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
        self._all_done(timeout)
        if self._look_at_model():
            self._all_done(timeout)
        return self

    def _all_done(self, timeout: float) -> None:
        while True:
            lanes = list(self._lanes.values())
            if not all(lane.wait(timeout) for lane in lanes):
                raise TimeoutError(f"the widget was still computing after {timeout:g} s")
            # the last job of one lane may have begun another's
            if len(lanes) == len(self._lanes) and all(lane.wait(0) for lane in lanes):
                return

    # --- the model --------------------------------------------------------------------------------

    def _look_at_model(self) -> bool:
        """Asks again where the model is another than the numbers are of; whether it did."""
        if self._model_now is None or self.comm is None:
            return False
        with bridge.LOCK:  # between two runs: during one, its hooks are on the model
            now = self._model_state()
        return self._meet_model(now)

    def _model_state(self) -> Any:
        """The model's state, or the sentence that says why no number of it would be right."""
        try:
            return self._model_now() if self._model_now is not None else UNSEEN
        except ValueError as error:  # in training mode, for example: the job will say so
            return str(error)

    def _meet_model(self, now: Any) -> bool:
        with self._state:
            before, self._model_was = self._model_was, now
            if before is UNSEEN or before == now:
                return False
            self._renewals += 1
            if self._renewals > RENEWALS:
                self._trouble(
                    "model",
                    "the model changes each time that it is run: these numbers are of its last run",
                )
                return False
            self._trouble("model")
            self._model_changed()
            self.weights += 1
        return True

    def _model_changed(self) -> None:
        """What else a widget does where the model is another one now; it then asks again."""

    def close(self) -> None:
        """Ends the work, frees the listeners here and takes the widget off the page."""
        for lane in (*self._lanes.values(), self._gallery):
            lane.stop()
        self.unobserve_all()
        super().close()

    # --- to keep and to pass on ------------------------------------------------------------------

    @property
    def link(self) -> str:
        """The state as one line of text, for `follow` of the same kind of widget."""
        given = {name: json.dumps(value) for name, value in self.state.items()}
        return f"{type(self).__name__}?{urlencode(given)}"

    def follow(self, link: str) -> "Widget":
        """The widget in the state of a link; ValueError when it is no link of such a widget."""
        kind, _, given = link.strip().partition("?")
        state = dict(parse_qsl(given, keep_blank_values=True))
        if kind != type(self).__name__ or not state or not set(state) <= set(self.state):
            raise ValueError(
                f"{link[:80]!r} is no link of this widget: one begins with"
                f" '{type(self).__name__}?' (copy it with the page's button, or `.link`)"
            )
        try:
            self.put(**{name: json.loads(value) for name, value in state.items()})
        except (ValueError, RecursionError, t.TraitError) as error:
            raise ValueError(f"{link[:80]!r} is damaged: {short_reason(error)}") from None
        return self

    def table(self) -> Any:
        """What is shown as a data frame."""
        import pandas as pd

        value = self.value
        if hasattr(value, "to_frame"):
            return value.to_frame()
        held = [one for one in value.values() if hasattr(one, "to_frame")]
        if held:
            return held[0].to_frame()
        return pd.DataFrame(value.get("next tokens") or self.current().get("top") or [])

    def export(self, form: str) -> bytes:
        """What is shown as the bytes of a "png", "svg" or "csv"."""
        if form == "csv":
            return self.table().to_csv(index=False).encode()
        if form not in ("png", "svg"):
            raise ValueError(f"form={form!r}: a widget is exported as 'png', 'svg' or 'csv'")
        buffer = io.BytesIO()
        self.static().savefig(buffer, format=form, dpi=2 * DPI)
        return buffer.getvalue()

    def _tool(self, widget: Any, message: Any, buffers: Any) -> None:
        """The page's buttons: a file to save, a link to open."""
        if not isinstance(message, dict) or message.get("do") not in ("export", "open"):
            return
        try:
            if message["do"] == "open":
                self.follow(str(message.get("text")))
            else:
                form = str(message.get("as"))
                self._send_file(form)
            self._trouble("tool")
        except ValueError as error:
            self._trouble("tool", str(error))

    def _send_file(self, form: str) -> None:
        name = type(self).__name__.removesuffix("Widget").lower()

        def work(stale: Callable[[], bool]) -> None:
            try:
                self.send({"file": f"{name}.{form}"}, [self.export(form)])
            except Exception as error:  # nobody else would see it
                self._say(error, "tool")

        self._lanes.setdefault("tool", Lane()).put(work)

    # --- pictures ---------------------------------------------------------------------------------

    def static(self, wait: bool = True) -> Any:
        """The state as a matplotlib Figure, which a saved or untrusted notebook shows."""
        from matplotlib.figure import Figure  # not pyplot: its state is not safe in callbacks

        from interp.widgets._colours import as_on_the_page

        if wait:
            self.wait()
        figure = Figure(dpi=DPI, layout="constrained")
        if self.fits():
            self._draw(figure)
            as_on_the_page(figure)
        else:
            figure.set_size_inches(7, 0.6)
            says = self.problem or "this was still being computed"
            figure.text(0.01, 0.5, says, va="center", fontsize=9, parse_math=False)
        return figure

    def png(self, wait: bool = True) -> bytes:
        """The static figure as the bytes of a PNG."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        buffer = io.BytesIO()
        FigureCanvasAgg(self.static(wait)).print_png(buffer)
        return buffer.getvalue()

    def __repr__(self) -> str:
        return f"<{self.maker} widget: {self.title}>"


def source(name: str, kind: str) -> str:
    """The text of a widget's own files ("circuit_shapes circuit_graph"), the shared one before
    them.
    """
    files = [HERE / f"{stem}.{kind}" for stem in ("_shared", "_kept", *name.split())]
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
