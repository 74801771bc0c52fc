"""The mark by which a run sees, without reading a table, whether it has the schema that this version writes.

It is a property of each of the platform's own tables: the number of the last migration that the table went through, a
digest of its columns, and the version of the platform that left it so. Where the digest differs, columns are added;
where the number is lower, migrations run; where it is higher, a newer version wrote the table in a way that this one
does not know, and nothing is written.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa

from mlplatform.errors import PlatformError, TableError
from mlplatform.naming import ObjectName
from mlplatform.ops.migrations.migration import Migration, newest_of, waiting
from mlplatform.ops.record_table import RecordTable, has_default
from mlplatform.protocols.tables import TableInfo, Widening
from mlplatform.protocols.widening import type_name
from mlplatform.protocols.workspace import Workspace

LOG = logging.getLogger(__name__)
PROPERTY = "record_schema"
_FORM = re.compile(r"(\d+):([0-9a-f]*):(.*)")


@lru_cache(maxsize=1)
def platform_version() -> str:
    """Return the installed version of this library."""
    try:
        return version("mlplatform")
    except PackageNotFoundError:
        return "0+unknown"


@dataclass(frozen=True)
class SchemaMark:
    """What a table's property says; a table that was made before there were marks has none.

    Attributes:
        number: Of the last migration that the table went through; 0: none.
        digest: Of its columns; empty where nobody said.
        platform_version: Of the platform that wrote the mark.

    Examples:
        >>> SchemaMark.parse("2:0fab:0.3.0").number, SchemaMark.parse("").number
        (2, 0)
        >>> str(SchemaMark(2, "0fab", "0.3.0"))
        '2:0fab:0.3.0'
    """

    number: int = 0
    digest: str = ""
    platform_version: str = ""

    @classmethod
    def parse(cls, text: str) -> SchemaMark:
        """Read a property's value.

        Raises:
            ValueError: If it is no mark of this form.
        """
        if not text:
            return cls()
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(text)
        return cls(int(match[1]), match[2], match[3])

    @classmethod
    def of(cls, table: RecordTable[Any], migrations: Sequence[Migration]) -> SchemaMark:
        """Return the mark of a table as this version makes it."""
        columns = "\n".join(f"{field.name} {type_name(field.type)} {field.nullable}" for field in table.schema)
        digest = hashlib.sha256(columns.encode()).hexdigest()[:12]
        return cls(newest_of(migrations, table.name), digest, platform_version())

    def __str__(self) -> str:
        """Return the property's value."""
        return f"{self.number}:{self.digest}:{self.platform_version}"

    def has(self, other: SchemaMark) -> bool:
        """Tell whether number and digest are the same, whatever version wrote them."""
        return (self.number, self.digest) == (other.number, other.digest)


def check_not_newer(name: ObjectName, text: str, ours: SchemaMark) -> SchemaMark:
    """Return a table's mark, unless a version of the platform that is newer than this one left it.

    Args:
        name: The table.
        text: The property's value.
        ours: The mark of a table as this version makes it.

    Raises:
        TableError: If it did.
    """
    try:
        mark = SchemaMark.parse(text)
    except ValueError:
        mark = SchemaMark(ours.number + 1, "", "unknown")
    if mark.number > ours.number:
        raise TableError(
            f"{name} was written by a newer version of the platform ({mark.platform_version}): its schema has number "
            f"{mark.number}, and this version ({platform_version()}) knows numbers up to {ours.number}.",
            hint="Install that version, or a later one. Nothing was written.",
        )
    return mark


def bring_up_to_date(ws: Workspace, name: ObjectName, table: RecordTable[Any], migrations: Sequence[Migration]) -> None:
    """Give a table the schema that this version writes: migrations first, then columns.

    Args:
        ws: The workspace.
        name: The table's full name.
        table: What it holds.
        migrations: All of them.

    Raises:
        TableError: If a newer version was faster, or the table cannot be made so.
    """
    ours = SchemaMark.of(table, migrations)
    with ws.lock(f"migrate {name}"):
        # Looked at again: whoever held the lock may have done it.
        mark = check_not_newer(name, ws.tables.properties(name.catalog, name.schema, PROPERTY)[name.name], ours)
        if mark.has(ours):
            return
        for migration in waiting(migrations, table.name, mark.number):
            LOG.info("%s: migration %d, %s", name, migration.number, migration.what)
            migration.apply(ws, name)
            # One by one: what has been done is not done again.
            mark = SchemaMark(migration.number, mark.digest, platform_version())
            ws.tables.set_property(name, PROPERTY, str(mark))
        change = _widen(ws, name, table)
        # Columns that this version does not know are a newer one's, which would look again for its own mark.
        digest = mark.digest if change.unwritten else ours.digest
        if (mark.number, mark.digest) != (ours.number, digest):
            _mark(ws, name, SchemaMark(ours.number, digest, platform_version()))


def _widen(ws: Workspace, name: ObjectName, table: RecordTable[Any]) -> Widening:
    existing = ws.tables.describe(name)
    try:
        return ws.tables.widen(name, _fitting(table, existing))
    except TableError as error:
        raise TableError(
            f"The platform's own table is of another version. {error.message}",
            hint="Whoever owns the table may widen it: mlplatform setup, before the jobs run. Where the platform was "
            "put back to an earlier version, install the later one again.",
        ) from error


def _mark(ws: Workspace, name: ObjectName, mark: SchemaMark) -> None:
    try:
        ws.tables.set_property(name, PROPERTY, str(mark))
    except PlatformError as error:
        # It is right as it is; without the mark the next run looks again.
        LOG.warning("%s could not be marked as up to date: %s", name, error.message)


def _fitting(table: RecordTable[Any], existing: TableInfo) -> pa.Schema:
    """Return a record's schema as a table that exists can take it.

    What the table lets be null stays so, and a new column that a record need not be given is null in rows that exist:
    it reads as the field's default there.
    """
    optional = {item.name for item in fields(table.record) if has_default(item)}
    nullable = {field.name for field in existing.schema if field.nullable}
    new = set(table.schema.names) - set(existing.schema.names)
    return pa.schema(
        [
            field.with_nullable(field.nullable or field.name in nullable or (field.name in new & optional))
            for field in table.schema
        ]
    )
