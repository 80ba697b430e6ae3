"""`interp.widgets.restore`: what was done with a widget before, done again."""

from pathlib import Path
from typing import Any

from traitlets import TraitError

from interp import _files
from interp._errors import unknown
from interp.widgets._base import Widget


def restore(widget: Widget, saved: Any, which: int | None = None) -> Widget:
    """The widget, in the state that it was left in when a notebook was saved.

    Example:
        >>> w = interp.widgets.heads(model, task)
        >>> interp.widgets.restore(w, "homework.ipynb")
        >>> interp.widgets.restore(w, other.state)

    Args:
        widget: A widget of the same kind, made for the same model and prompts.
        saved: The path of a saved notebook, or the `.state` of another widget.
        which: Of several widgets of this kind in the notebook: 0 is the first, -1 the last.

    Raises:
        ValueError: If the notebook has no such widget, or several and `which` is not given.
    """
    state = saved if isinstance(saved, dict) else _stored(widget.maker, Path(saved), which)
    for name in state:
        if name not in widget.state:
            call = f"restore(widget, dict({next(iter(widget.state))}=...))"
            raise unknown(f"state of a {widget.maker} widget", name, list(widget.state), call)
    before = dict(widget.state)
    try:
        widget.put(**state)
    except (TraitError, TypeError, AttributeError, LookupError) as error:
        widget.put(**before)
        raise ValueError(
            f"this is no state of a {widget.maker} widget ({_files.short_reason(error)})"
        ) from None
    return widget


def _stored(kind: str, path: Path, which: int | None) -> dict[str, Any]:
    """The state of one widget in a notebook's file."""
    content = _files.read_json(path, "a notebook")
    found = []
    for number, cell in enumerate(_list(content, "cells"), 1):
        for output in _list(cell, "outputs"):
            saved = _table(_table(output, "metadata"), "interp")
            state = saved.get("state")
            if saved.get("widget") == kind and isinstance(state, dict):
                text = _table(output, "data").get("text/plain", "")
                text = "".join(map(str, text)) if isinstance(text, list) else str(text)
                found.append((_cut(f"cell {number}: {text}"), state))
    listed = _cut("; ".join(name for name, _ in found), 300)
    if not found:
        raise ValueError(f"{path} holds no saved {kind} widget: save the notebook that shows one")
    if which is None and len(found) > 1:
        raise ValueError(
            f"{path} holds {len(found)} {kind} widgets ({listed}): choose one, for example which=0"
        )
    if which is not None and not -len(found) <= which < len(found):
        raise ValueError(f"which={which}: {path} holds {len(found)} {kind} widgets ({listed})")
    return found[which or 0][1]


def _list(x: Any, name: str) -> list:
    """A list in a notebook's JSON; empty where something else stands there."""
    held = x.get(name) if isinstance(x, dict) else None
    return held if isinstance(held, list) else []


def _table(x: Any, name: str) -> dict[str, Any]:
    """A mapping in a notebook's JSON; empty where something else stands there."""
    held = x.get(name) if isinstance(x, dict) else None
    return held if isinstance(held, dict) else {}


def _cut(text: str, most: int = 80) -> str:
    """The text, at most so long."""
    return text if len(text) <= most else text[: most - 3] + "..."
