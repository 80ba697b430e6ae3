"""A model object stays the user's own after `load`: it saves, loads and trains, and what it learns
is seen.
"""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import interp
from interp import engine as lean
from interp.models import twin
from interp.models.tiny_models import TINY, make, word_tokenizer

TOKENS = torch.arange(5, 13)[None]


@pytest.fixture(params=TINY)
def pair(request):
    """(the user's model, what it was loaded as)."""
    hf, tokenizer = make(request.param)
    return hf, interp.load(hf, tokenizer=tokenizer)


def logits(model):
    with torch.no_grad():
        out = model(TOKENS)
    return out if isinstance(out, torch.Tensor) else out.logits


def fused(hf):
    """The projection from the stream to the queries of layer 1, fused with keys and values where it
    is.
    """
    names = ("attn.c_attn", "attention.query_key_value", "self_attn.q_proj")
    return next(m for n, m in hf.named_modules() if ".1." in n and n.endswith(names))


# --- saving and loading ---------------------------------------------------------------------------


def test_the_object_saves_and_loads_as_before(pair, tmp_path):
    hf, _ = pair
    fresh, _ = make(hf.config._name_or_path)
    assert list(hf.state_dict()) == list(fresh.state_dict())
    assert [n for n, _ in hf.named_modules()] == [n for n, _ in fresh.named_modules()]
    hf.save_pretrained(tmp_path)
    again = type(hf).from_pretrained(tmp_path)
    torch.testing.assert_close(logits(again), logits(hf))


def test_weights_loaded_into_the_object_are_seen(pair):
    hf, model = pair
    task = interp.tasks.ioi(model, n=4)
    interp.patch(model, task, "L*H*")
    hf.load_state_dict({name: 0.8 * w for name, w in hf.state_dict().items()})
    found = interp.patch(model, task, "L*H*")
    assert found.metadata["backend"] == "engine"
    np.testing.assert_allclose(
        found.values, interp.patch(model, task, "L*H*", backend="hooks").values, atol=2e-5
    )
    torch.testing.assert_close(interp.run(model, TOKENS).logits, logits(hf), atol=1e-4, rtol=0)


CHANGES = {
    "in place": lambda w: w.mul_(2.0),
    "past the version counter": lambda w: w.data.mul_(2.0),
    "other storage": lambda w: setattr(w, "data", w.data * 2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_fused_projection_that_changes_is_split_again(pair, change):
    hf, model = pair
    before = interp.run(model, TOKENS).logits
    CHANGES[change](fused(hf).weight)
    after = interp.run(model, TOKENS).logits
    assert (after - before).abs().max() > 1e-2
    torch.testing.assert_close(after, logits(hf), atol=1e-4, rtol=0)
    engine = lean.find(model)
    torch.testing.assert_close(
        lean.run(engine, TOKENS, logits="all").logits, after, atol=1e-4, rtol=0
    )


def test_an_edit_of_a_split_query_is_kept(pair):
    hf, model = pair
    weight = model.blocks[1].attn.q.original_component.weight
    weight.data[:8] = 0.0  # head 0 has no queries, past every counter
    fused(hf).bias.mul_(1.0) if fused(hf).bias is not None else None
    task = interp.tasks.ioi(model, n=4)
    np.testing.assert_allclose(
        interp.patch(model, task, "L*H*").values,
        interp.patch(model, task, "L*H*", backend="hooks").values,
        atol=2e-5,
    )


def test_a_step_of_training_on_the_object_is_seen(pair):
    hf, model = pair
    hf.requires_grad_(True)
    step = torch.optim.SGD(hf.parameters(), lr=0.5)
    hf.train()
    hf(TOKENS, labels=TOKENS).loss.backward()
    step.step()
    torch.testing.assert_close(
        interp.run(model, TOKENS).logits, logits(hf.eval()), atol=1e-4, rtol=0
    )


# --- what cannot be seen is refused ---------------------------------------------------------------


def test_what_the_loaded_model_cannot_see_is_one_sentence(pair):
    hf, model = pair
    task = interp.tasks.ioi(model, n=4)
    handle = fused(hf).register_forward_hook(lambda module, args, out: out * 2)
    for call in (
        lambda: interp.patch(model, task, "L*H*"),
        lambda: interp.run(model, task),
        lambda: interp.head_scores(model),
    ):
        with pytest.raises(ValueError, match="a hook of yours is on .* of your .*add_hook"):
            call()
    handle.remove()
    interp.patch(model, task, "L*H*")
    layer = fused(hf)
    layer.weight = nn.Parameter(layer.weight * 2)
    with pytest.raises(ValueError, match=r"exchanged since it was loaded.*interp\.load\("):
        interp.patch(model, task, "L*H*")


def test_a_hooked_object_is_not_loaded():
    hf, tokenizer = make("tiny")
    hf.model.layers[1].register_forward_hook(lambda module, args, out: out)
    with pytest.raises(ValueError, match=r"hook of yours is on model\.layers\.1"):
        interp.load(hf, tokenizer=tokenizer)


def test_the_object_keeps_its_mode_and_its_kind_of_attention():
    hf, tokenizer = make("tiny")
    hf.set_attn_implementation("sdpa")
    hf.train()
    model = interp.load(hf, tokenizer=tokenizer)
    assert hf.training and hf.config._attn_implementation == "sdpa"
    assert not model.training and interp.attention_patterns(model, "a b", "L1H0") is not None


def test_a_model_made_from_a_configuration_needs_no_name_of_its_kind():
    from transformers import OlmoConfig, OlmoForCausalLM

    tokenizer = word_tokenizer()
    sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    hf = OlmoForCausalLM(OlmoConfig(vocab_size=len(tokenizer), pad_token_id=2, **sizes)).eval()
    assert hf.config.architectures is None
    model = interp.load(hf, tokenizer=tokenizer)
    torch.testing.assert_close(interp.run(model, TOKENS).logits, logits(hf), atol=1e-4, rtol=0)
    assert hf.config.architectures is None


# --- adapters -------------------------------------------------------------------------------------


class Adapted(nn.Module):
    """A linear map with something of low rank added, in the manner of peft's layers."""

    def __init__(self, base, rank=2, seed=0):
        super().__init__()
        self.base_layer, self.merged = base, False
        g = torch.Generator().manual_seed(seed)
        rows, columns = base.weight.shape
        self.a = nn.Parameter(0.5 * torch.randn(rank, columns, generator=g))
        self.b = nn.Parameter(0.5 * torch.randn(rows, rank, generator=g))
        self.disable_adapters = False

    def get_base_layer(self):
        return self.base_layer

    def merge(self):
        self.base_layer.weight.data += self.b.data @ self.a.data

    def forward(self, x):
        low = 0 if self.disable_adapters else x @ self.a.T @ self.b.T
        return self.base_layer(x) + low


def adapt(hf):
    for layer in hf.model.layers:
        layer.self_attn.q_proj = Adapted(layer.self_attn.q_proj)
        layer.self_attn.o_proj = Adapted(layer.self_attn.o_proj, seed=1)
    return hf


READINGS = {
    "logit_attribution": lambda m, t: interp.logit_attribution(m, t),
    "path_patch": lambda m, t: interp.path_patch(m, t, "L0H*", "L2H1.q_in"),
    "patch": lambda m, t: interp.patch(m, t, "L*H*"),
    "exact": lambda m, t: interp.discover(m, t, "exact"),
}


def agree(model, merged):
    task = interp.tasks.ioi(merged, n=4)
    for name, reading in READINGS.items():
        found, want = reading(model, task).values, reading(merged, task).values
        np.testing.assert_allclose(found, want, atol=1e-5, err_msg=name)


def test_adapters_left_in_give_the_merged_numbers_and_say_so():
    hf, tokenizer = make("tiny")
    adapt(hf)
    want, before = logits(hf), copy.deepcopy(hf.state_dict())
    with pytest.warns(UserWarning, match="adapters were merged into a copy"):
        model = interp.load(hf, tokenizer=tokenizer)
    torch.testing.assert_close(interp.run(model, TOKENS).logits, want, atol=1e-4, rtol=0)
    by_hand, _ = make("tiny")
    for layer in by_hand.model.layers:
        for name, seed in (("q_proj", 0), ("o_proj", 1)):
            other = Adapted(getattr(layer.self_attn, name), seed=seed)
            getattr(layer.self_attn, name).weight.data += other.b.data @ other.a.data
    agree(model, interp.load(by_hand, tokenizer=tokenizer))
    # the object is as it was, and what its adapters learn is not in the copy
    assert all(torch.equal(before[name], w) for name, w in hf.state_dict().items())
    with torch.no_grad():
        hf.model.layers[0].self_attn.q_proj.a += 0.1
    with pytest.raises(ValueError, match="have changed since they were copied: load it again"):
        interp.run(model, TOKENS)


def test_adapters_that_are_switched_off_are_left_out():
    hf, tokenizer = make("tiny")
    plain = logits(hf)
    for module in adapt(hf).modules():
        if isinstance(module, Adapted):
            module.disable_adapters = True
    with pytest.warns(UserWarning, match="merged"):
        model = interp.load(hf, tokenizer=tokenizer)
    torch.testing.assert_close(interp.run(model, TOKENS).logits, plain, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["tiny", "tiny-gpt2"])
def test_peft_models_load(kind):
    peft = pytest.importorskip("peft")
    hf, tokenizer = make(kind)
    targets = ["q_proj", "o_proj"] if kind == "tiny" else ["c_attn", "c_proj"]
    fan = kind != "tiny"
    options = dict(r=4, lora_alpha=16, target_modules=targets, fan_in_fan_out=fan)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = peft.LoraConfig(init_lora_weights=False, **options)
        adapted = peft.get_peft_model(hf, made).eval()
    merged = interp.load(
        copy.deepcopy(adapted).merge_and_unload().eval(), tokenizer=copy.deepcopy(tokenizer)
    )
    for given in (adapted, adapted.get_base_model()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            agree(interp.load(given, tokenizer=tokenizer), merged)


def test_a_twin_shares_every_weight_and_no_module():
    hf, _ = make("tiny")
    other = twin.twin(hf)
    assert all(a is b for a, b in zip(hf.parameters(), other.parameters(), strict=True))
    assert not {id(m) for m in hf.modules()} & {id(m) for m in other.modules()}
    assert other.lm_head.weight is other.model.embed_tokens.weight
