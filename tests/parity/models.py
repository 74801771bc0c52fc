"""The models that both clients log and score."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd

if TYPE_CHECKING:
    from tests.support.cases import Case, LinearModel


class LinearPyfunc(mlflow.pyfunc.PythonModel):
    """A case's linear model as an MLflow pyfunc, which also notes the columns that it was given."""

    def __init__(self, model: LinearModel, columns_file: Path) -> None:
        """Take the coefficients, and the file into which `predict` writes its columns' names."""
        self.model = model
        self.columns_file = columns_file

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> list[float]:
        """Predict row by row, in the order of the additions that the case format fixes."""
        self.columns_file.write_text(json.dumps(list(model_input.columns)), encoding="utf-8")
        # As plain Python values: a null integer may come as None, as NaN in a float column or as pandas' NA.
        columns = {
            name: [None if pd.isna(value) else value for value in model_input[name]] for name in self.model.inputs
        }
        return self.model.predict(columns)


@dataclass(frozen=True)
class OtherModel:
    """A model to log.

    Attributes:
        model: The fitted model.
        flavor: Its MLflow flavor, by the name of its module.
        arguments: More keyword arguments for `log_model`.
    """

    model: Any
    flavor: str = "mlflow.pyfunc"
    arguments: dict[str, Any] = field(default_factory=dict)


def case_model(case: Case, columns_file: Path) -> OtherModel:
    """Return the case's own model."""
    if case.model is None:
        msg = f"Case {case.name} has no model."
        raise ValueError(msg)
    return OtherModel(LinearPyfunc(case.model, columns_file))


def columns_noted(columns_file: Path) -> tuple[str, ...] | None:
    """Return the columns that the model was given, or None if it was never called."""
    if not columns_file.exists():
        return None
    return tuple(json.loads(columns_file.read_text(encoding="utf-8")))
