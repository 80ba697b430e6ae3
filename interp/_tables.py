"""Tables: the rows of a ranking or of a few numbers, drawn in a terminal and in a notebook."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True)
class Top:
    """The rows of a ranking: (label, value, low, high), drawn as a small table."""

    rows: tuple[tuple[str, float, float | None, float | None], ...]
    name: str
    unit: str
    units: tuple[str, ...] = ()  # of each row, where they differ

    @property
    def labels(self) -> list[str]:
        """The labels alone, best first."""
        return [row[0] for row in self.rows]

    @property
    def _interval(self) -> bool:
        """Whether a row has an interval."""
        return any(low is not None for _, _, low, _ in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Any:
        return iter(self.rows)

    def _lines(self) -> Sequence[tuple[str, str, str]]:
        def show(x):
            text = f"{x:+.3f}" if abs(x) < 100 else f"{x:+.4g}"
            return "0.000" if text == "-0.000" else text

        units = [f" {unit.split(' (')[0]}" for unit in self.units] or [""] * len(self.rows)
        return [
            (label, show(v) + unit, "" if low is None else f"{show(low)} to {show(high)}")
            for (label, v, low, high), unit in zip(self.rows, units)
        ]

    def __repr__(self) -> str:
        lines = self._lines()
        wide = max((len(label) for label, _, _ in lines), default=4)
        value_wide = max((len(value) for _, value, _ in lines), default=9)
        align = "<" if self.units else ">"
        body = "\n".join(
            f"{label:<{wide}}  {value:{align}{max(9, value_wide)}}  {interval}"
            for label, value, interval in lines
        )
        interval = ", 95 % interval" if self._interval else ""
        return f"{self.name} ({self.unit}{interval})\n{body}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{escape(a)}</td><td>{b}</td><td>{c}</td></tr>"
            for a, b, c in self._lines()
        )
        head = (
            f"<tr><th></th><th>{escape(self.name)}<br><small>{escape(self.unit)}</small></th>"
            f"<th>{'95 % interval' if self._interval else ''}</th></tr>"
        )
        return f"<table>{head}{rows}</table>"
