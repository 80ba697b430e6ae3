"""The feature widget in a real JupyterLab: find a latent, edit it, and ask the kernel whether the
page says what a run says.
"""

import pytest
import torch
from browser import notebook

from interp import features

pytestmark = pytest.mark.xdist_group(
    "browser"
)  # one lab and one Chromium for all of them, files in their order

CELLS = (
    """import interp, torch; from interp import features
model = interp.models.tiny(words=["<script>window.ran=1</script>"])
ids = torch.randint(5, 200, (40, 16), generator=torch.Generator().manual_seed(0))
evil = [i for w, i in model.tokenizer.get_vocab().items() if "script" in w]
ids[:, 5] = evil[0]; ids[:, 0] = 1
acts = features.activations(model, "resid_post.1", ids)
sae = features.baselines(acts, k=6, width=300)[0]
seen = features.firings(model, sae, on=acts)""",
    (
        "w = interp.widgets.features(model, sae, seen, latent=3, text='The capital of France is',"
        " find=''); w"
    ),
)
CHOSEN = "() => document.querySelector('.interp-feat-rows [aria-selected=true]')?.dataset.latent"
TITLE = "() => document.querySelector('.interp-feat-card h3')?.firstChild.textContent.trim()"
SHARE = "() => document.querySelector('.interp-next-tokens .interp-next-share')?.textContent"
PROBLEM = "() => document.querySelector('.interp-problem').textContent"
BY_HAND = (
    "float(interp.run(model, interp.widgets.prompt_task(model, w.text), {edit},"
    " last_only=True).logits[0].softmax(-1).max())"
)


@pytest.fixture(scope="module")
def opened(browser, lab):
    """The widget over a random dictionary of the tiny model, in whose text there is a script."""
    with notebook(browser, *lab, *CELLS) as page:
        page.page.wait_for_selector(".interp-next-tokens li")
        yield page


@pytest.fixture
def shown(opened):
    opened.do(
        "[setattr(w, n, v) for n, v in dict(latent=3, text='The capital of France is', by='ablate',"
        " strength=1.0, where='all', find='', sort='number').items()] and w.wait()"
    )
    opened.see(TITLE, "3")
    return opened


def as_percent(text):
    return float(text.replace("<", "").removesuffix(" %")) / 100


def test_a_latent_is_found_by_click_number_arrow_and_neighbour(shown):
    shown.click(".interp-feat-rows [data-latent='7']")
    shown.poll("w.latent", 7)
    shown.see(TITLE, "7")
    shown.page.locator(".interp-feat-rows").focus()
    shown.page.keyboard.press("ArrowDown")
    shown.poll("w.latent", 8)
    shown.click("button:text('‹')")
    shown.poll("w.latent", 7)
    number = shown.page.locator(".interp-feat-number")
    number.fill("210")
    number.press("Enter")
    shown.see(TITLE, "210")
    shown.see(CHOSEN, "210")
    near = shown.value("w.card.neighbours[0][0]")
    shown.click(".interp-feat-card .nb [role=button]")
    shown.poll("w.latent", near)
    shown.see(TITLE, str(near))


def test_the_list_is_searched_and_sorted(shown):
    find = shown.page.locator(".interp-feat-list input")
    find.fill("29")
    shown.poll("w.find", "29")
    shown.see(
        "() => document.querySelectorAll('.interp-feat-rows [data-latent]').length", 11
    )  # 29, 290 to 299
    find.press("Enter")
    shown.poll("w.latent", 29)
    find.fill("")
    shown.page.locator(".interp-feat-list select").select_option("density")
    densest = shown.value("int(seen.density.argmax())")
    shown.see(
        "() => Math.max(...[...document.querySelectorAll('.interp-feat-rows"
        " [data-latent]')].map((r) => parseFloat(r.querySelector('i').textContent)))",
        lambda most: most > 0,
    )
    shown.poll("w.sort", "density")
    shown.do("setattr(w, 'latent', int(seen.density.argmax()))")
    shown.see(
        "() => document.querySelector('.interp-feat-rows [data-latent]').dataset.latent",
        str(densest),
    )


def test_ablation_clamping_and_steering_say_what_a_run_says(shown):
    choose = shown.page.locator(".interp-feat-bar select").first
    expected = shown.value(BY_HAND.format(edit="features.ablate(sae, 3)"))
    shown.see(SHARE, lambda text: text and as_percent(text) == pytest.approx(expected, abs=6e-3))
    choose.select_option("clamp")
    shown.poll("w.by", "clamp")
    slider = shown.page.locator(".interp-feat-slide input")
    slider.focus()
    for _ in range(4):
        slider.press("ArrowRight")
    shown.poll("round(w.strength, 2)", 1.2)
    clamped = shown.value(
        BY_HAND.format(edit="features.clamp(sae, {3: 1.2 * float(seen.maxima[3])})")
    )
    assert shown.value("w.value['next tokens'][0]['now']") == pytest.approx(clamped, abs=1e-4)
    shown.see(SHARE, lambda text: as_percent(text) == pytest.approx(clamped, abs=6e-3))
    choose.select_option("steer")
    shown.page.locator(".interp-feat-bar select").nth(1).select_option("end")
    steered = shown.value(
        BY_HAND.format(edit="features.steer(sae, {3: 1.2 * float(seen.maxima[3])}, at=-1)")
    )
    shown.poll("w.where", "end")
    shown.see(SHARE, lambda text: as_percent(text) == pytest.approx(steered, abs=6e-3))
    shown.see(
        "() => document.querySelector('.interp-feat-note').textContent",
        lambda text: "direction added at the last token" in text,
    )


def test_a_typed_prompt_shows_its_tokens_and_an_error_is_a_line(shown):
    line = shown.page.locator(".interp-feat-prompt input")
    line.fill("Mary and John went")
    line.press("Enter")
    shown.see("() => document.querySelectorAll('.interp-feat-text span').length", 5)
    number = shown.page.locator(".interp-feat-number")
    number.fill("999")
    number.press("Enter")
    shown.see(PROBLEM, lambda text: "no latent 999: the list has 300, from 0 to 299" in text)
    number.fill("12")
    number.press("Enter")
    shown.see(PROBLEM, "")
    shown.see(TITLE, "12")
    shown.see(
        "() => document.querySelector('.interp-code pre').textContent",
        lambda text: "features.ablate(dictionary, 12)" in text,
    )


def test_words_of_the_text_never_run(shown):
    shown.do(
        "[setattr(w, 'latent', next(i for i in range(300) if 'script' in"
        " w._card(i)._repr_html_())), w.wait()]"
    )
    shown.see(
        "() => document.querySelector('.interp-feat-card').textContent.includes('<script>')", True
    )
    assert shown.page.evaluate(
        "() => [window.ran === undefined, document.querySelectorAll('.interp-feat-card"
        " script').length]"
    ) == [True, 0]


def test_light_and_dark(shown, tmp_path):
    ink = "() => getComputedStyle(document.querySelector('.interp-feat-card .c')).color"
    shown.theme("JupyterLab Light")
    light = shown.page.evaluate(ink)
    shown.picture(tmp_path / "features-light.png")
    shown.theme("JupyterLab Dark")
    assert shown.page.evaluate(ink) != light
    assert shown.picture(tmp_path / "features-dark.png").stat().st_size > 10_000
    shown.theme("JupyterLab Light")


def test_every_control_has_a_name_and_closing_leaves_nothing(shown):
    unnamed = """() => [...document.querySelectorAll('.interp button, .interp select, .interp input, .interp [role=listbox], .interp [role=button]')]
      .filter((e) => !(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim())).map((e) => e.outerHTML)"""
    assert shown.page.evaluate(unnamed) == []
    shown.do("w.close()")
    shown.see("() => document.querySelectorAll('.interp-feat-card').length", 0)


def test_the_page_of_many_filters_sorts_and_jumps(browser, tiny, tmp_path):
    ids = torch.randint(5, 200, (20, 16), generator=torch.Generator().manual_seed(0))
    acts = features.activations(tiny, "resid_post.1", ids)
    sae = features.baselines(acts, k=6, width=30)[0]
    many = features.cards(tiny, sae, range(30), on=acts)
    file = features.page(many, tmp_path / "cards.html")
    page, errors = browser.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text))
    page.goto(f"file://{file}")
    shown = (
        "() => [...document.querySelectorAll('details')].filter((d) => !d.hidden).map((d) =>"
        " Number(d.dataset.l))"
    )
    assert (
        page.evaluate(shown) == list(range(30))
        and page.locator("output").inner_text() == "30 of 30"
    )
    page.locator("select").select_option("d")
    assert page.evaluate(shown) == sorted(range(30), key=lambda i: (-many[i].density, i))
    page.locator("input").fill("17")
    assert 17 in page.evaluate(shown) and len(page.evaluate(shown)) < 30
    page.locator("details[id=f17] summary").click()
    near = many[17].neighbours[0][0]
    page.locator("details[id=f17] .nb a").first.click()
    page.wait_for_function(f"() => document.getElementById('f{near}').open")
    assert len(page.evaluate(shown)) == 30 and errors == []
    page.close()
