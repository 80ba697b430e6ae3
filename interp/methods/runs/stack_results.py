"""Several results side by side: one result with an axis more, which draws itself as one picture."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from interp.results import Result


def stack_results(
    results: Mapping[str, Result], axis: str = "run", *, name: str | None = None
) -> Result:
    """The results stacked on a new first axis, labelled by their names.

    Example:
        >>> stack_results({"noise": traced, "another country": patched}).plot()     # a line each

    Args:
        results: By label; all with the same axes, labels and unit.
        axis: The name of the new axis.
        name: The name of the stack; the first one's if None.

    Returns:
        One Result. Examples are kept where every result has as many; `metadata` is the first one's,
        without its pattern.

    Raises:
        ValueError: If the results have different axes or units.
    """
    given = list(results.values())
    if not given or axis in given[0].dims:
        raise ValueError(
            f"compare needs results without an axis {axis!r} of their own: stack_results({{'a': one, 'b':"
            " other}, axis='run')"
        )
    first = given[0]
    for label, one in results.items():
        if (one.dims, one.coords, one.unit) != (first.dims, first.coords, first.unit):
            raise ValueError(
                f"{label!r} ({one.unit}, axes {one.dims}) is not on the axes of the first"
                f" ({first.unit}, {first.dims})"
            )
    examples = [one.examples for one in given]
    alike = all(e is not None for e in examples) and len({e.shape for e in examples}) == 1
    metadata = {k: v for k, v in first.metadata.items() if k not in ("pattern", "at")} | {
        "compared": list(results)
    }
    return replace(
        first,
        values=np.stack([one.values for one in given]),
        dims=(axis, *first.dims),
        metadata=metadata,
        coords={axis: list(results), **first.coords},
        name=name or first.name,
        examples=np.stack(examples) if alike else None,
    )
