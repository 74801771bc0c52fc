"""Delta tables on disk: replacing a range, merges that write what is new alone, and handles that are kept open."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplatform.errors import DamagedTableError, TableError
from mlplatform.protocols.tables import Transaction
from mlplatform.workspace.local import delta, journal
from mlplatform.workspace.local.replaced_values import plan_values
from mlplatform.workspace.local.tables import LocalTables
from tests.support.racers import Track
from tests.support.racers import tables as opened

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("note", pa.string()),
    ]
)
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
NAN = float("nan")
NAME = "dev.x.t"
KEYS = ("id", "at")


def day(number: int) -> datetime:
    return FIRST + timedelta(days=number)


def row(number: int, at: datetime | None = None, value: float | None = 1.0, note: str | None = "") -> dict[str, Any]:
    return {"id": number, "at": at if at is not None else day(number), "value": value, "note": note}


def frame(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def read(tables: LocalTables, name: str = NAME) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        tables.to_arrow(name, at_most=10**6).sort_by([("id", "ascending"), ("at", "ascending")]).to_pylist()
    )
    return found


def ids(tables: LocalTables, name: str = NAME) -> list[int]:
    return [item["id"] for item in read(tables, name)]


def files(tables: LocalTables, name: str = NAME) -> set[str]:
    return set(tables.open(name).file_uris())


@pytest.fixture
def tables(tmp_path: Path) -> LocalTables:
    made = opened(tmp_path)
    made.create(NAME, SCHEMA, primary_keys=KEYS, timeseries_column="at")
    return made


@pytest.fixture
def week(tables: LocalTables) -> LocalTables:
    """The table with one row a day, 0 to 6."""
    tables.append(NAME, frame(*(row(number) for number in range(7))))
    return tables


# --- a range is replaced ---


def replace(tables: LocalTables, rows: pa.Table, start: datetime, end: datetime, column: str = "at") -> Any:
    return tables.replace_range(NAME, rows, column=column, start=start, end=end)


def test_both_ends_of_the_range_are_replaced(week: LocalTables) -> None:
    done = replace(week, frame(row(20, day(2)), row(40, day(4))), day(2), day(4))
    assert (done.version, done.rows) == (2, 2)
    assert ids(week) == [0, 1, 5, 6, 20, 40]


def test_an_instant_beside_the_range_is_not(tables: LocalTables) -> None:
    tables.append(
        NAME, frame(row(1, day(2) - INSTANT), row(2, day(2)), row(3, day(4)), row(4, day(4) + INSTANT, 5.0, None))
    )
    before = {item["id"]: item for item in read(tables)}
    replace(tables, frame(), day(2), day(4))
    assert read(tables) == [before[1], before[4]]


spans = (
    st.sets(st.integers(0, 20), max_size=12),
    st.sets(st.integers(0, 20), max_size=12),
    st.integers(-1, 21),
    st.integers(0, 12),
)


@settings(max_examples=10)
@given(*spans)
def test_what_lies_outside_is_untouched_and_what_lies_within_is_what_was_given(
    there: set[int], given_rows: set[int], start: int, length: int
) -> None:
    _replaced_within(there, given_rows, start, length)


@pytest.mark.slow
@settings(max_examples=100)
@given(*spans)
def test_what_lies_outside_of_many_spans_is_untouched(
    there: set[int], given_rows: set[int], start: int, length: int
) -> None:
    _replaced_within(there, given_rows, start, length)


def _replaced_within(there: set[int], given_rows: set[int], start: int, length: int) -> None:
    end = start + length
    within = {number for number in given_rows if start <= number <= end}
    with TemporaryDirectory() as root:
        made = opened(Path(root))
        made.create(NAME, SCHEMA, primary_keys=KEYS, timeseries_column="at")
        made.append(NAME, frame(*(row(number, value=0.5) for number in there)))
        replace(made, frame(*(row(number, value=NAN) for number in within)), day(start), day(end))
        found = {item["id"]: item["value"] for item in read(made)}
    assert {number for number, value in found.items() if value == 0.5} == {
        number for number in there if not start <= number <= end
    }
    assert {number for number, value in found.items() if math.isnan(value)} == within


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ([row(1, day(1) - INSTANT)], r"1 of 1 row\(s\) .* outside"),
        ([row(1, day(1)), row(2, day(3) + INSTANT), row(3, day(9))], r"2 of 3 row\(s\) .* outside"),
        ([row(1, day(2)), row(1, day(2), 2.0)], r"1 key\(s\) .* occur more than once"),
        ([{**row(1), "id": None}], "id of .* may not be null"),
        ([{**row(1), "at": None}], "at of .* may not be null"),
    ],
    ids=["before", "after", "twice", "no key", "no time"],
)
def test_rows_that_do_not_fit_the_range_or_the_keys_are_refused_whole(
    week: LocalTables, bad: list[dict[str, Any]], says: str
) -> None:
    nullable = pa.schema([field.with_nullable(True) for field in SCHEMA])
    with pytest.raises(TableError, match=says):
        replace(week, pa.Table.from_pylist(bad, schema=nullable), day(1), day(3))
    assert week.version(NAME) == 1
    assert ids(week) == list(range(7))


def test_rows_without_a_time_stay_where_it_may_be_missing(tables: LocalTables) -> None:
    name = "dev.x.loose"
    loose = pa.schema([SCHEMA.field("id"), pa.field("at", SCHEMA.field("at").type)])
    tables.create(name, loose)
    tables.append(name, pa.Table.from_pylist([{"id": 1, "at": None}, {"id": 2, "at": day(1)}], schema=loose))
    tables.replace_range(name, loose.empty_table(), column="at", start=day(0), end=day(9))
    assert ids(tables, name) == [1]
    rows = pa.Table.from_pylist([{"id": 3, "at": None}], schema=loose)
    with pytest.raises(TableError, match=r"1 of 1 row\(s\)"):
        tables.replace_range(name, rows, column="at", start=day(0), end=day(9))


def test_a_column_that_there_is_not_is_refused_with_the_nearest(week: LocalTables) -> None:
    with pytest.raises(TableError, match="has no column att") as caught:
        replace(week, frame(), day(1), day(3), column="att")
    assert "Did you mean at" in caught.value.hint


def test_readers_see_the_old_rows_until_they_look_again(week: LocalTables) -> None:
    before, version = week.open(NAME), week.version(NAME)
    replace(week, frame(), day(0), day(9))
    assert (before.version(), len(before.file_uris())) == (version, 1)
    assert week.to_arrow(NAME, version=version, at_most=100).num_rows == 7
    assert week.to_arrow(NAME, at_most=100).num_rows == 0


def test_a_replacement_keeps_the_tables_declaration(week: LocalTables) -> None:
    before = week.describe(NAME)
    replace(week, frame(row(9, day(2))), day(1), day(3))
    after = week.describe(NAME)
    assert (after.primary_keys, after.timeseries_column, after.schema) == (
        before.primary_keys,
        before.timeseries_column,
        before.schema,
    )


@pytest.mark.parametrize("at", [2, 9], ids=["within the range", "outside it"])
def test_what_another_appends_meanwhile_is_looked_at_again(
    week: LocalTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    other, plan = opened(tmp_path), delta.plan_replacement
    planned = []

    def plan_then_append(*arguments: Any) -> Any:
        found = plan(*arguments)
        if not planned:
            other.append(NAME, frame(row(100, day(at))))
        planned.append(found)
        return found

    monkeypatch.setattr(delta, "plan_replacement", plan_then_append)
    replace(week, frame(row(20, day(2))), day(1), day(3))
    assert len(planned) == 2
    # Appended first, as the log says: within the range it is replaced, outside it stays.
    assert ids(week) == [0, 4, 5, 6, 20, *([100] if at == 9 else [])]


def append_hundreds(root: Path, name: str, writer: int, barrier: Any) -> int:
    """Append five rows outside the range, or (the first writer) replace the range three times."""
    made = opened(root)
    barrier.wait(60)
    if writer == 0:
        for value in range(3):
            rows = frame(row(2, value=float(value)))
            made.replace_range(name, rows, column="at", start=day(1), end=day(3))
        return 0
    return sum(made.append(name, frame(row(100 * writer + turn))).rows for turn in range(5))


# A lost race is tried again in every run in test_rewritten_files.py, and processes race in
# tests/integration/test_at_once.py.
@pytest.mark.slow
def test_replacing_and_appending_at_the_same_time_loses_nothing(week: LocalTables, tmp_path: Path) -> None:
    track = Track(3)
    try:
        assert track.race(append_hundreds, tmp_path, NAME) == [0, 5, 5]
    finally:
        track.close()
    assert ids(week) == [0, 2, 4, 5, 6, *range(100, 105), *range(200, 205)]


def test_a_replacement_does_not_repeat_a_key_that_lies_outside_the_range(tables: LocalTables) -> None:
    name = "dev.x.by_id"
    tables.create(name, SCHEMA, primary_keys=("id",))
    tables.append(name, frame(row(1, day(9))))
    with pytest.raises(TableError):
        tables.replace_range(name, frame(row(1, day(2))), column="at", start=day(1), end=day(3))


def test_a_range_that_ends_before_it_starts_is_refused(week: LocalTables) -> None:
    with pytest.raises(TableError):
        replace(week, frame(), day(3), day(1))


@pytest.mark.parametrize(("column", "zone"), [("note", UTC), ("value", UTC), ("at", None)])
def test_a_range_that_cannot_be_compared_is_refused_with_our_error(week: LocalTables, column: str, zone: Any) -> None:
    start, end = (moment.replace(tzinfo=zone) for moment in (day(1), day(3)))
    with pytest.raises(TableError):
        replace(week, frame(row(2)), start, end, column=column)


# --- a merge writes what is new ---


@pytest.fixture
def merged(tables: LocalTables) -> LocalTables:
    tables.merge(NAME, frame(row(1, value=NAN, note=None), row(2, value=None, note="x"), row(3, value=0.0)))
    return tables


def test_a_merge_of_what_is_there_writes_nothing(merged: LocalTables) -> None:
    before = (merged.version(NAME), files(merged))
    for same in (
        frame(row(1, value=NAN, note=None), row(2, value=None, note="x"), row(3, value=0.0)),
        frame(row(2, value=None, note="x")),
        frame(row(1, value=NAN, note=None)).select(["note", "at", "value", "id"]),
        frame(row(3)).select(["id", "at"]),
    ):
        done = merged.merge(NAME, same)
        assert (done.version, done.rows) == (1, 0)
    assert (merged.version(NAME), files(merged)) == before


def test_a_merge_of_new_rows_only_adds_a_file(merged: LocalTables) -> None:
    before = files(merged)
    done = merged.merge(NAME, frame(row(2, value=None, note="x"), row(7), row(8)))
    assert (done.version, done.rows) == (2, 2)
    assert files(merged) > before
    assert ids(merged) == [1, 2, 3, 7, 8]


def test_a_merge_that_changes_a_row_rewrites_and_counts_what_changed(merged: LocalTables) -> None:
    before = files(merged)
    done = merged.merge(NAME, frame(row(1, value=NAN, note=None), row(3, value=4.0), row(9)))
    assert (done.version, done.rows) == (2, 2)
    assert not files(merged) & before
    assert [(item["id"], item["value"]) for item in read(merged)[2:]] == [(3, 4.0), (9, 1.0)]


@pytest.mark.parametrize(
    ("there", "then"), [(None, NAN), (NAN, None), (None, 0.0), (0.0, None), (NAN, 1.0), (1.0, NAN), (math.inf, NAN)]
)
def test_null_and_nan_and_numbers_are_three_things_to_a_merge(
    tables: LocalTables, there: float | None, then: float | None
) -> None:
    tables.merge(NAME, frame(row(1, value=there)))
    assert tables.merge(NAME, frame(row(1, value=then))).rows == 1
    found = read(tables)[0]["value"]
    assert found is None if then is None else (found == then or (math.isnan(found) and math.isnan(then)))


def test_null_and_the_empty_text_are_two(tables: LocalTables) -> None:
    tables.merge(NAME, frame(row(1, note=None)))
    assert tables.merge(NAME, frame(row(1, note=""))).rows == 1
    assert tables.merge(NAME, frame(row(1, note=None))).rows == 1


def test_lists_structs_and_maps_are_compared_by_what_they_hold(tables: LocalTables) -> None:
    name = "dev.x.nested"
    schema = pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            pa.field("list", pa.list_(pa.float64())),
            pa.field("struct", pa.struct([("a", pa.float64())])),
            pa.field("map", pa.map_(pa.string(), pa.int64())),
        ]
    )
    tables.create(name, schema, primary_keys=("id",))
    rows = [
        {"id": 1, "list": [1.0, NAN, None], "struct": {"a": NAN}, "map": [("k", 1)]},
        {"id": 2, "list": None, "struct": None, "map": None},
        {"id": 3, "list": [], "struct": {"a": None}, "map": []},
    ]
    tables.merge(name, pa.Table.from_pylist(rows, schema=schema))
    assert tables.merge(name, pa.Table.from_pylist(rows, schema=schema)).rows == 0
    for change in ({"list": [None, NAN, 1.0]}, {"struct": {"a": 1.0}}, {"map": [("k", 2)]}, {"list": None}):
        assert tables.merge(name, pa.Table.from_pylist([rows[0] | change], schema=schema)).rows == 1


def test_a_column_more_is_added_also_where_its_values_are_null(merged: LocalTables) -> None:
    more = frame(row(1, value=NAN, note=None)).append_column("more", pa.array([None], pa.int64()))
    done = merged.merge(NAME, more)
    assert merged.describe(NAME).schema.names[-1] == "more"
    assert done.version == 2
    assert merged.merge(NAME, more).version == 2
    assert ids(merged) == [1, 2, 3]


values = st.one_of(st.none(), st.just(NAN), st.integers(0, 2).map(float))
batches = st.lists(st.dictionaries(st.integers(0, 5), values, max_size=5), min_size=1, max_size=5)


@settings(max_examples=10)
@given(batches)
def test_merges_add_up_to_the_last_value_of_each_key_and_count_what_they_wrote(
    batches: list[dict[int, float | None]],
) -> None:
    _added_up(batches)


@pytest.mark.slow
@settings(max_examples=100)
@given(batches)
def test_many_merges_add_up_to_the_last_value_of_each_key(batches: list[dict[int, float | None]]) -> None:
    _added_up(batches)


def _added_up(batches: list[dict[int, float | None]]) -> None:
    def plain(value: float | None) -> str:
        return str(value)

    expected: dict[int, str] = {}
    with TemporaryDirectory() as root:
        made = opened(Path(root))
        made.create(NAME, SCHEMA, primary_keys=KEYS, timeseries_column="at")
        for batch in batches:
            done = made.merge(NAME, frame(*(row(number, value=value) for number, value in batch.items())))
            new = {number: plain(value) for number, value in batch.items()}
            assert done.rows == sum(expected.get(number) != value for number, value in new.items())
            expected |= new
        assert {item["id"]: plain(item["value"]) for item in read(made)} == expected


def test_a_merge_of_no_rows_writes_nothing(merged: LocalTables) -> None:
    merged.merge(NAME, frame())
    assert merged.version(NAME) == 1


# --- handles ---


@pytest.fixture
def other(tables: LocalTables, tmp_path: Path) -> LocalTables:
    """The same tables as another process has them."""
    return opened(tmp_path)


def test_what_another_commits_is_seen_at_once(tables: LocalTables, other: LocalTables) -> None:
    for number in range(1, 13):  # beyond a checkpoint
        other.append(NAME, frame(row(number)))
        assert tables.version(NAME) == number
        assert len(ids(tables)) == number
    other.set_tag(NAME, "tier", "1")
    assert tables.describe(NAME).tags == {"tier": "1"}


def write_hundred(root: Path, name: str, writer: int, barrier: Any) -> int:
    """Append in a process of its own."""
    barrier.wait(60)
    return opened(root).append(name, frame(row(100 + writer))).version


def test_what_another_process_commits_is_seen_at_once(tables: LocalTables, tmp_path: Path) -> None:
    track = Track(1)
    try:
        for version in (1, 2):
            assert tables.version(NAME) == version - 1
            assert track.race(write_hundred, tmp_path, NAME) == [version]
            assert tables.version(NAME) == version
    finally:
        track.close()


def test_a_table_that_did_not_change_is_opened_once(week: LocalTables) -> None:
    one = week.open(NAME)
    assert week.open(NAME) is one
    week.append(NAME, frame(row(9)))
    assert week.open(NAME) is not one


WRITES: dict[str, Callable[[LocalTables], Any]] = {
    "append": lambda tables: tables.append(NAME, frame(row(8)), transactions=[Transaction("a", 1)]),
    "merge of new rows": lambda tables: tables.merge(NAME, frame(row(9))),
    "merge of rows that change": lambda tables: tables.merge(NAME, frame(row(3, value=7.5), row(9))),
    "overwrite": lambda tables: tables.overwrite(NAME, frame(row(1), row(2))),
    "replace_range": lambda tables: tables.replace_range(
        NAME, frame(row(3)), column="at", start=row(2)["at"], end=row(5)["at"]
    ),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_we_wrote_is_read_by_the_handle_that_wrote_it(
    week: LocalTables, other: LocalTables, monkeypatch: pytest.MonkeyPatch, write: Callable[[LocalTables], Any]
) -> None:
    """As if it were opened anew, without reading the log once more."""
    write(week)
    with monkeypatch.context() as patch:
        patch.setattr(delta, "open_table", lambda *_: 1 / 0)
        held = week.open(NAME)
        described, rows = week.describe(NAME), week.to_arrow(NAME, at_most=100)
    opened_anew = other.open(NAME)
    assert held.version() == opened_anew.version() == 2
    assert set(held.file_uris()) == set(opened_anew.file_uris())
    assert held.transaction_version("a") == opened_anew.transaction_version("a")
    assert described == other.describe(NAME)
    assert rows.sort_by("id") == other.to_arrow(NAME, at_most=100).sort_by("id")


def test_the_handle_that_wrote_is_not_the_newest_where_another_wrote_after_it(
    week: LocalTables, other: LocalTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = journal.note

    def overtaken(*arguments: Any) -> None:
        monkeypatch.setattr(journal, "note", note)
        note(*arguments)
        other.append(NAME, frame(row(9)))

    monkeypatch.setattr(journal, "note", overtaken)
    assert week.append(NAME, frame(row(8))).version == 2
    assert {8, 9} < set(ids(week))


def test_what_is_damaged_while_a_table_is_written_is_told_to_who_opens_it_next(
    week: LocalTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are committed, so that the write is no error: who took it for one would write them again."""
    before, note = set(week.path(NAME).glob("*.parquet")), journal.note

    def damaging(*arguments: Any) -> None:
        note(*arguments)
        for file in set(week.path(NAME).glob("*.parquet")) - before:
            file.unlink()

    monkeypatch.setattr(journal, "note", damaging)
    assert week.append(NAME, frame(row(8))).version == 2
    with pytest.raises(DamagedTableError, match="is gone"):
        week.open(NAME)


def test_a_handle_stays_at_its_version_whoever_writes(week: LocalTables, other: LocalTables) -> None:
    held = week.open(NAME)
    week.append(NAME, frame(row(8)))
    other.merge(NAME, frame(row(8, value=5.0), row(9)))
    other.overwrite(NAME, frame())
    assert (held.version(), held.to_pyarrow_table().num_rows) == (1, 7)
    assert week.open(NAME).to_pyarrow_table().num_rows == 0


def test_an_old_version_does_not_take_the_place_of_the_newest(week: LocalTables) -> None:
    assert week.open(NAME, version=0).version() == 0
    assert week.open(NAME).version() == 1
    assert week.open(NAME, version=0) is not week.open(NAME, version=0)


@pytest.mark.parametrize("by", ["ourselves", "another"])
def test_a_table_that_was_dropped_and_made_anew_is_the_new_one(week: LocalTables, other: LocalTables, by: str) -> None:
    week.version(NAME)
    one = week if by == "ourselves" else other
    one.drop(NAME)
    assert not week.exists(NAME)
    with pytest.raises(TableError, match="does not exist"):
        week.open(NAME)
    fields = [SCHEMA.field("id"), pa.field("new", pa.string())]
    one.create(NAME, pa.schema(fields), primary_keys=("id",))
    # Until it has as many versions as the old one: the number alone would not tell them apart.
    assert week.version(NAME) == 0
    assert week.describe(NAME).schema.names == ["id", "new"]
    one.append(NAME, pa.Table.from_pylist([{"id": 5, "new": "x"}], schema=pa.schema(fields)))
    assert week.version(NAME) == 1
    assert week.to_arrow(NAME, at_most=100).to_pylist() == [{"id": 5, "new": "x"}]


def test_a_table_made_anew_with_as_many_versions_is_the_new_one(week: LocalTables, other: LocalTables) -> None:
    assert len(ids(week)) == 7
    for number in range(10):
        other.drop(NAME)
        other.create(NAME, SCHEMA, primary_keys=KEYS, timeseries_column="at")
        other.append(NAME, frame(row(number)))
        assert (week.version(NAME), ids(week)) == (1, [number])


def test_a_transaction_of_another_is_known_at_once(week: LocalTables, other: LocalTables) -> None:
    from mlplatform.protocols.tables import Transaction

    taken = Transaction("the one")
    assert week.committed(NAME, [taken]) == (False,)
    other.append(NAME, frame(row(9)), transactions=[taken])
    assert week.committed(NAME, [taken]) == (True,)
    assert week.append(NAME, frame(row(9)), transactions=[taken]).skipped
    assert ids(week) == [*range(7), 9]


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "scratch").mkdir(exist_ok=True)
    yield
    left = list((tmp_path / "scratch").rglob("*"))
    assert not [path for path in left if path.is_file()]


FAR = pa.array([253402300800000001, -62198755200000000], pa.int64()).cast(SCHEMA.field("at").type)  # years 10000 and -1


@pytest.mark.parametrize("staged", [False, True])
def test_times_that_python_does_not_know_are_named_in_messages(tables: LocalTables, staged: bool) -> None:
    twice = frame(row(1), row(1)).set_column(1, SCHEMA.field("at"), pa.repeat(FAR[0], 2))
    with tables.frames.staged(twice) as rows:
        given = rows if staged else twice
        with pytest.raises(TableError, match=r"1 key\(s\) of .* as {'id': 1, 'at': '10000-01-01 00:00:00.000001"):
            tables.merge(NAME, given)
    tables.append(NAME, frame(row(1), row(2)).set_column(1, SCHEMA.field("at"), FAR))
    with pytest.raises(TableError, match=r"The largest at of .* is 10000-01-01 .*, which is no time for Python"):
        tables.largest(NAME, "at")
    assert tables.largest(NAME, "id") == 2


class _Late:
    """Another writer, who comes once, after what stays was read and before it is written."""

    def __init__(self, write: Callable[[], Any]) -> None:
        self._write: list[Callable[[], Any]] = [write]

    def __call__(self, *arguments: Any) -> Any:
        found = plan_values(*arguments)
        if self._write:
            self._write.pop()()
        return found


def test_rows_that_come_in_between_are_replaced_by_value_or_stay(
    tables: LocalTables, other: LocalTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.append(NAME, frame(row(1, note="a"), row(2, note="b")))
    mark = Transaction("refine:c")
    late = _Late(lambda: other.append(NAME, frame(row(3, note="a"), row(4, note="c")), transactions=[mark]))
    monkeypatch.setattr(delta, "plan_values", late)
    written = tables.overwrite(NAME, frame(row(5, note="a")), where={"note": ["a"]}, transactions=[mark])
    assert (ids(tables), written.rows) == ([2, 4, 5], 1)
    assert other.append(NAME, frame(row(6)), transactions=[mark]).skipped


def test_an_append_that_is_overtaken_by_an_overwrite_with_its_transaction_is_skipped(
    tables: LocalTables, other: LocalTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, write = Transaction("refine:c"), delta._write

    def late(*arguments: Any) -> int:
        monkeypatch.setattr(delta, "_write", write)
        other.overwrite(NAME, frame(row(5, note="c")), where={"note": ["c"]}, transactions=[mark])
        return write(*arguments)

    monkeypatch.setattr(delta, "_write", late)
    assert tables.append(NAME, frame(row(4, note="c")), transactions=[mark]).skipped
    assert ids(tables) == [5]
