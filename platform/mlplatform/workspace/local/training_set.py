"""A spine extended by features: planned when declared, computed when loaded, at the newest or the recorded versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.features.model_frame import model_frame
from mlplatform.features.training_set import Plan, make_plan
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.lineage import RULE, Lineage, TableVersion
from mlplatform.types import spark_type
from mlplatform.workspace.local import lookup_engine
from mlplatform.workspace.local.feature_tables import OpenTable, open_tables

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

    from mlplatform.protocols.functions import FunctionInfo
    from mlplatform.workspace.local.feature_frames import FrameExchange
    from mlplatform.workspace.local.tables import LocalTables


@dataclass(frozen=True)
class Engine:
    """What a training set needs of its workspace."""

    tables: LocalTables
    exchange: FrameExchange
    memory_limit: str | None


class LocalTrainingSet:
    """A training set; see `mlplatform.protocols.feature_client.TrainingSet`.

    The spine is held as Arrow, so that it stays what it was when the training set was made.
    """

    extra_pip_requirements: tuple[str, ...] = ()
    """What a named feature spec asks to go into the models trained on it."""

    def __init__(
        self,
        engine: Engine,
        frame: pa.Table,
        spec: FeatureSpec,
        labels: Sequence[str],
        functions: Mapping[str, FunctionInfo],
        recorded: Mapping[str, OpenTable],
    ) -> None:
        """Plan the training set; use `ws.fe.create_training_set` instead.

        Raises:
            FeatureStoreError: If the spec cannot be computed on this spine.
        """
        self._engine = engine
        self._frame = frame
        self._labels = tuple(labels)
        self._functions = functions
        self._recorded = dict(recorded)
        self._loaded = dict(recorded)
        plan = self._plan(spec, recorded)
        self._spec = spec.with_types({field.name: spark_type(field.type) for field in plan.schema})

    @property
    def feature_spec(self) -> FeatureSpec:
        """What travels with the model: columns, sources, keys, functions."""
        return self._spec

    @property
    def labels(self) -> tuple[str, ...]:
        """The label columns."""
        return self._labels

    @property
    def label_types(self) -> dict[str, str]:
        """Spark type by label."""
        return {name: spark_type(self._frame.schema.field(name).type) for name in self._labels}

    @property
    def recorded_versions(self) -> dict[str, int]:
        """The Delta version of each table when the training set was made."""
        return {name: table.version for name, table in sorted(self._recorded.items())}

    @property
    def lineage(self) -> Lineage:
        """The tables, at the versions that were loaded last (or else recorded), and the functions."""
        return Lineage(
            tables=tuple(
                TableVersion(name, table.table_id, table.version) for name, table in sorted(self._loaded.items())
            ),
            functions=self._spec.functions,
            columns=tuple(self._spec.included),
            labels=self._labels,
            frame_rule=RULE,
        )

    @property
    def spine_head(self) -> pa.Table:
        """The first row of the spine, without labels."""
        return self._frame.drop_columns(list(self._labels)).slice(0, 1)

    def load_df(self, *, as_recorded: bool = False) -> DataFrame:
        """Return the rows as a Spark DataFrame.

        Args:
            as_recorded: Read each table at the version it had when the training set was made.

        Raises:
            FeatureStoreError: If a spine time is null, or a recorded table is gone.
        """
        columns, tables, plan = self._prepare(as_recorded)
        schema = pa.schema([plan.schema.field(name) for name in columns])
        return self._engine.exchange.to_spark(self._batches(columns, tables, plan), schema)

    def to_arrow(self, *, as_recorded: bool = False) -> pa.Table:
        """Return the rows as Arrow; arguments and errors are those of `load_df`."""
        columns, tables, plan = self._prepare(as_recorded)
        schema = pa.schema([plan.schema.field(name) for name in columns])
        return pa.Table.from_batches(list(self._batches(columns, tables, plan)), schema=schema)

    def to_batches(self, *, as_recorded: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield the rows as Arrow batches, no more than one in memory beside what is looked up."""
        return self._batches(*self._prepare(as_recorded))

    def to_pandas(self, *, as_recorded: bool = False) -> pd.DataFrame:
        """Return the rows as pandas, as a model is given them (see `features.model_frame`); labels as they are.

        Args:
            as_recorded: As `load_df`.

        Raises:
            FeatureStoreError: As `load_df`; or if a column cannot be given to a model as it is.
        """
        rows = self.to_arrow(as_recorded=as_recorded)
        frame = model_frame(rows.drop_columns(list(self._labels)))
        for label in self._labels:
            frame[label] = rows.column(label).to_pandas()
        return frame

    def _prepare(self, as_recorded: bool) -> tuple[list[str], Mapping[str, OpenTable], Plan]:
        names = [table.table_name for table in self._spec.tables]
        if as_recorded:
            tables = open_tables(self._engine.tables, names, versions=self.recorded_versions)
            for name, table in tables.items():
                if table.table_id != self._recorded[name].table_id:
                    raise FeatureStoreError(
                        f"{name} was dropped and made again since the training set was recorded.",
                        hint="What it held then is gone; make the training set anew.",
                    )
        else:
            tables = open_tables(self._engine.tables, names)
            self._loaded = dict(tables)
        return [*self._spec.included, *self._labels], tables, self._plan(self._spec, tables)

    def _plan(self, spec: FeatureSpec, tables: Mapping[str, OpenTable]) -> Plan:
        infos = {name: table.info for name, table in tables.items()}
        # Types and defaults of every column of the spec are checked, also of those that only feed others.
        wanted = [column.output_name for column in spec.columns]
        return make_plan(spec, self._frame.schema, wanted=wanted, tables=infos, functions=self._functions)

    def _batches(self, columns: Sequence[str], tables: Mapping[str, OpenTable], plan: Plan) -> Iterator[pa.RecordBatch]:
        sources = lookup_engine.Sources(
            tables={name: table.handle for name, table in tables.items()},
            functions=self._functions,
            scratch=self._engine.exchange.scratch,
            memory_limit=self._engine.memory_limit,
        )
        return lookup_engine.run(plan, self._frame, columns, sources)
