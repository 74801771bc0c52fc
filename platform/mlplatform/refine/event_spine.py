"""A label spine whose label is a dated event within the horizon: labels are derived, and immature rows can speak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from mlplatform.as_of import Duration
from mlplatform.columns import Column, arrow_schema, refuse_names
from mlplatform.errors import ConfigError, TableError, did_you_mean
from mlplatform.ingest.provenance import AVAILABLE_AT
from mlplatform.naming import quote
from mlplatform.refine.horizon import interval
from mlplatform.refine.inputs import inferred_inputs
from mlplatform.refine.silver import SilverTable
from mlplatform.refine.spine import LABEL_KNOWN_AT, LabelSpine

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame

    from mlplatform.refine.as_of_view import WorkspaceAsOf

EVENTS = "events"
EVENT_AT, EVENT_KNOWN_AT, EVENT_STEP = "event_at", "event_known_at", "event_step"
STEPS = 36
"""So many steps a horizon is cut into, unless it is of so many months."""
_OURS = frozenset({EVENT_AT, EVENT_KNOWN_AT, EVENT_STEP})
_LEAST_MONTHS, _MOST_MONTHS = 12, 120
_NTH = "__nth"


def steps_of(horizon: Duration) -> int:
    """Return into how many steps of age a horizon is cut: months, where it has a year of them or more; else 36.

    Examples:
        >>> steps_of(Duration.parse("24 months")), steps_of(Duration.parse("90 days"))
        (24, 36)
    """
    return horizon.months if _LEAST_MONTHS <= horizon.months <= _MOST_MONTHS else STEPS


class EventSpine(LabelSpine):
    """Base class of a label spine that is about dated events: will it happen within `label.horizon`?

    The label is 1 where the event came within the horizon, else 0. It is known when the horizon has passed, for events,
    too: a 1 that may be used earlier than a 0 would make the rate too high. An event of which one hears later than that
    makes its label known when one hears of it. What is dated says something earlier all the same: the table
    `gold_events` holds what was known of events when, and the monitor expects from it how many there will be
    (docs/immature.md).

    What ends a row in another way (a loan paid in full) is no event, and does not end its observation: it goes on to
    the horizon without the event.

    Attributes:
        event_table: The silver table that holds the events, by keys that are among those of the spine. Of several
            events of one key the first at or after the prediction time counts.
        event_at: Its timestamp column that says when the event happened; null: not yet.

    Examples:
        >>> class Loans(SilverTable):
        ...     keys = ("loan_id",)
        ...     known_at = "approved_at"
        ...     columns = (
        ...         Column("loan_id", "string", "Number of the loan"),
        ...         Column("approved_at", "timestamp", "When it was approved"),
        ...     )
        >>> class Outcomes(SilverTable):
        ...     keys = ("loan_id",)
        ...     columns = (
        ...         Column("loan_id", "string", "Number of the loan"),
        ...         Column("known_at", "timestamp", "When it was known"),
        ...         Column("charged_off_at", "timestamp", "When it was charged off"),
        ...     )
        >>> class Defaults(EventSpine):
        ...     table = Loans
        ...     label = "defaulted"
        ...     event_table = Outcomes
        ...     event_at = "charged_off_at"
        >>> Defaults.inputs, Defaults(settings=None).event_schema().names
        (('silver_loans', 'silver_outcomes'), ['loan_id', 'approved_at', 'event_at', 'event_known_at', 'event_step'])
    """

    event_table: ClassVar[type[SilverTable] | None] = None
    event_at: ClassVar[str] = ""
    inputs: ClassVar[tuple[str, ...]] = inferred_inputs("spine", "labels", "events")

    def __init_subclass__(cls, **declared: Any) -> None:
        """Check what is declared of events.

        Raises:
            ConfigError: If no column says when the event happened, the table of events has no such column, or its keys
                are not among the spine's.
        """
        super().__init_subclass__(**declared)
        if not cls.event_at:
            if "event_table" in vars(cls):
                raise ConfigError(
                    f"{cls.__name__} names a table of events, and not when they happened.",
                    hint="Name the timestamp column that says so: event_at = ...",
                )
            return
        if "key_columns" in vars(cls):
            refuse_names(cls.__name__, (column.name for column in cls.key_columns), _OURS)
        table = cls.event_table
        if table is None:
            return
        columns = {column.name: column.type for column in table.columns}
        if columns.get(cls.event_at) != "timestamp":
            what = f"is {columns[cls.event_at]}" if cls.event_at in columns else "is none of its columns"
            times = [name for name, kind in columns.items() if kind == "timestamp"]
            raise ConfigError(
                f"{cls.__name__}.event_at is {cls.event_at!r}, which {what} in {table.__name__}.",
                hint=f"It is the timestamp column that says when it happened. {did_you_mean(cls.event_at, times)}",
            )
        unknown = [key for key in event_keys(table) if key not in cls.entity_keys]
        if unknown:
            raise ConfigError(
                f"{cls.__name__}: {table.__name__} has the key {unknown[0]}, which is no key of the spine.",
                hint="Override events() to say which event belongs to which row, or name a table by the spine's keys.",
            )

    def events(self, ws: WorkspaceAsOf) -> DataFrame:
        """Return keys, prediction time, the column `event_at` names, and when the event became known.

        A row whose event has not come has a null there, or is left out. When it became known is said by a column
        `event_known_at`; where there is none, by the silver column `_available_at`, selected along: the time at which
        the file could be known. Rows whose event became known after `as_of` are dropped by the platform.

        Args:
            ws: The workspace as known at the run's `as_of`.

        Raises:
            ConfigError: If no `event_table` is named, and this method is not overridden.
        """
        if self.event_table is None or not self.event_at:
            raise ConfigError(
                f"{type(self).__name__} does not say where its events are.",
                hint="Name event_table and event_at, or event_at and override events().",
            )
        from pyspark.sql import Window
        from pyspark.sql import functions as F  # noqa: N812

        by, time = event_keys(self.event_table), F.col(quote(self.prediction_time))
        dated = ws.read(self.event_table).select(*by, F.col(quote(self.event_at)).alias(EVENT_AT), AVAILABLE_AT)
        rows = self.spine(ws).select(*self.primary_keys)
        found = rows.join(dated.where(F.col(EVENT_AT).isNotNull()), on=by, how="inner").where(F.col(EVENT_AT) >= time)
        in_order = Window.partitionBy(*(F.col(quote(key)) for key in self.primary_keys)).orderBy(EVENT_AT, AVAILABLE_AT)
        first = found.withColumn(_NTH, F.row_number().over(in_order)).where(F.col(_NTH) == 1).drop(_NTH)
        # Rows without an event stay, with nulls: where a correction takes an event back, that is what tells.
        all_rows = rows.join(first, on=list(self.primary_keys), how="left")
        return all_rows.withColumnRenamed(EVENT_AT, self.event_at)

    def labels(self, ws: WorkspaceAsOf) -> DataFrame:
        """Return the labels that follow from the events; override it where the label is known in another way."""
        return labels_of(self, self.spine(ws), self.events(ws))

    def event_schema(self) -> pa.Schema:
        """Return the schema of `gold_events`."""
        steps = "null: it came after the horizon, or was taken back"
        return arrow_schema(
            (
                *self.key_columns,
                Column(EVENT_AT, "timestamp", "When the event happened; null: a correction took it back"),
                Column(EVENT_KNOWN_AT, "timestamp", "When it became known", nullable=False),
                Column(EVENT_STEP, "int", f"In which step of the horizon it happened, from 0; {steps}"),
            )
        )


def event_keys(table: type[SilverTable]) -> list[str]:
    """Return by which columns a table of events belongs to rows of a spine: its keys, without the time."""
    return [key for key in table.keys if key != table.known_at]


def event_rows(spine: EventSpine, events: DataFrame) -> DataFrame:
    """Return the rows of `gold_events` that an author's events make up.

    Args:
        spine: The spine.
        events: As `EventSpine.events` gives them.

    Raises:
        TableError: If a column is missing, or nothing says when events became known.
    """
    from pyspark.sql import functions as F  # noqa: N812

    where, columns = f"{type(spine).__name__}.events()", set(events.columns)
    missing = [name for name in (*spine.primary_keys, spine.event_at) if name not in columns]
    if missing:
        raise TableError(f"{where} gives no column {missing[0]}.", hint=did_you_mean(missing[0], columns))
    if not columns & {EVENT_KNOWN_AT, AVAILABLE_AT}:
        raise TableError(
            f"{where} does not say when events became known.",
            hint=f"Select {AVAILABLE_AT} of the silver table along, or give a column {EVENT_KNOWN_AT}.",
        )
    happened = F.col(quote(spine.event_at)).cast("timestamp")
    said = EVENT_KNOWN_AT in columns
    known = F.col(EVENT_KNOWN_AT).cast("timestamp") if said else F.greatest(F.col(AVAILABLE_AT), happened)
    time = F.col(quote(spine.prediction_time))
    steps = steps_of(Duration.parse(spine.settings.label.horizon))
    ends = horizon_end(spine)
    # Parts of the row's own horizon: an event at its very end is in the last step, and one later in none.
    place = F.ceil(F.lit(steps) * (_micros(happened) - _micros(time)) / (_micros(ends) - _micros(time))) - 1
    step = F.greatest(place, F.lit(0)).cast("int")
    return events.select(
        *(F.col(quote(key)) for key in spine.primary_keys),
        happened.alias(EVENT_AT),
        F.when(happened.isNotNull(), known).alias(EVENT_KNOWN_AT),
        F.when(happened <= ends, step).alias(EVENT_STEP),
    )


def labels_of(spine: EventSpine, rows: DataFrame, events: DataFrame) -> DataFrame:
    """Return the labels that events give the rows of a spine.

    Args:
        spine: The spine.
        rows: As `spine.spine` gives them.
        events: As `spine.events` gives them.
    """
    from pyspark.sql import functions as F  # noqa: N812

    keys = [F.col(quote(key)) for key in spine.primary_keys]
    within = event_rows(spine, events).where(F.col(EVENT_STEP).isNotNull())
    known = rows.select(*keys).join(within, on=list(spine.primary_keys), how="left")
    came, ends = F.col(EVENT_STEP).isNotNull(), horizon_end(spine)
    return known.select(
        *keys,
        came.cast("int").cast(spine.label_type).alias(spine.label),
        F.when(came, F.greatest(ends, F.col(EVENT_KNOWN_AT))).otherwise(ends).alias(LABEL_KNOWN_AT),
    )


def horizon_end(spine: LabelSpine) -> SparkColumn:
    """Return when a row's horizon ends, as a column of its spine."""
    from pyspark.sql import functions as F  # noqa: N812

    return F.expr(f"{quote(spine.prediction_time)} + {interval(Duration.parse(spine.settings.label.horizon))}")


def _micros(time: SparkColumn) -> SparkColumn:
    from pyspark.sql import functions as F  # noqa: N812

    return F.unix_micros(time)
