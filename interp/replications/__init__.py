"""What one published study alone needs, one module per study; tested, but not part of the toolkit.

| module | study |
| --- | --- |
| `loss_depth` | 02: at which depth something is lost, and the windows on either side |
| `write_regression` | 03: how much of a component's write is a weighted sum of earlier writes |
| `talking_heads` | 06: what passes from a head's write to a later head's query, by directions |
| `head_codes` | 08: heads found from sparse codes of what they write |
| `context_awareness` | 15: instructions that need a given passage, and others |
| `sink_calibration`, `calibration_items` | 12: heads whose attention is scaled, and four tasks |
| `two_parameter_icl` | 18: in-context learning with two parameters |
| `associative_memory`, `out_of_context_reasoning` | 20: what attention stores and factors infer |
| `task_embeddings` | 21: pairs of words, and heads found by learning to scale them |
| `feature_hierarchy` | 23: directions factorised again |
| `superposition_scaling` | 24: how the loss falls with the dimensions |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
