"""What the documentation site has beside the pages in this folder: pages that are elsewhere in the
repository, the gallery of studies, the reference. `make docs` makes them anew each time.
"""

import ast
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, InclusionLevel

from interp._find import _first_line
from interp._lazy import homes
from interp.studies.notebooks import index, paths
from interp.studies.notebooks.lint import heading
from interp.studies.notebooks.scoreboard import BEGIN, END
from interp.studies.notebooks.source import read_source
from interp.studies.verdict_table import KINDS, MARK, claim_text, kind_of, recorded, tally

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"

# pages of the repository that are pages of the site, too
ELSEWHERE = {
    "AGENTS.md": "assistants.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "circuits/METHODS.md": "circuits/methods.md",
    "circuits/README.md": "circuits/files.md",
    "notebooks/workshop/addresses.md": "workshop/addresses.md",
    "notebooks/workshop/glossary.md": "workshop/glossary.md",
}
GALLERY = "studies/index.md"
MODULES = ("interp.edits",)  # whose own names no stub lists
INTERNAL = ("interp.cli", "interp.replications", "interp.studies.notebooks")

_links: dict[str, str] = {}  # a file of the repository: the page or file of the site
_bases: dict[str, str] = {}  # a page of the site: the folder that its links start from


# --- what mkdocs calls ----------------------------------------------------------------------------


def on_config(config: Any) -> Any:
    """The navigation, with the studies, the packages and new pages where mkdocs.yml has a word."""
    nav = {"STUDIES": _study_nav(), "TOURS": _study_nav(tours=True), "REFERENCE": _reference_nav()}
    named = str(config.nav)
    here = Path(config.docs_dir)
    pages = sorted(p.relative_to(here).as_posix() for p in here.rglob("*.md"))
    nav["OTHERS"] = [page for page in pages if page not in named]  # by their own titles

    def filled(entries: list) -> list:
        out: list = []
        for entry in entries:
            if isinstance(entry, str) and entry in nav:
                out += nav[entry]
            elif isinstance(entry, dict):
                out.append({k: filled(v) if isinstance(v, list) else v for k, v in entry.items()})
            else:
                out.append(entry)
        return out

    config.nav = filled(config.nav)
    return config


def on_files(files: Any, *, config: Any) -> Any:
    """Adds the pages that are made here and those that are elsewhere in the repository."""
    _links.clear()
    _bases.clear()

    def add(page: str, text: str, base: str) -> None:
        files.append(File.generated(config, page, content=text))
        _bases[page] = base

    for file in files.documentation_pages():
        _links[f"docs/{file.src_uri}"] = file.src_uri
        _bases[file.src_uri] = str(PurePosixPath("docs", file.src_uri).parent)
    for source, page in ELSEWHERE.items():
        _links[source] = page
        add(page, (ROOT / source).read_text(encoding="utf-8"), str(PurePosixPath(source).parent))
    _links["README.md"], _links["notebooks/README.md"] = "index.md", GALLERY
    for name in [*paths.tours(NOTEBOOKS), *paths.names(NOTEBOOKS)]:
        _links[f"notebooks/{name}.ipynb"] = f"studies/{name}.md"
        add(f"studies/{name}.md", study(name), "notebooks")
        picture = NOTEBOOKS / "figures" / f"{name}.png"
        if picture.exists():
            _links[f"notebooks/figures/{name}.png"] = f"studies/figures/{name}.png"
            _attach(files, config, picture, f"studies/figures/{name}.png")
    add(GALLERY, gallery(), "notebooks")
    for package, text in reference().items():
        add(f"reference/{package}.md", text, "docs")
    add("reference/command-line.md", command_line(), "docs")
    # what pages point at and is no page: copied beside them
    for page, base in list(_bases.items()):
        text = files.get_file_from_path(page).content_string
        for target in re.findall(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)", text):
            path = os.path.normpath(os.path.join(base, target))
            if path not in _links and not path.startswith("docs/") and (ROOT / path).is_file():
                _links[path] = f"files/{path}"
                _attach(files, config, ROOT / path, _links[path])
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Links of the repository become links of the site."""
    here = page.file.src_uri
    kind = here.split("/")[0]
    page.meta["search"] = {"boost": {"how-to": 4, "studies": 0.5}.get(kind, 1)}
    base = _bases.get(here, "docs")
    if here == "verbs.md":
        markdown = _with_links_to_the_reference(markdown)

    def moved(found: re.Match) -> str:
        target, anchor = found[1], found[2] or ""
        path = os.path.normpath(os.path.join(base, target))
        if path not in _links:
            return found[0]
        return f"]({os.path.relpath(_links[path], str(PurePosixPath(here).parent))}{anchor})"

    return re.sub(r"\]\(([^)#\s:]+)(#[^)]*)?\)", moved, markdown)


def on_post_build(*, config: Any) -> None:
    """A folder has no page for addresses that are not there."""
    (Path(config.site_dir) / "404.html").unlink(missing_ok=True)


def _attach(files: Any, config: Any, source: Path, to: str) -> None:
    file = File.generated(config, to, abs_src_path=str(source))
    file.inclusion = InclusionLevel.NOT_IN_NAV
    files.append(file)


# --- the studies ----------------------------------------------------------------------------------


def _study_nav(*, tours: bool = False) -> list:
    names = paths.tours(NOTEBOOKS) if tours else paths.names(NOTEBOOKS)
    return [{_title(name): f"studies/{name}.md"} for name in names]


def _title(name: str) -> str:
    return index.entry(NOTEBOOKS / "src" / f"{name}.py")["title"]


def _record(name: str) -> dict:
    both = recorded(name, NOTEBOOKS)
    return both.get("full") or both.get("fast") or {"rows": [], "model": ""}


def gallery() -> str:
    """The page with a card for each tour and study, and how a verdict is reached."""
    readme = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    before, rest = readme.split(BEGIN)
    rules, after = before.split("\n", 2)[2].strip(), rest.split(END)[1].strip()
    return "\n\n".join(
        [
            "# Studies and tours",
            "Open one with `interp lab NAME`: JupyterLab on a copy that is yours. `interp run NAME"
            " --fast` runs it without a page. Below:"
            " [how a verdict is reached](#how-a-verdict-is-reached).",
            "## Studies",
            _cards(paths.names(NOTEBOOKS)),
            "## Tours of the tools",
            _cards(paths.tours(NOTEBOOKS)),
            "## How a verdict is reached",
            rules,
            after,
        ]
    )


def _cards(names: list[str]) -> str:
    cards = []
    for name in names:
        entry, rows = index.entry(NOTEBOOKS / "src" / f"{name}.py"), _record(name)["rows"]
        counts = []
        for kind, of in (("paper", "the paper's claims"), ("ours", "our questions")):
            if counted := tally([r for r in rows if kind_of(r) == kind], " · "):
                counts.append(f'<span class="of">{of}</span> {counted}')
        image = f"[![First figure of {name}](figures/{name}.png)]({name}.md)"
        image = image if entry["picture"] else ""
        said = " · ".join(x for x in (entry["time"], entry["level"]) if x)
        lines = [image, f"**[{entry['title']}]({name}.md)**", f"`{name}` · {said}", *counts]
        cards.append('<div class="card" markdown>\n\n' + "\n\n".join(lines) + "\n\n</div>")
    return '<div class="cards" markdown>\n\n' + "\n\n".join(cards) + "\n\n</div>"


def study(name: str) -> str:
    """The page of one study or tour: question, finding, figure, each claim with its verdict."""
    nb = read_source(NOTEBOOKS / "src" / f"{name}.py")
    opening, record = heading(nb), _record(name)
    entry = index.entry(NOTEBOOKS / "src" / f"{name}.py")
    out = [f"# {entry['title']}"]
    about = [entry["time"], entry["level"], f"model: {record['model']}" if record["model"] else ""]
    out += [" · ".join(x for x in about if x)]
    if opening["paper"]:
        out += [f"Paper: {opening['paper']}"]
    first = next((c.source for c in nb.cells if c.cell_type == "markdown"), "")
    if question := re.search(r"^\*\*The question\.\*\*(?:.+\n?)+", first, re.M):
        out += [" ".join(question[0].split())]
    elif not opening["found"]:  # a tour says in its first paragraphs what it shows
        out += [first.split("\n", 1)[1].strip()]
    if opening["found"]:
        out += [f"**What we found.** {opening['found'].lstrip('*. ')}"]
    if entry["picture"]:
        out += [f"![First figure of {name}](figures/{name}.png)"]
    for kind in KINDS:
        rows = [r for r in record["rows"] if kind_of(r) == kind]
        if rows:
            title = {"paper": "The paper's claims", "ours": "Our questions"}
            out += [f"## {title.get(kind, 'Claims, not quoted yet')}", _claims(rows)]
    out += ["## Open it", f"    interp lab {name}          # in JupyterLab, a copy that is yours"]
    if record["rows"]:
        out[-1] += (
            f"\n    interp run {name} --fast   # the short run, to a page and a table of verdicts"
        )
    return "\n\n".join(out) + "\n"


def _claims(rows: list[dict]) -> str:
    lines = ["| verdict | claim | measured | control | needs |", "| --- | --- | --- | --- | --- |"]
    for r in rows:
        narrow = " (narrow)" if r.get("narrow") else ""
        parts = r.get("parts") or [r]
        got, beside = (
            [text for p in parts if (text := _number(p, key, named=len(parts) > 1))]
            for key in ("measured", "control_measured")
        )
        cells = [
            f"{MARK[r['verdict']]} {r['verdict']}{narrow}",
            claim_text(r),
            "<br>".join([*got, r["metric"]]),
            "<br>".join([*beside, r.get("control") or "none"]),
            r.get("thresholds", ""),
        ]
        lines.append(
            "| " + " | ".join(" ".join(c.split()).replace("|", "\\|") for c in cells) + " |"
        )
    return "\n".join(lines)


def _number(part: dict, key: str, *, named: bool) -> str:
    """A measured number with its interval, after its part's name where there are several."""
    got = part.get(key)
    if not got:
        return ""
    name = f"{part['name']}: " if named else ""
    return f"{name}{got['value']:.3g} ({got['low']:.3g} to {got['high']:.3g})"


# --- the reference --------------------------------------------------------------------------------


def _packages() -> dict[str, dict[str, str]]:
    """For each public package the functions and classes that it exports, and where each is."""
    found: dict[str, dict[str, str]] = {}
    stubs = sorted((ROOT / "interp").rglob("__init__.pyi"), key=lambda p: (len(p.parts), p))
    for file in [*stubs, ROOT / "interp" / "tasks" / "__init__.py"]:
        package = ".".join(("interp", *file.parent.relative_to(ROOT / "interp").parts))
        if package.startswith(INTERNAL):
            continue
        table = {n: h for n, h in homes(file).items() if n[0] != "_" and h.startswith("interp.")}
        if file.suffix == ".py":  # its own functions, and not what it imports to work with
            table = {n: h for n, h in table.items() if h.startswith("interp.tasks.")}
            own = [
                n.name for n in ast.parse(file.read_text()).body if isinstance(n, ast.FunctionDef)
            ]
            table |= {n: f"{package}:{n}" for n in own if n[0] != "_"}
        named = {n: h for n, h in table.items() if _first_line(h) is not None}
        if named:
            found[package] = dict(sorted(named.items()))
    return found


def _reference_nav() -> list:
    pages = [{p: f"reference/{p}.md"} for p in sorted([*_packages(), *MODULES])]
    return [*pages, {"the command line": "reference/command-line.md"}]


def _documented() -> dict[str, tuple[str, str]]:
    """For each home "module:name" the page that documents it, and its public name there.

    A function that several packages export is documented in the first, the nearest to the top.
    """
    out: dict[str, tuple[str, str]] = {}
    for package, table in _packages().items():
        for name, home in table.items():
            out.setdefault(home, (package, name))
    return out


def reference() -> dict[str, str]:
    """The text of each package's page."""
    pages, documented = {}, _documented()
    for package, table in _packages().items():
        folder = ROOT.joinpath(*package.split("."))
        said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        out = [f"# {package}", _as_markdown(said or "")]
        elsewhere = [(n, h) for n, h in table.items() if documented[h] != (package, n)]
        if elsewhere:
            links = [f"[`{documented[h][0]}.{n}`][{h.replace(':', '.')}]" for n, h in elsewhere]
            out += [f"Also here, described on other pages: {', '.join(links)}."]
        for name, home in table.items():
            if documented[home] == (package, name):
                out.append(_entry(f"{package}.{name}", home))
        pages[package] = "\n\n".join(out) + "\n"
    for module in MODULES:
        names = [
            node.name
            for node in ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text()).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
        ]
        entries = [_entry(f"{module}.{name}", f"{module}:{name}") for name in names]
        pages[module] = "\n\n".join([f"# {module}", *entries]) + "\n"
    return pages


def _entry(name: str, home: str) -> str:
    options = f"      heading: {name}\n      toc_label: {name.rpartition('.')[2]}"
    return f"::: {home.replace(':', '.')}\n    options:\n{options}"


def _as_markdown(docstring: str) -> str:
    """A docstring whose examples, lines that begin with >>>, are blocks of code."""
    parts = []
    for part in docstring.split("\n\n"):
        code = part.lstrip().startswith(">>>")
        parts.append(f"```pycon\n{part}\n```" if code else part)
    return "\n\n".join(parts)


def _with_links_to_the_reference(verbs: str) -> str:
    """The list of verbs with each name a link to its description."""
    packages, lines, package = _packages(), [], ""
    for line in verbs.splitlines():
        if found := re.match(r"## `(\S+)`", line):
            package = found[1]
        if (found := re.match(r"\| `(\w+)` \|", line)) and found[1] in packages.get(package, {}):
            home = packages[package][found[1]].replace(":", ".")
            line = line.replace(f"`{found[1]}`", f"[`{found[1]}`][{home}]", 1)
        lines.append(line)
    return "\n".join(lines)


def command_line() -> str:
    """The page of the commands, as `--help` says them."""
    from interp.cli.main import command_line as parser

    os.environ["COLUMNS"] = "96"
    whole = parser()
    out = ["# The command line", f"```text\n{whole.format_help()}```"]
    for action in whole._actions:
        for name, one in (getattr(action, "choices", None) or {}).items():
            out += [f"## interp {name}", f"```text\n{one.format_help()}```"]
    return "\n\n".join(out) + "\n"
