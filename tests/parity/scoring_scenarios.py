"""Random scoring: the training sets of `scenarios`, with a model, scored on another frame."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import pyarrow as pa

from tests.parity.scenario_values import FEATURES, values
from tests.parity.scenarios import scenario
from tests.support.arrow_types import TIMESTAMP, arrow_type, spark_name
from tests.support.cases import Case, LinearModel

# A model's signature knows only these. The real client logs a model with other inputs without a signature, and
# refuses to score it.
_SIGNATURE_TYPES = {"boolean", "smallint", "int", "bigint", "float", "double", "string", "binary", "date", "timestamp"}
_PANDAS_YEARS = range(1678, 2262)
_SMALLER = {2**53 + 1: 5301, -(2**63): -6300, 2**63 - 1: 6299}
_NUMBERS = {"smallint", "int", "bigint", "float", "double"}


def scoring_scenario(seed: int) -> Case:
    """Return a case in mode `score_batch`: some columns are overridden, some extra, and the labels may be missing."""
    rng = random.Random(-1 - seed)
    base = _base(seed)
    training = base.spine
    if not base.label:
        training = training.append_column("target", pa.array([0.5] * training.num_rows, pa.float64()))
        base = replace(base, label="target")
    labels = [base.label] if isinstance(base.label, str) else list(base.label or [])
    kinds = _output_kinds(base, labels)
    unfit = [name for name, kind in kinds.items() if kind not in _SIGNATURE_TYPES]
    base = replace(base, exclude_columns=(*base.exclude_columns, *unfit))
    inputs = [name for name, kind in kinds.items() if kind in _NUMBERS and name not in base.exclude_columns]
    return replace(
        base,
        name=f"scoring_{seed}",
        why=f"random scoring scenario {seed}",
        mode="score_batch",
        training_spine=training,
        spine=_to_score(rng, base, labels, kinds),
        model=LinearModel(
            inputs=tuple(inputs),
            coefficients=tuple(rng.choice([1.0, -0.5, 10.0, 0.1]) for _ in inputs),
            intercept=0.25,
            null_as=-8.0,
        ),
    )


def _base(seed: int) -> Case:
    """Return a training set whose times pandas can hold in nanoseconds.

    Spark hands the model pandas frames, and the client reads a row of the spine into Python, so with other times the
    real client fails to log or to score. Ours does not; there is nothing to compare.
    """
    candidates = (_within_floats(scenario(number)) for number in itertools.count(10_000 + 100 * seed))
    return next(case for case in candidates if all(year in _PANDAS_YEARS for year in _years(case)))


def _within_floats(case: Case) -> Case:
    """Return a case without whole numbers beyond 2^53, which ours does not hand to a model; equal ones stay equal."""
    return replace(
        case,
        spine=_smaller(case.spine),
        tables=tuple(replace(table, data=_smaller(table.data)) for table in case.tables),
        lookups=tuple(
            replace(lookup, default_values={name: _small(value) for name, value in lookup.default_values.items()})
            for lookup in case.lookups
        ),
    )


def _smaller(rows: pa.Table) -> pa.Table:
    for place, field in enumerate(rows.schema):
        if pa.types.is_int64(field.type):
            drawn = [_small(value) for value in rows.column(place).to_pylist()]
            rows = rows.set_column(place, field, pa.array(drawn, pa.int64()))
    return rows


def _small(value: Any) -> Any:
    return _SMALLER.get(value, value) if isinstance(value, int) else value


def _years(case: Case) -> set[int]:
    return {
        time.year
        for frame in (case.spine, *(table.data for table in case.tables))
        for column in frame.columns
        # A date may come back from the as-of join as a timestamp.
        if column.type in {TIMESTAMP, pa.date32()}
        for time in column.to_pylist()
        if time is not None
    }


def _output_kinds(case: Case, labels: list[str]) -> dict[str, str]:
    """Return every column of the training set and its type, labels left out."""
    kinds = {field.name: spark_name(field.type) for field in case.spine.schema if field.name not in labels}
    for lookup in case.lookups:
        table = case.table(lookup.table_name)
        for name in lookup.feature_names or table.features:
            kinds[lookup.rename_outputs.get(name, name)] = spark_name(table.data.schema.field(name).type)
    functions = {function.name: function for function in case.functions}
    return kinds | {binding.output_name: functions[binding.udf_name].returns for binding in case.bindings}


def _to_score(rng: random.Random, case: Case, labels: list[str], kinds: dict[str, str]) -> pa.Table:
    frame = case.spine
    for label in labels:
        if label in frame.column_names and rng.random() < 0.7:
            frame = frame.drop_columns([label])
    outputs = [name for name in kinds if name not in case.spine.column_names and kinds[name] in FEATURES]
    for name in outputs:
        if rng.random() < 0.15:
            drawn = [_small(value) for value in values(rng, kinds[name], frame.num_rows)]
            frame = frame.append_column(name, pa.array(drawn, type=arrow_type(kinds[name])))
    if rng.random() < 0.3:
        frame = frame.append_column("only_here", pa.array(["é"] * frame.num_rows, pa.string()))
    return frame
