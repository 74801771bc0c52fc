"""A feature table: keys, the time each row was known, and how it is computed from silver."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from mlplatform.columns import Column, Described, arrow_schema
from mlplatform.errors import ConfigError
from mlplatform.refine.silver import SilverTable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.refine.as_of_view import WorkspaceAsOf


class FeatureTable(Described):
    """Base class of a use case's feature tables.

    Attributes:
        table: A silver table whose rows are the features as they stand; what is declared below is taken from it.
        name: Table `features_<name>`.
        keys: Entity key columns, without the timeseries column.
        timeseries_column: Timestamp column: when the row's content was known. A lookup at time t takes the latest row
            at or before t.
        columns: All columns, keys and timeseries column included.
        inputs: Bare names of the tables it is computed from; it can read no others.
    """

    table: ClassVar[type[SilverTable] | None] = None
    name: ClassVar[str]
    keys: ClassVar[tuple[str, ...]]
    timeseries_column: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]]
    inputs: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        """Take the declarations from the silver table, where one is named."""
        super().__init_subclass__()
        if cls.table is not None:
            cls.keys = tuple(key for key in cls.table.keys if key != cls.table.known_at)
            cls.timeseries_column = cls.table.known_at
            cls.columns = cls.table.columns
            cls.inputs = (f"silver_{cls.table.name}",)

    def compute(self, ws: WorkspaceAsOf, as_of: datetime, since: datetime | None) -> DataFrame:
        """Return the rows known in [since, as_of].

        Args:
            ws: The workspace as known at `as_of`: `ws.read("silver_loans")` holds no later row.
            as_of: The time.
            since: Nothing known before this time has changed since the last computation; None computes all. Rows before
                it may be returned and are dropped, so that a table may ignore it.

        Raises:
            ConfigError: If there is no silver `table`, and this method is not overridden.
        """
        del as_of, since  # what is too early or too late is dropped
        if self.table is None:
            raise ConfigError(f"Feature table {self.name} has no table.", hint="Name one, or override compute().")
        return ws.read(self.inputs[0]).select(*(column.name for column in self.columns))

    @property
    def primary_keys(self) -> tuple[str, ...]:
        """Keys and timeseries column, as the feature client wants them."""
        return (*self.keys, self.timeseries_column)

    def schema(self) -> pa.Schema:
        """Return the declared schema; keys and timeseries column are not null."""
        declared = arrow_schema(self.columns)
        return pa.schema(
            [field.with_nullable(field.nullable and field.name not in self.primary_keys) for field in declared]
        )
