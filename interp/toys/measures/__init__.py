"""Measures over training, by checkpoint: `over_training`, `icl_measures`, `sink_measures`."""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
