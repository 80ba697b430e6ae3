"""Which parts cause the answer.

| question | file |
| --- | --- |
| one run's activation put into the other run | `patch` |
| only along one path | `path_patch` |
| all sites at once, estimated from gradients | `attribution_patch` |
| how wrong the estimate is | `attribution_error` |
| noise on the subject, then restore | `causal_trace` |
| any interventions of your own | `effect` |
| the whole prediction of a patched run | `patched_logits` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
