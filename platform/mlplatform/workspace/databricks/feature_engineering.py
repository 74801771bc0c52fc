"""The real feature engineering client: how it is made, our declarations in its words, its refusals in ours."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mlplatform.errors import FeatureStoreError, MissingDependencyError, PlatformError
from mlplatform.features.declaration import looked_up
from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup
from mlplatform.workspace.databricks.connection import cause, scrubbed
from mlplatform.workspace.databricks.feature_models import is_refusal

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlplatform.protocols.tables import TableInfo

# Greater than the error of a difference of two times in floating-point seconds (until the year 2106), and smaller than
# what would let a row in that is a microsecond too old.
_HALF_A_MICROSECOND = 0.49e-6
# Where the client's training set keeps the DataFrames of its feature tables, at the version that we pin.
_FRAMES = "_feature_table_data_map"


def feature_engineering_client() -> Any:
    """Return a new real client, for the workspace that the SDK's unified authentication leads to.

    Raises:
        MissingDependencyError: If the package is not installed.
    """
    try:
        from databricks.feature_engineering import FeatureEngineeringClient
    except ImportError as error:
        raise MissingDependencyError(
            f"The feature engineering client cannot be imported: {error}",
            hint="Install the extra: mlplatform[databricks].",
        ) from error
    with asked("Connecting to the feature store"):
        return FeatureEngineeringClient()


@contextmanager
def asked(what: str) -> Iterator[None]:
    """Turn whatever the real client or Spark raises into an error of ours.

    Args:
        what: What was asked for, as the beginning of a sentence.

    Raises:
        FeatureStoreError: If it failed; errors of ours pass.
    """
    try:
        yield
    except PlatformError:
        raise
    except Exception as error:  # noqa: BLE001  (raised again, without what might be a credential)
        raise FeatureStoreError(
            f"{what} failed with {type(error).__name__}: {scrubbed(str(error))}",
            hint=_hint(str(error)),
        ) from cause(error)


def _hint(text: str) -> str:
    if is_refusal(text):
        return (
            "The installed MLflow does not register what the feature engineering client packaged. Register it by "
            "ws.fe.log_model(registered_model_name=...), which packages it otherwise where that is so."
        )
    return "The feature engineering client or Spark refused; nothing of ours caught it before."


class _Lookback(timedelta):
    """A lookback for the real client, which compares ages as floating-point seconds: half a microsecond more.

    Ages are whole microseconds, so the row that is exactly so old is in, and the next one is not.
    """

    def total_seconds(self) -> float:
        """Return what the client compares with."""
        return super().total_seconds() + _HALF_A_MICROSECOND


def real_features(features: Sequence[FeatureLookup | FeatureFunction], tables: Mapping[str, TableInfo]) -> list[Any]:
    """Return lookups and functions as the real client's own.

    Args:
        features: Ours.
        tables: What is known about the tables of the lookups.
    """
    from databricks.feature_engineering import FeatureFunction as RealFunction

    return [
        real_lookup(item, looked_up(item, tables[item.table_name]))
        if isinstance(item, FeatureLookup)
        else RealFunction(
            udf_name=item.udf_name, input_bindings=item.input_bindings or None, output_name=item.output_name
        )
        for item in features
    ]


def real_lookup(lookup: FeatureLookup, names: Sequence[str]) -> Any:
    """Return a lookup as the real client's own, with its features spelt out: no service decides which are all."""
    from databricks.feature_engineering import FeatureLookup as RealLookup

    window = lookup.lookback_window
    return RealLookup(
        table_name=lookup.table_name,
        lookup_key=lookup.lookup_key,
        feature_names=list(names),
        rename_outputs=lookup.rename_outputs or None,
        timestamp_lookup_key=lookup.timestamp_lookup_key,
        lookback_window=_Lookback(microseconds=window // timedelta(microseconds=1)) if window else window,
        default_values={name: value for name, value in lookup.default_values.items() if value not in {None, ""}}
        or None,
    )


def pinned(training_set: Any, frames: Mapping[str, DataFrame]) -> Any:
    """Return a copy of a real training set that reads the given DataFrames.

    The client has no public way to read a feature table at a version. It keeps the DataFrames of the tables in a
    private field, which is exchanged here, and nowhere else.

    Args:
        training_set: The client's training set.
        frames: DataFrame by feature table.

    Raises:
        FeatureStoreError: If the installed client keeps them somewhere else.
    """
    tables = getattr(training_set, _FRAMES, None)
    if not isinstance(tables, dict) or not set(frames) <= set(tables):
        from importlib.metadata import version

        raise FeatureStoreError(
            f"databricks-feature-engineering {version('databricks-feature-engineering')} cannot be made to read "
            f"{', '.join(sorted(frames))} at a version: it has no {_FRAMES} as 0.18.2 has.",
            hint="Use the version of the extra mlplatform[databricks].",
        )
    copied = copy.copy(training_set)
    setattr(copied, _FRAMES, {**tables, **frames})
    return copied
