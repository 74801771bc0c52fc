"""Weights: how much each row counts in the fit, by a column of the training set or by one of a silver table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import pyarrow as pa

from mlplatform.as_of import shown
from mlplatform.errors import ConfigError, StageError, did_you_mean
from mlplatform.ingest.provenance import AVAILABLE_AT
from mlplatform.protocols.registry import TableRead
from mlplatform.refine.fates import first_delivered, newest
from mlplatform.refine.silver import CORRECTED_AT, DELIVERY, SilverTable
from mlplatform.refine.spine import LabelSpine
from mlplatform.statistics.metrics import Vector
from mlplatform.types import is_number, spark_type

if TYPE_CHECKING:
    from mlplatform.naming import Namespace
    from mlplatform.protocols.frames import Frame
    from mlplatform.protocols.tables import Filter, FrameLike
    from mlplatform.protocols.workspace import Workspace

WEIGHT = "__weight"
ROLE = "weights"
_KEY, _KNOWN_AT, _NEWEST, _ROWS = "__key_", "__known_at", "__newest_known_at", "__weights"
_MOST_SHOWN = 3


@dataclass(frozen=True)
class WeightColumn:
    """A column of a silver table that says how much a row counts in the fit, as it was known at the row's own time.

    See the glossary: docs/glossary.md

    Of a table with a row for each time it is the newest row not after the prediction time; of one that keeps
    corrections, the newest correction that was known by then. What became known later plays no part.

    Attributes:
        table: The silver table.
        column: Its column, a number of zero and more.
        keys: The spine's columns that are matched to the keys of the table, in their order; empty: they have the names
            of these.
        default: How much a row counts of which the table says nothing by then; None: such rows are an error.

    Examples:
        >>> from mlplatform import Column, Source
        >>> class Visits(Source):
        ...     files = "visits/*.csv"
        ...     columns = ("shop", "day", "visitors")
        >>> class Visitors(SilverTable):
        ...     source = Visits
        ...     keys = ("shop",)
        ...     timeseries = True
        ...     known_at = "day"
        ...     columns = (
        ...         Column("shop", "string", "The shop"),
        ...         Column("day", "timestamp", "The day after the visits"),
        ...         Column("visitors", "double", "Visitors of the day"),
        ...     )
        >>> WeightColumn(Visitors, "visitors").matched
        ('shop',)
        >>> WeightColumn(Visitors, "visitor")
        Traceback (most recent call last):
        mlplatform.errors.ConfigError: The weights are in 'visitor' of Visitors, which has no such column.
        Hint: Did you mean visitors?
    """

    table: type[SilverTable]
    column: str
    keys: tuple[str, ...] = ()
    default: float | None = None

    def __post_init__(self) -> None:
        """Refuse what the table's declaration does not have.

        Raises:
            ConfigError: If the table has no such column, or it is no number; if there are not as many keys as it has;
                if the default is no number of zero and more.
        """
        columns = {column.name: column for column in self.table.columns}
        if self.column not in columns:
            raise ConfigError(
                f"The weights are in {self.column!r} of {self.table.__name__}, which has no such column.",
                hint=did_you_mean(self.column, columns),
            )
        kind = columns[self.column].field().type
        if not is_number(kind):
            raise ConfigError(
                f"The weights are in {self.column!r} of {self.table.__name__}, which is {spark_type(kind)}.",
                hint="A weight is a number.",
            )
        if len(self.matched) != len(self.table.keys):
            raise ConfigError(
                f"The weights of {self.table.__name__} are looked up by {len(self.matched)} column(s), and its keys "
                f"are {', '.join(self.table.keys)}.",
                hint="Name as many columns of the spine, in that order: else one row would have several weights.",
            )
        if self.default is not None and not (np.isfinite(self.default) and self.default >= 0):
            raise ConfigError(
                f"The default of the weights of {self.table.__name__} is {self.default!r}.",
                hint="A weight is a number of zero and more; leave the default out, and rows without one are an error.",
            )

    def __str__(self) -> str:
        """Return table and column, as in `silver_visitors.visitors`."""
        return f"silver_{self.table.name}.{self.column}"

    @property
    def matched(self) -> tuple[str, ...]:
        """The spine's columns by which the table is looked up."""
        return self.keys or self.table.keys

    def problems(self, spine: type[LabelSpine]) -> Iterator[str]:
        """Yield what keeps the weights from being looked up for the rows of a spine.

        Args:
            spine: The spine.
        """
        own = {column.name: column for column in (*spine.key_columns, *spine.columns)}
        of_table = {column.name: column for column in self.table.columns}
        for name, key in zip(self.matched, self.table.keys, strict=True):
            if name not in own:
                yield (
                    f"the weights of {self.table.__name__} are looked up by {name}, which is no column of "
                    f"{spine.__name__}. {did_you_mean(name, own)}"
                )
            elif (mine := own[name].field().type) != (theirs := of_table[key].field().type):
                yield (
                    f"the weights of {self.table.__name__} are looked up by {name}, which is {spark_type(mine)}, and "
                    f"its key {key} is {spark_type(theirs)}"
                )


@dataclass(frozen=True)
class LookedUpWeights:
    """Weights that were looked up.

    Attributes:
        rows: The spine's keys and prediction time, `__weight`, and `__weights`: of how many rows that is the largest
            one. Rows of the spine for which none was known by then are not among them.
        read: The table, at the version that was read.
    """

    rows: Frame
    read: TableRead


def look_up(
    ws: Workspace,
    namespace: Namespace,
    spine: LabelSpine,
    declared: WeightColumn,
    rows: FrameLike,
    as_of: datetime,
    *,
    landed_only: bool = True,
) -> LookedUpWeights:
    """Look weights up in the engine, for each row as they were known at its prediction time.

    Args:
        ws: The workspace.
        namespace: The use case's.
        spine: Its label spine.
        declared: Says where they are.
        rows: Rows of the spine.
        as_of: The time of the run: what was known later is not looked at, whatever the rows' times.
        landed_only: Nor what had not landed by then; the leak check looks at known-at alone.

    Raises:
        ConfigError: If the rows have not the columns that the table is looked up by.
        TableError: If the table does not exist, or has not the column yet.
    """
    if wrong := list(declared.problems(type(spine))):
        raise ConfigError(f"{wrong[0][:1].upper()}{wrong[0][1:]}", hint="Look at weight_column of the trainer.")
    table, name = declared.table, namespace.silver(declared.table.name)
    info = ws.tables.describe(name)
    keeps_corrections = CORRECTED_AT in info.schema.names
    # Of a record that was corrected the first delivery says what time it is about, so all deliveries are read.
    filters: list[Filter] = [] if keeps_corrections else [(table.known_at, "<=", as_of)]
    if landed_only:
        filters.append((AVAILABLE_AT, "<=", as_of))
    columns = dict.fromkeys([*table.primary_keys, table.known_at, declared.column])
    silver = ws.frames.read(
        name,
        version=info.version,
        columns=[*columns, *((*DELIVERY, CORRECTED_AT) if keeps_corrections else ())],
        filters=filters,
    )
    known_at = nw.col(table.known_at).alias(_KNOWN_AT)
    if keeps_corrections:
        first = first_delivered(silver, table.primary_keys).select(*table.primary_keys, known_at)
        silver = silver.join(first, on=list(table.primary_keys), how="inner")
    else:
        silver = silver.with_columns(known_at)
    places = [f"{_KEY}{place}" for place in range(len(table.keys))]
    found = silver.select(
        *(nw.col(key).alias(place) for key, place in zip(table.keys, places, strict=True)),
        nw.col(declared.column).cast(nw.Float64()).alias(WEIGHT),
        *([_KNOWN_AT, *DELIVERY, CORRECTED_AT] if keeps_corrections else [_KNOWN_AT]),
    )
    keys, time = list(spine.primary_keys), nw.col(spine.prediction_time)
    asked = ws.frames.of(rows).select(*dict.fromkeys([*keys, *declared.matched]))
    known = asked.join(found, left_on=list(declared.matched), right_on=places, how="inner")
    known = known.filter(nw.col(_KNOWN_AT) <= time)
    if keeps_corrections:
        known = known.filter(nw.col(CORRECTED_AT).is_null() | (nw.col(CORRECTED_AT) <= time))
    known = known.with_columns(nw.col(_KNOWN_AT).max().over(*keys).alias(_NEWEST))
    known = known.filter(nw.col(_KNOWN_AT) == nw.col(_NEWEST))
    if keeps_corrections:
        known = newest(known, keys)
    weights = known.group_by(*keys).agg(nw.col(WEIGHT).max(), nw.len().alias(_ROWS))
    return LookedUpWeights(weights, TableRead(str(name), info.version, ROLE))


def looked_up_weights(
    ws: Workspace, namespace: Namespace, spine: LabelSpine, declared: WeightColumn, rows: pa.Table, as_of: datetime
) -> tuple[Vector, TableRead]:
    """Return the weight of each row, and the table that they were read from.

    Args:
        ws: The workspace.
        namespace: The use case's.
        spine: Its label spine.
        declared: Says where they are.
        rows: Labelled rows of the spine, in its order.
        as_of: The time of the run.

    Returns:
        Weights of shape (rows,), and the table at its version.

    Raises:
        ConfigError: If rows have no weight and there is no default, or one that nothing can be fitted with.
        StageError: If a row has several.
        TableError: If the table does not exist, or has not the column yet.
    """
    keys = list(spine.primary_keys)
    own = rows.select(list(dict.fromkeys([*keys, *(name for name in declared.matched if name in rows.column_names)])))
    found = look_up(ws, namespace, spine, declared, own, as_of)
    joined = ws.frames.of(own.select(keys)).join(found.rows, on=keys, how="left")
    what = f"the weights of the labelled rows, of {declared}"
    table = ws.frames.collect(joined, at_most=rows.num_rows, what=what).sort_by(spine.order).combine_chunks()
    if table.num_rows != rows.num_rows:
        raise StageError(
            f"{table.num_rows} of {rows.num_rows} labelled rows came back with weights of {declared}.",
            hint="Is a key of the spine null, or there twice? mlplatform check says.",
        )
    several = np.asarray(table.column(_ROWS).fill_null(pa.scalar(0, pa.int64())).to_numpy()) > 1
    if several.any():
        raise StageError(
            f"{int(several.sum())} labelled rows have several weights in {declared}, known at the same time; "
            f"{_example(table.select(keys), several)}.",
            hint=f"A key stands twice in silver_{declared.table.name}: mlplatform doctor --data says more.",
        )
    weights = table.column(WEIGHT)
    if declared.default is not None:
        weights = weights.fill_null(pa.scalar(float(declared.default), pa.float64()))
    return checked_weights(weights, table.select(keys), str(declared)), found.read


def checked_weights(column: pa.ChunkedArray[Any], keys: pa.Table, named: str) -> Vector:
    """Return the weights of rows: numbers of zero and more, one for each row, not all of them zero.

    Args:
        column: The weights.
        keys: The keys of the rows, to name an example by.
        named: What the column is called, for the error.

    Raises:
        ConfigError: If they are none such, with the first row that has none.
    """
    if not is_number(column.type):
        raise ConfigError(
            f"The weights are in {named}, which is {spark_type(column.type)}.", hint="A weight is a number."
        )
    weights = np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
    is_null = np.asarray(column.is_null().to_numpy(), dtype=bool)
    wrong = {
        "none": is_null,
        "one that is not finite": ~is_null & ~np.isfinite(weights),
        "one below zero": np.isfinite(weights) & (weights < 0),
    }
    found = {what: rows for what, rows in wrong.items() if rows.any()}
    if found:
        told = ", ".join(f"{int(rows.sum())} have {what} ({_example(keys, rows)})" for what, rows in found.items())
        raise ConfigError(
            f"The weights in {named} cannot be fitted with: of {weights.size} labelled rows {told}.",
            hint="Let the table's SQL say what such a row counts, or an expectation quarantine it; WeightColumn(..., "
            "default=1.0) says what rows count of which a table says nothing.",
        )
    if not weights.any():
        raise ConfigError(
            f"The weights in {named} cannot be fitted with: all {weights.size} are zero.",
            hint="Let the table's SQL say what a row counts.",
        )
    return weights


def _example(keys: pa.Table, rows: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
    row = keys.slice(int(np.flatnonzero(rows)[0]), 1).to_pylist()[0]
    texts = [f"{name}={shown(value) if isinstance(value, datetime) else value}" for name, value in row.items()]
    return f"the first is {', '.join(texts[:_MOST_SHOWN])}"
