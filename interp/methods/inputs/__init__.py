"""Which tokens of the prompt an answer is due to: gradients, tokens taken away, attention.

| question | file |
| --- | --- |
| how much of the answer is due to each token | `attribute` |
| what stands in a token's place | `baselines` |
| from gradients at the embeddings | `token_gradients` |
| from runs without some tokens | `token_removal` |
| from attention weights alone | `token_attention` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
