"""An executed notebook as one HTML file that asks nothing of the network, in light and dark.

nbconvert's `HTMLExporter` renders cells and outputs, with its template "basic": a body without a
head. The other templates load MathJax and RequireJS from another host, so the head (style and
security policy) is ours, and formulas stand as TeX, set like code. `requests` then reads the page
and finds everything that a browser would fetch; a page that would fetch anything is refused.
"""

import copy
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
:root {
  color-scheme: light dark; --ink: #1c1e21; --paper: #fff; --soft: #f4f5f7; --line: #d5d8dc;
  --link: #1a5fb4; --keyword: #8b2fa8; --string: #23713a; --number: #a04b00; --comment: #6b7177;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e6e9; --paper: #15171a; --soft: #202328; --line: #3a3f46;
    --link: #7fb3ff; --keyword: #d9a0ee; --string: #8fd19e; --number: #f0b37a; --comment: #9aa1a9;
  }
}
body {
  margin: 0 auto; max-width: 60rem; padding: 1.5rem; font: 16px/1.55 system-ui, sans-serif;
  color: var(--ink); background: var(--paper);
}
a { color: var(--link) }
h1, h2, h3 { line-height: 1.25; margin: 1.6em 0 .5em }
img { max-width: 100%; height: auto }
pre { overflow-x: auto; margin: .4rem 0; font: 13.5px/1.45 ui-monospace, monospace }
code { font-family: ui-monospace, monospace; font-size: .92em }
.input_area {
  background: var(--soft); border-left: 3px solid var(--line); padding: .5rem .8rem;
  border-radius: 3px;
}
.output_area { margin: .4rem 0 1.2rem; overflow-x: auto }
.output_area img { background: #fff; border-radius: 3px }
.output_error { border-left: 3px solid #d65045; padding-left: .6rem }
table { border-collapse: collapse }
th, td {
  border-bottom: 1px solid var(--line); padding: .25rem .6rem; text-align: left;
  vertical-align: top;
}
.highlight :is(.k, .kn, .kc, .kd, .kr, .ow) { color: var(--keyword) }
.highlight [class^=s] { color: var(--string) }
.highlight [class^=m] { color: var(--number) }
.highlight [class^=c] { color: var(--comment); font-style: italic }
"""
# code is left alone; then a formula in $$...$$ or $...$ (and not a price)
MATH = re.compile(
    r"(```.*?```|`[^`\n]*`)|\$\$(.+?)\$\$|(?<![\\$\w])\$(?!\s)([^$\n]+?)(?<![\s\\])\$(?!\d)", re.S
)
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


def write_html(nb: object, path: Path, folder: Path | None = None) -> Path:
    """The path of the page that was written: the notebook as one file that loads nothing.

    Example:
        >>> write_html(nbformat.read("my.ipynb", 4), Path("my.html"))

    Args:
        nb: An executed notebook (nbformat 4).
        path: Where to write.
        folder: Where the pictures named in the text are; they are put inside the file.

    Raises:
        ValueError: If the page would load something from outside, for example an output with a
            picture on another host.
    """
    text = page(nb, folder)
    outside = requests(text)
    if outside:
        raise ValueError(
            f"the page would load {outside[0]!r}: outputs must carry their pictures and scripts"
            " inside"
        )
    return write_text(Path(path), text)


def export(notebook: str | Path, out: str | Path | None = None) -> Path:
    """The path of the page made from an executed notebook; widgets are shown as they were.

    Example:
        >>> export("my-notebook.ipynb")            # my-notebook.html, beside it

    Args:
        notebook: An .ipynb file, or a study or tour by its name ("00", "tour-patching"). The page
            of a study goes to the present folder, because a package is not written into.
        out: Where to write instead.

    Raises:
        FileNotFoundError: If there is no such notebook.
        ValueError: If the file is no notebook, has no outputs, or would load something from
            outside.
    """
    path = Path(notebook)
    target = path.with_suffix(".html")
    if path.suffix != ".ipynb":
        source = find(str(notebook))
        path = source.parent.parent / f"{source.stem}.ipynb"
        target = Path(f"{source.stem}.html")
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
    return write_html(nb, Path(out) if out else target, path.parent)


def page(nb: object, folder: Path | None = None) -> str:
    """The notebook as the text of one HTML page.

    Args:
        nb: An executed notebook (nbformat 4).
        folder: Where the pictures named in the text are; the present folder if None.
    """
    folder = Path(folder or ".")
    exporter = need("nbconvert").HTMLExporter(
        template_name="basic",
        embed_images=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    body, _ = exporter.from_notebook_node(
        _showable(nb, folder), resources={"metadata": {"path": str(folder)}}
    )
    headings = [
        line
        for cell in nb.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("# ")
    ]
    title = html.escape(headings[0].lstrip("# ") if headings else "study")
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<style>{CSS}</style></head><body>",
            body,
            "</body></html>\n",
        ]
    )


def _showable(nb: object, folder: Path) -> object:
    """A copy in which formulas are code, pictures that cannot be put inside are links, and widgets
    without a picture of themselves say so.
    """

    def inside_or_link(match: re.Match) -> str:
        alt, src = match.groups()
        embedded = src.startswith(("data:", "attachment:"))
        return match[0] if embedded or (folder / src).is_file() else f"[{alt or src}]({src})"

    def formula(match: re.Match) -> str:
        code, displayed, inline = match.groups()
        return code or f"`{(displayed or inline).strip()}`"

    nb = copy.deepcopy(nb)
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            text = MATH.sub(formula, cell.source)
            cell.source = PICTURE.sub(inside_or_link, text)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            images = [kind for kind in data if kind.startswith("image/")]
            if data.pop(WIDGET, None) and not images and "text/html" not in data:
                data["text/html"] = "<p>(a widget that left no picture of itself)</p>"
            for kind in images:
                output.metadata[kind] = {"alt": "figure", **output.metadata.get(kind, {})}
    return nb


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
