"""Files that come from elsewhere: looked at before they are believed.

A reader asks for the size before it allocates, for the fields before it uses them, and answers with
one sentence that names the file and the field. No pickle is run.

| question | function |
| --- | --- |
| what stands in a JSON file | `read_json` |
| has it the fields and types that its format says | `typed` |
| what stands in a YAML file | `read_yaml` |
| named arrays (.npz) | `read_arrays`, those that others wrote `read_plain_arrays` |
| tensors (.safetensors), with the checksum that `_store.write_tensors` put in | `read_tensors` |
| tensors in a .pt file, without running it | `read_pt` |
| is a file still what was written | `word_sum` (quick), `sha256` (whole) |
"""

import hashlib
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from interp import _store
from interp._errors import listed, short

T = TypeVar("T")
MB = 1_000_000
MOST_JSON = 200 * MB  # bytes of text; a circuit of 70,651 edges has 4 MB
MOST_UNPACKED = 4_000 * MB  # bytes of all arrays of a file after unpacking
MOST_HEAD = 50 * MB  # bytes of the JSON that says what the arrays are
MOST_RATIO = 200  # unpacked to packed, above 200 MB; only an array of one number packs better


def regular(path: str | Path) -> Path:
    """The path, unless it is a pipe or a device, which may never end.

    Raises:
        ValueError: If it is one.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError(f"{str(path)!r} is a pipe or a device, not a file: save it as one first")
    return path


def read_json(path: str | Path, what: str = "", *, most: int = MOST_JSON) -> Any:
    """What stands in a JSON file.

    Args:
        path: The file.
        what: What it should be, for the sentence: "a circuit saved by interp".
        most: The most bytes that are read.

    Raises:
        ValueError: If it is no JSON, was cut short, or is too large or too deep.
        FileNotFoundError: If there is no such file.
    """
    path = regular(path)
    expected = f", so it is not {what}" if what else ""
    try:
        size = path.stat().st_size
        if size > most:
            raise ValueError(
                f"{size / MB:,.0f} MB of text are more than the {most / MB:,.0f} MB read"
            )
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file: {str(path)!r}") from None
    except IsADirectoryError:
        raise ValueError(f"{str(path)!r} is a folder, not a file") from None
    except UnicodeDecodeError:
        raise ValueError(f"{str(path)!r} is not text{expected}") from None
    except RecursionError:
        raise ValueError(f"{str(path)!r} nests too deeply{expected}") from None
    except ValueError as error:  # json's own, and integers of more than 4,300 digits
        raise ValueError(
            f"{str(path)!r} is not JSON, or was cut short ({error}){expected}"
        ) from None


def read_yaml(path: str | Path, *, most: int = MB) -> Any:
    """What stands in a YAML file; only plain values are made.

    Raises:
        ValueError: If it is no YAML, or is too large.
        FileNotFoundError: If there is no such file.
    """
    import yaml

    path = regular(path)
    try:
        if path.stat().st_size > most:
            raise ValueError(f"more than {most / MB:.0f} MB")
        text = path.read_text(encoding="utf-8")
        if any(isinstance(e, yaml.AliasEvent) for e in yaml.parse(text, yaml.SafeLoader)):
            raise ValueError("it refers to itself")  # a few lines could stand for gigabytes
        return yaml.safe_load(text)
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file: {str(path)!r}") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{str(path)!r} is not YAML ({short_reason(error)})") from None


def typed(content: Any, form: type[T], path: str | Path, what: str) -> T:
    """The content as an instance of `form`, a pydantic model; a field that does not fit is named.

    Example:
        >>> typed(read_json(path), CircuitFile, path, "a circuit saved by interp")

    Raises:
        ValueError: If a field is missing, or of another type, with the file, the field and what
            stands there.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(form).validate_python(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        parts = [str(part) for part in first["loc"]]
        if len(parts) > 1 and parts[-1] in ("str", "float", "int", "constrained-float"):
            parts.pop()  # which of several types was tried first
        where = ".".join(parts)
        if first["type"] == "missing":
            problem = f"{short(where)} is missing"
        else:
            said = first["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
            problem = f"{short(where, 80) or 'it'} {said}, and is {short(first['input'])}"
        raise ValueError(f"{str(path)!r} is not {what}: {problem}") from None


# the fields by which a JSON file of ours is known, and what reads it
KINDS = {
    "interp.features.AttributionGraph.load": ("nodes", "edges", "weights", "tokens"),
    "interp.features.FeatureCircuit.load": ("nodes", "edges", "sites"),
    "interp.Circuit.load": ("graph", "edges", "convention"),
}


def saved_by(content: Any) -> str:
    """What reads a JSON file of ours, as the end of a sentence; empty for any other content."""
    fields = content.keys() if isinstance(content, Mapping) else ()
    loads = [load for load, named in KINDS.items() if set(named) <= set(fields)]
    return f"{loads[0]} reads it" if loads else ""


# the words at the head of a .safetensors file of ours, and what reads it
HEADS = {
    "lens": "interp.methods.lenses.Lens.load",
    "subspace": "interp.methods.patching.Subspace.load",
}


def headed(head: Mapping[str, str]) -> str:
    """What reads a .safetensors file of ours, as the end of a sentence; empty for any other."""
    loads = [load for word, load in HEADS.items() if word in head]
    return f": {loads[0]} reads it" if loads else ""


def check_kind(content: Any, load: str, path: str | Path, what: str) -> None:
    """Raises ValueError where a file is another kind of ours, with the function that reads it."""
    says = saved_by(content)
    if says and not says.startswith(load):
        raise ValueError(f"{str(path)!r} is not {what}: {says}")


def check_zip(path: str | Path, most: int | None = None) -> None:
    """Raises ValueError if a zip file (.npz, .pt) would unpack to far more than it holds.

    Args:
        path: The file; one that is no zip is left to its own reader.
        most: The most bytes unpacked.
    """
    most = MOST_UNPACKED if most is None else most
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as packed:
        entries = packed.infolist()
    total = sum(entry.file_size for entry in entries)
    head = next((entry.file_size for entry in entries if entry.filename == "header.npy"), 0)
    if head > MOST_HEAD:
        raise ValueError(f"its head claims {head / MB:,.0f} MB (at most {MOST_HEAD / MB:.0f})")
    size = Path(path).stat().st_size
    if total > most or (total > 200 * MB and total > MOST_RATIO * size):
        raise ValueError(
            f"it has {size / MB:,.1f} MB and would unpack to {total / MB:,.0f} MB, which no file of"
            " measured numbers does"
        )


def read_arrays(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The head and the arrays that `_store.write_arrays` wrote.

    Raises:
        ValueError: If the file is no .npz of ours, damaged, or unpacks to far more than it holds.
        FileNotFoundError: If there is no such file.
    """
    import numpy as np

    regular(path)
    try:
        check_zip(path)
        if Path(path).is_file() and not zipfile.is_zipfile(path):
            raise ValueError("it is no whole .npz file")
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array without a head")
            arrays = {k: file[k] for k in file.files}
        raw = arrays.pop("header", None)
        if raw is None or raw.dtype != np.uint8 or raw.ndim != 1:
            raise ValueError("it has no head")
        head = json.loads(bytes(raw))
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file: {str(path)!r}") from None
    except (RecursionError, MemoryError) as error:
        raise ValueError(f"its head is no plain JSON: {type(error).__name__}") from None
    except Exception as error:  # of many kinds: zipfile's, zlib's, numpy's
        raise ValueError(short_reason(error)) from None
    if not isinstance(head, dict):
        raise ValueError(f"its head is {short(head)}, not a mapping")
    strange = next((k for k, x in arrays.items() if x.dtype.kind not in "biufU"), None)
    if strange is not None:
        raise ValueError(f"{strange!r} holds {arrays[strange].dtype}, not numbers")
    return head, arrays


def read_plain_arrays(path: str | Path) -> dict[str, Any]:
    """The arrays of an .npz file that another tool wrote; no pickle is run.

    Raises:
        ValueError: If the file is no .npz, damaged, holds no numbers, or unpacks to far too much.
        FileNotFoundError: If there is no such file.
    """
    import numpy as np

    path = regular(path)
    try:
        check_zip(path)
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array without a name")
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file: {str(path)!r}") from None
    except Exception as error:  # of many kinds: zipfile's, zlib's, numpy's
        raise ValueError(f"{str(path)!r} is no whole .npz ({short_reason(error)})") from None
    strange = next((k for k, x in arrays.items() if x.dtype.kind not in "biuf"), None)
    if strange is not None:
        raise ValueError(f"{str(path)!r}: {strange!r} holds {arrays[strange].dtype}, not numbers")
    return arrays


def short_reason(error: BaseException) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


def read_tensors(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The tensors of a safetensors file, and its metadata.

    The format itself says every size in front, and its reader compares them with the file's. Where
    `_store.write_tensors` put a checksum in, it is compared.

    Raises:
        ValueError: If the file is cut short or not what was written.
        FileNotFoundError: If there is no such file.
    """
    from safetensors import safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"no such file: {str(path)!r}")
    try:
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata() or {})
            # copied, so that they lie as other tensors do: sums then round in the same way
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
    except Exception as error:  # safetensors' own, of several kinds, and torch's
        raise ValueError(f"{str(path)!r} is not whole ({short_reason(error)})") from None
    recorded = metadata.pop(_store.CHECKSUM, None)
    if recorded is not None and recorded != _store.checksum(tensors, metadata):
        raise ValueError(
            f"{str(path)!r} is damaged: its tensors are not what was written (the checksum differs)"
        )
    return tensors, metadata


def read_pt(path: str | Path) -> Any:
    """What a .pt file holds, where tensors and plain values are all there is; no code is run.

    Raises:
        ValueError: If it holds anything else, or is damaged.
        FileNotFoundError: If there is no such file.
    """
    import pickle
    import warnings

    import torch

    if not Path(path).is_file():
        raise FileNotFoundError(f"no such file: {str(path)!r}")
    try:
        check_zip(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a pickle's protocol
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"{str(path)!r} holds more than tensors and plain values: loading it could run code, so"
            " it is refused (save a plain dict of tensors with torch.save)"
        ) from None
    except Exception as error:  # of many kinds: RuntimeError, EOFError, KeyError ...
        raise ValueError(
            f"{str(path)!r} cannot be read: it was cut short, or is no .pt file"
            f" ({short_reason(error)})"
        ) from None


def sha256(path: str | Path) -> str:
    """The hex sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def word_sum(path: str | Path) -> str:
    """The sum of a file's 8-byte words, in hex: a check at the speed of memory (0.1 s for 0.5 GB).

    It changes with any one changed byte; what was changed on purpose only `sha256` shows.
    """
    import numpy as np

    size = Path(path).stat().st_size
    whole = np.memmap(path, np.uint8, "r") if size else np.zeros(0, np.uint8)
    words = whole[: size // 8 * 8].view(np.uint64).sum(dtype=np.uint64)
    rest = int.from_bytes(whole[size // 8 * 8 :].tobytes(), "little")
    return f"{(int(words) + rest + size) % 2**64:016x}"


def shaped(
    tensors: Mapping[str, Any], name: str, shape: tuple[int | None, ...], path: str | Path
) -> Any:
    """The tensor under a name, if it has this shape (None: any size) and holds finite numbers.

    Raises:
        ValueError: With the file, the name, the shape that is needed and the one that is there.
    """
    import torch

    if name not in tensors:
        raise ValueError(f"{str(path)!r} has no {name} (it has {listed(sorted(tensors)[:8])})")
    value = tensors[name]
    needed = "[" + ", ".join("any" if n is None else str(n) for n in shape) + "]"
    fits = isinstance(value, torch.Tensor) and value.ndim == len(shape)
    if not fits or any(n not in (None, m) for n, m in zip(shape, value.shape)):
        got = list(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise ValueError(f"{str(path)!r}: {name} should have the shape {needed}, and has {got}")
    if not value.is_floating_point():
        raise ValueError(f"{str(path)!r}: {name} should hold real numbers, and is {value.dtype}")
    if value.numel() and not math.isfinite(float(value.float().abs().max())):
        raise ValueError(f"{str(path)!r}: {name} holds numbers that are not finite")
    return value
