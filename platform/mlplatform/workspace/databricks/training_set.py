"""A training set of the real client: checked before it is loaded, mended after, and pinned to Delta versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.features.training_set import LookupPlan
from mlplatform.protocols.feature_spec import FeatureColumn, FeatureSpec
from mlplatform.workspace.databricks.feature_engineering import asked, pinned
from mlplatform.workspace.databricks.feature_frames import SparkFrame, select, to_arrow
from mlplatform.workspace.shared.training_set import Declaration, SpineWithFeatures

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

    from mlplatform.protocols.lineage import TableVersion
    from mlplatform.workspace.databricks.feature_tables import UnityFeatureTables


class DatabricksTrainingSet(SpineWithFeatures):
    """A training set that the real client computes.

    Attributes:
        real: The real client's training set.
    """

    def __init__(self, tables: UnityFeatureTables, frame: SparkFrame, declaration: Declaration, real: Any) -> None:
        """Record the tables' versions; use `ws.fe.create_training_set` instead."""
        recorded = tables.newest([table.table_name for table in declaration.spec.tables])
        super().__init__(declaration, frame.schema, recorded)
        self._tables = tables
        self._frame = frame
        self.real = real

    def example(self) -> pd.DataFrame:
        """Return the spine's first row, with the columns that the model takes from it."""
        names = [item.output_name for item in self._spec.sources]
        schema = pa.schema([self._spine.field(name) for name in names])
        with asked("Reading the spine's first row"):
            frame: pd.DataFrame = to_arrow(select(self._frame.df.limit(1), schema), schema).to_pandas()
        return frame

    def load_df(self, *, as_recorded: bool = False) -> DataFrame:
        """Return the rows as a Spark DataFrame."""
        versions = self._versions(as_recorded=as_recorded)
        refuse_null_times(self._frame, self._declaration.plan)
        with asked("Loading the training set"):
            frames = {name: self._tables.tables.read(name, version=table.version) for name, table in versions.items()}
            loaded = pinned(self.real, frames).load_df()
            refuse_lost_rows(self._frame, self._declaration.plan, loaded)
            return select(loaded, self._schema)

    def to_arrow(self, *, as_recorded: bool = False) -> pa.Table:
        """Return the rows as Arrow."""
        loaded = self.load_df(as_recorded=as_recorded)
        with asked("Loading the training set"):
            return to_arrow(loaded, self._schema)

    def to_batches(self, *, as_recorded: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield the rows as Arrow batches."""
        return iter(self.to_arrow(as_recorded=as_recorded).to_batches())

    def to_rows(self, *, as_recorded: bool = False) -> DataFrame:
        """Return the rows as a Spark DataFrame."""
        return self.load_df(as_recorded=as_recorded)

    @property
    def _schema(self) -> pa.Schema:
        labels = [self._spine.field(name).with_nullable(True) for name in self._labels]
        return pa.schema([*(self._declaration.plan.schema.field(name) for name in self._spec.included), *labels])

    def _versions(self, *, as_recorded: bool) -> Mapping[str, TableVersion]:
        if as_recorded:
            self._check_recorded({name: self._tables.id(name) for name in self._recorded})
            return self._recorded
        self._loaded = self._tables.newest(list(self._recorded))
        return self._loaded


def refuse_twins(spec: FeatureSpec) -> None:
    """Refuse one feature under two names, at which the real client fails with a KeyError.

    Raises:
        FeatureStoreError: Naming both.
    """
    seen: dict[tuple[object, ...], FeatureColumn] = {}
    for item in spec.features:
        key = (item.table_name, item.feature_name, item.lookup_key, item.timestamp_lookup_key)
        if key in seen:
            raise FeatureStoreError(
                f"Feature {item.feature_name!r} of {item.table_name} is looked up by the same key under two names: "
                f"{seen[key].output_name!r} and {item.output_name!r}.",
                hint="The Databricks client cannot do that: look it up once, and copy the column where it is used.",
            )
        seen[key] = item


def refuse_dots(frame: SparkFrame, plan: LookupPlan) -> None:
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


def refuse_null_times(frame: SparkFrame, plan: LookupPlan) -> None:
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


def refuse_lost_rows(frame: SparkFrame, plan: LookupPlan, joined: DataFrame) -> None:
    """Refuse what was looked up by a time that another lookup gave, if rows had no such time: the join dropped them.

    Raises:
        FeatureStoreError: With the number of such rows.
    """
    chained = [item for item in plan.joins if item.time is not None and item.time[0] not in frame.schema.names]
    if chained:
        rows, _ = frame.nulls([])
        chained[0].refuse_null_times(rows - joined.count(), rows)
