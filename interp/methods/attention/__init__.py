"""What heads look at.

| question | file |
| --- | --- |
| the patterns themselves | `attention_patterns` |
| which head is an induction, previous-token, retrieval, sink ... head | `head_scores` |
| positions that draw attention from everywhere | `attention_sinks`, `residual_norms` |
| every head of a model on one page | `pattern_maps` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
