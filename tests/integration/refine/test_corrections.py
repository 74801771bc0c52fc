"""Late corrections: the newer delivery of a record holds from the time when it could be known, and no earlier."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlplatform import Column, Expectation, FeatureTable, LabelSpine, RollingFeatureTable, SilverTable, Source
from mlplatform.change.differences import Kind
from mlplatform.features.computing import compute
from mlplatform.pipeline import Pipeline
from mlplatform.refine import as_of_view
from mlplatform.refine.as_of_view import WorkspaceAsOf
from mlplatform.refine.details import RefineDetails
from mlplatform.refine.gold_refining import gold_tables
from mlplatform.refine.silver_refining import SilverRefining
from mlplatform.testing.incremental_check import check_incremental
from mlplatform.testing.leak_check import check_features
from mlplatform.use_case import UseCase
from mlplatform.workspace.local.tables import LocalTables
from tests.support.crossed import crossed
from tests.support.tiny_use_case import NAME, Tiny, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlplatform.workspace.local.workspace import LocalWorkspace

CATALOGS = iter(f"catalog{number}" for number in range(1000))
TABLES = ("silver_readings", "quarantine_readings", "silver_outcomes", "gold_spine", "gold_labels", "features_latest")


def day(number: int) -> datetime:
    """The beginning of a day: when the drop of the day before is known."""
    return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=number - 1)


class Landed(Source):
    """Readings as landed, day by day."""

    name = "readings"
    files = "readings/readings_*.csv"
    available = "period_end"
    columns = ("id", "taken", "kind", "value")


class LandedOutcomes(Source):
    """Outcomes as landed, day by day."""

    name = "outcomes"
    files = "outcomes/outcomes_*.csv"
    available = "period_end"
    columns = ("id", "decided", "happened")


class FirstReadings(SilverTable):
    """Readings, of which the first delivery holds."""

    name = "readings"
    source = Landed
    keys = ("id",)
    known_at = "taken_at"
    columns = (
        Column("id", "string", "Number", nullable=False),
        Column("taken_at", "timestamp", "When", nullable=False, sql="try_to_timestamp(taken, 'yyyy-MM-dd')"),
        Column("kind", "string", "Of what kind"),
        Column("value", "double", "What was read"),
    )
    expectations = (Expectation("value_is_a_number", "value IS NOT NULL"),)


class Readings(FirstReadings):
    """Readings, of which the newest delivery holds."""

    name = "readings"
    corrections = "newest"


class Outcomes(SilverTable):
    """What happened."""

    name = "outcomes"
    source = LandedOutcomes
    keys = ("id",)
    known_at = "decided_at"
    corrections = "newest"
    columns = (
        Column("id", "string", "Number", nullable=False),
        Column("decided_at", "timestamp", "When", nullable=False, sql="try_to_timestamp(decided, 'yyyy-MM-dd')"),
        Column("happened", "double", "1 for yes"),
    )


class Spine(LabelSpine):
    """One row per reading."""

    table = Readings
    label = "happened"
    inputs = ("silver_readings", "silver_outcomes")

    def labels(self, ws: WorkspaceAsOf) -> Any:
        """What happened, once it is decided."""
        outcomes = ws.read("silver_outcomes").selectExpr("id", "happened", "decided_at AS label_known_at")
        return ws.read("silver_readings").select("id", "taken_at").join(outcomes, on="id")


class LatestFeatures(FeatureTable):
    """Readings as they stand."""

    table = Readings


class MoreLatestFeatures(LatestFeatures):
    """Readings as they stand, by code of its own."""

    name = "more_latest"
    inputs = ("silver_readings",)

    def compute(self, ws: WorkspaceAsOf, as_of: datetime, since: datetime | None) -> Any:
        """The same."""
        return super().compute(ws, as_of, since)


class Series(FirstReadings):
    """Readings by time, of which the newest delivery holds."""

    name = "readings"
    timeseries = True
    corrections = "newest"


class SeriesFeatures(FeatureTable):
    """The last reading."""

    name = "latest"
    table = Series


class TotalFeatures(FeatureTable):
    """Sums by kind, at the end of each day that has a reading."""

    keys = ("kind",)
    timeseries_column = "known_at"
    inputs = ("silver_readings",)
    columns = (
        Column("kind", "string", "The kind"),
        Column("known_at", "timestamp", "The day after the last reading counted"),
        Column("total", "double", "Sum of the values so far"),
    )

    def compute(self, ws: WorkspaceAsOf, as_of: datetime, since: datetime | None) -> Any:
        """Sum up what was read before the end of each day."""
        del as_of, since
        readings = ws.read("silver_readings").selectExpr("kind", "date_add(taken_at, 1) AS known_at", "value")
        return (
            readings.groupBy("kind", "known_at")
            .agg({"value": "sum"})
            .selectExpr(
                "kind",
                "CAST(known_at AS timestamp) AS known_at",
                "sum(`sum(value)`) OVER (PARTITION BY kind ORDER BY known_at) AS total",
            )
        )


class RecentFeatures(RollingFeatureTable):
    """Sums by kind over the last days."""

    keys = ("kind",)
    grid = "1 day"
    windows = ("5 days",)
    measures = (Column("value", "double", "Sum of the values"),)

    def events(self, ws: WorkspaceAsOf) -> Any:
        """The readings."""
        return ws.read(Readings).selectExpr("kind", "taken_at AS known_at", "value")


@dataclass
class Here:
    """A use case whose silver tables may keep corrections, with a catalog of its own."""

    ws: LocalWorkspace
    folder: Path
    silver: type[SilverTable] = Readings
    features: tuple[type[FeatureTable], ...] = (LatestFeatures, TotalFeatures)
    catalog: str = field(default_factory=lambda: next(CATALOGS))

    def land(self, number: int, *lines: str, also: str = "", source: str = "readings") -> None:
        """Land the drop of a day, which is known at the beginning of the next."""
        path = self.folder / "data" / source / f"{source}_{day(number):%Y-%m-%d}{also}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        header = {"readings": "id,taken,kind,value", "outcomes": "id,decided,happened"}[source]
        path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")

    def use_case(self) -> UseCase:
        self.ws.catalog = self.catalog
        parts = {
            "sources": (Landed, LandedOutcomes),
            "silver": (self.silver, Outcomes),
            "spine": Spine,
            "features": self.features,
        }
        opened: UseCase = type("Corrected", (Tiny,), parts).open(NAME, self.folder, self.ws)
        return opened

    def run(self, number: int, *stages: str) -> dict[str, Any]:
        """Run at the beginning of a day."""
        done = Pipeline(self.ws, self.use_case(), day(number)).run(stages or ("ingest", "refine", "features"))
        runs = {run.stage: run for run in done.stages}
        refined = runs["refine"].result
        assert (refined.rows_in or 0) == (refined.rows_out or 0) + (refined.rows_quarantined or 0)
        return runs

    def details(self, number: int) -> RefineDetails:
        found = self.run(number)["refine"].details
        assert isinstance(found, RefineDetails)
        return found

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        found = self.ws.tables.to_arrow(f"{self.catalog}.{NAME}.{table}", at_most=10**5)
        chosen = columns or tuple(name for name in found.column_names if name != "_batch")
        return sorted(tuple(str(row[name]) for name in chosen) for row in found.select(list(chosen)).to_pylist())

    def seen(self, number: int) -> dict[str, tuple[Any, ...]]:
        """Return the readings as they are read as of the beginning of a day."""
        self.ws.catalog = self.catalog
        view = WorkspaceAsOf(self.ws, self.use_case().namespace, day(number))
        rows = view.read("silver_readings").select("id", "kind", "value").collect()
        assert len({row["id"] for row in rows}) == len(rows)
        return {row["id"]: (row["kind"], row["value"]) for row in rows}


@pytest.fixture
def here(ws: LocalWorkspace, tmp_path: Path) -> Iterator[Here]:
    made = Here(ws, write_tiny_use_case(tmp_path, months=1, rows_a_month=2).folder)
    made.land(1, "A,2020-01-01,x,1", "B,2020-01-01,x,10")
    made.land(1, "A,2020-01-01,0", source="outcomes")
    yield made
    ws.catalog = "dev"


def again(here: Here, **changes: Any) -> Here:
    """Return the same files in a catalog that holds nothing."""
    return Here(here.ws, here.folder, **changes)


def test_a_correction_holds_from_the_time_it_was_known(here: Here) -> None:
    here.features = ()
    here.run(2)
    here.land(3, "A,2020-01-01,x,2", "C,2020-01-03,y,5")
    assert here.details(4).corrections == {"silver_readings": 1}
    assert here.seen(2) == here.seen(3) == {"A": ("x", 1.0), "B": ("x", 10.0)}
    assert here.seen(4) == {"A": ("x", 2.0), "B": ("x", 10.0), "C": ("y", 5.0)}
    # History keeps both.
    assert [row[:2] for row in here.rows("silver_readings", "id", "value", "_corrected_at")] == [
        ("A", "1.0"),
        ("A", "2.0"),
        ("B", "10.0"),
        ("C", "5.0"),
    ]
    assert here.rows("quarantine_readings") == []


def test_the_same_delivered_again_is_repeated_and_a_faulty_correction_is_quarantined(here: Here) -> None:
    here.features = ()
    here.run(2)
    here.land(2, "A,2020-01-01,x,1", "B,2020-01-01,x,none")
    details = here.details(3)
    assert (details.corrections, details.repeated) == ({}, {"silver_readings": 1})
    assert here.rows("quarantine_readings", "_file", "reason") == [
        ("readings/readings_2020-01-02.csv", "value_is_a_number")
    ]
    here.land(3, "A,2020-01-01,x,3", "A,2020-01-01,x,3", "A,2020-01-01,x,1")
    details = here.details(4)
    # The last line takes the correction of the first back.
    assert (details.corrections, details.repeated) == ({"silver_readings": 2}, {"silver_readings": 1})
    assert here.seen(4)["A"] == ("x", 1.0)
    assert {run.status for run in here.run(4).values()} == {"skipped"}


def test_features_change_from_then_on_and_no_earlier(here: Here) -> None:
    here.land(2, "C,2020-01-02,x,100")
    here.run(3)
    before = here.rows("features_total")
    here.land(4, "A,2020-01-01,x,2", "D,2020-01-04,x,1000")
    here.run(5)
    assert here.rows("features_total") == [*before, ("x", str(day(5)), "1112.0")]
    assert [row for row in here.rows("features_latest") if row[0] == "A"] == [
        ("A", str(day(1)), "x", "1.0"),
        ("A", str(day(5)), "x", "2.0"),
    ]
    # A prediction was made with what was known.
    assert ("A", str(day(1)), "x", "1.0") in here.rows("gold_spine")
    assert not [row for row in here.rows("gold_spine") if row[3] == "2.0"]


def test_what_follows_from_a_correction_is_computed_and_no_more(here: Here) -> None:
    here.land(2, "C,2020-01-01,x,100")
    here.run(3)
    here.land(4, "A,2020-01-01,x,2")
    runs = here.run(5)
    # The corrected reading, and no day before: no total is stamped since.
    assert runs["features"].result.rows_out == 1
    assert {run.status for run in here.run(5).values()} == {"skipped"}


def test_a_corrected_outcome_gives_the_label_anew_from_then_on(here: Here) -> None:
    here.features = ()
    here.land(2, "B,2020-01-02,1", source="outcomes")
    here.run(3)
    assert here.rows("gold_labels", "id", "happened", "label_known_at") == [
        ("A", "0.0", str(day(1))),
        ("B", "1.0", str(day(2))),
    ]
    here.land(4, "A,2020-01-01,1", "B,2020-01-02,1", source="outcomes")
    here.run(6)
    assert here.rows("gold_labels", "id", "happened", "label_known_at") == [
        ("A", "1.0", str(day(5))),
        ("B", "1.0", str(day(2))),
    ]


def land_many(here: Here) -> None:
    here.land(2, "A,2020-01-01,y,2", "C,2020-01-02,x,3")
    here.land(3, "A,2020-01-01,y,2", "B,2020-01-01,y,11", "A,2020-01-01,x,4")
    here.land(3, "B,2020-01-01,y,12", "C,2020-01-02,x,none", also="_b")
    here.land(5, "A,2020-01-01,x,5", "D,2020-01-05,x,6", "C,2020-01-02,y,3")
    here.land(6, "D,2020-01-05,x,6")
    here.land(3, "A,2020-01-01,1", "B,2020-01-03,0", source="outcomes")
    here.land(5, "A,2020-01-01,0", "B,2020-01-03,1", "C,2020-01-05,1", source="outcomes")


# Day by day at night: by day some of the steps are larger.
@pytest.mark.parametrize("days", [(4, 7), pytest.param(range(2, 8), marks=pytest.mark.slow)])
def test_step_by_step_gives_what_one_run_gives(here: Here, days: Sequence[int]) -> None:
    land_many(here)
    for number in days:
        here.run(number)
    at_once = again(here)
    at_once.run(7)
    for table in (*TABLES, "features_total"):
        assert here.rows(table) == at_once.rows(table), table
    assert [row for row in here.rows("features_latest") if row[0] == "B"] == [
        ("B", str(day(1)), "x", "10.0"),
        ("B", str(day(4)), "y", "12.0"),
    ]


# By day: step by step is at once, above, and the leak check with fewer stretches, below.
@pytest.mark.slow
def test_corrections_are_no_leak(here: Here) -> None:
    land_many(here)
    here.run(7)
    moments = [day(2), day(4), day(7)]
    check_features(here.ws, here.use_case(), moments)
    check_incremental(here.ws, here.use_case(), moments)


def test_a_range_that_ends_before_it_begins_has_no_rows(here: Here) -> None:
    here.silver = FirstReadings
    here.run(2, "ingest", "refine")
    use_case = here.use_case()
    view = WorkspaceAsOf(here.ws, use_case.namespace, day(2))
    assert compute(TotalFeatures(), view, day(3)).count() == 0
    spine, _ = gold_tables(use_case.label_spine())
    assert spine.rows(view, day(3)).count() == 0


def test_more_corrections_than_stretches_are_taken_in_later_and_never_earlier(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_many(here)
    exact = again(here)
    exact.run(7)
    whole = exact.rows("features_latest")
    here = again(here, features=(LatestFeatures, MoreLatestFeatures))
    monkeypatch.setattr(as_of_view, "MOST_STRETCHES", 2)
    notes = here.run(7)["features"].details.notes
    assert [note.partition(":")[0] for note in notes if "taken in with a later one" in note] == ["features_more_latest"]
    # Rows as they stand need no stretches.
    assert here.rows("features_latest") == whole
    found = {row[1]: row[3] for row in here.rows("features_more_latest") if row[0] == "A"}
    assert found == {str(day(1)): "1.0", str(day(6)): "5.0"}
    # The correction of B was known on day 4, and is taken in with that of day 6.
    assert ("B", str(day(6)), "y", "12.0") in here.rows("features_more_latest")
    check_features(here.ws, here.use_case(), [day(2), day(4), day(7)])


def test_what_corrects_an_earlier_hour_does_not_override_a_later_one(here: Here) -> None:
    here = Here(here.ws, here.folder, Series, (SeriesFeatures,))
    here.land(2, "A,2020-01-02,x,2", "A,2020-01-03,x,3")
    here.run(4)
    # Two corrections of one key and time, of which neither is about the last reading; and one that is.
    here.land(4, "A,2020-01-01,x,11", "A,2020-01-02,x,12", "B,2020-01-01,x,20")
    here.run(5)
    stepwise = here.rows("features_latest")
    assert [row for row in stepwise if row[1] >= str(day(4))] == [
        ("A", str(day(5)), "x", "3.0"),
        ("B", str(day(5)), "x", "20.0"),
    ]
    at_once = again(here, silver=Series, features=(SeriesFeatures,))
    at_once.run(5)
    assert at_once.rows("features_latest") == stepwise


# Day by day at night.
@pytest.mark.parametrize("days", [((4,), (6,)), pytest.param(((2, 4), (5, 6)), marks=pytest.mark.slow)])
def test_sums_from_which_a_correction_takes_all_say_so(here: Here, days: tuple[Sequence[int], ...]) -> None:
    here = Here(here.ws, here.folder, features=(RecentFeatures,))
    before, after = days
    for number in before:
        here.run(number)
    # It comes late: the sums of day 4 hold what it takes away.
    here.land(2, "A,2020-01-01,y,1", "B,2020-01-01,y,10")
    for number in after:
        here.run(number)
    assert here.rows("features_recent") == [
        *(("x", str(day(number)), "11.0" if number < 3 else "0.0") for number in range(2, 7)),
        *(("y", str(day(number)), "11.0") for number in range(3, 7)),
    ]
    at_once = again(here, features=(RecentFeatures,))
    at_once.run(6)
    assert at_once.rows("features_recent") == here.rows("features_recent")


def test_a_record_keeps_the_time_that_its_first_delivery_said(here: Here) -> None:
    here.run(2)
    here.land(3, "A,2020-01-02,x,2", "B,2019-12-30,x,11")
    here.run(4)
    at_once = again(here)
    at_once.run(4)
    for one in (here, at_once):
        assert one.rows("gold_spine", "id", "taken_at") == [("A", str(day(1))), ("B", str(day(1)))]
        assert one.rows("gold_labels", "id", "taken_at") == [("A", str(day(1)))]
        assert [row[:2] for row in one.rows("features_latest")] == [
            ("A", str(day(1))),
            ("A", str(day(4))),
            ("B", str(day(1))),
            ("B", str(day(4))),
        ]


def test_a_correction_holds_no_earlier_than_what_it_says(here: Here) -> None:
    here.land(2, "A,2020-01-05,x,2")
    here.run(3)
    assert here.seen(3)["A"] == here.seen(4)["A"] == ("x", 1.0)
    here.run(6)
    assert here.seen(5)["A"] == ("x", 2.0)
    assert ("A", str(day(5)), "x", "2.0") in here.rows("features_latest")


def test_a_file_that_comes_late_changes_nothing_but_what_it_is_about(here: Here) -> None:
    here.features = ()
    here.land(4, "A,2020-01-01,x,4", "B,2020-01-01,x,10", "E,2020-01-04,z,7")
    here.run(5)
    batches = dict(here.rows("silver_readings", "id", "_batch"))
    here.land(3, "A,2020-01-01,x,3", "B,2020-01-01,x,11")
    runs = here.run(6)
    # The older one does not override the newer one; and what was repeated then, corrects it now.
    assert here.seen(6) == {"A": ("x", 4.0), "B": ("x", 10.0), "E": ("z", 7.0)}
    assert here.seen(4) == {"A": ("x", 3.0), "B": ("x", 11.0)}
    details = runs["refine"].details
    assert any("came late: 1 that were known after" in note for note in details.notes)
    # What came in is the late file.
    assert (runs["refine"].result.rows_in, details.again) == (2, {"silver_readings": 3})
    assert (details.corrections, details.repeated) == ({"silver_readings": 2}, {})
    assert dict(here.rows("silver_readings", "id", "_batch"))["E"] == batches["E"]
    at_once = again(here, features=())
    at_once.run(6)
    for table in ("silver_readings", "quarantine_readings"):
        assert here.rows(table) == at_once.rows(table), table
    assert {run.status for run in here.run(6).values()} == {"skipped"}


def test_a_late_file_that_gives_a_record_another_time_moves_its_row_of_the_spine(here: Here) -> None:
    here.land(4, "E,2020-01-04,x,7")
    here.run(5)
    here.land(3, "E,2020-01-03,x,6", "A,2020-01-01,x,1")
    here.run(6)
    assert [row for row in here.rows("gold_spine", "id", "taken_at") if row[0] == "E"] == [("E", str(day(3)))]
    at_once = again(here)
    at_once.run(6)
    for table in (*TABLES, "features_total"):
        assert here.rows(table) == at_once.rows(table), table


@pytest.mark.parametrize(
    ("method", "table"), crossed(["append", "overwrite"], ["quarantine_readings", "silver_readings"])
)
def test_a_run_that_dies_over_a_late_file_is_done_again(
    here: Here, monkeypatch: pytest.MonkeyPatch, method: str, table: str
) -> None:
    here.features, stages = (), ("ingest", "refine")
    here.land(4, "A,2020-01-01,x,4", "B,2020-01-01,x,none")
    here.run(5, *stages)
    here.land(3, "A,2020-01-01,x,3", "B,2020-01-01,x,nothing")
    real = getattr(LocalTables, method)

    def dying(self: LocalTables, name: Any, *args: Any, **how: Any) -> Any:
        written = real(self, name, *args, **how)
        if str(name).endswith(table):
            raise RuntimeError("killed")
        return written

    monkeypatch.setattr(LocalTables, method, dying)
    with contextlib.suppress(RuntimeError):
        here.run(6, *stages)
    monkeypatch.undo()
    here.run(6, *stages)
    at_once = again(here, features=())
    at_once.run(6, *stages)
    for name in ("silver_readings", "quarantine_readings"):
        assert here.rows(name) == at_once.rows(name), name


def test_a_lost_quarantine_is_filled_again(here: Here) -> None:
    here.features = ()
    here.land(2, "A,2020-01-01,x,2", "B,2020-01-01,x,none")
    here.run(3)
    before = here.rows("quarantine_readings")
    here.ws.tables.drop(f"{here.catalog}.{NAME}.quarantine_readings")
    here.run(4)
    assert here.rows("quarantine_readings") == before != []


# By day: the two tests after it and the plans'.
@pytest.mark.slow
def test_a_table_that_gains_corrections_takes_its_duplicates_in_and_gives_them_back(here: Here) -> None:
    here.silver = FirstReadings
    here.land(2, "A,2020-01-01,x,2", "B,2020-01-01,x,none")
    here.run(3)
    first = {name: here.rows(name) for name in ("silver_readings", "quarantine_readings", "features_latest")}
    assert [row[-1] for row in here.rows("quarantine_readings", "_row", "reason")] == [
        "duplicate_key",
        "value_is_a_number",
    ]
    here.silver = Readings
    assert here.details(3).corrections == {"silver_readings": 1}
    assert here.seen(3)["A"] == ("x", 2.0)
    assert [row[-1] for row in here.rows("quarantine_readings", "_row", "reason")] == ["value_is_a_number"]
    always = again(here)
    always.run(3)
    columns = [field.name for field in Readings().schema() if field.name != "_batch"]
    assert here.rows("silver_readings", *columns) == always.rows("silver_readings", *columns)
    for name in ("gold_spine", "gold_labels", "features_latest", "features_total"):
        assert here.rows(name) == always.rows(name), name
    here.silver = FirstReadings
    here.run(3)
    columns = [field.name for field in FirstReadings().schema() if field.name != "_batch"]
    assert here.rows("silver_readings", *columns) == first["silver_readings"]
    assert here.rows("quarantine_readings") == first["quarantine_readings"]
    assert here.rows("features_latest") == first["features_latest"]
    here.land(4, "A,2020-01-01,x,3", "C,2020-01-04,x,1")
    here.run(5)
    assert here.seen(5)["A"] == ("x", 1.0)


def test_what_were_duplicates_become_corrections(here: Here) -> None:
    here.silver, here.features = FirstReadings, ()
    here.land(2, "A,2020-01-01,x,2", "B,2020-01-01,x,none")
    here.run(3)
    here.silver = Readings
    assert here.details(3).corrections == {"silver_readings": 1}
    assert here.seen(3)["A"] == ("x", 2.0)
    assert here.rows("quarantine_readings", "reason") == [("value_is_a_number",)]


def test_taken_back_nothing_is_a_correction(here: Here) -> None:
    here.features = ()
    here.land(2, "A,2020-01-01,x,2")
    here.run(3)
    # What was a correction is the first that passes.
    more = Expectation("value_is_large", "value > 1")
    here.silver = type("Taken", (FirstReadings,), {"expectations": (*FirstReadings.expectations, more)})
    here.run(3)
    assert here.rows("silver_readings", "id", "value", "_corrected_at") == [("A", "2.0", "None"), ("B", "10.0", "None")]


def test_the_plan_says_what_corrections_bring_in(here: Here) -> None:
    here.silver = FirstReadings
    here.land(2, "A,2020-01-01,x,2", "C,2020-01-02,x,3")
    here.run(3)
    here.silver = Readings
    plan = Pipeline(here.ws, here.use_case(), day(3)).plan()
    (change,) = [item for item in plan.changes if item.name == "silver_readings"]
    assert change.kind is Kind.RECOMPUTE
    assert change.measured is not None
    assert (change.measured.before, change.measured.after, change.measured.added) == (3, 3, 0)
    assert {name: item.rows for name, item in change.measured.columns.items()} == {"value": 1}
    (latest,) = [item for item in plan.changes if item.name == "features_latest"]
    assert latest.measured is not None
    assert (latest.measured.added, latest.measured.removed) == (1, 0)


def test_the_plan_says_that_corrections_come_in_which_cancel_each_other_out(here: Here) -> None:
    here.silver, here.features = FirstReadings, ()
    here.land(2, "A,2020-01-01,x,2")
    here.land(3, "A,2020-01-01,x,1")
    here.run(4)
    here.silver = Readings
    plan = Pipeline(here.ws, here.use_case(), day(4)).plan()
    (change,) = [item for item in plan.changes if item.name == "silver_readings"]
    assert change.kind is Kind.RECOMPUTE
    assert change.measured is not None
    assert {name: item.rows for name, item in change.measured.columns.items()} == {"_corrected_at": 2}


def test_what_was_not_corrected_is_read_by_time(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    here.features = ()
    here.land(2, "A,2020-01-01,x,2")
    here.run(3)
    view = WorkspaceAsOf(here.ws, here.use_case().namespace, day(3))
    view.read("silver_readings").where("taken_at > '2020-01-02'").explain(mode="formatted")
    # Files are left out by the latest time that they hold.
    assert "taken_at_max" in capsys.readouterr().out


def test_two_runs_do_not_refine_a_table_with_corrections_at_once(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[str] = []
    waiting: list[str] = []
    real = type(here.ws).lock

    @contextlib.contextmanager
    def lock(ws: LocalWorkspace, name: str) -> Iterator[None]:
        with real(ws, name):
            held.append(name)
            yield
            held.remove(name)

    def look(self: SilverRefining) -> None:
        waiting.extend(name for name in held if name.startswith("refine "))

    monkeypatch.setattr(type(here.ws), "lock", lock)
    monkeypatch.setattr(SilverRefining, "run", look)
    here.silver = FirstReadings
    here.run(2, "ingest", "refine")
    assert waiting == [f"refine {here.catalog}.{NAME}.silver_outcomes"]


LINES = st.tuples(st.sampled_from(["A", "B"]), st.sampled_from(["x", "y"]), st.sampled_from(["1", "2", "none"]))
DROPS = st.lists(st.lists(LINES, max_size=3), min_size=2, max_size=4)


@pytest.mark.parametrize("examples", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_however_files_come_as_of_reads_give_the_last_delivery_by_then(
    ws: LocalWorkspace, tmp_path_factory: pytest.TempPathFactory, examples: int
) -> None:
    @settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow])
    @given(drops=DROPS, seed=st.integers(0, 10**6))
    def check(drops: list[list[Any]], seed: int) -> None:
        folder = write_tiny_use_case(tmp_path_factory.mktemp("drops"), months=1, rows_a_month=2).folder
        check_any_order(Here(ws, folder, features=()), drops, seed)

    check()


def check_any_order(here: Here, drops: list[list[Any]], seed: int) -> None:
    """File by file in any order is all at once; as of each day holds the last delivery that had landed."""
    order = random.Random(seed).sample(range(1, len(drops) + 1), len(drops))
    last = len(drops) + 2
    for number in order:
        here.land(number, *(f"{key},2020-01-01,{kind},{value}" for key, kind, value in drops[number - 1]))
        here.land(number, source="outcomes")
        here.run(last, "ingest", "refine")
    at_once = again(here, features=())
    at_once.run(last, "ingest", "refine")
    assert here.rows("silver_readings") == at_once.rows("silver_readings")
    assert here.rows("quarantine_readings") == at_once.rows("quarantine_readings")
    for number in range(1, last + 1):
        expected: dict[str, Any] = {}
        for place, lines in enumerate(drops, start=1):
            if place + 1 <= number:
                expected |= {key: (kind, float(value)) for key, kind, value in lines if value != "none"}
        assert here.seen(number) == expected
