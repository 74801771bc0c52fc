import traceback

import pytest
from pyspark.errors import AnalysisException, SparkRuntimeException

from mlplatform.errors import TableError, UnavailableError
from mlplatform.workspace.databricks.spark_errors import is_conflict, is_missing, translated_spark


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (
            AnalysisException(
                "[INSUFFICIENT_PERMISSIONS] User does not have CREATE SCHEMA on Catalog 'dev'.\n== SQL =="
            ),
            "Creating dev.ops: User does not have CREATE SCHEMA on Catalog 'dev'. (INSUFFICIENT_PERMISSIONS)",
            "docs/databricks.md",
        ),
        (
            SparkRuntimeException("PERMISSION_DENIED: User lacks USE CATALOG\n\tat org.apache.spark.Something"),
            "Creating dev.ops: PERMISSION_DENIED: User lacks USE CATALOG (SparkRuntimeException)",
            "docs/databricks.md",
        ),
        (
            SparkRuntimeException(
                "Task failed\n: x [DELTA_NOT_NULL_CONSTRAINT_VIOLATED] NOT NULL violated for k.\n\tat"
            ),
            "Creating dev.ops: NOT NULL violated for k. (DELTA_NOT_NULL_CONSTRAINT_VIOLATED)",
            "quarantine",
        ),
        (
            SparkRuntimeException(
                "\n  An exception was thrown from the Python worker. Please see the stack trace below.\n"
                'Traceback (most recent call last):\n  File "x.py", line 3, in predict\n    raise ValueError("x")\n'
                "ValueError: PERMISSION of row 8\n\nDuring handling of the above: x\n"
                "sklearn.exceptions.NotFittedError: eight is not known\n\n\tat org.apache.spark.Something"
            ),
            (
                "Creating dev.ops: An exception was thrown from the Python worker. Please see the stack trace below: "
                "NotFittedError: eight is not known (SparkRuntimeException)"
            ),
            "",
        ),
    ],
)
def test_the_message_is_one_line_with_the_condition_and_the_hint_says_the_way_out(error, message, hint):
    with pytest.raises(TableError) as caught, translated_spark("Creating dev.ops"):
        raise error
    assert caught.value.message == message
    assert hint in caught.value.hint


def test_faults_of_our_own_and_errors_of_ours_pass_as_they_are():
    with pytest.raises(KeyError), translated_spark("Doing"):
        raise KeyError("a fault of the code")
    with pytest.raises(UnavailableError, match=r"^mine$"), translated_spark("Doing"):
        raise UnavailableError("mine")


def test_only_what_spark_says_of_other_writers_is_a_conflict():
    text = "io.delta.exceptions.ConcurrentAppendException: [DELTA_CONCURRENT_APPEND.WITHOUT_HINT] Files were added"
    assert is_conflict(SparkRuntimeException(text))
    assert not is_conflict(ValueError(text))
    assert not is_conflict(SparkRuntimeException("[DELTA_NOT_NULL_CONSTRAINT_VIOLATED] no"))
    assert is_missing(AnalysisException("[TABLE_OR_VIEW_NOT_FOUND] The table or view `a` cannot be found."))
    assert not is_missing(AnalysisException("[UNRESOLVED_COLUMN] b"))


def test_credentials_in_sparks_text_are_neither_in_the_message_nor_in_the_traceback():
    header = "eyJhbGciOiJSUzI1NiJ9"
    secret = f"{header}.payload.signature"  # in parts: nothing that looks like a token stands here
    with pytest.raises(TableError) as caught, translated_spark("Appending to dev.a.b"):
        raise SparkRuntimeException(f"StatusCode.UNAVAILABLE, authorization: Bearer {secret}")
    assert caught.value.message.startswith("Appending to dev.a.b: StatusCode.UNAVAILABLE")
    assert secret not in "".join(traceback.format_exception(caught.value))
