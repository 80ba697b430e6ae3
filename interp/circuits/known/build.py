"""Models whose circuit is certain, because their weights are written by hand.

The stream has a register of 16 places for each thing that a part may note: T the token, S and P
what a head or an MLP noted, OUT what the unembedding reads, POS the position, and one place each
for the first token and for a constant, which keeps the norms steady. Parts of the circuit read and
write these registers. Every other head and MLP is a decoy: it reads all of them and writes busily,
but into places that nothing of the circuit reads.

What is true of an edge is meant with resample ablation: an edge is in the circuit when its value
differs between the clean and the corrupted prompt and decides the answer. Edges that carry
positions alone are the same in both prompts, so corrupting them changes nothing. Decoys still reach
the answer through the norms: no edge of theirs by more than a fiftieth of the circuit's weakest
edge (a test holds this).
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from interp.tasks.pairs import Example, build
from interp.tasks.task import Task, tokenizer_of

WORDS = "ant bee cat dog eel fox gnu hen jay kid lark mole newt owl pig ram".split()
WIDTH, HEADS, D_HEAD, D_MLP = 96, 4, 24, 48
T, S, P, OUT, POS = (slice(16 * i, 16 * i + 16) for i in range(5))
BOS, ONE, JUNK = slice(80, 81), slice(81, 82), slice(82, WIDTH)
BIG = 6.0  # the constant in the stream
# how much a match is worth in attention, before the norms' gains (about 1.6 on either side)
SHARP = 2.6
WRITE = 0.6  # what a head makes of a normed register: about what the embedding writes there
FULL = slice(0, 16)  # the places of a head that carry a register


@dataclass(frozen=True)
class KnownModel:
    """One known circuit: the kind of model, what is written into it, its edges, and the prompts.

    Attributes:
        kind: "gpt2" or "llama".
        layers: How many.
        kv_heads: How many in each layer.
        write: Writes the circuit into the decoys' weights.
        edges: Those that do the task.
        form: form(words, rng): a clean and a corrupted prompt, the answer and the wrong one; words
            are all the words, shuffled.
    """

    kind: str
    layers: int
    kv_heads: int
    write: Callable[["Weights"], None]
    edges: tuple[tuple[str, str], ...]
    form: Callable[[list[str], random.Random], tuple[str, str, str, str]]


@dataclass(frozen=True)
class Weights:
    """A model's weights to write into, the same for every kind: all begin as decoys.

    q [layer head d_model d_head], k, v [layer kv_head d_model d_head], o [layer head d_head
    d_model]; gate, up [layer d_model d_mlp], down [layer d_mlp d_model].
    """

    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor

    def join(
        self,
        which: str,
        layer: int,
        index: int | None,
        source: slice,
        target: Any,
        gain: float = 1.0,
    ) -> None:
        """The entries of source go, one by one, to those of target."""
        weight = (
            getattr(self, which)[layer] if index is None else getattr(self, which)[layer, index]
        )
        n_source, n_target = (
            len(range(*s.indices(size))) for s, size in zip((source, target), weight.shape)
        )
        weight[source, target] += gain * (
            torch.eye(n_source) if n_source == n_target else torch.ones(n_source, n_target)
        )

    def clear(self, layer: int, head: int, kv: int) -> None:
        """Makes room for a head of the circuit."""
        for weight, index in ((self.q, head), (self.k, kv), (self.v, kv), (self.o, head)):
            weight[layer, index] = 0.0

    def previous_token(self, layer: int, head: int, read: slice, write: slice) -> None:
        """A head that copies a register of the position before."""
        self.clear(layer, head, head)
        self.join(
            "q", layer, head, slice(POS.start + 1, POS.stop), slice(0, 15), SHARP
        )  # position p looks for p - 1
        self.join("k", layer, head, POS, FULL)
        self.join("v", layer, head, read, FULL)
        self.join("o", layer, head, FULL, write, WRITE)

    def neuron(
        self,
        layer: int,
        unit: int,
        reads: dict[int, float],
        writes: dict[int, float],
        above: float = 0.0,
    ) -> None:
        """A GPT-2 neuron of the circuit: what it reads, weighted, minus `above`, counted in
        the stream before the norm.
        """
        self.up[layer, :, unit] = 0.0
        self.down[layer, unit] = 0.0
        for place, gain in {**reads, ONE.start: -above / BIG}.items():
            self.up[layer, place, unit] = gain
        for place, gain in writes.items():
            self.down[layer, unit, place] = gain


def decoys(layers: int, kv_heads: int, seed: int) -> Weights:
    """Heads and MLPs that read everything and write what nobody reads."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape, scale):
        return scale * torch.randn(shape, generator=g)

    o, down = torch.zeros(layers, HEADS, D_HEAD, WIDTH), torch.zeros(layers, D_MLP, WIDTH)
    o[..., JUNK] = draw(layers, HEADS, D_HEAD, JUNK.stop - JUNK.start, scale=0.04)
    down[..., JUNK] = draw(layers, D_MLP, JUNK.stop - JUNK.start, scale=0.04)

    def read(heads, scale):
        return draw(layers, heads, WIDTH, D_HEAD, scale=scale)

    def wide():
        return draw(layers, WIDTH, D_MLP, scale=0.2)

    return Weights(
        read(HEADS, 0.2), read(kv_heads, 0.2), read(kv_heads, 0.2), o, wide(), wide(), down
    )


def model(name: str, known_model: KnownModel, seed: int) -> Any:
    """The model of a known circuit, with its words for a tokenizer; seed draws the decoys."""
    from interp.models.bridge import wrap
    from interp.models.tiny_models import word_tokenizer

    tokenizer = word_tokenizer(WORDS, only=True)
    weights = decoys(known_model.layers, known_model.kv_heads, seed)
    known_model.write(weights)
    words = [tokenizer.convert_tokens_to_ids("Ġ" + word) for word in WORDS]
    embedding, unembedding = torch.zeros(len(tokenizer), WIDTH), torch.zeros(len(tokenizer), WIDTH)
    embedding[:, ONE] = BIG
    embedding[words, T] = torch.eye(16)
    embedding[tokenizer.bos_token_id, BOS] = 1.0
    unembedding[words, OUT] = 4 * torch.eye(16)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        made = (_gpt2 if known_model.kind == "gpt2" else _llama)(
            known_model, weights, embedding, unembedding
        )
    made.config._name_or_path = name
    return wrap(made.eval().requires_grad_(False), tokenizer, name)


def _gpt2(known_model: KnownModel, w: Weights, embedding: Tensor, unembedding: Tensor) -> Any:
    """A GPT-2 with these weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(embedding),
            n_embd=WIDTH,
            n_layer=known_model.layers,
            n_head=HEADS,
            n_positions=16,
            n_inner=D_MLP,
            tie_word_embeddings=False,
            attn_implementation="eager",
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    model.transformer.wte.weight.copy_(embedding)
    model.transformer.wpe.weight.zero_()[:, POS] = torch.eye(16)
    model.lm_head.weight.copy_(unembedding)

    def side(heads):
        return heads.movedim(0, 1).flatten(1)  # [d_model (head d_head)]

    for i, block in enumerate(model.transformer.h):
        block.attn.c_attn.weight.copy_(
            torch.cat([side(w.q[i]) * D_HEAD**0.5, side(w.k[i]), side(w.v[i])], 1)
        )
        block.attn.c_proj.weight.copy_(w.o[i].flatten(0, 1))
        block.mlp.c_fc.weight.copy_(w.up[i])
        block.mlp.c_proj.weight.copy_(w.down[i])
    return model


def _llama(known_model: KnownModel, w: Weights, embedding: Tensor, unembedding: Tensor) -> Any:
    """A Llama with these weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(embedding),
            hidden_size=WIDTH,
            intermediate_size=D_MLP,
            num_hidden_layers=known_model.layers,
            num_attention_heads=HEADS,
            num_key_value_heads=known_model.kv_heads,
            head_dim=D_HEAD,
            max_position_embeddings=64,
            tie_word_embeddings=False,
            attn_implementation="eager",
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=2,
        )
    )
    model.model.embed_tokens.weight.copy_(embedding)
    model.lm_head.weight.copy_(unembedding)

    def side(heads):
        return heads.movedim(0, 1).flatten(1).T

    for i, block in enumerate(model.model.layers):
        block.self_attn.q_proj.weight.copy_(side(w.q[i]) * D_HEAD**0.5)
        block.self_attn.k_proj.weight.copy_(side(w.k[i]))
        block.self_attn.v_proj.weight.copy_(side(w.v[i]))
        block.self_attn.o_proj.weight.copy_(w.o[i].flatten(0, 1).T)
        block.mlp.gate_proj.weight.copy_(w.gate[i].T)
        block.mlp.up_proj.weight.copy_(w.up[i].T)
        block.mlp.down_proj.weight.copy_(w.down[i].T)
    return model


# --- prompts --------------------------------------------------------------------------------------


def task(
    name: str,
    form: Callable[..., tuple],
    model: Any,
    n: int = 16,
    seed: int = 0,
    split: str = "find",
) -> Task:
    """n pairs of prompts of one form, clean and corrupted; the halves by their first word."""
    rng, examples, seen = random.Random(f"{name} {seed} {split}"), [], set()
    while len(examples) < n:
        words = rng.sample(WORDS, len(WORDS))
        clean, corrupted, answer, wrong = form(words, rng)
        if WORDS.index(clean.split()[0]) % 2 == (split == "heldout") and clean not in seen:
            seen.add(clean)
            examples.append(Example(clean, corrupted, [" " + answer], [" " + wrong]))
    metadata = {"seed": seed, "split": split, "fillings": "words of one half come first"}
    tokenizer = tokenizer_of(model)
    return build(
        name, tokenizer, examples, "logit_diff", metadata, partial(task, name, form, tokenizer)
    )


def prompt_of(words: Sequence[str]) -> str:
    """The words as a prompt."""
    return "".join(" " + word for word in words)
