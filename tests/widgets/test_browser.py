"""The widgets in a real JupyterLab: run the cells, click, and ask the kernel and the page until
they agree.
"""

import pytest
from browser import notebook, server

pytestmark = pytest.mark.xdist_group(
    "browser"
)  # one lab and one Chromium for all of them, files in their order

TINY = "import interp; model = interp.models.tiny(); task = interp.tasks.ioi(model, n=8)"
CELL = ".interp-heads-grid rect[data-i='{}']"
CROSSES = (
    "() => (document.querySelector('.interp-heads-grid .interp-heads-cross').getAttribute('d') ||"
    " '').split('M').length - 1"
)
MOVED = (
    "() => document.querySelector('.interp-heads-numbers tbody tr:nth-child(2)"
    " td:last-child')?.textContent"
)
NOW = "w.value['logit difference']['now']"


@pytest.fixture(scope="module")
def opened(browser, lab):
    """The head grid of the tiny model, 3 layers x 4 heads, of which two share a KV head."""
    with notebook(browser, *lab, TINY, "w = interp.widgets.heads(model, task); w") as page:
        page.page.wait_for_selector(".interp-heads-now")
        yield page


@pytest.fixture
def grid(opened):
    opened.do(
        "[setattr(w, 'keep', False), setattr(w, 'chosen', []), setattr(w, 'by', 'mean'), w.wait()]"
    )
    opened.see(CROSSES, 0)
    return opened


def test_a_click_reaches_the_kernel_and_its_number_the_page(grid):
    grid.click(CELL.format(6))
    grid.poll("w.chosen", [[1, 2]])
    effect = grid.value(
        "float(interp.ablate(model, task, ['L1H2'], metric='logit_diff').examples[0])"
    )
    assert grid.value(f"{NOW} - w.value['logit difference']['clean']") == pytest.approx(
        effect, abs=1e-4
    )
    grid.see(
        MOVED,
        lambda text: (
            text and float(text.split()[0].replace("−", "-")) == pytest.approx(effect, abs=6e-3)
        ),
    )
    grid.see(CROSSES, 1)
    grid.click(CELL.format(6))
    grid.poll("w.chosen", [])


def test_layers_groups_and_drags(grid):
    grid.click(CELL.format(6), modifiers=["Shift"])
    grid.poll("w.heads", "L1H*")
    grid.click(".interp-tick[data-layer='1']")
    grid.poll("w.heads", "")
    grid.click(CELL.format(11), modifiers=["Alt"])
    grid.poll("w.heads", "L2H2 L2H3")
    ends = [grid.page.locator(CELL.format(i)).bounding_box() for i in (0, 8)]
    (x0, y0), (x1, y1) = [
        (one["x"] + one["width"] / 2, one["y"] + one["height"] / 2) for one in ends
    ]
    before = grid.value("w.steps")
    grid.page.mouse.move(x0, y0)
    grid.page.mouse.down()
    grid.page.mouse.move(x1, y1, steps=8)
    grid.page.mouse.up()
    grid.poll("w.heads", "L*H0 L2H2 L2H3")
    assert grid.value("w.steps") == before + 1  # a drag is one step


def test_the_keyboard_does_all_of_it(grid):
    grid.do("setattr(w, 'pointer', [0, 0])")
    grid.page.locator(".interp-heads-grid").focus()
    cell = "jupyterapp.shell.currentWidget.content.activeCellIndex"
    active = grid.page.evaluate(cell)
    for key in ("ArrowRight", "ArrowDown", "Space"):
        grid.page.keyboard.press(key)
    grid.poll("w.chosen", [[1, 1]])
    grid.page.keyboard.press("ArrowRight")
    grid.page.keyboard.press("g")
    grid.poll("w.heads", "L1H1 L2H0 L2H1")
    grid.page.keyboard.press("l")
    grid.poll("w.heads", "L1H1 L2H*")
    grid.page.keyboard.press("Control+z")
    grid.poll("w.heads", "L1H1 L2H0 L2H1")
    grid.poll("w.attention['layer'], w.attention['head']", [2, 1])
    assert grid.page.evaluate(cell) == active  # JupyterLab's own shortcuts stayed quiet


def test_buttons_and_the_line_of_heads(grid):
    line = grid.page.locator(".interp-heads-names input")
    line.fill("L0KV1 L2H0")
    line.press("Enter")
    grid.poll("w.chosen", [[0, 2], [0, 3], [2, 0]])
    grid.see("() => document.querySelector('.interp-heads-names input').value", "L0H2 L0H3 L2H0")
    grid.click("button:text('invert')")
    grid.poll("len(w.chosen)", 9)
    grid.click("button:text('undo')")
    grid.poll("w.heads", "L0H2 L0H3 L2H0")
    grid.page.locator("label:has-text('ablate') select").first.select_option("true")
    grid.poll("len(w.value['heads'])", 9)
    grid.see(CROSSES, 9)
    grid.click("button:text('clear')")
    grid.poll("w.chosen", [])


def test_an_error_is_a_line_and_the_kernel_stays_usable(grid):
    line = grid.page.locator(".interp-heads-names input")
    line.fill("L9H1")
    line.press("Enter")
    grid.see(
        "() => document.querySelector('.interp-problem').textContent",
        lambda text: "no such layer: 'L9H1'" in text,
    )
    assert grid.value("1 + 1") == 2
    line.fill("L1H1")
    line.press("Enter")
    grid.see("() => document.querySelector('.interp-problem').hidden", True)
    grid.poll("w.chosen", [[1, 1]])


def test_what_python_sets_is_seen(grid):
    grid.do("setattr(w, 'heads', 'L0H* L2H3')")
    grid.see(CROSSES, 5)
    grid.see("() => document.querySelector('.interp-heads-names input').value", "L0H* L2H3")
    grid.do("setattr(w, 'prompt', -1)")
    grid.see("() => document.querySelector('.interp-heads-part').textContent", "mean of 8 prompts")
    grid.see(
        "() => document.querySelector('.interp-code pre').textContent",
        lambda text: "['L0H*', 'L2H3'], by='mean', metric=\"logit_diff\").values" in text,
    )
    grid.do("setattr(w, 'prompt', 0)")


def test_long_work_says_computing_and_leaves_the_kernel_free(grid):
    grid.do(
        "exec('''import time\ndef slow(*a, inner=w._compute):\n    time.sleep(1.2)\n    yield from"
        " inner(*a)\nw._kept, w._compute = w._compute, slow''', globals())"
    )
    grid.click(CELL.format(0))
    grid.see("() => document.querySelector('.interp-busy').textContent", "computing")
    grid.poll("w.busy", "computing")  # the kernel answers meanwhile
    grid.click(CELL.format(1))
    grid.see("() => document.querySelector('.interp-busy').textContent", "")
    grid.do("setattr(w, '_compute', w._kept)")
    assert grid.value("w.value['heads']") == ["L0H0", "L0H1"]


def test_light_and_dark(grid, tmp_path):
    grid.do("setattr(w, 'heads', 'L1H2 L2KV1')")
    grid.see(CROSSES, 3)
    paper = "() => getComputedStyle(document.querySelector('.interp')).backgroundColor"
    light = grid.page.evaluate(paper)
    assert grid.picture(tmp_path / "heads-light.png").stat().st_size > 10_000
    try:
        grid.theme("JupyterLab Dark")
        assert grid.page.evaluate(paper) != light
        assert grid.picture(tmp_path / "heads-dark.png").stat().st_size > 10_000
    finally:
        grid.theme("JupyterLab Light")


def test_two_on_a_page_do_not_clash_and_one_can_be_closed(open_notebook):
    page = open_notebook(
        TINY,
        "a = interp.widgets.heads(model, task); a",
        "b = interp.widgets.heads(model, 'When Mary and John went', by='zero'); b",
    )
    page.page.wait_for_function("() => document.querySelectorAll('.interp-heads-now').length >= 4")
    assert page.page.evaluate("() => document.querySelectorAll('.interp [id]').length") == 0
    page.page.locator(".interp").nth(1).locator("rect[data-i='3']").click()
    page.poll("b.chosen, a.chosen", [[[0, 3]], []])
    page.page.locator(".interp").nth(0).locator("rect[data-i='4']").click()
    page.poll("a.chosen", [[1, 0]])
    prompt = page.page.locator(".interp-heads-prompt input")
    prompt.fill("Mary " * 400)
    prompt.press("Enter")
    page.see(
        "() => document.querySelectorAll('.interp-problem')[1].textContent",
        lambda text: "reads at most 256" in text,
    )
    page.do("a.close()")
    page.see("() => document.querySelectorAll('.interp').length", 1)
    page.page.locator(".interp rect[data-i='5']").click()
    page.poll("b.chosen", [[0, 3], [1, 1]])


def test_a_saved_notebook_that_nobody_trusts_shows_the_picture(browser, lab):
    from browser import written
    from nbformat import v4, write

    import interp
    from interp import widgets

    model = interp.models.tiny()
    data, metadata = widgets.heads(
        model, interp.tasks.ioi(model, n=2), heads="L1H1"
    )._repr_mimebundle_()
    import nbformat

    saved = nbformat.reads(written(("w",)), 4)
    saved.cells[0].outputs = [
        v4.new_output("execute_result", data=data, metadata=metadata, execution_count=1)
    ]
    write(saved, lab[1] / "saved.ipynb")
    with notebook(browser, *lab, run=False, file="saved.ipynb") as page:
        page.see("() => document.querySelector('.jp-OutputArea img')?.naturalWidth > 300", True)


def test_in_notebook_7(browser, tmp_path):
    pytest.importorskip("notebook")
    with (
        server(tmp_path, app="notebook") as running,
        notebook(
            browser, *running, TINY, "w = interp.widgets.heads(model, task); w", path="/notebooks/"
        ) as page,
    ):
        page.click(CELL.format(6))
        page.poll("w.chosen", [[1, 2]])
        page.see(CROSSES, 1)
