"""The small transformer: its options (`spec`), its modules (`parts`), and `transformer`."""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
