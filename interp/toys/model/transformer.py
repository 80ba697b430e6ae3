"""`transformer`: a small transformer with interchangeable parts, for every function here."""

import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch

from interp.models import bridge
from interp.toys.model.parts import Net
from interp.toys.model.spec import Spec, spec


def transformer(
    *,
    name: str = "toy",
    seed: int = 0,
    words: Sequence[str] = (),
    bos: int | None = None,
    **options: Any,
) -> Any:
    """A small random transformer with the hooks and addresses of every other model, frozen.

    A model without MLPs still has their addresses, where nothing is written. Its weights can be
    trained by `interp.toys.train`, or by your own loop on `interp.toys.net`.

    Example:
        >>> model = interp.toys.transformer(d_vocab=64, n_heads=4, attention="relu", mlp=128)
        >>> interp.run(model, tokens, keep=["L1H*.pattern"])

    Args:
        name: The model's name in results.
        seed: Decides the weights.
        words: A word for each token; "t0", "t1", ... if none are given.
        bos: The token that a task puts before its prompts; the first token if None.
        options: The fields of `interp.toys.Spec`.

    Returns:
        A model for `interp.run` and all other functions, in evaluation mode.

    Raises:
        ValueError: If an option is unknown, or options do not go together.
    """
    return wrapped(net(seed=seed, **options), name, words, bos)


def net(*, seed: int = 0, **options: Any) -> Net:
    """The plain PyTorch module behind `transformer`, trainable and without hooks.

    Example:
        >>> net = interp.toys.net(d_vocab=64, n_layers=1)
        >>> net(tokens)                                  # [batch pos d_vocab]

    Args:
        seed: Decides the weights.
        options: The fields of `interp.toys.Spec`.

    Returns:
        A `Net`.
    """
    return Net(spec(**options), seed)


def wrapped(net: Net, name: str, words: Sequence[str] = (), bos: int | None = None) -> Any:
    """A net with hook points, a tokenizer and a name; the net is frozen in place."""
    return bridge.hooked(net, tokenizer(net.spec.d_vocab, words, bos), _config(net.spec, name))


def _config(s: Spec, name: str) -> SimpleNamespace:
    """The configuration that TransformerLens' tools expect of a model."""
    return SimpleNamespace(
        model_name=name,
        n_layers=s.n_layers,
        n_heads=s.n_heads,
        n_key_value_heads=s.n_kv_heads,
        d_model=s.d_model,
        d_head=s.d_head,
        d_mlp=s.d_mlp,
        d_vocab=s.d_vocab,
        n_ctx=s.n_ctx,
        d_in=s.d_in,
        act_fn=s.act,
        normalization_type={"layer": "LN", "rms": "RMS", "none": "none"}[s.norm],
        parallel_attn_mlp=False,
        default_prepend_bos=False,
        device="cpu",
        dtype=torch.float32,
    )


def tokenizer(d_vocab: int, words: Sequence[str] = (), bos: int | None = None) -> Any:
    """A tokenizer whose token i is the i-th word; words are separated by spaces.

    Spaces within a word become "_". Without words the tokens are "t0", "t1", ... and "<bos>" at
    `bos`.

    Example:
        >>> tokenizer(64)("t3 t5").input_ids
        [3, 5]
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    plain = [f"t{i}" if i != bos else "<bos>" for i in range(d_vocab)]
    words = ["_".join(re.split(r"\s", w)) for w in words] or plain
    if len(words) != d_vocab or len(set(words)) != d_vocab or "" in words:
        raise ValueError(
            f"{len(set(words) - {''})} different words for {d_vocab} tokens: give one for each"
        )
    # one past the model's own tokens, so that it is refused and never read as another word
    unknown = "<unk>"
    built = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate([*words, unknown])}, unk_token=unknown)
    )
    built.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=built,
        bos_token=words[bos or 0],
        unk_token=unknown,
        clean_up_tokenization_spaces=False,
    )
