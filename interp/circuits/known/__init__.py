"""Models whose circuit is certain, so that a discovery method can be marked right or wrong.

How they are built: interp.circuits.known.build.
"""

from typing import Any

from interp._errors import unknown
from interp.circuits.circuit import Circuit
from interp.circuits.known import build
from interp.circuits.known.models import every
from interp.dims import Graph
from interp.models.bridge import dims
from interp.tasks.task import Task

KNOWN = every()


def known(name: str, n: int = 16, seed: int = 0) -> tuple[Any, Task, Circuit]:
    """A model with hand-written weights, a task that it does, and the circuit that does it.

    Example:
        >>> model, task, circuit = interp.circuits.known("induction")
        >>> list(circuit)[:3]
        [('embed', 'L0KV2.v_in'), ('embed', 'L1H1.q_in'), ('L0H2', 'L1KV1.k_in')]

    Args:
        name: "induction": GPT-2-like, 2 layers; ... A B ... A is continued with B by a previous
            token head and an induction head. "inhibition": GPT-2-like, 3 layers; of two names one
            comes again, the other is the answer: a head notes the duplicate, a second brings it to
            the end, where it keeps a third from copying that name (a small IOI). "relay":
            Llama-like, 3 layers, 2 query heads to a KV head; the token five back is moved by a
            head, looked up by an MLP, and moved again (the answer is the word after it in the list;
            nothing passes through queries or keys). "previous": GPT-2-like, 2 layers; the word
            before is repeated, by a previous token head and a copying head. "duplicate",
            "frac_prevs", "reverse": GPT-2-like, 2 layers, examples of compiled programs in Tracr:
            whether the last word came before; how much of all so far is "ram", in eighths; words in
            reverse order after "ram".
        n: How many pairs of prompts.
        seed: Draws the prompts and the decoys' weights.

    Returns:
        The model, the task (corrupted prompts are other words in the same form), and the circuit.

    Raises:
        ValueError: If there is no circuit of that name.

    Reference:
        Tracr: Lindner et al. 2023 (arXiv 2301.05062).
    """
    if name not in KNOWN:
        raise unknown("known circuit", name, KNOWN, "known('induction')")
    known_model = KNOWN[name]
    model = build.model(name, known_model, seed)
    edges = {edge: None for edge in known_model.edges}
    d = dims(model)
    graph = Graph(d.n_layers, d.n_heads, d.n_kv_heads, d.parallel)
    source = {"kind": "known", "where": "weights written by hand (interp.circuits.known)"}
    return (
        model,
        build.task(name, known_model.form, model, n=n, seed=seed),
        Circuit(edges, graph, name, task={"name": name}, source=source),
    )
