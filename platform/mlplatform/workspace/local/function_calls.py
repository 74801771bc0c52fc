"""Calling a feature function: scalar Python, once per row, None for null; its failures name types, never values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.types import arrow_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlplatform.features.training_set import FunctionCall
    from mlplatform.protocols.functions import FunctionInfo


def call(function: FunctionInfo, arguments: Sequence[pa.Array[Any] | pa.ChunkedArray[Any]], rows: int) -> pa.Array[Any]:
    """Return the function's results for columns of arguments.

    Args:
        function: The function.
        arguments: One column per parameter, in the order of the parameters.
        rows: How many rows there are (a function may have no parameters).

    Raises:
        FeatureStoreError: If the function raises, or returns what does not fit its declared type.
    """
    kind = arrow_type(function.returns)
    results = _call_rows(function, [column.to_pylist() for column in arguments], rows)
    try:
        return pa.array(results, type=kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise _wrong_result(function, results, kind) from None


def with_call(frame: pa.Table, step: FunctionCall, functions: Mapping[str, FunctionInfo]) -> pa.Table:
    """Return a frame with the column that a step of a plan computes.

    Raises:
        FeatureStoreError: As `call`.
    """
    arguments = [frame.column(name) for name in step.arguments]
    return frame.append_column(step.output, call(functions[step.function], arguments, frame.num_rows))


def _call_rows(function: FunctionInfo, columns: Sequence[list[Any]], rows: int) -> list[Any]:
    results: list[Any] = []
    try:
        if not columns:
            results.extend(function.fn() for _ in range(rows))
        else:
            # `extend` keeps what was computed before a row fails, which tells us the row.
            results.extend(map(function.fn, *columns))
    except Exception as error:
        row = len(results)
        types = ", ".join(
            f"{name}: {type(column[row]).__name__}"
            for (name, _), column in zip(function.parameters, columns, strict=True)
        )
        raise FeatureStoreError(
            f"Function {function.name} raised {type(error).__name__} for arguments of these types: ({types}).",
            hint="A null arrives as None; the function must take it.",
        ) from error
    return results


def _wrong_result(function: FunctionInfo, results: Sequence[Any], kind: pa.DataType) -> FeatureStoreError:
    for value in results:
        try:
            pa.array([value], type=kind)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            return FeatureStoreError(
                f"Function {function.name} returned a {type(value).__name__} that is no {function.returns}.",
                hint="Return what was declared, or None.",
            )
    return FeatureStoreError(f"Function {function.name} returned values that are no {function.returns}.")
