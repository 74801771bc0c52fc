"""The ledger that makes an append happen exactly once, whatever fails in between.

Delta itself takes one application id per write, and does not say which it has taken. So a table of the platform's own,
`<prefix>ops.transactions`, holds what each append counts as, in rows that are only ever added (adding never conflicts):

1. `begun` rows with a token that this attempt alone has;
2. the append, with the token as Delta's `txnAppId` and as its commit's `userMetadata`;
3. `committed` rows.

After a crash the `begun` rows remain, and whether the append happened is found out, never guessed: an empty append
with the same `txnAppId` either is a commit of its own, marked as void, after which the first can never happen (Delta
skips it), even if it is still under way somewhere; or Delta skips it, because the first has happened, and is in the
history. If neither is in the history, that is an error.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import TableError, UnavailableError
from mlplatform.naming import ObjectName
from mlplatform.protocols.tables import Transaction, WriteResult
from mlplatform.workspace.databricks import table_metadata
from mlplatform.workspace.databricks.delta import Commit, append_rows, commits_of, overwrite_where, replace_rows
from mlplatform.workspace.databricks.spark_errors import translated_spark
from mlplatform.workspace.databricks.spark_frames import lifted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.workspace.databricks.unity import Unity

_FIELDS: tuple[pa.Field[Any], ...] = (
    pa.field("table_id", pa.string(), False),
    pa.field("table_name", pa.string(), False),
    pa.field("app_id", pa.string(), False),
    pa.field("version", pa.int64(), False),
    pa.field("token", pa.string(), False),
    pa.field("state", pa.string(), False),
    pa.field("recorded_at", pa.timestamp("us", tz="UTC"), False),
)
_SCHEMA = pa.schema(_FIELDS)
_BEGUN, _COMMITTED, _VOID = "begun", "committed", "void"


@dataclass(frozen=True)
class _Table:
    name: ObjectName
    id: str


class Ledger:
    """The transactions that the tables of an environment have taken."""

    def __init__(self, unity: Unity) -> None:
        """Take the connection; the ledger's table is created when first needed."""
        self._unity = unity
        self._ledger = unity.ops_table("transactions")
        self._made = False
        # What a table has taken it has taken for good. By its id: one that is created again has taken nothing.
        self._taken: dict[str, set[Transaction]] = {}

    def committed(self, name: ObjectName | str, transactions: Sequence[Transaction]) -> tuple[bool, ...]:
        """Tell of each transaction whether the table has taken it; an attempt still under way is left alone."""
        return self._settle(self._table(name), transactions, void=False)

    def append(self, name: ObjectName | str, rows: DataFrame, transactions: Sequence[Transaction]) -> WriteResult:
        """Append rows that count as these transactions.

        Raises:
            TableError: If some are committed and others are not, or if it can no longer be told.
            UnavailableError: If another process is appending some of the same.
        """
        table = self._table(name)
        states = self._settle(table, transactions, void=True)
        if all(states):
            return WriteResult(version=table_metadata.newest_version(self._unity, table.name), rows=0, skipped=True)
        if any(states):
            raise TableError(
                f"Part of this append to {name} has been committed by another run, part has not.",
                hint="Run again: what is committed is left out then.",
            )
        commit = self._write(table, transactions, lambda token: append_rows(table.name, rows, mark=token, token=token))
        return WriteResult(version=commit.version, rows=commit.rows)

    def overwrite(
        self, name: ObjectName | str, rows: DataFrame, condition: str, transactions: Sequence[Transaction]
    ) -> Commit:
        """Replace the rows that meet a condition, in a commit that counts as those transactions not yet taken.

        Raises:
            TableError: If it can no longer be told which are.
            UnavailableError: If another process is writing some of the same.
        """
        table = self._table(name)
        # What others had begun to append is committed by now, and replaced, or never will be.
        states = self._settle(table, transactions, void=True)
        new = [item for item, is_taken in zip(transactions, states, strict=True) if not is_taken]
        if not new:
            return overwrite_where(self._unity, table.name, rows, condition)
        return self._write(table, new, lambda token: replace_rows(table.name, rows, condition, mark=token, token=token))

    def _write(self, table: _Table, transactions: Sequence[Transaction], write: Callable[[str], None]) -> Commit:
        """Write rows as transactions that no other process has had committed.

        Args:
            table: The table.
            transactions: What the write counts as.
            write: Makes the commit, with a token as its mark and as Delta's application id.

        Raises:
            UnavailableError: If another process is writing some of the same.
        """
        name, token = table.name, uuid.uuid4().hex
        self._record(table, transactions, token, _BEGUN)
        # Another process may have begun between the look and the record; each sees the other's then, or at least the
        # later one does, and voids it.
        if any(self._settle(table, transactions, void=True, mine=token)):
            raise UnavailableError(
                f"Another process has appended to {name} what this one was about to.", hint="Run again."
            )
        write(token)
        commit = next(iter(commits_of(self._unity, table.name, [token])), None)
        if commit is None:
            raise UnavailableError(
                f"Another process has voided this append to {name}, because both append some of the same.",
                hint="Nothing of it was kept; run again.",
            )
        self._record(table, transactions, token, _COMMITTED)
        self._taken[table.id].update(transactions)
        return commit

    def _table(self, name: ObjectName | str) -> _Table:
        parsed = ObjectName.parse(name)
        return _Table(parsed, table_metadata.table_id(self._unity, parsed))

    def _settle(
        self, table: _Table, transactions: Sequence[Transaction], *, void: bool, mine: str = ""
    ) -> tuple[bool, ...]:
        """Find out what became of every attempt at these transactions but mine; tell which are committed.

        Args:
            table: The table.
            transactions: What is asked about.
            void: Whether attempts that have not happened are kept from happening later.
            mine: The token of this attempt.
        """
        taken = self._taken.setdefault(table.id, set())
        states = _are_in(taken, transactions)
        if all(states):
            return states
        tokens: dict[str, list[Transaction]] = {}
        settled: set[str] = set()
        for row in self._rows(table):
            tokens.setdefault(row["token"], []).append(Transaction(row["app_id"], row["version"]))
            if row["state"] != _BEGUN:
                settled.add(row["token"])
            if row["state"] == _COMMITTED:
                taken.add(Transaction(row["app_id"], row["version"]))
        apps = {item.app_id for item in transactions}
        for token, items in tokens.items():
            if token not in settled and token != mine and apps & {item.app_id for item in items}:
                happened = bool(commits_of(self._unity, table.name, [token])) or (
                    void and self._voiding_fails(table, token)
                )
                if happened or void:
                    self._record(table, items, token, _COMMITTED if happened else _VOID)
                taken.update(items if happened else ())
        return _are_in(taken, transactions)

    def _voiding_fails(self, table: _Table, token: str) -> bool:
        """Keep an attempt's append from ever happening; tell whether that fails, for it has happened.

        Raises:
            TableError: If it can no longer be told.
        """
        void = f"{_VOID}:{token}"
        nothing = self._unity.spark.table(table.name.sql).limit(0)
        append_rows(table.name, nothing, mark=void, token=token)
        marks = {commit.mark for commit in commits_of(self._unity, table.name, [token, void])}
        if not marks:
            raise TableError(
                f"Whether an append to {table.name} that began earlier was committed can no longer be told: its "
                "history does not reach back so far.",
                hint=f"Look at the rows of token {token} in {self._ledger}; if the table holds them, add rows with the "
                f"state '{_COMMITTED}' for it, else with '{_VOID}'.",
            )
        return token in marks

    def _rows(self, table: _Table) -> list[dict[str, Any]]:
        from pyspark.sql import functions as F  # noqa: N812

        self._make()
        with translated_spark(f"Reading {self._ledger}"):
            rows = self._unity.spark.table(self._ledger.sql).where(F.col("table_id") == table.id)
            return list(rows.select("app_id", "version", "token", "state").toArrow().to_pylist())

    def _record(self, table: _Table, transactions: Sequence[Transaction], token: str, state: str) -> None:
        self._make()
        recorded_at = datetime.now(UTC)
        rows = [
            {
                "table_id": table.id,
                "table_name": str(table.name),
                "app_id": transaction.app_id,
                "version": transaction.version,
                "token": token,
                "state": state,
                "recorded_at": recorded_at,
            }
            for transaction in transactions
        ]
        with lifted(self._unity, pa.Table.from_pylist(rows, schema=_SCHEMA)) as frame:
            append_rows(self._ledger, frame, mark=token)

    def _make(self) -> None:
        if not self._made:
            table_metadata.create_table(
                self._unity, self._ledger, _SCHEMA, ["table_id"], "Which transactions each table has taken"
            )
            self._made = True


def _are_in(taken: set[Transaction], transactions: Sequence[Transaction]) -> tuple[bool, ...]:
    """Tell of each transaction whether a table has taken it: this version of its application, or a later one."""
    newest: dict[str, int] = {}
    for item in taken:
        newest[item.app_id] = max(item.version, newest.get(item.app_id, item.version))
    return tuple(item.app_id in newest and newest[item.app_id] >= item.version for item in transactions)
