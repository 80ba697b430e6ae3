"""From a percent source to a built notebook, and what is made of it.

| question | file |
| --- | --- |
| read a source, give it parameters | `source` |
| begin one of your own | `new` |
| build, check, pull edits back | `build` |
| execute in a clean kernel | `run` |
| one HTML page | `page` |
| what a notebook must be | `lint` |
| the learner's version | `exercises` |
| the table of all studies | `scoreboard` |
| the first page, with every notebook | `index` |
| where notebooks are | `paths` |
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
