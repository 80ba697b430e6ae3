"""Heads that are ablated in what a widget reads, as the head widget ablates them."""

from typing import Any

from interp._types import Model
from interp.interventions import Intervention
from interp.models import bridge
from interp.widgets import _head_runs as runs
from interp.widgets import _prompts as prompts
from interp.widgets._head_names import heads_of
from interp.widgets._link import Shared

FEW = 8  # prompts of a task that means are taken over; as many as the head widget takes
WAYS = ("mean", "zero")


def _put(widget: Any, value: tuple[str, str]) -> dict[str, Any]:
    heads, by = value
    return {"ablated": heads, "ablated_by": by}


ABLATED = Shared(
    ("ablated", "ablated_by"), lambda widget: (widget.ablated, widget.ablated_by), _put
)


def ablated_words(state: dict) -> str:
    """What is ablated, for the page: "L20H0 (mean)", or ""."""
    return f"{state['ablated']} ({state['ablated_by']})" if state["ablated"].strip() else ""


class Ablation:
    """The interventions that ablate heads in one prompt, their reference runs kept."""

    def __init__(self, model: Model, task: Any) -> None:
        self._model, self._task, self._dims = model, task, bridge.dims(model)
        self._ready: dict[tuple[str | None, Any], runs.Setup] = {}

    def edits(self, prompt: int, text: str, ablated: str, by: str) -> list[Intervention]:
        """The interventions for a prompt of the task, or for the text (prompt -1); none for "".

        Raises:
            ValueError: If the text names no heads, or the prompt is none of those that the means
                are taken over.
        """
        heads = heads_of(ablated, self._dims)
        if by not in WAYS:
            raise ValueError(f"ablated_by={by!r}: heads are ablated here by 'mean' or 'zero'")
        if not heads:
            return []
        own = text if prompt == prompts.OWN else None
        if own is None and prompt >= FEW:
            raise ValueError(
                f"heads are ablated in the first {FEW} prompts of a task, prompt {prompt + 1} is"
                " none of them: choose one of those, or clear the ablated heads"
            )
        key = own, bridge.ready(self._model)
        if key not in self._ready:
            self._ready.clear()
            self._ready[key] = self._prepared(own)
        setup = self._ready[key]
        row = 0 if own is not None else prompt
        return runs._interventions(setup, row, heads, runs.source(setup, by), 0.0)

    def _prepared(self, text: str | None) -> runs.Setup:
        if text is None:
            few = self._task[: min(FEW, len(self._task))]
        else:
            few = runs.prompt_task(self._model, text)
        if len(few) > 1:
            return runs.prepare(self._model, few)
        length = few.clean.shape[1]
        return runs.prepare(self._model, few, lambda: runs.prose(self._model, length))
