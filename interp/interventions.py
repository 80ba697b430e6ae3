"""Interventions: at this site, replace the activation by an edit of it. One `run` is all there is.

Activation patching, ablation, attention knock-out, steering, path patching and whole circuits
differ only in the site and the edit:

    Intervention("L10H7", set_to(clean["L10H7"]))                  activation patching
    Intervention("L10H7.z", zero())                                zero ablation (set_to(mean): mean
    ablation) Intervention("L10H7", scale(2.0))                              amplify a head
    Intervention("L10H7.scores@END", knock_out(keys))              attention knock-out
    Intervention("L10H7.pattern", reweight({0: 0.5}))              attention calibration
    Intervention("L10H7.pattern@END", force_attention("keys"))     where a head looks, said outright
    Intervention("resid_post.12@-1", add(vector))                  steering, task and function
    vectors Intervention("resid_post.12", project_out(direction))          directional ablation
    Intervention("mlp.3", latent(encode, decode, change))          a dictionary's latent, its error
    term kept cut("L3H1", "L10H7.q_in", corrupted)                           an edge: path patching,
    circuits
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interp import sites
from interp._arguments import quoted
from interp._isolation import torch_defaults
from interp.edits import Edit
from interp.models import bridge, placement
from interp.models.tokens import notice_padding, read_prompts
from interp.sites import Site

Positions = Mapping[str, Tensor]
SMALL = 2.0**26  # bytes that nobody asks about


@dataclass(frozen=True)
class Intervention:
    """At this site, replace the activation by `edit(activation, seen)`.

    Example:
        >>> run(model, tokens, [Intervention("L10H7", zero())]).logits

    Attributes:
        at: An address; a pattern ("L*H*.scores") means each of its sites. With a position (`@`) the
            edit gets and gives only those positions [batch n d]; a number or a task's position name
            is n = 1. seen: the current values, in this very run, of the sites in `reads`, which
            must be upstream; and under "pos" the positions that the activation's second axis stands
            for [batch n] (or [1 n], the same for all).
        rows: The examples of the batch it applies to (None: all).
    """

    at: str | Site
    edit: Edit
    reads: tuple[str | Site, ...] = ()
    rows: slice | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.at, str | Site):
            raise TypeError(f"an intervention is at an address, not {quoted(self.at)}: {_EXAMPLE}")
        if not callable(self.edit):
            raise TypeError(
                f"an edit is a function of the activation, not {quoted(self.edit)}: {_EXAMPLE}"
            )
        if not _takes_two(self.edit):
            name = getattr(self.edit, "__name__", "edit")
            raise TypeError(
                f"the edit {name!r} at {str(self.at)!r} takes {inspect.signature(self.edit)}: an"
                f" edit is called with the activation and what else it has seen, {_EXAMPLE}"
            )


_EXAMPLE = "interp.Intervention('L10H7', lambda activation, seen: activation / 2)"


def _takes_two(edit: Edit) -> bool:
    """Whether an edit can be called with an activation and what it has seen."""
    try:
        inspect.signature(edit).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # a function of C without a signature
        return True
    return True


class Run(NamedTuple):
    """What a run gives: logits, and the kept activations under the addresses that were asked
    for.
    """

    logits: Tensor
    kept: dict[str, Tensor]

    def __repr__(self) -> str:
        def shape(value: Tensor) -> str:
            return " x ".join(map(str, value.shape))

        lines = [f"  {name}  [{shape(value)}]" for name, value in self.kept.items()]
        return "\n".join([f"Run: logits [{shape(self.logits)}], {len(lines)} kept", *lines])


def cut(sender: str | Site, receiver: str | Site, other: Tensor) -> Intervention:
    """The intervention that makes a receiver read another run's value of one sender: one edge is
    patched.

    Example:
        >>> cut("L3H1", "L10H7.q_in", corrupted.kept["L3H1"])

    Args:
        other: [batch pos d_model], what the sender wrote in the other run.

    Reference:
        Everything else the receiver reads, and everything else that reads the sender, stays as it
        is. (Goldowsky-Dill et al. 2023, arXiv 2304.05969.)
    """
    key = str(Site.parse(sender))
    return Intervention(receiver, lambda act, seen: act + (other - seen[key]), reads=(key,))


# --- the one run ----------------------------------------------------------------------------------


@torch_defaults()
def run(
    model: Any,
    tokens: Any,
    interventions: Iterable[Intervention] = (),
    keep: Iterable[str | Site] = (),
    *,
    positions: Positions | None = None,
    last_only: bool = False,
    grad: bool = False,
    start: bridge.Trail | None = None,
) -> Run:
    """The logits of a run under interventions, and the activations asked for.

    Example:
        >>> clean = run(model, tokens, keep=["L*H*.z", "resid_post.3@END"],
        ...     positions=task.positions)
        >>> clean.kept["L*H*.z"].shape           # [layer head batch pos d_head]

    Args:
        tokens: A text, several texts, ids [batch pos], padded ids with their mask (as a tokenizer
            gives them), or a task (its clean prompts and positions). Edits at one site act in the
            order given; what an edit reads and what is kept are the values after all edits
            upstream. Nothing stays hooked, also after an exception. logits: [batch pos d_vocab], or
            [batch d_vocab] with last_only. Prompts of several lengths are run one length at a time,
            so that each gives the numbers it gives alone; their values stand in one table, a padded
            one in its own layout, otherwise from position 0 on, and are NaN where a prompt has no
            token.
        start: The trail of the unedited run; layers before the first edit or kept site are then not
            run again (tokens must be whole copies of the trail's).
    """
    if not isinstance(tokens, Tensor):
        given = _prompts(model, tokens, positions)
        if isinstance(given, list):
            return _run_by_length(
                model, tokens, given, list(interventions), list(keep), last_only, grad
            )
        tokens, positions = given
    elif (
        positions is None and start is None and tokens.ndim == 2 and not tokens.is_floating_point()
    ):
        notice_padding(model, tokens)
    tokens = _tokens(model, tokens)
    where = {k: v.expand(len(tokens)) if v.ndim == 0 else v for k, v in (positions or {}).items()}
    where.setdefault("END", torch.full((len(tokens),), tokens.shape[1] - 1))
    if grad and bridge.elsewhere(model):
        raise bridge.traced.not_here("gradients")
    plan = _Plan(model, bridge.dims(model), tokens, where)
    for intervention in interventions:
        plan.edit(intervention)
    grids = {str(k): plan.watch(k) for k in keep}
    plan.check_room(grids, last_only)
    with torch.set_grad_enabled(grad):
        hooks, late = plan.hooks()
        last_only, only_last = last_only and not late, last_only
        layer = min((_layer(name) for name, _ in hooks), default=0)
        if start is None or layer == 0:
            logits = bridge.forward(model, tokens, hooks, last_only=last_only)
        else:
            copies = len(tokens) // len(start.tokens)
            layer = min(layer, plan.dims.n_layers - 1)
            logits = bridge.resume(model, start, layer, hooks, copies=copies, last_only=last_only)
        if late:  # the output itself: nothing comes after it
            new = late(logits)
            logits = logits if new is None else new
            logits = logits[:, -1] if only_last else logits
        plan.check_reached()
        kept = {key: plan.gather(grid) for key, grid in grids.items()}
    return Run(logits, kept)


def _prompts(model: Any, tokens: Any, positions: Positions | None) -> Any:
    """(ids [batch pos], positions), or for prompts of several lengths a list of (which, ids,
    positions).
    """
    parts = getattr(tokens, "parts", None)
    if parts is not None:  # a task
        found = [(part.index, part.steps[0].task) for part in parts]
        if len(found) == 1:
            return found[0][1].clean, positions or found[0][1].positions
        return [(at, task.clean, _some(positions, at) or task.positions) for at, task in found]
    if bridge.dims(model).d_in and not isinstance(tokens, str):  # vectors in place of tokens
        return torch.as_tensor(tokens), positions
    given = read_prompts(model, tokens)
    if given.whole:
        return torch.stack(given.ids), positions
    return [
        (torch.tensor(at), ids, _some(positions, torch.tensor(at))) for at, ids in given.by_length()
    ]


def _some(positions: Positions | None, at: Tensor) -> Positions | None:
    return positions and {k: v if v.ndim == 0 else v[at] for k, v in positions.items()}


def _run_by_length(
    model: Any,
    tokens: Any,
    parts: list[tuple[Tensor, Tensor, Positions | None]],
    interventions: list[Intervention],
    keep: list[str | Site],
    last_only: bool,
    grad: bool,
) -> Run:
    """One run a length, put together: [... batch pos ...] with NaN where a prompt has no token."""
    if any(edit.rows is not None for edit in interventions):
        raise ValueError(
            "an intervention on some rows needs prompts of one length: run those prompts by"
            " themselves"
        )
    given = read_prompts(model, tokens)
    runs = [
        (
            at,
            run(
                model,
                ids,
                interventions,
                keep,
                positions=where or {},
                last_only=last_only,
                grad=grad,
            ),
        )
        for at, ids, where in parts
    ]

    def table(values: list[Tensor], batch: int, tokens_at: tuple[int, ...]) -> Tensor:
        shape = list(values[0].shape)
        shape[batch] = len(given.ids)
        for axis in tokens_at:
            shape[axis] = given.width
        out = values[0].new_full(shape, float("nan"))
        for (at, _), value in zip(runs, values):
            for k, i in enumerate(at.tolist()):
                one, row = value.select(batch, k), out.select(batch, i)
                columns = given.columns[i].to(out.device)
                if not tokens_at:
                    row.copy_(one)
                    continue
                # the batch axis is gone: an axis behind it has moved up by one
                axes = [axis - (axis > batch) for axis in tokens_at]
                index: list[Any] = [slice(None)] * row.ndim
                for n, axis in enumerate(axes):
                    index[axis] = columns.view(-1, *[1] * (len(axes) - 1 - n))
                row[tuple(index)] = one
        return out

    logits = table([r.logits for _, r in runs], 0, () if last_only else (1,))
    kept = {}
    for key in runs[0][1].kept:
        site = Site.parse(key)
        stars = len([axis for axis in site.stars if axis != "pos"])
        token_axes = [stars + 1] if site.pos in (None, sites.STAR) else []
        if "src" in site.row.axes:
            token_axes.append(stars + 1 + len(token_axes))
        kept[key] = table([r.kept[key] for _, r in runs], stars, tuple(token_axes))
    return Run(logits, kept)


def _tokens(model: Any, tokens: Any) -> Tensor:
    tokens = torch.as_tensor(tokens)
    d = bridge.dims(model)
    if d.d_in:
        return _vectors(tokens, d)
    if tokens.ndim == 1:
        tokens = tokens[None]
    if tokens.ndim != 2 or tokens.dtype not in (torch.int64, torch.int32):
        raise ValueError(
            f"tokens must be ids [batch pos], got {tokens.dtype} of shape {tuple(tokens.shape)}"
        )
    if tokens.numel() == 0:
        raise ValueError("no tokens: the prompt is empty")
    if tokens.shape[1] > d.n_ctx:
        raise ValueError(
            f"the prompt has {tokens.shape[1]} tokens, the model reads at most {d.n_ctx}"
        )
    if int(tokens.max()) >= d.d_vocab or int(tokens.min()) < 0:
        raise ValueError(
            f"token ids must be 0 to {d.d_vocab - 1}, got {int(tokens.min())} to"
            f" {int(tokens.max())}"
        )
    return tokens


def _vectors(x: Tensor, d: bridge.Dims) -> Tensor:
    """The inputs [batch pos d_in] of a model that reads vectors in place of tokens."""
    x = x[None] if x.ndim == 2 else x
    if x.ndim != 3 or x.shape[-1] != d.d_in or not x.is_floating_point() or x.numel() == 0:
        raise ValueError(
            f"this model reads vectors [batch pos {d.d_in}], got {x.dtype} of shape"
            f" {tuple(x.shape)}"
        )
    if x.shape[1] > d.n_ctx:
        raise ValueError(f"the prompt has {x.shape[1]} vectors, the model reads at most {d.n_ctx}")
    return x


@dataclass
class _Plan:
    """The hooks of one run: what to edit and what to remember at each hook, in upstream-first
    order.
    """

    model: Any
    dims: bridge.Dims
    tokens: Tensor
    positions: Positions
    edits: dict[str, list] = field(
        default_factory=dict
    )  # hook -> [(rank, order, site, intervention)]
    watched: dict[str, Site] = field(default_factory=dict)  # str(site without pos) -> site
    raw: dict[str, Tensor] = field(
        default_factory=dict
    )  # hook -> its tensor after the edits of a rank
    own: dict[str, Tensor] = field(default_factory=dict)  # receivers and "mid" sites -> value
    reached: set[str] = field(default_factory=set)  # the hooks that the run came by

    # building

    def watch(self, pattern: str | Site) -> sites.Grid:
        site = Site.parse(pattern)
        n_pos = self.tokens.shape[1]
        sites.position(site, n_pos, self.positions)
        grid = sites.expand(site.at(None), self.dims, n_pos, self.positions)
        for one in grid.sites:
            self.watched[str(one)] = one
        return sites.Grid(site, grid.sites, grid.dims, grid.coords)

    def check_room(self, grids: Mapping[str, sites.Grid], last_only: bool) -> None:
        """Nothing where what is kept fits in memory; otherwise a ValueError with both sizes."""
        d, (n, length) = self.dims, self.tokens.shape[:2]
        numbers = 0 if last_only else n * length * d.d_vocab
        for grid in grids.values():
            axes = {
                "batch": n,
                "pos": length if grid.pattern.pos in (None, sites.STAR) else 1,
                "src": length,
                **{name: getattr(d, name) for name in ("d_model", "d_head", "d_vocab")},
                "d_mlp": d.d_mlp if grid.sites[0].unit is None else 1,
            }
            each = math.prod(axes.get(name, 1) for name in self.row(grid.sites[0]).axes.split())
            numbers += len({site.at(None) for site in grid.sites}) * each
        need = float(numbers * next(self.model.parameters()).element_size())
        if need < SMALL:
            return
        kept = " and ".join([*grids, *([] if last_only else ["all logits"])])
        placement.check_budget(
            need,
            bridge.device(self.model),
            f"keeping {kept} of {n} prompts of {length:,} tokens",
            "keep one layer or one position at a time ('L3H*.pattern', 'resid_post.*@END'), or take"
            " fewer prompts",
        )

    def edit(self, intervention: Intervention) -> None:
        site = Site.parse(intervention.at)
        sites.position(site, self.tokens.shape[1], self.positions)
        for one in sites.expand(site.at(None), self.dims).sites:
            for read in intervention.reads:
                self._upstream(Site.parse(read), one)
                self.watch(read)
            one = one.at(None if site.pos == sites.STAR else site.pos)
            queue = self.edits.setdefault(self.hook(one), [])
            queue.append((self.row(one).rank, len(queue), one, intervention))

    def _upstream(self, read: Site, at: Site) -> None:
        order = forward_order(read), forward_order(at)
        if order[0] > order[1]:
            raise ValueError(
                f"{str(at)!r} cannot read {str(read)!r}, which comes later in the forward pass"
            )

    def row(self, site: Site) -> sites.Row:
        return sites.row(site, self.dims)

    def hook(self, site: Site) -> str:
        return sites.hook(site, self.dims)

    def hooks(self) -> tuple[list[tuple[str, Callable]], Callable | None]:
        """The hooks of the run, and the one of its output."""
        names = set(self.edits)
        for site in [*self.watched.values(), *(s for q in self.edits.values() for _, _, s, _ in q)]:
            names.add(self.hook(site))
            how = self.row(site).how
            if how == "write":
                names |= {_z_hook(site.layer), self._unnormed(site.layer)} - {None}
            if how in ("read", "mid"):
                names.add(_stream_hook(site.layer))
        late = self._at(OUTPUT) if OUTPUT in names else None
        return [(name, self._at(name)) for name in sorted(names - {OUTPUT})], late

    def _unnormed(self, layer: int) -> str | None:
        return bridge.writes_before_norm(self.model, layer)

    def check_reached(self) -> None:
        """Nothing when every hook was come by; an edit that was never made must not pass for one
        without effect.
        """
        asked = [*self.watched.values(), *(s for q in self.edits.values() for _, _, s, _ in q)]
        for site in asked:
            if self.hook(site) not in self.reached:
                raise self._no_place(site)

    def _no_place(self, site: Site) -> ValueError:
        if bridge.elsewhere(self.model):
            return bridge.traced.not_here(f"what is at {str(site)!r}")
        return ValueError(
            f"{str(site)!r}: {bridge.name(self.model)} has no such place (TransformerLens has no"
            f" hook {self.hook(site)!r} in this kind of layer), so nothing can be read or changed"
            " there"
        )

    # running

    def _at(self, name: str) -> Callable[[Tensor, Any], Tensor | None]:
        queue = sorted(self.edits.get(name, ()), key=lambda entry: entry[:2])
        watched = [s for s in self.watched.values() if self.hook(s) == name]
        ranks = sorted({entry[0] for entry in queue} | {self.row(s).rank for s in watched})

        def hook(tensor: Tensor, hook: Any = None) -> Tensor | None:
            self.reached.add(name)
            shape, t = tensor.shape, self._heads(name, tensor)
            for rank in ranks:
                for _, _, site, intervention in (e for e in queue if e[0] == rank):
                    t = self._apply(site, intervention, t)
                self.raw[f"{name}/{rank}"] = t
                for site in (s for s in watched if self.row(s).rank == rank):
                    if self.row(site).how in ("read", "mid", "write") and str(site) not in self.own:
                        self.own[str(site)] = self._read(site, t)
            self.raw[name] = t
            return t.reshape(shape) if queue else None

        return hook

    def _heads(self, name: str, t: Tensor) -> Tensor:
        """Some architectures show q, k, v, z flattened: give them their head axis."""
        if not name.endswith(_BY_HEAD):
            return t
        kv = name.endswith(("hook_k", "hook_v", "hook_k_normed"))
        heads = self.dims.n_kv_heads if kv else self.dims.n_heads
        if t.ndim == 4 and t.shape[2] == heads:
            return t
        return t.flatten(2).unflatten(2, (heads, -1))  # a query with its gate is shown as two heads

    def _read(self, site: Site, t: Tensor) -> Tensor:
        """The current value of a site at every position, from the hook's tensor t."""
        row = self.row(site)
        how = row.how
        if str(site) in self.own:
            return self.own[str(site)]
        if how == "write":
            W_O, _ = bridge.projection(self.model, "O", site.layer)
            wrote = self.raw[_z_hook(site.layer)][:, :, site.index] @ W_O[site.index]
            return wrote * bridge.share(
                self.model, site.layer, self.raw.get(self._unnormed(site.layer))
            )
        if how == "read":
            return self.raw[_stream_hook(site.layer)]
        if how == "mid":
            return self.raw[_stream_hook(site.layer)] + t
        if "head" in row.axes:
            t = t.select(row.axes.split().index("head"), site.index)
        return t if site.unit is None else t[..., site.unit : site.unit + 1]

    def _apply(self, site: Site, intervention: Intervention, t: Tensor) -> Tensor:
        """The hook's tensor after one edit."""
        whole = site.at(None)
        before = self._read(whole, t)
        index = self._index(site, before, intervention.rows)
        seen = {
            str(Site.parse(r)): self._seen(Site.parse(r), intervention.rows)
            for r in intervention.reads
        }
        seen["pos"] = (
            index[1]
            if len(index) == 2
            else torch.arange(before.shape[1], device=before.device)[None]
        )
        part = before[index]
        new = intervention.edit(part, seen)
        if not isinstance(new, Tensor):
            raise TypeError(
                f"the edit at {str(site)!r} gave {quoted(new)}: it returns the new activation, of"
                f" shape {tuple(part.shape)}"
            )
        if new.shape != part.shape:
            raise ValueError(
                f"the edit at {str(site)!r} gave shape {tuple(new.shape)}, it must keep"
                f" {tuple(part.shape)}"
            )
        after = before.clone()
        after[index] = new.to(part)  # an edit may compute in another number type
        return self._write(whole, t, before, after, index)

    def _write(self, site: Site, t: Tensor, before: Tensor, after: Tensor, index: tuple) -> Tensor:
        row = self.row(site)
        how = row.how
        if how in ("write", "read", "mid"):
            self.own[str(site)] = after
        if how == "write":
            return t + (after - before)
        if how == "mid":
            return after - self.raw[_stream_hook(site.layer)]
        if how == "read":
            return self._project(site, t, after, index)
        if site.unit is not None:
            t = t.clone()
            t[..., site.unit : site.unit + 1] = after
            return t
        if "head" in row.axes:
            t = t.clone()
            t.select(row.axes.split().index("head"), site.index).copy_(after)
            return t
        return after

    def _project(self, site: Site, t: Tensor, read: Tensor, index: tuple) -> Tensor:
        """The hook's tensor where one reader is computed from its own input: one head's q, k or v,
        or a normed copy.
        """
        part, t = self.row(site).part, t.clone()
        if part != "head":
            t[index] = bridge.norm(self.model, part, site.layer, read)[index].to(t)
            return t
        which = site.part[0].upper()
        own = bridge.reader(self.model, which, site.layer, read, site.index)
        # elsewhere it may carry an edit of the layer's whole input
        t[:, :, site.index][index] = own[index]
        return t

    def _index(self, site: Site, act: Tensor, rows: slice | None) -> tuple:
        """What to select of [batch pos ...]: the rows, and one position per example if the site
        names one.
        """
        batch = torch.arange(act.shape[0], device=act.device)[rows or slice(None)]
        if site.pos is None:
            return (batch,)
        at = self._positions(site, act)[batch]
        return batch[:, None], at[:, None]

    def _positions(self, site: Site, act: Tensor) -> Tensor:
        """The position of each example [batch], where the activation [batch pos ...] is."""
        n_pos = act.shape[1]
        if isinstance(site.pos, int):
            return torch.full((len(self.tokens),), site.pos % n_pos, device=act.device)
        return self.positions[site.pos].to(act.device, torch.long) % n_pos

    def _seen(self, site: Site, rows: slice | None) -> Tensor:
        value = self._value(site.at(None))
        value = self._at_position(site, value)
        return value if rows is None else value[rows]

    def _value(self, site: Site) -> Tensor:
        row = self.row(site)
        if self.hook(site) not in self.reached:
            raise self._no_place(site)
        value = self.raw[f"{self.hook(site)}/{row.rank}"]
        if row.how != "act":
            if str(site) not in self.own:
                self.own[str(site)] = self._read(site, value)
            return self.own[str(site)]
        return self._read(site, value)

    def _at_position(self, site: Site, value: Tensor) -> Tensor:
        if site.pos is None or site.pos == sites.STAR:
            return value
        at = self._positions(site, value)
        return value[torch.arange(len(value), device=value.device), at]

    def gather(self, grid: sites.Grid) -> Tensor:
        """The kept values of a pattern: its stars lead, except the position's, which keeps its own
        place.
        """
        values = [self._at_position(grid.pattern, self._value(s)) for s in grid.sites]
        if not grid.dims:
            return values[0]
        device = values[0].device  # layers may be on several
        return torch.stack([v.to(device) for v in values]).unflatten(0, grid.shape)


OUTPUT = sites.TABLE["logits", "out"].hook
# what some architectures show flattened over the heads
_BY_HEAD = ("hook_q", "hook_k", "hook_v", "hook_z", "hook_q_normed", "hook_k_normed")


def _layer(hook: str) -> int:
    """The block a hook belongs to; what comes after the blocks counts as far beyond them."""
    return int(hook.split(".")[1]) if hook.startswith("blocks.") else 10**6


def _z_hook(layer: int) -> str:
    return sites.TABLE["head", "z"].hook.format(l=layer)


def _stream_hook(layer: int) -> str:
    return sites.TABLE["resid_pre", "out"].hook.format(l=layer)


# Within a block: what reads the stream, then q/k/v, scores, pattern, z, writes, the stream after
# attention, the MLP.
_STEP = {"q_in": 1, "k_in": 1, "v_in": 1, "q": 2, "k": 2, "v": 2, "scores": 3, "pattern": 4, "z": 5}


def forward_order(site: Site) -> tuple[int, int]:
    """Where a site stands in the forward pass: what comes earlier is smaller."""
    if site.family == "embed":
        return (0, -1)
    if site.family == "logits":
        return (10**6, 1 if site.part == "out" else 0)
    inside = {"resid_pre": 0, "resid_mid": 8, "resid_post": 12}.get(site.family)
    if site.family == "mlp":
        inside = {"post": 10, "out": 11}.get(site.part, 9)
    if site.family == "attn":
        inside = 7 if site.part == "out" else 1
    return (site.layer, _STEP.get(site.part, 6) if inside is None else inside)
