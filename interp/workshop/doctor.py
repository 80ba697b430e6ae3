"""Whether this machine is ready for a workshop: all checks in a few seconds, and what to do."""

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from interp.studies.notebooks.paths import INSTALLED, PACKAGE

PYTHON = (3, 11)
MEMORY_GB, DISK_GB = 3.0, 1.0  # the model in single precision, its runs, and a browser beside it
SLOW = 5.0  # seconds for one short prompt


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        name: What was looked at.
        state: "ok", "note" (works, and you should know) or "fail".
        text: What is the case.
        todo: What to do about it, or "".
    """

    name: str
    state: str
    text: str
    todo: str = ""


def doctor(*, model: bool = True, full: bool = False) -> list[Finding]:
    """What is ready for a workshop on this machine, and what is not.

    Example:
        >>> [f for f in doctor() if f.state == "fail"]
        []

    Args:
        model: Whether the default model is looked at: are its files here, with every byte as it was
            written?
        full: Load it, too, with everything that a lesson imports, and run a prompt.

    Cost:
        Some 3 seconds, most of them to import PyTorch; with `full` 10 to 20 more.
    """
    return list(findings(model=model, full=full))


def findings(*, model: bool = True, full: bool = False) -> Iterator[Finding]:
    """The checks one by one, as they end."""
    for check in (
        python,
        packages,
        memory,
        disk,
        threads,
        widgets,
        *([default_model] if model else []),
        *([lesson] if model and full else []),
    ):
        try:
            yield check()
        except Exception as error:  # a check that breaks is a finding, too
            said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            name = check.__name__.replace("_", " ")
            yield Finding(
                name, "fail", f"could not be checked ({said})", "show this to the teacher"
            )


def python() -> Finding:
    """The version of Python."""
    now = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON:
        return Finding("Python", "fail", now, "install Python 3.11 or newer, and a new environment")
    return Finding("Python", "ok", now)


def tested_set() -> dict[str, str]:
    """The versions that this package was tested with; {} where its list is not at hand."""
    places = [PACKAGE / "_data" / "constraints.txt"]
    places += [] if INSTALLED else [PACKAGE.parent / "constraints.txt"]
    for place in places:
        if place.exists():
            lines = re.findall(r"^([\w.-]+)==([^\s;]+)", place.read_text("utf-8"), re.M)
            return {name.lower(): version for name, version in lines}
    return {}


def needed() -> list[str]:
    """The packages that interp declares, without its extras."""
    lines = metadata.requires("interp") or []
    return [re.split(r"[^\w.-]", line)[0].lower() for line in lines if "extra ==" not in line]


def packages(installed: Callable[[str], str] = metadata.version) -> Finding:
    """The declared packages, against the tested versions."""
    tested, missing, other = tested_set(), [], []
    try:
        names = needed()
    except metadata.PackageNotFoundError:  # a folder on PYTHONPATH, never installed
        names = ["torch", "transformer-lens", "transformers", "anywidget", "jupyterlab"]
    for name in names:
        try:
            version = installed(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if name in tested and version.split("+")[0] != tested[name]:
            other.append(f"{name} {version} (tested: {tested[name]})")
    if missing:
        todo = "pip install " + " ".join(missing)
        return Finding("packages", "fail", f"missing: {', '.join(missing)}", todo)
    if other:
        todo = (
            "if something looks odd, install the tested set: pip install -c constraints.txt interp"
        )
        return Finding("packages", "note", "; ".join(other), todo)
    text = f"{len(names)} packages" + (", all of the tested versions" if tested else "")
    return Finding("packages", "ok", text)


def memory(free: Callable[[], float] | None = None) -> Finding:
    """Free memory in GB."""
    gb = (free or _free_memory)()
    if gb < MEMORY_GB:
        todo = "close the browser's other tabs and other programs, then try again"
        return Finding("memory", "fail", f"{gb:.1f} GB free, {MEMORY_GB:.0f} are needed", todo)
    return Finding("memory", "ok", f"{gb:.1f} GB free")


def _free_memory() -> float:
    import psutil

    return psutil.virtual_memory().available / 1e9


def disk() -> Finding:
    """Free space where models are kept."""
    from interp.models import local

    folder = Path(local.cache())
    there = next(p for p in (folder, *folder.parents) if p.exists())
    gb = shutil.disk_usage(there).free / 1e9
    if gb < DISK_GB:
        todo = "make room, or let the variable INTERP_CACHE name a folder on another disk"
        return Finding("disk", "fail", f"{gb:.1f} GB free in {there}", todo)
    return Finding("disk", "ok", f"{gb:.0f} GB free where models are kept")


def threads() -> Finding:
    """Cores and PyTorch's threads."""
    import torch

    cores, used = os.cpu_count() or 1, torch.get_num_threads()
    if used > cores:
        todo = f"set OMP_NUM_THREADS={cores} before Python starts: threads wait for each other"
        return Finding("threads", "note", f"{used} threads on {cores} cores", todo)
    return Finding("threads", "ok", f"{used} threads on {cores} cores")


def widgets() -> Finding:
    """Whether widgets can be made, and JupyterLab and its part of them are there."""
    import numpy as np

    from interp.results import Result
    from interp.widgets.training import training

    steps = {"step": [0, 1]}
    training(Result(np.array([0.0, 1.0]), ("step",), steps, "loss", "nats"))
    metadata.version("jupyterlab")
    metadata.version("jupyterlab-widgets")
    text = (
        "made here; whether your browser shows them: run the cell that interp doctor --cell prints"
    )
    return Finding("widgets", "ok", text)


CELL = """import numpy as np, interp
curve = 1 / (1 + np.exp(-np.arange(-10, 10)))
interp.widgets.training(
    interp.Result(curve, ("step",), {"step": list(range(20))}, "you should see a curve", "")
)  # drag the handle below it: if it moves, your browser is ready"""


def default_model() -> Finding:
    """Whether the default model is here, and its weights are as they were written; not loaded."""
    from interp.models import local

    row = next(r for r in local.table() if r["name"] == local.DEFAULT)
    if not row["cached"]:
        size = f"{row['download_mb']} MB"
        todo = f"interp models fetch {local.DEFAULT} ({size}), or install from the kit"
        return Finding("model", "fail", "the default model is not on this machine", todo)
    if broken := local.damaged(local.DEFAULT):
        todo = f"interp models fetch {local.DEFAULT} makes them anew"
        return Finding("model", "fail", f"damaged: {', '.join(broken)}", todo)
    text = "its files are here and whole; interp doctor --full loads it"
    return Finding("model", "ok", text)


def lesson() -> Finding:
    """Whether the model loads as a lesson loads it, and answers."""
    import torch

    import interp

    began = time.monotonic()
    model = interp.load()
    loaded = time.monotonic() - began
    began = time.monotonic()
    with torch.no_grad():
        logits = model(model.to_tokens("The capital of France is"))
    ran = time.monotonic() - began
    word = model.tokenizer.decode(int(logits[0, -1].argmax()))
    if "Paris" not in word:
        todo = "interp models check smollm2-135m says whether its files are damaged"
        return Finding("lesson", "fail", f"the capital of France is{word!r}", todo)
    text = f"the model loads in {loaded:.0f} s, answers in {ran:.1f} s"
    if ran > SLOW:
        todo = "plug the laptop in, close other programs; a lesson will take longer than it says"
        return Finding("lesson", "note", text, todo)
    return Finding("lesson", "ok", text)
