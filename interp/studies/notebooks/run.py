"""Executing a study in a clean kernel, cell by cell, with progress; the notebook and a
self-contained page come out.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from interp import _files
from interp._store import write_text
from interp.studies.notebooks import exercises, lint
from interp.studies.notebooks.page import write_html
from interp.studies.notebooks.paths import INSTALLED, PACKAGE, find, folder_of, home
from interp.studies.notebooks.source import need, normalise, read_source, text_of, with_parameters
from interp.studies.verdict_table import Table

DPI = 85


class StudyFailed(Exception):
    """A cell raised; the message says which, in which section, and what."""


def run(
    name: str,
    *,
    model: str | None = None,
    fast: bool = False,
    out: str | Path | None = None,
    progress: bool = True,
    timeout: int = 3600,
) -> Table | None:
    """The verdict table of a study, executed now; None for a tour.

    Its notebook, page and verdicts are written to `out`. The recorded verdicts are never touched.

    Example:
        >>> run("00-start-here", fast=True)      # interp-runs/00-start-here/00-start-here.html, ...

    Args:
        name: A study or a tour, or the file of a study of your own; that one runs in the folder of
            its file, so that it finds what lies beside it.
        model: Another model than the study's own (what `interp.load` takes).
        fast: Fewer prompts; every claim is still judged.
        out: Where to write; interp-runs/NAME if None.
        progress: Whether to show progress and print the table.
        timeout: Seconds that a cell may take.

    Raises:
        StudyFailed: If a cell raises or takes too long; the notebook up to there is written.

    Cost:
        What the study says of itself; seconds to minutes with fast=True.
    """
    source = find(name)
    stem = source.stem
    out = Path(out) if out else Path("interp-runs") / stem
    out.mkdir(parents=True, exist_ok=True)
    given = {"FAST": True} if fast else {}
    if model is not None:
        # the kernel runs in `out`: a path typed from here must still be found there
        given["MODEL"] = str(Path(model).resolve()) if Path(model).exists() else str(model)
    nb = exercises.solved(with_parameters(read_source(source), given))
    rows = (out / f"{stem}.verdicts.json").resolve()
    rows.unlink(missing_ok=True)  # an older run's rows must not pass for this one's
    env = {
        "INTERP_RECORD": "",
        "INTERP_ROWS": str(rows),
        "INTERP_NOTEBOOKS": str(folder_of(source)),
    }
    # a shipped study may lie inside an installed package, which is not written into
    cwd = out if folder_of(source) == home() else source.parent
    try:
        execute(nb, cwd=cwd, env=env, progress=progress, label=stem, timeout=timeout)
    finally:
        normalise(nb, source, **given)
        write_text(out / f"{stem}.ipynb", text_of(nb))
        write_html(nb, out / f"{stem}.html")
    if lint.is_tour(stem):
        if progress:
            print(f"written: {out / stem}.ipynb, {out / stem}.html")
        return None
    if not rows.exists():
        raise StudyFailed(
            f"{stem} ended without a verdict table: its last cell must call"
            " interp.studies.verdicts(...)"
        )
    table = load_table(rows)
    if progress:
        print(table)
        print(f"\nwritten: {out / stem}.ipynb, {out / stem}.html, {out / stem}.verdicts.json")
    return table


def load_table(path: Path) -> Table:
    """The verdict table that a run wrote; ValueError if the file is another one."""
    saved = _files.read_json(path, "a verdict table")
    parts = {"name": str, "rows": list, "model": str, "fast": bool}
    given = saved if isinstance(saved, dict) else {}
    wrong = [k for k, kind in parts.items() if not isinstance(given.get(k), kind)]
    if wrong or not all(isinstance(row, dict) for row in saved["rows"]):
        raise ValueError(
            f"{str(path)!r} is not a verdict table: {(wrong or ['rows'])[0]} is missing or of"
            " another type"
        )
    table = Table(saved["name"], tuple(saved["rows"]), saved["model"], saved["fast"])
    try:
        repr(table), table._repr_html_()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{str(path)!r} is not a verdict table: a row cannot be shown ({error!r:.100})"
        ) from None
    return table


def execute(
    nb: object,
    *,
    cwd: Path,
    env: dict[str, str] | None = None,
    progress: bool = False,
    label: str = "",
    timeout: int = 3600,
) -> None:
    """Runs the notebook's cells in a clean kernel (outputs go into `nb`); raises StudyFailed at the
    first error.
    """
    client = need("nbclient")
    need("ipykernel")
    with _clean_surroundings() as clean:
        bar = Bar(label, nb, show=progress)
        runner = _client_that_hears_interrupts(client)(
            nb,
            timeout=timeout,
            startup_timeout=300,
            kernel_name="python3",
            record_timing=False,
            store_widget_state=False,
            resources={"metadata": {"path": str(cwd)}},
            on_cell_start=bar.start,
        )
        try:
            runner.execute(env={**os.environ, **clean, **(env or {})})
        except client.exceptions.CellExecutionError as err:
            raise StudyFailed(bar.where() + f" raised {err.ename}: {err.evalue}") from None
        except client.exceptions.CellTimeoutError:
            raise StudyFailed(bar.where() + f" took more than {timeout} s") from None
        except (Exception, asyncio.CancelledError) as error:
            if runner.interrupted:  # nbclient ends in errors of its own once its kernel is gone
                raise KeyboardInterrupt from None
            if isinstance(error, client.exceptions.DeadKernelError):
                raise StudyFailed(
                    bar.where() + " ended the kernel: most likely the memory was not enough"
                ) from None
            raise
        finally:
            bar.close()


def _client_that_hears_interrupts(nbclient: Any) -> type:
    """nbclient's client, which Ctrl-C stops at any moment; `interrupted` says whether it did.

    nbclient's own handler takes the kernel away and leaves whoever waits for it waiting: a signal
    while the kernel starts would never end.
    """

    class Client(nbclient.NotebookClient):
        interrupted = False

        @asynccontextmanager
        async def async_setup_kernel(self, **options: Any) -> AsyncIterator[None]:
            loop, running = asyncio.get_event_loop(), asyncio.current_task()
            add = loop.add_signal_handler

            def stop() -> None:
                self.interrupted, self.shutdown_kernel = True, "immediate"
                running.cancel()

            def add_ours(number: int, callback: Callable, *args: Any) -> None:
                add(number, stop)

            loop.add_signal_handler = add_ours
            try:
                async with super().async_setup_kernel(**options):
                    try:
                        yield
                    finally:
                        if self.interrupted:  # those that still ask whether the kernel lives
                            others = asyncio.all_tasks() - {asyncio.current_task()}
                            for task in others:
                                task.cancel()
                            await asyncio.gather(*others, return_exceptions=True)
            finally:
                del loop.add_signal_handler
                if self.interrupted and self.km is not None:  # while the kernel was starting
                    await self._async_cleanup_kernel()

    return Client


@contextmanager
def _clean_surroundings() -> Iterator[dict[str, str]]:
    """Environment for a kernel that is this very Python, without the user's start-up files and
    matplotlib settings.
    """
    with tempfile.TemporaryDirectory(prefix="interp-kernel-") as tmp:
        spec = Path(tmp) / "kernels" / "python3"
        spec.mkdir(parents=True)
        # a kernel called python3 in the user's own folders may belong to another Python
        argv = [
            sys.executable,
            "-m",
            "ipykernel_launcher",
            "--HistoryManager.enabled=False",
            "--log-level=50",
            "-f",
            "{connection_file}",
        ]
        (spec / "kernel.json").write_text(
            json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"})
        )
        (Path(tmp) / "matplotlibrc").write_text(f"figure.dpi: {DPI}\n")
        before = os.environ.get("JUPYTER_PATH")
        os.environ["JUPYTER_PATH"] = tmp + (os.pathsep + before if before else "")
        here = [] if INSTALLED else [str(PACKAGE.parent)]  # a checkout that was never installed
        try:
            yield {
                "IPYTHONDIR": tmp,
                "MATPLOTLIBRC": str(Path(tmp) / "matplotlibrc"),
                "MPLBACKEND": "module://matplotlib_inline.backend_inline",
                "PYTHONHASHSEED": "0",
                "TQDM_DISABLE": "1",
                "PYDEVD_DISABLE_FILE_VALIDATION": "1",
                "PYTHONPATH": os.pathsep.join(
                    here + [p for p in [os.environ.get("PYTHONPATH")] if p]
                ),
            }
        finally:
            (
                os.environ.pop("JUPYTER_PATH")
                if before is None
                else os.environ.update(JUPYTER_PATH=before)
            )


class Bar:
    """Progress on stderr: `[#####.....] cell 7/20  0:41  2 Which heads move the name`. One line a
    section where no screen is.
    """

    def __init__(self, label: str, nb: object, show: bool) -> None:
        self.label, self.nb, self.show = label, nb, show
        self.total = sum(c.cell_type == "code" for c in nb.cells)
        self.began, self.at, self.section, self.width = time.monotonic(), 0, "", 0

    def start(self, cell: object = None, cell_index: int = 0, **_: object) -> None:
        """Called by nbclient before each cell."""
        if cell.cell_type != "code":
            return
        self.at += 1
        texts = [c.source for c in self.nb.cells[:cell_index] if c.cell_type == "markdown"]
        above = "\n".join(texts).splitlines()
        section = next(
            (line.lstrip("# ") for line in reversed(above) if line.startswith("#")), self.label
        )
        new, self.section = section != self.section, section
        if not self.show:
            return
        seconds = int(time.monotonic() - self.began)
        done = 20 * (self.at - 1) // max(self.total, 1)
        time_ = f"{seconds // 60}:{seconds % 60:02d}"
        bar = "#" * done + "." * (20 - done)
        line = f"{self.label} [{bar}] cell {self.at}/{self.total}  {time_}  {section}"[:110]
        if sys.stderr.isatty():
            print("\r" + line.ljust(self.width), end="", file=sys.stderr, flush=True)
            self.width = len(line)
        elif new:
            print(line, file=sys.stderr, flush=True)

    def where(self) -> str:
        """The cell and the section that run now, in words."""
        return f"{self.label}: cell {self.at} of {self.total}, section {self.section!r},"

    def close(self) -> None:
        """Takes the bar off the screen."""
        if self.show and sys.stderr.isatty():
            print("\r" + " " * self.width + "\r", end="", file=sys.stderr, flush=True)
