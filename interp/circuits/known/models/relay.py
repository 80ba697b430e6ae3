"""Relay: the token five back is moved by a head, looked up by an MLP, and moved; values alone."""

import random

import torch
from torch import Tensor

from interp.circuits.known.build import (
    BIG,
    D_HEAD,
    FULL,
    ONE,
    OUT,
    SHARP,
    WORDS,
    WRITE,
    KnownModel,
    P,
    S,
    T,
    Weights,
    prompt_of,
)


def _look_back(
    w: Weights, layer: int, head: int, kv: int, by: int, write: slice, read: slice, angles: Tensor
) -> None:
    """A head that moves the register `read` from so many positions back into `write`."""
    w.clear(layer, head, kv)
    fast = range(4)  # the rotary pairs that turn fast enough to tell neighbours apart
    for i in fast:
        turn = (
            angles[i] * by
        )  # a query at p meets a key at p - by when it is turned back by as much
        w.q[layer, head, ONE, i] = (2.2 * SHARP / BIG) * torch.cos(turn)
        w.q[layer, head, ONE, i + D_HEAD // 2] = -(2.2 * SHARP / BIG) * torch.sin(turn)
        w.k[layer, kv, ONE, i] = 1 / BIG
    w.join("v", layer, kv, read, slice(4, 20))
    w.join("o", layer, head, slice(4, 20), write, WRITE)


def _write(w: Weights) -> None:
    angles = 10000.0 ** (-torch.arange(4) * 2 / D_HEAD)
    partners = (
        w.o[0, 2].clone(),
        w.o[2, 0].clone(),
    )  # the heads that share keys and values stay decoys
    _look_back(w, 0, 3, 1, 2, S, T, angles)
    _look_back(w, 2, 1, 0, 3, OUT, P, angles)
    w.o[0, 2], w.o[2, 0] = partners
    after = torch.eye(16).roll(1, 1)  # a word's place -> the place of the next word
    for weight in (w.gate, w.up):
        weight[1, :, FULL] = 0.0
        weight[1, S, FULL] = torch.eye(16)
    w.down[1, FULL] = 0.0
    w.down[1, FULL, P] = WRITE * after


def _form(words: list[str], rng: random.Random) -> tuple[str, str, str, str]:
    clean, corrupted = words[:7], words[7:14]

    def after(word):
        return WORDS[(WORDS.index(word) + 1) % 16]

    return prompt_of(clean), prompt_of(corrupted), after(clean[1]), after(corrupted[1])


KNOWN_MODEL = KnownModel(
    "llama",
    3,
    2,
    _write,
    (("embed", "L0KV1.v_in"), ("L0H3", "mlp.1.in"), ("mlp.1", "L2KV0.v_in"), ("L2H1", "logits.in")),
    _form,
)
