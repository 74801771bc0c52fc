"""Training: a failed trial is passed over and told, columns without values are named, errors are in our words."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hyperopt import hp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from mlplatform import coded
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import MissingDependencyError, StageError
from mlplatform.features.model_frame import model_frame
from mlplatform.statistics import metrics
from mlplatform.training import importance
from mlplatform.training.candidate import TrainingData, train
from mlplatform.training.search import Told
from mlplatform.training.training_key import training_key
from tests.support.crossed import crossed
from tests.support.small_trainings import ROWS, data, run, settings, trainer
from tests.support.tiny_use_case import SETTINGS


def boosted(params: dict[str, Any]) -> Any:
    return coded(HistGradientBoostingClassifier(max_iter=5, **params), ["kind"])


def test_columns_without_values_are_named_by_part() -> None:
    late = pa.array([None] * (ROWS - 20) + [1.0] * 20)
    early = pa.array([1.0] * 200 + [None] * 200)
    never = pa.array([None] * ROWS, pa.bool_())
    trained, _, _ = run(trainer(boosted), data(late=late, early=early, never=never))
    assert trained.without_values == {"fitted": ["late", "never"], "holdout": ["early", "never"]}
    assert trained.metrics["roc_auc"] > 0.8
    assert run(trainer(boosted), data())[0].without_values == {}


def test_a_trial_that_fails_is_passed_over_and_told() -> None:
    space = {"min_samples_leaf": hp.quniform("min_samples_leaf", 1, 40, 1), "l2": hp.choice("l2", [0.1, -1.0])}

    def make(params: dict[str, Any]) -> Any:
        leaf = params.get("min_samples_leaf", 5)
        return boosted({"min_samples_leaf": leaf, "l2_regularization": params.get("l2", 0.0)})

    trained, seen, failed = run(trainer(make, space), data(), evals=10)
    assert seen
    assert failed
    assert all(params["l2"] == 0.1 for _, params, _ in seen)
    assert all(params["l2"] == -1.0 and "InvalidParameterError" in cause for _, params, cause in failed)
    assert [trial.number for trial in trained.search.failed] == [number for number, _, _ in failed]
    assert trained.params["l2"] == 0.1
    assert type(trained.params["min_samples_leaf"]) is int


def test_text_is_refused_once_and_not_trial_by_trial() -> None:
    space = {"C": hp.loguniform("C", -1, 1)}
    with pytest.raises(StageError, match=r"not numbers: kind \(string, such as '[ab]'\)") as caught:
        run(trainer(lambda p: LogisticRegression(**p), space), data())
    assert "CATEGORIES" in caught.value.hint


@pytest.mark.parametrize(
    ("compute", "says"),
    [
        (lambda labels, predictions: math.nan, "None of 6 sets.*the score is nan"),
        (
            lambda labels, predictions: 1 / 0,
            "None of 6 sets.*The metric roc_auc on 75 validation rows failed.*ZeroDivisionError",
        ),
    ],
    ids=["nan", "raises"],
)
def test_a_metric_that_fails(compute: Any, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = metrics.Metric("roc_auc", compute, greater_is_better=True)
    monkeypatch.setitem(metrics.METRICS, "roc_auc", broken)
    space = {"max_leaf_nodes": hp.choice("max_leaf_nodes", [3, 5])}
    with pytest.raises(StageError, match=says):
        run(trainer(boosted, space), data())


def test_a_metric_that_fails_without_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = metrics.Metric("roc_auc", lambda labels, predictions: 1 / 0, greater_is_better=True)
    monkeypatch.setitem(metrics.METRICS, "roc_auc", broken)
    with pytest.raises(StageError, match="The metrics of the 100 rows of the holdout failed: ZeroDivisionError"):
        run(trainer(boosted), data())


def test_a_search_space_that_raises() -> None:
    def broken() -> Any:
        raise NameError("hp")

    maker = SimpleNamespace(estimator=boosted, search_space=broken, default_params={})
    with pytest.raises(StageError, match="Making the search space failed: NameError: hp"):
        run(maker, data())


def test_a_library_that_is_not_installed_is_said_before_anything_is_tried() -> None:
    def make(params: dict[str, Any]) -> Any:
        raise ModuleNotFoundError("No module named 'lightgbm'", name="lightgbm")

    space = {"C": hp.loguniform("C", -1, 1)}
    for call in (lambda: run(trainer(make, space), data()), lambda: training_key(trainer(make), data(), settings())):
        with pytest.raises(MissingDependencyError, match="lightgbm is not installed") as caught:
            call()
        assert caught.value.hint == "pip install 'mlplatform[lightgbm]'"


def test_another_library_gives_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightgbm import LGBMClassifier

    given = trainer(lambda params: coded(LGBMClassifier(**params), ["kind"]))
    before = training_key(given, data(), settings())
    assert before == training_key(given, data(), settings())
    monkeypatch.setattr("mlplatform.training.training_key.version", lambda name: f"of another {name}")
    assert before != training_key(given, data(), settings())


def test_a_frame_of_nothing_but_nulls_trains_or_says_why() -> None:
    given = data()
    empty = pa.table({"a": pa.nulls(ROWS, pa.float64()), "kind": pa.nulls(ROWS, pa.string())})
    given = TrainingData(given.training_set, empty, model_frame(empty), given.labels, given.times, "d")
    trained, _, _ = run(trainer(boosted), given)
    assert trained.without_values["fitted"] == ["a", "kind"]
    assert np.ptp(trained.holdout_predictions) == 0


@pytest.mark.parametrize(("given", "written"), [({}, None), ({"max_rows": None}, None), ({"max_rows": 5000}, 5000)])
def test_a_key_is_what_it_was_before_trainings_were_bounded(given: dict[str, Any], written: int | None) -> None:
    import hashlib
    import json

    import sklearn

    from mlplatform.code_digest import code_digest
    from mlplatform.protocols.lineage import RULE

    options = UseCaseSettings.model_validate(SETTINGS | {"training": {"metric": "roc_auc", "min_rows": 10, **given}})
    later = ("calibrate", "importance_rows", "immature_rows")
    before = {name: value for name, value in options.training.model_dump(mode="json").items() if name not in later}
    before |= {"max_rows": written, "search": {"max_evals": 8, "timeout_seconds": None}}
    text = json.dumps(["d", before, code_digest(SimpleNamespace), sklearn.__version__, RULE])
    key = training_key(trainer(boosted), data(), options)
    assert key == hashlib.sha256(text.encode()).hexdigest()[:16]


def key_of(**training: Any) -> str:
    options = UseCaseSettings.model_validate(SETTINGS | {"training": {"metric": "roc_auc", "min_rows": 10, **training}})
    return training_key(trainer(boosted), data(), options)


def test_what_changes_the_model_changes_the_key_and_where_trials_run_does_not() -> None:
    keys = [
        key_of(),
        key_of(calibrate="sigmoid"),
        key_of(search={"library": "optuna"}),
        key_of(search={"library": "optuna", "pruning": True}),
        key_of(search={"parallelism": 2}),
    ]
    assert len(set(keys)) == len(keys)
    assert key_of(search={"workers": "processes"}, importance_rows=0) == keys[0]
    assert key_of(calibrate="none", search={"library": "hyperopt", "parallelism": 4}) == keys[0]


@pytest.mark.parametrize(("library", "workers"), crossed(["hyperopt", "optuna"], ["threads", "auto"]))
def test_the_same_seed_gives_the_same_wherever_trials_run(library: Any, workers: Any) -> None:
    space = {"max_leaf_nodes": hp.quniform("max_leaf_nodes", 2, 20, 1), "l2": hp.loguniform("l2", -2, 3)}

    def make(params: dict[str, Any]) -> Any:
        return boosted({"max_leaf_nodes": params.get("max_leaf_nodes"), "l2_regularization": params.get("l2", 0.0)})

    def trained(parallelism: int, workers: Any) -> tuple[Any, Any]:
        search = {"max_evals": 8, "library": library, "parallelism": parallelism, "workers": workers}
        given = UseCaseSettings.model_validate(
            SETTINGS | {"training": {"metric": "roc_auc", "min_rows": 10, "search": search}}
        )
        seen: list[Any] = []
        found = train(trainer(make, space), data(), given, Told(lambda *trial: seen.append(trial)))
        return seen, (found.params, found.metrics)

    assert trained(4, workers) == trained(4, "auto")
    # hyperopt's first 20 trials do not learn from one another; Optuna's first ten.
    assert trained(4, workers) == trained(1, "auto")


def test_a_calibrated_model_is_fitted_on_the_oldest_rows_and_calibrated_on_the_next() -> None:
    given = data()
    rows_seen: list[int] = []

    class Counted(LogisticRegression):
        def fit(self, inputs: Any, labels: Any, sample_weight: Any = None) -> Any:
            rows_seen.append(len(inputs))
            return super().fit(inputs, labels, sample_weight)

    numbers = TrainingData(
        given.training_set, given.rows.select(["price"]), given.inputs[["price"]], given.labels, given.times, "d"
    )
    options = UseCaseSettings.model_validate(
        SETTINGS | {"training": {"metric": "roc_auc", "min_rows": 10, "calibrate": "sigmoid"}}
    )
    trained = train(trainer(lambda params: Counted(C=1e-4)), numbers, options, Told(lambda *_: None))
    assert rows_seen == [trained.split.fit.stop] == [225]
    # So strong a penalty makes all probabilities alike; the calibration spreads them again, in the same order.
    assert trained.metrics["brier"] < 0.8 * trained.uncalibrated["brier"]
    assert trained.metrics["roc_auc"] == pytest.approx(trained.uncalibrated["roc_auc"])
    assert type(trained.estimator).__name__ == "CalibratedClassifierCV"
    assert trained.estimator.cv is None


def test_without_calibration_there_is_nothing_of_it() -> None:
    trained, _, _ = run(trainer(boosted), data())
    assert trained.uncalibrated == {}
    assert type(trained.estimator).__name__ == "Pipeline"


def test_what_features_are_worth_is_measured_on_the_holdout_and_can_be_left_out() -> None:
    given = data(noise=pa.array(np.random.default_rng(9).random(ROWS)))
    trained, _, _ = run(trainer(boosted), given)
    assert trained.importances[0].feature == "price"
    assert {"noise", "kind"} <= {item.feature for item in trained.importances if item.is_noise}
    options = UseCaseSettings.model_validate(
        SETTINGS | {"training": {"metric": "roc_auc", "min_rows": 10, "importance_rows": 0}}
    )
    assert train(trainer(boosted), given, options, Told(lambda *_: None)).importances == []


def test_with_many_features_fewer_rows_tell_what_they_are_worth_and_it_is_said(monkeypatch: Any) -> None:
    whole, _, _ = run(trainer(boosted), data())
    assert whole.importance_cut == ""
    features = len(whole.importances)
    monkeypatch.setattr(importance, "_FEWEST_ROWS", 40)
    monkeypatch.setattr(importance, "MOST_CELLS", 3 * 40 * features**2)
    cut, _, _ = run(trainer(boosted), data())
    assert f"each of {features} features is worth is measured by 40 rows of the holdout" in cut.importance_cut
    assert len(cut.importances) == features
    monkeypatch.setattr(importance, "MOST_CELLS", 0)
    none, _, _ = run(trainer(boosted), data())
    assert "is measured not at all instead of by" in none.importance_cut
    assert none.importances == []


class Losing:
    """A classifier that has no number for rows above a price."""

    def __init__(self, above: float) -> None:
        self.above = above

    def fit(self, inputs: Any, labels: Any) -> Losing:
        del inputs, labels
        return self

    def predict_proba(self, inputs: Any) -> Any:
        price = inputs["price"].to_numpy()
        positive = np.where(price > self.above, np.nan, price)
        return np.column_stack([1 - positive, positive])


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "log_loss"])
def test_predictions_for_the_holdout_that_are_no_numbers_are_told_and_no_end(metric: str) -> None:
    options = settings(1)
    options = options.model_copy(update={"training": options.training.model_copy(update={"metric": metric})})
    trained = train(trainer(lambda params: Losing(0.9)), data(), options, Told(lambda *_: None))
    lost = np.isnan(trained.holdout_predictions)
    assert 0 < lost.sum() < lost.size
    assert trained.not_finite.startswith(f"Losing predicts NaN or infinity for {lost.sum()} of {lost.size} rows; the")
    assert trained.metrics["label_mean"] > 0
    assert all(math.isnan(value) for name, value in trained.metrics.items() if name != "label_mean")
    assert trained.importances == []


def test_a_feature_without_which_predictions_are_no_numbers_is_left_out_of_what_is_measured() -> None:
    class Sorted(Losing):
        def predict_proba(self, inputs: Any) -> Any:
            # The holdout as it is gives numbers; another order of one of its columns does not.
            found = super().predict_proba(inputs)
            found[inputs["other"].to_numpy() != inputs["price"].to_numpy()] = np.nan
            return found

    given = data()
    rows = given.rows.append_column("other", given.rows.column("price")).append_column(
        "third", given.rows.column("kind")
    )
    given = TrainingData(given.training_set, rows, model_frame(rows), given.labels, given.times, "d")
    trained, _, _ = run(trainer(lambda params: Sorted(math.inf)), given, evals=1)
    assert trained.not_finite == ""
    assert {item.feature for item in trained.importances} == {"kind", "third"}


def test_where_every_trial_predicts_what_is_no_number_the_trainers_own_parameters_are_taken() -> None:
    space = {"above": hp.choice("above", [0.5, 0.6])}
    maker = trainer(lambda params: Losing(**params), space)
    maker.default_params = {"above": 0.9}
    trained, seen, failed = run(maker, data())
    assert (seen, len(failed)) == ([], 6)
    assert all("predicts NaN or infinity" in cause for _, _, cause in failed)
    assert trained.params == {"above": 0.9}
    assert trained.not_finite


def test_a_trial_that_predicts_what_is_no_number_is_passed_over_where_another_does_not() -> None:
    space = {"above": hp.choice("above", [0.5, 2.0])}
    trained, seen, failed = run(trainer(lambda params: Losing(**params), space), data(), evals=10)
    assert seen
    assert failed
    assert trained.params == {"above": 2.0}
    assert not trained.not_finite


def test_what_cannot_be_calibrated_for_its_predictions_is_left_as_it_is() -> None:
    options = settings(1)
    options = options.model_copy(update={"training": options.training.model_copy(update={"calibrate": "sigmoid"})})
    notes: list[str] = []
    trained = train(trainer(lambda params: Losing(0.9)), data(), options, Told(lambda *_: None), note=notes.append)
    assert isinstance(trained.estimator, Losing)
    assert trained.not_finite
    assert trained.uncalibrated == {}
    assert any(note.startswith("not calibrated: Losing predicts NaN") for note in notes)
