"""What data profiling looks at: predictions completed with labels, the champion's holdout as baseline, refreshed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.monitoring import profiling
from mlplatform.naming import CHAMPION
from mlplatform.stages import setup_of
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_gate import MODEL, NAMESPACE, context
from tests.support.tiny_runs import clone, open_tiny, run_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LABELLED, BASELINE = NAMESPACE.gold("labelled_predictions"), NAMESPACE.gold("profile_baseline")
FIRST, LATER = "2020-07-01", "2020-11-01"


class Profiles:
    """Data profiling that notes what is asked."""

    offered = True

    def __init__(self) -> None:
        self.ensured: list[Any] = []
        self.refreshed: list[str] = []

    def ensure(self, _: Any, profile: Any) -> str:
        self.ensured.append(profile)
        return "created" if len(self.ensured) == 1 else "changed"

    def refresh(self, table: Any) -> str:
        self.refreshed.append(str(table))
        return "started"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    return write_tiny_use_case(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def profiles(monkeypatch: pytest.MonkeyPatch) -> Profiles:
    asked = Profiles()
    monkeypatch.setattr(LocalWorkspace, "monitors", asked)
    return asked


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> Path:
    """A closed workspace of which nothing is profiled or monitored yet."""
    root = tmp_path_factory.mktemp("scored") / "home"
    with LocalWorkspace.open(root=root) as ws:
        run_tiny(ws, tiny.folder, FIRST, ["ingest", "refine", "features", "train", "gate", "score"])
    return root


@pytest.fixture
def home(tmp_path: Path, scored: Path, profiles: Profiles) -> Iterator[LocalWorkspace]:
    with LocalWorkspace.open(root=clone(scored, tmp_path / "home")) as ws:
        yield ws


def test_each_monitoring_completes_what_is_profiled_and_refreshes_it(home, tiny, profiles):
    setup_of(tiny.open(home)).run(context(home, tiny))
    first = run_tiny(home, tiny.folder, FIRST, ["monitor"]).details("monitor")["profiling"]
    predicted = home.tables.to_arrow(NAMESPACE.gold("predictions"), at_most=10**6, filters=[("alias", "=", CHAMPION)])
    keys = [*open_tiny(home, tiny.folder).label_spine().primary_keys, "model_version", "prediction"]

    def rows(name: Any = LABELLED) -> pa.Table:
        return home.tables.to_arrow(name, at_most=10**6)

    def sorted_keys(table: pa.Table) -> list[dict[str, Any]]:
        return table.select(keys).sort_by([(key, "ascending") for key in keys]).to_pylist()

    assert sorted_keys(rows()) == sorted_keys(predicted)
    assert rows().column("label").null_count == rows().num_rows == first["rows"], "no label can be known yet"
    assert first["refresh"] == "started"
    # The baseline is the champion's holdout: what it was not fitted on, with labels, none of which training knew later.
    version = home.registry.get(MODEL, home.registry.aliases(MODEL)[CHAMPION])
    baseline = rows(BASELINE)
    assert set(baseline.column("model_version").to_pylist()) == {version.version}
    assert baseline.column("label").null_count == 0
    time = open_tiny(home, tiny.folder).label_spine().prediction_time
    through = parse_as_of(version.tags["trained_through"])
    assert min(baseline.column(time).to_pylist()) > through
    assert baseline.num_rows == first["baseline_rows"]
    assert [profile.baseline for profile in profiles.ensured] == [None, BASELINE]
    assert first["profile"] == "changed"

    done = run_tiny(home, tiny.folder, LATER, ["ingest", "refine", "features", "score", "monitor"])
    later = done.details("monitor")["profiling"]
    assert 0 < later["rows"] <= rows().num_rows
    assert "baseline_rows" not in later, "the champion is the same"
    known = rows().filter(pa.compute.is_valid(rows().column("label")))
    assert 0 < known.num_rows < rows().num_rows
    spine = open_tiny(home, tiny.folder).label_spine()
    labels = {
        tuple(row[key] for key in spine.primary_keys): float(row[spine.label])
        for row in home.tables.to_arrow(NAMESPACE.gold("labels"), at_most=10**6).to_pylist()
    }
    assert all(labels[tuple(row[key] for key in spine.primary_keys)] == row["label"] for row in known.to_pylist())
    versions = [home.tables.version(name) for name in (LABELLED, BASELINE)]
    again = profiling.update(context(home, tiny, LATER), spine, ())
    assert again is not None
    assert (again.rows, again.baseline_rows, again.refresh) == (0, None, "started")
    assert [home.tables.version(name) for name in (LABELLED, BASELINE)] == versions
    assert profiles.refreshed == [str(LABELLED)] * 3


def test_without_a_setup_monitoring_profiles_nothing(home, tiny, profiles):
    details = run_tiny(home, tiny.folder, FIRST, ["monitor"]).details("monitor")
    assert "profiling" not in details
    assert profiles.refreshed == []


def test_a_refresh_that_fails_is_an_alert_and_keeps_nothing_else_from_being_done(home, tiny, profiles, monkeypatch):
    setup_of(tiny.open(home)).run(context(home, tiny))
    monkeypatch.setattr(profiles, "refresh", lambda _: (_ for _ in ()).throw(RuntimeError("no answer")))
    details = run_tiny(home, tiny.folder, FIRST, ["monitor"]).details("monitor")
    assert any("data profiling: RuntimeError: no answer" in alert["message"] for alert in details["alerts"])
    assert details["worst_drift"] is not None
