"""A metric that gives no finite real number for each example is refused with one sentence by every
verb that takes a metric; no verb passes it on as a number.
"""

import pytest
import torch

import interp
from interp import features, methods

BAD = {
    "NaN for one example": (
        lambda best: best + torch.tensor([0, torch.nan, 0]),
        "nan for exam.* 1",
    ),
    "infinite": (lambda best: best * torch.inf, "inf for example 0"),
    "complex": (lambda best: best * 1j, "complex numbers"),
    "one number for all": (lambda best: best.mean(), r"one number per example, shape \(3,\)"),
    "two numbers each": (lambda best: torch.stack([best, best], 1), "one number per example"),
    "a list": (lambda best: best.tolist(), "list.*one number per example"),
}


def dictionary():
    g = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (32, 40), "W_dec": (40, 32), "b_dec": (32,), "b_enc": (40,)}
    weights = {name: torch.randn(*shape, generator=g) for name, shape in shapes.items()}
    return features.Dictionary("standard", weights, "resid_post.1", "random")


def circuit(m, t):
    return interp.Circuit.top(interp.discover(m, t, "eap"), 10)


ZERO = [interp.Intervention("L0H1", interp.edits.zero())]
VERBS = {
    "patch": lambda m, t, k: interp.patch(m, t, "L0H*", metric=k),
    "patch, hooks": lambda m, t, k: interp.patch(m, t, "L0H*", metric=k, backend="hooks"),
    "ablate": lambda m, t, k: interp.ablate(m, t, "L0H*", metric=k),
    "attribution_patch": lambda m, t, k: interp.attribution_patch(m, t, "L0H*", metric=k),
    "path_patch": lambda m, t, k: interp.path_patch(m, t, "L0H*", "logits.in", metric=k),
    "causal_trace": lambda m, t, k: interp.causal_trace(
        m, t, "mlp.*", subject="S2", samples=1, metric=k
    ),
    "attribute": lambda m, t, k: interp.attribute(m, t, by="occlusion", metric=k),
    "attention_knockout": lambda m, t, k: interp.attention_knockout(m, t, "END", "S2", metric=k),
    "discover, eap": lambda m, t, k: interp.discover(m, t, "eap", metric=k),
    "discover, acdc": lambda m, t, k: interp.discover(m, t, "acdc", metric=k),
    "evaluate": lambda m, t, k: interp.evaluate(m, t, circuit(m, t), sets=1, metric=k),
    "faithfulness_curve": lambda m, t, k: interp.faithfulness_curve(
        m, t, interp.discover(m, t, "eap"), (0.1,), metric=k, sets=1
    ),
    "steer": lambda m, t, k: interp.steer(
        m, t, interp.Direction(torch.ones(32), "resid_post.1@END"), metric=k
    ),
    "effect": lambda m, t, k: methods.patching.effect(m, t, ZERO, metric=k),
    "logit_lens": lambda m, t, k: interp.logit_lens(m, t, metric=k),
    "greedy_ablation": lambda m, t, k: methods.ablation.greedy_ablation(
        m, t, "L0H*", steps=1, metric=k
    ),
    "pairwise_ablation": lambda m, t, k: methods.ablation.pairwise_ablation(
        m, t, ["L0H1", "L1H1"], metric=k
    ),
    "features.circuit": lambda m, t, k: features.circuit(m, t, [dictionary()], nodes=3, metric=k),
}


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_number_for_each_example_is_refused(tiny, verb):
    task = interp.tasks.ioi(tiny, n=3, seed=0)
    for kind, (spoil, says) in BAD.items():

        def metric(logits, spoil=spoil):
            return spoil(logits.max(-1).values)

        with pytest.raises(ValueError, match=says) as said:
            VERBS[verb](tiny, task, metric)
        assert len(str(said.value)) < 400, kind
