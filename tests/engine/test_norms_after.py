"""Blocks that norm what attention writes (Gemma-2, OLMo-2): what one head writes is its share."""

import pytest
import torch
from families import make

from interp import engine as E
from interp.engine.forward import head_writes

KEEP = ("resid_pre", "k", "v", "z", "write", "attn_out")


@pytest.fixture(scope="module", params=["gemma2", "gemma3", "olmo2"])
def engine(request):
    return E.build(make(request.param, 97))


@pytest.fixture(scope="module")
def runs(engine):
    generator = torch.Generator().manual_seed(0)
    base = torch.randint(2, 97, (2, 11), generator=generator)
    source = base.clone()
    source[:, 4:] = torch.randint(2, 97, (2, 7), generator=generator)
    return [E.run(engine, tokens, KEEP) for tokens in (base, source)]


def test_shares_of_all_heads_add_up_to_what_is_added_to_the_stream(engine, runs):
    for writes, attn in zip(runs[0]["write"], runs[0]["attn_out"]):
        assert writes.shape == (2, 11, engine.n_heads, engine.d_model)
        torch.testing.assert_close(writes.sum(2), attn, atol=1e-5, rtol=1e-5)


def test_one_head_is_that_slice_of_all(engine, runs):
    layer, z = engine.layers[1], runs[0]["z"][1]
    torch.testing.assert_close(head_writes(layer, z, 2), runs[0]["write"][1][:, :, 2])


def test_all_heads_together_are_the_layer(engine, runs):
    base, source = runs
    sweep = [E.Patch("attn_out", 1, pos=-1), E.Patch("write", 1, pos=-1), E.Patch("attn_out", 0)]
    heads = [E.Patch("write", 0, h) for h in range(engine.n_heads)]
    read = E.vocab(engine, lambda logits: logits)
    found = E.sweep(engine, base, source, [*sweep, heads], read)
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[3], found[2], atol=1e-5, rtol=1e-4)
    assert (found[0] - base.logits).abs().max() > 1e-3


def test_a_write_is_not_its_z(engine, runs):
    """Another z changes the norm's scale, and with it every head's share; a share does not."""
    base, source = runs
    read = E.vocab(engine, lambda logits: logits)
    write, z = E.sweep(engine, base, source, [E.Patch("write", 0, 1), E.Patch("z", 0, 1)], read)
    assert (write - z).abs().max() > 1e-3


def test_writes_of_zero_and_means_as_a_source(engine, runs):
    base, _ = runs
    read = E.vocab(engine, lambda logits: logits)
    heads = [E.Patch("write", 1, h) for h in range(engine.n_heads)]
    zero = E.sweep(engine, base, E.zeros(engine, "write"), [heads], read)[0]
    attn = E.sweep(engine, base, E.zeros(engine, "attn_out"), [E.Patch("attn_out", 1)], read)[0]
    torch.testing.assert_close(zero, attn, atol=1e-5, rtol=1e-4)
    mean = {"write": [w.mean(0, keepdim=True) for w in base["write"]]}
    one = E.sweep(engine, base, mean, [E.Patch("write", 1, 0)], read)[0]
    assert (one - base.logits).abs().max() > 1e-4
