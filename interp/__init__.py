"""Mechanistic interpretability in a notebook: patching, circuits, lenses and head scores over
TransformerLens.

>>> import interp
>>> model = interp.load()
>>> task = interp.tasks.ioi(model, n=32)
>>> interp.patch(model, task, "L*H*").plot()
"""

import os
import sys

from interp._lazy import attach, described

# Threads that wait by spinning make a busy two-core machine ten times slower; read by OpenMP when
# torch loads.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.2.0"

__getattr__, _, __all__ = attach(__name__)

# What `interp` on the last line of a cell says, and what completion offers.
_GROUPS = {
    "start": "load generate chat run find tasks widgets",
    "cause": "patch path_patch attribution_patch causal_trace ablate attention_knockout attribute"
    " interchange align effect",
    "read": "logit_lens tuned_lens jacobian_lens logit_attribution attention_patterns head_scores"
    " patchscope probe",
    "circuits": "discover evaluate faithfulness_curve circuits",
    "push": "steer features",
    "train and study": "finetune toys studies workshop texts",
    "many points": "over scale",
    "types": "Site Intervention Task Result Circuit Direction Subspace",
    "everything else": "methods models sites",
}


def __dir__() -> list[str]:
    """What a session needs; the other parts of the package are imported by their names."""
    return sorted(name for group in _GROUPS.values() for name in group.split())


def _says() -> str:
    lines = [f"  {group:<16} {', '.join(text.split())}" for group, text in _GROUPS.items()]
    return "\n".join([f"interp {__version__}; interp.find('knock out') searches", *lines])


described(__name__, _says)
