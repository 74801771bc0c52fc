"""Writers that race: nothing is written twice, nothing is lost, and no version is torn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlplatform.errors import TableError
from mlplatform.protocols.tables import Transaction
from tests.support import racers
from tests.support.racers import Track, rows, tables

NAME = "dev.races.table"
WRITERS = 4


@pytest.fixture(scope="module")
def track() -> Iterator[Track]:
    started = Track(WRITERS)
    yield started
    started.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tables(tmp_path).create(NAME, racers.SCHEMA, primary_keys=("id", "at"), timeseries_column="at")
    return tmp_path


def found(root: Path) -> list[tuple[int, int]]:
    return [(row["id"], row["writer"]) for row in tables(root).to_arrow(NAME, at_most=10**6).to_pylist()]


def test_the_same_transaction_twice_appends_once(root):
    opened, once = tables(root), Transaction("file", 1)
    first = opened.append(NAME, rows(1, [1, 2]), transactions=[once])
    again = tables(root).append(NAME, rows(2, [3]), transactions=[once])
    assert (first.rows, first.skipped, again.rows, again.skipped) == (2, False, 0, True)
    assert again.version == first.version
    assert sorted(found(root)) == [(1, 1), (2, 1)]


def test_a_later_version_of_an_application_is_taken_and_an_earlier_one_is_not(root):
    opened = tables(root)
    opened.append(NAME, rows(1, [1]), transactions=[Transaction("app", 3)])
    assert opened.append(NAME, rows(1, [2]), transactions=[Transaction("app", 2)]).skipped
    assert opened.append(NAME, rows(1, [3]), transactions=[Transaction("app", 4)]).rows == 1
    assert sorted(found(root)) == [(1, 1), (3, 1)]


def test_transactions_outlive_overwrites_merges_and_checkpoints(root):
    opened, once = tables(root), Transaction("file")
    opened.append(NAME, rows(1, [1]), transactions=[once])
    for number in range(3):
        opened.merge(NAME, rows(2, [number]))
    opened.overwrite(NAME, rows(3, [5]))
    opened.open(NAME).create_checkpoint()
    assert list((opened.path(NAME) / "_delta_log").glob("*.checkpoint.parquet"))
    assert tables(root).append(NAME, rows(1, [1]), transactions=[once]).skipped
    assert found(root) == [(5, 3)]


def test_processes_that_append_the_same_transaction_write_it_once(track, root):
    written = track.race(racers.append_same, root, NAME)
    assert sorted(written) == [0, 0, 0, 10]
    winner = written.index(10)
    assert sorted(found(root)) == [(number, winner) for number in range(10)]


def test_processes_that_append_different_things_lose_nothing(track, root):
    assert track.race(racers.append_different, root, NAME) == [5] * WRITERS
    assert sorted(found(root)) == [(100 * writer + turn, writer) for writer in range(WRITERS) for turn in range(5)]


def test_processes_that_merge_different_keys_lose_nothing(track, root):
    tables(root).append(NAME, rows(9, [100 * writer for writer in range(WRITERS)]))
    assert track.race(racers.merge_different, root, NAME) == [3] * WRITERS
    assert sorted(found(root)) == [(100 * writer + turn, writer) for writer in range(WRITERS) for turn in range(3)]


def test_processes_that_merge_the_same_keys_leave_each_key_once_and_from_one_writer(track, root):
    track.race(racers.merge_same, root, NAME)
    assert Counter(number for number, _ in found(root)) == dict.fromkeys(range(5), 1)
    assert len({writer for _, writer in found(root)}) == 1


def test_processes_that_overwrite_leave_the_rows_of_one(track, root):
    track.race(racers.overwrite, root, NAME)
    (writer,) = {writer for _, writer in found(root)}
    assert sorted(found(root)) == [(number, writer) for number in range(3)]


def test_processes_that_create_a_table_create_it_once(track, tmp_path):
    track.race(racers.create, tmp_path, NAME)
    assert tables(tmp_path).version(NAME) == 0
    with pytest.raises(TableError, match="another declaration"):
        tables(tmp_path).create(NAME, racers.SCHEMA)
