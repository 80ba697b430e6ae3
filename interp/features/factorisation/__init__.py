"""Dictionaries from factorising activations: `factorise` (semi-NMF), over `nonnegative` least
squares.
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
