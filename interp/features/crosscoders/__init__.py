"""Crosscoders: one set of latents for two models, to find what one of them has and the other not,
or for several layers of one.

| question | file |
| --- | --- |
| latents of two models, and which belong to one alone | `crosscoder` |
| how they are trained | `train_crosscoder` |
| latents that write to the MLPs of several layers | `cross_layer_transcoder` |
| how those are trained | `train_cross_layer_transcoder` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
