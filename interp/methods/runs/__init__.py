"""What the methods share: sweeps, gradients, batches, checkpoints, metrics, random controls."""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
