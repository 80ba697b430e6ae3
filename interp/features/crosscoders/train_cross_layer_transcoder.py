"""A cross-layer transcoder of several layers' MLPs, trained on one reading of the text."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp import _store
from interp._isolation import torch_defaults
from interp._types import Model
from interp.dims import layer_numbers
from interp.features.activations import Activations, activations
from interp.features.crosscoders.cross_layer_transcoder import HEAD, CrossLayerTranscoder
from interp.features.sites import place
from interp.features.training.train import source_of
from interp.methods.runs.checkpoint import digest
from interp.methods.runs.sweep import progress
from interp.models import bridge
from interp.models.state import weights_hash

EVERY = 50  # points of the curve, at most
REVIVED = 1 / 32  # weight of the loss by which dead latents learn what is left over
DEAD = 50  # steps without being on
SHORT = 0.1  # length of a latent's first direction in each layer


@torch_defaults()
def train_cross_layer_transcoder(
    model: Model | None,
    layers: str | int | Sequence[int],
    on: Any = None,
    *,
    width: int = 1024,
    k: int = 16,
    tokens: int = 100_000,
    batch: int = 1024,
    lr: float = 3e-3,
    seed: int = 0,
    folder: str | Path | None = None,
    name: str = "",
) -> CrossLayerTranscoder:
    """A cross-layer transcoder: latents that read what the MLP of one layer reads, and write to the
    MLPs of that layer and of all later ones.

    Example:
        >>> clt = features.train_cross_layer_transcoder(model, "0-3", width=512, k=16)
        >>> clt.metadata["explained"]              # of each layer's MLP, on the training text
        >>> features.graph(model, "The capital of France is", clt)

    All layers are trained together: the output of a layer's MLP is the sum of what the latents of
    this layer and of all earlier ones write there, and the loss is what that sum misses, added over
    the layers in units of each layer's size. Sparsity is BatchTopK in each layer: of a batch, the k
    latents a token whose size, times the length of all that they write, is largest are on.
    Afterwards each latent has the threshold of its layer (JumpReLU).

    Args:
        model: A loaded model; None if `on` is `Activations`.
        layers: The layers: several, or the first and the last, "0-3".
        on: Activations at "mlp.N.in" and "mlp.N" of each layer, ids [chunk pos], or a corpus (the
            "find" half of the documentation if None).
        width: How many latents a layer.
        k: How many of them are on at a token, on average.
        tokens: How many tokens it is trained on; a shorter text is read again.
        batch: Tokens a step.
        lr: Adam's learning rate, falling to zero over the last fifth.
        seed: Decides the text, the order and the first weights.
        folder: Where activations and the result are kept: the same call reads there what is
            finished. None: nothing is written.
        name: How results name it.

    Returns:
        A `CrossLayerTranscoder`; metadata has "explained" (variance of each layer's MLP, on the
        training text), "dead" (latents by layer that were not on in the last fifth) and "curve".
        `clt.explained(acts)` judges it on another text.

    Raises:
        ValueError: If a layer does not exist or is named twice, k is not from 1 to the width, or
            there are fewer tokens than one batch.

    Cost:
        A run of the text, `4 * d_model` bytes a token and layer, and of memory four numbers for
        each weight: of L layers, `width * d_model * L * (L + 3) / 2`. A step takes
        `1.5 * batch * width * d_model * L * (L + 3)` multiplications, so it is meant for small
        models or few layers. Two layers of 64 numbers, 256 latents and 60,000 tokens take 3 s of
        one core. The bar says how long it will take.

    Reference:
        Ameisen et al. 2025, "Circuit Tracing: Revealing Computational Graphs in Language Models".
        They train JumpReLU with a penalty on its sizes; BatchTopK is ours, with the auxiliary loss
        of Gao et al. 2024, arXiv 2406.04093, for dead latents.
    """
    started = time.perf_counter()
    n_layers = _most(on) if model is None else bridge.dims(model).n_layers
    chosen = layer_numbers(layers, n_layers)
    if not 1 <= k <= width:
        raise ValueError(f"k={k} of width={width}: from 1 to the width")
    steps = tokens // batch
    if steps < 1:
        raise ValueError(f"{tokens:,} tokens are fewer than one batch of {batch:,}")
    reads, writes = [f"mlp.{n}.in" for n in chosen], [f"mlp.{n}" for n in chosen]
    acts = _activations(model, [*reads, *writes], on, tokens, seed, folder)
    if len(acts) < batch:
        raise ValueError(
            f"{len(acts):,} tokens are fewer than one batch of {batch:,}: give a longer text, or a"
            " smaller batch"
        )
    recipe = {"width": width, "k": k, "tokens": steps * batch, "batch": batch, "lr": lr}
    recipe |= {"seed": seed}
    home = None if folder is None else Path(folder) / _key(model, acts, [*reads, *writes], recipe)
    if home is not None and (home / HEAD).is_file():
        return CrossLayerTranscoder.load(home)
    training = _Training(acts, reads, writes, recipe)
    curve = training.run(steps)
    weights = training.weights()
    called = name or f"cross-layer transcoder {chosen[0]} to {chosen[-1]}"
    made = CrossLayerTranscoder("jumprelu", weights, tuple(reads), tuple(writes), called)
    explained = {str(layer): value for layer, value in made.explained(acts).items()}
    metadata = {"model": acts.metadata.get("model"), **recipe, "activations": source_of(acts)}
    metadata |= {"seconds": round(time.perf_counter() - started, 1), "curve": curve}
    metadata |= {"explained": explained, "dead": training.dead()}
    found = CrossLayerTranscoder(
        "jumprelu", weights, tuple(reads), tuple(writes), called, {}, metadata
    )
    if home is not None:
        found.save(home)
    return found


def _most(on: Any) -> int:
    """How many layers there can be, by the activations that are given."""
    if not isinstance(on, Activations):
        raise ValueError(
            "no model: features.train_cross_layer_transcoder(model, '0-3'), or give its activations"
            " at 'mlp.N.in' and 'mlp.N' as on="
        )
    return 1 + max(place(site).layer or 0 for site in on.sites)


def _activations(
    model: Model | None, sites: list[str], on: Any, tokens: int, seed: int, folder: Any
) -> Activations:
    if isinstance(on, Activations):
        return on.only(sites)
    read = _store.key({"sites": sites, "tokens": tokens, "seed": seed})
    at = None if folder is None else Path(folder) / "activations" / read
    dtype = "float32" if folder is None else "float16"
    return activations(model, sites, on, tokens=tokens, seed=seed, folder=at, dtype=dtype)


def _key(model: Model | None, acts: Activations, sites: list[str], recipe: dict[str, Any]) -> str:
    """The folder's name of what this recipe gives."""
    of = {"weights": None if model is None else weights_hash(model), "n": len(acts)}
    of |= {"tokens": digest(acts.tokens), "values": digest(acts.shard(0)[sites[-1]])}
    return _store.key({**of, "sites": sites, "skip": acts.skip, **recipe})


class _Training:
    """The weights of all layers and one step after the other."""

    def __init__(
        self, acts: Activations, reads: list[str], writes: list[str], recipe: dict[str, Any]
    ) -> None:
        self.acts, self.reads, self.writes, self.recipe = acts, reads, writes, recipe
        first, width, n = acts.shard(0), recipe["width"], len(writes)
        x, y = ([first[site] for site in sites] for sites in (reads, writes))
        self.device = x[0].device

        def size(some: Tensor) -> Tensor:
            return some.pow(2).mean().sqrt().clamp(min=1e-12)

        self.in_scale, self.out_scale = [size(some) for some in x], [size(some) for some in y]
        g = torch.Generator().manual_seed(recipe["seed"])
        d_in, d_out = x[0].shape[1], y[0].shape[1]
        made: dict[str, Tensor] = {}
        for i in range(n):
            W_enc = torch.randn(d_in, width, generator=g)
            W_enc = (W_enc / W_enc.norm(dim=0)).to(self.device)
            rows = torch.randn(width, n - i, d_out, generator=g)
            made[f"W_enc.{i}"] = W_enc
            made[f"b_enc.{i}"] = -(x[i].mean(0) / self.in_scale[i]) @ W_enc
            made[f"W_dec.{i}"] = (SHORT * rows / rows.norm(dim=-1, keepdim=True)).to(self.device)
            made[f"b_dec.{i}"] = y[i].mean(0) / self.out_scale[i]
        with torch.inference_mode(False):
            self.w = {k: v.clone().requires_grad_(True) for k, v in made.items()}
        self.optimizer = torch.optim.Adam(self.w.values(), lr=recipe["lr"])
        self.threshold = torch.zeros(n, device=self.device)
        self.idle = torch.zeros(n, width, dtype=torch.long, device=self.device)
        self.on_count = torch.zeros(n, width, dtype=torch.long, device=self.device)

    def run(self, steps: int) -> list[dict[str, float]]:
        """The curve of the training."""
        lr, size, curve = self.recipe["lr"], self.recipe["batch"], []
        batches = self.acts.batches(size, seed=self.recipe["seed"])
        with progress(None, "cross-layer transcoder: steps", total=steps) as bar:
            for step, parts in zip(range(steps), batches):
                for group in self.optimizer.param_groups:
                    group["lr"] = lr * min(1.0, (steps - step) / max(1, steps // 5))
                x, y = (
                    [parts[site].to(self.device) / s for site, s in zip(sites, scales)]
                    for sites, scales in (
                        (self.reads, self.in_scale),
                        (self.writes, self.out_scale),
                    )
                )
                with torch.inference_mode(False), torch.enable_grad():
                    loss, sizes, left = self._loss([a.clone() for a in x], [b.clone() for b in y])
                    self.optimizer.zero_grad()
                    loss.backward()
                    self.optimizer.step()
                fired = self._count(sizes, step, last=step >= steps - max(1, steps // 5))
                bar.update(1)
                if step % max(1, steps // EVERY) == 0 or step == steps - 1:
                    whole = sum((b - b.mean(0)).pow(2).sum() for b in y)
                    curve.append(
                        {
                            "tokens": (step + 1) * size,
                            "loss": float(loss.detach()),
                            "l0": float(fired / (size * len(self.writes))),
                            "explained": float(1 - left / whole),
                            "dead": int((self.idle > DEAD).sum()),
                        }
                    )
                    bar.set_postfix({k: f"{curve[-1][k]:.3g}" for k in ("loss", "explained")})
        return curve

    def _lengths(self, i: int) -> Tensor:
        """How long all is that each latent of a layer writes [latent]."""
        return self.w[f"W_dec.{i}"].flatten(1).norm(dim=1)

    def _loss(self, x: list[Tensor], y: list[Tensor]) -> tuple[Tensor, list[Tensor], Tensor]:
        """The loss of a batch, how large each latent was where it was on, and what is missed."""
        n, k = len(y), self.recipe["k"]
        before, sizes = [], []
        left = [b - self.w[f"b_dec.{i}"] for i, b in enumerate(y)]
        for i, a in enumerate(x):
            pre = a @ self.w[f"W_enc.{i}"] + self.w[f"b_enc.{i}"]
            z, lengths = pre.relu(), self._lengths(i)
            size = (z * lengths).detach()
            most = size.flatten().topk(k * len(a), sorted=False)
            chosen = torch.zeros_like(size).flatten().scatter(0, most.indices, 1.0).view_as(size)
            made = torch.einsum("bn,njd->jbd", z * chosen, self.w[f"W_dec.{i}"])
            left = left[:i] + [some - made[j] for j, some in enumerate(left[i:])]
            before.append(pre)
            sizes.append(size * chosen)
        missed = torch.stack(left).pow(2).sum()
        loss, dead = missed / len(y[0]), self.idle > DEAD
        again = [some.detach() for some in left]
        for i in range(n):
            if bool(dead[i].any()):
                some = before[i][:, dead[i]]
                top = some.topk(min(some.shape[1], 2 * k), dim=1)
                revived = torch.zeros_like(some).scatter(1, top.indices, top.values.relu())
                made = torch.einsum("bn,njd->jbd", revived, self.w[f"W_dec.{i}"][dead[i]])
                again = again[:i] + [r - made[j] for j, r in enumerate(again[i:])]
        if bool(dead.any()):
            loss = loss + REVIVED * torch.stack(again).pow(2).sum() / len(y[0])
        return loss, sizes, missed.detach()

    def _count(self, sizes: list[Tensor], step: int, last: bool) -> float:
        """How many latents were on; thresholds and idle latents are brought up to date."""
        total = 0
        for i, size in enumerate(sizes):
            on = size > 0
            total += int(on.sum())
            if bool(on.any()):
                least = size[on].min()
                self.threshold[i] = least if step == 0 else self.threshold[i].lerp(least, 0.02)
            fired = on.any(0)
            self.idle[i] = torch.where(fired, 0, self.idle[i] + 1)
            if last:
                self.on_count[i] += on.sum(0)
        return float(total)

    def dead(self) -> dict[str, int]:
        """How many latents of each layer were not on in the training's last part."""
        layers = [place(site).layer for site in self.writes]
        return {str(n): int((on == 0).sum()) for n, on in zip(layers, self.on_count)}

    def weights(self) -> dict[str, Tensor]:
        """The weights for activations as they are; the length of all that a latent writes is put
        into its size.
        """
        found: dict[str, Tensor] = {}
        out = torch.stack(self.out_scale)
        for i, site in enumerate(self.writes):
            layer, w = place(site).layer, {k: v.detach() for k, v in self.w.items()}
            lengths = self._lengths(i).detach().clamp(min=1e-12)
            W_dec = w[f"W_dec.{i}"] / lengths[:, None, None] * out[i:, None]
            found[f"W_enc.{layer}"] = w[f"W_enc.{i}"] / self.in_scale[i] * lengths
            found[f"b_enc.{layer}"] = w[f"b_enc.{i}"] * lengths
            found[f"W_dec.{layer}"] = W_dec.transpose(0, 1).contiguous()
            found[f"b_dec.{layer}"] = w[f"b_dec.{i}"] * self.out_scale[i]
            found[f"threshold.{layer}"] = self.threshold[i].expand(len(lengths)).clone()
        return found
