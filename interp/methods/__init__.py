"""Techniques, one a file: each is `verb(model, task or tokens, where, *, options) -> Result`."""

from interp.methods.ablation import ablate
from interp.methods.attention import attends, attention_patterns
from interp.methods.attribution import logit_attribution
from interp.methods.attribution_patching import attribution_patch
from interp.methods.circuit_agreement import agreement, roc, stability
from interp.methods.comparing import compare
from interp.methods.composition_scores import composition
from interp.methods.controls import random_heads, random_tokens
from interp.methods.curves import area, faithfulness_curve
from interp.methods.discovery import discover
from interp.methods.effects import effect
from interp.methods.estimates import attribution_error
from interp.methods.evaluation import evaluate, judged, minimality, random_circuits
from interp.methods.generate_text import generate
from interp.methods.knockout import attention_knockout
from interp.methods.lens import logit_lens
from interp.methods.loss import cross_entropy
from interp.methods.loss_depths import loss_depth, split_windows
from interp.methods.matched_kl import match_kl, word_gain
from interp.methods.measures import Measure, attention_to, kl_to, text_loss
from interp.methods.overlaps import overlap, role_score
from interp.methods.patched_logits import logits_when_patched
from interp.methods.patching import patch
from interp.methods.patchscopes import patchscope
from interp.methods.path_patching import path_patch
from interp.methods.pattern_maps import distance_profile, explained, pattern_space
from interp.methods.ranked import ranked_ablation
from interp.methods.regression import write_regression
from interp.methods.scores import head_scores, repeated_tokens
from interp.methods.sets import greedy_ablation, pairwise_ablation
from interp.methods.sinks import attention_received, site_norms
from interp.methods.soft_injections import injection, soft_injection
from interp.methods.steering import (
    Direction,
    difference_of_means,
    function_vector,
    side_effect,
    steer,
    task_vector,
)
from interp.methods.stream import stream_norms
from interp.methods.token_sets import token_set, token_sets
from interp.methods.tracing import causal_trace
from interp.methods.tuned import tuned_lens
from interp.methods.weights import ov_readout, qk_readout
from interp.methods.writes import write_lens

__all__ = [
    "Direction",
    "Measure",
    "ablate",
    "agreement",
    "area",
    "attends",
    "attention_knockout",
    "attention_patterns",
    "attention_received",
    "attention_to",
    "attribution_error",
    "attribution_patch",
    "causal_trace",
    "compare",
    "composition",
    "cross_entropy",
    "difference_of_means",
    "discover",
    "distance_profile",
    "effect",
    "evaluate",
    "explained",
    "faithfulness_curve",
    "function_vector",
    "generate",
    "greedy_ablation",
    "head_scores",
    "injection",
    "judged",
    "kl_to",
    "logit_attribution",
    "logit_lens",
    "logits_when_patched",
    "loss_depth",
    "match_kl",
    "minimality",
    "ov_readout",
    "overlap",
    "pairwise_ablation",
    "patch",
    "patchscope",
    "path_patch",
    "pattern_space",
    "qk_readout",
    "random_circuits",
    "random_heads",
    "random_tokens",
    "ranked_ablation",
    "repeated_tokens",
    "roc",
    "role_score",
    "side_effect",
    "site_norms",
    "soft_injection",
    "split_windows",
    "stability",
    "steer",
    "stream_norms",
    "task_vector",
    "text_loss",
    "token_set",
    "token_sets",
    "tuned_lens",
    "word_gain",
    "write_lens",
    "write_regression",
]
