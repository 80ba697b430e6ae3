"""Training small transformers: seeded, resumable, the same bits every time (`recipe`, `train`,
`train_seeds`, `runs`).
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
