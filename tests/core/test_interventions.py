"""Laws of `run`, on tiny models of three architectures."""

import pytest
import torch

from interp import sites
from interp.edits import add, knock_out, latent, project_out, reweight, scale, set_to, zero
from interp.interventions import Intervention, cut, run
from interp.models.bridge import dims
from interp.sites import Site

CLOSE = dict(atol=2e-5, rtol=1e-4)


@pytest.fixture
def prompts(any_tiny):
    g = torch.Generator().manual_seed(0)
    d = dims(any_tiny)

    def draw():
        return torch.randint(5, d.d_vocab, (3, 8), generator=g)

    return draw(), draw()


def test_no_edit_gives_the_plain_logits(any_tiny, prompts):
    plain = any_tiny.original_model(prompts[0]).logits
    torch.testing.assert_close(run(any_tiny, prompts[0]).logits, plain, **CLOSE)
    torch.testing.assert_close(
        run(any_tiny, prompts[0], last_only=True).logits, plain[:, -1], **CLOSE
    )


def test_keeping_everything_changes_nothing(any_tiny, prompts):
    d = dims(any_tiny)
    keep = [str(s) for s in sites.senders(d) + sites.receivers(d)] + [
        "L*H*.pattern",
        "L*H*.scores",
        "L*KV*.k",
        "mlp.*.post",
    ]
    out = run(any_tiny, prompts[0], keep=keep)
    torch.testing.assert_close(out.logits, run(any_tiny, prompts[0]).logits, **CLOSE)


def test_setting_every_kind_of_site_to_its_own_value_changes_nothing(any_tiny, prompts):
    d = dims(any_tiny)
    clean = run(any_tiny, prompts[0]).logits
    for (family, part), row in sites.TABLE.items():
        if family == "resid_mid" and d.parallel:
            continue
        site = str(
            Site(
                family,
                part,
                1 if "{l}" in row.hook else None,
                1 if family in ("head", "kv") else None,
            )
        )
        own = run(any_tiny, prompts[0], keep=[site]).kept[site]
        torch.testing.assert_close(
            run(any_tiny, prompts[0], [Intervention(site, set_to(own))]).logits, clean, **CLOSE
        )

        def uneven(a, seen):
            return a * torch.linspace(0.2, 1.5, a.shape[-1])  # a norm would undo a mere rescaling

        moved = run(any_tiny, prompts[0], [Intervention(site, uneven)]).logits
        assert (moved - clean).abs().max() > 1e-4, f"editing {site} does nothing"


def test_edits_at_one_site_compose_in_order(any_tiny, prompts):
    for site in ("resid_post.1", "L1H2", "L1H2.z", "L2H0.q_in", "mlp.1.in", "L1H1.q", "L1KV1.v"):
        value = run(any_tiny, prompts[0], keep=[site]).kept[site]
        ramp = torch.linspace(-1, 1, value.shape[-1])  # a constant would vanish in a LayerNorm
        chain = [Intervention(site, scale(2.0)), Intervention(site, add(ramp))]
        by_hand = set_to(value * 2 + ramp)
        both = run(any_tiny, prompts[0], chain).logits
        torch.testing.assert_close(
            both, run(any_tiny, prompts[0], [Intervention(site, by_hand)]).logits, **CLOSE
        )
        assert (both - run(any_tiny, prompts[0], chain[::-1]).logits).abs().max() > 1e-4


def test_edges_cut_none_is_clean_and_cut_all_is_corrupted(any_tiny, prompts):
    d = dims(any_tiny)
    writers = sites.senders(d)
    names = [str(s) for s in writers]
    clean, corrupted = (run(any_tiny, p, keep=names) for p in prompts)
    edges = [(s, r) for r in sites.receivers(d) for s in writers if sites.precedes(s, r, d)]

    def cut_all(cache):
        return run(any_tiny, prompts[0], [cut(s, r, cache[str(s)]) for s, r in edges]).logits

    torch.testing.assert_close(cut_all(clean.kept), clean.logits, **CLOSE)
    torch.testing.assert_close(cut_all(corrupted.kept), corrupted.logits, **CLOSE)


@pytest.mark.parametrize("node", ["embed", "L0H1", "L1H3", "mlp.0", "mlp.2", "L2H0"])
def test_patching_a_node_is_cutting_all_its_edges(any_tiny, prompts, node):
    d = dims(any_tiny)
    other = run(any_tiny, prompts[1], keep=[node]).kept[node]
    patched = run(any_tiny, prompts[0], [Intervention(node, set_to(other))]).logits
    edges = [
        cut(node, r, other) for r in sites.receivers(d) if sites.precedes(Site.parse(node), r, d)
    ]
    torch.testing.assert_close(run(any_tiny, prompts[0], edges).logits, patched, **CLOSE)


def test_what_is_seen_is_the_value_in_this_very_run(any_tiny, prompts):
    def copy_over(act, seen):
        return seen["mlp.0"]

    edits = [
        Intervention("mlp.0", scale(3.0)),
        Intervention("resid_post.1", copy_over, reads=("mlp.0",)),
    ]
    out = run(any_tiny, prompts[0], edits, keep=["resid_post.1", "mlp.0"])
    plain = run(any_tiny, prompts[0], keep=["mlp.0"]).kept["mlp.0"]
    torch.testing.assert_close(out.kept["mlp.0"], plain * 3, **CLOSE)
    torch.testing.assert_close(out.kept["resid_post.1"], plain * 3, **CLOSE)


def test_an_edit_at_one_position_touches_no_other(any_tiny, prompts):
    per_example = torch.tensor([2, 5, 7])
    out = run(
        any_tiny,
        prompts[0],
        [Intervention("resid_post.1@X", zero())],
        keep=["resid_post.1"],
        positions={"X": per_example},
    )
    plain = run(any_tiny, prompts[0], keep=["resid_post.1"]).kept["resid_post.1"].clone()
    plain[torch.arange(3), per_example] = 0
    torch.testing.assert_close(out.kept["resid_post.1"], plain, **CLOSE)


def test_rows_keep_variations_apart(any_tiny, prompts):
    twice = torch.cat([prompts[0], prompts[0]])
    half = run(any_tiny, twice, [Intervention("mlp.1", zero(), rows=slice(3, 6))]).logits
    torch.testing.assert_close(half[:3], run(any_tiny, prompts[0]).logits, **CLOSE)
    torch.testing.assert_close(
        half[3:], run(any_tiny, prompts[0], [Intervention("mlp.1", zero())]).logits, **CLOSE
    )


def test_head_writes_and_biases_add_up_to_the_attention_output(any_tiny, prompts):
    from interp.models.bridge import projection

    d = dims(any_tiny)
    kept = run(any_tiny, prompts[0], keep=["L1H*", "attn.1"]).kept
    _, bias = projection(any_tiny, "O", 1)
    total = kept["L1H*"].sum(0) + (0 if bias is None else bias)
    torch.testing.assert_close(total, kept["attn.1"], **CLOSE)
    assert kept["L1H*"].shape == (d.n_heads, 3, 8, d.d_model)


def test_knock_out_leaves_rows_that_sum_to_one(any_tiny, prompts):
    out = run(
        any_tiny,
        prompts[0],
        [Intervention("L*H*.scores@-1", knock_out([1, 2]))],
        keep=["L*H*.pattern"],
    )
    pattern = out.kept["L*H*.pattern"]
    assert pattern[..., -1, 1:3].abs().max() == 0
    torch.testing.assert_close(pattern.sum(-1), torch.ones_like(pattern.sum(-1)))
    assert (pattern[0, :, :, -2, 1:3] > 0).any()


def test_knock_out_of_everything_is_refused(any_tiny, prompts):
    with pytest.raises(ValueError, match="nothing to attend to"):
        run(any_tiny, prompts[0], [Intervention("L1H0.scores", knock_out([0]))])


def test_reweight_scales_a_column_and_renormalises(any_tiny, prompts):
    edit = Intervention("L1H1.pattern@-1", reweight({0: 0.25}))
    before = run(any_tiny, prompts[0], keep=["L1H1.pattern@-1"]).kept["L1H1.pattern@-1"]
    after = run(any_tiny, prompts[0], [edit], keep=["L1H1.pattern@-1"]).kept["L1H1.pattern@-1"]
    by_hand = before * torch.tensor([0.25] + [1.0] * 7)
    torch.testing.assert_close(after, by_hand / by_hand.sum(-1, keepdim=True), **CLOSE)


def test_reweighting_a_row_to_nothing_is_refused(any_tiny, prompts):
    with pytest.raises(ValueError, match="no attention at all"):
        run(any_tiny, prompts[0], [Intervention("L1H1.pattern", reweight({0: 0.0}))])


def test_project_out_leaves_nothing_along_the_direction(any_tiny, prompts):
    direction = torch.randn(dims(any_tiny).d_model, generator=torch.Generator().manual_seed(1))
    out = run(
        any_tiny,
        prompts[0],
        [Intervention("resid_post.1", project_out(direction))],
        keep=["resid_post.1"],
    )
    assert (out.kept["resid_post.1"] @ direction).abs().max() < 1e-4


def test_a_latent_edit_keeps_the_error_term(any_tiny, prompts):
    W = torch.randn(dims(any_tiny).d_model, 7, generator=torch.Generator().manual_seed(1))
    encode, decode = lambda a: torch.relu(a @ W), lambda z: z @ W.T
    same = Intervention("mlp.1", latent(encode, decode, scale(1.0)))
    torch.testing.assert_close(
        run(any_tiny, prompts[0], [same]).logits, run(any_tiny, prompts[0]).logits, **CLOSE
    )
    off = run(
        any_tiny,
        prompts[0],
        [Intervention("mlp.1", latent(encode, decode, zero()))],
        keep=["mlp.1"],
    ).kept["mlp.1"]
    plain = run(any_tiny, prompts[0], keep=["mlp.1"]).kept["mlp.1"]
    torch.testing.assert_close(off, plain - decode(encode(plain)), **CLOSE)


def test_nothing_stays_hooked_after_an_exception(any_tiny, prompts):
    def count():
        return sum(len(h.fwd_hooks) for h in any_tiny.hook_dict.values())

    before, clean = count(), run(any_tiny, prompts[0]).logits

    class Oops(Exception):
        pass

    def broken(act, seen):
        raise Oops

    for error in (broken, lambda act, seen: (_ for _ in ()).throw(KeyboardInterrupt)):
        with pytest.raises((Oops, KeyboardInterrupt)):
            run(any_tiny, prompts[0], [Intervention("L1H1", error)])
    assert count() == before
    torch.testing.assert_close(run(any_tiny, prompts[0]).logits, clean, atol=0, rtol=0)


@pytest.mark.parametrize(
    "edit, says",
    [
        (Intervention("mlp.1", set_to(torch.zeros(5))), "does not fit an activation"),
        (Intervention("mlp.1", lambda a, s: a[:, :1]), "must keep"),
        (
            Intervention("mlp.0", lambda a, s: a, reads=("mlp.2",)),
            "comes later in the forward pass",
        ),
        (Intervention("resid_post.1", project_out(torch.ones(3))), "has 3 entries"),
        (Intervention("mlp.9", zero()), "layers 0 to 2"),
    ],
)
def test_a_wrong_edit_is_one_sentence(any_tiny, prompts, edit, says):
    with pytest.raises(ValueError, match=says):
        run(any_tiny, prompts[0], [edit])


@pytest.mark.parametrize(
    "tokens, says",
    [
        (torch.zeros(2, 3), "tokens must be ids"),
        (torch.zeros(0, dtype=torch.long), "empty"),
        (torch.full((1, 3), 10**6), "token ids must be 0 to"),
        (torch.zeros(1, 5000, dtype=torch.long), "at most"),
    ],
)
def test_wrong_tokens_are_one_sentence(any_tiny, tokens, says):
    with pytest.raises(ValueError, match=says):
        run(any_tiny, tokens)


def test_a_model_in_training_mode_is_refused(any_tiny, prompts):
    any_tiny.train()
    try:
        with pytest.raises(ValueError, match="model.eval()"):
            run(any_tiny, prompts[0])
    finally:
        any_tiny.eval()


def test_gradients_flow_to_what_an_edit_injects(any_tiny, prompts):
    vector = torch.zeros(dims(any_tiny).d_model, requires_grad=True)
    logits = run(
        any_tiny, prompts[0], [Intervention("resid_post.1@-1", lambda a, s: a + vector)], grad=True
    ).logits
    (gradient,) = torch.autograd.grad(logits[:, -1, 7].sum(), vector)
    nudge = 1e-3 * gradient / gradient.norm()
    moved = run(any_tiny, prompts[0], [Intervention("resid_post.1@-1", add(nudge))]).logits
    expected = run(any_tiny, prompts[0]).logits[:, -1, 7].sum() + (gradient * nudge).sum()
    torch.testing.assert_close(moved[:, -1, 7].sum(), expected, atol=2e-4, rtol=1e-4)
