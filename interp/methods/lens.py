"""The logit lens: read the residual stream as if the model ended there."""

import time
from typing import Any

import torch

from interp import sites
from interp.interventions import run
from interp.methods import sweep
from interp.methods.measures import measure
from interp.methods.patching import result
from interp.models import bridge
from interp.results import Result


def logit_lens(model: Any, task: Any, where: str = "resid_post.*@END", *, metric: str = "logit_diff") -> Result:
    """The task's metric as the residual stream would give it at each layer.

    >>> logit_lens(model, task).plot()                                    # by layer, at the last position
    >>> logit_lens(model, task, "resid_post.*@*", metric="rank").plot()   # layer by position

    where: places in the stream; metric: "logit_diff" (logits), "rank" (0 = the answer is on top), "prob", ...
    Read rank and logit difference first: probabilities stay near zero until the last layers.
    nostalgebraist 2020. The exact final norm is applied, so the last layer's reading is the model's own.
    """
    started = time.perf_counter()
    site = sites.Site.parse(where)
    if not site.family.startswith("resid"):
        raise ValueError(f"the lens reads the stream, got {where!r} (try 'resid_post.*@END')")
    grid = sites.expand(site, bridge.dims(model), task.clean.shape[1], task.positions)
    judge = measure(task, metric)
    key = str(site.at(None) if site.pos == sites.STAR else site)
    if site.pos is None:
        raise ValueError(f"the lens reads one position at a time: {where!r} needs one (try '{where}@END' or '{where}@*')")
    values = run(model, task, keep=[key], last_only=True).kept[key]  # [(layer) batch (pos) d_model]
    if site.pos == sites.STAR:
        values = values.movedim(-2, -3)
    rows = values.reshape(-1, *values.shape[-2:])
    read = []
    for row in sweep.progress(rows, "logit lens"):  # one [batch d_vocab] at a time: the vocabulary is large
        logits = bridge.unembed(model, bridge.final_norm(model, row.contiguous()))
        read.append(judge.of(logits, {}))
    said = sweep.about(model, task, "logit lens", started, pattern=str(site), metric=judge.name, way="hooks")
    return result(torch.stack(read), grid, task, f"logit lens: {judge.name}", judge.unit, said)
