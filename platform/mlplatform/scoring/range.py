"""A range of prediction times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mlplatform.protocols.tables import Filter


@dataclass(frozen=True)
class Range:
    """Prediction times that are looked at.

    Attributes:
        start: From here.
        until: Up to here, included.
        inclusive: Whether `start` is included.
    """

    start: datetime
    until: datetime
    inclusive: bool = False

    def filters(self, column: str) -> list[Filter]:
        """Return the conditions on a column of times."""
        return [(column, ">=" if self.inclusive else ">", self.start), (column, "<=", self.until)]
