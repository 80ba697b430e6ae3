"""Features: dictionaries of directions that activations are sums of, trained, loaded and evaluated.

>>> from interp import features
>>> sae = features.train(model, "resid_post.15", kind="topk", width=2304, k=32, tokens=300_000)
>>> features.evaluate(model, sae)
>>> sae.save("sae"); features.load("sae", model=model)

Sparse autoencoders (sae-lens' kinds), transcoders and factorisations are one noun, `Dictionary`.
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
