"""The functions that a widget's script exports, tested in node."""

import subprocess

from browser import node

from interp.widgets._base import source


def run_in_node(name: str, tests: str, folder) -> None:
    """Runs `node --test` on the functions that a widget's file exports."""
    (folder / "widget.mjs").write_text(source(name, "js"), encoding="utf-8")
    (folder / "tests.mjs").write_text(tests, encoding="utf-8")
    ran = subprocess.run(
        [node(), "--test", "tests.mjs"], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
