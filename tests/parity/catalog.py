"""What the stand-in server knows of a case, in the shapes in which the hosted services answer.

The field names are those that the client reads: see `FeatureTable.from_uc_get_table_response` and the protos in
`databricks.ml_features.api` of the installed package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.sql.pandas.types import from_arrow_type

from tests.support.arrow_types import spark_name

if TYPE_CHECKING:
    import pyarrow as pa

    from tests.support.cases import Case, Function, Table

_CREATED_AT = 1_700_000_000_000
_SERVICE_TYPES = {
    "boolean": "BOOLEAN",
    "smallint": "SHORT",
    "int": "INTEGER",
    "bigint": "LONG",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "STRING",
    "binary": "BINARY",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}
_NESTED_TYPES = {"decimal": "DECIMAL", "array": "ARRAY", "map": "MAP", "struct": "STRUCT"}


class Catalog:
    """The tables and functions of one case, by full name."""

    def __init__(self, case: Case) -> None:
        """Take the declarations of a case; the data stay in Spark."""
        self._tables = {table.name: table for table in case.tables}
        self._functions = {function.name.lower(): function for function in case.functions}

    def features(self, name: str) -> list[dict[str, Any]] | None:
        """Answer the feature service's list: every column, in alphabetical order, as its documentation says."""
        table = self._tables.get(name)
        if table is None:
            return None
        fields = sorted(table.data.schema, key=lambda field: field.name)
        return [_feature_answer(name, field) for field in fields]

    def table(self, name: str) -> dict[str, Any] | None:
        """Answer Unity Catalog's description of a table."""
        table = self._tables.get(name)
        return None if table is None else _table_answer(table)

    def function(self, name: str) -> dict[str, Any] | None:
        """Answer Unity Catalog's description of a function."""
        function = self._functions.get(name.lower())
        return None if function is None else _function_answer(function)


def _feature_answer(table: str, field: pa.Field) -> dict[str, Any]:
    answer = {
        "table": table,
        "id": f"{table}.{field.name}",
        "name": field.name,
        "data_type": _service_type(field.type),
    }
    if answer["data_type"] in _NESTED_TYPES.values():
        answer["data_type_details"] = from_arrow_type(field.type).json()
    return answer


def _table_answer(table: Table) -> dict[str, Any]:
    catalog, schema, name = table.name.split(".")
    key: dict[str, Any] = {"name": f"{name}_pk", "child_columns": table.all_keys}
    if table.timeseries_column:
        key["timeseries_columns"] = [table.timeseries_column]
    return {
        "full_name": table.name,
        "catalog_name": catalog,
        "schema_name": schema,
        "name": name,
        "securable_kind": "TABLE_DELTA",
        "table_type": "MANAGED",
        "table_id": f"id-of-{table.name}",
        "created_at": _CREATED_AT,
        "columns": [
            {"name": field.name, "type_text": spark_name(field.type), "position": position}
            for position, field in enumerate(table.data.schema)
        ],
        "table_constraints": [{"primary_key_constraint": key}],
    }


def _function_answer(function: Function) -> dict[str, Any]:
    catalog, schema, name = function.name.lower().split(".")
    parameters = [
        {"name": parameter, "type_text": kind, "type_name": _service_type_of_name(kind), "position": position}
        for position, (parameter, kind) in enumerate(function.parameters)
    ]
    return {
        "full_name": function.name.lower(),
        "catalog_name": catalog,
        "schema_name": schema,
        "name": name,
        "external_language": "Python",
        "routine_body": "EXTERNAL",
        "routine_definition": function.source,
        "full_data_type": function.returns,
        "input_params": {"parameters": parameters},
    }


def _service_type(kind: pa.DataType) -> str:
    return _service_type_of_name(spark_name(kind))


def _service_type_of_name(name: str) -> str:
    if name in _SERVICE_TYPES:
        return _SERVICE_TYPES[name]
    return _NESTED_TYPES[name.partition("<")[0].partition("(")[0]]
