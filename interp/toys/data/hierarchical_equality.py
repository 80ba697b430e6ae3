"""Hierarchical equality: is the first pair equal exactly when the second one is? A network written
by hand whose causal variables are known, and its task.
"""

import random
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.tasks.pairs import pairs
from interp.tasks.task import Task
from interp.toys.model.transformer import net, wrapped

OBJECTS = 8
LEFT, RIGHT = "left", "right"
# places in the stream, before it is rotated: the token's number, the four numbers at the last
# position, how far apart the pairs are, whether they differ, whether that differs, a constant
TOKEN, FIRST, APART, DIFFER, ANSWER, ONE, WIDTH = 0, 1, 5, 7, 9, 10, 16
SITE = "resid_post.1@END"  # where each pair's inequality stands


def equality_model(seed: int = 0) -> tuple[Any, dict[str, Float[Tensor, "16 1"]]]:
    """A three-layer model that answers "same" or "different" without a mistake, and the direction
    of each causal variable at "resid_post.1@END".

    The first layer compares the objects, the second makes 0 or 1 of each comparison, the third
    compares these two. The stream is rotated at random, so that no coordinate shows anything.

    Example:
        >>> model, truth = interp.toys.equality_model()
        >>> task = interp.toys.equality_task(model, n=64, variable="left")
        >>> interp.interchange(model, task, subspace=interp.Subspace(truth["left"], SITE))

    Args:
        seed: Decides the rotation.

    Returns:
        The model, and for "left" and "right" the one column that spans the variable.

    Reference:
        The task of Geiger et al. 2023 (arXiv 2303.02536), after Premack 1983; there with vectors
        for objects and a trained network.
    """
    plain = net(
        d_vocab=OBJECTS + 3,
        n_layers=3,
        n_heads=4,
        d_model=WIDTH,
        attention=["static", "none", "none"],
        mlp=[4, 4, 2],
        norm="none",
        positions="none",
        n_ctx=5,
    )
    g = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=g)).Q
    with torch.no_grad():
        for weight in plain.parameters():
            weight.zero_()
        embed = plain.embed.weight
        embed[1 : OBJECTS + 1, TOKEN] = torch.arange(1.0, OBJECTS + 1) / OBJECTS
        embed[:, ONE] = 1
        heads = plain.blocks[0].attn
        for i in range(4):  # head i brings the i-th object to every position
            heads.static[i, :, i + 1] = 100
            heads.v.weight[4 * i, TOKEN] = 1
            heads.o.weight[FIRST + i, 4 * i] = 1
        for pair in range(2):
            one, other = FIRST + 2 * pair, FIRST + 2 * pair + 1
            # |a - b|, then min(1, 8 |a - b|): numbers are whole eighths, so 0 or 1
            for sign, k in ((1, 2 * pair), (-1, 2 * pair + 1)):
                plain.blocks[0].mlp.up.weight[k, one] = sign
                plain.blocks[0].mlp.up.weight[k, other] = -sign
                plain.blocks[0].mlp.down.weight[APART + pair, k] = 1
                plain.blocks[1].mlp.up.weight[k, APART + pair] = OBJECTS
                plain.blocks[1].mlp.down.weight[DIFFER + pair, k] = sign
            plain.blocks[1].mlp.up.bias[2 * pair + 1] = -1
            sign = 1 - 2 * pair
            plain.blocks[2].mlp.up.weight[pair, DIFFER] = sign
            plain.blocks[2].mlp.up.weight[pair, DIFFER + 1] = -sign
            plain.blocks[2].mlp.down.weight[ANSWER, pair] = 1
        read = plain.unembed.original_component.weight
        read[-1, ANSWER], read[-1, ONE] = 6, -3  # "different"; "same" is 0
        embed.copy_(embed @ turn.T)
        read.copy_(read @ turn.T)
        for block in plain.blocks:
            for reader in (block.attn.v, block.mlp.up):
                reader.weight.copy_(reader.weight @ turn.T)
            for writer in (block.attn.o, block.mlp.down):
                writer.weight.copy_(turn @ writer.weight)
    words = ["<bos>", *(f"o{i}" for i in range(1, OBJECTS + 1)), "same", "different"]
    truth = {LEFT: turn[:, DIFFER : DIFFER + 1], RIGHT: turn[:, DIFFER + 1 : DIFFER + 2]}
    return wrapped(plain, "hierarchical-equality", words), truth


def equality_task(model: Any, n: int = 64, seed: int = 0, variable: str = LEFT) -> Task:
    """Pairs of prompts of four objects, and the answer once one pair's equality is swapped.

    Example:
        >>> interp.toys.equality_task(model, n=8, variable="right").show()

    Args:
        model: The model of `equality_model`.
        n: How many.
        seed: Draws them: each pair of objects is equal in half of the prompts.
        variable: "left" or "right": which pair's equality the swap takes from the source.

    Raises:
        ValueError: If the variable is unknown.
    """
    if variable not in (LEFT, RIGHT):
        raise ValueError(f"variable={variable!r}: 'left' or 'right', the pair that is swapped")
    rng = random.Random(f"equality {seed}")

    def draw() -> tuple[list[int], list[bool]]:
        equal, objects = [rng.random() < 0.5 for _ in range(2)], []
        for same in equal:
            a, b = rng.sample(range(1, OBJECTS + 1), 2)
            objects += [a, a if same else b]
        return [0, *objects], equal

    def word(equal: list[bool]) -> list[int]:
        return [OBJECTS + 1 if equal[0] == equal[1] else OBJECTS + 2]

    rows: dict[str, list] = {"clean": [], "source": [], "answers": [], "wrong": [], "swapped": []}
    seen = set()
    while len(seen) < n:
        (clean, equal), (source, other) = draw(), draw()
        if clean == source or (*clean, *source) in seen:
            continue
        seen.add((*clean, *source))
        after = [other[0], equal[1]] if variable == LEFT else [equal[0], other[1]]
        rows["clean"].append(clean)
        rows["source"].append(source)
        rows["answers"].append(word(equal))
        rows["wrong"].append(word([equal[0], not equal[1]]))
        rows["swapped"].append(word(after))
    return pairs(model, **rows, name=f"equality, {variable} swapped", metadata={"seed": seed})
