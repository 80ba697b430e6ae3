"""What the methods share: sweeps by the engine or by hooks, gradients, batches, resuming, metrics,
controls.
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
