"""A table of the platform's own: a typed record for each of its rows, and the schema that follows from the type."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import Any, Generic, TypeVar, get_args, get_origin

import pyarrow as pa

from mlplatform.as_of import parse_as_of
from mlplatform.errors import TableError, UnavailableError, shortened
from mlplatform.naming import Namespace, ObjectName
from mlplatform.protocols.frames import Frame
from mlplatform.protocols.tables import Filter, WriteResult
from mlplatform.protocols.workspace import Workspace

R = TypeVar("R")
MOST_RECORDS = 100_000
"""How many records are read at once at most; whoever may meet more asks for the newest, or lets the engine look."""

_INSTANT = timedelta(microseconds=1)
_TYPES: Mapping[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    datetime: pa.timestamp("us", tz="UTC"),
}


def noted(comment: str = "", *, default: Any = MISSING, factory: Any = MISSING, nullable: bool | None = None) -> Any:
    """Declare a column of a record, as `dataclasses.field` does.

    Args:
        comment: The column's comment in the table.
        default: Value where none is given.
        factory: Makes that value.
        nullable: Whether the table's column takes nulls; None: as the field's type says. Columns that hold JSON do.
    """
    metadata = {"comment": comment, "nullable": nullable}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata)
    if default is not MISSING:
        return field(default=default, metadata=metadata)
    return field(metadata=metadata)


@dataclass(frozen=True)
class RecordTable(Generic[R]):
    """One of the platform's own tables.

    Mappings and lists are stored as JSON text, in which numbers that are not finite are null. What is declared as a
    `Mapping` (not a `dict`) is parsed when it is looked into. A column that a table made by an earlier version does not
    have reads as the field's default, and so do the rows from before the column.

    Attributes:
        name: The table's name in the schema `ops`.
        record: A dataclass: one of it is one row.
        description: The table's comment.
        order_by: The column by which rows are read, oldest first.
        written_by: The stage that writes to it in every run that ends well, so that it is noticed when it is gone;
            empty: none does.
        by_clock: `order_by` is when a record was made, by the wall clock. Where that was set back, new records are
            dated after those that exist all the same: their order is what counts.
    """

    name: str
    record: type[R]
    description: str
    order_by: str
    written_by: str = ""
    by_clock: bool = False

    @cached_property
    def schema(self) -> pa.Schema:
        """The table's Arrow schema."""
        hints = typing.get_type_hints(self.record)
        return pa.schema([_field(item, hints[item.name]) for item in fields(self.record)])  # type: ignore[arg-type]

    @cached_property
    def _json(self) -> frozenset[str]:
        hints = typing.get_type_hints(self.record)
        return frozenset(name for name, hint in hints.items() if _is_json(_without_none(hint)[0]))

    @cached_property
    def _later(self) -> frozenset[str]:
        hints = typing.get_type_hints(self.record)
        return frozenset(name for name in self._json if get_origin(_without_none(hints[name])[0]) is Mapping)

    @cached_property
    def _required(self) -> frozenset[str]:
        return frozenset(field.name for field in self.schema if not field.nullable)

    def full_name(self, namespace: Namespace) -> ObjectName:
        """Return the table's three-level name."""
        return namespace.ops(self.name)

    def read(self, ws: Workspace, namespace: Namespace, filters: Sequence[Filter] = ()) -> list[R]:
        """Return a use case's records, oldest first; none where the table does not exist.

        Args:
            ws: The workspace.
            namespace: The use case's.
            filters: Conditions beside the use case's name.

        Raises:
            TableError: If they are more than `MOST_RECORDS`.
        """
        return self.read_from(ws, self.full_name(namespace), [("use_case", "=", namespace.use_case), *filters])

    def read_from(self, ws: Workspace, name: ObjectName, filters: Sequence[Filter] = ()) -> list[R]:
        """Return the records of a table, of whatever use case, oldest first; none where it does not exist."""
        if not ws.tables.exists(name):
            return []
        return self.records(ws.tables.to_arrow(name, at_most=MOST_RECORDS, filters=filters))

    def newest(self, ws: Workspace, namespace: Namespace, count: int, filters: Sequence[Filter] = ()) -> list[R]:
        """Return a use case's newest records, oldest first; none where the table does not exist.

        Args:
            ws: The workspace.
            namespace: The use case's.
            count: How many at most.
            filters: Conditions beside the use case's name.
        """
        if not ws.tables.exists(self.full_name(namespace)):
            return []
        frame = self.frame(ws, namespace, filters).sort(self.order_by, descending=True).head(count)
        return self.records(ws.frames.collect(frame, at_most=count, what=f"the newest records of {self.name}"))

    def frame(self, ws: Workspace, namespace: Namespace, filters: Sequence[Filter] = ()) -> Frame:
        """Return a use case's rows as a frame, for what the engine is to find among them.

        Raises:
            TableError: If the table does not exist.
        """
        return ws.frames.read(self.full_name(namespace), filters=[("use_case", "=", namespace.use_case), *filters])

    def records(self, rows: pa.Table) -> list[R]:
        """Return rows of the table as records, oldest first."""
        return [self.decode(row) for row in rows.sort_by(self.order_by).to_pylist()]

    def append(
        self,
        ws: Workspace,
        namespace: Namespace,
        records: Iterable[R],
        *,
        newest: datetime | None = None,
        **options: Any,
    ) -> WriteResult:
        """Append records.

        Args:
            ws: The workspace.
            namespace: The use case's.
            records: The records.
            newest: When the newest one that exists was made, where that is known; None: looked up where it matters.
            **options: For `ws.tables.append`.
        """
        rows = self.in_order(ws, namespace, list(records), newest)
        return ws.tables.append(self.full_name(namespace), self.to_arrow(rows), **options)

    def drop_repeated(self, ws: Workspace, namespace: Namespace, *, dry_run: bool = False) -> int:
        """Leave each of a use case's records once, where they are there several times; return how many were too many.

        Args:
            ws: The workspace.
            namespace: The use case's.
            dry_run: Only count them.

        Raises:
            UnavailableError: If somebody writes to the table meanwhile: nothing is changed then.
        """
        name = self.full_name(namespace)
        if not ws.tables.exists(name):
            return 0
        version = ws.tables.version(name)
        rows = self.frame(ws, namespace)
        repeated = ws.frames.count(rows) - ws.frames.count(rows.unique())
        if repeated and not dry_run:
            with ws.frames.staged(rows.unique()) as once:
                if ws.tables.version(name) != version:
                    raise UnavailableError(
                        f"{name} was written to while its repeated records were looked for.",
                        hint="Nothing was changed. Run again when no run is at work.",
                    )
                ws.tables.overwrite(name, once, where={"use_case": [namespace.use_case]})
        return repeated

    def in_order(self, ws: Workspace, namespace: Namespace, records: list[R], newest: datetime | None) -> list[R]:
        """Return new records as they are, or dated after those that exist, where the clock says that these are to come.

        Args:
            ws: The workspace.
            namespace: The use case's.
            records: The new records.
            newest: As `append`.
        """
        if not self.by_clock or not records:
            return records
        if newest is None:
            filters: list[Filter] = [("use_case", "=", namespace.use_case)]
            newest = ws.tables.largest(self.full_name(namespace), self.order_by, filters=filters)
        if newest is None or newest <= datetime.now(UTC):
            return records
        later = newest + _INSTANT - min(getattr(record, self.order_by) for record in records)
        return [
            replace(record, **{self.order_by: getattr(record, self.order_by) + later})  # type: ignore[type-var]
            for record in records
        ]

    def to_arrow(self, records: Iterable[R]) -> pa.Table:
        """Return records as rows of the table."""
        return pa.Table.from_pylist([self.encode(record) for record in records], schema=self.schema)

    def encode(self, record: R) -> dict[str, Any]:
        """Return a record as a row: plain values, with JSON text for what is nested."""
        row = {item.name: getattr(record, item.name) for item in fields(record)}  # type: ignore[arg-type]
        return {name: as_json(value) if name in self._json else value for name, value in row.items()}

    def decode(self, row: Mapping[str, Any]) -> R:
        """Return a row as a record.

        Args:
            row: As `pyarrow.Table.to_pylist` gives it; columns that the record does not have are left out.
        """
        values: dict[str, Any] = {}
        for item in fields(self.record):  # type: ignore[arg-type]
            if item.name not in row:
                continue
            value = row[item.name]
            if item.name in self._json:
                if value is None and has_default(item):
                    continue
                if value:
                    parse = partial(self._parsed, column=item.name)
                    value = ParsedLater(value, parse) if item.name in self._later else parse(value)
            elif value is None and item.name in self._required and has_default(item):
                continue  # the column came after the row
            values[item.name] = parse_as_of(value) if isinstance(value, datetime) else value
        return self.record(**values)

    def _parsed(self, text: str, column: str) -> Any:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._no_json(text, column, type(error).__name__) from None
        if column in self._later and not isinstance(found, dict):
            raise self._no_json(text, column, "no object")
        return found

    def _no_json(self, text: str, column: str, why: str) -> TableError:
        return TableError(
            f"A row of {self.name} holds no JSON in {column}: {shortened(text)} ({why}).",
            hint="Only the platform writes there: somebody else did. The table's history has a good version.",
        )


class ParsedLater(Mapping[str, Any]):
    """A JSON object that is parsed when somebody looks into it: of most records of a long history nobody does."""

    __slots__ = ("_parse", "_parsed", "_text")

    def __init__(self, text: str, parse: Callable[[str], Any]) -> None:
        """Take the text, and what parses it."""
        self._text, self._parse = text, parse
        self._parsed: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it parsed."""
        if self._parsed is None:
            self._parsed, self._text = self._parse(self._text), ""
        return self._parsed

    def __getitem__(self, key: str) -> Any:
        """Return a value."""
        return self.to_dict()[key]

    def __iter__(self) -> Iterator[str]:
        """Go over the keys."""
        return iter(self.to_dict())

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self.to_dict())

    def __repr__(self) -> str:
        """Return it as the dictionary that it stands for."""
        return repr(self.to_dict())


def as_json(value: Any) -> str | None:
    """Return plain data as JSON text; numbers that are not finite become null, which JSON does not know.

    Examples:
        >>> as_json({"rows": 3, "ratio": float("nan")})
        '{"rows": 3, "ratio": null}'
    """
    return None if value is None else json.dumps(finite(value), default=str)


def finite(value: Any) -> Any:
    """Return plain data in which numbers that are not finite are None."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _field(item: Field[Any], hint: Any) -> pa.Field[Any]:
    kind, optional = _without_none(hint)
    nullable = item.metadata.get("nullable")
    comment = item.metadata.get("comment")
    return pa.field(
        item.name,
        pa.string() if _is_json(kind) else _TYPES[kind],
        nullable=nullable if nullable is not None else optional or _is_json(kind),
        metadata={"comment": comment} if comment else None,
    )


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        return kinds[0], len(kinds) < len(get_args(hint))
    return hint, False


def _is_json(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Mapping | list | tuple)


def has_default(item: Field[Any]) -> bool:
    """Tell whether a field of a record need not be given."""
    return item.default is not MISSING or item.default_factory is not MISSING
