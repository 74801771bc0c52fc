"""The gate's checks of quantiles and counts: what they let pass, and what not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import mean_pinball_loss

from mlplatform.as_of import parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.champion_gate import ChampionGate, guarded
from mlplatform.gate.checks import default_checks
from mlplatform.gate.checks.base import CheckResult, Evidence

ROWS = 1500
DICE = np.random.default_rng(21)
AREA = DICE.uniform(0, 1, ROWS)
LEVEL = 0.8
MINUTES = DICE.exponential(5 + 20 * AREA)
RIGHT = -np.log(1 - LEVEL) * (5 + 20 * AREA)
MEAN = np.exp(0.3 + 1.5 * AREA)
VISITS = DICE.poisson(MEAN).astype(float)


def settings(task: str, **gate: Any) -> UseCaseSettings:
    label = {"horizon": "1 day", **({"quantile": LEVEL} if task == "quantile" else {})}
    limits = {"floor": 100.0, "min_rows": 100, "draws": 300, **gate}
    return UseCaseSettings.model_validate({"owner": "x", "task": task, "label": label, "gate": limits})


def evidence(labels: np.ndarray, challenger: np.ndarray, champion: np.ndarray | None = None, **more: Any) -> Evidence:
    given: dict[str, Any] = {"source": {}, "as_of": parse_as_of("2020-06-01"), **more}
    return Evidence(labels=labels, challenger=challenger, champion=champion, **given)


def result(name: str, task: str, found: Evidence, **limits: Any) -> CheckResult:
    (check,) = [check for check in default_checks(settings(task, **limits)) if check.name == name]
    return guarded(check, found)


class TestQuantile:
    def test_a_quantile_is_not_asked_for_what_is_said_of_a_mean(self):
        names = {check.name for check in default_checks(settings("quantile"))}
        assert "coverage" in names
        assert not {"calibration", "brier", "calibration_slope", "prediction_range"} & names

    @pytest.mark.parametrize(("factor", "status"), [(1.0, "pass"), (0.6, "fail"), (2.0, "fail")])
    def test_its_coverage_is_held_against_the_level(self, factor, status):
        found = result("coverage", "quantile", evidence(MINUTES, RIGHT * factor), max_coverage_gap=0.05)
        assert found.status == status
        assert found.numbers["coverage"] == pytest.approx((RIGHT * factor >= MINUTES).mean())
        assert found.numbers["low"] < found.numbers["coverage"] < found.numbers["high"]

    def test_without_a_limit_the_coverage_is_told(self):
        found = result("coverage", "quantile", evidence(MINUTES, RIGHT * 3))
        assert (found.status, "no limit" in found.detail) == ("skipped", True)

    def test_few_rows_are_not_surely_off(self):
        """20 rows, 90% of them at or below: 80% are meant, and chance may be all of it."""
        labels = np.r_[np.zeros(18), np.full(2, 2.0)]
        found = result("coverage", "quantile", evidence(labels, np.ones(20)), max_coverage_gap=0.01)
        assert found.status == "pass"

    def test_rows_of_a_cluster_are_drawn_together(self):
        """Twenty days, each all below or all above: thirty rows of a day tell no more than one."""
        days = np.repeat(np.arange(20), 30)
        labels = np.where(days < 14, 0.0, 2.0)
        rows = pa.table({"day": days})
        alone = result("coverage", "quantile", evidence(labels, np.ones(600), rows=rows), max_coverage_gap=0.02)
        together = result(
            "coverage", "quantile", evidence(labels, np.ones(600), rows=rows), max_coverage_gap=0.02, cluster_by=["day"]
        )
        assert (alone.status, together.status) == ("fail", "pass")
        assert together.numbers["high"] - together.numbers["low"] > 3 * (alone.numbers["high"] - alone.numbers["low"])

    def test_the_better_quantile_wins_and_the_mean_does_not(self):
        better = evidence(MINUTES, RIGHT, np.full(ROWS, np.quantile(MINUTES, LEVEL)))
        assert result("beats_champion", "quantile", better).status == "pass"
        of_the_mean = evidence(MINUTES, 5 + 20 * AREA, RIGHT)
        found = result("beats_champion", "quantile", of_the_mean)
        assert found.status == "fail"
        assert found.numbers["challenger"] == pytest.approx(mean_pinball_loss(MINUTES, 5 + 20 * AREA, alpha=LEVEL))

    def test_the_constant_to_beat_is_the_quantile_of_the_labels(self):
        found = result("beats_trivial", "quantile", evidence(MINUTES, RIGHT))
        assert found.status == "pass"
        best = min(mean_pinball_loss(MINUTES, np.full(ROWS, value), alpha=LEVEL) for value in MINUTES)
        assert found.numbers["gain"] == pytest.approx(best - mean_pinball_loss(MINUTES, RIGHT, alpha=LEVEL))
        constant = np.full(ROWS, np.quantile(MINUTES, LEVEL, method="inverted_cdf"))
        assert result("beats_trivial", "quantile", evidence(MINUTES, constant)).status == "fail"

    def test_the_constant_of_a_group_is_the_quantile_of_its_training_labels(self):
        group = np.where(AREA > 0.5, "large", "small")
        training = pa.table({"size": group, "label": MINUTES})
        found = result(
            "beats_trivial",
            "quantile",
            evidence(MINUTES, RIGHT, rows=pa.table({"size": group}), training=training),
            baseline_by=["size"],
        )
        by_group = pd.Series(MINUTES).groupby(group).transform(lambda it: it.quantile(LEVEL, "lower"))
        gain = mean_pinball_loss(MINUTES, by_group, alpha=LEVEL) - mean_pinball_loss(MINUTES, RIGHT, alpha=LEVEL)
        assert found.numbers["gain"] == pytest.approx(gain, rel=0.01)


class TestCounts:
    @pytest.mark.parametrize("wrong", [-1e-9, float("nan")])
    @pytest.mark.parametrize("whose", ["challenger", "champion"])
    def test_a_prediction_below_zero_fails_whoever_made_it(self, whose, wrong):
        bad = MEAN.copy()
        bad[7] = wrong
        found = evidence(VISITS, **{"challenger": MEAN, "champion": MEAN, whose: bad})
        checked = result("prediction_range", "counts", found)
        assert checked.status == "fail"
        assert f"1 of {whose}" in checked.detail
        decision = ChampionGate(settings("counts")).decide(
            found, identity="x", challenger=2, champion=1, as_of=parse_as_of("2020-06-01")
        )
        assert decision.outcome == "rejected"

    def test_predictions_of_zero_and_more_pass(self):
        assert result("prediction_range", "counts", evidence(VISITS, np.r_[0.0, MEAN[1:]])).status == "pass"

    @pytest.mark.parametrize(("factor", "status"), [(1.0, "pass"), (0.7, "fail"), (1.4, "fail")])
    def test_the_predicted_total_is_held_against_the_observed(self, factor, status):
        found = result("calibration", "counts", evidence(VISITS, MEAN * factor), max_calibration_ratio=1.1)
        assert found.status == status
        assert found.numbers["ratio"] == pytest.approx(VISITS.sum() / (MEAN * factor).sum())

    def test_counts_that_vary_more_than_poisson_are_given_their_interval(self):
        """Half of them 0, half 40: a total of 40 rows may well be a fourth off, and Poisson would say a twentieth."""
        labels = np.where(np.random.default_rng(4).random(40) < 0.5, 0.0, 40.0)
        found = result("calibration", "counts", evidence(labels, np.full(40, 1.15 * labels.mean())))
        assert found.status == "skipped"
        assert found.numbers["high"] - found.numbers["low"] > 0.3
        assert result(
            "calibration", "counts", evidence(labels, np.full(40, 1.15 * labels.mean())), max_calibration_ratio=1.02
        ).status == "pass"  # fmt: skip

    def test_the_constant_to_beat_is_the_mean_and_the_better_model_wins(self):
        constant = np.full(ROWS, VISITS.mean())
        assert result("beats_trivial", "counts", evidence(VISITS, MEAN)).status == "pass"
        assert result("beats_trivial", "counts", evidence(VISITS, constant)).status == "fail"
        assert result("beats_champion", "counts", evidence(VISITS, MEAN, constant)).status == "pass"
        assert result("beats_champion", "counts", evidence(VISITS, constant, MEAN)).status == "fail"

    def test_predictions_of_zero_where_something_was_counted_lose(self):
        assert result("beats_champion", "counts", evidence(VISITS, np.zeros(ROWS), MEAN)).status == "fail"
