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
from tests.support.state import business_state, differences
from tests.support.tiny_runs import clone, run_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST, SECOND, THIRD = "2020-08-01", "2020-10-01", "2020-11-01"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    folder = write_tiny_use_case(tmp_path_factory.mktemp("use_cases"), rows_a_month=150, gate={"margin": 0.2})
    folder.soil()
    return folder


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> dict[str, Path]:
    """Closed workspaces to go on from: empty, and with a champion."""
    folder = tmp_path_factory.mktemp("bases")
    root = folder / "live"
    found = {}
    with LocalWorkspace.open(root=root) as ws:
        assert ws.registry.aliases("dev.tiny.model") == {}
        found["empty"] = clone(root, folder / "empty")
        run_tiny(ws, tiny.folder, FIRST)
        found["first"] = clone(root, folder / "first")
    return found


@pytest.fixture
def both(tmp_path: Path, bases: dict[str, Path]) -> Callable[..., list[str]]:
    """Do works at once in one copy of a base and one after the other in another; both end alike."""

    def compare(base: str, works: list[Work], *then: Work, names: tuple[str, ...] = ("tiny",)) -> list[str]:
        apart, together = clone(bases[base], tmp_path / "apart"), clone(bases[base], tmp_path / "together")
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
    both: Callable[..., list[str]], tiny: TinyFolder, tmp_path: Path
) -> None:
    told = both("first", [Work(at_once.run, SECOND, tiny.folder), Work(at_once.run, THIRD, tiny.folder)])
    assert told == ["", ""]
    assert counted(tmp_path / "together") == counted(tmp_path / "apart")


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(3))
def test_runs_at_once_in_a_new_home_lose_nothing(
    both: Callable[..., list[str]], tiny: TinyFolder, tmp_path: Path, turn: int
) -> None:
    del turn
    works = [Work(at_once.run_twice, moment, tiny.folder) for moment in (FIRST, FIRST, FIRST)]
    assert both("empty", works, Work(at_once.run, THIRD, tiny.folder)) == ["", "", ""]
    assert counted(tmp_path / "together") == counted(tmp_path / "apart")


@pytest.mark.slow
def test_scoring_while_a_feature_table_is_computed_anew(both: Callable[..., list[str]], tiny: TinyFolder) -> None:
    works = [Work(at_once.backfill, FIRST, tiny.folder), Work(at_once.score, FIRST, tiny.folder)]
    assert both("first", works, Work(at_once.run, SECOND, tiny.folder)) == ["", ""]


@pytest.mark.slow
def test_gate_promotion_and_rollback_at_once_leave_what_the_record_says(
    bases: dict[str, Path], tiny: TinyFolder, tmp_path: Path
) -> None:
    root = clone(bases["first"], tmp_path / "home")
    with LocalWorkspace.open(root=root) as ws:
        run_tiny(ws, tiny.folder, SECOND, ["ingest", "refine", "features", "train"])
    for turn in range(3):
        acts = (at_once.gate, at_once.promote, at_once.roll_back)
        at_once.at_once(root, [Work(act, SECOND, tiny.folder) for act in acts])
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
def test_eight_use_cases_at_once_in_one_home(both: Callable[..., list[str]], tiny: TinyFolder) -> None:
    names = tuple(f"tiny{number}" for number in range(8))
    works = [Work(at_once.run, FIRST, tiny.folder, name) for name in names]
    assert both("empty", works, names=names) == [""] * 8
