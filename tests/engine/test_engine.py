"""The engine against the slow way: one full forward of the plain Hugging Face model per edit, with
torch hooks.
"""

import pytest
import torch

from interp import engine as E

torch.set_num_threads(1)
VOCAB, BATCH, LENGTH = 61, 3, 7
ARCHS = ("llama", "gpt2", "neox", "neox-sequential")
EVERY = tuple(k for k in E.KINDS if k != "resid_mid")


def make(arch):
    import transformers as t

    torch.manual_seed(0)
    same = dict(vocab_size=VOCAB, initializer_range=0.2, attn_implementation="eager")
    body = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4)
    if arch == "llama":
        config = t.LlamaConfig(num_key_value_heads=2, max_position_embeddings=64, **body, **same)
        model = t.LlamaForCausalLM(config)
    elif arch == "gpt2":
        model = t.GPT2LMHeadModel(
            t.GPT2Config(n_embd=32, n_layer=3, n_head=4, n_positions=64, **same)
        )
    else:
        config = t.GPTNeoXConfig(
            max_position_embeddings=64,
            use_parallel_residual=arch == "neox",
            rotary_pct=0.25,
            **body,
            **same,
        )
        model = t.GPTNeoXForCausalLM(config)
    for p in model.parameters():  # biases and gains that matter
        if p.ndim == 1:
            p.data += 0.2 * torch.randn_like(p)
    return model.eval()


@pytest.fixture(scope="module", params=ARCHS)
def case(request):
    model = make(request.param)
    gen = torch.Generator().manual_seed(1)
    base = torch.randint(VOCAB, (BATCH, LENGTH), generator=gen)
    middle, start = base.clone(), torch.randint(VOCAB, (BATCH, LENGTH), generator=gen)
    middle[:, 3:] = start[:, 3:]
    start[:, 0] = (base[:, 0] + 1) % VOCAB
    return request.param, model, base, {"middle": middle, "start": start}


# --- the slow way: each kind as a torch hook on the plain model -----------------------------------


def parts(arch, model):
    """The blocks, and the names of attention, MLP, and their output projections."""
    if arch == "llama":
        return model.model.layers, "self_attn", "mlp", "self_attn.o_proj", "mlp.down_proj"
    if arch == "gpt2":
        return model.transformer.h, "attn", "mlp", "attn.c_proj", "mlp.c_proj"
    return model.gpt_neox.layers, "attention", "mlp", "attention.dense", "mlp.dense_4h_to_h"


def place(arch, model, kind, layer):
    """(module, "in" or "out", view of the tensor as [batch pos head d_head] or itself) of a kind in
    the model.
    """
    blocks, attn, mlp, out, down = parts(arch, model)
    block, heads = blocks[layer], lambda x, n=4: x.view(*x.shape[:2], n, -1)

    def whole(x):
        return x

    if kind in ("q", "k", "v") and arch == "llama":
        return (
            block.get_submodule(f"self_attn.{kind}_proj"),
            "out",
            lambda x: heads(x, 4 if kind == "q" else 2),
        )
    if kind in ("q", "k", "v"):
        i = "qkv".index(kind)
        if arch == "gpt2":
            return block.attn.c_attn, "out", lambda x: x.view(*x.shape[:2], 3, 4, 8)[:, :, i]
        return (
            block.attention.query_key_value,
            "out",
            lambda x: x.view(*x.shape[:2], 4, 3, 8)[:, :, :, i],
        )
    return {
        "resid_pre": (block, "in", whole),
        "resid_post": (block, "out", whole),
        "attn_out": (block.get_submodule(attn), "out", whole),
        "mlp_out": (block.get_submodule(mlp), "out", whole),
        "z": (block.get_submodule(out), "in", heads),
        "post": (block.get_submodule(down), "in", whole),
    }[kind]


def hooked(arch, model, tokens, sites, act):
    """Logits at END, with act(i, tensor view) called at each site (kind, layer); a clone is edited
    in place.
    """
    handles = []
    for i, (kind, layer) in enumerate(sites):
        module, where, view = place(arch, model, kind, layer)
        if where == "in":

            def before(_, args, kwargs, i=i, view=view):
                x = (args[0] if args else kwargs["hidden_states"]).clone()
                act(i, view(x))
                return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x})

            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        else:

            def after(_, args, output, i=i, view=view):
                first = output[0] if isinstance(output, tuple) else output
                x = first.clone()
                act(i, view(x))
                return (x, *output[1:]) if isinstance(output, tuple) else x

            handles.append(module.register_forward_hook(after))
    try:
        with torch.no_grad():
            return model(tokens).logits[:, -1]
    finally:
        for handle in handles:
            handle.remove()


def seen(arch, model, tokens, kind, layer):
    got = {}
    hooked(arch, model, tokens, [(kind, layer)], lambda i, x: got.update(x=x.clone()))
    return got["x"]


def slow(arch, model, base, source, patches):
    sites = [(p.kind, p.layer) for p in patches]
    values = [seen(arch, model, source, *site) if source is not None else None for site in sites]

    def act(i, x):
        patch, new = patches[i], torch.zeros_like(x) if values[i] is None else values[i]
        if patch.index is not None:
            x, new = x[:, :, patch.index], new[:, :, patch.index]
        pos = patch.pos
        if isinstance(pos, torch.Tensor):
            for b in range(BATCH):
                x[b, pos[b]] = new[b, pos[b]]
        else:
            at = slice(None) if pos is None else pos
            x[:, at] = new[:, at]

    return hooked(arch, model, base, sites, act)


def close(ours, theirs):
    scale = theirs.abs().max()
    assert (ours - theirs).abs().max() < 1e-5 * scale, float((ours - theirs).abs().max() / scale)


def logits_of(engine):
    return E.vocab(engine, lambda logits: logits)


# --- parity ---------------------------------------------------------------------------------------


def test_logits_equal_the_models(case):
    arch, model, base, _ = case
    engine = E.build(model)
    assert E.parity(engine, model, base) < 1e-5
    assert E.why_not(model) is None
    with torch.no_grad():
        close(E.run(engine, base, logits="all").logits, model(base).logits)


@pytest.mark.parametrize(
    "kind", ["resid_pre", "resid_post", "attn_out", "mlp_out", "z", "post", "q", "k", "v"]
)
def test_what_a_run_keeps_is_what_the_model_computes(case, kind):
    arch, model, base, _ = case
    run = E.run(E.build(model), base, keep=(kind,), logits=None)
    for layer in range(3):
        close(run[kind][layer], seen(arch, model, base, kind, layer))


def test_a_run_from_the_first_difference_on_is_the_end_of_the_whole_run(case):
    _, model, tokens, sources = case
    engine = E.build(model)
    base = E.run(engine, tokens, keep=("k", "v"))
    whole = E.run(engine, sources["middle"], keep=E.EDGES)
    end = E.run(engine, sources["middle"], keep=E.EDGES, base=base, first=3)
    close(end.logits, whole.logits)
    for kind in E.EDGES:
        for layer in range(3):
            close(end[kind][layer], whole[kind][layer][:, 3:])
    with pytest.raises(ValueError, match="first=3 needs base="):
        E.run(engine, tokens, first=3)
    with pytest.raises(ValueError, match="first=3 needs base="):
        E.run(engine, tokens, base=E.run(engine, tokens, keep=("z",)), first=3)


def test_patterns_are_the_models(case):
    arch, model, base, _ = case
    run = E.run(E.build(model), base, keep=("pattern", "scores"))
    with torch.no_grad():
        theirs = model(base, output_attentions=True).attentions
    for layer in range(3):
        close(run["pattern"][layer], theirs[layer])
        assert torch.equal(run["scores"][layer].softmax(-1), run["pattern"][layer])


def test_weights_are_views(case):
    _, model, base, _ = case
    engine = E.build(model)
    owned = {p.data_ptr() for p in model.parameters()}
    for layer in engine.layers:
        for part in (*layer.qkv, layer.out, *layer.up, layer.down):
            assert part.weight.data_ptr() in owned


# --- sweeps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["resid_pre", "resid_post", "attn_out", "mlp_out", "z", "post", "q", "k", "v"]
)
@pytest.mark.parametrize("where", ["middle", "start"])
def test_every_kind_equals_the_slow_way(case, kind, where):
    arch, model, tokens, sources = case
    engine = E.build(model)
    base = E.run(engine, tokens)
    source = E.run(engine, sources[where], keep=(kind,), logits=None)
    indices = {"post": (None, 5), "z": (None, 0, 3), "q": (None, 2)}.get(
        kind, (None, 1) if kind in "kv" else (None,)
    )
    each = torch.tensor([3, 5, 6])
    patches = [
        E.Patch(kind, l, i, p) for l in range(3) for i in indices for p in (None, 0, 4, -1, each)
    ]
    ours = E.sweep(engine, base, source, patches, logits_of(engine))
    for patch, mine in zip(patches, ours, strict=True):
        close(mine, slow(arch, model, tokens, sources[where], [patch]))


def test_resid_mid_by_hand(case):
    # replacing resid_mid = replacing what attention adds by (new resid_mid - resid_pre)
    arch, model, tokens, sources = case
    engine = E.build(model)
    base = E.run(engine, tokens, keep=("resid_pre", "k", "v"))
    if engine.parallel:
        with pytest.raises(ValueError, match="no resid_mid"):
            E.sweep(engine, base, base, [E.Patch("resid_mid", 1)], E.residual())
        return
    source = E.run(engine, sources["start"], keep=("resid_mid",))
    for pos in (None, 2):
        added = {
            "attn_out": [m - p for m, p in zip(source["resid_mid"], base["resid_pre"], strict=True)]
        }
        mid = E.sweep(
            engine, base, source, [E.Patch("resid_mid", l, pos=pos) for l in range(3)], E.residual()
        )
        out = E.sweep(
            engine, base, added, [E.Patch("attn_out", l, pos=pos) for l in range(3)], E.residual()
        )
        close(mid, out)


def test_patterns_and_scores_act_through_z(case):
    arch, model, tokens, sources = case
    engine = E.build(model)
    base = E.run(engine, tokens, keep=("resid_pre", "k", "v", "pattern"))
    source = E.run(engine, sources["start"], keep=("pattern", "scores"))
    v = [x.repeat_interleave(engine.group, 2) for x in base["v"]]
    z = {
        "z": [
            torch.einsum("bhds,bshe->bdhe", p, x) for p, x in zip(source["pattern"], v, strict=True)
        ]
    }
    for pos in (None, 4):
        cells = [(l, h) for l in range(3) for h in (None, 0, 3)]
        want = E.sweep(engine, base, z, [E.Patch("z", l, h, pos) for l, h in cells], E.residual())
        for kind in ("pattern", "scores"):
            close(
                E.sweep(
                    engine, base, source, [E.Patch(kind, l, h, pos) for l, h in cells], E.residual()
                ),
                want,
            )


def test_before_the_first_difference_nothing_changes(case):
    _, model, tokens, sources = case
    engine = E.build(model)
    base, source = (E.run(engine, t, E.SWEEP) for t in (tokens, sources["middle"]))
    cells = [E.Patch("resid_pre", l, pos=p) for l in range(3) for p in range(3)]
    read = E.columns(engine, torch.tensor([1, 2]))
    baseline = read(engine.final_norm(base.resid[:, -1])[None])[0]
    got = E.sweep(engine, base, source, cells, read)
    assert torch.equal(got, got[:1].expand_as(got))  # not one of them was run
    close(got[0], baseline)
    # computed in full, they are the baseline too
    close(E.sweep(engine, base, source, cells, read, first=0), got)


def test_patching_everything_gives_the_source(case):
    _, model, tokens, sources = case
    engine = E.build(model)
    base, source = (E.run(engine, t, E.SWEEP) for t in (tokens, sources["start"]))
    close(
        E.sweep(engine, base, source, [E.Patch("resid_pre", 0)], logits_of(engine))[0],
        source.logits,
    )


def test_several_patches_in_one_run(case):
    arch, model, tokens, sources = case
    engine = E.build(model)
    base, source = (E.run(engine, t, (*E.SWEEP, "mlp_out")) for t in (tokens, sources["middle"]))
    P = E.Patch
    rows = [
        [P("z", 2, 1), P("z", 0, 3)],
        [],
        [P("z", 1, 0), P("z", 1, 1, -1), P("mlp_out", 0, pos=4)],
        [P("resid_pre", 0), P("k", 1, 0, 5)],
        [P("z", l, h) for l in range(3) for h in range(4)],
    ]
    ours = E.sweep(engine, base, source, rows, logits_of(engine))
    for row, mine in zip(rows, ours, strict=True):
        close(mine, slow(arch, model, tokens, sources["middle"], row))


def test_ablating_sets_of_heads(case):
    arch, model, tokens, _ = case
    engine = E.build(model)
    base = E.run(engine, tokens)
    sets = [{(0, 1), (2, 3)}, set(), {(1, 0), (1, 2)}]
    ours = E.ablate_sets(engine, base, E.zeros(engine, "z"), sets, logits_of(engine))
    for chosen, mine in zip(sets, ours, strict=True):
        close(
            mine, slow(arch, model, tokens, None, [E.Patch("z", l, h) for l, h in sorted(chosen)])
        )


def test_a_mean_broadcasts(case):
    _, model, tokens, _ = case
    engine = E.build(model)
    base = E.run(engine, tokens, E.SWEEP)
    mean = [z.mean(0) for z in base["z"]]
    patches = [E.Patch("z", l, h) for l in range(3) for h in range(4)]
    thin = E.sweep(engine, base, {"z": mean}, patches, E.residual())
    full = E.sweep(
        engine, base, {"z": [m.expand(BATCH, -1, -1, -1) for m in mean]}, patches, E.residual()
    )
    assert torch.equal(thin, full)


def test_chunks_do_not_change_the_numbers(case):
    _, model, tokens, sources = case
    engine = E.build(model)
    base, source = (E.run(engine, t, E.SWEEP) for t in (tokens, sources["start"]))
    patches = [E.Patch("z", l, h, p) for l in (2, 0, 1) for h in range(4) for p in (None, 3)]
    ticks = []
    small = E.sweep(
        engine, base, source, patches, E.residual(), budget=40_000, tick=lambda *d: ticks.append(d)
    )
    close(small, E.sweep(engine, base, source, patches, E.residual()))
    assert ticks[-1] == (24, 24) and len(ticks) > 2


def test_from_layer(case):
    _, model, tokens, sources = case
    engine = E.build(model)
    base, source = (E.run(engine, t, E.SWEEP) for t in (tokens, sources["middle"]))
    for layer, first in ((0, 3), (1, 0), (2, 6)):
        want = E.sweep(
            engine,
            base,
            source,
            [[E.Patch("resid_pre", layer, pos=p) for p in range(first, LENGTH)]],
            E.residual(),
        )
        close(
            E.from_layer(engine, base, layer, source["resid_pre"][layer][None, :, first:], first),
            want,
        )
    ended = E.from_layer(engine, base, 3, base.resid[None])[0]
    close(ended, engine.final_norm(base.resid[:, -1]))
    with pytest.raises(ValueError, match="positions 3..6"):
        E.from_layer(engine, base, 1, base.resid[None], 3)


def test_readers_agree(case):
    _, model, tokens, sources = case
    engine = E.build(model)
    base, source = (E.run(engine, t, E.SWEEP) for t in (tokens, sources["start"]))
    patches = [E.Patch("z", l, h) for l in range(3) for h in range(4)]
    ids = torch.tensor([[1, 2], [3, 4], [5, 6]])
    every = E.sweep(engine, base, source, patches, logits_of(engine))
    few = E.sweep(engine, base, source, patches, E.columns(engine, ids))
    close(few, every.gather(-1, ids.expand(12, -1, -1)))
    close(E.sweep(engine, base, source, patches, E.columns(engine, ids[0])), every[..., [1, 2]])
    tight = E.vocab(engine, lambda x: x.log_softmax(-1)[..., 7], budget=1)
    close(E.sweep(engine, base, source, patches, tight), every.log_softmax(-1)[..., 7])


# --- gradients ------------------------------------------------------------------------------------


def test_gradients_equal_finite_differences(case):
    _, model, tokens, _ = case
    engine = E.build(make(case[0]).double())
    kinds = (
        "q",
        "k",
        "v",
        "z",
        "post",
        "attn_out",
        "mlp_out",
        "resid_pre",
        "resid_post",
        "pattern",
    )
    base = E.run(engine, tokens, (*kinds, "k", "v"))
    read = E.columns(engine, torch.tensor([[1], [2], [3]]))
    value, grads = E.gradients(engine, tokens, read, kinds)
    gen = torch.Generator().manual_seed(2)
    for kind in kinds:
        for layer in range(3):
            x = base[kind][layer]
            step = 1e-5 * torch.randn(x.shape, generator=gen, dtype=x.dtype)
            if kind == "pattern":
                step = step.tril()
            moved = [
                E.sweep(engine, base, {kind: [x + s * step] * 3}, [E.Patch(kind, layer)], read)[0]
                for s in (1, -1)
            ]
            want = (moved[0] - moved[1]).sum() / 2
            got = (grads[kind][layer] * step).sum()
            assert abs(got - want) < 1e-5 * max(1e-6, abs(want)) + 1e-9, (kind, layer)
    assert torch.allclose(value, read(engine.final_norm(base.resid[:, -1])[None])[0])


def test_gradients_of_a_suffix_are_those_of_the_whole(case):
    _, model, tokens, _ = case
    engine = E.build(model)
    base = E.run(engine, tokens)
    read = E.columns(engine, torch.tensor([1]))
    _, whole = E.gradients(engine, tokens, read, ("z", "mlp_in", "attn_in"))
    _, part = E.gradients(engine, tokens, read, ("z", "mlp_in", "attn_in"), base=base, first=4)
    for kind in whole:
        for a, b in zip(whole[kind], part[kind], strict=True):
            assert torch.allclose(a[:, 4:], b, atol=1e-5 * float(a.abs().max()))


# --- inside a TransformerBridge -------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHS[:3])
def test_finds_the_model_inside_a_bridge(arch):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    from interp.models.bridge import wrap

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w0"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="w0", bos_token="w1", eos_token="w2", pad_token="w2"
    )
    plain = make(arch)
    tokens = torch.arange(14).view(2, 7)
    want = E.run(E.build(plain), tokens).logits
    bridge = wrap(plain, tokenizer, "test")
    engine = E.find(bridge)
    assert engine is not None, E.why_not(bridge)
    assert torch.allclose(E.run(engine, tokens).logits, want, atol=1e-6)
    owned = {p.data_ptr() for p in bridge.parameters()}
    assert all(
        part.weight.data_ptr() in owned
        for layer in engine.layers
        for part in (*layer.qkv, layer.out)
    )
    _, cache = bridge.run_with_cache(tokens, prepend_bos=False)
    run = E.run(
        engine,
        tokens,
        keep=("q", "k", "v", "z", "pattern", "resid_pre", "resid_post", "attn_out", "mlp_out"),
    )
    names = dict(
        q="attn.hook_q",
        k="attn.hook_k",
        v="attn.hook_v",
        z="attn.hook_z",
        pattern="attn.hook_pattern",
    )
    for kind in run.kept:
        for layer in range(3):
            theirs = cache[f"blocks.{layer}." + names.get(kind, f"hook_{kind}")]
            close(run[kind][layer], theirs.view(run[kind][layer].shape))


# --- refusals -------------------------------------------------------------------------------------


def test_refusals_say_what_is_right(case):
    _, model, tokens, sources = case
    engine = E.build(model)
    base = E.run(engine, tokens)
    read, P = E.residual(), E.Patch
    for patch, words in (
        (P("zz", 0), "did you mean 'z'"),
        (P("z", 3), r"layers are 0\.\.2"),
        (P("z", 0, 4), r"heads are 0\.\.3"),
        (P("k", 0, 4), r"KV heads are 0\.\."),
        (P("resid_pre", 0, 1), "has no heads"),
        (P("z", 0, 1, 7), r"positions 0\.\.6"),
        (P("z", 0, 1, torch.tensor([1, 2])), r"one integer per prompt \[3\]"),
    ):
        with pytest.raises(ValueError, match=words):
            E.sweep(engine, base, base, [patch], read)
    with pytest.raises(ValueError, match="'z' was not kept"):
        E.sweep(engine, base, E.run(engine, sources["start"]), [P("z", 0, 1)], read)
    with pytest.raises(ValueError, match="one shape"):
        E.sweep(engine, base, E.run(engine, tokens[:, :4]), [P("resid_pre", 0)], read)
    with pytest.raises(ValueError, match="does not fit"):
        E.sweep(engine, base, {"z": [torch.zeros(5, 8)] * 3}, [P("z", 0, 1)], read)
    with pytest.raises(ValueError, match="tokens are integers"):
        E.run(engine, tokens.float())


def test_models_the_engine_does_not_know():
    import transformers as t

    model = make("llama").train()
    assert "training mode" in E.why_not(model)
    opt = t.OPTForCausalLM(
        t.OPTConfig(
            vocab_size=9,
            hidden_size=8,
            ffn_dim=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            word_embed_proj_dim=8,
        )
    ).eval()
    assert "no row for OPTForCausalLM" in E.why_not(opt)
    assert E.find(opt) is None and E.find(opt) is None


def test_found_once_and_again_after_a_move():
    model = make("gpt2")
    engine = E.find(model)
    assert E.find(model) is engine
    model.double()
    assert E.find(model) is not engine and E.find(model).embed.dtype == torch.float64


def test_a_wrong_row_is_caught(monkeypatch):
    from interp.engine import adapters

    model = make("llama")
    monkeypatch.setattr(adapters, "_act", lambda module: torch.relu)
    with pytest.raises(ValueError, match="logits differ"):
        E.build(model)
