"""Arrays with labels become figures. This module knows matplotlib and no class of ours.

Diverging data gets a diverging map centred on zero, other data a sequential one; colour bars and
axes carry the unit; functions return the Axes and nothing is shown by itself.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from interp._errors import unknown

DIVERGING, SEQUENTIAL = "RdBu_r", "viridis"
MARKS = (
    "#111111",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
)  # colour-blind safe (Okabe and Ito)
COMPARED = ("#d55e00", "#555555")  # of the lines to compare with
DPI = 90
AXIS = {
    "pos": "token",
    "dest": "attends from",
    "src": "attends to",
    "kv_head": "KV head",
    "number": "number of heads",
    "strength": "strength, times the direction",
    "distance": "tokens back",
    "edges": "number of edges",
}
ORDERED = (
    "layer",
    "number",
    "distance",
    "edges",
    "step",
    "false positive rate",
)  # axes along which values make a line
PLACED = (
    "false positive rate",
)  # of these, the axes whose labels are the places, so that steps may differ
RANK = "tokens above"  # how the unit of a rank begins
MISSING, MOST_PANELS = "#bbbbbb", 12
MOST_BARS, MOST_CELLS, STRONGEST = 60, 12_000, 20  # beyond these only the strongest cells are drawn
NAMED = 3  # cells of a map that carry their address
WIDTHS = {"column": 3.25, "page": 6.75}  # inches, of the usual conference templates
PAPER = {  # text stays text: Type 42 fonts in PDF, which IEEE and ACM ask for
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "interp",
}
TICK, LABEL, TITLE = 8, 9, 10  # points; at 90 dots an inch the smallest letters are ten pixels high


class TooMuch(ValueError):
    """More axes or panels than one picture holds."""


# what a figure is drawn of: an array, nested lists, or whatever numpy makes an array of (a tensor
# on the CPU)
Numbers = Any


def kind(dims: Sequence[str], coords: Mapping[str, Sequence]) -> str:
    """Which picture fits these axes: "lines", "bars", "map" or "panels".

    Up to eight words by layer, number, distance, edges or step are lines; one such axis (or
    positions) is a line, any other bars (and steps that are named).

    Example:
        >>> kind(["layer", "head"], {"layer": range(30), "head": range(9)})
        'map'
    """
    if len(dims) == 1:
        named = dims[0] == "step" and _words(coords["step"])
        return "lines" if dims[0] in (*ORDERED, "pos") and not named else "bars"
    if (
        len(dims) == 2
        and dims[1] in ORDERED
        and len(coords[dims[0]]) <= 8
        and dims[0] not in ("pos", "dest", "src")
    ):
        return "lines" if all(isinstance(x, str) for x in coords[dims[0]]) else "map"
    return "map" if len(dims) == 2 else "panels"


def crowded(dims: Sequence[str], coords: Mapping[str, Sequence]) -> bool:
    """Whether a picture of all cells could not be read, so that the strongest cells are drawn.

    That is so for four axes, too many panels, the edges of a model, a few thousand neurons, and a
    long narrow map.

    Example:
        >>> crowded(["layer", "neuron"], {"layer": range(30), "neuron": range(1536)})
        True
    """
    sizes = [len(coords[d]) for d in dims]
    cells = int(np.prod(sizes, dtype=np.int64))
    if len(dims) > 3:
        return True
    if len(dims) == 3:
        return sizes[0] > MOST_PANELS
    if len(dims) == 1:
        return kind(dims, coords) == "bars" and cells > MOST_BARS
    edges = tuple(dims) == ("sender", "receiver") and cells > 400
    narrow = len(dims) == 2 and min(sizes) <= 2 and max(sizes) > MOST_BARS
    return edges or cells > MOST_CELLS or (narrow and kind(dims, coords) == "map")


def strongest(picture: Mapping[str, Any], n: int = STRONGEST) -> dict[str, Any]:
    """The picture of the n cells with the largest values in size (or the best ranks), as bars
    with their names.
    """
    values = np.ravel(np.asarray(picture["values"], dtype=float))
    size = values if low_is_best(picture["unit"], values) else -np.abs(values)
    order = [i for i in np.argsort(size, kind="stable") if np.isfinite(values[i])][:n]
    interval = picture.get("interval")
    return dict(
        picture,
        values=values[order],
        dims=("strongest",),
        coords={"strongest": [picture["labels"][i] for i in order]},
        title=f"{picture['title']}: the {len(order)} strongest of {np.isfinite(values).sum():,}",
        interval=None if interval is None else tuple(np.ravel(end)[order] for end in interval),
    )


def draw(
    picture: Mapping[str, Any],
    ax: Any = None,
    *,
    marks: Mapping[str, Sequence[tuple]] | None = None,
    title: str | None = None,
    centred: bool | None = None,
    figure: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Any:
    """The Axes with a picture that fits the values' axes; an array of Axes for panels.

    Args:
        picture: values, dims, coords, title, unit, interval (low, high or None). span: the ends of
            the scale, where all of it is shown. compared: numbers by name that the values are held
            against, a dotted line each.
        ax: Where to draw; a new figure if None.
        marks: Cells of a map to outline, by label in the order of dims: {"name mover": [(23, 3)]}.
        title: Instead of the picture's.
        centred: Whether the colours are centred on zero; by default if a value is negative.
        figure: What is drawn into when there is no ax.
        figsize: Inches of a new figure.

    Raises:
        TooMuch: If there are more axes or panels than one picture holds.
        ValueError: If marks are given for what is no map, or one ax for several panels.
    """
    if figsize is not None and ax is None and figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=figsize, dpi=DPI, layout="constrained")
    dims = tuple(picture["dims"])
    picture = {**picture, "title": picture["title"] if title is None else title}
    if len(dims) == 0:
        raise ValueError(
            f"{picture['title']!r} is a single number ({float(picture['values']):.4g}): there is"
            " nothing to draw"
        )
    if len(dims) > 3:
        raise TooMuch(
            f"{len(dims)} axes are too many for one picture: choose with .sel() or average with"
            " .mean()"
        )
    if not np.size(picture["values"]):
        raise ValueError(f"{picture['title']!r} has no cells: there is nothing to draw")
    what = kind(dims, picture["coords"])
    if marks and what in ("lines", "bars"):
        raise ValueError(
            f"marks outline the cells of a map; {picture['title']!r} over {', '.join(dims)} is"
            f" drawn as {what}"
        )
    if what == "panels":
        if ax is not None:
            raise ValueError(
                f"three axes need a figure of their own: leave ax= out, or choose one {dims[0]}"
                " with .sel()"
            )
        return _panels(picture, marks or {}, centred, figure)
    if ax is None:
        ax = figure.subplots() if figure is not None else _new(*size_of(picture))
    if what == "map":
        return _one_map(picture, ax, marks or {}, centred)
    options = dict(
        title=picture["title"], unit=picture["unit"], interval=picture.get("interval"), ax=ax
    )
    labels = picture["coords"][dims[-1]]
    if dims == ("strongest",):
        return _beside(strongest_bars(picture["values"], labels, **options), picture, across=True)
    if what == "bars":
        drawn = bars(picture["values"], labels, **options)
        if not _words(labels):  # numbers do not say what they are
            drawn.set_xlabel(_axis_name(dims[-1], labels))
        return _beside(drawn, picture)
    names = [str(x) for x in picture["coords"][dims[0]]] if len(dims) == 2 else None
    drawn = lines(
        picture["values"],
        labels,
        x_name=_axis_name(dims[-1], labels),
        names=names,
        placed=dims[-1] in PLACED,
        **options,
    )
    return _beside(drawn, picture)


def _beside(ax: Any, picture: Mapping[str, Any], across: bool = False) -> Any:
    """The Axes with the whole scale, and a dotted line for each number to compare with.

    across: whether the values run along x.
    """
    if picture.get("span"):
        low, high = picture["span"]
        room = 0.03 * (high - low)  # a marker at an end is seen whole
        (ax.set_xlim if across else ax.set_ylim)(low - room, high + room)
    for (name, value), colour in zip(picture.get("compared", {}).items(), COMPARED * 4):
        line = ax.axvline if across else ax.axhline
        line(
            value, color=colour, linewidth=1.3, linestyle=":", label=f"{literal(name)} {value:.2f}"
        )
    if picture.get("compared"):
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=TICK, frameon=False)
    return ax


def side_by_side(
    pictures: Sequence[Mapping[str, Any]],
    *,
    title: str | None = None,
    figsize: tuple[float, float] | None = None,
    **options: Any,
) -> Any:
    """An array of Axes, one for each picture, on scales of their own under one title.

    Args:
        pictures: As `draw` takes them; the first one's title is that of the whole.
        title: Instead of it.
        figsize: Inches of the figure.
        **options: As in `draw`.
    """
    import matplotlib.pyplot as plt

    sizes = [size_of(picture) for picture in pictures]
    wide, tall = sum(size[0] for size in sizes), max(size[1] for size in sizes) + 0.3
    figure = plt.figure(figsize=figsize or (min(14.0, wide), tall), dpi=DPI, layout="constrained")
    ratios = [size[0] for size in sizes]
    axes = figure.subplots(1, len(pictures), width_ratios=ratios, squeeze=False)[0]
    for ax, picture in zip(axes, pictures):
        draw({**picture, "title": ""}, ax=ax, **options)
    whole = pictures[0]["title"] if title is None else title
    figure.suptitle(textwrap.fill(whole, int(13 * wide)), fontsize=TITLE)
    return axes


def png(picture: Mapping[str, Any], **options: Any) -> bytes:
    """The picture as PNG bytes, drawn without pyplot (safe in a widget's callback)."""
    return _png(_drawn(picture, **options))


def _drawn(picture: Mapping[str, Any], **options: Any) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_of(picture), dpi=DPI, layout="constrained")
    draw(picture, figure=figure, **options)
    return figure


def _png(figure: Any, box: Any = "tight") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches=box, metadata={"Software": None})
    return buffer.getvalue()


# A dark JupyterLab turns the picture's white to black and keeps its hues.
STYLE = (
    "<style>body[data-jp-theme-light=false] .interp-picture img"
    "{filter:invert(.9) hue-rotate(180deg)}"
    ".interp-picture{position:relative;display:inline-block;max-width:100%}"
    ".interp-picture img{display:block;max-width:100%}"
    ".interp-picture i{position:absolute;cursor:pointer}"
    ".interp-picture i:is(:hover,:focus){outline:1.5px solid #f80}"
    # a click keeps a cell's name and value on the picture until the next one
    ".interp-picture i:focus{z-index:1}.interp-picture i:focus::after{content:attr(title);"
    "position:absolute;left:50%;bottom:calc(100% + 3px);transform:translateX(-50%);"
    "padding:1px 6px;font:12px/1.5 system-ui,sans-serif;white-space:nowrap;color:#111;"
    "background:#fff;border:1px solid #f80;border-radius:3px}"
    ".interp-picture i.l:focus::after{left:0;transform:none}"
    ".interp-picture i.r:focus::after{left:auto;right:0;transform:none}</style>"
)


def html(picture: Mapping[str, Any], alt: str = "") -> str:
    """The picture for a notebook: a PNG, over it a layer that says a cell's name and value where
    the pointer is (a click keeps them), and a rule that turns it dark with JupyterLab's theme.
    """
    from base64 import b64encode
    from html import escape

    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _drawn(picture)
    FigureCanvasAgg(figure).draw()  # places everything, so that its box is known
    box = figure.get_tightbbox().padded(0.08)  # inches
    image = b64encode(_png(figure, box)).decode()
    spots = "".join(
        f'<i{_side(left + wide / 2)} tabindex="-1"'
        f' style="left:{left:.2%};top:{top:.2%};width:{wide:.2%};height:{tall:.2%}"'
        f' title="{escape(text)}"></i>'
        for left, top, wide, tall, text in _spots(picture, figure, box)
    )
    return (
        f'{STYLE}<div class="interp-picture"><img alt="{escape(alt)}"'
        f' src="data:image/png;base64,{image}">{spots}</div>'
    )


def _side(middle: float) -> str:
    """The class of a cell near an edge of the picture, so that what it says stays in it."""
    return ' class="l"' if middle < 0.25 else ' class="r"' if middle > 0.75 else ""


def _spots(
    picture: Mapping[str, Any], figure: Any, box: Any
) -> list[tuple[float, float, float, float, str]]:
    """(left, top, width, height) of each cell as shares of the picture, and what to say there."""
    dims, labels = tuple(picture["dims"]), picture.get("labels")
    values = np.asarray(picture["values"], dtype=float)
    if dims == ("strongest",):
        labels = picture["coords"]["strongest"]
    if labels is None or len(dims) > 3 or values.size > 1500:
        return []
    names = np.reshape(np.asarray(labels, dtype=object), values.shape)
    if len(dims) == 3:  # a panel, which is a map, for each label of the first
        shown = [
            (ax, "map", dims[1:], *one)
            for ax, *one in zip(figure.axes, names, values, strict=False)
        ]
    else:
        what = kind(dims, picture["coords"]) if dims != ("strongest",) else "strongest"
        shown = [(figure.axes[0], what, dims, names, values)]
    out = []
    for ax, what, axes, some, numbers in shown:
        for (left, right, low, high), text in _places(ax, what, axes, some, numbers):
            corners = ax.transData.transform([(left, low), (right, high)]) / figure.dpi
            (a, b), (c, d) = corners.min(0), corners.max(0)
            out.append(
                (
                    (a - box.x0) / box.width,
                    (box.y1 - d) / box.height,
                    (c - a) / box.width,
                    (d - b) / box.height,
                    f"{text} {picture['unit']}",
                )
            )
    return out


def _places(
    ax: Any, what: str, dims: tuple[str, ...], names: np.ndarray, values: np.ndarray
) -> list[tuple[tuple[float, float, float, float], str]]:
    """(left, right, low, high) of each cell in the axes' own numbers, and its name and value."""
    if what == "map" and dims == ("layer", "head"):
        names, values = names.T, values.T
    places = []
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    for index, name in np.ndenumerate(names):
        if what == "map":
            row, col = index
            at = (col - 0.5, col + 0.5, row - 0.5, row + 0.5)
        elif what == "strongest":
            at = (x0, x1, index[0] - 0.5, index[0] + 0.5)
        elif what == "bars":
            at = (index[0] - 0.5, index[0] + 0.5, y0, y1)
        else:
            return []
        places.append((at, f"{name}: {values[index]:.4g}"))
    return places


class Panels(np.ndarray):
    """The Axes of a picture of several panels; as the last line of a cell it prints nothing."""

    def _ipython_display_(self) -> None:
        return None


def quiet(axes: Any) -> Any:
    """The Axes themselves, which print nothing above their figure as the last line of a cell."""
    if isinstance(axes, np.ndarray):
        return axes.view(Panels)
    axes._ipython_display_ = lambda: None
    return axes


def heatmap(
    values: Numbers,
    rows: Sequence,
    cols: Sequence,
    *,
    row_name: str,
    col_name: str,
    title: str,
    unit: str,
    centred: bool | None = None,
    ax: Any = None,
    marks: Mapping[str, Sequence[tuple]] | None = None,
    upward: bool = False,
    limit: float | None = None,
    bar: bool = True,
    missing: str = "does not apply",
) -> Any:
    """The Axes with a map of values [row col]; missing cells are grey.

    Up to 25 cells also carry their numbers. Ranks (the unit begins with "tokens above") have
    a logarithmic scale, on which the best are bright.

    Example:
        >>> names = dict(row_name="head", col_name="layer", title="effect", unit="logits")
        >>> heatmap(values, range(9), range(30), **names)

    Args:
        values: Numbers [row col].
        rows: The rows' labels.
        cols: The columns' labels.
        row_name: What the rows are.
        col_name: What the columns are.
        title: The title.
        unit: The unit, written at the colour bar.
        centred: Whether the colours are centred on zero; by default if a value is negative.
        ax: Where to draw; a new figure if None.
        marks: {"name mover": [(3, 23)]}, cells as (row label, column label).
        upward: Whether the first row is at the bottom.
        limit: The end of the colour scale, for maps that share one.
        bar: Whether to draw the colour bar.
        missing: What a grey cell means.
    """
    from matplotlib import colormaps
    from matplotlib.colors import Normalize, SymLogNorm

    values = np.asarray(values, dtype=float)
    ax = _new(8.5, 3.2) if ax is None else ax
    finite = values[np.isfinite(values)]
    centred = bool(len(finite) and finite.min() < 0) if centred is None else centred
    low, top = _scale(finite, centred) if limit is None else (-limit if centred else 0.0, limit)
    name, norm = DIVERGING if centred else SEQUENTIAL, Normalize(low, top)
    if low_is_best(unit, values) and not centred:  # one place at the top counts more than ten below
        name, norm = f"{SEQUENTIAL}_r", SymLogNorm(1, vmin=0, vmax=max(top, 1))
    cmap = colormaps[name].with_extremes(bad=MISSING)
    image = ax.imshow(
        values,
        cmap=cmap,
        norm=norm,
        aspect="auto",
        origin="lower" if upward else "upper",
        interpolation="nearest",
    )
    _ticks(ax.yaxis, rows)
    _ticks(ax.xaxis, cols)
    _plain(ax, title)
    ax.spines[:].set_visible(False)
    ax.set_xlabel(col_name)
    ax.set_ylabel(row_name)
    ax.set_facecolor(MISSING)
    if values.size <= 25:
        _numbers(ax, values, image)
    if bar:
        _bar(ax.figure, image, ax, unit)
    if not np.isfinite(values).all():
        ax.plot([], [], "s", color=MISSING, label=missing)
    _mark(ax, marks or {}, list(rows), list(cols))
    if ax.get_legend_handles_labels()[1]:
        below = 0.45 + (
            0.06 * max(len(str(c)) for c in cols) if _words(cols) else 0
        )  # inches: under the tick labels
        tall = ax.get_position().height * ax.figure.get_size_inches()[1]
        ax.legend(
            loc="upper left",
            bbox_to_anchor=(0, -below / tall),
            ncols=4,
            fontsize=TICK,
            frameon=False,
        )
    return ax


def lines(
    values: Numbers,
    x: Numbers,
    *,
    x_name: str,
    title: str,
    unit: str,
    interval: Numbers = None,
    names: Sequence[str] | None = None,
    placed: bool = False,
    band: str = "95 % interval",
    log: str = "",
    guide: tuple[Numbers, str] | None = None,
    colours: Sequence[str] | None = None,
    ax: Any = None,
) -> Any:
    """The Axes with one line (values [x]) or several (values [line x]), and a band if given.

    Example:
        >>> losses, widths = [4e-3, 2e-3, 1e-3], [10, 20, 40]
        >>> lines(losses, widths, log="xy", guide=([4e-3, 2e-3, 1e-3], "1/m"), x_name="width",
        ...       title="Loss by width", unit="loss")

    Args:
        values: Numbers [x], or [line x] together with names.
        x: The places or labels along the axis.
        x_name: What x is.
        title: The title.
        unit: The unit of the values.
        interval: (low, high), each shaped like values.
        names: A name for each line.
        placed: Whether x are numbers that say where the values stand; otherwise they are labels,
            evenly spaced.
        band: What the interval is ("three seeds").
        log: Which axes are logarithmic: "x", "y" or "xy"; with "x", x are numbers.
        guide: A line to compare with, as (values, name): dashed and grey.
        colours: A colour for each line, where a name keeps its colour through several figures.
        ax: Where to draw; a new figure if None.

    Raises:
        ValueError: If `log` names another axis, or a logarithmic axis has no positive numbers.
    """
    if set(log) - {"x", "y"}:
        raise ValueError(f"log={log!r}: write 'x', 'y' or 'xy'")
    placed = placed or "x" in log
    for axis, numbers in (("x", x), ("y", values)):
        if axis in log and not (np.asarray(numbers, dtype=float) > 0).any():
            raise ValueError(f"log={log!r}: no number of the {axis} axis is above 0")
    ax = _new(7, 3.6) if ax is None else ax
    styles = [(c, s) for s in ("-", "--", ":") for c in ("#0072b2", *MARKS[1:])]
    many = np.atleast_2d(values)
    at = np.asarray(x, dtype=float) if placed else np.arange(len(x))
    for k, line in enumerate(many):
        (colour, style), name = styles[k % len(styles)], literal(names[k]) if names else None
        colour, style = (colours[k], "-") if colours else (colour, style)
        ax.plot(
            at,
            line,
            style,
            marker="osD^vP"[k % 6],
            markersize=3 if len(at) <= 60 else 0,  # of many, the line alone
            linewidth=1.5,
            color=colour,
            label=name,
        )
        if interval is not None:
            low, high = (np.atleast_2d(end)[k] for end in interval)
            ax.fill_between(
                at, low, high, color=colour, alpha=0.2, linewidth=0, label=None if names else band
            )
    if names and interval is not None:
        ax.fill_between([], [], color="#888888", alpha=0.3, linewidth=0, label=band)
    if guide is not None:
        ax.plot(at, guide[0], "--", color="#777777", linewidth=1.2, label=literal(guide[1]))
    if not placed:
        _ticks(ax.xaxis, x)
    if low_is_best(unit, np.asarray(values, dtype=float)) and not log:
        ax.set_yscale("symlog", linthresh=1)  # rank 0 is on it
        ax.set_ylim(bottom=0)
    if "y" not in log:
        ax.axhline(0, color="#888888", linewidth=0.7)
    for axis in log:
        getattr(ax, f"set_{axis}scale")("log")
    if "x" in log and len(at) <= 10:  # the places themselves, not only powers of ten
        from matplotlib.ticker import NullLocator

        ax.set_xticks(at, [f"{place:g}" for place in at])
        ax.xaxis.set_minor_locator(NullLocator())
    _plain(ax, title)
    ax.set_xlabel(x_name)
    ax.set_ylabel(unit)
    if names:  # beside the lines, where it covers none
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=TICK, frameon=False)
    elif interval is not None:
        ax.legend(fontsize=TICK, frameon=False)
    return ax


def bars(
    values: Numbers,
    labels: Sequence,
    *,
    title: str,
    unit: str,
    interval: Numbers = None,
    ax: Any = None,
) -> Any:
    """The Axes with a bar per label and its 95 % interval as a whisker.

    Args:
        values: Numbers [label].
        labels: The names of the bars.
        title: The title.
        unit: The unit of the values.
        interval: (low, high), each shaped like values.
        ax: Where to draw; a new figure if None.
    """
    longest = max((len(str(label)) for label in labels), default=0)
    if ax is None:  # long names stand aslant
        wide = _bars_width(labels, title, interval is not None)
        ax = _new(wide, 2.8 + 0.06 * max(0, longest - 10))
    at, values = np.arange(len(labels)), np.asarray(values, dtype=float)
    ax.bar(at, values, color="#0072b2")
    if interval is not None:
        middle, half = (np.add(*interval) / 2, np.subtract(interval[1], interval[0]) / 2)
        ax.errorbar(
            at,
            middle,
            half,
            fmt="none",
            ecolor="#333333",
            capsize=2,
            elinewidth=1,
            label="95 % interval",
        )
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=TICK, frameon=False)
    _ticks(ax.xaxis, labels, _room_beside(interval is not None))
    ax.axhline(0, color="#888888", linewidth=0.7)
    _plain(ax, title)
    ax.set_ylabel(unit)
    ax.margins(x=0.02 if len(labels) > 4 else 0.1)
    return ax


def strongest_bars(
    values: Numbers,
    labels: Sequence,
    *,
    title: str,
    unit: str,
    interval: Numbers = None,
    ax: Any = None,
) -> Any:
    """The Axes with a horizontal bar per label, the first on top, and its 95 % interval.

    Args:
        values: Numbers [label].
        labels: The names of the bars.
        title: The title.
        unit: The unit of the values.
        interval: (low, high), each shaped like values.
        ax: Where to draw; a new figure if None.
    """
    ax = _new(6.5, 0.24 * len(labels) + 1) if ax is None else ax
    at, values = np.arange(len(labels)), np.asarray(values, dtype=float)
    ax.barh(at, values, color=["#0072b2" if v >= 0 else "#d55e00" for v in values], height=0.7)
    if interval is not None:
        low, high = (np.asarray(end, dtype=float) for end in interval)
        ax.hlines(at, low, high, color="#333333", linewidth=1, label="95 % interval")
        ax.legend(fontsize=TICK, frameon=False)
    ax.set_yticks(at, [str(label) for label in labels], fontsize=TICK, parse_math=False)
    ax.invert_yaxis()
    ax.axvline(0, color="#888888", linewidth=0.7)
    _plain(ax, title)
    ax.set_xlabel(unit)
    return ax


def scatter(
    x: Numbers,
    y: Numbers,
    labels: Sequence[str],
    *,
    x_name: str,
    y_name: str,
    title: str,
    top: int = 12,
    groups: Sequence[str] | None = None,
    equal: bool = False,
    ax: Any = None,
) -> Any:
    """The Axes with points, of which the farthest from the centre are named where there is room.

    Args:
        x: Numbers [point].
        y: Numbers [point].
        labels: The points' names.
        x_name: What x is, with its unit.
        y_name: What y is, with its unit.
        title: The title.
        top: How many points are named.
        groups: A group per point; each has its colour and marker.
        equal: Whether the line is drawn on which y is x.
        ax: Where to draw; a new figure if None.
    """
    ax = _new(6.5 if groups is not None else 5, 4) if ax is None else ax
    x, y = np.ravel(x), np.ravel(y)
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    kinds = dict.fromkeys(groups) if groups is not None else [None]
    size, alpha = (14, 0.55) if len(x) > 30 else (40, 0.9)
    for kind_, colour, marker in zip(kinds, ("#0072b2", *MARKS[1:], MARKS[0]), "osD^vPX"):
        here = np.array([g == kind_ for g in groups]) if groups is not None else slice(None)
        ax.scatter(
            x[here],
            y[here],
            s=size,
            color=colour,
            marker=marker,
            alpha=alpha,
            linewidth=0,
            label=kind_,
        )
    if groups is not None:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=TICK, frameon=False)
    scaled = [(v - v.mean()) / (v.std() or 1) for v in (x, y)]
    far = np.argsort(-np.hypot(*scaled), kind="stable")[:top]
    ax.axhline(0, color="#888888", linewidth=0.7)
    ax.axvline(0, color="#888888", linewidth=0.7)
    if equal:
        shown = ax.axis()  # the line ends where the points do
        ends = [max(shown[0], shown[2]), min(shown[1], shown[3])]
        ax.plot(ends, ends, color="#888888", linewidth=0.9, linestyle="--", label="y = x")
        ax.axis(shown)
        ax.legend(loc="best", fontsize=TICK, frameon=False, handlelength=1.5)
    _name_points(ax, [(labels[i], float(x[i]), float(y[i])) for i in far])
    _plain(ax, title)
    ax.set_xlabel(x_name)
    ax.set_ylabel(y_name)
    return ax


# --- details --------------------------------------------------------------------------------------


def _name_points(ax: Any, points: Sequence[tuple[str, float, float]], half: float = 0.0) -> None:
    """Names beside their points, each on the first of six sides where it meets no earlier name;
    without room, none.

    half: half a cell of a map, in data: names of cells stand beside them, and inside the map.
    """
    from matplotlib.patheffects import withStroke

    taken: list[tuple[float, float, float, float]] = []
    (left, _), (right_end, _) = (
        ax.transData.transform((end, 0)) * 72 / ax.figure.dpi for end in ax.get_xlim()
    )
    cell = (right_end - left) / max(1e-9, abs(np.subtract(*ax.get_xlim()))) * half
    for name, x, y in points:
        # in points (1/72 inch), as far as is known before drawing: a letter is about 0.65 of its
        # size wide
        at_x, at_y = ax.transData.transform((x, y)) * 72 / ax.figure.dpi
        wide, high = 0.65 * TICK * len(name), 1.2 * TICK
        near = cell + 3
        sides = (
            (near, 3),
            (near, -high),
            (-near - wide, 3),
            (-near - wide, -high),
            (near + 3, -high / 2),
            (-near - 3 - wide, -high / 2),
        )
        for right, up in sides[4:] + sides[:4] if half else sides:
            box = (at_x + right, at_y + up, at_x + right + wide, at_y + up + high)
            if half and (box[0] < left or box[2] > right_end):
                continue
            if all(
                box[0] >= b[2] or box[2] <= b[0] or box[1] >= b[3] or box[3] <= b[1] for b in taken
            ):
                taken.append(box)
                ax.annotate(
                    name,
                    (x, y),
                    fontsize=TICK,
                    xytext=(right, up),
                    textcoords="offset points",
                    parse_math=False,
                    path_effects=[withStroke(linewidth=2, foreground="white")],
                )
                break


def _one_map(
    picture: Mapping[str, Any], ax: Any, marks: Mapping, centred: bool | None, **shared: Any
) -> Any:
    """A map of two axes; thirty layers by nine heads reads best lying down, so layers run along x
    there.
    """
    dims, values = tuple(picture["dims"]), np.asarray(picture["values"], dtype=float)
    names = picture.get("labels")
    names = None if names is None else np.reshape(np.asarray(names, dtype=object), values.shape)
    if dims == ("layer", "head"):
        dims, values = dims[::-1], values.T
        names = None if names is None else names.T
        marks = {name: [cell[::-1] for cell in cells] for name, cells in marks.items()}
    rows, cols = (picture["coords"][d] for d in dims)
    axes = dict(row_name=_axis_name(dims[0], rows), col_name=_axis_name(dims[1], cols))
    ax = heatmap(
        values,
        rows,
        cols,
        **axes,
        title=picture["title"],
        unit=_with_compared(picture),
        centred=centred,
        ax=ax,
        marks=marks,
        upward=dims[0] == "layer",
        missing=picture.get("missing", "does not apply"),
        **({"limit": picture["span"][1]} if picture.get("span") else {}) | shared,
    )
    if names is not None and not marks and values.size > 25 and "dest" not in dims:
        _name_cells(ax, values, names, low_is_best(picture["unit"], values))
    return ax


def _with_compared(picture: Mapping[str, Any]) -> str:
    """The unit of a map, and the numbers that its cells are held against."""
    compared = picture.get("compared", {}).items()
    return "\n".join([picture["unit"], *(f"{name} {value:.2f}" for name, value in compared)])


def _name_cells(ax: Any, values: np.ndarray, names: np.ndarray, lowest: bool = False) -> None:
    """The addresses of the largest cells beside them, one for each patch of neighbours; where low
    is best (a rank), of the lowest.
    """
    size = -values if lowest else np.abs(values)
    flat = [i for i in np.argsort(-size, axis=None, kind="stable") if np.isfinite(values.flat[i])]
    cells: list[tuple] = []
    for i in flat[:200]:
        cell = np.unravel_index(i, values.shape)
        apart = all(max(abs(np.subtract(cell, other))) > 1 for other in cells)
        if apart and (lowest or values.flat[i]):
            cells.append(cell)
        if len(cells) == NAMED:
            break
    points = [(str(names[cell]), float(cell[1]), float(cell[0])) for cell in cells]
    _name_points(ax, points, half=0.5)


def _panels(picture: Mapping[str, Any], marks: Mapping, centred: bool | None, figure: Any) -> Any:
    """A map for each label of the first axis, on one colour scale. marks cells name the panel
    first.
    """
    values, (first, *rest) = np.asarray(picture["values"], dtype=float), picture["dims"]
    names = picture["coords"][first]
    if len(names) > MOST_PANELS:
        raise TooMuch(
            f"{len(names)} panels ({first}) are too many for one picture: choose some with"
            f" .sel({first}=[...])"
        )
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=size_of(picture), dpi=DPI, layout="constrained")
    wide = _columns(picture)
    axes = figure.subplots(-(-len(names) // wide), wide, squeeze=False).ravel()
    finite = values[np.isfinite(values)]
    centred = bool(len(finite) and finite.min() < 0) if centred is None else centred
    limit = float(np.abs(finite).max(initial=0)) or 1.0
    for ax, name, part in zip(axes, names, values):
        panel = dict(picture, values=part, dims=rest, title=literal(name), labels=None)
        here = {k: [tuple(c[1:]) for c in cells if c[0] == name] for k, cells in marks.items()}
        _one_map(panel, ax, {k: v for k, v in here.items() if v}, centred, limit=limit, bar=False)
    _bar(figure, axes[0].images[0], list(axes), picture["unit"])
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    figure.suptitle(picture["title"], fontsize=TITLE + 1)
    return axes[: len(names)]


def _scale(finite: np.ndarray, centred: bool) -> tuple[float, float]:
    low, top = float(finite.min(initial=0)), float(finite.max(initial=0))
    if centred:
        low, top = -max(-low, top), max(-low, top)
    return (low, top) if top > low else (-1.0 if centred else 0.0, 1.0)


def _columns(picture: Mapping[str, Any]) -> int:
    first, *rest = picture["dims"]
    return max(
        1,
        min(
            len(picture["coords"][first]),
            int(13 // size_of(dict(picture, dims=rest, maps=True))[0]),
        ),
    )


def size_of(picture: Mapping[str, Any]) -> tuple[float, float]:
    """Inches that give every cell and every tick label room, within a notebook's width."""
    dims, labels = tuple(picture["dims"]), picture["coords"]
    if dims == ("strongest",):
        return (7.5, 0.24 * len(labels["strongest"]) + 1)
    if len(dims) == 3:
        one, wide = size_of(dict(picture, dims=dims[1:], maps=True)), _columns(picture)
        return (min(12, one[0] * wide + 0.6), one[1] * -(-len(labels[dims[0]]) // wide) + 0.4)
    sizes = [len(labels[d]) for d in dims]
    longest = [max((len(str(x)) for x in labels[d]), default=1) for d in dims]
    below = 0.06 * longest[-1] if _words(labels[dims[-1]]) else 0.0  # slanted labels need height
    if len(dims) == 1 or (kind(dims, labels) == "lines" and not picture.get("maps")):
        wide = (
            _bars_width(labels[dims[0]], picture["title"], picture.get("interval") is not None)
            if kind(dims, labels) == "bars"
            else 7 + (1.5 if len(dims) == 2 else 0)
        )
        return (wide, 2.6 + below)
    (tall, wide), beside = (sizes, longest[0])
    if dims == ("layer", "head"):
        (wide, tall), beside, below = sizes, 2, 0.0
    return (
        min(10, max(4.5, 0.24 * wide + 0.06 * beside + 1.6)),
        min(9, max(2.4, 0.18 * tall + 1.2 + below)),
    )


def _room_beside(interval: bool) -> float:
    """Inches that a picture of bars has beside its bars: the axis, and the legend of intervals."""
    return 0.75 + (1.35 if interval else 0.0)


def _bars_width(labels: Sequence, title: str, interval: bool) -> float:
    """Inches in which bars have room for short labels, and the title for its one line."""
    beside, letters = _room_beside(interval), len(title) / 13  # 13 letters of a title to an inch
    return min(9.0, max(4.0, 0.55 * len(labels) + beside, min(letters, 5.0) + beside))


def _axis_name(dim: str, labels: Sequence) -> str:
    return "position" if dim == "pos" and not _words(labels) else AXIS.get(dim, dim)


def _new(width: float, height: float) -> Any:
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), dpi=DPI, layout="constrained")[1]


def _bar(figure: Any, image: Any, axes: Any, unit: str) -> None:
    first = axes[0] if isinstance(axes, list) else axes
    rows = first.get_subplotspec().get_gridspec().nrows if isinstance(axes, list) else 1
    tall = first.get_position().height * figure.get_size_inches()[1] * rows
    bar = figure.colorbar(
        image, ax=axes, pad=0.015, fraction=0.06, aspect=max(8.0, 9 * tall)
    )  # a ninth of an inch wide
    bar.set_label(unit, fontsize=LABEL)
    bar.ax.tick_params(labelsize=TICK)
    bar.outline.set_visible(False)


def _numbers(ax: Any, values: Numbers, image: Any) -> None:
    for (row, col), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
            ax.text(
                col,
                row,
                f"{value:.3g}",
                ha="center",
                va="center",
                fontsize=TICK,
                color="white" if dark else "black",
            )


def low_is_best(unit: str, values: np.ndarray) -> bool:
    """Whether these are ranks, of which zero is the best."""
    finite = values[np.isfinite(values)]
    return unit.startswith(RANK) and bool(len(finite)) and float(finite.min()) >= 0


def literal(text: Any) -> str:
    """A label that is drawn as it is; matplotlib reads text between two "$" as a formula."""
    return str(text).replace("$", r"\$")


def _words(labels: Sequence) -> bool:
    return any(isinstance(x, str) and not x.isdigit() for x in labels)


def _ticks(axis: Any, labels: Sequence, beside: float | None = None) -> None:
    """Writes the labels, or every few of many; aslant where they have no room side by side.

    beside: inches that axis and legend will take of the width, where that is known.
    """
    words = _words(labels)
    every = 1 if words and len(labels) <= 40 else max(1, -(-len(labels) // 16))
    at = list(range(0, len(labels), every))
    axis.set_ticks(at, [literal(labels[i]) for i in at], fontsize=TICK)
    wide = axis.axes.get_position().width * axis.axes.figure.get_size_inches()[0]
    if beside is not None:  # of the whole width, of which matplotlib first gives axes 0.775
        wide = min(wide, wide / 0.775 - beside)
    room = wide / max(1, len(at))  # inches for each
    if axis.axis_name == "x" and words and max(len(str(labels[i])) for i in at) * 0.075 > room:
        for label in axis.get_ticklabels():
            label.set(rotation=60 if len(at) > 8 else 35, ha="right", rotation_mode="anchor")


def _mark(ax: Any, marks: Mapping[str, Sequence[tuple]], rows: list, cols: list) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3.4, foreground="white")]  # black on a dark cell would not be seen
    for (name, cells), colour in zip(marks.items(), MARKS * 4):
        for k, (row, col) in enumerate(cells):
            for label, known, axis in ((row, rows, ax.get_ylabel()), (col, cols, ax.get_xlabel())):
                if label not in known:
                    raise unknown(f"{axis} in marks[{name!r}]", label, known)
            at, legend = (cols.index(col) - 0.5, rows.index(row) - 0.5), None if k else name
            ax.add_patch(
                Rectangle(
                    at,
                    1,
                    1,
                    fill=False,
                    edgecolor=colour,
                    linewidth=1.8,
                    label=legend,
                    path_effects=halo,
                )
            )


def _plain(ax: Any, title: str) -> None:
    wide = ax.get_position().width * ax.figure.get_size_inches()[0]
    ax.set_title(textwrap.fill(title, max(20, int(13 * wide))), fontsize=TITLE)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=TICK)
    ax.xaxis.label.set_size(LABEL)
    ax.yaxis.label.set_size(LABEL)
