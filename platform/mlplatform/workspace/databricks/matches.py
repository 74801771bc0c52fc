"""Which lookups of a model found a row: the real client does not tell, so it is asked for a key of each table, too."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mlplatform.features.graph import needed
from mlplatform.features.scoring import ScoringPlan
from mlplatform.features.training_set import Join
from mlplatform.protocols.feature_spec import FeatureColumn, FeatureSpec, SourceColumn
from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup
from mlplatform.workspace.databricks.feature_engineering import real_features
from mlplatform.workspace.databricks.feature_frames import column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_MATCHED = "__matched_"


def with_matches(client: Any, df: DataFrame, scoring: ScoringPlan) -> tuple[DataFrame, dict[str, str]]:
    """Return the frame with all that the model looks up, and one boolean column for each lookup.

    The features come along because a lookup may need another one's; scoring then takes them as they are.

    Args:
        client: The real client.
        df: The frame to score.
        scoring: How it is scored.

    Returns:
        The DataFrame, and by the name that a match goes by in the end, its name in the DataFrame.
    """
    spec, tables = scoring.spec, scoring.tables
    names = needed(spec.columns, spec.included, df.columns)
    features: list[FeatureLookup | FeatureFunction] = [
        _lookup(item, spec)
        if isinstance(item, FeatureColumn)
        else FeatureFunction(udf_name=item.udf_name, input_bindings=item.input_bindings, output_name=item.output_name)
        for item in spec.columns
        if item.output_name in names and not isinstance(item, SourceColumn)
    ]
    matches, presence = {}, {}
    for place, (name, join) in enumerate(zip(scoring.matched, scoring.lookups.joins, strict=True)):
        matches[name] = f"{_MATCHED}{place}"
        outputs = dict(join.outputs)
        key = next((key for key in tables[join.table].primary_keys if key not in outputs), None)
        if key is None:
            # Every key is looked up as a feature already: a key is null exactly where no row was found.
            presence[matches[name]] = outputs[tables[join.table].primary_keys[0]]
        else:
            presence[matches[name]] = matches[name] + "_key"
            features.append(_presence(join, key, presence[matches[name]]))
    looked_up = client.create_training_set(
        df=df, feature_lookups=real_features(features, tables), label=None, exclude_columns=[]
    ).load_df()
    for name, source in presence.items():
        looked_up = looked_up.withColumn(name, column(source).isNotNull())
    return looked_up.drop(*(name for name in presence.values() if name.startswith(_MATCHED))), matches


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
