"""Training small transformers, resumable, with the same bits every time.

| question | file |
| --- | --- |
| what a training depends on | `recipe`, `recipes` |
| train, or load what was trained before | `train`, `train_seeds` |
| what a training leaves behind | `runs` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
