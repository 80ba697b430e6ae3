"""Results: numbers with names. They say their unit, select, average, rank, draw and save themselves."""

import io
import json
import os
import tempfile
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from interp._say import unknown
from interp.intervals import bootstrap

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Result:
    """Values on named axes, with a name, a unit, and what they are about.

    >>> effect = interp.patch(model, task, "L*H*")
    >>> effect.top(3)                      # which heads
    >>> effect.sel(layer=10).plot()        # one layer
    >>> low, high = effect.ci()            # 95 % bootstrap interval over the examples

    values: one number per cell, axes `dims`, labels `coords[dim]`. examples: the same with a last axis of
    examples whose mean is `values`, when there are any. NaN means "does not apply here"; nothing is filled in.
    """

    values: np.ndarray | float
    dims: tuple[str, ...] | list[str]
    coords: dict[str, list]
    name: str
    unit: str
    about: dict[str, Any] = field(default_factory=dict)
    examples: np.ndarray | None = None

    def __post_init__(self) -> None:
        put = lambda name, value: object.__setattr__(self, name, value)
        put("values", np.asarray(self.values, dtype=float))
        put("dims", tuple(self.dims))
        put("coords", {d: list(self.coords[d]) for d in self.dims if d in self.coords})
        lacking = [d for d in self.dims if d not in self.coords]
        shape = tuple(len(self.coords[d]) for d in self.dims if d in self.coords)
        if lacking or shape != self.values.shape:
            raise ValueError(f"values of shape {self.values.shape} do not fit dims {self.dims} with labels {shape}")
        if self.examples is not None:
            put("examples", np.asarray(self.examples, dtype=float))
            if self.examples.shape[:-1] != shape or self.examples.ndim != len(shape) + 1:
                raise ValueError(f"examples of shape {self.examples.shape} need shape {shape} plus a last axis")
            if not np.allclose(self.examples.mean(-1), self.values, equal_nan=True, atol=1e-6, rtol=1e-5):
                raise ValueError("values must be the mean of examples over their last axis")

    # --- choosing and averaging ------------------------------------------------------------------------------

    def _axis(self, dim: str) -> int:
        if dim not in self.dims:
            raise unknown("dimension", dim, self.dims)
        return self.dims.index(dim)

    def _index(self, dim: str, label: Any) -> int:
        labels = self.coords[dim]
        if label in labels:
            return labels.index(label)
        raise unknown(f"{dim}", label, labels)

    def sel(self, **wanted: Any) -> "Result":
        """The part with these labels: one label drops its axis, a list keeps it.

        >>> effect.sel(layer=10)                 # heads of layer 10
        >>> effect.sel(layer=[8, 9], head=3)
        """
        out = self
        for dim, label in wanted.items():
            axis = out._axis(dim)
            many = isinstance(label, list | tuple | range | np.ndarray)
            index = [out._index(dim, x) for x in label] if many else out._index(dim, label)
            dims = out.dims if many else tuple(d for d in out.dims if d != dim)
            coords = {d: ([out.coords[d][i] for i in index] if many and d == dim else out.coords[d]) for d in dims}
            examples = None if out.examples is None else np.take(out.examples, index, axis)
            about = out.about if many else {**out.about, "at": {**out.about.get("at", {}), dim: label}}
            out = replace(
                out, values=np.take(out.values, index, axis), dims=dims, coords=coords, examples=examples, about=about
            )
        return out

    def mean(self, *dims: str) -> "Result":
        """The average over these axes (all of them when none is named); examples stay apart."""
        return self._over(np.mean, dims)

    def sum(self, *dims: str) -> "Result":
        """The sum over these axes (all of them when none is named); examples stay apart."""
        return self._over(np.sum, dims)

    def _over(self, how: Any, dims: tuple[str, ...]) -> "Result":
        axes = tuple(self._axis(d) for d in dims or self.dims)
        kept = tuple(d for i, d in enumerate(self.dims) if i not in axes)
        examples = None if self.examples is None else how(self.examples, axis=axes)
        coords = {d: self.coords[d] for d in kept}
        return replace(self, values=how(self.values, axis=axes), dims=kept, coords=coords, examples=examples)

    def pick(self, labels: Sequence[str]) -> "Result":
        """These cells by their labels, in this order, on one axis "site".

        >>> effect.pick(["L10H7", "L23H3"]).sum()
        """
        at = [self._place(label) for label in labels]
        flat = None if self.examples is None else self.examples.reshape(self.values.size, -1)[at]
        coords = {"site": list(labels)}
        return replace(self, values=self.values.ravel()[at], dims=("site",), coords=coords, examples=flat)

    def cells(self, labels: Sequence[str]) -> list[tuple]:
        """The coordinates of cells by their labels, for `plot(marks={"name": result.cells(labels)})`."""
        every = list(product(*(self.coords[d] for d in self.dims)))
        return [every[self._place(label)] for label in labels]

    def _place(self, label: str) -> int:
        labels = self.labels()
        if label not in labels:
            raise unknown("cell", label, labels)
        return labels.index(label)

    def __sub__(self, other: "Result") -> "Result":
        """Cell by cell and example by example, for two results on the same axes and in the same unit."""
        if (self.dims, self.coords, self.unit) != (other.dims, other.coords, other.unit):
            raise ValueError(f"{self.name!r} and {other.name!r} have other axes or units: there is no difference to take")
        paired = self.examples is not None and other.examples is not None and self.examples.shape == other.examples.shape
        examples = self.examples - other.examples if paired else None
        name = f"{self.name} less {other.name}"
        return replace(self, values=self.values - other.values, name=name, examples=examples)

    def ci(self, level: float = 0.95, n_boot: int = 1000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """The lower and upper end of a percentile bootstrap interval over examples, each shaped like values."""
        if self.examples is None:
            raise ValueError(f"{self.name!r} kept no examples, so it has no interval")
        return bootstrap(self.examples, level, n_boot, seed)

    # --- as a table ------------------------------------------------------------------------------------------

    def labels(self) -> list[str]:
        """A short name for each cell, in row order: 'L10H7', 'resid_pre.3@5', or 'layer=3'."""
        return [self._label(cell) for cell in product(*(self.coords[d] for d in self.dims))]

    def _label(self, cell: tuple) -> str:
        stars = {"layer", "head", "kv_head", "neuron", "pos"}
        chosen = {d: v for d, v in self.about.get("at", {}).items() if d in stars}
        named = {**chosen, **dict(zip(self.dims, cell))}
        pattern = self.about.get("pattern")
        if isinstance(pattern, str) and pattern.count("*") == len(stars & set(named)) > 0:
            for dim in ("layer", "head", "kv_head", "neuron", "pos"):
                if dim in named:
                    pattern = pattern.replace("*", str(named[dim]).split(" ")[0], 1)
            rest = [str(v) for d, v in named.items() if d not in stars]
            return " ".join([*rest, pattern])
        if {"layer", "head"} <= set(named):
            rest = [str(v) for d, v in named.items() if d not in ("layer", "head")]
            return " ".join([f"L{named['layer']}H{named['head']}", *rest])
        return " ".join(f"{d}={v}" for d, v in named.items()) or self.name

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row per cell: its label, its coordinates, the value, and the interval if any."""
        import pandas as pd

        cells = list(product(*(self.coords[d] for d in self.dims)))
        frame = pd.DataFrame(cells, columns=list(self.dims)) if self.dims else pd.DataFrame(index=[0])
        frame.insert(0, "site", self.labels())
        frame[self.name] = self.values.ravel()
        if self.examples is not None and self.examples.shape[-1] > 1:
            low, high = self.ci()
            frame["low"], frame["high"] = low.ravel(), high.ravel()
        frame.attrs["unit"] = self.unit
        return frame

    def top(self, n: int = 10, by: str = "abs") -> "Top":
        """The n cells that stand out: largest in size ("abs"), highest ("high") or lowest ("low").

        >>> effect.top(3, by="low").labels
        ['L10H7', 'L11H10', 'L24H4']
        """
        keys = {"abs": lambda v: -np.abs(v), "high": lambda v: -v, "low": lambda v: v}
        if by not in keys:
            raise unknown("way to rank", by, keys, "by='abs'")
        flat = self.values.ravel()
        order = [int(i) for i in np.argsort(keys[by](flat), kind="stable") if not np.isnan(flat[i])][:n]
        labels = self.labels()
        rows = []
        interval = None
        if self.examples is not None and self.examples.shape[-1] > 1:
            interval = bootstrap(self.examples.reshape(len(flat), -1)[order], 0.95, 1000, 0)
        for k, i in enumerate(order):
            low, high = (float(interval[0][k]), float(interval[1][k])) if interval else (None, None)
            rows.append((labels[i], float(flat[i]), low, high))
        return Top(tuple(rows), self.name, self.unit)

    # --- drawing ---------------------------------------------------------------------------------------------

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """The Axes (or array of Axes) with the picture of this result: a map, lines, or bars, its unit said."""
        from interp import plots

        return plots.draw(self._picture(), ax=ax, **options)

    def _picture(self) -> dict[str, Any]:
        interval = None
        if self.examples is not None and self.examples.shape[-1] > 1 and len(self.dims) < 2:
            interval = self.ci()
        chosen = ", ".join(str(v) if isinstance(v, str) else f"{d} {v}" for d, v in self.about.get("at", {}).items())
        title = f"{self.name}: {chosen}" if chosen else self.name
        return dict(values=self.values, dims=self.dims, coords=self.coords, title=title, unit=self.unit, interval=interval)

    def caption(self) -> str:
        """One line: name, unit, and where the numbers come from."""
        said = [f"{self.name} ({self.unit})"]
        keys = ("pattern", "task", "n", "model", "method", "metric", "split")
        said += [f"{k} {self.about[k]}" for k in keys if self.about.get(k) not in (None, "")]
        return " · ".join(said)

    def _repr_html_(self) -> str:
        from interp import plots

        picture = "" if not self.dims or len(self.dims) > 3 else plots.png(self._picture())
        image = f'<img alt="{escape(self.name)}" src="data:image/png;base64,{b64encode(picture).decode()}">' if picture else ""
        table = "" if picture and len(self.dims) > 1 else self.top(10)._repr_html_() if self.values.size else ""
        return f"<div>{image}{'' if picture else table}<div><small>{escape(self.caption())}</small></div></div>"

    def __repr__(self) -> str:
        if not self.dims:
            interval = ""
            if self.examples is not None and self.examples.shape[-1] > 1:
                low, high = self.ci()
                interval = f" [{low:.3g}, {high:.3g}]"
            return f"Result({self.name}: {float(self.values):.4g}{interval} {self.unit})"
        axes = ", ".join(f"{d}: {len(self.coords[d])}" for d in self.dims)
        return f"Result({self.name} [{self.unit}], {axes})\n{self.top(5)!r}"

    # --- on disk ---------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """The path of the .npz file the result was written to (at once or not at all; no pickle)."""
        path = Path(path)
        if path.suffix != ".npz":
            raise ValueError(f"a result is saved as .npz, got {str(path)!r} (try {path.stem + '.npz'!r})")
        head = {k: getattr(self, k) for k in ("dims", "coords", "name", "unit", "about")} | {"schema": SCHEMA}
        arrays = {"values": self.values} | ({} if self.examples is None else {"examples": self.examples})
        buffer = io.BytesIO()
        np.savez_compressed(buffer, header=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(buffer.getvalue())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return path

    @staticmethod
    def load(path: str | Path) -> "Result":
        """The result that `save` wrote."""
        try:
            with np.load(path, allow_pickle=False) as file:
                head = json.loads(bytes(file["header"]))
                arrays = {k: file[k] for k in ("values", "examples") if k in file.files}
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ValueError(f"{str(path)!r} is not a result saved by interp ({error})") from None
        if head.pop("schema", None) != SCHEMA:
            raise ValueError(f"{str(path)!r} was written by another version of interp (schema is not {SCHEMA})")
        return Result(**head, **arrays)


def average(results: Sequence[Result]) -> Result:
    """The mean of several results on the same axes (random sets, seeds), example by example.

    >>> average([interp.patch(model, task, heads) for heads in random_sets])
    """
    results = list(results)
    if not results or any((r.dims, r.coords) != (results[0].dims, results[0].coords) for r in results):
        raise ValueError("average needs at least one result, all on the same axes")
    examples = None
    if all(r.examples is not None for r in results):
        examples = np.mean([r.examples for r in results], axis=0)
    values = np.mean([r.values for r in results], axis=0)
    return replace(results[0], values=values, examples=examples, about={**results[0].about, "averaged": len(results)})


@dataclass(frozen=True)
class Top:
    """The rows of a ranking: (label, value, low, high), drawn as a small table."""

    rows: tuple[tuple[str, float, float | None, float | None], ...]
    name: str
    unit: str

    @property
    def labels(self) -> list[str]:
        """The labels alone, best first."""
        return [row[0] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Any:
        return iter(self.rows)

    def _lines(self) -> Sequence[tuple[str, str, str]]:
        show = lambda x: f"{x:+.3f}" if abs(x) < 100 else f"{x:+.4g}"
        return [(label, show(v), "" if low is None else f"{show(low)} to {show(high)}") for label, v, low, high in self.rows]

    def __repr__(self) -> str:
        lines = self._lines()
        wide = max((len(label) for label, _, _ in lines), default=4)
        body = "\n".join(f"{label:<{wide}}  {value:>9}  {interval}" for label, value, interval in lines)
        return f"{self.name} ({self.unit}, 95 % interval)\n{body}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{escape(a)}</td><td>{b}</td><td>{c}</td></tr>" for a, b, c in self._lines()
        )
        head = f"<tr><th></th><th>{escape(self.name)}<br><small>{escape(self.unit)}</small></th><th>95 % interval</th></tr>"
        return f"<table>{head}{rows}</table>"
