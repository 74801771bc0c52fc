"""Each check of the gate by itself: what it lets pass, what not, and when it has nothing to say."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlplatform.as_of import parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.champion_gate import guarded
from mlplatform.gate.checks import default_checks
from mlplatform.gate.checks.base import (
    CheckResult,
    Evidence,
    FeatureFacts,
    ModelSignature,
    cluster_numbers,
    group_frame,
)
from mlplatform.statistics import metrics
from mlplatform.statistics.bootstrap import paired_difference

AS_OF = parse_as_of("2020-06-01")
ROWS = 1200
LABELS = (np.arange(ROWS) % 3 == 0).astype(float)
REGION = np.array(["north", "south", "east"])[(np.arange(ROWS) // 3) % 3]


def noisy(signal: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=ROWS)
    return 1 / (1 + np.exp(-(signal * (LABELS - 0.5) + noise)))


GOOD, FAIR = noisy(3.0, 0), noisy(1.5, 1)


def settings(task: str = "classification", metric: str = "roc_auc", **gate: Any) -> UseCaseSettings:
    limits = {"floor": 0.0, "min_rows": 100, "min_positives": 20, "draws": 200, **gate}
    return UseCaseSettings.model_validate(
        {"owner": "x", "task": task, "label": {"horizon": "1 day"}, "training": {"metric": metric}, "gate": limits}
    )


def evidence(challenger: np.ndarray = GOOD, champion: np.ndarray | None = FAIR, **more: Any) -> Evidence:
    given: dict[str, Any] = {"labels": LABELS, "source": {}, "as_of": AS_OF, "rows": pa.table({"region": REGION})}
    return Evidence(challenger=challenger, champion=champion, **{**given, **more})


def result(name: str, found: Evidence, **limits: Any) -> CheckResult:
    (check,) = [check for check in default_checks(settings(**limits)) if check.name == name]
    return guarded(check, found)


# The champion


def test_a_gain_that_may_be_chance_is_not_enough():
    one, other = noisy(2.0, 2), noisy(2.0, 3)
    auc = metrics.get("roc_auc")
    worse, better = sorted((one, other), key=lambda scores: auc.compute(LABELS, scores))
    found = result("beats_champion", evidence(better, worse))
    assert found.numbers["gain"] > 0 > found.numbers["low"]
    assert found.status == "fail"
    assert result("beats_champion", evidence(better, worse), margin=0.01 - found.numbers["low"]).status == "pass"
    assert result("beats_champion", evidence(GOOD, FAIR)).status == "pass"


# Guards


def guard(**limits: Any) -> dict[str, Any]:
    return {"guards": [limits]}


def test_a_guard_refuses_what_may_lose_too_much_and_lets_a_small_loss_pass():
    worse = evidence(FAIR, GOOD)
    assert result("guard_brier", worse, **guard(metric="brier", max_loss=0.01)).status == "fail"
    assert result("guard_brier", worse, **guard(metric="brier", max_loss=0.5)).status == "pass"
    assert result("guard_brier", evidence(), **guard(metric="brier", max_loss=0.0)).status == "pass"


def test_a_guards_floor_holds_for_the_first_champion_too():
    alone = evidence(GOOD, None)
    assert result("guard_brier", alone, **guard(metric="brier", floor=0.01)).status == "fail"
    assert result("guard_brier", alone, **guard(metric="brier", floor=0.5)).status == "pass"
    skipped = result("guard_brier", alone, **guard(metric="brier", max_loss=0.1))
    assert (skipped.status, "no champion" in skipped.detail) == ("skipped", True)


def minutes(seed: int, scale: float, shift: float = 0.0) -> np.ndarray:
    return DELAYS + shift + np.random.default_rng(seed).normal(scale=scale, size=ROWS)


DELAYS = np.random.default_rng(5).exponential(12.0, ROWS)
EVENT = {"metric": "roc_auc", "event_above": 15, "max_loss": 0.01, "floor": 0.7}
REGRESSION = {"task": "regression", "metric": "mae"}


def test_a_regression_is_guarded_by_how_well_it_ranks_an_event():
    """A shift by an hour spoils every value and no order; shuffling those above the threshold the other way round."""
    known = {"labels": DELAYS}
    name = "guard_roc_auc_above_15"
    shifted = evidence(minutes(1, 3.0, shift=60.0), minutes(2, 4.0), **known)
    assert result(name, shifted, **REGRESSION, **guard(**EVENT)).status == "pass"
    blind = evidence(np.random.default_rng(3).permutation(DELAYS), minutes(2, 4.0), **known)
    assert result(name, blind, **REGRESSION, **guard(**EVENT)).status == "fail"
    found = result(name, shifted, **REGRESSION, **guard(**EVENT))
    assert found.numbers["challenger"] == pytest.approx(metrics.roc_auc((DELAYS > 15).astype(float), minutes(1, 3.0)))


def test_an_event_that_hardly_ever_happens_guards_nothing_and_says_so():
    found = result(
        "guard_roc_auc_above_500",
        evidence(minutes(1, 3.0), None, labels=DELAYS),
        **REGRESSION,
        **guard(metric="roc_auc", event_above=500, floor=0.7),
    )
    assert (found.status, found.detail) == ("fail", "0 rows of the rarer kind, 20 are needed")


@pytest.mark.parametrize(
    ("task", "metric", "entry", "says"),
    [
        ("regression", "mae", {"metric": "roc_auc", "floor": 0.7}, "no metric that fits here"),
        ("regression", "mae", {"metric": "brier", "event_above": 15, "floor": 0.7}, "no metric that fits here"),
        ("classification", "roc_auc", {"metric": "brier", "event_above": 1, "floor": 1}, "for regressions"),
        ("classification", "roc_auc", {"metric": "brier"}, "set max_loss or floor"),
    ],
)
def test_a_guard_that_makes_no_sense_is_refused_by_the_settings(task, metric, entry, says):
    with pytest.raises(ValueError, match=says):
        settings(task, metric, guards=[entry])


# The trivial baseline by group


@pytest.mark.parametrize(
    "values",
    [[True, False, None], [2**53, 2**53 + 1, None], [Decimal("1.10"), Decimal("1.1"), None], ["a", "b", None]],
    ids=["boolean", "large numbers", "decimal", "text"],
)
def test_groups_are_matched_whatever_is_null_among_them(values):
    """One row without a null among the values, matched with rows of which some are null."""
    known = group_frame(pa.table({"by": pa.array(values), "label": [1.0, 2.0, 3.0]}), ["by"])
    here = group_frame(pa.table({"by": pa.array(values[:1], pa.array(values).type)}), ["by"])
    assert known["by"].isna().tolist() == [False, False, True]
    groups = known.assign(label=[1.0, 2.0, 3.0]).groupby("by", dropna=False)["label"].min().reset_index()
    assert here.merge(groups, on="by", how="left")["label"].tolist() == [1.0]
    assert len(groups) == len(set(values))


def test_a_baseline_by_group_is_the_training_median_of_the_route():
    routes = np.array(["short", "long"])[np.arange(ROWS) % 2]
    labels = np.where(routes == "long", 100.0, 10.0) + np.random.default_rng(0).normal(scale=5.0, size=ROWS)
    training = pa.table({"route": ["short", "short", "short", "long"], "label": [9.0, 10.0, 90.0, 100.0]})
    knows_routes = np.where(routes == "long", 100.0, 10.0)
    near = labels + np.random.default_rng(1).normal(scale=1.0, size=ROWS)
    limits = {**REGRESSION, "floor": 100.0}
    rows = pa.table({"route": routes})
    for made, alone, by_route in ((knows_routes, "pass", "fail"), (near, "pass", "pass")):
        found = evidence(made, None, labels=labels, rows=rows, training=training)
        assert result("beats_trivial", found, **limits).status == alone
        assert result("beats_trivial", found, **limits, baseline_by=["route"]).status == by_route


def test_a_group_that_training_did_not_know_gets_the_overall_baseline_and_an_unknown_column_fails():
    rows = pa.table({"route": ["new"] * ROWS})
    training = pa.table({"route": ["old"] * 3, "label": [1.0, 2.0, 9.0]})
    found = evidence(minutes(1, 1.0), None, labels=DELAYS, rows=rows, training=training)
    shown = result("beats_trivial", found, **REGRESSION, baseline_by=["route"])
    assert (shown.status, f"({ROWS} rows of unknown groups)" in shown.detail) == ("pass", True)
    wrong = result("beats_trivial", found, **REGRESSION, baseline_by=["rout"])
    assert (wrong.status, "Did you mean route?" in wrong.detail) == ("fail", True)
    nothing = result("beats_trivial", replace(found, training=None), **REGRESSION, baseline_by=["route"])
    assert nothing.status == "fail"


# Calibration


def test_the_slope_of_probabilities_that_are_what_they_say_is_one_and_of_extreme_ones_less():
    random = np.random.default_rng(0)
    odds = random.normal(size=20_000)
    labels = (random.random(20_000) < 1 / (1 + np.exp(-odds))).astype(float)
    fitted = metrics.calibration_slope(labels, 1 / (1 + np.exp(-odds)), binary=True)
    extreme = metrics.calibration_slope(labels, 1 / (1 + np.exp(-2 * odds)), binary=True)
    assert fitted == pytest.approx(1.0, abs=0.05)
    assert extreme == pytest.approx(fitted / 2, abs=1e-6)


def test_the_slope_agrees_with_a_logistic_regression_of_the_library():
    from sklearn.linear_model import LogisticRegression

    odds = np.log(FAIR / (1 - FAIR)).reshape(-1, 1)
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(odds, LABELS)
    assert metrics.calibration_slope(LABELS, FAIR, binary=True) == pytest.approx(float(fitted.coef_[0, 0]), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "tight", "wide"),
    [
        ("calibration", {"max_calibration_error": 0.001}, {"max_calibration_error": 0.9}),
        ("brier", {"max_brier": 0.001}, {"max_brier": 0.9}),
        ("calibration_slope", {"max_calibration_slope": 0.1}, {"max_calibration_slope": 10.0}),
        ("calibration_slope", {"min_calibration_slope": 9.0}, {"min_calibration_slope": 0.1}),
    ],
)
def test_calibration_is_limited_as_the_settings_say_and_shown_where_they_do_not(name, tight, wide):
    assert result(name, evidence(), **tight).status == "fail"
    assert result(name, evidence(), **wide).status == "pass"
    skipped = result(name, evidence())
    assert (skipped.status, skipped.detail.startswith("no limit is set")) == ("skipped", True)
    assert np.isfinite(skipped.numbers["value"])


def test_a_slope_that_is_not_defined_fails_where_it_is_limited():
    constant = evidence(np.full(ROWS, 0.3))
    assert result("calibration_slope", constant, min_calibration_slope=0.5).status == "fail"
    assert result("calibration_slope", constant).status == "skipped"


# Slices


def spoilt_in(region: str) -> np.ndarray:
    """Better than the champion everywhere but in one region, where the order is the wrong way round."""
    return np.where(region == REGION, 1 - GOOD, GOOD)


def test_a_challenger_that_is_surely_worse_somewhere_is_refused_and_the_slice_is_named():
    found = result("slices", evidence(spoilt_in("south"), FAIR), slices={"columns": ["region"]})
    assert (found.status, "region = south" in found.detail) == ("fail", True)
    assert [part["worse"] for part in found.parts] == [False, False, True]
    assert result("slices", evidence(), slices={"columns": ["region"]}).status == "pass"


def test_a_loss_within_the_margin_of_the_slices_passes():
    assert (
        result("slices", evidence(spoilt_in("south"), FAIR), slices={"columns": ["region"], "max_loss": 1.0}).status
        == "pass"
    )


def test_the_more_slices_the_wider_the_interval_of_each():
    several = pa.table({"region": REGION, **{f"c{n}": np.array(["a", "b"])[np.arange(ROWS) % 2] for n in range(5)}})
    one = result("slices", evidence(rows=several), slices={"columns": ["region"]})
    many = result("slices", evidence(rows=several), slices={"columns": ["region", *(f"c{n}" for n in range(5))]})
    assert len(many.parts) == 13
    spread = [next(part for part in it.parts if part["slice"] == "region = east") for it in (one, many)]
    assert spread[1]["high"] - spread[1]["low"] > spread[0]["high"] - spread[0]["low"]


def test_slices_without_support_are_left_out_and_counted():
    found = result("slices", evidence(), slices={"columns": ["region"], "min_rows": ROWS})
    assert (found.status, found.detail) == ("skipped", "none of 3 slices has the support that is needed")
    rare = np.where(np.arange(ROWS) < 30, "rare", REGION)
    found = result("slices", evidence(rows=pa.table({"region": rare})), slices={"columns": ["region"]})
    assert (found.status, "1 slices without support left out" in found.detail) == ("pass", True)


def test_numbers_are_cut_at_quartiles_and_nulls_are_a_slice():
    price = [None if number % 4 == 0 else float(number) for number in range(ROWS)]
    found = result("slices", evidence(rows=pa.table({"price": price})), slices={"columns": ["price"], "min_rows": 2})
    assert len(found.parts) == 5
    assert sum(part["rows"] for part in found.parts) == ROWS
    assert found.parts[0]["slice"] == "price is null"


@pytest.mark.parametrize("champion", [FAIR, None])
def test_an_unknown_slice_column_fails_and_names_the_nearest(champion):
    found = result("slices", evidence(GOOD, champion), slices={"columns": ["regoin"]})
    assert (found.status, "Did you mean region?" in found.detail) == ("fail", True)


def test_slices_are_skipped_where_there_is_no_champion_or_no_setting():
    assert result("slices", evidence(GOOD, None), slices={"columns": ["region"]}).status == "skipped"
    assert result("slices", evidence()).detail == "gate.slices is not set"


# Features, signature, time


def features(share: float, trained: float = 0.0, newest: Any = None) -> Evidence:
    return evidence(features=FeatureFacts({"history": share, "other": 0.0}, {"history": trained}, newest or {}))


def test_a_feature_that_is_gone_fails_by_default_and_a_rise_where_it_is_limited():
    assert result("feature_availability", features(1.0)).status == "fail"
    assert result("feature_availability", features(1.0, trained=1.0)).status == "pass"
    assert result("feature_availability", features(0.6)).status == "pass"
    limited = {"features": {"max_null_increase": 0.1}}
    assert result("feature_availability", features(0.6, 0.45), **limited).status == "fail"
    assert result("feature_availability", features(0.6, 0.55), **limited).status == "pass"
    assert result("feature_availability", evidence(features=None)).status == "fail"


def test_a_feature_table_whose_newest_row_is_too_old_or_missing_fails():
    limits = {"features": {"max_age": "7 days"}}
    for newest, status in (("2020-05-26", "pass"), ("2020-05-24", "fail")):
        assert result("feature_staleness", features(0.0, newest={"t": parse_as_of(newest)}), **limits).status == status
    assert result("feature_staleness", features(0.0, newest={"t": None}), **limits).status == "fail"
    assert result("feature_staleness", evidence(features=None), **limits).status == "fail"
    assert result("feature_staleness", features(0.0), **limits).status == "skipped"
    assert result("feature_staleness", features(0.0)).status == "skipped"


CHAMPIONS = ModelSignature({"price": "double"}, {"history": "long"}, ("double",))


@pytest.mark.parametrize(
    ("mine", "status"),
    [
        (CHAMPIONS, "pass"),
        (ModelSignature({}, {"brand_new_lookup": "long"}, ("double",)), "pass"),
        (ModelSignature({"history": "long"}, {}, ("double",)), "pass"),
        (ModelSignature({"price": "double", "seats": "long"}, {}, ("double",)), "fail"),
        (ModelSignature({"price": "string"}, {}, ("double",)), "fail"),
        (ModelSignature({"price": "double"}, {}, ("string",)), "fail"),
    ],
)
def test_a_challenger_must_take_what_the_champion_takes(mine, status):
    found = evidence(signatures=(mine, CHAMPIONS))
    assert result("signature", found).status == status
    assert result("signature", found, signature="any").status == "skipped"


def test_signatures_that_are_not_known_are_no_reason_to_pass():
    assert result("signature", evidence()).status == "fail"
    assert result("signature", evidence(GOOD, None)).status == "skipped"


def test_scoring_may_not_take_longer_than_the_limit():
    limits = {"max_seconds_per_1000_rows": 1.0}
    assert result("scoring_time", evidence(seconds_per_1000_rows=0.9), **limits).status == "pass"
    assert result("scoring_time", evidence(seconds_per_1000_rows=1.1), **limits).status == "fail"
    assert result("scoring_time", evidence(), **limits).status == "fail"


# Clusters


def test_rows_of_one_cluster_are_drawn_together():
    """Each row twice is no more evidence than once: only the clusters' interval knows that."""
    twice = np.repeat(np.arange(ROWS), 2)
    labels, good, fair = LABELS[twice], GOOD[twice], FAIR[twice]
    brier = metrics.get("brier")
    common = {"confidence": 0.9, "draws": 500, "seed": 0}
    once = paired_difference(brier, LABELS, GOOD, FAIR, stratify=False, **common)
    clustered = paired_difference(brier, labels, good, fair, stratify=False, clusters=twice.astype(np.int64), **common)
    naive = paired_difference(brier, labels, good, fair, stratify=False, **common)
    assert clustered.standard_error == pytest.approx(once.standard_error)
    assert naive.standard_error < 0.8 * once.standard_error


def test_clusters_come_from_the_columns_and_too_few_of_them_fail():
    entity = np.arange(ROWS) // 4
    found = evidence(rows=pa.table({"entity": entity, "region": REGION}))
    numbers = cluster_numbers(found, ("entity", "region"))
    assert numbers is not None
    assert len(set(numbers.tolist())) == len(set(zip(entity.tolist(), REGION.tolist(), strict=True)))
    assert result("beats_champion", found, cluster_by=["entity"]).status == "pass"
    few = result("beats_champion", found, cluster_by=["region"])
    assert (few.status, "3 clusters" in few.detail) == ("fail", True)
    assert result("beats_champion", found, cluster_by=["entty"]).status == "fail"


# Draws by counts


@pytest.mark.parametrize("name", sorted(metrics.METRICS))
def test_the_metric_of_a_draw_is_the_metric_of_the_rows_drawn(name):
    random = np.random.default_rng(0)
    counts = random.poisson(1.0, ROWS)
    made = np.round(GOOD, 2)  # with ties
    drawn = np.repeat(np.arange(ROWS), counts)
    metric = metrics.get(name)
    expected = metric.compute(LABELS[drawn], made[drawn])
    assert (metric.fast_draws is None) == (metric.losses is not None)
    assert metric.draws(LABELS, made)(counts) == pytest.approx(expected, abs=1e-12)


def test_what_a_check_of_one_s_own_gives_is_recorded_whatever_kind_of_number_it_is():
    kept = CheckResult(
        "rows",
        "pass",
        "",
        np.int64(3),
        np.float32(0.5),
        numbers={"share": np.float64(0.25)},
        parts=[{"ok": np.bool_(1)}],
    ).to_record()
    assert json.loads(json.dumps(kept)) == kept
    assert (kept["value"], kept["limit"], kept["parts"]) == (3, 0.5, [{"ok": True}])
    assert CheckResult.of({**kept, "of a later version": 1}) == CheckResult.of(kept)
