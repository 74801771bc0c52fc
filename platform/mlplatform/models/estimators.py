"""Estimators for tables as the feature client hands them out: text, numbers, and nulls in both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def coded(
    model: Any, categories: Sequence[str], numbers: Sequence[str] | None = None, *, min_frequency: int | None = None
) -> Any:
    """Return a pipeline that gives a tree model text columns as ordinal codes, and numbers as they are.

    Nulls and values that were not there in training become NaN, which gradient boosting takes as missing.

    Args:
        model: A scikit-learn estimator that takes NaN, such as `HistGradientBoostingClassifier`.
        categories: Text columns.
        numbers: Number columns, in the order in which the model gets them; None: all others.
        min_frequency: Values rarer than this share one code.

    Examples:
        >>> from sklearn.ensemble import HistGradientBoostingRegressor
        >>> coded(HistGradientBoostingRegressor(), ["carrier"]).steps[0][0]
        'columns'
    """
    import numpy as np
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

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
    return Pipeline([("columns", columns), ("model", model)])
