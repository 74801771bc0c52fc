"""The feature client of Databricks: the real client, with our rules before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

import narwhals as nw
import pyarrow as pa

from mlplatform.workspace.databricks import model_logging, scored_frames, scoring
from mlplatform.workspace.databricks.feature_engineering import asked, feature_engineering_client, real_features
from mlplatform.workspace.databricks.feature_frames import SparkFrame, rows_in, to_arrow
from mlplatform.workspace.databricks.feature_specs import UnityFeatureSpecs
from mlplatform.workspace.databricks.feature_tables import UnityFeatureTables, UnityTable
from mlplatform.workspace.databricks.training_set import DatabricksTrainingSet, refuse_dots, refuse_twins
from mlplatform.workspace.shared.feature_client import FeatureClientBase
from mlplatform.workspace.shared.scoring import BatchScoring, Environment, ScoredFrame

if TYPE_CHECKING:
    from pathlib import Path

    from databricks.sdk import WorkspaceClient
    from mlflow.models.model import ModelInfo
    from pyspark.sql import DataFrame, SparkSession

    from mlplatform.protocols.frames import Frame
    from mlplatform.protocols.tables import FrameLike
    from mlplatform.workspace.databricks.functions import DatabricksFunctions
    from mlplatform.workspace.databricks.registry import DatabricksRegistry
    from mlplatform.workspace.databricks.tables import DatabricksTables
    from mlplatform.workspace.shared.feature_frames import Rows
    from mlplatform.workspace.shared.model_logging import ModelToLog
    from mlplatform.workspace.shared.training_set import Declaration


class DatabricksFeatureClient(FeatureClientBase[SparkFrame, UnityTable, DatabricksTrainingSet]):
    """The feature client of a Databricks workspace; a Spark DataFrame stays in Spark.

    Training sets, models and scores are the real client's. Feature tables are tables of Unity Catalog with a primary
    key, written by `ws.tables`: the real client's own merge gives up when another writer was faster.
    """

    training_set_type = DatabricksTrainingSet

    def __init__(
        self,
        *,
        tables: DatabricksTables,
        registry: DatabricksRegistry,
        functions: DatabricksFunctions,
        client: WorkspaceClient,
        spark: Callable[[], SparkSession],
        prefix: str = "",
    ) -> None:
        """Take the parts of a Databricks workspace; the real client is made when it is first needed.

        Args:
            tables: Its tables.
            registry: Its registered models.
            functions: Its registered functions.
            client: The SDK's client.
            spark: Gives the Spark session.
            prefix: What the workspace puts before the names of schemas.
        """
        specs = UnityFeatureSpecs(client, lambda: self._client)
        super().__init__(
            tables=tables, registry=registry, functions=functions, specs=specs, scratch=lambda: None, prefix=prefix
        )
        self._unity_registry = registry
        self._feature_tables = UnityFeatureTables(tables, client)
        self._spark = spark

    @cached_property
    def _client(self) -> Any:
        # The real client takes the session that it finds, and MLflow's URIs at each call.
        self._unity_registry.activate()
        self._spark()
        return feature_engineering_client()

    def real_client(self) -> Any:
        """Return the real `FeatureEngineeringClient`."""
        return self._client

    def build_model_env(self, model_uri: str, save_path: str) -> str:
        """Build the Python environment of a model into an archive."""
        self._unity_registry.activate()
        with asked(f"Building the environment of {model_uri}"):
            return str(self._client.build_model_env(model_uri, save_path))

    @contextmanager
    def _rows(self, df: Any, *, of: str) -> Iterator[Rows]:
        yield rows_in(df, of=of)

    def _frame(self, df: Any, *, of: str) -> SparkFrame:
        return SparkFrame.of(self._spark(), df, what=of)

    def _open(self, names: Iterable[str]) -> dict[str, UnityTable]:
        return self._feature_tables.open(names)

    def _training_set(
        self, frame: SparkFrame, declaration: Declaration, tables: Mapping[str, UnityTable]
    ) -> DatabricksTrainingSet:
        refuse_twins(declaration.spec)
        refuse_dots(frame, declaration.plan)
        features = real_features(declaration.features, {name: table.info for name, table in tables.items()})
        with asked("Creating the training set"):
            real = self._client.create_training_set(
                df=frame.df,
                feature_lookups=features,
                label=list(declaration.labels) or None,
                exclude_columns=list(declaration.exclude_columns),
                use_timeseries_filtering=declaration.use_timeseries_filtering,
            )
        return DatabricksTrainingSet(self._feature_tables, frame, declaration, real)

    def _log(self, request: ModelToLog, training_set: DatabricksTrainingSet) -> ModelInfo:
        return model_logging.log_model(self._unity_registry, self._client, request, training_set)

    def _log_derived(self, package: Path, name: str, original: Path, registered_model_name: str) -> ModelInfo:
        return model_logging.log_derived_model(self._unity_registry, package, name, original, registered_model_name)

    def _check_environment(self, environment: Environment) -> None:
        """Refuse none: MLflow scores in any."""

    def _rows_to_score(self, frame: FrameLike, keys: Sequence[str]) -> AbstractContextManager[FrameLike]:
        del keys
        return nullcontext(frame)

    def _scored_frame(self, request: BatchScoring[SparkFrame, UnityTable], wanted: ScoredFrame) -> Frame:
        # Spark scores when the frame is computed, and tells nobody how far it is.
        scored = self._scored(request, failing=wanted.may_fail)
        if wanted.reasons is None:
            return nw.from_native(scored_frames.with_unmatched(scored, request.plan, wanted.keys))
        again = scored_frames.ScoreAgain(self._client, request.model.exact_uri, _arguments(request.environment))
        return nw.from_native(scored_frames.with_reasons(scored, request.plan, wanted.keys, wanted.reasons, again))

    def _scored(
        self, request: BatchScoring[SparkFrame, UnityTable], *, failing: Callable[[int], int] | None = None
    ) -> DataFrame:
        arguments = _arguments(request.environment)
        return scoring.score(
            request.plan, request.frame, self._client, request.model.exact_uri, arguments, failing=failing
        )

    def _scored_arrow(self, request: BatchScoring[SparkFrame, UnityTable]) -> pa.Table:
        df = self._scored(request)
        with asked(f"Scoring with {request.model.uri}"):
            return to_arrow(df, request.plan.schema)


def _arguments(environment: Environment) -> dict[str, Any]:
    """Return the arguments of the real client's `score_batch` that say where a model is scored."""
    arguments: dict[str, Any] = {"env_manager": environment.env_manager}
    if environment.params:
        arguments["params"] = dict(environment.params)
    if environment.prebuilt_env_uri is not None:
        arguments["prebuilt_env_uri"] = environment.prebuilt_env_uri
    return arguments
