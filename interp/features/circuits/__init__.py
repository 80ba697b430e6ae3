"""Which latents matter for a task, and how they are connected.

| question | file |
| --- | --- |
| what each latent does for the task | `latent_attribution` |
| a circuit of latents and errors, and its picture | `feature_circuit`, `drawing` |
| how much of the behaviour it keeps | `faithfulness` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
