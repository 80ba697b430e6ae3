"""The widgets in a real JupyterLab: run the cells, click, and ask the kernel and the page until they agree."""

import re
import statistics
import time

import pytest

TINY = "import interp; model = interp.models.tiny(); task = interp.tasks.ioi(model, n=8)"
CELL = ".interp-heads-grid rect[data-i='{}']"
NOW = "() => document.querySelector('.interp-heads-now')?.textContent"
CROSSES = "() => (document.querySelector('.interp-heads-grid .interp-heads-cross').getAttribute('d') || '').split('M').length - 1"


@pytest.fixture
def grid(open_notebook):
    """The head grid of the tiny model, 3 layers x 4 heads, two of which share a KV head."""
    page = open_notebook(TINY, "w = interp.widgets.heads(model, task); w")
    page.page.wait_for_selector(".interp-heads-now")
    return page


def test_clicks_reach_the_kernel_and_its_numbers_the_page(grid, tmp_path):
    grid.click(CELL.format(6))
    grid.poll("w.chosen", [[1, 2]])
    expected = grid.value("interp.ablate(model, task, ['L1H2'], metric='logit_diff').examples[0]")
    assert grid.value("w.value['logit difference']['now'] - w.value['logit difference']['clean']") == pytest.approx(expected, abs=1e-4)
    grid.see(NOW, f"{grid.value('w.value[chr(108) + chr(111) + chr(103) + chr(105) + chr(116) + chr(32) + chr(100) + chr(105) + chr(102) + chr(102) + chr(101) + chr(114) + chr(101) + chr(110) + chr(99) + chr(101)][chr(110) + chr(111) + chr(119)]'):.2f}".replace("-", "−"))
