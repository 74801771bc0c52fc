"""Write a case back into the JSON format of `tests/cases`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.arrow_types import spark_name
from tests.support.values import to_json

if TYPE_CHECKING:
    import pyarrow as pa

    from tests.support.cases import Case
    from tests.support.compare import Answer

_WIDTH = 110


def case_to_json(case: Case, answer: Answer | None = None) -> dict[str, Any]:
    """Return the JSON of a case.

    Args:
        case: The question.
        answer: What it should give; the case's own expectation is left out, as a new case has none.
    """
    raw: dict[str, Any] = {
        "name": case.name,
        "why": case.why,
        "origin": case.origin,
        "mode": case.mode,
        "tables": [
            {
                "name": table.name,
                "primary_keys": list(table.primary_keys),
                "timeseries_column": table.timeseries_column,
                **_frame(table.data),
            }
            for table in case.tables
        ],
        "functions": [
            {
                "name": function.name,
                "params": [list(parameter) for parameter in function.parameters],
                "returns": function.returns,
                "python_expression": function.expression,
            }
            for function in case.functions
        ],
        "spine": _frame(case.spine),
        "lookups": [
            {
                "table_name": lookup.table_name,
                "lookup_key": list(lookup.lookup_key),
                "feature_names": None if lookup.feature_names is None else list(lookup.feature_names),
                "rename_outputs": lookup.rename_outputs,
                "timestamp_lookup_key": lookup.timestamp_lookup_key,
                "lookback_seconds": None if lookup.lookback is None else lookup.lookback.total_seconds(),
                "default_values": lookup.default_values,
            }
            for lookup in case.lookups
        ],
        "function_bindings": [binding.arguments() for binding in case.bindings],
        "label": case.label,
        "exclude_columns": list(case.exclude_columns),
    }
    if case.training_spine is not None:
        raw["training_spine"] = _frame(case.training_spine)
    if case.model is not None:
        raw["model"] = {
            "inputs": list(case.model.inputs),
            "coefficients": list(case.model.coefficients),
            "intercept": case.model.intercept,
            "null_as": case.model.null_as,
        }
    if answer is not None:
        raw["expect"] = {
            "columns": [{"name": name, "type": kind} for name, kind in answer.columns],
            "rows": answer.rows,
        }
    return raw


def case_text(raw: dict[str, Any]) -> str:
    """Lay a case's JSON out for people: whatever fits into a line stays in one."""
    return _laid_out(raw, 0) + "\n"


def _frame(table: pa.Table) -> dict[str, Any]:
    columns = [[to_json(value, column.type) for value in column.to_pylist()] for column in table.columns]
    return {
        "schema": [{"name": field.name, "type": spark_name(field.type)} for field in table.schema],
        "rows": [list(row) for row in zip(*columns, strict=True)],
    }


def _laid_out(value: Any, depth: int) -> str:
    line = json.dumps(value, ensure_ascii=False)
    if (depth and len(line) + depth <= _WIDTH) or not isinstance(value, dict | list) or not value:
        return line
    inner, outer = " " * (depth + 1), " " * depth
    if isinstance(value, dict):
        items = [f"{json.dumps(key, ensure_ascii=False)}: {_laid_out(item, depth + 1)}" for key, item in value.items()]
        return "{\n" + inner + f",\n{inner}".join(items) + f"\n{outer}}}"
    return "[\n" + inner + f",\n{inner}".join(_laid_out(item, depth + 1) for item in value) + f"\n{outer}]"
