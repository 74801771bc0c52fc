"""What a silver table says of late corrections, and what follows from it for its keys, its digest and its stretches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest

from mlplatform import Column, SilverTable, Source
from mlplatform.errors import ConfigError, TableError
from mlplatform.ingest.provenance import AVAILABLE_AT, FILE, ROW
from mlplatform.naming import Namespace, ObjectName
from mlplatform.protocols.tables import TableInfo
from mlplatform.protocols.widening import widening
from mlplatform.refine import as_of_view, freshness
from mlplatform.refine.fates import newest
from mlplatform.refine.silver import BATCH, CORRECTED_AT, DELIVERY, record_keys
from mlplatform.types import TIMESTAMP
from tests.support.racers import tables

DAY = datetime(2024, 1, 1, tzinfo=UTC)


class Holding:
    """A workspace, as far as what is new in a table is concerned."""

    def __init__(self, frames: Any) -> None:
        self.frames = frames


class Landed(Source):
    """Readings as landed."""

    files = "readings_*.csv"
    available = "period_end"
    columns = ("id", "taken_at", "value")


class Undated(Source):
    """Readings, nobody knows since when."""

    files = "readings_*.csv"
    columns = ("id", "taken_at", "value")


class Dated(Undated):
    """Readings, of which the name says it in another way."""

    def available_at(self, path: Path) -> datetime:
        """A day."""
        del path
        return DAY


class Readings(SilverTable):
    """Readings."""

    source = Landed
    keys = ("id",)
    known_at = "taken_at"
    columns = (
        Column("id", "string", "Number"),
        Column("taken_at", "timestamp", "When"),
        Column("value", "double", "What was read"),
    )


class Corrected(Readings):
    """Readings that are corrected."""

    name = "readings"
    corrections = "newest"


class CorrectedSeries(Corrected):
    """Readings by time that are corrected."""

    timeseries = True


def test_what_tells_deliveries_apart_is_a_part_of_the_rows_keys_alone() -> None:
    assert (Corrected.primary_keys, Corrected.row_keys) == (("id",), ("id", AVAILABLE_AT, FILE, ROW))
    assert CorrectedSeries.row_keys == ("id", "taken_at", AVAILABLE_AT, FILE, ROW)
    assert (Readings.row_keys, record_keys(Corrected.row_keys)) == (("id",), ("id",))
    assert Corrected().schema().field(CORRECTED_AT).nullable
    assert CORRECTED_AT not in Readings().schema().names
    assert Corrected().digest() != Readings().digest()


@pytest.mark.parametrize("value", ["newst", True, "", "first"])
def test_another_value_is_refused_with_a_way_out(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"Wrong\.corrections is") as caught:
        type("Wrong", (Readings,), {"corrections": value})
    assert 'corrections = "newest"' in caught.value.hint


def test_a_source_whose_files_were_always_known_has_no_corrections() -> None:
    with pytest.raises(ConfigError, match="nobody knows when a file of Undated could be known") as caught:
        type("Wrong", (Readings,), {"corrections": "newest", "source": Undated})
    assert "available_at()" in caught.value.hint
    assert type("Right", (Readings,), {"corrections": "newest", "source": Dated}).corrections == "newest"


def info(*keys: str) -> TableInfo:
    return TableInfo("dev.x.silver_readings", 1, Corrected().schema(), keys, "taken_at")


def test_keys_become_longer_by_what_tells_deliveries_apart_and_nothing_else() -> None:
    schema = pa.schema([field.with_nullable(field.nullable and field.name != "id") for field in Corrected().schema()])
    there = TableInfo("dev.x.silver_readings", 1, schema, ("id",), "taken_at")
    longer = widening(there, schema, Corrected.row_keys, "taken_at")
    assert longer.keys == Corrected.row_keys
    assert longer
    assert not widening(TableInfo(there.name, 1, schema, longer.keys, "taken_at"), schema, longer.keys, "taken_at")
    # Taken back, they stay.
    assert not widening(TableInfo(there.name, 1, schema, longer.keys, "taken_at"), schema, ("id",), "taken_at")
    for keys, time in (
        (("id", "value"), "taken_at"),
        (DELIVERY, "taken_at"),
        (("id", "_other"), "taken_at"),
        ((), None),
    ):
        with pytest.raises(TableError, match="the keys of a table do not change"):
            widening(there, schema, keys, time)


def readings(*rows: tuple[str, int, str, int]) -> pa.Table:
    names = ["id", AVAILABLE_AT, FILE, ROW]
    values = [(key, DAY + timedelta(days=number), file, row) for key, number, file, row in rows]
    return pa.Table.from_pylist([dict(zip(names, value, strict=True)) for value in values])


def test_the_newest_row_is_told_by_its_time_then_its_file_then_its_number(tmp_path: Path) -> None:
    frames = tables(tmp_path).frames
    rows = readings(("A", 2, "a", 9), ("A", 3, "a", 1), ("A", 3, "b", 0), ("B", 1, "a", 0), ("B", 1, "a", 10))
    found = frames.collect(newest(frames.of(rows), ["id"]), at_most=9, what="rows").sort_by("id").to_pylist()
    assert [(row["id"], row[FILE], row[ROW]) for row in found] == [("A", "b", 0), ("B", "a", 10)]


def test_a_correction_counts_from_when_it_was_known(tmp_path: Path) -> None:
    made, name = tables(tmp_path), ObjectName.parse("dev.x.silver_t")
    schema = pa.schema(
        [("known_at", TIMESTAMP), (BATCH, pa.int64()), (AVAILABLE_AT, TIMESTAMP), (CORRECTED_AT, TIMESTAMP)]
    )
    made.create(name, schema, timeseries_column="known_at")
    later, latest = DAY + timedelta(days=20), DAY + timedelta(days=30)
    rows = [(DAY, 1, DAY, None), (DAY, 2, latest, latest), (later, 2, latest, None)]
    made.append(name, pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema))
    context: Any = SimpleNamespace(ws=Holding(made.frames), as_of=latest)
    found = freshness._new_rows(context, name, made.describe(name), 1, later)
    assert found == freshness._NewRows(2, later, none_seen=False)


def test_a_table_that_lost_its_key_is_not_read_as_one_record() -> None:
    keyless = TableInfo("dev.x.silver_readings", 1, Corrected().schema(), (), "taken_at")
    held: Any = SimpleNamespace(describe=lambda name: keyless, read=lambda name, version: "rows")
    view = as_of_view.WorkspaceAsOf(cast("Any", SimpleNamespace(tables=held)), Namespace("dev", "x"), DAY)
    with pytest.raises(TableError, match="has no primary key") as caught:
        view.read("silver_readings")
    assert "ws.read(Loans)" in caught.value.hint
    assert view._viewed("silver_readings", Corrected).keys == ("id",)


def test_of_many_corrections_some_begin_a_stretch_the_last_among_them() -> None:
    moments = [DAY + timedelta(days=number) for number in range(100)]
    chosen = as_of_view._spread(moments)
    assert len(chosen) < as_of_view.MOST_STRETCHES
    assert chosen[-1] == moments[-1]
    assert chosen == sorted(set(chosen))
    assert as_of_view._spread(moments[:5]) == moments[:5]


def test_a_range_that_is_filled_anew_has_stretches_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [DAY + timedelta(days=number) for number in range(100)]

    def corrections(view: Any, tables: Any, within: Any = None) -> list[datetime]:
        return [moment for moment in moments if within is None or within[0] <= moment <= within[1]]

    monkeypatch.setattr(as_of_view.WorkspaceAsOf, "_corrections", corrections)
    monkeypatch.setattr(as_of_view.WorkspaceAsOf, "_keeps_corrections", lambda view, bare: True)
    ws: Any = None
    found = {}
    for alike in (False, True):
        view = as_of_view.WorkspaceAsOf(ws, Namespace("dev", "x"), moments[-1], landed_only=False, takes_in_alike=alike)
        found[alike] = len(view.stretches(["silver_readings"], moments[-10] + timedelta(hours=1)))
    # Each of the nine begins one; a check takes those that it would take whatever the range.
    assert found == {False: 10, True: 3}
