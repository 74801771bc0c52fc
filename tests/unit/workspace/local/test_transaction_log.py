"""What a table has taken: found in its log at once, the same that delta-rs says of each."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake import Transaction as DeltaTransaction

from mlplatform.protocols.tables import Transaction
from mlplatform.workspace.local import transaction_log
from mlplatform.workspace.local.transaction_log import are_committed

ROWS = pa.table({"id": [1]})
ASKED = [Transaction(f"file:{number}", version) for number in range(12) for version in (1, 2)]


def write(path: Path, *taken: tuple[str, int]) -> None:
    transactions = [DeltaTransaction(*item) for item in taken]
    write_deltalake(path, ROWS, mode="append", commit_properties=CommitProperties(app_transactions=transactions))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for number in range(8):
        write(tmp_path, (f"file:{number}", 1), (f'"txn" {number}', 1))
    write(tmp_path, ("file:3", 2))
    write(tmp_path)
    return tmp_path


def expected(table: DeltaTable) -> list[bool]:
    return [(table.transaction_version(item.app_id) or 0) >= item.version for item in ASKED]


@pytest.mark.parametrize("checkpoint", [False, True])
def test_it_is_what_delta_rs_says_of_each(path, checkpoint):
    if checkpoint:
        DeltaTable(path).create_checkpoint()
        write(path, ("file:9", 1), ("file:4", 2))
        assert transaction_log._app_versions(path / "_delta_log", DeltaTable(path).version())
    table = DeltaTable(path)
    found = are_committed(path, table, ASKED)
    assert found == expected(table)
    assert found.count(True) == (11 if checkpoint else 9)
    assert are_committed(path, table, ASKED[:2]) == found[:2]
    assert are_committed(path, table, []) == []


def test_a_handle_of_before_knows_nothing_later(path):
    before = DeltaTable(path)
    write(path, ("file:9", 1))
    DeltaTable(path).create_checkpoint()
    assert are_committed(path, before, ASKED) == expected(before)


def test_a_log_that_lacks_files_is_left_to_delta_rs(path):
    DeltaTable(path).create_checkpoint()
    (path / "_delta_log" / "_last_checkpoint").unlink()
    (path / "_delta_log" / f"{2:020}.json").unlink()
    assert transaction_log._app_versions(path / "_delta_log", DeltaTable(path).version()) is None
    table = DeltaTable(path)
    assert are_committed(path, table, ASKED) == expected(table)
