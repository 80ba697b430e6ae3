"""Other tools' files: what is written is read again, by the names and numbers of their own formats;
bad files say why.
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from interp import sites
from interp.circuits import Circuit, load, read, write
from interp.dims import Graph
from interp.results import Result

ROOT = Path(__file__).resolve().parents[2] / "circuits"
SHARED, PARALLEL = Graph(2, 4, 2, False), Graph(2, 4, 4, True)
GRAPHS = [SHARED, PARALLEL, Graph(3, 2, 1, True), Graph(3, 3, 3, False)]


def scores_on(graph, seed=0):
    wrote, heard = sites.senders(graph), sites.receivers(graph)
    there = [[sites.precedes(s, r, graph) for r in heard] for s in wrote]
    values = np.where(there, np.random.default_rng(seed).normal(size=np.shape(there)), np.nan)
    coords = {"sender": list(map(str, wrote)), "receiver": list(map(str, heard))}
    return Result(
        values,
        ("sender", "receiver"),
        coords,
        "some scores",
        "logits",
        {"model": "m", "task": "ioi"},
    )


def their_edges(graph):
    """Every edge name, by the nested loops of the reference implementation."""
    stream, names = ["input"], []
    for layer in range(graph.n_layers):
        heads = [f"a{layer}.h{h}" for h in range(graph.n_heads)]
        names += [f"{node}->{head}<{part}>" for node in stream for head in heads for part in "qkv"]
        if not graph.parallel:
            stream += heads
        names += [f"{node}->m{layer}" for node in stream]
        stream += [f"m{layer}"] if not graph.parallel else [*heads, f"m{layer}"]
    return {*names, *(f"{node}->logits" for node in stream)}


# --- scores and circuits, there and back ----------------------------------------------------------


@pytest.mark.parametrize("kind", ["json", "pt"])
@pytest.mark.parametrize("graph", GRAPHS, ids=str)
def test_scores_come_back(graph, kind, tmp_path):
    scores = scores_on(graph)
    again = read(write(tmp_path / f"s.{kind}", scores, d_model=8), scores)
    assert again.dims == scores.dims and again.coords == scores.coords
    np.testing.assert_allclose(again.values, scores.values, rtol=1e-6)
    assert again.metadata["model"] == "m" and "EAP-IG" in again.metadata["format"]
    assert Circuit.top(again, 9).edges.keys() == Circuit.top(scores, 9).edges.keys()


@pytest.mark.parametrize("kind", ["json", "pt"])
@pytest.mark.parametrize("graph", GRAPHS, ids=str)
def test_a_circuit_comes_back(graph, kind, tmp_path):
    circuit = Circuit.top(scores_on(graph), 20)
    path = write(tmp_path / f"c.{kind}", circuit, d_model=8)
    again = read(path, circuit, circuit=True)
    assert list(again) == list(circuit)
    np.testing.assert_allclose([*again.edges.values()], [*circuit.edges.values()], rtol=1e-6)
    bare = Circuit({edge: None for edge in circuit}, graph, "m")
    assert read(write(path, bare, d_model=8), circuit, circuit=True).edges == bare.edges


def test_a_loaded_model_says_what_the_file_cannot(tiny, tmp_path):
    scores = scores_on(Graph(3, 4, 2, False))
    path = write(tmp_path / "s.json", scores, tiny)
    assert json.loads(path.read_text())["cfg"] == {
        "n_layers": 3,
        "n_heads": 4,
        "parallel_attn_mlp": False,
        "d_model": 32,
    }
    again = read(path, tiny)
    assert again.metadata["model"] == "tiny" and again.coords == scores.coords
    alone = read(path)  # without the model every head has its own keys and values
    assert (
        alone.sel(sender="embed", receiver="L1KV3.k_in").values
        == again.sel(sender="embed", receiver="L1KV1.k_in").values / 2
    )


# --- their format, by their own rules -------------------------------------------------------------


@pytest.mark.parametrize("graph", GRAPHS, ids=str)
def test_json_has_exactly_their_edges_and_nodes(graph, tmp_path):
    said = json.loads(write(tmp_path / "s.json", scores_on(graph), d_model=8).read_text())
    assert said["edges"].keys() == their_edges(graph)
    heads = {f"a{layer}.h{h}" for layer in range(graph.n_layers) for h in range(graph.n_heads)}
    assert said["nodes"].keys() == heads | {"input", "logits"} | {
        f"m{layer}" for layer in range(graph.n_layers)
    }
    assert not any(edge["in_graph"] for edge in said["edges"].values())


@pytest.mark.parametrize("layers, heads, kv, edges", [(30, 9, 3, 123_211), (12, 12, 12, 32_491)])
def test_as_many_edges_as_they_count(layers, heads, kv, edges):
    assert len(their_edges(Graph(layers, heads, kv, False))) == edges


def test_pt_has_their_shapes_and_places(tmp_path):
    scores = scores_on(SHARED)
    said = torch.load(write(tmp_path / "s.pt", scores, d_model=8), weights_only=True)
    layers, heads = 2, 4
    n_src, n_dst = 1 + layers * (heads + 1), layers * (3 * heads + 1) + 1
    assert said["edges_scores"].shape == said["edges_in_graph"].shape == (n_src, n_dst)
    assert (
        said["edges_scores"].dtype == torch.float32 and said["edges_in_graph"].dtype == torch.bool
    )
    assert (said["src_nodes"][1 + (heads + 1) + 2], said["src_nodes"][1 + (heads + 1) + heads]) == (
        "a1.h2",
        "m1",
    )
    at = 1 * (3 * heads + 1)
    assert [
        said["dst_nodes"][i]
        for i in (at + 2, at + heads + 2, at + 2 * heads + 2, at + 3 * heads, -1)
    ] == ["a1.h2<q>", "a1.h2<k>", "a1.h2<v>", "m1", "logits"]
    value = scores.sel(sender="L0H3", receiver="L1H2.q_in").values
    assert said["edges_scores"][1 + 3, at + 2].item() == pytest.approx(float(value), rel=1e-6)


def test_a_shared_edge_is_split_evenly_and_summed_by_hand(tmp_path):
    scores = scores_on(SHARED)
    scores.values[0, scores.coords["receiver"].index("L1KV1.k_in")] = 0.6
    path = write(tmp_path / "s.json", scores, d_model=8)
    said = json.loads(path.read_text())
    assert [said["edges"][f"input->a1.h{h}<k>"]["score"] for h in (2, 3)] == [0.3, 0.3]
    said["edges"]["input->a1.h2<k>"]["score"], said["edges"]["input->a1.h3<k>"]["score"] = 0.1, -0.5
    path.write_text(json.dumps(said))
    assert read(path, scores).sel(sender="embed", receiver="L1KV1.k_in").values == pytest.approx(
        -0.4
    )
    # one head of the group is enough to be in the circuit
    said["edges"]["input->a1.h3<k>"]["in_graph"] = True
    path.write_text(json.dumps(said))
    assert read(path, scores, circuit=True).edges == {("embed", "L1KV1.k_in"): pytest.approx(-0.4)}


def test_nodes_are_in_when_an_edge_goes_in_and_one_out(tmp_path):
    circuit = Circuit(
        {("embed", "L0H1.q_in"): 1.0, ("L0H1", "mlp.1.in"): 2.0, ("mlp.0", "logits.in"): 1.0},
        PARALLEL,
        "m",
    )
    nodes = json.loads(write(tmp_path / "c.json", circuit, d_model=8).read_text())["nodes"]
    assert [name for name, node in nodes.items() if node["in_graph"]] == [
        "input",
        "a0.h1",
        "logits",
    ]


def test_unscored_edges_stay_unscored(tmp_path):
    scores = scores_on(SHARED)
    scores.values[3, -1] = np.nan
    for kind in ("json", "pt"):
        again = read(write(tmp_path / f"s.{kind}", scores, d_model=8), scores)
        assert np.array_equal(np.isnan(again.values), np.isnan(scores.values))
        with pytest.raises(ValueError, match="1 of .* edges have no score"):
            Circuit.top(again, 5)


@pytest.mark.parametrize("kind", ["json", "pt"])
def test_no_nan_is_written_because_their_ranking_puts_it_first(tmp_path, kind):
    edges = {("embed", "L0H1.q_in"): 2.0, ("mlp.0", "logits.in"): None}
    for what in (Circuit(edges, SHARED, "m"), scores_on(SHARED)):
        if isinstance(what, Result):
            what.values[0, :3] = np.nan
        path = write(tmp_path / f"x.{kind}", what, d_model=8)
        if kind == "pt":
            values = torch.load(path, weights_only=True)["edges_scores"]
        else:
            content = json.loads(path.read_text(), parse_constant=lambda c: pytest.fail(c))
            values = torch.tensor([e["score"] for e in content["edges"].values()])
        assert values.isfinite().all()
    circuit = write(tmp_path / f"c.{kind}", Circuit(edges, SHARED, "m"), d_model=8)
    assert read(circuit, scores_on(SHARED), circuit=True).edges == edges
    best = read(circuit, scores_on(SHARED))
    label = best.top(1).labels[0]
    assert "embed" in label and "L0H1.q_in" in label


# --- auto-circuit ---------------------------------------------------------------------------------


def prune_scores(layers=2, heads=4, parallel=False, fill=1.0):
    out, before = {}, 1
    for layer in range(layers):
        out |= {f"blocks.{layer}.hook_{p}_input": torch.full((heads, before), fill) for p in "qkv"}
        out[f"blocks.{layer}.hook_mlp_in"] = torch.full(
            (before + (0 if parallel else heads),), fill
        )
        before += heads + 1
    return out | {f"blocks.{layers - 1}.hook_resid_post": torch.full((before,), fill)}


def test_auto_circuit_scores_by_hand(tmp_path):
    said = prune_scores()
    said["blocks.1.hook_v_input"][2:, 3] = torch.tensor(
        [0.3, -0.1]
    )  # heads 2 and 3 read L0H2: one shared edge
    said["blocks.1.hook_mlp_in"][0] = -7.0
    said["blocks.1.hook_resid_post"][5] = 9.0
    torch.save(said, tmp_path / "p.pt")
    found = read(tmp_path / "p.pt", scores_on(SHARED))

    def at(s, r):
        return float(found.sel(sender=s, receiver=r).values)

    assert at("L0H2", "L1KV1.v_in") == pytest.approx(0.2)
    assert (
        at("embed", "mlp.1.in"),
        at("mlp.0", "logits.in"),
        at("embed", "L0KV0.k_in"),
        at("embed", "L0H0.q_in"),
    ) == (7, 9, 2, 1)
    assert np.nanmin(found.values) >= 0 and "sizes only" in found.metadata["format"]
    assert np.array_equal(np.isnan(found.values), np.isnan(scores_on(SHARED).values))
    torch.save(prune_scores(parallel=True), tmp_path / "q.pt")
    assert np.array_equal(
        np.isnan(read(tmp_path / "q.pt").values), np.isnan(scores_on(PARALLEL).values)
    )


@pytest.mark.parametrize(
    "change, said",
    [
        (
            lambda s: s.update({"blocks.0.hook_attn_in": torch.zeros(4, 1)}),
            "hook_attn_in.*separate_qkv",
        ),
        (
            lambda s: s.update({k: v[None].repeat(5, *[1] * v.ndim) for k, v in s.items()}),
            "token positions",
        ),
        (lambda s: s.pop("blocks.1.hook_k_input"), "no scores for blocks.1.hook_k_input"),
        (lambda s: [s.pop(k) for k in list(s) if "mlp" in k], "without MLPs"),
        (
            lambda s: s.update({"blocks.1.hook_mlp_in": torch.zeros(3)}),
            r"shape \[10\], and is \[3\]",
        ),
    ],
)
def test_other_scores_of_auto_circuit_are_refused(change, said, tmp_path):
    file = prune_scores()
    change(file)
    torch.save(file, tmp_path / "p.pt")
    with pytest.raises(ValueError, match=said):
        read(tmp_path / "p.pt")


# --- bad files ------------------------------------------------------------------------------------


class Runs:
    def __init__(self, what):
        self.what = what

    def __reduce__(self):
        return os.mkdir, (self.what,)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    victim = str(tmp_path / "ran")
    said = torch.load(write(tmp_path / "s.pt", scores_on(SHARED), d_model=8), weights_only=True)
    torch.save({**said, "cfg": Runs(victim)}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match="could run code, so it is refused"):
        read(tmp_path / "bad.pt")
    assert not os.path.exists(victim)
    torch.load(tmp_path / "bad.pt", weights_only=False)  # it would have
    assert os.path.exists(victim)


@pytest.mark.parametrize("kind", ["json", "pt"])
@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_a_file_cut_short_says_so(kind, part, tmp_path):
    path = write(tmp_path / f"s.{kind}", scores_on(SHARED), d_model=8)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ValueError, match="cut short"):
        read(path)


@pytest.mark.parametrize("kind", ["json", "pt"])
def test_another_models_shape_says_both(kind, tmp_path):
    path = write(tmp_path / f"s.{kind}", scores_on(SHARED), d_model=8)
    with pytest.raises(ValueError, match=r"2 layers x 4 heads \(sequential.*3 layers x 3 heads"):
        read(path, scores_on(Graph(3, 3, 3, False)))
    with pytest.raises(ValueError, match="parallel"):
        read(path, scores_on(PARALLEL))
    with pytest.raises(ValueError, match="2 layers x 4 heads, 2 KV heads.*4 KV heads"):
        write(path, scores_on(SHARED), scores_on(PARALLEL), d_model=8)


@pytest.mark.parametrize(
    "edge, info, said",
    [
        (
            "input->a1.h9<q>",
            {"score": 1.0},
            r"unknown edge 'input->a1.h9<q>' in s.json: 'a1.h9<q>'",
        ),
        ("imput->m1", {"score": 1.0}, "did you mean 'input'"),
        ("m1->a1.h0<k>", {"score": 1.0}, "m1->a1.h0<k> is not an edge: m1 writes after"),
        ("input->m1", {"score": "much"}, "needs a score"),
        ("input->m1", {"score": float("inf")}, "1 infinite scores"),
    ],
)
def test_an_edge_that_cannot_be_is_named(edge, info, said, tmp_path):
    path = write(tmp_path / "s.json", scores_on(SHARED), d_model=8)
    file = json.loads(path.read_text())
    file["edges"][edge] = info
    path.write_text(json.dumps(file))
    with pytest.raises(ValueError, match=said):
        read(path)


def test_other_mistakes_teach(tmp_path):
    scores = scores_on(SHARED)
    with pytest.raises(ValueError, match="Circuit.load"):
        read(Circuit.top(scores, 5).save(tmp_path / "own.json"))
    with pytest.raises(ValueError, match="try 'scores.json'"):
        write(tmp_path / "scores.csv", scores, d_model=8)
    with pytest.raises(ValueError, match="d_model=576"):
        write(tmp_path / "s.json", scores)
    with pytest.raises(ValueError, match="marks no edge"):
        read(write(tmp_path / "s.pt", scores, d_model=8), scores, circuit=True)
    with pytest.raises(ValueError, match="no such model"):
        (tmp_path / "big.json").write_text(
            json.dumps({"cfg": {"n_layers": 10**9, "n_heads": 1}, "nodes": {}, "edges": {}})
        )
        read(tmp_path / "big.json")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.pt")
    said = torch.load(tmp_path / "s.pt", weights_only=True)
    torch.save({**said, "neurons_in_graph": torch.eye(11, 8).bool()}, tmp_path / "n.pt")
    with pytest.raises(ValueError, match="single neurons"):
        read(tmp_path / "n.pt")


# --- the circuits that come with us ---------------------------------------------------------------

FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.json"))


@pytest.mark.parametrize("file", FILES)
def test_every_circuit_here_loads_and_says_where_it_is_from(file):
    circuit = load(ROOT / file)
    model, task, _ = file.split("/")
    assert (circuit.model, circuit.task["name"]) == (
        task if model == "known" else model,
        task,
    )  # a wired model has its task's name
    assert circuit.to_json() == (ROOT / file).read_text()
    source, kinds = circuit.source, {"paper", "reference", "discovered", "imported", "known"}
    assert source["kind"] in kinds and (
        source.get("cite") and source.get("where") or source["kind"] in ("discovered", "known")
    )
    assert circuit.nodes and (circuit.edges or circuit.roles)
    assert f"({file})" in (ROOT / "README.md").read_text()


def test_the_papers_circuits_have_what_the_papers_say():
    ioi = load(ROOT / "gpt2/ioi/wang2022.json")
    assert [len(heads) for heads in ioi.roles.values()] == [3, 2, 8, 4, 4, 3, 2] and len(
        ioi.nodes
    ) == 26
    edges = load(ROOT / "gpt2/ioi/auto-circuit.json")
    into = {s for s, r in edges if r == "logits.in" and s.startswith("L")}
    assert into == {
        h
        for role in ("name mover", "negative name mover", "backup name mover")
        for h in ioi.roles[role]
    }
    assert (
        ("L5H5", "L7KV3.k_in") in edges
        and ("L5H5", "L7H3.q_in") not in edges
        and ("L8H6", "L9H9.q_in") in edges
    )
    assert edges.roles == ioi.roles and edges.prune().edges == edges.edges
    docstring = load(ROOT / "attn-only-4l/docstring/heimersheim2023.json")
    assert len(docstring) == 24 and not any("mlp" in end for edge in docstring for end in edge)
    heads, mlps = (
        load(ROOT / "gpt2/greater_than/hanna2023.json"),
        load(ROOT / "gpt2/greater_than/acdc.json"),
    )
    assert set(heads.nodes) <= set(mlps.nodes) and heads.roles["late MLPs"] == [
        f"mlp.{i}" for i in range(8, 12)
    ]


def test_the_table_counts_right():
    for file, parts, edges in re.findall(
        r"\]\((\S+\.json)\) \| ([^|]*) \| (\w+) \|", (ROOT / "README.md").read_text()
    ):
        circuit = load(ROOT / file)
        assert len(circuit) == (0 if edges == "none" else int(edges)), file
        heads = sum(name.startswith("L") for name in circuit.nodes)
        assert parts.startswith(f"{heads} head"), file
        mlps = sum("mlp" in name for name in circuit.nodes)
        assert (
            "MLP" not in parts
            or parts.endswith((f" {mlps} MLPs", f" {mlps} MLP"))
            or f" {mlps} MLPs in" in parts
        ), file


def test_scores_of_a_file_without_a_model_are_compared_with_a_circuit_of_its_shape(tmp_path):
    from interp.methods.circuits import roc_curve

    scores = scores_on(PARALLEL)
    again = read(write(tmp_path / "s.json", scores, d_model=8))
    truth = Circuit.top(scores, 9)
    assert again.metadata["model"] == "unnamed" and truth.model == "m"
    assert roc_curve(again, truth).metadata["auc"] == 1
