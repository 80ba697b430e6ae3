"""Models: `load` one, list and fetch the local ones, or make a tiny random one.

>>> from interp import models
>>> model = models.load()                # the default, SmolLM2-135M-Instruct
>>> small = models.tiny("tiny-gpt2")     # three random layers in a tenth of a second
"""

from importlib import import_module

# No file is called like a function here: importing `interp.models.x` would put the module in the function's place.
_HOME = {
    "load": "interp.models.loading",
    "table": "interp.models.local",
    "fetch": "interp.models.local",
    "remove": "interp.models.local",
    "cache": "interp.models.local",
    "DEFAULT": "interp.models.local",
    "tiny": "interp.models.tiny_models",
    "TINY": "interp.models.tiny_models",
    "check": "interp.models.checks",
}
_MODULES = ("bridge", "local")

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str):
    if name in _MODULES:
        return import_module(f"interp.models.{name}")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    from interp._say import unknown

    raise AttributeError(str(unknown("name in interp.models", name, __all__)))


def __dir__():
    return __all__
