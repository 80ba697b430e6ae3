"""Training a loaded model further, and what changed.

| question | file |
| --- | --- |
| train it on prompts or texts | `finetune` |
| the trained model, its before-and-after sheet, the file it is kept in | `finetuned` |
| what is trained: all weights, LoRA, offsets of heads | `changes` |
| which tokens the loss is of | `examples` |
| before and after | `sheet` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
