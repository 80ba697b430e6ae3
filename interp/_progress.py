"""The one progress bar."""

import os
from collections.abc import Iterable
from typing import Any


def progress(items: Iterable | None, what: str, total: int | None = None) -> Any:
    """The items, behind a progress bar that appears after two seconds (never when INTERP_PROGRESS=0)."""
    from tqdm.auto import tqdm

    off = os.environ.get("INTERP_PROGRESS") == "0"
    return tqdm(items, desc=what, total=total, delay=2, leave=False, disable=off)
