"""Where a model is to be and in which number type: what the user typed, checked before anything is
moved.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from interp._errors import unknown

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
KINDS = (
    "cpu",
    "cuda",
    "mps",
    "xpu",
)  # named in messages; any other device that PyTorch has is taken
GB = float(2**30)


def dtype_of(dtype: Any) -> torch.dtype | None:
    """The number type of a name or a `torch.dtype`; None stays None."""
    if dtype is None or dtype in DTYPES.values():
        return dtype
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise unknown("dtype", name, DTYPES, "interp.load(dtype='bfloat16')")
    return DTYPES[name]


def device_of(device: Any) -> torch.device | None:
    """The device of a name or a `torch.device`, which is there; None stays None. ValueError
    otherwise.
    """
    if device is None:
        return None
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise unknown("device", str(device), KINDS, f"device={_here()}") from None
    if found.type == "meta":
        raise ValueError("device='meta' holds shapes without numbers: load the model on 'cpu'")
    if found.type == "cpu":
        return found
    try:
        torch.empty(1, device=found)
    except Exception as error:  # each kind of device has its own error for one that is not there
        if isinstance(error, torch.OutOfMemoryError):
            raise ValueError(f"device={str(device)!r} has no memory left: {_here()}") from None
        raise ValueError(
            f"device={str(device)!r} is not on this machine, or this PyTorch ({torch.__version__}) "
            f"was not built for it: here there is {_here()}"
        ) from None
    return found


MAPS = ("auto", "balanced", "balanced_low_0", "sequential")


def check_map(device_map: Any) -> None:
    """Nothing where transformers takes this device map; otherwise a ValueError in one sentence."""
    if isinstance(device_map, dict):
        if not device_map:
            raise ValueError("device_map={} places nothing: device_map={'': 'cpu'} places all")
        for place in device_map.values():
            if place != "disk":
                device_of(place)
        return
    if isinstance(device_map, str) and device_map in MAPS:
        return
    try:
        device_of(device_map)
    except ValueError as error:
        if not str(error).startswith("unknown device"):
            raise
        raise unknown("device_map", str(device_map), (*MAPS, "cpu"), "device_map='auto'") from None


def _here() -> str:
    found = ["'cpu'"]
    if torch.cuda.is_available():
        found += [f"'cuda:{i}'" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("'mps'")
    return ", ".join(found)


def free(device: torch.device) -> float | None:
    """The bytes that are free on a device, or None where nobody can say."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    row = next((line for line in lines if line.startswith("MemAvailable:")), None)
    return None if row is None else 1024.0 * int(row.split()[1])


def budget(device: torch.device) -> float:
    """The bytes that one call may hold beside the model: INTERP_MEMORY (in GB), or half of what is
    free.
    """
    given = os.environ.get("INTERP_MEMORY", "").strip()
    if not given:
        has = free(device)
        return 8 * GB if has is None else has / 2
    try:
        number = float(given)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(f"INTERP_MEMORY={given!r} is no number of GB: INTERP_MEMORY=4, or 0.5")
    return number * GB


def check_budget(need: float, device: torch.device, what: str, advice: str) -> None:
    """Nothing where so many bytes are within the budget; otherwise a ValueError with both
    numbers.
    """
    has = budget(device)
    if need > has:
        raise ValueError(
            f"{what} takes about {size(need)} of memory, and the budget is {size(has)}: {advice},"
            f" or raise the budget, INTERP_MEMORY={max(1, round(1.2 * need / GB + 0.5))} (in GB;"
            " half of what is free unless it is set)"
        )


def size(number: float) -> str:
    """Bytes in words."""
    return f"{number / GB:,.1f} GB" if number >= GB else f"{number / 2**20:,.1f} MB"


def check_room(need: float, device: torch.device, what: str, dtype: torch.dtype) -> None:
    """Nothing where so many bytes fit; otherwise a ValueError with both numbers and what would
    help.
    """
    has = free(device)
    if has is None or need <= has:
        return
    smaller = "" if dtype.itemsize <= 2 else "dtype='bfloat16' (half of it), "
    raise ValueError(
        f"{what} takes {need / GB:.2g} GB in {str(dtype).removeprefix('torch.')}, and"
        f" {str(device)!r} has {has / GB:.2g} GB free: try {smaller}device_map='auto' or a smaller"
        " model"
    )


def place(hf_model: Any, device: torch.device | None, dtype: torch.dtype | None, what: str) -> None:
    """Moves a Hugging Face model, in place; ValueError where it does not fit."""
    own = next(hf_model.parameters())
    to, kind = device or own.device, dtype or own.dtype
    if to == own.device and kind == own.dtype:
        return
    tensors = {t.data_ptr(): t for t in hf_model.parameters()}.values()  # tied ones count once
    if to != own.device:
        check_room(float(sum(t.numel() for t in tensors) * kind.itemsize), to, what, kind)
    try:
        hf_model.to(device=to, dtype=kind)
    except torch.OutOfMemoryError:
        raise ValueError(
            f"{what} does not fit on {str(to)!r}: try dtype='bfloat16', device_map='auto' or a"
            " smaller model"
        ) from None


def on_disk(folder: Path, config: Mapping[str, Any], dtype: torch.dtype) -> float:
    """How many bytes a folder's weights take in a number type."""
    stored = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    return stored * dtype.itemsize / DTYPES.get(name, torch.float32).itemsize
