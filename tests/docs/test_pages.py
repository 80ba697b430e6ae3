"""The first page and the pages by question run as they stand, on the tiny Llama."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import interp

DOCS = Path(interp.__file__).resolve().parents[1] / "docs"
PAGES = [DOCS / "index.md", *sorted((DOCS / "how-to").glob("*.md"))]
NOT_RUN = r"<!-- not run: [^>]+ -->\n```python\n.*?```"  # says why


SMALL = "width=64, k=4, tokens=4_096"  # what trains for minutes, in a second


def smaller(code: str) -> str:
    """The code with layers and heads that three layers of four heads have, and fewer edges."""

    def head(found: re.Match) -> str:
        heads = {"H": 4, "KV": 2}[found[2]]
        return f"L{int(found[1]) % 3}{found[2]}{int(found[3]) % heads}"

    code = re.sub(r"\bL(\d+)(H|KV)(\d+)", head, code)
    code = re.sub(r"\b(resid_\w+|mlp|attn)\.(\d+)", lambda m: f"{m[1]}.{int(m[2]) % 3}", code)
    return code.replace("interp.load()", "given").replace("top(scores, 500)", "top(scores, 40)")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[p.stem for p in PAGES])
def test_a_page_runs(page, tiny, tmp_path, monkeypatch):
    text = re.sub(NOT_RUN, "", page.read_text(encoding="utf-8"), flags=re.S)
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    monkeypatch.chdir(tmp_path)
    said = {"given": tiny}
    for block in blocks:
        try:
            exec(compile(smaller(block), page.name, "exec"), said)
        except Exception as error:
            error.add_note(f"in {page.name}:\n{block}")
            raise
    plt.close("all")
    assert blocks or page.name == "index.md" and page.parent.name == "how-to"


NOT_RUN_BLOCKS = [
    (page, block)
    for page in PAGES
    for block in re.findall(
        r"<!-- not run: [^>]+ -->\n```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S
    )
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "page, block", NOT_RUN_BLOCKS, ids=[page.stem for page, _ in NOT_RUN_BLOCKS]
)
def test_what_takes_minutes_runs_with_less_training(page, block, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "width=2304, k=32" in block, f"{page.name}: say here how this block is made smaller"
    code = smaller(block).replace("width=2304, k=32", SMALL)
    exec(compile(code, page.name, "exec"), {"interp": interp, "model": tiny})


def test_the_pages_are_listed():
    listed = (DOCS / "how-to" / "index.md").read_text(encoding="utf-8")
    for page in (DOCS / "how-to").glob("[!i]*.md"):
        assert f"]({page.name})" in listed, page.name
        assert page.read_text(encoding="utf-8").startswith("# ")


def test_code_on_the_pages_fits_a_screen():
    for page in PAGES:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
            assert max(map(len, block.splitlines())) <= 100, page.name
