"""A model folder's config.json, held against the weights beside it before anything is made of it: a
size that no tensor has would be allocated first and refused minutes later.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from interp import _files
from interp._errors import short

MOST = 50_000_000  # bytes of a config.json; the largest have some thousand
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
WIDTHS = (
    *("hidden_size", "n_embd", "d_model", "vocab_size", "intermediate_size", "n_inner", "ffn_dim"),
    *("num_attention_heads", "n_head", "num_heads", "num_key_value_heads", "head_dim"),
)
POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
MOST_POSITIONS = 10**12  # rotary models allocate nothing for a position
MOST_CONTEXT = 100_000  # a HookedTransformer makes a mask of n_ctx times n_ctx
WIDEST = 16  # times the stored numbers that the MLPs alone may need; unusual models share layers


def read(folder: Path) -> dict[str, Any]:
    """What stands in a folder's config.json, if a model of its sizes could have the weights there.

    Raises:
        ValueError: If it is no mapping, or has a size of another type, below 1, or larger than any
            tensor of the folder.
    """
    path = folder / "config.json"
    config = _files.read_json(path, "a model's configuration", most=MOST)
    if not isinstance(config, dict):
        raise ValueError(f"{str(path)!r} is not a model's configuration: it is {short(config)}")
    names = config.get("architectures")
    if names is not None and not (
        isinstance(names, list) and all(isinstance(name, str) for name in names)
    ):
        raise ValueError(
            f"{str(path)!r} is not a model's configuration: architectures should be a list of"
            f" names, and is {short(names)}"
        )
    shapes = stored_shapes(folder)
    for part in _parts(config):
        _check(part, shapes, path)
    for part in _parts(_with_defaults(config)):  # a size that the file leaves out is the family's
        _check(part, shapes, path)
    return config


def _with_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration as transformers completes it; itself where transformers does not."""
    kind = config.get("model_type")
    if not isinstance(kind, str):
        return config
    from transformers import CONFIG_MAPPING

    try:
        return CONFIG_MAPPING[kind].from_dict(config).to_dict()
    except Exception:  # of many kinds; loading the folder says which
        return config


def stored_shapes(folder: Path) -> list[tuple[int, ...]]:
    """The shape of every tensor in a folder's safetensors files, from the heads of the files."""
    from safetensors import safe_open

    shapes = []
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, "pt") as opened:
                shapes += [tuple(opened.get_slice(name).get_shape()) for name in opened.keys()]
        except Exception as error:  # safetensors' own, of several kinds
            raise ValueError(
                f"cannot load the folder {str(folder)!r}: {file.name} is not whole"
                f" ({_files.short_reason(error)})"
            ) from None
    return shapes


def _parts(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The configuration, and the one of its language model where it has several."""
    yield config
    if isinstance(config.get("text_config"), dict):
        yield config["text_config"]


def _check(config: dict[str, Any], shapes: list[tuple[int, ...]], path: Path) -> None:
    widest = max((side for shape in shapes for side in shape), default=0)
    bounds = {name: (len(shapes), f"the weights are {len(shapes)} tensors") for name in LAYERS}
    bounds |= {name: (widest, f"no tensor is wider than {widest:,}") for name in WIDTHS}
    bounds |= {name: (MOST_POSITIONS, f"at most {MOST_POSITIONS:,} are read") for name in POSITIONS}
    for name, (most, why) in bounds.items():
        value = config.get(name)
        if value is None or isinstance(value, list):  # a size for each layer
            continue
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < 1:
            raise ValueError(
                f"{str(path)!r}: {name} should be a whole number of at least 1, and is"
                f" {short(value)}"
            )
        if shapes and value > most:
            raise ValueError(
                f"{str(path)!r} does not fit the weights beside it: {name} is"
                f" {short(value, 24)}, and {why}"
            )
    sizes = [next((config[n] for n in names if isinstance(config.get(n), int)), 0) for names in (
        LAYERS, ("hidden_size", "n_embd", "d_model"), ("intermediate_size", "n_inner", "ffn_dim")
    )]  # fmt: skip
    needed, stored = 2 * math.prod(sizes), sum(map(math.prod, shapes))
    if shapes and needed > WIDEST * stored and "quantization_config" not in config:
        raise ValueError(
            f"{str(path)!r} does not fit the weights beside it: MLPs of its sizes have"
            f" {needed:,} weights, and the files hold {stored:,} numbers"
        )


def check_small(config: Mapping[str, Any], weights: Mapping[str, Any], path: Path) -> None:
    """Nothing where a model of TransformerLens' own with these sizes could have these weights;
    otherwise a ValueError, before anything is made.
    """
    widest = max((side for weight in weights.values() for side in weight.shape), default=0)
    bounds = {"n_layers": len(weights), "n_ctx": max(widest, MOST_CONTEXT)}
    bounds |= {name: widest for name in ("d_model", "d_vocab", "d_mlp", "d_head", "n_heads")}
    for name, most in bounds.items():
        value = config.get(name)
        if name == "d_mlp" and config.get("attn_only"):
            continue  # no tensor has it
        if isinstance(value, int) and value > most:
            raise ValueError(
                f"{str(path)!r} does not fit this configuration: {name}={short(value, 24)}, and"
                f" it holds {len(weights)} tensors, none wider than {widest:,}"
            )
