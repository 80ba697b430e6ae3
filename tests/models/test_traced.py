"""Models that run through nnsight: each address of each family is the hook path's, or is refused.

`plain_requests` answers the requests without nnsight, so that these laws hold everywhere; where
nnsight is installed, it answers them, too.
"""

import functools
import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from families import FAMILIES, make
from plain_requests import served_by_hooks

import interp
from interp import sites
from interp.models import bridge, state, traced
from interp.models.checks import check_traced, plain_logits
from interp.models.summary import summary
from interp.models.tiny_models import make as make_tiny
from interp.models.tiny_models import word_tokenizer

needs_nnsight = pytest.mark.skipif(
    importlib.util.find_spec("nnsight") is None,
    reason="nnsight is not installed here (pip install 'interp[nnsight]')",
)
KNOWN = [
    "gpt2",
    "gpt2-inverse-layer",
    "llama",
    "llama-biases",
    "mistral-window",
    "qwen2",
    "qwen3",
    "gemma1",
    "gemma2",
    "gemma3",
    "neox-parallel",
    "neox-serial",
    "phi",
    "phi3",
    "smollm3",
]
WEIGHTS = {"L1H1.q_in", "L1KV0.k_in", "L1KV0.v_in"}  # read, but not edited
NEVER = {"L1H1.scores", "mlp.1.normalized"}
LOGITS = 5e-6  # GPT-2's joined projections are added up in another order; the others are equal
OWN = ["resid_post.1", "mlp.1", "L1H0.z"]


@pytest.fixture(scope="module")
def tokenizer():
    return word_tokenizer()


def addresses():
    """Every kind of address, in layer 1."""
    for family, part in sites.TABLE:
        base = {"head": "L1H1", "kv": "L1KV0"}.get(family, f"{family}.1")
        base = family if family in ("embed", "logits") else base
        yield base if part == "out" else f"{base}.{part}"


def prompts(d_vocab):
    """Ids [batch pos] that begin with the token for padding."""
    ids = torch.randint(3, d_vocab, (3, 9), generator=torch.Generator().manual_seed(1))
    ids[:, :2] = 2
    return ids


def refused(call):
    """The sentence with which something is refused."""
    with pytest.raises(ValueError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def same_everywhere(model, other, name):
    """Reading and editing each address of `other` is `model`'s own, or is refused as it should
    be.
    """
    ids, g = prompts(bridge.dims(model).d_vocab), torch.Generator().manual_seed(0)
    plain, after = interp.run(model, ids).logits, FAMILIES[name].parts.after[0]
    for address in addresses():
        try:
            value = interp.run(model, ids, keep=[address]).kept[address]
        except ValueError as error:  # no such place in this family
            assert str(error) in refused(lambda: interp.run(other, ids, keep=[address]))
            continue
        noise = torch.randn(value.shape, generator=g)
        edit = [interp.Intervention(address, lambda act, seen: act + noise)]
        if address in NEVER or (address == "L1H1" and after):
            assert "nnsight" in refused(lambda: interp.run(other, ids, keep=[address]))
            assert "nnsight" in refused(lambda: interp.run(other, ids, edit))
            continue
        found = interp.run(other, ids, keep=[address]).kept[address]
        torch.testing.assert_close(found, value, atol=LOGITS, rtol=0)
        one_norm = name == "phi" and address in ("attn.1.in", "mlp.1.in")
        if address in WEIGHTS or address == "L1H1.pattern" or one_norm:
            assert "nnsight" in refused(lambda: interp.run(other, ids, edit))
            continue
        right = interp.run(model, ids, edit, OWN)
        found = interp.run(other, ids, edit, OWN)
        assert float((right.logits - plain).abs().max()) > 0.1, f"{address} moves nothing"
        torch.testing.assert_close(found.logits, right.logits, atol=2 * LOGITS, rtol=0)
        for kept in OWN:
            torch.testing.assert_close(
                found.kept[kept],
                right.kept[kept],
                atol=2 * LOGITS,
                rtol=0,
                msg=f"{address}: {kept}",
            )


@pytest.fixture(scope="module")
def pairs(tokenizer):
    """A family's model by name, as hooks run it and as requests run it."""
    made = {}

    def of(name):
        if name not in made:
            model = interp.load(make(name, len(tokenizer)), tokenizer=tokenizer)
            other, asked = served_by_hooks(make(name, len(tokenizer)), tokenizer, name)
            made[name] = model, other, asked
        return made[name]

    return of


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in KNOWN[:3] else pytest.mark.slow) for n in KNOWN]
)
def test_every_address_is_the_hook_paths_or_is_refused(pairs, name):
    model, other, _ = pairs(name)
    assert bridge.dims(other) == bridge.dims(model)
    check_traced(other, plain_logits(make(name, bridge.dims(model).d_vocab)))
    same_everywhere(model, other, name)


def test_every_class_that_is_known_is_tried():
    assert {FAMILIES[name].model for name in KNOWN} == set(traced.FAMILIES)


def test_a_family_that_is_not_known_is_refused(tokenizer):
    unknown = [n for n, f in FAMILIES.items() if f.model not in traced.FAMILIES]
    assert len(unknown) > 10
    for name in ("gpt-j", "olmo2", "mixtral"):
        assert name in unknown
        hf_model = make(name, len(tokenizer))
        said = refused(lambda: served_by_hooks(hf_model, tokenizer, name))
        assert type(hf_model).__name__ in said and "interp.load(" in said


def test_a_run_is_one_request_and_one_more_for_each_place_that_is_edited(pairs):
    model, other, asked = pairs("gpt2")
    ids = prompts(bridge.dims(model).d_vocab)

    def requests(edits, keep=()):
        asked.clear()
        run = interp.run(other, ids, edits, keep)
        torch.testing.assert_close(
            run.logits, interp.run(model, ids, edits, keep).logits, atol=2 * LOGITS, rtol=0
        )
        return len(asked)

    half = interp.edits.scale(0.5)
    assert requests([]) == 1
    assert requests([], ["L*H*.z", "resid_post.*", "L*H*.pattern"]) == 1
    assert requests([interp.Intervention("mlp.0", half)], ["mlp.*"]) == 2
    # queries and keys are columns of one output, and the second edit keeps the first
    both = [interp.Intervention("L1H0.q", half), interp.Intervention("L1KV2.k", half)]
    assert requests(both) == 3
    # what an edit reads is what an edit upstream has left there
    reading = interp.Intervention("mlp.1", lambda act, seen: act + seen["mlp.0"], reads=("mlp.0",))
    assert requests([interp.Intervention("mlp.0", half), reading]) == 3


def test_a_sweep_is_two_requests_a_layer_and_what_it_takes_to_begin(pairs):
    _, other, asked = pairs("llama")
    task, n_layers = interp.tasks.ioi(other, n=2), bridge.dims(other).n_layers
    interp.patch(other, task, "L*H*")  # what is found once for a model is found
    asked.clear()
    interp.patch(other, task, "L*H*")
    # beside them: values of the other run, a run without edits, the whole stream at the end
    assert len(asked) == 2 * n_layers + 3


def test_last_logits_alone_are_asked_for_where_they_are_enough(pairs):
    _, other, asked = pairs("llama")
    ids = prompts(bridge.dims(other).d_vocab)
    asked.clear()
    end = interp.run(other, ids, last_only=True).logits
    assert [question[-1] for question in asked] == [True]
    torch.testing.assert_close(end, interp.run(other, ids).logits[:, -1])


def test_prompts_of_several_lengths_give_what_each_gives_alone(pairs):
    model, other, _ = pairs("qwen2")
    texts = ["When Mary and John went to the store", "The dog saw"]
    found, right = (interp.run(m, texts, keep=["resid_post.1"]) for m in (other, model))
    torch.testing.assert_close(found.logits, right.logits, equal_nan=True)
    torch.testing.assert_close(*(r.kept["resid_post.1"] for r in (found, right)), equal_nan=True)


def test_a_hook_of_ones_own_is_run_also_where_it_writes_in_place(pairs):
    model, other, _ = pairs("llama")
    ids = prompts(bridge.dims(model).d_vocab)

    def scale(tensor, hook):
        tensor *= 3.0

    for m in (model, other):
        m.hook_dict["blocks.1.mlp.hook_out"].add_hook(scale)
    try:
        found, right = other(ids), model(ids)
    finally:
        for m in (model, other):
            m.reset_hooks()
    torch.testing.assert_close(found, right)
    assert float((found - interp.run(other, ids).logits).abs().max()) > 0.1


def test_a_run_leaves_the_models_state_as_it_was(pairs):
    _, other, _ = pairs("llama")
    ids = prompts(bridge.dims(other).d_vocab)
    before = state.look(other)
    interp.run(other, ids, [interp.Intervention("mlp.1", interp.edits.zero())])
    assert state.look(other) == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_number_types_are_the_hook_paths(tokenizer, dtype):
    model = interp.load(make("llama", len(tokenizer)).to(dtype), tokenizer=tokenizer)
    other, _ = served_by_hooks(make("llama", len(tokenizer)).to(dtype), tokenizer, "llama")
    task = interp.tasks.ioi(model, n=3)
    right, found = (interp.patch(m, task, "L*H*", backend="hooks") for m in (model, other))
    np.testing.assert_allclose(found.examples, right.examples, atol=1e-12, rtol=0)


# --- what is refused ------------------------------------------------------------------------------


def leaf(tensor):
    """Asks for gradients in place, and gives nothing back."""
    tensor.requires_grad_()


def test_gradients_and_weights_are_refused_in_a_sentence_that_says_what_works(pairs):
    _, other, _ = pairs("llama")
    task = interp.tasks.ioi(other, n=3)
    for call in (
        lambda: interp.run(other, task, grad=True),
        lambda: interp.attribution_patch(other, task, "L*H*"),
        lambda: interp.logit_lens(other, task),
        lambda: interp.logit_attribution(other, task),
        lambda: interp.attention_knockout(other, task, "END", "S2"),
        lambda: interp.discover(other, task),
        lambda: interp.finetune(other, task),
        lambda: interp.patch(other, task, "L*H*.pattern"),
        lambda: interp.patch(other, task, "L*H*.scores"),
        lambda: other.blocks[0].attn.W_Q,
        lambda: bridge.forward(
            other, task.clean, [("blocks.0.hook_out", lambda t, hook: t.clone().requires_grad_())]
        ),
        lambda: bridge.forward(other, task.clean, [("blocks.0.hook_out", lambda t, hook: leaf(t))]),
    ):
        said = refused(call)
        assert "nnsight" in said and "patch" in said and "interp.load(" in said
    assert "nnsight" in refused(lambda: interp.patch(other, task, "L*H*", backend="engine"))
    assert not hasattr(other.blocks[0].attn, "W_Q")  # a question gets an answer


def test_an_edit_of_another_shape_is_refused(pairs):
    _, other, _ = pairs("llama")
    ids = prompts(bridge.dims(other).d_vocab)
    for hook in (lambda t, hook: t[..., :1], lambda t, hook: t[:1]):
        said = refused(lambda: bridge.forward(other, ids, [("blocks.1.hook_out", hook)]))
        assert "shape" in said


@pytest.mark.parametrize("place", ["blocks.1.hook_attn_out", "blocks.1.hook_mlp_out"])
def test_a_place_that_is_another_is_seen_at_load(tokenizer, monkeypatch, place):
    """Gemma 2's writes before the norm that follows them do not add up to the stream."""
    was = traced.places

    def wrong(family, cfg):
        found = was(family, cfg)
        part = "self_attn" if "attn" in place else "mlp"
        spot = traced.Spot(f"model.layers.1.{part}", "output")
        return found | {place: traced.Place(spot)}

    monkeypatch.setattr(traced, "places", wrong)
    other, _ = served_by_hooks(make("gemma2", len(tokenizer)), tokenizer, "gemma2")
    assert "sum" in refused(lambda: check_traced(other, None))


def test_an_attention_that_gives_no_pattern_is_refused(tokenizer):
    hf_model = make("llama", len(tokenizer))
    hf_model.set_attn_implementation("sdpa")
    other, _ = served_by_hooks(hf_model, tokenizer, "llama")
    assert "eager" in refused(lambda: interp.attention_patterns(other, "The dog saw", "L*H*"))
    assert interp.run(other, "The dog saw", keep=["resid_post.1"]).kept


def test_what_a_server_holds_is_known_by_its_name_and_by_its_numbers(tokenizer):
    kinds = [
        served_by_hooks(make("llama", len(tokenizer)).to(dtype), tokenizer, "llama", served)[0]
        for dtype, served in ((torch.float32, "a"), (torch.float32, "b"), (torch.bfloat16, "a"))
    ]
    hashes = []
    for model in kinds:
        check_traced(model, None)
        hashes.append(state.weights_hash(model))
        assert "weights on a server" in summary(model)[0]
        assert ".z" in refused(lambda: interp.run(model, "The dog", keep=["L1H1"]))
    assert len(set(hashes)) == 3
    assert bridge.number_type(kinds[2]) == torch.bfloat16
    task = interp.tasks.ioi(kinds[0], n=3)
    model = interp.load(make("llama", len(tokenizer)), tokenizer=tokenizer)
    right, found = (interp.patch(m, task, "L*H*", backend="hooks") for m in (model, kinds[0]))
    np.testing.assert_allclose(found.examples, right.examples, atol=1e-5, rtol=0)


def test_without_nnsight_load_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "nnsight", None)
    with pytest.raises(ImportError, match=r"pip install \"interp\[nnsight\]\""):
        interp.load("nnsight:tiny")


def test_remote_is_for_nnsight_alone():
    assert "nnsight:" in refused(lambda: interp.load("tiny", remote=True))


def test_nnsight_is_imported_only_when_it_is_asked_for():
    assert "nnsight" not in sys.modules or importlib.util.find_spec("nnsight")
    code = "import sys, interp; interp.load('tiny-gpt2'); assert 'nnsight' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- where nnsight is installed -------------------------------------------------------------------


@pytest.mark.slow
@needs_nnsight
@pytest.mark.parametrize("name", KNOWN)
def test_nnsight_gives_every_address_as_hooks_do(pairs, tokenizer, name):
    hf_model = make(name, len(tokenizer))
    over = traced.wrapped(hf_model, tokenizer)
    net, cfg = traced.network(functools.partial(traced.request, over, False), hf_model, name)
    other = bridge.hooked(net, tokenizer, cfg)
    same_everywhere(pairs(name)[0], other, name)


@needs_nnsight
@pytest.mark.parametrize("remote", [False, "local"])
@pytest.mark.parametrize("kind", ["tiny", "tiny-gpt2", "tiny-neox"])
def test_verbs_through_nnsight_are_the_hook_paths(kind, remote):
    path, modules = list(sys.path), dict(sys.modules)
    model, other = interp.load(kind), interp.load(f"nnsight:{kind}", remote=remote)
    task = interp.tasks.ioi(model, n=3)
    for verb in (
        lambda m: interp.patch(m, task, "resid_pre.*@*", backend="hooks"),
        lambda m: interp.patch(m, task, "L*H*@END", backend="hooks", direction="noising"),
        lambda m: interp.ablate(m, task, "L*H*", backend="hooks"),
        lambda m: interp.attention_patterns(m, task, "L*H*"),
    ):
        np.testing.assert_allclose(verb(other).values, verb(model).values, atol=2e-6, rtol=0)
    text = "When Mary and John"
    assert str(interp.generate(other, text, max_new_tokens=3)) == str(
        interp.generate(model, text, max_new_tokens=3)
    )
    sys.path[:] = path
    assert set(modules) <= set(sys.modules)


@needs_nnsight
def test_a_server_is_asked_with_nnsights_own_request(tmp_path, monkeypatch):
    """What `remote=True` does up to nnsight's own sending: the skeleton has no weights, and its
    requests fit the model that has them.
    """
    hf_model, tokenizer = make_tiny("tiny-gpt2")
    hf_model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    over, was, sent = traced.wrapped(hf_model, tokenizer), traced.request, []

    def send(model, remote, *question):
        assert model._module.device.type == "meta" and model.attn_implementation == "eager"
        sent.append(remote)
        return was(over, "local", *question)

    monkeypatch.setattr(traced, "request", send)
    other = interp.load(f"nnsight:{tmp_path}", remote=True)
    model = interp.load("tiny-gpt2")
    task = interp.tasks.ioi(model, n=3)
    right, found = (interp.patch(m, task, "L*H*", backend="hooks") for m in (model, other))
    np.testing.assert_allclose(found.examples, right.examples, atol=2e-6, rtol=0)
    assert set(sent) == {True} and len(sent) > 3
    assert "device" in refused(
        lambda: interp.load(f"nnsight:{tmp_path}", remote=True, dtype="bfloat16")
    )
    assert "server" in refused(lambda: interp.load("nnsight:tiny", remote="ndif"))


@needs_nnsight
def test_the_tokenizer_stays_as_it_was():
    _, tokenizer = make_tiny("tiny")
    side = tokenizer.padding_side
    other = interp.load("nnsight:tiny", tokenizer=tokenizer)
    assert other.tokenizer is tokenizer and tokenizer.padding_side == side
    assert interp.load(other) is other
