"""Agreement with others' numbers: TransformerLens' own patching, and a sweep written out by
hand.
"""

import pytest
import torch

import interp
from interp.edits import set_to
from interp.interventions import Intervention, run
from interp.models import bridge

CLOSE = dict(atol=1e-4, rtol=1e-4)

PEERS = [
    ("resid_pre.*@*", "get_act_patch_resid_pre"),
    ("attn.*@*", "get_act_patch_attn_out"),
    ("mlp.*@*", "get_act_patch_mlp_out"),
    ("L*H*", "get_act_patch_attn_head_out_all_pos"),
    ("L*H*.q", "get_act_patch_attn_head_q_all_pos"),
    ("L*H*.pattern", "get_act_patch_attn_head_pattern_all_pos"),
]


def theirs(model, task, function):
    from transformer_lens import patching

    _, cache = model.run_with_cache(task.clean)

    def metric(logits):
        return task.metric(logits).mean()

    base = metric(model(task.corrupted, return_type="logits"))
    return getattr(patching, function)(model, task.corrupted, cache, metric) - base


@pytest.mark.parametrize("where, function", PEERS)
def test_denoising_equals_transformer_lens(tiny, where, function):
    task = interp.tasks.ioi(tiny, n=4, seed=0)
    ours = torch.tensor(interp.patch(tiny, task, where).values, dtype=torch.float32)
    torch.testing.assert_close(ours, theirs(tiny, task, function).float(), **CLOSE)


def test_head_by_position_equals_transformer_lens(tiny):
    task = interp.tasks.ioi(tiny, n=4, seed=0)
    ours = torch.tensor(interp.patch(tiny, task, "L*H*@*").values, dtype=torch.float32)
    other = theirs(tiny, task, "get_act_patch_attn_head_out_by_pos")  # [layer pos head]
    torch.testing.assert_close(ours, other.transpose(1, 2).float(), **CLOSE)


@pytest.mark.parametrize("part", ["k", "v"])
def test_values_and_keys_have_a_row_per_kv_head(tiny, part):
    task = interp.tasks.ioi(tiny, n=4, seed=0)
    ours = interp.patch(tiny, task, f"L*KV*.{part}")
    assert ours.dims == ("layer", "kv_head") and ours.values.shape == (3, 2)
    by_hand = torch.zeros(3, 2)
    clean = run(tiny, task.clean, keep=[f"L*KV*.{part}"]).kept[f"L*KV*.{part}"]
    base = task.metric(run(tiny, task.corrupted).logits)
    for layer in range(3):
        for head in range(2):
            name = f"blocks.{layer}.attn.hook_{part}"

            def put(tensor, hook, layer=layer, head=head):
                tensor[:, :, head] = clean[layer, head]
                return tensor

            by_hand[layer, head] = (
                task.metric(tiny.run_with_hooks(task.corrupted, fwd_hooks=[(name, put)])) - base
            ).mean()
    torch.testing.assert_close(torch.tensor(ours.values, dtype=torch.float32), by_hand, **CLOSE)


def test_the_middle_of_the_stream_is_edited_for_the_mlp_and_the_stream(tiny):
    """The stream after attention, for everything downstream; a bridge's own hook of that name
    reaches only the MLP.
    """
    task = interp.tasks.ioi(tiny, n=4, seed=0)
    d = bridge.dims(tiny)
    keep = ["resid_mid.1", "resid_pre.1"]
    clean, corrupted = (run(tiny, t, keep=keep).kept for t in (task.clean, task.corrupted))
    patched = run(tiny, task.corrupted, [Intervention("resid_mid.1", set_to(clean["resid_mid.1"]))])
    as_attention = clean["resid_mid.1"] - corrupted["resid_pre.1"]
    same = run(tiny, task.corrupted, [Intervention("attn.1", set_to(as_attention))])
    torch.testing.assert_close(patched.logits, same.logits, **CLOSE)
    assert d.n_layers == 3
