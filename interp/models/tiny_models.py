"""Tiny random models, made in a tenth of a second: for tests, and to try a verb before running it
on a real one.

Their numbers mean nothing, but nothing about them is degenerate: attention is uneven, norms have
gains and biases of their own, keys and values are shared between query heads ("tiny") and blocks
are parallel ("tiny-neox").
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from interp._errors import unknown
from interp.models.tiny_words import WORDS

BOS, UNK, END = "<|im_start|>", "<unk>", "<|im_end|>"
_COMMON = dict(
    attn_implementation="eager",
    initializer_range=0.2,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=2,
)


def tiny(kind: str = "tiny", seed: int = 0, *, words: Iterable[str] = ()) -> Any:
    """A random 3-layer model as a TransformerBridge; the same seed gives the same weights.

    kinds: "tiny" (Llama: 4 heads, 2 KV heads, d_model 32, d_mlp 64, RMSNorm, rotary), "tiny-gpt2"
    (4 heads, d_model 32, LayerNorm, learned positions), "tiny-neox" (Pythia: parallel blocks).

    Example:
        >>> model = models.tiny("tiny-gpt2", seed=1)

    Args:
        words: More words for the tokenizer, which knows those of our tasks, one token each with and
            without a space before; digits stand alone.
    """
    from interp.models.bridge import wrap

    return wrap(*make(kind, seed, words=words), kind)


def make(kind: str = "tiny", seed: int = 0, *, words: Iterable[str] = ()) -> tuple[Any, Any]:
    """The plain Hugging Face model and tokenizer behind `tiny`."""
    if kind not in TINY:
        raise unknown("tiny model", kind, TINY, "interp.models.tiny('tiny-gpt2')")
    tokenizer = word_tokenizer(words)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TINY[kind](len(tokenizer))
        with (
            torch.no_grad()
        ):  # fresh norms are ones and fresh biases zeros, which would hide mistakes with them
            for weights in model.parameters():
                if weights.ndim == 1:
                    weights.add_(0.2 * torch.randn_like(weights))
    model.config._name_or_path = kind
    return model.eval().requires_grad_(False), tokenizer


def _llama(d_vocab: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=d_vocab,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            **_COMMON,
        )
    )


def _gpt2(d_vocab: int) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(vocab_size=d_vocab, n_embd=32, n_layer=3, n_head=4, n_positions=256, **_COMMON)
    )


def _neox(d_vocab: int) -> Any:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=d_vocab,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=256,
            use_parallel_residual=True,
            **_COMMON,
        )
    )


TINY: dict[str, Callable[[int], Any]] = {"tiny": _llama, "tiny-gpt2": _gpt2, "tiny-neox": _neox}


def word_tokenizer(words: Iterable[str] = (), *, only: bool = False) -> Any:
    """A tokenizer with one token a word, written the way GPT-2's and SmolLM2's are: " Mary" is
    "ĠMary".

    Like SmolLM2's it adds no BOS and splits digits. A word it does not know becomes <unk>. It knows
    the words of our tasks and those given;

    Args:
        only: Those given alone.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = [*(() if only else WORDS), *words]
    plain = list(dict.fromkeys([*"0123456789", *known]))
    vocabulary = [UNK, BOS, END, "Ġ", "Ċ", *plain, *("Ġ" + w for w in plain if not w.isdigit())]
    built = Tokenizer(
        models.WordLevel(
            {token: i for i, token in enumerate(dict.fromkeys(vocabulary))}, unk_token=UNK
        )
    )
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    built.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=built, bos_token=BOS, eos_token=END, pad_token=END, unk_token=UNK
    )
