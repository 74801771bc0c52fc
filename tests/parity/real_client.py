"""The real FeatureEngineeringClient, on JVM Spark, over the tables of a case.

Its own code runs unchanged, apart from three seams to the closed services, which are named here and nowhere else:

- REST calls go to the stand-in (`tests.standin`),
- a table is read from the case instead of from Unity Catalog (`_CaseTables`),
- a function is called as a Spark Python UDF instead of as a Unity Catalog function (`_function_call`).

Besides, a join that the client plans a second time over the same frame (it plans the whole training set once to
validate it, and once more to load it) is answered with the first plan (`_planned_once`): plans are immutable, and it
halves the time.

Everything that decides a result (validation, the plan of lookups, the as-of join, defaults, column order, the model's
packaging and scoring) is the client's.

This module sets process-wide state (environment, MLflow's URIs, the Spark session): use it through
`tests.parity.judge`, which gives it a process of its own.
"""

from __future__ import annotations

import functools
import importlib
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import yaml

from tests.parity.catalog import tell
from tests.parity.models import OtherModel, case_model, columns_noted
from tests.parity.outcome import Outcome, StepFailed, step
from tests.parity.spark_session import start_session
from tests.standin.environment import environment
from tests.standin.server import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    import pyarrow as pa
    from databricks.feature_engineering.training_set import TrainingSet
    from pyspark.sql import Column, DataFrame

    from tests.support.cases import Case

# Given explicitly, so that MLflow does not spend ten seconds a model on guessing them.
_PIP_REQUIREMENTS = ["mlflow"]


class RealClient:
    """The judge, as a context manager: one Spark session and one client for all cases."""

    def __init__(self, scratch: Path) -> None:
        """Take a folder for Spark's and MLflow's files."""
        self._scratch = scratch
        self._cleanup = ExitStack()
        self._case: Case | None = None
        self._frames: dict[str, DataFrame] = {}
        self._plans: dict[tuple[Any, ...], tuple[DataFrame, ...]] = {}
        self._models = 0

    def __enter__(self) -> Self:
        """Start the stand-in, Spark and the client."""
        self._standin = self._cleanup.enter_context(StandIn(self._scratch / "standin"))
        self._cleanup.enter_context(environment(self._standin))
        self._spark = start_session(self._scratch)
        self._cleanup.callback(self._spark.stop)
        self._start_mlflow()
        self._client = self._make_client()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        self._cleanup.close()

    @property
    def unexpected_calls(self) -> list[str]:
        """REST calls that the stand-in had no answer to."""
        return self._standin.unexpected

    def run(self, case: Case, other: OtherModel | None = None) -> Outcome:
        """Answer one case.

        Args:
            case: What to build, and to score in mode `score_batch`.
            other: A model to log instead of the case's own.
        """
        self._case = case
        self._plans.clear()
        tell(self._standin.metastore, case)
        self._frames = {table.name: self._spark.createDataFrame(table.data) for table in case.tables}
        try:
            if case.mode == "training_set":
                training_set = self._training_set(case, case.spine)
                with step("load_df"):
                    table = training_set.load_df().toArrow()
                spec = training_set.feature_spec._to_dict()
                return Outcome(table=table, spec_yaml=yaml.safe_dump(spec, sort_keys=False, allow_unicode=True))
            return self._score(case, other)
        except StepFailed as failed:
            return Outcome(failure=failed.failure)

    def _training_set(self, case: Case, spine: pa.Table | None) -> TrainingSet:
        from databricks.feature_engineering import FeatureFunction, FeatureLookup

        with step("declare"):
            features = [FeatureLookup(**lookup.arguments()) for lookup in case.lookups]
            features += [FeatureFunction(**binding.arguments()) for binding in case.bindings]
        with step("create_training_set"):
            return self._client.create_training_set(
                df=self._spark.createDataFrame(spine),
                feature_lookups=features,
                label=case.label,
                exclude_columns=list(case.exclude_columns),
            )

    def _score(self, case: Case, other: OtherModel | None) -> Outcome:
        import mlflow

        training_set = self._training_set(case, case.training_spine)
        self._models += 1
        name, columns_file = f"ml.prod.model_{self._models}", self._scratch / f"columns_{self._models}.json"
        chosen = other or case_model(case, columns_file)
        with step("log_model"), mlflow.start_run():
            self._client.log_model(
                model=chosen.model,
                artifact_path="model",
                flavor=importlib.import_module(chosen.flavor),
                training_set=training_set,
                registered_model_name=name,
                pip_requirements=_PIP_REQUIREMENTS,
                **chosen.arguments,
            )
        with step("score_batch"):
            scored = self._client.score_batch(
                model_uri=f"models:/{name}/1", df=self._spark.createDataFrame(case.spine), result_type="double"
            ).toArrow()
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/1", dst_path=str(self._scratch / name)))
        spec = (folder / "data" / "feature_store" / "feature_spec.yaml").read_text(encoding="utf-8")
        return Outcome(table=scored, model_columns=columns_noted(columns_file), spec_yaml=spec)

    def _start_mlflow(self) -> None:
        import mlflow

        database = f"sqlite:///{self._scratch / 'mlflow.db'}"
        mlflow.set_tracking_uri(database)
        mlflow.set_registry_uri(database)
        experiment = mlflow.create_experiment("parity", artifact_location=(self._scratch / "artifacts").as_uri())
        mlflow.set_experiment(experiment_id=experiment)

    def _make_client(self) -> Any:
        from databricks.feature_engineering import FeatureEngineeringClient
        from databricks.ml_features._spark_client._spark_client import SparkClient

        owner = self

        class _CaseTables(SparkClient):  # type: ignore[misc] - untyped base
            """The client's own access to Spark, over the case's tables instead of Unity Catalog's."""

            def get_current_catalog(self) -> str:
                return "ml"

            def get_current_database(self) -> str:
                return "prod"

            def catalog_exists(self, catalog_name: str) -> bool:
                return True

            def database_exists(self, catalog_name: str, database_name: str) -> bool:
                return True

            def table_exists(self, full_table_name: str) -> bool:
                return full_table_name in owner._frames

            def read_table(self, qualified_table_name: str, **_: object) -> DataFrame:
                return owner._frames[qualified_table_name]

        self._cleanup.enter_context(
            mock.patch("databricks.ml_features.utils.on_demand_utils._udf_expr", self._function_call)
        )
        module = "databricks.ml_features.entities.training_set"
        for name in ("join_feature_data_if_not_overridden", "apply_functions_if_not_overridden"):
            original = getattr(importlib.import_module(module), name)
            self._cleanup.enter_context(mock.patch(f"{module}.{name}", self._planned_once(original)))
        with mock.patch("databricks.feature_engineering.client.SparkClient", _CaseTables):
            return FeatureEngineeringClient()

    def _planned_once(self, plan: Callable[..., DataFrame]) -> Callable[..., DataFrame]:
        """Answer a repeated call for the same frame and features with the frame that the first one returned."""

        @functools.wraps(plan)
        def planned(*, df: DataFrame, **arguments: Any) -> DataFrame:
            features = arguments.get("features_to_join", arguments.get("functions_to_apply"))
            key = (plan.__name__, id(df), *map(id, features))
            if key not in self._plans:
                # The arguments are kept as well: an id is only unique as long as its object lives.
                self._plans[key] = (plan(df=df, **arguments), df, features)
            return self._plans[key][0]

        return planned

    def _function_call(self, udf_name: str, arguments: list[str]) -> Column:
        from pyspark.sql import functions

        assert self._case is not None
        function = next(f for f in self._case.functions if f.name.lower() == udf_name)
        # Not through Arrow: a pickled call passes plain Python values, as a Unity Catalog function gets them.
        call = functions.udf(function.build(), function.returns, useArrow=False)
        return call(*(functions.col(f"`{argument}`") for argument in arguments))
