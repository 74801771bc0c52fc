"""One process at a time, on Databricks: a lease in a Delta table, which Delta lets only one writer take.

What it guarantees: of all processes that ask for a name in one environment, one at a time is inside, as long as it
renews its lease in time, which a thread does every five minutes. A process that dies, or stays without a network for
longer than the lease, loses it after fifteen minutes; if it lives on, an error at the end says so. It is no lock of
the operating system: jobs have `max_concurrent_runs: 1` besides, and what must never happen twice (appends, promotions)
has a safeguard of its own.
"""

from __future__ import annotations

import getpass
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import PlatformError, UnavailableError
from mlplatform.naming import ObjectName
from mlplatform.workspace.databricks import table_metadata
from mlplatform.workspace.databricks.delta import retrying_conflicts
from mlplatform.workspace.databricks.literals import literal
from mlplatform.workspace.databricks.spark_errors import translated_spark

if TYPE_CHECKING:
    from mlplatform.workspace.databricks.unity import Unity

LOG = logging.getLogger(__name__)
LEASE_SECONDS = 900
RENEW_SECONDS = 300
WAIT_SECONDS = 600
POLL_SECONDS = 5.0
_FIELDS: tuple[pa.Field[Any], ...] = (
    pa.field("name", pa.string(), False),
    pa.field("owner", pa.string(), False),
    pa.field("token", pa.string(), False),
    pa.field("until", pa.timestamp("us", tz="UTC"), False),
)
_SCHEMA = pa.schema(_FIELDS)


@contextmanager
def lease(unity: Unity, name: str) -> Iterator[None]:
    """Hold the lease of this name, waiting for it if another process (or thread) has it.

    Args:
        unity: The workspace; the lease is that of its environment and prefix.
        name: What is being protected; any text.

    Raises:
        UnavailableError: If another process keeps it for longer than ten minutes, saying which and until when; or if
            it was lost while it was held.
    """
    own = _Lease(unity, name)
    own.take()
    stop = threading.Event()
    renewing = threading.Thread(target=own.keep, args=(stop,), name=f"lease {name}", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        stop.set()
        renewing.join()
        held = own.give_back()
    if not held:
        raise UnavailableError(
            f"The lease '{name}' was lost while it was held: it could not be renewed for {LEASE_SECONDS} seconds.",
            hint="Another process may have done the same meanwhile; look at its records before running again.",
        )


class _Lease:
    def __init__(self, unity: Unity, name: str) -> None:
        self._unity, self._name, self._token = unity, name, uuid.uuid4().hex
        self._table: ObjectName = unity.ops_table("leases")
        self._owner = f"{getpass.getuser()}@{socket.gethostname()} (process {os.getpid()})"

    def take(self) -> None:
        table_metadata.create_table(self._unity, self._table, _SCHEMA, [], "Who is doing what only one may do")
        give_up = time.monotonic() + WAIT_SECONDS
        # The workspace's clock, not ours, says what has expired. Of two that take an expired lease at once Delta lets
        # one commit; the other looks again, and finds it taken.
        name, owner, token = (literal(text) for text in (self._name, self._owner, self._token))
        statement = (
            f"MERGE INTO {self._table.sql} t USING (SELECT {name} AS name) s ON t.name = s.name "
            f"WHEN MATCHED AND t.until < current_timestamp() THEN UPDATE SET owner = {owner}, token = {token}, "
            f"until = {_until()} WHEN NOT MATCHED THEN INSERT (name, owner, token, until) "
            f"VALUES (s.name, {owner}, {token}, {_until()})"
        )
        while not self._run(statement):
            if time.monotonic() > give_up:
                raise UnavailableError(self._held(), hint="Wait for it to end; a process that died frees it by then.")
            time.sleep(POLL_SECONDS)

    def keep(self, stop: threading.Event) -> None:
        """Renew until told to stop; a failure is tried again soon, and shows when the lease is given back."""
        pause = RENEW_SECONDS
        while not stop.wait(pause):
            try:
                self._run(f"UPDATE {self._table.sql} SET until = {_until()} WHERE {self._mine()}")
                pause = RENEW_SECONDS
            except PlatformError as error:
                LOG.warning("The lease '%s' could not be renewed: %s", self._name, error.message)
                pause = min(30, RENEW_SECONDS)

    def give_back(self) -> bool:
        """Free it; tell whether it was still ours."""
        return self._run(f"DELETE FROM {self._table.sql} WHERE {self._mine()}") > 0

    def _mine(self) -> str:
        return f"name = {literal(self._name)} AND token = {literal(self._token)}"

    def _run(self, statement: str) -> int:
        rows: list[Any] = retrying_conflicts(
            f"The lease '{self._name}'", lambda: self._unity.spark.sql(statement).collect()
        )
        return int(rows[0]["num_affected_rows"])

    def _held(self) -> str:
        from pyspark.sql import functions as F  # noqa: N812

        with translated_spark(f"Reading {self._table}"):
            rows = self._unity.spark.table(self._table.sql).where(F.col("name") == self._name).toArrow().to_pylist()
        holder = (
            f"{rows[0]['owner']} holds it until {rows[0]['until']:%Y-%m-%d %H:%M:%S} UTC" if rows else "others held it"
        )
        return f"The lease '{self._name}' could not be obtained within {WAIT_SECONDS} seconds: {holder}."


def _until() -> str:
    return f"current_timestamp() + INTERVAL {LEASE_SECONDS:d} SECONDS"
