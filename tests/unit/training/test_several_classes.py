"""Several classes in training: what an estimator lacks is 0, columns are in order, and how it is stored."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from mlplatform import coded
from mlplatform.config.settings import UseCaseSettings
from mlplatform.errors import LabelError, StageError
from mlplatform.features.model_frame import model_frame
from mlplatform.task import TASKS
from mlplatform.training.calibration import calibrated
from mlplatform.training.candidate import TrainingData, known_classes, train
from mlplatform.training.fit_rows import FitRows
from mlplatform.training.fitting import predict
from mlplatform.training.present_classes import PresentClasses
from mlplatform.training.search import Told
from mlplatform.training.stored_form import stored_form
from mlplatform.training.training_key import training_key
from tests.support.crossed import crossed, every
from tests.support.small_trainings import trainer

CLASSES = ("bronze", "silver", "gold", "none")
TASK = replace(TASKS["multiclass"], classes=CLASSES)
ROWS = 400


def rows(*without: int, seed: int = 1) -> FitRows:
    """Return rows whose price tells most of the class; some classes may be left out."""
    random = np.random.default_rng(seed)
    price = random.random(ROWS)
    labels = np.clip((price * 4 + random.normal(0, 0.4, ROWS)).astype(int), 0, 3).astype(float)
    whole = FitRows(pd.DataFrame({"price": price, "noise": random.random(ROWS)}), labels)
    return whole.part(np.flatnonzero(~np.isin(labels, without)))


def boosters() -> list[Any]:
    from catboost import CatBoostClassifier
    from lightgbm import LGBMClassifier
    from xgboost import XGBClassifier

    return [
        HistGradientBoostingClassifier(max_iter=20),
        LGBMClassifier(n_estimators=20, verbose=-1, random_state=0),
        XGBClassifier(n_estimators=20, random_state=0),
        CatBoostClassifier(iterations=20, random_state=0, verbose=False, allow_writing_files=False),
        LogisticRegression(max_iter=500),
        coded(LGBMClassifier(n_estimators=10, verbose=-1), []),
    ]


@pytest.mark.parametrize(("place", "without"), crossed(range(6), [(), (3,), (1,), (0, 2)]))
def test_a_class_that_is_not_fitted_on_has_a_column_of_zeros(place, without):
    """Some libraries refuse labels with gaps: they see none."""
    model, given = boosters()[place], rows(*without)
    known = PresentClasses.of(given, TASK)
    assert known.missing == tuple(CLASSES[number] for number in without)
    fitted = model.fit(known.renumbered(given).inputs, known.renumbered(given).labels)
    found = predict(fitted, given.inputs, TASK, known)
    assert found.shape == (len(given), 4)
    assert not found[:, list(without)].any()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    right = found.argmax(axis=1) == given.labels
    assert right.mean() > 0.7


def test_rows_of_one_class_teach_nothing():
    with pytest.raises(LabelError, match="to be fitted on are silver; there is nothing to learn"):
        PresentClasses.of(rows(0, 2, 3), TASK)


def test_validation_rows_of_unknown_classes_are_left_out():
    given = replace(rows(1), validation=rows(seed=2))
    renumbered = PresentClasses.of(given, TASK).renumbered(given)
    assert set(renumbered.labels) == {0.0, 1.0, 2.0}
    assert renumbered.validation is not None
    assert set(renumbered.validation.labels) == {0.0, 1.0, 2.0}
    assert len(renumbered.validation) == int((rows(seed=2).labels != 1).sum())


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (LinearSVC(), "has no predict_proba"),
        (Ridge(), "has no predict_proba"),
        (SimpleNamespace(predict_proba=lambda given: np.full((len(given), 3), 1 / 3)), "not one column for each"),
        (
            SimpleNamespace(predict_proba=lambda given: np.tile([0.9, 0.9, -0.4, -0.4], (len(given), 1))),
            "no probabilities of several classes",
        ),
        (
            SimpleNamespace(predict_proba=lambda given: np.tile([0.5, np.nan, 0.25, 0.25], (len(given), 1))),
            "predicts NaN or infinity",
        ),
        (
            SimpleNamespace(predict_proba=lambda given: np.full((len(given), 4), 0.25), classes_=["b", "g", "n", "s"]),
            "not one column for each",
        ),
    ],
)
def test_what_gives_no_probabilities_of_the_classes_is_refused(model, says):
    given = rows()
    known = PresentClasses.of(given, TASK)
    fitted = model.fit(given.inputs, given.labels) if hasattr(model, "fit") else model
    with pytest.raises(StageError, match=says):
        predict(fitted, given.inputs, TASK, known)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_each_class_is_calibrated_against_the_others(method):
    given, later = rows(), rows(seed=5)
    known = PresentClasses.of(given, TASK)
    sure = KNeighborsClassifier(1).fit(given.inputs[["noise", "price"]], given.labels)
    model = calibrated(sure, method, FitRows(later.inputs[["noise", "price"]], later.labels), known.names)
    assert isinstance(model, CalibratedClassifierCV)
    test = rows(seed=6)
    found = predict(model, test.inputs[["noise", "price"]], TASK, known)
    raw = predict(sure, test.inputs[["noise", "price"]], TASK, known)
    picked = np.arange(len(test)), test.labels.astype(int)
    assert -np.log(found[picked].clip(1e-15)).mean() < -np.log(raw[picked].clip(1e-15)).mean()
    with pytest.raises(LabelError, match="of the validation part is gold: its probability"):
        calibrated(sure, method, rows(2, seed=5), known.names)


@pytest.mark.parametrize("place", every(2, range(6)))
def test_the_stored_form_says_the_classes_and_predicts_the_same(place, tmp_path):
    import mlflow.pyfunc

    given = rows(1)
    known = PresentClasses.of(given, TASK)
    seen = known.renumbered(given)
    fitted = boosters()[place].fit(seen.inputs, seen.labels)
    maker = SimpleNamespace(flavor="", requirements=(), trusted_types=())
    stored = stored_form(fitted, TASK, maker, given.inputs, known)
    stored.flavor.save_model(
        stored.model, path=str(tmp_path / "model"), pip_requirements=stored.requirements, **stored.arguments
    )
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert loaded.metadata.metadata == {"classes": ["bronze", "gold", "none"]}
    found = known.declared_order(np.asarray(loaded.predict(given.inputs)))
    np.testing.assert_allclose(found, predict(fitted, given.inputs, TASK, known), rtol=1e-6, atol=1e-9)


# A whole training


def settings(**label: Any) -> UseCaseSettings:
    given = {
        "owner": "x",
        "task": "multiclass",
        "label": {"horizon": "1 day", "classes": CLASSES, **label},
        "gate": {"floor": 1.5},
        "training": {"min_rows": 10, "importance_rows": 200, "search": {"max_evals": 1}},
    }
    return UseCaseSettings.model_validate(given)


def data(given: FitRows) -> TrainingData:
    table = pa.Table.from_pandas(given.inputs, preserve_index=False)
    return TrainingData(
        training_set=SimpleNamespace(),  # type: ignore[arg-type]
        rows=table,
        inputs=model_frame(table),
        labels=given.labels,
        times=np.datetime64("2024-01-01", "us") + np.arange(len(given)) * np.timedelta64(1, "h"),
        digest="d",
    )


def test_a_training_says_which_class_it_lacks_and_knows_what_each_feature_is_worth():
    given = rows()
    # The newest quarter alone has the last class.
    labels = np.where((given.labels == 3) & (np.arange(ROWS) < 300), 2.0, given.labels)
    notes: list[str] = []
    maker = trainer(lambda params: HistGradientBoostingClassifier(max_iter=20))
    known = data(replace(given, labels=labels))
    candidate = train(maker, known, settings(), Told(lambda *_: None), note=notes.append)
    assert any("none of the 300 fitted rows is none; its probability will be 0" in note for note in notes), notes
    assert candidate.known.names == ("bronze", "silver", "gold") == known_classes(known, settings()).names
    assert candidate.holdout_predictions.shape == (100, 4)
    assert candidate.metrics["recall[none]"] == 0
    assert candidate.metrics["accuracy"] < 0.9
    assert [item.feature for item in candidate.importances] == ["price", "noise"]
    assert not candidate.importances[0].is_noise


def test_other_classes_are_another_training():
    maker, known = trainer(lambda params: LogisticRegression()), data(rows())
    keys = [training_key(maker, known, settings(classes=classes)) for classes in (CLASSES, CLASSES, CLASSES[::-1])]
    assert keys[0] == keys[1] != keys[2]
