"""The training-set rules: from a feature spec and the columns at hand to what is joined, computed and filled, in order.

Training sets and scoring follow the same plan; only the columns at hand differ. Every refusal that does not need the
rows themselves is raised here, before any is read. Which engine then runs the plan is not decided here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import FeatureStoreError, did_you_mean
from mlplatform.features.defaults import default_scalar
from mlplatform.features.graph import needed, stages
from mlplatform.protocols.feature_spec import FeatureColumn, FeatureSpec, FunctionColumn
from mlplatform.types import arrow_type, normal_type, spark_type

if TYPE_CHECKING:
    from mlplatform.protocols.functions import FunctionInfo
    from mlplatform.protocols.tables import TableInfo

PREDICTION = "prediction"


@dataclass(frozen=True)
class Join:
    """One left join of the frame with a feature table.

    Attributes:
        table: The table's name.
        keys: Pairs (frame's column, table's column), compared one by one.
        time: The pair of time columns; None for a plain table. The latest row not after the frame's time counts.
        lookback_us: The greatest age in microseconds, inclusive; None for any.
        outputs: Pairs (table's column, output).
    """

    table: str
    keys: tuple[tuple[str, str], ...]
    time: tuple[str, str] | None
    lookback_us: int | None
    outputs: tuple[tuple[str, str], ...]

    def refuse_null_times(self, nulls: int, rows: int) -> None:
        """Refuse a frame by the number of its rows that have no time to be looked up as of.

        Raises:
            FeatureStoreError: If there is one.
        """
        if nulls and self.time is not None:
            raise FeatureStoreError(
                f"{nulls} of {rows} row(s) have no time in {self.time[0]!r}, by which {self.table} is looked up.",
                hint="A row without a time cannot be looked up as of a time: quarantine or drop such rows first.",
            )


@dataclass(frozen=True)
class FunctionCall:
    """One function, called per row.

    Attributes:
        function: The function's name.
        arguments: The columns passed, in the order of its parameters.
        output: The output's name.
    """

    function: str
    arguments: tuple[str, ...]
    output: str


@dataclass(frozen=True)
class LookupPlan:
    """What to do with a frame.

    Attributes:
        stages: Groups of joins or of calls, one after the other.
        defaults: What fills nulls (and NaN) at the very end, by column.
        schema: Every column there is after all stages, in normal types.
    """

    stages: tuple[tuple[Join, ...] | tuple[FunctionCall, ...], ...]
    defaults: Mapping[str, pa.Scalar[Any]]
    schema: pa.Schema

    @property
    def joins(self) -> list[Join]:
        """All joins."""
        return [step for stage in self.stages for step in stage if isinstance(step, Join)]

    @property
    def calls(self) -> list[FunctionCall]:
        """All calls."""
        return [step for stage in self.stages for step in stage if isinstance(step, FunctionCall)]


def make_plan(
    spec: FeatureSpec,
    frame: pa.Schema,
    *,
    outputs: Sequence[str],
    tables: Mapping[str, TableInfo],
    functions: Mapping[str, FunctionInfo],
) -> LookupPlan:
    """Plan how to compute columns; one that the frame has wins over lookup and function.

    Args:
        spec: The feature spec.
        frame: The frame's schema, in normal types.
        outputs: The columns needed in the end.
        tables: What is known about the tables of the spec.
        functions: The registered functions of the spec.

    Raises:
        FeatureStoreError: If keys do not fit in number or type, columns are missing, arguments have another type than
            the parameter, or defaults do not fit.
    """
    to_compute = needed(spec.columns, outputs, frame.names)
    types: dict[str, pa.DataType] = {field.name: field.type for field in frame}
    planned: list[tuple[Join, ...] | tuple[FunctionCall, ...]] = []
    columns = [column for column in spec.columns if column.output_name in to_compute]
    for group in stages(columns, frame.names):
        joins: dict[tuple[object, ...], list[tuple[str, str]]] = {}
        calls: list[FunctionCall] = []
        kinds: dict[str, pa.DataType] = {}
        for column in group:
            if isinstance(column, FeatureColumn):
                table = tables[column.table_name]
                kinds[column.output_name] = _feature_type(column, table)
                signature = _join_keys(column, table, types)
                joins.setdefault((column.table_name, *signature), []).append((column.feature_name, column.output_name))
            elif isinstance(column, FunctionColumn):
                function = functions[column.udf_name]
                calls.append(_call(column, function, types))
                kinds[column.output_name] = arrow_type(function.returns)
        types |= kinds
        planned.append(tuple(calls) if calls else tuple(_joins(joins, spec)))
    defaults = {
        column.output_name: default_scalar(column.default_value, types[column.output_name], of=column.output_name)
        for column in spec.features
        if column.default_value is not None and column.output_name in types
    }
    schema = pa.schema([pa.field(name, kind) for name, kind in types.items()])
    return LookupPlan(stages=tuple(planned), defaults=defaults, schema=schema)


def sources_needed(spec: FeatureSpec, outputs: Sequence[str], present: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the tables and the functions that computing the outputs takes, where the present ones are given."""
    names = needed(spec.columns, outputs, present)
    tables = {column.table_name for column in spec.features if column.output_name in names}
    functions = {column.udf_name for column in spec.computed if column.output_name in names}
    return sorted(tables), sorted(functions)


def check_score_frame(spec: FeatureSpec, names: Sequence[str]) -> None:
    """Refuse a frame that cannot be scored.

    Args:
        spec: The model's feature spec.
        names: The frame's columns.

    Raises:
        FeatureStoreError: If it has a column `prediction`, or lacks columns that must come with it.
    """
    if PREDICTION in names:
        raise FeatureStoreError(
            f"The frame to score has a column {PREDICTION!r} already.", hint="Rename or drop it: score_batch adds one."
        )
    outputs = {column.output_name for column in spec.columns}
    required = [column.output_name for column in spec.sources]
    required += [name for column in spec.features for name in column.lookup_key if name not in outputs]
    required += [name for column in spec.computed for name in column.inputs if name not in outputs]
    missing = [name for name in dict.fromkeys(required) if name not in names]
    if missing:
        raise FeatureStoreError(
            f"The frame to score lacks the required column(s) {', '.join(map(repr, missing))}.",
            hint=did_you_mean(missing[0], names),
        )


def _feature_type(column: FeatureColumn, table: TableInfo) -> pa.DataType:
    if column.feature_name not in table.schema.names:
        raise FeatureStoreError(
            f"Feature table {table.name} has no feature {column.feature_name!r}.",
            hint=did_you_mean(column.feature_name, table.schema.names),
        )
    return normal_type(table.schema.field(column.feature_name).type)


def _join_keys(
    column: FeatureColumn, table: TableInfo, types: Mapping[str, pa.DataType]
) -> tuple[tuple[tuple[str, str], ...], tuple[str, str] | None]:
    plain = [key for key in table.primary_keys if key != table.timeseries_column]
    times = [table.timeseries_column] if table.timeseries_column else []
    keys = _matched("lookup key", column.lookup_key, "primary key", plain, table, types)
    time = _matched("timestamp lookup key", column.timestamp_lookup_key, "timeseries column", times, table, types)
    return keys, time[0] if time else None


def _matched(
    ours: str,
    frame_keys: Sequence[str],
    theirs: str,
    table_keys: Sequence[str],
    table: TableInfo,
    types: Mapping[str, pa.DataType],
) -> tuple[tuple[str, str], ...]:
    for key in frame_keys:
        if key not in types:
            raise FeatureStoreError(
                f"Cannot look up {table.name}: the {ours} {key!r} is not in the frame.", hint=did_you_mean(key, types)
            )
    if len(frame_keys) != len(table_keys):
        raise FeatureStoreError(
            f"Cannot look up {table.name}: it has {len(table_keys)} {theirs}(s) {list(table_keys)}, "
            f"but the lookup gives {len(frame_keys)} {ours}(s) {list(frame_keys)}.",
            hint="Keys are matched by position; the timeseries column is matched by timestamp_lookup_key.",
        )
    for mine, other in zip(frame_keys, table_keys, strict=True):
        left, right = spark_type(types[mine]), spark_type(table.schema.field(other).type)
        if left != right:
            raise FeatureStoreError(
                f"Cannot look up {table.name}: its {theirs} {other!r} is {right}, but the {ours} {mine!r} is {left}.",
                hint=f"Types must be equal: cast {mine!r} to {right}.",
            )
    return tuple(zip(frame_keys, table_keys, strict=True))


def _joins(joins: Mapping[tuple[object, ...], list[tuple[str, str]]], spec: FeatureSpec) -> list[Join]:
    result = []
    for (table, keys, time), outputs in joins.items():
        seconds = spec.lookback(str(table)) if time else None
        result.append(
            Join(
                table=str(table),
                keys=keys,  # type: ignore[arg-type]
                time=time,  # type: ignore[arg-type]
                lookback_us=None if seconds is None else round(seconds * 1_000_000),
                outputs=tuple(outputs),
            )
        )
    return result


def _call(column: FunctionColumn, function: FunctionInfo, types: Mapping[str, pa.DataType]) -> FunctionCall:
    arguments = []
    for parameter, declared in function.parameters:
        if parameter not in column.input_bindings:
            raise FeatureStoreError(
                f"Parameter {parameter!r} of function {function.name} is bound to nothing.",
                hint="The function has changed since the model was logged; log the model again.",
            )
        bound = column.input_bindings[parameter]
        if bound not in types:
            raise FeatureStoreError(
                f"The column {bound!r} for parameter {parameter!r} of function {function.name} is not in the frame.",
                hint=did_you_mean(bound, types),
            )
        actual, expected = spark_type(types[bound]), spark_type(arrow_type(declared))
        if actual != expected:
            raise FeatureStoreError(
                f"Parameter {parameter!r} of function {function.name} is {expected}, "
                f"but the column {bound!r} bound to it is {actual}.",
                hint="Types must be equal: cast the column, or change the function's declaration.",
            )
        arguments.append(bound)
    return FunctionCall(function=function.name, arguments=tuple(arguments), output=column.output_name)
