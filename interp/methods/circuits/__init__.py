"""From scores of edges to a circuit, and how good it is.

| question | file |
| --- | --- |
| a score for every edge | `discovery/`, one method a file |
| how faithful a circuit is, and what random ones get | `evaluate`, `faithfulness_curve` |
| how far two methods, seeds or tasks agree | `agreement`, `head_overlap` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
