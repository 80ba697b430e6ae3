"""Dictionaries by factorising activations: `factorise` (semi-NMF), over `nonnegative` solvers."""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
