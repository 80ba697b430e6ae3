"""Features: dictionaries of directions that activations are written in, trained, loaded, judged and compared.

>>> from interp import features
>>> sae = features.train(model, "resid_post.15", kind="topk", width=2304, k=32, tokens=300_000)
>>> features.judge(model, sae)
>>> sae.save("sae"); features.load("sae", model=model)

Every kind (sparse autoencoders of sae-lens, transcoders, factorisations) is one noun, `Dictionary`.
"""

from interp.features.comparing import probe, recovery
from interp.features.detecting import concept_of, detect, mean_differences, random_sparse
from interp.features.dictionary import Dictionary
from interp.features.editing import ablate, clamp, steer
from interp.features.factorising import factorise
from interp.features.floors import baselines, identity
from interp.features.harvesting import Activations, activations
from interp.features.judging import judge, pareto, table
from interp.features.known import Synthetic, synthetic
from interp.features.loading import check, from_sae, load
from interp.features.merging import hierarchy, shared_neurons, within_and_across
from interp.features.pushing import latent_gain
from interp.features.reading import Prompted, read_prompts
from interp.features.training import train

__all__ = [
    "Activations", "Dictionary", "Prompted", "Synthetic", "ablate", "activations", "baselines", "check", "clamp", "concept_of", "detect",
    "factorise", "from_sae", "hierarchy", "identity", "judge", "latent_gain", "load", "mean_differences", "pareto", "probe",
    "random_sparse", "read_prompts", "recovery", "shared_neurons", "steer", "synthetic", "table", "train", "within_and_across",
]  # fmt: skip
