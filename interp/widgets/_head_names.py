"""Sets of heads as people type them: "L5H1 L7H* L9KV2" to (layer, head) pairs and back."""

import re
from collections.abc import Iterable

from interp import sites
from interp.dims import Dims
from interp.sites import STAR, Site

Heads = frozenset[tuple[int, int]]
_KV = re.compile(r"^L(\d+|\*)KV(\d+|\*)$")
_EXAMPLES = "'L5H1', 'L7H*', 'L*H0', 'L9KV2' for the query heads of a KV head"


def heads_of(text: str, dims: Dims) -> Heads:
    """The heads a line names, separated by spaces or commas; ValueError that quotes what is none.

    Example:
        >>> sorted(heads_of("L1H0 L2KV1", dims))        # two query heads share a KV head
        [(1, 0), (2, 2), (2, 3)]
    """
    heads: set[tuple[int, int]] = set()
    for word in re.split(r"[\s,;]+", text.strip()):
        if word:
            heads |= _group(word, dims) or _heads(word, dims)
    return frozenset(heads)


def _group(word: str, dims: Dims) -> set[tuple[int, int]]:
    """The query heads that read a KV head; empty when the word names none."""
    if not _KV.match(word):
        return set()
    keys = sites.expand(f"{word}.k", dims).sites  # raises with the ranges
    return {(head.layer, head.index) for kv in keys for head in sites.feeds(kv, dims)}


def _heads(word: str, dims: Dims) -> set[tuple[int, int]]:
    try:
        site = Site.parse(word)
    except ValueError as error:
        raise ValueError(f"{error}; heads are written {_EXAMPLES}") from None
    if (site.family, site.part, site.pos) != ("head", "out", None):
        raise ValueError(f"not a head: {word!r} (try {_EXAMPLES})")
    return {(one.layer, one.index) for one in sites.expand(site, dims).sites}


def text_of(heads: Iterable[tuple[int, int]], dims: Dims) -> str:
    """The shortest usual line for a set of heads: whole layers and whole rows as stars.

    Example:
        >>> text_of([(1, 0), (1, 1), (1, 2), (1, 3), (2, 0)], dims)
        'L1H* L2H0'
    """
    return " ".join(patterns_of(heads, dims))


def patterns_of(heads: Iterable[tuple[int, int]], dims: Dims) -> list[str]:
    """The same as a list of addresses, for `interp.ablate`."""
    left = set(heads)
    if len(left) == dims.n_layers * dims.n_heads:
        return [f"L{STAR}H{STAR}"]
    words = []
    for head in range(dims.n_heads):
        row = {(layer, head) for layer in range(dims.n_layers)}
        if dims.n_layers > 1 and row <= left:
            words.append(f"L{STAR}H{head}")
            left -= row
    for layer in range(dims.n_layers):
        here = sorted(head for at, head in left if at == layer)
        whole = len(here) == dims.n_heads > 1
        words += [f"L{layer}H{STAR}"] if whole else [f"L{layer}H{h}" for h in here]
    return words
