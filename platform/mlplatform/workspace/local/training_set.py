"""A spine extended by features: planned when declared, computed when loaded, at the newest or the recorded versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from mlplatform.features.training_set import LookupPlan, make_plan
from mlplatform.protocols.lineage import TableVersion
from mlplatform.workspace.local import lookup_engine
from mlplatform.workspace.local.feature_tables import OpenDeltaTable, open_tables
from mlplatform.workspace.local.lookup_sources import Sources
from mlplatform.workspace.local.parquet_rows import ParquetRows
from mlplatform.workspace.shared.training_set import Declaration, SpineWithFeatures

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

    from mlplatform.workspace.local.feature_frames import FrameExchange
    from mlplatform.workspace.local.tables import LocalTables


@dataclass(frozen=True)
class Engine:
    """What a training set needs of its workspace."""

    tables: LocalTables
    exchange: FrameExchange
    memory_limit: str | None


class LocalTrainingSet(SpineWithFeatures):
    """A training set that DuckDB computes.

    The spine is held as Arrow or, larger, in a file of the scratch folder, so that it stays what it was when the
    training set was made.
    """

    def __init__(
        self,
        engine: Engine,
        frame: pa.Table | ParquetRows,
        declaration: Declaration,
        recorded: Mapping[str, OpenDeltaTable],
    ) -> None:
        """Hold the spine and the tables' versions; use `ws.fe.create_training_set` instead."""
        super().__init__(declaration, frame.schema, _versions(recorded))
        self._engine = engine
        self._frame = frame

    def example(self) -> pd.DataFrame:
        """Return the spine's first row, with the columns that the model takes from it."""
        names = [item.output_name for item in self._spec.sources]
        first = self._frame.first() if isinstance(self._frame, ParquetRows) else self._frame.slice(0, 1)
        frame: pd.DataFrame = first.select(names).to_pandas()
        return frame

    def load_df(self, *, as_recorded: bool = False) -> DataFrame:
        """Return the rows as a Spark DataFrame."""
        columns, tables, plan = self._prepare(as_recorded)
        schema = pa.schema([plan.schema.field(name) for name in columns])
        return self._engine.exchange.to_spark(self._batches(columns, tables, plan), schema)

    def to_arrow(self, *, as_recorded: bool = False) -> pa.Table:
        """Return the rows as Arrow."""
        columns, tables, plan = self._prepare(as_recorded)
        schema = pa.schema([plan.schema.field(name) for name in columns])
        return pa.Table.from_batches(list(self._batches(columns, tables, plan)), schema=schema)

    def to_batches(self, *, as_recorded: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield the rows as Arrow batches, no more than one in memory beside what is looked up."""
        return self._batches(*self._prepare(as_recorded))

    def to_rows(self, *, as_recorded: bool = False) -> pa.RecordBatchReader:
        """Return the rows as a stream of batches."""
        columns, tables, plan = self._prepare(as_recorded)
        schema = pa.schema([plan.schema.field(name) for name in columns])
        return pa.RecordBatchReader.from_batches(schema, self._batches(columns, tables, plan))

    def _prepare(self, as_recorded: bool) -> tuple[list[str], Mapping[str, OpenDeltaTable], LookupPlan]:
        names = [table.table_name for table in self._spec.tables]
        tables = open_tables(self._engine.tables, names, versions=self.recorded_versions if as_recorded else None)
        if as_recorded:
            self._check_recorded({name: table.table_id for name, table in tables.items()})
        else:
            self._loaded = _versions(tables)
        infos = {name: table.info for name, table in tables.items()}
        # Types and defaults of every column of the spec are checked, also of those that only feed others.
        outputs = [column.output_name for column in self._spec.columns]
        plan = make_plan(self._spec, self._spine, outputs=outputs, tables=infos, functions=self._declaration.functions)
        return [*self._spec.included, *self._labels], tables, plan

    def _batches(
        self, columns: Sequence[str], tables: Mapping[str, OpenDeltaTable], plan: LookupPlan
    ) -> Iterator[pa.RecordBatch]:
        sources = Sources(
            tables={name: table.handle for name, table in tables.items()},
            functions=self._declaration.functions,
            scratch=self._engine.exchange.scratch,
            memory_limit=self._engine.memory_limit,
        )
        return lookup_engine.run(plan, self._frame, columns, sources)


def _versions(tables: Mapping[str, OpenDeltaTable]) -> dict[str, TableVersion]:
    return {name: TableVersion(name, table.table_id, table.info.version) for name, table in tables.items()}
