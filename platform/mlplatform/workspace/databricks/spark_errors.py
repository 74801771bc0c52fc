"""Spark's errors made ours: by their condition, for their texts hold pages of Java."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mlplatform.errors import PlatformError, TableError
from mlplatform.workspace.databricks.connection import cause, scrubbed

_ENGINES = frozenset({"pyspark", "py4j", "grpc", "delta", "databricks"})
_CONFLICT = re.compile(
    r"DELTA_CONCURRENT_|DELTA_METADATA_CHANGED|DELTA_PROTOCOL_CHANGED|"
    r"Concurrent(?:Append|Delete\w*|Transaction|Write)Exception|(?:Metadata|Protocol)ChangedException"
)
_MISSING = re.compile(
    r"TABLE_OR_VIEW_NOT_FOUND|SCHEMA_NOT_FOUND|NO_SUCH_CATALOG|CATALOG_NOT_FOUND|DELTA_MISSING_DELTA_TABLE"
)
_CONDITION = re.compile(r"\[([A-Z][A-Z0-9_.]+)\] ([^\n]*)")
# The last line of Python's own trace: what a function that Spark called had to say, as a model does.
_PYTHON = re.compile(r"^(?:[\w]+\.)*(\w+(?:Error|Exception)): ([^\n]*)", re.MULTILINE)
_TRACE = "Traceback (most recent call last)"
_HINTS = (
    (
        re.compile("PERMISSION|PRIVILEGE|UNAUTHORIZED"),
        "Ask for this privilege; docs/databricks.md lists who needs which.",
    ),
    (re.compile("NOT_NULL"), "Nothing was written; send such rows to the quarantine, or declare the column nullable."),
    (
        re.compile("CAST_|OVERFLOW|DATATYPE_MISMATCH|MERGE_INCOMPATIBLE"),
        "Nothing was written; cast it where it is computed.",
    ),
)


def is_of_spark(error: BaseException) -> bool:
    """Tell whether an error comes from Spark or its connection, and is no fault in our own code."""
    return any(kind.__module__.split(".")[0] in _ENGINES for kind in type(error).__mro__)


def is_conflict(error: BaseException) -> bool:
    """Tell whether another writer's commit came first; the same write may be tried again."""
    return is_of_spark(error) and bool(_CONFLICT.search(str(error)))


def is_missing(error: BaseException) -> bool:
    """Tell whether there is no such table, schema or catalog."""
    return is_of_spark(error) and bool(_MISSING.search(str(error)))


@contextmanager
def translated_spark(doing: str, error_class: type[PlatformError] = TableError) -> Iterator[None]:
    """Turn Spark's errors into one of ours.

    Args:
        doing: What was being done; begins the message.
        error_class: What to raise.

    Raises:
        PlatformError: `error_class`, with Spark's condition and its first line, and the error of a Python function that
            Spark called, without credentials.
    """
    try:
        yield
    except Exception as error:
        if not is_of_spark(error):
            raise
        match = _CONDITION.search(str(error))
        condition, text = (match[1], match[2]) if match else (type(error).__name__, str(error).strip().split("\n")[0])
        hint = next((hint for pattern, hint in _HINTS if pattern.search(f"{condition} {text}")), "")
        if said := _PYTHON.findall(str(error).partition(_TRACE)[2]):
            text = f"{text.rstrip('.')}: {': '.join(said[-1])}"
        # Errors of Databricks Connect may hold the headers of the request.
        raise error_class(f"{doing}: {scrubbed(text)} ({condition})", hint=hint) from cause(error)
