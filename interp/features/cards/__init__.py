"""Feature cards: what one latent stands for, as far as a text and the weights can tell.

| question | file |
| --- | --- |
| where a latent is on | `firings` |
| its card, as a value | `cards` |
| the card as HTML or as a figure | `card_html`, `card_figure` |
| in a few words | `describe`, `latent_tokens` |
| the effect of its direction on the logits | `logit_effects` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
