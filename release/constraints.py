"""Renews constraints.txt: the newest set that the declared ranges allow, if the tests pass with it.

    make constraints
    python release/constraints.py --tests "tests/core"     # fewer tests

The set is resolved for an empty environment of this Python, installed into one, and the tests run
there. Only then is the file written; without that it stays as it was, and the changes are printed.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import check

FILE = check.ROOT / "constraints.txt"


def main() -> int:
    """0 where the file is up to date or was renewed, 1 where the tests do not pass."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tests", default="tests", help="which tests decide (all of make test)")
    args = parser.parse_args()
    old = FILE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="interp-constraints-") as tmp:
        home = Path(tmp) / "env"
        check.run([sys.executable, "-m", "venv", str(home)])
        python = home / "bin" / "python"
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        print("installing the newest set that is allowed", flush=True)
        # PyTorch stays as it is pinned: which build of it there is depends on the machine
        held = Path(tmp) / "held.txt"
        held.write_text(next(x for x in old.splitlines() if x.startswith("torch==")) + "\n")
        check.run([*pip, "-c", held, "-e", f"{check.ROOT}[test,docs]"])
        new = pinned(check.run([python, "-m", "pip", "freeze", "--all", "--exclude-editable"]))
        if new == old:
            print("constraints.txt is up to date")
            return 0
        print(changes(old, new))
        command = [str(python), "-m", "pytest", "-q", *args.tests.split()]
        if subprocess.run(command, cwd=check.ROOT).returncode:
            print("the tests do not pass with these: constraints.txt stays as it was")
            return 1
    FILE.write_text(new, encoding="utf-8")
    print("constraints.txt is renewed")
    return 0


def pinned(frozen: str) -> str:
    """The text of constraints.txt: PyTorch first, then the others by name, without local versions.

    Example:
        >>> pinned("numpy==2.4.0\\ntorch==2.13.0+cpu\\n")
        'torch==2.13.0\\nnumpy==2.4.0\\n'
    """
    pins = {}
    for line in frozen.splitlines():
        if found := re.match(r"([\w.-]+)(?:==| @ .*/)([^\s+;]+)", line):
            name = re.sub(r"[-_.]+", "-", found[1]).lower()
            if " @ " in line:  # a file: its version is in the wheel's name
                version = re.search(r"/[\w.]+-(\d[\w.]*)(?:\+\w+)?-", line.replace("%2B", "+"))
                pins[name] = version[1] if version else None
            else:
                pins[name] = found[2]
    for tool in ("pip", "wheel"):  # what installs is the user's own
        pins.pop(tool, None)
    unknown = sorted(name for name, version in pins.items() if version is None)
    if unknown:
        raise RuntimeError(f"no version is known for {', '.join(unknown)}")
    torch = pins.pop("torch")
    return "\n".join([f"torch=={torch}", *(f"{n}=={v}" for n, v in sorted(pins.items()))]) + "\n"


def changes(old: str, new: str) -> str:
    """Which pins are new, gone or moved, a line each."""
    before, after = (
        dict(line.split("==") for line in t.splitlines() if "==" in line) for t in (old, new)
    )
    lines = [
        f"  {name}: {before.get(name, 'new')} -> {after.get(name, 'gone')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    return "\n".join(lines) or "  only their order"


if __name__ == "__main__":
    sys.exit(main())
