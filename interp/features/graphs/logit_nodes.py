"""The logits that a graph explains: which they are, what they read, and how much each counts."""

from collections.abc import Sequence

import torch
from torch import Tensor

from interp._types import Model
from interp.features.graphs.direct_effects import HeldRun, Target
from interp.features.graphs.influence import Node
from interp.models import bridge
from interp.models import tokens as words

MOST_LOGITS, MOST_MASS = 10, 0.95  # logit nodes: as many of the likeliest as carry this probability


def logit_nodes(
    model: Model, held: HeldRun, answers: Sequence[str] | None, wrong: str | None
) -> tuple[list[Node], list[tuple[Target, float]], list[float]]:
    """The logit nodes, what they read with its bias, and their weights."""
    given = held.run.logits
    assert given is not None
    W_U, b_U = bridge.unembedding(model)
    raw = given[0].float()
    probability = raw.softmax(-1)
    last, n_layers = held.length - 1, held.engine.n_layers
    if answers is None and wrong is not None:
        raise ValueError(f"wrong={wrong!r} needs answers=[...]: the token that it is compared with")
    tokenizer = words.tokenizer_of(model)
    if answers is None:
        top = probability.topk(min(MOST_LOGITS, len(probability)))
        enough = int((top.values.cumsum(0) < MOST_MASS).sum()) + 1
        picked = top.indices[:enough].tolist()
    else:
        if isinstance(answers, str):
            answers = [answers]
        picked = [words.single(tokenizer, text) for text in answers]
        if not picked:
            raise ValueError("answers=[] names no logit (try [' Paris'])")
        twice = next((text for text, one in zip(answers, picked) if picked.count(one) > 1), None)
        if twice is not None:
            raise ValueError(f"answers={list(answers)} names {twice!r} twice")
    mean = W_U.float().mean(0)
    against = None
    if wrong is not None:
        if len(picked) != 1:
            raise ValueError(f"wrong={wrong!r} is compared with one answer, got {len(picked)}")
        against = words.single(tokenizer, wrong)
        if against == picked[0]:
            raise ValueError(
                f"wrong={wrong!r} is the answer itself: there is no difference to explain"
            )
    texts = token_texts(model, picked)
    nodes, ends = [], []
    for token, label in zip(picked, texts):
        if texts.count(label) > 1:  # several tokens may read alike
            label = f"{label}#{token}"
        base = mean if against is None else W_U[against].float()
        target, bias = held.final(W_U[token].float() - base)
        if b_U is not None:
            bias += float(b_U[token] - (b_U.mean() if against is None else b_U[against]))
        uncapped = _uncapped(held, raw)
        value = float(uncapped[token] - (uncapped.mean() if against is None else uncapped[against]))
        label = label if against is None else f"{label} minus{token_texts(model, [against])[0]}"
        nodes.append(Node("logit", "logits", n_layers, last, token, value, 0.0, label))
        ends.append((target, bias))
    weights = [1.0] if against is not None else probability[picked].tolist()
    return nodes, ends, weights


def _uncapped(held: HeldRun, logits: Tensor) -> Tensor:
    """The logits before the model's soft cap, where it has one."""
    cap = held.engine.logit_cap
    return logits if cap is None else torch.atanh(logits.double() / cap) * cap


def token_texts(model: Model, ids: Sequence[int]) -> list[str]:
    """Each token as text."""
    tokenizer = words.tokenizer_of(model)
    return [str(i) if tokenizer is None else tokenizer.decode([i]) for i in ids]
