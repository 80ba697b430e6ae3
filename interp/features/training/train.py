"""Training dictionaries with sae-lens' classes and optimiser, on activations computed once."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp._isolation import torch_defaults
from interp._types import Model
from interp.features.activations import Activations, activations
from interp.features.dictionary import Dictionary
from interp.features.loading.from_sae import from_sae
from interp.features.sites import place
from interp.features.training import architectures, topk_step, train_checkpoint
from interp.methods.runs.sweep import progress
from interp.models import bridge

EVERY = 50  # points of the curve, at most
# tokens without being on, after which a latent counts as dead (a quarter of the training at most)
DEAD = 100_000


@torch_defaults()
def train(
    model: Model | None,
    site: str,
    on: Any = None,
    *,
    kind: str = "topk",
    width: int = 2304,
    k: int = 32,
    tokens: int = 300_000,
    to: str | None = None,
    seed: int = 0,
    batch: int = 1024,
    lr: float = 3e-3,
    folder: str | Path | None = None,
    name: str = "",
    fast: bool = True,
    callback: Callable[[dict[str, float]], None] | None = None,
    **options: Any,
) -> Dictionary:
    """A dictionary of the activations at a site, trained with sae-lens.

    Adam, with a warm-up, and a last fifth of the steps in which `lr` falls to zero. Inputs are
    scaled to a mean length of sqrt(d) during training, and scaled back in what is returned. Nothing
    is sent anywhere.

    Example:
        >>> sae = features.train(model, "resid_post.15", width=2304, k=32, tokens=300_000)
        >>> features.train(model, "mlp.10.in", to="mlp.10", kind="transcoder")

    Args:
        model: The model; None if `on` is `Activations`.
        site: What the dictionary reads.
        on: Activations, ids [chunk pos], or a corpus (the "find" half of the documentation if
            None). A text with fewer than `tokens` tokens is read again, in another order.
        kind: "topk", "batchtopk", "mutualchoice" or "featurechoice" (with aux="zipf" or "k"; see
            `training.mutual_choice`), "matryoshka", "jumprelu" (about k latents on), "standard" or
            "gated" (with l1_coefficient), "transcoder" and "skip_transcoder" (with `to`; the second
            has a linear path beside its latents: Paulo et al. 2025, arXiv 2501.18823).
        width: How many latents.
        k: How many latents are on, for the kinds that take k.
        tokens: How many tokens are used for training.
        to: What a transcoder writes.
        seed: Decides the text, the order and the first weights.
        batch: Tokens per step.
        lr: The largest learning rate.
        folder: Where activations and checkpoints are kept; the same call continues there after an
            interruption.
        name: How results name it.
        fast: Whether kinds with a budget of k use our step, equal to sae-lens' up to rounding.
        callback: Called with loss, l0, explained and dead during training.
        options: Go to sae-lens' training configuration.

    Returns:
        A `Dictionary`; metadata["curve"] has loss, l0, explained variance and dead latents by
        tokens.

    Raises:
        ValueError: If an option is unknown or impossible, or there are fewer tokens than one batch.

    Reference:
        Top-k: Gao et al. 2024, arXiv 2406.04093.
    """
    started = time.perf_counter()
    architectures.check(kind, width, k)
    if (to is None) == (kind in architectures.TRANSCODERS):
        raise ValueError(
            f"kind={kind!r}, to={to!r}: a transcoder, and only that, writes another site"
            " (site='mlp.10.in', to='mlp.10')"
        )
    where = [str(place(s)) for s in (site, to) if s is not None]
    acts = training_activations(model, where, on, tokens, seed, folder, batch)
    if tokens < batch:
        raise ValueError(
            f"tokens={tokens:,} are fewer than one batch of {batch:,}: give more tokens, or a"
            " smaller batch"
        )
    steps = tokens // batch
    first = acts.shard(0)
    recipe = {
        "kind": kind,
        "width": width,
        "seed": seed,
        "batch": batch,
        "lr": lr,
        "tokens": steps * batch,
        "options": dict(options),
    }
    recipe |= {"k": k} if kind in architectures.BY_K else {}
    device = first[where[0]].device if model is None else bridge.device(model)
    first = {s: value.to(device) for s, value in first.items()}
    trainer = _trainer(kind, first, where, width, k, steps, batch, lr, seed, options)
    scales = [_scale(first[s]) for s in where]
    _start_at_mean(trainer.sae, first, where, scales)
    trainer.activation_scaler.scaling_factor = scales[0]
    checkpoint = train_checkpoint.checkpoint(
        folder,
        trainer,
        {**recipe, "model": acts.metadata.get("model"), "sites": where, "of": source_of(acts)},
    )
    curve = _loop(
        trainer, acts, where, scales, kind, steps, batch, seed, fast, checkpoint, callback
    )
    metadata = {
        "model": acts.metadata.get("model"),
        **recipe,
        "activations": source_of(acts),
        "distinct_tokens": min(len(acts), steps * batch),
    }
    metadata |= {
        "seconds": round(time.perf_counter() - started, 1),
        "curve": curve,
        "dead": int(curve[-1]["dead"]),
    }
    return _finished(trainer, kind, where, scales, name or f"{kind} {width} {where[0]}", metadata)


def training_activations(
    model: Model | None, where: list[str], on: Any, tokens: int, seed: int, folder: Any, batch: int
) -> Activations:
    """The activations that a dictionary is trained on: as given, or of ids or a corpus."""
    if not isinstance(on, Activations):
        shard_folder = None if folder is None else Path(folder) / "activations"
        on = activations(model, where, on, tokens=tokens, seed=seed, folder=shard_folder)
    on = on.only(where)
    if len(on) < batch:
        raise ValueError(
            f"{len(on):,} tokens are fewer than one batch of {batch:,}: give a longer text, or a"
            " smaller batch"
        )
    return on


def source_of(acts: Activations) -> dict[str, Any]:
    """What a dictionary keeps about its activations."""
    return {k: v for k, v in acts.metadata.items() if k != "model"}


def _trainer(
    kind: str,
    first: dict[str, Tensor],
    where: list[str],
    width: int,
    k: int,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
    options: dict[str, Any],
) -> Any:
    """sae-lens' trainer around a fresh SAE; we step it, so it asks for no data and logs nothing."""
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    fresh = architectures.sae(
        kind, first[where[0]].shape[1], first[where[-1]].shape[1], width, k, steps, seed, options
    )
    device = first[where[0]].device
    fresh.to(device)
    config = SAETrainerConfig(
        total_training_samples=steps * batch,
        train_batch_size_samples=batch,
        lr=lr,
        lr_end=lr / 10,
        lr_warm_up_steps=steps // 20,
        lr_decay_steps=steps // 5,
        logger=LoggingConfig(log_to_wandb=False),
        dead_feature_window=max(1, min(DEAD // batch, steps // 4)),
        feature_sampling_window=steps + 1,
        device=str(device),
    )
    return SAETrainer(config, fresh, iter(()))


def _scale(x: Tensor) -> float:
    """The factor that makes the mean length sqrt(d)."""
    return float(x.shape[1] ** 0.5 / x.norm(dim=-1).mean())


@torch.no_grad()
def _start_at_mean(
    sae: Any, first: dict[str, Tensor], where: list[str], scales: list[float]
) -> None:
    """Starts the decoder's bias at the mean, so that the directions need not learn it."""
    sae.b_dec.data.copy_(first[where[-1]].mean(0) * scales[-1])
    if len(where) == 2:  # a transcoder's input is centred through its encoder's bias
        sae.b_enc.data.copy_(-(first[where[0]].mean(0) * scales[0]) @ sae.W_enc.data)


def _loop(
    trainer: Any,
    acts: Activations,
    where: list[str],
    scales: list[float],
    kind: str,
    steps: int,
    batch: int,
    seed: int,
    fast: bool,
    checkpoint: Any,
    callback: Any,
) -> list[dict[str, float]]:
    """The curve of a training: the remaining steps, with checkpoints."""
    curve = checkpoint.resume()
    with progress(None, f"training {kind}", total=steps) as bar:
        bar.update(trainer.n_training_steps)
        begin, device = trainer.n_training_steps, trainer.sae.W_dec.device
        for number, parts in zip(range(begin, steps), acts.batches(batch, seed=seed, start=begin)):
            look = number % max(1, steps // EVERY) == 0 or number == steps - 1
            now = _step(trainer, [parts[s].to(device) for s in where], scales, kind, fast, look)
            trainer.n_training_steps += 1
            bar.update(1)
            if now is not None:
                now = {
                    "tokens": trainer.n_training_samples,
                    **now,
                    "dead": int(trainer.dead_neurons.sum()),
                }
                curve.append(now)
                bar.set_postfix({k: f"{v:.3g}" for k, v in now.items() if k != "tokens"})
                if callback is not None:
                    callback(now)
            checkpoint.write_if_due(curve, last=number == steps - 1)
    return curve


def _step(
    trainer: Any, parts: list[Tensor], scales: list[float], kind: str, fast: bool, look: bool
) -> dict[str, float] | None:
    """One step; its loss, l0 and explained variance if they are asked for."""
    target = parts[-1] * scales[-1]
    transcodes = kind in architectures.TRANSCODERS
    if (transcodes or kind in architectures.SPARSE) and fast and target.device.type == "cpu":
        result = topk_step.step(trainer, parts[0], target if transcodes else None)
        loss, latents, error = result.mse + result.aux, result.latents, result.error
    elif transcodes:
        loss, latents, out = architectures.transcoder_step(trainer, parts[0] * scales[0], target)
        error = out - target
    else:
        output = trainer.step(parts[0])
        loss, latents, error = output.loss, output.feature_acts, output.sae_out - target
    if not look:
        return None
    with torch.no_grad():
        explained = 1 - error.pow(2).sum() / (target - target.mean(0)).pow(2).sum()
        return {
            "loss": float(loss),
            "l0": float((latents > 0).sum() / len(error)),
            "explained": float(explained),
        }


def _finished(
    trainer: Any,
    kind: str,
    where: list[str],
    scales: list[float],
    name: str,
    metadata: dict[str, Any],
) -> Dictionary:
    """The trained SAE as a Dictionary; inputs are no longer scaled."""
    sae = trainer.sae
    if kind not in architectures.TRANSCODERS:
        sae.fold_activation_norm_scaling_factor(scales[0])
        return from_sae(sae, name=name, metadata=metadata, site=where[0])
    state = {k: v.detach().clone() for k, v in sae.state_dict().items()}
    sae.process_state_dict_for_saving_inference(
        state
    )  # directions of length one, the batch's threshold for every latent
    state["W_enc"] *= scales[0]
    state["W_dec"] /= scales[1]
    state["b_dec"] /= scales[1]
    if "W_skip" in state:
        state["W_skip"] *= scales[0] / scales[1]
    state = {k: v.float() for k, v in state.items()}
    return Dictionary(
        f"jumprelu_{kind}",
        state,
        where[0],
        name,
        where[1],
        {"apply_b_dec_to_input": False},
        metadata,
    )
