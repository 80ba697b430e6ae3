"""Channels between heads: each shortcut equals the run with hooks that defines it."""

import pytest
import torch

import interp
from interp.methods.weights import ov_qk
from interp.replications import talking_heads as th


@pytest.fixture
def tokens():
    return torch.randint(5, 30, (3, 7), generator=torch.Generator().manual_seed(0))


def kept(model, tokens, at, edits=()):
    return interp.run(model, tokens, list(edits), keep=[at], last_only=True).kept[at]


def test_the_view_of_a_query_is_the_run_of_which_only_this_query_was_changed(tiny, tokens):
    end = th.end_of_prompt(tiny, tokens, ["L1H1", "L2H3"], ["L0H1"])
    change = torch.randn(5, *end.writes["L0H1"].shape, generator=torch.Generator().manual_seed(1))
    for head, view in end.views.items():
        pattern = kept(tiny, tokens, f"{head}.pattern@END").reshape(3, -1)
        torch.testing.assert_close(view.attention(), pattern, atol=1e-5, rtol=1e-4)
        for one, attention in zip(change, view.attention(change)):
            add = interp.Intervention(f"{head}.q_in@END", interp.edits.add(one[:, None]))
            changed = kept(tiny, tokens, f"{head}.pattern@END", [add]).reshape(3, -1)
            torch.testing.assert_close(attention, changed, atol=1e-5, rtol=1e-4)
            assert (changed - pattern).abs().max() > 1e-4
    torch.testing.assert_close(end.logits, interp.run(tiny, tokens).logits[:, -1])


def test_a_heads_write_is_the_sum_of_its_components(tiny, tokens):
    write = th.end_of_prompt(tiny, tokens, senders=["L1H2"]).writes["L1H2"]
    V = th.components(tiny, "L1H2")
    torch.testing.assert_close(V @ V.T, torch.eye(len(V)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(th.along(write, V), write, atol=1e-5, rtol=1e-4)
    parts = sum(th.along(write, V[i : i + 1]) for i in range(len(V)))
    torch.testing.assert_close(parts, write, atol=1e-5, rtol=1e-4)
    assert (th.along(write, V[:2]) - write).abs().max() > 1e-4
    sizes = (ov_qk.value(tiny, 1)[2] @ ov_qk.write(tiny, 1)[2] @ V.T).norm(dim=0)
    assert (sizes[:-1] >= sizes[1:] - 1e-5).all()  # the largest first


def test_scaled_logits_are_those_of_the_run_whose_write_was_scaled(tiny, tokens):
    V, ids = th.components(tiny, "L1H2"), tokens[:, :4]
    found = th.scaled_logits(tiny, tokens, "L1H2", [(V[:2], 1.0), (V[:2], 0.0), (V[1:2], 4.0)], ids)

    def by_hooks(directions, factor):
        def edit(act, seen):
            return act + (factor - 1) * (act @ directions.T @ directions)

        edits = [interp.Intervention("L1H2@END", edit)]
        return interp.run(tiny, tokens, edits).logits[:, -1].gather(1, ids)

    plain = interp.run(tiny, tokens).logits[:, -1].gather(1, ids)
    torch.testing.assert_close(found[0], plain, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[1], by_hooks(V[:2], 0.0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[2], by_hooks(V[1:2], 4.0), atol=1e-5, rtol=1e-4)
    assert (found[2] - found[0]).abs().max() > 1e-4


def test_queries_of_other_norms_are_refused(tiny_gpt2):
    with pytest.raises(ValueError, match=r"RMSNorm and rotary .*interp.path_patch"):
        th.end_of_prompt(tiny_gpt2, torch.ones(1, 4, dtype=torch.long), ["L1H0"])
