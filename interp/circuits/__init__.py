"""Circuits as data: a set of edges with the model, the task and the source they belong to.

    circuit = Circuit.top(scores, 500).prune()
    circuit & other, circuit - other, circuit.jaccard(other)
    circuit.save("circuits/smollm2-135m/ioi/eap-ig.json")
    circuit.plot(); plot_diff(circuit, other)
    read("importances.pt", model); write("graph.json", circuit, model)     # other tools' files

Nothing here runs a model: the methods find circuits and evaluate them.
"""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__)
