"""A feature table: keys, the time each row was known, and how it is computed from silver."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from mlplatform.columns import Column, Described, arrow_schema, refuse_names
from mlplatform.derived_attributes import derived, is_derived, named_after_class
from mlplatform.errors import ConfigError
from mlplatform.naming import quote
from mlplatform.refine.inputs import inferred_inputs
from mlplatform.refine.silver import CORRECTED_AT, DELIVERY, SilverTable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.refine.as_of_view import WorkspaceAsOf

_STAMP, _ROW, _NTH = "__stamp", "__row", "__nth"


def _silver(table: type[FeatureTable], attribute: str) -> type[SilverTable]:
    if table.table is None:
        raise ConfigError(
            f"{table.__name__} declares no {attribute}.",
            hint="Declare it, or name the silver table that it is taken from.",
        )
    return table.table


class FeatureTable(Described):
    """Base class of a use case's feature tables.

    See the glossary: docs/glossary.md

    Attributes:
        table: A silver table whose rows are the features as they stand; what is not declared below is taken from it.
        name: Table `features_<name>`; unless declared, the class's name without `Features`, as in `lender` of
            `LenderFeatures`.
        keys: Columns that name the entity, without the timeseries column.
        timeseries_column: Timestamp column: when the row's content was known. A lookup at time t takes the latest row
            at or before t.
        primary_keys: Keys and timeseries column: what identifies a row.
        columns: All columns, keys and timeseries column included.
        inputs: Bare names of the tables it is computed from; it can read no others. Unless declared, those that
            `compute` reads (`ws.read(Loans)`, `ws.read("silver_loans")`).

    Examples:
        >>> class LenderFeatures(FeatureTable):
        ...     keys = ("lender",)
        ...     timeseries_column = "known_at"
        ...     inputs = ("silver_loans",)
        ...     columns = (
        ...         Column("lender", "string", "The lender"),
        ...         Column("known_at", "timestamp", "The day after"),
        ...         Column("loans_so_far", "bigint", "Loans approved by then"),
        ...     )
        ...
        ...     def compute(self, ws, as_of, since):
        ...         days = ws.read("silver_loans").groupBy("lender", "known_at").count()
        ...         return days.withColumnRenamed("count", "loans_so_far")
        >>> LenderFeatures.name, LenderFeatures.primary_keys
        ('lender', ('lender', 'known_at'))
        >>> [field.name for field in LenderFeatures().schema() if field.nullable]
        ['loans_so_far']
    """

    table: ClassVar[type[SilverTable] | None] = None
    name: ClassVar[str] = named_after_class("Features")
    keys: ClassVar[tuple[str, ...]] = derived(
        lambda cls: tuple(key for key in _silver(cls, "keys").keys if key != cls.timeseries_column)
    )
    timeseries_column: ClassVar[str] = derived(lambda cls: _silver(cls, "timeseries_column").known_at)
    primary_keys: ClassVar[tuple[str, ...]] = derived(lambda cls: (*cls.keys, cls.timeseries_column))
    columns: ClassVar[tuple[Column, ...]] = derived(lambda cls: _silver(cls, "columns").columns)
    inputs: ClassVar[tuple[str, ...]] = inferred_inputs("compute")

    def __init_subclass__(cls, **declared: Any) -> None:
        """Refuse columns with names that the platform uses itself.

        Raises:
            ConfigError: If there is one.
        """
        super().__init_subclass__(**declared)
        if "columns" in vars(cls) and not is_derived(cls, "columns"):
            refuse_names(cls.__name__, (column.name for column in cls.columns))

    def compute(self, ws: WorkspaceAsOf, as_of: datetime, since: datetime | None) -> DataFrame:
        """Return the rows known in [since, as_of].

        Unless overridden, the rows of `table`; one that was corrected is stamped with when that could be known.

        Args:
            ws: The workspace as known at `as_of`: `ws.read("silver_loans")` holds no later row.
            as_of: The time.
            since: Nothing known before this time has changed since the last computation; None computes all. Rows before
                it may be returned and are dropped, so that a table may ignore it.

        Raises:
            ConfigError: If no silver `table` is named, and this method is not overridden.
        """
        del as_of, since  # what is too early or too late is dropped
        if self.table is None:
            raise ConfigError(f"Feature table {self.name} has no table.", hint="Name one, or override compute().")
        rows = ws.read(self.table)
        names = [column.name for column in self.columns]
        return self._holding(ws.deliveries(self.table), names) if CORRECTED_AT in rows.columns else rows.select(*names)

    def _holding(self, deliveries: DataFrame, names: Sequence[str]) -> DataFrame:
        """Return, for each time at which something became known of a key, the row that held from then on.

        That is the newest delivery of the latest record: what corrects an earlier one, as an hour of a time series that
        is not the last, changes nothing that is true by then.
        """
        from pyspark.sql import Window
        from pyspark.sql import functions as F  # noqa: N812

        time, corrected_at = F.col(quote(self.timeseries_column)), F.col(CORRECTED_AT)
        # A corrected row holds from when that could be known: at the time it is about, the earlier one did.
        stamped = deliveries.withColumn(_STAMP, F.greatest(time, corrected_at))
        keys = [F.col(quote(key)) for key in self.keys]
        row = F.struct(*(F.col(quote(name)) for name in names))
        known_by_then = Window.partitionBy(*keys).orderBy(_STAMP).rangeBetween(Window.unboundedPreceding, 0)
        in_order = F.struct(time, *(F.col(column) for column in DELIVERY))
        at_once = Window.partitionBy(*keys, _STAMP).orderBy(corrected_at.asc_nulls_first())
        held = stamped.select(
            F.max_by(row, in_order).over(known_by_then).alias(_ROW),
            _STAMP,
            CORRECTED_AT,
            F.row_number().over(at_once).alias(_NTH),
        )
        # One at each time; but of two records of one time and key both, for the write to refuse.
        once = held.where((F.col(_NTH) == 1) | corrected_at.isNull())
        rows = once.select(_STAMP, f"{_ROW}.*").withColumn(self.timeseries_column, F.col(_STAMP))
        return rows.select(*names)

    def schema(self) -> pa.Schema:
        """Return the declared schema; keys and timeseries column are not null."""
        declared = arrow_schema(self.columns)
        return pa.schema(
            [field.with_nullable(field.nullable and field.name not in self.primary_keys) for field in declared]
        )
