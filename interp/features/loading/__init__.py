"""Dictionaries made elsewhere, and whether they fit a model.

| question | file |
| --- | --- |
| the dictionary in a folder or a file, or of a sae-lens release | `load` |
| all dictionaries of a folder | `load_all` |
| the dictionary of a sae-lens object | `from_sae` |
| does it fit this model | `check` |
| what a tool's files hold: one file a tool, one row of `FORMATS` | `formats/` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
