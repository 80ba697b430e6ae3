"""A process may end while a widget computes."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import threading, torch
from interp.widgets._lanes import Lane

started, lane = threading.Event(), Lane()

def job(stale):
    x = torch.randn(300, 300, requires_grad=True)
    started.set()
    while True:
        y = x
        for _ in range(20):
            y = (y @ x).tanh()
        y.sum().backward()

lane.put(job)
started.wait()
print("the last line")
"""


def test_a_process_ends_well_while_a_widget_computes():
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        timeout=120,
    )
    assert ran.stdout == "the last line\n" and ran.stderr == ""
    assert ran.returncode == 0
