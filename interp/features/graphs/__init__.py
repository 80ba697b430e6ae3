"""Attribution graphs: what one prompt's answer was made of, through the latents of dictionaries.

| question | file |
| --- | --- |
| the graph of a prompt | `graph` |
| the graph itself: pruning, scores, files | `attribution_graph`, `graph_files` |
| direct effects with attention patterns and norm scales held | `direct_effects` |
| does the model do what the graph says | `intervene` |
| its picture | `drawing` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
