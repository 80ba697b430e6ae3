"""What can be read off activations by a linear classifier, beside what any classifier could.

| question | function |
| --- | --- |
| where can a label be read, better than the controls | `probe` |
| along which direction | `probe_direction` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
