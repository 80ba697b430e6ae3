"""The sizes of a model, and the residual graph that follows from them: the ground that all else
stands on.

Senders in forward order: the embedding, then each layer's heads and MLP. Receivers: each layer's q
(one a head), k and v (one a KV head) and MLP, then the logits.
"""

import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from interp._errors import short


@dataclass(frozen=True)
class Dims:
    """The sizes of a model: everything an address needs to be checked against."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    norm: str  # "rms", "ln" or "none"
    parallel: bool  # attention and MLP read the same residual (Pythia)
    d_in: int = 0  # the width of input vectors, in a model that reads those in place of tokens
    # how its blocks differ from plain ones: rows of `sites.VARIANTS`
    variants: tuple[str, ...] = ()
    headless: tuple[int, ...] = ()  # layers of linear attention, which have no heads with patterns

    @property
    def group(self) -> int:
        """How many query heads share one KV head: head h reads KV head h // group."""
        return self.n_heads // self.n_kv_heads

    @property
    def graph(self) -> "Graph":
        """The residual graph of a model of these sizes: its senders and receivers."""
        return Graph(self.n_layers, self.n_heads, self.n_kv_heads, self.parallel)


@dataclass(frozen=True)
class Graph:
    """Where the senders and receivers of each layer stand among all of them."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    parallel: bool

    @property
    def n_senders(self) -> int:
        """Embedding, heads, MLPs."""
        return 1 + self.n_layers * (self.n_heads + 1)

    @property
    def n_receivers(self) -> int:
        """Queries, keys, values, MLPs, logits."""
        return self.n_layers * self.per_layer + 1

    @property
    def per_layer(self) -> int:
        """Receivers of one layer."""
        return self.n_heads + 2 * self.n_kv_heads + 1

    @property
    def group(self) -> int:
        """Query heads per KV head."""
        return self.n_heads // self.n_kv_heads

    def before(self, layer: int, mlp: bool = False) -> int:
        """How many senders come before the attention (or the MLP) of a layer reads."""
        return 1 + layer * (self.n_heads + 1) + (self.n_heads if mlp and not self.parallel else 0)

    def heads(self, layer: int) -> slice:
        """The senders that are heads of a layer; the layer's MLP comes right after them."""
        return slice(1 + layer * (self.n_heads + 1), 1 + layer * (self.n_heads + 1) + self.n_heads)

    def reads(self, layer: int) -> slice:
        """The receivers of a layer's attention: q, k, v; the layer's MLP comes right after them."""
        return slice(layer * self.per_layer, (layer + 1) * self.per_layer - 1)


def layer_numbers(layers: Any, n_layers: int) -> list[int]:
    """The layers that are meant, as numbers in order.

    Example:
        >>> layer_numbers("10-12", 30)
        [10, 11, 12]

    Args:
        layers: One layer, several, or the first and the last, "10-12".
        n_layers: How many the model has.

    Raises:
        ValueError: If a layer does not exist or is named twice, or these are no layers.
    """
    if isinstance(layers, str):
        found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", layers)
        if found is None or len(layers) > 12:
            raise ValueError(
                f"layers={short(layers)}: a layer, several (layers=[10, 11]), or the first and the"
                " last (layers='10-19')"
            )
        first, last = int(found[1]), int(found[2] or found[1])
        chosen = list(range(first, last + 1)) if last < n_layers else [last]
    else:
        try:
            one = not isinstance(layers, Iterable) or getattr(layers, "ndim", 1) == 0
            chosen = [operator.index(layer) for layer in ([layers] if one else layers)]
        except TypeError:
            raise ValueError(
                f"layers={short(layers)}: the layers' numbers, layers=[10, 11], or the first and"
                " the last, layers='10-19'"
            ) from None
    wrong = next((layer for layer in chosen if not 0 <= layer < n_layers), None)
    if wrong is not None:
        raise ValueError(
            f"layers={short(layers)}: no layer {wrong}, this model has layers 0 to {n_layers - 1}"
        )
    if not chosen:
        raise ValueError(f"layers={short(layers)} names no layer (try layers='10-19')")
    twice = next((layer for layer in chosen if chosen.count(layer) > 1), None)
    if twice is not None:
        raise ValueError(f"layers={short(layers)}: layer {twice} is named twice")
    return sorted(chosen)
