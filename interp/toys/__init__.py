"""Small transformers: interchangeable parts, trained in seconds, every checkpoint open to the
toolkit.

>>> from interp import toys
>>> model = toys.transformer(d_vocab=64, attention="sigmoid")     # random
>>> run = toys.load_or_train("induction")                               # trained once, then loaded
>>> toys.over_training(run, toys.loss_on(batch)).plot()           # any measure, checkpoint by checkpoint
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
