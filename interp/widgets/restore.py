"""`interp.widgets.restore`: what was done with a widget before, done again."""

import json
from pathlib import Path
from typing import Any

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
    widget.put(**state)
    return widget


def _stored(kind: str, path: Path, which: int | None) -> dict[str, Any]:
    """The state of one widget in a notebook's file."""
    cells = json.loads(path.read_text(encoding="utf-8")).get("cells", [])
    found = []
    for number, cell in enumerate(cells, 1):
        for output in cell.get("outputs", []):
            about = output.get("metadata", {}).get("interp", {})
            if about.get("widget") == kind:
                text = "".join(output.get("data", {}).get("text/plain", ""))
                found.append((f"cell {number}: {text}", about["state"]))
    listed = "; ".join(name for name, _ in found)
    if not found:
        raise ValueError(f"{path} holds no saved {kind} widget: save the notebook that shows one")
    if which is None and len(found) > 1:
        raise ValueError(
            f"{path} holds {len(found)} {kind} widgets ({listed}): choose one, for example which=0"
        )
    if which is not None and not -len(found) <= which < len(found):
        raise ValueError(f"which={which}: {path} holds {len(found)} {kind} widgets ({listed})")
    return found[which or 0][1]
