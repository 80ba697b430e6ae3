"""What a model of interp-engine writes is what the hook path writes, or is refused beforehand."""

import contextlib
import importlib.util
import sys
from types import SimpleNamespace

import pytest
import torch
from families import FAMILIES, make

import interp
from interp.models.tiny_models import make as make_tiny
from interp.models.tiny_models import word_tokenizer

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("interp_engine") is None,
    reason="interp-engine is not installed here (pip install 'interp[interp-engine]')",
)
TEXTS = ["When Mary and John went to the store", "The capital of France is", "The dog saw"]
FEW = ("gpt2", "llama", "gemma2", "neox-parallel", "phi", "qwen3")


class StandIn:
    """A model as interp-engine has it."""

    def __init__(self, hf_model):
        self.hf_model = hf_model


@contextlib.contextmanager
def steer(engine, specs, *, prompt_token_ids, position_mask, generated):
    """Adds each spec's vector after its layer, as the package's own does, without a cache."""
    prompt, handles = len(prompt_token_ids), []
    for layer, vector in specs:

        def add(module, args, output, vector=vector):
            held = torch.ones(output.shape[1], dtype=torch.bool)
            held[position_mask] = False
            held[prompt:] = generated
            return output + held[:, None] * vector

        handles.append(engine.hf_model.model.layers[layer].register_forward_hook(add))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def capture(engine, ids, names):
    found = {}

    def keep(module, args, output):
        found[names[0]] = output

    layer = int(names[0].split(".")[1])
    handle = engine.hf_model.model.layers[layer].register_forward_hook(keep)
    engine.hf_model(ids, use_cache=False)
    handle.remove()
    return found


def generate_stream(engine, ids, *, max_tokens, stop_at_eos, **sampling):
    assert sampling["temperature"] == 0 and not stop_at_eos
    for _ in range(max_tokens):
        new = engine.hf_model(ids, use_cache=False).logits[:, -1].argmax(-1)
        ids = torch.cat([ids, new[:, None]], 1)
        yield SimpleNamespace(token_id=int(new))


@pytest.fixture
def package(monkeypatch):
    """The stand-in for the package."""
    made = SimpleNamespace(
        EngineAPI=StandIn,
        steer=steer,
        capture=capture,
        generate_stream=generate_stream,
        AddSpec=lambda vector, scale: vector * scale,
        SteeringSpec=SimpleNamespace(at=lambda at, v: (int(at.removeprefix("resid_post.")), v)),
    )
    monkeypatch.setitem(sys.modules, "interp_engine", made)
    return made


def push(d_model, where, strength=6.0, **options):
    drawn = torch.randn(d_model, generator=torch.Generator().manual_seed(3))
    return interp.Direction(drawn, "resid_post.0").push(strength, at=where, **options)


def cases(d_model):
    """Interventions by name, and the other options."""
    return {
        "none": ([], {}),
        "nothing": ([push(d_model, "resid_post.1", 0.0)], {}),
        "all but the first": ([push(d_model, "resid_post.0")], {}),
        "the newest": ([push(d_model, "resid_post.0@END")], {}),
        "one position": ([push(d_model, "resid_post.0@2")], {}),
        "before a layer": ([push(d_model, "resid_pre.1@-1")], {}),
        "every layer": ([push(d_model, "resid_post.*@END", 2.0)], {}),
        "two": ([push(d_model, "resid_post.0"), push(d_model, "resid_post.1", -3.0)], {}),
        "prompt alone": ([push(d_model, "resid_post.0")], {"every_token": False}),
        "the prompt's end alone": ([push(d_model, "resid_post.0@END")], {"every_token": False}),
    }


def same_text(model, engine, d_model):
    plain = [str(g) for g in interp.generate(model, TEXTS, max_new_tokens=6)]
    changed = 0
    for name, (edits, options) in cases(d_model).items():
        right = interp.generate(model, TEXTS, edits, max_new_tokens=6, **options)
        found = interp.generate(model, TEXTS, edits, max_new_tokens=6, engine=engine, **options)
        assert [str(g) for g in found] == [str(g) for g in right], name
        changed += [str(g) for g in right] != plain
    return changed


def test_it_is_the_hook_paths_text(tiny, package):
    assert same_text(tiny, StandIn(make_tiny("tiny")[0]), 32) >= 5


def test_another_model_or_another_steering_is_refused_before_a_word_is_written(tiny, package):
    with pytest.raises(ValueError, match="not those of tiny"):
        interp.generate(tiny, TEXTS, engine=StandIn(make_tiny("tiny", seed=1)[0]))
    engine = StandIn(make_tiny("tiny")[0])
    package.AddSpec = lambda vector, scale: -vector
    with pytest.raises(ValueError, match="not those of tiny"):
        interp.generate(tiny, TEXTS, [push(32, "resid_post.0")], engine=engine)


@pytest.mark.parametrize(
    "edit",
    [
        push(32, "resid_post.0", how="project_out", strength=1.0),
        push(32, "resid_post.0", how="set", strength=1.0),
        interp.Intervention("resid_post.0", interp.edits.scale(2.0)),
        interp.Intervention("resid_post.0", interp.edits.zero()),
        interp.Intervention("mlp.1", interp.edits.add(torch.ones(32))),
        interp.Intervention("L1H0.z", interp.edits.add(torch.ones(8))),
        interp.Intervention("resid_pre.0", interp.edits.add(torch.ones(32))),
        interp.Intervention("resid_post.0", interp.edits.add(torch.ones(32)), rows=slice(1)),
        interp.Intervention("resid_post.1", lambda a, s: a + s["mlp.0"], reads=("mlp.0",)),
        interp.Intervention(
            "resid_post.0", lambda a, s: a + torch.arange(a.shape[1])[None, :, None]
        ),
        interp.Intervention("resid_post.0", lambda a, s: a + 0.1 * a.relu()),
    ],
)
def test_what_is_no_addition_to_the_stream_is_refused(tiny, package, edit):
    engine = StandIn(make_tiny("tiny")[0])
    with pytest.raises(ValueError, match="leave engine= out") as error:
        interp.generate(tiny, TEXTS[0], [edit], engine=engine)
    assert "\n" not in str(error.value)


def test_what_would_mean_another_text_is_refused(tiny, package):
    engine = StandIn(make_tiny("tiny")[0])
    both = [push(32, "resid_post.0"), push(32, "resid_post.1@END")]
    with pytest.raises(ValueError, match="different positions"):
        interp.generate(tiny, TEXTS[0], both, engine=engine)
    with pytest.raises(ValueError, match="a generator of its own"):
        interp.generate(tiny, TEXTS[0], engine=engine, temperature=1.0)
    with pytest.raises(TypeError, match="interp_engine.load_model"):
        interp.generate(tiny, TEXTS[0], engine="vllm")


@needs_package
@pytest.mark.parametrize("name", FEW)
def test_the_packages_eager_backend_writes_the_hook_paths_text(name):
    import interp_engine

    assert FAMILIES[name].refused is None
    tokenizer = word_tokenizer()
    model = interp.load(make(name, len(tokenizer)), tokenizer=tokenizer)
    engine = interp_engine.EagerModel(
        name, hf_model=make(name, len(tokenizer)), tokenizer=tokenizer
    )
    assert same_text(model, engine, 32) >= 4
