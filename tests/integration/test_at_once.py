"""Several processes in one home at once: what they leave is what they leave one after the other."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mlplatform.naming import CHAMPION, Namespace
from mlplatform.ops import records
from mlplatform.ops.stage_runs import RunLog
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support import at_once
from tests.support.at_once import Work
from tests.support.homes import Homes
from tests.support.state import business_state, differences, table_rows
from tests.support.tiny_runs import clone, run_tiny
from tests.support.tiny_use_case import write_tiny_use_case

FIRST, BETWEEN, SECOND = Homes.FIRST, "2020-10-01", Homes.SECOND
COMPUTED = ("bronze_", "silver_", "quarantine_", "features_", "gold_spine", "gold_labels")


def state_of(root: Path, name: str = "tiny") -> dict[str, Any]:
    with LocalWorkspace.open(root=root, read_only=True) as ws:
        return business_state(ws, Namespace(ws.catalog, name))


def computed(root: Path, name: str = "tiny") -> dict[str, list[str]]:
    """Return the rows of the tables that do not depend on when which run came: by table, without the batch's number."""
    with LocalWorkspace.open(root=root, read_only=True) as ws:
        tables = [table for table in ws.tables.list("dev", name) if table.startswith(COMPUTED)]
        rows = {table: map(json.loads, table_rows(ws, f"dev.{name}.{table}")) for table in tables}
        return {
            table: sorted(json.dumps({**row, "_batch": None}, sort_keys=True) for row in held)
            for table, held in rows.items()
        }


def predicted(root: Path, name: str = "tiny") -> list[str]:
    """Return the accounts that a champion scored, as often as it did."""
    with LocalWorkspace.open(root=root, read_only=True) as ws:
        filters = [("alias", "=", CHAMPION)]
        rows = ws.tables.to_arrow(f"dev.{name}.gold_predictions", at_most=10**6, columns=["account"], filters=filters)
        return sorted(rows.column("account").to_pylist())


def counted(root: Path, name: str = "tiny") -> Counter[str]:
    """Return how many rows the record of runs says that came in, went on and were quarantined, in all."""
    with LocalWorkspace.open(root=root, read_only=True) as ws:
        rows: Counter[str] = Counter()
        for record in RunLog(ws, Namespace("dev", name)).records():
            for kind in ("rows_in", "rows_out", "rows_quarantined") if record.stage in ("ingest", "refine") else ():
                rows[f"{record.stage} {kind}"] += getattr(record, kind) or 0
        return rows


def test_two_runs_that_compute_at_once_lose_nothing_and_count_each_row_once(tmp_path: Path) -> None:
    tiny = write_tiny_use_case(tmp_path / "use_cases", months=4, rows_a_month=40)
    tiny.soil()
    works = [Work(at_once.compute, moment, tiny.folder) for moment in ("2020-04-01", "2020-05-01")]
    together, apart = tmp_path / "together", tmp_path / "apart"
    assert at_once.at_once(together, works) == ["", ""]
    at_once.one_after_the_other(apart, works)
    assert differences(computed(together), computed(apart)) == {}
    assert counted(together) == counted(apart)


@pytest.mark.slow
def test_two_runs_at_once_of_different_times_lose_nothing_and_count_each_row_once(homes: Homes, tmp_path: Path) -> None:
    root = clone(homes.first, tmp_path / "home")
    works = [Work(at_once.run, moment, homes.tiny.folder) for moment in (BETWEEN, SECOND)]
    assert at_once.at_once(root, works) == ["", ""]
    assert differences(computed(root), computed(homes.second)) == {}
    assert counted(root) == counted(homes.second)
    # Whoever came first, everybody is scored once.
    assert predicted(root) == predicted(homes.second)


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(2))
def test_runs_at_once_in_a_new_home_are_one_run(homes: Homes, tmp_path: Path, turn: int) -> None:
    del turn
    root = clone(homes.empty, tmp_path / "home")
    works = [Work(at_once.run_twice, FIRST, homes.tiny.folder)] * 3
    assert at_once.at_once(root, works) == ["", "", ""]
    assert differences(state_of(root), state_of(homes.first)) == {}
    assert counted(root) == counted(homes.first)


@pytest.mark.slow
def test_scoring_while_a_feature_table_is_computed_anew(homes: Homes, tmp_path: Path) -> None:
    apart = clone(homes.first, tmp_path / "apart")
    folder = homes.tiny.folder
    with LocalWorkspace.open(root=apart) as ws:
        run_tiny(ws, folder, SECOND, ["ingest", "refine", "features"])
    together = clone(apart, tmp_path / "together")
    works = [Work(at_once.backfill, SECOND, folder), Work(at_once.score, SECOND, folder)]
    at_once.one_after_the_other(apart, works)
    assert at_once.at_once(together, works) == ["", ""]
    assert differences(state_of(together), state_of(apart)) == {}


@pytest.mark.slow
def test_gate_promotion_and_rollback_at_once_leave_what_the_record_says(homes: Homes, tmp_path: Path) -> None:
    root = clone(homes.first, tmp_path / "home")
    with LocalWorkspace.open(root=root) as ws:
        run_tiny(ws, homes.tiny.folder, SECOND, ["ingest", "refine", "features", "train"])
    for turn in range(3):
        acts = (at_once.gate, at_once.promote, at_once.roll_back)
        at_once.at_once(root, [Work(act, SECOND, homes.tiny.folder) for act in acts])
        with LocalWorkspace.open(root=root) as ws:
            namespace = Namespace(ws.catalog, "tiny")
            events = records.GATE_DECISIONS.read(ws, namespace)
            applied = [event for event in events if event.event == "applied"]
            assert ws.registry.aliases(namespace.model)[CHAMPION] == applied[-1].challenger_version, turn
            # Every decision came to an end, once.
            ends = Counter(event.decision_id for event in events if event.event in ("applied", "stale"))
            assert set(ends.values()) <= {1}
            began = {event.decision_id for event in events if event.outcome == "promoted"}
            assert began <= set(ends)
            # What each one put in the other's place was there.
            assert all(one.challenger_version != one.champion_version for one in applied)


@pytest.mark.slow
def test_eight_use_cases_at_once_in_one_home(homes: Homes, tmp_path: Path) -> None:
    root = clone(homes.empty, tmp_path / "home")
    names = [f"tiny{number}" for number in range(8)]
    assert at_once.at_once(root, [Work(at_once.run, FIRST, homes.tiny.folder, name) for name in names]) == [""] * 8
    for name in names:
        assert differences(computed(root, name), computed(homes.first)) == {}
        assert predicted(root, name) == predicted(homes.first)
        assert counted(root, name) == counted(homes.first)
