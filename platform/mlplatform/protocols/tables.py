"""Delta tables: what stages and use cases may do with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from datetime import datetime

    import narwhals as nw
    import pandas as pd
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from mlplatform.naming import ObjectName

    FrameLike: TypeAlias = (
        nw.LazyFrame[Any] | DataFrame | pa.Table | pa.RecordBatch | pa.RecordBatchReader | pd.DataFrame
    )
    """Rows on their way into a table: a frame of `ws.frames`, a Spark DataFrame, or rows in memory."""

Filter = tuple[str, str, Any]
"""One condition on a column, as in pyarrow's `filters`: (column, operator, value), joined by "and".

A null meets none, and NaN is neither less nor greater than a number, wherever rows lie.
"""
Where: TypeAlias = Mapping[str, str | bool | None]
"""A condition on the rows of a view: column -> what it equals; None: it is null."""


def any_of(where: Where | Sequence[Where]) -> tuple[Where, ...]:
    """Return conditions of which one must hold, if there are such.

    Examples:
        >>> any_of({"alias": "champion"}), any_of([])
        (({'alias': 'champion'},), ())
    """
    if isinstance(where, Mapping):
        return (where,) if where else ()
    return tuple(where)


@dataclass(frozen=True)
class TableInfo:
    """What is known about a table.

    Attributes:
        name: Its three-level name.
        version: The newest Delta version.
        schema: Columns, types and nullability.
        primary_keys: Key columns in order, the timeseries column included; empty for a table without keys.
        timeseries_column: The column that says when a row was known, or None.
        description: The table's comment.
        tags: Free key-value tags.
        id: Delta's id of the table: another one after the table is dropped and created again under its name.
        created_at: When the table with this id was created, by its creator's clock; None where that is unknown.
    """

    name: str
    version: int
    schema: pa.Schema
    primary_keys: tuple[str, ...] = ()
    timeseries_column: str | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    created_at: datetime | None = None

    @property
    def features(self) -> list[str]:
        """The columns that are no keys, in the table's order."""
        return [name for name in self.schema.names if name not in self.primary_keys]


@dataclass(frozen=True)
class WriteResult:
    """What a write did.

    Attributes:
        version: The table's Delta version after the write.
        rows: Rows written; of a merge, those inserted or changed. 0 when everything had been written before.
        skipped: True when the write's transactions had all been committed already, and nothing was done.
    """

    version: int
    rows: int
    skipped: bool = False


@dataclass(frozen=True)
class Widening:
    """What a table lacks to be as wide as a declaration; true if that is anything.

    Attributes:
        added: New columns; rows that exist read null in them.
        retyped: Columns with the wider type that they are declared with.
        relaxed: Columns that may be null from now on.
        unwritten: Columns that the table has and the declaration does not: they stay, and new rows read null in them.
        keys: All keys that the table is to have, where they become more; else empty.
    """

    added: tuple[pa.Field[Any], ...] = ()
    retyped: tuple[pa.Field[Any], ...] = ()
    relaxed: tuple[str, ...] = ()
    unwritten: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether the table is to be changed at all."""
        return bool(self.added or self.retyped or self.relaxed or self.keys)


@dataclass(frozen=True)
class Transaction:
    """Makes an append happen exactly once: a table takes each (application id, version) only once, in rising order."""

    app_id: str
    version: int = 1


@runtime_checkable
class Tables(Protocol):
    """Delta tables by three-level name.

    What is written may be a frame of `ws.frames`, a Spark DataFrame, a `pyarrow.Table` or a pandas frame; the first two
    never pass through this process.
    """

    def exists(self, name: ObjectName | str) -> bool:
        """Tell whether the table exists."""
        ...

    def list(self, catalog: str, schema: str) -> list[str]:
        """Return the bare names of the tables of a schema, sorted; empty when the schema does not exist."""
        ...

    def create(
        self,
        name: ObjectName | str,
        schema: pa.Schema,
        *,
        primary_keys: Sequence[str] = (),
        timeseries_column: str | None = None,
        description: str = "",
        properties: Mapping[str, str] | None = None,
    ) -> TableInfo:
        """Create an empty table; the same declaration again returns the existing table.

        Args:
            name: The table.
            schema: Its columns; keys are never null, whatever is declared.
            primary_keys: Its keys, the timeseries column among them where it is one.
            timeseries_column: The column that says when a row was known.
            description: The table's comment.
            properties: Properties of the platform's own that a new table begins with, see `set_property`.

        Raises:
            TableError: If a table of that name exists with another declaration; `widen` is for that.
        """
        ...

    def widen(
        self,
        name: ObjectName | str,
        schema: pa.Schema,
        *,
        primary_keys: Sequence[str] = (),
        timeseries_column: str | None = None,
    ) -> Widening:
        """Make a table as wide as a declaration; its rows, tags, description and history stay.

        Columns are added, with their comments, and take wider types; where that is declared, they may be null from now
        on. A column that is no longer declared stays as it is. The same again changes nothing.

        Keys stay, but for columns of the platform's own (with a name such as `_file`): the table's keys become longer
        by those that are declared behind them, for what is unique stays so; and they keep those that no longer are.

        New columns come in one commit. Wider types cost more: at home all rows are written anew, in one commit with all
        else. On Databricks, which changes the type alone, each column is a commit, as is each that may be null.

        Args:
            name: The table.
            schema: All columns that are declared.
            primary_keys: The keys that are declared.
            timeseries_column: The timeseries column that is declared.

        Returns:
            What was changed, and which columns are no longer declared.

        Raises:
            TableError: If the table does not exist, or the declaration is no wider one: it has other keys, a type that
                does not hold all values, a new column that may not be null, or lacks one that may not.
            UnavailableError: If other writers kept winning.
        """
        ...

    def properties(self, catalog: str, schema: str, key: str) -> dict[str, str]:
        """Return a property of the platform's own of all tables of a schema: bare name -> value, empty without one.

        It costs what `list` costs; there is no table where the schema does not exist.
        """
        ...

    def set_property(self, name: ObjectName | str, key: str, value: str) -> None:
        """Set a property of the platform's own, kept with the table in Delta's log: no tag, and nothing for people.

        Raises:
            TableError: If the table does not exist.
            UnavailableError: If other writers kept winning.
        """
        ...

    def describe(self, name: ObjectName | str) -> TableInfo:
        """Return what is known about the table.

        Raises:
            TableError: If it does not exist; similar names are suggested.
        """
        ...

    def version(self, name: ObjectName | str) -> int:
        """Return the newest Delta version."""
        ...

    def replaced_since(self, name: ObjectName | str, version: int) -> bool:
        """Tell whether a table holds other rows than it held at a version and what was written to it after.

        So it is when it was restored, cloned over, replaced or emptied as a whole since, or when that version is not
        reached: an older copy lies in its place.

        Args:
            name: The table.
            version: A Delta version of it, as a run recorded it.
        """
        ...

    def read(self, name: ObjectName | str, *, version: int | None = None) -> DataFrame:
        """Return the table at a version (default: pinned at the newest one now) as a Spark DataFrame."""
        ...

    def to_arrow(
        self,
        name: ObjectName | str,
        *,
        at_most: int,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        filters: Sequence[Filter] = (),
    ) -> pa.Table:
        """Return the table at a version as Arrow, with only the columns and rows asked for.

        For what is small by nature; `ws.frames` is for the rest.

        Args:
            name: The table (or view).
            at_most: How many rows may come.
            version: A Delta version; default: the newest.
            columns: The columns; default: all.
            filters: Conditions on the rows.

        Raises:
            TableError: If there are more rows, with their number; if the table or a column does not exist.
        """
        ...

    def largest(self, name: ObjectName | str, column: str, *, filters: Sequence[Filter] = ()) -> Any:
        """Return the largest value of a column among the rows asked for; None without any.

        Raises:
            TableError: If the table or the column does not exist.
        """
        ...

    def create_latest_view(
        self,
        name: ObjectName | str,
        *,
        of: ObjectName | str,
        keys: Sequence[str],
        order_by: Sequence[str],
        where: Where | Sequence[Where] = (),
        description: str = "",
    ) -> None:
        """Create (or replace) a view that shows the newest row of each key of a table; always up to date.

        On Databricks a SQL view. On the local workspace its definition, which `to_arrow` and `read` compute whenever
        they are asked; it is no table: `exists` and `list` do not know it, and nothing is ever written to it.

        Args:
            name: The view's name.
            of: The table.
            keys: Columns whose values are shown once.
            order_by: Columns that say which row is the newest; the largest values win, the first column first.
            where: Conditions, of which one must hold: column -> what it equals; None: it is null. Empty: all rows.
            description: The view's comment.

        Raises:
            TableError: If the table lacks a column, or a table has the view's name.
        """
        ...

    def append(
        self, name: ObjectName | str, frame: FrameLike, *, transactions: Sequence[Transaction] = ()
    ) -> WriteResult:
        """Append rows, cast to the table's declared schema; with transactions, exactly once.

        Raises:
            TableError: If the frame lacks columns, has unknown ones, or holds nulls where none may be.
            UnavailableError: If other writers kept winning.
        """
        ...

    def merge(self, name: ObjectName | str, frame: FrameLike) -> WriteResult:
        """Update the rows whose primary keys match, and insert the others.

        Raises:
            TableError: As `append`; also for null or duplicate keys in the frame, and tables without keys.
            UnavailableError: If other writers kept winning.
        """
        ...

    def overwrite(
        self,
        name: ObjectName | str,
        frame: FrameLike,
        *,
        where: Mapping[str, Sequence[str]] | None = None,
        transactions: Sequence[Transaction] = (),
    ) -> WriteResult:
        """Replace all rows, or those of some values, in one commit.

        Which rows are replaced is looked up by the commit itself: what others write meanwhile is replaced or stays as
        if it had been written before.

        Args:
            name: The table.
            frame: The rows.
            where: Text column -> values. Only rows that have one of the values in each of the columns are replaced, and
                the frame holds such rows alone. None: all rows.
            transactions: What the commit counts as from now on, so that an append with one of them is skipped. Unlike
                an append, an overwrite is done whatever the table has taken.

        Raises:
            TableError: As `append`; also for null or duplicate keys in the frame, keys that rows which stay have, and
                rows that `where` does not mean.
            UnavailableError: If other writers kept winning.
        """
        ...

    def replace_range(
        self, name: ObjectName | str, frame: FrameLike, *, column: str, start: datetime, end: datetime
    ) -> WriteResult:
        """Replace the rows whose `column` lies in [start, end], both included, in one commit.

        Raises:
            TableError: As `append`; also for rows of the frame outside the range, null or duplicate keys, a range that
                ends before it starts, and a column that is no timestamp, or no key of a table with keys.
            UnavailableError: If other writers kept winning.
        """
        ...

    def committed(self, name: ObjectName | str, transactions: Sequence[Transaction]) -> tuple[bool, ...]:
        """Tell of each transaction whether the table has taken it."""
        ...

    def drop(self, name: ObjectName | str) -> None:
        """Remove the table and what is known about it."""
        ...

    def set_tag(self, name: ObjectName | str, key: str, value: str | None) -> None:
        """Set a tag; None removes it."""
        ...
