"""The timeline of a use case whose record has grown long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlplatform.naming import Namespace
from mlplatform.ops import record_table, records, stage_runs
from mlplatform.ops.result import Details, StageResult
from mlplatform.ops.stage_runs import RunLog, StageRun
from mlplatform.reporting import timeline
from mlplatform.workspace.local.workspace import LocalWorkspace

NS = Namespace("dev", "one")
START = datetime(2024, 1, 1, tzinfo=UTC)


def test_of_more_records_than_are_read_at_once_the_newest_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for module in (record_table, timeline):
        monkeypatch.setattr(module, "MOST_RECORDS", 3)
    with LocalWorkspace.open(root=tmp_path) as ws:
        records.ensure(ws, NS)
        log = RunLog(ws, NS)
        moments = [START + timedelta(days=day) for day in range(5)]
        for moment in moments:
            log.record(
                StageRun("run", "one", "score", moment, stage_runs.DONE, moment, 1.0, StageResult(details=Details()))
            )
        assert [step.as_of for step in timeline.read(ws, NS, "auc")] == moments[-3:]
