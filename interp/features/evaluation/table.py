"""The numbers of `evaluate` as a table, a row per dictionary."""

from typing import Any

from interp.results import Result


def table(result: Result) -> Any:
    """A pandas DataFrame of `evaluate`'s numbers, with a row per dictionary.

    Example:
        >>> features.table(features.evaluate(model, [sae, *features.baselines(acts, k=32)]))

    Args:
        result: What `evaluate` returned.

    Returns:
        Each measure with the ends of its 95 % interval, numbers of latents, dead and dense latents,
        and tokens.
    """
    import pandas as pd

    single = result.dims == ("measure",)
    names = [result.name] if single else result.coords["dictionary"]
    low, high = result.ci()
    values, low, high = (v[None] if single else v for v in (result.values, low, high))
    rows = []
    for i, name in enumerate(names):
        counts = result.metadata["latents"][name]
        row: dict[str, Any] = {"dictionary": name, "latents": counts["latents"]}
        for j, measure in enumerate(result.coords["measure"]):
            row |= {
                measure: values[i, j],
                f"{measure}, low": low[i, j],
                f"{measure}, high": high[i, j],
            }
        rows.append(
            row
            | {
                "dead": counts["dead"],
                "dense": counts["dense"],
                "tokens": result.metadata["tokens"],
            }
        )
    return pd.DataFrame(rows).set_index("dictionary")
