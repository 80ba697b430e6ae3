"""The widgets on a small screen: cause and effect in one view, nothing cut; and how long a click
takes, printed.
"""

import statistics
import sys

import pytest
from browser import notebook

pytestmark = pytest.mark.xdist_group(
    "browser"
)  # one lab and one Chromium for all of them, files in their order

SCREEN = 640  # pixels of a notebook that JupyterLab leaves on a screen of 1366 x 768
CELLS = (
    "import interp, torch; from interp import features; model = interp.load();"
    " task = interp.tasks.ioi(model, n=4)",
    "w = interp.widgets.heads(model, task, heads='L20H0').wait(); w",
    "a = interp.widgets.attention(model, task).wait(); a",
    "v = interp.widgets.lens(model, task).wait(); v",
    "p = interp.widgets.patching(model, task, cell=[20, 10]).wait(); p",
    "scores = interp.discover(model, task[:2], method='eap');"
    " c = interp.widgets.circuit(interp.Circuit.top(scores, 200), model, task).wait(); c",
    "acts = features.activations(model, 'resid_post.20', tokens=1500);"
    " sae = features.baselines(acts, k=8, width=64)[0];"
    " f = interp.widgets.features(model, sae, features.firings(model, sae, on=acts)).wait(); f",
    "r = {n: 0.03 * torch.randn(*s) for n, s in dict(W_enc=(576, 64), W_dec=(64, 576), b_enc=(64,),"
    " b_dec=(576,)).items()};"
    " g = features.graph(model, 'The capital of France is', features.Dictionary('transcoder', r,"
    " 'mlp.12.in', to='mlp.12'), nodes=None, edges=None);"
    " n = [x.name for x in g.nodes if x.kind == 'feature'];"
    " u = interp.widgets.graph(g, model, node=n[0], pinned=n[:20], values={n[0]: 0.0}).wait(); u",
    "e = interp.widgets.explore(model, task).wait(); e",
)
# (the control, what it changes) of each widget, in their order
PAIRS = [
    (".interp-heads-grid", ".interp-heads-numbers"),
    (".interp-att-big", ".interp-att-lists"),
    (".interp-lens-table", ".interp-lens-side"),
    (".interp-patch-map", ".interp-patch-prediction table"),
    (".interp-circuit-graph", ".interp-circuit-numbers"),
    (".interp-feat-bar", ".interp-feat-next"),
    (".interp-graph-picture", ".interp-graph-answer"),
    (".interp-explore-tokens", ".interp-explore-columns"),
]
SPANS = """(pairs) => pairs.map(([cause, effect], i) => {
  const root = document.querySelectorAll('.interp')[i];
  const [a, b] = [cause, effect].map((s) => root.querySelector(s).getBoundingClientRect());
  return Math.max(a.bottom, b.bottom) - Math.min(a.top, b.top);
})"""
CUT = """() => [...document.querySelectorAll('.interp')].flatMap((root) => {
  const right = root.getBoundingClientRect().right + 1;
  return [...root.querySelectorAll('*')].filter((e) => !e.closest('.interp-hidden, .interp-foot')
    && e.getClientRects().length && e.getBoundingClientRect().right > right).map((e) => e.outerHTML.slice(0, 90));
})"""
SAYS = """() => [...document.querySelectorAll('.interp .interp-says')]
  .filter((e) => e.getClientRects().length && e.textContent).length"""


@pytest.fixture(scope="module")
def opened(browser, lab, smollm2):
    with notebook(browser, *lab, *CELLS) as page:
        page.page.wait_for_selector(".interp-patch-prediction table", timeout=180_000)
        yield page


def as_wide_as(page, width):
    for _ in range(2):
        now = page.page.evaluate(
            "() => document.querySelector('.interp').getBoundingClientRect().width"
        )
        size = page.page.viewport_size
        page.page.set_viewport_size({"width": round(size["width"] + width - now), "height": 768})
        page.page.wait_for_timeout(300)


def test_from_880_pixels_a_control_and_what_it_changes_are_on_one_screen(opened):
    as_wide_as(opened, 880)
    spans = opened.page.evaluate(SPANS, PAIRS)
    assert max(spans) <= SCREEN, dict(zip([cause for cause, _ in PAIRS], spans))
    assert opened.page.evaluate(SAYS) == 0
    assert opened.page.evaluate(CUT) == []


def test_at_700_pixels_nothing_is_cut_and_the_main_number_stands_under_the_title(opened):
    as_wide_as(opened, 700)
    assert opened.page.evaluate(CUT) == []
    assert opened.page.evaluate(SAYS) == len(PAIRS)


# the widget, what is clicked the i-th time, what shows the new numbers
CLICKS = {
    "heads": (
        ".interp-heads-grid rect[data-i='{}']",
        lambda i: 9 * ((7 * i + 3) % 30) + i % 9,
        ".interp-heads-numbers",
    ),
    "patching": (
        ".interp-patch-map rect[data-i='{}']",
        lambda i: 15 * (3 + i) + i % 15,
        ".interp-patch-prediction",
    ),
    "lens": (
        ".interp-lens-table td[data-row='{}'][data-column='4']",
        lambda i: i + 2,
        ".interp-lens-side",
    ),
    "circuit": (
        ".interp-circuit-list li:nth-child({}) input",
        lambda i: i + 1,
        ".interp-circuit-numbers",
    ),
    "features": (".interp-feat-rows li:nth-child({})", lambda i: i + 5, ".interp-feat-next"),
    "graph": (
        ".interp-graph-try button:text-is('{}')",
        lambda i: ("double", "off")[i % 2],
        ".interp-graph-answer",
    ),
}
WATCH = """(effect) => {
  window.took = [];
  const shown = document.querySelector(effect);
  const old = () => Boolean(shown.closest('.interp-old') || shown.querySelector('.interp-old') || shown.innerText.includes('computing'));
  window.watched?.abort();
  window.watched = new AbortController();
  window.addEventListener('pointerup', () => {
    const since = performance.now(), before = shown.innerText;
    let asked = false;
    const look = () => {
      asked ||= old() || shown.innerText !== before;
      if (asked && !old()) window.took.push(performance.now() - since);
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }, {capture: true, signal: window.watched.signal});
}"""


@pytest.mark.parametrize("name", CLICKS)
def test_a_click_says_how_long_it_took(opened, name, capsys):
    selector, which, effect = CLICKS[name]
    opened.page.evaluate(WATCH, effect)
    for i in range(20):
        opened.click(selector.format(which(i)))
        opened.see("() => window.took.length", lambda n, i=i: n >= i + 1, timeout=60)
        opened.page.wait_for_timeout(120)
    median = statistics.median(opened.page.evaluate("() => window.took"))
    with capsys.disabled():
        print(f"\n{name}: click to updated numbers, median of 20: {median:.0f} ms", file=sys.stderr)
