"""The residual graph on a task: runs with edges cut, and the metric's gradient at every edge.

Both go two ways to equal numbers: by the engine (one matrix product a layer), and by hooks, which
is the definition and serves every model. A weight is 1 for an edge that is kept and 0 for one that
is cut: then the receiver reads what the sender writes in another run (see `BY`).
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from interp import engine, sites
from interp._errors import unknown
from interp._numbers import to_numpy
from interp._types import Model
from interp.circuits.places import OTHER, place_of
from interp.edits import set_to
from interp.interventions import Intervention, run
from interp.methods.patching.patch import first_change
from interp.methods.runs import engine_sweep, gradients, sweep
from interp.methods.runs.metrics import check_shape, kl_metric, metric_of, metric_parts, of_part
from interp.models import bridge
from interp.results import Result
from interp.sites import Site
from interp.tasks.metrics import Metric
from interp.tasks.task import MixedTask, Task

BY = {
    "resample": "the corrupted twin's write",
    "mean": "the position-wise mean write over reference prompts (the task's corrupted ones)",
    "zero": "nothing",
}


def edge_mask(dims: Any) -> Bool[Tensor, "sender receiver"]:
    """Which pairs of a sender and a receiver are edges: the write comes before the read."""
    wrote = torch.tensor([sites.write_step(s) for s in sites.senders(dims)])
    read = torch.tensor([sites.read_step(r, dims) for r in sites.receivers(dims)])
    return wrote[:, None] < read


def edge_scores(
    values: Tensor,
    model: Model,
    task: Any,
    name: str,
    unit: str,
    metadata: dict[str, Any],
    examples: bool,
    places: Sequence[str] = (),
) -> Result:
    """The Result of a discovery method from values [batch sender receiver]; NaN without an edge.

    With `places`, values have an axis for them at the end.
    """
    dims = bridge.dims(model)
    coords = {
        "sender": list(map(str, sites.senders(dims))),
        "receiver": list(map(str, sites.receivers(dims))),
    }
    is_edge = edge_mask(dims)
    if places:
        coords["place"], is_edge = list(places), is_edge[..., None]
    # a circuit made of these scores knows the prompts it was found on
    metadata = {**metadata, "prompts": task.digests}
    values = values.cpu()  # not every accelerator has float64
    mean = values.mean(0, dtype=torch.float64).masked_fill(~is_edge, float("nan"))
    each = None
    if examples:
        values = values.double().masked_fill(~is_edge, float("nan"))
        each = to_numpy(values.movedim(0, -1))
    return Result(to_numpy(mean), tuple(coords), coords, name, unit, metadata, each)


def metric_or_kl(model: Model, task: Any, metric: Any) -> Metric:
    """The Metric that this stands for; "kl" is the divergence from the clean run's prediction."""
    return kl_metric(model, task) if metric == "kl" else metric_of(task, metric)


def edges_on(
    model: Any,
    task: Any,
    metric: Metric,
    *,
    by: str = "resample",
    reference: Tensor | None = None,
    backend: str | None = None,
    places: Sequence[str] = (),
) -> "Edges":
    """The residual graph on a task: prompts of one length, or of several; many go in groups."""
    options = dict(by=by, reference=reference, backend=backend, places=places)
    if isinstance(task, MixedTask) or len(groups(model, task, metric, backend)) > 1:
        return JoinedEdges(model, task, metric, **options)
    return Edges(model, task, metric, **options)


def groups(
    model: Any, task: Any, metric: Metric | None, backend: str | None = None
) -> list[Int[Tensor, "group"]]:
    """The prompts of one length that are worked on together: no more than leave room for what
    each sender writes, and for a backward pass. All of them where the metric is of all.
    """
    n, length = len(task), task.clean.shape[1]
    whole = torch.arange(n, device="cpu")
    if n == 1 or (metric is not None and metric.part is None):
        return [whole]
    fits = engine.budget_of(next(model.parameters()).device) / 2 / _bytes(model, length)
    found = sweep.choose_engine(model, backend, lambda: engine.find(model))
    if found is not None:
        fits = min(fits, engine.tokens_back(found) / length)
    return list(whole.split(max(1, int(fits))))


def _bytes(model: Any, length: int) -> int:
    """How much all senders write in a prompt of this length."""
    dims = bridge.dims(model)
    return (
        len(sites.senders(dims)) * length * dims.d_model * next(model.parameters()).element_size()
    )


class Edges:
    """A model and a task's prompts, ready for runs with edges cut and for edge attributions.

    Made once for many of them.

    Example:
        >>> edges = Edges(model, task, metric, by="resample")
        >>> edges.cut(weights)          # weights [row sender receiver] -> the metric [row batch]
        >>> edges.slopes([None])        # attribution of every edge [batch sender receiver]

    Args:
        model: A loaded model.
        task: Prompts of one length.
        metric: A Metric of the logits at END.
        by: What a cut edge carries: "resample", "mean" or "zero".
        reference: Prompts for by="mean".
        backend: "engine" or "hooks"; None chooses.
        places: Names of places, see `interp.circuits.places`: slopes then have an axis for them
            at the end, and weights of `cut` may have one.
        writes: For by="mean", the mean writes themselves where they are known: `mean_of`.
    """

    def __init__(
        self,
        model: Model,
        task: Any,
        metric: Metric,
        *,
        by: str = "resample",
        reference: Tensor | None = None,
        backend: str | None = None,
        places: Sequence[str] = (),
        writes: Float[Tensor, "sender pos d_model"] | None = None,
    ):
        _check(by, metric)
        self.model, self.task, self.metric, self.by = model, task, metric, by
        self.dims = bridge.dims(model)
        first = next(model.parameters())
        self.device, self.dtype = first.device, first.dtype
        self.places = tuple(places)
        self.place = place_of(task, self.places).to(self.device) if self.places else None
        self.first = first_change(model, task.clean, task.corrupted) if by == "resample" else 0
        self.engine = sweep.choose_engine(model, backend, lambda: engine.find(model))
        self.backend = "hooks" if self.engine is None else "engine"
        self.writes = writes
        if writes is None:
            self.writes = mean_of(model, task, by, reference, backend)
        self.before: engine.Run | None = None  # keys and values of the positions before `first`
        with bridge.LOCK, torch.no_grad():
            self._prepare() if self.engine is not None else self._prepare_hooks()

    # --- by the engine ----------------------------------------------------------------------------

    def _prepare(self) -> None:
        """The other run's writes, in the engine."""
        engine_model = self.engine
        self.read = engine_sweep.metric_reader(engine_model, self.metric, len(self.task))
        if self.by == "resample":
            other = engine.run(engine_model, self.task.corrupted, keep=engine.EDGES, logits=None)
            self.other = engine.of_run(engine_model, other, self.first)
            self.before = other.only("k", "v")  # the two runs agree before `first`
        elif self.by == "mean":
            self.other = engine.of_writes(engine_model, self.writes[:, None])
        else:
            g = engine.graph(engine_model)
            self.other = engine.of_writes(
                engine_model,
                engine_model.embed.new_zeros(
                    g.n_senders, 1, self.task.clean.shape[1], engine_model.d_model
                ),
            )

    @cached_property
    def clean(self) -> engine.Run:
        """The clean run from `first` on, made when slopes or moves first ask for it: cutting edges
        does not.
        """
        return engine.run(
            self.engine,
            self.task.clean,
            keep=engine.EDGES,
            logits=None,
            base=self.before,
            first=self.first,
        )

    def moves(self) -> Float[Tensor, "sender batch pos d_model"]:
        """What each sender writes in the clean run minus that in the other one, from `first` on."""
        if self.engine is None:
            return torch.stack([self.now[str(s)] - self.others[str(s)] for s in self.senders])[
                :, :, self.first :
            ]
        return engine.writes(self.engine, self.clean) - self.other.writes

    # --- runs with edges cut ----------------------------------------------------------------------

    def cut(
        self,
        weights: Float[Tensor, "row sender receiver *place"],
        what: str = "runs with edges cut",
        bar: bool = True,
    ) -> Float[Tensor, "row batch"]:
        """The metric of each run; gradients flow into the weights where they are on."""
        if weights.ndim == 4 and weights.shape[-1] != max(1, len(self.places)):
            raise ValueError(
                f"weights for {weights.shape[-1]} places, and these edges have {len(self.places)}"
            )
        with bridge.LOCK:
            if self.engine is None:
                if torch.is_grad_enabled() and weights.requires_grad:
                    return torch.stack([self._cut_with_gradient(row) for row in weights])
                # the weights stay on the CPU, where each is read as a number
                rows = [self._cells(row) for row in weights]
                return sweep.sweep_by_hooks(
                    self.model, self.task.clean, rows, self.metric, self.task.positions, what
                )
            weights = torch.as_tensor(weights, dtype=self.dtype, device=self.device)
            with sweep.progress(None, what, total=len(weights) if bar else None) as shown:
                return engine.cut_runs(
                    self.engine,
                    self.task.clean,
                    self.other,
                    weights,
                    self.read,
                    first=self.first,
                    tick=shown.update,
                    place=self.place,
                )

    def downstream(
        self, layer: int, weights: Float[Tensor, "row sender receiver"], moves: Tensor
    ) -> Float[Tensor, "row batch"]:
        """The same for rows that keep every edge into the layers before `layer`."""
        weights = weights.to(self.device, self.dtype)
        upstream = moves[: engine.graph(self.engine).before(layer)]
        with bridge.LOCK:
            return engine.cut_runs(
                self.engine,
                self.task.clean,
                self.other,
                weights,
                self.read,
                first=self.first,
                layer=layer,
                upstream=upstream,
            )

    # --- slopes -----------------------------------------------------------------------------------

    def slopes(
        self,
        points: Sequence[float | None],
        what: str = "slopes",
        rules: engine.Rules | None = None,
    ) -> Float[Tensor, "batch sender receiver *place"]:
        """Each edge's clean minus other write, times the gradient at its receiver's input.

        Args:
            points: Where between the other run's embedding (0) and the clean one's (1) the gradient
                is taken, and averaged; None is the clean run itself.
            what: The progress bar's text.
            rules: For the backward pass (engine only); None: the gradient.

        Returns:
            Positive: the edge helps the metric. With places, each where it is read.
        """
        if self.engine is None:
            return self._slopes_by_hooks(points)
        engine_model = self.engine if rules is None else engine.with_rules(self.engine, rules)
        n = len(self.task)
        g = engine.graph(engine_model)
        scores = torch.zeros(n, g.n_senders, g.n_receivers, device=self.device)
        at = self._named_places()
        there = [torch.zeros_like(scores) for _ in at]
        with bridge.LOCK:
            moved = self.moves()
            for resid in self._points(points):
                slope = engine.slopes(
                    engine_model,
                    self.task.clean,
                    self.read,
                    resid=resid,
                    base=self.before,
                    first=self.first,
                )
                if OTHER in self.places or not self.places:
                    engine.contract(engine_model, moved, slope, scores)
                for place, some in zip(at, there):
                    engine.contract(
                        engine_model,
                        _only(moved, place, self.first),
                        [_only(s, place, self.first) for s in slope],
                        some,
                    )
        return _with_places(scores, there, self.places) / len(points)

    def _named_places(self) -> list[Tensor]:
        """Where each place but "other" is in each prompt [batch], -1 where it is at none."""
        out = []
        for k, name in enumerate(self.places):
            if name != OTHER:
                here = self.place == k
                out.append(torch.where(here.any(1), here.int().argmax(1), -1))
        return out

    def _points(self, points: Sequence[float | None]) -> Iterator[Tensor | None]:
        """The embeddings [row batch pos d_model], a few points at a time; None: clean run."""
        if list(points) == [None]:
            yield None
            return
        start = self.other.writes[0].expand(len(self.task), -1, -1)
        step = self.clean["resid_pre"][0] - start
        size = self._together(start)
        for lo in sweep.progress(range(0, len(points), size), "slopes"):
            shares = [1.0 if a is None else a for a in points[lo : lo + size]]
            yield torch.stack([start + share * step for share in shares])

    def _together(self, x: Tensor) -> int:
        """How many points of an integral go through one backward pass on streams like x [batch pos
        d_model].
        """
        return max(1, engine.tokens_back(self.engine) // (x.shape[0] * x.shape[1]))

    def slopes_at_activations(
        self, points: Sequence[float]
    ) -> Float[Tensor, "batch sender receiver"]:
        """The same, with the senders' own writes interpolated instead of the embedding.

        The embedding, each layer's heads together, and each MLP in turn write other + a (clean -
        other) for each a in points. What comes before them is clean, what comes after reacts; only
        their own edges are scored there.
        """
        scores = torch.zeros(len(self.task), *edge_mask(self.dims).shape, device=self.device)
        with bridge.LOCK:
            moved = self.moves()
            for turn in sweep.progress(self._turns(), "slopes at activations"):
                if self.engine is None:
                    scores[:, turn] = self._slopes_by_hooks(points, turn)[:, turn] * len(points)
                    continue
                for layer, slope in self._interpolated(turn, points, moved):
                    engine.contract(self.engine, moved, slope, scores, layer, turn)
        return scores / len(points)

    def _turns(self) -> list[slice]:
        """The senders interpolated together: the embedding, each layer's heads, each MLP."""
        heads = self.dims.n_heads
        starts = [1 + layer * (heads + 1) for layer in range(self.dims.n_layers)]
        return [
            slice(0, 1),
            *(
                turn
                for i in starts
                for turn in (slice(i, i + heads), slice(i + heads, i + heads + 1))
            ),
        ]

    def _interpolated(
        self, turn: slice, points: Sequence[float], moved: Tensor
    ) -> Iterator[tuple[int, list[Tensor]]]:
        """(layer, gradients at its and later receivers) with these senders' writes moved."""
        engine_model = self.engine
        layer, place = divmod(max(turn.start - 1, 0), self.dims.n_heads + 1)
        resid, away = self.clean["resid_pre"][layer], moved[turn].sum(0)
        size = self._together(resid)
        for lo in range(0, len(points), size):
            share_away = resid.new_tensor(points[lo : lo + size]).view(-1, 1, 1, 1) - 1
            start, touch = resid.expand(len(share_away), *resid.shape), {}
            if turn.start == 0:
                start = start + share_away * away
            else:
                touch = {
                    "mlp_out" if place else "attn_out": lambda wrote, by=share_away * away: (
                        wrote + by
                    )
                }
            options = dict(
                resid=start, base=self.before, first=self.first, layer=layer, touch=touch
            )
            yield layer, engine.slopes(engine_model, self.task.clean, self.read, **options)

    # --- by hooks: the definition -----------------------------------------------------------------

    def _prepare_hooks(self) -> None:
        """The clean and the other run's writes, by hooks."""
        self.senders, self.receivers = sites.senders(self.dims), sites.receivers(self.dims)
        names = list(map(str, self.senders))

        def writes(tokens):
            return run(self.model, tokens, keep=names, last_only=True).kept

        self.now = writes(self.task.clean)
        if self.by == "resample":
            self.others = writes(self.task.corrupted)
        elif self.by == "mean":
            self.others = {
                name: mean.expand(len(self.task), *mean.shape)
                for name, mean in zip(names, self.writes)
            }
        else:
            self.others = {name: torch.zeros_like(value) for name, value in self.now.items()}

    def _cells(self, weight: Tensor) -> list[Intervention]:
        """A run with weighted edges as interventions at every receiver whose stream is changed."""
        cells, is_edge = [], edge_mask(self.dims)
        for r, receiver in enumerate(self.receivers):
            lost = {
                str(s): self._lost(weight[i, r])
                for i, s in enumerate(self.senders)
                if is_edge[i, r] and bool((weight[i, r] != 1).any())
            }
            if lost:

                def edit(act, seen, lost=lost):
                    return act + sum(
                        self._there(w, act) * (self._other(s, len(act)) - seen[s])
                        for s, w in lost.items()
                    )

                cells.append(Intervention(receiver, edit, reads=tuple(lost)))
        return cells

    def _lost(self, weight: Tensor) -> float | Float[Tensor, "place"]:
        """How much of an edge is cut, at all positions or at each place."""
        return 1 - float(weight) if weight.ndim == 0 else 1 - weight.detach()

    def _there(self, lost: float | Float[Tensor, "place"], act: Tensor) -> Any:
        """How much of an edge is cut at each position of act, as a factor."""
        if isinstance(lost, float):
            return lost
        return lost.to(act)[self.place[: len(act)]][..., None]

    def _cut_with_gradient(self, weight: Tensor) -> Float[Tensor, "batch"]:
        """The metric of one run, with a gradient into the weights.

        What a receiver's edges change is computed again on the way back, so that no edge holds a
        stream of its own.
        """
        if weight.ndim == 3:
            raise ValueError("weights by place have a gradient by the engine alone")
        cells, is_edge = [], edge_mask(self.dims)
        for r, receiver in enumerate(self.receivers):
            senders = is_edge[:, r].nonzero()[:, 0]
            names = [str(self.senders[i]) for i in senders.tolist()]

            def edit(act, seen, names=names, lost=1 - weight[senders, r]):
                others = [self._other(s, len(act)) for s in names]
                reads = [seen[s] for s in names]
                return checkpoint(_changed, act, lost, others, *reads, use_reentrant=False)

            cells.append(Intervention(receiver, edit, reads=tuple(names)))
        task, keep = self.task, self.metric.keep
        out = run(
            self.model, task.clean, cells, keep, positions=task.positions, last_only=True, grad=True
        )
        return check_shape(self.metric.of(out.logits, out.kept), len(task), self.metric)

    def _other(self, sender: str, n: int) -> Tensor:
        return self.others[sender][:n]

    def _slopes_by_hooks(
        self, points: Sequence[float | None], turn: slice = slice(0, 1)
    ) -> Float[Tensor, "batch sender receiver *place"]:
        """All edges' scores when the senders of this turn (the embedding) are interpolated."""
        at = self._named_places()
        scores = torch.zeros(
            len(self.task), len(self.senders), len(self.receivers), device=self.device
        )
        there = [torch.zeros_like(scores) for _ in at]
        is_edge = edge_mask(self.dims).to(self.device)
        tap = gradients.by_hooks(self.model, self.metric, self.task.clean, self.task.positions)
        moved = torch.stack([self.now[str(s)] - self.others[str(s)] for s in self.senders])
        slots = list(dict.fromkeys(_slot(r) for r in self.receivers))
        for a in points:

            def write(s, a=a):
                return torch.lerp(self.others[s], self.now[s], a)

            edits = (
                []
                if a is None
                else [Intervention(s, set_to(write(str(s)))) for s in self.senders[turn]]
            )
            slope = tap.slopes(slots, edits=edits)
            each = torch.stack([slope[_slot(r)][r.index or 0] for r in self.receivers])
            scores += torch.einsum("sbpd,rbpd->bsr", moved, each).masked_fill(~is_edge, 0.0)
            for place, some in zip(at, there):
                here = [_only(x, place, 0) for x in (moved, each)]
                some += torch.einsum("sbpd,rbpd->bsr", *here).masked_fill(~is_edge, 0.0)
        return _with_places(scores, there, self.places) / len(points)


def mean_of(
    model: Any, task: Task, by: str, reference: Tensor | None, backend: str | None
) -> Float[Tensor, "sender pos d_model"] | None:
    """What each sender writes on average over the reference prompts, at each position; None where
    no mean is cut in.
    """
    if by != "mean":
        return None
    if reference is None:
        reference = task.corrupted if task.paired else task.clean
        if len(reference) < 2 and not task.paired:
            raise ValueError(
                "the mean write over one prompt is that prompt's own, and cutting an edge would "
                "change nothing: give more prompts of this length, corrupted ones, or by='zero'"
            )
    reference = torch.as_tensor(reference)
    found = sweep.choose_engine(model, backend, lambda: engine.find(model))
    names = list(map(str, sites.senders(bridge.dims(model))))
    fits = engine.budget_of(next(model.parameters()).device) / 2 / _bytes(model, reference.shape[1])
    total = None
    with bridge.LOCK, torch.no_grad():
        for some in reference.split(max(1, int(fits))):
            if found is None:
                kept = run(model, some, keep=names, last_only=True).kept
                wrote = torch.stack([_sum(kept[name], 0) for name in names])
            else:
                kept = engine.run(found, some, keep=engine.EDGES, logits=None)
                wrote = _sum(engine.writes(found, kept), 1)
            total = wrote if total is None else total + wrote
    return (total / len(reference)).to(next(model.parameters()).dtype)


def _sum(x: Tensor, axis: int) -> Tensor:
    """Sums in float32 at least: half precision would lose the last prompts of many."""
    return x.sum(axis, dtype=torch.promote_types(x.dtype, torch.float32))


def _check(by: str, metric: Metric) -> None:
    if by not in BY:
        raise unknown("way to cut", by, BY, "by='resample'")
    if metric.keep or metric.everywhere:
        raise ValueError(
            f"edges are measured on END's logits, and {metric.name!r} reads something else (try"
            " 'logit_diff')"
        )


def _changed(
    act: Tensor, lost: Float[Tensor, "sender"], others: Sequence[Tensor], *reads: Tensor
) -> Tensor:
    """What a receiver reads when so much of each of its edges is cut."""
    for share, other, seen in zip(lost.to(act), others, reads):
        act = act + share * (other - seen)
    return act


class JoinedEdges(Edges):
    """The residual graph on prompts of several lengths, on many, or with answers of several tokens.

    It has the methods of `Edges`. Each length is run by itself, a group of prompts at a time, the
    runs of a part are summed by their weights, and the examples are put together in their order.
    What does not fit into memory together is made anew by each call.
    """

    def __init__(
        self,
        model: Any,
        task: Task | MixedTask,
        metric: Metric,
        *,
        by: str = "resample",
        reference: Tensor | None = None,
        backend: str | None = None,
        places: Sequence[str] = (),
    ):
        if reference is not None and isinstance(task, MixedTask):
            raise ValueError(
                "reference prompts have one length, and these prompts have several: leave "
                "reference out, or call it for each length, task.by_length()"
            )
        _check(by, metric)
        self.model, self.task, self.metric, self.by = model, task, metric, by
        self.dims, self.places = bridge.dims(model), tuple(places)
        first = next(model.parameters())
        self.device, self.dtype = first.device, first.dtype
        self.engine = sweep.choose_engine(model, backend, lambda: engine.find(model))
        self.backend = "hooks" if self.engine is None else "engine"
        options = dict(by=by, backend=backend, places=places)
        self.parts: list[tuple[Tensor, list[tuple[float, Callable[[], Edges]]]]] = []
        size = 0
        for index, steps in metric_parts(task, metric):
            means = [mean_of(model, step, by, reference, backend) for _, step, _ in steps]
            longest = max(steps, key=lambda step: step[1].clean.shape[1])
            for group in groups(model, *longest[1:], backend):
                whole = len(group) == len(index)
                made = [
                    (
                        w,
                        functools.partial(
                            Edges,
                            model,
                            step if whole else step[group],
                            of if whole else of_part(of, group, len(step)),
                            writes=writes,
                            **options,
                        ),
                    )
                    for (w, step, of), writes in zip(steps, means)
                ]
                self.parts.append((index[group], made))
                size += sum(len(group) * _bytes(model, step.clean.shape[1]) for _, step, _ in steps)
        self.held = size <= engine.budget_of(self.device)
        if self.held:
            self.parts = [
                (index, [(w, functools.cache(make)) for w, make in steps])
                for index, steps in self.parts
            ]

    def _join(
        self,
        of: Callable[[Edges, Any], Tensor],
        axis: int,
        what: str,
        extra: Any = None,
        bar: bool = True,
    ) -> Tensor:
        """What each part gives, with its examples on this axis, in the examples' own order."""
        values, order = [], []
        for k, (index, steps) in enumerate(sweep.progress(self.parts, what, show=bar)):
            step_values = [
                w * of(make(), extra[k][j] if extra else None) for j, (w, make) in enumerate(steps)
            ]
            values.append(functools.reduce(torch.add, step_values))
            order.append(index)
        place = torch.cat(order).argsort().to(values[0].device)
        return torch.cat(values, axis).index_select(axis, place)

    def moves(self) -> list[list[Tensor]] | None:
        """What each sender writes in the clean run minus the other one, part by part; None where
        that does not fit into memory.
        """
        if not self.held:
            return None
        return [[make().moves() for _, make in steps] for _, steps in self.parts]

    def cut(
        self,
        weights: Float[Tensor, "row sender receiver *place"],
        what: str = "runs with edges cut",
        bar: bool = True,
    ) -> Float[Tensor, "row batch"]:
        """The metric of each run."""
        return self._join(lambda graph, _: graph.cut(weights, what, False), 1, what, bar=bar)

    def downstream(
        self, layer: int, weights: Float[Tensor, "row sender receiver"], moves: list[list[Tensor]]
    ) -> Float[Tensor, "row batch"]:
        """The same for rows that keep every edge into the layers before `layer`."""

        def of(graph, moved):
            return graph.downstream(layer, weights, moved)

        return self._join(of, 1, "runs with edges cut", moves, bar=False)

    def slopes(
        self,
        points: Sequence[float | None],
        what: str = "slopes",
        rules: engine.Rules | None = None,
    ) -> Float[Tensor, "batch sender receiver *place"]:
        """Each edge's clean minus other write, times the gradient at its receiver's input."""
        return self._join(lambda graph, _: graph.slopes(points, what, rules), 0, what)

    def slopes_at_activations(
        self, points: Sequence[float]
    ) -> Float[Tensor, "batch sender receiver"]:
        """The same, the senders' own writes being interpolated."""
        return self._join(
            lambda graph, _: graph.slopes_at_activations(points), 0, "slopes at activations"
        )


def _only(x: Float[Tensor, "part batch pos d_model"], at: Tensor, first: int) -> Tensor:
    """x at one position of each prompt [part batch 1 d_model]; 0 before `first`, and at -1."""
    at = at.to(x.device) - first
    rows = torch.arange(len(at), device=x.device)
    return (x[:, rows, at.clamp(min=0)] * (at >= 0)[:, None].to(x.dtype))[:, :, None]


def _with_places(scores: Tensor, there: Sequence[Tensor], places: Sequence[str]) -> Tensor:
    """Scores, or those at each place on an axis at the end; "other" has the rest of them."""
    if not places:
        return scores
    named = iter(there)
    rest = scores - sum(there) if OTHER in places else scores
    return torch.stack([rest if place == OTHER else next(named) for place in places], -1)


def _slot(receiver: Site) -> Site:
    """The slot of a receiver: its layer's heads together."""
    return (
        receiver
        if receiver.index is None
        else Site(receiver.family, receiver.part, receiver.layer, sites.STAR)
    )
