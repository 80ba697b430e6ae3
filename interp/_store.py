"""Files and caches: written completely or not at all, without pickle; one folder for every cache.

| question | function |
| --- | --- |
| write a file | `write_text`, `write_bytes`, `write_tensors`, `write_arrays`, `copy` |
| read one | `_files` |
| where cached things lie | `cache_folder` |
| under which name | `key` |
| one process at a time | `lock` |
"""

import errno
import hashlib
import io
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# --- files ----------------------------------------------------------------------------------------

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # no room on the disk, in a file, in a quota
CHECKSUM = "checksum"  # in the metadata of a safetensors file


def write_bytes(path: Path, content: bytes) -> Path:
    """The path of the file that was written, completely or not at all."""
    # beside the file itself, so that replacing it is one step
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if error.errno in FULL:
            raise OSError(
                error.errno,
                f"no room for {str(path)!r}: {_size(len(content))} were needed (free some,"
                " or give another folder; what was there before is still whole)",
            ) from error
        blocked = error.errno in (errno.EEXIST, errno.ENOTDIR)
        why = "what should be its folder is a file" if blocked else error.strerror
        raise OSError(
            error.errno, f"{str(path)!r} cannot be written ({why}): give another path"
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes > 100_000 else f"{n_bytes / 1e3:,.1f} kB"


def write_text(path: Path, text: str) -> Path:
    """The path of the UTF-8 text file that was written, completely or not at all."""
    return write_bytes(path, text.encode("utf-8"))


def copy(source: Path, target: Path) -> Path:
    """The path of the file that was copied, completely or not at all; its folder is made."""
    return write_bytes(Path(target), Path(source).read_bytes())


def write_tensors(
    path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> Path:
    """The path of the safetensors file that was written, completely or not at all.

    Its metadata carry a checksum of the tensors, which `interp._files.read_tensors` compares.
    """
    from safetensors.torch import save

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    said = dict(metadata or {})
    return write_bytes(path, save(whole, said | {CHECKSUM: checksum(whole, said)}))


def checksum(tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> str:
    """A sha256 over metadata, names, types, shapes and every byte of some tensors, on the CPU."""
    from safetensors.torch import save

    found = hashlib.sha256(json.dumps(dict(metadata or {}), sort_keys=True).encode())
    for name in sorted(tensors):
        found.update(save({name: tensors[name].detach().contiguous()}))  # with type and shape
    return found.hexdigest()


def npz_path(path: str | Path, what: str = "a result") -> Path:
    """The path, if it ends in .npz; otherwise a ValueError that shows the right name."""
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"{what} is saved as .npz, got {str(path)!r} (try {path.stem + '.npz'!r})")
    return path


def write_arrays(path: Path, head: Mapping[str, Any], arrays: Mapping[str, Any]) -> Path:
    """The path of the .npz file that holds these arrays and a head of plain JSON."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, header=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)
    return write_bytes(path, buffer.getvalue())


def existing(path: str | Path, remedy: str = "") -> Path:
    """The path, where there is a file; otherwise a FileNotFoundError with the nearest names there.

    Args:
        path: What was typed.
        remedy: What to do instead, as the end of a sentence.
    """
    import difflib

    path = Path(path)
    if path.exists():
        return path
    message = f"No such file: {str(path)!r}"
    if not path.parent.is_dir():
        message += f" (there is no folder {str(path.parent)!r} in {Path.cwd()})"
    else:
        there = [one.name for one in path.parent.iterdir()]
        near = difflib.get_close_matches(path.name, there, n=2, cutoff=0.6)
        message += (
            f": did you mean {' or '.join(repr(str(path.with_name(n))) for n in near)}?"
            if near
            else f" (looked in {path.parent.resolve()})"
        )
    raise FileNotFoundError(message + (f"; {remedy}" if remedy else ""))


# --- caches ---------------------------------------------------------------------------------------


def cache_folder(*names: str) -> Path:
    """A folder inside the cache: INTERP_CACHE if it is set, else the user's cache folder.

    Example:
        >>> cache_folder("toys", "induction-0a1b")
    """
    chosen = os.environ.get("INTERP_CACHE")
    if chosen:
        return Path(chosen).expanduser().joinpath(*names)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("interp")).joinpath(*names)


def key(of: Any, length: int = 16) -> str:
    """A short hash of plain JSON values: the name under which a cache keeps what they describe."""
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:length]


@contextmanager
def lock(path: Path, waiting: str = "") -> Iterator[None]:
    """Holds a lock file, so that one process at a time works on what stands beside it.

    Args:
        waiting: What is printed to stderr where another process has the lock ("": nothing).

    Raises:
        OSError: If the folder cannot be written to; it names INTERP_CACHE.
    """
    from filelock import FileLock, Timeout

    held = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire(timeout=0.5)
        except Timeout:
            if waiting:
                print(waiting, file=sys.stderr)
            held.acquire()
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write to {str(path.parent)!r} ({error.strerror}): give another folder, or"
            " name one of your own in INTERP_CACHE",
        ) from error
    try:
        yield
    finally:
        held.release()
