"""The models that both clients log and score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow

if TYPE_CHECKING:
    import pandas as pd

    from tests.support.cases import LinearModel


class LinearPyfunc(mlflow.pyfunc.PythonModel):
    """A case's linear model as an MLflow pyfunc, which also notes the columns that it was given."""

    def __init__(self, model: LinearModel, columns_file: Path) -> None:
        """Take the coefficients, and the file into which `predict` writes its columns' names."""
        self.model = model
        self.columns_file = columns_file

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> list[float]:  # noqa: ANN401, ARG002 - MLflow's signature
        """Predict row by row, in the order of the additions that the case format fixes."""
        self.columns_file.write_text(json.dumps(list(model_input.columns)), encoding="utf-8")
        # Through lists of plain Python values: pandas turns a null integer into NaN, which counts as missing all the same.
        return self.model.predict({name: model_input[name].tolist() for name in self.model.inputs})


def columns_noted(columns_file: Path) -> tuple[str, ...] | None:
    """Return the columns that the model was given, or None if it was never called."""
    if not columns_file.exists():
        return None
    return tuple(json.loads(columns_file.read_text(encoding="utf-8")))
