"""Frames: lazy relations that the workspace's engine computes; rows stay where they are until a stage asks for few.

A frame is a narwhals `LazyFrame`: over a DuckDB relation on the local workspace, over a Spark DataFrame on Databricks.
So a stage is written once, in narwhals' expressions, and what differs between the homes is below this protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import narwhals as nw

from mlplatform.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from mlplatform.naming import ObjectName
    from mlplatform.protocols.column_counts import Cells, ColumnCounts
    from mlplatform.protocols.tables import Filter, FrameLike

Frame: TypeAlias = "nw.LazyFrame[Any]"
"""A lazy relation of a workspace's engine."""


@dataclass(frozen=True)
class Collection:
    """One collecting of rows into this process.

    Attributes:
        what: What was collected, in words.
        rows: How many rows came.
        size: In bytes, as Arrow.
        at_most: The bound.
    """

    what: str
    rows: int
    size: int
    at_most: int


@dataclass
class Collected:
    """What was collected while it was measured."""

    collections: list[Collection] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows came into this process."""
        return sum(item.rows for item in self.collections)

    @property
    def size(self) -> int:
        """How many bytes they were."""
        return sum(item.size for item in self.collections)

    @property
    def largest(self) -> Collection | None:
        """The collecting that brought the most rows; None without any."""
        return max(self.collections, key=lambda item: item.rows, default=None)


_meters: ContextVar[tuple[Collected, ...]] = ContextVar("meters", default=())


@contextmanager
def metered() -> Iterator[Collected]:
    """Measure what is collected within, whatever workspace it is collected from.

    Examples:
        >>> with metered() as collected:
        ...     note_collection(Collection("labels", rows=3, size=24, at_most=100))
        >>> collected.rows, collected.largest.what
        (3, 'labels')
    """
    collected = Collected()
    token = _meters.set((*_meters.get(), collected))
    try:
        yield collected
    finally:
        _meters.reset(token)


def note_collection(collection: Collection) -> None:
    """Tell those who measure of a collecting; for the workspaces."""
    for meter in _meters.get():
        meter.collections.append(collection)


def too_many(what: str, count: int, at_most: int) -> TableError:
    """Return the error about more rows than may be collected.

    Args:
        what: What was to be collected.
        count: How many rows there are.
        at_most: The bound.
    """
    return TableError(
        f"{what} has {count} rows; at most {at_most} may be collected into this process.",
        hint="Filter, aggregate or sample it first (ws.frames), or raise the bound where it is set.",
    )


@runtime_checkable
class Frames(Protocol):
    """Frames of a workspace's tables, and what becomes of them.

    What narwhals can say is said by narwhals: `filter`, `select`, `join` (inner, left, semi, anti), `group_by().agg()`,
    `unique`, `sort`, `head`, `with_columns`. Here stands what needs the engine.

    Attributes:
        ceiling: No collecting may bring more rows than this, whatever its own bound is; None: its own bound counts.
    """

    ceiling: int | None

    def read(
        self,
        name: ObjectName | str,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        filters: Sequence[Filter] = (),
        any_of: Sequence[Filter] = (),
    ) -> Frame:
        """Return a table (or view) as a frame, pinned at a version (default: the newest one now).

        Filters given here, rather than on the frame, let whole files be left out by their statistics. All of `filters`
        hold for the rows, and at least one of `any_of`, if there are such.

        Raises:
            TableError: If the table, its version or a column does not exist.
        """
        ...

    def of(self, rows: FrameLike) -> Frame:
        """Return rows as a frame; a frame as it is.

        A Spark DataFrame is computed by Spark: on the local workspace at once, on Databricks when the frame is.

        Raises:
            TableError: If it is no kind of frame.
        """
        ...

    def to_spark(self, rows: FrameLike) -> DataFrame:
        """Return rows as a Spark DataFrame, for a use case's code; none passes through this process."""
        ...

    def staged(self, rows: FrameLike, *, order_by: Sequence[str] = ()) -> AbstractContextManager[Frame]:
        """Compute rows once; within the context, whatever is read from the frame given sees the same rows.

        On the local workspace Parquet in its scratch folder, on Databricks Parquet in the volume of the platform's
        files; removed in the end.

        Args:
            rows: The rows.
            order_by: Columns that they are sorted by.
        """
        ...

    def conformed(self, rows: FrameLike, schema: pa.Schema, table: str) -> AbstractContextManager[Frame]:
        """Give rows in exactly the declared columns and types, as a write into a table does.

        Args:
            rows: The rows.
            schema: The table's columns.
            table: Its name, for messages.

        Raises:
            TableError: If columns are unknown or missing, or values do not fit their type.
        """
        ...

    def collect(self, frame: Frame, *, at_most: int, what: str) -> pa.Table:
        """Return a frame's rows as Arrow, in normal types (timestamps in UTC, counts and sums of whole numbers int64).

        Args:
            frame: The frame.
            at_most: How many rows may come.
            what: What they are, for the error and the record, as in `labels known by as_of`.

        Raises:
            TableError: If there are more, with their number.
        """
        ...

    def count(self, frame: Frame) -> int:
        """Return how many rows a frame has."""
        ...

    def fingerprint(self, frame: Frame, columns: Sequence[str]) -> str:
        """Return a text that tells which rows a frame holds, by some columns, in whatever order they are.

        The same rows have the same one, and other rows another. Each home has its own way; it is no digest of data that
        is to be compared between homes, or years later.

        Args:
            frame: The frame.
            columns: The columns, of a primary key for instance.
        """
        ...

    def count_cells(self, rows: FrameLike, cells: Mapping[str, Cells]) -> dict[str, ColumnCounts]:
        """Count columns in cells, all in one pass over the rows.

        On the local workspace batch by batch, on Databricks by one query. Nulls and NaN are no values; what is not
        finite lies in a cell and does not count for the moments.

        Args:
            rows: The rows; a stream of batches, too.
            cells: Column -> its cells; a column that the rows lack is left out.

        Returns:
            Column -> counts. Without any row: nothing.
        """
        ...

    def sample(self, frame: Frame, *, keys: Sequence[str], at_most: int, seed: int) -> Frame:
        """Return at most so many rows, the same ones in both homes and whatever order the rows are in.

        Those are taken whose keys have the smallest MD5 together with the seed: a hash that every engine has.

        Args:
            frame: The frame.
            keys: Columns that are unique together.
            at_most: How many rows.
            seed: Another one gives another sample.
        """
        ...

    def share(self, frame: Frame, *, keys: Sequence[str], share: float, salt: str, outside: bool = False) -> Frame:
        """Return the rows of a share of all keys: the same ones in both homes, in whatever order, now and later.

        A key is in the share where the MD5 of salt and key lies in the lowest part of its range. So a larger share
        holds the keys of a smaller one, and what one salt draws says nothing of what another draws.

        Args:
            frame: The frame; several rows may have the same key.
            keys: The columns of the key, none of which is null.
            share: The share, from 0 to 1.
            salt: Another one gives another share.
            outside: Return the other rows instead.

        Raises:
            TableError: If the share is none.
        """
        ...


def share_bound(share: float) -> str:
    """Return the text below which the hexadecimal MD5 of the keys in a share lies; `g`, the letter after them, is all.

    Args:
        share: From 0 to 1.

    Raises:
        TableError: If it is none.

    Examples:
        >>> share_bound(0.5), share_bound(0.1), share_bound(1.0)
        ('80000000', '1999999a', 'g')
    """
    if not 0 <= share <= 1:
        raise TableError(f"{share} is no share.", hint="A share is a number from 0 to 1, as in 0.1.")
    bound = round(share * 2**32)
    return "g" if bound == 2**32 else f"{bound:08x}"
