"""The quarantine: rows that could not go on, with the reason, where they came from, and what they held."""

from __future__ import annotations

import pyarrow as pa

from mlplatform.ingest import provenance

REASON = "reason"
CONTENT = "content"
MALFORMED = "malformed_line"


def quarantine_schema() -> pa.Schema:
    """Return the schema of every quarantine table."""
    return pa.schema(
        [
            *provenance.FIELDS,
            pa.field(REASON, pa.string(), nullable=False, metadata={"comment": "Names of what the row fails"}),
            pa.field(CONTENT, pa.string(), metadata={"comment": "The row as it landed (JSON, or the line)"}),
        ]
    )
