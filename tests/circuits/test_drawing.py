"""Pictures of circuits: everything has its place, edges run upwards, sign is colour and dash; two
circuits compare.
"""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from interp.circuits import Circuit, diff, drawing, layout, plot_diff
from interp.dims import Graph

SHARED = Graph(3, 4, 2, False)
GRAPHS = [SHARED, Graph(2, 3, 3, False), Graph(3, 4, 4, True)]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def whole(graph, seed=0):
    every = list(~Circuit({}, graph, "m"))
    return Circuit(
        dict(zip(every, np.random.default_rng(seed).normal(size=len(every)).tolist())),
        graph,
        "m",
        task={"name": "ioi"},
    )


def small(**more):
    edges = {("embed", "mlp.0.in"): 4.0, ("mlp.0", "L2KV1.v_in"): -2.0, ("L2H3", "logits.in"): 1.0}
    return Circuit(edges, SHARED, "m", **more)


def dashed(collection):
    return collection.get_linestyle()[0][1] is not None


# --- the plan -------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", GRAPHS, ids=str)
def test_every_edge_runs_upwards_between_its_own_ends(graph):
    plan = layout(whole(graph), max_edges=10**6)
    assert len(plan["edges"]) == len(whole(graph)) and plan["hidden"] == 0
    for edge in plan["edges"]:
        x0, y0, *_, x3, y3 = edge["path"]
        start = plan["nodes"][edge["sender"]]
        assert y3 > y0 and (x0, y0) == (start["x"], start["y"]), edge
        if "KV" not in edge["receiver"]:
            end = plan["nodes"][edge["receiver"].rpartition(".")[0]]
            assert x3 == end["x"] and 0 <= end["y"] - y3 < 0.2, edge


@pytest.mark.parametrize("graph", GRAPHS, ids=str)
def test_components_stand_apart_and_always_in_the_same_place(graph):
    def places(circuit):
        return {name: (n["x"], n["y"]) for name, n in layout(circuit)["nodes"].items()}

    full = places(whole(graph))
    assert places(Circuit({}, graph, "m")) == full and len(set(full.values())) == len(full)
    heights = [y for _, y in full.values()]
    assert full["embed"][1] == min(heights) and full["logits"][1] == max(heights)
    lane = {x for name, (x, _) in full.items() if name.startswith("mlp")}
    assert len(lane) == 1 and lane.pop() > max(
        x for name, (x, _) in full.items() if name.startswith("L")
    )
    assert all(full[f"L{layer}H0"] == (0.0, layer) for layer in range(graph.n_layers))


def test_keys_and_values_end_at_the_foot_of_their_group():
    plan = layout(small())
    (shared,) = [e for e in plan["edges"] if e["receiver"] == "L2KV1.v_in"]
    group = next(g for g in plan["groups"] if (g["layer"], g["index"]) == (2, 1))
    assert (group["x0"], group["x1"]) == (
        plan["nodes"]["L2H2"]["x"],
        plan["nodes"]["L2H3"]["x"],
    ) and group["read"] == ["v"]
    assert (group["x0"] + group["x1"]) / 2 < shared["path"][-2] < group["x1"] and 1.5 < shared[
        "path"
    ][-1] < 2
    assert len(plan["groups"]) == 6 and not layout(whole(GRAPHS[1]))["groups"]


def test_widths_are_sizes_over_the_largest_and_the_largest_come_last():
    plan = layout(small(), max_edges=2)
    assert [(e["sender"], e["width"], e["sign"]) for e in plan["edges"]] == [
        ("mlp.0", 0.5, -1),
        ("embed", 1.0, 1),
    ]
    assert (plan["hidden"], plan["largest"]) == (1, 4.0)
    json.dumps(layout(small(roles={"mover": ["L2H3"]})), allow_nan=False)
    nodes = layout(small(roles={"mover": ["L2H3"]}))["nodes"]
    assert (
        nodes["L2H3"]["role"] == "mover" and nodes["L2H3"]["member"] and not nodes["L0H0"]["member"]
    )
    with pytest.raises(ValueError, match="max_edges=-1"):
        layout(small(), max_edges=-1)


# --- the picture ----------------------------------------------------------------------------------


def test_the_picture_says_sign_unit_and_roles():
    ax = small(
        roles={"mover": ["L2H3"]}, task={"name": "ioi"}, source={"method": "eap", "unit": "logits"}
    ).plot()
    helps, hurts = (c for c in ax.collections if hasattr(c, "get_segments"))
    assert (
        not dashed(helps)
        and dashed(hurts)
        and len(helps.get_segments()) == 2
        and len(hurts.get_segments()) == 1
    )
    assert not np.allclose(helps.get_colors()[0][:3], hurts.get_colors()[0][:3])
    wide = sorted(helps.get_linewidths())
    assert wide[1] == drawing.WIDEST and wide[0] == pytest.approx(
        drawing.THINNEST + (drawing.WIDEST - drawing.THINNEST) / 4
    )
    said = [t.get_text() for t in ax.get_legend().get_texts()]
    assert said == ["helps: score > 0", "hurts: score < 0", "thickest = 4 logits", "mover"]
    assert ax.get_title() == "m · ioi · eap: 3 edges, 3 components"
    assert {"L2H3", "mlp.0", "embedding", "logits", "v"} <= {t.get_text() for t in ax.texts}


def test_large_circuits_name_the_strongest_and_say_what_is_left_out():
    graph = Graph(8, 7, 7, False)
    ax = whole(graph).plot(max_edges=90)
    names = [t.get_text() for t in ax.texts if t.get_text().startswith(("L", "mlp"))]
    assert len(names) == drawing.FEWER and "the 90 largest drawn" in ax.get_title().replace(
        "\n", " "
    )


def test_heads_without_edges_and_edges_without_scores_are_drawn():
    ax = Circuit({}, SHARED, "m", roles={"a": ["L0H1"], "b": ["mlp.2"]}).plot(title="two roles")
    assert ax.get_title() == "two roles" and [
        t.get_text() for t in ax.get_legend().get_texts()
    ] == ["a", "b"]
    ax = Circuit({("embed", "mlp.0.in"): None}, SHARED, "m").plot()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["edge, not scored"]


def test_a_notebook_shows_the_picture_without_pyplot():
    before = plt.get_fignums()
    html = small(
        source={"cite": "A & B <2020>", "note": "checked"}, evaluation={"faithfulness": 0.7}
    )._repr_html_()
    assert (
        html.count("<img") == 1
        and "data:image/png;base64,iVBOR" in html
        and plt.get_fignums() == before
    )
    assert "A &amp; B &lt;2020&gt;" in html and "faithfulness 0.7" in html and "checked" in html


# --- two circuits ---------------------------------------------------------------------------------


def test_a_difference_parts_the_edges():
    a, b = (
        Circuit({e: s for e, s in whole(SHARED).edges.items() if s > 0.3}, SHARED, "m"),
        whole(SHARED, seed=1),
    )
    b = Circuit({e: s for e, s in b.edges.items() if s > 0.3}, SHARED, "m")
    parts = diff(a, b)
    sets = [set(part) for part in parts.values()]
    assert sets == [set(a) & set(b), set(a) - set(b), set(b) - set(a)] and sum(
        map(len, sets)
    ) == len(set(a) | set(b))
    assert [len(part) for part in diff(a, a).values()] == [len(a), 0, 0]
    with pytest.raises(ValueError, match="one model"):
        diff(a, whole(GRAPHS[1]))


def test_the_picture_of_a_difference_has_three_colours_and_dashes():
    other = Circuit({("embed", "mlp.0.in"): 1.0, ("mlp.0", "logits.in"): 1.0}, SHARED, "m")
    ax = plot_diff(small(), other, names=("EAP", "exact"))
    both, a, b = (c for c in ax.collections if hasattr(c, "get_segments"))
    assert [len(c.get_segments()) for c in (both, a, b)] == [1, 2, 1] and [
        dashed(c) for c in (both, a, b)
    ] == [False, True, True]
    assert len({tuple(c.get_colors()[0][:3]) for c in (both, a, b)}) == 3
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "in both: 1 edge",
        "only in EAP: 2 edges",
        "only in exact: 1 edge",
    ]
    assert "25%" in ax.get_title()
    with pytest.raises(ValueError, match="names="):
        plot_diff(small(), other, names=("one",))
