"""A line of the table of figures: what was measured, against what, and what it should have been."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Line:
    """A figure.

    Attributes:
        what: What was measured, in words.
        value: What it came to.
        unit: Of the value, and of what it is held against.
        against: What it is held against, in words; empty: nothing.
        other: What that came to, in the same run.
        limit: What the ratio (the value itself, where it is held against nothing) should be.
        at_least: Whether the limit is the least; else the most.
        peak_mb: The largest resident memory meanwhile, in MB; None: not watched.
    """

    what: str
    value: float
    unit: str = "s"
    against: str = ""
    other: float | None = None
    limit: float | None = None
    at_least: bool = False
    peak_mb: float | None = None

    @property
    def ratio(self) -> float | None:
        """The value by the other's."""
        return None if self.other is None else self.value / self.other

    @property
    def reached(self) -> bool | None:
        """Whether the limit is kept; None: there is none."""
        if self.limit is None:
            return None
        judged = self.value if self.ratio is None else self.ratio
        return judged >= self.limit if self.at_least else judged <= self.limit

    def cells(self) -> list[str]:
        """Return the line as cells of a table, in the order of `HEAD`."""
        of_other = "" if self.other is None else f"{self.against}: {_number(self.other)} {self.unit}"
        sign, verdict = ("≥" if self.at_least else "≤"), {True: "reached", False: "**missed**", None: ""}[self.reached]
        return [
            self.what,
            f"{_number(self.value)} {self.unit}",
            of_other,
            "" if self.ratio is None else f"{self.ratio:.2f}",
            "" if self.limit is None else f"{sign} {_number(self.limit)}",
            verdict,
            "" if self.peak_mb is None else f"{self.peak_mb:,.0f} MB",
        ]


HEAD = ("what", "figure", "against", "ratio", "target", "", "peak memory")


def markdown(lines: Iterable[Line]) -> str:
    """Return lines as a Markdown table."""
    rows = [HEAD, ("---",) * len(HEAD), *(line.cells() for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write(path: str | Path | None, lines: Iterable[Line]) -> None:
    """Write lines as JSON, for `bench.py` to read; None: nowhere."""
    if path is not None:
        Path(path).write_text(json.dumps([asdict(line) for line in lines]), encoding="utf-8")


def read(path: Path) -> list[Line]:
    """Read what a benchmark wrote."""
    items: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return [Line(**item) for item in items]


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"
