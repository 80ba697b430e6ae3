"""A model may be changed after it was first looked at: numbers follow it, or one sentence says why
they cannot.
"""

import copy
import gc
import weakref

import numpy as np
import pytest
import torch

import interp
from interp import engine as lean
from interp.models import bridge, state
from interp.models.tiny_models import TINY, make

HOOK = "blocks.1.hook_out"


@pytest.fixture(params=TINY)
def model(request):
    """A model of the test's own, so that it may be spoilt."""
    return interp.load(request.param)


def ioi(model, n=4):
    return interp.tasks.ioi(model, n=n)


def close(a, b):
    np.testing.assert_allclose(a.values, b.values, atol=2e-5)


def block(model, layer):
    """The plain module of a layer."""
    return lean.adapters.plain(model.blocks[layer])


def out_projection(model):
    return model.blocks[1].attn.o.original_component


# --- weights --------------------------------------------------------------------------------------

CHANGES = {
    "in place": lambda w: w.mul_(0.0),
    "in place, past the version counter": lambda w: w.data.mul_(0.0),
    "copied into": lambda w: w.copy_(torch.zeros_like(w)),
    "other storage": lambda w: setattr(w, "data", torch.zeros_like(w)),
    "through numpy": lambda w: w.numpy().fill(0.0),
    "one row, past the version counter": lambda w: w.data[3].zero_(),
    "turned round": lambda w: setattr(w, "data", w.data.T if w.shape[0] == w.shape[1] else -w.data),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_weight_that_changes_after_the_first_sweep_is_seen(model, change):
    task = ioi(model)
    before = interp.patch(model, task, "L*H*")
    CHANGES[change](out_projection(model).weight)
    after = interp.patch(model, task, "L*H*")
    assert after.metadata["backend"] == "engine"
    close(after, interp.patch(model, task, "L*H*", backend="hooks"))
    assert np.abs(after.values - before.values).max() > 1e-4


def test_a_parameter_that_is_exchanged_is_seen(model):
    task = ioi(model)
    interp.patch(model, task, "L*H*")
    module = out_projection(model)
    module.weight = torch.nn.Parameter(torch.zeros_like(module.weight), requires_grad=False)
    after = interp.patch(model, task, "L*H*")
    assert np.abs(after.values[1]).max() < 1e-5
    close(after, interp.patch(model, task, "L*H*", backend="hooks"))


def test_a_number_that_a_module_keeps_is_seen(tiny):
    model = interp.load("tiny")
    task = ioi(model)
    interp.patch(model, task, "L*H*")
    block(model, 1).self_attn.original_component.scaling *= 3.0
    after = interp.patch(model, task, "L*H*")
    close(after, interp.patch(model, task, "L*H*", backend="hooks"))
    assert np.abs(after.values - interp.patch(tiny, task, "L*H*").values).max() > 1e-3


def test_the_engine_holds_views_and_no_copies(any_tiny):
    """So that an edit which nothing announces still changes what the engine computes."""
    engine = lean.find(any_tiny)
    own = {t.untyped_storage().data_ptr() for t in any_tiny.original_model.parameters()}
    own |= {t.untyped_storage().data_ptr() for t in any_tiny.original_model.buffers()}

    def tensors(x):
        if isinstance(x, torch.Tensor):
            yield x
        elif isinstance(x, tuple):
            for one in x:
                yield from tensors(one)
        elif hasattr(x, "__dataclass_fields__"):
            for name in x.__dataclass_fields__:
                yield from tensors(getattr(x, name))

    held = list(tensors(engine))
    assert len(held) > 20
    assert all(t.untyped_storage().data_ptr() in own for t in held)


def test_running_changes_nothing(any_tiny):
    task = ioi(any_tiny)
    before = state.look(any_tiny)
    interp.run(any_tiny, task, keep=["L*H*.pattern"])
    interp.attribution_patch(any_tiny, task, "L*H*", backend="hooks")
    any_tiny.generate("a", max_new_tokens=2, verbose=False)
    assert state.look(any_tiny) == before
    assert lean.find(any_tiny) is lean.find(any_tiny)


def test_every_bit_is_in_the_hash():
    model = interp.load("tiny")
    weight = model.blocks[1].mlp.out.original_component.weight
    seen = {state.weights_hash(model)}
    for change in (
        lambda: weight.data[3, 5].add_(1e-7),
        lambda: weight.data.copy_(weight.data.flip(0)),
        lambda: weight.data.copy_(weight.data.flip(1)),
        lambda: model.ln_final.original_component.weight.data[0].add_(1e-6),
    ):
        change()
        seen.add(state.weights_hash(model))
    assert len(seen) == 5


def test_a_stale_tuned_lens_is_refused_and_not_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path))
    model = interp.load("tiny")
    text = torch.arange(5, 53).view(4, 12)
    lens = interp.tuned_lens(model, text, layers=[1], steps=2)
    model.blocks[1].mlp.out.original_component.weight.data[3, 5] += 0.5
    with pytest.raises(ValueError, match="another model"):
        interp.logit_lens(model, ioi(model), lens=lens)
    assert not interp.tuned_lens(model, text, layers=[1], steps=2).kl.metadata["from disk"]


# --- hooks ----------------------------------------------------------------------------------------


def test_with_a_hook_of_the_users_the_engine_stands_aside(model):
    task = ioi(model)
    before = interp.patch(model, task, "L*H*")
    assert before.metadata["backend"] == "engine" and "why hooks" not in before.metadata

    def halve(tensor, hook):
        return tensor * 0.5

    model.add_hook(HOOK, halve)
    hooked = interp.patch(model, task, "L*H*")
    assert hooked.metadata["backend"] == "hooks" and "hook of yours" in hooked.metadata["why hooks"]
    with pytest.raises(ValueError, match="hook of yours"):
        interp.patch(model, task, "L*H*", backend="engine")
    # the definition, head by head: our own patch on top of the user's hook, with TransformerLens
    # alone
    _, clean = model.run_with_cache(task.clean)
    name = "blocks.0.attn.hook_z"

    def put(z, hook):
        z = z.clone()
        new = clean[name].view(*z.shape[:2], -1, 8)
        z.view(*z.shape[:2], -1, 8)[:, :, 2] = new[:, :, 2]
        return z

    with torch.no_grad():
        patched = task.metric(model.run_with_hooks(task.corrupted, fwd_hooks=[(name, put)]))
        plain = task.metric(model(task.corrupted))
    np.testing.assert_allclose(hooked.values[0, 2], (patched - plain).mean(), atol=1e-5)
    model.reset_hooks()
    after = interp.patch(model, task, "L*H*")
    assert after.metadata["backend"] == "engine"
    close(after, before)


@pytest.mark.parametrize("where", ["a block", "the whole model", "every module", "the final norm"])
def test_hooks_are_found_wherever_they_are(model, where):
    task = ioi(model)
    before = float(task.clean_metric(model).values)

    def double(module, args, out):
        if where == "every module" and not isinstance(module, torch.nn.Linear):
            return None
        tensor = (
            out if isinstance(out, torch.Tensor) else out[0] if isinstance(out, tuple) else None
        )
        if tensor is None:
            out.logits = out.logits * 2
            return out
        return tensor * 2 if tensor is out else (tensor * 2, *out[1:])

    handle = {
        "a block": lambda: block(model, 1).register_forward_hook(double),
        "the whole model": lambda: model.original_model.register_forward_hook(double),
        "every module": lambda: torch.nn.modules.module.register_module_forward_hook(double),
        "the final norm": lambda: model.ln_final.register_forward_hook(double),
    }[where]()
    try:
        with torch.no_grad():
            want = float(task.metric(model(task.clean)).mean())
        found = interp.patch(model, task, "L*H*")
        assert found.metadata["backend"] == "hooks"
        np.testing.assert_allclose(found.metadata["clean"], want, rtol=1e-5)
        np.testing.assert_allclose(float(task.clean_metric(model).values), want, rtol=1e-5)
        assert abs(want - before) > 1e-3
    finally:
        handle.remove()
    assert interp.patch(model, task, "L*H*").metadata["backend"] == "engine"


# --- training mode --------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["all", "one layer"])
@pytest.mark.parametrize("backend", [None, "hooks"])
def test_a_part_in_training_mode_is_refused(backend, part):
    hf, tokenizer = make("tiny-gpt2")
    for module in hf.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    model = interp.load(hf, tokenizer=tokenizer)
    task = ioi(model)
    interp.patch(model, task, "L*H*")
    hf.train()  # the user's own object: the loaded model has modules of its own
    assert float(task.clean_metric(model).values) == float(task.clean_metric(model).values)
    (model if part == "all" else model.blocks[1]).train()
    for call in (
        lambda: interp.patch(model, task, "L*H*", backend=backend),
        lambda: task.clean_metric(model),
        lambda: interp.run(model, task),
        lambda: interp.logit_lens(model, task),
    ):
        with pytest.raises(ValueError, match=r"training mode.*call model\.eval\(\)"):
            call()
    model.eval()
    assert interp.patch(model, task, "L*H*", backend=backend).values.shape == (3, 4)


# --- the watch itself -----------------------------------------------------------------------------


def test_a_model_that_was_looked_at_can_be_copied_and_forgotten():
    model = interp.load("tiny")
    before = state.look(model)
    twin = copy.deepcopy(model.original_model)
    assert state.look(twin).hooked is None
    lean.find(model)
    gone = weakref.ref(model)
    del model, twin
    gc.collect()
    assert gone() is None and before.hooked is None


def test_attention_that_looks_back_only_is_found_causal(any_tiny):
    assert bridge.causal(any_tiny)


def test_how_blocks_are_made_is_read_anew_when_they_change():
    model = interp.load("tiny")
    assert bridge.dims(model).variants == ()
    plain = block(model, 1)
    plain.register_buffer("layer_scalar", torch.tensor(2.0))
    model.blocks[1] = model.blocks[1]  # the same block: nothing is new to look for
    norm = model.blocks[0]._modules.pop("ln2")
    assert bridge.dims(model).variants == ("one norm", "no sum")
    model.blocks[0]._modules["ln2"] = norm
    assert bridge.dims(model).variants == ("no sum",)
    plain.layer_scalar.fill_(1.0)
    assert bridge.dims(model).variants == ()


def test_loading_checks_a_model_in_two_passes(monkeypatch):
    model = interp.load("tiny")
    passes, forward = [], type(model).forward
    monkeypatch.setattr(
        type(model), "forward", lambda *a, **k: (passes.append(1), forward(*a, **k))[1]
    )
    model.__dict__["_interp_watch"].facts.clear()
    interp.load(model)
    assert len(passes) == 2 and bridge.causal(model) and len(passes) == 2


def test_a_hook_that_the_model_does_not_have_is_refused(tiny):
    tokens = torch.arange(5)[None]
    with pytest.raises(ValueError, match="no hook 'blocks.1.hook_nowhere'"):
        bridge.forward(tiny, tokens, [("blocks.1.hook_nowhere", lambda x, hook=None: None)])
    assert state.look(tiny).hooked is None


def test_a_run_inside_a_hook_leaves_the_outer_hooks(tiny):
    tokens = torch.arange(5)[None]
    seen = []

    def inner(x, hook=None):
        seen.append("inner")

    def outer(x, hook=None):
        seen.append("outer")
        if len(seen) == 1:
            bridge._hooked(tiny, tokens, [("blocks.2.hook_out", inner)])

    hooks = [(f"blocks.{layer}.hook_out", outer) for layer in (0, 2)]
    bridge.forward(tiny, tokens, hooks)
    assert seen == ["outer", "outer", "outer", "inner", "outer"]
    assert state.look(tiny).hooked is None
