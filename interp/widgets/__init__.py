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

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
