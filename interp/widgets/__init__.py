"""Widgets: take a model apart with the mouse, in a notebook.

>>> interp.widgets.heads(model, task)                  # ablate heads and see what changes
>>> interp.widgets.heads(model, "The capital of France is")
>>> interp.widgets.attention(model, task, find="induction")    # what heads look at, and heads found by a score
>>> interp.widgets.lens(model, task)                   # what each layer would say
>>> interp.widgets.patching(model, task)               # which places carry the answer
>>> interp.widgets.circuit(scores, model, task)        # cut edges and see what is left
>>> interp.widgets.features(model, sae)                # latents of a dictionary: read their cards, edit them
>>> interp.widgets.training(result)                    # a measure, checkpoint by checkpoint
"""

from importlib import import_module

# No file is called like a function here: importing `interp.widgets.x` would put the module in the function's place.
_HOME = {
    "attention": "interp.widgets.head_patterns",
    "circuit": "interp.widgets.circuit_graph",
    "features": "interp.widgets.feature_browser",
    "heads": "interp.widgets.head_grid",
    "lens": "interp.widgets.lens_table",
    "patching": "interp.widgets.patch_map",
    "prompt_task": "interp.widgets._head_runs",
    "training": "interp.widgets.over_steps",
}

__all__ = [*_HOME]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    from interp._say import unknown

    raise AttributeError(str(unknown("widget", name, __all__)))


def __dir__():
    return __all__
