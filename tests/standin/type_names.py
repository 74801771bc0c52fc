"""Spark's simple type names to those of the services."""

from __future__ import annotations

from tests.support.arrow_types import arrow_type

_SERVICE_TYPES = {
    "boolean": "BOOLEAN",
    "tinyint": "BYTE",
    "smallint": "SHORT",
    "int": "INTEGER",
    "bigint": "LONG",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "STRING",
    "binary": "BINARY",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamp_ntz": "TIMESTAMP_NTZ",
}
_NESTED_TYPES = {"decimal": "DECIMAL", "array": "ARRAY", "map": "MAP", "struct": "STRUCT"}


def service_type(name: str) -> str:
    """Return the feature service's name of a type.

    Raises:
        ValueError: If the stand-in does not know the type.
    """
    name = name.lower()
    found = _SERVICE_TYPES.get(name) or _NESTED_TYPES.get(name.partition("<")[0].partition("(")[0])
    if found is None:
        msg = f"The stand-in does not know the type {name!r}."
        raise ValueError(msg)
    return found


def is_nested(name: str) -> bool:
    """Say whether a service type needs details."""
    return name in _NESTED_TYPES.values()


def type_json(name: str) -> str:
    """Return a type as Spark's JSON."""
    from pyspark.sql.pandas.types import from_arrow_type

    text: str = from_arrow_type(arrow_type(name)).json()
    return text
