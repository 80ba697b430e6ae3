"""The circuit explorer: the layered graph, its edges cut and added with the mouse, and what that
does to the metric.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import traitlets as t

from interp._errors import unknown
from interp.circuits import Circuit, drawing
from interp.circuits.residual_graph import Edge
from interp.results import Result
from interp.widgets import _circuit_plan as plans
from interp.widgets import _circuit_runs as runs
from interp.widgets._base import Widget
from interp.widgets._circuit_plan import edges_of, touches, written
from interp.widgets._link import Shared

SHOWN = 40  # edges at first: more at once is a hairball
UNSCORED = 400  # a paper's circuit, whose edges have no order, is shown whole up to so many


def _shown_head(widget: Any) -> str | None:
    return widget.node if re.fullmatch(r"L\d+H\d+", widget.node) else None


def _show_head(widget: Any, value: str) -> dict[str, Any] | None:
    return {"node": value} if value in widget.plan["nodes"] else None


class CircuitWidget(Widget, files="circuit_shapes circuit_panel circuit"):
    """See `circuit`."""

    shares = {"head": Shared(("node",), _shown_head, _show_head)}
    inputs = ("shown", "cut", "added", "within")
    kept = ("node", "names", "pinned", "groups")
    slow = True
    shown = t.Int(SHOWN).tag(sync=True)
    cut = t.List(t.Unicode()).tag(sync=True)
    added = t.List(t.Unicode()).tag(sync=True)
    within = t.Unicode("circuit").tag(sync=True)
    node = t.Unicode("").tag(sync=True)
    names = t.Dict().tag(sync=True)  # component -> its own name
    pinned = t.List(t.Unicode()).tag(sync=True)  # components that stay lit
    groups = t.Dict().tag(
        sync=True
    )  # the circuit's roles: what a group is called -> its components
    plan = t.Dict().tag(sync=True)
    metadata = t.Dict().tag(sync=True)
    note = t.Unicode("").tag(sync=True)
    steps = t.Int(0).tag(sync=True)

    def __init__(
        self,
        whole: Circuit,
        other: Circuit | None = None,
        compute: runs.Compute | None = None,
        *,
        names: Sequence[str] = ("a", "b"),
        **traits: Any,
    ) -> None:
        self._whole, self._other, self._compute = whole, other, compute
        self._ranked = plans.ranked(whole)
        self._past: list[tuple] = []
        self._now: tuple | None = None
        self._known: dict[tuple, dict[int, float]] = {}  # state -> number of prompts -> the metric
        self._wrote: set[Path] = set()
        most = max(len(self._ranked), len(plans.ranked(other)) if other else 0)
        scored = any(score is not None for score in whole.edges.values())
        traits.setdefault("shown", min(most, SHOWN if scored else UNSCORED))
        title = drawing._caption(whole, {"edges": self._ranked, "hidden": 0}).rpartition(":")[0]
        title = f"{whole.model}: {names[0]} and {names[1]}" if other else title
        metadata = {
            "title": title,
            "live": compute is not None,
            "diff": list(names) if other else [],
            "file": f"{whole.task.get('name') or 'circuit'}-edited.json",
        }
        held = whole.source.get("view") or {}  # as an earlier session left it
        own = {"names": held.get("names") or {}, "pinned": held.get("pinned") or []}
        both = {**(other.roles if other is not None else {}), **whole.roles}
        own["groups"] = {role: list(members) for role, members in both.items()}
        traits = {**own, **traits}
        super().__init__(**{"metadata": metadata, "title": f"{title} · circuit", **traits})
        self.on_msg(self._receive)

    # --- the state --------------------------------------------------------------------------------

    def _ask(self) -> None:
        self._check()
        self._remember()
        one, cut = self.value, self._cut_circuit()
        size = {
            "edges": len(one),
            "components": len(one.nodes),
            "share": one.share,
            "all": round(len(one) / one.share) if one.share else 0,
        }
        if self._other is not None:
            second = self._second()
            size |= {part: len(edges) for part, edges in drawing.diff(one, second).items()} | {
                "jaccard": one.jaccard(second)
            }
        self.note = ""
        self._give("reply", {"size": size})  # the numbers of another circuit are not kept
        if self._compute is None:
            self._trouble("main")
            self.answered = self.asked
            return
        state, within, second = (
            self._now,
            self.within,
            self._second() if self._other is not None else None,
        )

        def job(stale: Any) -> Any:
            for numbers in self._compute(one, cut, within, stale):
                yield None if numbers is None else ("numbers", state, numbers)
            if second is not None and not stale():
                for numbers in self._compute(second, cut, "circuit", stale):
                    yield None if numbers is None else ("other", state, numbers)

        self._work(job, self._show)

    def _check(self) -> None:
        if self.within not in runs.WITHIN:
            raise unknown("place to cut", self.within, runs.WITHIN, "within='circuit'")
        extra = [edge for text in (*self.cut, *self.added) for edge in edges_of(text)]
        self._of(extra)  # says what is no edge
        there = {edge["key"] for edge in self.plan.get("edges", ())}
        if not there or not {written(edge) for edge in extra} <= there:
            self.plan = plans.plan(self._whole, self._other, extra)
        if not 0 <= self.shown <= self.plan["most"]:
            raise ValueError(
                f"shown={self.shown}: this circuit has {self.plan['most']} edges to show (try"
                f" shown={min(SHOWN, self.plan['most'])})"
            )

    def _show(self, update: tuple[str, tuple, dict] | None) -> None:
        if update is None:
            return
        part, state, numbers = update
        if part == "numbers":
            self._known.setdefault(state, {})[numbers["n"]] = numbers["value"]
            before = self._known.get(self._past[-1], {}) if self._past else {}
            numbers = {**numbers, "before": before.get(numbers["n"])}
        self._give("reply", {**self.reply, part: numbers})

    def _model_changed(self) -> None:
        self._known.clear()  # the other model's numbers are no state before an edit

    def _remember(self) -> None:
        """Keeps what the state was, for `undo`; a slider on its way leaves one step."""
        now = (self.shown, tuple(self.cut), tuple(self.added), self.within)
        if self._now is not None and now != self._now:
            slid = self._past and self._past[-1][1:] == self._now[1:] == now[1:]
            self._past += [] if slid else [self._now]
        self._now, self.steps = now, len(self._past)

    def _receive(self, widget: Any, message: Any, buffers: Any) -> None:
        acts = {
            "undo": self.undo,
            "clear": self.clear,
            "cut": self.remove,
            "add": self.add,
            "save": self._save_new,
            "pin": self.pin,
            "name": lambda text: self.name(text, str(message.get("name", ""))),
            "group": lambda text: self.group(text, str(message.get("name", ""))),
        }
        if isinstance(message, dict) and message.get("do") in acts:
            try:
                acts[message["do"]](*([message["text"]] if message.get("text") is not None else []))
                self._trouble("ask")
            except (ValueError, OSError) as error:
                self._trouble("ask", str(error))

    # --- what one can do to it --------------------------------------------------------------------

    def undo(self) -> None:
        """The state before the last change."""
        if self._past:
            shown, cut, added, within = self._past.pop()
            self._now = None  # going back is no step
            self.put(shown=shown, cut=list(cut), added=list(added), within=within)

    def clear(self) -> None:
        """Takes back every cut and every added edge."""
        self.put(cut=[], added=[])

    def remove(self, what: str) -> None:
        """Cuts edges "L9H1 -> L10H7.q_in", or all that a component ("mlp.0") or KV group ("L5KV1")
        sends and reads.
        """
        if "->" in what:
            gone = edges_of(what)
            self._of(gone)
        else:
            gone = [edge for edge in self.value if touches(edge, self._component(what))]
        names = [written(edge) for edge in gone]
        own = {written(edge) for edge in self._ranked}
        cut = [n for n in names if n in own or self.within == "model"]
        self.put(
            cut=list(dict.fromkeys([*self.cut, *cut])),
            added=[a for a in self.added if a not in names],
        )

    def add(self, what: str) -> None:
        """Adds edges, or all the circuit's edges at a component, shown or not."""
        if "->" in what:
            new = edges_of(what)
            self._of(new)
        else:
            name = self._component(what)
            new = [edge for edge in self._whole if touches(edge, name)]
            if not new:
                raise ValueError(
                    f"the circuit has no edge at {name} (type one: '{name} -> logits.in')"
                )
        names = [written(edge) for edge in new]
        there = {written(edge) for edge in self._ranked[: self.shown]}
        self.put(
            cut=[c for c in self.cut if c not in names],
            added=list(dict.fromkeys([*self.added, *(n for n in names if n not in there)])),
        )

    def pin(self, what: str) -> None:
        """Keeps a component and its edges lit, or no longer; saved with the circuit."""
        name = self._component(what)
        kept = [one for one in self.pinned if one != name]
        self.pinned = kept if name in self.pinned else [*kept, name]

    def name(self, what: str, called: str) -> None:
        """Gives a component a name of one's own ("": none); saved with the circuit."""
        name = self._component(what)
        rest = {one: text for one, text in self.names.items() if one != name}
        self.names = {**rest, name: called.strip()} if called.strip() else rest

    def group(self, what: str, called: str) -> None:
        """Puts components into a group ("": into none); it is a role of the circuit that is saved.

        Example:
            >>> widget.group("L23H3 L24H4", "name mover")
        """
        names = [self._component(word) for word in re.split(r"[\s,;]+", what.strip())]
        shared = [name for name in names if "KV" in name]
        if shared:
            raise ValueError(f"{shared[0]} is shared by heads: group the heads themselves")
        if called.strip() in self.plan["nodes"]:
            raise ValueError(f"{called.strip()!r} is a component: call the group otherwise")
        rest = {
            role: [one for one in members if one not in names]
            for role, members in self.groups.items()
        }
        if called.strip():
            rest[called.strip()] = [*rest.get(called.strip(), []), *dict.fromkeys(names)]
        self.groups = {role: members for role, members in rest.items() if members}

    def _component(self, text: str) -> str:
        graph, name = self._whole.graph, text.strip()
        groups = [f"L{g['layer']}KV{g['index']}" for g in self.plan["groups"]]
        known = [*self.plan["nodes"], *groups]
        if name not in known:
            raise unknown(
                f"component of {self._whole.model} ({graph.n_layers} layers x {graph.n_heads}"
                " heads)",
                name,
                known,
                "'L9H1' or 'L9H1 -> L10H7.q_in'",
            )
        return name

    def save(self, path: str | Path) -> Path:
        """The path of the JSON file the shown circuit was written to; `interp.Circuit.load` reads
        it.
        """
        where = self.value.save(path)
        self._wrote.add(where.resolve())
        self.note = f"saved {len(self.value)} edges to {where}"
        return where

    def _save_new(self, text: str) -> None:
        """What the page's button does: it overwrites no file but those that this widget made."""
        path = Path(text.strip())
        if path.exists() and path.resolve() not in self._wrote:
            raise ValueError(f"{text.strip()!r} exists: choose another name")
        self.save(path)

    # --- what it is -------------------------------------------------------------------------------

    @property
    def value(self) -> Circuit:
        """The circuit that is shown: the largest edges, minus those cut, plus those added."""
        view = {"names": dict(self.names), "pinned": list(self.pinned)}
        view = {part: held for part, held in view.items() if held}
        source = {k: v for k, v in self._whole.source.items() if k != "view"}
        source = source | ({"view": view} if view else {})
        own = {role: list(members) for role, members in self._whole.roles.items()}
        groups = {role: list(members) for role, members in self.groups.items()}
        if self._other is not None:  # those that the second circuit alone has are not the first's
            theirs = {r: list(m) for r, m in self._other.roles.items() if r not in own}
            groups = {r: m for r, m in groups.items() if theirs.get(r) != m}
        if self.shown >= len(self._whole) and not self.cut and not self.added:
            if source == self._whole.source and groups == own:
                return self._whole
            return replace(self._whole, source=source, roles=groups)
        cut = set(self.cut)
        remaining = [edge for edge in self._ranked[: self.shown] if written(edge) not in cut]
        new = [edge for text in self.added for edge in edges_of(text)]
        score = {**(self._other.edges if self._other is not None else {}), **self._whole.edges}
        edited = {"shown": self.shown, "cut": len(self.cut), "added": len(self.added)}
        edges = {edge: score.get(edge) for edge in (*remaining, *new)}
        changed = {"edges": edges, "evaluation": {}, "source": {**source, "edited": edited}}
        return replace(self._whole, roles=groups, **changed)

    def _second(self) -> Circuit:
        return replace(
            self._other,
            edges={e: self._other.edges[e] for e in plans.ranked(self._other)[: self.shown]},
            evaluation={},
        )

    def _cut_circuit(self) -> Circuit:
        return self._of([edge for text in self.cut for edge in edges_of(text)])

    def _of(self, edges: list[Edge]) -> Circuit:
        """A circuit of these edges, at the places of the one that is shown."""
        return Circuit.of(edges, like=self._whole, places=self._whole.places)

    @property
    def numbers(self) -> dict[str, Any]:
        """The metric of the clean run, of this circuit and with everything cut, and the
        faithfulness; waits for them.
        """
        self.wait()
        return dict(self.reply.get("numbers") or {})

    @property
    def code(self) -> str:
        """The Python that gives the circuit shown, and its evaluation."""
        state = {"shown": self.shown, "cut": self.cut, "added": self.added, "within": self.within}
        state["node"] = self.node
        changed = {k: v for k, v in state.items() if k == "shown" or v not in ([], "circuit", "")}
        options = ", ".join(f"{k}={v!r}" for k, v in changed.items())
        pair = ", other=other" if self._other is not None else ""
        if self._compute is None:
            return (
                f"widget = interp.widgets.circuit(circuit{pair},"
                f" {options})\nwidget.value.save({self.metadata['file']!r})"
            )
        more = "\ninterp.evaluate(model, task, widget.value)" if self.within == "circuit" else ""
        return (
            f"widget = interp.widgets.circuit(circuit, model, task{pair},"
            f" {options})\nwidget.numbers{more}"
        )

    def table(self) -> Any:
        """The edges that are shown, and their scores."""
        import pandas as pd

        rows = [(*edge, score) for edge, score in self.value.edges.items()]
        place = ["place"] if self._whole.places else []
        return pd.DataFrame(rows, columns=["sender", "receiver", *place, "score"])

    def __repr__(self) -> str:
        numbers = self.reply.get("numbers") or {}
        faithful = numbers.get("faithfulness")
        return f"<circuit explorer: {len(self.value)} edges" + (
            f", faithfulness {faithful:.2f}>" if faithful is not None else ">"
        )

    def _draw(self, figure: Any) -> None:
        one = self.value
        figure.set_size_inches(drawing._size(one))
        if self._other is not None:
            drawing.plot_diff(one, self._second(), names=self.metadata["diff"], figure=figure)
            return
        faithful = (self.reply.get("numbers") or {}).get("faithfulness")
        size = f"{len(one)} of {len(self._whole)} edges" + (
            f", {len(self.cut)} cut" if self.cut else ""
        )
        more = (
            f", faithfulness {faithful:.2f}"
            if faithful is not None and self.within == "circuit"
            else ""
        )
        drawing.draw(one, figure=figure, title=f"{self.metadata['title']}: {size}{more}")


def circuit(
    circuit_or_scores: Circuit | Result | str | Path,
    model: Any = None,
    task: Any = None,
    other: Circuit | Result | str | Path | None = None,
    *,
    by: str = "resample",
    metric: str | None = None,
    names: Sequence[str] = ("a", "b"),
    **state: Any,
) -> CircuitWidget:
    """A widget of a circuit: cut, add and evaluate edges by mouse or keyboard.

    `.value` is the Circuit shown, `.save(path)` writes it, `.numbers` are its numbers, `.undo()`,
    `.remove(what)` and `.add(what)` edit it. `.name`, `.pin` and `.group` call a component by a
    name of one's own, keep it lit, and put it into a group; the file holds all three.

    Example:
        >>> interp.widgets.circuit(interp.Circuit.load("ioi.json"), model, task)
        >>> interp.widgets.circuit(interp.discover(model, task), model, task)
        >>> interp.widgets.circuit("wang2022.json")                            # without a model
        >>> interp.widgets.circuit(eap, model, task, other=exact, names=("EAP", "exact"))

    Args:
        circuit_or_scores: A Circuit, the file of one, or scores of edges with axes (sender,
            receiver); with places, an edge is shown once for each of its places, and cut there.
        model: With a model and a task, the metric and the faithfulness of what is shown are
            computed as `evaluate` does, first on a few prompts, then on all.
        task: The task; it belongs with the model.
        other: A second circuit of the same model; edits are of the first.
        by: What cut edges carry, as in `evaluate`.
        metric: By name, as in `evaluate`.
        names: What the two circuits are called.
        **state: shown (how many edges, largest first), cut and added (lists like ["L9H1 ->
            L10H7.q_in"]), within ("circuit": all else is cut; "model": only the cut edges are, of
            the whole model), node.

    Raises:
        ValueError: If only one of model and task is given, or the names are not two.
    """
    first, second = _circuit(circuit_or_scores), None if other is None else _circuit(other)
    if second is not None:
        first & second  # says when they are of different models
    if len(names) != 2:
        raise ValueError(
            f"names={list(names)}: one for each of the two circuits (try names=('EAP', 'exact'))"
        )
    if (model is None) != (task is None):
        raise ValueError(
            "model and task belong together: circuit(c, model, task), or circuit(c) to look at it"
            " without a model"
        )
    compute, now = None, {}
    if model is not None:
        from interp.methods.circuits.evaluate import graph_of
        from interp.models import bridge

        first.check(bridge.name(model), graph_of(model))
        compute = runs.runs(model, task, by=by, metric=metric, places=first.places)
        now = {"model_now": lambda: bridge.ready(model)}
    return CircuitWidget(first, second, compute, names=tuple(names), **now, **state)


def _circuit(given: Circuit | Result | str | Path) -> Circuit:
    if isinstance(given, Circuit):
        return given
    if isinstance(given, str | Path):
        return Circuit.load(given)
    if isinstance(given, Result):
        count = int((given.values == given.values).sum())  # NaN where there is no edge
        return Circuit.top(given, min(count, plans.MOST))
    raise ValueError(
        f"a circuit, the path of one, or scores are needed, got {type(given).__name__} (try"
        " interp.Circuit.load('ioi.json'))"
    )
