"""Metrics of several classes, against scikit-learn, by hand, from totals, and their draws, baseline and estimate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import pyarrow as pa
import pytest
import sklearn.metrics as reference
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier

from mlplatform.statistics import baseline, bootstrap, class_metrics, class_totals, estimate, metrics
from mlplatform.statistics.intervals import interval
from mlplatform.task import TASKS

CLASSES = ("bronze", "silver", "gold", "none")
TASK = replace(TASKS["multiclass"], classes=CLASSES)
MANY = len(CLASSES)
SEEDS, SIZES = st.integers(0, 10**6), st.integers(2, 80)


def made(seed: int, rows: int, *, rounded: bool = False, classes: int = MANY) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and probabilities that have something to do with each other; rounded ones have ties."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows).astype(float)
    logits = random.normal(size=(rows, classes)) + 1.5 * (labels[:, None] == np.arange(classes))
    if rounded:
        logits = np.round(logits)
    powers = np.exp(logits)
    return labels, powers / powers.sum(axis=1, keepdims=True)


@given(SEEDS, SIZES, st.booleans())
def test_each_metric_is_scikit_learns(seed, rows, rounded):
    labels, probabilities = made(seed, rows, rounded=rounded)
    found = metrics.evaluate(TASK, labels, probabilities)
    every, predicted = list(range(MANY)), probabilities.argmax(axis=1)
    assert found["log_loss"] == pytest.approx(reference.log_loss(labels, probabilities, labels=every))
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    assert found["macro_f1"] == pytest.approx(reference.f1_score(labels, predicted, average="macro", zero_division=0))
    judged = reference.brier_score_loss(labels, probabilities, labels=every, scale_by_half=False)
    assert found["brier"] == pytest.approx(judged)
    recall = reference.recall_score(labels, predicted, labels=every, average=None, zero_division=np.nan)
    precision = reference.precision_score(labels, predicted, labels=every, average=None, zero_division=np.nan)
    for place, name in enumerate(CLASSES):
        assert found[f"recall[{name}]"] == pytest.approx(recall[place], nan_ok=True)
        assert found[f"precision[{name}]"] == pytest.approx(precision[place], nan_ok=True)
        assert found[f"label_share[{name}]"] == pytest.approx((labels == place).mean())
        assert found[f"mean_probability[{name}]"] == pytest.approx(probabilities[:, place].mean())
    if np.unique(labels).size == MANY:
        area = reference.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
        assert found["macro_roc_auc"] == pytest.approx(area)
    else:
        assert np.isnan(found["macro_roc_auc"])


def test_the_calibration_error_is_that_of_the_predicted_class_by_hand():
    probabilities = np.array([[0.95, 0.05, 0], [0.92, 0.08, 0], [0.3, 0.4, 0.3], [0.31, 0.31, 0.38]])
    labels = np.array([0.0, 1.0, 1.0, 2.0])
    # Two rows in the last tenth, of which one is right; two by 0.4 and 0.38, both right.
    by_hand = 2 / 4 * abs((0.95 + 0.92) / 2 - 0.5) + abs(0.4 - 1) / 4 + abs(0.38 - 1) / 4
    assert metrics.get("expected_calibration_error", TASK).compute(labels, probabilities) == pytest.approx(by_hand)


def test_of_equally_probable_classes_the_first_is_predicted():
    assert class_metrics.predicted(np.full((2, 3), 1 / 3)).tolist() == [0, 0]


def test_two_classes_are_judged_as_a_classification_judges_them():
    """Of two classes the log loss is the same, and this Brier score twice the other."""
    labels, probabilities = made(3, 50, classes=2)
    one = metrics.evaluate("classification", labels, probabilities[:, 1])
    several = metrics.evaluate(replace(TASKS["multiclass"], classes=("no", "yes")), labels, probabilities)
    assert several["log_loss"] == pytest.approx(one["log_loss"])
    assert several["brier"] == pytest.approx(2 * one["brier"])
    assert several["macro_roc_auc"] == pytest.approx(one["roc_auc"])


@pytest.mark.parametrize("name", TASK.metrics)
@given(SEEDS, SIZES)
def test_the_shortcut_for_many_draws_gives_what_the_drawn_rows_give(name, seed, rows):
    labels, probabilities = made(seed, rows, rounded=True)
    random = np.random.default_rng(seed)
    counts = np.bincount(random.integers(0, rows, rows), minlength=rows)
    metric = metrics.get(name, TASK)
    drawn = metric.compute(np.repeat(labels, counts), np.repeat(probabilities, counts, axis=0))
    assert metric.draws(labels, probabilities)(counts) == pytest.approx(drawn, nan_ok=True)


@pytest.mark.parametrize("name", TASK.metrics)
def test_the_better_model_is_better_by_each_metric(name):
    labels, good = made(5, 1500)
    worse = 0.5 * good + 0.5 * np.random.default_rng(1).dirichlet(np.ones(MANY), labels.size)
    if name == "expected_calibration_error":
        worse = np.clip(good**4, 1e-9, None)
        worse /= worse.sum(axis=1, keepdims=True)
    found = bootstrap.paired_difference(
        metrics.get(name, TASK), labels, good, worse, stratify=True, confidence=0.9, draws=200, seed=0
    )
    assert found.low > 0
    assert not bootstrap.paired_difference(
        metrics.get(name, TASK), labels, good, good, stratify=True, confidence=0.9, draws=100, seed=0
    ).gain  # fmt: skip


@pytest.mark.parametrize("name", ["log_loss", "accuracy", "brier"])
def test_the_interval_of_a_mean_covers_it(name):
    """Of 300 samples of 200 rows about 95% hold the value of all."""
    labels, probabilities = made(9, 60_000)
    metric = metrics.get(name, TASK)
    truth = metric.compute(labels, probabilities)
    hits = 0
    for part in range(300):
        rows = slice(200 * part, 200 * (part + 1))
        low, high = interval(metric, labels[rows], probabilities[rows]) or (np.nan, np.nan)
        hits += low <= truth <= high
    assert 0.91 < hits / 300 < 0.99


# Totals: the same from sums of groups that an engine gives


def totals_of(labels: np.ndarray, probabilities: np.ndarray) -> class_totals.ClassTotals:
    columns = [f"p{place}" for place in range(MANY)]
    table = pa.table({"label": labels} | {name: probabilities[:, place] for place, name in enumerate(columns)})
    frame: Any = nw.from_native(duckdb.from_arrow(table)).lazy()
    rows = class_totals.grouped(frame, "label", columns).to_native().to_arrow_table()
    assert rows.num_rows <= class_totals.MOST_GROUPS
    return class_totals.totals_of(rows, TASK)


@pytest.mark.parametrize("rounded", [False, True])
def test_metrics_from_totals_are_those_of_the_rows(rounded):
    labels, probabilities = made(11, 5000, rounded=rounded)
    labels[labels == 3] = np.where(np.arange((labels == 3).sum()) % 50, 0.0, 3.0)  # a rare class
    found, expected = totals_of(labels, probabilities), metrics.evaluate(TASK, labels, probabilities)
    assert found.rows == 5000
    for name, value in expected.items():
        if name == "macro_roc_auc":
            assert found.value(name) is None
        else:
            assert found.value(name) == pytest.approx(value, rel=1e-9, abs=1e-12), name
    for name in ("log_loss", "brier", "accuracy"):
        ends = interval(metrics.get(name, TASK), labels, probabilities)
        assert found.interval(name) == pytest.approx(ends, rel=1e-9)
    low, high = found.interval("recall[none]") or (0, 0)
    assert low < expected["recall[none]"] < high
    assert found.interval("macro_f1") is None


# The baseline


@given(SEEDS, SIZES, st.sampled_from(["log_loss", "brier", "accuracy"]))
def test_no_constant_does_better_than_the_frequencies(seed, rows, name):
    labels, _ = made(seed, rows)
    metric = metrics.get(name, TASK)
    best = baseline.for_all(baseline.best_constant(name, labels, TASK), rows)
    other = np.tile(np.random.default_rng(seed).dirichlet(np.ones(MANY)), (rows, 1))
    assert metric.gain(metric.compute(labels, best), metric.compute(labels, other)) >= -1e-9


def test_the_baseline_is_scikit_learns_dummy_but_for_one_row_of_each_class():
    labels, _ = made(2, 600)
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((600, 1)), labels)
    learned = baseline.learn(labels, TASK)
    assert baseline.complete(learned, TASK)
    assert not baseline.complete({"mean": 1.0, "rows": 2.0}, TASK)
    said = baseline.says(learned, "log_loss", TASK)
    assert said == pytest.approx((dummy.class_prior_ * 600 + 1) / 604)
    everywhere = baseline.for_all(said, 600)
    usual = baseline.usual_loss(learned, "log_loss", TASK)
    assert usual == pytest.approx(metrics.get("log_loss", TASK).compute(labels, everywhere))
    assert baseline.usual_loss(learned, "macro_f1", TASK) is None


def test_a_class_that_training_did_not_know_is_no_impossible_one():
    learned = baseline.learn(np.zeros(50), TASK)
    later = replace(TASK, classes=(*CLASSES, "platinum"))
    said = baseline.says(learned, "log_loss", later)
    assert said == pytest.approx(np.array([51, 1, 1, 1, 1]) / 55)
    found = baseline.compare(
        metrics.get("log_loss", later), np.array([4.0, 0.0] * 30), np.full((60, 5), 0.2), np.tile(said, (60, 1))
    )
    assert found is not None
    assert np.isfinite(found.gain)


def test_a_model_that_knows_less_than_the_frequencies_is_surely_worse():
    labels, good = made(4, 800)
    constant = baseline.for_all(baseline.best_constant("log_loss", labels, TASK), 800)
    metric = metrics.get("log_loss", TASK)
    for predictions, worse in ((good, False), (np.roll(good, 1, axis=1), True)):
        found = baseline.compare(metric, labels, predictions, constant)
        assert found is not None
        assert found.p_worse is not None
        assert (found.p_worse < 0.001) == worse


# The estimate without labels


def test_the_estimate_expects_what_comes_where_the_probabilities_are_right():
    """Labels drawn by the very probabilities that the model gives."""
    _, probabilities = made(6, 40_000)
    random = np.random.default_rng(0)
    labels = (random.random((40_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(0, MANY - 1).astype(float)
    expected = estimate.expected_of_classes(CLASSES, probabilities, probabilities)
    came = metrics.evaluate(TASK, labels, probabilities)
    for name, value in expected.items():
        assert value == pytest.approx(came[name], abs=0.012), name
    assert set(expected) == {"log_loss", "accuracy", "brier", *(f"label_share[{name}]" for name in CLASSES)}


@pytest.mark.parametrize("heat", [0.5, 1.0, 2.5])
def test_the_temperature_undoes_what_made_a_model_too_sure(heat):
    _, right = made(7, 20_000)
    random = np.random.default_rng(1)
    labels = (random.random((20_000, 1)) > right.cumsum(axis=1)).sum(axis=1).clip(0, MANY - 1).astype(float)
    sure = right**heat / (right**heat).sum(axis=1, keepdims=True)
    found = estimate.fit_temperature(labels, sure)
    assert found is not None
    assert found["temperature"] == pytest.approx(heat, rel=0.06)
    assert np.abs(estimate.scaled(sure, found) - right).max() < 0.05
    raw = estimate.expected_of_classes(CLASSES, sure, sure)["accuracy"]
    mended = estimate.expected_of_classes(CLASSES, sure, estimate.scaled(sure, found))["accuracy"]
    came = metrics.get("accuracy", TASK).compute(labels, sure)
    assert abs(mended - came) < 0.01
    assert heat == 1 or abs(raw - came) > 0.03


def test_names_that_mlflow_takes_tell_classes_apart():
    classes = ("C#", "C++", "a" * 90)
    found = class_metrics.loggable({"log_loss": 1.0, **{f"recall[{name}]": 0.5 for name in classes}}, classes)
    assert len(found) == 4
    assert all(len(name) < 100 for name in found)
    assert list(found)[:3] == ["log_loss", "recall.1.C_", "recall.2.C__"]


@given(st.integers(0, 1000))
def test_an_order_of_the_classes_is_only_a_name(seed):
    """The same model with its classes in another order is as good; macro F1 and accuracy but for ties."""
    labels, probabilities = made(seed, 40)
    assume(len({tuple(row) for row in probabilities.round(9)}) == 40)
    order = np.random.default_rng(seed).permutation(MANY)
    place = np.argsort(order)
    turned = replace(TASK, classes=tuple(CLASSES[number] for number in order))
    before = metrics.evaluate(TASK, labels, probabilities)
    after = metrics.evaluate(turned, place[labels.astype(int)].astype(float), probabilities[:, order])
    assert after == {name: pytest.approx(value, nan_ok=True) for name, value in before.items()}
