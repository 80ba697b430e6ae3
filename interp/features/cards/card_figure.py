"""The static twin of a card: contexts as shaded text, histogram and logits in one figure."""

from typing import TYPE_CHECKING, Any

from interp.features.cards.card_html import digits, share, subtitle
from interp.features.cards.describe import visible

if TYPE_CHECKING:  # the value knows its picture, not the other way round
    import interp.features.cards.cards

HOT, UP, DOWN, BAR, SOFT = "#f59e42", "#b2182b", "#2166ac", "#0072b2", "#5f6670"
SIZE, LETTER, LINE = (
    7.973,
    0.602,
    13.5,
)  # points; DejaVu Sans Mono is 0.602 of its size wide: six whole pixels at 90 dots an inch
WIDE, TEXT = 11.5, 7.4  # inches: the figure, the text in it
LEFT, RIGHT = 44, 50  # letters before and after the marked token


def draw(card: "interp.features.cards.cards.Card", figure: Any = None, below: float = 0.0) -> Any:
    """The matplotlib Figure with a card drawn into it.

    Args:
        card: The card.
        figure: An existing Figure to draw into.
        below: Inches left free under the card.
    """
    from matplotlib.figure import Figure

    from interp import plots

    figure = Figure(dpi=plots.DPI) if figure is None else figure
    rows = sum(1.6 + max(1, len(band.contexts)) for band in card.bands) + 3
    high = max(5.2, rows * LINE / 72 + 0.3)
    figure.set_layout_engine("none")
    whole = high + below
    figure.set_size_inches(WIDE, whole)
    figure.set_facecolor("white")
    ax = figure.add_axes((0.01, below / whole, 0.99, high / whole))
    ax.set_axis_off()
    ax.set(xlim=(0, WIDE * 0.99 * 72), ylim=(high * 72, 0))
    ax.text(
        4, 20, f"{card.latent}   {card.description}", fontsize=11.5, weight="bold", va="baseline"
    )
    ax.text(4, 35, subtitle(card), fontsize=8, color=SOFT, va="baseline")
    y = 42.0
    for band in card.bands:
        y = _band(ax, band, card.maximum, y)
    if not card.bands:
        ax.text(4, 62, "It is on at none of these tokens.", fontsize=9)
    ax.text(4, high * 72 - 6, card.metadata["first"], fontsize=7.5, color=SOFT, va="baseline")
    _side(figure, card, whole)
    return figure


def _band(ax: Any, band: "interp.features.cards.cards.Band", maximum: float, y: float) -> float:
    """Draws one band of contexts and returns the y that comes below it."""
    title = "Strongest" if band.name == "strongest" else f"{band.name}, {band.count:,} tokens"
    ax.text(
        4,
        y + LINE,
        f"{title}: values {digits(band.low)} to {digits(band.high)}",
        fontsize=8,
        weight="bold",
        va="baseline",
    )
    y += 1.35 * LINE
    for context in band.contexts:
        y += LINE
        _context(ax, context, maximum, y)
    return y + 0.25 * LINE


def _context(
    ax: Any, context: "interp.features.cards.cards.Context", maximum: float, y: float
) -> None:
    """Draws the tokens of a context, the marked one always at the same place."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    letter = SIZE * LETTER
    centre = 30 + LEFT * letter
    ax.text(
        26, y, digits(context.values[context.at]), fontsize=7, color=SOFT, ha="right", va="baseline"
    )
    shown = [
        visible(w) if i == context.at else w.replace("\n", "↵").replace("\t", " ").replace("\r", "")
        for i, w in enumerate(context.words)
    ]
    place = -sum(map(len, shown[: context.at]))
    for i, (word, value) in enumerate(zip(shown, context.values)):
        start, stop = place, place + len(word)
        place = stop
        cut = word[max(0, -LEFT - start) : len(word) - max(0, stop - RIGHT)]
        if not cut:
            continue
        x = centre + max(start, -LEFT) * letter
        if value or i == context.at:
            alpha = min(1.0, max(0.0, value / (maximum or 1)))
            edge = HOT if i == context.at else "none"
            colours = dict(facecolor=(*to_rgb(HOT), alpha), edgecolor=edge)
            ax.add_patch(
                Rectangle(
                    (x, y - 0.8 * SIZE),
                    len(cut) * letter,
                    1.05 * SIZE + 1,
                    linewidth=0.8,
                    **colours,
                )
            )
        ax.text(
            x,
            y,
            cut,
            fontsize=SIZE,
            family="DejaVu Sans Mono",
            va="baseline",
            parse_math=False,
            weight="bold" if i == context.at else "normal",
        )


def _side(figure: Any, card: "interp.features.cards.cards.Card", high: float) -> None:
    """Draws the column on the right: histogram, logits and neighbours."""
    left, wide = TEXT / WIDE + 0.03, 1 - TEXT / WIDE - 0.06

    def at(top, tall):
        return (left, 1 - (top + tall) / high, wide, tall / high)

    values = figure.add_axes(at(0.75, 0.95))
    if card.counts:
        steps = [b - a for a, b in zip(card.edges, card.edges[1:])]
        values.bar(
            card.edges[:-1],
            card.counts,
            steps,
            align="edge",
            color=BAR,
            edgecolor="white",
            linewidth=0.4,
        )
    values.set_title(
        f"on at {share(card.density)} of tokens ({card.on:,}), largest {digits(card.maximum)}",
        fontsize=8.5,
        loc="left",
    )
    values.set_xlabel("value", fontsize=8)
    values.set_ylabel("tokens", fontsize=8)
    values.tick_params(labelsize=7)
    values.spines[["top", "right"]].set_visible(False)
    logits = figure.add_axes(at(2.5, 1.75))
    _logits(logits, card)
    rest = figure.add_axes(at(4.55, 0.5))
    rest.set_axis_off()
    near = ", ".join(f"{i} ({cosine:.2f})" for i, cosine in card.neighbours[:4])
    rest.text(0, 1, "neighbours (cosine of directions)", fontsize=8.5, va="top")
    rest.text(0, 0.6, near, fontsize=8, va="top", color=SOFT)


def _logits(ax: Any, card: "interp.features.cards.cards.Card") -> None:
    """Draws the tokens whose logits the direction raises and lowers most."""
    ends = [*card.up[:5], *reversed(card.down[:5])]
    ax.set_title(
        "logits added by its direction at its largest value" if ends else "",
        fontsize=8.5,
        loc="left",
    )
    if not ends:
        ax.set_axis_off()
        ax.text(0, 1, card.metadata["effect"], fontsize=8, va="top", color=SOFT)
        return
    at = list(range(len(ends)))[::-1]
    ax.barh(at, [v for _, v in ends], color=[UP if v > 0 else DOWN for _, v in ends], height=0.7)
    ax.set_yticks(
        at,
        [visible(word)[:16] for word, _ in ends],
        fontsize=7.5,
        family="DejaVu Sans Mono",
        parse_math=False,
    )
    ax.axvline(0, color="#888888", linewidth=0.7)
    ax.tick_params(labelsize=7.5)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
