"""What one published study alone needs: a module a study. Tested, but no part of the toolkit's API.

| module | study |
| --- | --- |
| `write_regression` | 03: how much of what a component writes is a weighted sum of earlier writes |
| `loss_depth` | 02: at which depth something is lost, and the windows on either side |
| `head_codes` | 08: heads found from sparse codes of what they write |
| `two_parameter_icl` | 18: in-context learning with two parameters |
| `associative_memory`, `out_of_context_reasoning` | 20: what attention stores, and what factors infer |
| `feature_hierarchy` | 23: directions factorised again |
| `superposition_scaling` | 24: how the loss falls with the dimensions |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
