"""A training set of the real client: checked before it is loaded, mended after, and pinned to Delta versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.features.model_frame import model_frame
from mlplatform.features.training_set import Plan
from mlplatform.protocols.feature_spec import FeatureSpec
from mlplatform.protocols.lineage import RULE, Lineage, TableVersion
from mlplatform.types import spark_type
from mlplatform.workspace.databricks.feature_engineering import asked, pinned
from mlplatform.workspace.databricks.feature_frames import SparkFrame, select, to_arrow

if TYPE_CHECKING:
    import pandas as pd
    from databricks.sdk import WorkspaceClient
    from pyspark.sql import DataFrame

    from mlplatform.protocols.tables import TableInfo, Tables


@dataclass(frozen=True)
class FeatureTables:
    """The feature tables of a workspace, as training sets read them."""

    tables: Tables
    client: WorkspaceClient

    def describe(self, name: str) -> TableInfo:
        """Return what is known about a table."""
        return self.tables.describe(name)

    def id(self, name: str) -> str:
        """Return Unity Catalog's id: another one when a table was dropped and made again.

        Raises:
            TableError: If there is no such table; near names are given.
            FeatureStoreError: If it cannot be read.
        """
        from databricks.sdk.errors import NotFound

        with asked(f"Reading the id of {name}"):
            try:
                return self.client.tables.get(name).table_id or ""
            except NotFound:
                self.tables.version(name)
                raise

    def now(self, names: Sequence[str]) -> dict[str, TableVersion]:
        """Return ids and newest versions."""
        return {name: TableVersion(name, self.id(name), self.tables.version(name)) for name in names}


class DatabricksTrainingSet:
    """A training set; see `mlplatform.protocols.feature_client.TrainingSet`."""

    extra_pip_requirements: tuple[str, ...] = ()
    """What a named feature spec asks to go into the models trained on it."""

    def __init__(
        self,
        tables: FeatureTables,
        frame: SparkFrame,
        spec: FeatureSpec,
        plan: Plan,
        labels: Sequence[str],
        real: Any,
    ) -> None:
        """Record the tables' versions; use `ws.fe.create_training_set` instead."""
        self._tables = tables
        self._frame = frame
        self._plan = plan
        self._labels = tuple(labels)
        self._spec = spec.with_types({field.name: spark_type(field.type) for field in plan.schema})
        self._recorded = tables.now([table.table_name for table in spec.tables])
        self._loaded = dict(self._recorded)
        self.real = real

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
            tables=tuple(table for _, table in sorted(self._loaded.items())),
            functions=self._spec.functions,
            columns=tuple(self._spec.included),
            labels=self._labels,
            frame_rule=RULE,
        )

    def example(self) -> pd.DataFrame:
        """Return the spine's first row, with the columns that the model takes from it."""
        names = [item.output_name for item in self._spec.sources]
        schema = pa.schema([self._frame.schema.field(name) for name in names])
        with asked("Reading the spine's first row"):
            frame: pd.DataFrame = to_arrow(select(self._frame.df.limit(1), schema), schema).to_pandas()
        return frame

    def load_df(self, *, as_recorded: bool = False) -> DataFrame:
        """Return the rows as a Spark DataFrame, read at the tables' newest versions, or at the recorded ones.

        Args:
            as_recorded: Read each table at the version it had when the training set was made.

        Raises:
            FeatureStoreError: If a spine time is null, or a recorded table is gone.
        """
        versions = self._versions(as_recorded=as_recorded)
        refuse_null_times(self._frame, self._plan)
        with asked("Loading the training set"):
            frames = {name: self._tables.tables.read(name, version=table.version) for name, table in versions.items()}
            loaded = pinned(self.real, frames).load_df()
            refuse_lost_rows(self._frame, self._plan, loaded)
            return select(loaded, self._schema)

    def to_arrow(self, *, as_recorded: bool = False) -> pa.Table:
        """Return the rows as Arrow; arguments and errors are those of `load_df`."""
        loaded = self.load_df(as_recorded=as_recorded)
        with asked("Loading the training set"):
            return to_arrow(loaded, self._schema)

    def to_batches(self, *, as_recorded: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield the rows as Arrow batches."""
        return iter(self.to_arrow(as_recorded=as_recorded).to_batches())

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

    @property
    def _schema(self) -> pa.Schema:
        labels = [self._frame.schema.field(name).with_nullable(True) for name in self._labels]
        return pa.schema([*(self._plan.schema.field(name) for name in self._spec.included), *labels])

    def _versions(self, *, as_recorded: bool) -> Mapping[str, TableVersion]:
        if not as_recorded:
            self._loaded = self._tables.now(list(self._recorded))
            return self._loaded
        for name, table in self._recorded.items():
            if self._tables.id(name) != table.table_id:
                raise FeatureStoreError(
                    f"{name} was dropped and made again since the training set was recorded.",
                    hint="What it held then is gone; make the training set anew.",
                )
        return self._recorded


def refuse_dots(frame: SparkFrame, plan: Plan) -> None:
    """Refuse columns that the real client's join as of a time takes for fields of a struct.

    Raises:
        FeatureStoreError: With the columns.
    """
    dotted = [name for name in frame.schema.names if "." in name]
    if dotted and any(item.time is not None for item in plan.joins):
        raise FeatureStoreError(
            f"{', '.join(map(repr, dotted))}: the Databricks client cannot join by time with a dot in a column's name.",
            hint="Rename the column before features are looked up.",
        )


def refuse_null_times(frame: SparkFrame, plan: Plan) -> None:
    """Refuse rows without a time, before the real client's join drops them.

    Raises:
        FeatureStoreError: With the number of such rows.
    """
    timed = [item for item in plan.joins if item.time is not None and item.time[0] in frame.schema.names]
    if timed:
        rows, nulls = frame.nulls(sorted({item.time[0] for item in timed if item.time is not None}))
        for item in timed:
            assert item.time is not None
            item.refuse_null_times(nulls[item.time[0]], rows)


def refuse_lost_rows(frame: SparkFrame, plan: Plan, joined: DataFrame) -> None:
    """Refuse what was looked up by a time that another lookup gave, if rows had no such time: the join dropped them.

    Raises:
        FeatureStoreError: With the number of such rows.
    """
    chained = [item for item in plan.joins if item.time is not None and item.time[0] not in frame.schema.names]
    if chained:
        rows, _ = frame.nulls([])
        chained[0].refuse_null_times(rows - joined.count(), rows)
