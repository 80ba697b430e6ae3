"""Features: dictionaries of directions that activations are written in, trained, loaded, judged and compared.

>>> from interp import features
>>> sae = features.train(model, "resid_post.15", kind="topk", width=2304, k=32, tokens=300_000)
>>> features.judge(model, sae)
>>> sae.save("sae"); features.load("sae", model=model)

Every kind (sparse autoencoders of sae-lens, transcoders, factorisations) is one noun, `Dictionary`.
"""

from interp.features.comparing import probe, recovery
from interp.features.dark_matter import error_losses, error_norms, nonlinear_share, predict_error, split_error
from interp.features.dictionary import Dictionary
from interp.features.editing import ablate, clamp, steer
from interp.features.floors import baselines, identity
from interp.features.gradient_pursuit import pursue, pursued
from interp.features.harvesting import Activations, activations
from interp.features.judging import judge, pareto, table
from interp.features.keeping import kept_in, trained
from interp.features.known import Synthetic, synthetic
from interp.features.loading import check, from_sae, load
from interp.features.training import train
from interp.features.usage import adaptivity, densities

__all__ = [
    "Activations", "Dictionary", "Synthetic", "ablate", "activations", "adaptivity", "baselines", "check", "clamp", "densities",
    "error_losses", "error_norms", "from_sae", "identity", "judge", "kept_in", "load", "nonlinear_share", "pareto", "predict_error", "probe", "pursue", "pursued",
    "recovery", "split_error", "steer", "synthetic", "table", "train", "trained",
]  # fmt: skip
