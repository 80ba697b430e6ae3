"""`interp.widgets.graph`: an attribution graph, read node by node and tried on the model."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import traitlets as t

from interp._errors import short
from interp._types import Model
from interp.features import AttributionGraph, Dictionary, Firings
from interp.features import firings as found_on
from interp.features.cards import logit_effects
from interp.features.cards.card_html import piece
from interp.features.cards.cards import reader
from interp.features.cards.describe import NEVER, UNCLEAR, Counted, Words, visible
from interp.features.graphs import drawing
from interp.features.graphs.influence import Node
from interp.features.graphs.intervene import Bound, bind, check, compare
from interp.models import bridge
from interp.widgets import _graph_plan as plans
from interp.widgets._base import Widget
from interp.widgets._link import Shared

SHOWN = 40  # nodes at first: more at once is a hairball
EDGES = 60  # that the picture draws, as the page does
LOGITS = 6  # that a latent raises and lowers, on its card
PARTED = 6  # features listed where graph and model part
NAMED = ("feature", "error", "mlp")  # kinds that take a name of one's own
Cards = Callable[[Node, Callable[[], bool]], dict[str, Any]]
Runs = Callable[[dict[str, float]], Any]


def _token(widget: Any) -> int | None:
    return widget._graph[widget.node].pos if widget.node else None


class GraphWidget(Widget, files="circuit_shapes graph_shapes graph_panel graph"):
    """See `graph`."""

    shares = {"token": Shared(("node",), _token, lambda widget, value: None)}
    inputs = ("values",)
    answers = {"card": ("node",)}
    kept = ("shown", "node", "marked", "pinned", "names", "groups")
    values = t.Dict().tag(sync=True)  # the activations that features are set to
    shown = t.Int(SHOWN).tag(sync=True)
    node = t.Unicode("").tag(sync=True)
    marked = t.List(t.Unicode()).tag(sync=True)  # nodes that the next group is made of
    pinned = t.List(t.Unicode()).tag(sync=True)  # nodes that are always shown
    names = t.Dict().tag(sync=True)  # node -> a name of one's own
    groups = t.Dict().tag(sync=True)  # name -> nodes
    words = t.Dict().tag(sync=True)  # node -> what its contexts say
    plan = t.Dict().tag(sync=True)
    metadata = t.Dict().tag(sync=True)
    card = t.Dict().tag(sync=True)
    note = t.Unicode("").tag(sync=True)

    def __init__(
        self,
        graph: AttributionGraph,
        compare: Runs | None = None,
        cards: Cards | None = None,
        words: Callable[[], Iterator[dict[str, str]]] | None = None,
        *,
        model_now: Callable[[], Any] | None = None,
        **traits: Any,
    ) -> None:
        self._graph, self._compare, self._cards = graph, compare, cards
        self._ranked = plans.ranked(graph)
        self._wrote: set[Path] = set()
        held = graph.metadata.get("view")
        pinned = held.get("pinned") if isinstance(held, dict) else None
        places = {node.name for node in graph.nodes}
        own = {
            "pinned": [one for one in pinned or [] if isinstance(one, str) and one in places],
            "names": {n.name: n.label for n in graph.nodes if n.kind in NAMED and n.label},
            "groups": {name: list(some) for name, some in graph.groups.items()},
            "shown": min(SHOWN, len(self._ranked)),
        }
        self._given = own
        title = f"{graph.metadata.get('model') or 'attribution graph'} · {''.join(graph.tokens)!r}"
        metadata = {
            "live": compare is not None,
            "cards": cards is not None,
            "scores": dict(graph.scores),
            "pruned": "pruned" in graph.metadata,
            "file": "graph.json",
        }
        self._ready = False
        super().__init__(
            model_now=model_now,
            **{
                "metadata": metadata,
                "title": title if len(title) < 100 else f"{title[:97]}...",
                "plan": plans.plan(graph),
                **own,
                **traits,
            },
        )
        self.observe(self._look, ["node", "weights"])
        self.observe(self._changed, [*self.kept, "words"])
        self.on_msg(self._receive)
        self._look()
        if words is not None:
            self._work(lambda stale: words(), self._describe, lane="words")

    # --- the state --------------------------------------------------------------------------------

    def _ask(self) -> None:
        self._check()
        values = {name: float(value) for name, value in self.values.items()}
        if not values:
            self._give("reply", {"rows": []})
            self._trouble("main")
            self._stop()
            self.answered = self.asked
            return
        check(self._graph, values)
        if self._compare is None:
            raise ValueError(
                f"values={short(values)}: without a model no node takes another value"
                " (interp.widgets.graph(graph, model))"
            )
        run = self._compare
        self._work(lambda stale: run(values), self._show)

    def _check(self) -> None:
        for name in filter(None, (self.node, *self.marked, *self.pinned, *self.names)):
            self._graph.place(name)
        for group in self.groups.values():
            for name in group:
                self._graph.place(name)
        if not 0 <= self.shown <= len(self._ranked):
            raise ValueError(
                f"shown={self.shown}: this graph has {len(self._ranked)} nodes beside tokens and"
                f" logits (try shown={min(SHOWN, len(self._ranked))})"
            )

    def _show(self, found: Any) -> None:
        rows = [
            [name, *(float(f"{value:.5g}") for value in row)]
            for name, row in zip(found.coords["node"], found.values.tolist())
        ]
        self._give("reply", {"rows": rows})

    def _look(self, change: Any = None) -> None:
        """Asks for the card of the chosen node."""
        try:
            node = self._graph[self.node] if self.node else None
            self._trouble("card")
        except ValueError as error:
            self._trouble("card", str(error))
            return
        if node is None or node.kind != "feature" or self._cards is None:
            self._stop("card")
            self._give("card", {})
            return
        cards = self._cards
        self._work(
            lambda stale: cards(node, stale), lambda card: self._give("card", card), lane="card"
        )

    def _changed(self, change: Any) -> None:
        """What is kept asks nothing, but has to name nodes, and is part of the Python."""
        try:
            self._check()
            self._trouble("kept")
            self.python = self._program()
        except ValueError as error:
            self._trouble("kept", str(error))

    def _describe(self, found: dict[str, str]) -> None:
        self.words = {**self.words, **found}

    def _receive(self, widget: Any, message: Any, buffers: Any) -> None:
        if not isinstance(message, dict):
            return
        what, name = str(message.get("text", "")), str(message.get("name", ""))
        acts: dict[Any, Callable[[], Any]] = {
            "pin": lambda: self.pin(what),
            "name": lambda: self.name(what, name),
            "group": lambda: self.group(name, self.marked or [what]),
            "save": lambda: self._save_new(what),
        }
        if message.get("do") in acts:
            try:
                acts[message["do"]]()
                self._trouble("edit")
            except (ValueError, OSError) as error:
                self._trouble("edit", str(error))

    # --- what one can do to it --------------------------------------------------------------------

    def pin(self, node: str) -> None:
        """Shows a node whatever the threshold is, or no longer."""
        self._graph.place(node)
        rest = [one for one in self.pinned if one != node]
        self.pinned = rest if node in self.pinned else [*rest, node]

    def name(self, node: str, called: str) -> None:
        """Gives a feature, an error or an MLP a name of one's own ("": none)."""
        if self._graph[node].kind not in NAMED:
            raise ValueError(f"{node!r} has its name from its token: features take other names")
        rest = {one: text for one, text in self.names.items() if one != node}
        self.names = {**rest, node: called.strip()} if called.strip() else rest

    def group(self, called: str, nodes: Sequence[str]) -> None:
        """Puts nodes into a group, and out of the one that they were in ("": into none)."""
        for node in nodes:
            self._graph.place(node)
        rest = {
            name: [one for one in some if one not in nodes] for name, some in self.groups.items()
        }
        called = called.strip()
        if called:
            rest[called] = [*rest.get(called, []), *nodes]
        self.put(groups={name: some for name, some in rest.items() if some}, marked=[])

    def clamp(self, node: str, value: float | None) -> None:
        """Sets a feature to a value (None: as it is), by the graph and in the model."""
        rest = {name: held for name, held in self.values.items() if name != node}
        self.values = rest if value is None else {**rest, node: value}

    def save(self, path: str | Path) -> Path:
        """The path of the JSON file that holds the graph with names, groups and pins."""
        where = self.value.save(path)
        self._wrote.add(where.resolve())
        self.note = f"saved {len(self._graph.nodes)} nodes to {where}"
        return where

    def _save_new(self, text: str) -> None:
        """What the page's button does: it overwrites no file but those that this widget made."""
        path = Path(text.strip())
        if path.exists() and path.resolve() not in self._wrote:
            raise ValueError(f"{text.strip()!r} exists: choose another name")
        self.save(path)

    # --- what it is -------------------------------------------------------------------------------

    @property
    def value(self) -> AttributionGraph:
        """The graph, with the names, groups and pins that were given here."""
        names = self.names
        nodes = tuple(
            replace(node, label=names.get(node.name, "")) if node.kind in NAMED else node
            for node in self._graph.nodes
        )
        metadata = {k: v for k, v in self._graph.metadata.items() if k != "view"}
        if self.pinned:
            metadata["view"] = {"pinned": list(self.pinned)}
        groups = {name: tuple(some) for name, some in self.groups.items()}
        return replace(self._graph, nodes=nodes, groups=groups, metadata=metadata)

    @property
    def part(self) -> AttributionGraph:
        """What the picture shows: the most influential nodes, and those pinned, named, grouped or
        chosen.
        """
        own = [*self.pinned, *self.names, *(one for some in self.groups.values() for one in some)]
        own += [*self.values, *self.marked, *([self.node] if self.node else [])]
        return self.value.only([*self._ranked[: self.shown], *own])

    @property
    def code(self) -> str:
        """The Python that makes this widget again, and its experiment without it."""
        usual = {"values": {}, "node": "", "marked": [], **self._given}
        changed = {name: getattr(self, name) for name in (*self.inputs, *self.kept)}
        options = [f"{n}={v!r}" for n, v in changed.items() if n == "shown" or v != usual[n]]
        bound = "graph, model" if self._compare else "graph"
        lines = [f"interp.widgets.graph({bound}, {', '.join(options)})"]
        if self.values:
            lines.append(f"graph.intervene({dict(self.values)!r}, model)")
        return "\n".join(lines)

    def table(self) -> Any:
        """The nodes that are shown, or what graph and model say of the values that are set."""
        import pandas as pd

        if self.values:
            rows = self.current()["rows"]
            return pd.DataFrame(rows, columns=["node", "before", "graph", "model"])
        shown = self.part
        group = {one: name for name, some in shown.groups.items() for one in some}
        influence = plans.influence_of(shown)
        rows = [
            (n.name, n.kind, n.layer, n.pos, n.value, influence[i], n.label, group.get(n.name, ""))
            for i, n in enumerate(shown.nodes)
        ]
        names = ["node", "kind", "layer", "pos", "value", "influence", "label", "group"]
        return pd.DataFrame(rows, columns=names)

    def __repr__(self) -> str:
        said = ", ".join(f"{name} {value:.2f}" for name, value in self._graph.scores.items())
        size = f"{self.shown} of {len(self._ranked)} nodes"
        return f"<graph widget: {said}; {size}>" if said else f"<graph widget: {size}>"

    def _draw(self, figure: Any) -> None:
        lines = self._notes()
        figure.set_size_inches(13 if lines else 9.5, 6.5)
        figure.set_layout_engine("none")
        wide = 0.66 if lines else 0.9
        ax = figure.add_axes((0.07, 0.12, wide - 0.02, 0.8))
        drawing.draw(self.part, ax, max_edges=EDGES)
        if lines:
            notes = figure.add_axes((wide + 0.09, 0.08, 0.99 - wide - 0.09, 0.86))
            notes.set_axis_off()
            style = {"family": "DejaVu Sans Mono", "fontsize": 7.5, "linespacing": 1.45}
            notes.text(0, 1, "\n".join(lines), va="top", parse_math=False, **style)

    def _notes(self) -> list[str]:
        """The chosen node's strongest inputs and outputs, and the experiment, as lines of text."""
        lines: list[str] = []
        rows = (self.reply.get("rows") or []) if self.fits() else []
        if rows:
            said = ", ".join(f"{self._called(n)} = {v:.3g}" for n, v in self.values.items())
            lines += [_cut(f"set: {said}", 52), f"{'':24}{'before':>8}{'graph':>8}{'model':>8}"]
            lines += [
                f"{_cut(self._called(name), 23):24}{a:8.2f}{b:8.2f}{c:8.2f}"
                for name, a, b, c in rows
            ]
            lines += [""]
        if self.node:
            for title, found in (
                ("inputs", self._graph.inputs(self.node, plans.NEAR)),
                ("outputs", self._graph.outputs(self.node, plans.NEAR)),
            ):
                if not len(found.values):
                    continue
                lines += [_cut(f"{title} of {self._called(self.node)}", 52)]
                lines += [
                    f"{value:+8.2f}  {_cut(self._called(name), 40)}"
                    for name, value in zip(found.coords["node"], found.values)
                ]
                lines += [""]
        return lines

    def _called(self, name: str) -> str:
        """A node's name, with its token and what it is called."""
        node = self._graph[name]
        if node.kind == "logit":
            return name
        token = visible(self._graph.tokens[node.pos]) if node.pos < len(self._graph.tokens) else ""
        own = self.names.get(name) or self.words.get(name, "")
        return f"{name} {token}" + (f" ({own})" if own else "")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


# --- binding a model ------------------------------------------------------------------------------


def graph(
    graph: AttributionGraph | str | Path,
    model: Model | None = None,
    *,
    dictionaries: Sequence[Dictionary] | None = None,
    on: Any = None,
    tokens: int = 8192,
    **state: Any,
) -> GraphWidget:
    """A widget of an attribution graph: read its nodes, name them, set them to other values.

    `.value` is the graph with names, groups and pins; `.save(path)` writes it; `.part` is what the
    picture shows; `.pin(node)`, `.name(node, text)`, `.group(name, nodes)` and
    `.clamp(node, value)` do what the page does.

    Example:
        >>> graph = features.graph(model, "The capital of France is", transcoders)
        >>> interp.widgets.graph(graph)                           # without a model
        >>> interp.widgets.graph(graph, model)                    # clamp nodes
        >>> interp.widgets.graph(graph, model, on=interp.texts.documentation())  # contexts on cards
        >>> interp.widgets.graph("france.json", model, dictionaries=transcoders)

    Args:
        graph: An AttributionGraph, or the path of one that `save` wrote.
        model: With it, features can be set to other values: what the graph says of it and what the
            model does stand side by side. Its own run must be the graph's.
        dictionaries: Those that the graph was made of; they are known for a graph of this session.
        on: The text that cards show contexts of, as in `interp.features.firings`; a list of
            `Firings`, one a dictionary, needs no forward pass. None: cards without contexts.
        tokens: How many tokens of the text are read.
        **state: values ({node: activation}), shown (how many nodes beside tokens and logits, the
            most influential), node (the chosen one), pinned, names, groups.

    Raises:
        ValueError: If the model or the dictionaries are not those of the graph, or a graph from a
            file comes with a model but without dictionaries.

    Cost:
        A click on a node costs nothing, setting one costs a run of the prompt. Contexts cost one
        pass over the text a dictionary, beside the widget.
    """
    if isinstance(graph, str | Path):
        graph = AttributionGraph.load(graph)
    if model is None:
        lacking = "dictionaries" if dictionaries is not None else "on" if on is not None else ""
        if lacking:
            raise ValueError(f"{lacking}= needs the model: interp.widgets.graph(graph, model, ...)")
        return GraphWidget(graph, **state)
    live = _Live(graph, model, dictionaries, on, tokens)
    words = live.words if on is not None else None
    now = {"model_now": lambda: bridge.ready(model)}
    return GraphWidget(graph, live.compare, live.card, words, **now, **state)


class _Live:
    """The runs and the cards of a graph whose model is there."""

    def __init__(
        self,
        graph: AttributionGraph,
        model: Model,
        dictionaries: Sequence[Dictionary] | None,
        on: Any,
        tokens: int,
    ) -> None:
        self.graph, self.model, self.given = graph, model, dictionaries
        self.on, self.tokens = on, tokens
        self._key: Any = None
        self._bound: Bound | None = None
        self._readers: dict[str, tuple[Any, Counted]] = {}
        self._scale: float | None = None
        self.bound()

    def bound(self) -> Bound:
        """Model and dictionaries; a model that was changed is looked at again."""
        key = bridge.ready(self.model)
        if self._bound is None or key != self._key:
            self._bound = None
            self._bound, self._key = bind(self.graph, self.model, self.given), key
            self._readers.clear()
        return self._bound

    def compare(self, values: dict[str, float]) -> Any:
        """What graph and model say when features take these values."""
        return compare(self.graph, values, self.bound(), PARTED)

    def card(self, node: Node, stale: Callable[[], bool]) -> dict[str, Any]:
        """The card of a feature: contexts where there is a text, otherwise its direct effects."""
        dictionary = self.bound().dictionaries[node.site]
        if self.on is not None:
            make, _ = self._reader(node.site)
            return {"html": piece(make(node.index))}
        words = Words(getattr(self.model, "tokenizer", None))
        direction = dictionary.W_dec[node.index : node.index + 1].float()
        logits = logit_effects.effects(self.model, dictionary.writes, direction, self._divide())
        if logits is None:
            return {}
        effects = node.value * logits[0]
        ends = [effects.topk(min(LOGITS, len(effects)), largest=up) for up in (True, False)]
        up, down = (
            [[words(int(i)), float(v)] for i, v in zip(end.indices, end.values)] for end in ends
        )
        return {"up": up, "down": down}

    def _divide(self) -> float:
        """What the final norm divides by at the prompt's last position."""
        if self._scale is None:
            from interp.features import site_values

            ids = self.bound().ids
            end = site_values.values(self.model, ids, ["logits.in"])["logits.in"][:, -1:]
            with torch.no_grad():
                self._scale = float(bridge.final_scale(self.model, end).mean())
        return self._scale

    def words(self) -> Iterator[dict[str, str]]:
        """What the contexts say of each feature, dictionary by dictionary."""
        features = [node for node in self.graph.nodes if node.kind == "feature"]
        for site in dict.fromkeys(node.site for node in features):
            _, counted = self._reader(site)
            said = {n.name: counted.description(n.index) for n in features if n.site == site}
            yield {name: text for name, text in said.items() if text not in (UNCLEAR, NEVER)}

    def _reader(self, site: str) -> tuple[Any, Counted]:
        dictionary = self.bound().dictionaries[site]
        if site not in self._readers:
            seen = self._seen(dictionary)
            counted = Counted(seen, Words(getattr(self.model, "tokenizer", None)))
            self._readers[site] = reader(self.model, seen, counted=counted), counted
        return self._readers[site]

    def _seen(self, dictionary: Dictionary) -> Firings:
        given = [self.on] if isinstance(self.on, Firings) else self.on
        if isinstance(given, list | tuple) and any(isinstance(one, Firings) for one in given):
            for one in given:
                if one.dictionary is dictionary:
                    return one
            raise ValueError(f"on= has no firings of {dictionary.name!r}")
        return found_on(self.model, dictionary, on=self.on, tokens=self.tokens)
