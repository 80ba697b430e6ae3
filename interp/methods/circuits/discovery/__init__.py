"""Circuit discovery: one method a file, all `f(model, task, **options) -> Result` with axes sender
and receiver.

A score estimates how much the clean run's metric falls when the edge carries the corrupted run's
value: positive edges help. NaN means that there is no such edge.
"""

import inspect
from collections.abc import Callable
from typing import Any

from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._types import Model
from interp.methods.circuits.discovery.acdc import acdc
from interp.methods.circuits.discovery.eap import eap
from interp.methods.circuits.discovery.eap_ig import eap_ig
from interp.methods.circuits.discovery.edge_pruning import edge_pruning
from interp.methods.circuits.discovery.exact import exact
from interp.methods.circuits.discovery.gim import gim
from interp.methods.circuits.discovery.information_flow import information_flow
from interp.methods.circuits.discovery.magnitude import magnitude
from interp.methods.circuits.discovery.node_attribution import node_attribution
from interp.methods.circuits.discovery.random import random
from interp.methods.circuits.discovery.relp import relp
from interp.methods.runs.any_prompts import any_prompts
from interp.results import Result

METHODS: dict[str, Callable[..., Result]] = {
    f.__name__: f
    for f in (
        acdc,
        eap,
        eap_ig,
        edge_pruning,
        exact,
        gim,
        information_flow,
        magnitude,
        node_attribution,
        random,
        relp,
    )
}


@any_prompts(answers=True, join=False)
@torch_defaults()
def discover(model: Model, task: Any, method: str = "eap_ig", **options: Any) -> Result:
    """Circuit discovery: a score for every edge (EAP, EAP-IG, ACDC, edge pruning and others).

    Example:
        >>> scores = discover(model, task, method="eap_ig", steps=5)
        >>> scores.top(5).labels
        >>> Circuit.top(scores, 500)
        >>> Circuit.top(discover(model, task, positions=True), 500)     # edges at places

    Args:
        model: A loaded model.
        task: A task; most methods need corrupted prompts.
        method: "acdc", "eap", "eap_ig", "edge_pruning", "exact", "gim", "information_flow",
            "magnitude", "node_attribution", "random" or "relp".
        options: The method's own (`help(interp.methods.circuits.discovery.acdc)`).

    Returns:
        The scores, axes "sender" and "receiver" (and "place", with positions=True in "eap",
        "eap_ig", "gim" and "relp"); positive: the edge helps the task's metric. NaN where there is
        no edge.

    Raises:
        ValueError: If the method is unknown, or has no such option.
    """
    if method not in METHODS:
        raise unknown("discovery method", method, METHODS, "discover(model, task, method='eap_ig')")
    known = list(inspect.signature(METHODS[method]).parameters)[2:]
    odd = next((name for name in options if name not in known), None)
    if odd == "positions":
        raise ValueError(
            f"{method!r} gives no scores by position: discover(model, task, method='eap_ig',"
            " positions=True), or 'eap', 'gim', 'relp'"
        )
    if odd is not None:
        raise unknown(f"option of {method!r}:", odd, known)
    return METHODS[method](model, task, **options)


__all__ = ["METHODS", "discover", *METHODS]
