"""An executed notebook as one HTML file that asks nothing of the network, in light and dark."""

import base64
import html
import re
from html.parser import HTMLParser
from pathlib import Path

from interp._store import write_text
from interp.studies.notebooks.paths import find
from interp.studies.notebooks.source import WIDGET, need

# the browser itself enforces what the file promises: nothing but what is inside
POLICY = (
    "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; script-src"
    " 'unsafe-inline' blob: data:"
)
CSS = """
:root{color-scheme:light dark;--ink:#1c1e21;--paper:#fff;--soft:#f4f5f7;--line:#d5d8dc;--link:#1a5fb4;--kw:#8b2fa8;--str:#23713a;--num:#a04b00;--com:#6b7177}
@media(prefers-color-scheme:dark){:root{--ink:#e4e6e9;--paper:#15171a;--soft:#202328;--line:#3a3f46;--link:#7fb3ff;--kw:#d9a0ee;--str:#8fd19e;--num:#f0b37a;--com:#9aa1a9}}
body{margin:0 auto;max-width:60rem;padding:1.5rem;font:16px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
a{color:var(--link)} h1,h2,h3{line-height:1.25;margin:1.6em 0 .5em} img{max-width:100%;height:auto}
pre{overflow-x:auto;margin:.4rem 0;font:13.5px/1.45 ui-monospace,monospace} code{font-family:ui-monospace,monospace;font-size:.92em}
.in{background:var(--soft);border-left:3px solid var(--line);padding:.5rem .8rem;border-radius:3px} .out{margin:.4rem 0 1.2rem;overflow-x:auto}
.out img{background:#fff;border-radius:3px} .err{border-left:3px solid #d65045;padding-left:.6rem}
table{border-collapse:collapse} th,td{border-bottom:1px solid var(--line);padding:.25rem .6rem;text-align:left;vertical-align:top}
.k{color:var(--kw)} .s{color:var(--str)} .m{color:var(--num)} .c{color:var(--com);font-style:italic} .tex{white-space:pre-wrap}
"""
IMAGE = ("image/png", "image/jpeg", "image/gif")
MATH = re.compile(
    r"(```.*?```|`[^`\n]*`)|\$\$(.+?)\$\$|(?<![\\$\w])\$(?!\s)([^$\n]+?)(?<![\s\\])\$(?!\d)", re.S
)


def write_html(nb: object, path: Path, folder: Path | None = None) -> Path:
    """Writes the notebook as one self-contained page; refuses one that would load something from
    elsewhere.

    Args:
        folder: Where the pictures named in the text are (they are put inside the file).
    """
    text = page(nb, folder)
    outside = requests(text)
    if outside:
        raise ValueError(
            f"the page would load {outside[0]!r}: outputs must carry their pictures and scripts"
            " inside"
        )
    write_text(Path(path), text)
    return Path(path)


def export(notebook: str | Path, out: str | Path | None = None) -> Path:
    """The page of an executed notebook: a file, or a study by its name. Widgets are shown as they
    were.

    Example:
        >>> export("my-notebook.ipynb")            # my-notebook.html, beside it; a study's page goes to the present folder
    """
    path = Path(notebook)
    page = path.with_suffix(".html")
    if path.suffix != ".ipynb":
        source = find(str(notebook))
        path, page = (
            source.parent.parent / f"{source.stem}.ipynb",
            Path(f"{source.stem}.html"),
        )  # a package is not written into
    if not path.is_file():
        raise FileNotFoundError(
            f"no notebook {str(path)!r}: give an executed .ipynb file, or a study such as"
            " 00-start-here"
        )
    try:
        nb = need("nbformat").read(path, as_version=4)
    except Exception as error:  # nbformat raises its own kinds, one of them a plain Exception
        raise ValueError(f"{str(path)!r} cannot be read as a notebook: {error}") from error
    code = [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]
    if code and not any(cell.get("outputs") or cell.get("execution_count") for cell in code):
        raise ValueError(
            f"{str(path)!r} has no outputs: run it and save it first, the page shows what was there"
        )
    return write_html(nb, Path(out) if out else page, path.parent)


def page(nb: object, folder: Path | None = None) -> str:
    """The notebook's HTML."""
    body = [
        _code(c) if c.cell_type == "code" else _markdown(_attached(c), folder) for c in nb.cells
    ]
    heads = [
        line
        for c in nb.cells
        if c.cell_type == "markdown"
        for line in c.source.splitlines()
        if line.startswith("# ")
    ]
    title = heads[0].lstrip("# ") if heads else "study"
    return (
        '<!doctype html>\n<html lang="en"><head><meta'
        f' charset="utf-8"><title>{html.escape(title)}</title>\n<meta'
        f' http-equiv="Content-Security-Policy" content="{POLICY}">\n<meta name="viewport"'
        f' content="width=device-width,initial-scale=1">\n<style>{CSS}</style></head><body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _attached(cell: object) -> str:
    """A markdown cell's text, with the pictures that were dropped into the cell put inside."""
    text = cell.source
    for name, kinds in cell.get("attachments", {}).items():
        for kind, data in kinds.items():
            text = text.replace(f"attachment:{name}", f"data:{kind};base64,{''.join(data.split())}")
    return text


def _markdown(text: str, folder: Path | None) -> str:
    kept = []

    def keep(found: re.Match) -> str:
        if found[1]:
            return found[1]
        kept.append(html.escape(found[2].strip() if found[2] else found[3]))
        return f"TEX{len(kept) - 1}XET"

    # underscores and stars of TeX are not emphasis: formulas wait outside while markdown is read
    made = (
        need("markdown_it")
        .MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(MATH.sub(keep, text))
    )
    made = re.sub(
        r'<img src="([^"]+)" alt="([^"]*)"[^>]*>', lambda m: _picture(m[1], m[2], folder), made
    )
    return re.sub(r"TEX(\d+)XET", lambda m: f'<code class="tex">{kept[int(m[1])]}</code>', made)


def _picture(src: str, alt: str, folder: Path | None) -> str:
    if src.startswith("data:"):
        return f'<img src="{src}" alt="{alt}">'
    path = Path(folder or ".") / src
    if "//" in src or not path.is_file():
        return f'<a href="{src}">{alt or src}</a>'
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img src="data:image/{path.suffix.lstrip(".")};base64,{data}" alt="{alt}">'


def _code(cell: object) -> str:
    shown = f'<pre class="in">{_coloured(cell.source)}</pre>' if cell.source.strip() else ""
    return shown + "".join(f'<div class="out">{_output(o)}</div>' for o in cell.get("outputs", []))


def _coloured(source: str) -> str:
    """Python with spans for keywords, strings, numbers and comments; plain where pygments is
    missing.
    """
    try:
        from pygments.lexers import PythonLexer
        from pygments.token import Token
    except ImportError:
        return html.escape(source)
    kinds = {
        Token.Comment: "c",
        Token.Keyword: "k",
        Token.Operator.Word: "k",
        Token.Literal.String: "s",
        Token.Literal.Number: "m",
    }
    out = []
    for token, text in PythonLexer(stripnl=False, ensurenl=False).get_tokens(source):
        name = next((c for kind, c in kinds.items() if token in kind), "")
        text = html.escape(text, quote=False)
        out.append(f'<span class="{name}">{text}</span>' if name else text)
    return "".join(out)


def _output(out: object) -> str:
    if out.output_type == "stream":
        return f"<pre>{html.escape(out.text)}</pre>"
    if out.output_type == "error":
        plain = re.sub(
            r"\x1b\[[0-9;]*m", "", "\n".join(out.traceback) or f"{out.ename}: {out.evalue}"
        )
        return f'<pre class="err">{html.escape(plain)}</pre>'
    data = out.data
    if "text/html" in data:
        return data["text/html"]
    if "image/svg+xml" in data:
        return data["image/svg+xml"]
    for kind in IMAGE:
        if kind in data:
            return f'<img alt="figure" src="data:{kind};base64,{"".join(data[kind].split())}">'
    if WIDGET in data:  # one of another library's: without a kernel there is nothing of it to see
        return '<p class="c">(a widget that left no picture of itself)</p>'
    if "text/markdown" in data:
        return _markdown(data["text/markdown"], None)
    return f"<pre>{html.escape(data.get('text/plain', ''))}</pre>"


class _Outside(HTMLParser):
    """Collects what a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found, self.inside = [], ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.inside = tag
        for name, value in attrs:
            value = (value or "").strip()
            linked = tag in ("link", "image", "use") and name in ("href", "xlink:href")
            fetched = linked or name in ("src", "srcset", "poster", "data", "background")
            if fetched and value and not value.startswith(("data:", "#", "blob:")):
                self.found.append(value)
            if name == "style":
                self._css(value)

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "style":
            self._css(data)

    def _css(self, text: str) -> None:
        self.found += [
            u
            for u in re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')\s]+)", text)
            if not u.startswith(("data:", "#"))
        ]


def requests(text: str) -> list[str]:
    """What a browser would fetch when it opens this page (links that a reader may click are not
    among them).
    """
    parser = _Outside()
    parser.feed(text)
    return parser.found
