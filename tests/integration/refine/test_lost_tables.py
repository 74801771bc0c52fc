"""A table that is gone, or another one in its place, is computed whole: never its newest rows only."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deltalake import DeltaTable

from mlplatform.ops.record_table import RecordTable
from mlplatform.ops.records import STAGE_RUNS
from mlplatform.workspace.local import journal
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.crossed import crossed, every
from tests.support.state import table_rows
from tests.support.tiny_runs import clone, run_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STAGES = ["ingest", "refine", "features"]
BEFORE, NOW = "2020-06-01", "2020-07-01"
_BATCH = re.compile(r'"_batch": \d+, ')
DERIVED = (
    "bronze_signups",
    "silver_signups",
    "silver_cancellations",
    "quarantine_signups",
    "gold_spine",
    "gold_labels",
    "features_region",
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    made = write_tiny_use_case(tmp_path_factory.mktemp("use_cases"), months=7, rows_a_month=30)
    made.soil()
    return made


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> Path:
    """A workspace run step by step up to `BEFORE`."""
    root = tmp_path_factory.mktemp("base") / "home"
    with LocalWorkspace.open(root=root) as ws:
        for as_of in ("2020-03-01", "2020-05-01", BEFORE):
            run_tiny(ws, tiny.folder, as_of, STAGES)
    return root


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder, base: Path) -> dict[str, Any]:
    """The tables of a workspace of which nothing was ever lost."""
    with LocalWorkspace.open(root=clone(base, tmp_path_factory.mktemp("whole") / "home")) as ws:
        run_tiny(ws, tiny.folder, NOW, STAGES)
        return contents(ws)


@pytest.fixture
def ws(tmp_path: Path, base: Path) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(base, tmp_path / "home")) as opened:
        yield opened


def contents(ws: LocalWorkspace) -> dict[str, Any]:
    # Which batch refined a row is another matter.
    return {name: [_BATCH.sub("", row) for row in table_rows(ws, full(name))] for name in DERIVED}


def full(name: str) -> str:
    return f"dev.tiny.{name}"


def folder(ws: LocalWorkspace, name: str) -> Path:
    return ws.root / "tables" / "dev" / "tiny" / name


def remove(ws: LocalWorkspace, name: str) -> None:
    shutil.rmtree(folder(ws, name))


def drop(ws: LocalWorkspace, name: str) -> None:
    ws.tables.drop(full(name))


def make_again_by_hand(ws: LocalWorkspace, name: str) -> None:
    info = ws.tables.describe(full(name))
    ws.tables.drop(full(name))
    ws.tables.create(
        full(name),
        info.schema,
        primary_keys=info.primary_keys,
        timeseries_column=info.timeseries_column,
        description=info.description,
    )


def restore(ws: LocalWorkspace, name: str) -> None:
    """As Delta's RESTORE: the rows of an earlier version, under a new one."""
    DeltaTable(str(folder(ws, name))).restore(1)


def put_back_a_copy(ws: LocalWorkspace, name: str) -> None:
    """An older copy of the folder in its place, as from a backup: fewer versions than a run recorded."""
    log = folder(ws, name) / "_delta_log"
    for entry in sorted(log.glob("*.json"))[2:]:
        entry.unlink()
    for checkpoint in (*log.glob("*.checkpoint.parquet"), *log.glob("_last_checkpoint")):
        checkpoint.unlink()
    journal.forget(folder(ws, name), 1)


HOW: dict[str, Callable[[LocalWorkspace, str], None]] = {
    "removed": remove,
    "dropped": drop,
    "made again by hand": make_again_by_hand,
    "restored": restore,
    "an older copy": put_back_a_copy,
}


@pytest.mark.parametrize(("name", "how"), crossed(DERIVED, sorted(HOW)))
def test_a_table_that_is_lost_is_computed_whole_and_said(ws, tiny, expected, name, how):
    if how in ("restored", "an older copy") and ws.tables.version(full(name)) < 2:
        pytest.skip(f"{name} has no earlier state with rows")
    HOW[how](ws, name)
    ws.tables._opened.clear()
    summary = run_tiny(ws, tiny.folder, NOW, STAGES)
    assert contents(ws) == expected
    notes = [text for run in summary.stages for text in run.result.details.notes]
    assert any(text.startswith(f"{name} was gone") for text in notes), notes
    again = run_tiny(ws, tiny.folder, NOW, STAGES)
    assert {run.status for run in again.stages} == {"skipped"}
    assert not any(run.result.details.notes for run in again.stages)


def test_all_tables_lost_at_once(ws, tiny, expected):
    for name in (*DERIVED, "bronze_cancellations"):
        remove(ws, name)
    run_tiny(ws, tiny.folder, NOW, STAGES)
    assert contents(ws) == expected


def test_an_earlier_time_computes_what_was_known_then_and_the_rest_comes_when_it_is_due(ws, tiny, expected):
    for name in ("features_region", "gold_labels", "silver_signups"):
        remove(ws, name)
    run_tiny(ws, tiny.folder, "2020-04-01", STAGES)
    assert 0 < ws.tables.to_arrow(full("features_region"), at_most=10**6).num_rows < len(expected["features_region"])
    run_tiny(ws, tiny.folder, NOW, STAGES)
    assert contents(ws) == expected


def test_a_workspace_from_before_ids_were_recorded_computes_nothing_anew(ws, tiny, expected, monkeypatch):
    forget_ids(monkeypatch)
    run_tiny(ws, tiny.folder, NOW, STAGES)
    versions = {name: ws.tables.version(full(name)) for name in DERIVED}
    again = run_tiny(ws, tiny.folder, NOW, STAGES)
    assert {run.status for run in again.stages} == {"skipped"}
    assert {name: ws.tables.version(full(name)) for name in DERIVED} == versions
    assert contents(ws) == expected


# One kind of table by day: all three are made again by hand by the test of tables that are lost.
@pytest.mark.parametrize("name", every(3, ["silver_signups", "features_region", "gold_spine"]))
def test_an_old_record_is_not_about_a_table_made_after_it(ws, tiny, expected, monkeypatch, name):
    forget_ids(monkeypatch, minutes_ago=5)
    HOW["made again by hand"](ws, name)
    run_tiny(ws, tiny.folder, NOW, STAGES)
    assert contents(ws) == expected


def forget_ids(monkeypatch: pytest.MonkeyPatch, minutes_ago: int = 0) -> None:
    """Records as they were before they held the ids of tables."""
    from datetime import timedelta

    read = RecordTable.records

    def without_ids(table: RecordTable[Any], *arguments: Any, **named: Any) -> list[Any]:
        records = read(table, *arguments, **named)
        if table is not STAGE_RUNS:
            return records
        earlier = timedelta(minutes=minutes_ago)
        return [
            replace(record, started_at=record.started_at - earlier, details=_without_ids(record.details))
            for record in records
        ]

    monkeypatch.setattr(RecordTable, "records", without_ids)


def _without_ids(details: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in details.items() if key != "tables"}
    for name, marker in kept.get("computed", {}).items():
        kept["computed"] = kept["computed"] | {name: {key: marker[key] for key in marker if key != "inputs"}}
    return kept


def test_files_that_silver_holds_and_nobody_has_any_more_are_named(ws, tmp_path, tiny):
    own = tmp_path / "own"
    shutil.copytree(tiny.folder, own / "tiny")
    before = table_rows(ws, full("silver_signups"))
    remove(ws, "bronze_signups")
    (own / "tiny" / "data" / "signups" / "signups_2020-02.csv").unlink()
    summary = run_tiny(ws, own / "tiny", BEFORE, STAGES)
    (note,) = summary.details("ingest")["notes"]
    assert "4 file(s) were ingested again. 1 file(s) whose rows silver holds are no longer" in note
    assert table_rows(ws, full("silver_signups")) == before


def test_nothing_is_lost_where_nothing_was_recorded(tmp_path, tiny):
    with LocalWorkspace.open(root=tmp_path / "new") as ws:
        summary = run_tiny(ws, tiny.folder, BEFORE, STAGES)
        texts = [text for run in summary.stages for text in run.result.details.notes]
    assert not [text for text in texts if "gone" in text]
