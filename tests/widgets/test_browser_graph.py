"""The attribution graph in a real JupyterLab: click, and ask kernel and page until they agree."""

import json

import pytest

pytestmark = pytest.mark.xdist_group(
    "browser"
)  # one lab and one Chromium for all of them, files in their order

CELLS = (
    """import interp, torch
from interp import features
model = interp.models.tiny()
def transcoder(layer):
    draw = torch.Generator().manual_seed(layer)
    w = {name: 0.2 * torch.randn(*size, generator=draw) for name, size in
         dict(W_enc=(32, 40), W_dec=(40, 32), b_enc=(40,), b_dec=(32,)).items()}
    return features.Dictionary("transcoder", w, f"mlp.{layer}.in", to=f"mlp.{layer}")
graph = features.graph(model, "The capital of France is", [transcoder(0), transcoder(2)])
feature = [n.name for n in graph.nodes if n.site == "mlp.0" and n.kind == "feature"][0]""",
    "w = interp.widgets.graph(graph, model, pinned=[feature]); w",
)
NODE = ".interp-graph-node[data-i='{}']"
TITLE = "() => document.querySelector('.interp-graph-title').textContent"
ROWS = (
    "() => [...document.querySelectorAll('.interp-graph-answer tbody tr')].map((r) => r.innerText)"
)
SHOWN = "() => document.querySelectorAll('.interp-graph-dots .interp-graph-node').length"
DRAWN = "() => document.querySelectorAll('.interp-graph-lines path').length"


@pytest.fixture
def page(open_notebook):
    return open_notebook(*CELLS)


def test_a_node_is_read_named_and_set_and_all_of_it_is_kept(page, tmp_path):
    page.see(SHOWN, page.value("len(w.part.nodes)"))
    page.see(DRAWN, lambda n: 20 < n <= 60)
    at = page.value("graph.place(feature)")
    page.page.locator(NODE.format(at)).dispatch_event("click")
    page.poll("w.node == feature", True)
    page.see(TITLE, page.value("feature"))
    # its inputs, strongest first, and what they add up to
    listed = page.page.locator(".interp-graph-lists .interp-graph-part").first
    names = listed.locator(".interp-graph-row-name").all_inner_texts()
    assert names == page.value("graph.inputs(feature, 6).coords['node']")
    total = listed.locator(".interp-graph-sum.all .interp-graph-number").inner_text()
    assert float(total) == pytest.approx(page.value("graph[feature].value"), abs=0.01)
    # an input is chosen from the list
    page.click(".interp-graph-lists button >> nth=0")
    page.poll("w.node", names[0])
    page.do("setattr(w, 'node', feature)")
    # graph and model side by side
    page.click(".interp-graph-try button:text-is('off')")
    page.poll("w.values == {feature: 0.0} and w.fits()", True)
    rows = page.see(ROWS, lambda rows: len(rows) > 5)
    first = page.value("graph.intervene({feature: 0.0}).values[0].tolist()")
    assert [float(x.replace("−", "-")) for x in rows[0].split()[-3:]] == pytest.approx(
        first, abs=0.006
    )
    page.click(".interp-graph-chip")
    page.poll("w.values", {})
    # a name, a group of two, the pin; all of them in the file
    page.page.locator(".interp-graph-own input").first.fill("mine")
    page.page.keyboard.press("Enter")
    page.poll("w.names", {page.value("feature"): "mine"})
    other = page.value("w._ranked[0]")
    page.page.locator(NODE.format(page.value(f"graph.place({other!r})"))).dispatch_event(
        "click", {"shiftKey": True}
    )
    page.poll("w.marked", [page.value("feature"), other])
    page.page.locator(".interp-graph-own input").nth(1).fill("pair")
    page.page.keyboard.press("Enter")
    page.poll("w.groups", {"pair": [page.value("feature"), other]})
    file = tmp_path / "graph.json"
    page.page.locator(".interp-graph-own input").last.fill(str(file))
    page.click(".interp-graph-own button:text-is('save')")
    page.poll("w.note[:5]", "saved")
    content = json.loads(file.read_text())
    assert content["groups"] == {"pair": [page.value("feature"), other]}
    assert content["metadata"]["view"] == {"pinned": [page.value("feature")]}
    assert page.value("'mine' in w.python and 'pair' in w.python")


def test_by_keyboard_with_the_slider_and_in_the_dark(page, tmp_path):
    page.do("setattr(w, 'shown', 10)")
    page.see(SHOWN, page.value("len(w.part.nodes)"))
    page.page.locator(".interp-graph-slide input").focus()
    page.page.keyboard.press("ArrowRight")
    page.poll("w.shown", 11)
    page.page.locator(".interp-graph-picture").focus()
    for key in ("ArrowUp", "ArrowUp", "Enter"):
        page.page.keyboard.press(key)
    page.poll("bool(w.node)", True)
    before = page.value("w.pinned")
    page.page.keyboard.press("p")
    page.poll("w.pinned", lambda now: now != before)
    page.do("setattr(w, 'node', feature)")
    page.see(TITLE, page.value("feature"))
    page.page.keyboard.press("Delete")
    page.poll("w.values == {feature: 0.0}", True)
    page.page.keyboard.press("Escape")
    page.poll("w.node", "")
    page.theme("JupyterLab Dark")
    assert page.picture(tmp_path / "graph-dark.png").stat().st_size > 10_000
