"""Techniques, one a file, in the folder of the question: each is `verb(model, task or text, where,
*, options) -> Result`.

| question | folder |
| --- | --- |
| which parts cause the answer | `patching` |
| what is lost without a part | `ablation` |
| what is in the stream | `lenses` |
| what can be read off it | `probing` |
| what heads look at | `attention` |
| what the weights say | `weights` |
| push the model | `steering` |
| which edges make a circuit | `circuits` |
| the loss on text | `text` |
| what all of them share | `runs` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
