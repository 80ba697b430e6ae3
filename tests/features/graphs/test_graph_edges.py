"""Every edge is the effect that a model with its patterns and norm scales held shows, whatever the
dictionaries read and write: the stream, the MLP's input after its norm, one layer or several.

The independent slow way: one run a source, by TransformerLens' own hooks.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from dictionaries import cross_layer, per_layer
from families import make

import interp
from interp import features, sites
from interp.features import CrossLayerTranscoder
from interp.models import bridge

READS = ("in", "normalized", "module_in")
EVERYTHING = dict(nodes=None, edges=None)


def ids_of(model, length=7):
    g = torch.Generator().manual_seed(0)
    return torch.randint(5, bridge.dims(model).d_vocab, (1, length), generator=g)


def folded(kind):
    """A tiny model of its own whose norm weights stand in the matrices after them."""
    model = interp.models.tiny(kind)
    model.enable_compatibility_mode(disable_warnings=True)
    return model


def layers_of(given):
    """(what a latent writes by layer, the encoder) of each layer, from the raw weights."""
    found = {}
    for one in given:
        if isinstance(one, CrossLayerTranscoder):
            for i, layer in enumerate(one.layers):
                own = {
                    key.split(".")[0]: value
                    for key, value in one.weights.items()
                    if key.endswith(f".{layer}")
                }
                W_dec = dict(zip(one.layers[i:], own["W_dec"]))
                found[layer] = (one.reads[i], own, W_dec)
        else:
            layer = sites.Site.parse(one.writes).layer
            found[layer] = (one.site, one.weights, {layer: one.weights["W_dec"]})
    return found


def frozen_effects(model, ids, graph, given):
    """What each source does to what each latent reads and to the logits [node source]."""
    d, by_layer = bridge.dims(model), layers_of(given)
    _, clean = model.run_with_cache(ids)

    def name(address):
        return sites.hook(sites.Site.parse(address), d)

    def latents(layer):
        reads, w, _ = by_layer[layer]
        before = clean[name(reads)][0] @ w["W_enc"] + w["b_enc"]
        z = before.relu() * (before > w.get("threshold", torch.zeros(1)))
        z[0] = 0  # no dictionary is used at the first position
        return z

    z = {layer: latents(layer) for layer in by_layer}
    sources = [node for node in graph.nodes if node.kind != "logit"]
    added = torch.zeros(d.n_layers + 1, len(sources), ids.shape[1], d.d_model)  # last: embeddings
    for i, node in enumerate(sources):
        if node.kind == "token":
            added[-1, i, node.pos] = clean[name("resid_pre.0")][0, node.pos]
        elif node.kind == "mlp":
            added[node.layer, i, node.pos] = clean[name(f"mlp.{node.layer}")][0, node.pos]
        elif node.kind == "feature":
            assert node.value == pytest.approx(float(z[node.layer][node.pos, node.index]), abs=1e-4)
            for to, W_dec in by_layer[node.layer][2].items():
                added[to, i, node.pos] = node.value * W_dec[node.index]
        else:
            reads, w, _ = by_layer[node.layer]
            made = w["b_dec"] + sum(
                z[n][node.pos] @ wrote[node.layer]
                for n, (_, _, wrote) in by_layer.items()
                if node.layer in wrote
            )
            if "W_skip" in w:
                made = made + clean[name(reads)][0, node.pos] @ w["W_skip"].T
            out = clean[name(f"mlp.{node.layer}")][0, node.pos]
            added[node.layer, i, node.pos] = out - made

    def run(change):
        read = {}

        def held(act, hook):
            return clean[hook.name].expand_as(act)

        def mlp(layer):
            def edit(act, hook):
                out = clean[hook.name] + change[layer]
                if layer in by_layer and "W_skip" in by_layer[layer][1]:
                    moved = read[layer] - clean[name(by_layer[layer][0])]
                    out = out + moved @ by_layer[layer][1]["W_skip"].T
                return out

            return edit

        def keep(layer):
            return lambda act, hook: read.__setitem__(layer, act)

        hooks = [(hook, held) for hook in clean if hook.endswith("hook_scale")]
        for layer in range(d.n_layers):
            hooks += [
                (f"blocks.{layer}.attn.hook_pattern", held),
                (name(f"mlp.{layer}"), mlp(layer)),
            ]
            if layer in by_layer:
                hooks.append((name(by_layer[layer][0]), keep(layer)))
        hooks.append((name("resid_pre.0"), lambda act, hook: act + change[-1]))
        logits = model.run_with_hooks(ids.expand(change.shape[1], -1), fwd_hooks=hooks)[:, -1]
        cap = getattr(model.cfg, "output_logits_soft_cap", 0.0)
        if cap and cap > 0:  # a graph explains the logits before they are capped
            logits = (torch.atanh(logits.double() / cap) * cap).float()
        return read, logits - logits.mean(-1, keepdim=True)

    with torch.no_grad():
        read, logits = run(added)
        before, plain = run(torch.zeros_like(added[:, :1]))
    effects = torch.zeros(len(graph.nodes), len(sources))
    for i, node in enumerate(graph.nodes):
        if node.kind == "feature":
            moved = (read[node.layer] - before[node.layer])[:, node.pos]
            effects[i] = moved @ by_layer[node.layer][1]["W_enc"][:, node.index]
        elif node.kind == "logit":
            effects[i] = (logits - plain)[:, node.index]
    return effects, float(plain.abs().max())


def agrees(model, given):
    ids = ids_of(model)
    graph = features.graph(model, ids, given, **EVERYTHING)
    effects, largest = frozen_effects(model, ids, graph, given)
    np.testing.assert_allclose(
        graph.effects[:, : effects.shape[1]], effects, atol=max(1e-5 * largest, 3e-5)
    )
    np.testing.assert_allclose(graph.missing, 0, atol=3e-5)
    assert sum(node.kind == "feature" for node in graph.nodes) > 50
    return graph


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("kind", ["jumprelu_transcoder", "skip_transcoder"])
def test_every_edge_of_transcoders(any_tiny, reads, kind):
    agrees(any_tiny, per_layer([0, 2], kind, reads))


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("skip", [False, True])
def test_every_edge_of_a_cross_layer_transcoder(any_tiny, reads, skip):
    graph = agrees(any_tiny, [cross_layer(reads=reads, skip=skip)])
    low = [i for i, n in enumerate(graph.nodes) if n.kind == "feature" and n.layer == 0]
    logit = len(graph.nodes) - 1
    assert np.abs(graph.effects[logit, low]).max() > 0.01  # over the layers between


@pytest.mark.parametrize("family", ["gemma2", "gemma3"])
@pytest.mark.parametrize("reads", ["normalized", "module_in"])
def test_every_edge_where_norms_come_after_the_mlp_too(tiny, family, reads):
    """As Gemma Scope's transcoders read and write."""
    words = tiny.tokenizer
    model = interp.load(make(family, bridge.dims(tiny).d_vocab), tokenizer=words)
    agrees(model, [cross_layer((0, 1), reads, skip=True)])
    agrees(model, per_layer([0, 1], "jumprelu_skip_transcoder", reads))


def test_every_edge_of_some_layers_beside_others(any_tiny):
    """Latents of layers 0 and 2 that write to both, and a transcoder of the layer between."""
    agrees(any_tiny, [cross_layer((0, 2)), *per_layer([1], "transcoder", "normalized")])


@pytest.mark.parametrize("kind", ["tiny", "tiny-gpt2", "tiny-neox"])
def test_norm_weights_that_are_folded_change_no_feature(kind):
    """What is read before the norm's weights is the same with them and without."""
    plain, model = interp.models.tiny(kind), folded(kind)
    for given in (per_layer([0, 2], "skip_transcoder", "normalized"), [cross_layer()]):
        given = [
            cross_layer(reads="normalized") if isinstance(one, CrossLayerTranscoder) else one
            for one in given
        ]
        graph = agrees(model, given)
        with_weights = features.graph(plain, ids_of(plain), given, **EVERYTHING)
        values = {n.name: n.value for n in with_weights.nodes if n.kind == "feature"}
        assert {n.name: n.value for n in graph.nodes if n.kind == "feature"} == pytest.approx(
            values, abs=1e-4
        )


@pytest.mark.parametrize("kind", ["tiny", "tiny-gpt2"])
def test_what_is_read_after_weights_that_are_folded_is_refused(kind):
    model, (one,) = folded(kind), per_layer([1], "transcoder", "module_in")
    with pytest.raises(ValueError, match="'mlp.1.module_in', after the weights of the norm.*fold"):
        features.graph(model, ids_of(model), one)
    with pytest.raises(ValueError, match="after the weights of the norm"):
        features.check(model, cross_layer(reads="module_in"))
    ids = ids_of(model, 30).expand(8, -1)
    own = features.train(
        model,
        "mlp.1.module_in",
        ids,
        to="mlp.1",
        kind="transcoder",
        width=24,
        k=4,
        tokens=200,
        batch=50,
    )
    features.check(model, own)  # it was trained on what this model has there
    with pytest.raises(ValueError, match="trained where .* were folded"):
        features.check(interp.models.tiny(kind), own)


def test_the_cut_stream_is_written_over_by_latents_below(tiny):
    """A dictionary of the stream cuts it, and latents below it still write above."""
    d = bridge.dims(tiny).d_model
    g = torch.Generator().manual_seed(0)
    w = {"W_enc": torch.randn(d, 24, generator=g) * d**-0.5, "b_enc": torch.zeros(24)}
    w |= {"W_dec": torch.randn(24, d, generator=g) * 0.05, "b_dec": torch.zeros(d)}
    cut = features.Dictionary("standard", w, "resid_post.1")
    graph = features.graph(tiny, ids_of(tiny), [cross_layer(), cut], **EVERYTHING)
    np.testing.assert_allclose(graph.missing, 0, atol=3e-5)
    below = [i for i, n in enumerate(graph.nodes) if n.site == "mlp.0" and n.kind == "feature"]
    logits = [i for i, n in enumerate(graph.nodes) if n.kind == "logit"]
    assert np.abs(graph.effects[np.ix_(logits, below)]).max() > 1e-3


# --- one layer, and several that write into none --------------------------------------------------


def test_with_one_layer_or_nothing_written_across_it_is_transcoders(any_tiny):
    ids, whole = ids_of(any_tiny), cross_layer()
    own = per_layer([0, 1, 2], "jumprelu_transcoder")
    x = interp.run(any_tiny, ids, keep=whole.reads).kept
    for layer, one in enumerate(own):
        alone = cross_layer((layer,))
        part = {key: value for key, value in one.weights.items() if key != "W_dec"}
        assert all(torch.equal(alone.weights[f"{k}.{layer}"], v) for k, v in part.items())
        assert torch.equal(alone.weights[f"W_dec.{layer}"][0], one.W_dec)
        assert torch.equal(alone.encode(x)[0], one.encode(x[one.site]))
        assert torch.equal(alone.reconstruct(x)[0], one.reconstruct(x[one.site]))
    weights = {
        key: torch.cat([value[:1], 0 * value[1:]]) if key.startswith("W_dec") else value
        for key, value in whole.weights.items()
    }
    nothing = replace(whole, weights=weights)
    a, b = (features.graph(any_tiny, ids, given, **EVERYTHING) for given in (nothing, own))
    assert [n.name for n in a.nodes] == [n.name for n in b.nodes]
    np.testing.assert_allclose(a.effects, b.effects, atol=1e-6)


# --- interventions --------------------------------------------------------------------------------


def test_the_model_writes_a_feature_in_all_its_layers(any_tiny):
    clt, ids = cross_layer(), ids_of(any_tiny)
    graph = features.graph(any_tiny, ids, clt, **EVERYTHING)
    node = next(n for n in graph.nodes if n.site == "mlp.0" and n.kind == "feature" and n.pos == 3)
    found = graph.intervene({node.name: 2.5}, n=200)

    def writing(layer):  # the raw weights, and the value in the run itself
        def edit(act, seen):
            z = clt.layer(0).encode(seen["mlp.0.in"])[0, node.pos, node.index]
            out = act.clone()
            out[0, node.pos] += (2.5 - z) * clt.weights["W_dec.0"][layer, node.index]
            return out

        return interp.Intervention(f"mlp.{layer}", edit, ("mlp.0.in",))

    run = interp.run(any_tiny, ids, [writing(n) for n in clt.layers], clt.reads)
    z, logits = clt.encode(run.kept), run.logits[0, -1]
    seen = 0
    for name, values in zip(found.coords["node"], found.values):
        other = graph[name]
        if other.kind == "logit":
            assert values[2] == pytest.approx(float(logits[other.index] - logits.mean()), abs=1e-4)
        elif name != node.name:
            assert values[2] == pytest.approx(
                float(z[other.layer, 0, other.pos, other.index]), abs=1e-4
            )
            seen += other.layer == 2
    assert seen > 5
    same = graph.intervene({node.name: node.value})
    np.testing.assert_allclose(same.values[:, 0], same.values[:, 2], atol=1e-4)
    clamped = features.clamp(clt.layer(0), {node.index: 2.5}, at=node.pos)
    again = interp.run(any_tiny, ids, clamped).logits[0, -1]
    torch.testing.assert_close(again, logits, atol=1e-4, rtol=1e-4)


def test_a_file_of_a_graph_is_tried_with_the_whole_one(tiny, tmp_path):
    clt = cross_layer()
    graph = features.graph(tiny, ids_of(tiny), clt)
    again = features.AttributionGraph.load(graph.save(tmp_path / "graph.json"))
    name = next(n.name for n in again.nodes if n.kind == "feature")
    found = again.intervene({name: 0.0}, tiny, dictionaries=[clt])
    np.testing.assert_allclose(found.values, graph.intervene({name: 0.0}).values, atol=1e-5)
    with pytest.raises(ValueError, match="are not the weights, or dictionaries, that"):
        again.intervene({name: 0.0}, tiny, dictionaries=[cross_layer(seed=5)])


# --- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, says",
    [
        (lambda: [cross_layer(), *per_layer([1])], "two dictionaries write 'mlp.1'"),
        (lambda: cross_layer((0, 1, 2, 3)), "this model has layers 0 to 2"),
        (lambda: cross_layer(d=16), "is 16 wide at 'mlp.0.in', where tiny has 32"),
    ],
)
def test_one_that_does_not_fit_is_one_sentence(tiny, given, says):
    with pytest.raises(ValueError, match=says):
        features.graph(tiny, ids_of(tiny), given())
