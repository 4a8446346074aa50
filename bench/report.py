"""Figures, and the table that prints them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

COLUMNS = ("figure", "value", "must", "aim", "result", "how")


class Better(StrEnum):
    """Whether a value must be above or below `must` and `aim`."""

    HIGHER = "≥"
    LOWER = "≤"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured value in `unit`. Without `must` and `aim` it is only informative."""

    name: str
    value: float
    unit: str
    how: str
    better: Better = Better.HIGHER
    must: float | None = None
    aim: float | None = None

    @property
    def is_failed(self) -> bool:
        return self.must is not None and not self._reaches(self.must)

    @property
    def result(self) -> str:
        if self.is_failed:
            return "FAIL"
        if self.aim is not None and not self._reaches(self.aim):
            return "aim missed" if self.must is None else "pass, aim missed"
        return "" if self.must is None and self.aim is None else "pass"

    def row(self) -> tuple[str, ...]:
        return (
            self.name,
            f"{number(self.value)} {self.unit}",
            self._limit(self.must),
            self._limit(self.aim),
            self.result,
            self.how,
        )

    def _reaches(self, limit: float) -> bool:
        return self.value >= limit if self.better is Better.HIGHER else self.value <= limit

    def _limit(self, limit: float | None) -> str:
        return "" if limit is None else f"{self.better} {number(limit)}"


def number(value: float) -> str:
    """`4,123`, `12.3`, `0.214`: three digits, or all digits before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table with aligned columns."""
    rows = [COLUMNS, *(figure.row() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: a `share` of the values is at most this. Raises
    ValueError if there are none."""
    if not values:
        raise ValueError("nothing was measured")
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]
