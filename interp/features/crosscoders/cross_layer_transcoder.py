"""`CrossLayerTranscoder`: latents that read one layer and write to the MLPs of all later ones."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from interp import _files, _store
from interp._errors import listed, short, unknown
from interp._isolation import no_autocast, torch_defaults
from interp.features.activations import Activations
from interp.features.dictionary import Dictionary
from interp.features.loading.formats import circuit_tracer
from interp.features.sites import place

HEAD, WEIGHTS = "cross_layer.json", "cross_layer.safetensors"
SCHEMA = 1
# the encoder of each kind, by the kind of dictionary that has it: without and with a skip path
KINDS = {
    "relu": ("transcoder", "skip_transcoder"),
    "jumprelu": ("jumprelu_transcoder", "jumprelu_skip_transcoder"),
    "topk": ("topk", "topk"),
}


class _Form(BaseModel):
    """What stands in the JSON of a saved one."""

    model_config = ConfigDict(strict=True, extra="forbid")
    schema_: int
    kind: str
    reads: list[str]
    writes: list[str]
    name: str = ""
    settings: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


@dataclass(frozen=True, eq=False)
class LayerLatents(Dictionary):
    """The latents of one layer of a cross-layer transcoder, as a dictionary to look at.

    It encodes. Its W_dec is the sum of what a latent writes in all layers (so is its direct effect
    on the logits), its weights "W_dec.N" what it writes in layer N. What a layer's MLP puts out is
    written by the latents of several layers, so it decodes nothing.
    """

    def directions_at(self, device: torch.device) -> dict[int, Float[Tensor, "latent d_out"]]:
        """What the latents write, by layer."""
        weights = self.weights_at(device)
        return {
            int(key.removeprefix("W_dec.")): value
            for key, value in weights.items()
            if key.startswith("W_dec.")
        }

    def decode(self, z: Tensor) -> NoReturn:
        self._no("decode")

    def reconstruct(self, x: Tensor, z: Tensor | None = None) -> NoReturn:
        self._no("reconstruct")

    def save(self, folder: str | Path) -> NoReturn:
        self._no("save")

    def _no(self, verb: str) -> NoReturn:
        raise ValueError(
            f"{self.name!r} has the latents of one layer of a cross-layer transcoder, and what"
            f" {self.writes!r} puts out is written by those of several: clt.{verb}(...) of the"
            " whole one"
        )


@dataclass(frozen=True, eq=False)
class CrossLayerTranscoder:
    """Latents that each read what one layer's MLP reads, and write to the outputs of that layer's
    MLP and of all later ones.

    Example:
        >>> clt = features.train_cross_layer_transcoder(model, "0-3")
        >>> features.graph(model, "The capital of France is", clt)
        >>> clt.explained(acts)                    # of each layer's MLP
        >>> clt.layer(2)                           # its latents, for cards and contexts
        >>> clt.save("clt"); features.CrossLayerTranscoder.load("clt")

    Attributes:
        kind: "relu", "jumprelu" (each latent has a threshold) or "topk" (with settings["k"]).
        weights: For each layer N: W_enc.N [d_in latent], b_enc.N [latent], W_dec.N [layer latent
            d_out] (what its latents write in layer N and in each later one), b_dec.N [d_out];
            threshold.N [latent] where it is JumpReLU, and W_skip.N [d_out d_in] where it has a
            linear path beside the latents.
        reads: What each layer's latents read ("mlp.3.in"), from the first layer to the last.
        writes: What each layer writes ("mlp.3").
        name: How results name it.
        settings: k, for "topk".
        metadata: Plain JSON: model, text, tokens, k, seed, and the variance explained by layer.
        layers: The layers, by their numbers.

    Raises:
        ValueError: If a tensor is missing, of another shape or type, or not finite; if layers are
            out of order, or one is named twice.

    Reference:
        Ameisen et al. 2025, "Circuit Tracing: Revealing Computational Graphs in Language Models".
    """

    kind: str
    weights: Mapping[str, Tensor]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    name: str = "cross-layer transcoder"
    settings: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("kind of cross-layer transcoder", self.kind, KINDS)
        object.__setattr__(self, "reads", tuple(str(place(site)) for site in self.reads))
        object.__setattr__(self, "writes", tuple(str(place(site)) for site in self.writes))
        if not self.writes or len(self.reads) != len(self.writes):
            raise ValueError(
                f"{self.name!r} reads {len(self.reads)} sites and writes {len(self.writes)}: one of"
                " each a layer"
            )
        layers = [place(site).layer for site in self.writes]
        wrong = next((site for site in self.writes if place(site).layer is None), None)
        if wrong is not None:
            raise ValueError(f"{self.name!r} writes {wrong!r}, which has no layer (try 'mlp.3')")
        if any(a >= b for a, b in zip(layers, layers[1:])):
            raise ValueError(
                f"{self.name!r} writes the layers {layers}: from the first to the last, each once"
            )
        for site, layer in zip(self.reads, layers):
            if place(site).layer != layer:
                raise ValueError(
                    f"{self.name!r} reads {site!r} for layer {layer}: the latents of a layer read"
                    f" what its MLP reads ('mlp.{layer}.in')"
                )
        object.__setattr__(self, "layers", tuple(layers))
        object.__setattr__(self, "weights", {k: v.detach() for k, v in self.weights.items()})
        self._check()
        object.__setattr__(
            self, "_latents", {layer: self._layer(i) for i, layer in enumerate(layers)}
        )

    def _check(self) -> None:
        """Raises ValueError for a tensor that is missing, unknown, or of another shape or type."""
        first = self.weights.get(f"W_enc.{self.layers[0]}")
        if first is None or first.ndim != 2:
            raise ValueError(
                f"{self.name!r} has no W_enc.{self.layers[0]} [d_in latent] (it has"
                f" {listed(sorted(self.weights))})"
            )
        (d_in, n), d_out = first.shape, self._decoder_of(0).shape[-1]
        known = set()
        for i, layer in enumerate(self.layers):
            shapes = {
                "W_enc": (d_in, n),
                "b_enc": (n,),
                "W_dec": (len(self.layers) - i, n, d_out),
                "b_dec": (d_out,),
            }
            if self.kind == "jumprelu":
                shapes["threshold"] = (n,)
            if f"W_skip.{layer}" in self.weights:
                shapes["W_skip"] = (d_out, d_in)
            for key, shape in shapes.items():
                name = f"{key}.{layer}"
                known.add(name)
                value = self.weights.get(name)
                if value is None:
                    raise ValueError(
                        f"{self.name!r} has no {name}: it is of the layers"
                        f" {', '.join(map(str, self.layers))}"
                    )
                if tuple(value.shape) != shape:
                    raise ValueError(
                        f"{name} of {self.name!r} has the shape {list(value.shape)}, and should"
                        f" have {list(shape)}"
                    )
                if not value.is_floating_point() or value.dtype != first.dtype:
                    raise ValueError(
                        f"{name} of {self.name!r} holds {value.dtype}, where W_enc.{self.layers[0]}"
                        f" holds {first.dtype}: all tensors are of one floating type"
                    )
                if not torch.isfinite(value).all():
                    raise ValueError(f"{name} of {self.name!r} has numbers that are not finite")
        extra = next(iter(sorted(set(self.weights) - known)), None)
        if extra is not None:
            raise ValueError(
                f"{self.name!r} has {extra}, which belongs to none of its layers"
                f" {', '.join(map(str, self.layers))}"
            )

    def _decoder_of(self, i: int) -> Tensor:
        name = f"W_dec.{self.layers[i]}"
        if name not in self.weights or self.weights[name].ndim != 3:
            raise ValueError(f"{self.name!r} has no {name} [layer latent d_out]")
        return self.weights[name]

    def _layer(self, i: int) -> LayerLatents:
        layer, decoder = self.layers[i], self._decoder_of(i)
        skip = f"W_skip.{layer}" in self.weights
        weights = {
            key: self.weights[f"{key}.{layer}"]
            for key in ("W_enc", "b_enc", "b_dec", "threshold", "W_skip")
            if f"{key}.{layer}" in self.weights
        }
        weights |= {"W_dec": decoder.sum(0)}
        weights |= {f"W_dec.{to}": decoder[j] for j, to in enumerate(self.layers[i:])}
        settings = {"apply_b_dec_to_input": False, **self.settings}
        name = f"{self.name}, layer {layer}"
        return LayerLatents(
            KINDS[self.kind][skip],
            weights,
            self.reads[i],
            name,
            self.writes[i],
            settings,
            self.metadata,
        )

    # --- what it is -------------------------------------------------------------------------------

    @property
    def n_latents(self) -> int:
        """How many latents each layer has."""
        return self.weights[f"W_enc.{self.layers[0]}"].shape[1]

    @property
    def d_in(self) -> int:
        """The width of what each layer reads."""
        return self.weights[f"W_enc.{self.layers[0]}"].shape[0]

    @property
    def d_out(self) -> int:
        """The width of what each layer writes."""
        return self._decoder_of(0).shape[-1]

    def __repr__(self) -> str:
        return (
            f"CrossLayerTranscoder({self.name}: {self.kind}, {self.n_latents:,} latents in each of"
            f" the layers {_span(self.layers)}, {self.reads[0]} -> {_span(self.writes)}, of"
            f" {self.d_in} numbers)"
        )

    def layer(self, number: int) -> LayerLatents:
        """The latents of one layer as a dictionary, for cards, contexts and logits.

        Example:
            >>> features.cards(model, clt.layer(2), [17])

        Raises:
            ValueError: If it has no such layer.
        """
        latents: dict[int, LayerLatents] = self.__dict__["_latents"]
        if number not in latents:
            raise ValueError(
                f"{self.name!r} has no layer {number}: it is of the layers {_span(self.layers)}"
            )
        return latents[number]

    # --- what it does -----------------------------------------------------------------------------

    @no_autocast()
    def encode(self, x: Mapping[str, Tensor] | Tensor) -> Float[Tensor, "layer *batch latent"]:
        """The latents of each layer.

        Args:
            x: What each layer reads: by site, as `interp.run(keep=clt.reads)` gives it, or stacked
                [layer *batch d_in].
        """
        parts = self._parts(x)
        return torch.stack([self.layer(n).encode(part) for n, part in zip(self.layers, parts)])

    @no_autocast()
    def decode(
        self, z: Float[Tensor, "layer *batch latent"]
    ) -> Float[Tensor, "layer *batch d_out"]:
        """What the latents of all layers write in each: the sum over the layers up to it, and that
        layer's b_dec.
        """
        if z.shape[0] != len(self.layers) or z.shape[-1] != self.n_latents:
            raise ValueError(
                f"latents [layer ... latent] of {self.name!r} are [{len(self.layers)} ..."
                f" {self.n_latents}], not {list(z.shape)}"
            )
        out: list[Tensor] = []
        for j, to in enumerate(self.layers):
            bias = self.layer(to).weights_at(z.device)["b_dec"]
            parts = [
                z[i] @ self.layer(n).directions_at(z.device)[to]
                for i, n in enumerate(self.layers[: j + 1])
            ]
            out.append(torch.stack(parts).sum(0) + bias)
        return torch.stack(out)

    @no_autocast()
    def reconstruct(
        self,
        x: Mapping[str, Tensor] | Tensor,
        z: Float[Tensor, "layer *batch latent"] | None = None,
    ) -> Float[Tensor, "layer *batch d_out"]:
        """Each layer's MLP output: decode(encode(x)), plus the skip paths.

        Args:
            x: What each layer reads; see `encode`.
            z: The latents, if they are known already or were changed.
        """
        out, parts = self.decode(self.encode(x) if z is None else z), self._parts(x)
        for j, (n, part) in enumerate(zip(self.layers, parts)):
            weights = self.layer(n).weights_at(out.device)
            if "W_skip" in weights:
                out[j] = out[j] + part.to(out.dtype) @ weights["W_skip"].T
        return out

    def _parts(self, x: Mapping[str, Tensor] | Tensor) -> list[Tensor]:
        """What each layer reads, layer by layer."""
        if isinstance(x, Tensor):
            if x.ndim < 2 or len(x) != len(self.layers):
                raise ValueError(
                    f"what {self.name!r} reads is [layer ... {self.d_in}] of {len(self.layers)}"
                    f" layers, not {list(x.shape)}"
                )
            return list(x)
        lacking = next((site for site in self.reads if site not in x), None)
        if lacking is not None:
            raise ValueError(f"{self.name!r} reads {lacking!r}, which is not given ({listed(x)})")
        return [x[site] for site in self.reads]

    @torch_defaults()
    def explained(self, on: Activations, *, rows: int = 4096) -> dict[int, float]:
        """The share of the variance of each layer's MLP output that it explains, by layer.

        Example:
            >>> acts = features.activations(model, [*clt.reads, *clt.writes], texts)
            >>> clt.explained(acts)

        Args:
            on: Activations at all that it reads and writes, of text that it was not trained on.
            rows: Tokens at a time.
        """
        acts = on.only([*self.reads, *self.writes])
        total = {s: torch.zeros(self.d_out, dtype=torch.float64) for s in self.writes}
        for i in range(len(acts.shards)):
            shard = acts.shard(i)
            for site in self.writes:
                total[site] += shard[site].double().sum(0).cpu()
        mean = {site: value / len(acts) for site, value in total.items()}
        missed = torch.zeros(len(self.layers), dtype=torch.float64)
        whole = torch.zeros(len(self.layers), dtype=torch.float64)
        for i in range(len(acts.shards)):
            shard = acts.shard(i)
            for begin in range(0, len(shard[self.writes[0]]), rows):
                part = {site: value[begin : begin + rows] for site, value in shard.items()}
                made = self.reconstruct(part)
                for j, site in enumerate(self.writes):
                    y = part[site].double()
                    missed[j] += float((y - made[j].double()).pow(2).sum())
                    whole[j] += float((y - mean[site].to(y)).pow(2).sum())
        shares = (1 - missed / whole.clamp(min=1e-30)).tolist()
        return dict(zip(self.layers, shares))

    # --- on disk ----------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """The folder it was saved in; each file is written completely or not at all."""
        head = {"schema_": SCHEMA, "kind": self.kind, "reads": list(self.reads)}
        head |= {"writes": list(self.writes), "name": self.name}
        head |= {"settings": dict(self.settings), "metadata": dict(self.metadata)}
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"it is saved as a folder, and {str(folder)!r} is a file")
        weights = {name: value.cpu().contiguous() for name, value in self.weights.items()}
        _store.write_tensors(folder / WEIGHTS, weights)
        _store.write_text(folder / HEAD, json.dumps(head, indent=1))
        return folder

    @staticmethod
    def load(folder: str | Path) -> "CrossLayerTranscoder":
        """The cross-layer transcoder in a folder that interp or circuit-tracer wrote.

        circuit-tracer's folder has config.yaml (model_kind: cross_layer_transcoder) and a
        W_enc_N.safetensors and a W_dec_N.safetensors for each layer.

        Raises:
            ValueError: If the folder does not hold one; a tensor or file that is missing is named.
        """
        folder = Path(folder)
        if (folder / HEAD).is_file():
            content = _files.read_json(folder / HEAD, "a cross-layer transcoder", most=10_000_000)
            what = "a cross-layer transcoder saved by interp"
            form = _files.typed(content, _Form, folder / HEAD, what)
            if form.schema_ != SCHEMA:
                raise ValueError(f"{str(folder)!r}: schema {short(form.schema_)}, known is 1")
            tensors, _ = _files.read_tensors(folder / WEIGHTS)
            given: dict[str, Any] = form.model_dump(exclude={"schema_", "reads", "writes"})
            given |= {"reads": tuple(form.reads), "writes": tuple(form.writes), "weights": tensors}
        elif (folder / circuit_tracer.HEAD).is_file():
            given = circuit_tracer.read_cross_layer(folder)
        else:
            kind = "holds no cross-layer transcoder" if folder.is_dir() else "is no folder"
            raise ValueError(
                f"{str(folder)!r} {kind}; looked for {HEAD} with {WEIGHTS} (interp), and"
                f" {circuit_tracer.HEAD} with W_enc_N.safetensors and W_dec_N.safetensors"
                " (circuit-tracer)"
            )
        try:
            return CrossLayerTranscoder(**given)
        except ValueError as error:
            raise ValueError(f"{str(folder)!r}: {error}") from None


def one_a_layer(
    given: Dictionary | CrossLayerTranscoder | Sequence[Dictionary | CrossLayerTranscoder],
) -> list[Dictionary]:
    """The dictionaries, each cross-layer transcoder by its layers' latents."""
    several = [given] if isinstance(given, Dictionary | CrossLayerTranscoder) else list(given)
    found: list[Dictionary] = []
    for one in several:
        if isinstance(one, CrossLayerTranscoder):
            found += [one.layer(number) for number in one.layers]
        else:
            found.append(one)
    return found


def directions(d: Dictionary, device: torch.device) -> dict[int | None, Tensor]:
    """What the latents of a dictionary write, by layer [latent d_out]."""
    if isinstance(d, LayerLatents):
        return dict(d.directions_at(device))
    return {place(d.writes).layer: d.weights_at(device)["W_dec"]}


def _span(items: Sequence[Any]) -> str:
    return str(items[0]) if len(items) == 1 else f"{items[0]} to {items[-1]}"
