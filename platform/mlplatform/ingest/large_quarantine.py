"""Files of which a large part was quarantined: no row is lost, but whoever delivered them should hear of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlplatform.ops import markers
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult

LARGE_SHARE = 0.1
"""From this share of a file's rows on, a run says so aloud; less is on record in the table and the counts alone."""
_FILES = 3


@dataclass(frozen=True)
class LargeQuarantine:
    """Files of a table with a large part in the quarantine.

    Attributes:
        table: Bare name of the quarantine table.
        rows: Rows of these files that were quarantined.
        of: All rows of these files.
        files: The files.
        reason: The most frequent reason.
        reason_rows: Rows with that reason.
    """

    table: str
    rows: int
    of: int
    files: tuple[str, ...]
    reason: str
    reason_rows: int

    def text(self, use_case: str) -> str:
        """Return it as a sentence, with the command to look at the rows."""
        listed = ", ".join(self.files[:_FILES])
        more = f" and {len(self.files) - _FILES} more" if len(self.files) > _FILES else ""
        name = self.table.removeprefix("quarantine_")
        return (
            f"{self.table}: {self.rows} of {self.of} rows of {len(self.files)} file(s) were quarantined "
            f"({listed}{more}), {self.reason_rows} of them as {self.reason}. "
            f"Look at them: mlplatform quarantine {use_case} --table {name}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "files": list(self.files)}


def large(table: str, rows: Mapping[str, int], reasons: Mapping[str, Sequence[str]]) -> LargeQuarantine | None:
    """Return the files of which a large part was quarantined; None where there is none.

    Args:
        table: Bare name of the quarantine table.
        rows: File -> all its rows.
        reasons: File -> the reason of each of its quarantined rows.

    Examples:
        >>> found = large("quarantine_loans", {"a.csv": 4, "b.csv": 100}, {"a.csv": ["late"] * 3, "b.csv": ["late"]})
        >>> found.rows, found.of, found.files, found.reason
        (3, 4, ('a.csv',), 'late')
        >>> large("quarantine_loans", {"b.csv": 100}, {"b.csv": ["late"] * 9}) is None
        True
    """
    files = tuple(name for name in sorted(reasons) if reasons[name] and len(reasons[name]) >= LARGE_SHARE * rows[name])
    if not files:
        return None
    counts: dict[str, int] = {}
    for name in files:
        for reason in reasons[name]:
            counts[reason] = counts.get(reason, 0) + 1
    reason = max(sorted(counts), key=lambda item: counts[item])
    return LargeQuarantine(
        table, sum(counts.values()), sum(rows[name] for name in files), files, reason, counts[reason]
    )


def say_large(context: StageContext, found: LargeQuarantine | None, result: StageResult[Any]) -> None:
    """Say aloud, and record, that a large part of files was quarantined."""
    if found is not None:
        result.details.setdefault("large_quarantine", []).append(found.to_dict())
        markers.note(result, found.text(context.name))
