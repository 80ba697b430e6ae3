"""Mutual choice and feature choice: a whole batch decides which token may use which latent.

A batch of n tokens has a budget of k * n matches. Top-k gives every token k of them. Mutual choice
gives them to the largest latents of the whole batch, which is sae-lens' batch top-k. Feature choice
gives each latent its share, at the tokens where it is largest. After training both become
thresholds: one for all latents, or one per latent (a jump-ReLU).

New here are feature choice and the auxiliary loss "zipf", which teaches not only dead latents to
write what is missing, but all latents that are on less often than Zipf's law gives. (Ayonrinde
2024, arXiv 2411.02124. Its full text was not at hand: the budget and the purpose of the loss follow
the abstract; how the loss chooses latents is ours, see `zipf.underused`.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.sae import TrainStepInput, TrainStepOutput
from torch import Tensor

from interp._errors import unknown
from interp.features.training.zipf import shares, underused

AUX = ("zipf", "k")
LATELY = 0.05  # the weight of the last batch in how often a latent is on: about 20 batches count


def places(cfg: Any, ranked: Float[Tensor, "batch latent"]) -> Int[Tensor, "place"]:
    """The matches of a batch, token by token, as indices into the flattened `ranked`."""
    batch, n = ranked.shape
    total = int(cfg.k * batch)
    if cfg.architecture() != "featurechoice":
        return ranked.flatten().topk(total, sorted=False).indices.sort().values
    each = shares(n, total, batch, cfg.exponent)
    tokens = ranked.T.contiguous().topk(int(each.max()), dim=1).indices
    each = each.to(tokens.device)
    matched = torch.arange(tokens.shape[1], device=tokens.device) < each[:, None]
    return (tokens * n + torch.arange(n, device=tokens.device)[:, None])[matched].sort().values


# --- sae-lens' classes ----------------------------------------------------------------------------


@dataclass
class MutualChoiceConfig(BatchTopKTrainingSAEConfig):
    """Batch top-k's settings, and those of the auxiliary loss.

    Attributes:
        aux: "zipf", or "k" to teach dead latents alone.
        zipf_exponent: The exponent of Zipf's law in that loss.
    """

    aux: str = "zipf"
    zipf_exponent: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.aux not in AUX:
            raise unknown("auxiliary loss", self.aux, AUX)

    @classmethod
    def architecture(cls) -> str:
        return "mutualchoice"


@dataclass
class FeatureChoiceConfig(MutualChoiceConfig):
    """Mutual choice's settings, and how the budget is shared among latents.

    Attributes:
        exponent: 0 gives every latent equally many tokens, 1 shares by Zipf's law in their order.
    """

    exponent: float = 0.0

    @classmethod
    def architecture(cls) -> str:
        return "featurechoice"


class MutualChoice(BatchTopKTrainingSAE):
    """sae-lens' batch top-k, with a choice of the latents that the auxiliary loss teaches."""

    cfg: Any
    density: Tensor

    def __init__(self, cfg: Any, use_error_term: bool = False):
        super().__init__(cfg, use_error_term)
        # at first as if all were on alike, so that only what stays off for some batches counts as
        # underused
        self.register_buffer("density", torch.full((cfg.d_sae,), cfg.k / cfg.d_sae))

    def get_activation_fn(self) -> Callable[[Tensor], Tensor]:
        """A function that keeps the chosen latents of a batch; the others become zero."""
        return lambda x: (
            torch.zeros_like(x.flatten())
            .scatter(0, (at := places(self.cfg, x)), x.flatten()[at].relu())
            .view_as(x)
        )

    def taught(self, dead: Bool[Tensor, "latent"] | None) -> Bool[Tensor, "latent"] | None:
        """Mask of the latents that the auxiliary loss teaches."""
        if self.cfg.aux == "k":
            return dead
        few = underused(self.density, self.cfg.zipf_exponent)
        return few if dead is None else few | dead

    def calculate_topk_aux_loss(
        self, sae_in: Tensor, sae_out: Tensor, hidden_pre: Tensor, dead_neuron_mask: Tensor | None
    ) -> Tensor:
        """sae-lens' auxiliary loss, for the latents of `taught`."""
        return super().calculate_topk_aux_loss(
            sae_in, sae_out, hidden_pre, self.taught(dead_neuron_mask)
        )

    def training_forward_pass(self, step_input: TrainStepInput) -> TrainStepOutput:
        """sae-lens' forward pass, which also counts how often latents are on."""
        output = super().training_forward_pass(step_input)
        self.count((output.feature_acts > 0).sum(0), len(output.feature_acts))
        return output

    @torch.no_grad()
    def count(self, fired: Tensor, tokens: int) -> None:
        """Updates the running share of tokens at which each latent is on."""
        self.density = (1 - LATELY) * self.density + LATELY * fired / tokens

    def process_state_dict_for_saving_inference(self, state_dict: dict[str, Any]) -> None:
        """Batch top-k's state: a threshold in place of the choice."""
        state_dict.pop("density")
        super().process_state_dict_for_saving_inference(state_dict)


class FeatureChoice(MutualChoice):
    """Each latent is on at its share of a batch's tokens; trained, above its own threshold."""

    def __init__(self, cfg: Any, use_error_term: bool = False):
        super().__init__(cfg, use_error_term)
        self.topk_threshold = torch.zeros(cfg.d_sae, dtype=torch.double)

    @torch.no_grad()
    def update_topk_threshold(self, acts_topk: Float[Tensor, "batch latent"]) -> None:
        """Moves each latent's threshold towards the smallest value chosen in this batch."""
        rows, latents = acts_topk.nonzero(as_tuple=True)
        self.update(acts_topk[rows, latents], latents)

    @torch.no_grad()
    def update(self, values: Float[Tensor, "place"], latents: Int[Tensor, "place"]) -> None:
        """The same as `update_topk_threshold`, from the chosen values and latents alone."""
        on = values > 0
        least = (
            values.new_full((self.cfg.d_sae,), torch.inf)
            .scatter_reduce(0, latents[on], values[on], "amin")
            .double()
        )
        moved = torch.lerp(self.topk_threshold, least, self.cfg.topk_threshold_lr)
        self.topk_threshold = torch.where(least.isfinite(), moved, self.topk_threshold)

    def process_state_dict_for_saving_inference(self, state_dict: dict[str, Any]) -> None:
        """Batch top-k's state, with one threshold per latent."""
        thresholds = state_dict["topk_threshold"]
        state_dict["topk_threshold"] = thresholds.mean()
        super().process_state_dict_for_saving_inference(state_dict)
        state_dict["threshold"] = thresholds.to(self.b_enc.dtype)
