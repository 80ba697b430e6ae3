"""Texts where no hub is needed: documentation every installation has, prose of our own, local
files.

>>> docs = interp.texts.documentation()       # docstrings of Python and of what interp needs
>>> tokens = interp.texts.chunks(model, docs, length=128, n=64, split="find")
>>> interp.methods.text.cross_entropy(model, tokens)
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
