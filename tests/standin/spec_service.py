"""The hosted service's answer to "generate the feature spec": written with the client library's own builder.

The older FeatureStoreClient of the same package still builds its spec locally, with `build_feature_spec`; the newer
client asks the service. The service is closed, so the stand-in answers with that builder, and adds what only the
service knows: the default values.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import yaml
from databricks.feature_engineering.entities.feature_function import FeatureFunction
from databricks.feature_engineering.entities.feature_lookup import FeatureLookup
from databricks.ml_features.entities.feature_table import FeatureTable
from databricks.ml_features.entities.materialized_feature import MaterializedFeature
from databricks.ml_features.utils import training_scoring_utils as scoring
from databricks.ml_features_common.entities.feature_column_info import FeatureColumnInfo

from tests.standin.metastore import Metastore
from tests.standin.unity_catalog import UnityCatalog

WORKSPACE_ID = 1


Features = Callable[[str], list[dict[str, Any]] | None]


def generate_yaml(request: Mapping[str, Any], metastore: Metastore, features_of: Features) -> str:
    """Answer a GenerateFeatureSpecYaml request.

    Args:
        request: The request's JSON: `features`, `exclude_columns`, `input_columns`.
        metastore: What the tables look like.
        features_of: Answers the service's list of a table's features.

    Raises:
        ValueError: The builder refuses, for example because one table has two lookback windows.
    """
    features = request.get("features", [])
    lookups = [_lookup(item["feature_lookup"]) for item in features if "feature_lookup" in item]
    functions = [_function(item["feature_function"]) for item in features if "feature_function" in item]
    metadata = _metadata({lookup.table_name for lookup in lookups}, metastore, features_of)
    columns = scoring.get_column_infos(lookups, functions, metadata, df_columns=request.get("input_columns", []))
    spec = scoring.build_feature_spec(
        lookups, metadata, columns, set(request.get("exclude_columns", [])), workspace_id=WORKSPACE_ID
    )
    defaults = {name: text for item in features for name, text in _defaults(item)}
    for column in spec.column_infos:
        if isinstance(column.info, FeatureColumnInfo):
            column.info._default_value_str = defaults.get(column.output_name)
    # The service takes and gives a lookback as a double; the builder rounds it to microseconds.
    lookbacks = {item["feature_lookup"]["table_name"]: _lookback(item) for item in features if "feature_lookup" in item}
    for table in spec.table_infos:
        table._lookback_window = lookbacks[table.table_name]
    text: str = yaml.safe_dump(spec._to_dict(), sort_keys=False, allow_unicode=True)
    return text


def needed_columns(request: Mapping[str, Any]) -> list[str]:
    """Return the columns that a spine has to bring for a feature spec that is kept under a name."""
    needed: list[str] = []
    outputs: set[str] = set()
    for item in request.get("features", []):
        lookup, function = item.get("feature_lookup", {}), item.get("feature_function", {})
        renamed = {it["feature_name"]: it["output_name"] for it in lookup.get("rename_outputs", [])}
        outputs |= {renamed.get(name, name) for name in lookup.get("feature_names", [])}
        outputs |= {function["output_name"]} if function else set()
        needed += [*lookup.get("lookup_keys", []), *lookup.get("timestamp_lookup_keys", [])]
        needed += [it["bound_feature_name"] for it in function.get("input_bindings", [])]
    return [name for name in dict.fromkeys(needed) if name not in outputs]


def _lookup(raw: dict[str, Any]) -> FeatureLookup:
    seconds = raw.get("lookback_window_seconds")
    return FeatureLookup(
        table_name=raw["table_name"],
        lookup_key=raw.get("lookup_keys", []),
        feature_names=raw.get("feature_names"),
        rename_outputs={item["feature_name"]: item["output_name"] for item in raw.get("rename_outputs", [])},
        timestamp_lookup_key=raw.get("timestamp_lookup_keys"),
        lookback_window=None if seconds is None else dt.timedelta(seconds=seconds),
    )


def _lookback(item: dict[str, Any]) -> float | None:
    seconds = item["feature_lookup"].get("lookback_window_seconds")
    return None if seconds is None else float(seconds)


def _defaults(item: dict[str, Any]) -> list[tuple[str, str]]:
    defaults = item.get("feature_lookup", {}).get("default_values", [])
    return [(default["feature_name"], default.get("default_value", "")) for default in defaults]


def _function(raw: dict[str, Any]) -> FeatureFunction:
    return FeatureFunction(
        udf_name=raw["udf_name"],
        input_bindings={item["parameter_name"]: item["bound_feature_name"] for item in raw.get("input_bindings", [])},
        output_name=raw["output_name"],
    )


def _metadata(names: set[str], metastore: Metastore, features_of: Features) -> scoring._FeatureTableMetadata:
    features, tables = {}, {}
    catalog = UnityCatalog(metastore)
    for name in names:
        info, columns = metastore.table(name), features_of(name)
        if info is None or columns is None:
            msg = f"Table '{name}' does not exist."
            raise ValueError(msg)
        tables[name] = FeatureTable.from_uc_get_table_response(catalog.table_answer(name, info))
        features[name] = [
            MaterializedFeature(name, column["id"], column["name"], column["data_type"], "") for column in columns
        ]
    return scoring._FeatureTableMetadata(features, tables, {})
