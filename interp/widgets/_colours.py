"""The page's colours in the static twins: a number has one colour, live and in the saved picture.

They are those of `_shared.css` in the light theme.
"""

from typing import Any

from matplotlib.colors import LinearSegmentedColormap

from interp.plots import MISSING

ZERO, MUCH, UP, DOWN = "#f6f6f4", "#2b6e8f", "#b2182b", "#2166ac"
ONE = LinearSegmentedColormap.from_list("interp", [ZERO, MUCH])
TWO = LinearSegmentedColormap.from_list("interp_two", [DOWN, ZERO, UP])


def colours_of(low: float) -> Any:
    """The colours of a scale that begins at this number: of one sign, or of two."""
    return (TWO if low < 0 else ONE).with_extremes(bad=MISSING)


def as_on_the_page(figure: Any) -> None:
    """Gives each map of a figure the page's colours, and the words in its cells black or white."""
    for ax in figure.axes:
        for image in ax.images:
            if not image.cmap.name.startswith("interp"):
                low_is_best = image.norm.vmin >= 0 and image.cmap.name.endswith("_r")
                colours = colours_of(image.norm.vmin)
                image.set_cmap(colours.reversed() if low_is_best else colours)
            values = image.get_array()
            for text in ax.texts:
                col, row = text.get_position()
                if text.get_transform() == ax.transData and row % 1 == col % 1 == 0:
                    value = values[int(row), int(col)]
                    red, green, blue, _ = image.cmap(image.norm(value))
                    dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
                    text.set_color("white" if dark else "black")
