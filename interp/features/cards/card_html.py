"""Cards as HTML: one for a notebook, one in a file, and a page of many with an index and a filter.

Nothing is loaded from elsewhere.
"""

import base64
import hashlib
from collections.abc import Sequence
from collections.abc import Set as AnySet
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from interp import _store
from interp.features.cards.describe import visible

if TYPE_CHECKING:  # the value knows its picture, not the other way round
    import interp.features.cards.cards

CSS = """
.interp-card{
  --ink:var(--interp-ink,var(--jp-ui-font-color1,#1f2328));
  --soft:var(--interp-soft,var(--jp-ui-font-color2,#5f6670));
  --line:var(--interp-line,var(--jp-border-color2,#d0d7de));--hot:#f59e42;--up:#b2182b;
  --down:#2166ac;--bar:#2b6e8f;
  color:var(--ink);font:13px/1.45 system-ui,sans-serif;font-variant-numeric:tabular-nums;
  max-width:1080px;}
@media(prefers-color-scheme:dark){
.interp-card{
  --ink:var(--interp-ink,var(--jp-ui-font-color1,#e4e6e9));
  --soft:var(--interp-soft,var(--jp-ui-font-color2,#9aa1a9));
  --line:var(--interp-line,var(--jp-border-color2,#3a3f46));}
:root:not(:has([data-jp-theme-light="true"])) .interp-card{--hot:#b8620f;--up:#f2695c;
  --down:#5aa5f5;--bar:#5fc4e8}
}
[data-jp-theme-light="false"] .interp-card,.vscode-dark .interp-card{--hot:#b8620f;--up:#f2695c;
  --down:#5aa5f5;--bar:#5fc4e8}
.interp-card *{box-sizing:border-box}
.interp-card h3{margin:0;font-size:15px;font-weight:600}
.interp-card h3 span{font-weight:400}
.interp-card h4{margin:12px 0 3px;font-size:12px;font-weight:600;color:var(--ink)}
.interp-card h4 small{font-weight:400;color:var(--soft)}
.interp-card .sub,.interp-card .foot{color:var(--soft);margin:0;font-size:12px}
.interp-card .foot{margin-top:10px;border-top:1px solid var(--line);padding-top:5px}
.interp-card .two{display:flex;flex-wrap:wrap;gap:0 26px}
.interp-card .text{flex:3 1 430px;min-width:0}
.interp-card .side{flex:1 1 270px;max-width:360px}
.interp-card .c{
  margin:0;padding:1px 0;font:12px/1.6 ui-monospace,monospace;white-space:pre;overflow:hidden;
  display:flex;
  border-bottom:1px solid color-mix(in srgb,var(--line) 45%,transparent);}
.interp-card .c s{flex:0 1 46%;text-decoration:none;display:flex;justify-content:flex-end;
  overflow:hidden}
.interp-card .c u{flex:1 1 54%;text-decoration:none;overflow:hidden;text-overflow:ellipsis}
.interp-card .c i{font-style:normal;border-radius:2px;
  background:color-mix(in srgb,var(--hot) calc(var(--a)*85%),transparent)}
.interp-card .c b{
  font-weight:600;border-radius:2px;
  background:color-mix(in srgb,var(--hot) calc(25% + var(--a)*75%),transparent);
  outline:1px solid var(--hot);outline-offset:-1px;}
.interp-card .c em{flex:none;width:44px;font:12px/1.6 system-ui,sans-serif;color:var(--soft);
  text-align:right;padding-right:8px}
.interp-card svg{display:block;width:100%;height:auto}
.interp-card svg rect{fill:var(--bar)}
.interp-card svg text{fill:var(--soft);font:10px system-ui,sans-serif}
.interp-card svg line{stroke:var(--line)}
.interp-card .lg{display:grid;grid-template-columns:1fr 1fr;gap:0 18px}
.interp-card .lg p{display:flex;justify-content:space-between;gap:6px;margin:0;line-height:1.5}
.interp-card .lg code,.interp-card .ds code{
  font:12px ui-monospace,monospace;white-space:pre;overflow:hidden;text-overflow:ellipsis;
  background:none;color:inherit;padding:0;}
.interp-card .p{color:var(--up)}
.interp-card .n{color:var(--down)}
.interp-card .nb{margin:0}
.interp-card .nb>*{display:inline-block;margin-right:12px;color:inherit;white-space:nowrap}
.interp-card .nb b{font-weight:600}
.interp-card .ds{margin:0;line-height:1.5;display:grid;grid-template-columns:1fr 60px 70px}
.interp-card .ds span{text-align:right}
"""
PAGE = """
:root{color-scheme:light dark}
body{margin:0 auto;max-width:1100px;padding:1rem;font:14px/1.5 system-ui,sans-serif;
  background:Canvas;color:CanvasText}
h1{font-size:19px;margin:.2em 0}
.bar{position:sticky;top:0;background:Canvas;padding:8px 0;display:flex;gap:12px;flex-wrap:wrap;
  align-items:center;z-index:1}
input,select{font:inherit;padding:3px 8px}
details{border-bottom:1px solid #8884;padding:3px 0}
summary{cursor:pointer;display:flex;gap:14px}
summary b{width:5em}
summary span{flex:1;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
summary i{font-style:normal;opacity:.7;width:9em;text-align:right}
details[open]>summary{margin-bottom:8px}
details>div{padding:0 0 14px}
details h3,details h3+.sub{display:none}
"""
SCRIPT = """
const all = [...document.querySelectorAll('details')], main = document.querySelector('main');
const box = document.querySelector('input'), by = document.querySelector('select');
const count = document.querySelector('output');
const show = () => {
  const words = box.value.toLowerCase().trim();
  for (const d of all) d.hidden = words && d.dataset.l !== words && !d.dataset.w.includes(words);
  count.textContent = all.filter((d) => !d.hidden).length + ' of ' + all.length;
};
const order = {
 l: (a, b) => a.dataset.l - b.dataset.l,
 d: (a, b) => b.dataset.d - a.dataset.d,
 m: (a, b) => b.dataset.m - a.dataset.m,
};
const sort = () => [...all].sort(order[by.value]).forEach((d) => main.append(d));
const jump = () => {
  const d = document.getElementById(location.hash.slice(1));
  if (d) { box.value = ''; show(); d.open = true; d.scrollIntoView(); }
};
box.addEventListener('input', show);
by.addEventListener('change', sort);
addEventListener('hashchange', jump);
show(); jump();
"""
BAR = (
    '<div class="bar"><label>find <input type="search" placeholder="word or'
    ' number"></label><label>sort by <select><option value="l">number<option value="d">share of'
    ' tokens<option value="m">largest value</select></label><output></output></div>'
)
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def piece(card: "interp.features.cards.cards.Card") -> str:
    """The HTML of a card with its style, for a notebook."""
    return f"<style>{CSS}</style>{article(card)}"


def write(card: "interp.features.cards.cards.Card", path: str | Path) -> Path:
    """The path of the one-file page of a card."""
    title = f"{card.latent}: {card.description}"
    return _store.write_text(_html(path), _document(title, CSS + PAGE, article(card), POLICY))


def page(cards: Sequence["interp.features.cards.cards.Card"], path: str | Path) -> Path:
    """The path of one HTML file with many cards, one line each, filtered by words and sorted.

    The page makes no network request and runs no script but its own: its policy names that script's
    checksum.

    Example:
        >>> features.page(features.cards(model, sae, range(100)), "cards.html")

    Args:
        cards: What `features.cards` returned.
        path: A file that ends in .html.

    Returns:
        The path of the page.

    Raises:
        ValueError: If there is no card, or the path does not end in .html.
    """
    if not cards:
        raise ValueError("a page needs at least one card: features.cards(model, sae, [17, 40])")
    here = {card.latent for card in cards}
    rows = []
    for card in cards:
        words = " ".join(
            [
                card.description,
                *(token.word for token in card.distinct),
                *(word for word, _ in card.up),
            ]
        ).lower()
        data = (
            f'id="f{card.latent}" data-l="{card.latent}" data-d="{card.density:.6g}"'
            f' data-m="{card.maximum:.6g}" data-w="{escape(words)}"'
        )
        counts = f"<i>{share(card.density)} of tokens</i><i>largest {digits(card.maximum)}</i>"
        head = f"<b>{card.latent}</b><span>{escape(card.description)}</span>{counts}"
        rows.append(
            f"<details {data}><summary>{head}</summary><div>{article(card, here)}</div></details>"
        )
    first = cards[0]
    title = f"{first.dictionary}: {len(cards)} features"
    body = (
        f"<h1>{escape(title)}</h1><p>{escape(subtitle(first))}</p>{BAR}"
        f"<main>{''.join(rows)}</main><script>{SCRIPT}</script>"
    )
    checksum = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return _store.write_text(
        _html(path), _document(title, CSS + PAGE, body, f"{POLICY}; script-src 'sha256-{checksum}'")
    )


def _html(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix not in (".html", ".htm"):
        raise ValueError(
            f"cards are written as .html, got {str(path)!r} (try {path.stem + '.html'!r})"
        )
    return path


def _document(title: str, style: str, body: str, policy: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta'
        f' charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><meta name="viewport"'
        ' content="width=device-width,initial-scale=1">'
        f"<style>{style}</style></head><body>{body}</body></html>\n"
    )


# --- the parts of a card --------------------------------------------------------------------------


def article(card: "interp.features.cards.cards.Card", linked: AnySet[int] = frozenset()) -> str:
    """The HTML of a card without its style.

    Args:
        card: The card.
        linked: The latents that the same page has, so that neighbours can link to them.
    """
    head = (
        f"<h3>{card.latent} <span>{escape(card.description)}</span></h3><p"
        f' class="sub">{escape(subtitle(card))}</p>'
    )
    text = (
        "".join(_band(band, card.maximum) for band in card.bands)
        or "<p>It is on at none of these tokens.</p>"
    )
    side = _histogram(card) + _distinct(card) + _logits(card) + _neighbours(card, linked)
    foot = (
        f"{escape(card.metadata['first'])}; shade: value at each token; quarters: of the tokens it"
        " is on at, by value."
    )
    two = f'<div class="two"><div class="text">{text}</div><div class="side">{side}</div></div>'
    return f'<article class="interp-card">{head}{two}<p class="foot">{foot}</p></article>'


def subtitle(card: "interp.features.cards.cards.Card") -> str:
    """The line under the title: which dictionary, which text, how many tokens."""
    half = f", half {card.metadata['split']!r}" if card.metadata.get("split") else ""
    return (
        f"{card.dictionary} at {card.site}, {card.metadata.get('model')}; tokens: {card.tokens:,}"
        f" of {card.metadata.get('texts', 'tokens')}{half}"
    )


def digits(value: float) -> str:
    """A number with three significant figures."""
    return (
        f"{value:.0f}"
        if abs(value) >= 100
        else f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
    )


def share(value: float) -> str:
    """A share as per cent."""
    return f"{100 * value:.0f} %" if value >= 0.0995 else f"{100 * value:.2g} %" if value else "0 %"


def _band(band: "interp.features.cards.cards.Band", maximum: float) -> str:
    title = "Strongest" if band.name == "strongest" else band.name
    span = f"values {digits(band.low)} to {digits(band.high)}" + (
        "" if band.name == "strongest" else f", {band.count:,} tokens"
    )
    lines = (
        "".join(_context(context, maximum) for context in band.contexts)
        or '<p class="sub">all shown above</p>'
    )
    return f"<h4>{title} <small>{span}</small></h4>{lines}"


def _context(context: "interp.features.cards.cards.Context", maximum: float) -> str:
    marked = [
        _token(word, value, maximum, i == context.at)
        for i, (word, value) in enumerate(zip(context.words, context.values))
    ]
    before, after = "".join(marked[: context.at]), "".join(marked[context.at :])
    value = digits(context.values[context.at])
    return f'<p class="c"><em>{value}</em><s><span>{before}</span></s><u>{after}</u></p>'


def _token(word: str, value: float, maximum: float, marked: bool) -> str:
    text = escape(
        visible(word) if marked else word.replace("\n", "↵").replace("\t", " ").replace("\r", "")
    )
    if not value and not marked:
        return text
    kind = "b" if marked else "i"
    return (
        f'<{kind} style="--a:{max(0.0, value / (maximum or 1)):.2f}"'
        f' title="{digits(value)}">{text}</{kind}>'
    )


def _histogram(card: "interp.features.cards.cards.Card") -> str:
    title = (
        f"<h4>Values <small>on at {share(card.density)} of tokens ({card.on:,}), largest"
        f" {digits(card.maximum)}</small></h4>"
    )
    if not card.counts:
        return title
    wide, high, most, n = 270, 62, max(card.counts), len(card.counts)
    step = wide / n

    def tall(count):
        return max(1.0, high * count / most) if count else 0.0

    def says(i):
        return f"{digits(card.edges[i])} to {digits(card.edges[i + 1])}: {card.counts[i]:,} tokens"

    bars = "".join(
        f'<rect x="{i * step:.1f}" y="{high - tall(c):.1f}" width="{step - 1:.1f}"'
        f' height="{tall(c):.1f}"><title>{says(i)}</title></rect>'
        for i, c in enumerate(card.counts)
        if c
    )

    def label(x, anchor, text):
        return f'<text x="{x}" y="{high + 12}" text-anchor="{anchor}">{text}</text>'

    ends = label(0, "start", digits(card.edges[0])) + label(wide, "end", digits(card.edges[-1]))
    axis = (
        f'<line x1="0" x2="{wide}" y1="{high}"'
        f' y2="{high}"/>{ends}{label(wide // 2, "middle", f"highest bar: {most:,} tokens")}'
    )
    return (
        f'{title}<svg viewBox="0 0 {wide} {high + 15}" role="img" aria-label="histogram of'
        f' values">{bars}{axis}</svg>'
    )


def _distinct(card: "interp.features.cards.cards.Card") -> str:
    if not card.distinct:
        return ""
    place = {"on": "it is on at", "after": "before it", "before": "after it"}[
        card.distinct[0].place
    ]

    def line(token):
        return (
            f"<code>{escape(visible(token.word))}</code><span>{share(token.share)}</span><span>×"
            f" {token.ratio:,.0f}</span>"
        )

    lines = "".join(
        f'<p class="ds" title="{token.count:,} tokens">{line(token)}</p>' for token in card.distinct
    )
    return f"<h4>Distinct tokens <small>{place}: share of activation, × text</small></h4>{lines}"


def _logits(card: "interp.features.cards.cards.Card") -> str:
    if not card.up:
        return f'<h4>Logits</h4><p class="sub">{escape(card.metadata["effect"])}</p>'

    def signed(value):
        return f"{'+' if value > 0 else '−'}{digits(abs(value))}"

    def line(entry, kind):
        return (
            f"<p><code>{escape(visible(entry[0]))}</code><span"
            f' class="{kind}">{signed(entry[1])}</span></p>'
        )

    pairs = "".join(line(a, "p") + line(b, "n") for a, b in zip(card.up, card.down))
    title = (
        f'<h4 title="{escape(card.metadata["effect"])}">Logits <small>added by its direction at its'
        " largest value</small></h4>"
    )
    return f'{title}<div class="lg">{pairs}</div>'


def _neighbours(card: "interp.features.cards.cards.Card", linked: AnySet[int]) -> str:
    if not card.neighbours:
        return ""

    def kind(i):
        return ("a", f' href="#f{i}"') if i in linked else ("span", "")

    items = "".join(
        f'<{kind(i)[0]}{kind(i)[1]} data-latent="{i}"><b>{i}</b> {cosine:.2f}</{kind(i)[0]}>'
        for i, cosine in card.neighbours
    )
    return f'<h4>Neighbours <small>cosine of directions</small></h4><p class="nb">{items}</p>'
