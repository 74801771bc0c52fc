"""Dated events on the tiny use case: what is expected before labels are mature, and the alarm that does not wait."""

from __future__ import annotations

import csv
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from mlplatform.as_of import Duration, parse_as_of
from mlplatform.gate.promotion import GateDetails
from mlplatform.gate.stage import Gate
from mlplatform.monitoring.monitor import Monitor
from mlplatform.naming import CHAMPION, Namespace
from mlplatform.ops.record_table import MOST_RECORDS
from mlplatform.ops.result import StageResult
from mlplatform.pipeline import Pipeline
from mlplatform.training.stage import Train, TrainDetails
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.shifted_tiny import write_shifted
from tests.support.tiny_dated import DatedTiny
from tests.support.tiny_runs import clone
from tests.support.tiny_use_case import NAME, TinyFolder, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NS = Namespace("dev", NAME)
PREPARE = ["ingest", "refine", "features"]
FIRST, SECOND, THIRD, LAST = "2020-08-01", "2020-09-01", "2020-10-01", "2020-11-01"
HORIZON, STEPS = Duration.parse("3 months"), 36
QUIET = {"retrain_every": "5 years", "cooldown": "1 day", "max_psi": 5.0, "retrain_on": []}
RINGING = {
    **QUIET,
    "performance_window": "1 month",
    "retrain_on": ["immature_calibration"],
    "violated_windows": 1,
    "of_windows": 1,
}


def run(ws: LocalWorkspace, tiny: TinyFolder, as_of: str, only: list[str] | None = None) -> dict[str, Any]:
    done = Pipeline(ws, DatedTiny.open(NAME, tiny.folder, ws), parse_as_of(as_of)).run(only)
    return done.details("monitor") if only is None or "monitor" in only else {}


def records(ws: LocalWorkspace, **equal: Any) -> pd.DataFrame:
    filters = [("basis", "=", "immature"), *((name, "=", value) for name, value in equal.items())]
    return ws.tables.to_arrow(NS.ops("performance_metrics"), at_most=MOST_RECORDS, filters=filters).to_pandas()


def _lines(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    return write_tiny_use_case(tmp_path_factory.mktemp("steady"), gate={"margin": 0.2}, monitoring=QUIET)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> dict[str, Path]:
    """Closed workspaces: after one, two and three steps of a use case in which nothing changes.

    `scored` is the third before it is monitored.
    """
    folder = tmp_path_factory.mktemp("bases")
    found = {}
    with LocalWorkspace.open(root=folder / "live") as ws:
        for name, as_of, only in (
            ("first", FIRST, None),
            ("second", SECOND, None),
            ("scored", THIRD, [*PREPARE, "score"]),
            ("third", THIRD, None),
        ):
            run(ws, tiny, as_of, only)
            found[name] = clone(folder / "live", folder / name)
    return found


@pytest.fixture
def open_at(tmp_path: Path, bases: dict[str, Path]) -> Iterator[Callable[[str], LocalWorkspace]]:
    opened: list[LocalWorkspace] = []

    def open_copy(base: str) -> LocalWorkspace:
        opened.append(LocalWorkspace.open(root=clone(bases[base], tmp_path / f"{base}{len(opened)}")))
        return opened[-1]

    yield open_copy
    for ws in opened:
        ws.close()
        shutil.rmtree(ws.root)


def landed(tiny: TinyFolder, as_of: str) -> pd.DataFrame:
    """Subscriptions and their cancellations as the files tell them by a time, each drop at the end of its month."""
    until = parse_as_of(as_of)
    rows = pd.DataFrame(
        [line[:2] for path in (tiny.data / "signups").iterdir() for line in _lines(path)], columns=["account", "begun"]
    )
    gone = pd.DataFrame(
        [line for path in (tiny.data / "cancellations").iterdir() for line in _lines(path)], columns=["account", "gone"]
    )
    rows["begun"], gone["gone"] = (pd.to_datetime(column, utc=True) for column in (rows["begun"], gone["gone"]))
    known = gone[gone["gone"] + pd.offsets.MonthBegin(1) <= until]
    rows = rows[rows["begun"] + pd.offsets.MonthBegin(1) <= until].merge(known, on="account", how="left")
    ends = pd.to_datetime([HORIZON.after(moment) for moment in rows["begun"]], utc=True)
    rows["age"] = np.floor(STEPS * (until - rows["begun"]) / (ends - rows["begun"])).clip(0).astype(int)
    step = np.ceil(STEPS * (rows["gone"] - rows["begun"]) / (ends - rows["begun"])) - 1
    rows["step"] = step.where(rows["gone"] <= ends).clip(0)
    return rows


def expected(rows: pd.DataFrame, of: pd.Series) -> float:
    """The rate, row by row: what has come, and for who is waiting the present's risk of all steps ahead."""
    hazards = []
    for step in range(STEPS):
        # The last twelve months are more than the horizon, and no more of them is looked at than that.
        over = rows[(rows["age"] > step) & (rows["age"] - 1 - step < STEPS)]
        at_risk = over[~(over["step"] < step)]
        hazards.append((at_risk["step"] == step).mean())
    chances = []
    for age, step in rows.loc[of, ["age", "step"]].itertuples(index=False):
        came = step < min(age, STEPS)
        chances.append(1.0 if came else 1 - np.prod(1 - np.array(hazards[min(age, STEPS) :])))
    return float(np.mean(chances))


def test_each_vintage_is_expected_to_do_what_the_present_says(open_at, tiny):
    ws = open_at("third")
    found = records(ws, as_of=parse_as_of(THIRD), metric="expected_rate")
    vintages = found[found["model_version"].isna() & found["slice"].isna()].sort_values("window_end")
    assert [f"{end:%Y-%m-%d}" for end in vintages["window_end"]] == [FIRST, SECOND, THIRD]
    rows = landed(tiny, THIRD)
    scored = ws.tables.to_arrow(NS.gold("predictions"), at_most=10**5, filters=[("alias", "=", CHAMPION)]).to_pandas()
    rows = rows.merge(scored[["account", "prediction"]], on="account", how="left")
    for vintage in vintages.to_dict("records"):
        inside = (rows["begun"] > vintage["window_start"]) & (rows["begun"] <= vintage["window_end"])
        assert vintage["rows"] == (inside & rows["prediction"].notna()).sum()
        assert vintage["value"] == pytest.approx(expected(rows, inside & rows["prediction"].notna()), rel=1e-9)
        assert vintage["low"] < vintage["value"] < vintage["high"]
        assert "if the risks of the last 12 months stay as they are" in vintage["note"]
    (mean,) = records(ws, as_of=parse_as_of(THIRD), metric="mean_score", model_version=1)["value"]
    assert mean == pytest.approx(rows["prediction"].mean())


def test_the_expected_rate_holds_what_comes_true_and_nothing_rings_where_nothing_changes(open_at, tiny):
    ws = open_at("third")
    (record,) = records(ws, as_of=parse_as_of(THIRD), metric="expected_rate", model_version=1).to_dict("records")
    run(ws, tiny, "2021-02-01", PREPARE)
    labels = ws.tables.to_arrow(NS.gold("labels"), at_most=10**5).to_pandas()
    inside = (labels["signed_up_at"] > record["window_start"]) & (labels["signed_up_at"] <= record["window_end"])
    # The extract ends with October: cancellations of November are in none of its files.
    assert record["low"] - 0.05 < labels.loc[inside, "cancelled"].mean() < record["high"]
    alerts = ws.tables.to_arrow(NS.ops("alerts"), at_most=10**4).to_pylist()
    assert not [alert for alert in alerts if alert["kind"].startswith("immature")]


def test_how_far_rows_have_been_observed_and_how_well_scores_order_them_so_far(open_at):
    ws = open_at("third")
    now = records(ws, as_of=parse_as_of(THIRD))
    vintages = now[now["model_version"].isna()]
    shown = vintages.pivot_table(index="window_end", columns="metric", values="value").sort_index()
    assert shown["exposure"].is_monotonic_decreasing
    assert shown["observed_rate"].iloc[0] > shown["observed_rate"].iloc[-1]
    (ordered,) = now[now["metric"] == "concordance"].to_dict("records")
    assert 0.6 < ordered["value"] < 0.9
    assert ordered["low"] < ordered["value"] < ordered["high"]
    assert (ordered["limit"], ordered["violated"]) == (0.55, False)
    (ratio,) = now[now["metric"] == "expected_ratio"].to_dict("records")
    assert (ratio["limit"], ratio["violated"]) == (1.5, False)
    # The first champion scores too low: it learned from few months.
    assert 1.2 < ratio["value"] < 1.7


def test_the_past_is_measured_as_it_was_known_then(open_at, tiny):
    stepwise, later = open_at("third"), open_at("first")
    run(later, tiny, LAST, PREPARE)
    for as_of in (SECOND, THIRD):
        run(later, tiny, as_of, ["score", "monitor"])
    columns = ["as_of", "window_end", "model_version", "slice", "metric", "value", "low", "high", "rows", "note"]

    def table(ws):
        found = records(ws)[columns]
        return found.sort_values(columns[:5]).reset_index(drop=True)

    one, other = table(later), table(stepwise)
    assert one[columns[:5]].equals(other[columns[:5]])
    # A few rows landed late: a scoring in hindsight has them, and the one of then had not.
    same = one["rows"] == other["rows"]
    assert same.sum() > len(one) / 2
    pd.testing.assert_frame_equal(one[same], other[same], rtol=1e-9)


def test_measured_again_nothing_is_written_twice(open_at, tiny):
    ws = open_at("second")
    before = len(records(ws))
    stages = ws.tables.to_arrow(NS.ops("stage_runs"), at_most=10**4)
    ws.tables.overwrite(
        NS.ops("stage_runs"), stages.filter([stage != "monitor" for stage in stages["stage"].to_pylist()])
    )
    again = run(ws, tiny, SECOND, ["monitor"])
    assert again["immature"]["rows"] > 200
    assert len(records(ws)) == before > 0


# That what is measured before labels are mature rings is looked at below in every run, by the order of the scores; that
# what has rung is a reason to retrain, in test_monitoring.py.
@pytest.mark.slow
def test_the_alarm_rings_months_before_the_labels_are_mature_and_retrains(tmp_path, monkeypatch):
    own = write_shifted(tmp_path / "uc", extra=0.65, since="2020-08", gate={"margin": 0.2}, monitoring=RINGING)
    rung: dict[str, str] = {}
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        run(ws, own, FIRST, [*PREPARE, "train", "gate", "score", "monitor"])
        # What is looked at is the decision to retrain.
        monkeypatch.setattr(Train, "run", lambda *_: StageResult(TrainDetails(version=1)))
        monkeypatch.setattr(Gate, "run", lambda *_, **__: StageResult(GateDetails(), skipped="not in this test"))
        for as_of in (SECOND, THIRD):
            run(ws, own, as_of)
        for alert in ws.tables.to_arrow(NS.ops("alerts"), at_most=10**4).sort_by("as_of").to_pylist():
            if alert["event"] == "raised":
                rung.setdefault(alert["kind"], f"{alert['as_of']:%Y-%m-%d}")
                text = alert["message"]
                if alert["kind"] == "immature_calibration":
                    message, severity, page = text, alert["severity"], alert["runbook"]
        # August's labels are mature with November.
        assert rung["immature_calibration"] <= THIRD
        assert "calibration" not in rung
        assert severity == "critical"
        assert page.endswith("/immature_calibration.md")
        assert "surely beyond the limit 1.5" in message
        runs = ws.tables.to_arrow(NS.ops("stage_runs"), at_most=10**4).to_pandas()
        decided = runs[(runs["stage"] == "retrain") & (runs["as_of"] == rung["immature_calibration"])]
        assert "immature_calibration: 1 of the last 1 windows in violation" in decided["details"].iloc[0]


def test_scores_that_order_badly_ring_too(open_at, tiny, monkeypatch, tmp_path):
    ws = open_at("scored")
    strict = write_tiny_use_case(tmp_path / "uc", gate={"margin": 0.2}, monitoring={**QUIET, "performance_floor": 0.95})
    details = run(ws, strict, THIRD, ["monitor"])
    assert details["windows"]["immature_performance"]["violated"]
    (alert,) = [alert for alert in details["alerts"] if alert["kind"] == "immature_performance"]
    assert "concordance of version 1 so far" in alert["message"]
    assert "surely under 0.95" in alert["message"]


def test_values_of_a_column_are_measured_apart(open_at, tiny, monkeypatch):
    class Watching(Monitor):
        slices = ("region",)

    monkeypatch.setattr(DatedTiny, "monitor", Watching, raising=False)
    ws = open_at("scored")
    run(ws, tiny, THIRD, ["monitor"])
    found = records(ws, as_of=parse_as_of(THIRD), metric="expected_ratio")
    slices = found[found["slice"].notna()]
    assert sorted(slices["slice"]) == [f"region={name}" for name in ("east", "north", "south", "west")]
    whole = records(ws, as_of=parse_as_of(THIRD), metric="expected_rate", model_version=1)["rows"].iloc[0]
    assert slices["rows"].sum() == whole
    assert not slices["violated"].any()


def test_a_month_without_news_observes_nothing(open_at, tiny):
    """Files come by the month: in its middle no more is known than at its beginning, and rows are no older."""
    ws = open_at("second")
    middle = run(ws, tiny, "2020-09-15", ["monitor"])["immature"]
    assert middle["until"].startswith(SECOND)
    found = records(ws, metric="observed_rate", model_version=1)
    assert len(set(found.loc[found["as_of"] >= SECOND, "value"])) == 1


def test_with_too_few_events_nothing_is_judged_and_it_says_why(tmp_path):
    own = write_tiny_use_case(
        tmp_path / "uc", rows_a_month=60, gate={"margin": 0.2, "min_positives": 5, "min_rows": 40},
        training={"min_rows": 50}, monitoring={**QUIET, "min_rows": 20, "performance_window": "1 week"},
    )  # fmt: skip
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        details = run(ws, own, FIRST)
        assert "events, needs 50 in the last 1 week" in details["not_judged"]["immature_calibration"]
        assert "of predictions so far" in details["not_judged"]["immature_performance"]
        ratio = records(ws, metric="expected_ratio", model_version=1).iloc[0]
        assert pd.isna(ratio["limit"])
        assert ratio["note"].startswith("not judged: ")
