"""Appends that happen exactly once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from mlplatform.errors import TableError
from mlplatform.protocols.tables import Transaction

if TYPE_CHECKING:
    from mlplatform.protocols.workspace import Workspace

A, B, C = Transaction("file-a"), Transaction("file-b"), Transaction("file's c")


@pytest.fixture
def table(ws: Workspace, fresh: Callable[[str], str]) -> str:
    name = fresh("once")
    ws.tables.create(name, pa.schema([("v", pa.int64())]))
    return name


def rows(*values: int) -> pa.Table:
    return pa.table({"v": pa.array(values, pa.int64())})


def content(ws: Workspace, name: str) -> list[int]:
    return sorted(ws.tables.to_arrow(name, at_most=10**6).column("v").to_pylist())


def test_a_transaction_is_taken_once(ws, table):
    assert ws.tables.committed(table, [A]) == (False,)
    first = ws.tables.append(table, rows(1), transactions=[A])
    assert (first.rows, first.skipped, first.version) == (1, False, ws.tables.version(table))
    again = ws.tables.append(table, rows(2), transactions=[A])
    assert (again.rows, again.skipped, again.version) == (0, True, first.version)
    assert ws.tables.committed(table, [A, B]) == (True, False)
    assert ws.tables.committed(table, []) == ()
    assert content(ws, table) == [1]


def test_one_append_may_count_as_several(ws, table):
    frame = ws.spark.createDataFrame(rows(1, 2))
    assert ws.tables.append(table, frame, transactions=[A, B]).rows == 2
    assert ws.tables.append(table, rows(1, 2), transactions=[B, A]).skipped
    assert ws.tables.append(table, rows(1), transactions=[B]).skipped
    assert ws.tables.committed(table, [C, B, A]) == (False, True, True)
    assert ws.tables.append(table, rows(3), transactions=[C]).rows == 1
    assert content(ws, table) == [1, 2, 3]


def test_an_append_that_has_partly_happened_is_refused(ws, table):
    ws.tables.append(table, rows(1), transactions=[A])
    version = ws.tables.version(table)
    with pytest.raises(TableError, match=f"Part of this append to {table} has been committed"):
        ws.tables.append(table, rows(1, 2), transactions=[A, B])
    assert (content(ws, table), ws.tables.version(table)) == ([1], version)
    assert ws.tables.committed(table, [A, B]) == (True, False)


def test_versions_of_one_application_rise(ws, table):
    for version in (1, 2, 2, 1):
        ws.tables.append(table, rows(version), transactions=[Transaction("load", version)])
    assert content(ws, table) == [1, 2]
    assert ws.tables.committed(table, [Transaction("load", number) for number in (1, 2, 3)]) == (True, True, False)


def test_an_append_of_no_rows_still_takes_its_transaction(ws, table):
    result = ws.tables.append(table, rows(), transactions=[A])
    assert (result.rows, result.skipped) == (0, False)
    assert ws.tables.committed(table, [A]) == (True,)
    assert ws.tables.append(table, rows(1), transactions=[A]).skipped
    assert content(ws, table) == []


def test_rows_that_are_refused_take_no_transaction(ws, table):
    with pytest.raises(TableError, match="no column w"):
        ws.tables.append(table, pa.table({"w": [1]}), transactions=[A])
    assert ws.tables.committed(table, [A]) == (False,)
    assert ws.tables.append(table, rows(1), transactions=[A]).rows == 1


def test_tables_take_transactions_apart_and_one_made_again_has_taken_none(ws, table, fresh):
    other = fresh("once")
    ws.tables.create(other, pa.schema([("v", pa.int64())]))
    ws.tables.append(table, rows(1), transactions=[A])
    assert ws.tables.committed(other, [A]) == (False,)
    ws.tables.drop(table)
    ws.tables.create(table, pa.schema([("v", pa.int64())]))
    assert ws.tables.committed(table, [A]) == (False,)
    assert ws.tables.append(table, rows(2), transactions=[A]).rows == 1
    assert content(ws, table) == [2]
    with pytest.raises(TableError, match="does not exist"):
        ws.tables.committed("dev.contract.nowhere", [A])


def test_other_writes_do_not_forget_what_was_taken(ws, table):
    ws.tables.append(table, rows(1), transactions=[A])
    ws.tables.append(table, rows(5))
    ws.tables.overwrite(table, rows(9))
    ws.tables.set_tag(table, "a", "b")
    assert ws.tables.committed(table, [A]) == (True,)
    assert ws.tables.append(table, rows(1), transactions=[A]).skipped
    assert content(ws, table) == [9]


def test_an_overwrite_counts_as_transactions_too_and_is_done_whatever_was_taken(ws, table):
    ws.tables.append(table, rows(1), transactions=[A])
    assert ws.tables.overwrite(table, rows(2), transactions=[A, B]).rows == 1
    assert (content(ws, table), ws.tables.committed(table, [A, B])) == ([2], (True, True))
    assert ws.tables.append(table, rows(3), transactions=[B]).skipped
    assert not ws.tables.overwrite(table, rows(4, 5), transactions=[A, B]).skipped
    assert content(ws, table) == [4, 5]
