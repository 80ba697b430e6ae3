"""Small transformers: each part against its formula, hooks on against hooks off, and the toolkit's
identities.
"""

import math

import pytest
import torch

import interp
from interp import toys
from interp.edits import set_to
from interp.interventions import Intervention, run
from interp.toys.model.spec import ATTENTION

SMALL = dict(d_vocab=12, n_layers=2, n_heads=4, d_model=16, n_ctx=10)
TOKENS = torch.randint(0, 12, (3, 7), generator=torch.Generator().manual_seed(0))
VARIANTS = {
    **{kind: {"attention": kind} for kind in ATTENTION},
    "mixed": {"attention": ["relu", "none"], "mlp": [0, 24]},
    "mlp": {"mlp": 24, "act": "gelu"},
    "rms": {"norm": "rms", "mlp": 24},
    "bare": {"norm": "none", "positions": "none", "tied": True},
    "rotary": {"positions": "rotary", "qk_norm": True},
    "grouped": {"n_kv_heads": 2, "bias": True},
    "key": {"key_bias": True, "value_bias": True, "n_kv_heads": 2},
    "sigmoid key": {"key_bias": True, "attention": "sigmoid_norm"},
}


def shaken(net, seed=1):
    """The net with every learned weight moved, so that no bias is zero and no gain one."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            if p.requires_grad:
                p.add_(0.3 * torch.randn(p.shape, generator=g))
    return net


def made(**options):
    from interp.toys.model.transformer import wrapped

    return wrapped(shaken(toys.net(**{**SMALL, **options})), "toy")


@pytest.fixture(scope="module")
def model():
    return made(mlp=24)


@pytest.fixture(scope="module")
def task(model):
    return interp.tasks.induction(made(d_vocab=24), n=3, length=4)


# --- parts against their formulas -----------------------------------------------------------------


def by_hand(kind, scores, static):
    """The weights of one query from its scores: plain numbers, nothing shared with the module."""
    n = len(scores)
    if kind in ("softmax", "static"):
        use = scores if kind == "softmax" else static
        each = [math.exp(s) for s in use]
        return [e / sum(each) for e in each]
    sigmoid = [1 / (1 + math.exp(-s)) for s in scores]
    return {
        "relu": [max(s, 0) / n for s in scores],
        "sigmoid": sigmoid,
        "linear": scores,
        "none": [0.0] * n,
        "sigmoid_norm": [s / sum(sigmoid) for s in sigmoid],
        "uniform": [1 / n] * n,
    }[kind]


@pytest.mark.parametrize("kind", ATTENTION)
def test_attention_is_its_formula(kind):
    toy = made(attention=kind, n_layers=1)
    seen = run(toy, TOKENS, keep=["L0H2.pattern", "L0H2.q", "L0KV2.k", "L0KV2.v", "L0H2.z"]).kept
    attn = toy.blocks[0].attn
    for b in range(2):
        for at in range(7):
            scores = [
                float(seen["L0H2.q"][b, at] @ seen["L0KV2.k"][b, s]) / math.sqrt(4)
                for s in range(at + 1)
            ]
            static = attn.static[2, at, : at + 1].tolist() if kind == "static" else None
            expected = torch.tensor(by_hand(kind, scores, static))
            torch.testing.assert_close(
                seen["L0H2.pattern"][b, at, : at + 1], expected, atol=1e-5, rtol=1e-4
            )
            assert not seen["L0H2.pattern"][b, at, at + 1 :].any()
            z = expected @ seen["L0KV2.v"][b, : at + 1]
            torch.testing.assert_close(seen["L0H2.z"][b, at], z, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_hooks_change_no_number(variant):
    net = shaken(toys.net(**{**SMALL, **VARIANTS[variant]}))
    plain = net(TOKENS).detach()
    from interp.toys.model.transformer import wrapped

    toy = wrapped(net, "toy")
    every = [name for name in toy.hook_dict]
    seen = {}
    hooks = [(name, lambda t, hook: seen.__setitem__(hook.name, t.shape)) for name in every]
    torch.testing.assert_close(
        toy.run_with_hooks(TOKENS, fwd_hooks=hooks), plain, atol=1e-5, rtol=1e-4
    )
    assert set(seen) == set(every)  # each place is passed
    assert torch.equal(toy(TOKENS), plain)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_are_the_same_with_hooks(variant):
    net = shaken(toys.net(**{**SMALL, **VARIANTS[variant]}))

    def slopes():
        net.zero_grad()
        net(TOKENS).logsumexp(-1).sum().backward()
        return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}

    plain = slopes()
    for place in [m for n, m in net.named_modules() if "hook_" in n]:
        place.register_forward_hook(lambda m, a, out: None)
    for name, slope in slopes().items():
        torch.testing.assert_close(
            slope, plain.get(name, torch.zeros_like(slope)), atol=1e-4, rtol=1e-3
        )


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_are_made_where_they_are_asked_for_alone(variant):
    net = shaken(toys.net(**{**SMALL, **VARIANTS[variant]}))
    whole = net(TOKENS)
    for places in ([6], [1, 4], range(7)):  # the last one alone has a way of its own
        where = torch.zeros(3, 7, dtype=torch.bool)
        where[:, list(places)] = True
        torch.testing.assert_close(net.logits_at(TOKENS, where), whole[where], atol=1e-5, rtol=1e-4)


def test_rotary_scores_depend_on_the_distance_alone():
    toy = made(positions="rotary", n_layers=1)
    scores = run(toy, torch.full((1, 6), 5), keep=["L0H1.scores"]).kept["L0H1.scores"][0]
    for back in range(3):
        torch.testing.assert_close(
            scores.diagonal(-back), scores[back, 0].expand(6 - back), atol=1e-5, rtol=1e-4
        )
    assert not torch.isclose(scores[3, 3], scores[3, 2])


def test_query_key_norms_forget_the_size():
    net = toys.net(**SMALL, qk_norm=True)
    before = net(TOKENS).detach()
    with torch.no_grad():
        net.blocks[0].attn.q.weight.mul_(7.0)
    torch.testing.assert_close(net(TOKENS).detach(), before, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_query_key_norms_bound_the_scores(positions):
    toy = made(positions=positions, qk_norm=True, n_layers=1)
    attn = toy.blocks[0].attn
    with torch.no_grad():
        attn.q.weight.mul_(1e4)
        attn.gain_q.fill_(3.0)
        attn.gain_k.fill_(1.0)
        seen = run(toy, TOKENS, keep=["L0H*.scores"]).kept["L0H*.scores"]
    largest = seen[seen > -torch.inf].abs().max()
    assert 0.5 < largest / (3 * attn.spec.d_head**0.5) < 1.0001  # |q| |k| / sqrt(d_head)


def test_a_key_without_a_token_draws_attention_to_its_value():
    toy = made(key_bias=True, value_bias=True, n_layers=1)
    attn = toy.blocks[0].attn
    seen = run(
        toy, TOKENS, keep=["L0H1.q", "L0H1.scores", "L0H1.pattern", "L0H1.z", "L0KV1.v"]
    ).kept
    extra = (seen["L0H1.q"] @ attn.key[1] / 2)[..., None]
    weights = torch.cat([seen["L0H1.scores"], extra], -1).softmax(-1)
    torch.testing.assert_close(seen["L0H1.pattern"], weights[..., :-1], atol=1e-5, rtol=1e-4)
    z = seen["L0H1.pattern"] @ seen["L0KV1.v"] + weights[..., -1:] * attn.value[1]
    torch.testing.assert_close(seen["L0H1.z"], z, atol=1e-5, rtol=1e-4)


def test_a_key_bias_has_no_value_unless_it_is_asked_for():
    net = toys.net(**SMALL, key_bias=True)
    assert not net.blocks[0].attn.value.requires_grad and not net.blocks[0].attn.value.any()


def test_shared_keys_are_the_same_keys_given_twice():
    few, many = toys.net(**SMALL, n_kv_heads=2), toys.net(**SMALL)
    weights = dict(few.named_parameters())
    with torch.no_grad():
        for name, p in many.named_parameters():
            given = weights[name]
            if ".attn.k." in name or ".attn.v." in name:
                given = given.unflatten(0, (2, 4)).repeat_interleave(2, 0).flatten(0, 1)
            p.copy_(given)
    torch.testing.assert_close(few(TOKENS), many(TOKENS), atol=1e-5, rtol=1e-4)


def test_two_factors_are_their_product():
    options = dict(
        d_vocab=12,
        n_layers=1,
        d_model=12,
        n_ctx=8,
        attention="linear",
        positions="none",
        norm="none",
        embed="identity",
        tied=True,
        attention_scale=1.0,
    )
    factors = toys.net(**options, identity=("K",))
    whole = toys.net(**options, identity=("K", "V"))
    with torch.no_grad():
        whole.blocks[0].attn.q.weight.copy_(factors.blocks[0].attn.q.weight)
        whole.blocks[0].attn.o.weight.copy_(
            factors.blocks[0].attn.o.weight @ factors.blocks[0].attn.v.weight
        )
    torch.testing.assert_close(whole(TOKENS), factors(TOKENS), atol=1e-4, rtol=1e-4)
    learned = {name for name, p in whole.named_parameters() if p.requires_grad}
    assert {n for n in learned if "attn" in n} == {
        "blocks.0.attn.q.weight",
        "blocks.0.attn.o.weight",
    }
    assert not any("embed" in n for n in learned)  # one-hot, and the unembedding is the same matrix


def test_one_hot_tokens_are_their_own_vectors():
    toy = toys.transformer(
        d_vocab=12, n_layers=1, d_model=12, embed="identity", positions="none", n_ctx=8
    )
    assert torch.equal(
        run(toy, TOKENS, keep=["embed"]).kept["embed"],
        torch.nn.functional.one_hot(TOKENS, 12).float(),
    )


def test_vectors_in_place_of_tokens():
    toy = toys.transformer(d_vocab=5, d_in=9, d_model=16, n_ctx=6)
    x = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(0))
    seen = run(toy, x, keep=["embed", "L1H0.pattern"])
    assert seen.logits.shape == (2, 4, 5) and seen.kept["L1H0.pattern"].shape == (2, 4, 4)
    for wrong in (x[..., :8], TOKENS, torch.zeros(2, 7, 9)):
        with pytest.raises(ValueError, match="vectors"):
            run(toy, wrong)


def test_a_seed_gives_the_same_weights_and_draws_from_nobody_else():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    a, b, c = (toys.net(**SMALL, attention="static", mlp=8, bias=True, seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    d = toys.net(**SMALL, attention="none", mlp=8)
    torch.manual_seed(5)
    e = toys.net(**SMALL, attention="none", mlp=8)

    def same(x, y):
        return all(torch.equal(p, q) for p, q in zip(x.parameters(), y.parameters()))

    assert same(a, b) and same(d, e) and not same(a, c)


# --- the toolkit's identities ---------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_stream_is_the_sum_of_what_is_written(variant):
    toy = made(**{**VARIANTS[variant], "bias": False})
    seen = run(toy, TOKENS, keep=["embed", "L*H*", "mlp.*", "logits.in"]).kept
    total = seen["embed"] + seen["L*H*"].sum((0, 1)) + seen["mlp.*"].sum(0)
    torch.testing.assert_close(total, seen["logits.in"], atol=1e-4, rtol=1e-4)


def test_setting_a_place_to_its_own_value_changes_nothing(model):
    places = [
        "L*H*",
        "L*H*.q",
        "L*KV*.k",
        "L*KV*.v",
        "L*H*.z",
        "L*H*.pattern",
        "L*H*.scores",
        "L*H*.q_in",
        "L*KV*.v_in",
        "mlp.*",
        "mlp.*.post",
        "resid_mid.*",
        "resid_post.*",
        "logits.in",
    ]
    before = run(model, TOKENS)
    for pattern in places:
        sites = interp.sites.expand(pattern, interp.models.bridge.dims(model)).sites
        kept = run(model, TOKENS, keep=list(map(str, sites))).kept
        after = run(model, TOKENS, [Intervention(s, set_to(kept[str(s)])) for s in sites]).logits
        torch.testing.assert_close(after, before.logits, atol=1e-4, rtol=1e-4, msg=pattern)


def test_an_empty_mlp_has_an_address_and_no_effect(task):
    toy = made(d_vocab=24)
    found = interp.discover(toy, task, method="exact")
    mlps = [i for i, s in enumerate(found.coords["sender"]) if s.startswith("mlp")]
    real = [i for i, r in enumerate(found.coords["receiver"]) if not r.startswith("mlp")]
    import numpy as np

    assert np.nanmax(np.abs(found.values[mlps])) < 1e-5
    assert np.nanmax(np.abs(found.values[:, real])) > 1e-3


def test_the_verbs_run_on_a_toy(task):
    toy = made(d_vocab=24, mlp=24, attention="sigmoid")
    whole = interp.patch(
        toy, task, "resid_pre.0"
    )  # the whole clean stream in the corrupted run is the clean run
    clean, corrupted = (
        task.metric(run(toy, tokens, last_only=True).logits)
        for tokens in (task.clean, task.corrupted)
    )
    torch.testing.assert_close(
        torch.tensor(float(whole.values)),
        (clean - corrupted).double().mean().float(),
        atol=1e-4,
        rtol=1e-4,
    )
    assert interp.ablate(toy, task, "L*H*").values.shape == (2, 4)
    assert interp.logit_lens(toy, task).values.shape == (2,)
    assert interp.attention_patterns(toy, task, "L1H0").values.shape == (task.clean.shape[1],) * 2
    assert interp.discover(toy, task, method="eap").top(3)


def test_words_label_the_tokens():
    toy = toys.transformer(d_vocab=3, words=["stop", "lives in", "b"], n_layers=1, n_ctx=4)
    assert [toy.tokenizer.decode([i]) for i in range(3)] == ["stop", "lives_in", "b"]
    assert toy.tokenizer("b lives_in nowhere").input_ids == [
        2,
        1,
        3,
    ]  # what it does not know is no token of the model's
    with pytest.raises(ValueError, match="token ids must be 0 to 2"):
        run(toy, [[2, 1, 3]])


def test_no_norm_divides_by_one(model):
    from interp.models import bridge

    toy = made(norm="none")
    x = torch.randn(2, 16)
    assert bridge.dims(toy).norm == "none" and torch.equal(
        bridge.final_scale(toy, x), torch.ones(2, 1)
    )
    assert torch.equal(bridge.final_norm(toy, x), x)
    ln = made()
    torch.testing.assert_close(
        bridge.final_scale(ln, x), (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    )


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, says",
    [
        ({"attention": "sigmoid_nrom"}, "did you mean 'sigmoid_norm'"),
        ({"norm": "batch"}, "unknown norm 'batch'"),
        ({"n_head": 2}, "did you mean 'n_heads'"),
        ({"n_heads": 3}, "d_model=16 is not a multiple of n_heads=3"),
        ({"n_kv_heads": 3}, "n_heads=4 is not a multiple of n_kv_heads=3"),
        ({"attention": ["relu"]}, "one for each"),
        ({"positions": "rotary", "d_head": 3}, "d_head=3 must be even"),
        ({"identity": ("K",)}, "say n_heads=1"),
        ({"embed": "identity"}, "d_model=16 should be 12"),
        ({"key_bias": True, "attention": "uniform"}, "'uniform' does not"),
        ({"value_bias": True}, "needs key_bias"),
        ({"n_layers": 0}, "a whole number from 1 to"),
        ({"n_layers": 10**9}, "n_layers=1000000000: a whole number from 1 to 1,000"),
        ({"d_head": -1}, "d_head=-1: a whole number"),
        ({"mlp": -3}, "each a whole number from 0"),
        ({"init_scale": float("nan")}, "init_scale=nan: a finite number"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(options, says):
    with pytest.raises(ValueError, match=says):
        toys.net(**{**SMALL, **options})


def test_sizes_are_asked_for():
    with pytest.raises(ValueError, match="needs d_vocab"):
        toys.net(n_layers=1)


@pytest.mark.parametrize("more", [{}, {"bias": True, "mlp_bias": False, "act": "gelu"}])
def test_as_gpt_neox_it_is_the_same_model_and_the_engine_runs_it(more):
    net = shaken(toys.net(**SMALL, mlp=24, positions="rotary", **more))
    model = toys.gpt_neox(net, name="mine", bos=3)
    with torch.no_grad():
        torch.testing.assert_close(run(model, TOKENS).logits, net(TOKENS), atol=2e-5, rtol=1e-4)
    assert interp.models.bridge.name(model) == "mine" and model.tokenizer.decode([3]) == "<bos>"
    assert interp.engine.find(model) is not None


@pytest.mark.parametrize(
    "option, says",
    [
        ({"positions": "learned"}, "positions='learned': GPT-NeoX has positions='rotary'"),
        ({"mlp": [0, 24]}, "an MLP of one width"),
        ({"attention": "relu"}, "softmax in every layer"),
        ({"n_kv_heads": 2}, "as many of keys"),
    ],
)
def test_what_gpt_neox_has_not_is_one_sentence(option, says):
    net = toys.net(**{**SMALL, "mlp": 24, "positions": "rotary", **option})
    with pytest.raises(ValueError, match=says):
        toys.gpt_neox(net)
