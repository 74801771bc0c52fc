"""Several processes in one home at once: what they leave is what they leave one after the other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlplatform.naming import CHAMPION, Namespace
from mlplatform.ops import records
from mlplatform.ops.stage_runs import RunLog
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support import at_once
from tests.support.at_once import Work
from tests.support.homes import Homes
from tests.support.state import business_state, differences
from tests.support.tiny_runs import clone, run_tiny

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST, SECOND, THIRD = Homes.FIRST, "2020-10-01", Homes.SECOND


@pytest.fixture
def both(tmp_path: Path, homes: Homes) -> Callable[..., list[str]]:
    """Do works at once in one copy of a base and one after the other in another; both end alike."""

    def compare(base: Path, works: list[Work], *then: Work, names: tuple[str, ...] = ("tiny",)) -> list[str]:
        apart, together = clone(base, tmp_path / "apart"), clone(base, tmp_path / "together")
        at_once.one_after_the_other(apart, [*works, *then])
        told = at_once.at_once(together, works)
        at_once.one_after_the_other(together, then)
        for name in names:
            assert differences(*(state_of(root, name) for root in (apart, together))) == {}
        return told

    return compare


def state_of(root: Path, name: str = "tiny") -> dict[str, Any]:
    with LocalWorkspace.open(root=root) as ws:
        return business_state(ws, Namespace(ws.catalog, name))


def counted(root: Path) -> Counter[str]:
    """Return how many rows the record of runs says that each stage took, in all."""
    with LocalWorkspace.open(root=root) as ws:
        rows: Counter[str] = Counter()
        for record in RunLog(ws, Namespace(ws.catalog, "tiny")).records():
            for kind in ("rows_in", "rows_out", "rows_quarantined"):
                if record.stage in ("ingest", "refine", "score"):
                    rows[f"{record.stage} {kind}"] += getattr(record, kind) or 0
        return rows


def test_two_runs_at_once_of_different_times_lose_nothing_and_count_each_row_once(
    both: Callable[..., list[str]], homes: Homes, tmp_path: Path
) -> None:
    told = both(
        homes.first, [Work(at_once.run, SECOND, homes.tiny.folder), Work(at_once.run, THIRD, homes.tiny.folder)]
    )
    assert told == ["", ""]
    assert counted(tmp_path / "together") == counted(tmp_path / "apart")


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(3))
def test_runs_at_once_in_a_new_home_lose_nothing(
    both: Callable[..., list[str]], homes: Homes, tmp_path: Path, turn: int
) -> None:
    del turn
    works = [Work(at_once.run_twice, moment, homes.tiny.folder) for moment in (FIRST, FIRST, FIRST)]
    assert both(homes.empty, works, Work(at_once.run, THIRD, homes.tiny.folder)) == ["", "", ""]
    assert counted(tmp_path / "together") == counted(tmp_path / "apart")


@pytest.mark.slow
def test_scoring_while_a_feature_table_is_computed_anew(both: Callable[..., list[str]], homes: Homes) -> None:
    works = [Work(at_once.backfill, FIRST, homes.tiny.folder), Work(at_once.score, FIRST, homes.tiny.folder)]
    assert both(homes.first, works, Work(at_once.run, SECOND, homes.tiny.folder)) == ["", ""]


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
def test_eight_use_cases_at_once_in_one_home(both: Callable[..., list[str]], homes: Homes) -> None:
    names = tuple(f"tiny{number}" for number in range(8))
    works = [Work(at_once.run, FIRST, homes.tiny.folder, name) for name in names]
    assert both(homes.empty, works, names=names) == [""] * 8
