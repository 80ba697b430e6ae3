"""Mechanistic interpretability in a notebook: patching, circuits, lenses and head scores over TransformerLens.

>>> import interp
>>> model = interp.load()
>>> task = interp.tasks.ioi(model, n=32)
>>> interp.patch(model, task, "L*H*").plot()
"""

import os
import sys
from importlib import import_module

# Threads that wait by spinning make a busy two-core machine ten times slower; read by OpenMP when torch loads.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

# Public name -> the module that holds it. Loaded on first use, so that `import interp` stays quick.
_HOME = {
    "load": "interp.models",
    "Site": "interp.sites",
    "Intervention": "interp.interventions",
    "run": "interp.interventions",
    "Result": "interp.results",
    "Task": "interp.tasks",
    "patch": "interp.methods.patching",
    "path_patch": "interp.methods.path_patching",
    "Circuit": "interp.circuits",
    "ablate": "interp.methods.ablation",
    "agreement": "interp.methods.circuit_agreement",
    "area": "interp.methods.curves",
    "causal_trace": "interp.methods.tracing",
    "loss_depth": "interp.methods.loss_depths",
    "logit_lens": "interp.methods.lens",
    "logit_attribution": "interp.methods.attribution",
    "attribution_error": "interp.methods.estimates",
    "attribution_patch": "interp.methods.attribution_patching",
    "attention_patterns": "interp.methods.attention",
    "attention_knockout": "interp.methods.knockout",
    "effect": "interp.methods.effects",
    "token_set": "interp.methods.token_sets",
    "attends": "interp.methods.attention",
    "attention_received": "interp.methods.sinks",
    "Direction": "interp.methods.steering",
    "Circuit": "interp.circuits",
    "compare": "interp.methods.comparing",
    "composition": "interp.methods.composition_scores",
    "cross_entropy": "interp.methods.loss",
    "difference_of_means": "interp.methods.steering",
    "discover": "interp.methods.discovery",
    "distance_profile": "interp.methods.pattern_maps",
    "evaluate": "interp.methods.evaluation",
    "explained": "interp.methods.pattern_maps",
    "faithfulness_curve": "interp.methods.curves",
    "function_vector": "interp.methods.steering",
    "generate": "interp.methods.generate_text",
    "greedy_ablation": "interp.methods.sets",
    "head_scores": "interp.methods.scores",
    "injection": "interp.methods.soft_injections",
    "judged": "interp.methods.evaluation",
    "kl_to": "interp.methods.measures",
    "match_kl": "interp.methods.matched_kl",
    "minimality": "interp.methods.evaluation",
    "ov_readout": "interp.methods.weights",
    "overlap": "interp.methods.overlaps",
    "pairwise_ablation": "interp.methods.sets",
    "pattern_space": "interp.methods.pattern_maps",
    "patchscope": "interp.methods.patchscopes",
    "qk_readout": "interp.methods.weights",
    "random_circuits": "interp.methods.evaluation",
    "random_heads": "interp.methods.controls",
    "random_tokens": "interp.methods.controls",
    "ranked_ablation": "interp.methods.ranked",
    "roc": "interp.methods.circuit_agreement",
    "role_score": "interp.methods.overlaps",
    "site_norms": "interp.methods.sinks",
    "side_effect": "interp.methods.steering",
    "soft_injection": "interp.methods.soft_injections",
    "split_windows": "interp.methods.loss_depths",
    "stability": "interp.methods.circuit_agreement",
    "steer": "interp.methods.steering",
    "stream_norms": "interp.methods.stream",
    "task_vector": "interp.methods.steering",
    "text_loss": "interp.methods.measures",
    "tuned_lens": "interp.methods.tuned",
    "word_gain": "interp.methods.matched_kl",
    "write_lens": "interp.methods.writes",
    "write_regression": "interp.methods.regression",
}
_MODULES = (
    "models",
    "sites",
    "edits",
    "interventions",
    "results",
    "plots",
    "texts",
    "tasks",
    "circuits",
    "methods",
    "toys",
    "features",
    "widgets",
    "studies",
    "engine",
)

__all__ = [*_HOME, *_MODULES, "__version__"]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _MODULES:
        return import_module(f"interp.{name}")
    from interp._say import unknown

    raise AttributeError(str(unknown("name in interp", name, __all__)))


def __dir__():
    return __all__
