"""A workspace as it would be after an edit: what a use case's code reads when a plan computes its tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from mlplatform.change.declared import DeclaredTable
from mlplatform.naming import quote
from mlplatform.ops.context import StageContext
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import Filter
from mlplatform.refine.as_of_view import ViewedTable, WorkspaceAsOf
from mlplatform.refine.landed_rows import LandedRows
from mlplatform.refine.silver import BATCH, CORRECTED_AT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Stretch = tuple[datetime, datetime]
"""Times, both ends included."""


@dataclass(frozen=True)
class Computed:
    """A table's rows by its new declaration, as a write would take them.

    Attributes:
        rows: The rows.
        known: Which rows of the existing table they are compared with.
        stretches: The stretches of time that were computed; empty where all were.
        held: Rows of the existing table, where not all were computed; else 0.
        seconds: How long computing took.
    """

    rows: Frame
    known: list[Filter]
    stretches: tuple[Stretch, ...] = ()
    held: int = 0
    seconds: float = 0.0


@dataclass
class Anew:
    """Tables as their new declarations give them, computed once, for those that are computed from them.

    Attributes:
        context: The run.
        rows: Bare name, as declared -> the rows.
        known_at: Bare name, as declared -> the column that says when a row was known.
        keys: Bare name, as declared -> what identifies a record.
        stretches: Bare name, as declared -> the stretches of time that were computed, where not all was.
    """

    context: StageContext
    rows: dict[str, Frame] = field(default_factory=dict)
    known_at: dict[str, str | None] = field(default_factory=dict)
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    stretches: dict[str, tuple[Stretch, ...]] = field(default_factory=dict)
    _in_spark: dict[str, DataFrame] = field(default_factory=dict)

    def add(self, table: DeclaredTable, computed: Computed) -> None:
        """Take a table's rows over."""
        bare = table.bare
        self.rows[bare], self.known_at[bare] = computed.rows, table.timeseries_column
        self.stretches[bare], self.keys[bare] = computed.stretches, table.primary_keys

    def in_spark(self, bare: str) -> DataFrame:
        """Return a table's rows for a use case's code."""
        if bare not in self._in_spark:
            self._in_spark[bare] = self.context.ws.frames.to_spark(self.rows[bare])
        return self._in_spark[bare]


class ChangedView(WorkspaceAsOf):
    """A workspace in which some tables hold what their new declarations give, and the others what a run saw of them."""

    def __init__(
        self, anew: Anew, as_of: datetime, *, allowed: Collection[str], landed_by: datetime, batches: Mapping[str, int]
    ) -> None:
        """Look at a workspace.

        Args:
            anew: The tables that changed.
            as_of: Rows known later are left out.
            allowed: Bare names of the tables that may be read.
            landed_by: Rows that landed later are left out.
            batches: Bare name of a silver table -> the newest of its batches that counts; default: all.
        """
        context = anew.context
        super().__init__(context.ws, context.namespace, as_of, allowed=allowed)
        self._landed_by = landed_by
        self._anew, self._batches = anew, batches

    def _rows(self, bare: str) -> ViewedTable:
        from pyspark.sql import functions as F  # noqa: N812

        anew = self._anew
        if bare in anew.rows:
            columns = anew.rows[bare].collect_schema().names()
            return ViewedTable(anew.in_spark(bare), columns, anew.known_at[bare], anew.keys[bare])
        table = super()._rows(bare)
        if bare in self._batches and BATCH in table.columns:
            table = replace(table, rows=table.rows.where(F.col(BATCH) <= F.lit(self._batches[bare])))
        return table

    def _keeps_corrections(self, bare: str) -> bool:
        if bare in self._anew.rows:
            return CORRECTED_AT in self._anew.rows[bare].collect_schema().names()
        return super()._keeps_corrections(bare)

    def _times_of_corrections(self, bare: str) -> Frame:
        if bare in self._anew.rows:
            return self._anew.rows[bare].select(CORRECTED_AT)
        return super()._times_of_corrections(bare)


@dataclass(frozen=True)
class LandedAsDeclared(LandedRows):
    """Landed rows as a changed source has them: what it does not name is null, as in what lands from now on.

    Attributes:
        held: The columns that bronze holds.
        ours: Those among them that the platform adds.
    """

    held: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()

    def _landed(self) -> DataFrame:
        from pyspark.sql import functions as F  # noqa: N812

        rows, declared = super()._landed(), self.silver.source.columns
        none = F.lit(None).cast("string")
        gone = [name for name in self.held if name not in declared and name not in self.ours]
        new = [name for name in declared if name not in self.held]
        if not gone and not new:
            return rows
        kept = (F.col(quote(name)) for name in self.held if name not in gone)
        return rows.select(*kept, *(none.alias(name) for name in (*gone, *new)))
