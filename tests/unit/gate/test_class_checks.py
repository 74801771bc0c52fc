"""The gate's checks of several classes: what they let pass, and what not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss

from mlplatform.as_of import parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.gate.champion_gate import ChampionGate, guarded
from mlplatform.gate.checks import default_checks
from mlplatform.gate.checks.base import CheckResult, Evidence, FeatureFacts
from mlplatform.gate.checks.evidence import EnoughEvidence, Probabilities
from mlplatform.gate.decision import Decision

CLASSES = ("bronze", "silver", "gold")
ROWS = 1500
DICE = np.random.default_rng(21)
AREA = DICE.uniform(0, 1, ROWS)


def probabilities(sharpness: float, seed: int | None = None) -> np.ndarray:
    logits = np.column_stack([2 - 4 * AREA, np.full(ROWS, 0.3), 4 * AREA - 2])
    if seed is not None:
        logits = logits + np.random.default_rng(seed).normal(0, 1.5, logits.shape)
    powers = np.exp(sharpness * logits)
    return powers / powers.sum(axis=1, keepdims=True)


RIGHT, NOISY = probabilities(1.0), probabilities(1.0, seed=3)
LABELS = (DICE.random((ROWS, 1)) > RIGHT.cumsum(axis=1)).sum(axis=1).clip(0, 2).astype(float)


def settings(metric: str = "log_loss", **gate: Any) -> UseCaseSettings:
    limits = {"floor": 2.0 if metric in ("log_loss", "brier") else 0.0, "min_rows": 100, "min_positives": 20}
    given = {"owner": "x", "task": "multiclass", "label": {"horizon": "1 day", "classes": CLASSES}}
    given |= {"training": {"metric": metric}, "gate": {**limits, "draws": 300, **gate}}
    return UseCaseSettings.model_validate(given)


def evidence(challenger: np.ndarray = RIGHT, champion: np.ndarray | None = None, **more: Any) -> Evidence:
    nothing = FeatureFacts({}, {}, {})
    given: dict[str, Any] = {"labels": LABELS, "source": {}, "as_of": parse_as_of("2020-06-01"), "features": nothing}
    given |= more
    return Evidence(challenger=challenger, champion=champion, **given)


def result(name: str, found: Evidence, metric: str = "log_loss", **limits: Any) -> CheckResult:
    (check,) = [check for check in default_checks(settings(metric, **limits)) if check.name == name]
    return guarded(check, found)


def decide(found: Evidence, **limits: Any) -> Decision:
    gate = ChampionGate(settings(**limits))
    return gate.decide(found, identity="x", challenger=2, champion=1, as_of=parse_as_of("2020-06-01"))


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "macro_f1", "macro_roc_auc", "brier"])
def test_the_better_model_is_promoted_and_the_worse_one_is_not(metric):
    assert result("beats_champion", evidence(RIGHT, NOISY), metric).status == "pass"
    assert result("beats_champion", evidence(NOISY, RIGHT), metric).status == "fail"
    assert result("beats_trivial", evidence(RIGHT), metric).status == "pass"


def test_a_whole_decision_is_a_promotion():
    found = decide(
        evidence(RIGHT, NOISY), max_calibration_error=0.05, max_brier=0.6, max_calibration_ratio=1.2, signature="any"
    )
    assert found.outcome == "promoted", found.reason
    assert "class_ratios" in {check.name for check in found.checks}
    names = [check.name for check in found.checks]
    assert "calibration_slope" not in names
    assert len(names) == len(set(names))


def test_the_constant_to_beat_is_how_frequent_the_classes_are():
    shares = np.bincount(LABELS.astype(int)) / ROWS
    constant = np.tile(shares, (ROWS, 1))
    assert result("beats_trivial", evidence(constant)).status == "fail"
    found = result("beats_trivial", evidence(RIGHT))
    assert found.numbers["gain"] == pytest.approx(log_loss(LABELS, constant) - log_loss(LABELS, RIGHT))


def test_the_constant_of_a_group_is_how_frequent_its_classes_were_in_training():
    group = np.where(AREA > 0.5, "large", "small")
    rows = pa.table({"size": [*group[:-1], "never seen"]})
    training = pa.table({"size": group, "label": LABELS})
    found = result("beats_trivial", evidence(RIGHT, rows=rows, training=training), baseline_by=["size"])
    overall = (np.bincount(LABELS.astype(int)) + 1) / (ROWS + 3)
    shares = np.empty((ROWS, 3))
    for value in ("large", "small"):
        counts = np.bincount(LABELS[group == value].astype(int), minlength=3)
        shares[group == value] = (counts + overall) / (counts.sum() + 1)
    shares[-1] = overall
    assert found.numbers["gain"] == pytest.approx(log_loss(LABELS, shares) - log_loss(LABELS, RIGHT))
    assert "(1 rows of unknown groups)" in found.detail


def test_each_class_must_have_enough_rows():
    rare = np.where((LABELS == 2) & (np.cumsum(LABELS == 2) > 12), 1.0, LABELS)
    assert guarded(EnoughEvidence(settings()), evidence(labels=rare)).status == "fail"
    detail = guarded(EnoughEvidence(settings()), evidence(labels=rare)).detail
    assert "12 rows of the rarest class (gold), 20 are needed" in detail
    assert guarded(EnoughEvidence(settings(min_positives=12)), evidence(labels=rare)).status == "pass"
    assert decide(evidence(labels=np.where(LABELS == 2, 1.0, LABELS))).outcome == "insufficient"


@pytest.mark.parametrize("whose", ["challenger", "champion"])
@pytest.mark.parametrize(
    "spoil", [lambda it: it * 1.1, lambda it: it - [0.5, 0, -0.5], lambda it: it[:, :2]], ids=["sum", "below 0", "few"]
)
def test_what_are_no_probabilities_of_the_classes_are_refused_whoever_gave_them(whose, spoil):
    wrong = {"challenger": RIGHT, "champion": NOISY, whose: spoil(RIGHT)}
    checked = guarded(Probabilities(settings()), evidence(**wrong))
    assert checked.status == "fail"
    assert whose in checked.detail
    assert decide(evidence(**wrong)).outcome == "rejected"


@pytest.mark.parametrize("whose", ["challenger", "champion"])
def test_a_row_without_probabilities_is_refused(whose):
    lacking = RIGHT.copy()
    lacking[7] = np.nan
    found = decide(evidence(**{"challenger": RIGHT, "champion": NOISY, whose: lacking}))
    assert (found.outcome, f"1 of {whose}" in found.reason) == ("rejected", True)
    assert decide(evidence(RIGHT, np.full(ROWS, np.nan))).outcome == "rejected", "a champion that gave nothing"


def test_too_sure_a_model_fails_by_its_calibration():
    assert result("calibration", evidence(RIGHT), max_calibration_error=0.05).status == "pass"
    assert result("calibration", evidence(probabilities(3.0)), max_calibration_error=0.05).status == "fail"
    assert result("calibration", evidence(RIGHT)).status == "skipped"


def test_a_class_that_is_predicted_too_seldom_fails_by_its_ratio_and_is_named():
    less = RIGHT * [1.0, 1.0, 0.6]
    less /= less.sum(axis=1, keepdims=True)
    found = result("class_ratios", evidence(less), max_calibration_ratio=1.2)
    assert found.status == "fail"
    assert "gold" in found.detail
    assert [part["class"] for part in found.parts] == list(CLASSES)
    assert found.parts[2]["ratio"] == pytest.approx((LABELS == 2).mean() / less[:, 2].mean())
    assert result("class_ratios", evidence(RIGHT), max_calibration_ratio=1.2).status == "pass"


def test_a_class_that_is_never_predicted_fails_where_it_comes_and_not_else():
    unknown = np.column_stack([RIGHT[:, 0] + RIGHT[:, 2], RIGHT[:, 1], np.zeros(ROWS)])
    few, none = LABELS.copy(), np.where(LABELS == 2, 0.0, LABELS)
    few[np.flatnonzero(LABELS == 2)[1:]] = 0.0
    assert result("class_ratios", evidence(unknown)).status == "skipped"
    found = result("class_ratios", evidence(unknown), max_calibration_ratio=1.5)
    assert found.status == "fail"
    assert "gold" in found.detail
    assert result("class_ratios", evidence(unknown, labels=none), max_calibration_ratio=1.5).status == "pass"
    # A single row is what chance makes.
    assert result("class_ratios", evidence(unknown, labels=few), max_calibration_ratio=1.5).status == "pass"


def test_a_class_that_was_to_come_once_or_twice_may_stay_away():
    hardly = RIGHT.copy()
    hardly[:, 2] = 1.5 / ROWS
    hardly /= hardly.sum(axis=1, keepdims=True)
    absent = np.where(LABELS == 2, 1.0, LABELS)
    parts = {part["class"]: part for part in result("class_ratios", evidence(hardly, labels=absent)).parts}
    assert parts["gold"]["ratio"] == 0
    assert parts["gold"]["low"] < 1 < parts["gold"]["high"]


def test_a_guard_may_be_any_metric_of_the_classes():
    guards = {"guards": [{"metric": "macro_f1", "max_loss": 0.01, "floor": 0.3}]}
    assert result("guard_macro_f1", evidence(RIGHT, NOISY), **guards).status == "pass"
    assert result("guard_macro_f1", evidence(NOISY, RIGHT), **guards).status == "fail"


def test_slices_of_one_class_alone_are_left_out():
    kind = np.where(LABELS == 0, np.where(AREA < 0.2, "all bronze", "b"), np.where(AREA > 0.6, "c", "b"))
    rows = pa.table({"kind": kind})
    slices = {"slices": {"columns": ["kind"], "min_rows": 30, "min_positives": 20}}
    found = result("slices", evidence(RIGHT, NOISY, rows=rows), **slices)
    assert found.status == "pass"
    assert "kind = all bronze" not in [part["slice"] for part in found.parts]
    area = result("slices", evidence(RIGHT, NOISY, rows=rows), "macro_roc_auc", **slices)
    assert [part["slice"] for part in area.parts] == ["kind = b"], "only there is a row of each class"
