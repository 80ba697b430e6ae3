"""How far a dictionary can be trusted, beside what any dictionary must beat.

| question | file |
| --- | --- |
| what it keeps, and what that costs the model | `evaluate` |
| random directions and principal components as baselines | `baselines` |
| does it find known directions again | `synthetic`, `probing` |
| do single latents tell concepts | `concept_detection` |
| latents that go silent where a narrower one speaks | `absorption` |
| what it leaves out | `dark_matter`, `gradient_pursuit` |
| how it spends its latents | `latent_usage` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
