"""Scoring and monitoring on the tiny use case: shadow, late labels, alerts, and what happens when things break."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.cli import status
from mlplatform.errors import DeploymentError, FeatureStoreError, TableError
from mlplatform.gate.details import GateDetails
from mlplatform.gate.stage import Gate
from mlplatform.monitoring.baseline import Baselines
from mlplatform.naming import CHALLENGER, CHAMPION, Namespace
from mlplatform.ops.context import StageContext
from mlplatform.ops.result import StageResult
from mlplatform.pipeline import Pipeline
from mlplatform.scoring.scorer import BatchScorer
from mlplatform.training import reference
from mlplatform.training.stage import Train, TrainDetails
from mlplatform.workspace.local.workspace import LocalWorkspace
from tests.support.crossed import every
from tests.support.hook import listening
from tests.support.state import business_state, differences
from tests.support.tiny_runs import KILLED, clone, open_tiny, run_and_die, run_tiny
from tests.support.tiny_use_case import Tiny, TinyFolder, TinyTrainer, first_of, write_tiny_use_case

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST, SECOND, LATER, LAST = "2020-08-01", "2020-09-01", "2020-10-01", "2020-12-01"
NS = Namespace("dev", "tiny")
PREPARE = ["ingest", "refine", "features"]
# No retraining by itself: what is looked at is scoring and monitoring.
QUIET = {"retrain_every": "5 years", "cooldown": "5 years", "max_calibration_ratio": 5.0, "max_psi": 0.2}


def write(folder: Path, **monitoring: Any) -> TinyFolder:
    return write_tiny_use_case(folder, gate={"margin": 0.2}, monitoring={**QUIET, **monitoring})


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    return write(tmp_path_factory.mktemp("use_cases"))


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFolder) -> dict[str, Path]:
    """Closed workspaces: with a champion that has scored nothing yet, after one step, after two, with a challenger.

    `scored` is the second a month later, not monitored; `prepared` the one with a challenger, with nothing scored.
    """
    folder = tmp_path_factory.mktemp("bases")
    root, found = folder / "live", {}

    def keep(name: str) -> None:
        found[name] = clone(root, folder / name)

    with LocalWorkspace.open(root=root) as ws:
        run_tiny(ws, tiny.folder, FIRST, [*PREPARE, "train", "gate"])
        keep("promoted")
        run_tiny(ws, tiny.folder, FIRST)
        keep("first")
        run_tiny(ws, tiny.folder, SECOND)
        keep("second")
        run_tiny(ws, tiny.folder, SECOND, ["train"])
        keep("challenged")
        run_tiny(ws, tiny.folder, LATER, PREPARE)
        keep("prepared")
    with LocalWorkspace.open(root=clone(found["second"], folder / "scored")) as ws:
        run_tiny(ws, tiny.folder, LATER, [*PREPARE, "score"])
        found["scored"] = ws.root
    return found


@pytest.fixture
def open_at(tmp_path: Path, bases: dict[str, Path]) -> Iterator[Any]:
    opened: list[LocalWorkspace] = []

    def open_copy(base: str) -> LocalWorkspace:
        ws = LocalWorkspace.open(root=clone(bases[base], tmp_path / f"{base}{len(opened)}"))
        opened.append(ws)
        return ws

    yield open_copy
    for ws in opened:
        ws.close()
        shutil.rmtree(ws.root)


def predictions(ws: LocalWorkspace, **equal: Any) -> pa.Table:
    return ws.tables.to_arrow(
        NS.gold("predictions"), at_most=10**6, filters=[(name, "=", value) for name, value in equal.items()]
    )


def alerts(ws: LocalWorkspace, as_of: str = "") -> dict[str, str]:
    """Kind -> event."""
    rows = ws.tables.to_arrow(NS.ops("alerts"), at_most=10**6).sort_by("as_of").to_pylist()
    return {row["kind"]: row["event"] for row in rows if not as_of or row["as_of"] == parse_as_of(as_of)}


def performance(ws: LocalWorkspace, **equal: Any) -> list[dict[str, Any]]:
    filters = [(name, "=", value) for name, value in equal.items()]
    return ws.tables.to_arrow(NS.ops("performance_metrics"), at_most=10**6, filters=filters).to_pylist()


# Scoring


def test_a_prediction_says_who_made_it_when_and_which_features_were_not_found(open_at):
    ws = open_at("first")
    made = predictions(ws)
    assert set(made["alias"].to_pylist()) == {CHAMPION}
    assert len(set(made["run_id"].to_pylist())) == 1
    assert made["features_unmatched"].null_count == 0
    matched = pc.equal(pc.list_value_length(made["features_unmatched"]), 0)
    assert pc.all(matched).as_py(), "every region has a history by July"
    assert made["reason_codes"].null_count == made.num_rows


def test_a_key_that_no_feature_table_holds_is_flagged(open_at, tiny):
    ws = open_at("promoted")
    times = [first_of("2020-07"), first_of("2020-07"), first_of("2020-01")]
    strange = pa.table(
        {
            "account": ["A1", "A2", "A3"],
            "signed_up_at": pa.array(times, pa.timestamp("us", "UTC")),
            "region": ["north", "atlantis", "north"],
            "price": [9.0] * 3,
            "seats": [2.0] * 3,
        }
    )
    open_tiny(ws, tiny.folder)
    scored = ws.fe.score_batch_arrow(model_uri=f"models:/{NS.model}@champion", df=strange, matches=True)
    # The last one is known, but had no history yet at its own time.
    assert scored["matched:dev.tiny.features_region"].to_pylist() == [True, False, False]


def test_the_latest_view_shows_one_row_an_entity_and_the_champions_only(open_at, tiny):
    ws = open_at("prepared")
    run_tiny(ws, tiny.folder, LATER, ["score"])
    latest = ws.tables.to_arrow(NS.gold("latest_predictions"), at_most=10**6)
    champions = predictions(ws, alias=CHAMPION)
    assert predictions(ws, alias=CHALLENGER).num_rows > 0
    assert sorted(latest["account"].to_pylist()) == sorted(set(champions["account"].to_pylist()))
    assert set(latest["alias"].to_pylist()) == {CHAMPION}
    assert ws.tables.read(NS.gold("latest_predictions")).count() == latest.num_rows
    assert "gold_latest_predictions" not in ws.tables.list("dev", "tiny")


def test_the_newest_row_of_a_key_wins_in_a_view(ws):
    schema = pa.schema([pa.field("id", pa.string()), pa.field("at", pa.int64()), pa.field("alias", pa.string())])
    ws.tables.create("dev.views.base", schema)
    rows = [("a", 1, "x"), ("a", 3, "x"), ("a", 2, "x"), ("b", 1, "x"), ("b", 9, "y")]
    ws.tables.append("dev.views.base", pa.table(dict(zip(schema.names, zip(*rows, strict=True), strict=True))))
    view = {"of": "dev.views.base", "keys": ["id"], "order_by": ["at"], "where": {"alias": "x"}}
    ws.tables.create_latest_view("dev.views.newest", **view)
    found = ws.tables.to_arrow("dev.views.newest", at_most=10**6).sort_by("id").to_pylist()
    assert [(row["id"], row["at"]) for row in found] == [("a", 3), ("b", 1)]
    only = ws.tables.to_arrow("dev.views.newest", at_most=10**6, columns=["at"], filters=[("id", "=", "a")])
    assert only.to_pydict() == {"at": [3]}
    with pytest.raises(TableError, match="no column when"):
        ws.tables.create_latest_view("dev.views.wrong", **{**view, "order_by": ["when"]})
    with pytest.raises(TableError, match="is a table"):
        ws.tables.create_latest_view("dev.views.base", **view)
    assert ws.tables.largest("dev.views.base", "at", filters=[("alias", "=", "x")]) == 3


def test_the_challenger_scores_the_same_rows_in_the_shadow_once(open_at, tiny):
    ws = open_at("prepared")
    summary = run_tiny(ws, tiny.folder, LATER, ["score"])
    (champion, shadow) = (predictions(ws, as_of=first_of("2020-10"), alias=alias) for alias in (CHAMPION, CHALLENGER))
    assert sorted(champion["account"].to_pylist()) == sorted(shadow["account"].to_pylist())
    assert set(shadow["model_version"].to_pylist()) == {2}
    assert summary.details("score")["shadow"]["rows"] == shadow.num_rows
    before = business_state(ws, NS)
    run_tiny(ws, tiny.folder, LATER, ["score"])
    assert differences(business_state(ws, NS), before) == {}


def test_an_alias_alone_scores_with_that_version_only(open_at, tiny):
    ws = open_at("prepared")
    moment = parse_as_of(LATER)
    Pipeline(ws, open_tiny(ws, tiny.folder), moment).run(["score"], alias=CHALLENGER)
    assert set(predictions(ws, as_of=moment)["alias"].to_pylist()) == {CHALLENGER}
    Pipeline(ws, open_tiny(ws, tiny.folder), moment).run(["score"], alias=CHAMPION)
    assert predictions(ws, as_of=moment, alias=CHAMPION).num_rows == predictions(ws, as_of=moment).num_rows / 2


def test_a_challenger_that_cannot_score_does_not_take_the_champions_predictions_away(open_at, tiny, monkeypatch):
    ws = open_at("prepared")
    score = ws.fe.score_frame

    def only_the_champion(**named: Any) -> Any:
        if named["model_uri"].endswith("/2"):
            raise FeatureStoreError("The model failed.")
        return score(**named)

    monkeypatch.setattr(ws.fe, "score_frame", only_the_champion)
    details = run_tiny(ws, tiny.folder, LATER, ["score"]).details("score")
    assert details["shadow"]["failed"] == "The model failed."
    assert predictions(ws, as_of=first_of("2020-10"), alias=CHAMPION).num_rows > 200


def test_reasons_are_kept_where_they_are_asked_for(open_at, tiny, monkeypatch):
    class Explaining(BatchScorer):
        reason_codes = 2
        chunk_rows = 100

    monkeypatch.setattr(Tiny, "scorer", Explaining)
    ws = open_at("promoted")
    run_tiny(ws, tiny.folder, FIRST, ["score"])
    reasons = predictions(ws)["reason_codes"].to_pylist()
    assert {len(row) for row in reasons} <= {1, 2}
    assert {item["feature"] for row in reasons for item in row} <= {
        "region", "price", "seats", "price_a_seat", "region_cancellations",
    }  # fmt: skip
    assert all(abs(row[0]["contribution"]) >= abs(row[-1]["contribution"]) for row in reasons)


# Performance and late labels


def test_estimated_first_then_realised_beside_the_estimate(open_at, tiny):
    ws = open_at("second")
    window = {"window_end": first_of("2020-08"), "metric": "roc_auc"}
    (estimated,) = performance(ws, basis="estimated", **window)
    assert 0.6 < estimated["value"] < 0.9
    assert "base rate" in estimated["note"]
    assert performance(ws, basis="realised", **window) == []
    run_tiny(ws, tiny.folder, LAST, [*PREPARE, "monitor"])
    (realised,) = performance(ws, basis="realised", **window)
    assert realised["estimate"] == estimated["value"]
    assert realised["low"] < realised["value"] < realised["high"]
    assert (realised["known"], realised["waiting"], realised["never"]) == (realised["scored"], 0, 0)
    assert realised["coverage"] == 1


def test_in_every_window_what_was_scored_is_known_or_waiting_or_never_came(open_at, tiny):
    ws = open_at("scored")
    run_tiny(ws, tiny.folder, LATER, ["monitor"])
    for as_of in ("2020-11-01", LAST):
        run_tiny(ws, tiny.folder, as_of, [*PREPARE, "score", "monitor"])
    rows = [row for row in performance(ws) if row["scored"] is not None]
    assert rows
    assert all(row["scored"] == row["known"] + row["waiting"] + row["never"] for row in rows)
    newest = {
        row["window_end"]: row for row in sorted(rows, key=lambda row: row["as_of"]) if row["basis"] == "realised"
    }
    assert sum(row["scored"] for row in newest.values()) == predictions(ws, alias=CHAMPION).num_rows


def test_a_late_correction_is_measured_when_it_is_known_and_the_old_record_stays(open_at, tiny):
    ws = open_at("second")
    run_tiny(ws, tiny.folder, "2020-11-01", [*PREPARE, "monitor"])
    window = {"basis": "realised", "window_end": first_of("2020-08"), "metric": "label_mean"}
    (before,) = performance(ws, **window)
    labels = ws.tables.to_arrow(NS.gold("labels"), at_most=10**6, filters=[("signed_up_at", ">", first_of("2020-07"))])
    changed = labels.filter(pc.equal(labels["cancelled"], 0.0)).slice(0, 20)
    changed = changed.set_column(2, "cancelled", pa.array([1.0] * changed.num_rows))
    ws.tables.merge(NS.gold("labels"), changed)
    run_tiny(ws, tiny.folder, "2020-11-15", ["monitor"])
    first, second = sorted(performance(ws, **window), key=lambda row: row["as_of"])
    assert first == before
    assert second["value"] > first["value"]
    run_tiny(ws, tiny.folder, "2020-11-16", ["monitor"])
    assert len(performance(ws, **window)) == 2, "nothing new: not measured again"


def test_what_is_not_known_at_as_of_is_not_used(open_at, tiny):
    ws = open_at("second")
    # Everything lands now; monitored is a time before.
    run_tiny(ws, tiny.folder, LAST, PREPARE)
    details = run_tiny(ws, tiny.folder, "2020-10-15", ["monitor"]).details("monitor")
    labels = ws.tables.to_arrow(
        NS.gold("labels"), at_most=10**6, filters=[("label_known_at", "<=", parse_as_of("2020-10-15"))]
    )
    scored = set(predictions(ws)["account"].to_pylist())
    assert details["labels_known"] == len(scored & set(labels["account"].to_pylist())) > 0


def test_the_shadow_is_measured_and_never_alarms(open_at, tiny):
    ws = open_at("prepared")
    run_tiny(ws, tiny.folder, LATER, ["score"])
    run_tiny(ws, tiny.folder, "2021-01-15", [*PREPARE, "monitor"])
    rows = performance(ws, alias=CHALLENGER, metric="roc_auc")
    assert [(row["model_version"], row["limit"], row["violated"]) for row in rows] == [(2, None, False)]


class Regressing(TinyTrainer):
    """The same inputs, and a number to predict."""

    def estimator(self, params: Any) -> Any:
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import Pipeline as Steps

        columns = super().estimator({"C": params["C"]}).named_steps["columns"]
        return Steps([("columns", columns), ("model", Ridge(params["C"]))])


def test_a_regression_has_no_estimate_says_why_and_is_judged_by_its_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Tiny, "trainer", Regressing)
    own = write_tiny_use_case(
        tmp_path / "uc", task="regression", training={"metric": "mae"}, gate={"floor": 1.0},
        monitoring={**QUIET, "performance_floor": 0.01},
    )  # fmt: skip
    with LocalWorkspace.open(root=tmp_path / "home") as ws:
        run_tiny(ws, own.folder, FIRST)
        (estimated,) = performance(ws, basis="estimated")
        assert (estimated["metric"], estimated["value"]) == ("mae", None)
        assert "a regression gives none" in estimated["note"]
        details = run_tiny(ws, own.folder, LAST, [*PREPARE, "monitor"]).details("monitor")
        (realised,) = performance(ws, basis="realised", metric="mae", window_end=first_of("2020-08"))
        assert realised["low"] < realised["value"] < realised["high"]
        assert "calibration" not in details["windows"]
        assert alerts(ws, LAST)["performance"] == "raised"
        decision = Pipeline(ws, open_tiny(ws, own.folder), parse_as_of(LAST)).retrain_decision()
        assert decision["reasons"][1].startswith("performance: realised mae of version 1")
        rows = {row["metric"]: row for row in performance(ws, basis="recent", model_version=1)}
        learned = learned_by(ws, own).of(1)
        assert isinstance(learned, dict)
        errors = np.abs(joined_labels(ws) - learned["median"])
        assert rows["baseline_mae"]["value"] == pytest.approx(errors.mean())
        gain = rows["gain_over_baseline"]
        assert gain["value"] == pytest.approx(errors.mean() - rows["mae"]["value"])
        assert gain["low"] < gain["value"] < gain["high"]
        assert (gain["limit"], gain["violated"]) == (0.0, False)
        realised_too = {row["metric"] for row in performance(ws, basis="realised", window_end=first_of("2020-08"))}
        assert {"baseline_mae", "baseline_rmse", "gain_over_baseline"} <= realised_too
        # In production everything is off by one: worse than the median, as anybody can see.
        made = predictions(ws)
        off = made.set_column(
            made.schema.get_field_index("prediction"), made.schema.field("prediction"), pc.add(made["prediction"], 1.0)
        )
        ws.tables.overwrite(NS.gold("predictions"), off)
        run_tiny(ws, own.folder, "2020-12-02", ["monitor"])
        assert alerts(ws, "2020-12-02")["worse_than_baseline"] == "raised"
        decision = Pipeline(ws, open_tiny(ws, own.folder), parse_as_of("2020-12-02")).retrain_decision()
        assert [reason.partition(":")[0] for reason in decision["reasons"][1:]] == [
            "performance",
            "worse_than_baseline",
        ]
        assert "realised mae of version 1 is surely worse than that of the trivial baseline" in decision["reasons"][2]


def joined_labels(ws: LocalWorkspace) -> np.ndarray:
    """Labels of what champions predicted."""
    made = set(predictions(ws)["account"].to_pylist())
    rows = ws.tables.to_arrow(NS.gold("labels"), at_most=10**6).to_pylist()
    return np.array([row["cancelled"] for row in rows if row["account"] in made])


def test_a_champion_of_before_has_the_baseline_of_the_labels_that_it_was_fitted_on(open_at, tiny):
    """Its profile holds no baseline: the same numbers come from the tables, and a lost profile takes nothing away."""
    ws = open_at("second")
    run_tiny(ws, tiny.folder, LAST, PREPARE)
    (profile,) = ws.root.glob("mlflow/artifacts/**/reference_profile.json")
    kept = json.loads(profile.read_text())
    learned = kept["baseline"]
    assert learned_by(ws, tiny).of(1) == learned
    for older in (None, {"rows": learned["rows"], "mean": learned["mean"]}):
        profile.write_text(json.dumps({**kept, "baseline": older}))
        assert learned_by(ws, tiny).of(1) == learned
    profile.unlink()
    assert learned_by(ws, tiny).of(1) == learned
    ws.tables.drop(NS.gold("labels"))
    unknown = learned_by(ws, tiny).of(1)
    assert isinstance(unknown, str)
    assert unknown.startswith("the training labels of version 1 are not known")


def learned_by(ws: LocalWorkspace, tiny: TinyFolder) -> Baselines:
    return Baselines(open_context(ws, tiny, LAST), open_tiny(ws, tiny.folder).label_spine())


def open_context(ws: LocalWorkspace, tiny: TinyFolder, as_of: str) -> StageContext:
    ws.registry.activate()
    return open_tiny(ws, tiny.folder).context(ws, parse_as_of(as_of), run_id="r", progress=lambda _: None)


def test_windows_with_too_few_rows_are_not_judged_and_that_is_said_everywhere(open_at, tmp_path):
    picky = write(tmp_path / "picky", min_rows=5000, unjudged_windows=2)
    ws = open_at("promoted")
    first = run_tiny(ws, picky.folder, FIRST, ["score", "monitor"]).details("monitor")
    assert first["not_judged"]["drift"] == "291 rows, needs 5,000"
    assert "drift" not in first["windows"]
    assert alerts(ws) == {}, "one window may be small"
    rows = ws.tables.to_arrow(
        NS.ops("drift_metrics"), at_most=10**6, filters=[("baseline", "=", "training")]
    ).to_pylist()
    assert {row["limit"] for row in rows} == {None}, "on record as not judged"
    assert max(row["value"] for row in rows) > 1, "and measured all the same"
    assert not any(row["violated"] for row in rows)
    second = run_tiny(ws, picky.folder, SECOND, [*PREPARE, "score", "monitor"]).details("monitor")
    assert second["unjudged_windows"] == 2
    assert alerts(ws, SECOND) == {"not_judged": "raised"}
    again = run_tiny(ws, picky.folder, SECOND, ["monitor"]).details("monitor")
    assert again["unjudged_windows"] == 2, "the same time again counts once"
    facts = status._facts(ws, "tiny")
    assert facts["monitoring"]["not_judged"]["drift"] == "288 rows, needs 5,000"
    assert "2 windows in a row were not judged" in " ".join(status._details(facts))
    assert status._state(facts) in ("not judged", "warning", "critical")
    # A window that is judged ends it.
    run_tiny(ws, write(tmp_path / "usual").folder, LATER, [*PREPARE, "score", "monitor"])
    assert alerts(ws, LATER)["not_judged"] == "recovered"
    assert status._facts(ws, "tiny")["monitoring"]["unjudged_windows"] == 0


def test_counts_of_a_window_in_other_cells_are_counted_again(open_at, tiny):
    """As an earlier version of the library recorded them."""
    ws = open_at("scored")
    name = NS.ops("window_counts")
    rows = ws.tables.to_arrow(name, at_most=10**6).to_pylist()
    for row in rows:
        row["counts"] = json.dumps({"price": json.loads(row["counts"])["columns"]["price"] | {"cells": [1, 2]}})
    ws.tables.overwrite(name, pa.Table.from_pylist(rows, schema=ws.tables.to_arrow(name, at_most=10**6).schema))
    ws.tables.overwrite(NS.ops("drift_metrics"), ws.tables.to_arrow(NS.ops("drift_metrics"), at_most=10**6).slice(0, 0))
    run_tiny(ws, tiny.folder, LATER, ["monitor"])
    found = ws.tables.to_arrow(NS.ops("drift_metrics"), at_most=10**6, filters=[("baseline", "=", "previous window")])
    assert "price" in found["column"].to_pylist()


# Drift and broken things


def test_the_window_before_is_a_baseline_too(open_at):
    ws = open_at("second")
    rows = ws.tables.to_arrow(
        NS.ops("drift_metrics"), at_most=10**6, filters=[("as_of", "=", first_of("2020-09"))]
    ).to_pylist()
    by = {(row["baseline"], row["column"], row["metric"]): row["value"] for row in rows}
    assert by["training", "region_cancellations", "psi"] > 1 > by["previous window", "price", "psi"]
    assert by["none", "features_region", "match_rate"] == 1
    assert 0 <= by["none", "features_region", "age_days"] < 5
    first = ws.tables.to_arrow(NS.ops("drift_metrics"), at_most=10**6, filters=[("as_of", "=", first_of("2020-08"))])
    assert set(first["baseline"].to_pylist()) == {"training", "none"}


def test_counts_of_the_window_before_that_were_not_kept_are_counted_again(open_at, tiny):
    ws, kept = open_at("scored"), open_at("scored")
    filters = [("as_of", "=", first_of("2020-10")), ("baseline", "=", "previous window")]
    ws.tables.overwrite(NS.ops("window_counts"), ws.tables.to_arrow(NS.ops("window_counts"), at_most=10**6).slice(0, 0))
    measured = []
    for workspace in (ws, kept):
        run_tiny(workspace, tiny.folder, LATER, ["monitor"])
        rows = workspace.tables.to_arrow(NS.ops("drift_metrics"), at_most=10**6, filters=filters)
        measured.append(sorted((row["column"], row["metric"], row["value"]) for row in rows.to_pylist()))
    assert measured[0] == measured[1] != []


def test_features_that_are_stale_or_not_found_are_alerts(open_at, tmp_path):
    strict = write(tmp_path / "strict", max_feature_age="1 day", min_match_rate=1.0)
    ws = open_at("promoted")
    run_tiny(ws, strict.folder, FIRST, ["score"])
    made = predictions(ws).to_pylist()
    for row in made[::2]:
        row["features_unmatched"] = ["features_region"]
    ws.tables.overwrite(NS.gold("predictions"), pa.Table.from_pylist(made, schema=predictions(ws).schema))
    run_tiny(ws, strict.folder, "2020-08-03", ["monitor"])
    assert alerts(ws)["stale_features"] == "raised"
    assert alerts(ws)["unmatched_features"] == "raised"


def test_an_empty_window_is_neither_well_nor_ill(open_at, tiny):
    ws = open_at("second")
    assert alerts(ws)["drift"] == "repeated"
    details = run_tiny(ws, tiny.folder, "2021-06-01", ["monitor"]).details("monitor")
    assert "drift" not in details["windows"]
    assert "drift" not in alerts(ws, "2021-06-01")


def test_a_missing_reference_profile_is_an_alert_and_performance_is_measured_all_the_same(open_at, tiny):
    ws = open_at("second")
    run_tiny(ws, tiny.folder, LAST, [*PREPARE, "score"])
    (profile,) = [
        path for path in ws.root.rglob(reference.PROFILE_FILE) if ws.registry.get(NS.model, 1).run_id in str(path)
    ]
    hidden = profile.rename(profile.with_suffix(".hidden"))
    use_case = Pipeline(ws, open_tiny(ws, tiny.folder), parse_as_of("2020-09-15")).run(["monitor"])
    assert use_case.details("monitor")["windows"]["monitor"]["violated"]
    assert "reference profile" in use_case.details("monitor")["alerts"][0]["message"]
    assert alerts(ws, "2020-09-15") == {"monitor": "raised"}
    hidden.rename(profile)
    # Again for the same time, mended: what could not be measured is measured now.
    run_tiny(ws, tiny.folder, "2020-09-15", ["monitor"])
    rows = ws.tables.to_arrow(
        NS.ops("drift_metrics"), at_most=10**6, filters=[("as_of", "=", parse_as_of("2020-09-15"))]
    )
    assert rows.num_rows > 0
    run_tiny(ws, tiny.folder, "2020-09-16", ["monitor"])
    assert alerts(ws, "2020-09-16")["monitor"] == "recovered"


def test_a_renamed_feature_column_is_an_alert_and_not_all_well(open_at, tiny):
    ws = open_at("second")
    name = NS.features("region")
    info, rows = ws.tables.describe(name), ws.tables.to_arrow(NS.features("region"), at_most=10**6)
    ws.tables.drop(name)
    renamed = rows.rename_columns(["region", "known_at", "region_cancelations"])
    ws.fe.create_table(name=str(name), primary_keys=list(info.primary_keys), df=renamed, timeseries_column="known_at")
    details = run_tiny(ws, tiny.folder, "2020-09-02", ["monitor"]).details("monitor")
    assert "drift" not in details["windows"]
    (alert,) = [item for item in details["alerts"] if item["kind"] == "monitor"]
    assert "region_cancellations" in alert["message"]
    assert alert["severity"] == "critical"


# Alerts and their delivery


@pytest.fixture
def hooked(tmp_path: Path) -> TinyFolder:
    webhook = {"secret": "alerts/webhook", "timeout_seconds": 0.3, "attempts": 2, "backoff_seconds": 0.0}
    return write(tmp_path / "hooked", alerts={"webhook": webhook})


def deliveries(ws: LocalWorkspace) -> list[str]:
    rows = ws.tables.to_arrow(NS.ops("alert_deliveries"), at_most=10**6).sort_by("attempted_at")
    return rows["status"].to_pylist()


def test_alerts_are_sent_once_while_they_last(open_at, hooked, monkeypatch):
    ws = open_at("promoted")
    with listening() as hook:
        monkeypatch.setenv("MLPLATFORM_SECRET_ALERTS_WEBHOOK", hook.url)
        for as_of in (FIRST, SECOND):
            run_tiny(ws, hooked.folder, as_of, [*PREPARE, "score", "monitor"])
            run_tiny(ws, hooked.folder, as_of, ["monitor"])
    told = [text.rpartition(": ")[2] for text in hook.texts()]
    assert told.count("drift raised") == 1
    assert set(deliveries(ws)) == {"delivered"}
    assert len(told) == len(set(told)) == len(deliveries(ws))


def test_killed_between_writing_and_sending_the_next_run_sends(tmp_path, bases, hooked, monkeypatch):
    root = clone(bases["promoted"], tmp_path / "killed")
    assert run_and_die(root, hooked.folder, FIRST, "between writing the alerts and sending them") == KILLED
    with LocalWorkspace.open(root=root) as ws, listening() as hook:
        written = alerts(ws)
        assert written["drift"] == "raised"
        assert deliveries(ws) == []
        monkeypatch.setenv("MLPLATFORM_SECRET_ALERTS_WEBHOOK", hook.url)
        run_tiny(ws, hooked.folder, FIRST)
        assert len(hook.got) == len(written) == len(deliveries(ws))


# What never answers well is looked at below in every run, too.
@pytest.mark.parametrize("failure", every(2, ["dead", "500", "no secret"]))
def test_a_webhook_that_fails_stops_nothing_and_is_tried_again(open_at, hooked, monkeypatch, caplog, failure):
    ws = open_at("promoted")
    with listening() as hook, caplog.at_level(logging.DEBUG, logger="mlplatform"):
        if failure == "500":
            hook.answers[:] = [500] * 2
        if failure != "no secret":
            url = hook.url if failure == "500" else "http://127.0.0.1:1/secret-path/"
            monkeypatch.setenv("MLPLATFORM_SECRET_ALERTS_WEBHOOK", url)
        summary = run_tiny(ws, hooked.folder, FIRST, ["score", "monitor"])
        raised = len(alerts(ws))
        assert summary.details("monitor")["sent"] == {"delivered": 0, "failed": raised}
        assert deliveries(ws) == ["failed"] * raised
        everything = caplog.text + "".join(map(str, business_state(ws, NS).values()))
        everything += str(ws.tables.to_arrow("dev.ops.stage_runs", at_most=10**6).to_pylist())
        assert "secret-path" not in everything
        assert "could not be sent" in caplog.text
        # The next run, with the endpoint well again.
        monkeypatch.setenv("MLPLATFORM_SECRET_ALERTS_WEBHOOK", hook.url)
        hook.got.clear()
        run_tiny(ws, hooked.folder, FIRST, ["monitor"])
        assert len(hook.got) == raised
        assert deliveries(ws)[-raised:] == ["delivered"] * raised


def test_an_alert_that_can_never_be_sent_is_given_up(open_at, tmp_path, monkeypatch):
    webhook = {"secret": "alerts/webhook", "attempts": 1, "give_up_after": 2}
    own = write(tmp_path / "own", alerts={"webhook": webhook})
    ws = open_at("promoted")
    with listening() as hook:
        hook.answers[:] = [404] * 10
        monkeypatch.setenv("MLPLATFORM_SECRET_ALERTS_WEBHOOK", hook.url)
        run_tiny(ws, own.folder, FIRST, ["score"])
        for _ in range(3):
            run_tiny(ws, own.folder, FIRST, ["monitor"])
    raised = len(alerts(ws))
    assert sorted(deliveries(ws)) == ["failed"] * raised + ["given up"] * raised


# Retraining


def test_two_processes_that_find_a_retraining_due_do_one(open_at, tiny, tmp_path, monkeypatch):
    eager = write(tmp_path / "eager", retrain_every="1 day")
    ws = open_at("second")
    trained: list[str] = []

    def slow_training(stage: Train, context: StageContext) -> StageResult[Any]:
        del stage
        trained.append(context.run_id)
        time.sleep(0.5)
        return StageResult(TrainDetails(version=1))

    monkeypatch.setattr(Train, "run", slow_training)
    monkeypatch.setattr(Gate, "run", lambda *_, **__: StageResult(GateDetails(), skipped="not in this test"))
    # As two processes have: a workspace each.
    with LocalWorkspace.open(root=ws.root, spark=ws.spark) as other:
        pipelines = [Pipeline(it, open_tiny(it, eager.folder), parse_as_of(LATER)) for it in (ws, other)]
        threads = [threading.Thread(target=pipeline.run, args=(["retrain"],)) for pipeline in pipelines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(trained) == 1
    decided = sorted(pipeline.summary.details("retrain")["due"] for pipeline in pipelines)
    assert decided == [False, True]


def test_a_due_retraining_starts_a_job_once_and_is_over_when_the_job_has_trained(open_at, tmp_path):
    eager = write(tmp_path / "eager", retrain_every="1 day")
    ws = open_at("second")
    started: list[dict[str, str]] = []
    ws.jobs.register("tiny_train", started.append)

    def retrain() -> dict[str, Any]:
        pipeline = Pipeline(ws, open_tiny(ws, eager.folder), parse_as_of(LATER))
        return pipeline.run(["retrain"], start_job="tiny_train").details("retrain")

    first = retrain()
    assert started == [{"as_of": f"{LATER}T00:00:00+00:00", "env": "dev"}]
    assert (first["due"], first["job"]["name"], first["job"]["state"]) == (True, "tiny_train", "succeeded")
    # The job has done nothing: still due, and still the same run.
    assert retrain()["job"] == first["job"]
    recorded = ws.tables.to_arrow(
        NS.ops("stage_runs"), at_most=10**6, filters=[("as_of", "=", first_of("2020-10"))]
    ).to_pylist()
    assert [row["stage"] for row in recorded if row["stage"] in ("train", "retrain")] == ["retrain", "retrain"]
    run_tiny(ws, eager.folder, LATER, ["train"])
    over = retrain()
    assert (over["due"], "job" in over, len(started)) == (False, False, 1)


def test_a_job_that_cannot_be_started_is_a_failed_stage_and_without_need_none_is(open_at, tiny, tmp_path):
    ws = open_at("second")
    quiet = Pipeline(ws, open_tiny(ws, tiny.folder), parse_as_of(LATER)).run(["retrain"], start_job="absent")
    assert quiet.details("retrain")["due"] is False
    eager = write(tmp_path / "eager", retrain_every="1 day")
    pipeline = Pipeline(ws, open_tiny(ws, eager.folder), parse_as_of(LATER))
    with pytest.raises(DeploymentError, match="no job absent"):
        pipeline.run(["retrain"], start_job="absent")
    assert [(run.stage, run.status) for run in pipeline.summary.stages] == [("retrain", "failed")]


def test_a_decision_can_be_looked_at_without_making_it(open_at, tmp_path):
    eager = write(tmp_path / "eager", cooldown="1 day")
    ws = open_at("second")
    before, runs = business_state(ws, NS), ws.tables.to_arrow("dev.ops.stage_runs", at_most=10**6).num_rows
    details = Pipeline(ws, open_tiny(ws, eager.folder), parse_as_of(SECOND)).retrain_decision()
    assert details["due"]
    assert [reason.partition(":")[0] for reason in details["reasons"]] == ["drift", "prediction_drift"]
    again = Pipeline(ws, open_tiny(ws, eager.folder), parse_as_of(SECOND)).retrain_decision()
    assert again["token"] == details["token"]
    assert differences(business_state(ws, NS), before) == {}
    assert ws.tables.to_arrow("dev.ops.stage_runs", at_most=10**6).num_rows == runs


def test_an_alarm_found_a_while_ago_still_counts_and_what_was_not_looked_at_is_unknown(open_at, tmp_path):
    eager = write(tmp_path / "eager", cooldown="1 day")
    ws = open_at("second")

    def decision(as_of: str) -> dict[str, Any]:
        return Pipeline(ws, open_tiny(ws, eager.folder), parse_as_of(as_of)).retrain_decision()

    later = decision("2020-09-20")
    assert later["due"]
    assert later["reasons"][0].startswith("drift: 2 of the last 2 windows")
    run_tiny(ws, eager.folder, "2020-09-20", ["train"])
    assert not decision("2020-09-25")["due"]
    assert decision("2020-09-25")["reasons"][0].startswith("unknown: nothing has been monitored since")


def test_a_check_that_could_not_be_made_is_no_all_clear(open_at, tiny):
    ws = open_at("second")
    ws.tables.drop(NS.features("region"))
    run_tiny(ws, tiny.folder, "2020-09-02", ["monitor"])
    decision = Pipeline(ws, open_tiny(ws, tiny.folder), parse_as_of("2020-09-02")).retrain_decision()
    assert decision["reasons"] == [
        "unknown: a check could not be made at 2020-09-02, see the alert monitor; the schedule is not due"
    ]
