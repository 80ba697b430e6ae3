"""Training dictionaries with sae-lens' classes, resumable, on activations that are made once.

| question | file |
| --- | --- |
| train one | `train` |
| which kinds there are | `architectures`, `mutual_choice` |
| train once, read from the cache after | `train_cache` |
| stop and go on | `train_checkpoint` |
| why it is fast | `topk_step` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
