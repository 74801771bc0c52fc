"""A model that fails on a row does not fail the Spark job: where Spark asks it, it is asked again by halves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from mlplatform.features import by_halves

if TYPE_CHECKING:
    from pyspark.sql import Column


def predicting_what_it_can(predict: Callable[..., Column], most: Callable[[int], int]) -> Callable[..., Column]:
    """Return MLflow's predicting function as one that gives `[NaN]` for a row that the model fails on.

    Args:
        predict: What `mlflow.pyfunc.spark_udf` returns for a result type that is an array of numbers. Its `__wrapped__`
            is what PySpark made of a Python function of batches. Built otherwise, it is returned as it is: then a row
            that the model fails on fails the job.
        most: On how many rows of a batch it may fail, of `features.by_halves`.
    """
    made = getattr(predict, "__wrapped__", None)
    function, kind = getattr(made, "func", None), getattr(made, "returnType", None)
    if function is None or kind is None:
        return predict
    import pandas as pd
    from pyspark import cloudpickle
    from pyspark.sql.pandas.functions import pandas_udf

    # On the executors nothing of ours need be installed.
    cloudpickle.register_pickle_by_value(by_halves)  # type: ignore[no-untyped-call]
    batches: Any = by_halves.by_batch(function, most)
    # PySpark reads from these what kind of function it is.
    batches.__annotations__ = {"batches": Iterator[pd.DataFrame], "return": Iterator[pd.Series]}
    udf: Callable[..., Column] = pandas_udf(batches, kind)
    return udf
