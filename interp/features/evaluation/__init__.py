"""How far a dictionary can be trusted, beside baselines that any dictionary must beat.

| question | file |
| --- | --- |
| what it keeps, and what that costs the model | `evaluate`, `table`, `pareto` |
| the same as SAEBench's files | `write_saebench` |
| how that is measured | `measures`, `spliced_loss` |
| baselines: random directions, principal components, means of classes | `baselines` |
| does it recover known directions | `synthetic`, `probing` |
| do single latents detect concepts | `concept_detection` |
| latents that are off because a narrower latent is on | `absorption` |
| what it leaves out | `dark_matter`, `gradient_pursuit` |
| how it uses its latents | `latent_usage` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
