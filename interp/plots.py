"""Arrays with labels become figures. This module knows matplotlib and no class of ours.

Diverging data gets a diverging map centred on zero, other data a sequential one; colour bars and axes carry
the unit; functions return the Axes and nothing is shown by itself.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DIVERGING, SEQUENTIAL = "RdBu_r", "viridis"
MARKS = ("#111111", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")  # colour-blind safe (Okabe and Ito)
DPI = 90
AXIS = {"pos": "token", "dest": "attends from", "src": "attends to", "kv_head": "KV head"}


def draw(
    picture: Mapping[str, Any],
    ax: Any = None,
    *,
    marks: Mapping[str, Sequence[tuple]] | None = None,
    title: str | None = None,
    centred: bool | None = None,
) -> Any:
    """The Axes with a picture of labelled values, chosen by their axes.

    picture: values, dims, coords, title, unit, interval (low, high or None). Two axes make a map; one axis of
    layers or positions a line with its band, any other axis bars; three axes a row of maps. marks outlines
    cells of a map: {"name mover": [(23, 3)]}, by label.
    """
    dims = tuple(picture["dims"])
    title = picture["title"] if title is None else title
    if len(dims) == 0:
        raise ValueError(f"{picture['title']!r} is a single number ({float(picture['values']):.4g}): there is nothing to draw")
    if len(dims) > 3:
        raise ValueError(f"{len(dims)} axes are too many for one picture: choose with .sel() or average with .mean()")
    if len(dims) == 3:
        return _panels(picture, title, centred, marks)
    ax = _axes(picture) if ax is None else ax
    labels = [picture["coords"][d] for d in dims]
    names = [AXIS.get(d, d) for d in dims]
    if len(dims) == 2:
        values, (rows, cols), (row_name, col_name) = picture["values"], labels, names
        if dims == ("layer", "head"):  # thirty layers by nine heads reads best lying down
            values, (cols, rows), (col_name, row_name) = values.T, labels, names
        flip = dims == ("layer", "head")
        cells = {k: [(c[1], c[0]) if flip else tuple(c) for c in v] for k, v in (marks or {}).items()}
        return heatmap(
            values, rows, cols, row_name=row_name, col_name=col_name, title=title, unit=picture["unit"],
            centred=centred, ax=ax, marks=cells, upward="layer" == dims[0] and not flip,
        )  # fmt: skip
    if dims[0] in ("layer", "pos"):
        return lines(
            picture["values"], labels[0], x_name=names[0], title=title, unit=picture["unit"],
            interval=picture.get("interval"), ax=ax,
        )  # fmt: skip
    return bars(picture["values"], labels[0], title=title, unit=picture["unit"], interval=picture.get("interval"), ax=ax)


def png(picture: Mapping[str, Any], **options: Any) -> bytes:
    """The picture as PNG bytes, drawn without pyplot (safe in a widget's callback)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_size(picture), dpi=DPI, layout="constrained")
    if len(picture["dims"]) == 3:
        _panels(picture, picture["title"], None, None, figure)
    else:
        draw(picture, figure.subplots(), **options)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def heatmap(
    values: np.ndarray,
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
) -> Any:
    """The Axes with a map of values [row col]; the colour bar says the unit, missing cells are grey."""
    values = np.asarray(values, dtype=float)
    ax = _new(8.5, 3.2) if ax is None else ax
    finite = values[np.isfinite(values)]
    centred = bool(len(finite) and finite.min() < 0) if centred is None else centred
    top = limit or (float(np.abs(finite).max()) if len(finite) else 1.0) or 1.0
    low = -top if centred else min(0.0, float(finite.min())) if len(finite) else 0.0
    cmap = _map(DIVERGING if centred else SEQUENTIAL)
    image = ax.imshow(
        values, cmap=cmap, vmin=low, vmax=top, aspect="auto", origin="lower" if upward else "upper", interpolation="nearest"
    )
    _ticks(ax.xaxis, cols)
    _ticks(ax.yaxis, rows)
    if any(isinstance(c, str) and not c.isdigit() for c in cols):
        ax.tick_params(axis="x", labelrotation=60)
        for label in ax.get_xticklabels():
            label.set_ha("right")
            label.set_rotation_mode("anchor")
    ax.set(xlabel=col_name, ylabel=row_name)
    ax.set_title(title, fontsize=10)
    ax.set_facecolor("#bbbbbb")
    if bar:
        colours = ax.figure.colorbar(image, ax=ax, pad=0.015, fraction=0.045)
        colours.set_label(unit, fontsize=8)
        colours.ax.tick_params(labelsize=7)
    if not np.isfinite(values).all():
        ax.plot([], [], "s", color="#bbbbbb", label="does not apply")
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.18), fontsize=7, frameon=False)
    _mark(ax, marks or {}, list(rows), list(cols))
    return ax


def lines(
    values: np.ndarray,
    x: Sequence,
    *,
    x_name: str,
    title: str,
    unit: str,
    interval: tuple | None = None,
    names: Sequence[str] | None = None,
    ax: Any = None,
) -> Any:
    """The Axes with one line (values [x]) or several (values [line x] with names), and a 95 % band if given."""
    ax = _new(7, 2.8) if ax is None else ax
    many = np.atleast_2d(values)
    at = np.arange(len(x))
    for k, line in enumerate(many):
        colour = ("#0072b2", *MARKS[1:])[k % 6]
        ax.plot(at, line, marker="o", markersize=3, linewidth=1.5, color=colour, label=names[k] if names else None)
        if interval is not None:
            low, high = (np.atleast_2d(end)[k] for end in interval)
            ax.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0, label=None if names else "95 % interval")
    _ticks(ax.xaxis, x)
    if any(isinstance(c, str) for c in x):
        ax.tick_params(axis="x", labelrotation=60)
    ax.axhline(0, color="#888888", linewidth=0.7)
    ax.set(xlabel=x_name, ylabel=unit)
    ax.set_title(title, fontsize=10)
    if names or interval is not None:
        ax.legend(fontsize=7, frameon=False)
    _plain(ax)
    return ax


def bars(
    values: np.ndarray, labels: Sequence, *, title: str, unit: str, interval: tuple | None = None, ax: Any = None
) -> Any:
    """The Axes with a bar per label and its 95 % interval as a whisker."""
    ax = _new(max(4, 0.45 * len(labels)), 2.8) if ax is None else ax
    at = np.arange(len(labels))
    spread = None
    if interval is not None:
        spread = np.abs(np.stack([np.asarray(values) - interval[0], np.asarray(interval[1]) - values]))
    ax.bar(at, values, color="#0072b2", yerr=spread, ecolor="#333333", capsize=2)
    _ticks(ax.xaxis, labels)
    if any(len(str(label)) > 4 for label in labels):
        ax.tick_params(axis="x", labelrotation=40)
        for label in ax.get_xticklabels():
            label.set_ha("right")
    ax.axhline(0, color="#888888", linewidth=0.7)
    ax.set_ylabel(unit)
    ax.set_title(title, fontsize=10)
    _plain(ax)
    return ax


def scatter(
    x: np.ndarray, y: np.ndarray, labels: Sequence[str], *, x_name: str, y_name: str, title: str, top: int = 12, ax: Any = None
) -> Any:
    """The Axes with labelled points; the `top` points farthest from the centre are named."""
    ax = _new(5, 4) if ax is None else ax
    x, y = np.ravel(x), np.ravel(y)
    ax.scatter(x, y, s=14, color="#0072b2", alpha=0.55, linewidth=0)
    scaled = [(v - v.mean()) / (v.std() or 1) for v in (x, y)]
    for i in np.argsort(-np.hypot(*scaled), kind="stable")[:top]:
        ax.annotate(labels[i], (x[i], y[i]), fontsize=7, xytext=(3, 3), textcoords="offset points")
    ax.axhline(0, color="#888888", linewidth=0.7)
    ax.axvline(0, color="#888888", linewidth=0.7)
    ax.set(xlabel=x_name, ylabel=y_name)
    ax.set_title(title, fontsize=10)
    _plain(ax)
    return ax


# --- details -------------------------------------------------------------------------------------------------


def _panels(picture: Mapping[str, Any], title: str, centred: bool | None, marks: Any, figure: Any = None) -> Any:
    values, (first, *rest) = np.asarray(picture["values"]), picture["dims"]
    names = picture["coords"][first]
    if len(names) > 12:
        raise ValueError(f"{len(names)} panels ({first}) are too many for one picture: choose some with .sel({first}=[...])")
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=_size(picture), dpi=DPI, layout="constrained")
    columns = 1 if len(names) < 2 else 2
    axes = figure.subplots(-(-len(names) // columns), columns, squeeze=False).ravel()
    top = float(np.nanmax(np.abs(values))) or 1.0
    negative = bool(np.nanmin(values) < 0) if centred is None else centred
    for k, (ax, name) in enumerate(zip(axes, names)):
        panel = dict(picture, values=values[k], dims=tuple(rest), title=f"{name}")
        two = [picture["coords"][d] for d in rest]
        flip = tuple(rest) == ("layer", "head")
        heatmap(
            panel["values"].T if flip else panel["values"], two[1] if flip else two[0], two[0] if flip else two[1],
            row_name=rest[1] if flip else rest[0], col_name=rest[0] if flip else rest[1], title=panel["title"],
            unit=picture["unit"], centred=negative, limit=top, ax=ax, marks=None,
        )  # fmt: skip
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    figure.suptitle(title, fontsize=11)
    return axes[: len(names)]


def _size(picture: Mapping[str, Any]) -> tuple[float, float]:
    dims, sizes = picture["dims"], [len(picture["coords"][d]) for d in picture["dims"]]
    if len(dims) == 1:
        return (7, 2.6) if dims[0] in ("layer", "pos") else (min(9, max(4, 0.45 * sizes[0])), 2.8)
    if len(dims) == 3:
        rows = -(-sizes[0] // 2)
        return (10, 2.4 * rows + 0.3)
    tall, wide = (sizes[1], sizes[0]) if tuple(dims) == ("layer", "head") else sizes
    return (min(10, max(4.5, 0.22 * wide + 2.6)), min(8, max(2.6, 0.17 * tall + 1.5)))


def _axes(picture: Mapping[str, Any]) -> Any:
    return _new(*_size(picture))


def _new(width: float, height: float) -> Any:
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), dpi=DPI, layout="constrained")[1]


def _map(name: str) -> Any:
    import matplotlib

    cmap = matplotlib.colormaps[name].copy()
    cmap.set_bad("#bbbbbb")
    return cmap


def _ticks(axis: Any, labels: Sequence) -> None:
    words = any(isinstance(x, str) and not x.isdigit() for x in labels)
    every = 1 if words and len(labels) <= 40 else max(1, -(-len(labels) // 16))
    at = list(range(0, len(labels), every))
    axis.set_ticks(at, [str(labels[i]) for i in at], fontsize=7)


def _mark(ax: Any, marks: Mapping[str, Sequence[tuple]], rows: list, cols: list) -> None:
    from matplotlib.patches import Rectangle

    for (name, cells), colour in zip(marks.items(), MARKS * 4):
        for k, (row, col) in enumerate(cells):
            at = (cols.index(col) - 0.5, rows.index(row) - 0.5)
            ax.add_patch(Rectangle(at, 1, 1, fill=False, edgecolor=colour, linewidth=1.8, label=None if k else name))
    if marks:
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.2), ncols=min(4, len(marks)), fontsize=7, frameon=False)


def _plain(ax: Any) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=7)
    ax.xaxis.label.set_size(8)
    ax.yaxis.label.set_size(8)
