"""Pushing the model: directions, and what they do and cost.

| question | file |
| --- | --- |
| a direction, and how it is found | `direction` |
| the model pushed along it: the effect, and the side effect | `steer` |
| the text it then writes | `generate` |
| several directions at once, or pushes of equal size | `soft_injection`, `matched_kl` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
