"""The feature client's face: the real client's method names and keyword arguments, in both homes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from pyspark.sql import DataFrame

    from mlplatform.naming import ObjectName
    from mlplatform.protocols.feature_spec import FeatureSpec
    from mlplatform.protocols.frames import Frame
    from mlplatform.protocols.lineage import Lineage
    from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup
    from mlplatform.protocols.tables import FrameLike, TableInfo


MATCHED = "matched:"
"""Prefix of the columns that say whether a lookup found a row; the feature table's name follows."""

UNMATCHED = "features_unmatched"
"""Column of scored frames: bare names of the feature tables that held no row for the keys as of the row's time."""

REASON_CODES = "reason_codes"
"""Column of scored frames: inputs that moved the prediction most, see `features.reasons`."""

RowsDone: TypeAlias = Callable[[int], None]
"""Takes how many rows have been scored so far."""


def uncounted(rows: int) -> None:
    """Count rows for nobody."""
    del rows


@dataclass(frozen=True)
class ReasonCodes:
    """Which reason codes are asked for.

    Attributes:
        ordinary: Input -> reference value, which replaces the row's own in turn.
        top: Reasons per row, at most.
    """

    ordinary: Mapping[str, Any]
    top: int


@runtime_checkable
class TrainingSet(Protocol):
    """A spine extended by features, not yet computed; it remembers the Delta version of every table it reads."""

    @property
    def feature_spec(self) -> Any:
        """What travels with the model: columns, sources, keys, functions."""
        ...

    @property
    def lineage(self) -> Lineage:
        """The feature tables, at the versions that were read, and the functions."""
        ...

    def load_df(self, *, as_recorded: bool = False) -> DataFrame:
        """Return the rows as a Spark DataFrame."""
        ...

    def to_arrow(self, *, as_recorded: bool = False) -> pa.Table:
        """Return the rows as Arrow."""
        ...

    def to_batches(self, *, as_recorded: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield the rows as Arrow batches."""
        ...

    def to_rows(self, *, as_recorded: bool = False) -> FrameLike:
        """Return the rows as what passes through no memory: a stream of batches at home, else a Spark DataFrame."""
        ...

    def to_pandas(self, *, as_recorded: bool = False) -> Any:
        """Return the rows as pandas."""
        ...


@runtime_checkable
class FeatureClient(Protocol):
    """Feature tables, training sets, and models that carry their feature spec."""

    def create_table(
        self,
        *,
        name: ObjectName | str,
        primary_keys: str | Sequence[str],
        df: Any = None,
        timeseries_column: str | None = None,
        schema: Any = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> TableInfo:
        """Create a feature table; `primary_keys` lists the timeseries column too.

        Its first rows may be a frame of `ws.frames`, a Spark DataFrame, Arrow or pandas, as in `write_table`.
        """
        ...

    def write_table(self, *, name: ObjectName | str, df: Any, mode: str = "merge") -> None:
        """Upsert rows by primary key.

        Rows of `ws.frames` and of Spark stay in the engine that holds them.
        """
        ...

    def read_table(self, *, name: ObjectName | str) -> DataFrame:
        """Return the table as a Spark DataFrame."""
        ...

    def get_table(self, *, name: ObjectName | str) -> TableInfo:
        """Return what is known about the table."""
        ...

    def drop_table(self, *, name: ObjectName | str) -> None:
        """Remove table and metadata."""
        ...

    def create_feature_spec(
        self,
        *,
        name: ObjectName | str,
        features: Sequence[FeatureLookup | FeatureFunction],
        exclude_columns: Sequence[str] | None = None,
        extra_pip_requirements: Sequence[str] | None = None,
    ) -> FeatureSpec:
        """Keep lookups and functions under a name; the same again returns what is there."""
        ...

    def delete_feature_spec(self, *, name: ObjectName | str) -> None:
        """Remove a feature spec; models trained on it carry their own."""
        ...

    def create_training_set(
        self,
        *,
        df: Any,
        feature_lookups: Sequence[FeatureLookup | FeatureFunction] | None = None,
        feature_spec: str | None = None,
        label: str | Sequence[str] | None,
        exclude_columns: Sequence[str] = (),
    ) -> TrainingSet:
        """Extend a spine by features as of each row's own time: by lookups, or by a feature spec's name."""
        ...

    def log_model(
        self,
        *,
        model: Any,
        artifact_path: str,
        flavor: Any,
        training_set: TrainingSet | None = None,
        registered_model_name: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Log a model with the feature spec of its training set."""
        ...

    def log_derived_model(
        self,
        *,
        model_uri: str,
        artifact_path: str,
        registered_model_name: ObjectName | str,
        change: Callable[[Path], object],
        trusted_types: Collection[str] = (),
        digest: str = "",
    ) -> Any:
        """Log a model that is made of a registered one, with the same feature spec, lineage and signature.

        Args:
            model_uri: The registered model; its files are checked as for scoring.
            artifact_path: The new one's name within the run.
            registered_model_name: Gets a version.
            change: Takes the folder of a copy of the model, as its flavor stored it, and leaves the new one there.
            trusted_types: Types that both may hold beyond the platform's allow-list.
            digest: Which files of the registered model; empty: those on record.

        Raises:
            FeatureStoreError: If the model carries no features, or the new one is refused.
            RegistryError: If its files are not those judged or registered, or either holds what is not loaded.
        """
        ...

    def lineage(self, model_uri: str) -> Lineage:
        """Return which tables (with their Delta versions) and functions a model was trained on.

        Raises:
            FeatureStoreError: If the model was not logged with a training set.
            RegistryError: If it cannot be read.
        """
        ...

    def real_client(self) -> Any:
        """Return the real client, on Databricks; at home a FeatureStoreError says that there is none."""
        ...

    def build_model_env(self, model_uri: str, save_path: str) -> str:
        """Build a model's Python environment into an archive, on Databricks."""
        ...

    def score_batch(
        self,
        *,
        model_uri: str,
        df: Any,
        result_type: str = "double",
        prebuilt_env_uri: str | None = None,
        trusted_types: Collection[str] | None = None,
    ) -> DataFrame:
        """Look the model's features up for each row, and add the column `prediction`.

        The model's files are checked before anything in them is loaded; see `score_batch_arrow`.
        """
        ...

    def score_batch_arrow(
        self,
        *,
        model_uri: str,
        df: Any,
        result_type: str = "double",
        matches: bool = False,
        trusted_types: Collection[str] | None = None,
        digest: str = "",
        classes: Sequence[str] = (),
    ) -> pa.Table:
        """As `score_batch`, with Arrow out.

        Args:
            model_uri: The model.
            df: The rows to score.
            result_type: Spark type of `prediction`.
            matches: Add, for each lookup, a boolean column `matched:<table>`: whether a row was found in the feature
                table for the key, as of the row's time and within the lookback. The real client does not tell.
            trusted_types: Types that the model may hold beyond the platform's allow-list (fully qualified). Given, even
                empty, only a model that the platform registered is scored. None: a model that somebody else registered
                is scored unchecked, as the real client does; one that the platform registered is checked all the same.
            digest: Which files of it are scored with, see `features.artifacts`; empty: those that a decision on record
                judged, or without one those that the version's tag names.
            classes: The classes whose probabilities `prediction` holds as `array<double>`, in this order; 0 for one
                that the model does not know, null where it gives no finite numbers.

        Raises:
            FeatureStoreError: If the frame cannot be scored by this model, or it does not say which classes it knows.
            RegistryError: If the model's files are not those judged or registered, or hold what is not loaded: pickles,
                code, types that are not allowed.
        """
        ...

    def score_frame(  # noqa: PLR0913  (all by keyword)
        self,
        *,
        model_uri: str,
        frame: FrameLike,
        keys: Sequence[str],
        reasons: ReasonCodes | None = None,
        trusted_types: Collection[str] | None = None,
        batch_rows: int | None = None,
        done: RowsDone = uncounted,
        all_may_fail: bool = False,
        classes: Sequence[str] = (),
    ) -> AbstractContextManager[Frame]:
        """Score as many rows as there are; what comes out can be read within the context.

        A row that the model fails on has NaN or null as its prediction; a model that fails on more than a few rows of a
        batch raises.

        On the local workspace the rows are scored on entering, in batches between two files on disk. On Databricks
        nothing is computed before the frame is; use it once.

        Args:
            model_uri: The model.
            frame: The rows to score.
            keys: Columns of the frame that come out, too; unique together.
            reasons: The reason codes to give; None: none.
            trusted_types: As `score_batch_arrow`.
            batch_rows: Rows that the model is given at once, at most; on Databricks Spark's setting decides.
            done: Told how many rows have been scored; on Databricks, where Spark scores, never.
            all_may_fail: The model may fail on whatever rows: they are known to be awkward.
            classes: As `score_batch_arrow`: then `prediction` is an `array<double>`, and null for a row that the model
                fails on; reasons are of the probability of the most probable class.

        Returns:
            The keys, `prediction`, `features_unmatched`, and with reasons `reason_codes`.

        Raises:
            FeatureStoreError: If the frame cannot be scored by this model.
            RegistryError: As `score_batch_arrow`.
        """
        ...
