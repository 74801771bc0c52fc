"""The workspace as it was known at `as_of`: what a use case's own code reads from, so that it cannot see the future."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING

from mlplatform.errors import TableError, did_you_mean
from mlplatform.ingest.provenance import AVAILABLE_AT
from mlplatform.refine.silver import BATCH, SilverTable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from mlplatform.naming import Namespace
    from mlplatform.ops.context import StageContext
    from mlplatform.protocols.workspace import Workspace


class WorkspaceAsOf:
    """Reads tables of one use case, with only the rows known at a time, each table pinned at one Delta version.

    See the glossary: docs/glossary.md

    Attributes:
        as_of: The time.
        inputs: Table -> Delta version of everything read so far, for the run's record.

    Examples:
        >>> from datetime import UTC
        >>> from mlplatform.naming import Namespace
        >>> def read_at_new_year(ws, table):
        ...     view = WorkspaceAsOf(
        ...         ws, Namespace("dev", "credit_risk"), datetime(2020, 1, 1, tzinfo=UTC), allowed=("silver_loans",)
        ...     )
        ...     return view.read(table)
        >>> read_at_new_year(None, "silver_loan")
        Traceback (most recent call last):
        mlplatform.errors.TableError: silver_loan is read, but not declared as an input.
        Hint: Add it to 'inputs'. Did you mean silver_loans?
    """

    def __init__(
        self,
        ws: Workspace,
        namespace: Namespace,
        as_of: datetime,
        *,
        allowed: Collection[str] | None = None,
        landed_only: bool = True,
    ) -> None:
        """Look at a workspace as of a time.

        Args:
            ws: The workspace.
            namespace: The use case's.
            as_of: Rows known later are left out.
            allowed: Bare names of the tables that may be read; default all.
            landed_only: Also leave out what had not landed by then although it was known. The leak check looks at
                known-at alone: a drop that comes late is not a leak.
        """
        self._ws = ws
        self._namespace = namespace
        self._allowed = allowed
        self._landed_by = as_of if landed_only else None
        self.as_of = as_of
        self.inputs: dict[str, int] = {}

    @property
    def spark(self) -> SparkSession:
        """The Spark session."""
        return self._ws.spark

    def read(self, table: type[SilverTable] | str) -> DataFrame:
        """Return the rows of a silver or gold table that were known.

        Args:
            table: A silver table's class, or a bare name, as in `silver_loans`.

        Raises:
            TableError: If the table does not exist, or is not among the declared inputs.
        """
        from pyspark.sql import functions as F  # noqa: N812

        bare = table if isinstance(table, str) else f"silver_{table.name}"
        if self._allowed is not None and bare not in self._allowed:
            raise TableError(
                f"{bare} is read, but not declared as an input.",
                hint=f"Add it to 'inputs'. {did_you_mean(bare, self._allowed)}",
            )
        frame, columns, known_at = self._rows(bare)
        for column, until in ((known_at, self.as_of), (AVAILABLE_AT, self._landed_by)):
            if column in columns and until is not None:
                frame = frame.where(F.col(str(column)) <= F.lit(until))
        return frame.drop(*(column for column in (BATCH,) if column in columns))

    def _rows(self, bare: str) -> tuple[DataFrame, list[str], str | None]:
        """Return all rows of a table, pinned at one version, its columns, and its timeseries column."""
        name = self._namespace.table(bare)
        info = self._ws.tables.describe(name)
        version = self.inputs.setdefault(str(name), info.version)
        return self._ws.tables.read(name, version=version), info.schema.names, info.timeseries_column


def view_at(context: StageContext, allowed: Collection[str] | None = None) -> WorkspaceAsOf:
    """Return the workspace as known at a run's `as_of`.

    Args:
        context: The run.
        allowed: The tables that may be read; None: all.
    """
    return WorkspaceAsOf(context.ws, context.namespace, context.as_of, allowed=allowed)
