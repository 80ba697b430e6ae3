from interp.features import crosscoders as crosscoders
from interp.features import evaluation as evaluation
from interp.features import factorisation as factorisation
from interp.features import graphs as graphs
from interp.features import training as training
from interp.features.activations import Activations as Activations
from interp.features.activations import activations as activations
from interp.features.cards.card_html import page as page
from interp.features.cards.cards import Card as Card
from interp.features.cards.cards import card as card
from interp.features.cards.cards import cards as cards
from interp.features.cards.describe import describe as describe
from interp.features.cards.firings import Firings as Firings
from interp.features.cards.firings import firings as firings
from interp.features.cards.latent_tokens import latent_tokens as latent_tokens
from interp.features.circuits.faithfulness import faithfulness as faithfulness
from interp.features.circuits.feature_circuit import FeatureCircuit as FeatureCircuit
from interp.features.circuits.feature_circuit import circuit as circuit
from interp.features.circuits.latent_attribution import latent_attribution as latent_attribution
from interp.features.crosscoders.cross_layer_transcoder import (
    CrossLayerTranscoder as CrossLayerTranscoder,
)
from interp.features.crosscoders.crosscoder import Crosscoder as Crosscoder
from interp.features.crosscoders.train_cross_layer_transcoder import (
    train_cross_layer_transcoder as train_cross_layer_transcoder,
)
from interp.features.crosscoders.train_crosscoder import train_crosscoder as train_crosscoder
from interp.features.dictionary import Dictionary as Dictionary
from interp.features.evaluation.absorption import absorption as absorption
from interp.features.evaluation.absorption import first_letters as first_letters
from interp.features.evaluation.baselines import baselines as baselines
from interp.features.evaluation.baselines import identity as identity
from interp.features.evaluation.baselines import mean_differences as mean_differences
from interp.features.evaluation.baselines import random_sparse as random_sparse
from interp.features.evaluation.concept_detection import concept_detection as concept_detection
from interp.features.evaluation.concept_detection import concept_of as concept_of
from interp.features.evaluation.dark_matter import error_losses as error_losses
from interp.features.evaluation.dark_matter import error_norms as error_norms
from interp.features.evaluation.dark_matter import nonlinear_share as nonlinear_share
from interp.features.evaluation.dark_matter import predict_error as predict_error
from interp.features.evaluation.dark_matter import split_error as split_error
from interp.features.evaluation.evaluate import evaluate as evaluate
from interp.features.evaluation.gradient_pursuit import gradient_pursuit as gradient_pursuit
from interp.features.evaluation.gradient_pursuit import (
    with_gradient_pursuit as with_gradient_pursuit,
)
from interp.features.evaluation.latent_usage import densities as densities
from interp.features.evaluation.latent_usage import (
    l0_difficulty_correlation as l0_difficulty_correlation,
)
from interp.features.evaluation.pareto import pareto as pareto
from interp.features.evaluation.probing import (
    matched_cosine_similarity as matched_cosine_similarity,
)
from interp.features.evaluation.probing import probe as probe
from interp.features.evaluation.synthetic import Synthetic as Synthetic
from interp.features.evaluation.synthetic import synthetic as synthetic
from interp.features.evaluation.table import table as table
from interp.features.evaluation.write_saebench import write_saebench as write_saebench
from interp.features.factorisation.factorise import factorise as factorise
from interp.features.graphs.attribution_graph import AttributionGraph as AttributionGraph
from interp.features.graphs.graph import graph as graph
from interp.features.interventions import ablate as ablate
from interp.features.interventions import clamp as clamp
from interp.features.interventions import steer as steer
from interp.features.latent_steering import latent_gain as latent_gain
from interp.features.loading.check import check as check
from interp.features.loading.from_sae import from_sae as from_sae
from interp.features.loading.load import load as load
from interp.features.loading.load_all import load_all as load_all
from interp.features.prompt_activations import PromptActivations as PromptActivations
from interp.features.prompt_activations import prompt_activations as prompt_activations
from interp.features.training.train import train as train
from interp.features.training.train_cache import cache_folder as cache_folder
from interp.features.training.train_cache import load_or_train as load_or_train
from interp.features.training.transcoders import train_transcoders as train_transcoders
