"""Addresses: where in a transformer something is. A string with stars is a sweep, and the stars are
its axes.

    L10H7                     what head 7 of layer 10 writes to the residual stream    [batch pos
    d_model] mlp.3  attn.3  embed      what that component writes
    [batch pos d_model] L10H7.q .z                inside the head
    [batch pos d_head] L10H7.pattern .scores     its attention, after and before the softmax
    [batch pos src] L9KV2.k .v                keys and values belong to a KV head; grouped query
    heads share it mlp.3.pre .post           inside the MLP; mlp.3.post#512 is one neuron
    [batch pos d_mlp] resid_pre.5 resid_mid.5 resid_post.5   the stream itself
    [batch pos d_model] L10H7.q_in  L9KV2.k_in  L9KV2.v_in  mlp.3.in  attn.3.in  logits.in   what it
    reads: the receiving end of an edge
    mlp.3.normalized  mlp.3.module_in          after its norm, before and after the norm's gain
    [batch pos d_model] logits                 the output
    [batch pos d_vocab]
    ... @-1  @4  @S2          at one position, by number or by the task's own name for it

No part = what it writes; `in` = what it reads; any other part = inside. `TABLE` below is the only
place that knows a hook name.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from interp._errors import unknown
from interp.dims import Dims, Graph

STAR = "*"
Index = int | str | None


@dataclass(frozen=True)
class Row:
    """One kind of address: the hook that carries it, the tensor's axes there, and how it relates to
    the hook.

    Attributes:
        how: "act" = the hook's tensor is the thing itself; "write" = one head's share of the
            attention output; "read" = a receiver that shares its hook with others, so its own input
            is re-projected; "mid" = the stream after attention, which is edited through the
            attention output.
    """

    hook: str
    axes: str
    how: str = "act"
    rank: int = 0  # within one hook, lower ranks act first (upstream before downstream)

    # of a "read" row, what is computed again from an input of its own
    # "head": one head's q, k or v; "attn", "mlp": all that this part reads, through its norm
    part: str = "head"


# (family, part) -> row. {l} is the layer.
TABLE: dict[tuple[str, str], Row] = {
    ("head", "out"): Row("blocks.{l}.attn.hook_out", "batch pos d_model", "write", 0),
    ("head", "q"): Row("blocks.{l}.attn.hook_q", "batch pos head d_head", "act", 1),
    ("head", "z"): Row("blocks.{l}.attn.hook_z", "batch pos head d_head"),
    ("head", "pattern"): Row("blocks.{l}.attn.hook_pattern", "batch head pos src"),
    ("head", "scores"): Row("blocks.{l}.attn.hook_attn_scores", "batch head pos src"),
    ("head", "q_in"): Row("blocks.{l}.attn.hook_q", "batch pos d_model", "read", 0),
    ("kv", "k"): Row("blocks.{l}.attn.hook_k", "batch pos head d_head", "act", 1),
    ("kv", "v"): Row("blocks.{l}.attn.hook_v", "batch pos head d_head", "act", 1),
    ("kv", "k_in"): Row("blocks.{l}.attn.hook_k", "batch pos d_model", "read", 0),
    ("kv", "v_in"): Row("blocks.{l}.attn.hook_v", "batch pos d_model", "read", 0),
    ("attn", "out"): Row("blocks.{l}.attn.hook_out", "batch pos d_model", "act", 1),
    ("attn", "in"): Row("blocks.{l}.ln1.hook_in", "batch pos d_model"),
    ("mlp", "out"): Row("blocks.{l}.mlp.hook_out", "batch pos d_model"),
    ("mlp", "pre"): Row("blocks.{l}.mlp.hook_pre", "batch pos d_mlp"),
    ("mlp", "post"): Row("blocks.{l}.mlp.hook_post", "batch pos d_mlp"),
    ("mlp", "in"): Row("blocks.{l}.ln2.hook_in", "batch pos d_model"),
    ("mlp", "normalized"): Row("blocks.{l}.ln2.hook_normalized", "batch pos d_model", "act", 1),
    ("mlp", "module_in"): Row("blocks.{l}.mlp.hook_in", "batch pos d_model", "act", 2),
    ("embed", "out"): Row("blocks.0.hook_in", "batch pos d_model", "act", 0),
    ("resid_pre", "out"): Row("blocks.{l}.hook_in", "batch pos d_model", "act", 1),
    ("resid_mid", "out"): Row("blocks.{l}.attn.hook_out", "batch pos d_model", "mid", 2),
    ("resid_post", "out"): Row("blocks.{l}.hook_out", "batch pos d_model"),
    ("logits", "in"): Row("ln_final.hook_in", "batch pos d_model"),
    ("logits", "out"): Row("unembed.hook_out", "batch pos d_vocab"),
}

# Where a kind of block keeps a thing elsewhere than TABLE says. `bridge.dims(model).variants` names
# the rows that
# hold for a model; `row` reads both tables.
_OUT = (  # what TransformerLens says is added to the stream: after a norm, scaled
    "blocks.{l}.hook_attn_out"
)
VARIANTS: dict[str, dict[tuple[str, str], Row]] = {
    # a norm or a factor between attention and the stream (Gemma-2, OLMo-2, Granite), or the
    # residual added inside
    # the attention module (BLOOM)
    "attn out": {
        ("head", "out"): Row(_OUT, "batch pos d_model", "write", 0),
        ("attn", "out"): Row(_OUT, "batch pos d_model", "act", 1),
        ("resid_mid", "out"): Row(_OUT, "batch pos d_model", "mid", 2),
    },
    # that which comes after attention is a norm: what one head writes is not linear in its z
    "norm after": {},
    # the same of the MLP (also MPT and OPT)
    "mlp out": {("mlp", "out"): Row("blocks.{l}.hook_mlp_out", "batch pos d_model")},
    # attention and MLP share one norm (GPT-J, Phi, Falcon, Cohere): each has a copy of its own of
    # what it reads
    "one norm": {
        ("attn", "in"): Row("blocks.{l}.attn.hook_in", "batch pos d_model", "read", 0, "attn"),
        ("mlp", "in"): Row("blocks.{l}.mlp.hook_in", "batch pos d_model", "read", 0, "mlp"),
        ("mlp", "normalized"): Row("", "batch pos d_model"),
    },
    # attention and MLP read the stream as it is (OLMo-2)
    "no norm before": {
        ("attn", "in"): Row("blocks.{l}.attn.hook_in", "batch pos d_model"),
        ("mlp", "in"): Row("blocks.{l}.mlp.hook_in", "batch pos d_model"),
        ("mlp", "normalized"): Row("", "batch pos d_model"),
    },
    # a block does more to the stream than to add to it (Gemma-4): see `adds_up`
    "no sum": {},
    # the MLP is a router with experts: no layer of neurons to address
    "experts": {
        ("mlp", "pre"): Row("", "batch pos d_mlp"),
        ("mlp", "post"): Row("", "batch pos d_mlp"),
    },
    # one norm over the queries of all heads, one over their keys (OLMo-2, OLMoE): q and k are what
    # comes after it
    "joint norm": {
        ("head", "q"): Row("blocks.{l}.attn.hook_q_normed", "batch pos head d_head", "act", 1),
        ("head", "q_in"): Row("blocks.{l}.attn.hook_q_normed", "batch pos d_model", "read", 0),
        ("kv", "k"): Row("blocks.{l}.attn.hook_k_normed", "batch pos head d_head", "act", 1),
        ("kv", "k_in"): Row("blocks.{l}.attn.hook_k_normed", "batch pos d_model", "read", 0),
    },
    # TransformerLens runs the model's attention as it is, and shows a pattern only when it is over
    # (GPT-J, OPT)
    "attention of its own": {
        ("head", "scores"): Row("blocks.{l}.attn.softmax_in", "batch head pos src"),
        ("head", "pattern"): Row("blocks.{l}.attn.softmax_out", "batch head pos src"),
    },
}


def row(site: "Site", dims: Dims) -> Row:
    """Where a model keeps this kind of address."""
    rows = (VARIANTS[variant] for variant in dims.variants)
    own = [some[site.family, site.part] for some in rows if (site.family, site.part) in some]
    found = own[-1] if own else TABLE[site.family, site.part]
    if site.layer in dims.headless and found.hook == TABLE["attn", "out"].hook:
        return replace(found, hook="blocks.{l}.linear_attn.hook_out")
    return found


def hook(site: "Site", dims: Dims) -> str:
    """The name of the hook that carries this address in a model (the layer filled in)."""
    return row(site, dims).hook.format(l=site.layer)


_NUMBER = (  # ASCII, no sign, no leading zeros: an address means what was typed
    r"(?:0|[1-9][0-9]{0,6})"
)
_FORM = re.compile(
    rf"(?:L(?P<layer>{_NUMBER}|\*)(?P<family>H|KV)(?P<index>{_NUMBER}|\*)"
    rf"|(?P<name>[a-z_]+?)(?:\.(?P<nlayer>{_NUMBER}|\*))?)"
    rf"(?:\.(?P<part>[a-z_]+))?(?:\#(?P<unit>{_NUMBER}|\*))?"
    rf"(?:@(?P<pos>\*|-[1-9][0-9]{{0,6}}|{_NUMBER}|[A-Za-z_][\w+'-]*))?"
)
_EXAMPLES = "'L10H7', 'L9KV2.k', 'mlp.3', 'resid_post.5@-1'"


@dataclass(frozen=True, slots=True)  # a sweep has hundreds of thousands
class Site:
    """One address, or a sweep over many when a field is "*". `Site.parse(str(site)) == site`.

    Example:
        >>> Site.parse("L10H7.z@-1")
        Site('L10H7.z@-1')
    """

    family: str
    part: str = "out"
    layer: Index = None
    index: Index = None
    unit: Index = None
    pos: Index = None

    @staticmethod
    def parse(text: "str | Site") -> "Site":
        """The address a string names. ValueError quotes what was typed and shows a right one."""
        if isinstance(text, Site):
            return text
        if not isinstance(text, str):
            raise ValueError(f"not an address: {text!r} (an address is a string: try {_EXAMPLES})")
        m = _FORM.fullmatch(text)
        if m is None:
            typed = text if len(text) <= 80 else text[:80] + "..."
            raise ValueError(f"not an address: {typed!r} (try {_EXAMPLES})")
        part, unit, pos = m["part"] or "out", _int(m["unit"]), _int(m["pos"])
        if m["name"] is None:
            family = {"H": "head", "KV": "kv"}[m["family"]]
            site = Site(family, part, _int(m["layer"]), _int(m["index"]), unit, pos)
        else:
            site = Site(m["name"], part, _int(m["nlayer"]), None, unit, pos)
        _check_form(site, text)
        return site

    def __str__(self) -> str:
        head = {"head": f"L{self.layer}H{self.index}", "kv": f"L{self.layer}KV{self.index}"}.get(
            self.family
        )
        text = head or (self.family if self.layer is None else f"{self.family}.{self.layer}")
        text += "" if self.part == "out" else f".{self.part}"
        text += "" if self.unit is None else f"#{self.unit}"
        return text + ("" if self.pos is None else f"@{self.pos}")

    def __repr__(self) -> str:
        return f"Site({str(self)!r})"

    @property
    def row(self) -> Row:
        """The table row behind this address."""
        return TABLE[self.family, self.part]

    @property
    def hook(self) -> str:
        """The hook name that carries this address (the layer filled in)."""
        return self.row.hook.format(l=self.layer)

    @property
    def stars(self) -> tuple[str, ...]:
        """The axes that are swept, in reading order, e.g. ("layer", "head")."""
        index = {"head": "head", "kv": "kv_head"}.get(self.family, "index")
        fields = (
            ("layer", self.layer),
            (index, self.index),
            ("neuron", self.unit),
            ("pos", self.pos),
        )
        return tuple(axis for axis, value in fields if value == STAR)

    def at(self, pos: Index) -> "Site":
        """The same address at another position (None: at every position)."""
        return replace(self, pos=pos)


def _int(text: str | None) -> Index:
    return int(text) if text is not None and re.fullmatch(r"[-+]?\d+", text) else text


def _check_form(site: Site, text: str) -> None:
    families = sorted({family for family, _ in TABLE})
    if site.family not in families:
        raise unknown(f"kind of address in {text!r}:", site.family, families, _EXAMPLES)
    parts = [part for family, part in TABLE if family == site.family]
    if site.part not in parts:
        if site.family == "head" and site.part in ("k", "v", "k_in", "v_in"):
            raise ValueError(
                f"not an address: {text!r}: keys and values belong to a KV head, which query heads"
                f" share (try 'L{site.layer}KV0.{site.part}')"
            )
        if site.family == "kv" and site.part == "out":
            raise ValueError(
                f"not an address: {text!r}: a KV head has parts .k .v .k_in .v_in (try '{text}.k')"
            )
        shown = ", ".join("." + p for p in parts if p != "out")
        raise ValueError(
            f"not an address: {text!r}: {site.family} has {shown or 'no parts'}, not .{site.part}"
        )
    needs = "{l}" in site.row.hook
    if needs and site.layer is None:
        raise ValueError(
            f"not an address: {text!r} needs a layer (try '{site.family}.3' or '{site.family}.*')"
        )
    if not needs and site.layer is not None:
        raise ValueError(
            f"not an address: {text!r}: {site.family} has no layers (try '{site.family}')"
        )
    if site.unit is not None and "d_mlp" not in site.row.axes:
        raise ValueError(
            f"not an address: {text!r}: only .pre and .post of an MLP have neurons (try"
            " 'mlp.3.post#512')"
        )


def adds_up(dims: "Dims | Graph", what: str) -> None:
    """Nothing where the stream is the sum of what heads and MLPs write; ValueError for `what`,
    which needs that.
    """
    if "no sum" in getattr(dims, "variants", ()):
        raise ValueError(
            f"{what} needs a stream that is the sum of what its parts write, and this model's"
            " blocks also rescale it or add inputs of each layer (patch, ablate, the logit lens"
            " and attention patterns work)"
        )


def check(site: Site, dims: Dims) -> Site:
    """The site itself, when the model has it; otherwise a ValueError that gives the ranges."""
    limits = {
        "layer": (site.layer, dims.n_layers),
        "head": (site.index, dims.n_heads if site.family == "head" else dims.n_kv_heads),
        "neuron": (site.unit, dims.d_mlp),
    }
    for what, (value, limit) in limits.items():
        if isinstance(value, int) and not 0 <= value < limit:
            kind = "KV head" if what == "head" and site.family == "kv" else what
            raise ValueError(
                f"no such {kind}: {str(site)!r} (this model has {kind}s 0 to {limit - 1})"
            )
    if not row(site, dims).hook and site.part == "normalized":
        raise ValueError(
            f"{str(site)!r}: the MLPs of this model have no norm of their own before them (try"
            f" 'mlp.{site.layer}.module_in')"
        )
    if not row(site, dims).hook:
        raise ValueError(
            f"{str(site)!r}: the MLPs of this model are experts, of which each token takes a few,"
            f" so a layer has no neurons of its own (try 'mlp.{site.layer}' or"
            f" 'mlp.{site.layer}.in')"
        )
    if site.layer in dims.headless and site.family in ("head", "kv"):
        full = [str(layer) for layer in range(dims.n_layers) if layer not in dims.headless]
        raise ValueError(
            f"{str(site)!r}: layer {site.layer} of this model has linear attention, which has no"
            f" heads with patterns (heads are in layers {', '.join(full)}; 'attn.{site.layer}' is"
            " what the layer's attention writes)"
        )
    if site.family == "resid_mid" and dims.parallel:
        raise ValueError(
            f"{str(site)!r}: attention and MLP of this model read the same stream, so there is no"
            f" resid_mid (try 'resid_pre.{site.layer}' or 'resid_post.{site.layer}')"
        )
    return site


def position(site: Site, n_pos: int, names: Mapping[str, object] = {}) -> None:
    """Nothing when the site's position exists among n_pos tokens and the task's names; else a
    ValueError.
    """
    if isinstance(site.pos, int) and not -n_pos <= site.pos < n_pos:
        raise ValueError(
            f"no position {site.pos} in {str(site)!r}: the prompt has {n_pos} tokens (0 to"
            f" {n_pos - 1})"
        )
    if isinstance(site.pos, str) and site.pos != STAR and site.pos not in names:
        raise unknown(
            "position", site.pos, names, "'resid_pre.5@END'" if names else "'resid_pre.5@-1'"
        )


@dataclass(frozen=True)
class Grid:
    """The concrete sites of a sweep, in order, with the axes and labels the stars stand for."""

    pattern: Site
    sites: tuple[Site, ...]
    dims: tuple[str, ...]
    coords: dict[str, list]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(self.coords[d]) for d in self.dims)


def expand(
    pattern: str | Site, dims: Dims, n_pos: int = 0, names: Mapping[str, object] = {}
) -> Grid:
    """Every concrete site a pattern stands for; its stars are the grid's axes.

    Example:
        >>> expand("L*H*", dims).shape       # layers, heads
        (30, 9)
    """
    site = check(Site.parse(pattern), dims)
    position(site, n_pos, names)
    heads = dims.n_heads if site.family == "head" else dims.n_kv_heads
    sizes = {
        "layer": dims.n_layers,
        "head": heads,
        "kv_head": heads,
        "neuron": dims.d_mlp,
        "pos": n_pos,
    }
    coords = {axis: list(range(sizes[axis])) for axis in site.stars}
    if "layer" in coords and site.family in ("head", "kv"):  # linear attention has no heads
        coords["layer"] = [layer for layer in coords["layer"] if layer not in dims.headless]
    return Grid(site, tuple(_fill(site, coords)), site.stars, coords)


def _fill(site: Site, coords: Mapping[str, list]) -> Iterator[Site]:
    field = {"layer": "layer", "head": "index", "kv_head": "index", "neuron": "unit", "pos": "pos"}
    for values in product(*coords.values()):
        yield replace(site, **{field[axis]: v for axis, v in zip(coords, values)})


# Names that people and ready-made SAEs use for hooks, besides those of TABLE. {l} is the layer.
ALIASES: dict[str, str] = {
    "blocks.{l}.hook_resid_pre": "resid_pre.{l}",
    "blocks.{l}.hook_resid_mid": "resid_mid.{l}",
    "blocks.{l}.hook_resid_post": "resid_post.{l}",
    "blocks.{l}.hook_attn_out": "attn.{l}",
    "blocks.{l}.attn.hook_out": "attn.{l}",
    "blocks.{l}.hook_mlp_out": "mlp.{l}",
    "blocks.{l}.hook_mlp_in": "mlp.{l}.in",
    "blocks.{l}.hook_in": "resid_pre.{l}",
    "blocks.{l}.attn.hook_z": "L{l}H*.z",
    "blocks.{l}.attn.hook_q": "L{l}H*.q",
    "blocks.{l}.attn.hook_k": "L{l}KV*.k",
    "blocks.{l}.attn.hook_v": "L{l}KV*.v",
    "ln_final.hook_in": "logits.in",
}


def from_hook(name: str) -> Site:
    """The site that a hook's name stands for, a canonical name or one of its aliases.

    Example:
        >>> from_hook("blocks.5.hook_resid_post")
        Site('resid_post.5')
    """
    found = re.search(r"\.(\d+)\.", name)
    form = name if found is None else f"{name[: found.start(1)]}{{l}}{name[found.end(1) :]}"
    if form in ALIASES:
        return Site.parse(ALIASES[form].format(l=found and found[1]))
    for (family, part), row in TABLE.items():
        if row.hook == form and row.how == "act":
            return Site(family, part, int(found[1]) if found else None)
    raise unknown(
        "hook",
        name,
        [*(a.format(l=found[1] if found else 5) for a in ALIASES)],
        "'blocks.5.hook_resid_post'",
    )


def to_hook(site: str | Site) -> str:
    """The hook name whose tensor is this site's activation, by which HookedTransformer and
    TransformerBridge both know it, as far as both have it.

    Example:
        >>> to_hook("resid_post.5")
        'blocks.5.hook_resid_post'
    """
    site = Site.parse(site)
    names = {"embed": "hook_resid_pre", "attn": "hook_attn_out", "mlp": "hook_mlp_out"}
    if site.part == "out" and site.family in (*names, "resid_pre", "resid_mid", "resid_post"):
        return f"blocks.{site.layer or 0}.{names.get(site.family, f'hook_{site.family}')}"
    return site.hook  # heads and neurons have the same name in both; a part's input, in neither


# --- the residual graph ---------------------------------------------------------------------------


def _has_edges(dims: "Dims | Graph") -> None:
    adds_up(dims, "the residual graph")
    if getattr(dims, "headless", ()):
        raise ValueError(
            "the residual graph is made of heads and MLPs, and some layers of this model have"
            " linear attention (patch, path_patch, ablate and the lenses work, with heads in its"
            " layers of full attention)"
        )


def senders(dims: Dims | Graph) -> list[Site]:
    """Everything that writes to the stream, in forward order: embed, then each layer's heads and
    MLP.
    """
    _has_edges(dims)
    nodes = [Site("embed")]
    for layer in range(dims.n_layers):
        nodes += [Site("head", "out", layer, h) for h in range(dims.n_heads)]
        nodes.append(Site("mlp", "out", layer))
    return nodes


def receivers(dims: Dims | Graph) -> list[Site]:
    """Everything that reads the stream, in forward order: q per head, k and v per KV head, MLPs,
    logits.
    """
    _has_edges(dims)
    nodes: list[Site] = []
    for layer in range(dims.n_layers):
        nodes += [Site("head", "q_in", layer, h) for h in range(dims.n_heads)]
        nodes += [
            Site("kv", part, layer, h) for part in ("k_in", "v_in") for h in range(dims.n_kv_heads)
        ]
        nodes.append(Site("mlp", "in", layer))
    return [*nodes, Site("logits", "in")]


def precedes(sender: Site, receiver: Site, dims: Dims | Graph) -> bool:
    """Whether what the sender writes can reach this receiver directly (an edge of the residual
    graph).
    """
    return write_step(sender) < read_step(receiver, dims)


def write_step(site: Site) -> int:
    """When a sender writes, counted in half layers (the embedding: -1)."""
    return -1 if site.family == "embed" else 2 * site.layer + (site.family == "mlp")


def read_step(site: Site, dims: Dims | Graph) -> int:
    """When a receiver reads, counted in half layers: a write of an earlier step reaches it."""
    if site.family == "logits":
        return 2 * dims.n_layers
    return 2 * site.layer + (site.family == "mlp" and not dims.parallel)


def feeds(kv: Site, dims: Dims | Graph) -> list[Site]:
    """The query heads that a KV head serves."""
    return [Site("head", "out", kv.layer, kv.index * dims.group + i) for i in range(dims.group)]
