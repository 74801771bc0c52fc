"""What maintenance, and every other commit, leaves of older versions: their log, and their files for a while."""

from __future__ import annotations

import ast
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from mlplatform.errors import TableError
from mlplatform.workspace.local import data_files, delta, journal
from mlplatform.workspace.local.maintenance import LocalMaintenance
from mlplatform.workspace.local.tables import LocalTables
from tests.support.racers import tables as opened

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("value", pa.int64())])
NAME = "dev.x.t"
RETENTION, CLEAN_UP = "delta.deletedFileRetentionDuration", "delta.enableExpiredLogCleanup"


def rows(*ids: int) -> pa.Table:
    return pa.table({"id": list(ids), "value": [1] * len(ids)}, schema=SCHEMA)


@pytest.fixture
def tables(tmp_path: Path) -> LocalTables:
    """Give a table of one file; each write replaces it."""
    made = opened(tmp_path)
    made.create(NAME, SCHEMA, primary_keys=["id"])
    made.overwrite(NAME, rows(1))
    return made


def age(tables: LocalTables, days: float, files: Iterable[Path] = ()) -> None:
    """Make the log, what it says, and some files so many days old."""
    log, then = tables.path(NAME) / "_delta_log", time.time() - days * 24 * 60 * 60
    # What is edited here is not what was written: the copies would tell.
    (tables.path(NAME) / journal.NAME).unlink()
    for file in log.glob("*.json"):
        actions = [json.loads(line) for line in file.read_text().splitlines()]
        for action in actions:
            if "remove" in action:
                action["remove"]["deletionTimestamp"] = int(then * 1000)
            if "commitInfo" in action:
                action["commitInfo"]["timestamp"] = int(then * 1000)
        file.write_text("".join(json.dumps(action) + "\n" for action in actions))
    for file in (*log.iterdir(), *files):
        os.utime(file, (then, then))


def data(tables: LocalTables) -> set[Path]:
    return set(tables.path(NAME).glob("part-*.parquet"))


def set_raw(tables: LocalTables, values: dict[str, str]) -> None:
    delta.open_table(tables.path(NAME), NAME).alter.set_table_properties(
        values, post_commithook_properties=data_files.HOOKS
    )


@pytest.mark.parametrize("cleaning", ["true", "false"], ids=["a table made before", "a table made now"])
def test_no_commit_removes_old_log_files(tables: LocalTables, cleaning: str) -> None:
    assert tables.open(NAME).metadata().configuration[CLEAN_UP] == "false"
    set_raw(tables, {CLEAN_UP: cleaning, "delta.checkpointInterval": "3"})
    tables.open(NAME).create_checkpoint()
    age(tables, 60)
    before = {file.name for file in (tables.path(NAME) / "_delta_log").glob("*.json")}
    maintenance = LocalMaintenance(tables)
    tables.set_tag(NAME, "team", "x")
    tables.append(NAME, rows(2))
    tables.merge(NAME, rows(2, 3).append_column("new", pa.array([1, 1])))
    for number in range(4):
        tables.append(NAME, rows(10 + number).append_column("new", pa.array([1])))
        maintenance.compact(NAME)
    maintenance.clean(NAME, versions=[1], days=1)
    for number in range(4):
        tables.set_tag(NAME, "team", str(number))
    assert before <= {file.name for file in (tables.path(NAME) / "_delta_log").glob("*.json")}
    assert tables.to_arrow(NAME, version=1, at_most=9).num_rows == 1


def test_every_commit_names_the_hooks() -> None:
    named = {"create", "to_arrow"}  # of a class or with another meaning; they commit nothing that is old
    room = Path(delta.__file__).parent
    for file in sorted(room.glob("*.py")):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute | ast.Name):
                continue
            text = ast.unparse(call.func)
            commits = (
                ".alter." in text
                or ".optimize." in text
                or text.endswith(
                    ("create_write_transaction", "table.vacuum", "table.delete", "table.update", "table.restore")
                )
            )
            commits |= text == "write_deltalake" and ast.unparse(call.args[0]) != "str(apart)"
            if commits and text not in named:
                assert "post_commithook_properties" in {item.arg for item in call.keywords}, f"{file.name}: {text}"


def test_a_version_without_a_log_is_refused_as_such_and_maintenance_goes_on(
    tables: LocalTables, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(2, 5):
        tables.append(NAME, rows(number))
    tables.open(NAME).create_checkpoint()
    for number in range(3):
        (tables.path(NAME) / "_delta_log" / f"{number:020}.json").unlink()
    fresh = opened(tables.scratch.parent)
    with pytest.raises(TableError, match=r"log of version 1 of .* is gone"):
        fresh.to_arrow(NAME, version=1, at_most=9)
    assert LocalMaintenance(fresh).clean(NAME, versions=[1], days=1).files == 0
    assert "version(s) [1]" in caplog.text
    assert fresh.to_arrow(NAME, at_most=9).num_rows == 4


def test_a_log_that_cannot_be_read_is_refused_and_the_table_can_be_dropped(tables: LocalTables) -> None:
    (tables.path(NAME) / "_delta_log" / f"{0:020}.json").unlink()
    fresh = opened(tables.scratch.parent)
    with pytest.raises(TableError, match=r"is damaged: _delta_log/0*\.json is gone; no version of it is whole"):
        fresh.describe(NAME)
    fresh.drop(NAME)
    assert not fresh.exists(NAME)


@pytest.mark.parametrize("remembers", ["interval 92 days", "interval 1 day"])
def test_files_stay_for_as_long_as_said_after_they_were_removed_however_old_they_are(
    tables: LocalTables, remembers: str
) -> None:
    """Files of 60 days, removed 10 days ago; with a short memory the checkpoint has forgotten that they were."""
    assert tables.open(NAME).metadata().configuration[RETENTION] == "interval 92 days"
    set_raw(tables, {RETENTION: remembers})
    old = data(tables)
    tables.overwrite(NAME, rows(2))
    age(tables, 10, data(tables))
    for file in old:
        os.utime(file, (1, 1))
    opened(tables.scratch.parent).open(NAME).create_checkpoint()
    fresh = opened(tables.scratch.parent)
    maintenance = LocalMaintenance(fresh)
    assert maintenance.clean(NAME, versions=[], days=30, dry_run=True).files == 0
    assert maintenance.clean(NAME, versions=[], days=30).files == 0
    assert fresh.to_arrow(NAME, version=1, at_most=9).column("id").to_pylist() == [1]
    kept = fresh.open(NAME).metadata().configuration[RETENTION]
    assert kept == ("interval 92 days" if "92" in remembers else "interval 32 days")
    assert maintenance.clean(NAME, versions=[], days=5).files == 1
    assert not old & data(tables)


def test_a_longer_memory_is_asked_for_where_files_are_kept_longer(tables: LocalTables) -> None:
    LocalMaintenance(tables).clean(NAME, versions=[], days=400)
    version = tables.version(NAME)
    LocalMaintenance(tables).clean(NAME, versions=[], days=30)
    assert tables.open(NAME).metadata().configuration[RETENTION] == "interval 402 days"
    assert tables.version(NAME) == version


def test_what_a_killed_move_left_is_removed_once_it_is_old(tables: LocalTables) -> None:
    part = tables.path(NAME) / "_part-00000-abc.parquet"
    part.write_bytes(b"x" * 100)
    assert LocalMaintenance(tables).clean(NAME, versions=[], days=1).files == 0
    os.utime(part, (1, 1))
    dry = LocalMaintenance(tables).clean(NAME, versions=[], days=1, dry_run=True)
    assert (dry.files, dry.size, part.exists()) == (1, 100, True)
    assert LocalMaintenance(tables).clean(NAME, versions=[], days=1) == dry
    assert not part.exists()
