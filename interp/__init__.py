"""Mechanistic interpretability in a notebook: patching, circuits, lenses and head scores over
TransformerLens.

>>> import interp
>>> model = interp.load()
>>> task = interp.tasks.ioi(model, n=32)
>>> interp.patch(model, task, "L*H*").plot()
"""

import os
import sys

from interp._lazy import attach

# Threads that wait by spinning make a busy two-core machine ten times slower; read by OpenMP when
# torch loads.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(__name__)
