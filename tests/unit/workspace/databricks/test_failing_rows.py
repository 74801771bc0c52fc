"""What Spark is given to predict with: MLflow's function, made to go on where the model fails on a row."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
from pyspark.sql.types import ArrayType, DoubleType
from pyspark.util import PythonEvalType

from mlplatform.features.by_halves import most_failing
from mlplatform.workspace.databricks.failing_rows import predicting_what_it_can


class Made:
    """What PySpark makes of a function of batches, as far as it is looked at."""

    def __init__(self, func: Any) -> None:
        self.func, self.returnType = func, ArrayType(DoubleType())


def predict(batches: Iterator[pd.DataFrame]) -> Iterator[pd.Series[Any]]:
    for rows in batches:
        if (rows["x"] == 1).any():
            raise ValueError("one")
        yield pd.Series([[value] for value in rows["x"]])


def as_mlflow_does() -> Any:
    """Return a function as `mlflow.pyfunc.spark_udf` does: around what PySpark made."""
    made = Made(predict)

    @functools.wraps(made, updated=(), assigned=())
    def with_default_columns(*columns: Any) -> Any:
        return columns

    return with_default_columns


def test_it_is_a_function_of_batches_for_spark_that_goes_on():
    udf: Any = predicting_what_it_can(as_mlflow_does(), most_failing)
    assert udf.evalType == PythonEvalType.SQL_SCALAR_PANDAS_ITER_UDF
    assert udf.returnType == ArrayType(DoubleType())
    (values,) = udf.func(iter([pd.DataFrame({"x": [0.0, 1.0, 2.0]})]))
    assert [value for (value,) in values][::2] == [0.0, 2.0]
    assert math.isnan(values[1][0])


def test_one_built_otherwise_is_left_alone():
    def other(*columns: Any) -> Any:
        return columns

    assert predicting_what_it_can(other, most_failing) is other
