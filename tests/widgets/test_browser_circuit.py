"""The circuit and the patching explorer in a real JupyterLab: click, and ask kernel and page until
they agree.
"""

import pytest

pytestmark = pytest.mark.xdist_group(
    "browser"
)  # one lab and one Chromium for all of them, files in their order

TINY = "import interp; model = interp.models.tiny(); task = interp.tasks.ioi(model, n=6)"
CIRCUIT = (
    "scores = interp.discover(model, task); w = interp.widgets.circuit(scores, model, task,"
    " shown=20); w"
)
READY = "w.answered >= w.asked and bool(w.reply.get('numbers'))"
EDGE = ".interp-circuit-hits [data-edge='{}']"
CELL = ".interp-patch-map rect[data-i='{}']"
DRAWN = "() => document.querySelectorAll('.interp-circuit-lines .interp-circuit-edge').length"
PROBLEM = "() => document.querySelector('.interp-problem').textContent"


@pytest.fixture
def graph(open_notebook):
    """The explorer of the tiny model's circuit: 3 layers x 4 heads, two of which share a KV head."""
    page = open_notebook(TINY, CIRCUIT)
    page.page.wait_for_selector(".interp-circuit-numbers .now")
    return page


@pytest.fixture
def patching(open_notebook):
    page = open_notebook(TINY, "w = interp.widgets.patching(model, task); w")
    page.poll("w.reply['done']", 3)
    return page


def test_the_circuit_explorer(graph, tmp_path):
    graph.see(DRAWN, 20)
    key = graph.value("' -> '.join(list(w.value)[0])")
    graph.page.locator(EDGE.format(key)).dispatch_event(
        "click"
    )  # edges cross: a real pointer takes the upper one
    graph.poll("w.cut", [key])
    graph.poll(READY, True)
    shown = graph.value("w.numbers['value']")
    graph.see(
        "() => document.querySelector('.interp-circuit-numbers .now td').textContent.split('"
        " ')[0].replace('−', '-')",
        f"{shown:.{2 if abs(shown) >= 0.095 else 3}f}",
    )
    expected = graph.value(
        "float(interp.evaluate(model, task, w.value, sets=1).sel(measure='circuit').values)"
    )
    assert shown == pytest.approx(expected, abs=1e-4)
    graph.click("button:text('undo')")
    graph.poll("w.cut", [])
    line = graph.page.locator(".interp-circuit-edit input").first
    line.fill("L0KV0")
    graph.click("button:text('cut')")
    graph.poll("any('L0KV0' in r for _, r in w.value)", False)
    line.fill("L9H9")
    graph.click("button:text('cut')")
    graph.see(PROBLEM, lambda text: "unknown component" in text)
    graph.click("button:text('restore all')")
    graph.poll("w.cut", [])
    file = tmp_path / "mine.json"
    graph.page.locator(".interp-circuit-edit input").nth(1).fill(str(file))
    graph.click("button:text('save')")
    graph.poll(
        f"interp.Circuit.load({str(file)!r}) == w.value" if file.exists() else "bool(w.note)", True
    )
    assert graph.value(f"interp.Circuit.load({str(file)!r}) == w.value")


def test_the_circuit_by_keyboard_from_python_and_in_the_dark(graph, tmp_path):
    graph.do("setattr(w, 'shown', 30)")
    graph.see(DRAWN, 30)
    graph.page.locator(".interp-circuit-graph").focus()
    for key in ("ArrowUp", "ArrowUp", "Enter"):
        graph.page.keyboard.press(key)
    graph.poll("bool(w.node)", True)
    node = graph.value("w.node")
    graph.see(
        "() => document.querySelector('.interp-circuit-list').previousSibling.textContent",
        f"edges of {node}",
    )
    graph.page.keyboard.press("Delete")
    graph.poll("any(w.node in (s, r.rpartition('.')[0]) for s, r in w.value)", False)
    graph.poll(READY, True)
    graph.page.locator(".interp-circuit-list input").first.click()
    graph.poll("len(w.value) > 0 and w.steps", lambda steps: steps >= 3)
    graph.theme("JupyterLab Dark")
    assert graph.picture(tmp_path / "circuit-dark.png").stat().st_size > 10_000


def test_the_patching_explorer(patching, tmp_path):
    columns = patching.value("len(w.metadata['prompts'][0]['clean'])")
    patching.see("() => document.querySelectorAll('.interp-patch-map rect.waits').length", 0)
    differs = patching.value("w.metadata['prompts'][0]['differs']")
    patching.see(
        "() => document.querySelectorAll('.interp-patch-tokens .differs').length", 2 * len(differs)
    )
    patching.click(CELL.format(columns + differs[0]))
    patching.poll("w.prediction.get('name')", f"resid_pre.1@{differs[0]}")
    moved = patching.value("w.prediction['after'] - w.prediction['before']")
    assert moved == pytest.approx(
        patching.value(f"float(w.value.values[1, {differs[0]}])"), abs=1e-4
    )
    patching.see(
        "() => document.querySelectorAll('.interp-patch-next li').length", lambda n: n >= 8
    )
    patching.page.locator("label:has-text('direction') select").select_option("noising")
    patching.poll("w.direction == 'noising' and w.reply['done'] == 3 and w.fits()", True)
    patching.page.locator(".interp-patch-map").focus()
    for key in ("ArrowUp", "Enter"):
        patching.page.keyboard.press(key)
    patching.poll("w.cell", [2, differs[0]])
    patching.do("setattr(w, 'site', 'heads')")
    patching.see("() => document.querySelectorAll('.interp-patch-map rect[data-i]').length", 12)
    patching.do("setattr(w, 'prompt', 99)")
    patching.see(PROBLEM, lambda text: "prompts 0 to 5" in text)
    assert patching.value("1 + 1") == 2
    patching.theme("JupyterLab Dark")
    assert patching.picture(tmp_path / "patching-dark.png").stat().st_size > 10_000


def test_two_on_a_page_do_not_clash(open_notebook):
    page = open_notebook(
        TINY,
        "a = interp.widgets.patching(model, task); a",
        "b = interp.widgets.patching(model, task, site='heads'); b",
    )
    page.poll("a.reply['done'] + b.reply['done']", 6)
    page.page.locator(".interp").nth(1).locator("rect[data-i='5']").click()
    page.poll("b.cell", [1, 1])
    assert page.value("a.cell") == []
    page.do("a.close()")
    page.see("() => document.querySelectorAll('.interp-patch-map').length", 1)
