"""Features: dictionaries of directions that activations are written in, trained, loaded, judged and compared.

>>> from interp import features
>>> sae = features.train(model, "resid_post.15", kind="topk", width=2304, k=32, tokens=300_000)
>>> features.judge(model, sae)
>>> sae.save("sae"); features.load("sae", model=model)

Every kind (sparse autoencoders of sae-lens, transcoders, factorisations) is one noun, `Dictionary`.
"""

from interp.features.absorbing import absorption, first_letters
from interp.features.attributing import attribution
from interp.features.card_html import page
from interp.features.coded_heads import Codes, code_heads, code_pairs, head_codes
from interp.features.comparing import probe, recovery
from interp.features.dark_matter import (
    error_losses,
    error_norms,
    nonlinear_share,
    predict_error,
    split_error,
)
from interp.features.detecting import concept_of, detect, mean_differences, random_sparse
from interp.features.dictionary import Dictionary
from interp.features.editing import ablate, clamp, steer
from interp.features.factorising import factorise
from interp.features.faithful import faithfulness
from interp.features.feature_cards import Card, card, cards
from interp.features.feature_circuits import FeatureCircuit, circuit
from interp.features.firing import Firings, firings
from interp.features.floors import baselines, identity
from interp.features.gradient_pursuit import pursue, pursued
from interp.features.harvesting import Activations, activations
from interp.features.judging import judge, pareto, table
from interp.features.keeping import kept_in, trained
from interp.features.known import Synthetic, synthetic
from interp.features.labelling import labelled
from interp.features.loading import check, from_sae, load
from interp.features.merging import hierarchy, shared_neurons, within_and_across
from interp.features.pushing import latent_gain
from interp.features.reading import Prompted, read_prompts
from interp.features.training import train
from interp.features.usage import adaptivity, densities
from interp.features.wording import describe

__all__ = [
    "Activations",
    "Card",
    "Codes",
    "Dictionary",
    "FeatureCircuit",
    "Firings",
    "Prompted",
    "Synthetic",
    "ablate",
    "absorption",
    "activations",
    "adaptivity",
    "attribution",
    "baselines",
    "card",
    "cards",
    "check",
    "circuit",
    "clamp",
    "code_heads",
    "code_pairs",
    "concept_of",
    "densities",
    "describe",
    "detect",
    "error_losses",
    "error_norms",
    "factorise",
    "faithfulness",
    "firings",
    "first_letters",
    "from_sae",
    "head_codes",
    "hierarchy",
    "identity",
    "judge",
    "kept_in",
    "labelled",
    "latent_gain",
    "load",
    "mean_differences",
    "nonlinear_share",
    "page",
    "pareto",
    "predict_error",
    "probe",
    "pursue",
    "pursued",
    "random_sparse",
    "read_prompts",
    "recovery",
    "shared_neurons",
    "split_error",
    "steer",
    "synthetic",
    "table",
    "train",
    "trained",
    "within_and_across",
]
