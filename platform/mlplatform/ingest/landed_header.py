"""The columns of a landed file against those that its source declares."""

from __future__ import annotations

from collections.abc import Sequence

from mlplatform.errors import StageError
from mlplatform.ingest.dialect import DELIMITERS
from mlplatform.ingest.source import Source

_LONGEST = 2000


def check_columns(shown: str, header: Sequence[str], source: Source) -> None:
    """Refuse a file that lacks declared columns, or has a column twice.

    Args:
        shown: The file, as messages name it.
        header: Its columns.
        source: Declares columns.

    Raises:
        StageError: Naming the columns.
    """
    missing = [column for column in source.columns if column not in header]
    if missing:
        raise StageError(
            f"{shown} lacks the column(s) {_brief(', '.join(missing))} that source {source.name} declares; "
            f"its header is: {_brief(', '.join(header))}.",
            hint=_other_delimiter(header, source)
            or "The schema of the drop changed: adapt the source's columns, or have the file delivered again.",
        )
    repeated = sorted({column for column in header if header.count(column) > 1})
    if repeated:
        text = f"{shown} has the column(s) {_brief(', '.join(repeated))} twice."
        raise StageError(text, hint="Have it delivered again.")


def _brief(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _other_delimiter(header: Sequence[str], source: Source) -> str:
    """Say that a header is separated by something else, where it is one column and that is why."""
    if source.format != "csv" or len(header) > 1 or len(source.columns) == 1:
        return ""
    found = [mark for mark in DELIMITERS if mark != source.dialect.delimiter and mark in header[0]]
    if not found:
        return ""
    return (
        f"The source declares {source.dialect.delimiter!r} between values, and this file has {found[0]!r}: have it "
        f"delivered again; or, if all its files are so, declare Dialect(delimiter={found[0]!r})."
    )
