"""Small transformers: interchangeable parts, trained in seconds, every checkpoint open to the toolkit.

>>> from interp import toys
>>> model = toys.transformer(d_vocab=64, attention="sigmoid")     # random
>>> run = toys.trained("induction")                               # trained once, then loaded
>>> toys.over_training(run, toys.loss_on(batch)).plot()           # any measure, checkpoint by checkpoint
"""

from importlib import import_module

from interp._say import unknown

# No file is called like a function here: importing `interp.toys.x` would put the module in the function's place.
_HOME = {
    "RECIPES": "interp.toys.recipes",
    "Recipe": "interp.toys.recipe",
    "Run": "interp.toys.runs",
    "Spec": "interp.toys.spec",
    "in_context": "interp.toys.progress",
    "loss_on": "interp.toys.measures",
    "net": "interp.toys.model",
    "over_training": "interp.toys.measures",
    "right_on": "interp.toys.progress",
    "sinks_on": "interp.toys.sinks",
    "train": "interp.toys.trainer",
    "train_seeds": "interp.toys.seeds",
    "trained": "interp.toys.trainer",
    "transformer": "interp.toys.model",
    "two_parameters": "interp.toys.two_numbers",
}
_MODULES = ("data",)

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str):
    if name in _MODULES:
        return import_module(f"interp.toys.{name}")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(str(unknown("name in interp.toys", name, __all__)))


def __dir__():
    return __all__
