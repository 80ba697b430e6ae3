"""Pictures of older drawing code are found: figures that look otherwise change their word."""

from importlib import import_module

import nbformat
import pytest

from interp import plots

looks = import_module("interp.studies.notebooks.looks")
build = import_module("interp.studies.notebooks.build")


@pytest.fixture(autouse=True)
def _fresh():
    looks.looks.cache_clear()
    yield
    looks.looks.cache_clear()


def test_a_figure_that_looks_otherwise_has_another_word(monkeypatch):
    before = looks.looks()
    looks.looks.cache_clear()
    assert looks.looks() == before
    quiet = plots.bars

    def outlined(*args, **options):
        ax = quiet(*args, **options)
        ax.patches[0].set_edgecolor("#000000")
        return ax

    looks.looks.cache_clear()
    monkeypatch.setattr(plots, "bars", outlined)
    after = looks.looks()
    assert [kind for kind in before if after[kind] != before[kind]] == ["bars"]
    assert looks.older(before, ["plots.bars(x)"]) == ["bars"]
    assert looks.older(before, ["plots.lines(x)"]) == []
    assert looks.older(before, ["effects.plot()"]) == ["bars"]
    assert looks.older(before | {"matplotlib": "1.0"}, ["plots.bars(x)"]) == []
    assert looks.older({}, ["plots.bars(x)"]) == []  # built before looks were noted


def test_a_notebook_with_older_pictures_is_stale(tmp_path):
    source = tmp_path / "src" / "00-tiny.py"
    source.parent.mkdir()
    source.write_text("# %%\ninterp.plots.bars([1], ['a'], title='', unit='')\n")
    nb = build.read_source(source)
    nb.metadata["interp"] = {"sha256": build.digest(source), "looks": looks.looks()}
    target = tmp_path / "00-tiny.ipynb"
    nbformat.write(nb, target)
    assert build.stale("00-tiny", tmp_path) == []
    nb.metadata["interp"]["looks"] = looks.looks() | {"bars": "older"}
    nbformat.write(nb, target)
    (reason,) = build.stale("00-tiny", tmp_path)
    assert "older drawing code (bars)" in reason and "build 00-tiny" in reason
