"""The lean engine: the same model, the same numbers, without hook modules, and many edits in one
batch.

    engine = build(model)                               # or find(model): None where it does not
    apply base, source = run(engine, corrupted, SWEEP), run(engine, clean, SWEEP) heads =
    [Patch("z", l, h) for l in range(engine.n_layers) for h in range(engine.n_heads)] logits =
    sweep(engine, base, source, heads, columns(engine, answers))       # patch batch answer

It knows tokens, activations and weights; no task, no site, no plot.
"""

from interp.engine.adapters import ARCHITECTURES, build, find, parity, why_not
from interp.engine.backward_rules import GIM, RELP, Rules, with_rules
from interp.engine.edges import KEEP as EDGES
from interp.engine.edges import (
    Graph,
    Other,
    contract,
    cut_runs,
    graph,
    of_run,
    of_writes,
    slopes,
    writes,
)
from interp.engine.forward import KINDS, Run, embed, patterns, run, unembed
from interp.engine.gradients import NO_GRADIENT, gradients, gradients_dropping, stream_jacobian
from interp.engine.logit_readers import columns, residual, vocab
from interp.engine.patch import Patch, first_difference, zeros
from interp.engine.paths import KEEP as PATHS
from interp.engine.paths import THROUGH, paths
from interp.engine.rerun import again, ending, pattern
from interp.engine.sizes import MORE, budget_of, tokens_back, width
from interp.engine.sweep import ablate_sets, from_layer, sweep, watching
from interp.engine.weights import Engine

SWEEP = (
    "resid_pre",
    "k",
    "v",
    "z",
)  # what a run keeps to be the base of a sweep over heads and the stream

__all__ = [
    "ARCHITECTURES",
    "EDGES",
    "GIM",
    "KINDS",
    "MORE",
    "NO_GRADIENT",
    "PATHS",
    "RELP",
    "SWEEP",
    "THROUGH",
    "Engine",
    "Graph",
    "Other",
    "Patch",
    "Rules",
    "Run",
    "ablate_sets",
    "again",
    "budget_of",
    "build",
    "columns",
    "contract",
    "cut_runs",
    "embed",
    "ending",
    "find",
    "first_difference",
    "from_layer",
    "gradients",
    "gradients_dropping",
    "graph",
    "of_run",
    "of_writes",
    "parity",
    "paths",
    "pattern",
    "patterns",
    "residual",
    "run",
    "slopes",
    "stream_jacobian",
    "sweep",
    "tokens_back",
    "unembed",
    "vocab",
    "watching",
    "width",
    "why_not",
    "with_rules",
    "writes",
    "zeros",
]
