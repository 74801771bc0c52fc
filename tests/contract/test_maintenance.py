"""Maintenance: small files are put together and old ones removed; no row changes, and kept versions stay readable."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from mlplatform.errors import TableError
from mlplatform.naming import ObjectName
from mlplatform.protocols.maintenance import Maintenance, explained
from mlplatform.protocols.tables import Transaction

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("note", pa.string())])


@pytest.fixture
def table(ws: Workspace, fresh: Callable[[], str]) -> str:
    """Give a table of three rows in three files."""
    name = fresh()
    ws.tables.create(name, SCHEMA, primary_keys=("id",))
    for number in range(3):
        once = [Transaction("append 0")] if number == 0 else []
        rows = pa.table({"id": [number], "note": [f"n{number}"]}, schema=SCHEMA)
        ws.tables.append(name, rows, transactions=once)
    return name


def rows(ws: Workspace, name: str, version: int | None = None) -> list[dict[str, object]]:
    found: list[dict[str, object]] = ws.tables.to_arrow(name, version=version, at_most=100).sort_by("id").to_pylist()
    return found


def test_it_keeps_the_protocol(ws):
    assert isinstance(ws.maintenance, Maintenance)


def test_small_files_are_counted_and_put_together_without_changing_a_row(ws, table):
    expected, version = rows(ws, table), ws.tables.version(table)
    before = ws.maintenance.files(table)
    assert before.files == 3
    assert before.small >= 2
    assert before.size > 0
    assert ws.maintenance.compact(table) == 3
    after = ws.maintenance.files(table)
    assert (after.files, after.small <= 1) == (1, True)
    assert rows(ws, table) == expected
    assert rows(ws, table, version) == expected
    assert not ws.tables.replaced_since(table, version)


def test_what_was_committed_stays_so_and_writes_go_on(ws, table):
    ws.maintenance.compact(table)
    assert ws.tables.append(
        table, pa.table({"id": [0], "note": ["n0"]}, schema=SCHEMA), transactions=[Transaction("append 0")]
    ).skipped
    assert ws.tables.merge(table, pa.table({"id": [1, 9], "note": ["changed", "new"]}, schema=SCHEMA)).rows == 2
    assert [row["note"] for row in rows(ws, table)] == ["n0", "changed", "n2", "new"]


def test_a_table_of_one_file_has_nothing_to_put_together(ws, table):
    ws.maintenance.compact(table)
    version = ws.tables.version(table)
    assert ws.maintenance.compact(table) == 0
    assert ws.tables.version(table) == version


def test_what_is_younger_than_the_retention_is_not_removed(ws, table):
    version, expected = ws.tables.version(table), rows(ws, table)
    ws.maintenance.compact(table)
    ws.tables.overwrite(table, pa.table({"id": [1], "note": ["x"]}, schema=SCHEMA))
    ws.maintenance.clean(table, versions=[1], days=7)
    assert rows(ws, table, version) == expected
    assert rows(ws, table) == [{"id": 1, "note": "x"}]


def test_a_size_may_be_asked_for_and_nobody_else_looks_after_the_files(ws, table):
    assert ws.maintenance.left_to(table) == ""
    assert ws.maintenance.files(table, target_size=1024**3).files == 3
    assert ws.maintenance.compact(table, target_size=64 * 1024**2) == 3
    ws.maintenance.keep(table, versions=[1], days=40)
    assert len(rows(ws, table)) == 3


def test_a_whole_table_has_nothing_to_mend_and_an_error_of_use_is_no_damage(ws, table):
    inspection = ws.maintenance.inspect(table)
    assert not inspection.damages
    assert not inspection.orphans
    assert inspection.left_to or (inspection.files, inspection.last_good) == (3, ws.tables.version(table))
    version, expected = ws.tables.version(table), rows(ws, table)
    for keep in ("rows", "history", "nothing"):
        assert ws.maintenance.mend(table, keep=keep, aside="nothing") == ()
    assert (ws.tables.version(table), rows(ws, table)) == (version, expected)
    name = ObjectName.parse(table)
    assert name.name in ws.maintenance.folders(name.catalog, name.schema)
    assert ws.maintenance.inspect_files() == ()
    assert ws.maintenance.mend_files(aside="nothing") == ()
    with pytest.raises(TableError, match=r"does not exist|not found"), explained(ws):
        ws.tables.describe(f"{table}_that_nobody_made")
