"""`Crosscoder`: latents of two models at once, with a direction for each in either."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from interp import _files, _store
from interp._errors import short, unknown
from interp._isolation import no_autocast
from interp.features.sites import place

HEAD, WEIGHTS = "crosscoder.json", "crosscoder.safetensors"
SCHEMA = 1


class _Form(BaseModel):
    """What stands in a crosscoder's JSON."""

    model_config = ConfigDict(strict=True, extra="forbid")
    schema_: int
    site: str
    names: list[str]
    widths: list[int]
    metadata: dict[str, Any] = {}


@dataclass(frozen=True, eq=False)
class Crosscoder:
    """Latents of two models at one site: read from both together, written in each by itself.

    Example:
        >>> crosscoder = features.train_crosscoder((base, tuned), "resid_post.15")
        >>> crosscoder.exclusive()                 # {"base": [...], "tuned": [...]}
        >>> z = crosscoder.encode(x_base, x_tuned)
        >>> crosscoder.directions("tuned")[17]

    A latent's size is in units in which its two directions' lengths, each divided by its model's
    activation scale, sum to one.

    Attributes:
        weights: W_enc [both latent], b_enc [latent], W_dec [latent both], b_dec [both], threshold
            [latent], scale [model] (root mean square of an activation) and frequency [latent] (the
            share of training tokens at which a latent was on); "both" is one model's width after
            the other's.
        site: Where both models are read.
        names: What the two models are called.
        widths: How wide the site is in each.
        metadata: Plain JSON: models, text, tokens, k, seed, and the variance explained in each.

    Raises:
        ValueError: If a tensor is missing, of another shape, or not finite.

    Reference:
        Lindsey et al. 2024, "Sparse Crosscoders for Cross-Layer Features and Model Diffing".
    """

    weights: Mapping[str, Tensor]
    site: str
    names: tuple[str, str]
    widths: tuple[int, int]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        place(self.site)
        if len(self.names) != 2 or len(set(self.names)) != 2 or len(self.widths) != 2:
            raise ValueError(f"a crosscoder is of two models with two names, got {self.names}")
        both, n = sum(self.widths), len(self.weights.get("b_enc", ()))
        shapes = {"W_enc": (both, n), "b_enc": (n,), "W_dec": (n, both), "b_dec": (both,)}
        shapes |= {"threshold": (n,), "scale": (2,), "frequency": (n,)}
        for name, shape in shapes.items():
            _files.shaped(self.weights, name, shape, "crosscoder")

    @property
    def n_latents(self) -> int:
        """How many latents it has."""
        return len(self.weights["b_enc"])

    def __repr__(self) -> str:
        shares = [f"{len(some)} only in {name}" for name, some in self.exclusive().items()]
        return (
            f"Crosscoder({' and '.join(self.names)} at {self.site}: {self.n_latents:,} latents,"
            f" {int(self.alive().sum()):,} alive, {len(self.shared()):,} shared,"
            f" {', '.join(shares)})"
        )

    # --- what it does -----------------------------------------------------------------------------

    @no_autocast()
    def encode(
        self, first: Float[Tensor, "*batch d_first"], second: Float[Tensor, "*batch d_second"]
    ) -> Float[Tensor, "*batch latent"]:
        """The latents of the same tokens in both models."""
        for name, width, x in zip(self.names, self.widths, (first, second)):
            if x.shape[-1] != width:
                raise ValueError(
                    f"{name} has {width} numbers a token at {self.site!r}, got {x.shape[-1]}"
                )
        w = self.weights
        z = (torch.cat([first, second], -1).to(w["W_enc"].dtype) @ w["W_enc"] + w["b_enc"]).relu()
        return z * (z > w["threshold"])

    @no_autocast()
    def decode(self, z: Float[Tensor, "*batch latent"]) -> tuple[Tensor, Tensor]:
        """The activations that latents stand for, in the first and in the second model."""
        both = z @ self.weights["W_dec"] + self.weights["b_dec"]
        first, second = both.split(self.widths, -1)
        return first, second

    def reconstruct(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """What it makes of the same tokens in both models: decode(encode(first, second))."""
        return self.decode(self.encode(first, second))

    def directions(self, name: str) -> Float[Tensor, "latent d"]:
        """The direction of each latent in one of the models."""
        if name not in self.names:
            raise unknown("model of this crosscoder", name, self.names)
        return self.weights["W_dec"].split(self.widths, -1)[self.names.index(name)]

    # --- whose latents ----------------------------------------------------------------------------

    def alive(self) -> Tensor:
        """Whether each latent was on at some token of the training's last part [latent]."""
        return self.weights["frequency"] > 0

    def relative_norm(self) -> Float[Tensor, "latent"]:
        """Whose each latent is: 0 the first model's alone, 0.5 both's, 1 the second's alone.

        The lengths of its two directions, each divided by its model's activation scale, are
        compared: (1 + (second - first) / max(first, second)) / 2.

        Reference:
            Minder et al. 2025, arXiv 2504.02922.
        """
        parts = self.weights["W_dec"].split(self.widths, -1)
        first, second = (p.norm(dim=-1) / s for p, s in zip(parts, self.weights["scale"]))
        return (1 + (second - first) / torch.maximum(first, second).clamp(min=1e-12)) / 2

    def exclusive(self, most: float = 0.1) -> dict[str, Int[Tensor, "n"]]:
        """The living latents that one model has alone, by the model's name.

        Args:
            most: How near to 0 or 1 the relative norm must be.
        """
        if not 0 < most < 0.5:
            raise ValueError(f"most={most}: a relative norm's distance from 0 or 1, below 0.5")
        norm, alive = self.relative_norm(), self.alive()
        first, second = self.names
        return {
            first: ((norm < most) & alive).nonzero().flatten(),
            second: ((norm > 1 - most) & alive).nonzero().flatten(),
        }

    def shared(self, within: float = 0.1) -> Int[Tensor, "n"]:
        """The living latents whose relative norm is within this distance of 0.5."""
        apart = (self.relative_norm() - 0.5).abs()
        return ((apart <= within) & self.alive()).nonzero().flatten()

    # --- on disk ----------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """The folder it was saved in; each file is written completely or not at all."""
        head = {"schema_": SCHEMA, "site": self.site, "names": list(self.names)}
        head |= {"widths": list(self.widths), "metadata": dict(self.metadata)}
        folder = Path(folder)
        _store.write_tensors(folder / WEIGHTS, {k: v.cpu() for k, v in self.weights.items()})
        _store.write_text(folder / HEAD, json.dumps(head, indent=1))
        return folder

    @staticmethod
    def load(folder: str | Path) -> "Crosscoder":
        """The crosscoder in a folder.

        Raises:
            ValueError: If the folder does not hold one.
            FileNotFoundError: If a file is missing.
        """
        folder = Path(folder)
        content = _files.read_json(folder / HEAD, "a crosscoder", most=10_000_000)
        form = _files.typed(content, _Form, folder / HEAD, "a crosscoder saved by interp")
        if form.schema_ != SCHEMA:
            raise ValueError(f"{str(folder)!r}: schema {short(form.schema_)}, known is {SCHEMA}")
        if len(form.names) != 2 or len(form.widths) != 2:
            raise ValueError(f"{str(folder)!r} is not of two models")
        tensors, _ = _files.read_tensors(folder / WEIGHTS)
        names, widths = (form.names[0], form.names[1]), (form.widths[0], form.widths[1])
        return Crosscoder(tensors, form.site, names, widths, form.metadata)
