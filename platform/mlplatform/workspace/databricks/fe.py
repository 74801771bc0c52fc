"""The feature client of Databricks: the real client, with our rules before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlplatform.errors import FeatureStoreError
from mlplatform.features.declaration import declare, looked_up, split
from mlplatform.features.named_spec import NamedSpec, check_same, inferred_sources, spelled_out
from mlplatform.features.training_set import make_plan, sources_needed
from mlplatform.naming import ObjectName
from mlplatform.protocols.feature_spec import FeatureColumn, FeatureSpec
from mlplatform.protocols.lineage import Lineage, frame_rule
from mlplatform.workspace.databricks import feature_specs, model_logging
from mlplatform.workspace.databricks.feature_engineering import asked, feature_engineering_client, real_features
from mlplatform.workspace.databricks.feature_frames import SparkFrame, rows_in, to_arrow
from mlplatform.workspace.databricks.scoring import BatchScoring, Scored
from mlplatform.workspace.databricks.training_set import DatabricksTrainingSet, FeatureTables, refuse_dots
from mlplatform.workspace.shared import feature_writes, model_store
from mlplatform.workspace.shared.feature_methods import OnlySome
from mlplatform.workspace.shared.model_store import Verify

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo
    from pyspark.sql import DataFrame

    from mlplatform.protocols.lookups import FeatureFunction, FeatureLookup
    from mlplatform.protocols.tables import TableInfo
    from mlplatform.workspace.databricks.workspace import DatabricksWorkspace


class DatabricksFeatureClient(OnlySome):
    """Feature tables, training sets, and models that carry their feature spec.

    See `mlplatform.protocols.feature_client.FeatureClient`. Frames go in as Spark DataFrames, `pyarrow.Table` or
    pandas frames; a Spark DataFrame stays in Spark. Training sets, models and scores are the real client's. Feature
    tables are tables of Unity Catalog with a primary key, written by `ws.tables`: the real client's own merge gives up
    when another writer was faster.

    Attributes:
        verify_model: Called with a model's files before anything in them is deserialised; raises to refuse it.
    """

    def __init__(self, ws: DatabricksWorkspace) -> None:
        """Work in a Databricks workspace; the real client is made when it is first needed."""
        self._ws = ws
        self.verify_model: Verify | None = None

    @cached_property
    def _client(self) -> Any:
        # The real client takes the session that it finds, and MLflow's URIs at each call.
        self._ws.registry.activate()
        assert self._ws.spark is not None
        return feature_engineering_client()

    def create_table(
        self,
        *,
        name: ObjectName | str,
        primary_keys: str | Sequence[str],
        df: Any = None,
        timeseries_column: str | None = None,
        partition_columns: str | Sequence[str] | None = None,
        schema: Any = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> TableInfo:
        """Create a feature table; the same declaration again returns the table that is there, and merges `df`.

        Args:
            name: Three-level name.
            primary_keys: Key columns in order, the timeseries column among them.
            df: The first rows; their schema is the table's unless `schema` is given.
            timeseries_column: The column that says when a row was known.
            partition_columns: Taken for the real client's sake: tables are clustered by their keys.
            schema: A Spark `StructType` or an Arrow schema.
            description: The table's comment.
            tags: Free key-value tags.

        Returns:
            What is known about the table.

        Raises:
            FeatureStoreError: If the declaration does not fit itself or the table that is there.
            TableError: If rows have null or duplicate keys; the table then stays empty, or as it was.
        """
        del partition_columns
        return feature_writes.create(
            self._ws.tables,
            name,
            primary_keys,
            None if df is None else rows_in(df, of=f"the frame for {name}"),
            timeseries_column=timeseries_column,
            schema=schema,
            description=description,
            tags=tags,
        )

    def write_table(self, *, name: ObjectName | str, df: Any, mode: str = "merge") -> None:
        """Upsert rows by primary key.

        Columns that `df` lacks keep their values on update and are null on insert; a timeseries table must be given
        all its columns; new columns are added.

        Raises:
            FeatureStoreError: If the mode is not `merge`, or columns of a timeseries table are missing.
            TableError: If there is no such table, or the rows do not fit it, or keys are null or repeated.
            UnavailableError: If other writers kept winning.
        """
        feature_writes.write(self._ws.tables, name, rows_in(df, of=f"the frame for {name}"), mode)

    def read_table(self, *, name: ObjectName | str) -> DataFrame:
        """Return the table, pinned at its newest version, as a Spark DataFrame.

        Raises:
            TableError: If it does not exist; near names are given.
        """
        return self._ws.tables.read(name)

    def get_table(self, *, name: ObjectName | str) -> TableInfo:
        """Return name, keys, timeseries column, description, tags and features.

        Raises:
            TableError: If it does not exist; near names are given.
        """
        return self._ws.tables.describe(name)

    def drop_table(self, *, name: ObjectName | str) -> None:
        """Remove table and metadata.

        Raises:
            TableError: If it does not exist; near names are given.
        """
        self._ws.tables.drop(name)

    def set_feature_table_tag(self, *, name: ObjectName | str, key: str, value: str) -> None:
        """Set a tag."""
        self._ws.tables.set_tag(name, key, str(value))

    def delete_feature_table_tag(self, *, name: ObjectName | str, key: str) -> None:
        """Take a tag away; no error if it is not there."""
        self._ws.tables.set_tag(name, key, None)

    def create_training_set(
        self,
        *,
        df: Any,
        feature_lookups: Sequence[FeatureLookup | FeatureFunction] | None = None,
        feature_spec: str | None = None,
        features: Sequence[Any] | None = None,
        label: str | Sequence[str] | None,
        exclude_columns: Sequence[str] | None = None,
        use_spark_native_join: bool = False,
        use_timeseries_filtering: bool = False,
    ) -> DatabricksTrainingSet:
        """Extend a spine by features as of each row's own time; nothing is computed before it is loaded.

        Args:
            df: The spine.
            feature_lookups: Lookups and functions; their outputs come in this order.
            feature_spec: Name of a feature spec instead of lookups; see `create_feature_spec`.
            features: Not supported.
            label: The label column or columns, or None.
            exclude_columns: Columns that are left out of the result; unknown names are ignored.
            use_spark_native_join: Changes nothing here: the real client's native join compares ages in whole seconds.
            use_timeseries_filtering: Passed on.

        Returns:
            The training set.

        Raises:
            FeatureStoreError: If the declaration does not fit the spine, the tables or the functions, or a function is
                not registered.
            TableError: If a table does not exist.
        """
        del use_spark_native_join
        if features is not None or (feature_lookups is not None and feature_spec is not None):
            raise FeatureStoreError(
                "A training set is made from feature_lookups or from a feature_spec, not from both or from features.",
                hint="Declare FeatureLookup and FeatureFunction, or name what create_feature_spec made.",
            )
        named = None if feature_spec is None else self._named(feature_spec)
        if named is not None:
            feature_lookups = named.features()
        labels = [label] if isinstance(label, str) else list(label or ())
        excluded = [exclude_columns] if isinstance(exclude_columns, str) else list(exclude_columns or ())
        if named is not None:
            excluded += named.excluded()
        lookups, functions = split(feature_lookups)
        frame = SparkFrame.of(self._ws.spark, df, what="the spine")
        registered = {item.udf_name: self._ws.functions.get(item.udf_name) for item in functions}
        feature_tables = FeatureTables(self._ws.tables, self._ws.client)
        tables = self._describe([lookup.table_name for lookup in lookups])
        spec = declare(
            frame.schema.names,
            lookups,
            functions,
            labels=labels,
            exclude_columns=set(excluded),
            tables=tables,
            table_ids={name: feature_tables.id(name) for name in tables},
            registered=registered,
        )
        wanted = [column.output_name for column in spec.columns]
        plan = make_plan(spec, frame.schema, wanted=wanted, tables=tables, functions=registered)
        _refuse_twins(spec)
        refuse_dots(frame, plan)
        with asked("Creating the training set"):
            real = self._client.create_training_set(
                df=frame.df,
                feature_lookups=real_features([*lookups, *functions], tables),
                label=labels or None,
                exclude_columns=excluded,
                use_timeseries_filtering=use_timeseries_filtering,
            )
        made = DatabricksTrainingSet(feature_tables, frame, spec, plan, labels, real)
        made.extra_pip_requirements = named.extra_pip_requirements if named is not None else ()
        return made

    def create_feature_spec(
        self,
        *,
        name: ObjectName | str,
        features: Sequence[FeatureLookup | FeatureFunction],
        exclude_columns: Sequence[str] | None = None,
        extra_pip_requirements: Sequence[str] | None = None,
    ) -> FeatureSpec:
        """Keep lookups and functions under a name, to make training sets from; the same again returns what is there.

        Args:
            name: Three-level name; feature functions and feature specs share one space of names.
            features: Lookups and functions.
            exclude_columns: Columns that are left out of every training set made from it.
            extra_pip_requirements: What the functions need; goes into the models trained on it.

        Returns:
            The feature spec.

        Raises:
            FeatureStoreError: If the features do not fit tables or functions, another spec has the name, or a function
                is not registered.
            TableError: If a table does not exist.
        """
        full = ObjectName.parse(name)
        declared = self._declared(features, exclude_columns, extra_pip_requirements)
        existing = feature_specs.find(self._ws.client, full)
        if existing is not None:
            check_same(str(full), existing, declared)
            return existing.spec
        lookups, functions = split(features)
        tables = self._describe([lookup.table_name for lookup in lookups])
        real = real_features([*lookups, *functions], tables)
        feature_specs.create(self._client, full, real, list(exclude_columns or ()), declared.extra_pip_requirements)
        return declared.spec

    def delete_feature_spec(self, *, name: ObjectName | str) -> None:
        """Remove a feature spec; models trained on it carry their own.

        Raises:
            FeatureStoreError: If there is none of that name.
        """
        feature_specs.get(self._ws.client, ObjectName.parse(name))
        with asked(f"Deleting the feature spec {name}"):
            self._client.delete_feature_spec(name=str(name))

    def log_model(
        self,
        *,
        model: Any,
        artifact_path: str,
        flavor: Any,
        training_set: Any = None,
        registered_model_name: ObjectName | str | None = None,
        await_registration_for: int | None = None,
        infer_input_example: bool = False,
        extra_pip_requirements: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> ModelInfo:
        """Log a model with the feature spec of its training set, in the caller's run or one of its own.

        Args:
            model: The fitted model.
            artifact_path: Its name within the run.
            flavor: An MLflow module: `mlflow.sklearn`, `mlflow.pyfunc`.
            training_set: What it was fitted on.
            registered_model_name: Registers a version of this model.
            await_registration_for: Seconds to wait for the registration; None for the real client's default.
            infer_input_example: Store the spine's first row as an example.
            extra_pip_requirements: Added to the installed versions of the flavor's packages.
            **kwargs: `output_schema`, `signature` and `pip_requirements` are ours; the rest (`skops_trusted_types`,
                `pyfunc_predict_fn`, ...) goes to the flavor's `save_model`.

        Returns:
            MLflow's `ModelInfo`; its `registered_model_version` is the new version.

        Raises:
            FeatureStoreError: If the training set is none of ours, no signature can be derived, or the real client or
                MLflow refuses.
            RegistryError: If no version was registered, or the registry cannot be read.
        """
        return model_logging.log_model(
            self._ws.registry,
            self._client,
            model,
            artifact_path,
            flavor=flavor,
            training_set=training_set,
            registered_model_name=None if registered_model_name is None else str(registered_model_name),
            await_registration_for=await_registration_for,
            infer_input_example=infer_input_example,
            extra_pip_requirements=extra_pip_requirements,
            **kwargs,
        )

    def score_batch(
        self,
        *,
        model_uri: str,
        df: Any,
        result_type: str = "double",
        env_manager: str = "local",
        params: Mapping[str, Any] | None = None,
        use_spark_native_join: bool = False,
        prebuilt_env_uri: str | None = None,
    ) -> DataFrame:
        """Look the model's features up for each row, and add the column `prediction`.

        A column that `df` has already wins over lookup and function. Rows come in any order.

        Args:
            model_uri: `models:/catalog.schema.model@alias`, `models:/catalog.schema.model/3`, `runs:/<run>/<name>` or
                `models:/m-<id>`.
            df: The rows to score.
            result_type: Spark type of `prediction`. Where the model gives the probabilities of two classes, `double`
                is the last one's, `array<double>` both.
            env_manager: As for MLflow's `spark_udf`.
            params: Passed to the model.
            use_spark_native_join: Changes nothing here, as in `create_training_set`.
            prebuilt_env_uri: An archive that `build_model_env` made, to score in.

        Returns:
            The frame's columns, the features it lacked, and `prediction`.

        Raises:
            FeatureStoreError: If the frame cannot be scored by this model.
            RegistryError: If the model cannot be read.
        """
        del use_spark_native_join
        return self._score(model_uri, df, result_type, env_manager, params, prebuilt_env_uri=prebuilt_env_uri).df

    def score_batch_arrow(
        self,
        *,
        model_uri: str,
        df: Any,
        result_type: str = "double",
        env_manager: str = "local",
        params: Mapping[str, Any] | None = None,
        matches: bool = False,
    ) -> pa.Table:
        """As `score_batch`, with Arrow out.

        Args:
            model_uri: As `score_batch`.
            df: As `score_batch`.
            result_type: As `score_batch`.
            env_manager: As `score_batch`.
            params: As `score_batch`.
            matches: Add a boolean column `matched:<table>` for each lookup: whether a row was found.
        """
        scored = self._score(model_uri, df, result_type, env_manager, params, matches=matches)
        with asked(f"Scoring with {model_uri}"):
            return to_arrow(scored.df, scored.schema)

    def real_client(self) -> Any:
        """Return the real `FeatureEngineeringClient`, for what this face does not offer; nothing of ours is around it.

        Raises:
            MissingDependencyError: If the package is not installed.
            FeatureStoreError: If it cannot be made.
        """
        return self._client

    def build_model_env(self, model_uri: str, save_path: str) -> str:
        """Build the Python environment of a model into an archive, for `score_batch(prebuilt_env_uri=...)`.

        Args:
            model_uri: As for `score_batch`.
            save_path: A folder, as in `/Volumes/...`.

        Returns:
            The archive's path.

        Raises:
            FeatureStoreError: If it cannot be built; MLflow does so within Databricks' runtime only.
        """
        self._ws.registry.activate()
        with asked(f"Building the environment of {model_uri}"):
            return str(self._client.build_model_env(model_uri, save_path))

    def lineage(self, model_uri: str) -> Lineage:
        """Return which tables (with their Delta versions) and functions a model was trained on.

        Raises:
            FeatureStoreError: If the model was not logged with a training set.
            RegistryError: If it cannot be read.
        """
        with TemporaryDirectory() as scratch:
            artifact = model_store.fetch(self._ws.registry, model_uri, Path(scratch))
            return Lineage.load(artifact.spec_folder, model_uri=model_uri)

    def _named(self, name: ObjectName | str) -> NamedSpec:
        return feature_specs.get(self._ws.client, ObjectName.parse(name))

    def _declared(
        self,
        features: Sequence[FeatureLookup | FeatureFunction],
        exclude_columns: Sequence[str] | None,
        extra_pip_requirements: Sequence[str] | None,
    ) -> NamedSpec:
        lookups, functions = split(features)
        infos = self._describe([lookup.table_name for lookup in lookups])
        feature_tables = FeatureTables(self._ws.tables, self._ws.client)
        ids = {name: feature_tables.id(name) for name in infos}
        spelt_out = [spelled_out(lookup, looked_up(lookup, infos[lookup.table_name])) for lookup in lookups]
        spec = declare(
            inferred_sources(spelt_out, functions),
            lookups,
            functions,
            labels=[],
            exclude_columns=set(exclude_columns or ()),
            tables=infos,
            table_ids=ids,
            registered={item.udf_name: self._ws.functions.get(item.udf_name) for item in functions},
        )
        return NamedSpec(spec, tuple(extra_pip_requirements or ()))

    def _score(
        self,
        model_uri: str,
        df: Any,
        result_type: str,
        env_manager: str,
        params: Mapping[str, Any] | None,
        *,
        matches: bool = False,
        prebuilt_env_uri: str | None = None,
    ) -> Scored:
        frame = SparkFrame.of(self._ws.spark, df, what="the frame to score")
        with TemporaryDirectory() as scratch:
            artifact = model_store.fetch(self._ws.registry, model_uri, Path(scratch))
            spec = FeatureSpec.load(artifact.spec_folder)
            names, functions = sources_needed(spec, spec.included, frame.schema.names)
            scoring = BatchScoring(
                spec,
                frame,
                result_type,
                tables=self._describe(names),
                functions={name: self._ws.functions.get(name) for name in functions},
                rule=frame_rule(artifact.spec_folder, model_uri=model_uri),
            )
            model_store.check_model(artifact, self.verify_model)
        arguments: dict[str, Any] = {"env_manager": env_manager}
        if params:
            arguments["params"] = dict(params)
        if prebuilt_env_uri is not None:
            arguments["prebuilt_env_uri"] = prebuilt_env_uri
        return scoring.run(self._client, artifact.exact_uri, matches=matches, arguments=arguments)

    def _describe(self, names: Sequence[str]) -> dict[str, TableInfo]:
        return {name: replace(self._ws.tables.describe(name), name=name) for name in dict.fromkeys(names)}


def _refuse_twins(spec: FeatureSpec) -> None:
    """Refuse one feature under two names, at which the real client fails with a KeyError.

    Raises:
        FeatureStoreError: Naming both.
    """
    seen: dict[tuple[object, ...], FeatureColumn] = {}
    for item in spec.features:
        key = (item.table_name, item.feature_name, item.lookup_key, item.timestamp_lookup_key)
        if key in seen:
            raise FeatureStoreError(
                f"Feature {item.feature_name!r} of {item.table_name} is looked up by the same key under two names: "
                f"{seen[key].output_name!r} and {item.output_name!r}.",
                hint="The Databricks client cannot do that: look it up once, and copy the column where it is used.",
            )
        seen[key] = item
