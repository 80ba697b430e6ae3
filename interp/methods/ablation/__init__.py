"""What is lost without a part.

| question | file |
| --- | --- |
| parts removed one by one | `ablate` |
| the best set to remove, and pairs that stand in for each other | `joint_ablation` |
| a ranking removed from the top | `ranked_ablation` |
| some tokens may not look at others | `attention_knockout`, `token_sets` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
