"""What each tool's files hold. A format is a module here and a place in `FORMATS`: `HOLDS` says in
words what a folder needs, `finds(path)` whether it is there, `read(path, where)` gives the
dictionary, and `within(path)`, where a folder holds several, where each is.
"""

from interp.features.loading.formats import (
    circuit_tracer,
    dictionary_learning,
    gemma_scope,
    gemma_scope_2,
    interp_folder,
    sae_lens,
    sparsify,
)

FORMATS = (
    interp_folder,
    sae_lens,
    dictionary_learning,
    sparsify,
    gemma_scope,
    gemma_scope_2,
    circuit_tracer,
)
