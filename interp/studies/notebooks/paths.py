"""Where the notebooks are: in a checkout beside the package, inside an installed wheel, or
anywhere on disk (a study of one's own).
"""

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


def find(name: str | Path, folder: Path | None = None) -> Path:
    """The source file of a study or tour.

    Example:
        >>> find("00").name
        '00-start-here.py'
        >>> find("mine/my-question.py").name
        'my-question.py'

    Args:
        name: "00-start-here", its number "00", its words "start-here", or "tour-patching"; or a
            study of your own, anywhere on disk: its file, or its name where it lies in the present
            folder.
        folder: The notebooks folder; `home()` if None.

    Raises:
        ValueError: If no study, or more than one, has this name; the nearest are named.
        FileNotFoundError: If it is a path to a file that is not there.
    """
    own, typed = Path(str(name)), Path(str(name)).stem
    if own.suffix == ".py" and own.is_file():
        return own.resolve()
    place = Path(folder or home())
    known = names(place) + tours(place)
    hits = [k for k in known if typed in (k, k[:2], k[3:] if k[0].isdigit() else k)]
    if len(hits) == 1:
        return place / "src" / f"{hits[0]}.py"
    beside = Path(folder or own.parent) / f"{typed}.py"
    if typed and beside.is_file():
        return beside.resolve()
    if own.suffix == ".py" or own.parent != Path("."):
        raise FileNotFoundError(
            f"there is no study {str(name)!r}: `interp new-study {typed}` writes one in the present"
            " folder"
        )
    raise unknown("study", name, known, known[0] if known else "")


def folder_of(source: Path) -> Path:
    """Where a study's notebook and record go: beside its source, or above it where that is `src`.

    Example:
        >>> folder_of(find("00")) == home()
        True
    """
    return source.parent.parent if source.parent.name == "src" else source.parent


def file_of(kind: str, name: str, folder: Path | None = None) -> Path:
    """The file of a study in the notebooks folder, whether or not it exists.

    In a session of one's own (INTERP_NOTEBOOKS is unset) the file in the present folder counts
    where there is one: a study of your own, opened in Jupyter.

    Args:
        kind: "claims" or "verdicts".
        name: The file's name, "my-question.toml".
        folder: The notebooks folder; `home()` if None.
    """
    own = Path(kind) / name
    if folder is None and "INTERP_NOTEBOOKS" not in os.environ and own.is_file():
        return own
    return Path(folder or home()) / own


def typed_name(source: Path) -> str:
    """What to type for this study in a command: its name, or its file where it is one's own."""
    return source.stem if source.parent.name == "src" else source.name
