"""A training step of a top-k autoencoder that computes gradients at its active latents alone.

sae-lens' step multiplies matrices of batch x latents six times. Here this happens once, to choose
the latents; the rest is sparse: k latents per token, or k on average (batch top-k, mutual choice,
feature choice). Loss and gradients equal sae-lens' up to rounding. Treating the decoder as if its
directions had length one (`rescale_acts_by_decoder_norm`) changes which latents are chosen, but the
length cancels in what they write.
"""

import warnings
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import embedding_bag


class Step(NamedTuple):
    """The two parts of the loss of a step, and the latents that were on."""

    mse: Tensor
    aux: Tensor
    at: Tensor  # [place]: the latents that were chosen, token by token
    latents: Tensor  # [place], zero where the latent was not above zero
    error: Tensor  # [batch d_out], output minus what it should be


@torch.no_grad()
def gradients(
    sae: Any,
    x: Float[Tensor, "batch d_in"],
    dead: Bool[Tensor, "latent"] | None = None,
    target: Float[Tensor, "batch d_out"] | None = None,
) -> Step:
    """The losses of sae-lens' TopKTrainingSAE on a batch; sets `.grad` of its parameters.

    Args:
        sae: The autoencoder in training.
        x: Scaled activations [batch d_in].
        dead: Mask of latents that have long been off; the auxiliary loss teaches them to write what
            is missing.
        target: What a transcoder is to write, scaled; x if None.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Sparse CSR tensor support"
        )  # beta, and checked against dense in the tests
        return _gradients(sae, x, dead, x if target is None else target)


def _gradients(sae: Any, x: Tensor, dead: Tensor | None, target: Tensor) -> Step:
    W_enc, W_dec, cfg = sae.W_enc.data, sae.W_dec.data, sae.cfg
    n, batch = len(W_dec), len(x)
    centred = x - sae.b_dec.data if cfg.apply_b_dec_to_input else x
    before = torch.addmm(sae.b_enc.data, centred, W_enc)
    ranked = before * W_dec.norm(dim=-1) if cfg.rescale_acts_by_decoder_norm else before
    rows, at, starts = _chosen(sae, ranked)
    latents = before[rows, at].relu()
    error = (
        embedding_bag(at, W_dec, starts[:-1], per_sample_weights=latents, mode="sum")
        + sae.b_dec.data
        - target
    )
    if hasattr(sae, "W_skip"):
        error += x @ sae.W_skip.data.T
    slope = error * (2 / batch)
    by_latent = _Transposed(rows, at, n, batch)
    W_dec_grad = by_latent.times(latents, slope)
    at_latents = _at(slope, W_dec, at, starts) * (latents > 0)
    W_enc_grad = by_latent.times(at_latents, centred)  # [latent d_in], transposed at the end
    b_enc_grad = torch.zeros_like(sae.b_enc.data).index_add_(0, at, at_latents)
    aux = x.new_zeros(())
    dead = sae.taught(dead) if hasattr(sae, "taught") else dead
    if dead is not None and bool(dead.any()):
        aux = _auxiliary(
            sae, before, ranked, centred, error, dead, W_dec_grad, W_enc_grad, b_enc_grad
        )
    sae.W_dec.grad, sae.W_enc.grad, sae.b_enc.grad = (
        W_dec_grad,
        W_enc_grad.T.contiguous(),
        b_enc_grad,
    )
    # every token's slope at the input is its latents' slopes times W_enc: summed over tokens,
    # b_enc's times W_enc
    sae.b_dec.grad = slope.sum(0) - W_enc @ b_enc_grad if cfg.apply_b_dec_to_input else slope.sum(0)
    if hasattr(sae, "W_skip"):
        sae.W_skip.grad = slope.T @ x
    return Step(error.pow(2).sum(-1).mean(), aux, at, latents, error)


def _auxiliary(
    sae: Any,
    before: Tensor,
    ranked: Tensor,
    centred: Tensor,
    error: Tensor,
    dead: Tensor,
    W_dec_grad: Tensor,
    W_enc_grad: Tensor,
    b_enc_grad: Tensor,
) -> Tensor:
    """sae-lens' auxiliary loss (Gao et al. 2024, arXiv 2406.04093, A.2); adds to the gradients."""
    which = dead.nonzero()[:, 0]
    W_dec, most, batch = sae.W_dec.data[which], error.shape[-1] // 2, len(error)
    weight = sae.cfg.aux_loss_coefficient * min(len(which) / most, 1.0)
    latents, chosen = before[:, which], None
    if len(which) > most:
        chosen = ranked[:, which].topk(most, dim=-1, sorted=False).indices
        latents = torch.zeros_like(latents).scatter_(-1, chosen, latents.gather(-1, chosen))
    missed = latents @ W_dec + error  # what they write minus what was missing
    slope = missed * (2 * weight / batch)
    at_latents = slope @ W_dec.T
    if chosen is not None:
        at_latents = torch.zeros_like(at_latents).scatter_(
            -1, chosen, at_latents.gather(-1, chosen)
        )
    W_dec_grad[which] += latents.T @ slope
    W_enc_grad[which] += at_latents.T @ centred
    b_enc_grad[which] += at_latents.sum(0)
    return weight * missed.pow(2).sum(-1).mean()


def _chosen(sae: Any, ranked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The token and the latent of each match, token by token, and where each token starts."""
    batch, n = ranked.shape
    if sae.cfg.architecture() == "topk":
        at, k = ranked.topk(sae.cfg.k, dim=-1, sorted=False).indices.flatten(), sae.cfg.k
        rows = torch.arange(batch, device=at.device).repeat_interleave(k)
        return rows, at, torch.arange(0, batch * k + 1, k, device=at.device)
    from interp.features.training.mutual_choice import places

    rows, at = (flat := places(sae.cfg, ranked)) // n, flat % n
    return rows, at, torch.cat([at.new_zeros(1), rows.bincount(minlength=batch).cumsum(0)])


class _Transposed:
    """The chosen latents ordered by latent: sparse [latent batch] times dense [batch d]."""

    def __init__(self, rows: Tensor, at: Tensor, n: int, batch: int):
        self.order = at.argsort()
        self.rows = rows[self.order]
        self.starts = torch.cat([at.new_zeros(1), at.bincount(minlength=n).cumsum(0)])
        self.shape = (n, batch)

    def times(self, values: Tensor, dense: Tensor) -> Tensor:
        """The product [latent d] with a dense matrix [batch d]."""
        return (
            torch.sparse_csr_tensor(
                self.starts, self.rows, values[self.order], self.shape, check_invariants=False
            )
            @ dense
        )


def _at(left: Tensor, right: Tensor, at: Tensor, starts: Tensor) -> Tensor:
    """The entries of left @ right.T [batch latent] at these places alone."""
    places = torch.sparse_csr_tensor(
        starts, at, left.new_zeros(len(at)), (len(left), len(right)), check_invariants=False
    )
    return torch.sparse.sampled_addmm(places, left, right.T, beta=0.0).values()


def step(
    trainer: Any,
    batch: Float[Tensor, "batch d_in"],
    target: Float[Tensor, "batch d_out"] | None = None,
) -> Step:
    """One step of sae-lens' SAETrainer, equal to `trainer.step(batch)` up to rounding; with what a
    transcoder is to write, scaled, one of `architectures.transcoder_step`.
    """
    trainer.n_training_samples += len(batch)
    sae, x = trainer.sae, trainer.activation_scaler(batch)
    sae.train()
    result = gradients(sae, x, trainer.dead_neurons, target)
    with torch.no_grad():
        fired = torch.bincount(result.at[result.latents > 0], minlength=sae.cfg.d_sae)
        trainer.n_forward_passes_since_fired += 1
        trainer.n_forward_passes_since_fired[fired > 0] = 0
        trainer.act_freq_scores += fired
        trainer.n_frac_active_samples += trainer.cfg.train_batch_size_samples
        if hasattr(sae, "update_topk_threshold"):
            sizes = result.latents * (
                sae.W_dec.norm(dim=-1)[result.at] if sae.cfg.rescale_acts_by_decoder_norm else 1
            )
            (
                sae.update(sizes, result.at)
                if hasattr(sae, "update")
                else sae.update_topk_threshold(sizes)
            )
        if hasattr(sae, "count"):
            sae.count(fired, len(batch))
    torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    trainer.lr_scheduler.step()
    return result
