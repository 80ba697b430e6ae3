"""Training dictionaries with sae-lens' classes, resumable, on activations that are computed once.

| question | file |
| --- | --- |
| train one | `train` |
| which kinds there are | `architectures`, `mutual_choice` |
| train once, then read from the cache | `train_cache` |
| stop and continue | `train_checkpoint` |
| why it is fast | `topk_step` |
| how often latents should be on | `zipf` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
