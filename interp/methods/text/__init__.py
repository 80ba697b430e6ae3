"""The model's loss on text: `cross_entropy`, `token_losses`."""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
