"""What a model version is given, declared again: the lookups and functions that its feature spec was made of."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlplatform.features.defaults import default_scalar
from mlplatform.naming import ObjectName
from mlplatform.protocols.feature_spec import FeatureColumn, FeatureSpec
from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup
from mlplatform.protocols.registry import ModelVersion
from mlplatform.protocols.workspace import Workspace
from mlplatform.types import arrow_type

_SPEC = "data/feature_store"


def spec_of(ws: Workspace, version: ModelVersion) -> FeatureSpec:
    """Return the feature spec of a model version.

    Args:
        ws: The workspace.
        version: The version.

    Raises:
        FeatureStoreError: If it carries none.
        RegistryError: If its files cannot be read.
    """
    with TemporaryDirectory() as folder:
        return FeatureSpec.load(ws.registry.download(version, Path(folder), _SPEC))


def tables_of(spec: FeatureSpec) -> set[ObjectName]:
    """Return the feature tables that a model version is given columns of."""
    return {ObjectName.parse(column.table_name) for column in spec.features}


def lookups_of(spec: FeatureSpec) -> list[FeatureLookup | FeatureFunction]:
    """Return lookups and functions that give what a spec names.

    Args:
        spec: A model version's feature spec.
    """
    groups: list[list[FeatureColumn]] = []
    for column in spec.features:
        group = next((group for group in groups if _belongs(column, group)), None)
        if group is None:
            groups.append([column])
        else:
            group.append(column)
    functions = [
        FeatureFunction(
            udf_name=column.udf_name, output_name=column.output_name, input_bindings=dict(column.input_bindings)
        )
        for column in spec.computed
    ]
    return [*(_lookup(spec, group) for group in groups), *functions]


def _belongs(column: FeatureColumn, group: list[FeatureColumn]) -> bool:
    """Tell whether a lookup gives a column, too: it gives each feature once."""
    first = group[0]
    place = (first.table_name, first.lookup_key, first.timestamp_lookup_key)
    return (column.table_name, column.lookup_key, column.timestamp_lookup_key) == place and all(
        other.feature_name != column.feature_name for other in group
    )


def _lookup(spec: FeatureSpec, group: list[FeatureColumn]) -> FeatureLookup:
    first = group[0]
    seconds = spec.lookback(first.table_name)
    return FeatureLookup(
        table_name=first.table_name,
        lookup_key=list(first.lookup_key),
        feature_names=[column.feature_name for column in group],
        rename_outputs={
            column.feature_name: column.output_name for column in group if column.feature_name != column.output_name
        },
        timestamp_lookup_key=first.timestamp_lookup_key[0] if first.timestamp_lookup_key else None,
        lookback_window=timedelta(seconds=seconds) if seconds is not None else None,
        default_values={column.output_name: _default(column) for column in group if column.default_value is not None},
    )


def _default(column: FeatureColumn) -> Any:
    text = str(column.default_value)
    return (
        default_scalar(text, arrow_type(column.data_type), of=column.output_name).as_py() if column.data_type else text
    )
