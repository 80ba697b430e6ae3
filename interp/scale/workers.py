"""How a point is run: here, on processes of this machine, or by anything that has `submit`."""

import random
import secrets
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, as_completed
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

import cloudpickle
import numpy as np
import torch

from interp._errors import short
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._progress import named, report_to
from interp.results import Result

POLL = (0.02, 0.5)  # seconds between two looks at what was submitted: at first, and at most
BREAKS = 2  # how often a worker may die before the points at hand are run one at a time
DIED = ("KilledWorker",)  # what dask.distributed raises for a point that its workers died of

_one_at_a_time = threading.RLock()  # random generators and thread counts belong to the process


@dataclass(frozen=True)
class Settings:
    """What is the same for every point.

    Attributes:
        name: What results are called whose value has no name of its own.
        unit: Their unit.
        threads: How many threads PyTorch computes with.
        precision: PyTorch's precision of float32 products.
    """

    name: str
    unit: str
    threads: int
    precision: str


@dataclass(frozen=True)
class Job:
    """A point to run.

    Attributes:
        number: Its place among all points.
        arguments: What the function is given.
        seed: Where random generators start: a number from the point's labels, so that its draws do
            not hang on what ran before it.
    """

    number: int
    arguments: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What became of a point: a result, or an error; and what was warned of."""

    result: Result | None
    error: str = ""
    trace: str = ""
    seconds: float = 0.0
    warned: tuple[str, ...] = ()
    processor: str = ""


# --- one point ------------------------------------------------------------------------------------


def run_point(fn: Callable, job: Job, settings: Settings) -> Outcome:
    """What a function gives at a point."""
    began = time.perf_counter()
    with _one_at_a_time, warnings.catch_warnings(record=True) as caught, torch_defaults():
        warnings.simplefilter("always")
        with _own_random_numbers(job.seed), _threads(settings):
            try:
                value, outcome = fn(**job.arguments), Outcome(None)
            except Exception as error:  # anything that somebody's function raises
                outcome = _failed(error)
            else:
                try:
                    outcome = Outcome(as_result(value, settings))
                except (ValueError, TypeError) as error:
                    outcome = _failed(error)
    quiet = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
    said = [str(one.message) for one in caught if not issubclass(one.category, quiet)]
    took = time.perf_counter() - began
    kind = torch.backends.cpu.get_cpu_capability()
    return replace(outcome, seconds=took, warned=tuple(dict.fromkeys(said)), processor=kind)


def _failed(error: BaseException) -> Outcome:
    trace = "".join(traceback.format_exception(error))
    words = " ".join(str(error).split())
    return Outcome(None, f"{type(error).__name__}: {words}" if words else repr(error), trace)


def as_result(value: Any, settings: Settings) -> Result:
    """The Result that a point's value is, or makes."""
    if isinstance(value, Result):
        return value
    plain = dict(name=settings.name, unit=settings.unit)
    if isinstance(value, Mapping):
        bad = [k for k, v in value.items() if not isinstance(k, str) or _number(v) is None]
        if bad or not value:
            what = f"{short(bad[0])}: {short(value[bad[0]])}" if bad else "an empty one"
            raise ValueError(
                f"a dictionary holds a number for each name, got {what}:"
                " return {'accuracy': 0.9, 'loss': 1.2}"
            )
        numbers = [_number(v) for v in value.values()]
        return Result(np.array(numbers), ("measure",), {"measure": list(value)}, **plain)
    if isinstance(value, torch.Tensor):
        value = to_numpy(value)
    array = value if isinstance(value, np.ndarray) else None
    if array is None and isinstance(value, list | tuple):
        with suppress(ValueError):  # lists of several lengths
            array = np.asarray(value)
    number = _number(value) if array is None else None
    if number is not None:
        return Result(number, (), {}, **plain)
    if array is None or array.dtype.kind not in "biuf":
        raise ValueError(
            "a point returns a number, an array of numbers, a dictionary of numbers or a Result,"
            f" got {short(value)}"
        )
    if array.dtype.kind in "iu" and array.size and np.abs(array.astype(float)).max() > 2**53:
        raise ValueError("whole numbers above 2**53 have no exact value here: return floats")
    dims = tuple(f"axis {k}" for k in range(array.ndim))
    coords = {dim: list(range(size)) for dim, size in zip(dims, array.shape)}
    return Result(array, dims, coords, **plain)


def _number(value: Any) -> float | None:
    if isinstance(value, bool | int | float | np.bool_ | np.integer | np.floating):
        exact = float(value)
        return exact if exact == value or exact != exact else None
    if isinstance(value, torch.Tensor | np.ndarray) and value.ndim == 0:
        return _number(value.item())
    return None


@contextmanager
def _own_random_numbers(seed: int) -> Iterator[None]:
    """Inside, Python's, NumPy's and PyTorch's random generators start at a seed; afterwards they
    are where they were.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


@contextmanager
def _threads(settings: Settings) -> Iterator[None]:
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(settings.threads)
    torch.set_float32_matmul_precision(settings.precision)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])


# --- many -----------------------------------------------------------------------------------------

Finished = Iterator[tuple[int, Outcome]]  # the number of a point, and what became of it


def here(fn: Callable, jobs: Sequence[Job], settings: Settings) -> Finished:
    """The outcome of each point, one after another in this process."""
    for done, job in enumerate(jobs):
        with named(f"point {done + 1} of {len(jobs)}"):
            outcome = run_point(fn, job, settings)
        yield job.number, outcome


def remote(payload: bytes, token: str) -> Outcome:
    """What a worker runs: one point, without bars.

    Args:
        payload: From `packed`.
        token: Another one each time, so that no scheduler takes an old answer for it.
    """
    fn, job, settings = cloudpickle.loads(payload)
    with report_to(_nobody):
        return run_point(fn, job, settings)


def _nobody(what: str, done: int, of: int | None) -> None:
    """Hears of progress, and says nothing."""


@contextmanager
def by_value(modules: Sequence[str]) -> Iterator[None]:
    """Inside, functions of these modules travel with their code: a worker may lack the file."""
    registered = []
    try:
        for name in modules:
            cloudpickle.register_pickle_by_value(sys.modules[name])
            registered.append(sys.modules[name])
        yield
    finally:
        for module in registered:
            with suppress(ValueError):
                cloudpickle.unregister_pickle_by_value(module)


def packed(
    fn: Callable, jobs: Sequence[Job], settings: Settings, modules: Sequence[str]
) -> list[tuple[int, bytes]]:
    """Each point with its function, as bytes that any process can read that has the packages."""
    with by_value(modules):
        try:
            return [(job.number, cloudpickle.dumps((fn, job, settings))) for job in jobs]
        except Exception as error:  # whatever an object's own method raises
            raise ValueError(
                f"{settings.name} or one of its arguments cannot be sent to another process"
                f" ({type(error).__name__}: {short(str(error), 120)}): make it inside of the"
                " function, or run here, client=None"
            ) from None


def on_processes(n: int, jobs: Sequence[tuple[int, bytes]], threads: int) -> Finished:
    """The outcome of each point as it is finished, on n processes of this machine.

    When a process dies (out of memory, killed), all that was not finished is run again on new ones.
    After the second time the points at hand run alone, so that the one that its process dies of is
    known, and becomes that point's error.
    """
    todo, alone, breaks = dict(jobs), [], 0
    while todo:
        batch = {alone[0]: todo[alone[0]]} if alone else dict(todo)
        pool = _pool(min(n, len(batch)), threads)
        try:
            futures = {
                pool.submit(remote, payload, secrets.token_hex(4)): number
                for number, payload in batch.items()
            }
            for future in as_completed(futures):
                number = futures[future]
                try:
                    outcome = _answer(future)
                except BrokenExecutor:
                    if not alone:
                        breaks += 1
                        break
                    outcome = Outcome(None, "WorkerDied: its process ended (out of memory?)")
                del todo[number]
                yield number, outcome
        finally:
            pool.shutdown(wait=True, kill_workers=True)
        alone = [number for number in alone[1:] if number in todo]
        if breaks >= BREAKS:
            alone, breaks = list(todo)[: 2 * n + 2], 0


def _pool(n: int, threads: int) -> Any:
    # joblib's processes: they need no `if __name__ == "__main__"` in a script
    from joblib.externals.loky.backend.context import get_context
    from joblib.externals.loky.process_executor import ProcessPoolExecutor

    env = {"OMP_NUM_THREADS": str(threads), "INTERP_PROGRESS": "0"}
    return ProcessPoolExecutor(max_workers=n, context=get_context("loky"), env=env)


def submitted(client: Any, jobs: Sequence[tuple[int, bytes]]) -> Finished:
    """The outcome of each point as it is finished, by a client with `submit`.

    Raises:
        RuntimeError: If the workers cannot run points at all, or are gone.
    """
    futures: dict[int, Any] = {}
    try:
        with getattr(client, "batch", nullcontext)():  # submitit: one array instead of many jobs
            for number, payload in jobs:
                futures[number] = client.submit(remote, payload, secrets.token_hex(4))
        wait = POLL[0]
        while futures:
            ready = [number for number, future in futures.items() if _done(future)]
            wait = POLL[0] if ready else min(POLL[1], 1.5 * wait)
            for number in ready:
                try:
                    outcome = _answer(futures.pop(number))
                except BrokenExecutor as error:
                    raise RuntimeError(f"the client's workers ended ({error})") from error
                yield number, outcome
            if futures:
                time.sleep(wait)
    finally:
        for future in futures.values():
            with suppress(Exception):  # a client that is gone
                future.cancel()


def _done(future: Any) -> bool:
    return not hasattr(future, "done") or bool(future.done())


def _answer(future: Any) -> Outcome:
    try:
        return future.result()
    except BrokenExecutor:
        raise
    except Exception as error:  # each client has its own
        kind, words = type(error).__name__, short(" ".join(str(error).split()), 200)
        if kind in DIED:
            return Outcome(None, f"WorkerDied: {kind}: its workers ended (out of memory?)")
        raise RuntimeError(
            f"the workers could not run the points ({kind}: {words}): they need the same packages"
            " as this process, and have to stay reachable"
        ) from error
