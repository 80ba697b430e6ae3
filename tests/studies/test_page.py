"""`interp export`: a notebook as one page; what it shows, that it asks nothing of the network, what
it refuses.
"""

import base64

import nbformat
import pytest

import interp
from interp import plots
from interp.cli import main
from interp.studies.notebooks import page

pytestmark = pytest.mark.xdist_group(
    "browser"
)  # one lab and one Chromium for all of them, files in their order

WIDGET = "application/vnd.jupyter.widget-view+json"
PIXEL = plots.png(
    {
        "values": [[0.0, 1.0]],
        "dims": ("a", "b"),
        "coords": {"a": [0], "b": [0, 1]},
        "title": "t",
        "unit": "u",
    }
)
v4 = nbformat.v4


def cell(source, *outputs):
    return v4.new_code_cell(
        source,
        outputs=[v4.new_output("display_data", data=data) for data in outputs],
        execution_count=1,
    )


@pytest.fixture
def notebook(tmp_path, tiny):
    """A notebook with a table, a figure, two widgets and a picture dropped into its text."""
    found = interp.head_scores(tiny, "induction", n=2, length=8).sel(score="induction")
    widget = interp.widgets.attention(tiny, "The capital of France is", heads="L1H*")
    data, _ = widget._repr_mimebundle_()
    foreign = {WIDGET: {"model_id": "1"}, "text/plain": "HBox(children=())"}
    text = v4.new_markdown_cell(
        "# My page\n\n![dot](attachment:dot.png) and [a link](https://example.org)"
    )
    text["attachments"] = {"dot.png": {"image/png": base64.b64encode(PIXEL).decode()}}
    figure = {"image/png": base64.b64encode(PIXEL).decode(), "text/plain": "<Figure>"}
    nb = v4.new_notebook(
        cells=[
            text,
            cell("found.top(3)", {"text/html": found.top(3)._repr_html_()}),
            cell("plot()", figure),
            cell("w", data),
            cell("other", foreign),
        ]
    )
    nbformat.write(nb, tmp_path / "my.ipynb")
    yield tmp_path / "my.ipynb"
    widget.close()


def test_tables_figures_and_widgets_are_in_the_page(notebook, capsys):
    assert main.main(["export", str(notebook), "--html"]) == 0
    made = notebook.with_suffix(".html")
    text = made.read_text()
    assert str(made) in capsys.readouterr().out
    assert (
        page.requests(text) == []
        and "<table" in text
        and "HBox" not in text
        and "left no picture" in text
    )
    assert (
        text.count("data:image/png;base64,") == 3
        and "interp.widgets.attention(model, 'The capital of France is'" in text
    )
    assert "<title>My page</title>" in text and 'src="http' not in text and "<link" not in text


def test_a_bar_that_ended_leaves_nothing_and_pictures_are_dark_in_a_dark_page(recwarn):
    nb = v4.new_notebook(cells=[cell("x", {}, {"text/plain": "here"})])
    text = page.page(nb)
    assert text.count("output_text") == 1 and "here" in text and "filter: invert" in text
    assert not [w for w in recwarn if "not able to be represented" in str(w.message)]


def test_the_page_opens_in_a_browser_without_a_request(notebook, tmp_path, browser):
    path = page.export(notebook, tmp_path / "other.html")
    asked, wrong = [], []
    opened = browser.new_page()
    opened.on("request", lambda request: asked.append(request.url))
    opened.on(
        "console", lambda message: wrong.append(message.text) if message.type == "error" else None
    )
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.goto(path.as_uri())
    sizes = opened.evaluate(
        "() => [...document.images].map((i) => i.complete && i.naturalWidth > 0)"
    )
    opened.close()
    assert sizes == [True] * 3 and not wrong
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]


def test_what_cannot_be_shown_is_one_sentence(tmp_path, capsys):
    path = tmp_path / "n.ipynb"
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell("1 + 1")]), path)
    assert (
        main.main(["export", str(path), "--html"]) == 2
        and "run it and save it first" in capsys.readouterr().err
    )
    assert (
        main.main(["export", str(tmp_path / "none.ipynb"), "--html"]) == 2
        and "no notebook" in capsys.readouterr().err
    )
    assert (
        main.main(["export", "no-such-study", "--html"]) == 2
        and "no-such-study" in capsys.readouterr().err
    )
    path.write_text("{")
    assert (
        main.main(["export", str(path), "--html"]) == 2
        and "not a notebook" in capsys.readouterr().err
    )
    outside = {"text/html": "<iframe src='https://example.org/x'></iframe>"}
    nbformat.write(v4.new_notebook(cells=[cell("x", outside)]), path)
    assert (
        main.main(["export", str(path), "--html"]) == 2 and "example.org" in capsys.readouterr().err
    )
    assert not path.with_suffix(".html").exists()


def test_a_study_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        page.export("00").name == "00-start-here.html"
        and page.requests((tmp_path / "00-start-here.html").read_text()) == []
    )


@pytest.mark.parametrize(
    "hostile",
    [
        "![x](secret.txt)",
        "![x](/etc/passwd)",
        "![x](../secret.txt)",
        "![x][r]\n\n[r]: /etc/passwd",
        "<img src='secret.txt' onerror='alert(1)'>",
        "![x](link.png)",
    ],
)
def test_only_pictures_of_the_folder_come_into_the_page(tmp_path, hostile):
    inside = tmp_path / "notebooks"
    inside.mkdir()
    for folder in (tmp_path, inside):
        (folder / "secret.txt").write_text("SECRET")
    (inside / "dot.png").write_bytes(PIXEL)
    (inside / "link.png").symlink_to("/etc/passwd")
    nb = v4.new_notebook(cells=[v4.new_markdown_cell(f"{hostile}\n\n![dot](dot.png)"), cell("1")])
    text = page.page(nb, inside)
    body = text[text.index("<body>") :]
    assert body.count("data:image/png;base64,") == 1 and "onerror" not in body
    assert body.count("data:") == 1 and page.requests(text) == []


@pytest.mark.parametrize(
    "hostile",
    [
        "<meta http-equiv=refresh content='0;url=https://evil.example'>",
        "<base href='https://evil.example/'>",
        "<form action='https://evil.example'><button>x</button></form>",
        "<link rel=dns-prefetch href='https://evil.example'>",
        "<svg><image href='https://evil.example/x.png'/></svg>",
        "<video poster='https://evil.example/x.png'></video>",
        "<div style='background: url(https://evil.example/x.png)'></div>",
    ],
)
def test_what_a_browser_would_fetch_is_refused(tmp_path, hostile):
    for made in (v4.new_markdown_cell(hostile), cell("x", {"text/html": hostile})):
        with pytest.raises(ValueError, match=r"evil\.example"):
            page.write_html(v4.new_notebook(cells=[made]), tmp_path / "n.html", tmp_path)


def test_no_script_of_a_notebook_runs_in_a_page(tmp_path, browser):
    shout = "document.title = 'run'; location = 'https://evil.example/'"
    quoted = {"image/png": f'AA"onerror="{shout}', "text/plain": "<Figure>"}
    attached = v4.new_markdown_cell(
        "![a](attachment:a.png) <b onclick='x()'>text</b><img src=x onerror=\"y()\">"
    )
    attached["attachments"] = {"a.png": {"image/png": 'AA"onerror="z()'}}
    cells = [
        v4.new_markdown_cell(f"# Mine\n\n<script>{shout}</script>"),
        attached,
        cell("1", {"text/html": f'<script>{shout}</script><svg onload="{shout}"></svg>'}),
        cell("2", {"text/html": f'<iframe srcdoc="<script>parent.{shout}</script>"></iframe>'}),
        cell("3", {"application/javascript": shout, "text/plain": "js"}),
        cell("4", quoted),
        cell(
            "5",
            {
                "image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg'><script>{shout}</script></svg>"
            },
        ),
    ]
    path = page.write_html(v4.new_notebook(cells=cells), tmp_path / "n.html", tmp_path)
    asked = []
    opened = browser.new_page()
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(path.as_uri())
    opened.wait_for_timeout(500)
    title, url = opened.title(), opened.url
    opened.close()
    assert title == "Mine" and url == path.as_uri()
    assert [x for x in asked if not x.startswith(("data:", "about:"))] == [path.as_uri()]
    assert "own script does not run" in path.read_text()


@pytest.mark.parametrize(
    "broken",
    [
        "[" * 100_000,
        "[1]",
        '{"cells": 5, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
        '{"cells": [{"cell_type": "code", "source": "x", "metadata": {}, "execution_count": 1,'
        ' "outputs": [{"output_type": "stream"}]}], "nbformat": 4, "nbformat_minor": 5,'
        ' "metadata": {}}',
        '{"cells": [{"cell_type": "code", "source": ["a", 3], "metadata": {}, "outputs": [],'
        ' "execution_count": 1}], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
    ],
)
def test_a_broken_notebook_is_one_sentence(tmp_path, capsys, broken):
    path = tmp_path / "n.ipynb"
    path.write_text(broken)
    assert main.main(["export", str(path), "--html"]) == 2
    said = capsys.readouterr().err
    assert str(path) in said and "bug" not in said and len(said) < 400
