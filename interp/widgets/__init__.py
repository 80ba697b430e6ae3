"""Widgets: take a model apart with the mouse, in a notebook.

>>> interp.widgets.explore(model, task)                # all of them in one panel
>>> interp.widgets.heads(model, task)                  # ablate heads and see what changes
>>> interp.widgets.heads(model, "The capital of France is")
>>> interp.widgets.attention(model, task, find="induction")    # what heads attend to
>>> interp.widgets.lens(model, task)                   # what each layer would predict
>>> interp.widgets.patching(model, task)               # which sites carry the answer
>>> interp.widgets.circuit(scores, model, task)        # cut edges and see what is left
>>> interp.widgets.features(model, sae)                # read cards of latents, edit latents
>>> interp.widgets.graph(graph, model)                 # read an attribution graph, clamp nodes
>>> interp.widgets.training(result)                    # a measure, checkpoint by checkpoint
>>> interp.widgets.link(a, b)                          # two that follow each other
>>> interp.widgets.restore(widget, "homework.ipynb")   # as it was left when that file was saved
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
