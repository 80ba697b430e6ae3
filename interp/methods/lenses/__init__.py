"""What is in the stream, read as logits.

| question | file |
| --- | --- |
| what each layer would say | `logit_lens`, `tuned_lens`, `jacobian_lens` |
| what one component's write says | `write_lens` |
| who writes the answer | `logit_attribution` |
| what a vector means to the model in another prompt | `patchscope` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
