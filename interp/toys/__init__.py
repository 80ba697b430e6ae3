"""Small transformers with interchangeable parts, trained in seconds, every checkpoint at hand.

>>> from interp import toys
>>> model = toys.transformer(d_vocab=64, attention="sigmoid")     # random weights
>>> run = toys.load_or_train("induction")                         # trained once, then loaded
>>> toys.over_training(run, toys.loss_on(batch)).plot()           # any measure, by checkpoint
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
