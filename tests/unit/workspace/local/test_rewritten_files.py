"""Merges and replaced ranges rewrite the files that hold the rows: which, what a crash leaves, and who reads them."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplatform.errors import TableError
from mlplatform.workspace.local import data_files, delta
from mlplatform.workspace.local.tables import LocalTables
from tests.support.racers import tables as opened

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("note", pa.string()),
    ]
)
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
NAME = "dev.x.t"
KEYS = ("id", "at")


def day(number: float) -> datetime:
    return FIRST + timedelta(days=number)


def row(entity: str, at: float, value: float | None = 1.0, **more: Any) -> dict[str, Any]:
    return {"id": entity, "at": day(at), "value": value, "note": "n"} | more


def frame(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


@pytest.fixture(scope="module")
def five_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of five days, each in a file of its own; to be copied."""
    root = tmp_path_factory.mktemp("five_days")
    made = opened(root)
    made.create(NAME, SCHEMA, primary_keys=KEYS, timeseries_column="at")
    for number in range(5):
        made.merge(NAME, frame(*(row(entity, number) for entity in "abc")))
    return root


@pytest.fixture
def tables(tmp_path: Path, five_days: Path) -> LocalTables:
    """Give a table of five days, each in a file of its own."""
    shutil.copytree(five_days, tmp_path, dirs_exist_ok=True)
    return opened(tmp_path)


def files(tables: LocalTables) -> set[str]:
    return set(tables.open(NAME).file_uris())


def read(tables: LocalTables, version: int | None = None) -> list[dict[str, Any]]:
    order = [("at", "ascending"), ("id", "ascending")]
    rows: list[dict[str, Any]] = tables.to_arrow(NAME, version=version, at_most=10_000).sort_by(order).to_pylist()
    return rows


# --- which files ---


def test_a_merge_rewrites_the_file_that_holds_the_key_and_no_other(tables: LocalTables) -> None:
    before = files(tables)
    assert tables.merge(NAME, frame(row("b", 2, 9.0))).rows == 1
    assert len(before & files(tables)) == 4
    assert len(files(tables)) == 5
    assert [item["value"] for item in read(tables)] == [1.0] * 7 + [9.0] + [1.0] * 7


def test_new_rows_get_a_file_of_their_own_beside_the_rewritten_one(tables: LocalTables) -> None:
    before = files(tables)
    assert tables.merge(NAME, frame(row("b", 2, 9.0), row("d", 2), row("d", 9))).rows == 3
    assert len(before & files(tables)) == 4
    assert len(files(tables)) == 6


def test_a_file_whose_rows_are_the_same_already_stays(tables: LocalTables) -> None:
    before = files(tables)
    assert tables.merge(NAME, frame(row("b", 1), row("b", 2, 9.0))).rows == 1
    assert len(before & files(tables)) == 4


def test_a_key_between_those_of_a_file_is_new_and_touches_none(tables: LocalTables) -> None:
    before = files(tables)
    assert tables.merge(NAME, frame(row("bb", 2))).rows == 1
    assert files(tables) > before


def test_a_replaced_range_rewrites_the_files_that_overlap_it(tables: LocalTables) -> None:
    tables.merge(NAME, frame(row("a", 2.5), row("a", 6.5)))
    before = files(tables)
    span = {"column": "at", "start": day(1), "end": day(2.5)}
    assert tables.replace_range(NAME, frame(row("z", 2)), **span).rows == 1
    assert len(before & files(tables)) == 3
    at = [(item["at"] - FIRST) / timedelta(days=1) for item in read(tables)]
    assert at == [0, 0, 0, 2, 3, 3, 3, 4, 4, 4, 6.5]


def test_a_time_between_two_milliseconds_is_found_though_the_log_cuts_it_off(tables: LocalTables) -> None:
    late = row("a", 0) | {"at": day(9) + timedelta(microseconds=999)}
    tables.merge(NAME, frame(late))
    assert tables.merge(NAME, frame(late | {"value": 5.0})).rows == 1
    instant = late["at"]
    assert tables.replace_range(NAME, frame(), column="at", start=instant, end=instant).rows == 0
    assert len(read(tables)) == 15


@pytest.mark.parametrize("long", ["x" * 500, "\U0010ffff" * 90, "é" * 70])
def test_a_long_key_is_found_though_the_log_has_its_beginning_only(tables: LocalTables, long: str) -> None:
    tables.merge(NAME, frame(row(long, 1), row(long + "z", 1)))
    assert tables.merge(NAME, frame(row(long + "z", 1, 2.0))).rows == 1
    assert len(read(tables)) == 17


def test_a_new_column_is_added_without_rewriting_what_has_none_of_its_rows(tables: LocalTables) -> None:
    before = files(tables)
    more = frame(row("b", 2, 9.0)).append_column("more", pa.array([7]))
    assert tables.merge(NAME, more).rows == 1
    assert len(before & files(tables)) == 4
    assert [item["more"] for item in read(tables)] == [None] * 7 + [7] + [None] * 7
    assert tables.merge(NAME, more).rows == 0


# --- readers, and what comes later ---


def test_an_older_version_stays_readable_and_no_file_is_removed(tables: LocalTables, tmp_path: Path) -> None:
    pinned, expected = tables.open(NAME), read(tables)
    tables.merge(NAME, frame(*(row(entity, number, 2.0) for entity in "abc" for number in range(5))))
    assert pinned.version() == 5
    assert all(Path(uri.removeprefix("file://")).exists() for uri in pinned.file_uris())
    assert read(opened(tmp_path), version=5) == expected


def test_delta_rs_appends_merges_and_restores_on_top(tables: LocalTables) -> None:
    tables.merge(NAME, frame(row("b", 2, 9.0)))
    path = str(tables.path(NAME))
    write_deltalake(path, frame(row("q", 1)), mode="append")
    merge = DeltaTable(path).merge(frame(row("b", 2, 3.0)), "t.id = s.id AND t.at = s.at", "s", "t")
    assert merge.when_matched_update_all().execute()["num_target_rows_updated"] == 1
    assert tables.merge(NAME, frame(row("b", 2, 4.0), row("q", 1, 4.0))).rows == 2
    assert [item["value"] for item in read(tables) if item["value"] != 1.0] == [4.0, 4.0]
    DeltaTable(path).restore(5)
    assert [item["value"] for item in read(tables)] == [1.0] * 15


def test_the_log_says_what_happened_and_counts(tables: LocalTables) -> None:
    tables.merge(NAME, frame(row("b", 2, 9.0)))
    entry = tables.open(NAME).history(1)[0]
    assert (entry["operation"], tables.version(NAME)) == ("WRITE", 6)
    assert not tables.replaced_since(NAME, 5)


def test_transactions_outlive_rewritten_files_and_checkpoints(tables: LocalTables) -> None:
    from mlplatform.protocols.tables import Transaction

    once = Transaction("app", 1)
    tables.append(NAME, frame(row("t", 0)), transactions=[once])
    for number in range(25):
        tables.merge(NAME, frame(row("b", 2, float(number))))
    assert tables.append(NAME, frame(row("t", 0)), transactions=[once]).skipped
    assert list((tables.path(NAME) / "_delta_log").glob("*.checkpoint.parquet"))


# --- crashes ---


class _Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("point", ["writing", "moving", "committing", "committed"])
def test_whatever_a_crash_interrupts_the_table_is_as_before_or_as_after(
    tables: LocalTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    before = read(tables)

    def killed(*_: Any, **__: Any) -> Any:
        raise _Killed

    if point == "writing":
        monkeypatch.setattr(data_files, "write_deltalake", killed)
    elif point == "moving":
        monkeypatch.setattr(shutil, "move", killed)
    else:
        replace = delta.replace

        def die(*arguments: Any) -> None:
            if point == "committed":
                replace(*arguments)
            raise _Killed

        monkeypatch.setattr(delta, "replace", die)
    change = frame(row("b", 2, 9.0), row("n", 7))
    with pytest.raises(_Killed):
        tables.merge(NAME, change)
    monkeypatch.undo()
    after = read(opened(tmp_path))
    assert (after == before) == (point != "committed")
    again = opened(tmp_path)
    assert again.merge(NAME, change).rows == (0 if point == "committed" else 2)
    assert len(read(again)) == 16


def test_a_lost_race_is_tried_again_on_the_new_version(
    tables: LocalTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = opened(tmp_path)
    late = _once_before(lambda: other.append(NAME, frame(row("other", 2))), delta.replace)
    monkeypatch.setattr(delta, "replace", late)
    assert tables.merge(NAME, frame(row("b", 2, 9.0))).rows == 1
    assert len(read(tables)) == 16
    assert [item["value"] for item in read(tables) if item["id"] == "b"] == [1.0, 1.0, 9.0, 1.0, 1.0]


def _once_before(first: Any, then: Any) -> Any:
    done: list[Any] = []

    def run(*arguments: Any) -> None:
        if not done:
            done.append(first())
        then(*arguments)

    return run


def test_a_version_whose_files_were_removed_says_so(tables: LocalTables) -> None:
    tables.merge(NAME, frame(row("b", 2, 9.0)))
    gone = set(tables.open(NAME, version=5).file_uris()) - files(tables)
    for uri in gone:
        Path(uri.removeprefix("file://")).unlink()
    with pytest.raises(TableError, match=r"The files of version 5 of dev\.x\.t are gone"):
        tables.to_arrow(NAME, version=5, at_most=100)


# --- the same as a dictionary ---

moments = st.integers(0, 6)
batch = st.dictionaries(st.tuples(st.sampled_from("abcd"), moments), st.sampled_from([None, 1.0, 2.0]), max_size=6)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("merge"), batch),
        st.tuples(st.just("range"), moments, moments, batch),
        st.tuples(st.just("compact")),
        st.tuples(st.just("overwrite"), batch),
        st.tuples(st.just("append"), batch),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=8)
@given(steps)
def test_writes_come_to_the_same_as_on_a_dictionary(steps: list[tuple[Any, ...]]) -> None:
    _held_against_a_dictionary(steps)


@pytest.mark.slow
@settings(max_examples=100)
@given(steps)
def test_many_writes_come_to_the_same_as_on_a_dictionary(steps: list[tuple[Any, ...]]) -> None:
    _held_against_a_dictionary(steps)


def _held_against_a_dictionary(steps: list[tuple[Any, ...]]) -> None:
    expected: dict[tuple[str, int], float | None] = {}
    versions: list[dict[tuple[str, int], float | None]] = []
    with TemporaryDirectory() as root:
        made = opened(Path(root))
        made.create(NAME, SCHEMA, primary_keys=KEYS, timeseries_column="at")
        versions.append({})
        for step in steps:
            expected, written, told = _applied(made, expected, step)
            assert written == told
            versions += [versions[-1]] * (made.version(NAME) + 1 - len(versions))
            versions[made.version(NAME)] = expected
            assert _content(made) == expected
        for version, content in enumerate(versions):
            assert _content(made, version) == content


def _applied(
    tables: LocalTables, existing: dict[Any, Any], step: tuple[Any, ...]
) -> tuple[dict[Any, Any], int | None, int | None]:
    def rows(values: dict[Any, Any]) -> pa.Table:
        return frame(*(row(entity, at, value) for (entity, at), value in values.items()))

    if step[0] == "merge":
        changed = sum(key not in existing or existing[key] != value for key, value in step[1].items())
        return existing | step[1], changed, tables.merge(NAME, rows(step[1])).rows
    if step[0] == "overwrite":
        return dict(step[1]), len(step[1]), tables.overwrite(NAME, rows(step[1])).rows
    if step[0] == "append":
        new = {key: value for key, value in step[1].items() if key not in existing}
        return existing | new, len(new), tables.append(NAME, rows(new)).rows
    if step[0] == "compact":
        delta.compact(tables.path(NAME), NAME, data_files.FILE_BYTES)
        return existing, None, None
    start, end = sorted(step[1:3])
    within = {key: value for key, value in step[3].items() if start <= key[1] <= end}
    outside = {key: value for key, value in existing.items() if not start <= key[1] <= end}
    done = tables.replace_range(NAME, rows(within), column="at", start=day(start), end=day(end))
    return outside | within, len(within), done.rows


def _content(tables: LocalTables, version: int | None = None) -> dict[tuple[str, int], float | None]:
    found = read(tables, version)
    content = {(item["id"], (item["at"] - FIRST).days): item["value"] for item in found}
    assert len(content) == len(found)
    return content


# --- other readers ---


def test_duckdb_reads_what_was_rewritten(tables: LocalTables, tmp_path: Path) -> None:
    from mlplatform.workspace.local import duck

    tables.merge(NAME, frame(row("b", 2, 9.0)))
    with duck.connect(tmp_path) as connection:
        duck.scan(connection, "t", tables.open(NAME))
        assert connection.sql("SELECT sum(value), count(*) FROM t").fetchall() == [(23.0, 15)]


def test_a_refused_merge_leaves_the_columns_as_they_were(tables: LocalTables) -> None:
    name, schema = "dev.x.strict", pa.schema([pa.field("k", pa.int64(), nullable=False), SCHEMA.field("id")])
    tables.create(name, schema, primary_keys=["k"])
    with pytest.raises(TableError, match="lack the required column"):
        tables.merge(name, pa.table({"k": [1], "more": [1]}))
    assert tables.describe(name).schema.names == ["k", "id"]


@pytest.mark.parametrize("folder", ["w{a}x", "w{}x", "it's"])
def test_a_folder_of_any_name_is_merged_into(tmp_path: Path, folder: str) -> None:
    odd = opened(tmp_path / folder)
    odd.create(NAME, SCHEMA, primary_keys=KEYS, timeseries_column="at")
    for value in (1.0, 2.0):
        odd.merge(NAME, frame(row("a", 0, value)))
    assert [item["value"] for item in read(odd)] == [2.0]


@pytest.mark.parametrize("key", ["_rows", "repeated", "count"])
def test_keys_of_any_name_are_looked_at_for_repetition(tables: LocalTables, tmp_path: Path, key: str) -> None:
    name = "dev.x.odd"
    tables.create(name, pa.schema([pa.field(key, pa.int64(), nullable=False)]), primary_keys=[key])
    good, bad = (tables.frames.of(pa.table({key: values})) for values in ([1, 2], [1, 1]))
    assert tables.merge(name, good).rows == 2
    with pytest.raises(TableError, match="occur more than once"):
        tables.merge(name, bad)


def test_scratch_is_empty_after_writes(tables: LocalTables, tmp_path: Path) -> None:
    narrow = pa.table({"id": ["z"], "at": [day(9)], "value": pa.array([1], pa.int32()), "note": ["n"]})
    tables.append(NAME, tables.frames.of(narrow))
    left = list(tables.scratch.rglob("*.parquet"))
    assert left == []
