"""Calibration in training: probabilities are mapped to how often what they announce happens, within the model.

The map is learned from rows that the estimator was not fitted on, for on its own rows it is surer than it should be:
a sigmoid (Platt, "Probabilistic Outputs for Support Vector Machines", 1999), or any rising function (Zadrozny and
Elkan, "Transforming Classifier Scores into Accurate Multiclass Probability Estimates", KDD 2002).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlplatform.errors import LabelError, StageError
from mlplatform.features.scoring import without_left_out
from mlplatform.training.fit_rows import FitRows
from mlplatform.training.fitting import in_our_words

FEWEST_ISOTONIC = 1000
"""Below so many rows an isotonic map follows chance, says scikit-learn's documentation."""


def calibrated(estimator: Any, method: str, rows: FitRows, classes: Sequence[str] = ()) -> Any:
    """Return a classifier that predicts what a fitted one does, calibrated.

    It is one of scikit-learn's, around the estimator, so that the stored model needs nothing of ours. Of several
    classes each is calibrated against the others, and the probabilities are then made to add up to 1.

    Args:
        estimator: Fitted on other rows.
        method: `sigmoid` or `isotonic`.
        rows: What the map is learned from.
        classes: Of several classes: the names of those that the estimator knows, in the order of its columns.

    Raises:
        LabelError: If the rows are all of one class, or one of several is not among them.
        StageError: If the estimator is no classifier that can be calibrated.

    Examples:
        >>> import pandas as pd
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> inputs = pd.DataFrame({"load": [0.0, 1.0] * 50})
        >>> sure = DecisionTreeClassifier().fit(inputs, inputs["load"])
        >>> noisy = FitRows(inputs, np.asarray(inputs["load"] * ([1.0, 1.0, 1.0, 0.0] * 25)))
        >>> calibrated(sure, "isotonic", noisy).predict_proba(inputs[:2])[:, 1].round(2).tolist()
        [0.0, 0.5]
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    if np.unique(rows.labels).size == 1:
        raise LabelError(
            f"All {len(rows)} labels of the validation part are {rows.labels[0]:g}: probabilities cannot be calibrated "
            "by them.",
            hint="Wait for more labels, raise training.validation, or set training.calibrate: none.",
        )
    lacking = [name for place, name in enumerate(classes) if not (rows.labels == place).any()]
    if lacking:
        raise LabelError(
            f"None of the {len(rows)} labels of the validation part is {', '.join(lacking)}: its probability cannot be "
            "calibrated.",
            hint="Wait for more labels, raise training.validation, or set training.calibrate: none.",
        )
    if not hasattr(estimator, "predict_proba"):
        raise StageError(
            f"training.calibrate is {method}, and {type(estimator).__name__} is no classifier of scikit-learn's kind.",
            hint="Let fit() of the trainer return one, with predict_proba; or set training.calibrate: none.",
        )
    every = np.arange(len(rows))
    # The estimator is frozen: no fold is fitted, and one that holds all rows serves.
    model = CalibratedClassifierCV(FrozenEstimator(estimator), method=method, cv=[(every, every)], ensemble=False)
    with in_our_words(f"Calibrating on {len(rows)} validation rows", None, rows.inputs), without_left_out():
        # A frozen estimator takes no weights, and need not: they are for the map. The filter ends with that around it.
        warnings.filterwarnings("ignore", message="Since FrozenEstimator does not appear to accept sample_weight")
        model.fit(rows.inputs, rows.labels, sample_weight=rows.weights)
    # Which rows they were is no part of the model.
    return model.set_params(cv=None)
