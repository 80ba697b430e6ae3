"""Arrays on disk: written at once or not at all, and without pickle."""

import io
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def npz(path: str | Path, what: str = "a result") -> Path:
    """The path, when it ends in .npz."""
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"{what} is saved as .npz, got {str(path)!r} (try {path.stem + '.npz'!r})")
    return path


def write(path: Path, head: Mapping[str, Any], arrays: Mapping[str, Any]) -> Path:
    """The path of the .npz file these arrays were written to, with a head of plain JSON."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, header=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)
    return _replace(path, buffer.getvalue())


def read(path: str | Path) -> tuple[Any, dict[str, Any]]:
    """The head and the arrays that `write` wrote; any error of numpy's or of the file system as it
    is.
    """
    import numpy as np

    with np.load(path, allow_pickle=False) as file:
        return json.loads(bytes(file["header"])), {k: file[k] for k in file.files if k != "header"}


def write_text(path: Path, text: str) -> Path:
    """The path of the text file that was written, at once or not at all."""
    return write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> Path:
    """The path of the file that was written, at once or not at all."""
    return _replace(path, content)


def _replace(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(
        f".{path.name}.{secrets.token_hex(4)}.part"
    )  # beside it, so that replacing is one step
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path
