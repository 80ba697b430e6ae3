"""Results: numbers with names. They say their unit, select, average, rank, draw and save
themselves.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from interp import _files, _store
from interp._errors import listed, unknown
from interp._interrupts import Interrupted as Interrupted
from interp._stats import bootstrap
from interp._tables import Top
from interp._warn import warn

SCHEMA = 1
SHORT = 32  # as many cells of one axis are printed whole, in their order
SHARE = "share of prompts"  # how the unit begins of what lies between 0 and 1
FEW = 8  # as many cells of any axes are printed whole
TOP = 5  # of more cells, the largest are printed


@dataclass(frozen=True, eq=False)
class Result:
    """Values on named axes, with a name, a unit, and where they come from.

    Example:
        >>> effect = interp.patch(model, task, "L*H*")
        >>> effect.top(3)                      # which heads
        >>> effect.sel(layer=10).plot()        # one layer
        >>> low, high = effect.ci()            # 95 % bootstrap interval over the examples

    Attributes:
        values: One number per cell. NaN means "does not apply here"; nothing is filled in.
        dims: The names of the axes.
        coords: The labels of each axis, numbers or words.
        name: What was measured.
        unit: The unit of the values.
        metadata: How they were made: task, model, metric, number of prompts, and so on.
        examples: The values with a last axis of examples, whose mean is `values`; None if none were
            kept.
    """

    values: np.ndarray | float | list
    dims: tuple[str, ...] | list[str]
    coords: dict[str, list]
    name: str
    unit: str
    metadata: dict[str, Any] = field(default_factory=dict)
    examples: np.ndarray | None = None

    def __post_init__(self) -> None:
        def put(name, value):
            return object.__setattr__(self, name, value)

        self._check_types()
        put("values", np.asarray(self.values, dtype=float))
        put("dims", tuple(self.dims))
        put("coords", {d: _labels(d, self.coords[d]) for d in self.dims if d in self.coords})
        if len(set(self.dims)) < len(self.dims):
            raise ValueError(
                f"dims {self.dims} name an axis twice (two token axes are 'dest' and 'src')"
            )
        unlabelled = [d for d in self.dims if d not in self.coords]
        shape = tuple(len(self.coords[d]) for d in self.dims if d in self.coords)
        if unlabelled or shape != self.values.shape:
            raise ValueError(
                f"values of shape {self.values.shape} do not fit dims {self.dims} with labels"
                f" {shape}"
            )
        if self.examples is not None:
            put("examples", np.asarray(self.examples, dtype=float))
            if self.examples.shape[:-1] != shape or self.examples.ndim != len(shape) + 1:
                raise ValueError(
                    f"examples of shape {self.examples.shape} need shape {shape} plus a last axis"
                )
            if not np.allclose(
                self.examples.mean(-1), self.values, equal_nan=True, atol=1e-6, rtol=1e-5
            ):
                raise ValueError("values must be the mean of examples over their last axis")

    def _check_types(self) -> None:
        """Raises ValueError for a part of another type, with what it should be."""
        wanted = {
            "name": (str, "words"),
            "unit": (str, "words"),
            "dims": (list | tuple, "a list of the axes' names"),
            "coords": (Mapping, "a mapping of each axis to its labels"),
            "metadata": (Mapping, "a mapping of names to values"),
        }
        for part, (kind, words) in wanted.items():
            if not isinstance(getattr(self, part), kind):
                got = _files.short(getattr(self, part))
                raise ValueError(f"{part} of a result is {words}, got {got}")
        wrong = [d for d in self.dims if not isinstance(d, str)]
        if wrong:
            raise ValueError(f"an axis has a name in words, got {_files.short(wrong[0])}")
        if not isinstance(self.metadata.get("at", {}), Mapping):
            got = _files.short(self.metadata["at"])
            raise ValueError(f"metadata['at'] is a mapping of axes to labels, got {got}")
        for values in (self.values, self.examples):
            kind = np.asarray(values).dtype.kind if values is not None else "f"
            if kind not in "biufO":  # None among numbers is NaN
                raise ValueError(f"values of a result are real numbers, got {_files.short(values)}")

    def __eq__(self, other: object) -> bool:
        """Whether the two would be saved as the same file: same numbers (NaN where NaN), same names
        and labels.
        """
        if not isinstance(other, Result):
            return NotImplemented

        def same(a, b):
            return a is b if a is None or b is None else np.array_equal(a, b, equal_nan=True)

        heads_agree = self._head(repr) == other._head(repr)
        return (
            heads_agree and same(self.values, other.values) and same(self.examples, other.examples)
        )

    # --- choosing and averaging -------------------------------------------------------------------

    def _axis(self, dim: str) -> int:
        if dim not in self.dims:
            raise unknown("dimension", dim, self.dims)
        return self.dims.index(dim)

    def _index(self, dim: str, label: Any) -> int:
        labels = self.coords[dim]
        if label in labels:
            return labels.index(label)
        if dim in ("pos", "dest", "src"):  # "14 to (END)" is also position 14 and END
            also = [
                (
                    {x.split(" ")[0], *(w[1:-1] for w in x.split(" ")[2:])}
                    if isinstance(x, str)
                    else ()
                )
                for x in labels
            ]
            matches = [i for i, names in enumerate(also) if str(label) in names]
            if matches:
                return matches[0]
        calls = self.metadata.get("elsewhere")  # of what other calls measure
        calls = calls.get(dim) if isinstance(calls, Mapping) else None
        if isinstance(calls, Mapping) and isinstance(label, str) and label in calls:
            raise ValueError(
                f"{label!r} was not measured here ({dim}: {listed(labels)}): {calls[label]}"
            )
        raise unknown(f"{dim}", label, labels)

    def sel(self, **wanted: Any) -> "Result":
        """The part with these labels: one label drops its axis, a list keeps it.

        Example:
            >>> effect.sel(layer=10)                 # heads of layer 10
            >>> effect.sel(layer=[8, 9], head=3)
            >>> effect.sel(pos="END")                # a position by name, number or label

        Args:
            **wanted: A label, or several, for each axis named.

        Raises:
            ValueError: If there is no such axis or label; the nearest are named.
        """
        out = self
        for dim, label in wanted.items():
            axis = out._axis(dim)
            many = isinstance(label, list | tuple | range | np.ndarray)
            index = [out._index(dim, x) for x in label] if many else out._index(dim, label)
            dims = out.dims if many else tuple(d for d in out.dims if d != dim)
            coords = {
                d: [out.coords[d][i] for i in index] if many and d == dim else out.coords[d]
                for d in dims
            }
            examples = None if out.examples is None else np.take(out.examples, index, axis)
            chosen = None if many else out.coords[dim][index]
            metadata = (
                out.metadata
                if many
                else {**out.metadata, "at": {**out.metadata.get("at", {}), dim: chosen}}
            )
            unit = out.unit if many else out.metadata.get("units", {}).get(chosen, out.unit)
            out = replace(
                out,
                values=np.take(out.values, index, axis),
                dims=dims,
                coords=coords,
                examples=examples,
                unit=unit,
                metadata=metadata,
            )
        return out

    def mean(self, *dims: str) -> "Result":
        """The mean over these axes (all of them when none is named); examples stay apart.

        Args:
            *dims: Names of axes.
        """
        return self._over(np.mean, dims)

    def sum(self, *dims: str) -> "Result":
        """The sum over these axes (all of them when none is named); examples stay apart.

        Args:
            *dims: Names of axes.
        """
        return self._over(np.sum, dims)

    def _over(self, how: Any, dims: tuple[str, ...]) -> "Result":
        axes = tuple(self._axis(d) for d in dims or self.dims)
        remaining = tuple(d for i, d in enumerate(self.dims) if i not in axes)
        examples = None if self.examples is None else how(self.examples, axis=axes)
        coords = {d: self.coords[d] for d in remaining}
        return replace(
            self,
            values=how(self.values, axis=axes),
            dims=remaining,
            coords=coords,
            examples=examples,
        )

    def pick(self, labels: Sequence[str]) -> "Result":
        """These cells by their labels, in this order, on one axis "site".

        Example:
            >>> effect.pick(["L10H7", "L23H3"]).sum()

        Args:
            labels: As `labels()` gives them.

        Raises:
            ValueError: If there is no such cell; the nearest are named.
        """
        at = [self._place(label) for label in labels]
        flat = None if self.examples is None else self.examples.reshape(self.values.size, -1)[at]
        coords = {"site": list(labels)}
        return replace(
            self, values=self.values.ravel()[at], dims=("site",), coords=coords, examples=flat
        )

    def cells(self, labels: Sequence[str]) -> list[tuple]:
        """The coordinates of cells by their labels, for the `marks` of a plot.

        Args:
            labels: As `labels()` gives them.
        """
        every = list(product(*(self.coords[d] for d in self.dims)))
        return [every[self._place(label)] for label in labels]

    def _place(self, label: str) -> int:
        labels = self.labels()
        if label not in labels:
            raise unknown("cell", label, labels)
        return labels.index(label)

    def __sub__(self, other: "Result") -> "Result":
        """Cell by cell and example by example, for two results on the same axes and in the same
        unit.
        """
        if (self.dims, self.coords, self.unit) != (other.dims, other.coords, other.unit):
            raise ValueError(
                f"{self.name!r} and {other.name!r} have other axes or units: there is no difference"
                " to take"
            )
        paired = (
            self.examples is not None
            and other.examples is not None
            and self.examples.shape == other.examples.shape
        )
        examples = self.examples - other.examples if paired else None
        name = f"{self.name} minus {other.name}"
        metadata = _common_denominator([self, other])
        values = self.values - other.values
        return replace(self, values=values, name=name, examples=examples, metadata=metadata)

    def __rsub__(self, number: float) -> "Result":
        """A number minus each cell, in the same unit: `1 - fraction` is the missing share."""
        examples = None if self.examples is None else number - self.examples
        return replace(
            self,
            values=number - self.values,
            name=f"{number:g} minus {self.name}",
            examples=examples,
        )

    def ci(
        self, level: float = 0.95, n_boot: int = 1000, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ends of a percentile bootstrap interval over examples, each shaped like values.

        Example:
            >>> low, high = effect.ci()

        Args:
            level: The level of the interval.
            n_boot: How many bootstrap draws; every cell is given the same draws.
            seed: Which draws.

        Returns:
            The lower and the upper ends. Those of a fraction are exactly those of the ratio of the
            drawn means, and NaN where its denominator has an interval that contains 0, or where
            points have a denominator each; a warning says which of the two.

        Raises:
            ValueError: If the result kept no examples, or fewer than two.
        """
        if self.examples is None:
            raise ValueError(f"{self.name!r} kept no examples, so it has no interval")
        ends = self._bootstrap(None, level, n_boot, seed)
        without = int((np.isnan(ends[0]) & ~np.isnan(self.values)).sum())
        if without:
            why = self.metadata.get("unsteady") or "its denominator cannot be told from 0"
            warn(f"{without} of {self.values.size} intervals of {self.name!r} are NaN: {why}")
        return ends

    def _bootstrap(
        self, cells: list[int] | None = None, level: float = 0.95, n_boot: int = 1000, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """The interval of all cells, or of these in row order; of a ratio where it is one, NaN for
        a ratio whose denominator cannot be told from zero.
        """
        assert self.examples is not None
        examples, ratio = self.examples, self._are_ratios()
        if cells is not None:
            examples, ratio = examples.reshape(-1, examples.shape[-1])[cells], ratio.ravel()[cells]
        low, high = bootstrap(examples, level, n_boot, seed)
        below = self.metadata.get("denominator")
        if not ratio.any():
            return low, high
        if below is not None and len(below) == examples.shape[-1]:
            of_ratio = bootstrap(examples, level, n_boot, seed, below)
        elif self.metadata.get("unsteady"):
            of_ratio = np.full(low.shape, np.nan), np.full(low.shape, np.nan)
        else:
            return low, high
        return np.where(ratio, of_ratio[0], low), np.where(ratio, of_ratio[1], high)

    def _are_ratios(self) -> np.ndarray:
        """Which cells are ratios, where this is a result of ratios: all, or those of the labels
        that metadata names.
        """
        named = self.metadata.get("ratios", {})
        ratio = np.ones(np.shape(self.values), dtype=bool)
        for dim, labels in named.items():
            at = self.metadata.get("at", {}).get(dim)
            of = [label in labels for label in self.coords.get(dim, [at])]
            axis = self.dims.index(dim) if dim in self.dims else 0
            shape = [len(of) if k == axis else 1 for k in range(ratio.ndim)]
            ratio = ratio & (np.reshape(of, shape) if dim in self.dims else of[0])
        return np.asarray(ratio)

    # --- as a table -------------------------------------------------------------------------------

    def labels(self) -> list[str]:
        """A short name for each cell, in row order: 'L10H7', 'resid_pre.3@5', or 'layer=3'."""
        return [self._label(cell) for cell in product(*(self.coords[d] for d in self.dims))]

    def _label(self, cell: tuple) -> str:
        stars = {"layer", "head", "kv_head", "neuron", "pos"}
        chosen = {d: v for d, v in self.metadata.get("at", {}).items() if d in stars}
        named = {**chosen, **dict(zip(self.dims, cell))}
        pattern = self.metadata.get("pattern")
        if isinstance(pattern, str) and pattern.count("*") == len(stars & set(named)) > 0:
            for dim in ("layer", "head", "kv_head", "neuron", "pos"):
                if dim in named:
                    pattern = pattern.replace("*", str(named[dim]).split(" ")[0], 1)
            rest = [str(v) for d, v in named.items() if d not in stars]
            return " ".join([*rest, pattern])
        if {"layer", "head"} <= set(named):
            one = "score" if len(self.coords.get("score", [])) == 1 else None  # says nothing more
            rest = [str(v) for d, v in named.items() if d not in ("layer", "head", one)]
            return " ".join([f"L{named['layer']}H{named['head']}", *rest])
        words = all(isinstance(v, str) and not v.isdigit() for v in named.values())
        return (
            ", ".join(named.values()) if words else " ".join(f"{d}={v}" for d, v in named.items())
        ) or self.name

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The values: `np.asarray(result)`."""
        return np.array(self.values, dtype=dtype, copy=True if copy is None else copy)

    def to_csv(self, path: str | Path, examples: bool = False) -> Path:
        """The path of the CSV file with `to_frame`'s rows.

        Example:
            >>> interp.patch(model, task, "L*H*").to_csv("heads.csv")
        """
        return _store.write_text(Path(path), self.to_frame(examples).to_csv(index=False))

    def to_xarray(self) -> Any:
        """An xarray DataArray with the same axes and labels; the examples as a last axis "example",
        where there are any. Needs xarray: pip install xarray.
        """
        try:
            import xarray
        except ImportError as error:
            raise ImportError("to_xarray needs xarray: pip install xarray") from error
        attrs = {"unit": self.unit}
        if self.examples is None:
            return xarray.DataArray(self.values, self.coords, self.dims, self.name, attrs)
        return xarray.DataArray(
            self.examples, self.coords, (*self.dims, "example"), self.name, attrs
        )

    def to_frame(self, examples: bool = False) -> Any:
        """A pandas DataFrame with a row per cell: label, coordinates, value, and any interval.

        Args:
            examples: A row for each cell and example instead, with the column "example".

        Raises:
            ValueError: If examples are wanted and none were kept.
        """
        import pandas as pd

        if examples:
            if self.examples is None:
                raise ValueError(f"{self.name!r} kept no examples: to_frame() has its values")
            frame = self.to_frame()[["site", *self.dims]]
            n = self.examples.shape[-1]
            frame = frame.loc[frame.index.repeat(n)].reset_index(drop=True)
            frame["example"] = np.tile(np.arange(n), self.values.size)
            frame[self.name] = self.examples.ravel()
            frame.attrs["unit"] = self.unit
            return frame

        cells = list(product(*(self.coords[d] for d in self.dims)))
        frame = (
            pd.DataFrame(cells, columns=list(self.dims)) if self.dims else pd.DataFrame(index=[0])
        )
        frame.insert(0, "site", self.labels())
        frame[self.name] = self.values.ravel()
        if self.examples is not None and self.examples.shape[-1] > 1:
            low, high = self._bootstrap()
            frame["low"], frame["high"] = low.ravel(), high.ravel()
        frame.attrs["unit"] = self.unit
        return frame

    def top(self, n: int = 10, by: str = "abs") -> "Top":
        """The n cells that stand out, as a table with their intervals.

        Example:
            >>> effect.top(3, by="low").labels
            ['L10H7', 'L11H10', 'L24H4']

        Args:
            n: How many; cells that are NaN are left out.
            by: "abs" (largest in size), "high" or "low".

        Raises:
            ValueError: If n is below 1, `by` is unknown, or some of the cells would be chosen from
                numbers of several units.
        """
        keys = {"abs": lambda v: -np.abs(v), "high": lambda v: -v, "low": lambda v: v}
        if by not in keys:
            raise unknown("way to rank", by, keys, "by='abs'")
        if n < 1:
            raise ValueError(f"top({n}) has no rows (try top(10), or by='low' for the lowest)")
        flat = self.values.ravel()
        parts = self._by_unit()
        if len(parts) > 1 and n < np.count_nonzero(~np.isnan(flat)):
            some = f".sel({self.dims[0]}={parts[0].coords[self.dims[0]]})"
            raise ValueError(
                f"top({n}): {self.name!r} has numbers in {', '.join(p.unit for p in parts)}, which"
                f" no one order fits: .table() shows all, {some}.top({n}) ranks those of one unit"
            )
        return self._rows(
            [int(i) for i in np.argsort(keys[by](flat), kind="stable") if not np.isnan(flat[i])][:n]
        )

    def table(self) -> "Top":
        """Every cell in order, with its interval: for a few numbers that are better read."""
        return self._rows(
            [i for i in range(self.values.size) if not np.isnan(self.values.ravel()[i])]
        )

    def _rows(self, order: list[int]) -> "Top":
        labels, flat, interval = self.labels(), self.values.ravel(), None
        if order and self.examples is not None and self.examples.shape[-1] > 1:
            interval = self._bootstrap(order)
        ends = (
            [
                (None, None) if np.isnan(low) else (float(low), float(high))
                for low, high in zip(*interval)
            ]
            if interval
            else [(None, None)] * len(order)
        )
        units = self.metadata.get("units", {})
        one_axis = self.coords[self.dims[0]] if len(self.dims) == 1 else []
        each = tuple(str(units.get(one_axis[i], "")) for i in order) if one_axis and units else ()
        return Top(
            tuple((labels[i], float(flat[i]), *ends[k]) for k, i in enumerate(order)),
            self.name,
            self.unit,
            each if any(each) else (),
        )

    # --- drawing ----------------------------------------------------------------------------------

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """The Axes with a picture of this result (a map, lines or bars); an array for panels.

        Example:
            >>> effect.plot(marks={"name mover": ["L23H3"], "S-inhibition": [(10, 7)]}, title="IOI")

        Args:
            ax: Where to draw; a new figure if None.
            **options: marks: cells of a map to outline, by label or coordinates. title. centred:
                True or False overrides the colour scale. figsize: inches of a new figure.
        """
        from interp import plots

        if options.get("marks"):

            def by_label(cells):
                return [self.cells([c])[0] if isinstance(c, str) else tuple(c) for c in cells]

            options["marks"] = {name: by_label(cells) for name, cells in options["marks"].items()}
        parts = self._by_unit()
        if len(parts) > 1 and not options.get("marks"):
            if ax is not None:
                raise ValueError(
                    f"{self.name!r} has several units, a panel each: leave ax= out, or choose one"
                    f" with .sel({self.dims[0]}=[...])"
                )
            return plots.quiet(plots.side_by_side([part._picture() for part in parts], **options))
        one = parts[0] if len(parts) == 1 else self
        picture = one._picture(whole=bool(options.get("marks")))
        return plots.quiet(plots.draw(picture, ax=ax, **options))

    def _by_unit(self) -> list["Result"]:
        """The result, or where the labels of its first axis have units of their own, its parts of
        one unit each, which no one scale fits together.
        """
        units = self.metadata.get("units", {})
        labels = self.coords[self.dims[0]] if self.dims else []
        each = [units.get(label) for label in labels]
        if None in each or len(self.dims) > 2:
            return [self]
        parts = []
        for unit in dict.fromkeys(each):
            some = [label for label, of in zip(labels, each) if of == unit]
            parts.append(replace(self.sel(**{self.dims[0]: some}), unit=str(unit)))
        return parts if parts else [self]

    def savefig(
        self,
        path: str | Path,
        *,
        width: str | float = "column",
        height: float | None = None,
        **options: Any,
    ) -> Path:
        """The path of the figure, written for a paper: vector text (Type 42 fonts in a PDF), at a
        column's or a page's width.

        Example:
            >>> interp.patch(model, task, "L*H*").savefig("heads.pdf")
            >>> result.savefig("map.svg", width="page", title="Which heads bring the answer back?")

        Args:
            path: A .pdf, .svg, .eps or .png file.
            width: "column" (3.25 inches), "page" (6.75), or inches.
            height: Inches; chosen by the picture if None.
            options: Of `plot`.

        Raises:
            ValueError: If the width is none of these.
        """
        import matplotlib as mpl
        from matplotlib.figure import Figure

        from interp import plots

        if isinstance(width, str) and width not in plots.WIDTHS:
            raise unknown("width", width, plots.WIDTHS, "width='column', or inches")
        inches = plots.WIDTHS[width] if isinstance(width, str) else float(width)
        picture = self._picture(whole=bool(options.get("marks")))
        wide, tall = plots.size_of(picture)
        with mpl.rc_context(plots.PAPER):
            high = height or tall * max(0.6, inches / wide)
            figure = Figure(figsize=(inches, high), layout="constrained")
            plots.draw(picture, figure=figure, **options)
            path = Path(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=300)
        return path

    def _picture(self, whole: bool = False) -> dict[str, Any]:
        """What `plots.draw` takes; only the strongest cells where all could not be read."""
        from interp import plots

        if not whole and self.dims and plots.crowded(self.dims, self.coords):
            flat = self.values.ravel()
            order = np.argsort(
                flat if plots.low_is_best(self.unit, flat) else -np.abs(flat), kind="stable"
            )
            order = [int(i) for i in order if not np.isnan(flat[i])][: plots.STRONGEST]
            names = self.labels() if len(flat) < 5e6 else [str(i) for i in range(len(flat))]
            if self.dims[:2] == ("sender", "receiver"):
                names = [name.replace(", ", " → ", 1) for name in names]
            low = high = np.full(len(flat), np.nan)
            if order and self.examples is not None and self.examples.shape[-1] > 1:
                ends = self._bootstrap(order)
                low, high = low.copy(), high.copy()
                low[order], high[order] = ends
            interval = None if np.isnan(low).all() else (low, high)
            picture = dict(values=flat, title=self.name, unit=self.unit, interval=interval)
            picture |= self._frame()
            return plots.strongest(picture | dict(labels=names))
        interval = None
        has_spread = self.examples is not None and self.examples.shape[-1] > 1
        if has_spread and plots.kind(self.dims, self.coords) in (
            "lines",
            "bars",
        ):  # a map shows no interval
            interval = self._bootstrap()
            interval = None if np.isnan(interval[0]).all() else interval
        chosen = ", ".join(
            plots.literal(v) if isinstance(v, str) else f"{d} {v}"
            for d, v in self.metadata.get("at", {}).items()
        )
        title = f"{self.name}: {chosen}" if chosen else self.name
        return dict(
            values=self.values,
            dims=self.dims,
            coords=self.coords,
            title=title,
            unit=self.unit,
            interval=interval,
            labels=self.labels() if self.values.size <= plots.MOST_CELLS else None,
            missing=self._missing(),
            **self._frame(),
        )

    def _missing(self) -> str:
        """What a cell without a number is, in words."""
        if self.metadata.get("interrupted") or self.metadata.get("shard"):
            return "not run"
        return "failed" if self.metadata.get("failed") else "does not apply"

    def _frame(self) -> dict[str, Any]:
        """What a picture shows beside the values: the whole scale of a share, and what to compare
        with.
        """
        share = self.unit.startswith(SHARE) and 0 <= np.nanmin(self.values, initial=1)
        beside = dict(compared=self.metadata.get("compare with", {}))
        return beside | ({"span": (0.0, 1.0)} if share else {})

    def caption(self) -> str:
        """One line: name, unit, and where the numbers come from."""
        parts = [f"{self.name} ({self.unit})"]
        keys = ("pattern", "task", "n", "model", "method", "metric", "split")
        parts += [f"{k} {self.metadata[k]}" for k in keys if self.metadata.get(k) not in (None, "")]
        compared = self.metadata.get("compare with", {}).items()
        parts += [f"{name} {value:.3f}" for name, value in compared]
        parts += _asked(self.metadata) + self._notes().splitlines()[1:]
        if self.metadata.get("interrupted"):
            parts.append(f"stopped: {self.metadata['interrupted']}")
        return " · ".join(parts)

    def _repr_html_(self) -> str:
        from interp import plots

        caption = f"<div><small>{escape(self.caption())}</small></div>"
        if not self.values.size:
            return f"<div>no cells{caption}</div>"
        if not self.dims:
            return f"<div>{self.top(1)._repr_html_()}{caption}</div>"
        if "measure" in self.dims:  # each with a unit of its own: no one colour scale fits
            return f"<div>{self.table()._repr_html_()}{caption}</div>"
        try:
            picture = "".join(plots.html(part._picture(), self.name) for part in self._by_unit())
        except (
            plots.TooMuch
        ) as reason:  # too many axes or panels: the largest cells, and how to choose some
            note = f"<div><small>{escape(str(reason))}</small></div>"
            return f"<div>{self.top(10)._repr_html_()}{note}{caption}</div>"
        return f"<div>{picture}{caption}</div>"

    def __repr__(self) -> str:
        if not self.dims:
            interval = ""
            if self.examples is not None and self.examples.shape[-1] > 1:
                low, high = self._bootstrap()
                interval = "" if np.isnan(low) else f" [{low:.3g}, {high:.3g}]"
            return f"Result({self.name}: {float(self.values):.4g}{interval} {self.unit})" + (
                self._notes()
            )
        axes = ", ".join(f"{d}: {self._length(d)}" for d in self.dims)
        # what must be read side by side is shown whole, and a short axis in its own order
        count = self.values.size - int(np.isnan(self.values).sum())
        short = len(self.dims) == 1 and count <= SHORT
        whole = short or bool({"measure", "swapped"} & set(self.dims)) or count <= FEW
        rows = self.table() if whole else self.top(TOP)
        some = "" if whole else f"\n{TOP} of {count:,}, the largest in size (.top(20) has more)"
        compared = self.metadata.get("compare with", {}).items()
        beside = "".join(f"\n{name}: {value:.3f}" for name, value in compared)
        about = f"Result({self.name} [{self.unit}], {axes})"
        return f"{about}\n{rows!r}{some}{beside}{self._notes()}"

    def _length(self, dim: str) -> int | str:
        """How many labels an axis has; the name of the score, where it is the only one, and the
        two kinds of prompts, which are not how many prompts there are.
        """
        labels = self.coords[dim]
        if dim == "prompts" and labels == ["clean", "corrupted"]:
            return ", ".join(labels)
        return labels[0] if dim == "score" and len(labels) == 1 else len(labels)

    def _notes(self) -> str:
        """A line for each thing that has to be known to read the numbers: what a verb noted, and
        why ratios have no interval where they have none.
        """
        doubt = self.metadata.get("unsteady") if self._are_ratios().any() else None
        notes = [note for note in (self.metadata.get("note"), doubt) if note]
        return "".join(f"\nnote: {note}" for note in notes)

    # --- on disk ----------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """The path of the .npz file that was written (at once or not at all; no pickle)."""
        path = _store.npz_path(path)
        arrays = {"values": self.values} | (
            {} if self.examples is None else {"examples": self.examples}
        )
        return _store.write_arrays(path, self._head(_refuse), arrays)

    def _head(self, otherwise: Any) -> dict[str, Any]:
        from interp import __version__

        head = {k: getattr(self, k) for k in ("dims", "coords", "name", "unit", "metadata")}

        def plain(x):
            return x.tolist() if isinstance(x, np.generic | np.ndarray) else otherwise(x)

        return json.loads(
            json.dumps(head | {"schema": SCHEMA, "interp": __version__}, default=plain)
        )

    @staticmethod
    def load(path: str | Path) -> "Result":
        """The result that `save` wrote; `Result.load(r.save(path)) == r`.

        Raises:
            ValueError: If the file is another one, damaged, or of another version; it names the
                field that does not fit.
        """
        try:
            head, arrays = _files.read_arrays(path)
        except ValueError as error:
            raise ValueError(f"{str(path)!r} is not a result saved by interp ({error})") from None
        writer = _files.short(head.pop("interp", "another version"))
        if head.pop("schema", None) != SCHEMA:
            raise ValueError(
                f"{str(path)!r} was written by interp {writer}: another version, schema is not"
                f" {SCHEMA}"
            )
        if set(head) != {"dims", "coords", "name", "unit", "metadata"} or not {"values"} <= set(
            arrays
        ) <= {"values", "examples"}:
            raise ValueError(f"{str(path)!r} is not a result saved by interp (parts are missing)")
        try:
            return Result(**head, **arrays)
        except ValueError as error:
            raise ValueError(f"{str(path)!r} is not a result saved by interp ({error})") from None


def _asked(metadata: Mapping[str, Any]) -> list[str]:
    """What was asked beside the pattern, and how to read the numbers, for the caption."""

    def words(value: Any) -> str:
        several = isinstance(value, list | tuple)
        return ", ".join(str(one) for one in value) if several else str(value)

    parts = [f"{key} {words(metadata[key])}" for key in _ALSO if metadata.get(key)]
    measured = str(metadata.get("metric", ""))
    if measured.startswith("KL from the "):
        parts.append(f"an effect below 0: closer to {measured.removeprefix('KL from ')}")
    return parts + ([str(metadata["read"])] if metadata.get("read") else [])


def _labels(dim: str, labels: Any) -> list:
    if isinstance(labels, str | bytes | Mapping) or not hasattr(labels, "__iter__"):
        got = _files.short(labels)
        raise ValueError(f"the labels of {dim!r} are a list of numbers or words, got {got}")
    plain = [x.item() if isinstance(x, np.generic) else x for x in labels]
    wrong = [x for x in plain if not isinstance(x, int | float | str)]
    if wrong:
        raise ValueError(
            f"the labels of {dim!r} are numbers or words, got {wrong[0]!r} (try {str(wrong[0])!r})"
        )
    return plain


# what a caption also names, where it was asked
_ALSO = ("receivers", "queries", "keys", "window", "candidates")


def _common_denominator(results: Sequence[Result]) -> dict[str, Any]:
    """The first one's metadata, with the denominator of a ratio only where all share it."""
    metadata = dict(results[0].metadata)
    if any(r.metadata.get("denominator") != metadata.get("denominator") for r in results):
        metadata.pop("denominator", None)
    doubts = [r.metadata["unsteady"] for r in results if r.metadata.get("unsteady")]
    return metadata | ({"unsteady": doubts[0]} if doubts else {})


def _refuse(value: Any) -> Any:
    raise ValueError(
        f"about holds {type(value).__name__} {str(value)[:40]!r}, which JSON cannot say (try"
        " str(...) or .tolist())"
    )


def stack(results: Mapping[str, Result], axis: str = "run", *, name: str | None = None) -> Result:
    """The results side by side: one result with a new first axis, labelled by their names.

    Example:
        >>> stack({"noise": traced, "another country": patched}).plot()      # a line for each

    Args:
        results: Results by name, all with the same axes, labels and unit.
        axis: What the new axis is called.
        name: The name of the whole; the first one's if None.

    Returns:
        Values [axis, ...] in the same unit. Examples stay where every result has equally many.
        `metadata` is the first one's, without its pattern.

    Raises:
        ValueError: If a result has other axes, labels or another unit, or already has the new axis.
    """
    given = list(results.values())
    if not given or axis in given[0].dims:
        raise ValueError(
            f"stack needs results without an axis {axis!r} of their own:"
            " stack({'a': result, 'b': other}, axis='run')"
        )
    first = given[0]
    for label, result in results.items():
        if (result.dims, result.coords, result.unit) != (first.dims, first.coords, first.unit):
            raise ValueError(
                f"{label!r} ({result.unit}, axes {result.dims}) is not on the axes of the first"
                f" ({first.unit}, {first.dims})"
            )
    examples = [result.examples for result in given]
    alike = all(e is not None for e in examples) and len({e.shape for e in examples}) == 1
    metadata = _common_denominator(given)
    metadata = {k: v for k, v in metadata.items() if k not in ("pattern", "at")}
    return replace(
        first,
        values=np.stack([result.values for result in given]),
        dims=(axis, *first.dims),
        metadata=metadata | {"compared": list(results)},
        coords={axis: list(results), **first.coords},
        name=name or first.name,
        examples=np.stack(examples) if alike else None,
    )


def mean_of(results: Sequence[Result]) -> Result:
    """The mean of several results on the same axes (random sets, seeds), example by example.

    Example:
        >>> mean_of([interp.patch(model, task, heads) for heads in random_sets])

    Args:
        results: One or more results with the same axes and labels.

    Returns:
        A result like the first, with the number of results in `metadata["averaged"]`. Examples stay
        where every result has them.

    Raises:
        ValueError: If there is no result, or one has other axes.
    """
    results = list(results)
    axes = {(r.dims, repr(r.coords)) for r in results}
    if len(axes) != 1:
        raise ValueError("mean_of needs at least one result, all on the same axes")
    examples = None
    if all(r.examples is not None for r in results):
        examples = np.mean([r.examples for r in results], axis=0)
    return replace(
        results[0],
        values=np.mean([r.values for r in results], axis=0),
        examples=examples,
        metadata={**_common_denominator(results), "averaged": len(results)},
    )
