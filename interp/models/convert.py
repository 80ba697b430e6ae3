"""A `.gguf` file, dequantized into a Hugging Face folder: fp32 safetensors, configuration,
tokenizer.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from interp import _files

RECIPE = 1  # raise it when the conversion changes: cached folders of an older recipe are made anew
STAMP = "interp.json"


def convert(
    gguf: Path, out: Path, *, name: str, source: str, digest: str, step: Callable[[str], None]
) -> Path:
    """The folder `out`, holding the model of a gguf file in a form that any transformers version
    loads in seconds.

    Example:
        >>> convert(Path("model.gguf"), Path("out"), name="my-model", source="model.gguf",
        ...     digest="ab12",
        ...     step=print)

    Raises:
        ValueError: When the file is cut off or of an architecture that transformers cannot read.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = dict(gguf_file=gguf.name, local_files_only=True, trust_remote_code=False)
    try:
        with _quiet():
            step("reading the tokenizer")
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **options)
            step("dequantizing")
            model = AutoModelForCausalLM.from_pretrained(
                gguf.parent, dtype=torch.float32, **options
            )
    except ImportError as error:
        raise ImportError(
            "reading a .gguf file needs the gguf package: pip install gguf"
        ) from error
    except (
        Exception
    ) as error:  # the gguf reader raises whatever it stumbles on: numpy, struct, key errors
        raise ValueError(
            f"cannot read {gguf.name}: the file is incomplete or of a kind transformers does not"
            f" know ({type(error).__name__}: {str(error)[:120]})"
        ) from error
    step("saving")
    out.mkdir(parents=True)
    _save_weights(model, out)
    _save_config(model, tokenizer, name, out)
    _save_tokenizer(tokenizer, out, getattr(model.config, "max_position_embeddings", None))
    stamp = dict(
        name=name,
        source=source,
        sha256=digest,
        recipe=RECIPE,
        files={f.name: f.stat().st_size for f in sorted(out.iterdir())},
        sums={f.name: _files.word_sum(f) for f in sorted(out.iterdir())},
        hashes={f.name: _files.sha256(f) for f in sorted(out.iterdir())},
    )
    (out / STAMP).write_text(json.dumps(stamp, indent=1))
    return out


def _save_weights(model: Any, out: Path) -> None:
    from safetensors.torch import save_file

    # save_pretrained refuses a model it believes quantized, although every tensor is fp32 by now
    weights = {k: v.contiguous() for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)  # the embedding under a second name
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    os.chmod(
        out / "model.safetensors", (out.stat().st_mode & 0o444) | 0o200
    )  # written as private: follow the folder


def _save_config(model: Any, tokenizer: Any, name: str, out: Path) -> None:
    config = model.config.to_dict()
    for key in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        config.pop(key, None)
    rope = config.get("rope_parameters") or {}
    if "rope_theta" in rope:
        config["rope_theta"] = rope["rope_theta"]  # where transformers 4 looks for it
    config["architectures"] = [type(model).__name__]
    config["dtype"] = config["torch_dtype"] = "float32"
    # a gguf file gives these ids twice; the tokenizer's are the ones that text is made into
    for which in ("bos", "eos", "pad"):
        config[f"{which}_token_id"] = getattr(tokenizer, f"{which}_token_id")
    config["interp_name"] = name
    (out / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True))


def _save_tokenizer(tokenizer: Any, out: Path, n_ctx: int | None) -> None:
    tokenizer.save_pretrained(out)
    path = out / "tokenizer_config.json"
    config = json.loads(path.read_text())
    for key in (
        "name_or_path",
        "vocab_file",
        "is_local",
        "local_files_only",
        "backend",
        "gguf_file",
    ):
        config.pop(key, None)
    if n_ctx:
        config["model_max_length"] = n_ctx
    config["tokenizer_class"] = (
        "PreTrainedTokenizerFast"  # transformers 5 writes a name that 4 cannot read
    )
    path.write_text(json.dumps(config, indent=1, ensure_ascii=False))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No bars or warnings of transformers' own: one staged bar says enough."""
    import transformers.modeling_gguf_pytorch_utils as reader
    from transformers.utils import logging

    level, bars, tqdm = (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
        getattr(reader, "tqdm", None),
    )
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if tqdm:
        reader.tqdm = lambda tensors, **_: tensors
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
        if tqdm:
            reader.tqdm = tqdm
