"""Numbers for claims, each with its interval: `auroc`, `cells`, `curves`, `rank_correlation`."""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
