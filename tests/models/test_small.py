"""Other people's small models give in every verb what TransformerLens' own hooks give on the
original.
"""

from functools import partial

import numpy as np
import pytest
import torch

import interp
from interp.models import bridge
from interp.models.small import kind_of

SIZES = dict(
    n_layers=2, d_model=16, d_head=8, n_heads=2, d_mlp=16, n_ctx=8, d_vocab=9, act_fn="relu",
    normalization_type="LN", device="cpu", seed=0,
)  # fmt: skip
VARIANTS = {
    "plain": {},
    "bidirectional": dict(attention_dir="bidirectional"),
    "attention only": dict(attn_only=True),
    "no norm": dict(normalization_type=None),
    "folded norm": dict(normalization_type="LNPre"),
    "rms": dict(normalization_type="RMS"),
    "short context": dict(n_ctx=5),
    "other outputs": dict(d_vocab_out=6),
    "gated": dict(gated_mlp=True, act_fn="silu"),
    "rotary": dict(positional_embedding_type="rotary", rotary_dim=8),
    "shared keys": dict(n_key_value_heads=1),
    "capped": dict(output_logits_soft_cap=5.0, attn_scores_soft_cap=2.0),
}


def original(kind, **options):
    """A HookedTransformer or a native bridge whose every weight is uneven."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.model_bridge import TransformerBridge

    if kind == "native":
        model = TransformerBridge.boot_native(SIZES | options)
    else:
        cfg = HookedTransformerConfig(**(SIZES | options))
        model = HookedTransformer(cfg, move_to_device=False)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.eval().parameters():
            p.requires_grad_(False).add_(0.5 * torch.randn(p.shape, generator=g))
    return model


@pytest.fixture(scope="module", params=["native", "hooked"])
def kind(request):
    return request.param


@pytest.fixture(scope="module", params=VARIANTS)
def pair(request, kind):
    """(the original, what it was loaded as)."""
    theirs = original(kind, **VARIANTS[request.param])
    assert kind_of(theirs) == kind
    return theirs, interp.load(theirs)


def a_task(model):
    """Prompts of five tokens that differ at the third, answered by two of them."""
    g = torch.Generator().manual_seed(1)
    clean = torch.randint(0, 6, (4, 5), generator=g)
    corrupted = clean.clone()
    corrupted[:, 2] = (corrupted[:, 2] + 1) % 6

    def words(ids):
        return [" ".join(f"t{i}" for i in row) for row in ids.tolist()]

    return interp.tasks.pairs(model, words(clean), words(corrupted), ["t1"] * 4, ["t2"] * 4)


def metric(task, logits):
    return (logits[:, -1, 1] - logits[:, -1, 2]).double()


class Theirs:
    """Patching with TransformerLens alone."""

    def __init__(self, model, task):
        self.model, self.task = model, task
        with torch.no_grad():
            _, self.clean = model.run_with_cache(task.clean)
            self.corrupted = metric(task, model(task.corrupted))

    def patched(self, name, index):
        """The change of the metric when [index] of a hook takes its value from the clean run."""

        def put(x, hook):
            x = x.clone()
            x[index] = self.clean[name].view(x.shape)[index]
            return x

        with torch.no_grad():
            logits = self.model.run_with_hooks(self.task.corrupted, fwd_hooks=[(name, put)])
        return float((metric(self.task, logits) - self.corrupted).mean())


def close(found, want):
    np.testing.assert_allclose(found, want, atol=2e-5 * max(1.0, np.abs(want).max()))


def test_patching_is_what_their_hooks_give(pair):
    theirs, model = pair
    task = a_task(model)
    hooks, length = Theirs(theirs, task), task.clean.shape[1]
    close(
        interp.patch(model, task, "resid_pre.*@*").values,
        [
            [hooks.patched(f"blocks.{layer}.hook_resid_pre", np.s_[:, p]) for p in range(length)]
            for layer in range(2)
        ],
    )
    close(
        interp.patch(model, task, "L*H*").values,
        [
            [hooks.patched(f"blocks.{layer}.attn.hook_z", np.s_[:, :, head]) for head in range(2)]
            for layer in range(2)
        ],
    )
    attn = [hooks.patched(f"blocks.{layer}.hook_attn_out", np.s_[:]) for layer in range(2)]
    close(interp.patch(model, task, "attn.*").values, attn)
    if theirs.cfg.attn_only:
        assert not interp.patch(model, task, "mlp.*").values.any()
    else:
        mlp = [hooks.patched(f"blocks.{layer}.hook_mlp_out", np.s_[:]) for layer in range(2)]
        close(interp.patch(model, task, "mlp.*").values, mlp)


def test_logits_and_attention_are_theirs(pair):
    theirs, model = pair
    task = a_task(model)
    with torch.no_grad():
        logits, cache = theirs.run_with_cache(task.clean)
    torch.testing.assert_close(interp.run(model, task).logits, logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        interp.run(model, task, last_only=True).logits, logits[:, -1], atol=1e-4, rtol=1e-4
    )
    kept = interp.run(model, task, keep=["L*H*.pattern"]).kept["L*H*.pattern"]
    want = torch.stack([cache[f"blocks.{layer}.attn.hook_pattern"] for layer in range(2)])
    torch.testing.assert_close(kept.transpose(1, 2), want, atol=1e-5, rtol=0)


def test_the_parts_of_the_stream_add_up_to_the_logits(pair):
    theirs, model = pair
    task = a_task(model)
    parts = [interp.logit_attribution(model, task, w) for w in ("embed", "attn.*", "mlp.*")]
    total = sum(p.examples.reshape(-1, len(task)).sum(0) for p in parts)
    out = interp.run(model, task, keep=["logits.in@-1"])
    x = out.kept["logits.in@-1"].double()
    # by hand: the same differences of logits without biases after the stream, and before a cap
    gain, bias = bridge.final_gain(model)
    W_U, b_U = bridge.unembedding(model)
    logits = bridge.final_norm(model, x.float()) @ W_U.T
    logits = logits - (0 if bias is None else bias @ W_U.T)
    close(total, (logits[:, 1] - logits[:, 2]).numpy())


@pytest.mark.parametrize("variant", ["bidirectional", "attention only", "capped"])
def test_paths_and_edges_add_up_to_what_patching_gives(kind, variant):
    model = interp.load(original(kind, **VARIANTS[variant]))
    task = a_task(model)
    whole = interp.patch(model, task, "L0H0").values
    every = ["L1H*.q_in", "L1KV*.k_in", "L1KV*.v_in", "mlp.*.in", "logits.in"]
    for through in ("none", "all"):
        close(interp.path_patch(model, task, "L0H0", every, through=through).values, whole)
    scores = interp.discover(model, task, method="exact")
    every_edge = int(np.isfinite(scores.values).sum())
    kept = interp.evaluate(model, task, interp.Circuit.top(scores, every_edge))
    np.testing.assert_allclose(float(kept.sel(measure="faithfulness").values), 1.0, atol=1e-4)
    assert np.isfinite(interp.discover(model, task, method="eap").values).any()


def test_knocking_out_is_masking_their_scores(pair):
    theirs, model = pair
    if kind_of(theirs) == "native":  # no hook there changes the attention
        return
    task = a_task(model)
    found = interp.attention_knockout(model, task, "END", "2", window=1)

    def block(scores, hook):
        scores = scores.clone()
        scores[:, :, -1, 2] = torch.finfo(scores.dtype).min
        return scores

    with torch.no_grad():
        clean = metric(task, theirs(task.clean))
        for layer in range(2):
            hook = [(f"blocks.{layer}.attn.hook_attn_scores", block)]
            cut = metric(task, theirs.run_with_hooks(task.clean, fwd_hooks=hook))
            close(found.values[layer], float((cut - clean).mean()))


def test_in_a_bidirectional_model_nothing_is_skipped_before_the_first_difference(kind):
    theirs = original(kind, attention_dir="bidirectional")
    model = interp.load(theirs)
    task = a_task(model)
    assert not bridge.causal(model)
    assert np.abs(interp.patch(model, task, "resid_pre.1@*").values).min() > 1e-4
    trace = interp.causal_trace(model, task, "resid_pre.1@*", subject=("END", "END"), samples=1)
    assert np.abs(trace.values).min() > 1e-4
    paths = interp.path_patch(model, task, "L0H0@0", "logits.in", through="all")
    close(paths.values, interp.patch(model, task, "L0H0@0").values)
    ahead = interp.attention_knockout(model, task, "0", "END", window=1)  # a look ahead
    assert np.abs(ahead.values).max() > 1e-4
    moved = interp.discover(model, task, method="magnitude")
    assert np.nanmax(moved.values) > 0


def test_a_change_of_the_original_is_followed_or_refused(kind):
    theirs = original(kind)
    model = interp.load(theirs)
    task = a_task(model)
    before = interp.patch(model, task, "L*H*")
    with torch.no_grad():
        next(p for n, p in theirs.named_parameters() if "mlp" in n).mul_(2.0)
    if kind == "hooked":
        with pytest.raises(ValueError, match="changed since they were copied"):
            interp.patch(model, task, "L*H*")
    else:
        after = interp.patch(model, task, "L*H*").values
        assert np.abs(after - before.values).max() > 1e-5
        close(after, interp.patch(interp.load(theirs), task, "L*H*").values)


def test_their_names_work_on_the_loaded_model(pair):
    theirs, model = pair
    tokens = torch.arange(5)[None]
    with torch.no_grad():
        _, mine = model.run_with_cache(tokens)
        _, cache = theirs.run_with_cache(tokens)
    for name in ("blocks.1.hook_resid_pre", "blocks.1.hook_resid_post", "blocks.0.attn.hook_z"):
        torch.testing.assert_close(
            mine[name], cache[name].view(mine[name].shape), atol=1e-4, rtol=1e-4
        )
    zero = [("blocks.1.hook_attn_out", lambda x, hook: x * 0)]
    with torch.no_grad():
        torch.testing.assert_close(
            model.run_with_hooks(tokens, fwd_hooks=zero),
            theirs.run_with_hooks(tokens, fwd_hooks=zero),
            atol=1e-4,
            rtol=1e-4,
        )


@pytest.mark.parametrize("nested", [False, True])
def test_a_file_of_weights_and_its_configuration_open_in_two_lines(kind, nested, tmp_path):
    theirs = original(kind, attn_only=True)
    weights = theirs.state_dict()
    torch.save({"state_dict": weights} if nested else weights, tmp_path / "course.pt")
    model = interp.load(tmp_path / "course.pt", config={**SIZES, "attn_only": True})
    tokens = torch.arange(5)[None]
    with torch.no_grad():
        want = theirs(tokens)
    torch.testing.assert_close(interp.run(model, tokens).logits, want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "call, says",
    [
        (partial(interp.load, "course.pt"), r"weights alone.*config=\{"),
        (partial(interp.load, "nobody.pt", config=SIZES), "no such file"),
        (partial(interp.load, config=SIZES | {"n_layers": 3}), "has no "),
        (partial(interp.load, config=SIZES | {"d_model": 8}), "size mismatch"),
        (
            partial(interp.load, config=SIZES | {"n_layers": 10**6}),
            "n_layers=1000000, and it holds",
        ),
        (partial(interp.load, config=SIZES | {"n_ctx": 10**9}), "n_ctx=1000000000, and it holds"),
    ],
)
def test_wrong_files_are_one_sentence(call, says, tmp_path):
    torch.save(original("hooked").state_dict(), tmp_path / "course.pt")
    call = call if call.args else partial(call, tmp_path / "course.pt")
    with pytest.raises(ValueError, match=says):
        call()


def test_what_a_small_model_has_that_we_do_not_is_named():
    theirs = original("hooked", act_fn="solu_ln")
    with pytest.raises(ValueError, match="act_fn='solu_ln'.*cannot be read"):
        interp.load(theirs)
