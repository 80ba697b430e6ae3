"""The `interp` command: `main`, and `circuits` for discover, evaluate and compare."""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
