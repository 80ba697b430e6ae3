"""The release checklist sees what is not so, and the tested set is written as it is read."""

import importlib.util
import io
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def scripts():
    """release/check.py and release/constraints.py as modules."""
    found = {}
    for name in ("check", "constraints"):
        spec = importlib.util.spec_from_file_location(name, ROOT / "release" / f"{name}.py")
        found[name] = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found[name])
    yield found
    for name in found:
        del sys.modules[name]


@pytest.fixture
def copy(tmp_path):
    """The files that say the version."""
    (tmp_path / "interp").mkdir()
    for name in ("pyproject.toml", "interp/__init__.py", "CITATION.cff", "CHANGELOG.md"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def test_what_is_said_of_the_version_agrees(scripts):
    said = scripts["check"].statements()
    assert [what for what, _, fine in said if not fine] == []


@pytest.mark.parametrize(
    ("file", "old", "new", "what"),
    [
        ("interp/__init__.py", "__version__ = ", "__version__ = 'x'  # ", "interp.__version__"),
        ("CITATION.cff", "\nversion: ", "\nversion: 9.", "CITATION.cff"),
        ("CITATION.cff", "date-released", "date", "date of CITATION.cff"),
        ("CHANGELOG.md", "\n## ", "\n## Unreleased ", "first heading of CHANGELOG.md"),
    ],
)
def test_what_disagrees_is_named(scripts, copy, file, old, new, what):
    text = (copy / file).read_text(encoding="utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new), encoding="utf-8")
    assert [w for w, _, fine in scripts["check"].statements(copy) if not fine] == [what]


def test_a_file_that_differs_between_wheel_and_sdist_is_named(scripts, tmp_path):
    wheel, sdist = tmp_path / "a.whl", tmp_path / "a.tar.gz"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("interp/one.py", "1")
        made.writestr("interp/two.py", "2")
        made.writestr("interp/_data/notebooks/x.py", "x")
    with tarfile.open(sdist, "w:gz") as made:
        for name, text in (("one.py", b"1"), ("two.py", b"3")):
            info = tarfile.TarInfo(f"interp-1/interp/{name}")
            info.size = len(text)
            made.addfile(info, io.BytesIO(text))
    ((_, text, fine),) = scripts["check"].same_package(wheel, sdist)
    assert text == "differ: interp/two.py" and not fine


def test_the_tests_of_the_short_run_are_there(scripts):
    assert [path for path in scripts["check"].SHORT if not (ROOT / path).exists()] == []


def test_this_python_is_found_and_one_that_is_nowhere_is_not(scripts):
    this = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert scripts["check"].python_of(this) == sys.executable
    assert scripts["check"].python_of("3.99") is None


def test_a_command_that_fails_says_why(scripts):
    with pytest.raises(RuntimeError, match="said: no such thing"):
        scripts["check"].run([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_the_tested_set_is_written_as_it_stands(scripts):
    frozen = "pip==26.0\nnumpy==2.4.0\nZlib_ng==1.0\ntorch @ file:///w/torch-2.13.0%2Bcpu-cp311-cp311-linux.whl\n"
    assert scripts["constraints"].pinned(frozen) == "torch==2.13.0\nnumpy==2.4.0\nzlib-ng==1.0\n"
    now = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in now.splitlines() if not line.startswith("#")]
    assert scripts["constraints"].pinned("\n".join(lines)).splitlines() == lines


def test_changed_pins_are_listed(scripts):
    said = scripts["constraints"].changes("a==1\nb==1\n", "a==2\nc==1\n")
    assert said.splitlines() == ["  a: 1 -> 2", "  b: 1 -> gone", "  c: new -> 1"]
