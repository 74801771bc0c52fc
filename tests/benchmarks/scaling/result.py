"""What a part of the benchmark measured, and the targets that it speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MB = 1024 * 1024
GB = 1024 * MB


@dataclass(frozen=True)
class Target:
    """What must be reached, and what was.

    Attributes:
        name: What is meant.
        value: What was measured.
        limit: The largest value that is fine.
        unit: Of both.
    """

    name: str
    value: float
    limit: float
    unit: str = ""

    @property
    def reached(self) -> bool:
        """Whether the value is within the limit."""
        return self.value <= self.limit

    def __str__(self) -> str:
        verdict = "reached" if self.reached else "MISSED"
        return f"{verdict}: {self.name}: {self.value:,.2f} {self.unit}(at most {self.limit:,.2f})"


@dataclass(frozen=True)
class Result:
    """What a part measured: figures as plain data, and the targets that they speak of."""

    figures: dict[str, Any]
    targets: list[Target]


def short(rows: int) -> str:
    """Return a number of rows as it is given on the command line."""
    if rows % 1_000_000 == 0:
        return f"{rows // 1_000_000}M"
    return f"{rows // 1000}k" if rows % 1000 == 0 else str(rows)
