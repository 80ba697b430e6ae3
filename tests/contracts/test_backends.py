"""One contract for every verb that runs on the engine or on hooks: the same numbers, and the Result
names the backend. A verb with a `backend` that is missing here fails the last test.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY
from families import make

import interp
from interp import features
from interp._lazy import homes
from interp.features import site_values
from interp.methods.attention.task_scores import gradients_at_z
from interp.methods.circuits.discovery import discover
from interp.methods.circuits.edges import BY, Edges, edge_mask
from interp.methods.patching.patched_logits import patched_logits
from interp.methods.runs.metrics import metric_of
from interp.methods.steering.soft_injection import mix_loss
from interp.models import bridge
from interp.models.tiny_models import word_tokenizer

pytestmark = pytest.mark.slow

BACKENDS = ("engine", "hooks")
NAME = "backend"


@dataclass(frozen=True)
class Call:
    """One call of the contract: `run(model, task, backend)` gives a Result, or tensors."""

    run: Callable[[Any, Any, str], Any]
    atol: float = 1e-4
    rtol: float = 1e-4
    zero: bool = False  # whether the numbers may all be 0
    count: bool = False  # of thousands of logits two may lie closer than rounding: ranks move by 1
    named: bool = True  # whether the Result names its backend


def with_sites(verb: str, sites: list, **options: Any) -> dict[str, Call]:
    """The verb at each of the sites."""
    tolerance = {k: options.pop(k) for k in ("atol", "rtol") if k in options}
    label = ", ".join(f"{k}={v}" for k, v in options.items())

    def call(where: Any) -> Call:
        def run(model: Any, task: Any, backend: str) -> Any:
            at = where
            if "resid_mid" in str(where) and bridge.dims(model).parallel:
                at = where.replace("resid_mid", "resid_post")
            return getattr(interp, verb)(model, task, at, backend=backend, **options)

        # nothing differs at S1: all is 0 there
        return Call(run, **tolerance, zero=where == "resid_post.*@S1")

    return {f"{verb} {where} {label}": call(where) for where in sites}


def of(verb: Callable[..., Any], *args: Any, **options: Any) -> Call:
    """A verb with arguments that need neither the model nor the task."""
    tolerance = {k: options.pop(k) for k in ("atol", "rtol", "count", "zero") if k in options}

    def run(model: Any, task: Any, backend: str) -> Any:
        return verb(model, task, *args, backend=backend, **options)

    return Call(run, **tolerance)


HEADS = ["L*H*", "L*H*@END", "L*H*@S2", "L*H*.z@*", "L*H*.q", "L*KV*.k", "L*KV*.v@S2"]
PATTERNS = ["L*H*.pattern", "L*H*.pattern@END", "L*H*.scores@S2"]
LAYERS = ["attn.*", "attn.*@*", "attn.*.in", "mlp.*", "mlp.*@*", "mlp.*.in"]
STREAM = ["embed", "embed@*", "resid_pre.*@*", "resid_mid.*@*", "resid_post.*@S1"]
EVERY_SITE = [*HEADS, *PATTERNS, *LAYERS, "mlp.1.post#*", "mlp.*.post@END", *STREAM]
DIFFERENTIABLE = [
    *["L*H*", "L*H*@*", "L*H*.z@END", "L*H*.q", "L*H*.pattern", "L*H*.scores@END", "L*KV*.k"],
    *["L*KV*.k@*", "L*KV*.v@S2", "resid_pre.*@*", "resid_post.*@END", "embed@*", "attn.*"],
    *["attn.*.in", "mlp.*@*", "mlp.*.in", "mlp.*.post#*"],
]
ABLATED = [
    *["L*H*", "L*H*@S2", "mlp.*", "L*KV*.v"],
    *[["L0H1", "L1H2", "mlp.2"], [["L0H1"], ["L1H2", "L2H0@END"]]],
]
TRACED = [
    "resid_pre.*@*",
    "mlp.*@*",
    "attn.*@S2",
    "L*H*",
    [["mlp.0", "attn.1@END"], ["resid_pre.1"]],
]
PATHS = [
    ("L*H*", "L2H1.q_in@END"),
    ("L*H*", ["L1H1.q_in@END", "L2H3.q_in@END"]),
    ("L0H1@*", "L2KV0.k_in"),
    ("embed", "L*KV*.v_in@S2"),
    ("mlp.*", "mlp.*.in"),
    ("attn.*", ["attn.1.in", "mlp.2.in@END"]),
    (
        ["L0H0@S1", "L0H0@S2", "L1H2", "mlp.1@END", "embed"],
        ["L1H3.q_in", "mlp.1.in", "L2KV1.v_in@S2", "logits.in"],
    ),
    ([["L0H0"], ["L1H1", "mlp.0"]], [["L2H0.q_in"], ["mlp.1.in", "attn.2.in"]]),
    (["L0H1", "L1H0", "L2H2"], ["L1H1.q_in", "L1KV0.k_in", "logits.in@END"]),
    ("L0H*", "L*H1.q_in@END"),
]
TOKEN_SETS = {"names": ["IO", "S1"], "S2": "S2", "first token": 0}
RUNS = interp.methods.runs
CALLS: dict[str, Call] = {}

for direction in ("denoising", "noising"):
    CALLS |= with_sites("patch", EVERY_SITE, direction=direction, atol=2e-4)
for by in ("mean", "zero", "resample"):
    CALLS |= with_sites("ablate", ABLATED, by=by, atol=2e-4)
for metric in ("logit_diff", "prob", "prob_diff", "log_prob", "rank", "accuracy", "top1"):
    CALLS[f"patch, {metric}"] = of(
        interp.patch, "L*H*", metric=metric, atol=2e-4, count=metric == "rank", zero=True
    )
for method in ("atp", "atp*", "ig"):
    CALLS |= with_sites("attribution_patch", DIFFERENTIABLE, method=method, steps=2, atol=1e-5)
CALLS |= with_sites("causal_trace", TRACED, subject=("S1", "S2"), samples=2)
for through in ("none", "mlps", "all"):
    for i, (senders, receivers) in enumerate(PATHS):
        CALLS[f"path_patch {i} through {through}"] = of(
            interp.path_patch,
            senders,
            receivers,
            through=through,
            direction="noising" if isinstance(senders, list) else "denoising",
            zero=True,
        )
for where in ("L*H*@END", "resid_pre.*@S2", [["L0H0", "L1H1"], ["mlp.0"]]):
    CALLS[f"patch {where}, attention"] = Call(
        lambda m, t, b, where=where: interp.patch(
            m,
            t,
            where,
            direction="noising",
            metric=RUNS.attention_metric(["L2H0", "L1H1"], "IO", minus="S2", task=t),
            backend=b,
        ),
        atol=2e-5,
    )
for verb in (interp.patch, interp.ablate):
    CALLS[f"{verb.__name__}, KL"] = Call(
        lambda m, t, b, verb=verb: verb(m, t, "L*H*", metric=RUNS.kl_metric(m, t), backend=b)
    )
for at in ("END", "S2:", "~0"):
    for window in (1, 2):
        CALLS[f"attention_knockout {at} in {window}"] = of(
            interp.attention_knockout, at, TOKEN_SETS, window=window
        )
CALLS |= {
    **{
        f"attribute {by}": of(interp.attribute, by=by, **more)
        for by, more in {
            "integrated gradients": {"steps": 4},
            "gradient x input": {},
            "occlusion": {"baseline": " the"},
            "shapley": {"samples": 2},
            "knock-out": {},
        }.items()
    },
    "attention_knockout, heads": of(
        interp.attention_knockout, "END", "S2", heads=["L0H1", "L1H*"], window=2
    ),
    "attention_knockout, attention": Call(
        lambda m, t, b: interp.attention_knockout(
            m, t, "END", "S2", metric=RUNS.attention_metric(["L2H0"], "IO", task=t), backend=b
        )
    ),
    "attention_knockout, relative": of(
        interp.attention_knockout, "END", "S2", metric="prob", unit="relative"
    ),
    "pairwise_ablation": of(interp.methods.ablation.pairwise_ablation, ["L0H1", "L1H*"], atol=2e-4),
    "greedy_ablation": of(
        interp.methods.ablation.greedy_ablation, ["L0H1", "L1H*"], steps=2, atol=2e-4
    ),
}


# --- circuits -------------------------------------------------------------------------------------


def cut(by: str) -> Callable[[Any, Any, str], Any]:
    """The metric of three circuits, the last a mixture of both writes."""

    def run(model: Any, task: Any, backend: str) -> Any:
        edges = Edges(model, task, metric_of(task), by=by, backend=backend)
        there = edge_mask(edges.dims).float()
        drawn = torch.rand(3, *there.shape, generator=torch.Generator().manual_seed(0))
        weights = there * (drawn < 0.5)
        weights[2] *= 0.3
        return edges.cut(weights)

    return run


def slopes_at_activations(model: Any, task: Any, backend: str) -> Any:
    by = "mean" if bridge.name(model) == "tiny" else "resample"
    one, reference = task[:1], task.corrupted
    edges = Edges(model, one, metric_of(one), by=by, reference=reference, backend=backend)
    return edges.slopes_at_activations([0.4])


def scores_of(model: Any, task: Any) -> Any:
    return discover(model, task[:2], method="eap")


for by in BY:
    # what is left of a stream cut to nothing is small, and the norm divides by it
    CALLS[f"cut by {by}"] = Call(cut(by), atol=1e-3 if by == "zero" else 2e-5)
for by in ("resample", "mean"):
    CALLS[f"eap by {by}"] = of(discover, method="eap", by=by, atol=2e-5)
    CALLS[f"eap_ig by {by}"] = of(discover, method="eap_ig", by=by, steps=3, atol=2e-5)
CALLS |= {
    "slopes at activations": Call(slopes_at_activations, atol=1e-5, rtol=0),
    "exact": Call(
        lambda m, t, b: discover(m, t[:1], method="exact", backend=b), atol=2e-4, rtol=1e-3
    ),
    "node_attribution": of(discover, method="node_attribution", atol=2e-5),
    "jacobian_lens": Call(
        lambda m, t, b: interp.jacobian_lens(m, t.clean, skip=2, cached=False, backend=b).weight,
        named=False,
    ),
    "magnitude": of(discover, method="magnitude", atol=2e-5),
    "acdc": Call(lambda m, t, b: discover(m, t[:2], method="acdc", tau=1e-5, among=12, backend=b)),
    "evaluate": Call(
        lambda m, t, b: interp.evaluate(
            m, t, interp.Circuit.top(scores_of(m, t), 40), sets=1, backend=b
        ),
        atol=1e-3,
        rtol=1e-3,
    ),
    "minimality": Call(
        lambda m, t, b: interp.methods.circuits.minimality(
            m, t, interp.Circuit.top(scores_of(m, t), 40), of="components", backend=b
        ),
        atol=1e-3,
        rtol=1e-3,
    ),
    "faithfulness_curve": Call(
        lambda m, t, b: interp.faithfulness_curve(m, t, scores_of(m, t), (0.1, 0.5), backend=b),
        atol=1e-3,
        rtol=1e-3,
    ),
}


# --- text, steering, features ---------------------------------------------------------------------


def text_of(model: Any) -> Any:
    return interp.tasks.text(model, n=3, length=12)


def text_loss(model: Any, task: Any, backend: str) -> Any:
    text = text_of(model)
    return interp.ablate(model, text, "L*H*", metric=RUNS.loss_metric(text), backend=backend)


def text_gradients(model: Any, task: Any, backend: str) -> Any:
    text = text_of(model)
    return gradients_at_z(model, text, backend, metric=RUNS.loss_metric(text))


def mixed(model: Any, task: Any, backend: str) -> Any:
    """The loss of a mix of means, and its gradient in the shares."""
    means = interp.run(model, task, keep=["L*H*.z@-1"]).kept["L*H*.z@-1"].mean(2)
    loss_of, ran = mix_loss(model, means, task, backend)
    assert ran == backend
    shares = torch.rand(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    loss = loss_of(shares)
    return loss.detach(), torch.autograd.grad(loss, shares)[0]


def logits_when_patched(model: Any, task: Any, backend: str) -> Any:
    clean, patched = patched_logits(model, task, "noising", backend=backend)
    sites = ("resid_pre.1@-1", "L1H2", "mlp.0@3", "attn.2@END", ["L0H1", "mlp.1@-1"])
    return [clean, *(patched(site) for site in sites)]


def ids() -> torch.Tensor:
    return torch.randint(2, 90, (8, 16), generator=torch.Generator().manual_seed(0))


SITES = ("embed", "resid_pre.1", "resid_post.2", "mlp.1", "mlp.1.in", "mlp.1.post", "attn.2")


def dictionary(site: str = "resid_post.1") -> features.Dictionary:
    g = torch.Generator().manual_seed(1)
    shapes = {"W_enc": (32, 40), "W_dec": (40, 32), "b_enc": (40,), "b_dec": (32,)}
    weights = {k: 0.2 * torch.randn(*s, generator=g) for k, s in shapes.items()}
    return features.Dictionary("standard", weights, site)


CALLS |= {
    "ablate, text loss": Call(text_loss, atol=2e-5),
    "gradients of the text loss": Call(text_gradients, atol=1e-6),
    "gradients_at_z": Call(lambda m, t, b: gradients_at_z(m, t, b), atol=2e-4, rtol=1e-3),
    "mix_loss": Call(mixed, rtol=1e-3),
    "soft_injection": Call(
        lambda m, t, b: interp.methods.steering.soft_injection(m, t, t, steps=2, backend=b).mix,
        atol=1e-3,
        rtol=1e-3,
        named=False,
    ),
    "interchange, sweep": of(interp.interchange, "L*H*@S2", zero=True),
    "interchange, in a subspace": of(
        interp.interchange, subspace=interp.Subspace(torch.eye(32)[:, ::2], "resid_post.1@S2")
    ),
    "align": Call(
        lambda m, t, b: (
            interp.align(m, t, "mlp.1@S2", k=2, steps=2, controls=False, backend=b).basis
        ),
        atol=1e-3,
        rtol=1e-3,
        named=False,
    ),
    "patched_logits": Call(logits_when_patched),
    "site_values": Call(
        lambda m, t, b: [
            site_values.values(m, ids()[:5], [site], b)[site]
            for site in (*SITES, "L1H*.z", "L1H2.z", "logits.in")
        ]
    ),
    "activations": Call(
        lambda m, t, b: [
            features.activations(m, site, ids(), backend=b).of() for site in ("mlp.1", "L1H*.z")
        ]
    ),
    "features.evaluate": Call(
        lambda m, t, b: (
            features.evaluate(m, [dictionary()], ids(), backend=b)
            .sel(measure=["loss, spliced", "loss, plain", "loss, mean ablated"])
            .values
        )
    ),
    "latent_attribution": Call(
        lambda m, t, b: features.latent_attribution(
            m, t, dictionary(), method="gradient", backend=b
        )
    ),
    "latent_attribution, positions": Call(
        lambda m, t, b: features.latent_attribution(
            m, t, dictionary(), method="gradient", by="position", backend=b
        )
    ),
    "error_losses": Call(
        lambda m, t, b: features.error_losses(
            m, dictionary(), features.activations(m, "resid_post.1", ids()), ids(), backend=b
        ),
        named=False,
    ),
    "firings": Call(lambda m, t, b: features.firings(m, dictionary(), on=ids(), backend=b).values),
}


# --- the contract ---------------------------------------------------------------------------------


# norms after attention and MLP, soft caps and a window shorter than the prompt; norms only after,
# and one over all heads
NORMED = {"gemma2": dict(sliding_window=14), "olmo2": {}}
OTHERS = (pytest.param(kind, marks=pytest.mark.architecture) for kind in (*TINY[1:], *NORMED))
KINDS = [TINY[0], *OTHERS]


@pytest.fixture(scope="module")
def models(_tiny):
    tokenizer = word_tokenizer()
    made = {k: make(k, len(tokenizer), num_hidden_layers=3, **more) for k, more in NORMED.items()}
    return _tiny | {k: interp.load(hf, tokenizer=tokenizer) for k, hf in made.items()}


@pytest.fixture(scope="module")
def tasks(models):
    return {kind: interp.tasks.ioi(model, n=4, seed=0) for kind, model in models.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CALLS)
def test_engine_and_hooks_give_the_same_numbers(models, tasks, kind, name):
    call, model, task = CALLS[name], models[kind], tasks[kind]
    fast, slow = (call.run(model, task, backend) for backend in BACKENDS)
    if isinstance(fast, interp.Result):
        assert not call.named or [r.metadata[NAME] for r in (fast, slow)] == list(BACKENDS)
        assert fast.dims == slow.dims and fast.coords == slow.coords
        fast, slow = (r.values if r.examples is None else r.examples for r in (fast, slow))
    several = isinstance(fast, list | tuple)
    for a, b in zip(fast, slow, strict=True) if several else [(fast, slow)]:
        a, b = (np.asarray(x.detach() if isinstance(x, torch.Tensor) else x) for x in (a, b))
        assert call.zero or np.nanmax(np.abs(b)) > 1e-4, "nothing was measured"
        if call.count:
            assert np.abs(a - b).max() <= 1 and (a != b).mean() < 0.05
        else:
            np.testing.assert_allclose(a, b, atol=call.atol, rtol=call.rtol)


ELSEWHERE = {  # refused by hooks, or held to it by laws of their own
    "edge_pruning": "tests/methods/circuits/test_discovery.py: the gradients are equal"
}


def test_every_verb_with_a_backend_is_in_the_table():
    package = Path(interp.__file__).parent
    stubs = [homes(stub) for stub in package.rglob("__init__.pyi")]
    found = set()
    for home in {home for stub in stubs for home in stub.values()}:
        module, name = home.split(":")
        thing = getattr(import_module(module), name, None)
        if inspect.isfunction(thing) and NAME in inspect.signature(thing).parameters:
            found.add(name)
    tried = " ".join(CALLS)
    assert {name for name in found if name not in tried} - set(ELSEWHERE) == set()
