"""Edits of a dictionary's latents, as interventions; what the dictionary does not explain stays.

>>> interp.run(model, tokens, features.ablate(sae, [17, 40]))   # these latents become zero
>>> interp.run(model, tokens, features.clamp(sae, {17: 6.0}))   # this one gets a value, on or not
>>> interp.run(model, tokens, features.steer(sae, {17: 6.0}))   # its direction is added

The activation becomes act + decode(changed z) - decode(z), so that changing nothing is exactly the
plain run. Every function that takes interventions takes these: `interp.effect`, `interp.generate`,
`interp.run`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from interp._isolation import torch_defaults
from interp.features.crosscoders.cross_layer_transcoder import directions
from interp.features.dictionary import Dictionary
from interp.features.sites import place
from interp.interventions import Intervention
from interp.sites import Site

SKIP = 1  # the attention sink: its latents mean little, and the model relies on its norm


@torch_defaults()
def ablate(
    dictionary: Dictionary,
    latents: int | Iterable[int],
    *,
    at: str | int | None = None,
    skip: int = SKIP,
) -> list[Intervention]:
    """The interventions that set latents to zero and keep the error term.

    Example:
        >>> interp.effect(model, task, features.ablate(sae, [17, 40]))
        >>> interp.run(model, tokens, features.ablate(sae, 17, at=-1)).logits

    Args:
        dictionary: Whose latents are edited.
        latents: One latent or several.
        at: One position only: a number, or the name of one of a task's positions.
        skip: How many first positions are left unchanged. The default 1 leaves out the attention
            sink, where latents mean little and the model relies on the norm.

    Returns:
        A list of interventions for `interp.run` and everything that takes interventions.

    Raises:
        ValueError: If the dictionary has no such latent, or reads all heads side by side.
    """
    which = [latents] if isinstance(latents, int) else list(latents)
    return clamp(dictionary, dict.fromkeys(which, 0.0), at=at, skip=skip)


@torch_defaults()
def clamp(
    dictionary: Dictionary,
    values: Mapping[int, float],
    *,
    at: str | int | None = None,
    skip: int = SKIP,
) -> list[Intervention]:
    """The interventions that set latents to values, on or not, and keep the error term.

    Example:
        >>> interp.generate(model, "The weather", features.clamp(sae, {17: 8.0}))

    Args:
        dictionary: Whose latents are edited.
        values: The new value of each latent.
        at: One position only; see `ablate`.
        skip: How many first positions are left unchanged; see `ablate`.

    Returns:
        A list of interventions for `interp.run` and everything that takes interventions.

    Raises:
        ValueError: If the dictionary has no such latent, or reads all heads side by side.

    Reference:
        Templeton et al. 2024, transformer-circuits.pub/2024/scaling-monosemanticity.
    """
    chosen, amounts = _chosen(dictionary, values)
    return _interventions(
        dictionary,
        chosen,
        lambda x: amounts.to(x.device) - dictionary.encode(x)[..., chosen],
        at,
        skip,
    )


@torch_defaults()
def steer(
    dictionary: Dictionary,
    amounts: Mapping[int, float],
    *,
    at: str | int | None = None,
    skip: int = SKIP,
) -> list[Intervention]:
    """The interventions that add latents' directions to the activation, so many units of each.

    The encoder is not used: a latent that is on already grows by the same amount.

    Example:
        >>> interp.run(model, tokens, features.steer(sae, {17: 8.0}))

    Args:
        dictionary: Whose directions are added.
        amounts: How many times each latent's direction is added.
        at: One position only; see `ablate`.
        skip: How many first positions are left unchanged; see `ablate`.

    Returns:
        A list of interventions for `interp.run` and everything that takes interventions.

    Raises:
        ValueError: If the dictionary has no such latent, or reads all heads side by side.
    """
    chosen, much = _chosen(dictionary, amounts)
    return _interventions(dictionary, chosen, lambda x: much.expand(*x.shape[:-1], -1), at, skip)


def _chosen(dictionary: Dictionary, values: Mapping[int, float]) -> tuple[Tensor, Tensor]:
    """The latents and their numbers, as tensors."""
    if not isinstance(values, Mapping):
        raise ValueError(f"latents with their values are a dict, {{17: 6.0}}, got {values!r}")
    wrong = next(
        (i for i in values if not (isinstance(i, int) and 0 <= i < dictionary.n_latents)), None
    )
    if wrong is not None:
        raise ValueError(
            f"{dictionary.name} has latents 0 to {dictionary.n_latents - 1}, got {wrong!r}"
        )
    return torch.tensor(list(values), dtype=torch.long), torch.tensor(
        [float(v) for v in values.values()], dtype=dictionary.W_dec.dtype
    )


def _interventions(
    dictionary: Dictionary,
    chosen: Tensor,
    by: Callable[[Tensor], Tensor],
    at: str | int | None,
    skip: int,
) -> list[Intervention]:
    """The interventions that add the chosen directions, `by` [... chosen] times each."""
    if place(dictionary.site).stars:
        layer = place(dictionary.site).layer
        raise ValueError(
            f"{dictionary.name} reads all heads side by side ({dictionary.site!r}): edit a"
            f" dictionary of one head, or of 'attn.{layer}'"
        )
    suffix = "" if at is None else f"@{at}"
    reads = () if dictionary.to is None else (f"{dictionary.site}{suffix}",)
    written = place(dictionary.writes)

    def writing(W: Tensor, layer: int | None) -> Intervention:
        def edit(act: Tensor, seen: Mapping[str, Tensor]) -> Tensor:
            x = act if not reads else seen[str(Site.parse(reads[0]))].reshape(*act.shape[:2], -1)
            change = by(x).to(act.device) @ W.to(act.device)
            return act + (change * (seen["pos"] >= skip)[..., None]).to(act.dtype)

        return Intervention(f"{replace(written, layer=layer)}{suffix}", edit, reads)

    of = directions(dictionary, dictionary.W_dec.device)  # several layers of a cross-layer one
    return [writing(W[chosen], layer) for layer, W in of.items()]
