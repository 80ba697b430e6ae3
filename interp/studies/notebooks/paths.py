"""Where the notebooks are: in a checkout beside the package, or inside an installed wheel."""

import os
from pathlib import Path

from interp._errors import unknown

PACKAGE = Path(__file__).resolve().parent.parent.parent
INSTALLED = PACKAGE.parent.name in ("site-packages", "dist-packages")


def home() -> Path:
    """The notebooks folder: the one with `src/NN-name.py` in it.

    INTERP_NOTEBOOKS in the environment, else `notebooks/` of a checkout, else the copy inside the
    wheel.
    """
    if given := os.environ.get("INTERP_NOTEBOOKS"):
        return Path(given)
    checkout = PACKAGE.parent / "notebooks"
    # site-packages may hold some other project's "notebooks"
    return (
        checkout
        if (checkout / "src").is_dir() and not INSTALLED
        else PACKAGE / "_data" / "notebooks"
    )


def names(folder: Path | None = None) -> list[str]:
    """The studies' names in reading order, for example ["00-start-here"].

    Args:
        folder: The notebooks folder; `home()` if None.
    """
    return _stems(folder, "[0-9][0-9]-*.py")


def tours(folder: Path | None = None) -> list[str]:
    """The tours of the tools, such as "tour-patching": without a paper, claims or verdicts.

    Args:
        folder: The notebooks folder; `home()` if None.
    """
    return _stems(folder, "tour-*.py")


def _stems(folder: Path | None, pattern: str) -> list[str]:
    return sorted(p.stem for p in (Path(folder or home()) / "src").glob(pattern))


def find(name: str, folder: Path | None = None) -> Path:
    """The source file of a study or tour.

    Example:
        >>> find("00").name
        '00-start-here.py'

    Args:
        name: "00-start-here", its number "00", its words "start-here", or "tour-patching".
        folder: The notebooks folder; `home()` if None.

    Raises:
        ValueError: If no study, or more than one, has this name; the nearest are named.
    """
    folder = Path(folder or home())
    known = names(folder) + tours(folder)
    typed = Path(str(name)).stem
    hits = [k for k in known if typed in (k, k[:2], k[3:] if k[0].isdigit() else k)]
    if len(hits) != 1:
        raise unknown("study", name, known, known[0] if known else "")
    return folder / "src" / f"{hits[0]}.py"
