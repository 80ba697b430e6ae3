"""The attention and lens widgets in a real JupyterLab: point, click, type, both on one page."""

import statistics
import sys

import pytest
from browser import notebook

pytestmark = pytest.mark.xdist_group(
    "browser"
)  # one lab and one Chromium for all of them, files in their order

TINY = "import interp; model = interp.models.tiny(); task = interp.tasks.ioi(model, n=4)"
CELLS = (
    TINY,
    "w = interp.widgets.attention(model, task, heads='L1H*'); w",
    "v = interp.widgets.lens(model, 'The capital of France is'); v",
)
NAME = "() => document.querySelector('.interp-att-name b')?.textContent"
PROBLEM = "() => [...document.querySelectorAll('.interp-problem')].map((p) => p.textContent)"
LISTED = "() => document.querySelector('.interp-lens-side h4')?.textContent"
DARK = """() => { const c = document.querySelector('.interp-att-big canvas'), n = c.width;
  return [...c.getContext('2d').getImageData(0, n - 1, 1, 1).data].slice(0, 3); }"""


@pytest.fixture(scope="module")
def opened(browser, lab):
    """Both widgets, of the tiny model, on one page."""
    with notebook(browser, *lab, *CELLS) as page:
        page.page.wait_for_selector(".interp-att-token")
        page.page.wait_for_selector(".interp-lens-table td[data-row]")
        yield page


def test_a_head_is_chosen_and_the_kernel_knows(opened):
    opened.click(".interp-att-small[data-head='L1H2']")
    opened.poll("w.head", "L1H2")
    opened.see(NAME, "L1H2")
    opened.do("setattr(w, 'head', 'L2H0')")
    opened.see(NAME, "L2H0")
    assert "L1H2" not in opened.value("v.code")


def test_a_token_is_pointed_at_clicked_and_moved_by_keys(opened):
    title = "() => document.querySelector('.interp-att-lists h4').textContent"
    words = opened.value("w.reply['tokens']")
    opened.page.locator(".interp-att-token").nth(4).hover()
    opened.see(title, f"␣{words[4].strip()} looks at")
    opened.page.locator(".interp-att-token").nth(3).click()
    opened.poll("w.token", 3)
    opened.page.keyboard.press("ArrowRight")
    opened.poll("w.token", 4)
    opened.page.locator(".interp-att-hit").hover(position={"x": 8, "y": 30})
    opened.see(
        "() => document.querySelector('.interp-att-readout').textContent",
        lambda text: "→" in text and "share of attention" in text,
    )


def test_beside_another_widget_the_matrix_scrolls_and_nothing_is_cut(opened):
    size = opened.page.viewport_size
    opened.page.set_viewport_size({"width": 560, "height": size["height"]})
    opened.see(
        """() => { const root = document.querySelector('.interp'), box = root.getBoundingClientRect();
          const wide = [...root.querySelectorAll('.interp-att-main > *, .interp-att-big')];
          return box.width < 480 && wide.every((e) => e.getBoundingClientRect().right <= box.right + 1); }""",
        True,
    )
    opened.page.set_viewport_size(size)


def test_a_score_finds_heads_and_typed_heads_replace_them(opened):
    opened.page.locator(".interp-att-controls select").nth(1).select_option("induction")
    opened.poll("[w.find, len(w.value['scores'])]", ["induction", 12])
    opened.see("() => document.querySelectorAll('.interp-att-small').length", 12)
    line = opened.page.locator(".interp-att-heads input")
    line.fill("L0H* L2H1")
    line.press("Enter")
    opened.poll("[w.find, w.value['heads']]", ["", ["L0H0", "L0H1", "L0H2", "L0H3", "L2H1"]])
    line.fill("L77H0")
    line.press("Enter")
    opened.see(PROBLEM, lambda found: "no such layer" in found[0] and found[1] == "")
    line.fill("L1H*")
    line.press("Enter")
    opened.see(PROBLEM, ["", ""])


def test_the_weighted_view_and_a_typed_prompt(opened):
    opened.page.locator(".interp-att-controls select").nth(2).select_option("true")
    opened.poll("w.value['pattern'].unit", "norm in the residual stream")
    line = opened.page.locator(".interp-att-prompt input")
    line.fill("Mary and John went")
    line.press("Enter")
    opened.poll("w.value['prompt']", "Mary and John went")
    opened.see("() => document.querySelectorAll('.interp-att-token').length", 5)
    opened.do("[setattr(w, 'weighted', False), setattr(w, 'prompt', 0)]")
    opened.see(
        "() => document.querySelectorAll('.interp-att-token').length",
        opened.value("len(task.clean[0].tolist())"),
    )


def test_a_cell_of_the_lens_is_listed_by_mouse_and_keys(opened):
    opened.click(".interp-lens-table td[data-row='1'][data-column='2']")
    opened.poll("[v.layer, v.token]", [1, 2])
    opened.see(LISTED, "layer 1 after 2 ␣capital")
    opened.page.keyboard.press("ArrowUp")
    opened.poll("[v.layer, v.token]", [2, 2])
    opened.see(LISTED, "layer 2 after 2 ␣capital")
    top = opened.value("v.value['list'][0][0]")
    opened.see(
        "() => document.querySelector('.interp-lens-side li span').textContent",
        top.replace(" ", "␣", 1),
    )


def test_the_lens_takes_an_answer_a_colour_and_a_mistake(opened):
    line = opened.page.locator(".interp-lens-word input").first
    line.fill("Paris")
    line.press("Enter")
    opened.poll("v.value['answers']", [" Paris"])
    opened.page.locator(".interp-lens-controls select").first.select_option("logit_diff")
    opened.poll("v.value['numbers'].unit", "logits")
    opened.see(
        "() => document.querySelector('.interp-lens-legend').textContent",
        lambda text: "logit difference ␣Paris" in text,
    )
    line.fill("Parisian dreams")
    line.press("Enter")
    opened.see(PROBLEM, lambda found: "not one token" in found[1])
    line.fill("London")
    line.press("Enter")
    opened.poll("None if v.problem else v.value['answers']", [" London"])
    opened.see(PROBLEM, ["", ""])


def test_both_follow_the_theme(opened, tmp_path):
    opened.theme("JupyterLab Light")  # the lab is shared: another test may have left it dark
    opened.see(DARK, lambda shade: sum(shade) > 300)
    light = opened.page.evaluate(DARK)
    opened.picture(tmp_path / "attention-light.png")
    opened.theme("JupyterLab Dark")
    opened.see(DARK, lambda dark: sum(dark) < sum(light))
    assert opened.picture(tmp_path / "attention-dark.png").stat().st_size > 5000
    opened.theme("JupyterLab Light")


def test_every_control_has_a_name_and_closing_one_leaves_the_other(opened):
    unnamed = """() => [...document.querySelectorAll('.interp button, .interp select, .interp input, .interp [role=grid], .interp [role=gridcell], .interp [role=button]')]
      .filter((e) => !(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim())).map((e) => e.outerHTML)"""
    assert opened.page.evaluate(unnamed) == []
    opened.do("w.close()")
    opened.see("() => document.querySelectorAll('.interp-att-token').length", 0)
    opened.click(".interp-lens-table td[data-row='0'][data-column='0']")
    opened.see(LISTED, lambda text: text.startswith("layer 0 after 0"))


if (
    __name__ == "__main__"
):  # latency on the default model: python tests/widgets/test_browser_attention.py
    import tempfile
    from pathlib import Path

    from browser import ARGUMENTS, chromium, server
    from playwright.sync_api import sync_playwright

    TIME = """async ([selectors, seen]) => { const times = [];
      for (let i = 0; i < 20; i++) {
        const want = selectors[i % selectors.length], start = performance.now();
        document.querySelector(want).click();
        while (!document.querySelector(want)?.matches(seen)) await new Promise(requestAnimationFrame);
        times.push(performance.now() - start);
      } return times; }"""
    load = "import torch; torch.set_num_threads(1); import interp; model = interp.load()"
    shown = (
        "w = interp.widgets.attention(model, 'When Mary and John went to the store, John gave a"
        " drink to', heads='L17H*'); w.wait(); w"
    )
    long = "u = interp.widgets.attention(model, 'word ' * 254, heads='L17H*'); u.wait(); u"
    table = "v = interp.widgets.lens(model, 'The capital of France is'); v.wait(); v"
    heads = [[f".interp-att-small[data-head='L17H{h}']" for h in (1, 2)], "[aria-pressed='true']"]
    cells = [[f"td[data-row='{r}'][data-column='3']" for r in (5, 9)], "[aria-selected='true']"]
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder)) as running,
        sync_playwright() as p,
    ):
        browser = p.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        for name, cell, what in (
            ("head of 15 tokens", shown, heads),
            ("head of 256 tokens", long, heads),
            ("cell of the lens", table, cells),
        ):
            with notebook(browser, *running, load, cell) as page:
                page.page.wait_for_selector(what[0][0])
                times = page.page.evaluate(TIME, what)
                print(
                    f"{name}: median {statistics.median(times):.0f} ms of 20, worst"
                    f" {max(times):.0f}",
                    file=sys.stderr,
                )
        browser.close()
