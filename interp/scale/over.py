"""A function at every point of some axes: kept in a folder, resumed, sharded, on any machine."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from interp import _store
from interp._errors import listed, short, unknown
from interp._interrupts import Interrupted
from interp._progress import duration, progress
from interp._warn import warn
from interp.results import Result
from interp.scale import identity
from interp.scale.join import assembled
from interp.scale.point_files import SCHEMA, Folder, Label, Made, Manifest, Record

CHANGED = ("refuse", "rerun", "keep")
SAID = 2.0  # seconds from which it is said beforehand how long the rest will take


def over(
    fn: Callable,
    axes: Mapping[str, Any],
    folder: str | Path = "runs",
    *,
    client: Any = None,
    shard: str | None = None,
    retry: bool = False,
    changed: str = "refuse",
    threads: int = 1,
    unit: str = "value",
) -> Result:
    """What a function returns at every point of some axes, as one result with an axis a parameter.

    Each finished point is kept in the folder at once, and is not run again by a later call, so that
    a call that was interrupted, or that has more labels on an axis, runs what is missing. What a
    point gives hangs on its labels alone: random generators start at a number made from them, and
    every point computes with equally many threads. So the plain loop, several processes, a cluster,
    shards and a resumed call give the same bits on the same kind of processor.

    Example:
        >>> def score(task, method, seed):
        ...     model = interp.scale.loaded("smollm2-135m")      # once in each process
        ...     prompts = getattr(interp.tasks, task)(model, n=16, seed=seed)
        ...     circuit = interp.Circuit.top(interp.discover(model, prompts, method), 500)
        ...     found = interp.evaluate(model, prompts.heldout(), circuit)
        ...     return found.sel(measure="faithfulness")
        >>> axes = {"task": ["ioi", "capitals"], "method": ["eap", "eap_ig"], "seed": range(5)}
        >>> interp.over(score, axes, folder="runs").plot()
        >>> interp.over(score, axes, folder="runs", client=4)     # four processes
        >>> from dask.distributed import Client                   # pip install "interp[scale]"
        >>> interp.over(score, axes, folder="runs", client=Client())
        >>> interp.over(score, axes, folder="runs", shard="3/8")  # then interp.scale.join("runs")

    Args:
        fn: Called by name, `fn(task="ioi", method="eap", seed=0)`. It returns a number, an array, a
            dictionary of numbers, or a Result. What it raises is kept for that point.
        axes: The labels of each axis: numbers or words. Of objects, such as tasks or functions, a
            dictionary from a label to each. A new label adds points; what is finished stays.
        folder: Where the points are kept.
        client: None runs here. A whole number runs on so many processes of this machine. Anything
            else with `submit` runs what it is given: a `dask.distributed.Client`, an executor of
            `concurrent.futures` or of submitit. A process runs one point at a time.
        shard: "3/8" runs every eighth point from the third on, in a job of its own. The line for
            SLURM is printed, and `interp.scale.join` puts all together.
        retry: Whether points that failed are run again; no others are.
        changed: What happens to finished points when the function, what it reads, an object, the
            version of a package or `threads` is another one than theirs: "refuse" says so, "rerun"
            runs them again, "keep" takes them as they are.
        threads: How many threads a point computes with. Sums differ in their last bits between
            numbers of threads, so it is the same everywhere.
        unit: The unit of numbers; a Result has its own.

    Returns:
        Values [each axis of `axes`, then the axes of what a point returns; "measure" for a
        dictionary, "axis 0" and so on for an array]. NaN where a point failed; the note and
        `metadata["failed"]` say why. With `shard`, NaN in the other shards. Examples stay where
        every point has equally many.

    Raises:
        ValueError: If the arguments do not fit the function, if the folder holds points of another
            function, or if points return results on different axes (`interp.scale.points` then has
            each by itself).
        RuntimeError: If the client's workers are gone, or lack a package.

    Cost:
        As the function takes. Beside it about 5 ms a point for its files; each process loads its
        model.
    """
    from interp.scale import workers

    grid = _axes(fn, axes)
    if changed not in CHANGED:
        raise unknown("choice for changed", changed, CHANGED, "changed='rerun'")
    if threads < 1:
        raise ValueError(f"threads={threads}: a point computes with one thread at least")
    part = _shard(shard)
    client = _client(client)
    read = identity.identity(fn)
    if read.models and client is not None:
        raise ValueError(_holds_model(fn, read.models))
    name = identity.name_of(fn)
    made = Made(
        function=read.digest, arguments={}, versions=identity.versions(), threads=int(threads)
    )
    files = Folder(Path(folder))
    manifest = _manifest(files, name, unit, grid, made, part, changed)
    # which points are finished, and by what
    records, todo = _finished(files, manifest, changed, retry)
    every = manifest.points()
    ours = set(range(len(every))) if part is None else set(range(part[0] - 1, len(every), part[1]))
    files.warn_of_damage()
    files.write_manifest(manifest)
    seconds = [record.seconds for record in records.values() if record.checksum is not None]
    records = {number: record for number, record in records.items() if number in ours}
    todo = [number for number in todo if number in ours]
    if part is not None:
        _say(_sbatch(name, part, len(ours), len(every), folder))
    # run the others
    jobs = [
        workers.Job(number, _arguments(grid, every[number]), _seed(every[number]))
        for number in todo
    ]
    settings = workers.Settings(name, unit, int(threads), _precision())
    several = client if isinstance(client, int) else 1
    _say_beforehand(name, seconds, len(todo), len(ours), several)
    running = _running(fn, jobs, settings, client, [*read.modules, *grid.modules])
    warned: dict[str, int] = {}
    try:
        what = f"{name}, {len(todo)} {'point' if len(todo) == 1 else 'points'}"
        with progress(None, what, total=len(todo)) as bar:
            for number, outcome in running:
                made_here = manifest.made_at(every[number])
                records[number] = _write(files, every[number], made_here, outcome)
                for message in records[number].warned:
                    warned[message] = warned.get(message, 0) + 1
                bar.update()
    except KeyboardInterrupt:
        raise _interrupted(manifest, records, files, len(ours), folder) from None
    except RuntimeError as error:
        raise RuntimeError(
            f"{error}. {len(records)} of {len(ours)} points are finished in {str(folder)!r}, and"
            " the same call goes on"
        ) from error
    finally:
        running.close()
        for message, times in warned.items():
            warn(f"{message} (in {times} of {len(todo)} points)" if len(todo) > 1 else message)
    return assembled(manifest, records, files, None if part is None else f"{part[0]}/{part[1]}")


# --- what was typed -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Grid:
    """The axes: labels, the values that they stand for, and hashes of those that are objects."""

    labels: dict[str, list[Label]]
    values: dict[str, list[Any]]
    objects: dict[str, list[str]]
    modules: tuple[str, ...]


def _axes(fn: Any, axes: Mapping[str, Any]) -> _Grid:
    """The axes as they were typed, held against the function's parameters."""
    shown = "interp.over(fn, {'task': ['ioi', 'capitals'], 'seed': range(5)})"
    if not axes:
        raise ValueError(f"interp.over without an axis has nothing to run over: {shown}")
    labels: dict[str, list[Label]] = {}
    values: dict[str, list[Any]] = {}
    objects: dict[str, list[str]] = {}
    modules: list[str] = []
    for axis, given in axes.items():
        if not isinstance(axis, str):
            raise ValueError(f"an axis is named by a parameter of the function, not {axis!r}")
        if isinstance(given, str | bytes) or not isinstance(given, Iterable):
            raise ValueError(
                f"the axis {axis!r} is a list of labels, got {short(given)}:"
                f" {{{axis!r}: [{short(given)}]}}"
            )
        pairs = list(given.items()) if isinstance(given, Mapping) else [(x, x) for x in given]
        if not pairs:
            raise ValueError(f"the axis {axis!r} has no labels: {shown}")
        labels[axis] = [_label(axis, label) for label, _ in pairs]
        values[axis] = [_plain(value) for _, value in pairs]
        twice = [x for k, x in enumerate(labels[axis]) if x in labels[axis][:k]]
        if twice:
            raise ValueError(f"the axis {axis!r} has the label {twice[0]!r} twice")
        if isinstance(given, Mapping):
            read = [identity.identity(value) for value in values[axis]]
            objects[axis] = [one.digest for one in read]
            modules += [module for one in read for module in one.modules]
    signature = identity.parameters(fn)
    if signature is not None:
        first = {axis: several[0] for axis, several in values.items()}
        try:
            signature.bind(**first)
        except TypeError as error:
            raise ValueError(
                f"{identity.name_of(fn)}{signature} does not take the axes {listed(axes)}"
                f" ({error}): name an axis for each parameter that has no default"
            ) from None
    return _Grid(labels, values, objects, tuple(dict.fromkeys(modules)))


def _label(axis: str, value: Any) -> Label:
    value = _plain(value)
    if value is None:
        return "None"
    if not isinstance(value, bool | int | float | str) or value != value:
        raise ValueError(
            f"a label of the axis {axis!r} is a number or a word, got {short(value)}: name it,"
            f" {{{axis!r}: {{'a name': {type(value).__name__}(...)}}}}"
        )
    return value


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _arguments(grid: _Grid, point: Mapping[str, Label]) -> dict[str, Any]:
    """What the function is given at a point."""
    found = {}
    for axis, label in point.items():
        found[axis] = next(
            value
            for one, value in zip(grid.labels[axis], grid.values[axis])
            if one == label and type(one) is type(label)
        )
    return found


def _seed(point: Mapping[str, Label]) -> int:
    """A number of 32 bits from a point's labels."""
    return int(_store.key(dict(point), 8), 16)


def _shard(shard: str | None) -> tuple[int, int] | None:
    if shard is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", shard)
    number, of = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= of:
        raise ValueError(
            f"shard={shard!r} is not a part of a whole: shard='1/8' is the first of eight, and"
            " shard='8/8' the last"
        )
    return number, of


def _client(client: Any) -> Any:
    if client is None or callable(getattr(client, "submit", None)):
        if getattr(client, "asynchronous", False) is True:
            raise ValueError("an asynchronous client cannot be waited for here: client=Client()")
        return client
    if isinstance(client, int) and not isinstance(client, bool) and client >= 1:
        return client
    raise ValueError(
        f"client={short(client)} runs nothing: client=4 is four processes, and a client with a"
        " method submit is taken too, such as client=dask.distributed.Client()"
    )


def _holds_model(fn: Any, models: Sequence[str]) -> str:
    name = identity.name_of(fn)
    return (
        f"{name} reads {models[0]!r}, a loaded model, which would travel to each worker with every"
        " point: load it inside of the function, once in each process, model ="
        " interp.scale.loaded('smollm2-135m'), or run here, client=None"
    )


def _precision() -> str:
    import torch

    return torch.get_float32_matmul_precision()


# --- what is there --------------------------------------------------------------------------------


def _manifest(
    files: Folder,
    name: str,
    unit: str,
    grid: _Grid,
    made: Made,
    part: tuple[int, int] | None,
    changed: str,
) -> Manifest:
    """What the folder should hold from now on."""
    before = files.manifest()
    if before is not None and list(before.axes) != list(grid.labels):
        raise ValueError(
            f"{str(files.path)!r} holds points of {before.name} over {listed(before.axes)}, and"
            f" this call is over {listed(grid.labels)}: give another folder="
        )
    if before is not None and before.name != name and changed == "refuse":
        raise ValueError(
            f"{str(files.path)!r} holds points of {before.name}, and this call is of {name}: give"
            " another folder=, or changed='keep' where it is the same function"
        )
    accepted = list(before.accepted) if before is not None and changed == "keep" else []
    return Manifest(
        schema_=SCHEMA,
        name=name,
        unit=unit,
        axes=grid.labels,
        objects=grid.objects,
        made=made,
        accepted=accepted,
        shards=None if part is None else part[1],
    )


def _finished(
    files: Folder, manifest: Manifest, changed: str, retry: bool
) -> tuple[dict[int, Record], list[int]]:
    """The records of the points that need not run, and the numbers of those that have to."""
    records: dict[int, Record] = {}
    todo, others, differences = [], 0, []
    for number, point in enumerate(manifest.points()):
        record = files.record(point)
        made = manifest.made_at(point)
        failed = record is not None and record.checksum is None
        if record is None or (failed and (retry or record.made != made)):
            todo.append(number)
        elif record.made == made:
            records[number] = record
        elif changed == "rerun":
            todo.append(number)
        else:
            records[number] = record
            differences += record.made.differs(made)
            others += 1
            if changed == "keep" and record.made.key() not in manifest.accepted:
                manifest.accepted.append(record.made.key())
    if others and changed == "refuse":
        of = len(records) + len(todo)
        raise ValueError(
            f"{others} of {of} points in {str(files.path)!r} were made"
            f" {listed(dict.fromkeys(differences), 3, 80)}: changed='rerun' runs them again,"
            " changed='keep' takes them as they are, and another folder= starts anew"
        )
    return records, todo


# --- running --------------------------------------------------------------------------------------


def _running(
    fn: Callable, jobs: Sequence[Any], settings: Any, client: Any, modules: Sequence[str]
) -> Any:
    """The outcomes as they come, from where they are to run."""
    from interp.scale import workers

    if client is None or not jobs:
        return workers.here(fn, jobs, settings)
    sent = workers.packed(fn, jobs, settings, list(dict.fromkeys(modules)))
    if isinstance(client, int):
        return workers.on_processes(client, sent, settings.threads)
    return workers.submitted(client, sent)


def _write(files: Folder, point: Mapping[str, Label], made: Made, outcome: Any) -> Record:
    """Keeps a point, and gives its record."""

    def record(error: str) -> Record:
        return Record(
            schema_=SCHEMA,
            point=dict(point),
            made=made,
            checksum=None,
            error=error,
            trace=outcome.trace,
            seconds=float(outcome.seconds),
            warned=list(outcome.warned),
            processor=outcome.processor,
        )

    try:
        return files.write(record(outcome.error), outcome.result)
    except ValueError as error:  # metadata that JSON cannot say
        return files.write(record(f"ValueError: {error}"), None)


def _interrupted(
    manifest: Manifest, records: Mapping[int, Record], files: Folder, of: int, folder: str | Path
) -> Interrupted:
    finished = f"{len(records)} of {of} points were finished"
    text = f"interp.over was stopped: {finished}, and the same call goes on from {str(folder)!r}."
    try:
        result = assembled(manifest, records, files) if records else None
    except ValueError:  # unequal axes, which the next call says
        result = None
    if result is not None:
        result.metadata["interrupted"] = finished
    return Interrupted(text, result)


# --- what is said ---------------------------------------------------------------------------------


def _say(text: str) -> None:
    if text and os.environ.get("INTERP_PROGRESS") != "0":
        print(text, file=sys.stderr, flush=True)


def _say_beforehand(name: str, seconds: list[float], todo: int, of: int, several: int) -> None:
    """What is finished, and how long the rest takes where that is known from it."""
    if not todo or todo == of and not seconds:
        return
    text = f"{name}: {of - todo} of {of} points are finished, {todo} to run"
    each = float(np.median(seconds)) if seconds else 0.0
    if each * todo / several >= SAID:
        text += f", about {duration(each * todo / several)}"
    _say(text)


def _sbatch(name: str, part: tuple[int, int], ours: int, of: int, folder: str | Path) -> str:
    """What this shard is and, outside of SLURM, the line that runs them all there."""
    number, parts = part
    text = f"{name}: shard {number}/{parts}, {ours} of {of} points"
    if "SLURM_JOB_ID" in os.environ:
        return text
    own, each = f"{number}/{parts}", f"$SLURM_ARRAY_TASK_ID/{parts}"
    script = sys.argv if sys.argv[0].endswith(".py") else ["script.py"]  # a notebook, or a prompt
    words = [each if word == own else shlex.quote(word) for word in script]
    command = " ".join(["python", *words, *([] if own in script else [each])])
    return (
        f"{text}\nall of them on SLURM:  sbatch --array=1-{parts} --wrap={shlex.quote(command)}\n"
        f"afterwards:            interp.scale.join({str(folder)!r})"
    )
