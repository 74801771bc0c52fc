"""Which lookups of a model found a row: the real client does not tell, so it is asked for a key of each table, too."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mlplatform.features.graph import needed
from mlplatform.features.scoring import match_names
from mlplatform.features.training_set import Join, Plan
from mlplatform.protocols.feature_spec import FeatureColumn, FeatureSpec, SourceColumn
from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup
from mlplatform.workspace.databricks.feature_engineering import real_features
from mlplatform.workspace.databricks.feature_frames import column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.protocols.tables import TableInfo

_MATCHED = "__matched_"


def with_matches(
    client: Any, df: DataFrame, spec: FeatureSpec, plan: Plan, tables: Mapping[str, TableInfo]
) -> tuple[DataFrame, dict[str, str]]:
    """Return the frame with all that the model looks up, and one boolean column for each lookup.

    The features come along because a lookup may need another one's; scoring then takes them as they are.

    Args:
        client: The real client.
        df: The frame to score.
        spec: The model's feature spec.
        plan: What is looked up and computed.
        tables: What is known about the tables.

    Returns:
        The DataFrame, and by the name that a match goes by in the end, its name in the DataFrame.
    """
    wanted = needed(spec.columns, spec.included, df.columns)
    features: list[FeatureLookup | FeatureFunction] = [
        _lookup(item, spec)
        if isinstance(item, FeatureColumn)
        else FeatureFunction(udf_name=item.udf_name, input_bindings=item.input_bindings, output_name=item.output_name)
        for item in spec.columns
        if item.output_name in wanted and not isinstance(item, SourceColumn)
    ]
    found, presence = {}, {}
    for place, (name, join) in enumerate(zip(match_names(plan), plan.joins, strict=True)):
        found[name] = f"{_MATCHED}{place}"
        taken = dict(join.outputs)
        key = next((key for key in tables[join.table].primary_keys if key not in taken), None)
        if key is None:
            # Every key is looked up as a feature already: a key is null exactly where no row was found.
            presence[found[name]] = taken[tables[join.table].primary_keys[0]]
        else:
            presence[found[name]] = found[name] + "_key"
            features.append(_presence(join, key, presence[found[name]]))
    if not features:
        return df, found
    looked_up = client.create_training_set(
        df=df, feature_lookups=real_features(features, tables), label=None, exclude_columns=[]
    ).load_df()
    for name, source in presence.items():
        looked_up = looked_up.withColumn(name, column(source).isNotNull())
    return looked_up.drop(*(name for name in presence.values() if name.startswith(_MATCHED))), found


def _lookup(item: FeatureColumn, spec: FeatureSpec) -> FeatureLookup:
    """Return a column's lookup without its default: the client fills it in when it scores, as late as it should."""
    seconds = spec.lookback(item.table_name)
    return FeatureLookup(
        item.table_name,
        list(item.lookup_key),
        feature_names=item.feature_name,
        rename_outputs={item.feature_name: item.output_name} if item.feature_name != item.output_name else None,
        timestamp_lookup_key=list(item.timestamp_lookup_key),
        lookback_window=None
        if seconds is None or not item.timestamp_lookup_key
        else timedelta(microseconds=round(seconds * 1_000_000)),
    )


def _presence(join: Join, key: str, output: str) -> FeatureLookup:
    return FeatureLookup(
        join.table,
        [mine for mine, _ in join.keys],
        feature_names=key,
        rename_outputs={key: output},
        timestamp_lookup_key=join.time[0] if join.time else None,
        lookback_window=None if join.lookback_us is None else timedelta(microseconds=join.lookback_us),
    )
