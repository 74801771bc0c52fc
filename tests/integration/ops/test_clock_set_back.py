"""A clock that was ahead and was set back: what it dated into the future neither hides nor outranks what came after."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlplatform.naming import CHAMPION, Namespace
from mlplatform.ops import records
from mlplatform.ops.stage_runs import RunLog
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.homes import Homes
from tests.support.state import business_state, differences
from tests.support.tiny_gate import back
from tests.support.tiny_runs import clone, run_tiny
from tests.support.tiny_use_case import TinyFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST, SECOND = Homes.FIRST, Homes.SECOND
NAMESPACE = Namespace("dev", "tiny")
AHEAD = timedelta(days=40)


@pytest.fixture
def ahead(tmp_path: Path, homes: Homes) -> Iterator[LocalWorkspace]:
    """A workspace after one run, made when the clock was forty days ahead."""
    with LocalWorkspace.open(root=clone(homes.first, tmp_path / "home")) as ws:
        for table in records.TABLES:
            name = table.full_name(NAMESPACE)
            rows = ws.tables.to_arrow(name, at_most=10**5) if table.by_clock else pa.table({})
            if rows.num_rows:
                place = rows.schema.get_field_index(table.order_by)
                later = pc.add(rows.column(place), pa.scalar(AHEAD, pa.duration("us")))
                ws.tables.overwrite(name, rows.set_column(place, rows.schema.field(place), later))
        yield ws


def state_of(ws: LocalWorkspace) -> dict[str, Any]:
    return business_state(ws, NAMESPACE)


@pytest.mark.slow
def test_runs_go_on_as_if_nothing_had_been(ahead: LocalWorkspace, homes: Homes, tmp_path: Path) -> None:
    run_tiny(ahead, homes.tiny.folder, SECOND)
    with LocalWorkspace.open(root=clone(homes.second, tmp_path / "undisturbed")) as undisturbed:
        assert differences(state_of(ahead), state_of(undisturbed)) == {}
    moments = [record.as_of.isoformat()[:10] for record in RunLog(ahead, NAMESPACE).records()]
    assert moments == sorted(moments)
    assert moments[-1] == SECOND
    # Again changes nothing: the newest record is that of the newest run.
    before = state_of(ahead)
    run_tiny(ahead, homes.tiny.folder, SECOND)
    assert differences(before, state_of(ahead)) == {}
    # The newest decision is the last one.
    back(ahead, homes.tiny)
    assert ahead.registry.aliases(NAMESPACE.model)[CHAMPION] == 1
    events = records.GATE_DECISIONS.read(ahead, NAMESPACE)
    assert [event.challenger_version for event in events if event.event == "applied"] == [1, 2, 1]
    assert events[-1].recorded_at > datetime.now(UTC) + AHEAD / 2


def event(moment: datetime, version: int) -> records.GateEvent:
    return records.GateEvent(
        decision_id=f"d{version}", event="applied", kind="gate", use_case="tiny", model="m", as_of=moment,
        outcome="promoted", reason="", challenger_version=version, recorded_at=moment,
    )  # fmt: skip


def test_a_record_comes_after_those_that_exist_whatever_the_clock_says(
    ws: LocalWorkspace,
) -> None:
    records.ensure(ws, NAMESPACE)
    now = datetime.now(UTC)
    past, future = now - timedelta(days=1), now + AHEAD
    moments = (past, now, future, now, now + timedelta(days=1))
    for version, moment in enumerate(moments, start=1):
        records.GATE_DECISIONS.append(ws, NAMESPACE, [event(moment, version)])
    read = records.GATE_DECISIONS.read(ws, NAMESPACE)
    assert [item.challenger_version for item in read] == [1, 2, 3, 4, 5]
    assert [item.recorded_at for item in read[:3]] == [past, now, future]
    assert future < read[3].recorded_at < read[4].recorded_at < future + timedelta(seconds=1)
    # Of another use case nothing is in the future.
    other = Namespace("dev", "other")
    records.GATE_DECISIONS.append(ws, other, [replace(event(now, 1), use_case="other")])
    assert [item.recorded_at for item in records.GATE_DECISIONS.read(ws, other)] == [now]
    # Several at once keep their order.
    pair = [event(now, 6), event(now + timedelta(seconds=1), 7)]
    records.GATE_DECISIONS.append(ws, NAMESPACE, pair)
    assert [item.challenger_version for item in records.GATE_DECISIONS.read(ws, NAMESPACE)][-2:] == [6, 7]


@pytest.mark.slow
def test_a_file_that_changed_since_is_noticed(ahead: LocalWorkspace, homes: Homes, tmp_path: Path) -> None:
    """By comparing times a file that changed before the date of the record would pass for one that was looked at."""
    folder = TinyFolder(clone(homes.tiny.folder, tmp_path / "tiny"), homes.tiny.rows)
    run_tiny(ahead, folder.folder, FIRST, ["ingest"])  # other files, so they are looked at once
    path = folder.data / "signups" / "signups_2020-01.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("north", "south", 1), encoding="utf-8")
    done = run_tiny(ahead, folder.folder, FIRST, ["ingest"])
    assert done.details("ingest")["changed_after_ingestion"] == ["signups/signups_2020-01.csv"]
