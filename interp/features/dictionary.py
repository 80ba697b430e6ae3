"""`Dictionary`: directions of one site, and how activations are written as sums of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp import _store, sites
from interp._errors import listed
from interp._isolation import no_autocast
from interp.features import encoders
from interp.features.sites import place

SCHEMA = 1
CFG, WEIGHTS = "cfg.json", "sae_weights.safetensors"  # sae-lens' names
OWN_CFG, OWN_WEIGHTS = "dictionary.json", "dictionary.safetensors"


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Directions that the activations of one site are sums of, whatever method found them.

    Example:
        >>> z = sae.encode(x)              # [batch latent], few of them above zero
        >>> sae.decode(z)                  # [batch d_out]: z @ W_dec + b_dec
        >>> sae.W_dec[17]                  # the direction of latent 17

    Attributes:
        kind: How it encodes, a row of `encoders.KINDS`.
        weights: Float tensors, among them W_dec [latent d_out] and b_dec [d_out].
        site: What it reads ("resid_post.15").
        name: How results name it; the kind and the site if none is given.
        to: What it writes, if that is another site (transcoders).
        settings: What the encoder needs besides weights (k, apply_b_dec_to_input).
        metadata: Plain JSON: the model, how it was trained, on how many tokens of which text, seed.

    Raises:
        ValueError: If W_dec or b_dec is missing or does not fit, or if a weight is not finite.
    """

    kind: str
    weights: Mapping[str, Tensor]
    site: str
    name: str = ""
    to: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        encoders.encoder(self.kind)

        def put(name, value):
            return object.__setattr__(self, name, value)

        put("site", str(place(self.site)))
        put("to", None if self.to in (None, self.site) else str(place(self.to)))
        put("name", self.name or f"{self.kind} {self.site}")
        lacking = {"W_dec", "b_dec"} - set(self.weights)
        if lacking:
            raise ValueError(
                f"the dictionary {self.name!r} has no {' and no '.join(sorted(lacking))} (it has"
                f" {listed(self.weights)})"
            )
        with torch.inference_mode(False):  # weights made there could not take part in a gradient
            put(
                "weights",
                {
                    k: v.detach().clone() if v.is_inference() else v.detach()
                    for k, v in self.weights.items()
                },
            )
        put("_copies", {})
        wrong = next((k for k, v in self.weights.items() if not torch.isfinite(v).all()), None)
        if wrong is not None:
            raise ValueError(
                f"the dictionary {self.name!r} has numbers in {wrong} that are not finite: its"
                " training went wrong"
            )
        self._check_weights()

    def _check_weights(self) -> None:
        """Raises ValueError for a tensor that this kind needs and that is missing, of another shape
        or of another type, and for a k that no latent count allows.
        """
        if self.W_dec.ndim != 2:
            raise ValueError(
                f"W_dec of {self.name!r} has the shape {list(self.W_dec.shape)}: [latent d_out]"
            )
        sizes = {"latent": self.W_dec.shape[0], "d_out": self.W_dec.shape[1]}
        if "W_enc" in self.weights and self.weights["W_enc"].ndim == 2:
            sizes["d_in"] = self.weights["W_enc"].shape[0]
        axes_of = {"b_dec": ("d_out",), **encoders.READS.get(self.kind, {})}
        if "W_skip" in self.weights:  # a linear path beside the latents, of any kind
            axes_of["W_skip"] = ("d_out", "d_in")
        for name, axes in axes_of.items():
            if name not in self.weights:
                raise ValueError(
                    f"the dictionary {self.name!r} has no {name}, which {self.kind!r} reads (it has"
                    f" {listed(sorted(self.weights))})"
                )
            value, wanted = self.weights[name], [sizes.get(axis) for axis in axes]
            if list(value.shape) != wanted:
                raise ValueError(
                    f"{name} of {self.name!r} has the shape {list(value.shape)}, and does not fit"
                    f" W_dec {list(self.W_dec.shape)}: [{' '.join(axes)}] = {wanted}"
                )
        for name, value in self.weights.items():
            if not value.is_floating_point() or value.dtype != self.W_dec.dtype:
                raise ValueError(
                    f"{name} of {self.name!r} holds {value.dtype}, where W_dec holds"
                    f" {self.W_dec.dtype}: all tensors of a dictionary are of one floating type"
                )
        k = self.settings.get("k")
        if self.kind == "topk" and (
            not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= self.n_latents
        ):
            raise ValueError(
                f"k of {self.name!r} is {k!r}: a whole number from 1 to its {self.n_latents:,}"
                " latents"
            )

    # --- what it is -------------------------------------------------------------------------------

    @property
    def W_dec(self) -> Tensor:
        """The directions [latent d_out]."""
        return self.weights["W_dec"]

    @property
    def b_dec(self) -> Tensor:
        """The output when no latent is on [d_out]."""
        return self.weights["b_dec"]

    @property
    def n_latents(self) -> int:
        """How many latents (directions) it has."""
        return self.W_dec.shape[0]

    @property
    def d_in(self) -> int:
        """The width of what it reads."""
        return self.weights["W_enc"].shape[0] if "W_enc" in self.weights else self.W_dec.shape[1]

    @property
    def d_out(self) -> int:
        """The width of what it writes."""
        return self.W_dec.shape[1]

    @property
    def writes(self) -> str:
        """The site that its output replaces: `to`, or the site itself."""
        return self.to or self.site

    def __repr__(self) -> str:
        arrow = self.site if self.to is None else f"{self.site} -> {self.to}"
        return (
            f"Dictionary({self.name}: {self.kind}, {self.n_latents:,} latents at {arrow}, of"
            f" {self.d_in} numbers)"
        )

    def weights_at(self, device: torch.device) -> Mapping[str, Tensor]:
        """The weights on a device, copied there once."""
        if self.W_dec.device == device:
            return self.weights
        copies: dict = self.__dict__["_copies"]
        if device not in copies:
            copies[device] = {k: v.to(device) for k, v in self.weights.items()}
        return copies[device]

    # --- what it does -----------------------------------------------------------------------------

    @no_autocast()
    def encode(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch latent"]:
        """The latents of activations."""
        if x.shape[-1] != self.d_in:
            raise ValueError(
                f"{self.name} reads vectors of {self.d_in} numbers at {self.site!r}, got"
                f" {x.shape[-1]}"
            )
        weights = self.weights_at(x.device)
        return encoders.encoder(self.kind)(weights, self.settings, x.to(self.W_dec.dtype))

    @no_autocast()
    def decode(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch d_out"]:
        """The activations that latents stand for: z @ W_dec + b_dec."""
        weights = self.weights_at(z.device)
        return z @ weights["W_dec"] + weights["b_dec"]

    @no_autocast()
    def reconstruct(
        self, x: Float[Tensor, "*batch d_in"], z: Float[Tensor, "*batch latent"] | None = None
    ) -> Float[Tensor, "*batch d_out"]:
        """The output for activations: decode(encode(x)), plus a skip transcoder's linear path.

        Args:
            x: Activations of the site that it reads.
            z: The latents, if they are known already or were changed.
        """
        out = self.decode(self.encode(x) if z is None else z)
        if "W_skip" not in self.weights:
            return out
        return out + x.to(out.dtype) @ self.weights_at(out.device)["W_skip"].T

    # --- on disk ----------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """The folder it was saved in: sae-lens' files if sae-lens has this kind, otherwise ours.

        Each file is written completely or not at all, and none is a pickle.

        Example:
            >>> sae.save("sae"); features.load("sae"); sae_lens.SAE.load_from_disk("sae")
        """
        in_sae_lens = self.kind in encoders.SAE_LENS
        if "transcoder" not in self.kind:  # sae-lens' other kinds write where they read
            in_sae_lens &= self.to is None and "W_skip" not in self.weights
        head = json.dumps(self._sae_lens_cfg() if in_sae_lens else self._cfg(), indent=1)
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"a dictionary is saved as a folder, and {str(folder)!r} is a file")
        weights = {name: value.cpu() for name, value in self.weights.items()}
        _store.write_tensors(folder / (WEIGHTS if in_sae_lens else OWN_WEIGHTS), weights)
        _store.write_text(folder / (CFG if in_sae_lens else OWN_CFG), head)
        return folder

    def _cfg(self) -> dict[str, Any]:
        plain = {"kind": self.kind, "site": self.site, "to": self.to, "name": self.name}
        return {
            "schema": SCHEMA,
            **plain,
            "settings": dict(self.settings),
            "metadata": dict(self.metadata),
        }

    def _sae_lens_cfg(self) -> dict[str, Any]:
        hooks = {"hook_name": sites.to_hook(self.site)}
        if self.to:
            read = sites.Site.parse(self.site)
            # reading the stream there is reading what the part reads, under a name that all have
            same = {("mlp", "in"): "resid_mid", ("attn", "in"): "resid_pre"}
            stream = same.get((read.family, read.part))
            name = self.site if stream is None else f"{stream}.{read.layer}"
            hooks = {"hook_name": sites.to_hook(name), "hook_name_out": sites.to_hook(self.to)}
        more = {"d_out": self.d_out} if "transcoder" in self.kind else {}
        more |= (
            {"k": self.settings["k"], "rescale_acts_by_decoder_norm": False}
            if self.kind == "topk"
            else {}
        )
        sae_lens_version = version("sae-lens")
        return {
            "architecture": self.kind,
            "d_in": self.d_in,
            "d_sae": self.n_latents,
            **more,
            "dtype": str(self.W_dec.dtype).removeprefix("torch."),
            "device": "cpu",
            "apply_b_dec_to_input": bool(self.settings.get("apply_b_dec_to_input")),
            "normalize_activations": "none",
            "reshape_activations": "hook_z" if self.site.endswith("H*.z") else "none",
            "metadata": {
                "sae_lens_version": sae_lens_version,
                "sae_lens_training_version": sae_lens_version,
                "model_name": self.metadata.get("model"),
                **hooks,
                "prepend_bos": False,
                "interp": self._cfg(),
            },
        }
