"""Power laws through a few points."""

from collections.abc import Sequence

import numpy as np

# The 97.5 % points of Student's t with 1, 2, ... degrees of freedom; beyond them 1.96 + 2.4 / n is right to 0.01.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def power(
    x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray
) -> tuple[float, float, float]:
    """The exponent p of y = c x ** p by least squares in the logs, and its 95 % interval from the residuals (Student).

    >>> p, low, high = power([16, 32, 64, 128], [47, 90, 181, 365])
    """
    x, y = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    if len(x) != len(y) or len(x) < 3 or not (np.isfinite(x) & np.isfinite(y)).all():
        raise ValueError("a power law needs three or more points, each positive and finite")
    dx = x - x.mean()
    p = float(dx @ y / (dx @ dx))
    left = y - y.mean() - p * dx
    free = len(x) - 2
    wide = (_STUDENT[free - 1] if free <= len(_STUDENT) else 1.96 + 2.4 / free) * float(
        np.sqrt(left @ left / free / (dx @ dx))
    )
    return p, p - wide, p + wide
