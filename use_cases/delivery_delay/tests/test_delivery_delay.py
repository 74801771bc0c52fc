"""The delivery-delay use case on its first weeks: clocks, what is known when, leaks, and computing step by step."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlplatform import discovery
from mlplatform.as_of import parse_as_of
from mlplatform.errors import LabelError
from mlplatform.ops.run_record import RunSummary
from mlplatform.pipeline import Pipeline
from mlplatform.testing import check_features, check_incremental
from mlplatform.training.label_frame import known_labels

if TYPE_CHECKING:
    from mlplatform.use_case import UseCase
    from mlplatform.workspace.local.workspace import LocalWorkspace

AS_OF = parse_as_of("2013-02-14T12:00")
LATEST = parse_as_of("2013-02-20")


@pytest.fixture(scope="module")
def use_case(ws: LocalWorkspace, tmp_path_factory: pytest.TempPathFactory) -> UseCase:
    """The use case with the files of its first two months: all that is looked at lies in them."""
    folder, later = tmp_path_factory.mktemp("use_cases"), [f"*_2013-{month:02}.csv.gz" for month in range(3, 13)]
    left_out = shutil.ignore_patterns("__pycache__", "tests", *later)
    shutil.copytree(Path(__file__).resolve().parents[1], folder / "delivery_delay", ignore=left_out)
    return discovery.open_use_case(ws, "delivery_delay", folder)


@pytest.fixture(scope="module")
def refined(ws: LocalWorkspace, use_case: UseCase) -> RunSummary:
    """Silver and gold as of noon of a day in February."""
    return Pipeline(ws, use_case, AS_OF).run(["ingest", "refine"])


def table(ws: LocalWorkspace, use_case: UseCase, name: str) -> pa.Table:
    return ws.tables.to_arrow(use_case.namespace.table(name), at_most=10**6)


def leg(ws: LocalWorkspace, use_case: UseCase, name: str, leg_id: str) -> dict[str, object]:
    row: dict[str, object]
    (row,) = ws.tables.to_arrow(
        use_case.namespace.table(name), at_most=10**6, filters=[("leg_id", "=", leg_id)]
    ).to_pylist()
    return row


def test_only_days_that_are_over_have_landed(ws: LocalWorkspace, use_case: UseCase, refined: RunSummary) -> None:
    landed = table(ws, use_case, "bronze_arrivals")
    files = sorted(pc.unique(landed["_file"]).to_numpy(zero_copy_only=False))
    # Nothing before January 1st 10:00 UTC had been planned; the 14th is not over.
    assert files[0] == "arrivals_2013-01-01.csv"
    assert files[-1] == "arrivals_2013-02-13.csv"
    reported = table(ws, use_case, "silver_arrivals")
    assert pc.max(reported["reported_at"]).as_py() <= parse_as_of("2013-02-14")


def test_the_impossible_wind_is_quarantined_and_nothing_else(
    ws: LocalWorkspace, use_case: UseCase, refined: RunSummary
) -> None:
    refine = refined.stages[-1].result
    assert (refine.rows_in, refine.rows_quarantined) == ((refine.rows_out or 0) + 1, 1)
    (row,) = table(ws, use_case, "quarantine_weather").to_pylist()
    assert row["reason"] == "wind_is_possible"
    assert '"wind_speed":"1048.36' in row["content"]


def test_clocks(ws: LocalWorkspace, use_case: UseCase, refined: RunSummary) -> None:
    """Planned and actual instants of some legs, by hand."""
    # 05:15 in New York is 10:15 UTC in winter: 515 is no number of minutes.
    houston = leg(ws, use_case, "silver_schedule", "2013-01-01 UA1545 EWR")
    assert houston["departs_at"] == parse_as_of("2013-01-01T10:15")
    assert houston["minute_of_day"] == 5 * 60 + 15
    # Planned for 08:19 in Houston, which is 14:19 UTC, and 11 minutes late.
    assert reported_at(ws, use_case, "2013-01-01 UA1545 EWR") == parse_as_of("2013-01-01T14:30")
    # From 23:59 to 04:45 of the next day in Ponce, four hours behind UTC; 20 minutes early.
    ponce = leg(ws, use_case, "silver_schedule", "2013-01-01 B6739 JFK")
    assert (ponce["dest"], ponce["departs_at"]) == ("PSE", parse_as_of("2013-01-02T04:59"))
    assert reported_at(ws, use_case, "2013-01-01 B6739 JFK") == parse_as_of("2013-01-02T08:25")
    # From 09:00 to 15:30 in Honolulu, ten hours behind UTC; 14 minutes early.
    assert reported_at(ws, use_case, "2013-01-01 HA51 JFK") == parse_as_of("2013-01-02T01:16")


def reported_at(ws: LocalWorkspace, use_case: UseCase, leg_id: str) -> object:
    return leg(ws, use_case, "silver_arrivals", leg_id)["reported_at"]


def test_a_cancelled_leg_is_predicted_and_never_labelled(
    ws: LocalWorkspace, use_case: UseCase, refined: RunSummary
) -> None:
    arrivals = table(ws, use_case, "silver_arrivals")
    cancelled = arrivals.filter(pc.is_null(arrivals["arr_delay"]))
    assert cancelled.num_rows > 500
    spine, labels = table(ws, use_case, "gold_spine"), table(ws, use_case, "gold_labels")
    assert cancelled.join(spine.select(["leg_id"]), "leg_id", join_type="left anti").num_rows == 0
    assert cancelled.join(labels.select(["leg_id"]), "leg_id", join_type="left semi").num_rows == 0


def test_a_label_is_known_at_the_arrival_and_not_before(
    ws: LocalWorkspace, use_case: UseCase, refined: RunSummary
) -> None:
    spine = use_case.label_spine()
    frame = known_labels(ws, use_case.namespace, spine, AS_OF - timedelta(days=3))
    assert pc.max(frame.rows["label_known_at"]).as_py() <= AS_OF - timedelta(days=3)
    with pytest.raises(LabelError, match=r"No label of delivery_delay is known at 2013-01-01 10:00"):
        known_labels(ws, use_case.namespace, spine, parse_as_of("2013-01-01T10:00"))


def test_the_prediction_is_made_two_hours_before(ws: LocalWorkspace, use_case: UseCase, refined: RunSummary) -> None:
    spine = table(ws, use_case, "gold_spine")
    assert spine.num_rows > 35_000
    assert set(pc.subtract(spine["departs_at"], spine["predicted_at"]).to_pylist()) == {timedelta(hours=2)}
    assert "tailnum" not in spine.column_names + table(ws, use_case, "silver_arrivals").column_names


@pytest.fixture(scope="module")
def later(ws: LocalWorkspace, use_case: UseCase, refined: RunSummary) -> LocalWorkspace:
    Pipeline(ws, use_case, LATEST).run(["ingest", "refine"])
    return ws


def test_no_feature_table_leaks(later: LocalWorkspace, use_case: UseCase) -> None:
    moments = [parse_as_of(text) for text in ("2013-01-03T02:30", "2013-01-20", "2013-02-06T17:59:59")]
    check_features(later, use_case, [*moments, LATEST])


def test_step_by_step_is_at_once(later: LocalWorkspace, use_case: UseCase) -> None:
    # By day, by hours, over a step of a week, and over none of the weekly grid's.
    moments = ["2013-01-22", "2013-01-23", "2013-01-23T08:20", "2013-01-23T20:00", "2013-01-30T20:00"]
    check_incremental(later, use_case, [*map(parse_as_of, moments), LATEST])


def test_the_stage_fills_the_tables_step_by_step_as_at_once(later: LocalWorkspace, use_case: UseCase) -> None:
    """What the feature stage wrote in two steps is what a backfill of the whole range computes."""
    for moment in (AS_OF, LATEST):
        Pipeline(later, use_case, moment).run(["features"])
    for feature_table in use_case.features:
        done = Pipeline(later, use_case, LATEST).backfill(feature_table.name, parse_as_of("2013-01-01"), dry_run=True)
        assert done.result.skipped == "the range holds these rows already", (feature_table.name, done.result.details)
        assert (done.result.rows_in or 0) > 100


def test_a_backfill_mends_what_was_damaged(later: LocalWorkspace, use_case: UseCase) -> None:
    name = use_case.namespace.features("route")
    good = later.tables.to_arrow(name, at_most=10**6).sort_by([("known_at", "ascending"), ("route", "ascending")])
    start, end = parse_as_of("2013-02-01"), parse_as_of("2013-02-08")
    hurt = good.filter(pc.greater_equal(good["known_at"], pa.scalar(start, good["known_at"].type))).slice(0, 5)
    spoilt = hurt.set_column(
        hurt.schema.get_field_index("route_late_7d"),
        hurt.schema.field("route_late_7d"),
        pc.add(hurt["route_late_7d"], 1.0),
    )
    ghost = spoilt.slice(0, 1).set_column(0, hurt.schema.field(0), [["XXX-YYY"]])
    later.fe.write_table(name=str(name), df=spoilt, mode="merge")
    later.fe.write_table(name=str(name), df=ghost, mode="merge")
    done = Pipeline(later, use_case, end).backfill("route", start)
    assert {key: getattr(done.result.details, key) for key in ("added", "removed", "changed")} == {
        "added": 0, "removed": 1, "changed": 5,
    }  # fmt: skip
    assert (
        later.tables.to_arrow(name, at_most=10**6)
        .sort_by([("known_at", "ascending"), ("route", "ascending")])
        .equals(good)
    )
    again = Pipeline(later, use_case, end).backfill("features_route", start)
    assert again.status == "skipped"
