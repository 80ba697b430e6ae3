"""The rest of a run from one site on, as a function of what stands there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp import engine
from interp._types import Model
from interp.edits import set_to
from interp.engine.forward import keys, run_from, window
from interp.interventions import Intervention, run
from interp.methods.patching.patch import at_position
from interp.methods.runs.engine_sweep import KINDS
from interp.methods.runs.sweep import choose_engine
from interp.sites import Site

# what the engine holds in another form than a subspace of the site is meant in
OTHERWISE = (("head", "out"), ("embed", "out"))


@dataclass(frozen=True)
class Suffix:
    """What a site holds in two runs of the same prompts, and the rest of the run from it on.

    Attributes:
        base, source: What stands at the site in the run that is changed and in the other one,
            [batch d], or [batch pos d] where the site has no position.
        logits: (values [row batch ...], which prompts [batch], ids [batch k] or None) -> the logits
            at END of the base run with these values at the site: [row batch k], or of the whole
            vocabulary.
        backend: "engine" or "hooks".
    """

    base: Float[Tensor, "batch *pos d"]
    source: Float[Tensor, "batch *pos d"]
    logits: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    backend: str


def suffix(
    model: Model,
    site: Site,
    base: Int[Tensor, "batch pos"],
    source: Int[Tensor, "batch pos"],
    positions: Mapping[str, Int[Tensor, "batch"]],
    backend: str | None = None,
) -> Suffix:
    """The suffix at a site that holds one vector (a position).

    Args:
        model: A loaded model.
        site: One address without stars.
        base: The tokens of the run that is changed.
        source: The tokens of the run that values come from.
        positions: Named positions.
        backend: "engine" or "hooks"; None chooses.
    """
    kind = (site.family, site.part)

    def find() -> Any:
        return engine.find(model) if kind in KINDS and kind not in OTHERWISE else None

    engine_model = choose_engine(model, backend, find)
    make = _by_hooks if engine_model is None else _by_engine
    return make(model if engine_model is None else engine_model, site, base, source, positions)


def _by_hooks(
    model: Model, site: Site, base: Tensor, source: Tensor, positions: Mapping[str, Tensor]
) -> Suffix:
    """The definition: the whole run, with the site set to the values."""
    where = dict(positions)
    end = base.shape[1] - 1
    where.setdefault("END", torch.full((len(base),), end))

    def held(tokens: Tensor) -> Tensor:
        everywhere = site.at(None)
        kept = run(model, tokens, keep=[everywhere], positions=where, last_only=True).kept
        return at_position(kept[str(everywhere)], site, where).detach()

    def logits(values: Tensor, at: Tensor, ids: Tensor | None) -> Tensor:
        some = {name: index[at] for name, index in where.items()}
        grad = torch.is_grad_enabled()
        out = torch.stack(
            [
                run(
                    model,
                    base[at],
                    [Intervention(site, set_to(value))],
                    positions=some,
                    last_only=True,
                    grad=grad,
                ).logits
                for value in values
            ]
        )
        return out if ids is None else out.gather(-1, ids.to(out.device).expand(len(out), -1, -1))

    return Suffix(held(base), held(source), logits, "hooks")


def _by_engine(
    engine_model: Any, site: Site, base: Tensor, source: Tensor, positions: Mapping[str, Tensor]
) -> Suffix:
    """From the edited layer and position on: what comes before is the base run's own."""
    kind, layer, end = KINDS[site.family, site.part], site.layer, base.shape[1]
    last = layer == engine_model.n_layers - 1
    with torch.no_grad():
        before = engine.run(
            engine_model,
            base,
            keep=tuple(dict.fromkeys(("resid_pre", "k", "v", kind))),
            logits=None,
        )
        stop = None if last else layer + 1
        other = engine.run(engine_model, source, keep=(kind,), logits=None, stop=stop)
    index = None
    if site.pos is not None:
        given = positions[site.pos] if isinstance(site.pos, str) else torch.tensor(site.pos)
        index = (given % end).expand(len(base)).to(engine_model.device)

    def held(of: Any) -> Tensor:
        value = of[kind][layer]
        value = value if site.index is None else value[:, :, site.index]
        return value if index is None else value[torch.arange(len(value)), index]

    def logits(values: Tensor, at: Tensor, ids: Tensor | None) -> Tensor:
        first = 0 if index is None else int(index[at].min())
        view, early = window(engine_model, first, end), window(engine_model, 0, first)

        def prefix(number: int) -> tuple[Tensor, Tensor]:
            k, v = before["k"][number][at, :first], before["v"][number][at, :first]
            return keys(engine_model.layers[number], k, early), v

        def put(own: Tensor) -> Tensor:
            new, given = own.clone(), values.to(own)
            to = (slice(None),) if site.index is None else (slice(None), site.index)
            if index is None:
                new[(slice(None), slice(None), *to)] = given
            else:
                rows = torch.arange(len(at), device=own.device)
                new[(slice(None), rows, index[at] - first, *to[1:])] = given
            return new

        x = before["resid_pre"][layer][at, first:]
        x = run_from(
            engine_model,
            x.expand(len(values), *x.shape),
            view,
            layer,
            prefix=prefix if first else None,
            touch=lambda number, _: {kind: put} if number == layer else {},
            end_only=not last,
        )
        final = engine_model.final_norm(x[:, :, -1])
        if ids is None:
            return engine.vocab(engine_model, lambda logits: logits)(final)
        return engine.columns(engine_model, ids)(final)

    return Suffix(held(before), held(other), logits, "engine")
