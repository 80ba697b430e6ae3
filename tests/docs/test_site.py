"""The documentation site: every link leads somewhere, nothing on it asks the network, and what is
generated is all there. It is built once.
"""

import json
import os
import re
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from browser import ARGUMENTS, chromium

from interp._find import _first_line
from interp._lazy import homes
from interp.cli import docs
from interp.cli.main import main
from interp.studies.notebooks import paths
from interp.studies.verdict_table import MARK, recorded

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]
OUTSIDE = ("http:", "https:", "//")


class Page(HTMLParser):
    """The addresses on a page, and the names of its places."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file, self.places, self.links = file, set(), []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        said = dict(attrs)
        self.places.add(said.get("id"))
        for key in ("href", "src", "srcset", "poster", "data", "action"):
            if said.get(key) is not None:
                self.links.append((tag, said[key]))


class Site:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def pages(self) -> dict[Path, Page]:
        return {file: Page(file) for file in sorted(self.folder.rglob("*.html"))}

    def text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def broken(self) -> list[str]:
        """What is wrong with its links, a line each."""
        out = []
        for file, page in self.pages.items():
            for tag, link in page.links:
                where = f"{file.relative_to(self.folder)}: {link}"
                if link.startswith(OUTSIDE):
                    out += [f"{where}: asks the network"] if tag != "a" else []
                elif not link.startswith(("data:", "mailto:")):
                    path, _, place = link.partition("#")
                    target = (file.parent / unquote(path)).resolve() if path else file
                    if not target.is_file():
                        out.append(f"{where}: no such file")
                    elif place and target in self.pages:
                        there = unquote(place) in self.pages[target].places
                        out += [] if there else [f"{where}: no such place"]
        return out


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    docs.build(ROOT, folder)  # strict: a warning of mkdocs is an error
    return Site(folder)


def test_every_link_leads_somewhere_and_no_page_asks_the_network(site):
    assert len(site.pages) > 60
    assert site.broken() == []


def test_the_checker_sees_what_is_broken(tmp_path):
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="#top">1</a><a href="#no">2</a><a href="b.html">3</a>'
        '<img src="https://x.org/a.png"><a href="https://x.org">4</a><script src="//x.org/a.js">'
    )
    said = [line.split(": ", 1)[1] for line in Site(tmp_path).broken()]
    assert said == [
        "#no: no such place",
        "b.html: no such file",
        "https://x.org/a.png: asks the network",
        "//x.org/a.js: asks the network",
    ]


def test_no_style_asks_the_network(site):
    styles = list(site.folder.rglob("*.css"))
    assert styles
    for file in styles:
        text = file.read_text(encoding="utf-8")
        assert not re.findall(r"@import[^;]*//|url\([\"']?(?:https?:)?//", text), file.name


def test_it_opens_from_a_folder_and_is_searched_there_without_a_network(site):
    from playwright.sync_api import sync_playwright

    asked, problems = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto((site.folder / "index.html").as_uri())
        page.click(".md-search__input")
        page.keyboard.type("knockout")
        # results follow each letter: those of the whole word are waited for
        page.wait_for_selector('.md-search-result__link[href*="h=knockout"]', timeout=60_000)
        found = page.locator(".md-search-result__link").evaluate_all("a => a.map(x => x.href)")
        page.goto((site.folder / "studies" / "index.html").as_uri())
        wide = page.evaluate("document.documentElement.scrollWidth")
        page.set_viewport_size({"width": 400, "height": 900})
        narrow = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    for wanted in ("attention_knockout.attention_knockout", "how-to/who-looks-where"):
        assert any(wanted in link for link in found), found
    assert asked and {url.split(":")[0] for url in asked} <= {"file", "data", "blob"}
    assert problems == [] and wide <= 1300 and narrow <= 400


def test_every_public_name_is_described(site):
    pages = (site.folder / "reference").glob("*.html")
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    for stub in (ROOT / "interp" / "__init__.pyi", ROOT / "interp" / "features" / "__init__.pyi"):
        functions = {h for h in homes(stub).values() if _first_line(h) is not None}
        assert len(functions) > 20
        assert [h for h in functions if f'id="{h.replace(":", ".")}"' not in text] == []
    assert 'id="interp.tasks.ioi.ioi"' in text
    assert 'id="interp-docs"' in site.text("reference/command-line.html")


def test_the_gallery_has_every_study_with_its_figure_and_its_verdicts(site):
    gallery = site.text("studies/index.html")
    for name in paths.names(ROOT / "notebooks"):
        assert f'href="{name}.html"' in gallery and f'src="figures/{name}.png"' in gallery, name
        rows = recorded(name, ROOT / "notebooks").get("full", {"rows": []})["rows"]
        page = site.text(f"studies/{name}.html")
        for word in {r["verdict"] for r in rows}:
            some = [r for r in rows if r["verdict"] == word]
            assert page.count(f"<td>{MARK[word]} {word}") == len(some), (name, word)
    assert re.search(r"\d+ minutes · beginner", gallery)


def test_the_command_says_where_the_site_is(tmp_path, monkeypatch, capsys):
    (tmp_path / "docs").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "mkdocs.yml").write_text("site_name: x")
    built = []
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "interp")
    monkeypatch.setattr(
        docs, "build", lambda root, to: built.append((to / "index.html").write_text("x"))
    )
    opened = []
    monkeypatch.setattr(docs.webbrowser, "open", opened.append)
    page = tmp_path / "site" / "index.html"
    for _ in range(2):  # built where there is none, and not again
        assert main(["docs", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"page": str(page)}
    assert len(built) == 1 and opened == [page.as_uri()] * 2
    os.utime(page, (0, 0))
    assert main(["docs", "--no-browser"]) == 0
    assert len(built) == 2 and len(opened) == 2 and str(page) in capsys.readouterr().out


def test_without_a_clone_the_command_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "interp")
    assert main(["docs"]) == 2
    said = capsys.readouterr().err
    assert "built from a clone" in said and "make docs" in said and len(said.splitlines()) == 1
