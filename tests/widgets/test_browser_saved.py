"""What was done with the mouse is in the saved notebook: it is saved through the menu, its kernel is
shut down, it is opened again, and the last state is seen; and with the kernel, the widget is back.
"""

import json

import pytest
from browser import APP, notebook, server

pytestmark = pytest.mark.xdist_group(
    "browser"
)  # one lab and one Chromium for all of them, files in their order

TINY = "import interp; model = interp.models.tiny(); task = interp.tasks.ioi(model, n=2)"
HEADS = "w = interp.widgets.heads(model, task); w"
PATCHING = "p = interp.widgets.patching(model, task); p"
CELL = ".interp-heads-grid rect[data-i='{}']"
VIEW = "application/vnd.jupyter.widget-view+json"
CLEAN = f"() => {APP}.shell.currentWidget.context.model.dirty"


def stored(folder, name):
    """The outputs of a notebook's file that hold a widget, in their order."""
    try:
        cells = json.loads((folder / name).read_text())["cells"]
    except ValueError:  # looked at while it was being written
        return []
    outputs = [one for cell in cells for one in cell["outputs"]]
    return [one for one in outputs if "interp" in one.get("metadata", {})]


def text(output, kind="text/html"):
    return "".join(output["data"][kind])


def save(page):
    """Saves through the menu File, as a person does."""
    page.page.locator(".lm-MenuBar-itemLabel:text-is('File')").first.click()
    page.page.locator(".lm-Menu-itemLabel:text-matches('^Save Notebook$')").first.click()
    page.see(CLEAN, False)


def shut_down(page):
    page.page.evaluate(f"() => {APP}.shell.currentWidget.context.sessionContext.shutdown()")
    page.page.wait_for_timeout(500)


@pytest.mark.parametrize("app, path", [("jupyterlab", "/doc/tree/"), ("notebook", "/notebooks/")])
def test_the_last_state_is_saved_seen_without_a_kernel_and_restored(browser, tmp_path, app, path):
    pytest.importorskip(app)
    with server(tmp_path, app=app) as (address, folder):
        name = "n0.ipynb"
        with notebook(browser, address, folder, TINY, HEADS, PATCHING, path=path) as page:
            page.poll("p.wait() is p", True)
            page.click(CELL.format(6))
            page.poll("w.chosen", [[1, 2]])
            page.page.locator(".interp select").nth(1).select_option("zero")
            page.page.locator("label:has-text('direction') select").select_option("noising")
            page.poll("p.direction", "noising")
            page.page.wait_for_timeout(400)
            save(page)  # before the pictures are drawn: they follow
            page.see(
                "() => 1",
                lambda _: (
                    [
                        "noising" in text(o, "text/plain") or "1 ablated" in text(o, "text/plain")
                        for o in stored(folder, name)
                    ]
                    == [True, True]
                ),
            )
            first, second = stored(folder, name)
            assert VIEW not in first["data"] and "1 ablated" in text(first, "text/plain")
            assert "by=&#x27;zero&#x27;" in text(first) and "noising" in text(second)
            state = page.value("w.state")
            assert first["metadata"]["interp"]["state"] == state
            page.see("() => document.querySelectorAll('.interp').length", 2)  # still live
            # the page is loaded again, its kernel lives: so do the widgets
            page.page.reload()
            page.see("() => document.querySelectorAll('.interp').length", 2)
            page.click(CELL.format(7))
            page.poll("w.chosen", [[1, 2], [1, 3]])
            page.see(CLEAN, True)  # what the mouse did is worth a save
            page.poll("w.picture['text'].count('2 ablated')", 1)
            save(page)
            page.see(
                "() => 1",
                lambda _: any(
                    "2 ablated" in text(o, "text/plain") for o in stored(folder, name)[:1]
                ),
            )
            live = page.value("w.value['logit difference']['now']")
            shut_down(page)
        with notebook(browser, address, folder, run=False, file=name, path=path) as page:
            page.see(
                "() => [...document.querySelectorAll('.jp-OutputArea img')].filter((i) => i.naturalWidth > 300).length",
                2,
            )
            said = page.page.locator(".jp-Notebook").inner_text()
            assert "Error displaying widget" not in said and "Python of this state" in said
            page.picture(tmp_path / f"reopened-{app}.png", ".jp-Notebook")
            # run again, and told to go on where the file stopped
            assert page.run()
            assert page.value("w.chosen") == []
            page.do(f"interp.widgets.restore(w, {name!r})")
            assert page.value("w.value['logit difference']['now']") == pytest.approx(live, abs=1e-5)
            page.see("() => document.querySelector('.interp-heads-names input').value", "L1H2 L1H3")
