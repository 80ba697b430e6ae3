"""Attribution graphs: what one prompt's answer was made of, through the latents of dictionaries.

| question | file |
| --- | --- |
| the graph of a prompt | `graph` |
| the dictionaries on the prompt, the logits explained | `prompt_parts`, `logit_nodes` |
| the graph itself: pruning, files | `attribution_graph`, `graph_files` |
| how much comes from each node, and the scores | `influence` |
| direct effects with attention patterns and norm scales held | `direct_effects` |
| does the model do what the graph says | `intervene` |
| its picture | `drawing` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
