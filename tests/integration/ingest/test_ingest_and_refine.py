"""From landed files to gold, on the tiny use case: each row exactly once, or in the quarantine with its reason."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlplatform.as_of import Duration, parse_as_of
from mlplatform.errors import LabelError, StageError
from mlplatform.ingest import delivery, landing, seen, stage
from mlplatform.ingest.stage import digest
from mlplatform.naming import Namespace
from mlplatform.ops.result import StageResult
from mlplatform.refine.as_of_view import view_at
from mlplatform.training.label_frame import known_labels
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.state import table_rows
from tests.support.tiny_runs import open_tiny, run_tiny
from tests.support.tiny_use_case import DIRT, NAME, Signups, TinyFolder, first_of, write_drop, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STAGES = ("ingest", "refine", "features")
ROWS = STAGES[:2]
"""Without features, which many tests do not look at."""
# An environment of its own for each test: one workspace and one engine serve them all.
CATALOGS = iter(f"catalog{number}" for number in range(1000))
MAY = "may"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=tmp_path_factory.mktemp("workspace")) as ws:
        yield ws


@pytest.fixture
def tiny(tmp_path: Path) -> TinyFolder:
    return write_tiny_use_case(tmp_path, months=6, rows_a_month=40)


@pytest.fixture
def here(shared: LocalWorkspace) -> LocalWorkspace:
    """The shared workspace in an environment of this test alone."""
    shared.catalog = next(CATALOGS)
    return shared


@pytest.fixture
def run(here: LocalWorkspace, tiny: TinyFolder) -> Callable[..., dict[str, StageResult]]:
    def run_stages(as_of: str, *only: str) -> dict[str, StageResult]:
        summary = run_tiny(here, tiny.folder, as_of, only or STAGES)
        return {stage.stage: stage.result for stage in summary.stages}

    return run_stages


@pytest.fixture(scope="module")
def may(
    shared: LocalWorkspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LocalWorkspace, TinyFolder, dict[str, StageResult]]:
    """A run as of May, to be looked at only."""
    tiny = write_tiny_use_case(tmp_path_factory.mktemp("may"), months=6, rows_a_month=40)
    shared.catalog = MAY
    summary = run_tiny(shared, tiny.folder, "2020-05-01", STAGES)
    return shared, tiny, {stage.stage: stage.result for stage in summary.stages}


@pytest.fixture
def in_may(
    may: tuple[LocalWorkspace, TinyFolder, dict[str, StageResult]],
) -> tuple[LocalWorkspace, TinyFolder, dict[str, StageResult]]:
    """The same, whatever catalog the test before looked at."""
    may[0].catalog = MAY
    return may


def name(ws: LocalWorkspace, table: str) -> str:
    return str(Namespace(ws.catalog, NAME).table(table))


def rows(ws: LocalWorkspace, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ws.tables.to_arrow(name(ws, table), at_most=10**6).to_pylist()
    return found


def count(ws: LocalWorkspace, table: str) -> int:
    return int(ws.tables.to_arrow(name(ws, table), at_most=10**6).num_rows)


def state(ws: LocalWorkspace) -> dict[str, list[str]]:
    return {table: table_rows(ws, name(ws, table)) for table in ws.tables.list(ws.catalog, NAME)}


def written(tiny: TinyFolder, source: str, until: str) -> int:
    return sum(number for file, number in tiny.rows.items() if file.startswith(source) and file < f"{source}_{until}")


def test_every_landed_row_arrives_once_and_no_later_one(in_may):
    here, tiny, results = in_may
    assert (
        results["ingest"].rows_in
        == results["ingest"].rows_out
        == sum(written(tiny, source, "2020-05") for source in ("signups", "cancellations"))
    )
    for source in ("signups", "cancellations"):
        assert count(here, f"bronze_{source}") == count(here, f"silver_{source}") == written(tiny, source, "2020-05")
    assert count(here, "gold_spine") == written(tiny, "signups", "2020-05")
    assert {row["_file"] for row in rows(here, "bronze_signups")} == {
        f"signups/signups_2020-{month:02d}.csv" for month in range(1, 5)
    }


def test_bronze_keeps_the_text_and_the_number_of_each_row(here, tiny, run):
    run("2020-02-01", "ingest")
    landed = (tiny.data / "signups" / "signups_2020-01.csv").read_text(encoding="utf-8").splitlines()[1:]
    bronze = sorted(rows(here, "bronze_signups"), key=lambda row: row["_row"])
    assert [",".join(row[column] for column in Signups.columns) for row in bronze] == landed
    assert [row["_row"] for row in bronze] == list(range(40))
    assert {row["_available_at"] for row in bronze} == {first_of("2020-02")}


def test_running_twice_changes_nothing_and_says_so(here, run):
    run("2020-05-01")
    before = state(here)
    again = run("2020-05-01")
    assert {stage: bool(result.skipped) for stage, result in again.items()} == dict.fromkeys(STAGES, True)
    assert state(here) == before


def test_a_new_file_is_picked_up_with_the_labels_that_became_known(here, tiny, run):
    run("2020-05-01", *ROWS)
    labels = count(here, "gold_labels")
    results = run("2020-06-01", *ROWS)
    assert results["ingest"].rows_in == sum(
        tiny.rows[f"{source}_2020-05.csv"] for source in ("signups", "cancellations")
    )
    assert count(here, "silver_signups") == written(tiny, "signups", "2020-06")
    assert count(here, "gold_labels") > labels


# By day in larger steps.
@pytest.mark.parametrize(
    "months",
    [("2020-04", "2020-07"), pytest.param(("2020-03", "2020-04", "2020-05", "2020-07"), marks=pytest.mark.slow)],
)
def test_month_by_month_gives_what_one_run_at_the_end_gives(here, tiny, run, months):
    for month in months:
        run(f"{month}-01")
    stepwise = state(here)
    here.catalog = next(CATALOGS)
    run_tiny(here, tiny.folder, "2020-07-01", STAGES)
    at_once = state(here)
    # The number of the batch says in which run a row was refined.
    for table in ("silver_signups", "silver_cancellations"):
        for held in (stepwise, at_once):
            held[table] = sorted(json.dumps({**json.loads(row), "_batch": None}, sort_keys=True) for row in held[table])
    assert stepwise == at_once


def test_a_file_that_changed_after_it_was_ingested_is_noticed_and_not_taken_again(here, tiny, run):
    run("2020-03-01", "ingest")
    path = tiny.data / "signups" / "signups_2020-01.csv"
    path.write_text(path.read_text(encoding="utf-8") + "new,2020-01-05,north,10,2\n", encoding="utf-8")
    result = run("2020-03-01", "ingest")["ingest"]
    assert result.details.changed_after_ingestion == ["signups/signups_2020-01.csv"]
    assert not result.skipped
    assert count(here, "bronze_signups") == 80


def test_files_that_nobody_touched_since_the_last_run_are_not_read_again(here, tiny, run, monkeypatch):
    monkeypatch.setattr(seen, "_TICK", timedelta(0))
    run("2020-03-01", "ingest")
    path = tiny.data / "signups" / "signups_2020-01.csv"
    path.write_text(path.read_text(encoding="utf-8") + "new,2020-01-05,north,10,2\n", encoding="utf-8")
    assert run("2020-03-01", "ingest")["ingest"].details.changed_after_ingestion
    read: list[str] = []
    monkeypatch.setattr(stage, "digest", lambda path: read.append(path.name) or digest(path))
    again = run("2020-04-01", "ingest")["ingest"]
    # What is new, and what was found changed: it is said as long as it is so.
    assert set(read) == {"signups_2020-01.csv", "signups_2020-03.csv", "cancellations_2020-03.csv"}
    assert again.details.changed_after_ingestion == ["signups/signups_2020-01.csv"]
    assert count(here, "bronze_signups") == 120


def test_a_run_knows_the_files_again_that_the_one_before_has_read(here, tiny, run, monkeypatch):
    """By their names, sizes and times, of all together: also within the hour, and where many are small."""
    monkeypatch.setattr(seen, "_TICK", timedelta(0))
    run("2020-03-01", "ingest")
    read: list[str] = []
    monkeypatch.setattr(stage, "digest", lambda path: read.append(path.name) or digest(path))
    assert run("2020-03-01", "ingest")["ingest"].skipped
    assert read == []
    path = tiny.data / "signups" / "signups_2020-01.csv"
    whole, times = path.read_bytes(), path.stat()
    path.write_bytes(whole.replace(b"north", b"south", 1))
    # Of the same size, and with its time set back: what nobody can set is when the file itself changed.
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert run("2020-03-01", "ingest")["ingest"].details.changed_after_ingestion == ["signups/signups_2020-01.csv"]
    assert "signups_2020-01.csv" in read


def test_an_added_column_is_noticed_and_rescued(here, tiny, run):
    write_drop(
        tiny.data / "signups" / "signups_2020-01.csv",
        (*Signups.columns, "channel"),
        [["a1", "2020-01-05", "north", "10", "2", "web"]],
    )
    result = run("2020-02-01", "ingest", "refine")["ingest"]
    assert _said(result) == {"schema_changed": {"signups/signups_2020-01.csv": ["channel"]}}
    assert [json.loads(row["_rescued_data"]) for row in rows(here, "bronze_signups")] == [{"channel": "web"}]
    assert count(here, "silver_signups") == 1


def test_a_column_that_went_missing_stops_the_ingestion_before_anything_of_the_file_is_taken(here, tiny, run):
    write_drop(
        tiny.data / "signups" / "signups_2020-02.csv", Signups.columns[:-1], [["a1", "2020-02-05", "north", "10"]]
    )
    with pytest.raises(StageError, match=r"lacks the column.* seats"):
        run("2020-04-01", "ingest")
    assert {row["_file"] for row in rows(here, "bronze_signups")} == {"signups/signups_2020-01.csv"}
    runs = here.tables.to_arrow(f"{here.catalog}.ops.stage_runs", at_most=10**6).to_pylist()
    assert [(row["stage"], row["status"]) for row in runs] == [("ingest", "failed")]
    assert "lacks the column" in runs[0]["message"]


def test_a_file_that_cannot_be_read_is_ingested_once_it_is_delivered_again(here, tiny, run):
    path = tiny.data / "signups" / "signups_2020-01.csv"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"north", b"n\xf6rth", 1))
    with pytest.raises(StageError):
        run("2020-02-01", "ingest")
    path.write_bytes(whole)
    run("2020-02-01", "ingest")
    assert count(here, "bronze_signups") == 40


@pytest.mark.parametrize("size", [0, 1000, 10**9], ids=["each by way of the disk", "a few at a time", "all at once"])
def test_a_file_of_any_size_is_ingested_whole(here, tiny, run, monkeypatch, size):
    monkeypatch.setattr(delivery, "BATCH_BYTES", size)
    monkeypatch.setattr(landing, "BATCH_BYTES", size)
    tiny.soil("2020-03")
    ingest = run("2020-05-01", "ingest")["ingest"]
    good = written(tiny, "signups", "2020-05") + written(tiny, "cancellations", "2020-05")
    assert (ingest.rows_in, ingest.rows_out, ingest.rows_quarantined) == (good + 7, good + 6, 1)
    places = Counter((row["_file"], row["_row"]) for row in rows(here, "bronze_signups"))
    assert set(places.values()) == {1}
    by_file = Counter(file for file, _ in places)
    assert all({row for name, row in places if name == file} == set(range(count)) for file, count in by_file.items())
    assert [row["content"] for row in rows(here, "quarantine_signups")] == ["X5,2020-03-05,north"]
    assert run("2020-05-01", "ingest")["ingest"].skipped


def test_nothing_is_taken_of_a_large_file_that_cannot_be_read_to_its_end(here, tiny, run, monkeypatch):
    monkeypatch.setattr(landing, "BATCH_BYTES", 0)
    path = tiny.data / "signups" / "signups_2020-02.csv"
    whole = path.read_bytes()
    # So that the first batch is read well.
    path.write_bytes(whole + b"a1,2020-02-05,north,10,2\n" * 200_000 + b"a1,2020-02-05,n\xf6rth,10,2\n")
    with pytest.raises(StageError, match="cannot be read as CSV"):
        run("2020-04-01", "ingest")
    assert {row["_file"] for row in rows(here, "bronze_signups")} == {"signups/signups_2020-01.csv"}
    path.write_bytes(whole)
    run("2020-04-01", "ingest")
    assert count(here, "bronze_signups") == 120


def test_every_faulty_row_is_quarantined_with_its_reason_and_what_it_held(here, tiny, run):
    tiny.soil("2020-03")
    results = run("2020-05-01", *ROWS)
    found = rows(here, "quarantine_signups")
    assert Counter(row["reason"] for row in found) == Counter(reason for _, reason in DIRT)
    assert {row["_file"] for row in found} == {"signups/signups_2020-03.csv"}
    by_reason = {row["reason"]: row["content"] for row in found}
    assert by_reason["malformed_line: 3 fields instead of 5"] == "X5,2020-03-05,north"
    assert json.loads(by_reason["duplicate_key"])["account"] == "2020030001"
    # In = out + quarantined, stage by stage.
    good = written(tiny, "signups", "2020-05") + written(tiny, "cancellations", "2020-05")
    ingest, refine = results["ingest"], results["refine"]
    assert (ingest.rows_in, ingest.rows_out, ingest.rows_quarantined) == (good + 7, good + 6, 1)
    assert (refine.rows_in, refine.rows_out, refine.rows_quarantined) == (good + 6, good, 6)
    assert count(here, "silver_signups") + 6 == count(here, "bronze_signups")
    assert len({row["account"] for row in rows(here, "silver_signups")}) == count(here, "silver_signups")


def test_a_faulty_row_stays_in_the_quarantine_once(here, tiny, run):
    tiny.soil("2020-03")
    for month in ("2020-04", "2020-04", "2020-05"):
        run(f"{month}-01", *ROWS)
    assert count(here, "quarantine_signups") == len(DIRT)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_row_whose_key_is_there_already_is_quarantined(here, tiny, run, at_once):
    path = tiny.data / "signups" / "signups_2020-02.csv"
    path.write_text(path.read_text(encoding="utf-8") + "2020010000,2020-02-20,west,9,1\n", encoding="utf-8")
    if not at_once:
        run("2020-02-01", *ROWS)
    run("2020-03-01", *ROWS)
    (duplicate,) = rows(here, "quarantine_signups")
    assert (duplicate["reason"], duplicate["_file"]) == ("duplicate_key", "signups/signups_2020-02.csv")
    (kept,) = [row for row in rows(here, "silver_signups") if row["account"] == "2020010000"]
    assert kept["_file"] == "signups/signups_2020-01.csv"


def repaired_later(tiny: TinyFolder) -> None:
    """A faulty row in January, and the same account without fault in February."""
    for month, price in (("2020-01", "-5"), ("2020-02", "5")):
        path = tiny.data / "signups" / f"signups_{month}.csv"
        path.write_text(f"{path.read_text(encoding='utf-8')}Z1,{month}-10,north,{price},2\n", encoding="utf-8")


def test_a_row_delivered_again_without_its_fault_goes_on(here, tiny, run):
    repaired_later(tiny)
    run("2020-02-01", *ROWS)
    run("2020-03-01", *ROWS)
    assert [row["price"] for row in rows(here, "silver_signups") if row["account"] == "Z1"] == [5.0]


def test_a_row_delivered_again_without_its_fault_goes_on_when_both_are_refined_at_once(here, tiny, run):
    repaired_later(tiny)
    run("2020-03-01", *ROWS)
    assert [row["price"] for row in rows(here, "silver_signups") if row["account"] == "Z1"] == [5.0]


def test_a_replay_at_an_earlier_time_sees_nothing_later(here, tiny, run):
    """Run up to July first, then look as of May: the labels are those that a first run at May gives."""
    run("2020-07-01", *ROWS)
    use_case = open_tiny(here, tiny.folder)
    spine, may = use_case.label_spine(), first_of("2020-05")
    later = known_labels(here, use_case.namespace, spine, may)
    before = state(here)
    results = run("2020-05-01", *ROWS)
    assert all(result.skipped for result in results.values())
    assert state(here) == before
    here.catalog = next(CATALOGS)
    run_tiny(here, tiny.folder, "2020-05-01", ROWS)
    use_case = open_tiny(here, tiny.folder)
    fresh = known_labels(here, use_case.namespace, spine, may)
    assert later.digest == fresh.digest
    assert later.rows.num_rows == fresh.rows.num_rows > 0


def test_a_label_is_known_when_its_horizon_is_over_and_not_a_day_before(here, tiny, run):
    run("2020-06-01", *ROWS)
    horizon = Duration.parse("3 months")
    for row in rows(here, "gold_labels"):
        assert row["label_known_at"] == horizon.after(row["signed_up_at"]) <= first_of("2020-06")
    cancelled = {row["account"]: row["cancelled_at"] for row in rows(here, "silver_cancellations")}
    spine = {row["account"]: row["signed_up_at"] for row in rows(here, "gold_spine")}
    labels = {row["account"]: row["cancelled"] for row in rows(here, "gold_labels")}
    assert labels == {
        account: float(account in cancelled and cancelled[account] <= horizon.after(signed_up))
        for account, signed_up in spine.items()
        if horizon.after(signed_up) <= first_of("2020-06")
    }


def test_before_the_first_label_is_known_there_is_none(here, tiny, run):
    run("2020-02-01", *ROWS)
    use_case = open_tiny(here, tiny.folder)
    with pytest.raises(LabelError, match="No label of tiny is known at 2020-02-01"):
        known_labels(here, use_case.namespace, use_case.label_spine(), first_of("2020-02"))


def test_features_count_only_what_happened_before_the_row(in_may):
    here, _, _ = in_may
    regions = {row["account"]: row["region"] for row in rows(here, "silver_signups")}
    events = [(regions[row["account"]], row["cancelled_at"]) for row in rows(here, "silver_cancellations")]
    found = rows(here, "features_region")
    assert found
    for row in found:
        assert row["known_at"] <= first_of("2020-05")
        before = sum(1 for region, at in events if region == row["region"] and at < row["known_at"])
        assert row["region_cancellations"] == before


def test_the_record_of_a_run_pins_what_was_read(in_may):
    here, _, _ = in_may
    recorded = {
        row["stage"]: row for row in here.tables.to_arrow(f"{here.catalog}.ops.stage_runs", at_most=10**6).to_pylist()
    }
    assert {stage: row["status"] for stage, row in recorded.items()} == dict.fromkeys(STAGES, "done")
    for table, version in json.loads(recorded["refine"]["inputs"]).items():
        assert here.tables.to_arrow(table, at_most=10**6, version=version).num_rows > 0
    assert name(here, "bronze_signups") in json.loads(recorded["refine"]["inputs"])


def _said(result):
    """What a stage records, without what is for the next run only."""
    return result.details.shown()


def test_a_view_as_of_a_time_holds_no_row_of_a_file_that_landed_later(here, tiny, run):
    """April's rows of the first days are known in the middle of April, and their file comes in May."""
    run("2020-06-01", *ROWS)
    asked = parse_as_of("2020-04-15")
    context = open_tiny(here, tiny.folder).context(here, asked, "run")
    now = here.tables.to_arrow(Namespace(here.catalog, NAME).silver("signups"), at_most=10**6).to_pylist()
    early = [row for row in now if first_of("2020-04") <= row["signed_up_at"] <= asked]
    assert early
    found = here.frames.of(view_at(context).read("silver_signups"))
    rows = here.frames.collect(found.select("account"), at_most=10**6, what="rows").column("account").to_pylist()
    assert rows
    assert not set(rows) & {row["account"] for row in early}
