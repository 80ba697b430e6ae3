"""The wheel: everything the command needs is in it, nothing else is, and it runs without the
checkout.
"""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel. The backend is called in place: no isolated environment, so no download."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def inside(wheel):
    return set(zipfile.ZipFile(wheel).namelist())


def files(folder: str, *kinds: str) -> set[str]:
    """The files of such kinds under a folder of the checkout, as paths from its root."""

    def hidden(p):
        return any(x.startswith(".") or x == "__pycache__" for x in p.relative_to(ROOT).parts)

    found = (p for p in (ROOT / folder).rglob("*") if p.is_file() and not hidden(p))
    return {p.relative_to(ROOT).as_posix() for p in found if not kinds or p.suffix in kinds}


def test_the_whole_package_is_inside(inside):
    assert files("interp", ".py", ".js", ".css", ".txt") <= inside


def test_every_widget_is_inside_with_its_script_and_style(inside):
    ours = {
        f"interp/widgets/{file.name}"
        for file in (ROOT / "interp" / "widgets").iterdir()
        if file.suffix in (".js", ".css")
    }
    assert {
        "interp/widgets/_shared.js",
        "interp/widgets/heads.js",
        "interp/widgets/heads.css",
    } <= ours
    assert {path for path in inside if path.endswith((".js", ".css"))} == ours


def test_notebooks_and_circuits_travel_inside_the_package(inside):
    wanted = files("notebooks", ".py", ".json", ".ipynb", ".md") | files("circuits", ".json")
    assert "notebooks/src/00-start-here.py" in wanted
    assert {f"interp/_data/{path}" for path in wanted} <= inside


def test_nothing_else_is_inside(inside):
    tops = {path.split("/")[0] for path in inside}
    assert tops == {"interp", "interp-0.2.0.dist-info"}
    assert not [
        path
        for path in inside
        if path.endswith((".pyc", ".safetensors", ".gguf")) or ".ipynb_checkpoints" in path
    ]


def test_it_runs_without_the_checkout(wheel, tmp_path):
    site = tmp_path / "site-packages"
    zipfile.ZipFile(wheel).extractall(site)
    env = {**os.environ, "PYTHONPATH": str(site), "INTERP_CACHE": str(tmp_path / "cache")}
    code = (
        "import interp, interp.studies as s; from interp.cli.main import main;"
        " print(interp.__file__); print(s.home()); print(s.names()[0]); raise"
        " SystemExit(main(['models', '--json']))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    where, home, first = ran.stdout.splitlines()[:3]
    assert Path(where).is_relative_to(site) and Path(home).is_relative_to(site)
    assert first == "00-start-here" and '"cached": false' in ran.stdout


# --- what is declared -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_version_is_said_once_more(project):
    import interp

    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert (
        interp.__version__ == project["project"]["version"]
        and f"version: {interp.__version__}\n" in cited
    )


def test_the_tested_set_is_portable(pins):
    from packaging.requirements import Requirement

    assert pins[0] == "torch==2.13.0"
    for line in pins:
        pin = Requirement(line)
        assert pin.url is None and str(pin.specifier).startswith("=="), line
        assert "+" not in line, f"{line}: a local version exists on one machine only"


def test_the_tested_set_covers_and_meets_what_is_declared(project, pins):
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    tested = {canonicalize_name(p.split("==")[0]): p.split("==")[1] for p in pins}
    extras = dict(project["project"]["optional-dependencies"])
    check = (ROOT / "release" / "check.py").read_text(encoding="utf-8")
    apart = re.search(r'^EXTRA = "(.+)"', check, re.M)[1].split(",")
    for name in apart:  # tested by the release checklist, in an environment of their own
        extras.pop(name)
    declared = project["project"]["dependencies"] + sum(extras.values(), [])
    for need in map(Requirement, declared):
        assert need.url is None
        assert tested[canonicalize_name(need.name)] in need.specifier, need


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "Makefile", ".ci/run"])
def test_no_place_to_download_from_is_written_down(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert not [
        line
        for line in text.splitlines()
        if line.strip().startswith(("--find-links", "--index", "-f ", "-i "))
    ]
