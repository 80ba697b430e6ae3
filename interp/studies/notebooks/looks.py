"""What figures look like, as one short word a kind: a built notebook notes it, so that pictures of
older drawing code are found without running anything.

The word is made of what reference figures consist of (sizes, colours, line styles, words), not of
the code that draws them: moving code about does not change it, another colour of an outline does.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import cache

import numpy as np

from interp import plots

CALL = re.compile(r"\bplots\.(heatmap|lines|bars|scatter)\(")
ANY = re.compile(r"\.plot\(|draw_curves\(")  # a Result chooses its kind of figure by itself


@cache
def looks() -> dict[str, str]:
    """The word of each kind of figure, as figures are drawn now, and matplotlib's version.

    Example:
        >>> sorted(looks())
        ['bars', 'heatmap', 'lines', 'matplotlib', 'scatter']
    """
    import matplotlib
    import matplotlib.pyplot as plt

    some, names = np.array([[0.1, -0.4, 0.3], [0.2, 0.5, -0.1]]), ["a", "b", "c"]
    words = {"title": "title", "unit": "unit"}
    with plt.rc_context(plt.rcParamsDefault), plt.ioff():
        drawn = {
            "heatmap": plots.heatmap(
                some,
                names[:2],
                names,
                row_name="row",
                col_name="col",
                marks={"marked": [("a", "b")]},
                **words,
            ),
            "lines": plots.lines(
                some, names, names=names[:2], interval=(some - 1, some + 1), x_name="x", **words
            ),
            "bars": plots.bars(some[0], names, interval=(some[0] - 1, some[0] + 1), **words),
            "scatter": plots.scatter(some[0], some[1], names, x_name="x", y_name="y", title="t"),
        }
        found = {kind: _word(ax.figure) for kind, ax in drawn.items()}
    for ax in drawn.values():
        plt.close(ax.figure)
    return found | {"matplotlib": matplotlib.__version__}


def older(noted: dict[str, str], cells: Iterable[str]) -> list[str]:
    """The kinds of figures that a notebook drew otherwise than they are drawn now.

    Args:
        noted: What `looks` gave when the notebook was built; empty if it noted nothing. Another
            version of matplotlib cannot be compared.
        cells: The notebook's code.
    """
    now = looks()
    if noted.get("matplotlib") != now["matplotlib"]:
        return []
    return [kind for kind in sorted(used(cells)) if noted.get(kind) != now[kind]]


def used(cells: Iterable[str]) -> set[str]:
    """The kinds of figures that code draws; all of them where a Result draws itself."""
    code = "\n".join(cells)
    return {"heatmap", "lines", "bars", "scatter"} if ANY.search(code) else set(CALL.findall(code))


def _word(figure: object) -> str:
    """A hash of what the figure consists of."""
    told = [tuple(np.round(figure.get_size_inches(), 2))]
    for artist in figure.findobj():
        told.append(type(artist).__name__)
        for getter in GETTERS:
            if hasattr(artist, getter):
                told.append(_plain(getattr(artist, getter)()))
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


GETTERS = (
    "get_color",
    "get_facecolor",
    "get_edgecolor",
    "get_linewidth",
    "get_linestyle",
    "get_alpha",
    "get_marker",
    "get_text",
    "get_fontsize",
    "get_visible",
)


def _plain(value: object) -> object:
    """A property in a form whose text is the same on every machine."""
    if isinstance(value, str | bool) or value is None:
        return value
    try:
        return np.round(np.asarray(value, dtype=float), 3).tolist()
    except (TypeError, ValueError):
        return str(type(value).__name__)
