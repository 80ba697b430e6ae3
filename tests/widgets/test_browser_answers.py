"""No number stands under a question that it does not answer: each control is changed while an answer
is under way, the model is slowed, and every frame that the browser drew is looked at.

A page is first left alone in each state, to learn what it says there when all work is done. Then the
controls change quickly, and in every frame each part of the widget must say what it says in the
state that its controls then showed, or say no number at all.
"""

import re

import pytest

pytestmark = pytest.mark.xdist_group(
    "browser"
)  # one lab and one Chromium for all of them, files in their order

TINY = """import interp, torch
from interp import features
model = interp.models.tiny()
task = interp.tasks.ioi(model, n=3)
scores = interp.discover(model, task)
ids = torch.randint(5, 200, (40, 16), generator=torch.Generator().manual_seed(0))
acts = features.activations(model, "resid_post.1", ids)
sae = features.baselines(acts, k=6, width=300)[0]
acts_on = features.firings(model, sae, on=acts)
def transcoder(layer):
    draw = torch.Generator().manual_seed(layer)
    w = {name: 0.2 * torch.randn(*size, generator=draw) for name, size in
         dict(W_enc=(32, 40), W_dec=(40, 32), b_enc=(40,), b_dec=(32,)).items()}
    return features.Dictionary("transcoder", w, f"mlp.{layer}.in", to=f"mlp.{layer}")
graph = features.graph(model, ids[0, :6][None], [transcoder(0), transcoder(2)])
early = [n.name for n in graph.nodes if n.site == "mlp.0" and n.kind == "feature"][:2]"""
# each step of a job waits before it is shown: the model is slow, what the page does is not
SLOWED = """exec('''import time
import interp.widgets._base as base
base_steps = base._steps
def slow(job):
    for value in base_steps(job):
        time.sleep(PAUSE[0])
        yield value
PAUSE = [0.0]
base._steps = slow
''', globals())"""

# What a frame shows: what the controls stand at, and the text of each part that can be seen in it.
FRAMES = """(parts) => {
  const seen = (node) => (node.getClientRects().length ? node.innerText : '');
  window.frame_now = () => ({
    state: JSON.stringify([
      [...document.querySelectorAll('.interp select')].map((s) => s.value),
      document.querySelector('.interp-heads-cross')?.getAttribute('d') ?? '',
      document.querySelector('.interp-feat-number')?.value ?? '',
      document.querySelector('.interp input[type=range]')?.value ?? '',
      document.querySelector('.interp-patch-mark')?.getAttribute('x') ?? '',
      document.querySelector('.interp-graph-title')?.textContent ?? '',
      document.querySelector('.interp-graph-set')?.textContent ?? '',
    ]),
    parts: parts.map((p) => [...document.querySelectorAll(p)].map(seen).join(' | ')),
  });
  window.frames_begin = () => {
    window.frames = [];
    let last = '';
    const look = () => {
      const frame = window.frame_now(), text = JSON.stringify(frame);
      if (text !== last) { last = text; window.frames.push(frame); }
      window.frames_next = requestAnimationFrame(look);
    };
    look();
  };
}"""
STOP = "() => { cancelAnimationFrame(window.frames_next); return window.frames; }"
# what depends on the way here, and not on the state alone: a map that fills in, the last edit
ON_THE_WAY = re.compile(r"\d+ of \d+ layers computed|[−+]?[\d.]+ by the last edit")
NUMBER = re.compile(r"[−+-]?\d+(?:\.\d+)?")


def menu(label):
    """Chooses a value in one of the widget's menus."""

    def act(page, value):
        field = f".interp label:has(> span:text-is('{label}')) select"
        page.page.locator(field).first.select_option(value, force=True)

    return act


def typed(field):
    """Types a text into one of the widget's fields."""

    def act(page, value):
        line = page.page.locator(f"{field} input").first
        line.fill(value)
        line.press("Enter")

    return act


def press(page, value):
    """Marks a head with the mouse, as a person does: down and up."""
    page.click(f".interp-heads-grid rect[data-i='{value}']")


def slide(page, value):
    page.page.evaluate(
        """(value) => { const s = document.querySelector('.interp input[type=range]'); s.value = value;
        s.dispatchEvent(new Event('input')); }""",
        value,
    )


def node(page, value):
    """Chooses a node of the attribution graph, as the arrow keys and Enter do."""
    at = page.value(f"[n.name for n in graph.nodes].index(early[{value}])")
    page.page.locator(f".interp-graph-node[data-i='{at}']").dispatch_event("click")


def act(page, value):
    """Presses a button of the attribution graph's experiment."""
    page.page.locator(f".interp-graph-try button:text-is('{value}')").dispatch_event("click")


def latent(page, value):
    page.page.evaluate(
        """(value) => { const s = document.querySelector('.interp-feat-number'); s.value = value;
        s.dispatchEvent(new Event('change')); }""",
        value,
    )


OTHER = "When Mary and Susan went to the restaurant, Mary gave a hat to"  # beside the second prompt
WIDGETS = {
    "patching": (
        "interp.widgets.patching(model, task, cell=[1, 3])",
        [".interp-patch-prediction", ".interp-patch-legend > .interp-patch-soft"],
        [
            (menu("patch"), "attn"),
            (menu("direction"), "noising"),
            (menu("prompt"), "1"),
            (typed(".interp-patch-corrupted"), OTHER),
            (menu("patch"), "mlp"),
        ],
    ),
    "heads": (
        "interp.widgets.heads(model, task, heads='L1H1')",
        [".interp-heads-numbers", ".interp-next-tokens", ".interp-next-changed"],
        [
            (press, 5),
            (menu("by"), "zero"),
            (menu("ablate"), "true"),
            (menu("prompt"), "2"),
            (press, 2),
        ],
    ),
    "circuit": (
        "interp.widgets.circuit(scores, model, task, shown=20)",
        [".interp-circuit-numbers"],
        [(menu("run"), "model"), (slide, 300), (menu("run"), "circuit"), (slide, 700)],
    ),
    "graph": (
        "interp.widgets.graph(graph, model, node=early[0], pinned=early)",
        [".interp-graph-answer", ".interp-graph-card"],
        [(act, "off"), (node, 1), (act, "double"), (node, 0)],
    ),
    "lens": (
        "interp.widgets.lens(model, task)",
        [".interp-lens-side", ".interp-lens-legend"],
        [
            (menu("colour"), "logit_diff"),
            (menu("prompt"), "2"),
            (menu("colour"), "prob"),
            (menu("prompt"), "1"),
        ],
    ),
    "attention": (
        "interp.widgets.attention(model, task, heads='L1H* L2H*')",
        [".interp-att-lists", ".interp-att-name", ".interp-att-many"],
        [
            (menu("show"), "true"),
            (menu("prompt"), "2"),
            (menu("or those with most"), "induction"),
            (menu("show"), "false"),
        ],
    ),
    "features": (
        "interp.widgets.features(model, sae, acts_on, latent=3, text='The capital of France is')",
        [".interp-feat-note", ".interp-next-tokens", ".interp-feat-card h3", ".interp-feat-slide"],
        [(latent, 5), (menu("edit"), "clamp"), (slide, 2), (latent, 7), (menu("at"), "end")],
    ),
}


def numbers(texts):
    """The numbers that stand in each text."""
    return [set(NUMBER.findall(ON_THE_WAY.sub("", text))) for text in texts]


def settled(page):
    """Waits until nothing is under way, neither on the page nor in the kernel."""
    page.page.wait_for_timeout(300)
    page.poll("w.answered >= w.asked and w.wait() is w", True)
    old = "() => [...document.querySelectorAll('.interp-old')].filter((e) => e.offsetParent).length"
    page.see(old, 0)  # of what is shown: a wall that is closed has not been computed
    page.page.wait_for_timeout(200)
    return page.page.evaluate("() => window.frame_now()")


@pytest.mark.parametrize("name", WIDGETS)
def test_no_frame_shows_an_answer_to_another_question(open_notebook, name):
    call, parts, acts = WIDGETS[name]
    page = open_notebook(TINY, f"w = {call}; w")
    page.do(SLOWED)
    page.page.evaluate(FRAMES, parts)
    first = settled(page)
    before = page.value("{n: getattr(w, n) for n in w.inputs}")
    # slowly: what stands there when all work is done
    truth = {first["state"]: first["parts"]}
    for act, value in acts:
        act(page, value)
        now = settled(page)
        truth[now["state"]] = now["parts"]
    assert len(truth) == len(acts) + 1
    page.do(f"[setattr(w, n, v) for n, v in {before!r}.items()]")
    assert numbers(settled(page)["parts"]) == numbers(first["parts"])
    # quickly: each question overtakes the answer to the one before
    page.do("PAUSE.__setitem__(0, 0.4)")
    page.page.evaluate("() => window.frames_begin()")
    for act, value in acts:
        act(page, value)
        page.page.wait_for_timeout(300)
    last = settled(page)
    frames = page.page.evaluate(STOP)
    page.do("PAUSE.__setitem__(0, 0.0)")
    assert numbers(last["parts"]) == numbers(truth[last["state"]])
    assert {frame["state"] for frame in frames} == set(truth) and len(frames) > len(truth)
    for frame in frames:
        for part, text, true in zip(parts, frame["parts"], truth[frame["state"]]):
            wrong = numbers([text])[0] - numbers([true])[0]
            assert not wrong, (part, frame["state"], text, true)
