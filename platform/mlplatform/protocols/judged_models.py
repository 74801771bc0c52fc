"""The digest of each model version that a decision judged, as whoever loads a version looks it up.

The tags of a version can be set by whoever registers versions; the record of decisions only by who decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlplatform.as_of import parse_as_of
from mlplatform.naming import LEVELS, ops_table

if TYPE_CHECKING:
    from datetime import datetime

    from mlplatform.protocols.tables import Tables

DECISIONS = "gate_decisions"
"""The platform's table of decisions, see `ops.records`; the columns are those of `GateEvent`."""
_MODEL, _VERSION, _DIGEST, _AT = "model", "challenger_version", "artifact_digest", "recorded_at"
_MOST = 100_000


@dataclass(frozen=True)
class JudgedModels:
    """The decisions of all environments that a workspace reads.

    Attributes:
        tables: The workspace's tables.
        prefix: What is put before the names of schemas.
    """

    tables: Tables
    prefix: str = ""

    def digest(self, model: str, version: int, created_at: datetime) -> str:
        """Return the digest that the first decision about a version recorded; its files never change after it.

        Args:
            model: The registered model's name.
            version: The version.
            created_at: When it was created: a model that was deleted and created again counts from 1 again.

        Returns:
            The digest; empty where nothing was decided about it, or by a release that kept no digest only.

        Raises:
            TableError: If the record cannot be read: that is not taken for "nothing was decided".
        """
        if model.count(".") != LEVELS - 1:
            return ""
        decisions = ops_table(model.partition(".")[0], DECISIONS, self.prefix)
        if not self.tables.exists(decisions):
            return ""
        rows = self.tables.to_arrow(decisions, at_most=_MOST, filters=[(_VERSION, "=", version)])
        if _DIGEST not in rows.column_names:
            return ""
        # Unity Catalog takes names in any case.
        found = [
            row
            for row in rows.select([_MODEL, _DIGEST, _AT]).to_pylist()
            if row[_DIGEST] and row[_MODEL].lower() == model.lower() and parse_as_of(row[_AT]) >= created_at
        ]
        return str(min(found, key=lambda row: row[_AT])[_DIGEST]) if found else ""
