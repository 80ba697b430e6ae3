"""Warnings that point at the line that somebody wrote, however deep in the package they arise."""

import contextlib
import functools
import sys
import sysconfig
import warnings
from pathlib import Path

# what stands between a verb and its caller: this package, what is installed beside it (torch's
# decorators), two files of the standard library, and functions that a decorator wrote
PLACES = (
    str(Path(__file__).resolve().parent),
    sysconfig.get_paths()["purelib"],
    sysconfig.get_paths()["platlib"],
    contextlib.__file__,
    functools.__file__,
    "<@",
)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """A warning at the nearest line of somebody's own code.

    A number of levels would be wrong as soon as a decorator is added between the two.

    Example:
        >>> warn("the file is damaged: the lens is fitted again")

    Args:
        message: One sentence.
        category: As `warnings.warn` takes it.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PLACES):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
