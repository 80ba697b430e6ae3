"""An executed notebook as one HTML file that asks nothing of the network, in light and dark.

nbconvert's `HTMLExporter` renders cells and outputs, with its template "basic": a body without a
head. The other templates load MathJax and RequireJS from another host, so the head (style and
security policy) is ours, and formulas stand as TeX, set like code. No script of a notebook runs in
it: the policy says so, and an output that brought one says so, too. Pictures named in the text are
put inside when they are image files of the notebook's own folder; any other file stays outside.
`requests` then reads the page and finds everything that a browser would fetch; a page that would
fetch anything is refused.
"""

import base64
import copy
import html
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from interp import _files
from interp._store import write_text
from interp.studies.notebooks.paths import find, folder_of
from interp.studies.notebooks.source import WIDGET, need

# the browser itself enforces what the file promises: nothing but what is inside, and no script runs
POLICY = (
    "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; script-src"
    " 'none'; base-uri 'none'; form-action 'none'"
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
  .output_area img { filter: invert(.9) hue-rotate(180deg) }
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
BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")
IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}
MOST_PICTURE = 20_000_000  # bytes


def write_html(nb: object, path: str | Path, folder: Path | None = None) -> Path:
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
        path = folder_of(source) / f"{source.stem}.ipynb"
        target = Path(f"{source.stem}.html")
    if not path.is_file():
        raise FileNotFoundError(
            f"no notebook {str(path)!r}: give an executed .ipynb file, or a study such as"
            " 00-start-here"
        )
    content = _files.read_json(path, "a notebook")
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        raise ValueError(f"{str(path)!r} cannot be read as a notebook: it has no list of cells")
    try:
        nb = need("nbformat").read(path, as_version=4)
    except Exception as error:  # nbformat raises its own kinds, one of them a plain Exception
        raise ValueError(f"{str(path)!r} cannot be read as a notebook: {error}") from error
    _check_form(nb, path)
    code = [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]
    if code and not any(cell.get("outputs") or cell.get("execution_count") for cell in code):
        raise ValueError(
            f"{str(path)!r} has no outputs: run it and save it first, the page shows what was there"
        )
    return write_html(nb, Path(out) if out else target, path.parent)


def _check_form(nb: object, path: Path) -> None:
    """Raises ValueError unless the notebook has the form of nbformat 4; it names the place."""
    import warnings

    nbformat = need("nbformat")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about cells without ids, which older notebooks have
            nbformat.validate(nb)
    except nbformat.ValidationError as error:
        place = ".".join(str(part) for part in error.absolute_path) or "the notebook"
        raise ValueError(
            f"{str(path)!r} is not a notebook of format 4: {place}: {error.message[:160]}"
        ) from None


def page(nb: object, folder: Path | None = None) -> str:
    """The notebook as the text of one HTML page.

    Args:
        nb: An executed notebook (nbformat 4).
        folder: Where the pictures named in the text are; the present folder if None.
    """
    folder = Path(folder or ".")
    exporter = need("nbconvert").HTMLExporter(
        template_name="basic",
        embed_images=False,  # it would put any file inside; see _with_pictures
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    try:
        body, _ = exporter.from_notebook_node(
            _showable(nb), resources={"metadata": {"path": str(folder)}}
        )
    except Exception as error:  # nbconvert raises kinds of its own: a missing attachment, ...
        reason = _files.short_reason(error)
        raise ValueError(f"the notebook cannot be made into a page: {reason}") from None
    body = _with_pictures(body, folder)
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


def _showable(nb: object) -> object:
    """A copy in which formulas are code, pictures are pictures, and outputs that cannot be shown
    say so.
    """

    def formula(match: re.Match) -> str:
        code, displayed, inline = match.groups()
        return code or f"`{(displayed or inline).strip()}`"

    nb = copy.deepcopy(nb)
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = MATH.sub(formula, cell.source)
            for name, data in list((cell.get("attachments") or {}).items()):
                kept = {kind: x for kind, x in data.items() if _is_picture(kind, x)}
                cell.attachments[name] = kept or {"image/png": ""}
        if "outputs" in cell:  # a progress bar that ended has left an output without data
            cell.outputs = [out for out in cell.outputs if out.get("data") != {}]
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            for kind in [kind for kind in data if kind.startswith("image/")]:
                if not _is_picture(kind, data[kind]):
                    data.pop(kind)
                    data.setdefault("text/plain", "(a picture that is none)")
            images = [kind for kind in data if kind.startswith("image/")]
            if data.pop(WIDGET, None) and not images and "text/html" not in data:
                data["text/html"] = "<p>(a widget that left no picture of itself)</p>"
            if "<script" in _text(data.get("text/html", "")).lower():
                note = "<p><small>(this output's own script does not run in a page)</small></p>"
                data["text/html"] = _text(data["text/html"]) + note
            for kind in ("application/javascript", "text/javascript"):
                if data.pop(kind, None) is not None:
                    data.setdefault("text/plain", "(a script, which does not run in a page)")
            if "data" in output:
                sizes = {kind: output.get("metadata", {}).get(kind) for kind in images}
                output.metadata = {
                    kind: {"alt": "figure"}
                    | {
                        side: size[side]
                        for side in ("width", "height")
                        if isinstance(size, dict) and isinstance(size.get(side), int)
                    }
                    for kind, size in sizes.items()
                }
    return nb


def _text(data: object) -> str:
    """What an output holds, as one text: nbformat also allows a list of lines."""
    if isinstance(data, list):
        return "".join(map(str, data))
    return data if isinstance(data, str) else str(data)


def _is_picture(kind: str, data: object) -> bool:
    """Whether this is image data and nothing else: base64, or an SVG drawing."""
    if kind not in IMAGES.values():
        return False
    text = _text(data)
    if kind == "image/svg+xml":
        return "<svg" in text
    return BASE64.fullmatch(text) is not None


class _Pictures(HTMLParser):
    """Finds the start tags of pictures, each with its place in the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.lines = [0, *(m.end() for m in re.finditer("\n", text))]
        self.found: list[tuple[int, int, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag == "img":
            line, column = self.getpos()
            at = self.lines[line - 1] + column
            named = {name: value or "" for name, value in attrs}
            self.found.append((at, at + len(self.get_starttag_text()), named))

    handle_startendtag = handle_starttag


def _with_pictures(body: str, folder: Path) -> str:
    """The page with the folder's own image files put inside, and a link where a picture is not one
    of them.
    """
    out, last = [], 0
    for start, end, attrs in _Pictures(body).found:
        src, alt = attrs.get("src", "").strip(), attrs.get("alt", "")
        if src.startswith("data:image/"):
            continue
        inside = _data_url(src, folder)
        if inside:
            tag = f'<img src="{inside}" alt="{html.escape(alt)}">'
        else:
            where, what = html.escape(src), html.escape(alt or src or "a picture")
            link = (
                f'<a href="{where}">{what}</a>' if src.startswith(("http://", "https://")) else what
            )
            tag = f"<span>({link}: not inside this page)</span>"
        out += [body[last:start], tag]
        last = end
    return "".join([*out, body[last:]])


def _data_url(src: str, folder: Path) -> str | None:
    """An image file of the notebook's folder as a data URL, or None for anything else."""
    home = folder.resolve()
    try:
        path = (home / unquote(src)).resolve()
        whole = path.is_relative_to(home) and path.is_file()
        if not whole or path.suffix.lower() not in IMAGES or path.stat().st_size > MOST_PICTURE:
            return None
        content = path.read_bytes()
    except (OSError, ValueError):
        return None
    return f"data:{IMAGES[path.suffix.lower()]};base64,{base64.b64encode(content).decode()}"


# attributes and tags whose address a browser fetches without a click
FETCHED = ("src", "srcset", "imagesrcset", "poster", "data", "background", "ping", "manifest")
LINKED = ("link", "image", "use", "feimage", "pattern", "lineargradient", "script")


class _Outside(HTMLParser):
    """Collects what a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found, self.inside = [], ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.inside = tag
        given = {name: (value or "").strip() for name, value in attrs}
        if tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
            self.found.append(f"a refresh to {given.get('content', '')!r}")
        if tag == "base" and "href" in given:
            self.found.append(f"<base href={given['href']!r}>")
        if tag == "form" or "formaction" in given:
            where = given.get("action") or given.get("formaction")
            self.found += [f"a form sent to {where!r}"] if where else []
        for name, value in given.items():
            linked = tag in LINKED and name in ("href", "xlink:href")
            fetched = linked or name in FETCHED
            if fetched and value and not value.startswith(("data:", "#", "blob:")):
                self.found.append(value)
            if name == "style":
                self._css(value)

    handle_startendtag = handle_starttag

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
