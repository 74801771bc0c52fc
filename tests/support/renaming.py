"""Move a case into a schema of its own, so that many cases can share one workspace."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.cases import Case


def in_schema(case: Case, schema: str) -> Case:
    """Return the case with its tables and functions in another schema; the catalog stays.

    Args:
        case: The case; no answer holds a table's name, so its expectation stays true.
        schema: One level, for example `"s17"`.
    """

    def moved(name: str) -> str:
        catalog, _, last = name.split(".")
        return f"{catalog}.{schema}.{last}"

    return replace(
        case,
        tables=tuple(replace(table, name=moved(table.name)) for table in case.tables),
        functions=tuple(replace(function, name=moved(function.name)) for function in case.functions),
        lookups=tuple(replace(lookup, table_name=moved(lookup.table_name)) for lookup in case.lookups),
        bindings=tuple(replace(binding, udf_name=moved(binding.udf_name)) for binding in case.bindings),
    )
