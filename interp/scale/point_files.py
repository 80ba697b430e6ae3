"""What a folder of points holds: one file that says which points there are, and two for each.

`over.json` has the axes, and what the points were made by. `points/NAME.npz` is a point's Result,
as `Result.save` writes it, and `points/NAME.json` its record, written last: a point without a
record is not finished.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from interp import _files, _store
from interp._warn import warn
from interp.results import Result

SCHEMA = 1
MANIFEST, POINTS = "over.json", "points"
Label = bool | int | float | str


class Made(BaseModel):
    """What a point's numbers hang on: the function, what objects it was given, the versions of the
    packages, and the number of threads.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    function: str
    arguments: dict[str, str]
    versions: dict[str, str]
    threads: int

    def key(self) -> str:
        """A short hash of all of it."""
        return _store.key(self.model_dump())

    def differs(self, now: "Made") -> list[str]:
        """What is different from `now`, in words."""
        words = []
        if self.function != now.function:
            words.append("by another version of the function")
        others = [k for k in now.arguments if self.arguments.get(k) != now.arguments[k]]
        if others:
            words.append(f"with another object as {', '.join(others)}")
        for package in sorted(self.versions.keys() | now.versions.keys()):
            then, today = self.versions.get(package), now.versions.get(package)
            if then != today:
                words.append(f"with {package} {then or 'missing'} (now {today or 'missing'})")
        if self.threads != now.threads:
            words.append(f"with threads={self.threads} (now {now.threads})")
        return words


class Record(BaseModel):
    """What is known of a point that was run.

    Attributes:
        schema_: The version of this format.
        point: Its label on each axis.
        made: What its numbers hang on.
        checksum: The sha256 of its Result's file; None where it failed.
        error, trace: What the function raised; empty where it did not.
        seconds: How long it took.
        warned: What was warned of while it ran.
        processor: Which instructions PyTorch used.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    schema_: int
    point: dict[str, Label]
    made: Made
    checksum: str | None
    error: str
    trace: str
    seconds: float
    warned: list[str]
    processor: str


class Manifest(BaseModel):
    """Which points there are, and what they should have been made by.

    Attributes:
        schema_: The version of this format.
        name: What the function is called.
        unit: The unit of what has none of its own.
        axes: The labels of each axis, in order.
        objects: For each axis of objects the hash of each, beside its label.
        made: What every point hangs on, without the objects.
        accepted: Keys of `Made` that were kept on demand.
        shards: Into how many parts the points were dealt, where they were.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    schema_: int
    name: str
    unit: str
    axes: dict[str, list[Label]]
    objects: dict[str, list[str]]
    made: Made
    accepted: list[str]
    shards: int | None

    def points(self) -> list[dict[str, Label]]:
        """The labels of every point, in the order in which they run."""
        return [dict(zip(self.axes, labels)) for labels in product(*self.axes.values())]

    def made_at(self, point: Mapping[str, Label]) -> Made:
        """What the point at these labels should have been made by."""
        arguments = {
            axis: digests[_place(self.axes[axis], point[axis])]
            for axis, digests in self.objects.items()
        }
        return self.made.model_copy(update={"arguments": arguments})


def _place(labels: list[Label], label: Label) -> int:
    return next(k for k, one in enumerate(labels) if one == label and type(one) is type(label))


def said(point: Mapping[str, Label]) -> str:
    """A point as it would be typed: "task='ioi', seed=3"."""
    return ", ".join(f"{axis}={label!r}" for axis, label in point.items())


def stem(point: Mapping[str, Label]) -> str:
    """The name of a point's files: its labels, and a hash that tells them apart."""
    words = [re.sub(r"[^A-Za-z0-9.]+", "_", str(label)).strip(".") for label in point.values()]
    return f"{'-'.join(words)[:60]}-{_store.key(dict(point), 10)}"


@dataclass
class Folder:
    """The files of one call of `over`.

    Attributes:
        path: The folder.
        damaged: Points whose files are not what was written, which count as not run.
    """

    path: Path
    damaged: list[str] = field(default_factory=list)

    def manifest(self) -> Manifest | None:
        """What is recorded of the points, or None where nothing is.

        Raises:
            ValueError: If the file is another one, or damaged.
        """
        file = self.path / MANIFEST
        if not file.exists():
            return None
        what = "a folder of points that interp.over wrote"
        return _files.typed(_files.read_json(file, what), Manifest, file, what)

    def write_manifest(self, manifest: Manifest) -> None:
        """Writes it, where it says something new."""
        if self.manifest() != manifest:
            _store.write_text(self.path / MANIFEST, _json(manifest))

    def record(self, point: Mapping[str, Label]) -> Record | None:
        """What is known of a point; None where it was not finished, or its files are damaged."""
        file = self._file(point, ".json")
        if not file.exists():
            return None
        try:
            found = _files.typed(_files.read_json(file), Record, file, "the record of a point")
            values = self._file(point, ".npz")
            if found.schema_ != SCHEMA or found.point != dict(point):
                raise ValueError(f"{str(file)!r} is the record of another point")
            if found.checksum is not None and _files.sha256(values) != found.checksum:
                raise ValueError(f"{str(values)!r} is not what was written")
        except (ValueError, OSError) as error:
            self.damaged.append(f"{said(point)}: {error}")
            return None
        return found

    def result(self, point: Mapping[str, Label]) -> Result:
        """The Result of a finished point."""
        return Result.load(self._file(point, ".npz"))

    def write(self, record: Record, result: Result | None) -> Record:
        """The record of a point, once it is written: its Result first, then the record."""
        if result is not None:
            path = result.save(self._file(record.point, ".npz"))
            record = record.model_copy(update={"checksum": _files.sha256(path)})
        _store.write_text(self._file(record.point, ".json"), _json(record))
        return record

    def warn_of_damage(self) -> None:
        """One warning for all damaged points, and none twice."""
        if self.damaged:
            more = f" (and {len(self.damaged) - 1} more)" if len(self.damaged) > 1 else ""
            warn(f"a finished point is damaged and counts as not run: {self.damaged[0]}{more}")
            self.damaged.clear()

    def _file(self, point: Mapping[str, Label], suffix: str) -> Path:
        return self.path / POINTS / (stem(point) + suffix)


def _json(form: BaseModel) -> str:
    return json.dumps(form.model_dump(), indent=1) + "\n"
