"""The `interp` command: `main` holds the parser, and each command has a file of its own."""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
