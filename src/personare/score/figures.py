"""The result of a score: rows that people and scripts read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "below", "not measured"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. unit: "ed" are eye distances. bar: in words, with unit. value: None where the
    clip gives nothing to measure; then `note` says why.
    """

    name: str
    value: float | None
    unit: str
    bar: str
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """A clip's rows, and what was measured."""

    clip: str
    speech: str
    frames: int
    fps: float
    width: int
    height: int
    seconds: float
    rows: tuple[Figure, ...]

    def __getitem__(self, name: str) -> Figure:
        """The row of that name. Raises KeyError."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def value(self, name: str) -> float:
        """The value of a row that was measured. Raises KeyError for one that was not."""
        value = self[name].value
        if value is None:
            raise KeyError(f"{name}: {self[name].note}")
        return value


def at_least(name: str, value: float | None, bar: float, unit: str = "", note: str = "") -> Figure:
    """A figure that passes at `bar` or above."""
    verdict: Verdict = "not measured" if value is None else "pass" if value >= bar else "below"
    return Figure(name, value, unit, f">= {bar:g}{_unit(unit)}", verdict, note)


def at_most(name: str, value: float | None, bar: float, unit: str = "", note: str = "") -> Figure:
    """A figure that passes at `bar` or below; its sign does not count."""
    verdict: Verdict = "not measured" if value is None else "pass" if abs(value) <= bar else "below"
    return Figure(name, value, unit, f"<= {bar:g}{_unit(unit)}", verdict, note)


def within(name: str, value: float | None, low: float, high: float, unit: str = "", note: str = "") -> Figure:
    """A figure that passes from `low` to `high`."""
    verdict: Verdict = "not measured" if value is None else "pass" if low <= value <= high else "below"
    return Figure(name, value, unit, f"{low:g} to {high:g}{_unit(unit)}", verdict, note)


def table(rows: Sequence[Figure]) -> list[str]:
    """Lines for people: what, value, bar, verdict, note, the first four in columns."""
    cells = [(row.name, value_text(row), row.bar, row.verdict) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    columns = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells
    )
    return [f"{line}  {row.note}".rstrip() for line, row in zip(columns, rows, strict=True)]


def value_text(row: Figure) -> str:
    """The value with its unit, three significant digits."""
    if row.value is None:
        return "-"
    digits = 0 if abs(row.value) >= 100 or row.value == int(row.value) else 1 if abs(row.value) >= 10 else 3
    return f"{row.value:.{digits}f}{_unit(row.unit)}"


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""
