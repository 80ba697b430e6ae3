"""Crosscoders: one set of latents for two models, to find what one of them has and the other not.

| question | file |
| --- | --- |
| latents of two models, and which belong to one alone | `crosscoder` |
| how they are trained | `train_crosscoder` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
