"""Fixtures that the contract on Databricks and the parity tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import parity

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def delta_spark(tmp_path_factory: pytest.TempPathFactory) -> SparkSession:
    """JVM Spark with Delta, one for the whole process: it cannot be started twice, and is slow until it is warm."""
    from tests.standin import jars, spark

    reason = jars.missing()
    if reason is not None:
        message = f"tests of the Databricks workspace need {reason}"
        parity.fail_where_required(message)
        pytest.skip(message)
    return spark.start_delta_session(tmp_path_factory.mktemp("spark"))
