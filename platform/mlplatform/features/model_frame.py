"""What a model is given: one pandas type for each Spark type, whatever values a batch happens to hold.

Arrow and Spark would let the values decide (integers become `int64`, with a null in the batch `float64` or `Int64`;
booleans `bool` or `object`), so that a row's prediction would depend on the rows beside it. The training set, both
homes' scoring, and so the gate, the monitoring and the reason codes, all ask here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mlplatform.errors import FeatureStoreError
from mlplatform.protocols.lineage import AS_VALUES_SUGGEST, RULE
from mlplatform.types import spark_type

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 2**53
"""Up to here a float tells each whole number from the next."""
_CERTAIN_DIGITS = 15
_MOMENT = pa.timestamp("ns")


def handed_over(kind: pa.DataType) -> pa.DataType:
    """Return the type in which a model is given a column: every number but `float` as `double`, booleans as 1 and 0.

    A timestamp loses its zone, which is UTC: Spark gives a Python function none either. Text, dates, binary values
    and `float` stay what they are.

    Args:
        kind: The column's type, a normal one (see `features.types`).

    Examples:
        >>> handed_over(pa.int32()), handed_over(pa.list_(pa.bool_())), handed_over(pa.string())
        (DataType(double), ListType(list<element: double>), DataType(string))
    """
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_timestamp(kind):
        return _MOMENT
    if pa.types.is_list(kind):
        return pa.list_(pa.field("element", handed_over(kind.value_type)))
    if pa.types.is_map(kind):
        return pa.map_(handed_over(kind.key_type), handed_over(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, handed_over(field.type)) for field in kind])
    return kind


def model_frame(rows: pa.Table | pa.RecordBatch, rule: int = RULE) -> pd.DataFrame:
    """Return rows as the pandas frame that a model is given.

    Nulls are NaN in numbers (booleans among them), NaT in timestamps, None in all else. An infinite number stays one,
    as with the real client: where a model refuses it, that row alone is without a prediction.

    Args:
        rows: The model's inputs, in normal types.
        rule: What the model was logged under; `AS_VALUES_SUGGEST` for those older than the rule.

    Raises:
        FeatureStoreError: If a whole number is too large for a float, or a timestamp for pandas; the column is named.

    Examples:
        >>> alone = pa.table({"visits": pa.array([3], pa.int64()), "flag": pa.array([True])})
        >>> beside_nulls = pa.table({"visits": pa.array([3, None], pa.int64()), "flag": pa.array([True, None])})
        >>> model_frame(alone).dtypes.equals(model_frame(beside_nulls).dtypes)
        True
    """
    if rule == AS_VALUES_SUGGEST:
        frame: pd.DataFrame = rows.to_pandas()
        return frame
    columns = [_handed_over(rows.column(name), name) for name in rows.schema.names]
    handed: pd.DataFrame = pa.table(columns, names=rows.schema.names).to_pandas()
    return handed


def is_inexact(kind: pa.DataType) -> bool:
    """Tell whether a type holds whole numbers that a float does not."""
    return bool(
        pa.types.is_int64(kind) or (pa.types.is_decimal(kind) and kind.precision - kind.scale > _CERTAIN_DIGITS)
    )


def too_large(name: str, kind: pa.DataType, example: object = None) -> FeatureStoreError:
    """Return the error about a column with whole numbers that a float cannot tell apart."""
    such = "" if example is None else f" such as {example}"
    return FeatureStoreError(
        f"Column {name!r} ({spark_type(kind)}) holds numbers beyond 2^53{such}: a model is given numbers as floats, "
        "which cannot tell them from their neighbours.",
        hint="A number so large is a name: exclude the column (exclude_columns), or declare it a string in the "
        "table's SQL and name it among the CATEGORIES.",
    )


def out_of_range(name: str) -> FeatureStoreError:
    """Return the error about a column with timestamps that pandas does not hold."""
    return FeatureStoreError(
        f"Column {name!r} holds timestamps before 1677-09-22 or after 2262-04-11, which pandas does not hold.",
        hint="Let the table's SQL make such a placeholder null, or exclude the column.",
    )


def _handed_over(column: pa.ChunkedArray[Any] | pa.Array[Any], name: str) -> pa.ChunkedArray[Any] | pa.Array[Any]:
    kind = column.type
    _refuse_too_large(column, name)
    if pa.types.is_decimal(kind):
        # By way of text: Arrow's own cast may be a last bit off the nearest float.
        column = column.cast(pa.string())
    try:
        return column.cast(handed_over(kind))
    except pa.ArrowInvalid as error:
        if _holds_timestamp(kind):
            raise out_of_range(name) from error
        raise FeatureStoreError(
            f"Column {name!r} ({spark_type(kind)}) cannot be handed to a model: {error}", hint="Exclude the column."
        ) from error


def _refuse_too_large(column: pa.ChunkedArray[Any] | pa.Array[Any], name: str) -> None:
    kind = column.type
    if is_inexact(kind):
        ends = pc.min_max(column)
        for end in (ends["min"].as_py(), ends["max"].as_py()):
            if end is not None and abs(end) > LARGEST:
                raise too_large(name, kind, end)
    elif pa.types.is_struct(kind):
        for place in range(kind.num_fields):
            _refuse_too_large(pc.struct_field(column, place), name)
    elif pa.types.is_map(kind) or pa.types.is_list(kind):
        for part in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
            for values in (part.keys, part.items) if isinstance(part, pa.MapArray) else (pc.list_flatten(part),):
                _refuse_too_large(values, name)


def _holds_timestamp(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_holds_timestamp(field.type) for field in kind)
    if pa.types.is_map(kind):
        return _holds_timestamp(kind.key_type) or _holds_timestamp(kind.item_type)
    return _holds_timestamp(kind.value_type) if pa.types.is_list(kind) else bool(pa.types.is_timestamp(kind))
