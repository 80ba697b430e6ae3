"""Models: `load` one, list and fetch the local ones, or make a tiny random one.

>>> from interp import models
>>> model = models.load()                # the default, SmolLM2-135M-Instruct
>>> small = models.tiny("tiny-gpt2")     # three random layers in a tenth of a second
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
