"""What a live model version answers: how its predictions move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mlplatform.statistics.metrics import Vector

NOTICEABLE = 0.01
"""A prediction that moves by more than this is counted as moved."""


@dataclass(frozen=True)
class PredictionShift:
    """How predictions of a live version move.

    Attributes:
        rows: Predictions that were scored again.
        moved: Those that move by more than `NOTICEABLE`, or cannot be made any more.
        largest: The largest difference.
        mean_before: Their mean as they are; of several classes that of the largest probability.
        mean_after: Their mean as they would be.
    """

    rows: int
    moved: int
    largest: float
    mean_before: float
    mean_after: float

    @property
    def share(self) -> float:
        """The share of the predictions that move noticeably."""
        return self.moved / self.rows if self.rows else 0.0

    def __str__(self) -> str:
        """Return it as a plan says it."""
        text = f"{self.share * 100:.1f} % of rows move by more than {NOTICEABLE:g}"
        return f"{text} ({self.rows:,} asked, mean {self.mean_before:.4f} → {self.mean_after:.4f})"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "rows": self.rows,
            "moved": self.moved,
            "share": self.share,
            "by_more_than": NOTICEABLE,
            "largest": self.largest,
            "mean_before": self.mean_before,
            "mean_after": self.mean_after,
        }


@dataclass(frozen=True)
class Answer:
    """What a live version says of one change.

    Attributes:
        moved: How its predictions move; None where it could not be asked.
        why_not: Why it could not; empty where it could.
        fails: Whether it could not because code of the use case fails.
    """

    moved: PredictionShift | None = None
    why_not: str = ""
    fails: bool = False

    def __str__(self) -> str:
        """Return it as a plan says it."""
        return f"predictions: {self.moved}" if self.moved is not None else f"not asked: {self.why_not}"


def _of_classes(*columns: pa.ChunkedArray[Any]) -> list[Vector]:
    """Return lists of probabilities as matrices of one width; a class that a shorter list does not know has 0."""
    rows = [column.to_pylist() for column in columns]
    width = max((len(row) for column in rows for row in column if row is not None), default=0)
    found = []
    for column in rows:
        whole = np.full((len(column), width), np.nan)
        for place, row in enumerate(column):
            if row is not None:
                whole[place] = [*row, *[0.0] * (width - len(row))]
        found.append(whole)
    return found


def moved(before: pa.ChunkedArray[Any], after: pa.ChunkedArray[Any]) -> PredictionShift:
    """Return how predictions move.

    Args:
        before: The predictions as they are; of several classes the probabilities.
        after: The same rows' as they would be; null where one cannot be made any more.
    """
    if pa.types.is_list(after.type):
        both = _of_classes(before, after)
        # The row has moved as far as the class that moved most; its mean is that of the class that is predicted.
        apart = np.abs(both[1] - both[0]).max(axis=1, initial=0.0)
        then, now = (values.max(axis=1, initial=0.0) for values in both)
    else:
        then, now = (np.asarray(values.cast(pa.float64()).to_numpy(), dtype=np.float64) for values in (before, after))
        apart = np.abs(now - then)
    # A prediction that cannot be made any more has moved, however far; one that never could has not.
    far = int((~(apart <= NOTICEABLE) & ~(np.isnan(then) & np.isnan(now))).sum())
    finite = apart[np.isfinite(apart)]
    return PredictionShift(
        rows=then.size,
        moved=far,
        largest=float(finite.max()) if finite.size else 0.0,
        mean_before=float(np.nanmean(then)),
        mean_after=float(np.nanmean(now)) if np.isfinite(now).any() else float("nan"),
    )
