"""Next tokens before and after a change, as the widgets list and draw them."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from interp.features.cards.describe import visible

MUCH = "#2b6e8f"  # as in _shared.css
SHOWN, CHANGED = 8, 6  # tokens listed
LEAST = 5e-4  # a change of less is none


def listed(
    tokenizer: Any, now: Float[Tensor, "d_vocab"], before: Float[Tensor, "d_vocab"]
) -> dict[str, list[dict]]:
    """The likeliest tokens and those that changed most, each with both probabilities."""

    def say(ids):
        return [
            {"token": tokenizer.decode([i]), "now": float(now[i]), "clean": float(before[i])}
            for i in ids.tolist()
        ]

    moved = (now - before).abs().topk(min(CHANGED, len(now)))
    return {
        "top": say(now.topk(min(SHOWN, len(now))).indices),
        "changed": say(moved.indices[moved.values > LEAST]),
    }


def bars(ax: Any, top: list[dict], changed: bool, word: str) -> None:
    """The likeliest tokens as bars of 100 %; where something was changed, a line marks what they
    were. word: "ablated".
    """
    top = top[::-1]
    ax.barh(
        range(len(top)),
        [100 * one["now"] for one in top],
        color=MUCH,
        height=0.62,
        label=word if changed else None,
    )
    if changed:
        ax.plot(
            [100 * one["clean"] for one in top],
            range(len(top)),
            "|",
            color="#111111",
            markersize=11,
            label=f"not {word}",
        )
        ax.legend(fontsize=8, frameon=False, loc="lower right")
    ax.set_yticks(
        range(len(top)), [visible(one["token"]) for one in top], fontsize=8, parse_math=False
    )
    ax.tick_params(axis="x", labelsize=8)
    ax.set_xlim(0, 100)
    ax.set_xlabel("probability of the next token, %", fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
