"""AGENTS.md: one page, its calls run as they stand, and its addresses and options are real ones."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import interp
from interp.sites import Site

PAGE = (Path(interp.__file__).resolve().parents[1] / "AGENTS.md").read_text(encoding="utf-8")


def test_its_calls_run(tiny, capsys):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert re.findall(r"# (\d+)\. ", block) == [str(i) for i in range(1, 11)]
    # the block as it stands, on a smaller model with fewer edges
    said = {"given": tiny}
    exec(block.replace("interp.load()", "given").replace("500", "40"), said)
    plt.close("all")
    printed = capsys.readouterr().out
    assert "faithfulness" in printed and "effect of denoising" in printed
    assert not said["find"].clean.equal(said["judge"].clean)
    clean = interp.run(tiny, said["find"].clean).logits
    assert not clean.allclose(said["logits"])


def test_it_fits_on_a_page():
    assert len(PAGE.splitlines()) <= 80 and max(map(len, PAGE.splitlines())) <= 125


HEADS = r"\bL\d+H\d+(?:\.[a-z_]+)?|\bL\d+KV\d+\.[a-z_]+"


@pytest.mark.parametrize(
    "address", sorted(set(re.findall(rf"{HEADS}|\b(?:attn|mlp|resid_\w+)\.\d", PAGE)))
)
def test_its_addresses_are_addresses(address):
    assert str(Site.parse(address)) == address


def test_its_grammar_makes_addresses():
    places = re.search(r"place     = (.+)", PAGE)[1].split(" | ")
    parts = re.search(r"part      = (.+)", PAGE)[1]
    heads, kv, mlp = (
        re.search(f"{of}: ([a-z_ ]+)", parts)[1].split() for of in ("a head", "needs one", "an MLP")
    )
    for place in places:
        of = heads if re.match(r"L\d+H", place) else kv if "KV" in place else []
        of = mlp if place.startswith("mlp") else of
        for part in of:
            Site.parse(f"{place}.{part}")
        if "KV" in place:
            with pytest.raises(ValueError, match="a KV head has parts"):
                Site.parse(place)
        else:
            Site.parse(place)
    for position in ("END", "S2", "4", "-1", "*"):
        assert Site.parse(f"resid_post.5@{position}")


def test_every_name_it_calls_is_there():
    for name in set(re.findall(r"interp((?:\.\w+)+)", PAGE)):
        found = interp
        for part in name.split(".")[1:]:
            found = getattr(found, part)


@pytest.mark.parametrize("unit", re.findall(r'unit="(\w+)"', PAGE))
def test_its_units_are_known(unit, tiny):
    assert interp.patch(tiny, interp.tasks.ioi(tiny, n=2), "L0H0@END", unit=unit)
