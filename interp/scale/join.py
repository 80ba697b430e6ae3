"""Points that were finished, by one call or by many shards, as one Result."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from interp._errors import listed
from interp.results import Result
from interp.scale.point_files import Folder, Label, Manifest, Record, said

SHOWN = 3  # errors and gaps that are named in a sentence


def join(folder: str | Path = "runs") -> Result:
    """The Result of every point that `interp.over` finished in a folder, put together from all
    shards.

    Example:
        >>> interp.scale.join("runs").plot()           # after the last shard

    Args:
        folder: What `interp.over` was given.

    Returns:
        The same Result, bit for bit, that `interp.over` gives without shards: a first axis for each
        parameter, then the axes of the points' own results. Points that failed are NaN and named in
        its note.

    Raises:
        FileNotFoundError: If the folder holds no points.
        ValueError: If a point is missing, was made by another version of the function than the
            others, or returned something on other axes.
    """
    files, manifest = _opened(folder)
    records, missing, strangers = {}, [], []
    for number, point in enumerate(manifest.points()):
        record = files.record(point)
        if record is None:
            missing.append(number)
        else:
            records[number] = record
            strangers += _differences(manifest, record)
    files.warn_of_damage()
    if missing:
        raise ValueError(_gaps(manifest, missing, folder))
    if strangers:
        raise ValueError(
            f"{str(folder)!r} is made of unequal points: some were made {strangers[0]}. Call"
            " interp.over again with changed='rerun' to run those again, or changed='keep' to take"
            " them as they are"
        )
    return assembled(manifest, records, files)


def points(folder: str | Path = "runs") -> dict[tuple[Label, ...], Result]:
    """The Result of each finished point, by its labels; for points that return unequal axes.

    Example:
        >>> interp.scale.points("runs")["ioi", "eap", 0].top(3)

    Args:
        folder: What `interp.over` was given.

    Returns:
        A dictionary from the labels of a point, in the order of the axes, to its Result. Points
        that failed or were not run are not in it.

    Raises:
        FileNotFoundError: If the folder holds no points.
    """
    files, manifest = _opened(folder)
    found = {}
    for point in manifest.points():
        record = files.record(point)
        if record is not None and record.checksum is not None:
            found[tuple(point.values())] = files.result(point)
    files.warn_of_damage()
    return found


def _opened(folder: str | Path) -> tuple[Folder, Manifest]:
    files = Folder(Path(folder))
    manifest = files.manifest()
    if manifest is None:
        raise FileNotFoundError(
            f"there are no points in {str(folder)!r}: interp.over(fn, {{'seed': range(5)}},"
            f" folder={str(folder)!r}) writes them"
        )
    return files, manifest


def _differences(manifest: Manifest, record: Record) -> list[str]:
    wanted = manifest.made_at(record.point)
    if record.made == wanted or record.made.key() in manifest.accepted:
        return []
    return record.made.differs(wanted)


def _gaps(manifest: Manifest, missing: Sequence[int], folder: str | Path) -> str:
    """The sentence for points that are not there, with the shards that they belong to."""
    every = manifest.points()
    named = "; ".join(said(every[k]) for k in missing[:SHOWN])
    more = "; ..." if len(missing) > SHOWN else ""
    text = f"{str(folder)!r} lacks {len(missing)} of {len(every)} points ({named}{more}): "
    if manifest.shards is None:
        return text + "the same call of interp.over runs what is missing"
    parts = sorted({k % manifest.shards + 1 for k in missing})
    array = ",".join(map(str, parts))
    return text + (
        f"{'shard' if len(parts) == 1 else 'shards'} {listed(parts, 20)} of {manifest.shards}"
        f" did not finish; run them again (sbatch --array={array} ...): what is finished is not"
        " run twice"
    )


def assembled(
    manifest: Manifest, records: Mapping[int, Record], files: Folder, shard: str | None = None
) -> Result:
    """The Result of these points, NaN at the others and at those that failed.

    Raises:
        ValueError: If two points returned results on different axes.
    """
    every, records = manifest.points(), dict(sorted(records.items()))  # they end in any order
    finished: dict[int, Result] = {
        k: files.result(every[k]) for k, r in records.items() if r.checksum is not None
    }
    failed = {said(records[k].point): r.error for k, r in records.items() if r.checksum is None}
    shape = tuple(len(labels) for labels in manifest.axes.values())
    metadata = {**_common(list(finished.values())), "function": manifest.name}
    notes = [metadata["note"]] if metadata.get("note") else []
    if failed:
        metadata["failed"] = failed
        point, error = next(iter(failed.items()))
        notes.append(
            f"{len(failed)} of {len(every)} points failed and are NaN, such as {point}"
            f" ({listed([error], length=100)}); metadata['failed'] has all, and retry=True runs"
            " them again"
        )
    kinds = sorted({records[k].processor for k in finished})  # a killed worker says none
    if len(kinds) > 1:
        notes.append(f"points were computed on unlike processors ({listed(kinds)})")
    older = [r for r in records.values() if manifest.made_at(r.point) != r.made]
    if older:
        differ = listed(older[0].made.differs(manifest.made_at(older[0].point)), 3, 80)
        notes.append(f"{len(older)} of {len(every)} points were kept that were made {differ}")
    if shard is not None:
        metadata["shard"] = shard
        notes.append(f"shard {shard} alone: {len(records)} of {len(every)} points")
    if notes:
        metadata["note"] = "\nnote: ".join(notes)
    if not finished:
        axes = {k: list(v) for k, v in manifest.axes.items()}
        nothing = np.full(shape, np.nan)
        return Result(nothing, tuple(axes), axes, manifest.name, manifest.unit, metadata)
    first = finished[min(finished)]
    _check_axes(every, finished, manifest, files)
    values = np.full((len(every), *first.values.shape), np.nan)
    kept = [one.examples for one in finished.values()]
    alike = all(e is not None for e in kept) and len({e.shape for e in kept}) == 1
    examples = np.full((len(every), *kept[0].shape), np.nan) if alike else None
    for number, one in finished.items():
        values[number] = one.values
        if examples is not None:
            examples[number] = one.examples
    names = {one.name for one in finished.values()}
    return Result(
        values.reshape(*shape, *first.values.shape),
        (*manifest.axes, *first.dims),
        {**manifest.axes, **first.coords},
        _title(names, manifest.name, len(every)),
        first.unit,
        metadata,
        None if examples is None else examples.reshape(*shape, *kept[0].shape),
    )


def _title(names: set[str], function: str, n_points: int) -> str:
    """The name of the whole: that of its one point; of several, the function's, with what all of
    them are called.
    """
    if len(names) > 1 or function in names:
        return function
    name = min(names)
    return name if n_points == 1 else f"{function}, {n_points} points: {name}"


def _check_axes(
    every: Sequence[Mapping[str, Label]],
    finished: Mapping[int, Result],
    manifest: Manifest,
    files: Folder,
) -> None:
    """Nothing where all results have the same axes; otherwise a ValueError that says which not."""
    remedy = f"each is there by itself: interp.scale.points({str(files.path)!r})"
    start = min(finished)
    first = finished[start]
    twice = set(first.dims) & set(manifest.axes)
    if twice:
        raise ValueError(
            f"{manifest.name} returns results with an axis {min(twice)!r}, which is also a"
            f" parameter of interp.over: rename one of them; {remedy}"
        )
    for number, result in finished.items():
        if (result.dims, result.coords, result.unit) != (first.dims, first.coords, first.unit):
            raise ValueError(
                "points that return results on different axes make no one result:"
                f" {said(every[start])} has {_axes(first)}, and {said(every[number])} has"
                f" {_axes(result)}; {remedy}"
            )


def _axes(result: Result) -> str:
    axes = ", ".join(f"{dim}: {len(result.coords[dim])}" for dim in result.dims) or "no axes"
    return f"{axes} [{result.unit}]"


def _common(results: Sequence[Result]) -> dict[str, Any]:
    """What the metadata of all results agree on; a doubt about ratios stays where one has it."""
    if not results:
        return {}
    kept = {
        key: value
        for key, value in results[0].metadata.items()
        if all(repr(r.metadata.get(key)) == repr(value) for r in results[1:])
    }
    doubts = [r.metadata["unsteady"] for r in results if r.metadata.get("unsteady")]
    if any("denominator" in r.metadata for r in results) and "denominator" not in kept:
        doubts.append(
            "each point is a ratio with a denominator of its own, so that the whole has no"
            " intervals; interp.scale.points(folder) has each point with its own"
        )
    return kept | ({"unsteady": doubts[0]} if doubts else {})
