"""Widgets that share what they show: the prompt, the token and the head looked at, the ablated
heads.

Each class of widgets has a table `shares` of what it can share; `link` copies what changed in one
to the other. Hovering is the page's own: what has the same `linked` marks the same token.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.widgets._base import Widget

WHAT = ("prompt", "token", "head", "ablated", "step")


@dataclass(frozen=True)
class Shared:
    """One thing that a widget shares.

    traits: those whose change may change it. get: what it is now, None where there is nothing to
    share (the mean over prompts is no prompt). put: the traits that set it, None where this widget
    cannot show it (a head in a map of positions).
    """

    traits: tuple[str, ...]
    get: Callable[[Any], Any]
    put: Callable[[Any, Any], dict[str, Any] | None]


def trait(name: str, nothing: Any = "") -> Shared:
    """A trait that is shared as it is, but for the value that means nothing."""

    def get(widget: Any) -> Any:
        value = getattr(widget, name)
        return None if value == nothing else value

    return Shared((name,), get, lambda widget, value: {name: value})


class Link:
    """Widgets that are linked until `close()`."""

    def __init__(self, widgets: Sequence["Widget"]) -> None:
        self.widgets = tuple(widgets)
        self._moving = False
        self._watched: list[tuple[Any, Callable, list[str]]] = []
        groups = [one.linked for one in widgets if one.linked]
        group = groups[0] if groups else uuid.uuid4().hex[:8]
        for one in widgets:
            one.linked = group
            for what, shared in one.shares.items():
                self._watch(one, what, shared)
        for what in WHAT:  # what the first shows, the others begin with
            self._move(self.widgets[0], what)

    def _watch(self, one: Any, what: str, shared: Shared) -> None:
        def changed(change: Any) -> None:
            self._move(one, what)

        one.observe(changed, list(shared.traits))
        self._watched.append((one, changed, list(shared.traits)))

    def _move(self, source: Any, what: str) -> None:
        if self._moving or what not in source.shares:
            return
        value = source.shares[what].get(source)
        if value is None:
            return
        self._moving = True
        try:
            for one in self.widgets:
                if one is not source and what in one.shares and one.comm is not None:
                    new = one.shares[what].put(one, value)
                    if new and any(getattr(one, name) != to for name, to in new.items()):
                        one.put(**new)
        finally:
            self._moving = False

    def close(self) -> None:
        """Ends it; what the widgets show stays."""
        for one, changed, traits in self._watched:
            one.unobserve(changed, traits)
        self._watched.clear()
        for one in self.widgets:
            one.linked = ""


def link(*widgets: "Widget") -> Link:
    """Widgets that follow each other: prompt, token, head and ablated heads; in training, the step.

    Hovering a token in one marks it in the others. A widget that cannot show what another does (a
    map of positions has no head, a typed text is none of a task's prompts) stays as it is. The
    widget of features takes typed prompts alone, and ablates latents instead of heads.

    Example:
        >>> a = interp.widgets.heads(model, task)
        >>> b = interp.widgets.attention(model, task)
        >>> interp.widgets.link(a, b)          # now display both: a; b

    Args:
        *widgets: Two or more. They begin with what the first one shows.

    Returns:
        The link; its `.close()` ends it.

    Raises:
        ValueError: If there are fewer than two, or one shares nothing with any of the others.
    """
    if len(widgets) < 2:
        raise ValueError("a link needs two widgets: interp.widgets.link(a, b)")
    for one in widgets:
        mine = set(getattr(one, "shares", {}))
        if not any(
            mine & set(getattr(other, "shares", {})) for other in widgets if other is not one
        ):
            raise ValueError(
                f"{one!r} shares nothing with the others: link what interp.widgets.heads,"
                " attention, lens, patching, circuit, features or explore gave (prompt, token,"
                " heads), or what interp.widgets.training gave (step)"
            )
    return Link(widgets)


# --- how widgets name prompts and heads -----------------------------------------------------------


def prompt_or_text(own: int) -> Shared:
    """For a widget with `prompt` (`own`: the text is shown instead) and `text`."""

    def get(widget: Any) -> int | str | None:
        return widget.prompt if widget.prompt != own else widget.text or None

    def put(widget: Any, value: int | str) -> dict[str, Any] | None:
        if isinstance(value, str):
            return {"prompt": own, "text": value}
        return {"prompt": value} if value < len(widget.examples) else None

    return Shared(("prompt", "text"), get, put)


def _typed(widget: Any) -> str | None:
    return widget.text or None


# for a widget that shows typed prompts alone
TYPED = Shared(
    ("text",), _typed, lambda widget, value: {"text": value} if isinstance(value, str) else None
)
# for a widget of checkpoints
STEP = Shared(
    ("step",),
    lambda widget: widget.step,
    lambda widget, value: {"step": value} if value in widget.steps else None,
)
