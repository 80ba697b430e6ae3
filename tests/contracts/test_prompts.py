"""Every verb, handed what people have: a text, texts, ids, padded ids with a mask, a data
frame, None.

It works, or one sentence shows the right call. No traceback from torch or Python.
"""

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import interp
from interp.models.tokens import read_prompts

TEXTS = ["When Mary and John went to the store", "The capital of France is", "The dog saw the cat"]
ATTENTION, LENSES, ABLATION = (
    interp.methods.attention,
    interp.methods.lenses,
    interp.methods.ablation,
)
STEERING, TEXT = interp.methods.steering, interp.methods.text
PUSH = interp.Direction(torch.ones(32), "resid_post.1@END")
ZERO = [interp.Intervention("L1H*", interp.edits.zero())]

# what needs no pair: it takes every kind of prompt
READS = {
    "run": lambda m, x: interp.run(m, x),
    "generate": lambda m, x: interp.generate(m, x, max_new_tokens=1),
    "logit_lens": lambda m, x: interp.logit_lens(m, x),
    "tuned_lens": lambda m, x: interp.tuned_lens(m, x, steps=1, batch=4, cached=False),
    "jacobian_lens": lambda m, x: interp.jacobian_lens(m, x, skip=0, cached=False),
    "lens_score": lambda m, x: LENSES.lens_score(m, x, skip=0),
    "logit_attribution": lambda m, x: interp.logit_attribution(m, x),
    "write_lens": lambda m, x: LENSES.write_lens(m, x),
    "attends": lambda m, x: ATTENTION.attention_between(m, x, "END", "END"),
    "head_scores": lambda m, x: interp.head_scores(m, on=x),
    "stream_norms": lambda m, x: ATTENTION.residual_norms(m, x, "resid_post.*@END"),
    "site_norms": lambda m, x: ATTENTION.activation_norms(m, x, "L*KV*.v@END"),
    "ablate": lambda m, x: interp.ablate(m, x, "L*H*", by="zero"),
    "ablate to others": lambda m, x: interp.ablate(m, x, "L*H*", reference=TEXTS),
    "greedy_ablation": lambda m, x: ABLATION.greedy_ablation(m, x, "L*H*", steps=1, by="zero"),
    "finetune": lambda m, x: interp.finetune(m, x, steps=1),
    "effect": lambda m, x: interp.effect(m, x, ZERO),
    "attribute": lambda m, x: interp.attribute(m, x, at="END", steps=2, baseline=5),
    "attention_knockout": lambda m, x: interp.attention_knockout(m, x, "END", 0),
    "causal_trace": lambda m, x: interp.causal_trace(
        m, x, "resid_pre.*@END", subject="END", samples=1
    ),
    "steer": lambda m, x: interp.steer(m, x, PUSH),
    "side_effect": lambda m, x: STEERING.steering_side_effect(m, x, PUSH),
    "task_vector": lambda m, x: STEERING.task_vector(m, x, "resid_post.1@END"),
    "cross_entropy": lambda m, x: TEXT.cross_entropy(m, x),
    "information_flow": lambda m, x: interp.discover(m, x, "information_flow"),
}
# what has an axis of positions: prompts of one length
ONE_LENGTH = {
    "attention_patterns": lambda m, x: interp.attention_patterns(m, x, "L1H1"),
    "attention_received": lambda m, x: ATTENTION.attention_received(m, x),
    "stream_norms by position": lambda m, x: ATTENTION.residual_norms(m, x),
    "site_norms by position": lambda m, x: ATTENTION.activation_norms(m, x),
    "distance_profile": lambda m, x: ATTENTION.attention_by_distance(m, x),
    "logit_lens by position": lambda m, x: interp.logit_lens(m, x, "resid_post.*@*"),
}
# what compares two prompts: only a task of pairs
PAIRS = {
    "patch": lambda m, x: interp.patch(m, x, "L*H*"),
    "interchange": lambda m, x: interp.interchange(m, x, "resid_post.*@END"),
    "align": lambda m, x: interp.align(m, x, "resid_post.1@END", steps=1).basis,
    "path_patch": lambda m, x: interp.path_patch(m, x, "L*H*", "logits.in"),
    "attribution_patch": lambda m, x: interp.attribution_patch(m, x, "L*H*"),
    "discover": lambda m, x: interp.discover(m, x),
    "function_vector": lambda m, x: STEERING.function_vector(m, x),
}
VERBS = {**READS, **ONE_LENGTH, **PAIRS}


def given(model, kind):
    tokenizer = model.tokenizer
    return {
        "text": TEXTS[0],
        "texts": TEXTS,
        "ids": torch.tensor(read_prompts(model, TEXTS[0]).ids[0]),
        "mask": tokenizer(TEXTS, padding=True, return_tensors="pt", add_special_tokens=False),
        "frame": pd.DataFrame({"prompt": TEXTS}),
        "none": None,
        "number": 3,
    }[kind]


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("kind", ["text", "texts", "ids", "mask"])
@pytest.mark.parametrize("verb", READS)
def test_what_needs_no_pair_takes_prompts(tiny, verb, kind):
    assert READS[verb](tiny, given(tiny, kind)) is not None


@pytest.mark.parametrize("kind", ["frame", "none", "number"])
@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_prompt_is_answered_with_the_right_call(tiny, verb, kind):
    if verb == "head_scores" and kind == "none":
        return  # without prompts it makes its own
    with pytest.raises((ValueError, TypeError), match=r"tasks\.(read|pairs)|The capital of France"):
        VERBS[verb](tiny, given(tiny, kind))


@pytest.mark.parametrize("kind", ["text", "texts", "ids", "mask"])
@pytest.mark.parametrize("verb", PAIRS)
def test_what_compares_two_prompts_shows_how_to_make_pairs(tiny, verb, kind):
    with pytest.raises(ValueError, match=r"interp\.tasks\.pairs\(model, clean="):
        PAIRS[verb](tiny, given(tiny, kind))


@pytest.mark.parametrize("verb", ONE_LENGTH)
def test_what_has_an_axis_of_positions_takes_one_length(tiny, verb):
    for kind in ("text", "ids"):
        assert ONE_LENGTH[verb](tiny, given(tiny, kind)) is not None
    for kind in ("texts", "mask"):
        with pytest.raises(ValueError, match="by_length|Name the positions"):
            ONE_LENGTH[verb](tiny, given(tiny, kind))


# --- padding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("verb", ["logit_lens", "ablate", "cross_entropy", "site_norms", "steer"])
def test_padded_ids_with_a_mask_are_the_prompts_without_padding(any_tiny, verb, side):
    ids = read_prompts(any_tiny, TEXTS).ids
    wide = max(map(len, ids))
    table, mask = torch.full((3, wide), 2), torch.zeros(3, wide, dtype=torch.long)
    for i, row in enumerate(ids):
        at = slice(wide - len(row), wide) if side == "left" else slice(0, len(row))
        table[i, at], mask[i, at] = row, 1
    padded = READS[verb](any_tiny, {"input_ids": table, "attention_mask": mask})
    for i, text in enumerate(TEXTS):
        alone = READS[verb](any_tiny, text).examples[..., 0]
        np.testing.assert_allclose(padded.examples[..., i], alone, atol=2e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_run_keeps_the_layout_of_a_padded_table(any_tiny, side):
    ids = read_prompts(any_tiny, TEXTS).ids
    wide = max(map(len, ids))
    table, mask = torch.full((3, wide), 2), torch.zeros(3, wide, dtype=torch.long)
    where = []
    for i, row in enumerate(ids):
        at = slice(wide - len(row), wide) if side == "left" else slice(0, len(row))
        table[i, at], mask[i, at] = row, 1
        where.append(at)
    keep = ["L*H*.pattern", "resid_post.1", "L0H1.z@END", "mlp.0@-1"]
    out = interp.run(any_tiny, {"input_ids": table, "attention_mask": mask}, keep=keep)
    for i, (text, at) in enumerate(zip(TEXTS, where)):
        one = interp.run(any_tiny, text, keep=keep)
        close = dict(atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(out.logits[i, at], one.logits[0], **close)
        pattern = out.kept["L*H*.pattern"][:, :, i]
        torch.testing.assert_close(
            pattern[:, :, at, at], one.kept["L*H*.pattern"][:, :, 0], **close
        )
        assert out.logits[i][mask[i] == 0].isnan().all() and pattern.isnan().sum() == (
            pattern.numel() - pattern.shape[0] * pattern.shape[1] * len(ids[i]) ** 2
        )
        for key in keep[2:]:
            torch.testing.assert_close(out.kept[key][i], one.kept[key][0], **close)


def test_padding_without_a_mask_is_noticed(tiny):
    table = tiny.tokenizer(TEXTS, padding=True, return_tensors="pt").input_ids
    for verb in ("run", "logit_lens", "cross_entropy"):
        with pytest.warns(UserWarning, match="padding token.*give the mask"):
            READS[verb](tiny, table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interp.run(tiny, table[:1])
        interp.run(tiny, interp.tasks.ioi(tiny, n=4).clean)
    gap = {"input_ids": table, "attention_mask": (table != table[0, 3]).long()}
    with pytest.raises(ValueError, match="gap inside a prompt"):
        interp.run(tiny, gap)


# --- that nothing is left out ------------------------------------------------------------------


def test_every_public_verb_of_a_model_and_prompts_is_here():
    """A verb that is added takes any prompts too: give it a line above."""
    elsewhere = {
        "evaluate",  # take a circuit or scores besides
        "faithfulness_curve",
        "patchscope",  # one prompt into another
        "probe",  # takes labels besides
        "load",
        "load_all",
    }
    for name in interp.__all__:
        verb = getattr(interp, name)
        if not inspect.isfunction(verb) or name in elsewhere:
            continue
        names = list(inspect.signature(verb).parameters)
        if names[:1] == ["model"] and set(names[1:3]) & {"task", "tokens", "prompts", "on"}:
            assert name in {key.split()[0] for key in VERBS}, name
