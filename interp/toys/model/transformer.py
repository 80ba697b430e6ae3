"""`transformer`: a small transformer with interchangeable parts, open to every tool that opens a
language model.
"""

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
    """A small random transformer with the hooks and addresses of every other model here: eval mode,
    frozen.

    Example:
        >>> model = interp.toys.transformer(d_vocab=64, n_layers=2, n_heads=4, attention="relu", mlp=128, norm="rms")
        >>> interp.run(model, tokens, keep=["L1H*.pattern"])

    Args:
        options: The parts by name, see `interp.toys.Spec`.
        words: A word for each token ("t0", "t1", ... when not given)
        bos: The token that a task puts in front of its prompts (the first, when not given). A model
            without MLPs still has their addresses, where nothing is written. Its weights are
            trained by `interp.toys.train`, or by a loop of your own on `interp.toys.net`.
    """
    return wrapped(net(seed=seed, **options), name, words, bos)


def net(*, seed: int = 0, **options: Any) -> Net:
    """The plain PyTorch module behind `transformer`, trainable and without hooks."""
    return Net(spec(**options), seed)


def wrapped(net: Net, name: str, words: Sequence[str] = (), bos: int | None = None) -> Any:
    """A net with hook points, a tokenizer and a name; the net is frozen in place."""
    return bridge.hooked(net, tokenizer(net.spec.d_vocab, words, bos), _config(net.spec, name))


def _config(s: Spec, name: str) -> SimpleNamespace:
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
    """A tokenizer whose token i is the i-th word, words being set apart by spaces; bos: which one
    begins a prompt.

    Spaces within a word become "_". Without words: "t0", "t1", ... and "<bos>" where bos says (else
    "t0" is it).

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
