"""Running a study's source in a forked child whose models are already loaded: the tests' way, 0.1 s
instead of 10.

The child inherits torch, the library and the model's memory; nothing it does reaches the parent.
POSIX only, and the parent must keep torch to one thread before it forks: a pool of OpenMP threads
does not survive a fork.
"""

import ast
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from interp.studies.notebooks import exercises
from interp.studies.notebooks import source as notebook_source
from interp.studies.verdict_table import Table


@dataclass(frozen=True)
class Ran:
    """What a forked run did: its table (None without one), whether every cell ran, what it printed,
    how long.
    """

    ok: bool
    table: Table | None
    printed: str
    seconds: float


def run_source(
    source: str | Path,
    *,
    models: Mapping[str, object] | None = None,
    parameters: Mapping[str, object] | None = None,
    record: str = "",
    folder: Path | None = None,
    timeout: float = 1200,
) -> Ran:
    """Executes a percent source in a forked child, cell by cell, as Jupyter would; a failure is in
    `printed`.

    >>> run_source("notebooks/src/00-start-here.py", models={"smollm2-135m": model}, parameters={"FAST": True},
    ...     record="check").ok

    models: what `interp.load(name)` returns in the child, by name. record: INTERP_RECORD for the
    run ("check" fails on a changed verdict). folder: the notebooks folder with the records
    (default: the one above the source).
    """
    source = Path(source).resolve()
    nb = notebook_source.read_source(source)
    if parameters:  # a lesson has none
        nb = notebook_source.with_parameters(nb, dict(parameters))
    nb = exercises.solved(nb)
    cells = [c.source for c in nb.cells if c.cell_type == "code"]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="interp-study-") as tmp:
        rows, log = Path(tmp) / "rows.json", Path(tmp) / "log"
        env = {
            "INTERP_RECORD": record,
            "INTERP_ROWS": str(rows),
            "INTERP_NOTEBOOKS": str(folder or source.parent.parent),
            "MPLBACKEND": "agg",
            "TQDM_DISABLE": "1",
        }
        sys.stdout.flush(), sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _child(source.stem, cells, dict(models or {}), env, log, tmp)
        code = _wait(pid, timeout)
        printed = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        if code == -signal.SIGKILL:
            printed += f"\nkilled: out of time ({timeout:g} s) or out of memory"
        saved = json.loads(rows.read_text(encoding="utf-8")) if rows.exists() else None
    table = (
        Table(saved["name"], tuple(saved["rows"]), saved["model"], saved["fast"]) if saved else None
    )
    return Ran(code == 0, table, printed, time.monotonic() - began)


def _wait(pid: int, timeout: float) -> int:
    """The child's exit code; it is killed when the time is over."""
    end = time.monotonic() + timeout
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        time.sleep(0.02)


def _child(
    name: str, cells: list[str], models: dict, env: dict[str, str], log: Path, cwd: str
) -> None:
    """Runs the cells and ends the process; never returns, so that no test runs twice."""
    code = 1
    try:
        out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.dup2(out, 1), os.dup2(out, 2)
        sys.stdout = open(
            1, "w", encoding="utf-8", closefd=False, buffering=1
        )  # pytest has put its own here
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)
        os.environ.update(env)
        os.chdir(cwd)
        _one_thread()
        _preload(models)
        _run_cells(name, cells)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def _one_thread() -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].switch_backend("agg")


def _preload(models: dict[str, object]) -> None:
    """`interp.load(name)` returns the given model; every other name loads as always."""
    if not models:
        return
    import interp

    def load(x: object = "smollm2-135m", **options: object) -> object:
        return models[x] if isinstance(x, str) and x in models else real(x, **options)

    real = interp.load
    interp.load = sys.modules["interp.models"].load = load


def _run_cells(name: str, cells: list[str]) -> None:
    """Each cell as Jupyter runs it: the value of a last expression is drawn (so that drawing is
    tested too).
    """
    space = {"__name__": "__main__", "display": _draw}
    for n, source in enumerate(cells, 1):
        where = f"<{name}, code cell {n}>"
        tree = ast.parse(source, where)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, where, "exec"), space)
        if last is not None:
            _draw(eval(compile(ast.Expression(last.value), where, "eval"), space))
        if "matplotlib.pyplot" in sys.modules:
            plt = sys.modules["matplotlib.pyplot"]
            for figure in map(plt.figure, plt.get_fignums()):
                figure.canvas.draw()
            plt.close("all")


def _draw(*values: object) -> None:
    for value in values:
        if value is not None:
            draw = getattr(value, "_repr_html_", None)
            if callable(draw):
                draw()
            print(repr(value))
