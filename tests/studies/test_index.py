"""The first page of the notebooks."""

import ast
import base64
import inspect
import re

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbformat import v4

import interp
from interp.studies.notebooks import build, index, paths


def test_every_notebook_is_there_once_with_its_picture(tmp_path):
    page = index.notebook()
    nbformat.validate(page)
    text = "\n".join(cell.source for cell in page.cells)
    for name in [*paths.tours(), *paths.names()]:
        assert text.count(f"]({name}.ipynb) | ") == 1
        assert f'<img src="figures/{name}.png"' in text


def test_a_notebook_without_a_cell_for_it_has_its_first_picture_as_cover(tmp_path):
    def cell(picture, tags=(), form="image/png"):
        data = base64.b64encode(picture).decode()
        data = data if form == "image/png" else f"<div><img src='data:image/png;base64,{data}'>"
        output = v4.new_output("display_data", {form: data})
        return v4.new_code_cell(outputs=[output], metadata={"tags": list(tags)})

    file = tmp_path / "figures" / "x.png"
    assert not build.write_cover(v4.new_notebook(cells=[v4.new_code_cell()]), file)
    cells = [cell(b"first", form="text/html"), cell(b"second"), cell(b"third", ["cover"])]
    assert build.write_cover(v4.new_notebook(cells=cells[:2]), file)
    assert file.read_bytes() == b"first"
    assert build.write_cover(v4.new_notebook(cells=cells), file)
    assert file.read_bytes() == b"third"


def test_beginners_come_first_and_no_picture_is_higher_than_its_place():
    page = index.notebook()
    tours = next(cell.source for cell in page.cells if cell.source.startswith("## Tours"))
    levels = [row.split("|")[-2].strip() for row in tours.splitlines()[4:]]
    assert levels == sorted(levels, key=index.LEVELS.index)
    for name in [*paths.tours(), *paths.names()]:
        picture = f"figures/{name}.png"
        high, wide = plt.imread(paths.home() / picture).shape[:2]
        shown = int(re.fullmatch(r'<img src="\S+" width="(\d+)">', index._image(None, picture))[1])
        assert shown <= index.WIDE and high * shown / wide <= index.HIGH
        assert shown == index.WIDE or high * (shown + 1) / wide > index.HIGH


def test_what_a_notebook_says_of_itself_counts(tmp_path):
    source = tmp_path / "src" / "07-x.py"
    source.parent.mkdir()
    source.write_text("# %% [markdown]\n# # Why?\n#\n# 9 minutes · advanced · you should know x\n")
    entry = index.entry(source)
    assert entry == {
        "name": "07-x",
        "title": "Why?",
        "time": "9 minutes",
        "level": "advanced",
        "picture": "",
    }


def test_its_one_cell_makes_the_panel_and_it_is_written_as_it_is(tmp_path):
    calls = [n for n in ast.walk(ast.parse(index.CELL)) if isinstance(n, ast.Call)]
    named = {ast.unparse(call.func) for call in calls}
    assert named == {"interp.load", "interp.widgets.explore"}
    inspect.signature(interp.widgets.explore).bind(None, "text")
    (tmp_path / "src").mkdir()
    first, again = index.write(tmp_path).read_text(), index.write(tmp_path).read_text()
    assert first == again and nbformat.reads(first, 4).cells[1].source == index.CELL


@pytest.mark.parametrize("name", ["tour-widgets", "tour-patching", "00-start-here"])
def test_what_it_recommends_is_there(name):
    assert f"({name}.ipynb)" in index.PLAN and paths.find(name).exists()
