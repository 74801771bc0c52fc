"""Training on events of rows that are not mature: which rows, honest as of its time, and what others make of it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
import pytest

from mlplatform.as_of import Duration, parse_as_of
from mlplatform.errors import ConfigError
from mlplatform.gate.evaluation import gather
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.pipeline import Pipeline
from mlplatform.training.immature_rows import immature_rows
from mlplatform.training.label_frame import KnownLabels, known_labels
from mlplatform.training.version_tags import learned_events
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_dated import DatedTiny
from tests.support.tiny_runs import clone, run_tiny
from tests.support.tiny_use_case import NAME, TinyFolder, first_of, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NS = Namespace("dev", NAME)
PREPARE = ["ingest", "refine", "features"]
FIRST, SECOND = "2020-08-01", "2020-11-01"
WEIGHTED = {"immature_rows": "weighted"}
HORIZON = Duration.parse("3 months")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    return write_tiny_use_case(tmp_path_factory.mktemp("weighted"), gate={"margin": 0.2}, training=WEIGHTED)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> Path:
    """A closed workspace: version 1 is champion and has scored."""
    folder = tmp_path_factory.mktemp("trained")
    with LocalWorkspace.open(root=folder / "live") as ws:
        Pipeline(ws, opened(ws, tiny), parse_as_of(FIRST)).run()
    return clone(folder / "live", folder / "kept")


@pytest.fixture
def open_copy(tmp_path: Path, trained: Path) -> Iterator[Callable[[], LocalWorkspace]]:
    copies: list[LocalWorkspace] = []

    def open_one() -> LocalWorkspace:
        copies.append(LocalWorkspace.open(root=clone(trained, tmp_path / f"copy{len(copies)}")))
        return copies[-1]

    yield open_one
    for ws in copies:
        ws.close()
        shutil.rmtree(ws.root)


def opened(ws: LocalWorkspace, tiny: TinyFolder) -> Any:
    return DatedTiny.open(NAME, tiny.folder, ws)


def rows_at(ws: LocalWorkspace, tiny: TinyFolder, as_of: str) -> Any:
    spine, moment = opened(ws, tiny).label_spine(), parse_as_of(as_of)
    return immature_rows(ws, NS, spine, moment, known_labels(ws, NS, spine, moment), None)


def test_events_of_rows_that_are_not_mature_come_with_their_weights(open_copy, tiny):
    ws = open_copy()
    found = rows_at(ws, tiny, FIRST)
    times = found.frame.rows["signed_up_at"].to_pylist()
    assert all(HORIZON.after(time) > parse_as_of(FIRST) for time in times)
    assert set(found.frame.rows["cancelled"].to_pylist()) == {1.0}
    known = ws.tables.to_arrow(
        NS.gold("events"), at_most=10**5, filters=[("event_known_at", "<=", first_of("2020-08"))]
    )
    dated = dict(zip(known["account"].to_pylist(), known["event_at"].to_pylist(), strict=True))
    accounts = found.frame.rows["account"].to_pylist()
    assert set(accounts) <= set(dated)
    # An event that took longer counts for more: fewer rows were observed as long.
    took = np.array([(dated[account] - time).days for account, time in zip(accounts, times, strict=True)])
    assert np.corrcoef(took, found.weights)[0, 1] > 0.9
    assert 0 < found.weights.min() < found.weights.max() <= 1
    assert found.of_frame.size == known_labels(ws, NS, opened(ws, tiny).label_spine(), parse_as_of(FIRST)).rows.num_rows


def test_what_became_known_later_makes_no_difference_to_the_past(open_copy, tiny):
    then, later = open_copy(), open_copy()
    Pipeline(later, opened(later, tiny), parse_as_of(SECOND)).run(PREPARE)
    one, other = rows_at(then, tiny, FIRST), rows_at(later, tiny, FIRST)
    assert one.frame.rows.drop_columns(["label_known_at"]).equals(other.frame.rows.drop_columns(["label_known_at"]))
    assert one.weights == pytest.approx(other.weights, rel=1e-12)
    assert one.of_frame == pytest.approx(other.of_frame, rel=1e-12)


def test_a_version_says_what_it_learned_and_is_another_than_without(open_copy, tiny, tmp_path):
    ws = open_copy()
    version = ws.registry.get(NS.model, ws.registry.aliases(NS.model)[CHAMPION])
    assert version.tags["learned_events_through"] > version.tags["trained_through"]
    start, end = learned_events(version, HORIZON)
    assert start == first_of("2020-05")
    assert start < end < first_of("2020-08")
    stages = ws.tables.to_arrow(NS.ops("stage_runs"), at_most=1000, filters=[("stage", "=", "train")]).to_pylist()
    assert '"immature_rows": ' in stages[0]["details"]
    plain = write_tiny_use_case(tmp_path / "plain", gate={"margin": 0.2})
    details = Pipeline(ws, opened(ws, plain), parse_as_of(FIRST)).run(["train"]).details("train")
    assert details["version"] == 2
    assert "learned_events_through" not in ws.registry.get(NS.model, 2).tags


def test_trained_again_it_is_the_same_version(open_copy, tiny):
    ws = open_copy()
    details = Pipeline(ws, opened(ws, tiny), parse_as_of(FIRST)).run(["train"]).details("train")
    assert (details["version"], details["reused"]) == (1, True)


def test_the_holdout_and_its_metrics_are_of_mature_rows(open_copy, tiny):
    ws = open_copy()
    version = ws.registry.get(NS.model, 1)
    spine = opened(ws, tiny).label_spine()
    mature = known_labels(ws, NS, spine, parse_as_of(FIRST)).rows
    assert version.tags["training_rows"] == str(mature.num_rows)
    held = pc.sum(pc.greater(mature["signed_up_at"], parse_as_of(version.tags["trained_through"]))).as_py()
    assert 0.2 < held / mature.num_rows < 0.3


def test_the_gate_leaves_out_all_rows_of_times_of_which_a_champion_learned_events(open_copy, tiny):
    ws = open_copy()
    use_case = opened(ws, tiny)
    Pipeline(ws, use_case, parse_as_of(SECOND)).run([*PREPARE, "train"])
    champion, challenger = (ws.registry.get(NS.model, number) for number in (1, 2))
    found = gather(
        use_case.context(ws, parse_as_of(SECOND), "run"), use_case.label_spine(), challenger, champion,
        functions=use_case.functions,
    )  # fmt: skip
    start, end = learned_events(champion, HORIZON)
    times = found.evidence.rows["signed_up_at"]
    assert pc.sum(pc.and_(pc.greater(times, start), pc.less_equal(times, end))).as_py() == 0
    known = KnownLabels.at(ws, NS, use_case.label_spine(), parse_as_of(SECOND), after=start, until=end)
    assert known.count(newer_than=start)[0] > 100, "which are mature by now"
    assert found.evidence.labels.size > 10


def test_predictions_that_a_version_may_have_learned_from_are_no_performance(open_copy, tiny):
    ws = open_copy()
    runs = ws.tables.to_arrow(NS.ops("stage_runs"), at_most=1000, filters=[("stage", "=", "score")]).to_pylist()
    assert '"learned_through": "2020-07' in runs[0]["details"]
    scored = ws.tables.to_arrow(NS.gold("predictions"), at_most=10**5)
    end = parse_as_of(ws.registry.get(NS.model, 1).tags["learned_events_through"])
    clean = pc.sum(pc.greater(scored["signed_up_at"], end)).as_py()
    records = ws.tables.to_arrow(
        NS.ops("performance_metrics"), at_most=10**5,
        filters=[("basis", "=", "immature"), ("metric", "=", "mean_score"), ("model_version", "=", 1)],
    ).to_pylist()  # fmt: skip
    assert [row["rows"] for row in records] == [clean]
    assert 0 < clean < scored.num_rows


def test_without_dates_the_setting_is_refused_with_the_way_out(ws, tiny):
    with pytest.raises(ConfigError, match="says nothing of when events happened") as caught:
        run_tiny(ws, tiny.folder, FIRST, [*PREPARE, "train"])
    assert "EventSpine" in (caught.value.hint or "")
