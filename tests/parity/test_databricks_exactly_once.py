"""Appends on Databricks happen exactly once, wherever a process dies; and leases let one process in at a time."""

from __future__ import annotations

import itertools
import threading

import pyarrow as pa
import pytest

from mlplatform.errors import TableError, UnavailableError
from mlplatform.naming import ObjectName
from mlplatform.protocols.tables import Transaction
from mlplatform.workspace.databricks import locks, transactions
from mlplatform.workspace.databricks.locks import lease
from mlplatform.workspace.databricks.tables import DatabricksTables

SCHEMA = pa.schema([pa.field("k", pa.string())])
_names = (ObjectName("dev", "once", f"t{number}") for number in itertools.count())
FIRST, SECOND = Transaction("ingest:a.csv"), Transaction("ingest:b.csv")


class Killed(BaseException):
    """The process dies here."""


@pytest.fixture
def name(databricks):
    table = next(_names)
    databricks.tables.create(table, SCHEMA)
    return table


def rows(*keys):
    return pa.table({"k": pa.array(keys, pa.string())})


def content(databricks, name):
    return sorted(databricks.tables.to_arrow(name, at_most=10**6).column("k").to_pylist())


def another_process(databricks):
    return DatabricksTables(databricks.unity)


@pytest.mark.parametrize("place", ["before the append", "after the append", "before the record"])
def test_a_process_that_dies_leaves_it_clear_what_happened(databricks, name, monkeypatch, place):
    def dying(call, *, after):
        def die(*arguments, **named):
            if after:
                call(*arguments, **named)
            raise Killed

        return die

    ledger = databricks.tables._ledger
    if place == "before the record":
        record, seen = ledger._record, []

        def second_dies(*arguments):
            seen.append(arguments)
            if len(seen) > 1:
                raise Killed
            record(*arguments)

        monkeypatch.setattr(ledger, "_record", second_dies)
    else:
        whole = transactions.append_rows

        def only_the_append_dies(table, *arguments, **named):
            if table == name:
                dying(whole, after=place == "after the append")(table, *arguments, **named)
            whole(table, *arguments, **named)

        monkeypatch.setattr(transactions, "append_rows", only_the_append_dies)
    with pytest.raises(Killed):
        databricks.tables.append(name, rows("a"), transactions=[FIRST])
    monkeypatch.undo()
    happened = place != "before the append"
    tables = another_process(databricks)
    assert tables.committed(name, [FIRST]) == (happened,)
    assert tables.append(name, rows("a"), transactions=[FIRST]).skipped == happened
    assert content(databricks, name) == ["a"]
    # Also in the company of others.
    assert tables.append(name, rows("b"), transactions=[SECOND]).rows == 1
    assert content(databricks, name) == ["a", "b"]


def test_an_append_that_is_still_under_way_elsewhere_cannot_double(databricks, name, monkeypatch):
    whole = transactions.append_rows

    def slow(table, *arguments, **named):
        if table == name:
            monkeypatch.undo()
            # Meanwhile another process takes this one for dead, and appends the same and more.
            other = another_process(databricks)
            assert other.append(name, rows("a", "b"), transactions=[FIRST, SECOND]).rows == 2
        whole(table, *arguments, **named)

    monkeypatch.setattr(transactions, "append_rows", slow)
    with pytest.raises(UnavailableError, match="voided this append"):
        databricks.tables.append(name, rows("a"), transactions=[FIRST])
    assert content(databricks, name) == ["a", "b"]


def test_a_history_that_tells_nothing_is_an_error_and_no_guess(databricks, name, monkeypatch):
    ledger = databricks.tables._ledger
    table = ledger._table(name)
    ledger._record(table, [FIRST], "a-token", "begun")
    monkeypatch.setattr(transactions, "commits_of", lambda *_: [])
    with pytest.raises(TableError, match="can no longer be told"):
        another_process(databricks).append(name, rows("a"), transactions=[FIRST])
    monkeypatch.undo()
    assert content(databricks, name) == []


def test_one_process_at_a_time_holds_a_lease_and_the_error_says_who(databricks, monkeypatch):
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0)
    with (
        lease(databricks.unity, "train it's"),
        pytest.raises(UnavailableError, match=r"@.* \(process \d+\) holds it until 20\d\d-"),
        lease(databricks.unity, "train it's"),
    ):
        pytest.fail("both were inside")
    with lease(databricks.unity, "train it's"), lease(databricks.unity, "another"):
        pass


def test_a_lease_that_expired_is_taken_over_and_its_holder_learns_so(databricks, monkeypatch):
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0)

    def hold_for_too_long():
        with lease(databricks.unity, "dead"):
            monkeypatch.undo()
            with lease(databricks.unity, "dead"):
                pass

    with pytest.raises(UnavailableError, match="was lost while it was held"):
        hold_for_too_long()


def test_those_who_wait_for_a_lease_get_it_one_after_the_other(databricks, monkeypatch):
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.1)
    inside, most = [], []

    def work():
        with lease(databricks.unity, "busy"):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
