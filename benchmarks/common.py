"""What every benchmark here shares: two ways side by side, interleaved, with the machine they ran
on.
"""

import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """How many times faster: the median over interleaved rounds, with the smallest and the
    largest.
    """

    theirs: float  # seconds, median
    ours: float
    rounds: tuple[float, ...]

    def __str__(self) -> str:
        return (
            f"{statistics.median(self.rounds):.0f}x ({min(self.rounds):.0f}-{max(self.rounds):.0f})"
        )


def interleaved(theirs: Callable[[], float], ours: Callable[[], float], rounds: int) -> Ratio:
    """Both ways in turn, `rounds` times: each callable gives the seconds of one whole job.

    In turn, so that whatever else the machine is doing meets both alike; a ratio is taken within a
    round.
    """
    pairs = [(theirs(), ours()) for _ in range(rounds)]
    a, b = zip(*pairs)
    return Ratio(statistics.median(a), statistics.median(b), tuple(x / y for x, y in pairs))


def seconds(job: Callable[[], Any]) -> tuple[float, Any]:
    """How long a job takes on the wall clock, and what it gives."""
    began = time.perf_counter()
    value = job()
    return time.perf_counter() - began, value


def machine() -> str:
    """The machine and the versions a table was measured with."""
    import torch

    cpu = next(
        (
            line.split(":")[1].strip()
            for line in _lines("/proc/cpuinfo")
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = next(
        (
            int(line.split()[1]) / 2**20
            for line in _lines("/proc/meminfo")
            if line.startswith("MemTotal")
        ),
        float("nan"),
    )
    versions = ", ".join(f"{p} {version(p)}" for p in ("torch", "transformer-lens", "transformers"))
    return (
        f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GB, no GPU used; {torch.get_num_threads()}"
        f" thread(s); Python {platform.python_version()}, {versions}"
    )


def peak_rate() -> float:
    """GFLOP/s of a large float32 matrix product here: what no sweep can exceed."""
    import torch

    a, b = torch.randn(2048, 576), torch.randn(576, 1536)
    best = min(seconds(lambda: a @ b)[0] for _ in range(20))
    return 2 * 2048 * 576 * 1536 / best / 1e9


def work(job: Callable[[], Any]) -> float:
    """GFLOP of a job's matrix products."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counted:
        job()
    return counted.get_total_flops() / 1e9


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def peak() -> float:
    """The most memory this process has held so far, in GB."""
    held = [line for line in _lines("/proc/self/status") if line.startswith("VmHWM")]
    if held:  # ru_maxrss would count what the process that started this one had held
        return int(held[0].split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def peak_of(script: str, *arguments: str) -> float:
    """The GB another process of this script says it needed: memory is only clean in a fresh
    process.
    """
    out = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=True
    )
    return float(out.stdout.split()[-1])


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def write(readme: Path, name: str, text: str) -> None:
    """Puts a text between the markers <!-- name --> of a README."""
    whole = readme.read_text()
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if start not in whole or end not in whole:
        raise ValueError(f"{readme.name} has no {start} ... {end} to put the results between")
    before, after = whole.split(start)[0], whole.split(end)[1]
    readme.write_text(f"{before}{start}\n{text}\n{end}{after}")
