"""What is left of a widget when its kernel is gone: a picture of its last state, its Python, and
the state itself, which `interp.widgets.restore` reads.

An output is stored as it was first displayed. Two ways lead from there to the last state:

- On a page (JupyterLab, Notebook 7) the kernel draws a picture when the widget has been left alone
  for a moment, and `_kept.js` puts it into whatever is saved.
- Without a page (nbclient, nbconvert --execute) the output itself is updated after each cell.
"""

import base64
import copy
import html
import time
import traceback
import uuid
import weakref
from collections.abc import Callable
from typing import Any

import traitlets as t

from interp import plots
from interp.widgets._lanes import Lane

QUIET = 1.0  # seconds without a change after which a picture is drawn
LONG = 600.0  # seconds that a picture waits for the numbers it is to show
before_pictures: list[Callable[[], None]] = []  # called when a cell has run
_displayed: "weakref.WeakSet[Kept]" = weakref.WeakSet()
_shells: "weakref.WeakSet[Any]" = weakref.WeakSet()


class Kept(t.HasTraits):
    """The part of a widget that survives; `Widget` inherits it."""

    inputs: tuple[str, ...] = ()
    answers: dict[str, tuple[str, ...]] = {}
    trouble: str
    weights: Any
    in_panel: Any
    kept: tuple[str, ...] = ()  # traits that ask nothing, but belong to what the user did
    # {html, text, model_id, metadata} of the last state, stamped with that state
    picture = t.Dict().tag(sync=True)

    def _begin_keeping(self) -> None:
        """Called once, when the widget has its traits."""
        self._gallery = Lane()  # beside the other lanes: nobody waits for a picture
        self._touches, self._touched_at, self._pictured = 0, 0.0, -1
        self._on_page, self._shown_as = False, uuid.uuid4().hex
        self._panel: Kept | None = None  # the widget that shows this one inside itself
        self._within: list[Kept] = []
        self.observe(self._touched, [*self.inputs, *self.kept, "weights", "reply", *self.answers])
        self.on_msg(self._page)
        _hear_cells()

    @property
    def maker(self) -> str:
        """The name of the function that makes such a widget: "heads"."""
        return type(self).__name__.removesuffix("Widget").lower()

    @property
    def state(self) -> dict[str, Any]:
        """What the user did: everything that `interp.widgets.restore` sets again."""
        return {name: copy.deepcopy(getattr(self, name)) for name in (*self.inputs, *self.kept)}

    def inside(self, panel: "Kept") -> None:
        """Leaves pictures to a widget that shows this one inside itself."""
        self._panel, self.in_panel = panel, True
        panel._within.append(self)
        panel._touched()

    def outside(self, panel: "Kept") -> None:
        """Is in that panel no longer."""
        self._panel = None
        panel._within.remove(self)

    # --- pictures ---------------------------------------------------------------------------------

    def _touched(self, change: Any = None) -> None:
        self._touches, self._touched_at = self._touches + 1, time.monotonic()
        if self._panel is not None:
            self._panel._touched()
        elif self._on_page:
            self._gallery.put(self._redraw)

    def _idle(self, timeout: float) -> bool:
        """Whether no work is left within so many seconds, here and in what is shown inside."""
        lanes = [lane for one in (self, *self._within) for lane in list(one._lanes.values())]
        return all(lane.wait(timeout) for lane in lanes)

    def _page(self, widget: Any, message: Any, buffers: Any) -> None:
        """A page that can save pictures has this widget."""
        if message == {"do": "page"}:
            self._on_page = True
            if self._panel is None and self._pictured != self._touches:
                self._gallery.put(self._redraw)

    def _redraw(self, stale: Any) -> None:
        """The newest picture, drawn when the widget was left alone and its numbers are there."""
        while (left := self._touched_at + QUIET - time.monotonic()) > 0:
            if stale():
                return
            time.sleep(min(left, 0.1))
        if not self._idle(LONG) or stale():
            return
        touches = self._touches
        try:
            picture = self._picture()
        except Exception:  # drawn beside a change; the change asks for another
            if touches == self._touches:
                self.trouble = traceback.format_exc()
            return
        with self._state:
            if touches == self._touches and not stale():
                self.picture, self._pictured = picture, touches

    def _picture(self) -> dict[str, Any]:
        state = self.state
        about = {"widget": self.maker, "model_id": self.model_id, "state": state}
        return {
            "html": self._html(),
            "text": repr(self),
            "model_id": self.model_id,
            "metadata": {"interp": about},
            "question": {**state, "weights": self.weights},
        }

    def _html(self) -> str:
        picture = base64.b64encode(self.png(wait=False)).decode()
        image = (  # dark with JupyterLab's theme, as the pictures of results are
            f"{plots.STYLE}<div class='interp-picture'><img alt='{html.escape(repr(self))}'"
            f" style='max-width:100%' src='data:image/png;base64,{picture}'></div>"
        )
        code = f"<pre>{html.escape(self._program())}</pre>"
        return f"{image}<details><summary>Python of this state</summary>{code}</details>"

    # --- displays ---------------------------------------------------------------------------------

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None:  # closed
            return None
        if not self.slow:
            self.wait()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        touches, picture = self._touches, self._picture()
        again = self._pictured >= 0  # other outputs may hold an older picture
        self.picture = picture if again else {k: picture[k] for k in ("model_id", "question")}
        if self.fits() and self._idle(0):
            self._pictured = touches
        elif self._on_page:
            self._gallery.put(self._redraw)
        shown = {"text/plain": picture["text"], "text/html": picture["html"]}
        return {**data, **shown}, {**metadata, **picture["metadata"]}

    def _ipython_display_(self, **options: Any) -> None:
        """Displays the widget as an output that can be updated."""
        from IPython.display import display

        bundle = self._repr_mimebundle_()
        if bundle is None:
            print(repr(self))
            return
        _displayed.add(self)
        _hear_cells()
        data, metadata = bundle
        display(data, metadata=metadata, raw=True, display_id=self._shown_as)

    def _update(self) -> None:
        """Puts the present state into the outputs that show this widget, where no page does it."""
        from IPython.display import display

        if self.comm is None or self._on_page or self._pictured == self._touches:
            return
        if self.slow and not self._idle(0):
            return  # its picture is for a later cell, or for the page
        data, metadata = self._repr_mimebundle_()
        display(data, metadata=metadata, raw=True, display_id=self._shown_as, update=True)


def _hear_cells() -> None:
    """From now on this notebook tells when a cell has run."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None and shell not in _shells:
        _shells.add(shell)
        shell.events.register("post_run_cell", _after_cell)


def _after_cell(result: Any = None) -> None:
    for first in before_pictures:
        first()
    for widget in list(_displayed):
        widget._update()
