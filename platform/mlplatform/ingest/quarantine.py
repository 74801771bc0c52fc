"""The quarantine: rows that could not go on, with the reason, where they came from, and what they held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa
from pydantic import BaseModel

from mlplatform.ingest import provenance
from mlplatform.ops.result import Details

REASON = "reason"
CONTENT = "content"
MALFORMED = "malformed_line"

LARGE_SHARE = 0.1
"""From this share of a file's rows on, a run says so aloud; less is on record in the table and the counts alone."""
_FILES = 3


def quarantine_schema() -> pa.Schema:
    """Return the schema of every quarantine table.

    `_row` of a malformed line is the number of the line in its file, as editors count: the first one is 1.
    """
    return pa.schema(
        [
            *provenance.FIELDS,
            pa.field(REASON, pa.string(), nullable=False, metadata={"comment": "Names of what the row fails"}),
            pa.field(CONTENT, pa.string(), metadata={"comment": "The row as it landed (JSON, or the line)"}),
        ]
    )


class LargeQuarantine(BaseModel):
    """Files of which a large part was quarantined: no row is lost, but whoever delivered them should hear of it.

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

    @classmethod
    def find(cls, table: str, rows: Mapping[str, int], counts: Mapping[tuple[str, str], int]) -> LargeQuarantine | None:
        """Return the files of which a large part was quarantined; None if there is none.

        Args:
            table: Bare name of the quarantine table.
            rows: File -> all its rows.
            counts: File and reason -> how many rows were quarantined.

        Examples:
            >>> rows = {"a.csv": 4, "b.csv": 100}
            >>> counts = {("a.csv", "late"): 3, ("b.csv", "late"): 1}
            >>> large = LargeQuarantine.find("quarantine_loans", rows, counts)
            >>> large.rows, large.of, large.files, large.reason
            (3, 4, ('a.csv',), 'late')
            >>> LargeQuarantine.find("quarantine_loans", rows, {("b.csv", "late"): 9}) is None
            True
        """
        by_file: Counter[str] = Counter()
        for (file, _), number in counts.items():
            by_file[file] += number
        files = tuple(file for file, number in sorted(by_file.items()) if number >= LARGE_SHARE * rows[file])
        if not files:
            return None
        by_reason: Counter[str] = Counter()
        for (file, reason), number in counts.items():
            if file in files:
                by_reason[reason] += number
        reason = max(sorted(by_reason), key=lambda name: by_reason[name])
        return cls(
            table=table,
            rows=by_reason.total(),
            of=sum(rows[file] for file in files),
            files=files,
            reason=reason,
            reason_rows=by_reason[reason],
        )

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


class QuarantineDetails(Details):
    """Details of a stage that quarantines rows.

    Attributes:
        large_quarantine: Files of which a large part was quarantined.
    """

    large_quarantine: Sequence[LargeQuarantine] = ()

    def say_large(self, large: LargeQuarantine | None, use_case: str) -> None:
        """Say aloud, and record, that a large part of files was quarantined."""
        if large is not None:
            self.large_quarantine = [*self.large_quarantine, large]
            self.note(large.text(use_case))
