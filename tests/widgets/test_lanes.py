"""A process may end, or fork, while a widget computes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


FORK = """
import os, threading, time
import interp
from interp import widgets
from interp.models import bridge

model = interp.models.tiny()
task = interp.tasks.ioi(model, n=2)
grid = widgets.heads(model, task).wait()
inner, inside = grid._compute, threading.Event()

def slow(*state):
    inside.set()
    time.sleep(1.0)  # with the lock of all runs held
    yield from inner(*state)

grid._compute = slow
grid.heads = "L1H2"
inside.wait()
child = os.fork()
if child == 0:
    free = bridge.LOCK.acquire(timeout=5) and grid.wait(5) is grid
    effect = interp.ablate(model, task, "L1H2").values
    os._exit(0 if free and effect == effect else 1)
end = time.monotonic() + 60
done, code = 0, None
while not done and time.monotonic() < end:
    done, code = os.waitpid(child, os.WNOHANG)
    time.sleep(0.05)
if not done:
    os.kill(child, 9)
print("child", os.waitstatus_to_exitcode(code) if done else "hangs")
print("parent", grid.value["heads"])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.slow
def test_a_fork_while_a_widget_works_does_not_hang():
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        timeout=600,
    )
    assert ran.stdout == "child 0\nparent ['L1H2']\n", ran.stderr
