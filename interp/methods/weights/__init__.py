"""What the weights alone say: `ov_qk` (what a head copies or matches), `composition` (which heads
talk to which).
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
