"""A lens: an affine map per layer, through which the stream is read as the last layer's."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp import _files, _store
from interp._errors import short as _short
from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import run
from interp.methods.runs import sweep
from interp.models import bridge, state
from interp.models.tokens import tokenizer_of
from interp.results import Result

ENDING, PUBLISHED = ".safetensors", ".pt"  # of a lens's files
TOKENS_SCORED = 512  # tokens of the text on which a lens is scored, evenly spread


@dataclass(frozen=True, eq=False)
class Lens:
    """A map h -> h + h W + b per layer, as `tuned_lens` and `jacobian_lens` make it; the last
    layer's is the identity.

    Example:
        >>> lens = interp.jacobian_lens(model, texts)
        >>> lens.read(12, residual)     # [... d_model], translated into the last layer's stream
        >>> lens.plot()                 # how far each layer's reading is from the model's output
        >>> interp.logit_lens(model, task, lens=lens).plot()

    Attributes:
        layers: The layers that it reads.
        weight: W of each layer.
        bias: b of each layer.
        kl: Divergence from the model's output, axes "lens" (the logit lens and this one) and
            "layer", in nats; NaN where a lens was read from somebody else's file.
        fingerprint: Of the weights of the model that it belongs to.
        kind: "tuned lens" or "Jacobian lens".
    """

    layers: tuple[int, ...]
    weight: Float[Tensor, "layer d_model d_model"]
    bias: Float[Tensor, "layer d_model"]
    kl: Result  # dims (lens, layer), nats
    fingerprint: str  # of the model's weights
    kind: str = "tuned lens"

    def __post_init__(self) -> None:
        if self.weight[-1].any() or self.bias[-1].any():
            raise ValueError(
                "the translator of the last layer must be the identity: its stream is what the"
                " model reads"
            )

    def read(
        self, layer: int, residual: Float[Tensor, "*more d_model"]
    ) -> Float[Tensor, "*more d_model"]:
        """The stream after a layer, translated into that of the last layer."""
        i = self._index(layer)
        h = residual.to(self.weight.dtype)  # translated in float32, whatever the model computes in
        return (h + h @ self.weight[i] + self.bias[i]).to(residual.dtype)

    def jacobian(self, layer: int) -> Float[Tensor, "d_model d_model"]:
        """J of a layer, the map without its bias: J h is the reading of the stream h."""
        w = self.weight[self._index(layer)]
        return w.T + torch.eye(len(w), dtype=w.dtype, device=w.device)

    def to_transformer_lens(self) -> Any:
        """TransformerLens' `JacobianLens` of these maps, with its steering, swaps and
        decompositions.

        Raises:
            ValueError: For a lens with a bias: theirs has none.
        """
        if self.bias.any():
            raise ValueError(f"a {self.kind} has a bias, and a JacobianLens has none")
        said = self.kl.metadata
        maps = {layer: self.jacobian(layer).cpu() for layer in self.layers[:-1]}
        if not maps:
            raise ValueError(
                "this lens reads the last layer alone: there is no Jacobian to hand on"
            )
        about = {"model_name": said["model"], "target_layer": self.layers[-1]}
        about |= {"skip_first_positions": said["skip"]} if "skip" in said else {}
        about["fingerprint"] = self.fingerprint
        if not np.isnan(self.kl.values).any():
            about["kl"] = self.kl.values.tolist()
        return bridge.their_jacobian_lens(maps, int(said.get("texts", 1)), about)

    def save(self, path: str | Path) -> Path:
        """The path of the file, which `Lens.load` reads: .safetensors for any lens, or .pt for a
        Jacobian lens as the published ones are written, in float32, which TransformerLens'
        `JacobianLens.load` reads as well.

        Raises:
            ValueError: For another ending, or a lens with a bias as .pt.
        """
        path = _ending(path)
        if path.suffix == PUBLISHED:
            if self.bias.any():
                raise ValueError(
                    f"a {self.kind} has a bias, and {PUBLISHED} files have none: save it as"
                    f" {path.stem + ENDING!r}"
                )
            self.to_transformer_lens().save(str(path), dtype=torch.float32)
            return path
        about = {"kind": self.kind, "layers": self.layers, "fingerprint": self.fingerprint}
        head = {"lens": json.dumps(about | {"metadata": self.kl.metadata})}
        kl = torch.as_tensor(self.kl.values, device="cpu")
        tensors = {"weight": self.weight.cpu(), "bias": self.bias.cpu(), "kl": kl}
        return _store.write_tensors(path, tensors, head)

    @classmethod
    def load(cls, path: str | Path, model: Model) -> "Lens":
        """The lens that `save` wrote, or a published Jacobian lens (`read_jacobian_lens`).

        Example:
            >>> tuned.save("tuned.safetensors")
            >>> lens = interp.methods.lenses.Lens.load("tuned.safetensors", model)

        Args:
            path: A .safetensors or .pt file.
            model: The model that it belongs to.

        Raises:
            ValueError: If the file is of another model, or not such a file.
            FileNotFoundError: If there is no such file.
        """
        path = _ending(path)
        if path.suffix == PUBLISHED:
            return read_jacobian_lens(path, model)
        tensors, head = _files.read_tensors(path)
        try:
            about = json.loads(head["lens"])
            kind, layers = str(about["kind"]), tuple(map(int, about["layers"]))
            metadata, mark = dict(about["metadata"]), about["fingerprint"]
        except (KeyError, TypeError, ValueError):
            other = _files.headed(head) if "lens" not in head else ""
            raise ValueError(f"{str(path)!r} is no lens saved by Lens.save{other}") from None
        if mark != fingerprint(model):
            raise ValueError(
                f"{str(path)!r} is a lens of {metadata.get('model', 'another model')!r} with other"
                f" weights than these of {bridge.name(model)!r}: a lens reads its own model"
            )
        n, width = len(layers), bridge.dims(model).d_model
        shapes = {"weight": (n, width, width), "bias": (n, width)}
        weight, bias = (_files.shaped(tensors, key, shapes[key], path) for key in shapes)
        known = tensors.get("kl")
        if not isinstance(known, Tensor) or known.shape != (2, n):
            raise ValueError(f"{str(path)!r} has no kl, two divergences for each of {n} layers")
        kl = _divergences(known, kind, layers, metadata)
        weight, bias = (part.to(bridge.device(model)) for part in (weight, bias))
        return cls(layers, weight, bias, kl, mark, kind)

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """The Axes with the divergence from the model's output by layer, for the logit lens and
        this one.

        Raises:
            ValueError: If the divergence is not known: the lens is somebody else's file.
        """
        if np.isnan(self.kl.values).all():
            raise ValueError(
                "this lens was read from a file that does not say how far its readings are from"
                " the model's output: interp.methods.lenses.lens_score(model, texts, lens).plot()"
                " measures it"
            )
        return self.kl.plot(ax=ax, **options)

    def __repr__(self) -> str:
        return f"{self.kind} (layers {', '.join(map(str, self.layers))})"

    def _index(self, layer: int) -> int:
        if layer not in self.layers:
            raise ValueError(
                f"this lens was not {'trained' if self.kind == 'tuned lens' else 'fitted'} at layer"
                f" {layer} (it has {', '.join(map(str, self.layers))})"
            )
        return self.layers.index(layer)


def with_divergence(
    model: Model,
    mark: str,
    layers: tuple[int, ...],
    weight: Tensor,
    bias: Tensor,
    numbers: Tensor,
    kind: str,
    started: float,
    **more: Any,
) -> Lens:
    """The Lens of these maps, with its divergences [lens layer] as a Result."""
    metadata = sweep.provenance(model, None, kind, started, **more)
    return Lens(layers, weight, bias, _divergences(numbers, kind, layers, metadata), mark, kind)


def _divergences(
    numbers: Tensor, kind: str, layers: tuple[int, ...], metadata: dict[str, Any]
) -> Result:
    """The divergences [lens layer] as a Result."""
    return Result(
        to_numpy(numbers),
        ("lens", "layer"),
        {"lens": ["logit lens", kind], "layer": list(layers)},
        "divergence from the model's output",
        "nats",
        metadata,
    )


def check_lengths(
    model: Model, given: Sequence[tuple[list[int], Tensor]], skip: int, stop: int = 0
) -> None:
    """A ValueError that quotes the first text that is too short to have a position left.

    Args:
        model: The model, for its tokenizer.
        given: The texts as `Prompts.by_length` gives them.
        skip: How many positions at the start are left out.
        stop: How many at the end.
    """
    if skip < 0:
        raise ValueError(f"skip={skip}: 0 or more positions can be left out")
    short = [
        (int(at), ids[k])
        for which, ids in given
        if ids.shape[1] < skip + stop + 1
        for k, at in enumerate(which)
    ]
    if not short:
        return
    at, ids = min(short, key=lambda one: one[0])
    words = _short(tokenizer_of(model).decode(ids.tolist()), 40)
    others = f" ({len(short)} texts are too short)" if len(short) > 1 else ""
    ends = " and the last" if stop else ""
    raise ValueError(
        f"text {at}, {words}, has {len(ids)} tokens and no position left without the first"
        f" {skip}{ends}{others}: give texts of {skip + stop + 1} or more tokens, or"
        f" skip={max(0, len(ids) - 1 - stop)}"
    )


def _ending(path: str | Path) -> Path:
    """The path, if its ending is one of a lens's files."""
    path = Path(path)
    if path.suffix not in (ENDING, PUBLISHED):
        raise ValueError(
            f"a lens is saved as {ENDING} (any lens) or {PUBLISHED} (a Jacobian lens, as published"
            f" ones are), got {str(path)!r} (try {path.stem + ENDING!r})"
        )
    return path


def read_jacobian_lens(path: str | Path, model: Model) -> Lens:
    """A Jacobian lens from a file, of ours or as others publish them (.pt; no code is run).

    Example:
        >>> lens = read_jacobian_lens("gpt2_jacobian_lens.pt", model)
        >>> interp.logit_lens(model, task, lens=lens).plot()

    Args:
        path: A file with J (a matrix per layer), n_prompts, source_layers and d_model.
        model: The model that it belongs to. A file says the model's name and width at most; a file
            of ours says its weights, too.

    Raises:
        ValueError: If the file is of another model, or not such a file.
        FileNotFoundError: If there is no such file.

    Reference:
        The format of github.com/anthropics/jacobian-lens and of TransformerLens' JacobianLens.
    """
    started = time.perf_counter()
    held, d = _files.read_pt(path), bridge.dims(model)
    if not isinstance(held, dict) or not isinstance(held.get("J"), dict) or not held["J"]:
        raise ValueError(f"{str(path)!r} is no Jacobian lens: it has no J, a matrix for each layer")
    about = held.get("metadata") or {}
    about = about if isinstance(about, dict) else {}
    last, mark = d.n_layers - 1, fingerprint(model)
    wrong = [key for key in held["J"] if not isinstance(key, int) or not 0 <= key < last]
    if wrong or about.get("target_layer", last) != last:
        raise ValueError(
            f"{str(path)!r} is a lens of another model: it reads layer"
            f" {wrong[0] if wrong else about['target_layer']}, and a lens of this one reads layers"
            f" 0 to {last - 1} towards {last}"
        )
    if about.get("fingerprint", mark) != mark:
        raise ValueError(f"{str(path)!r} is a lens of another model: the weights are others")
    layers = sorted(held["J"])
    maps = {f"J[{layer}]": held["J"][layer] for layer in layers}
    size = (d.d_model, d.d_model)
    maps = {name: _files.shaped(maps, name, size, path).float() for name in maps}
    eye = torch.eye(d.d_model)
    weight = torch.stack([*(j.T - eye for j in maps.values()), torch.zeros(size)])
    numbers = _known(about.get("kl"), len(layers) + 1)
    skip = {"skip": about["skip_first_positions"]} if "skip_first_positions" in about else {}
    return with_divergence(
        model,
        mark,
        (*layers, last),
        weight.to(bridge.device(model)),
        torch.zeros(len(weight), d.d_model, device=bridge.device(model)),
        numbers,
        "Jacobian lens",
        started,
        texts=int(held.get("n_prompts", 1)),
        file=str(path),
        **skip,
    )


def _known(given: Any, n: int) -> Tensor:
    """The divergences that a file of ours has [2 layer]; NaN where it has none that fit."""
    none = torch.full((2, n), float("nan"), dtype=torch.float64)
    try:
        numbers = torch.tensor(given, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        return none
    return numbers if numbers.shape == none.shape else none


def scored_tokens(n: int) -> Tensor:
    """Which of n tokens a lens is scored on."""
    return torch.linspace(0, n - 1, min(TOKENS_SCORED, n)).long()


def divergence(
    model: Model,
    stream: Float[Tensor, "token d_model"],
    last: Float[Tensor, "token d_model"],
    weight: Float[Tensor, "d_model d_model"],
    bias: Float[Tensor, "d_model"],
) -> float:
    """Mean KL divergence (nats) of the lens from the model, over the whole vocabulary."""
    total = 0.0
    with torch.no_grad():
        for h, end in zip(stream.split(64), last.split(64)):
            predicted = logits_of(model, h + h @ weight + bias).log_softmax(-1)
            true = logits_of(model, end).log_softmax(-1)
            total += float((true.exp() * (true - predicted)).sum())
    return total / len(stream)


def logits_of(model: Model, h: Tensor) -> Tensor:
    """The logits of a stream held in float32, by the model's own last layers, in float32 again."""
    h = h.to(bridge.unembedding(model)[0].dtype)
    return bridge.unembed(model, bridge.final_norm(model, h)).float()


def streams_of(model: Model, chunks: Sequence[Tensor], layers: Sequence[int]) -> list[Tensor]:
    """The stream after each layer [token d_model], position 0 left out."""
    keep = [f"resid_post.{layer}" for layer in layers]
    texts = [
        part for ids in chunks for part in ids.split(max(1, sweep.TOKENS_PER_RUN // ids.shape[1]))
    ]
    parts: list[list[Tensor]] = [[] for _ in layers]
    for chunk in sweep.progress(texts, "tuned lens: text"):
        cache = run(model, chunk, keep=keep, last_only=True).kept
        for part, key in zip(parts, keep):
            part.append(cache[key][:, 1:].flatten(0, 1).float())
    return [torch.cat(part) for part in parts]


def fingerprint(model: Model) -> str:
    """A short name for a model, made from its name and every bit of its weights."""
    whole = f"{bridge.name(model)} {state.weights_hash(model)}"
    return hashlib.sha256(whole.encode()).hexdigest()[:16]
