"""GIM and RelP: against the same rules put into the model's own modules, and the laws that they
keep.
"""

import contextlib

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

import interp
from interp import engine
from interp.methods.circuits.discovery import eap, gim, relp
from interp.methods.runs.metrics import metric_of

RULES = {"gim": engine.GIM, "relp": engine.RELP}
METHODS = {"gim": gim, "relp": relp}


@pytest.fixture
def ioi(any_tiny):
    return interp.tasks.ioi(any_tiny, n=3, seed=0)


# --- by hand: the rules in the modules of the Hugging Face model ----------------------------------


def eased(x, share):
    return x * share + (x * (1 - share)).detach()


class Softmax(TorchFunctionMode):
    """The slope of a softmax as its formula has it, at another temperature; or none at all."""

    def __init__(self, temperature):
        super().__init__()
        self.temperature = temperature

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") != "softmax":
            return function(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunctionSubclass():
            out = function(*args, **(kwargs or {}))
            if self.temperature is None:
                return out.detach()
            scores, soft = args[0], (args[0].detach() / self.temperature).softmax(-1)
            move = scores - scores.detach()
            move = torch.where(soft > 0, move, 0.0)
            return out.detach() + soft * (move - (soft * move).sum(-1, keepdim=True))


@contextlib.contextmanager
def by_hand(model, method, monkeypatch):
    """The Llama-style tiny model under the rules of a method."""
    hf = next(m for m in model.original_model.modules() if type(m).__name__ == "LlamaModel")
    gim_ = method == "gim"

    def norm(self, x):
        size = (x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon).rsqrt().detach()
        return x * size * self.weight

    def mlp(self, x):
        gate, up = self.gate_proj(x), self.up_proj(x)
        if gim_:
            return self.down_proj(self.act_fn(gate) * up)
        act = gate * (self.act_fn(gate) / gate).detach()
        return self.down_proj(0.5 * (act * up.detach()) + 0.5 * (act.detach() * up))

    with contextlib.ExitStack() as stack:
        for module in hf.modules():
            kind = type(module).__name__
            if kind == "LlamaRMSNorm":
                monkeypatch.setattr(module, "forward", norm.__get__(module))
            if kind == "LlamaMLP":
                monkeypatch.setattr(module, "forward", mlp.__get__(module))
            if gim_ and kind == "LlamaAttention":
                for name, share in (("q_proj", 0.25), ("k_proj", 0.25), ("v_proj", 0.5)):
                    hook = getattr(module, name).register_forward_hook(
                        lambda m, a, out, share=share: eased(out, share)
                    )
                    stack.callback(hook.remove)
        stack.enter_context(Softmax(2.0 if gim_ else None))
        yield hf


@pytest.mark.parametrize("method", RULES)
def test_it_is_what_the_rules_give_in_the_models_own_modules(method, monkeypatch):
    from interp.models.tiny_models import make

    hf, tokenizer = make("tiny")
    model = interp.load(hf, tokenizer=tokenizer)
    task = interp.tasks.ioi(model, n=3)
    lean, metric = engine.find(model), metric_of(task, None)
    read = interp.methods.runs.engine_sweep.metric_reader(lean, metric, len(task))
    value, grads = engine.gradients(
        engine.with_rules(lean, RULES[method]), task.clean, read, ("resid_pre", "mlp_in")
    )
    hf.set_attn_implementation("eager")

    class Plain:
        original_model = hf

    with by_hand(Plain, method, monkeypatch) as inner:
        embeddings = inner.embed_tokens(task.clean).detach().requires_grad_(True)
        logits = hf(inputs_embeds=embeddings).logits
        theirs = task.metric(logits)
        (expected,) = torch.autograd.grad(theirs.sum(), embeddings)
    torch.testing.assert_close(value, theirs.detach(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(grads["resid_pre"][0], expected, atol=1e-5, rtol=1e-3)
    _, plain = engine.gradients(lean, task.clean, read, ("resid_pre",))
    assert (plain["resid_pre"][0] - expected).abs().max() > 1e-3  # and not the gradient


# --- laws -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", RULES)
def test_the_run_is_the_same(any_tiny, ioi, method):
    lean = engine.find(any_tiny)
    read = interp.methods.runs.engine_sweep.metric_reader(lean, metric_of(ioi, None), len(ioi))
    values = [
        engine.gradients(e, ioi.clean, read, ("z",))[0]
        for e in (lean, engine.with_rules(lean, RULES[method]))
    ]
    torch.testing.assert_close(*values, atol=1e-5, rtol=1e-5)


def test_relevance_is_conserved(tiny):
    # no biases: everything that RelP hands back adds up to the metric, layer by layer
    task = interp.tasks.ioi(tiny, n=3)
    lean = engine.find(tiny)
    read = interp.methods.runs.engine_sweep.metric_reader(lean, metric_of(task, None), len(task))
    value, grads = engine.gradients(
        engine.with_rules(lean, engine.RELP), task.clean, read, ("resid_pre", "resid_post")
    )
    run = engine.run(lean, task.clean, keep=("resid_pre", "resid_post"))
    for kind in ("resid_pre", "resid_post"):
        for at, slope in zip(run[kind], grads[kind]):
            torch.testing.assert_close((at * slope).sum((-1, -2)), value, atol=1e-4, rtol=1e-4)
    _, plain = engine.gradients(lean, task.clean, read, ("resid_pre",))
    assert ((run["resid_pre"][0] * plain["resid_pre"][0]).sum((-1, -2)) - value).abs().max() > 1e-3


@pytest.mark.parametrize("method", RULES)
def test_edges_out_of_the_embedding_add_up_to_the_estimate_there(any_tiny, ioi, method):
    edges = METHODS[method](any_tiny, ioi)
    there = interp.attribution_patch(any_tiny, ioi, "embed", method=method, direction="noising")
    assert np.nansum(edges.values[0]) == pytest.approx(-float(there.values), abs=2e-5, rel=1e-3)
    assert edges.metadata["method"] == method
    assert np.nanmax(np.abs(edges.values - eap(any_tiny, ioi).values)) > 1e-4


def test_relp_leaves_queries_and_keys_alone(tiny):
    task = interp.tasks.ioi(tiny, n=3)
    edges = relp(tiny, task)
    reads = [i for i, r in enumerate(edges.coords["receiver"]) if r.endswith((".q_in", ".k_in"))]
    assert len(reads) == 18 and np.nanmax(np.abs(edges.values[:, reads])) == 0
    estimate = interp.attribution_patch(tiny, task, "L*H*.q", method="relp")
    assert not estimate.values.any()


def test_hooks_and_models_without_an_engine_are_told(tiny, monkeypatch):
    task = interp.tasks.ioi(tiny, n=3)
    with pytest.raises(ValueError, match="backend='hooks' takes the gradient as it is"):
        interp.attribution_patch(tiny, task, "L*H*", method="gim", backend="hooks")
    monkeypatch.setattr(engine, "find", lambda model: None)
    for method in METHODS:
        with pytest.raises(ValueError, match="only the engine can do that.*use 'eap'"):
            interp.discover(tiny, task, method=method)
        with pytest.raises(ValueError, match="only the engine can do that.*use 'atp'"):
            interp.attribution_patch(tiny, task, "L*H*", method=method)


def test_prompts_of_several_lengths_are_each_run_alone(tiny):
    lines = ["The keys to the cabinet", "The man by the doors of the old house"]
    other = ["The key to the cabinet", "The men by the doors of the old house"]
    one = [
        interp.tasks.pairs(tiny, [a], [b], answers=[" are"], wrong=[" is"])
        for a, b in zip(lines, other)
    ]
    both = interp.tasks.pairs(tiny, lines, other, answers=[" are"] * 2, wrong=[" is"] * 2)
    for method in METHODS.values():
        joined = method(tiny, both, examples=True).examples
        for i, task in enumerate(one):
            np.testing.assert_allclose(joined[..., i], method(tiny, task).values, atol=1e-5)
