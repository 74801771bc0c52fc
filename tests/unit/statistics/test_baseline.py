"""The trivial baseline: what it says, and when a model is surely worse. scipy judges the paired differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ttest_1samp
from sklearn.dummy import DummyClassifier, DummyRegressor

from mlplatform.as_of import parse_as_of
from mlplatform.config.settings import UseCaseSettings
from mlplatform.monitoring import baseline as baseline_check
from mlplatform.monitoring.baseline import Beside
from mlplatform.monitoring.late_labels import LABEL, Judged
from mlplatform.statistics import baseline, metrics
from mlplatform.task import TASKS

RANDOM = np.random.default_rng(0)
ROWS = 800
LABELS = RANDOM.lognormal(2, 1, ROWS)
EVENTS = (RANDOM.random(ROWS) < 0.2).astype(float)
SCORES = np.clip(0.2 + 0.3 * (EVENTS - 0.2) + 0.1 * RANDOM.normal(size=ROWS), 0.01, 0.99)


def settings(metric: str, **sections: Any) -> UseCaseSettings:
    task = "regression" if metric in TASKS["regression"].metrics else "classification"
    return UseCaseSettings.model_validate(
        {
            "owner": "x",
            "task": task,
            "label": {"horizon": "1 day"},
            "training": {"metric": metric},
            "gate": {"floor": 0.5, **sections.pop("gate", {})},
            "monitoring": {"min_rows": 100, **sections},
        }
    )


def judged(labels: np.ndarray, predictions: np.ndarray, versions: np.ndarray | int = 1, **more: Any) -> Judged:
    table = {LABEL: labels, "prediction": predictions, "model_version": np.broadcast_to(versions, labels.size), **more}
    return Judged(pa.table(table), "at", parse_as_of("2020-01-01"))


class Learned:
    """Stands for what is kept with the versions."""

    def __init__(self, **by_version: np.ndarray | str) -> None:
        self.known = {
            int(name[1:]): it if isinstance(it, str) else baseline.learn(it) for name, it in by_version.items()
        }

    def of(self, version: int) -> Any:
        return self.known[version]


def measure(labels: np.ndarray, predictions: np.ndarray, metric: str, training: np.ndarray, **kept: Any) -> Beside:
    return baseline_check.measure(judged(labels, predictions), Learned(v1=training), settings(metric, **kept))  # type: ignore[arg-type]


@pytest.mark.parametrize(("metric", "strategy"), [("mae", "median"), ("rmse", "mean")])
def test_a_regression_s_baseline_is_that_of_scikit_learn(metric: str, strategy: str):
    inputs = np.zeros((ROWS, 1))
    training = LABELS * 1.3
    dummy = DummyRegressor(strategy=strategy).fit(inputs, training).predict(inputs)
    found = measure(LABELS, LABELS, metric, training)
    values = {item.metric: item.value for item in found.metrics}
    assert values[f"baseline_{metric}"] == pytest.approx(metrics.get(metric).compute(LABELS, dummy))
    assert set(values) == {"baseline_mae", "baseline_rmse"}


@pytest.mark.parametrize("metric", ["brier", "log_loss", "roc_auc", "average_precision", "expected_calibration_error"])
def test_a_classification_s_baseline_is_the_base_rate_of_the_training_labels(metric: str):
    training = (np.arange(1000) < 130).astype(float)
    inputs = np.zeros((ROWS, 1))
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((1000, 1)), training).predict_proba(inputs)[:, 1]
    found = measure(EVENTS, SCORES, metric, training)
    values = {item.metric: item.value for item in found.metrics}
    assert values[f"baseline_{metric}"] == pytest.approx(metrics.get(metric).compute(EVENTS, dummy))
    assert found.compared is not None
    assert found.compared.low is not None
    assert found.compared.low < found.compared.gain < found.compared.high


def mirrored(mean: float) -> np.ndarray:
    """Differences without any skewness: then there is nothing to correct, and scipy's test is ours."""
    half = RANDOM.exponential(size=ROWS // 2)
    return mean + np.append(half, -half)


@pytest.mark.parametrize("mean", [-0.2, -0.01, 0.0, 0.3])
@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_the_difference_of_losses_is_judged_as_scipy_judges_it(metric: str, mean: float):
    differences = mirrored(mean)
    labels, predictions = np.zeros(ROWS), np.full(ROWS, 10.0)
    constant = 10 + differences if metric == "mae" else np.sqrt(100 + differences)
    test = ttest_1samp(differences, 0, alternative="less")
    interval = ttest_1samp(differences, 0).confidence_interval(0.95)
    found = baseline.compare(metric, labels, predictions, constant)
    assert found is not None
    # The root's difference is the squares' over the sum of the roots, and so are its ends.
    unit = 1.0 if metric == "mae" else 10 + np.sqrt(100 + differences.mean())
    assert found.gain == pytest.approx(differences.mean() / unit)
    assert found.p_worse == pytest.approx(test.pvalue)
    assert (found.low, found.high) == (pytest.approx(interval.low / unit), pytest.approx(interval.high / unit))


def test_skewed_differences_are_corrected_towards_no_alarm():
    """A little worse on most rows, much better on few: windows that lack those few look bad by chance."""
    differences = RANDOM.exponential(size=300) - 1.15
    found = baseline.compare("mae", np.zeros(300), np.full(300, 10.0), 10 + differences)
    plain = ttest_1samp(differences, 0, alternative="less").pvalue
    assert found is not None
    assert found.p_worse is not None
    assert plain < found.p_worse < 10 * plain


def test_a_window_that_lacks_the_rows_that_count_makes_no_model_look_bad():
    """One row in twenty is very late, and the model knows which: that is all its worth. This window has none."""
    random = np.random.default_rng(2)

    def draw(rows: int, late: float) -> tuple[np.ndarray, np.ndarray]:
        rare = random.random(rows) < late
        return np.where(rare, random.normal(300, 50, rows), random.normal(0, 5, rows)), rare

    training, _ = draw(5000, 0.05)
    labels, rare = draw(400, 0.0)
    made = np.where(rare, labels, training.mean() + 8 * random.normal(size=400) * 3)
    constant, learned = np.full(400, training.mean()), baseline.learn(training)
    usual = baseline.usual_loss(learned, "rmse")
    alone, fair = (baseline.compare("rmse", labels, made, constant, usual=it) for it in (None, usual))
    assert alone is not None and fair is not None  # noqa: PT018
    assert alone.p_worse is not None and fair.p_worse is not None  # noqa: PT018
    assert alone.gain == fair.gain
    assert fair.p_worse > 0.01 > alone.p_worse
    # What is worse on all rows, the late ones too, stays an alert.
    bad = baseline.compare("rmse", labels, labels * -1 + 60, constant, usual=usual)
    assert bad is not None and bad.p_worse is not None and bad.p_worse < 0.001  # noqa: PT018


def test_rows_of_one_entity_are_no_more_than_one():
    """Each entity ten times over: the interval is that of the entities, wider by the root of ten."""
    labels, predictions = np.tile(LABELS[:80], 10), np.tile(LABELS[:80] * 1.2, 10)
    constant = np.full(800, np.median(labels))
    clusters = np.tile(np.arange(80), 10)
    alone = baseline.compare("mae", labels[:80], predictions[:80], constant[:80])
    together = baseline.compare("mae", labels, predictions, constant, clusters=clusters)
    by_row = baseline.compare("mae", labels, predictions, constant)
    assert alone is not None and together is not None and by_row is not None  # noqa: PT018
    assert (together.low, together.high) == (pytest.approx(alone.low), pytest.approx(alone.high))
    assert by_row.high - by_row.low < (together.high - together.low) / 3  # type: ignore[operator]


def test_clusters_come_from_the_gate_where_the_predictions_have_their_columns():
    labels, predictions = np.tile(LABELS[:80], 10), np.tile(LABELS[:80] * 1.2, 10)
    rows = judged(labels, predictions, customer=np.tile(np.arange(80), 10))
    wide, narrow = (
        baseline_check.measure(rows, Learned(v1=LABELS), settings("mae", gate=gate)).compared  # type: ignore[arg-type]
        for gate in ({"cluster_by": ["customer"]}, {"cluster_by": ["a column of the spine that is no key"]})
    )
    assert wide is not None and narrow is not None  # noqa: PT018
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)  # type: ignore[operator]


def test_a_model_that_is_surely_worse_is_an_alert_with_both_values():
    predictions = LABELS + 25.0
    found = measure(LABELS, predictions, "mae", LABELS)
    told = baseline_check.verdict({4: found}, {4: ROWS}, settings("mae"))
    assert (told.kind, told.state, told.model_version) == ("worse_than_baseline", "violated", 4)
    assert "25 against" in told.message
    assert "the training labels' median" in told.message
    row = baseline_check.gain(found, judge=True, violated=True)
    assert (row.metric, row.limit, row.violated) == ("gain_over_baseline", 0.0, True)


def test_a_model_that_is_as_good_is_none_and_one_that_is_better_is_well():
    for predictions in (np.full(ROWS, np.median(LABELS)), LABELS + 1):
        found = measure(LABELS, predictions, "mae", LABELS)
        assert baseline_check.verdict({1: found}, {1: ROWS}, settings("mae")).state == "ok"


def test_many_versions_are_corrected_for():
    """A p-value that alone would be an alert is none among twenty."""

    def beside(p: float) -> Beside:
        return Beside([], baseline.Compared(1.0, -0.1, -0.2, -0.01, p))

    one = {1: beside(0.004)}
    assert baseline_check.surely_worse(one, settings("mae")) == [1]
    many = one | {version: beside(0.5) for version in range(2, 21)}
    assert baseline_check.surely_worse(many, settings("mae")) == []


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (EVENTS[:60], "60 rows, needs 100"),
        (np.append(np.ones(7), np.zeros(500)), "7 events, needs 50"),
        (np.append(np.zeros(3), np.ones(500)), "3 non-events, needs 50"),
    ],
)
def test_too_few_rows_or_events_are_not_judged_and_it_is_said(labels: np.ndarray, why: str):
    """Without events, a base rate of 1 % is beaten by any number nearer to zero: that is no evidence."""
    scores = np.where(labels == 1, 0.01, 0.9)
    found = measure(labels, scores, "brier", EVENTS)
    told = baseline_check.verdict({1: found}, {1: labels.size}, settings("brier"))
    assert (told.state, told.message) == ("unknown", why)
    row = baseline_check.gain(found, judge=True)
    assert (row.limit, row.violated, row.note) == (None, False, f"not judged: {why}")
    assert row.value is not None, "measured all the same"


def test_a_version_whose_training_labels_are_not_known_is_not_judged():
    found = baseline_check.measure(judged(LABELS, LABELS), Learned(v1="they are gone"), settings("mae"))  # type: ignore[arg-type]
    told = baseline_check.verdict({1: found}, {1: ROWS}, settings("mae"))
    assert (told.state, told.message) == ("unknown", "they are gone")
    assert baseline_check.gain(found, judge=True).note == "they are gone"


def test_each_version_s_rows_have_its_own_baseline():
    versions = np.repeat([1, 2], ROWS // 2)
    kept = Learned(v1=np.full(9, 5.0), v2=np.full(9, 7.0))
    found = baseline_check.measure(judged(LABELS, LABELS, versions), kept, settings("mae"))  # type: ignore[arg-type]
    (value,) = (item.value for item in found.metrics if item.metric == "baseline_mae")
    assert value == pytest.approx(np.abs(np.where(versions == 1, 5.0, 7.0) - LABELS).mean())


def test_nothing_known_is_nothing_compared():
    empty = judged(np.array([]), np.array([]))
    found = baseline_check.measure(empty, Learned(), settings("mae"))  # type: ignore[arg-type]
    assert (found.compared, found.unknown) == (None, "0 rows, needs 100")
    assert baseline_check.verdict({}, {}, settings("mae")).message.startswith("no label of a prediction")


def test_what_is_kept_is_complete_or_learnt_anew():
    learned = baseline.learn(LABELS)
    assert baseline.complete(learned)
    assert not baseline.complete({"mean": 1.0, "median": 1.0, "rows": 3.0})
    assert not baseline.complete(None)
