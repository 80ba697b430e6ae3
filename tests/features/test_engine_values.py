"""Activations from a model of interp-engine are the hook path's, or are refused before one is kept.

A stand-in answers as the package does, with plain hooks, so that these laws hold everywhere; where
the package is installed, its eager backend answers, too.
"""

import importlib.util
import sys
from types import SimpleNamespace

import pytest
import torch
from families import FAMILIES, make

import interp
from interp import features
from interp.features import engine_values
from interp.models.tiny_models import make as make_tiny
from interp.models.tiny_models import word_tokenizer

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("interp_engine") is None,
    reason="interp-engine is not installed here (pip install 'interp[interp-engine]')",
)
PARTS = {  # of the tiny Llama, by the package's names
    "resid_pre": ("", "input"),
    "resid_mid": ("post_attention_layernorm", "input"),
    "resid_post": ("", "output"),
    "attn_out_post": ("self_attn.o_proj", "output"),
    "z": ("self_attn.o_proj", "input"),
    "mlp_in": ("mlp", "input"),
    "mlp_pre": ("mlp.gate_proj", "output"),
    "mlp_act": ("mlp.down_proj", "input"),
    "mlp_out_post": ("mlp", "output"),
}
SITES = [
    "embed",
    "resid_pre.1",
    "resid_mid.1",
    "resid_post.1",
    "attn.1",
    "attn.1.in",
    "L1H*.z",
    "L1H2.z",
    "mlp.1",
    "mlp.1.in",
    "mlp.1.pre",
    "mlp.1.post",
    "mlp.1.module_in",
    "logits.in",
]


class StandIn:
    """A model as interp-engine has it: ids to activations by name."""

    def __init__(self, hf_model, backend="eager"):
        self.hf_model, self.backend, self.calls = hf_model, backend, []

    def describe(self):
        return SimpleNamespace(backend=self.backend)

    def refuses(self, name):
        return "no module\n  boundary carries it" if name == "mlp_pre.2" else None


def capture(engine, tokens, names):
    engine.calls.append(len(tokens))
    found, handles = {}, []

    def keep(name, side):
        if side == "input":
            return lambda module, args: found.update({name: args[0]})
        return lambda module, args, out: found.update(
            {name: out[0] if isinstance(out, tuple) else out}
        )

    for name in names:
        kind, layer = name.split(".")
        path, side = PARTS[kind]
        block = engine.hf_model.model.layers[int(layer)]
        module = block.get_submodule(path)
        if side == "input":
            handles.append(module.register_forward_pre_hook(keep(name, side)))
        else:
            handles.append(module.register_forward_hook(keep(name, side)))
    engine.hf_model(tokens, use_cache=False)
    for handle in handles:
        handle.remove()
    return found


@pytest.fixture
def package(monkeypatch):
    """The stand-in for the package."""
    made = SimpleNamespace(EngineAPI=StandIn, capture=capture)
    monkeypatch.setitem(sys.modules, "interp_engine", made)
    return made


def ids(chunks=5, length=40):
    return torch.randint(5, 200, (chunks, length), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("backend", ["eager", "vllm"])
def test_they_are_the_hook_paths(tiny, package, backend):
    engine = StandIn(make_tiny("tiny")[0], backend)
    found = features.activations(tiny, SITES, ids(60), engine=engine)
    right = features.activations(tiny, SITES, ids(60), backend="hooks")
    assert found.metadata["backend"] == f"interp-engine, {backend}, float32"
    for site in SITES:
        torch.testing.assert_close(found.of(site), right.of(site), atol=1e-5, rtol=1e-5)
    # what has a scheduler is given many prompts at once
    assert engine.calls == ([2, 60] if backend == "vllm" else [2, 25, 25, 10])


def test_other_weights_are_refused_before_anything_is_kept(tiny, package, tmp_path):
    engine = StandIn(make_tiny("tiny", seed=1)[0])
    with pytest.raises(ValueError, match="the same weights"):
        features.activations(tiny, "resid_post.1", ids(), engine=engine, folder=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_heads_in_another_order_are_refused(tiny, package, monkeypatch):
    was = package.capture

    def turned(engine, tokens, names):
        return {name: value.flip(-1) for name, value in was(engine, tokens, names).items()}

    monkeypatch.setattr(package, "capture", turned)
    with pytest.raises(ValueError, match="not those of tiny"):
        features.activations(tiny, "L1H*.z", ids(), engine=StandIn(make_tiny("tiny")[0]))


def test_a_short_number_type_is_taken_and_a_wrong_place_in_it_is_not(tiny, package, monkeypatch):
    engine = StandIn(make_tiny("tiny")[0].to(torch.bfloat16))
    found = features.activations(tiny, "mlp.1", ids(), engine=engine)
    assert found.metadata["backend"] == "interp-engine, eager, bfloat16"
    right = features.activations(tiny, "mlp.1", ids(), backend="hooks").of()
    assert 0 < float((found.of() - right).norm() / right.norm()) < 0.05
    monkeypatch.setitem(engine_values.POINTS, ("mlp", "out"), "attn_out_post.{l}")
    with pytest.raises(ValueError, match="not those of tiny"):
        features.activations(tiny, "mlp.1", ids(), engine=engine)


def test_what_the_engine_does_not_have_is_refused_in_a_sentence(tiny, package):
    engine = StandIn(make_tiny("tiny")[0])
    for site, says in (("L1H1.q", "no address"), ("mlp.2.pre", "no module boundary carries it")):
        with pytest.raises(ValueError, match=says) as error:
            features.activations(tiny, site, ids(), engine=engine)
        assert "leave engine= out" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ValueError, match="leave one of them out"):
        features.activations(tiny, "mlp.1", ids(), engine=engine, backend="hooks")
    with pytest.raises(TypeError, match="interp_engine.load_model"):
        features.activations(tiny, "mlp.1", ids(), engine="vllm")


def test_a_folder_is_of_one_engine(tiny, package, tmp_path):
    engine = StandIn(make_tiny("tiny")[0])
    whole = features.activations(tiny, "mlp.1", ids(), engine=engine, folder=tmp_path)
    again = features.activations(tiny, "mlp.1", ids(), engine=engine, folder=tmp_path)
    torch.testing.assert_close(whole.of(), again.of())
    engine.backend = "vllm"
    with pytest.raises(ValueError, match="other engine"):
        features.activations(tiny, "mlp.1", ids(), engine=engine, folder=tmp_path)


def test_without_the_package_it_says_how_to_get_it(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "interp_engine", None)
    with pytest.raises(ImportError, match=r"pip install \"interp\[interp-engine\]\""):
        features.activations(tiny, "mlp.1", ids(), engine=object())


# --- where the package is installed ---------------------------------------------------------------

ALL = [name for name, family in FAMILIES.items() if family.refused is None]
FEW = ("gpt2", "llama", "gemma2", "neox-parallel", "phi", "bloom")


@needs_package
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FEW else pytest.mark.slow) for n in ALL]
)
def test_the_packages_eager_backend_gives_the_hook_paths_numbers(name):
    import interp_engine

    tokenizer = word_tokenizer()
    model = interp.load(make(name, len(tokenizer)), tokenizer=tokenizer)
    engine = interp_engine.EagerModel(
        name, hf_model=make(name, len(tokenizer)), tokenizer=tokenizer
    )
    given = []
    for site in SITES:
        try:
            right = features.activations(model, site, ids(), backend="hooks")
        except ValueError:  # no such place in this family
            continue
        try:
            found = features.activations(model, site, ids(), engine=engine)
        except ValueError as error:
            assert "does not give" in str(error) and "\n" not in str(error)
            continue
        given.append(site)
        scale = float(right.of().abs().max())
        torch.testing.assert_close(found.of(), right.of(), atol=1e-5 * scale, rtol=0)
    assert {"resid_pre.1", "resid_post.1", "attn.1", "mlp.1"} <= set(given)
