"""Estimators for tables as the feature client hands them out: text, numbers, and nulls in both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlplatform.training.boosters import library

WITH_VALUES = "with_values"


def coded(
    model: Any, categories: Sequence[str], numbers: Sequence[str] | None = None, *, min_frequency: int | None = None
) -> Any:
    """Return a pipeline that gives a tree model text columns as ordinal codes, and numbers as they are.

    Nulls and values that did not occur in training become NaN, which gradient boosting takes as missing. A column
    without any value in the fitted rows is left out: nothing can be learned of it, and gradient boosting fails on it.
    The model then has fewer columns, so what names columns by place (`monotonic_cst`, `categorical_features`) does not
    go with such a column.

    CatBoost codes categories itself: it gets their text, an empty one for null. `Trainer.fit` tells it which they are.

    Args:
        model: An estimator that takes NaN, such as `HistGradientBoostingClassifier` or `LGBMClassifier`.
        categories: Text columns.
        numbers: Number columns, in the order in which the model gets them; None: all others.
        min_frequency: Values rarer than this share one code; not for CatBoost.

    Examples:
        >>> from sklearn.ensemble import HistGradientBoostingRegressor
        >>> coded(HistGradientBoostingRegressor(), ["carrier"]).steps[0][0]
        'columns'
    """
    import numpy as np
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder, StandardScaler

    if library(model) == "catboost":
        return _as_text(model, categories, numbers)
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        min_frequency=min_frequency,
    )
    parts: list[tuple[str, Any, list[str]]] = [("categories", codes, list(categories))]
    if numbers is None:
        columns = ColumnTransformer(parts, remainder="passthrough")
    else:
        columns = ColumnTransformer([*parts, ("numbers", "passthrough", list(numbers))])
    # Of scikit-learn's own parts, so that the stored model needs nothing of ours: the first imputer leaves out what had
    # no value and marks the nulls of the others, the second makes them nulls again. The scaler only makes floats.
    mark = float(np.finfo(np.float32).min)
    with_values = Pipeline(
        [
            ("floats", StandardScaler(with_mean=False, with_std=False)),
            ("marked", SimpleImputer(strategy="constant", fill_value=mark)),
            (
                "unmarked",
                SimpleImputer(missing_values=mark, strategy="constant", fill_value=np.nan, keep_empty_features=True),
            ),
        ]
    )
    return Pipeline([("columns", columns), (WITH_VALUES, with_values), ("model", model)])


def _as_text(model: Any, categories: Sequence[str], numbers: Sequence[str] | None) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline

    filled = SimpleImputer(missing_values=None, strategy="constant", fill_value="", keep_empty_features=True)
    parts: list[tuple[str, Any, list[str]]] = [("categories", filled, list(categories))]
    if numbers is None:
        columns = ColumnTransformer(parts, remainder="passthrough")
    else:
        columns = ColumnTransformer([*parts, ("numbers", "passthrough", list(numbers))])
    return Pipeline([("columns", columns), ("model", model)])
