"""From what a use case declares to a feature spec: names, collisions, labels, lookbacks, functions' bindings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from mlplatform.errors import FeatureStoreError, did_you_mean
from mlplatform.features.defaults import default_text
from mlplatform.features.graph import ordering
from mlplatform.protocols.feature_spec import (
    FeatureColumn,
    FeatureSpec,
    FunctionColumn,
    SourceColumn,
    SpecColumn,
    SpecTable,
)
from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup

if TYPE_CHECKING:
    from mlplatform.protocols.functions import FunctionInfo
    from mlplatform.protocols.tables import TableInfo


def split(
    features: Iterable[FeatureLookup | FeatureFunction] | None,
) -> tuple[list[FeatureLookup], list[FeatureFunction]]:
    """Return the lookups and the functions of a list that holds both.

    Raises:
        FeatureStoreError: If something else is in the list.
    """
    lookups: list[FeatureLookup] = []
    functions: list[FeatureFunction] = []
    for item in features or ():
        if isinstance(item, FeatureLookup):
            lookups.append(item)
        elif isinstance(item, FeatureFunction):
            functions.append(item)
        else:
            raise FeatureStoreError(
                f"feature_lookups holds a {type(item).__name__}.",
                hint="It takes mlplatform's FeatureLookup and FeatureFunction.",
            )
    return lookups, functions


def declare(
    spine: Sequence[str],
    lookups: Sequence[FeatureLookup],
    functions: Sequence[FeatureFunction],
    *,
    labels: Sequence[str],
    exclude_columns: Collection[str],
    tables: Mapping[str, TableInfo],
    table_ids: Mapping[str, str],
    registered: Mapping[str, FunctionInfo],
) -> FeatureSpec:
    """Build the feature spec of a training set, without types.

    Args:
        spine: The spine's column names, in order.
        lookups: The lookups, in order.
        functions: The functions' uses, in order.
        labels: The label columns.
        exclude_columns: Columns to leave out; unknown ones are ignored.
        tables: What is known about each table that a lookup names.
        table_ids: Each table's id, to notice later that it was dropped and created again.
        registered: The registered function by udf_name.

    Raises:
        FeatureStoreError: If labels, names, bindings, defaults or lookbacks do not fit; each message names them.
    """
    _check_labels(spine, labels, exclude_columns)
    sources = [SourceColumn(name, include=name not in exclude_columns) for name in spine if name not in labels]
    features = [column for lookup in lookups for column in _explode(lookup, tables[lookup.table_name])]
    computed = [_computed(function, registered[function.udf_name]) for function in functions]
    _check_names(sources, features, computed, labels)
    lookbacks = _lookbacks(lookups)
    columns: list[SpecColumn] = [*sources, *features, *computed]
    # Cycles count among columns that will be left out, too.
    ordering(columns)
    columns = [replace(column, include=column.output_name not in exclude_columns) for column in columns]
    consumed = {name for column in features for name in column.lookup_key} | {
        name for column in computed for name in column.inputs
    }
    columns = [column for column in columns if column.include or column.output_name in consumed]
    if not columns:
        raise FeatureStoreError("Nothing is left of the training set but labels.", hint="Exclude fewer columns.")
    places = ordering(columns)
    return FeatureSpec(
        columns=tuple(replace(column, topological_ordering=places[column.output_name]) for column in columns),
        tables=tuple(
            SpecTable(name, table_ids.get(name, ""), lookbacks[name])
            for name in sorted({column.table_name for column in columns if isinstance(column, FeatureColumn)})
        ),
        functions=tuple(sorted({column.udf_name for column in columns if isinstance(column, FunctionColumn)})),
        client_version=_client_version(),
    )


def _check_labels(spine: Sequence[str], labels: Sequence[str], exclude_columns: Collection[str]) -> None:
    repeated = sorted({name for name in labels if list(labels).count(name) > 1})
    if repeated:
        raise FeatureStoreError(f"The label {repeated[0]!r} is given more than once.", hint="Name each label once.")
    for label in labels:
        if label not in spine:
            raise FeatureStoreError(f"The label column {label!r} is not in the frame.", hint=did_you_mean(label, spine))
        if label in exclude_columns:
            raise FeatureStoreError(
                f"The label column {label!r} is also in exclude_columns.", hint="A label cannot be excluded."
            )


def looked_up(lookup: FeatureLookup, table: TableInfo) -> list[str]:
    """Return the features that a lookup asks for, in order; without names, every column that is no key."""
    return lookup.feature_names or sorted(set(table.schema.names) - set(table.primary_keys))


def _explode(lookup: FeatureLookup, table: TableInfo) -> list[FeatureColumn]:
    if not table.primary_keys:
        raise FeatureStoreError(
            f"Table {table.name} has no primary keys, so nothing can be looked up in it.",
            hint="Create feature tables with ws.fe.create_table(name=..., primary_keys=...).",
        )
    outputs = []
    for name in looked_up(lookup, table):
        if name not in table.schema.names:
            raise FeatureStoreError(
                f"Feature table {table.name} has no feature {name!r}.", hint=did_you_mean(name, table.schema.names)
            )
        output = lookup.output_name(name)
        outputs.append(
            FeatureColumn(
                output_name=output,
                table_name=lookup.table_name,
                feature_name=name,
                lookup_key=tuple(lookup.lookup_key),
                timestamp_lookup_key=(lookup.timestamp_lookup_key,) if lookup.timestamp_lookup_key else (),
                default_value=default_text(lookup.default_values.get(output)),
            )
        )
    names = [column.output_name for column in outputs]
    for name in lookup.default_values:
        if name not in names:
            raise FeatureStoreError(
                f"The default for {name!r} belongs to no feature looked up in {table.name}.",
                hint=did_you_mean(name, names),
            )
    return outputs


def _computed(function: FeatureFunction, info: FunctionInfo) -> FunctionColumn:
    if not function.output_name:
        raise FeatureStoreError(
            f"The use of function {function.udf_name} has no output_name.",
            hint="Give one: the full name with its dots cannot be a column's name.",
        )
    parameters = [name for name, _ in info.parameters]
    if set(parameters) != set(function.input_bindings):
        raise FeatureStoreError(
            f"Function {function.udf_name} has the parameters {parameters}, "
            f"but {function.output_name!r} binds {sorted(function.input_bindings)}.",
            hint="Bind every parameter, and nothing else.",
        )
    bindings = {name: function.input_bindings[name] for name in parameters}
    return FunctionColumn(output_name=function.output_name, udf_name=function.udf_name, input_bindings=bindings)


def _check_names(
    sources: Sequence[SourceColumn],
    features: Sequence[FeatureColumn],
    computed: Sequence[FunctionColumn],
    labels: Sequence[str],
) -> None:
    owners = {column.output_name: "a column of the frame" for column in sources}
    owners |= dict.fromkeys(labels, "the label")
    outputs = [(item.output_name, f"feature {item.feature_name!r} of {item.table_name}") for item in features]
    outputs += [(item.output_name, f"function {item.udf_name}") for item in computed]
    for name, mine in outputs:
        if name in owners:
            raise FeatureStoreError(
                f"The output {name!r} ({mine}) has the name of another column: {owners[name]}.",
                hint="Give it another name with rename_outputs or output_name, or drop the frame's column.",
            )
        owners[name] = mine
    inputs = set(owners) - set(labels)
    for function in computed:
        _check_inputs(f"function {function.udf_name}", "input binding column", function.inputs, inputs, labels)
    for feature in features:
        _check_inputs(f"the lookup of {feature.table_name}", "lookup key column", feature.lookup_key, inputs, labels)


def _check_inputs(of: str, what: str, names: Sequence[str], columns: Collection[str], labels: Sequence[str]) -> None:
    missing = [name for name in names if name not in columns]
    if not missing:
        return
    if missing[0] in labels:
        raise FeatureStoreError(
            f"The {what} {missing[0]!r} of {of} is the label.", hint="Labels are not known when the model is used."
        )
    raise FeatureStoreError(
        f"The {what}(s) {', '.join(map(repr, missing))} of {of} are neither in the frame nor an output.",
        hint=did_you_mean(missing[0], columns),
    )


def _lookbacks(lookups: Sequence[FeatureLookup]) -> dict[str, float | None]:
    windows: dict[str, float | None] = {}
    for lookup in lookups:
        window = lookup.lookback_window
        seconds = None if window is None else window.total_seconds()
        if windows.setdefault(lookup.table_name, seconds) != seconds:
            raise FeatureStoreError(
                f"Two lookups of {lookup.table_name} have different lookback windows: "
                f"{windows[lookup.table_name]} s and {seconds} s.",
                hint="One lookback per table in a training set.",
            )
    return windows


def _client_version() -> str:
    try:
        return f"mlplatform-{version('mlplatform')}"
    except PackageNotFoundError:
        return "mlplatform"
