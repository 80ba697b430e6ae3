"""Every public verb off the CPU, on a pretend device: it runs, and gives the numbers that the CPU
gives.
"""

import dataclasses
import inspect
from pathlib import Path
from tempfile import TemporaryDirectory

import elsewhere
import numpy as np
import pytest
import torch
from dictionaries import cross_layer

import interp
from interp import features, methods, widgets
from interp._lazy import homes
from interp._numbers import to_numpy
from interp.circuits import Circuit
from interp.interventions import Intervention
from interp.methods.inputs.attribute import METHODS

pytestmark = pytest.mark.slow

TEXT = "The capital of France is"
TEXTS = ["The capital of France is", "I think that", "The river is"]
HOOKS = {
    "backend" if "backend" in inspect.signature(interp.patch).parameters else "backend": "hooks"
}
ANSWER = ["Paris"]
PUSHES = {"a": 1.0, "b": -1.0}


def ids(n=6, length=12):
    return torch.randint(
        5, 200, (n, length), generator=torch.Generator("cpu").manual_seed(0), device="cpu"
    )


def sae(site="resid_post.1", to=None, seed=1):
    """A random dictionary, on the CPU as one that was loaded from disk is."""
    g = torch.Generator("cpu").manual_seed(seed)

    def draw(*shape):
        return 0.3 * torch.randn(*shape, generator=g, dtype=torch.float32, device="cpu")

    weights = {"W_enc": draw(32, 40), "W_dec": draw(40, 32), "b_dec": draw(32), "b_enc": draw(40)}
    settings = {"apply_b_dec_to_input": False}
    return features.Dictionary("standard", weights, site, f"random {seed}", to, settings)


def graph(m):
    sites = [sae("mlp.1.in", "mlp.1"), sae("resid_post.2")]
    return features.graph(m, ids(1, 6), sites, answers=ANSWER, nodes=None, edges=None)


def clamped(m):
    """What graph and model say of a feature that is switched off, on the widget."""
    found = graph(m)
    name = next(n.name for n in found.nodes if n.kind == "feature")
    shown = widgets.graph(found, m, values={name: 0.0}, node=name)
    widget(shown)
    return shown.reply["rows"], shown.card


def transcoders(m):
    with TemporaryDirectory() as folder:
        sizes = dict(width=48, k=4, tokens=300, batch=100)
        found = features.train_transcoders(m, [1], ids(40), folder=folder, **sizes)
        # it runs and is read again; activations of 16 bits lie too far apart for more
        return [list(one.W_dec.shape) for one in found]


def features_of(found):
    return [node.name for node in found.nodes if node.kind == "feature"][:1]


def direction(sign=1.0):
    g = torch.Generator("cpu").manual_seed(3)
    drawn = torch.randn(32, generator=g, dtype=torch.float32, device="cpu")
    return interp.methods.steering.Direction(sign * drawn, "resid_post.1@END")


def scores(m, t):
    return interp.discover(m, t, method="eap")


def circuit(m, t):
    return Circuit.top(scores(m, t), 40)


def prompted(m):
    return features.prompt_activations(m, "resid_post.1", list(ids(12)))


LABELS = ["a", "b", "c"] * 4


def acts(m, site="resid_post.1"):
    return features.activations(m, site, ids(40))


def edited(m, t, edit):
    """The logits of a run with one head's pattern edited."""
    return interp.run(m, t, [Intervention("L1H0.pattern", edit)]).logits


def widget(made):
    """What a widget shows once its work is done."""
    try:
        made.wait()
        assert not made.problem, made.trouble or made.problem
        made.png()
        return made.value
    finally:
        made.close()


def ordered(m):
    """Prompts of two kinds, and which kind each is."""
    prompts = interp.tasks.ioi(m, n=32)
    return prompts, [order == "ABBA" for order in prompts.labels["order"]]


def read_again(m, t):
    """A Jacobian lens, saved and read, at work."""
    with TemporaryDirectory() as folder:
        lens = interp.jacobian_lens(m, ids(), layers=[1], skip=2, cached=False)
        lens = interp.methods.lenses.read_jacobian_lens(lens.save(Path(folder) / "lens.pt"), m)
    return interp.logit_lens(m, t, lens=lens)


def before_and_after(m, t, **options):
    """What a fine-tuned model does, and the losses on the way."""
    tuned = interp.finetune(m, t, **options)
    return tuned.sheet, tuned.heldout, tuned.losses, tuned.changes


def trained_again(m, t):
    """The logits of a model that was trained, kept and read."""
    with TemporaryDirectory() as folder:
        tuned = interp.finetune(m, t, how="lora", steps=2)
        path = tuned.save(Path(folder) / "it.safetensors")
        return interp.run(interp.methods.finetuning.read_finetuned(path, m).model, t).logits


VERBS = {
    "ablate": lambda m, t: interp.ablate(m, t, "L*H*"),
    "ablate, hooks": lambda m, t: interp.ablate(m, t, "mlp.*@END", by="resample", **HOOKS),
    "ablate, zero": lambda m, t: interp.ablate(m, t, "L*H*", by="zero"),
    "attention_between": lambda m, t: interp.methods.attention.attention_between(m, t, "END", "S2"),
    **{
        f"attribute, {by}": lambda m, t, by=by: interp.attribute(m, t, by=by, steps=2, samples=2)
        for by in METHODS
    },
    "attribute, hooks": lambda m, t: interp.attribute(m, t, by="occlusion", **HOOKS),
    "attention_knockout": lambda m, t: interp.attention_knockout(m, t, "END", "S2", window=1),
    "attention_knockout, hooks": lambda m, t: interp.attention_knockout(
        m, t, "END", "S2", window=2, **HOOKS
    ),
    "attention_patterns": lambda m, t: interp.attention_patterns(m, t, "L*H*", weighted=True),
    "attention_received": lambda m, t: interp.methods.attention.attention_received(m, t),
    "attention_metric": lambda m, t: interp.patch(
        m,
        t,
        "L*H*",
        metric=interp.methods.runs.attention_metric(["L2H0"], "IO", minus="S2", task=t),
    ),
    "attribution_patch": lambda m, t: interp.attribution_patch(m, t, "L*H*"),
    "attribution_patch, hooks": lambda m, t: interp.attribution_patch(m, t, "L*H*", **HOOKS),
    "attribution_patch, atp*": lambda m, t: interp.attribution_patch(
        m, t, "L*KV*.k@*", method="atp*"
    ),
    "attribution_patch, ig": lambda m, t: interp.attribution_patch(m, t, "mlp.*@*", method="ig"),
    "attribution_patch, neurons": lambda m, t: interp.attribution_patch(m, t, "mlp.1.post#*"),
    "causal_trace": lambda m, t: interp.causal_trace(m, t, "mlp.*@*", subject="S2", samples=2),
    "causal_trace, hooks": lambda m, t: interp.causal_trace(
        m, t, "mlp.*@END", subject="S2", samples=2, **HOOKS
    ),
    "composition": lambda m, t: interp.methods.weights.composition(
        m, receivers="L2H0", kind="q", rotations=2
    ),
    "composition, components": lambda m, t: interp.methods.weights.composition(
        m, receivers="L2H0", kind="v", rotations=2, components=True
    ),
    "cross_entropy": lambda m, t: interp.methods.text.cross_entropy(m, t.clean),
    "difference_of_means": lambda m, t: interp.methods.steering.difference_of_means(
        m, t, where="resid_post.1@END"
    ),
    "attention_by_distance": lambda m, t: interp.methods.attention.attention_by_distance(m, t),
    "effect": lambda m, t: interp.methods.patching.effect(m, t, direction().push(2.0)),
    "evaluate": lambda m, t: interp.evaluate(m, t, circuit(m, t)),
    "evaluate, hooks": lambda m, t: interp.evaluate(m, t, circuit(m, t), sets=1, **HOOKS),
    "evaluate, mean": lambda m, t: interp.evaluate(m, t, circuit(m, t), sets=1, by="mean"),
    "pattern_variance_explained": lambda m, t: interp.methods.attention.pattern_variance_explained(
        m, t, components=3
    ),
    "faithfulness_curve": lambda m, t: interp.faithfulness_curve(m, t, scores(m, t), (0.1, 0.5)),
    "function_vector": lambda m, t: interp.methods.steering.function_vector(m, t, heads=3),
    "generate": lambda m, t: interp.generate(m, TEXTS, [direction().push()], max_new_tokens=3),
    "generate, drawn": lambda m, t: interp.generate(m, TEXT, max_new_tokens=3, temperature=1.0),
    "greedy_ablation": lambda m, t: interp.methods.ablation.greedy_ablation(m, t, "L*H*", steps=2),
    "head_scores": lambda m, t: interp.head_scores(m),
    "head_scores, importance": lambda m, t: interp.head_scores(m, ["ablation", "gradient"], on=t),
    "injection_interventions": lambda m, t: (
        interp.run(m, t, interp.methods.steering.injection_interventions(m, t, 0.5)).logits
    ),
    "kl_metric": lambda m, t: interp.patch(
        m, t, "L*H*", metric=interp.methods.runs.kl_metric(m, t)
    ),
    "logit_attribution": lambda m, t: interp.logit_attribution(m, t),
    "logit_lens": lambda m, t: interp.logit_lens(m, t, "resid_post.*@*", metric="rank"),
    "patched_logits": lambda m, t: interp.methods.patching.patched_logits(m, t)[1]("L1H0"),
    "matched_kl_strengths": lambda m, t: interp.methods.steering.matched_kl_strengths(
        m, TEXTS, {"a": direction()}, tolerance=0.2
    ),
    "minimality": lambda m, t: interp.methods.circuits.minimality(
        m, t, Circuit.top(scores(m, t), 8)
    ),
    "ov_readout": lambda m, t: interp.methods.weights.ov_readout(m, "L1H0", [5, 6], k=3),
    "pairwise_ablation": lambda m, t: interp.methods.ablation.pairwise_ablation(
        m, t, ["L0H1", "L1H0", "L2H3"]
    ),
    "patch": lambda m, t: interp.patch(m, t, "resid_pre.*@*"),
    "patch, hooks": lambda m, t: interp.patch(m, t, "L*H*@IO", **HOOKS),
    "patch, pattern": lambda m, t: interp.patch(m, t, "L*H*.pattern@END"),
    "patchscope": lambda m, t: (
        interp.methods.lenses.patchscope(
            m, TEXT, source="resid_post.*@-1", target="resid_post.1@-2", max_new_tokens=2
        ).result
    ),
    "path_patch": lambda m, t: interp.path_patch(m, t, "L*H*", "logits.in"),
    "path_patch, hooks": lambda m, t: interp.path_patch(
        m, t, "L0H*", "L2H1.q_in@END", through="mlps", **HOOKS
    ),
    "pattern_components": lambda m, t: interp.methods.attention.pattern_components(m, t),
    "qk_readout": lambda m, t: interp.methods.weights.qk_readout(m, "L1H0", [5, 6], k=3),
    "random_tokens": lambda m, t: interp.attention_knockout(
        m, t, "END", interp.methods.ablation.token_set(t, "S2")
    ),
    "ranked_ablation": lambda m, t: interp.methods.ablation.ranked_ablation(
        m, t, ["L0H1", "L1H0"], [1, 2], sets=2
    ),
    **{
        f"finetune, {how}": lambda m, t, how=how, more=more: before_and_after(
            m, t, how=how, steps=2, **more
        )
        for how, more in {"full": {"layers": [1]}, "lora": {}, "offsets": {"heads": "L1H*"}}.items()
    },
    "read_finetuned": lambda m, t: trained_again(m, t),
    "run": lambda m, t: interp.run(m, t, keep=["L*H*.z@IO", "resid_post.1"]),
    "steering_side_effect": lambda m, t: interp.methods.steering.steering_side_effect(
        m, TEXTS, direction()
    ),
    "activation_norms": lambda m, t: interp.methods.attention.activation_norms(m, t),
    "soft_injection": lambda m, t: interp.methods.steering.soft_injection(m, t, t, steps=2),
    "soft_injection, hooks": lambda m, t: interp.methods.steering.soft_injection(
        m, t, t, steps=2, **HOOKS
    ),
    "stability": lambda m, t: interp.methods.circuits.stability(
        m, t, method="eap", n=20, resamples=2, seeds=2
    ),
    "steer": lambda m, t: interp.steer(m, t, direction(), other_texts=TEXTS),
    "residual_norms": lambda m, t: interp.methods.attention.residual_norms(m, t),
    "task_vector": lambda m, t: interp.methods.steering.task_vector(m, t, "resid_post.1@END"),
    "loss_metric": lambda m, t: interp.ablate(
        m, t, "L*H*", metric=interp.methods.runs.loss_metric(t)
    ),
    "tuned_lens": lambda m, t: interp.logit_lens(
        m, t, lens=interp.methods.lenses.tuned_lens(m, ids(), steps=3, batch=8, cached=False)
    ),
    "jacobian_lens": lambda m, t: interp.logit_lens(
        m, t, lens=interp.jacobian_lens(m, ids(), skip=2, cached=False)
    ),
    "lens_score": lambda m, t: interp.methods.lenses.lens_score(
        m, ids(), interp.jacobian_lens(m, ids(), skip=2, cached=False)
    ),
    "interchange": lambda m, t: interp.interchange(m, t, "resid_post.*@S2"),
    "interchange, subspace": lambda m, t: interp.interchange(
        m, t, subspace=interp.Subspace(torch.eye(32, device="cpu")[:, ::2], "resid_post.1@S2")
    ),
    "align": lambda m, t: interp.align(m, t, "mlp.1@S2", k=2, steps=2, controls=False).basis,
    "swap_accuracy": lambda m, t: interp.patch(
        m, t, "L*H*", metric=interp.methods.runs.swap_accuracy(t)
    ),
    "random_weights": lambda m, t: interp.run(interp.methods.patching.random_weights(m), t).logits,
    "probe": lambda m, t: interp.probe(m, *ordered(m), "resid_post.*@END"),
    "probe_direction": lambda m, t: (
        interp.methods.probing.probe_direction(m, *ordered(m), "resid_post.1@END").vector
    ),
    "read_jacobian_lens": lambda m, t: read_again(m, t),
    "token_logit_gain": lambda m, t: interp.methods.steering.token_logit_gain(
        m, TEXTS, {"a": direction()}, {"a": 1.0}, {"a": [5, 6]}, [7, 8]
    ),
    "write_lens": lambda m, t: interp.methods.lenses.write_lens(m, t),
    "write_regression": lambda m, t: interp.replications.write_regression(
        m, t, "mlp.1@END", heldout=t
    ),
    "pruned": lambda m, t: interp.run(interp.replications.pruned(m, 0.5, by="random"), t).logits,
    "activation_sparsity": lambda m, t: interp.replications.activation_sparsity(
        m, ids(), fit=ids(4), errors=[0, 0.2], by="random"
    ),
    "task.behaviour": lambda m, t: t.behaviour(m),
    "task.answered": lambda m, t: t.with_metric("rank").clean_metric(m),
    "edits.reweight": lambda m, t: edited(m, t, interp.edits.reweight({0: 0.5})),
    "edits.remove_sink": lambda m, t: edited(m, t, interp.edits.remove_sink()),
    "edits.force_attention": lambda m, t: edited(
        m, t, interp.edits.force_attention(interp.methods.ablation.token_set(t, "S2"))
    ),
    "edits.counterfactual_pattern": lambda m, t: edited(
        m, t, interp.edits.counterfactual_pattern("previous")
    ),
    "edits.project_out": lambda m, t: interp.methods.patching.effect(
        m, t, direction().push(1.0, how="project_out")
    ),
}
for method in interp.methods.circuits.discovery.METHODS:
    few = {"steps": 3} if method == "edge_pruning" else {}
    VERBS[f"discover, {method}"] = lambda m, t, method=method, few=few: interp.discover(
        m, t, method=method, **few
    )
for method in ("eap", "exact", "acdc"):
    VERBS[f"discover, {method}, hooks"] = lambda m, t, method=method: interp.discover(
        m, t[:2], method=method, **HOOKS, **({"among": 5} if method == "acdc" else {})
    )

FEATURES = {
    "ablate": lambda m, t: interp.run(m, t, features.ablate(sae(), [3, 9])).logits,
    "absorption": lambda m, t: features.absorption(sae(), acts(m).of()[:120], LABELS * 10),
    "activations": lambda m, t: acts(m, ["resid_post.1", "L1H*.z"]).of("L1H*.z"),
    "activations, hooks": lambda m, t: features.activations(m, "mlp.1", ids(), **HOOKS).of(),
    "l0_difficulty_correlation": lambda m, t: features.l0_difficulty_correlation(
        m, [sae(), sae(seed=2)], acts(m), ids(20)
    ),
    "latent_attribution": lambda m, t: features.latent_attribution(m, t, sae(), steps=2),
    "latent_attribution, hooks": lambda m, t: features.latent_attribution(
        m, t, sae(), steps=2, **HOOKS
    ),
    "baselines": lambda m, t: [
        b.reconstruct(acts(m).of()[:5]) for b in features.baselines(acts(m), 3)[:1]
    ],
    "card": lambda m, t: features.card(m, sae(), 3, on=ids(20)).counts,
    "check": lambda m, t: features.check(m, features.identity("resid_post.1", 32), ids()),
    "circuit": lambda m, t: features.circuit(m, t, [sae(), sae("resid_post.2")], nodes=5).nodes,
    "graph": lambda m, t: graph(m).intervene({name: 0.0 for name in features_of(graph(m))}),
    "clamp": lambda m, t: interp.run(m, t, features.clamp(sae(), {3: 2.0}, at="END")).logits,
    "head_code_scores": lambda m, t: interp.replications.head_code_scores(
        interp.replications.head_codes(m, t, width=16, steps=3)
    ),
    "concept_of": lambda m, t: [
        LABELS.index(name)
        for name in features.concept_of(sae(), prompted(m), LABELS, at_least=0.5)
        if name
    ],
    "densities": lambda m, t: features.densities(sae(), acts(m)),
    "describe": lambda m, t: features.describe(m, features.firings(m, sae(), on=ids(20))),
    "concept_detection": lambda m, t: features.concept_detection(
        sae(), prompted(m), LABELS, prompted(m), LABELS
    ),
    "error_losses": lambda m, t: features.error_losses(m, sae(), acts(m), ids(4)),
    "error_norms": lambda m, t: features.error_norms([sae(), sae(seed=2)], acts(m)),
    "factorise": lambda m, t: features.factorise(m, "mlp.1.post", ids(40), rank=4, steps=8).W_dec,
    "faithfulness": lambda m, t: features.faithfulness(
        m, t, [sae()], features.circuit(m, t, [sae()], nodes=3), random=1
    ),
    "firings": lambda m, t: features.firings(m, sae(), on=ids(20)).values,
    "first_letters": lambda m, t: features.first_letters(m, "resid_post.1", most=10).x,
    "hierarchy": lambda m, t: (
        interp.replications.feature_hierarchy(
            features.factorise(m, "mlp.1.post", ids(40), rank=8, steps=8), (4, 2)
        ).values
    ),
    "evaluate": lambda m, t: features.evaluate(m, sae(), ids(10)),
    "latent_tokens": lambda m, t: features.latent_tokens(m, sae(), prompted(m), {"a": 3}),
    "latent_gain": lambda m, t: features.latent_gain(
        m, TEXTS, [sae()], {"random 1": {"a": 3}}, {"a": [5, 6]}, [7, 8]
    ),
    "mean_differences": lambda m, t: features.mean_differences(prompted(m), LABELS).W_dec,
    "predict_error": lambda m, t: features.predict_error(sae(), acts(m), acts(m)),
    "probe": lambda m, t: features.probe(
        sae(), acts(m).of()[:120], torch.arange(120, device="cpu") % 3 == 0, ks=(1, 2)
    ),
    "gradient_pursuit": lambda m, t: features.gradient_pursuit(sae(), acts(m).of()[:20], steps=3),
    "with_gradient_pursuit": lambda m, t: features.evaluate(
        m, features.with_gradient_pursuit(sae(), steps=3), ids(4)
    ),
    "random_sparse": lambda m, t: features.random_sparse(acts(m), 4, sparsity=0.1).W_dec,
    "prompt_activations": lambda m, t: prompted(m).activations.of(),
    "matched_cosine_similarity": lambda m, t: features.matched_cosine_similarity(
        sae(), sae(seed=2)
    ),
    "shared_neurons": lambda m, t: interp.replications.shared_neurons(sae()),
    "split_error": lambda m, t: features.split_error(sae(), acts(m))[0][0].of(),
    "steer": lambda m, t: interp.run(m, t, features.steer(sae(), {3: 2.0})).logits,
    "train": lambda m, t: (
        features.train(m, "resid_post.1", ids(40), width=48, k=4, tokens=800, batch=64).W_dec
    ),
    "train, standard": lambda m, t: features.evaluate(
        m,
        features.train(
            m, "resid_post.1", acts(m), kind="standard", width=48, tokens=400, batch=64, fast=False
        ),
        ids(4),
    ),
    "train_transcoders": lambda m, t: transcoders(m),
    "train_crosscoder": lambda m, t: features.train_crosscoder(
        (m, m), "mlp.1", ids(20), width=16, k=2, tokens=128, batch=64
    ).relative_norm(),
    "train_cross_layer_transcoder": lambda m, t: features.train_cross_layer_transcoder(
        m, "0-1", ids(20), width=16, k=2, tokens=128, batch=64
    ).reconstruct(torch.stack([acts(m, f"mlp.{n}.in").of()[:4] for n in (0, 1)])),
    "graph, cross-layer": lambda m, t: features.graph(
        m, ids(1, 6), cross_layer(), answers=ANSWER, nodes=None, edges=None
    ).inputs(f"logits:{ANSWER[0]}"),
    "load_or_train": (
        lambda m, t: features.train(
            m, "mlp.1.in", ids(40), kind="transcoder", to="mlp.1", width=48, tokens=400, batch=64
        ).reconstruct(acts(m, "mlp.1.in").of()[:4])
    ),
}
WIDGETS = {
    "attention": lambda m, t: widget(widgets.attention(m, TEXT, head="L2H3", weighted=True)),
    "attention, scores": lambda m, t: widget(widgets.attention(m, t, find="induction")),
    "circuit": lambda m, t: widget(widgets.circuit(scores(m, t), m, t, shown=20)),
    "features": lambda m, t: widget(
        widgets.features(m, features.firings(m, sae(), on=ids(20)).dictionary, ids(20))
    ),
    "graph": lambda m, t: clamped(m),
    "heads": lambda m, t: widget(widgets.heads(m, t)),
    "heads, text": lambda m, t: widget(widgets.heads(m, TEXT)),
    "explore": lambda m, t: widget(widgets.explore(m, TEXT)),
    "lens": lambda m, t: widget(widgets.lens(m, t)),
    "patching": lambda m, t: widget(widgets.patching(m, t, cell=[1, 3])),
}
# What reads results, dictionaries or files alone, and meets no tensor of a model.
NO_MODEL = {
    *"Direction FineTuned Lens Metric Subspace agreement cpr_cmd".split(),
    *"attribution_error discover".split(),
    "with_evaluation",
    *"head_overlap random_circuits random_heads repeated_tokens roc_curve".split(),
    "attention_times_effect",
    *"token_set token_sets".split(),
    *"Activations AttributionGraph Card Dictionary FeatureCircuit Firings Node".split(),
    *"CrossLayerTranscoder Crosscoder PromptActivations Synthetic cards".split(),
    *"from_sae identity cache_folder load load_all nonlinear_share".split(),
    *"page pareto synthetic table write_saebench".split(),
    *"prompt_task training chunk_losses token_losses".split(),
    *"link restore".split(),  # of widgets that are there
}


@pytest.fixture(scope="module")
def away():
    return interp.load("tiny", device=elsewhere.DEVICE, progress=False)


@pytest.fixture(scope="module")
def task(tiny):
    return interp.tasks.ioi(tiny, n=4, seed=0)


def numbers(x):
    """All the numbers in an answer, in order."""
    if isinstance(x, torch.Tensor):
        yield to_numpy(x).astype(float).ravel()
    elif isinstance(x, np.ndarray):
        if x.dtype.kind in "bif":
            yield x.astype(float).ravel()
    elif isinstance(x, interp.Result):
        yield from numbers(x.values)
        yield from numbers(x.examples)
    elif dataclasses.is_dataclass(x):
        for part in dataclasses.fields(x):
            yield from numbers(getattr(x, part.name))
    elif isinstance(x, dict):
        for part in x.values():
            yield from numbers(part)
    elif isinstance(x, list | tuple):
        for part in x:
            yield from numbers(part)
    elif isinstance(x, bool | int | float):
        yield np.array([float(x)])
    elif hasattr(x, "select_dtypes"):
        yield from numbers(x.select_dtypes("number").to_numpy())


def same(call, model, away, task):
    torch.manual_seed(0)
    right = list(numbers(call(model, task)))
    torch.manual_seed(0)
    found = list(numbers(call(away, task)))
    assert right and len(right) == len(found)
    for a, b in zip(right, found):
        assert a.shape == b.shape
        scale = max(1.0, float(np.nanmax(np.abs(a), initial=0)))
        np.testing.assert_allclose(b, a, atol=1e-4 * scale, rtol=0)


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_off_the_cpu_gives_the_cpus_numbers(tiny, away, task, name):
    same(VERBS[name], tiny, away, task)


@pytest.mark.parametrize("name", FEATURES)
def test_features_off_the_cpu_give_the_cpus_numbers(tiny, away, task, name):
    same(FEATURES[name], tiny, away, task)


@pytest.mark.parametrize("name", WIDGETS)
def test_a_widget_off_the_cpu_shows_the_cpus_numbers(tiny, away, task, name):
    same(WIDGETS[name], tiny, away, task)


# --- short number types ---------------------------------------------------------------------------

EVERY = [
    pytest.param(call, id=f"{what} {name}".strip())
    for what, table in (("", VERBS), ("features", FEATURES), ("widgets", WIDGETS))
    for name, call in table.items()
]


@pytest.fixture(scope="module", params=["bfloat16", "float16"])
def short(request):
    return interp.load("tiny", dtype=request.param, progress=False)


@pytest.mark.parametrize("call", EVERY)
def test_every_verb_runs_in_short_number_types(short, task, call):
    found = list(numbers(call(short, task)))
    assert found and all(np.isfinite(x).any() for x in found if x.size)


@pytest.mark.parametrize(
    "package, table", [(methods, VERBS), (features, VERBS | FEATURES), (widgets, WIDGETS)]
)
def test_no_public_name_is_left_out(package, table):
    tried = {name.split(",")[0] for name in table}
    stubs = Path(package.__file__).parent.rglob("__init__.pyi")
    homes_ = {name: home for stub in stubs for name, home in homes(stub).items()}
    root = Path(interp.__file__).resolve().parent.parent
    places = {
        name: root / home.replace(":", "/").replace(".", "/") for name, home in homes_.items()
    }
    public = {n for n, p in places.items() if not (p.is_dir() or p.with_suffix(".py").exists())}
    assert public - tried - NO_MODEL == set()


def test_numbers_leave_through_one_helper():
    """No file but one asks a tensor for its array: that line would fail on every GPU."""
    package = Path(interp.__file__).parent
    found = [
        f"{path.relative_to(package)}:{number}"
        for path in sorted(package.rglob("*.py"))
        # state.py looks at CPU memory alone
        if path.name not in ("_numbers.py", "state.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if ".numpy()" in line
    ]
    assert found == []


def test_a_lesson_says_that_it_wants_the_cpu():
    from interp import workshop

    model = interp.load("tiny", device=elsewhere.DEVICE, progress=False)
    with pytest.raises(ValueError, match="elsewhere:0.*begin\\('circuits'\\)"):
        workshop.begin("circuits", model)


def test_the_pretend_device_refuses_what_a_gpu_refuses():
    here, there = torch.ones(3), torch.ones(3, device=elsewhere.DEVICE)
    for mixing in (
        lambda: here + there,
        lambda: there[here > 0] + here,
        lambda: here[there.long()],
        lambda: there.gather(0, here.long()),
        lambda: there.numpy(),
        lambda: np.asarray(there),
        lambda: torch.cat([here, there]),
        lambda: torch.rand(3, generator=torch.Generator(), device=elsewhere.DEVICE),
    ):
        with pytest.raises(RuntimeError):
            mixing()
    assert (there.cpu() + here).tolist() == [2, 2, 2]
    assert there[torch.tensor([0, 2])].device.type == elsewhere.DEVICE
    there.requires_grad_(True).pow(2).sum().backward()
    assert there.grad.device.type == elsewhere.DEVICE and there.grad.tolist() == [2, 2, 2]


# --- what load says -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"dtype": "fp8"}, "unknown dtype 'fp8'"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"device": "meta"}, "shapes without numbers"),
        ({"device": "cuda:99"}, "not on this machine"),
        ({"device": "cpu", "device_map": "auto"}, "give one of them"),
        ({"device_map": "auto"}, "in memory already"),
        ({"device_map": "evenly"}, "unknown device_map 'evenly'"),
        ({"device_map": {}}, "places nothing"),
        ({"device_map": {"": "cuda:99"}}, "not on this machine"),
        ({"device_map": {"model": "gpu"}}, "unknown device 'gpu'"),
    ],
)
def test_a_wrong_type_or_device_is_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence) as said:
        interp.load("tiny", **options)
    assert "\n" not in str(said.value)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has it")
def test_a_kind_of_device_that_is_not_there_is_one_sentence():
    with pytest.raises(ValueError, match="device='mps' is not on this machine.*there is 'cpu'"):
        interp.load("tiny", device="mps")


def test_too_little_memory_is_said_before_anything_is_moved(monkeypatch):
    from interp.models import placement

    monkeypatch.setattr(placement, "free", lambda device: 1024.0)
    with pytest.raises(ValueError, match="GB free: try dtype='bfloat16'"):
        interp.load("tiny", device=elsewhere.DEVICE)


def test_effects_below_the_rounding_of_a_short_type_are_said_to_be(task):
    model = interp.load("tiny", dtype="bfloat16", progress=False)
    found = interp.patch(model, task, "L*H*")
    each, mean = found.metadata["rounding of one prompt"], found.metadata["rounding of the mean"]
    assert mean == pytest.approx(each / 2) and 0.001 < each < 0.1  # four prompts
    with pytest.warns(UserWarning, match="cannot be told from rounding"):
        interp.patch(model, task, "L0H0.pattern@1")
    assert (
        "rounding of one prompt"
        not in interp.patch(interp.load("tiny", progress=False), task, "L0H0").metadata
    )
