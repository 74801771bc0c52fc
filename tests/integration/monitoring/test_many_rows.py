"""More rows than are taken into memory: what can be added up is what it was, the rest is from a sample, and said."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.naming import Namespace
from mlplatform.reporting.facts import gather
from mlplatform.reporting.outcomes import read_outcomes
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.tiny_runs import clone, open_tiny, run_tiny
from tests.support.tiny_use_case import TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator

NS = Namespace("dev", "tiny")
STEPS, LAST, MOST = ("2020-08-01", "2020-09-01"), "2020-12-01", 1000
QUIET = {"retrain_every": "5 years", "cooldown": "5 years", "max_calibration_ratio": 5.0}
# From a sample: no other record of many rows says so.
SAMPLED = {"average_precision", "gain_over_baseline"}


def write(folder: Path, **monitoring: Any) -> TinyFolder:
    return write_tiny_use_case(
        folder, rows_a_month=MOST + 100, gate={"margin": 0.2}, monitoring={**QUIET, **monitoring}
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyFolder, TinyFolder]:
    """The same use case, with all rows in memory and with a part of them."""
    return write(tmp_path_factory.mktemp("all")), write(tmp_path_factory.mktemp("part"), max_rows=MOST)


@pytest.fixture(scope="module")
def monitored(
    tmp_path_factory: pytest.TempPathFactory, folders: tuple[TinyFolder, TinyFolder]
) -> Iterator[list[LocalWorkspace]]:
    root = tmp_path_factory.mktemp("base") / "home"
    with LocalWorkspace.open(root=root) as ws:
        for step in STEPS:
            run_tiny(ws, folders[0].folder, step)
        run_tiny(ws, folders[0].folder, LAST, ["ingest", "refine", "features"])
    opened = [LocalWorkspace.open(root=clone(root, root.parent / str(number))) for number in range(2)]
    for ws, folder in zip(opened, folders, strict=True):
        run_tiny(ws, folder.folder, STEPS[1], ["monitor"])
        run_tiny(ws, folder.folder, LAST, ["monitor"])
    yield opened
    for ws in opened:
        ws.close()


def records(ws: LocalWorkspace, table: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    rows = ws.tables.to_arrow(NS.ops(table), at_most=10**5, filters=[("as_of", "=", parse_as_of(LAST))]).to_pylist()
    names = ("basis", "baseline", "alias", "model_version", "window_start", "window_end", "slice", "column", "metric")
    return {tuple(str(row.get(name)) for name in names): row for row in rows}


def test_what_can_be_added_up_is_exact_and_what_cannot_is_said_to_be_of_a_sample(monitored):
    whole, part = (records(ws, "performance_metrics") for ws in monitored)
    assert whole.keys() == part.keys()
    many = 0
    for key, row in part.items():
        expected, metric = whole[key], row["metric"]
        counts = ("scored", "known", "waiting", "never", "coverage", "limit", "violated")
        assert [row[name] for name in counts] == [expected[name] for name in counts], key
        if row["note"] and "on a sample of" in row["note"]:
            assert metric in SAMPLED or metric.startswith("baseline_")
            assert f"of {expected['rows']:,} rows" in row["note"]
            many += 1
            continue
        assert row["rows"] == expected["rows"]
        near = 1e-4 if metric == "roc_auc" else 1e-9
        for name in ("value", "low", "high"):
            assert row[name] == (expected[name] and pytest.approx(expected[name], abs=near)), (key, name)
        if metric == "roc_auc" and row["rows"] > MOST:
            assert "bins of scores: off by at most" in row["note"]
    assert many > 0


def test_drift_is_counted_on_all_rows(monitored):
    for table in ("drift_metrics",):
        whole, part = (records(ws, table) for ws in monitored)
        assert whole == part
    ends = [
        ws.tables.to_arrow(NS.ops("window_counts"), at_most=100).sort_by("as_of").column("rows").to_pylist()
        for ws in monitored
    ]
    assert ends[0] == ends[1]


def test_no_more_is_collected_than_is_set(monitored, folders):
    details = run_tiny(monitored[1], folders[1].folder, "2020-12-02", ["monitor"]).details("monitor")
    assert details["collected"]["largest_rows"] < 20_000
    assert not [alert for alert in details["alerts"] if alert["kind"] == "monitor"]


def test_nothing_new_is_not_measured_again(monitored, folders):
    run_tiny(monitored[1], folders[1].folder, "2020-12-03", ["monitor"])
    rows = monitored[1].tables.to_arrow(
        NS.ops("performance_metrics"),
        at_most=10**5,
        filters=[("as_of", "=", parse_as_of("2020-12-03")), ("basis", "=", "realised")],
    )
    assert rows.num_rows == 0


def test_the_report_counts_all_predictions(monitored, folders):
    ws = monitored[0]
    use_case = open_tiny(ws, folders[0].folder)
    spine = use_case.label_spine()
    whole = gather(ws, NS, spine, use_case.settings).outcomes
    part = read_outcomes(ws, NS, spine, "classification", parse_as_of("2020-12-03"), most=MOST)
    assert (part.rows_known, len(part.scored)) == (whole.rows_known, len(whole.scored))
    assert whole.rows_known > MOST
    for one, other in zip(whole.scored, part.scored, strict=True):
        assert (one.as_of, one.rows, one.versions, one.rows_known) == (
            other.as_of, other.rows, other.versions, other.rows_known
        )  # fmt: skip
        assert other.mean == pytest.approx(one.mean, rel=1e-12)
    # The bins are cut elsewhere, by a sample; all rows are in them.
    assert sum(item.rows for item in part.deciles) == sum(item.rows for item in whole.deciles) == whole.rows_known
    assert sum(item.rows * item.observed for item in part.deciles) == pytest.approx(
        sum(item.rows * item.observed for item in whole.deciles)
    )
