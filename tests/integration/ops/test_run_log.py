"""The record of runs: read at once while it is short; of a long one the newest runs of each stage asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlplatform.errors import TableError
from mlplatform.naming import Namespace
from mlplatform.ops import record_table, records, stage_runs
from mlplatform.ops.records import STAGE_RUNS
from mlplatform.ops.result import Details, StageResult
from mlplatform.ops.stage_runs import RunLog, StageRun
from mlplatform.workspace.local.workspace import LocalWorkspace

if TYPE_CHECKING:
    from collections.abc import Iterator

NS, OTHER = Namespace("dev", "one"), Namespace("dev", "other")
START = datetime(2024, 1, 1, tzinfo=UTC)
STEPS = 12


def run(step: int, stage: str, use_case: str = "one", status: str = stage_runs.DONE) -> StageRun[Details]:
    moment = START + timedelta(days=step)
    result = StageResult(details=Details(notes=[f"{stage} {step}"]))
    return StageRun(f"run{step}", use_case, stage, moment, status, moment + timedelta(hours=1), 1.0, result)


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkspace]:
    root: Path = tmp_path_factory.mktemp("home")
    with LocalWorkspace.open(root=root) as opened:
        records.ensure(opened, NS)
        log, other = RunLog(opened, NS), RunLog(opened, OTHER)
        log.record(run(0, stage_runs.ADOPT))
        for step in range(STEPS):
            for stage in ("train", "score"):
                log.record(run(step, stage))
            other.record(run(step, "score", "other"))
        yield opened


@pytest.fixture(params=[1000, 5])
def recent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many runs are looked at: more than there are, and fewer."""
    monkeypatch.setattr(stage_runs, "RECENT", request.param)
    return int(request.param)


def notes(runs: list[StageRun[Details]]) -> list[str]:
    return [run.details.notes[0] for run in runs]


def test_the_newest_runs_of_a_stage_are_found_however_old_they_are(ws, recent):
    log = RunLog(ws, NS)
    expected = [f"score {step}" for step in range(STEPS)][-recent:]
    assert notes(log.runs_of("score", Details)) == expected
    # An adoption, long ago.
    assert notes(log.runs_of(stage_runs.ADOPT, Details)) == ["adopt 0"]
    assert log.runs("gate") == []


def test_runs_are_cut_by_time_and_number(ws, recent):
    log = RunLog(ws, NS)
    since, until = START + timedelta(days=8), START + timedelta(days=10)
    assert notes(log.runs_of("score", Details, since=since, until=until)) == ["score 8", "score 9", "score 10"]
    assert notes(log.runs_of("score", Details, until=until, newest=2)) == ["score 9", "score 10"]
    assert len(log.ended_well_at("train", until)) == 1


def test_a_run_that_ended_well_is_found_however_many_came_after_it(ws, recent):
    """Else what is done would be done again by another champion."""
    log = RunLog(ws, NS)
    assert [record.run_id for record in log.ended_well_at("score", START)] == ["run0"]
    assert log.is_whole() == log.is_whole("score") == (recent > STEPS)
    assert log.is_whole(stage_runs.ADOPT)


def test_all_rows_of_a_stage_are_to_be_had(ws, recent):
    log = RunLog(ws, NS)
    assert [record.run_id for record in log.all_records("score")] == [f"run{step}" for step in range(STEPS)]
    since, until = START + timedelta(days=1), START + timedelta(days=2)
    assert [record.run_id for record in log.all_records("score", since=since, until=until)] == ["run1", "run2"]


def test_all_stages_of_a_stretch_are_found(ws, recent):
    found = RunLog(ws, NS).between(START, START + timedelta(days=1))
    expected = [(stage_runs.ADOPT, 1), ("score", 1), ("score", 2), ("train", 1), ("train", 2)]
    assert sorted((record.stage, record.as_of.day) for record in found) == expected


def test_what_is_recorded_is_known_at_once(ws, recent):
    log = RunLog(ws, OTHER)
    before = len(log.runs("score"))
    log.record(run(20, "score", "other", stage_runs.FAILED))
    assert notes(log.runs_of("score", Details))[-1] == "score 20"
    assert len(log.runs("score")) == before + 1
    assert log.ended_well_at("score", START + timedelta(days=20)) == []


def test_more_records_than_are_read_at_once_are_an_error_with_their_number(ws, monkeypatch):
    monkeypatch.setattr(record_table, "MOST_RECORDS", 10)
    with pytest.raises(TableError, match="at most 10 may be collected"):
        STAGE_RUNS.read(ws, NS)
    assert len(STAGE_RUNS.newest(ws, NS, 10)) == 10
    assert STAGE_RUNS.newest(ws, Namespace("nowhere", "one"), 10) == []
